//! What `log list`, `count` and `export` select by: exactly the records that are meant, and no other.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::process::Command;

use gateway::{
    audit::export::{self, Form},
    cli::export::many,
    messagelog::{
        LogStore as _, MessageRecord, Record,
        reader::Filter,
        record::{Outcome, OutcomeRecord},
    },
};
use log_support::message;
use metaservice_support::{REQUEST, RESPONSE, Scene, put};
use serde_json::Value;

/// ```text
///  0  1 of EE/GOV/1001, stamped by 2
///  3  4 portal asks registry, answered           a
///  5  6 portal asks registry, fault              b
///  7  8 portal asks registry, in doubt           c
///  9    portal asks registry, under way          d
/// 10 11 12 answered, but then a fault            e
/// 13 14 other asks another service, answered     f
/// 15 16 other asks another service, fault        g
/// ```
fn scene() -> Scene {
    let scene = Scene::new();
    scene.log(REQUEST);
    scene.log(RESPONSE);
    scene.stamp();
    let append = |record: Record| {
        let parts = record.message().map_or(0, |message| message.parts.len());
        let nothing = (0..parts).map(|_| None).collect();
        scene.runtime.block_on(scene.log.append(record, nothing)).unwrap().sequence
    };
    let asks = |id: &str, of: &str| -> MessageRecord {
        let mut record = message(id, b"head", b"body");
        if of == "other" {
            record.client = "DEMO/GOV/10011/other".parse().unwrap();
            record.service = "DEMO/GOV/2002/registry/recordsets".parse().unwrap();
        }
        (record.user_id, record.issue) = (Some(format!("EE-{of}")), Some(format!("case {id}")));
        record
    };
    let ends = |request: u64, id: &str, outcome: Outcome| {
        append(Record::Outcome(OutcomeRecord {
            request,
            message_id: id.to_owned(),
            outcome,
            fault_code: None,
            fault_text: None,
            status: None,
        }))
    };
    let answers = |request: u64, id: &str, of: &str| {
        append(Record::Response(MessageRecord { request: Some(request), ..asks(id, of) }))
    };
    let a = append(Record::Request(asks("a", "portal")));
    answers(a, "a", "portal");
    let b = append(Record::Request(asks("b", "portal")));
    ends(b, "b", Outcome::Fault);
    let c = append(Record::Request(asks("c", "portal")));
    ends(c, "c", Outcome::InDoubt);
    append(Record::Request(asks("d", "portal")));
    let e = append(Record::Request(asks("e", "portal")));
    answers(e, "e", "portal");
    ends(e, "e", Outcome::Fault);
    let f = append(Record::Request(asks("f", "other")));
    answers(f, "f", "other");
    let g = append(Record::Request(asks("g", "other")));
    assert_eq!(ends(g, "g", Outcome::Fault), 16);
    let settings = "[server]\nid = \"EE/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
                    [log]\ndirectory = \"log\"\nkey = \"kek\"\nreserve = \"1 MiB\"\n";
    put(&scene.directory.path().join("gateway.toml"), settings.as_bytes());
    scene
}

fn command(scene: &Scene, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
    command
        .arg("--config")
        .arg(scene.directory.path().join("gateway.toml"))
        .arg("log")
        .args(arguments)
        .arg("--copy");
    let output = command.output().unwrap();
    // That a copy is read unregistered is said beside what is shown.
    let good = output.status.success();
    let said = if good { output.stdout } else { [output.stdout, output.stderr].concat() };
    (good, String::from_utf8(said).unwrap())
}

/// The numbers that are listed, found to be as many as are counted.
fn numbers(scene: &Scene, filter: &[&str]) -> Vec<u64> {
    let (good, listed) = command(scene, &[&["list", "--json", "--oldest-first"], filter].concat());
    assert!(good, "{filter:?}: {listed}");
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap();
    let numbers: Vec<u64> = listed.lines().map(number).collect();
    let (good, count) = command(scene, &[&["count"], filter].concat());
    assert!(good && count.trim() == numbers.len().to_string(), "{filter:?}: {count}");
    numbers
}

