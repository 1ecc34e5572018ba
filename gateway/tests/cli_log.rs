//! `log list | show | export` and `asic verify`, through the functions behind the commands.
//!
//! ```text
//! a running log ──read only──► list, show, export ──► container ──► asic verify, with a kept configuration
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use cert_authority::clock::{Clock, FixedClock};
use evidence_support::{conformance, now};
use gateway::{
    cli::{
        asic,
        export::one as export,
        log::{LogCommandError, Selection, list, show},
    },
    messagelog::{
        LogStore as _, Record, Role,
        reader::{Filter, Order, Reader},
        record::{Outcome, OutcomeRecord},
        service::read_only,
    },
    metaservice::container::ContainerError,
};
use log_support::config;
use metaservice_support::*;
use serde_json::Value;

/// As the command opens it, while the gateway has it open.
fn reader(scene: &Scene) -> Reader {
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(now()));
    read_only(&config(scene.directory.path()), &clock).unwrap()
}

fn listed(scene: &Scene, selection: &Selection, json: bool) -> String {
    let mut out = Vec::new();
    list(&reader(scene), selection, json, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn shown(scene: &Scene, number: u64, json: bool) -> String {
    let mut out = Vec::new();
    show(&reader(scene), number, json, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn everything() -> Selection {
    Selection { limit: 100, order: Order::OldestFirst, ..Selection::default() }
}

/// Request and response, stamped; a fault; a request that waits for its time-stamp.
fn scene() -> Scene {
    let scene = Scene::new();
    let request = scene.log(REQUEST);
    scene.log(RESPONSE);
    scene.stamp();
    let outcome = Record::Outcome(OutcomeRecord {
        request,
        message_id: "q-1".to_owned(),
        outcome: Outcome::Fault,
        fault_code: Some("server.serverproxy.access_denied".to_owned()),
        fault_text: Some("no".to_owned()),
        status: Some(500),
    });
    scene.runtime.block_on(scene.log.append(outcome, Vec::new())).unwrap();
    scene.log(Message { id: "evil\u{1b}[2J", role: Role::Provider, body: None, ..REQUEST });
    scene
}

#[test]
fn the_table_says_of_each_record_whose_it_is_and_whether_it_is_stamped() {
    let table = listed(&scene(), &everything(), false);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        words(0),
        ["NUMBER", "TIME", "ROLE", "DIRECTION", "MESSAGE", "CLIENT", "SERVICE", "LENGTH", "STATE"]
    );
    let (time, client, service) =
        ("2026-02-03T04:05:06.789Z", "EE/GOV/1001/portal", "EE/GOV/1001/registry/records");
    let request = words(1);
    assert_eq!(request[..7], ["0", time, "consumer", "request", "q-1", client, service]);
    assert_eq!(request[8..], ["stamped", "2026-02-03T04:05:06Z"]);
    assert_eq!(words(2)[3], "response");
    assert_eq!(words(3)[3], "timestamp");
    assert!(lines[3].ends_with("over 2 messages, by TSA"), "{table}");
    assert!(lines[4].ends_with("fault server.serverproxy.access_denied"), "{table}");
    assert_eq!(words(5)[2], "provider");
    assert!(lines[5].ends_with("pending") && lines[5].contains(r"evil\u{1b}[2J"), "{table}");
    assert!(!table.contains('\u{1b}'), "nothing that the terminal would obey");
}

#[test]
fn json_gives_a_line_for_each_record() {
    let scene = scene();
    let lines = listed(&scene, &everything(), true);
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 5);
    assert_eq!(records[0]["kind"], "request");
    assert_eq!(records[0]["message_id"], "q-1");
    assert_eq!(records[0]["service"], "EE/GOV/1001/registry/records");
    assert!(records[0]["timestamped_at"].as_str().unwrap().starts_with("2026-02-03T04:05:06"));
    assert_eq!(records[2]["covers"], serde_json::json!([0, 1]));
    assert_eq!(records[3]["outcome"], "fault");
    assert_eq!(records[4]["timestamped_at"], Value::Null);
    assert_eq!(records[4]["message_id"], "evil\u{1b}[2J");
}

#[test]
fn a_selection_narrows_pages_and_turns_the_list() {
    let scene = scene();
    let numbers = |selection: &Selection| -> Vec<u64> {
        let lines = listed(&scene, selection, true);
        lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["number"].as_u64().unwrap()).collect()
    };
    let newest = Selection { limit: 2, ..Selection::default() };
    assert_eq!(numbers(&newest), [4, 3]);
    assert_eq!(numbers(&Selection { beyond: Some(3), ..newest.clone() }), [2, 1]);
    let filter = Filter { role: Some(Role::Provider), ..Filter::default() };
    assert_eq!(numbers(&Selection { filter, ..everything() }), [4]);
    let filter = Filter { message_id: Some("q-1".to_owned()), ..Filter::default() };
    assert_eq!(numbers(&Selection { filter, ..everything() }), [0, 1, 3]);
    let filter = Filter { from: Some(now() + std::time::Duration::from_secs(1)), ..Filter::default() };
    assert_eq!(listed(&scene, &Selection { filter, ..everything() }, false).lines().count(), 1, "headings");
}

#[test]
fn a_record_is_shown_without_what_its_message_contains() {
    let scene = scene();
    let record: Value = serde_json::from_str(&shown(&scene, 0, true)).unwrap();
    assert_eq!(record["parts"].as_array().unwrap().len(), 2);
    assert_eq!(record["parts"][1]["length"], 8);
    assert_eq!(record["parts"][1]["algorithm"], "SHA-512");
    assert_eq!(record["parts"][1]["kept"], true);
    assert_eq!(record["hash_chain"], true);
    assert_eq!(record["leaf"].as_str().unwrap().len(), 64);
    let text = shown(&scene, 0, false);
    assert!(text.contains("message_id            q-1\n"), "{text}");
    assert!(!text.contains("question") && !text.contains("null"), "{text}");
    assert!(!shown(&scene, 4, false).contains('\u{1b}'));

    let missing = show(&reader(&scene), 99, false, &mut Vec::new());
    assert!(matches!(missing, Err(LogCommandError::NoRecord(99))));
}

#[test]
fn an_exported_container_is_verified_by_the_command() {
    let scene = scene();
    let file = scene.directory.path().join("request.asice");
    export(&reader(&scene), 0, &file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (files, names) = unzip(&fs::read(&file).unwrap());
    assert!(names.contains(&"attachment1".to_owned()));
    judge_unpacked(files.path(), &scene.world);

    let (code, text) = verified(&scene.configuration(), &file, false);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("valid\n") && text.contains("EE/GOV/1001"), "{text}");
    let (code, json) = verified(&scene.configuration(), &file, true);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &report["valid"], &report["code"]), (0, &Value::Bool(true), &Value::Null));
    assert_eq!(report["signer"], "EE/GOV/1001");
    for time in ["signed_at", "timestamped_at", "ocsp_at"] {
        assert!(report[time].as_str().unwrap().starts_with("2026-02-03T04:05:06"), "{report}");
    }
    assert!(report["tsa"].as_str().unwrap().contains("CN=TSA"));
    assert_eq!(report["parts"][1]["name"], "attachment1");
    assert_eq!(report["parts"][1]["present"], true);

    let before = fs::read(&file).unwrap();
    let again = export(&reader(&scene), 1, &file);
    assert!(matches!(again, Err(LogCommandError::File { .. })), "{again:?}");
    assert!(fs::read(&file).unwrap() == before, "nothing is overwritten");
}

