//! Counting, exporting, the register and reconciling: what auditors ask a log.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "damages files on purpose")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use evidence_support::now;
use gateway::{
    audit::{
        export::{Form, LeftOut, numbers},
        reconcile::{ReconcileError, Scope, What, read, reconcile},
        register,
    },
    cli::export::many,
    messagelog::{
        LogStore as _, Record, Role,
        reader::{Condition, Filter},
        record::{AccessRecord, Kind, Outcome, OutcomeRecord},
    },
};
use log_support::message;
use metaservice_support::*;
use serde_json::Value;

fn append(scene: &Scene, record: Record, parts: usize) -> u64 {
    let nothing = (0..parts).map(|_| None).collect();
    scene.runtime.block_on(scene.log.append(record, nothing)).unwrap().sequence
}

/// 0 request and 1 response, 2 their stamp; 3 a fault; 4 a request of somebody about a case, unstamped.
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
        fault_text: None,
        status: Some(500),
    });
    append(&scene, outcome, 0);
    let mut record = message("=cmd,\"x\"", b"head", b"body");
    (record.user_id, record.issue) = (Some("EE1234".to_owned()), Some("+case".to_owned()));
    append(&scene, Record::Request(record), 2);
    scene
}

fn messages() -> Filter {
    Filter { kinds: vec![Kind::Request, Kind::Response, Kind::Outcome], ..Filter::default() }
}

fn file(scene: &Scene, name: &str) -> PathBuf {
    scene.directory.path().join(name)
}

/// As the command does it: which they are, and then a new file.
fn exported(scene: &Scene, form: Form, path: &Path) -> (Vec<u64>, Vec<LeftOut>) {
    let reader = scene.reader();
    let numbers = numbers(&reader, &messages(), form).unwrap();
    let left_out = many(&reader, &numbers, form, path).unwrap();
    (numbers, left_out)
}

#[test]
fn records_are_counted_by_user_issue_and_state() {
    let scene = scene();
    let count = |filter: &Filter| scene.reader().count(filter).unwrap();
    let in_state = |state| Filter { state: Some(state), ..messages() };
    assert_eq!(count(&messages()), 4);
    assert_eq!(count(&in_state(Condition::Stamped)), 2);
    assert_eq!(count(&in_state(Condition::Pending)), 1);
    assert_eq!(count(&in_state(Condition::Ended(Outcome::Fault))), 1);
    assert_eq!(count(&in_state(Condition::Ended(Outcome::InDoubt))), 0);
    assert_eq!(count(&Filter { user_id: Some("EE1234".to_owned()), ..messages() }), 1);
    assert_eq!(count(&Filter { user_id: Some("EE12".to_owned()), ..messages() }), 0);
    assert_eq!(count(&Filter { issue: Some("+case".to_owned()), ..messages() }), 1);
    let of_query = Filter { message_id: Some("q-1".to_owned()), ..in_state(Condition::Stamped) };
    assert_eq!(count(&of_query), 2, "the state counts too when the id is given");
}

#[test]
fn a_count_goes_over_more_than_one_page() {
    let scene = Scene::new();
    for n in 0..600 {
        append(&scene, Record::Request(message(&format!("m-{n}"), b"h", b"b")), 2);
    }
    assert_eq!(scene.reader().count(&messages()).unwrap(), 600);
}

#[test]
fn a_period_is_exported_as_one_zip_and_what_has_no_container_is_named() {
    let scene = scene();
    let path = file(&scene, "all.zip");
    let (numbers, left_out) = exported(&scene, Form::Zip, &path);
    assert_eq!(numbers, [0, 1, 4]);
    assert_eq!(left_out, [(4, "record 4 has no time-stamp yet".to_owned())]);
    let (files, names) = unzip(&fs::read(&path).unwrap());
    assert_eq!(names, ["q-1-request-0.asice", "q-1-response-1.asice", "left-out.txt"]);
    let listed = fs::read_to_string(files.path().join("left-out.txt")).unwrap();
    assert_eq!(listed, "record 4 has no time-stamp yet\n");
    assert!(many(&scene.reader(), &numbers, Form::Zip, &path).is_err(), "nothing is overwritten");
}

