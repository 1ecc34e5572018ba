//! A log moved from files to PostgreSQL and back: it stays the same log, and is never there twice or half.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;
mod postgres_support;
mod verify_support;

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use cert_authority::{
    clock::{Clock, FixedClock},
    tlog::Checkpoint,
};
use evidence_support::{World, now};
use gateway::{
    audit::verify::verify,
    messagelog::{
        Config, LogError, LogStore as _, MessageLog, Record,
        error::Flaw,
        migrate::{MigrateError, Moved, to_files, to_postgres},
        record::AccessRecord,
    },
};
use log_support::config;
use metaservice_support::*;
use postgres_support::Cluster;
use tempfile::TempDir;
use verify_support::Judged;

/// A closed log in files with everything in it, among it large bodies, one of them with a destroyed key.
struct Moving {
    cluster: Cluster,
    directory: TempDir,
    judged: Judged,
    /// Every frame, in files.
    frames: Vec<Bytes>,
    last: Checkpoint,
    large: u64,
}

fn body() -> Vec<u8> {
    (0..3_000_000_u32).flat_map(|n| n.to_be_bytes().into_iter().skip(3)).collect()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock::new(now()))
}

impl Moving {
    fn new() -> Self {
        let cluster = Cluster::start();
        let scene = Scene::new();
        let large = scene.log(Message { id: "large", body: Some(&body()), ..REQUEST });
        let judged = Judged::within(scene, 30);
        let frames = frames(&judged.scene.log);
        let last = judged.last.clone();
        let Judged { scene, conf, trust, .. } = judged;
        let Scene { directory, world, key, log, clock: time, runtime } = scene;
        drop(log);
        // What stays of the scene is what the log is judged by; its own log is another one, elsewhere.
        let elsewhere = tempfile::tempdir().unwrap();
        let log = MessageLog::create(config(elsewhere.path()), clock()).unwrap();
        let world: Arc<World> = world;
        let scene = Scene { directory: elsewhere, world, key, log, clock: time, runtime };
        let judged = Judged { scene, conf, trust, last: last.clone() };
        Self { cluster, directory, judged, frames, last, large }
    }

    fn files(&self) -> Config {
        config(self.directory.path())
    }

    fn tables(&self) -> Config {
        Config { postgres: Some(self.cluster.database()), ..self.files() }
    }

    fn to_postgres(&self) -> Result<Moved, MigrateError> {
        to_postgres(&self.files(), &self.cluster.database(), &clock(), &mut |_| {})
    }

    fn to_files(&self) -> Result<Moved, MigrateError> {
        to_files(&self.files(), &self.cluster.database(), &clock(), &mut |_| {})
    }

    /// It is all there, and is what it was.
    fn assert_whole(&self, config: &Config) {
        // The checkpoint from before the move holds.
        let report = verify(config, self.judged.grounds(), &mut |_| {}).unwrap();
        assert_eq!(report.problems, []);
        assert!(report.checkpoints_judged && report.checkpoints >= 5, "{report:?}");
        let log = MessageLog::open(config.clone(), clock()).unwrap();
        assert_eq!(frames(&log), self.frames);
        let large = log.reader().get(self.large).unwrap().unwrap();
        let bodies = log.reader().bodies(&large).unwrap();
        assert_eq!(bodies[1].as_ref().unwrap().read().unwrap(), body());
        let small = log.reader().get(self.large + 1).unwrap().unwrap();
        assert_eq!(
            log.reader().bodies(&small).unwrap()[1].as_ref().unwrap().read().unwrap(),
            b"question".as_slice()
        );
        assert_eq!(log.reader().by_message_id("q-3").unwrap().len(), 2);
    }

    fn settings(&self) -> std::path::PathBuf {
        let file = self.directory.path().join("gateway.toml");
        let text = format!(
            "[server]\nid = \"EE/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
             [log]\ndirectory = \"log\"\nkey = \"kek\"\n\
             [log.postgres]\nport = {}\nuser = \"postgres\"\ndatabase = \"postgres\"\n",
            self.cluster.database().port
        );
        put(&file, text.as_bytes());
        file
    }

