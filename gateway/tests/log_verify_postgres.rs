//! `log verify` against a log in PostgreSQL that somebody changed: every change is found, and the record named.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;
mod postgres_support;
mod verify_support;

use std::{path::PathBuf, process::Command, time::Duration};

use gateway::{
    audit::verify::{Grounds, Report, verify},
    messagelog::{Config, LogError, erase::erase, tree::Tree},
};
use log_support::config;
use metaservice_support::*;
use postgres_support::Cluster;
use verify_support::Judged;

const TABLES: [&str; 6] = ["head", "record", "blob", "body", "data_key", "batch"];

/// A log in tables with everything in it, one large body among it; and what it was.
struct Tables {
    cluster: Cluster,
    judged: Judged,
    config: Config,
    /// The record with the large body.
    large: u64,
    /// How many records there are.
    records: u64,
}

impl Tables {
    fn new() -> Self {
        let cluster = Cluster::start();
        let postgres = Some(cluster.database());
        let scene = Scene::set(|config| Config { postgres: postgres.clone(), ..config });
        let large = scene.log(Message { id: "large", body: Some(&vec![7; 2_500_000]), ..REQUEST });
        let judged = Judged::within(scene, 14);
        let config = Config { postgres, ..config(judged.scene.directory.path()) };
        let records = judged.scene.reader().len();
        let tables = Self { cluster, judged, config, large, records };
        tables.cluster.sql("CREATE SCHEMA saved");
        for table in TABLES {
            tables.cluster.sql(&format!("CREATE TABLE saved.{table} AS TABLE passerelle_log.{table}"));
        }
        tables
    }

    fn report(&self) -> Report {
        let grounds = Grounds { kek: Some(&self.config.key_file), ..self.judged.grounds() };
        verify(&self.config, grounds, &mut |_| {}).unwrap()
    }

    /// Puts everything back.
    fn restore(&self) {
        for table in TABLES {
            self.cluster.sql(&format!(
                "TRUNCATE passerelle_log.{table}; INSERT INTO passerelle_log.{table} SELECT * FROM saved.{table}"
            ));
        }
    }

    /// What is found after this change.
    fn changed(&self, sql: &str) -> Report {
        self.cluster.sql(sql);
        let report = self.report();
        self.restore();
        report
    }

    /// The number of a time-stamp's record.
    fn stamp(&self) -> u64 {
        let query = "SELECT min(sequence) FROM passerelle_log.record WHERE kind = 4";
        self.cluster.value(query).parse().unwrap()
    }

    fn settings(&self) -> PathBuf {
        let file = self.judged.scene.directory.path().join("gateway.toml");
        let text = format!(
            "[server]\nid = \"EE/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
             [log]\ndirectory = \"log\"\nkey = \"kek\"\n\
             [log.postgres]\nport = {}\nuser = \"postgres\"\ndatabase = \"postgres\"\n",
            self.cluster.database().port
        );
        put(&file, text.as_bytes());
        file
    }

    /// What the command says, and how it ends.
    fn command(&self) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
        command.arg("--config").arg(self.settings()).args(["log", "verify", "--conf"]);
        command.arg(self.judged.scene.configuration()).args(["--key", &self.judged.trust.log[0].to_string()]);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }
}

#[test]
fn a_log_in_tables_that_nobody_touched_is_right_in_everything() {
    let tables = Tables::new();
    let report = tables.report();
    assert_eq!(report.problems, []);
    assert_eq!((report.records, report.signatures), (tables.records, 29));
    assert_eq!((report.stamped, report.waiting), (29, 0));
    assert!(report.checkpoints >= 4, "{report:?}");
    assert_eq!(report.root, hex::encode(tables.judged.scene.reader().tree().root()));
    // What helps nobody who searches, and is part of no record, does no harm.
    let report = tables.changed("UPDATE passerelle_log.batch SET first = 0");
    assert_eq!(report.problems, []);
    let orphan = "INSERT INTO passerelle_log.blob VALUES (100000, '', '')";
    assert_eq!(tables.changed(orphan).problems, []);
    // A destroyed key takes its large bodies with it: that is no damage when a record says so, and the small ones are
    // still judged.
    let scene = &tables.judged.scene;
    let key = scene.log.vault().keys().unwrap().remove(0);
    scene.runtime.block_on(erase(&scene.log, &key, "officer", "decision 7")).unwrap();
    let bodies = "SELECT count(*) FROM passerelle_log.body";
    assert_eq!(tables.cluster.value(bodies), "0");
    let report = tables.report();
    assert_eq!((report.problems, report.keys, report.keys_destroyed), (vec![], 0, 1));
}

