//! Messages removed for good from a log in PostgreSQL, and a log from which messages were removed, moved there and back.
//!
//! ```text
//! record 42, which names 7 and 9, and their rows emptied: one commit of the node that leads ──► every node, log verify
//! files ──► PostgreSQL ──► files: the same leaves, the same records, and of each removed one who removed it
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod cleaned_support;
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;
mod postgres_support;

use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cert_authority::clock::FixedClock;
use cleaned_support::*;
use evidence_support::now;
use gateway::{
    audit::verify::Report,
    messagelog::{
        Config, Database, LogError, LogStore as _, MessageLog, Record,
        migrate::{MigrateError, to_files, to_postgres},
        reader::Reader,
        record::AccessRecord,
        removal::{self, full, present},
        service::read_only,
        tree::Hash,
    },
};
use log_support::{append, config};
use metaservice_support::*;
use postgres_support::Cluster;
use tempfile::TempDir;

/// Another node of the log of `old`, in a directory of its own.
fn other_node(old: &Old) -> (TempDir, MessageLog) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(&old.config.key_file, config(directory.path()).key_file).unwrap();
    let config = Config { postgres: old.config.postgres.clone(), ..config(directory.path()) };
    let log = MessageLog::create(config, Arc::new(FixedClock::new(now()))).unwrap();
    (directory, log)
}

