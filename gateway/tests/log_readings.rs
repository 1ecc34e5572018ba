//! The commands of the machine read the log, and the log knows: who, what, when, why.
//!
//! ```text
//! passerelle-gateway log show 0 --reason .. ──► a running gateway, or the log itself ──► access record
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "damages files on purpose")]

mod log_support;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use cert_authority::durable;
use gateway::{
    audit::{counter, register},
    messagelog::{LogStore as _, MessageLog, Record, record::AccessRecord},
};
use log_support::*;
use tempfile::TempDir;
use tokio::sync::watch;

/// A log with two requests, and the settings of a gateway that it is of.
async fn filled() -> (TempDir, MessageLog) {
    let folder = tempfile::tempdir().unwrap();
    let text = "[server]\nid = \"DEMO/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
                [log]\ndirectory = \"log\"\nkey = \"kek\"\n";
    durable::write(folder.path().join("gateway.toml"), text.as_bytes()).unwrap();
    let log = create(folder.path());
    for id in ["a", "b"] {
        log.append(Record::Request(message(id, b"head", b"body")), vec![None, None]).await.unwrap();
    }
    (folder, log)
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
    command.arg("--config").arg(folder.join("gateway.toml")).arg("log").args(arguments);
    command.env_remove("SUDO_USER").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn me() -> String {
    counter::user(rustix::process::geteuid().as_raw(), None)
}

/// Every command that shows something of record 0, and what is to stand in the register of it.
fn reads_all(folder: &Path) -> Vec<AccessRecord> {
    let [lines, table] = ["a.jsonl", "all.csv"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    let commands: [(&str, Vec<&str>, Vec<u64>); 5] = [
        ("list", vec!["list", "--oldest-first", "--json"], vec![0, 1]),
        ("show", vec!["show", "0"], vec![0]),
        ("export", vec!["export", "--form", "jsonl", "--message-id", "a", "--out", &lines], vec![0]),
        ("export", vec!["export", "--form", "csv", "--out", &table], vec![0, 1]),
        ("readers", vec!["readers", "0"], vec![0]),
    ];
    let read = |(action, arguments, records): (&str, Vec<&str>, Vec<u64>)| {
        let output = run(folder, &[arguments.as_slice(), &["--reason", "case 7"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        assert!(!said(&output).contains("not registered"), "{arguments:?}: {}", said(&output));
        AccessRecord {
            who: me(),
            role: None,
            action: action.to_owned(),
            query: format!("log {}", arguments.join(" ")),
            reason: Some("case 7".to_owned()),
            records,
            bodies: false,
        }
    };
    let all = commands.into_iter().map(read).collect();
    // Nothing of a record, but a reading of the log all the same.
    let counted = run(folder, &["count", "--reason", "case 7"]);
    assert_eq!((counted.stdout.as_slice(), said(&counted).as_str()), (&b"2\n"[..], ""));
    all
}

fn about(log: &MessageLog, number: u64) -> Vec<AccessRecord> {
    let readings = register::readings(&log.reader(), &[number]).unwrap();
    readings.into_iter().map(|(_, access)| access).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_gateway_runs_a_command_notes_its_reading_itself() {
    let (folder, log) = filled().await;
    drop(log);
    let expected = reads_all(folder.path());
    let told = run(folder.path(), &["readers", "0", "--json", "--reason", "who was it"]);
    assert_eq!(String::from_utf8(told.stdout).unwrap().lines().count(), 5, "all before this one");
    let log = open(folder.path()).unwrap();
    let found = about(&log, 0);
    assert_eq!(found[..5], expected);
    assert_eq!(found[5].reason.as_deref(), Some("who was it"));
    assert_eq!(about(&log, 1).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_notes_what_commands_read() {
    let (folder, log) = filled().await;
    let (stop, stopped) = watch::channel(false);
    let directory = folder.path().join("log");
    let counter = tokio::spawn(counter::serve(log.clone(), directory.clone(), stopped));
    while !directory.join("readings.sock").exists() {
        tokio::task::yield_now().await;
    }
    let read = folder.path().to_owned();
    let expected = tokio::task::spawn_blocking(move || reads_all(&read)).await.unwrap();
    assert_eq!(about(&log, 0), expected);
    stop.send(true).unwrap();
    counter.await.unwrap();
    assert!(!directory.join("readings.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_cannot_be_noted_is_said_not_to_be() {
    let (folder, log) = filled().await;
    // Somebody has the log open, and does not listen.
    let output = run(folder.path(), &["show", "0", "--reason", "case 7"]);
    assert!(output.status.success() && !output.stdout.is_empty());
    assert!(said(&output).contains("this reading is not registered: another process has the log open"));
    drop(log);

    let segment = folder.path().join("log/segments/00000001.seg");
    let before = fs::read(&segment).unwrap();
    let output = run(folder.path(), &["show", "0", "--copy"]);
    assert!(output.status.success() && !output.stdout.is_empty());
    assert!(said(&output).contains("this reading is not registered: it is of a copy"));
    assert!(fs::read(&segment).unwrap() == before, "nothing is changed in a copy");

    let mut damaged = before;
    let at = damaged.windows(12).rposition(|twelve| twelve == b"<signature o").unwrap();
    damaged[at] ^= 1;
    fs::write(&segment, damaged).unwrap();
    let output = run(folder.path(), &["show", "0", "--reason", "case 7"]);
    assert!(
        output.status.success() && !output.stdout.is_empty(),
        "what is whole is shown: {}",
        said(&output)
    );
    assert!(said(&output).contains("this reading is not registered"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reason_nothing_is_shown() {
    let (folder, log) = filled().await;
    drop(log);
    let out = folder.path().join("out").to_str().unwrap().to_owned();
    for arguments in [
        vec!["list"],
        vec!["show", "0"],
        vec!["count"],
        vec!["readers", "0"],
        vec!["export", "0", "--out", &out],
        vec!["list", "--reason", " "],
        vec!["list", "--reason", "x", "--copy"],
    ] {
        let output = run(folder.path(), &arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
    assert_eq!(about(&open(folder.path()).unwrap(), 0), []);
}
