//! Archiving and cleaning a log in PostgreSQL: the leader is replaced between announcing an archive, putting it into its
//! place and noting that; each message is in one archive that counts. What is cleaned is gone for every node.
//!
//! ```text
//! one ──announce──┬──put──┬──note     refused: another leads
//!                 ▼       ▼
//!                two leads, and archives what is not archived
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;
mod postgres_support;

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use cert_authority::clock::FixedClock;
use conf::snapshot::GlobalConf;
use evidence_support::now;
use gateway::{
    archive::{
        archiver::{Archiver, ArchivingError, Settings},
        cleaning::clean,
        encryption::Identities,
        target::{Directory, Parcel, Target, TargetError},
    },
    audit::{
        archives::Shelves,
        verify::{Grounds, Report, verify},
    },
    messagelog::{Config, LogError, MessageLog, Record},
};
use log_support::config;
use metaservice_support::*;
use postgres_support::Cluster;
use tempfile::TempDir;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

/// Two nodes of a log, and a place for archives that both reach.
struct Place {
    cluster: Cluster,
    scene: Scene,
    two: MessageLog,
    directory: TempDir,
    archives: PathBuf,
}

impl Place {
    fn new() -> Self {
        let cluster = Cluster::start();
        let scene = Scene::set(|config| Config { postgres: Some(cluster.database()), ..config });
        fs::copy(config(scene.directory.path()).key_file, cluster.kek()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(now()));
        let two = cluster.node(config(directory.path()), cluster.database(), clock);
        let archives = scene.directory.path().join("archives");
        fs::create_dir(&archives).unwrap();
        Self { cluster, scene, two, directory, archives }
    }

    fn target(&self) -> Directory {
        Directory::new(&self.archives, self.directory.path().join("log/bodies"))
    }

    fn archiver(&self, log: &MessageLog, target: Arc<dyn Target>) -> Archiver<MessageLog> {
        Archiver::new(log.clone(), log.reader(), target, Settings::default())
    }