/// Waits until a node knows of so many records.
fn seen(log: &MessageLog, count: u64) {
    for _ in 0..100 {
        if log.reader().len() == count {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{} records", log.reader().len());
}

/// Everything that a log gives: of each record its frame, or the number of the record that removed it.
fn frames(reader: &Reader) -> Vec<Result<bytes::Bytes, u64>> {
    let one = |number| match reader.frame(number) {
        Ok(frame) => Ok(frame.unwrap()),
        Err(LogError::Removed { noted, .. }) => Err(noted),
        Err(error) => panic!("record {number}: {error}"),
    };
    (0..reader.len()).map(one).collect()
}

/// A connection that holds the row of a record.
struct Holding(Child);

impl Holding {
    fn row(cluster: &Cluster, number: u64) -> Self {
        let mut psql = Command::new("psql")
            .arg(cluster.settings())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let hold =
            format!("BEGIN; SELECT 1 FROM passerelle_log.record WHERE sequence = {number} FOR UPDATE;\n");
        psql.stdin.as_mut().unwrap().write_all(hold.as_bytes()).unwrap();
        let held = "SELECT count(*) FROM pg_stat_activity \
                    WHERE state = 'idle in transaction' AND query LIKE '%WHERE sequence = % FOR UPDATE%'";
        until(cluster, held, "1");
        Self(psql)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a query gives this.
fn until(cluster: &Cluster, query: &str, value: &str) {
    for _ in 0..400 {
        if cluster.value(query) == value {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{query}: {}", cluster.value(query));
}

const WAITING: &str = "SELECT count(*) > 0 FROM pg_stat_activity \
                       WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE passerelle_log.record%'";
const REMOVALS: &str = "SELECT count(*) FROM passerelle_log.record WHERE kind = 7 \
                        AND position('remove'::bytea in frame) > 0";
const EMPTIED: &str = "SELECT count(*) FROM passerelle_log.record WHERE noted IS NOT NULL";

#[test]
fn what_the_leader_removes_is_gone_for_every_node_and_the_log_verifies_as_before() {
    let cluster = Cluster::start();
    let old = Old::within(cluster.database());
    let (_directory, other) = other_node(&old);
    let reader = old.scene.reader();
    let (before, judged) = (leaves(&reader), old.report());
    assert_eq!((judged.problems.as_slice(), judged.signatures, judged.removed), ([].as_slice(), 80, 0));

    // Only the node that leads removes anything.
    let removing = removal::remove(&other, 1, [0].into(), "somebody", "why not");
    assert_eq!(old.scene.runtime.block_on(removing), Err(LogError::Overtaken));
    assert_eq!(old.report(), judged);

    assert_eq!(old.remove(later()), 80);
    assert_eq!(old.remove(later()), 0, "once is enough");
    let report = old.report();
    assert_eq!(report.problems, []);
    assert_eq!((report.signatures, report.removed, report.stamped), (0, 80, judged.stamped));
    assert_eq!(report.archives, judged.archives);
    for empty in ["SELECT count(*) FROM passerelle_log.blob", "SELECT count(*) FROM passerelle_log.body"] {
        assert_eq!(cluster.value(empty), "0");
    }
    let left = "SELECT count(*) FROM passerelle_log.record WHERE noted IS NOT NULL AND (frame <> '' OR time <> 0 OR \
                message_id IS NOT NULL OR client IS NOT NULL OR service IS NOT NULL)";
    assert_eq!(cluster.value(left), "0");

    seen(&other, old.scene.reader().len());
    for log in [&old.scene.log, &other] {
        let reader = log.reader();
        assert_eq!(leaves(&reader)[..before.len()], before);
        assert_eq!(there(&reader).iter().filter(|kept| !**kept).count(), 80);
        assert_eq!(reader.by_message_id("q-0-0"), Ok(vec![]), "what was removed does not tell its id");
        let messages = gateway::messagelog::reader::Filter {
            client: Some("EE/GOV/1001/portal".parse().unwrap()),
            ..Default::default()
        };
        assert_eq!(reader.count(&messages), Ok(0));
    }

    // It goes on: what comes now is logged, stamped and archived.
    drop(other);
    let old = old.reopen();
    leads(&old.scene.log);
    let number = old.scene.log(Message { id: "new", ..REQUEST });
    old.scene.stamp();
    old.archive();
    assert_eq!(old.scene.reader().get(number).unwrap().unwrap().record.message_id(), Some("new"));
    assert_eq!(old.report().problems, []);
}

#[test]
fn what_is_young_or_not_archived_or_still_has_bodies_or_is_no_message_stays() {
    let cluster = Cluster::start();
    let old = Old::archived(Some(cluster.database()));
    assert_eq!(old.remove(later()), 0, "their bodies can still be read");
    old.clean_bodies();
    assert_eq!(old.remove(now() + 29 * DAY), 0, "too young");
    let last = old.scene.log(Message { id: "late", ..REQUEST });
    old.scene.log.vault().keys().unwrap().iter().for_each(|key| {
        old.scene.log.vault().destroy_key(key).unwrap();
    });
    assert_eq!(old.remove(later()), 80);
    assert!(there(&old.scene.reader())[usize::try_from(last).unwrap()], "not archived");

    // Nothing is removed, nor said to be, when one of them is no message, or was removed before.
    let (records, stamp) =
        (old.scene.reader().len(), "SELECT min(sequence) FROM passerelle_log.record WHERE kind = 4");
    for other in [0, cluster.value(stamp).parse().unwrap(), 1_000_000] {
        let removing = removal::remove(&old.scene.log, 1, [last, other].into(), "somebody", "why not");
        assert_eq!(old.scene.runtime.block_on(removing), Err(LogError::Overtaken), "{other}");
    }
    assert_eq!(old.scene.reader().len(), records);
    assert!(there(&old.scene.reader())[usize::try_from(last).unwrap()]);
}

#[test]
fn a_row_that_was_emptied_by_somebody_else_is_found_with_the_number_of_its_record() {
    let cluster = Cluster::start();
    let old = Old::within(cluster.database());
    let kept = old.scene.log(Message { id: "kept", ..REQUEST });
    old.scene.stamp();
    old.remove(later());
    let noted: u64 = cluster.value("SELECT max(noted) FROM passerelle_log.record").parse().unwrap();
    assert_eq!(old.report().problems, []);
    cluster.sql("CREATE TABLE kept AS TABLE passerelle_log.record");
    let record = "UPDATE passerelle_log.record SET";
    let nothing = "kind = 0, time = 0, frame = '', message_id = NULL, client = NULL, service = NULL";
    let changes = [
        // Without a record, with one that names others, with one that removes nothing.
        (kept, format!("{record} {nothing} WHERE sequence = {kept}")),
        (kept, format!("{record} {nothing}, noted = {noted} WHERE sequence = {kept}")),
        (kept, format!("{record} {nothing}, noted = 3 WHERE sequence = {kept}")),
        (kept, format!("{record} {nothing}, noted = -1 WHERE sequence = {kept}")),
        (kept, format!("{record} noted = {noted} WHERE sequence = {kept}")),
        // One that was removed as it should, changed later.
        (1, format!("{record} noted = noted - 1 WHERE sequence = 1")),
        (1, format!("{record} noted = NULL WHERE sequence = 1")),
        (1, format!("{record} frame = 'a' WHERE sequence = 1")),
        (1, format!("{record} message_id = 'a' WHERE sequence = 1")),
        (1, format!("{record} kind = 1 WHERE sequence = 1")),
        (1, format!("{record} leaf = '' WHERE sequence = 1")),
        (0, format!("{record} leaf = set_byte(leaf, 0, get_byte(leaf, 0) # 1) WHERE sequence = 0")),
        (1, "DELETE FROM passerelle_log.record WHERE sequence = 1".to_owned()),
    ];
    for (expected, sql) in changes {
        cluster.sql(&sql);
        let problems = old.report().problems;
        assert_eq!(problems.first().map(|problem| problem.record), Some(expected), "{sql}: {problems:?}");
        cluster.sql("TRUNCATE passerelle_log.record; INSERT INTO passerelle_log.record SELECT * FROM kept");
    }
    assert_eq!(old.report().problems, []);
    let words = "the log does not say that it was cleaned of it";
    cluster.sql(&format!("{record} {nothing}, noted = {noted} WHERE sequence = {kept}"));
    assert!(old.report().problems[0].what.contains(words));
}

#[test]
fn a_removal_in_the_middle_of_which_postgresql_is_killed_is_whole_or_not_at_all() {
    let cluster = Cluster::start();
    let old = Old::within(cluster.database());
    let holding = Holding::row(&cluster, 0);
    std::thread::scope(|scope| {
        let removing = scope.spawn(|| old.remove(later()));
        until(&cluster, WAITING, "t");
        cluster.kill();
        drop(holding);
        cluster.start_again();
        // The node tries again under the same name, whatever became of the first try.
        assert_eq!(removing.join().unwrap(), 80);
    });
    assert_eq!(cluster.value(REMOVALS), "1", "said once");
    assert_eq!(cluster.value(EMPTIED), "80");
    let report = old.report();
    assert_eq!((report.problems.as_slice(), report.removed), ([].as_slice(), 80));
}

#[test]
fn a_leader_that_is_killed_while_it_removes_has_removed_nothing_and_the_next_one_does_it() {
    let cluster = Cluster::start();
    let old = Old::within(cluster.database());
    let records = old.scene.reader().len();
    let [(directory, first), (next_directory, next)] = [other_node(&old), other_node(&old)];
    drop((first, next));
    // From here on the leader is a process of its own.
    let Old { scene: Scene { log, runtime, directory: _kept, .. }, conf, archives, config: settings } = old;
    drop(log);
    let holding = Holding::row(&cluster, 0);
    let mut leader = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "leader_process", "--nocapture"])
        .env("PASSERELLE_TEST_NODE", directory.path())
        .env("PASSERELLE_TEST_PORT", cluster.database().port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(&cluster, WAITING, "t");
    leader.kill().unwrap();
    leader.wait().unwrap();
    drop(holding);
    until(&cluster, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", "0");

    let next = opened(&Config { postgres: settings.postgres.clone(), ..config(next_directory.path()) });
    leads(&next);
    assert_eq!((cluster.value(EMPTIED), cluster.value(REMOVALS)), ("0".to_owned(), "0".to_owned()));
    assert_eq!(next.reader().len(), records, "nothing is said either");
    assert_eq!(report(&settings, &conf, &archives).problems, []);
    let removed = gateway::archive::removing::remove_old(&next, KEEP, later());
    assert_eq!(runtime.block_on(removed).unwrap(), 80);
    let judged = report(&settings, &conf, &archives);
    assert_eq!((judged.problems.as_slice(), judged.removed), ([].as_slice(), 80));
}

/// Not a test by itself: what the test above starts.
#[test]
#[ignore = "started by another test as a process of its own"]
fn leader_process() {
    let directory = of_run("PASSERELLE_TEST_NODE");
    let port = of_run("PASSERELLE_TEST_PORT").parse().unwrap();
    let (user, name) = ("postgres".to_owned(), "postgres".to_owned());
    let database =
        Database { host: "127.0.0.1".into(), port, user, name, password_file: None, authorities: Vec::new() };
    let log = opened(&Config { postgres: Some(database), ..config(Path::new(&directory)) });
    leads(&log);
    let removed = gateway::archive::removing::remove_old(&log, KEEP, later());
    log_support::runtime().block_on(removed).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "said by the test that starts the process")]
fn of_run(name: &str) -> String {
    std::env::var(name).unwrap()
}

#[test]
fn rows_are_cleaned_in_parts_and_each_is_named() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let settings = Config { postgres: Some(cluster.database()), ..config(directory.path()) };
    let log = MessageLog::create(settings, Arc::new(log_support::clock())).unwrap();
    leads(&log);
    let runtime = log_support::runtime();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..1100)
            .map(|n| {
                let log = log.clone();
                tokio::spawn(async move { append(&log, &format!("id-{n}"), b"").await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let reader = log.reader();
    let parts: Vec<u64> = full(&reader, 0).unwrap().iter().map(|part| part.segment).collect();
    assert_eq!(parts, [1, 2], "the last one need not be full");
    assert_eq!(full(&reader, 1).unwrap().len(), 1);
    assert_eq!(full(&reader, 2).unwrap(), []);
    let numbers = |part| -> Vec<u64> {
        present(&reader, part).unwrap().iter().map(|message| message.sequence).collect()
    };
    assert_eq!(numbers(1), (0..1024).collect::<Vec<_>>());
    assert_eq!(numbers(2), (1024..1100).collect::<Vec<_>>());
    runtime.block_on(removal::remove(&log, 2, [1024, 1099].into(), "officer", "asked for")).unwrap();
    assert_eq!(numbers(2), (1025..1099).collect::<Vec<_>>());
    assert_eq!(reader.get(1099), Err(LogError::Removed { sequence: 1099, noted: 1100 }));
    let Record::Access(said) = reader.get(1100).unwrap().unwrap().record else { panic!() };
    assert_eq!((said.query.as_str(), said.records), ("messages of records 1024 to 2047", vec![1024, 1099]));
    // One that was changed is not taken for what it was.
    cluster.sql("UPDATE passerelle_log.record SET frame = frame || '\\x00' WHERE sequence = 1030");
    assert!(matches!(present(&reader, 2), Err(LogError::Damaged(finding)) if finding.sequence == 1030));
}

#[test]
fn tables_of_an_earlier_version_are_taken_up_when_a_gateway_starts() {
    let cluster = Cluster::start();
    let old = Old::within(cluster.database());
    let Old { scene: Scene { directory, world, key, log, clock: time, runtime }, conf, archives, config } =
        old;
    drop(log);
    cluster.sql("ALTER TABLE passerelle_log.record DROP COLUMN noted");
    let clock: Arc<dyn cert_authority::clock::Clock> = Arc::new(FixedClock::new(now()));
    let refused = read_only(&config, &clock).err().unwrap().to_string();
    assert!(refused.contains("the tables in PostgreSQL are those of an earlier version"), "{refused}");
    // Who has no right to do it is told.
    cluster.sql("CREATE ROLE gate LOGIN; GRANT ALL ON SCHEMA passerelle_log TO gate");
    cluster.sql("GRANT ALL ON ALL TABLES IN SCHEMA passerelle_log TO gate");
    let limited = Database { user: "gate".into(), ..cluster.database() };
    let limited = Config { postgres: Some(limited), ..config.clone() };
    let refused = MessageLog::open(limited.clone(), Arc::clone(&clock)).err().unwrap().to_string();
    assert!(refused.contains("42501"), "{refused}");

    let log = opened(&config);
    leads(&log);
    drop(log);
    // From then on that right is not needed, not even to remove messages.
    let log = opened(&limited);
    leads(&log);
    let old =
        Old { scene: Scene { directory, world, key, log, clock: time, runtime }, conf, archives, config };
    assert_eq!(old.remove(later()), 80);
    assert_eq!(old.report().problems, []);
}

/// A cleaned log that is closed, and what it was.
struct Moving {
    cluster: Cluster,
    old: Old,
    elsewhere: TempDir,
    frames: Vec<Result<bytes::Bytes, u64>>,
    leaves: Vec<Hash>,
    report: Report,
}

impl Moving {
    /// In files, with several records that say what was removed.
    fn new() -> Self {
        let old = Old::new();
        for part in [1, 1, 2] {
            let message = present(&old.scene.reader(), part).unwrap()[3].sequence;
            let removing = removal::remove(&old.scene.log, part, [message].into(), "officer", "asked for");
            old.scene.runtime.block_on(removing).unwrap();
        }
        assert!(old.remove(later()) > 30);
        let elsewhere = tempfile::tempdir().unwrap();
        let (frames, leaves, report) =
            (frames(&old.scene.reader()), leaves(&old.scene.reader()), old.report());
        assert_eq!(report.problems, []);
        let mut moving = Self { cluster: Cluster::start(), old, elsewhere, frames, leaves, report };
        moving.close();
        moving
    }

    /// The log is closed; another one stands for it, elsewhere.
    fn close(&mut self) {
        let place = tempfile::tempdir_in(self.elsewhere.path()).unwrap().keep();
        self.old.scene.log = log_support::create(&place);
    }

    fn tables(&self) -> Config {
        Config { postgres: Some(self.cluster.database()), ..self.files() }
    }

    fn files(&self) -> Config {
        self.old.config.clone()
    }

    fn to_postgres(&self, progress: &mut dyn FnMut(u64)) -> Result<(), MigrateError> {
        let clock: Arc<dyn cert_authority::clock::Clock> = Arc::new(FixedClock::new(now()));
        to_postgres(&self.files(), &self.cluster.database(), &clock, progress).map(drop)
    }

    fn to_files(&self, progress: &mut dyn FnMut(u64)) -> Result<(), MigrateError> {
        let clock: Arc<dyn cert_authority::clock::Clock> = Arc::new(FixedClock::new(now()));
        to_files(&self.files(), &self.cluster.database(), &clock, progress).map(drop)
    }

    /// It is what it was: to the byte, and for who judges it.
    fn assert_same(&self, config: &Config) {
        assert_eq!(report(config, &self.old.conf, &self.old.archives), self.report);
        let log = opened(config);
        let reader = log.reader();
        assert_eq!(frames(&reader), self.frames);
        assert_eq!(leaves(&reader), self.leaves);
        there(&reader);
    }

    /// Goes on with the log in this place: logs, stamps, archives and cleans; and notes what it is then.
    fn go_on(&mut self, config: &Config, count: u32) {
        self.old.scene.log = opened(config);
        self.old.config = config.clone();
        leads(&self.old.scene.log);
        self.old.fill(u32::try_from(self.frames.len()).unwrap(), count);
        self.old.scene.stamp();
        self.old.archive();
        self.old.clean_bodies();
        assert!(self.old.remove(later()) > 0);
        let reader = self.old.scene.reader();
        (self.frames, self.leaves, self.report) = (frames(&reader), leaves(&reader), self.old.report());
        assert_eq!(self.report.problems, []);
        drop(reader);
        self.close();
        self.old.config.postgres = None;
    }
}

#[test]
fn there_and_back_a_cleaned_log_is_the_same_to_the_byte_and_goes_on_in_each_place() {
    let mut moving = Moving::new();
    let notes: std::collections::BTreeSet<u64> =
        moving.frames.iter().filter_map(|frame| frame.as_ref().err().copied()).collect();
    assert!(notes.len() > 3, "{notes:?}");
    moving.to_postgres(&mut |_| {}).unwrap();
    moving.assert_same(&moving.tables());
    let (tables, files) = (moving.tables(), moving.files());
    moving.go_on(&tables, 20);
    moving.to_files(&mut |_| {}).unwrap();
    moving.assert_same(&files);
    moving.go_on(&files, 60);
    // What is left of the first move is in the way.
    moving.cluster.sql("DROP SCHEMA passerelle_log CASCADE");
    std::fs::remove_dir_all(files.directory.join("segments.moved")).unwrap();
    moving.to_postgres(&mut |_| {}).unwrap();
    moving.assert_same(&tables);
    moving.to_files(&mut |_| {}).unwrap();
    moving.assert_same(&files);

    // What was removed stands in no segment that something is added to, and the index can be built anew.
    std::fs::remove_dir_all(files.directory.join("index")).unwrap();
    let log = opened(&files);
    let note = Record::Access(AccessRecord {
        who: "somebody".into(),
        role: None,
        action: "show".into(),
        query: "after the move".into(),
        reason: None,
        records: vec![],
        bodies: false,
    });
    let records = log.reader().len();
    let receipt = moving.old.scene.runtime.block_on(log.append(note.clone(), vec![])).unwrap();
    assert_eq!(receipt.sequence, records);
    assert_eq!(log.reader().get(records).unwrap().unwrap().record, note);
    there(&log.reader());
}

#[test]
fn a_move_of_a_cleaned_log_that_was_broken_off_begins_anew() {
    let moving = Moving::new();
    let removed = u64::try_from(moving.frames.iter().position(Result::is_err).unwrap()).unwrap();
    let mut stop = |number: u64| {
        if number == removed + 20 {
            moving.cluster.kill();
        }
    };
    let broken = moving.to_postgres(&mut stop);
    assert!(matches!(broken, Err(MigrateError::Log(LogError::Io { .. }))), "{broken:?}");
    moving.cluster.start_again();
    moving.assert_same(&moving.files());
    moving.to_postgres(&mut |_| {}).unwrap();
    moving.assert_same(&moving.tables());

    let broken = moving.to_files(&mut stop);
    assert!(matches!(broken, Err(MigrateError::Log(LogError::Io { .. }))), "{broken:?}");
    moving.cluster.start_again();
    assert!(!moving.files().directory.join("segments").exists());
    moving.assert_same(&moving.tables());
    moving.to_files(&mut |_| {}).unwrap();
    moving.assert_same(&moving.files());
}

#[test]
fn a_cleaned_log_in_which_something_is_wrong_stays_where_it_is() {
    let moving = Moving::new();
    moving.to_postgres(&mut |_| {}).unwrap();
    let removed = moving.frames.iter().position(Result::is_err).unwrap();
    moving
        .cluster
        .sql(&format!("UPDATE passerelle_log.record SET noted = noted + 1 WHERE sequence = {removed}"));
    match moving.to_files(&mut |_| {}) {
        Err(MigrateError::Damaged(finding)) => {
            assert_eq!(finding.sequence, u64::try_from(removed).unwrap());
        }
        other => panic!("{other:?}"),
    }
    assert!(!moving.files().directory.join("segments").exists());
}