#[test]
fn rows_that_were_changed_removed_swapped_or_added_are_found_with_the_number_of_their_record() {
    let tables = Tables::new();
    let (large, last, stamp) = (tables.large, tables.records - 1, tables.stamp());
    let record = "UPDATE passerelle_log.record SET";
    let flip = "set_byte(frame, 40, get_byte(frame, 40) # 1)";
    let changes = [
        // Frames.
        (5, "DELETE FROM passerelle_log.record WHERE sequence = 5".to_owned()),
        (last, format!("DELETE FROM passerelle_log.record WHERE sequence = {last}")),
        (0, "DELETE FROM passerelle_log.record".to_owned()),
        (5, format!("{record} frame = {flip} WHERE sequence = 5")),
        (5, format!("{record} frame = substring(frame FOR 30) WHERE sequence = 5")),
        (5, format!("{record} frame = '' WHERE sequence = 5")),
        (5, format!("{record} frame = {flip}, leaf = sha256('\\x00' || {flip}) WHERE sequence = 5")),
        (5, format!("{record} leaf = set_byte(leaf, 0, get_byte(leaf, 0) # 1) WHERE sequence = 5")),
        (5, format!("{record} leaf = '' WHERE sequence = 5")),
        (5, format!("{record} sequence = 100000 WHERE sequence = 5")),
        (0, format!("{record} sequence = -1 WHERE sequence = 5")),
        (
            5,
            "UPDATE passerelle_log.record AS one SET (kind, time, frame, leaf, message_id, client, service) = \
             (SELECT kind, time, frame, leaf, message_id, client, service FROM passerelle_log.record AS other \
             WHERE other.sequence = 11 - one.sequence) WHERE sequence IN (5, 6)"
                .to_owned(),
        ),
        (
            tables.records,
            format!(
                "INSERT INTO passerelle_log.record SELECT {}, kind, time, frame, leaf \
                 FROM passerelle_log.record WHERE sequence = 5",
                tables.records
            ),
        ),
        // What is searched.
        (5, format!("{record} message_id = '\\x0011223344556677' WHERE sequence = 5")),
        (5, format!("{record} message_id = NULL WHERE sequence = 5")),
        (5, format!("{record} client = service WHERE sequence = 5")),
        (5, format!("{record} service = NULL WHERE sequence = 5")),
        (5, format!("{record} kind = 3 WHERE sequence = 5")),
        (5, format!("{record} time = time + 1 WHERE sequence = 5")),
        (stamp, format!("{record} covers_first = covers_first + 1 WHERE sequence = {stamp}")),
        (stamp, format!("{record} covers_last = NULL WHERE sequence = {stamp}")),
        (5, format!("{record} covers_first = 0, covers_last = 1000 WHERE sequence = 5")),
        // Bodies.
        (5, "UPDATE passerelle_log.blob SET content = content || '\\x00' WHERE sequence = 5".to_owned()),
        (5, "DELETE FROM passerelle_log.blob WHERE sequence = 5".to_owned()),
        (
            5,
            "UPDATE passerelle_log.blob SET content = '\\x00', hash = sha256('\\x00') WHERE sequence = 5"
                .to_owned(),
        ),
        (large, "DELETE FROM passerelle_log.body".to_owned()),
        (large, "DELETE FROM passerelle_log.body WHERE chunk = 1".to_owned()),
        (large, "UPDATE passerelle_log.body SET content = set_byte(content, 9, 1) WHERE chunk = 2".to_owned()),
        (
            large,
            "INSERT INTO passerelle_log.body SELECT data_key, hash, 3, content FROM passerelle_log.body \
             WHERE chunk = 2"
                .to_owned(),
        ),
        // Keys: what they are needed for first.
        (0, "DELETE FROM passerelle_log.data_key".to_owned()),
        (0, "DELETE FROM passerelle_log.data_key; DELETE FROM passerelle_log.body".to_owned()),
        (0, "UPDATE passerelle_log.data_key SET id = id || '0'".to_owned()),
        (0, "UPDATE passerelle_log.data_key SET wrapped = substring(wrapped FOR 40)".to_owned()),
        (0, "UPDATE passerelle_log.data_key SET wrapped = set_byte(wrapped, 60, get_byte(wrapped, 60) # 1)".to_owned()),
        (
            tables.records,
            "INSERT INTO passerelle_log.data_key VALUES ('2026-02-03.00000001', 'no key')".to_owned(),
        ),
        // The head.
        (last, "UPDATE passerelle_log.head SET size = size - 1".to_owned()),
        (tables.records, "UPDATE passerelle_log.head SET size = size + 1".to_owned()),
        (0, "UPDATE passerelle_log.head SET edge = set_byte(edge, 0, get_byte(edge, 0) # 1)".to_owned()),
        (tables.records, "UPDATE passerelle_log.head SET edge = edge || '\\x00'".to_owned()),
        (0, "UPDATE passerelle_log.head SET log = '\\x00'".to_owned()),
    ];
    for (expected, sql) in changes {
        let report = tables.changed(&sql);
        let named = report.problems.iter().any(|problem| problem.record == expected);
        assert!(named, "{sql}: {expected} in {:?}", report.problems);
        // What is derived of a tree that is another one comes with it; nothing that lies before it does.
        let cause = report.problems.iter().find(|problem| problem.record < expected);
        let of_the_tree = sql.contains("leaf = sha256");
        assert!(cause.is_none() || of_the_tree, "{sql}: {:?}", report.problems);
    }
    assert_eq!(tables.report().problems, []);
}