#[test]
fn what_has_no_container_is_not_exported_and_leaves_no_file() {
    let scene = scene();
    let file = scene.directory.path().join("none.asice");
    for (number, expected) in [
        (2, ContainerError::NoMessage(2)),
        (3, ContainerError::NoMessage(3)),
        (4, ContainerError::NotStamped(4)),
        (99, ContainerError::NoMessage(99)),
    ] {
        match export(&reader(&scene), number, &file) {
            Err(LogCommandError::Container(error)) => assert_eq!(error, expected),
            other => panic!("{number}: {other:?}"),
        }
        assert!(!file.exists());
    }
    let nowhere = export(&reader(&scene), 0, &scene.directory.path().join("no/such/folder.asice"));
    assert!(matches!(nowhere, Err(LogCommandError::File { .. })), "{nowhere:?}");
}

fn verified(conf: &Path, file: &Path, json: bool) -> (u8, String) {
    let mut out = Vec::new();
    let code = asic::verify(conf, file, json, &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

#[test]
fn exit_codes_and_json_of_the_conformance_containers() {
    let Some(folder) = conformance("xroad-7.8.0") else { return };
    let conf = folder.join("global-configuration/globalconf_good2_v3");
    let cases = [
        ("containers/valid-signed-message", 0, None),
        ("containers/valid-non-batch-rest", 0, None),
        ("containers/valid-non-batch-soap-attachments", 0, None),
        ("containers/invalid-not-signed-hashchain", 0, None),
        ("containers/wrong-message", 1, Some("invalid_signature_value")),
        ("containers/invalid-digest", 1, Some("invalid_signature_value")),
        ("containers/invalid-signed-hashchain", 1, Some("malformed_signature.invalid_hash_chain_ref")),
        ("containers/invalid-ts-hashchainresult", 1, Some("malformed_signature")),
        ("containers-shape/no-mimetype", 1, Some("asic_mime_type_not_found")),
        ("containers-shape/no-message", 1, Some("asic_message_not_found")),
        ("containers-shape/no-signature", 1, Some("asic_signature_not_found")),
        ("containers-shape/not-asic", 2, Some("asic_invalid_container")),
    ];
    for (name, expected, reason) in cases {
        let file = folder.join(format!("{name}.asice"));
        let (code, json) = verified(&conf, &file, true);
        assert_eq!(code, expected, "{name}: {json}");
        let report: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(report["code"].as_str(), reason, "{name}");
        assert_eq!(report["valid"], expected == 0, "{name}");
        let keys =
            ["valid", "code", "message", "signer", "signed_at", "timestamped_at", "tsa", "ocsp_at", "parts"];
        assert!(keys.iter().all(|key| report.get(key).is_some()), "{name}: {json}");
        let (code, text) = verified(&conf, &file, false);
        assert_eq!(code, expected, "{name}");
        let begin = ["valid\n", "not valid: ", "not judged: "][usize::from(expected)];
        assert!(text.starts_with(begin), "{name}: {text}");
    }
    println!("containers on the command line: {} of {}", cases.len(), cases.len());
}

#[test]
fn a_file_or_a_configuration_that_cannot_be_read_is_not_judged() {
    let scene = Scene::new();
    let (conf, none) = (scene.configuration(), scene.directory.path().join("none"));
    let file = conf.join("instance-identifier");
    for (conf, file) in [(&conf, &none), (&none, &file), (&conf, &conf)] {
        let (code, json) = verified(conf, file, true);
        let report: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (code, &report["valid"], &report["code"]),
            (2, &Value::Bool(false), &Value::Null),
            "{json}"
        );
    }
}