#[test]
fn csv_quotes_what_it_must_and_holds_no_formula() {
    let scene = scene();
    let path = file(&scene, "all.csv");
    let (numbers, _) = exported(&scene, Form::Csv, &path);
    assert_eq!(numbers, [0, 1, 3, 4]);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[0].starts_with("number,time,kind,role,message_id,"));
    // Another reader of such files.
    let script =
        "import csv,sys; r=list(csv.reader(open(sys.argv[1],newline=''))); print(len(r),{len(x) for x in r})";
    let read = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
    assert_eq!(String::from_utf8(read.stdout).unwrap().trim(), "5 {23}");
    assert!(lines[4].contains(",\"'=cmd,\"\"x\"\"\",") && lines[4].contains(",'+case,"), "{}", lines[4]);
}

#[test]
fn json_lines_hold_every_record_but_not_what_it_contains() {
    let scene = scene();
    let path = file(&scene, "all.jsonl");
    exported(&scene, Form::Jsonl, &path);
    let text = fs::read_to_string(path).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 5, "the last says that these are all");
    let end = &records[4];
    assert_eq!((&end["kind"], &end["records"]), (&Value::from("end"), &Value::from(4)));
    assert_eq!((&end["first"], &end["last"]), (&Value::from(0), &Value::from(4)));
    let lines = &text[..text.len() - text.lines().last().unwrap().len() - 1];
    let sha256 = Command::new("sha256sum").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut sha256 = sha256.unwrap();
    sha256.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let sha256 = String::from_utf8(sha256.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(end["sha256"], sha256[..64]);
    assert_eq!(records[0]["parts"][1]["algorithm"], "SHA-512");
    assert_eq!(records[3]["user_id"], "EE1234");
    assert!(!text.contains("question"));
}

#[test]
fn the_register_says_who_has_read_about_a_record() {
    let scene = scene();
    let reading = |who: &str, records: Vec<u64>| {
        Record::Access(AccessRecord {
            who: who.to_owned(),
            role: Some("auditor".to_owned()),
            action: "show".to_owned(),
            query: "x".to_owned(),
            reason: Some("case 7".to_owned()),
            records,
            bodies: false,
        })
    };
    append(&scene, reading("anna", vec![0, 1]), 0);
    append(&scene, reading("ben", vec![4]), 0);
    let about = |records: &[u64]| -> Vec<String> {
        let found = register::readings(&scene.reader(), records).unwrap();
        found.into_iter().map(|(_, access)| access.who).collect()
    };
    assert_eq!(about(&[1]), ["anna"]);
    assert_eq!(about(&[0, 4]), ["anna", "ben"]);
    assert!(about(&[3]).is_empty());
}

/// A log of messages with these ids and bodies.
fn log_of(role: Role, messages: &[(&str, &[u8])]) -> Scene {
    let scene = Scene::new();
    for (id, body) in messages {
        let mut record = message(id, b"head", body);
        record.role = role;
        append(&scene, Record::Request(record), 2);
    }
    scene
}

#[test]
fn two_logs_are_compared_message_by_message_in_either_form() {
    let ours = log_of(Role::Consumer, &[("same", b"1"), ("lost", b"2"), ("other", b"3")]);
    let theirs = log_of(Role::Provider, &[("other", b"changed"), ("same", b"1"), ("extra", b"4")]);
    let scope = Scope::default();
    let lines = file(&theirs, "theirs.jsonl");
    exported(&theirs, Form::Jsonl, &lines);
    for second in [file(&theirs, "log"), lines] {
        let first = read(&file(&ours, "log"), &scope, false).unwrap();
        let result = reconcile(first, read(&second, &scope, true).unwrap(), &scope);
        let found: Vec<_> =
            result.differences.iter().map(|d| (d.key.message_id.as_str(), d.what, d.first.len())).collect();
        assert_eq!(result.compared, 4);
        assert_eq!(
            found,
            [
                ("extra", What::OnlyInSecond, 0),
                ("lost", What::OnlyInFirst, 1),
                ("other", What::OtherDigests, 1)
            ],
            "{second:?}"
        );
    }
}

#[test]
fn a_period_and_two_members_narrow_what_is_compared() {
    let ours = log_of(Role::Consumer, &[("lost", b"2")]);
    let theirs = log_of(Role::Provider, &[]);
    let compared = |scope: &Scope| {
        let first = read(&file(&ours, "log"), scope, false).unwrap();
        reconcile(first, read(&file(&theirs, "log"), scope, true).unwrap(), scope).compared
    };
    let between = |other: &str| Some(("DEMO/GOV/2002".to_owned(), other.to_owned()));
    assert_eq!(compared(&Scope { between: between("DEMO/GOV/1001"), ..Scope::default() }), 1);
    assert_eq!(compared(&Scope { between: between("DEMO/GOV/100"), ..Scope::default() }), 0);
    assert_eq!(
        compared(&Scope {
            from: Some(now()),
            until: Some(now() + Duration::from_secs(1)),
            ..Scope::default()
        }),
        1
    );
    assert_eq!(compared(&Scope { until: Some(now()), ..Scope::default() }), 0);
}