#[test]
fn a_number_cannot_be_there_twice_and_is_found_where_the_key_of_the_table_was_dropped() {
    let tables = Tables::new();
    let again = "INSERT INTO passerelle_log.record SELECT * FROM passerelle_log.record WHERE sequence = 5";
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tables.cluster.sql(again)));
    assert!(refused.is_err(), "the number is the key");
    tables.cluster.sql("ALTER TABLE passerelle_log.record DROP CONSTRAINT record_pkey");
    let report = tables.changed(again);
    assert_eq!(report.problems[0].record, 5, "{:?}", report.problems);
}

#[test]
fn a_log_set_back_in_all_its_tables_is_found_by_a_checkpoint_from_elsewhere() {
    let tables = Tables::new();
    let (size, mut tree) = (tables.records - 3, Tree::default());
    let leaves = tables.judged.scene.reader().leaves(0, usize::try_from(size).unwrap()).unwrap();
    leaves.into_iter().for_each(|leaf| tree.push(leaf));
    let edge = hex::encode(tree.edge().concat());
    let report = tables.changed(&format!(
        "DELETE FROM passerelle_log.record WHERE sequence >= {size}; \
         UPDATE passerelle_log.head SET size = {size}, edge = '\\x{edge}'"
    ));
    assert_eq!(report.problems[0].record, size, "{:?}", report.problems);
    assert!(report.problems[0].what.contains("cut off"), "{:?}", report.problems);
}

#[test]
fn the_command_ends_with_the_codes_that_it_has_for_files() {
    let tables = Tables::new();
    let (code, said) = tables.command();
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("nothing is wrong\n"), "{said}");

    tables.cluster.sql("UPDATE passerelle_log.blob SET content = '' WHERE sequence = 7");
    let (code, said) = tables.command();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the first bad record is 7\n"), "{said}");

    tables.cluster.kill();
    let (code, said) = tables.command();
    assert_eq!(code, 2, "what cannot be read is not judged: {said}");
    tables.cluster.start_again();
    tables.cluster.sql("TRUNCATE passerelle_log.head");
    let (code, said) = tables.command();
    assert!(code == 2 && said.contains("holds no message log"), "{said}");
}

#[test]
fn while_records_are_written_one_moment_is_judged() {
    let tables = Tables::new();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let scene = &tables.judged.scene;
        let writing = scope.spawn(move || {
            let mut written = 0_u32;
            while ended.recv_timeout(Duration::ZERO) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                scene.log(Message { id: "meanwhile", ..REQUEST });
                written += 1;
            }
            written
        });
        for _ in 0..5 {
            assert_eq!(tables.report().problems, []);
        }
        drop(done);
        assert!(writing.join().unwrap() > 0);
    });
}

#[test]
fn the_tables_of_another_log_are_not_taken_for_those_of_this_one() {
    let tables = Tables::new();
    let elsewhere =
        Config { directory: tables.judged.scene.directory.path().join("nowhere"), ..tables.config.clone() };
    let judged = gateway::messagelog::audit::audit(&elsewhere, &mut ());
    assert!(matches!(judged, Err(LogError::Missing(_))), "{judged:?}");
}