    /// Takes the lead from whoever has it, until this one has taken it. Both look for it twice a second.
    fn lead(&self, log: &MessageLog) {
        let begun = Instant::now();
        let mut rival = String::new();
        while !log.leads() {
            assert!(begun.elapsed() < PATIENCE, "it never leads");
            if rival.is_empty() {
                rival = self.cluster.value("SELECT encode(leader, 'hex') FROM passerelle_log.head");
            }
            let vacant = "UPDATE passerelle_log.head SET leader = '', lease = '-infinity'";
            self.cluster.sql(&format!("{vacant} WHERE leader = decode('{rival}', 'hex')"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until both nodes know of all records.
    fn seen_by_both(&self) {
        let begun = Instant::now();
        let size = || self.cluster.value("SELECT size FROM passerelle_log.head").parse::<u64>().unwrap();
        while size() != self.scene.reader().len() || size() != self.two.reader().len() {
            assert!(begun.elapsed() < PATIENCE, "a node does not look");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn report(&self) -> Report {
        let conf = GlobalConf::load_dir(self.scene.configuration()).unwrap();
        let shelves = Shelves::open(vec![self.archives.clone()], Identities::none()).unwrap();
        let grounds = Grounds { conf: Some(&conf), archives: Some(&shelves), ..Grounds::default() };
        let postgres = Some(self.cluster.database());
        let config = Config { postgres, ..config(self.scene.directory.path()) };
        verify(&config, grounds, &mut |_| {}).unwrap()
    }

    /// The numbers of all messages, and of those in archives that count.
    fn messages_and_archived(&self) -> (Vec<u64>, Vec<u64>) {
        self.seen_by_both();
        let reader = self.scene.reader();
        let (mut messages, mut archived) = (Vec::new(), Vec::new());
        for number in 0..reader.len() {
            match reader.get(number).unwrap().unwrap().record {
                Record::Request(_) | Record::Response(_) => messages.push(number),
                Record::Archive(archive) if archive.begun.is_some() => archived.extend(archive.records),
                _ => {}
            }
        }
        archived.sort_unstable();
        (messages, archived)
    }
}

type Event = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// A place where something happens before a file is put there, or after.
struct Eventful {
    place: Directory,
    before: Event,
    after: Event,
}

impl Eventful {
    fn has_happened(&self) -> bool {
        self.before.lock().unwrap().is_none() && self.after.lock().unwrap().is_none()
    }
}

fn happens(event: &Event) {
    let event = event.lock().unwrap().take();
    if let Some(event) = event {
        event();
    }
}

impl Target for Eventful {
    fn check(&self) -> Result<(), TargetError> {
        self.place.check()
    }

    fn temporary(&self) -> Result<File, TargetError> {
        self.place.temporary()
    }

    fn put(&self, parcel: &Parcel, file: &mut File) -> Result<(), TargetError> {
        happens(&self.before);
        self.place.put(parcel, file)?;
        happens(&self.after);
        Ok(())
    }

    fn holds(&self, parcel: &Parcel) -> Result<bool, TargetError> {
        self.place.holds(parcel)
    }
}

#[test]
fn a_leader_that_is_replaced_while_it_archives_neither_loses_nor_doubles_a_message() {
    let place = Arc::new(Place::new());
    let one = place.scene.log.clone();
    // When: before the archive is put into its place, or after. Whether there is more to archive by then. How many
    // messages the new leader archives: of what is in its place only the note is missing.
    for (round, (before, more, expected)) in
        [(true, false, 2), (true, true, 3), (false, false, 0), (false, true, 1)].into_iter().enumerate()
    {
        place.lead(&one);
        for n in 0..2 {
            place.scene.log(Message { id: &format!("q-{round}-{n}"), ..REQUEST });
        }
        place.scene.stamp();
        place.seen_by_both();
        let event: Box<dyn FnOnce() + Send> = Box::new({
            let place = Arc::clone(&place);
            move || {
                if more {
                    place.scene.log(Message { id: &format!("q-{round}-more"), ..REQUEST });
                    place.scene.stamp();
                }
                place.lead(&place.two);
                place.seen_by_both();
                let mut archiver = place.archiver(&place.two, Arc::new(place.target()));
                let summary = place.scene.runtime.block_on(archiver.run()).unwrap();
                assert_eq!(summary.messages, expected, "round {round}");
            }
        });
        let (before, after) = if before { (Some(event), None) } else { (None, Some(event)) };
        let target = Arc::new(Eventful { place: place.target(), before: before.into(), after: after.into() });
        // On a machine that is busy the lead may pass before anything is put into its place: then once more.
        for _ in 0..10 {
            let refused = place.scene.runtime.block_on(place.archiver(&one, target.clone()).run());
            assert!(matches!(refused, Err(ArchivingError::Log(LogError::Overtaken))), "{refused:?}");
            if target.has_happened() {
                break;
            }
            place.lead(&one);
        }
        assert!(target.has_happened(), "round {round}");
        let (messages, archived) = place.messages_and_archived();
        assert_eq!(archived, messages, "round {round}: each is archived once");
    }
    // The first one leads again, and goes on where the second one was.
    place.lead(&one);
    place.scene.log(Message { id: "last", ..REQUEST });
    place.scene.stamp();
    let mut archiver = place.archiver(&one, Arc::new(place.target()));
    assert_eq!(place.scene.runtime.block_on(archiver.run()).unwrap().messages, 1);
    let (messages, archived) = place.messages_and_archived();
    assert_eq!((messages.len(), archived), (11, messages.clone()));
    let report = place.report();
    assert_eq!(report.problems, []);
    assert_eq!((report.archives, report.archives_named), (6, 6));
}

#[test]
fn only_what_is_stamped_archived_and_old_is_cleaned_and_is_gone_for_every_node() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let place = Place::new();
    let (one, runtime) = (&place.scene.log, &place.scene.runtime);
    let large = place.scene.log(Message { body: Some(&vec![7; 2_500_000]), ..REQUEST });
    place.scene.log(Message { id: "q-2", ..REQUEST });
    let keys = one.vault().keys().unwrap();
    assert_eq!(keys.len(), 1);
    let left = || {
        let count = |table| place.cluster.value(&format!("SELECT count(*) FROM passerelle_log.{table}"));
        (count("data_key"), count("body"))
    };
    assert_eq!(left(), ("1".to_owned(), "3".to_owned()));
    let mut archiver = place.archiver(one, Arc::new(place.target()));
    let clean_at = |archiver: &Archiver<MessageLog>, days: u32| {
        runtime.block_on(clean(one, archiver.ledger(), 30 * DAY, now() + days * DAY)).unwrap()
    };
    let none: [String; 0] = [];
    place.lead(one);
    runtime.block_on(archiver.run()).unwrap();
    assert_eq!(clean_at(&archiver, 100), none, "not stamped");
    place.scene.stamp();
    assert_eq!(clean_at(&archiver, 100), none, "not archived");
    assert_eq!(runtime.block_on(archiver.run()).unwrap().messages, 2);
    assert_eq!(clean_at(&archiver, 29), none, "too young");
    place.seen_by_both();
    let bodies = |log: &MessageLog| {
        let reader = log.reader();
        let bodies = reader.bodies(&reader.get(large).unwrap().unwrap()).unwrap();
        bodies.iter().filter(|body| body.is_some()).count()
    };
    assert_eq!(bodies(&place.two), 2);
    assert_eq!(clean_at(&archiver, 100), keys);
    assert_eq!(left(), ("0".to_owned(), "0".to_owned()));
    place.seen_by_both();
    assert_eq!((bodies(one), bodies(&place.two)), (0, 0));
    assert_eq!(place.two.vault().keys().unwrap(), none);
    // As when a node was killed while it removed bodies.
    place
        .cluster
        .sql(&format!("INSERT INTO passerelle_log.body VALUES ('{}', '\\x00', 0, '\\x00')", keys[0]));
    assert_eq!(place.two.vault().keys().unwrap(), keys);
    assert_eq!(clean_at(&archiver, 100), keys);
    assert_eq!(left(), ("0".to_owned(), "0".to_owned()));
    assert_eq!(runtime.block_on(archiver.run()).unwrap().messages, 0);
    let report = place.report();
    assert_eq!((report.problems.len(), report.archives), (0, 1), "{:?}", report.problems);
}

#[test]
fn a_message_that_is_damaged_is_named_and_keeps_no_other_from_its_archive() {
    let place = Place::new();
    let one = &place.scene.log;
    place.lead(one);
    let numbers: Vec<u64> =
        ["a", "b", "c"].iter().map(|id| place.scene.log(Message { id, ..REQUEST })).collect();
    place.scene.stamp();
    let damage = "UPDATE passerelle_log.record SET frame = overlay(frame placing '\\x00' from 50)";
    place.cluster.sql(&format!("{damage} WHERE sequence = {}", numbers[1]));
    place.seen_by_both();
    let mut archiver = place.archiver(one, Arc::new(place.target()));
    for expected in [2, 0] {
        let summary = place.scene.runtime.block_on(archiver.run()).unwrap();
        assert_eq!((summary.messages, summary.damaged), (expected, vec![numbers[1]]));
    }
    let report = place.report();
    assert_eq!((report.problems[0].record, report.archives), (numbers[1], 1), "{:?}", report.problems);
}