#[test]
fn a_message_that_one_of_them_has_twice_is_a_difference() {
    let ours = log_of(Role::Consumer, &[("twice", b"1"), ("twice", b"1")]);
    let theirs = log_of(Role::Provider, &[("twice", b"1")]);
    let scope = Scope::default();
    let first = read(&file(&ours, "log"), &scope, false).unwrap();
    let result = reconcile(first, read(&file(&theirs, "log"), &scope, true).unwrap(), &scope);
    assert_eq!(result.differences[0].what, What::OtherDigests);
}

#[test]
fn an_export_that_was_shortened_or_changed_is_not_compared() {
    let theirs = log_of(Role::Provider, &[("a", b"1"), ("b", b"2"), ("c", b"3")]);
    let path = file(&theirs, "whole.jsonl");
    exported(&theirs, Form::Jsonl, &path);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let other = file(&theirs, "other.jsonl");
    let compared = |text: &str| {
        fs::write(&other, text).unwrap();
        read(&other, &Scope::default(), true).map(|messages| messages.len())
    };
    assert_eq!(compared(&text).unwrap(), 3);
    let without = |gone: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != gone);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    for changed in [
        without(3),
        without(2),
        without(0),
        String::new(),
        format!("{text}{}\n", lines[0]),
        format!("{text}{}\n", lines[3]),
        text.replace("\"message_id\":\"b\"", "\"message_id\":\"x\""),
        text[..text.len() - lines[3].len() - 2].to_owned(),
    ] {
        let refused = compared(&changed);
        assert!(
            matches!(refused, Err(ReconcileError::NotClosed { .. } | ReconcileError::Line { .. })),
            "{refused:?}: {changed}"
        );
    }
}

#[test]
fn a_damaged_log_or_export_is_not_compared() {
    let ours = log_of(Role::Consumer, &[("a", b"1")]);
    let segment = file(&ours, "log/segments/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4096 + 60] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let scope = Scope::default();
    let refused = read(&file(&ours, "log"), &scope, false);
    assert!(matches!(refused, Err(ReconcileError::NotWhole { .. })), "{refused:?}");
    let lines = file(&ours, "x.jsonl");
    fs::write(&lines, "{\"kind\":\"timestamp\"}\n{\"kind\":\"request\"}\n").unwrap();
    assert!(matches!(read(&lines, &scope, true), Err(ReconcileError::Line { line: 2, .. })));
    assert!(matches!(read(&file(&ours, "none"), &scope, true), Err(ReconcileError::File { .. })));
}

#[test]
fn the_command_says_by_its_exit_code_whether_two_logs_tell_the_same() {
    let ours = log_of(Role::Consumer, &[("same", b"1"), ("lost", b"2")]);
    let theirs = log_of(Role::Provider, &[("same", b"1")]);
    let run = |first: &str, second: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
        command.args(["log", "reconcile"]).arg(file(&ours, first)).arg(file(&theirs, second)).args(more);
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let unregistered = told.matches("is not the log of the settings").count();
        let said = if output.stdout.is_empty() { told } else { String::from_utf8(output.stdout).unwrap() };
        (output.status.code().unwrap(), unregistered, said)
    };
    let (code, unregistered, said) = run("log", "log", &[]);
    assert_eq!(unregistered, 2, "nobody notes these readings, which is said of each");
    assert!(code == 1 && said.ends_with("2 messages compared, 1 differ\n"), "{code} {said}");
    assert!(said.lines().any(|line| line.starts_with("only in first") && line.contains("lost")), "{said}");
    let (code, _, said) = run("log", "log", &["--json"]);
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, found["compared"].as_u64()), (1, Some(2)));
    let (code, _, said) = run("log", "log", &["--until", "2001-01-01T00:00:00Z"]);
    assert_eq!((code, said.as_str()), (0, "0 messages compared, 0 differ\n"));
    let (code, _, said) = run("log", "none", &[]);
    assert!(code == 2 && said.contains("none"), "{code} {said}");
}