#[test]
fn each_filter_selects_exactly_the_records_that_it_names() {
    let scene = scene();
    let of_portal = vec![3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let cases: [(&[&str], Vec<u64>); 27] = [
        (&[], (0..17).filter(|n| *n != 2).collect()),
        (&["--all"], (0..17).collect()),
        // States: a record for each exchange that ended so; messages that have a time-stamp or wait for it.
        (&["--state", "success"], vec![1, 4, 14]),
        (&["--state", "fault"], vec![6, 12, 16]),
        (&["--state", "in-doubt"], vec![8]),
        (&["--state", "stamped"], vec![0, 1]),
        (&["--state", "pending"], vec![3, 4, 5, 7, 9, 10, 11, 13, 14, 15]),
        // Parties; of an outcome they are those of its request.
        (&["--client", "DEMO/GOV/1001/portal"], of_portal.clone()),
        (&["--client", "DEMO/GOV/10011/other"], vec![13, 14, 15, 16]),
        (&["--client", "DEMO/GOV/1001/porta"], vec![]),
        (&["--client", "DEMO/GOV/1001"], vec![]),
        (&["--service", "DEMO/GOV/2002/registry/records"], of_portal.clone()),
        (&["--service", "DEMO/GOV/2002/registry/recordsets"], vec![13, 14, 15, 16]),
        (&["--service", "DEMO/GOV/2002/registry/record"], vec![]),
        (&["--member", "DEMO/GOV/1001"], of_portal.clone()),
        (&["--member", "DEMO/GOV/2002"], (3..17).collect()),
        (&["--member", "EE/GOV/1001"], vec![0, 1]),
        (&["--member", "DEMO/GOV/100"], vec![]),
        (&["--role", "provider"], vec![]),
        (&["--user-id", "EE-portal"], of_portal.clone()),
        (&["--user-id", "EE-porta"], vec![]),
        (&["--user-id", "ee-portal"], vec![]),
        (&["--issue", "case e"], vec![10, 11, 12]),
        (&["--issue", "case"], vec![]),
        // Several at once.
        (&["--state", "fault", "--client", "DEMO/GOV/1001/portal"], vec![6, 12]),
        (&["--state", "fault", "--member", "DEMO/GOV/10011", "--issue", "case g"], vec![16]),
        (&["--state", "success", "--user-id", "EE-other", "--message-id", "f"], vec![14]),
    ];
    for (filter, expected) in cases {
        assert_eq!(numbers(&scene, filter), expected, "{filter:?}");
    }
    for wrong in [["--state", "well"], ["--member", "DEMO"], ["--client", ""], ["--service", "DEMO/GOV/2002"]]
    {
        let (good, said) = command(&scene, &[&["count"], wrong.as_slice()].concat());
        assert!(!good && said.contains(wrong[0]), "{wrong:?}: {said}");
    }
}

#[test]
fn what_lawful_exchange_needs_to_know_is_shown_where_it_is_there() {
    let scene = scene();
    let mut record = message("h", b"head", b"body");
    let known = &mut record.circumstances;
    (known.purpose, known.agreement) = (Some("P-7".to_owned()), Some("agreement 12".to_owned()));
    (known.data_class, known.policy_decision) =
        (Some("=health".to_owned()), Some("allowed: rule 3".to_owned()));
    known.jurisdiction =
        Some(cert_authority::crypto::digest(cert_authority::algorithm::DigestAlgorithm::Sha256, b"QC"));
    let nothing = vec![None, None];
    let number = scene.runtime.block_on(scene.log.append(Record::Request(record), nothing)).unwrap().sequence;
    let (_, shown) = command(&scene, &["show", "--json", &number.to_string()]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["purpose"], "P-7");
    assert_eq!(shown["agreement"], "agreement 12");
    assert_eq!(shown["data_class"], "=health");
    assert_eq!(shown["policy_decision"], "allowed: rule 3");
    assert_eq!(shown["jurisdiction"].as_str().unwrap().len(), 64);
    let (_, text) = command(&scene, &["show", &number.to_string()]);
    assert!(text.contains("agreement 12") && text.contains("allowed: rule 3"), "{text}");
    let (_, without) = command(&scene, &["show", "3"]);
    assert!(!without.contains("purpose") && !without.contains("policy_decision"), "{without}");
    let file = scene.directory.path().join("all.csv");
    let filter = Filter { message_id: Some("h".to_owned()), ..Filter::default() };
    let chosen = export::numbers(&scene.reader(), &filter, Form::Csv).unwrap();
    many(&scene.reader(), &chosen, Form::Csv, &file).unwrap();
    let table = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].ends_with(",leaf,purpose,agreement,jurisdiction,data_class,policy_decision"), "{table}");
    assert!(
        lines[1].contains(",P-7,agreement 12,") && lines[1].ends_with(",'=health,allowed: rule 3"),
        "{table}"
    );
}
