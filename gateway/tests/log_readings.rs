//! The commands of the machine read the log, and the log knows: who, what, when, why.
//!
//! ```text
//! passerelle-gateway log show 0 --reason .. ──► a running gateway, or the log itself ──► access record
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "damages files on purpose")]

mod log_support;
mod postgres_support;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use cert_authority::durable;
use gateway::{
    audit::{counter, register},
    messagelog::{Config, LogStore as _, MessageLog, Record, record::AccessRecord},
};
use log_support::*;
use postgres_support::Cluster;
use tempfile::TempDir;
use tokio::sync::watch;

const SETTINGS: &str = "[server]\nid = \"DEMO/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
                        [log]\ndirectory = \"log\"\nkey = \"kek\"\n";

/// A log with two requests, and the settings of a gateway that it is of.
async fn filled() -> (TempDir, MessageLog) {
    let folder = tempfile::tempdir().unwrap();
    durable::write(folder.path().join("gateway.toml"), SETTINGS.as_bytes()).unwrap();
    let log = create(folder.path());
    fill(&log).await;
    (folder, log)
}

async fn fill(log: &MessageLog) {
    for id in ["a", "b"] {
        log.append(Record::Request(message(id, b"head", b"body")), vec![None, None]).await.unwrap();
    }
}

/// A gateway whose log is in this database.
fn node(cluster: &Cluster) -> (TempDir, MessageLog) {
    let folder = tempfile::tempdir().unwrap();
    let port = cluster.database().port;
    let tables = format!("[log.postgres]\nport = {port}\nuser = \"postgres\"\ndatabase = \"postgres\"\n");
    durable::write(folder.path().join("gateway.toml"), format!("{SETTINGS}{tables}").as_bytes()).unwrap();
    let log = cluster.node(config(folder.path()), cluster.database(), Arc::new(clock()));
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
    assert_eq!(noted_by_a_gateway(folder.path(), &log).await, about(&log, 0));
}

/// Reads all while a gateway runs on this log; gives what is to be in the register.
async fn noted_by_a_gateway(folder: &Path, log: &MessageLog) -> Vec<AccessRecord> {
    let (stop, stopped) = watch::channel(false);
    let directory = folder.join("log");
    let counter = tokio::spawn(counter::serve(log.clone(), directory.clone(), stopped));
    while !directory.join("readings.sock").exists() {
        tokio::task::yield_now().await;
    }
    let read = folder.to_owned();
    let expected = tokio::task::spawn_blocking(move || reads_all(&read)).await.unwrap();
    stop.send(true).unwrap();
    counter.await.unwrap();
    assert!(!directory.join("readings.sock").exists());
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_of_a_log_in_tables_are_noted_there_by_the_node_or_by_the_command() {
    let cluster = Cluster::start();
    let ((first, one), (second, two)) = (node(&cluster), node(&cluster));
    fill(&one).await;
    let by_the_node = noted_by_a_gateway(first.path(), &one).await;
    // The other node does not run: its command opens the log itself, and disturbs nobody.
    drop(two);
    let read = second.path().to_owned();
    let by_the_command = tokio::task::spawn_blocking(move || reads_all(&read)).await.unwrap();
    let expected = [by_the_node, by_the_command].concat();
    // A node reads half a second behind the others.
    while one.reader().len().to_string() != cluster.value("SELECT size FROM passerelle_log.head") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(about(&one, 0), expected);
    assert_eq!(about(&one, 1), [0, 3, 5, 8].map(|at| expected[at].clone()), "lists and tables show it too");
    append(&one, "c", b"body").await.unwrap();

    // Nothing of it is noted where the tables cannot be reached, and nothing is shown either.
    drop(one);
    let config = Config { postgres: Some(cluster.database()), ..config(second.path()) };
    let size = MessageLog::open(config, Arc::new(clock())).unwrap().reader().len();
    cluster.kill();
    let output = run(second.path(), &["show", "0", "--reason", "case 7"]);
    assert_eq!((output.status.success(), output.stdout.len()), (false, 0), "{}", said(&output));
    cluster.start_again();
    assert_eq!(cluster.value("SELECT size FROM passerelle_log.head"), size.to_string());
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