    fn command(&self, to: &str) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
        let output = command.arg("--config").arg(self.settings()).args(["log", "migrate", "--to", to]);
        let output = output.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }
}

fn frames(log: &MessageLog) -> Vec<Bytes> {
    let reader = log.reader();
    (0..reader.len()).map(|number| reader.frame(number).unwrap().unwrap()).collect()
}

/// The files below a directory, with what is in them.
fn contents(directory: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let (mut found, mut waiting) = (Vec::new(), vec![directory.to_path_buf()]);
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push((path.strip_prefix(directory).unwrap().to_path_buf(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn there_and_back_it_is_the_same_log_to_the_byte_and_goes_on_in_each_place() {
    let mut moving = Moving::new();
    let log = moving.files().directory;
    let keys = contents(&log.join("keys"));
    let bodies = contents(&log.join("bodies"));
    let identity = fs::read(log.join("identity")).unwrap();
    let moved = moving.to_postgres().unwrap();
    assert_eq!(moved.records, u64::try_from(moving.frames.len()).unwrap());
    moving.assert_whole(&moving.tables());
    let wrapped = "SELECT encode(wrapped, 'hex') FROM passerelle_log.data_key ORDER BY id LIMIT 1";
    assert_eq!(moving.cluster.value(wrapped), hex::encode(&keys[0].1), "wrapped as it was");

    // It goes on there; what is left of the files is no log any more.
    assert_eq!(MessageLog::open(moving.files(), clock()).err(), Some(LogError::Moved("files")));
    let more = MessageLog::open(moving.tables(), clock()).unwrap();
    let note = Record::Access(AccessRecord {
        who: "somebody".into(),
        role: None,
        action: "show".into(),
        query: "after the move".into(),
        reason: None,
        records: vec![],
        bodies: false,
    });
    let receipt = moving.judged.scene.runtime.block_on(more.append(note.clone(), vec![])).unwrap();
    assert_eq!(receipt.sequence, moved.records);
    moving.frames = frames(&more);
    drop(more);

    let back = moving.to_files().unwrap();
    assert_eq!(back.records, moved.records + 1);
    moving.assert_whole(&moving.files());
    assert_eq!(contents(&log.join("keys")), keys);
    assert_eq!(contents(&log.join("bodies")), bodies);
    assert_eq!(fs::read(log.join("identity")).unwrap(), identity);
    assert!(!log.join("migrating").exists());
    assert_eq!(MessageLog::open(moving.tables(), clock()).err(), Some(LogError::Moved("the database")));
    let again = MessageLog::open(moving.files(), clock()).unwrap();
    let receipt = moving.judged.scene.runtime.block_on(again.append(note, vec![])).unwrap();
    assert_eq!(receipt.sequence, back.records);
    assert!(moving.last.size() <= moved.records);
}

#[test]
fn bodies_whose_key_was_destroyed_stay_gone_and_the_rest_moves() {
    let moving = Moving::new();
    let log = MessageLog::open(moving.files(), clock()).unwrap();
    let key = log.vault().keys().unwrap()[0].clone();
    let erased = gateway::messagelog::erase::erase(&log, &key, "officer", "asked for");
    moving.judged.scene.runtime.block_on(erased).unwrap();
    drop(log);
    moving.to_postgres().unwrap();
    assert_eq!(moving.cluster.value("SELECT count(*) FROM passerelle_log.body"), "0");
    assert_eq!(moving.cluster.value("SELECT count(*) FROM passerelle_log.data_key"), "0");
    let report = verify(&moving.tables(), moving.judged.grounds(), &mut |_| {}).unwrap();
    assert_eq!(report.problems, []);
    moving.to_files().unwrap();
    let report = verify(&moving.files(), moving.judged.grounds(), &mut |_| {}).unwrap();
    assert_eq!(report.problems, []);
}

#[test]
fn while_a_gateway_has_the_log_it_is_not_moved() {
    let moving = Moving::new();
    let running = MessageLog::open(moving.files(), clock()).unwrap();
    assert_eq!(moving.to_postgres(), Err(MigrateError::Log(LogError::Locked)));
    let (code, said) = moving.command("postgres");
    assert!(code == 1 && said.contains("stop every gateway"), "{said}");
    drop(running);
    moving.to_postgres().unwrap();

    // Another node has it, in a directory of its own.
    let other = tempfile::tempdir().unwrap();
    let node = Config { directory: other.path().join("log"), ..moving.tables() };
    let running = MessageLog::create(node, clock()).unwrap();
    let mut waited = 0;
    while !running.leads() {
        std::thread::sleep(Duration::from_millis(50));
        waited += 1;
        assert!(waited < 400, "it does not lead");
    }
    assert_eq!(moving.to_files(), Err(MigrateError::Log(LogError::Locked)));
    assert!(!moving.files().directory.join("segments").exists());
    drop(running);
    moving.to_files().unwrap();
    moving.assert_whole(&moving.files());
}

#[test]
fn a_place_where_something_is_already_is_left_alone() {
    let moving = Moving::new();
    let other = tempfile::tempdir().unwrap();
    let node = Config { postgres: Some(moving.cluster.database()), ..config(other.path()) };
    drop(MessageLog::create(node.clone(), clock()).unwrap());
    let before = moving.cluster.value("SELECT log FROM passerelle_log.head");
    let refused = moving.to_postgres();
    assert!(matches!(refused, Err(MigrateError::Log(LogError::NotEmpty(_)))), "{refused:?}");
    assert_eq!(moving.cluster.value("SELECT log FROM passerelle_log.head"), before);
    moving.assert_whole(&moving.files());

    // The other way: the directory is that of another log.
    let refused = to_files(
        &Config { key_file: node.key_file.clone(), ..moving.files() },
        &moving.cluster.database(),
        &clock(),
        &mut |_| {},
    );
    assert!(matches!(refused, Err(MigrateError::Log(LogError::NotEmpty(_)))), "{refused:?}");
    moving.assert_whole(&moving.files());
    drop(MessageLog::open(node, clock()).unwrap());
}

#[test]
fn a_log_that_does_not_verify_stays_where_it_is_and_the_record_is_named() {
    let moving = Moving::new();
    let body = contents(&moving.files().directory.join("bodies"))[0].0.clone();
    let body = moving.files().directory.join("bodies").join(body);
    let bytes = fs::read(&body).unwrap();
    let mut changed = bytes.clone();
    changed[1_000_000] ^= 1;
    fs::remove_file(&body).unwrap();
    put(&body, &changed);
    match moving.to_postgres() {
        Err(MigrateError::Damaged(finding)) => {
            assert_eq!((finding.sequence, finding.flaw), (moving.large, Flaw::Body));
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(&body).unwrap();
    put(&body, &bytes);
    moving.to_postgres().unwrap();

    moving.cluster.sql("UPDATE passerelle_log.record SET frame = frame || '\\x00' WHERE sequence = 9");
    match moving.to_files() {
        Err(MigrateError::Damaged(finding)) => assert_eq!(finding.sequence, 9),
        other => panic!("{other:?}"),
    }
    assert!(!moving.files().directory.join("segments").exists());
    drop(MessageLog::open(moving.tables(), clock()).unwrap());
}

#[test]
fn a_move_that_was_broken_off_is_no_log_and_begins_anew() {
    let moving = Moving::new();
    // PostgreSQL goes away in the middle.
    let stop = |number: u64| {
        if number == 20 {
            moving.cluster.kill();
        }
    };
    let broken = to_postgres(&moving.files(), &moving.cluster.database(), &clock(), &mut |n| stop(n));
    assert!(matches!(broken, Err(MigrateError::Log(LogError::Io { .. }))), "{broken:?}");
    moving.cluster.start_again();
    let refused = MessageLog::open(moving.tables(), clock()).err();
    assert!(matches!(refused, Some(LogError::Missing(_))), "{refused:?}");
    let other = tempfile::tempdir().unwrap();
    let node = Config { directory: other.path().join("log"), ..moving.tables() };
    let refused = MessageLog::create(node, clock()).err();
    assert!(matches!(refused, Some(LogError::Missing(_))), "{refused:?}");
    moving.assert_whole(&moving.files());
    // Something of the first try is there, of a log that went on.
    moving.cluster.sql("INSERT INTO passerelle_log.batch VALUES ('\\x00', 5)");
    moving.to_postgres().unwrap();
    moving.assert_whole(&moving.tables());
    assert_eq!(moving.cluster.value("SELECT count(*) FROM passerelle_log.batch WHERE first = 5"), "0");

    // The other way: the process is killed, so that the half of it stays.
    let broken = to_files(&moving.files(), &moving.cluster.database(), &clock(), &mut |n| stop(n + 10));
    // What was read before PostgreSQL went away may have been all: then it is the judge who misses it.
    assert!(matches!(broken, Err(MigrateError::Log(LogError::Io { .. }))), "{broken:?}");
    moving.cluster.start_again();
    let log = moving.files().directory;
    assert!(!log.join("segments").exists());
    assert_eq!(MessageLog::open(moving.files(), clock()).err(), Some(LogError::Moved("files")));
    fs::create_dir_all(log.join("migrating/segments")).unwrap();
    put(&log.join("migrating/segments/00000001.seg"), b"half");
    moving.to_files().unwrap();
    moving.assert_whole(&moving.files());
}

#[test]
fn only_the_closing_of_the_source_is_made_up_for_when_that_was_broken_off() {
    let moving = Moving::new();
    let log = moving.files().directory;
    moving.to_postgres().unwrap();
    run(Command::new("mv").arg(log.join("segments.moved")).arg(log.join("segments")));
    let moved = moving.to_postgres().unwrap();
    assert_eq!(moved.records, u64::try_from(moving.frames.len()).unwrap());
    assert!(!log.join("segments").exists());
    moving.assert_whole(&moving.tables());

    moving.to_files().unwrap();
    moving.cluster.sql("UPDATE passerelle_log.head SET format = 1");
    moving.to_files().unwrap();
    assert_eq!(moving.cluster.value("SELECT format FROM passerelle_log.head"), "-2");
    moving.assert_whole(&moving.files());
}

#[test]
fn the_command_says_what_was_moved_and_what_is_to_be_done() {
    let moving = Moving::new();
    let records = moving.frames.len();
    let (code, said) = moving.command("postgres");
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains(&format!("records        {records}\n")) && said.contains("segments.moved"),
        "{said}"
    );
    let (code, said) = moving.command("postgres");
    assert!(code == 1 && said.contains("moved elsewhere"), "{said}");
    fs::remove_dir_all(moving.files().directory.join("segments.moved")).unwrap();
    let (code, said) = moving.command("files");
    assert!(code == 0 && said.contains("take [log.postgres] out of the settings"), "{said}");
    moving.assert_whole(&moving.files());
}

#[test]
fn a_machine_that_had_nothing_of_the_log_but_its_key_gets_all_of_it() {
    let moving = Moving::new();
    moving.to_postgres().unwrap();
    let other = tempfile::tempdir().unwrap();
    let there = config(other.path());
    let refused = to_files(&there, &moving.cluster.database(), &clock(), &mut |_| {});
    assert!(matches!(refused, Err(MigrateError::Log(LogError::Key(_)))), "without the key: {refused:?}");
    fs::copy(&moving.files().key_file, &there.key_file).unwrap();
    let mut copied = 0_u64;
    let moved = to_files(&there, &moving.cluster.database(), &clock(), &mut |_| copied += 1).unwrap();
    assert_eq!(moved.records, copied, "each is told");
    moving.assert_whole(&there);
}
