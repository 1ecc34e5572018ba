//! Every I/O step of the log is made to fail once, and no promise is broken.
//!
//! ```text
//! MessageLog ──► FailingDisk (the n-th operation goes wrong) ──► real files ──► names that were never synced are
//! removed, as a power cut may ──► opened again: what was promised is there
//! ```
//! The life of a log that each step of is made to fail: made, small and large bodies, segments, data keys of two days,
//! time-stamps, a checkpoint, a data key erased, opened again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod failing_disk;
mod log_support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::{Clock, FixedClock},
    crypto::digest,
    keys::{KeyType, Pin, inventory::Usage, software::SoftwareKeys},
    tlog::{NoteSigner, SignatureType},
};
use failing_disk::{FailingDisk, Fault};
use gateway::messagelog::{
    LogError, LogStore, MessageLog,
    audit::audit,
    checkpoint::{CheckpointError, Checkpoints, Settings, last_in},
    disk::Disk,
    erase::erase,
    stamp::{Granted, StampFuture, TimestampAuthority},
    timestamper::{PendingError, stamp_pending},
};
use log_support::*;

fn open_on(directory: &Path, disk: Arc<FailingDisk>) -> Result<MessageLog, LogError> {
    MessageLog::open_on(config(directory), Arc::new(clock()), disk)
}

/// Grants whatever it is asked for.
struct Granting;

impl TimestampAuthority for Granting {
    fn name(&self) -> &str {
        "granting"
    }

    fn stamp<'a>(&'a self, data: &'a [u8]) -> StampFuture<'a> {
        let token = digest(DigestAlgorithm::Sha512, data).as_ref().to_vec().into();
        Box::pin(async move { Ok(Granted { token, time: clock().now() }) })
    }
}

/// A log on a disk of which one operation fails, and what its user was promised.
struct Life {
    directory: PathBuf,
    disk: Arc<FailingDisk>,
    clock: FixedClock,
    signer: NoteSigner,
    log: Option<MessageLog>,
    /// The message ids.
    promised: Vec<String>,
    tried: usize,
    /// Everything below this number has its time-stamp.
    stamped: u64,
    checkpoint: Option<u64>,
    erased: Option<Result<String, String>>,
    errors: usize,
}

impl Life {
    fn new(directory: &Path, disk: Arc<FailingDisk>, signer: NoteSigner) -> Self {
        let (directory, clock) = (directory.to_owned(), clock());
        Self {
            directory,
            disk,
            clock,
            signer,
            log: None,
            promised: Vec::new(),
            tried: 0,
            stamped: 0,
            checkpoint: None,
            erased: None,
            errors: 0,
        }
    }

    /// As an operator does: makes it, or opens it where it is made, and tries again. One operation fails, so that at most
    /// one try does.
    fn start(&mut self) {
        self.log = None;
        let made = self.directory.join("log/identity").exists();
        let config = config(&self.directory);
        let clock = Arc::new(self.clock.clone());
        let disk: Arc<dyn Disk> = self.disk.clone();
        let log = if made {
            MessageLog::open_on(config, clock, disk)
        } else {
            MessageLog::create_on(config, clock, disk)
        };
        match log {
            Ok(log) => self.log = Some(log),
            Err(LogError::Io { .. } | LogError::NoSpace(_)) => {
                self.errors += 1;
                assert_eq!(self.errors, 1, "one failure, one error");
                self.start();
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn log(&self) -> MessageLog {
        self.log.clone().unwrap()
    }

    /// A failed write or sync stops the log, and it says so, until it is opened again; other failures pass.
    fn failed(&mut self, error: &LogError) {
        self.errors += 1;
        match error {
            LogError::Stopped(_) => {
                assert!(matches!(self.log().ready(), Err(LogError::Stopped(_))));
                self.start();
            }
            LogError::Io { .. } | LogError::NoSpace(_) => assert_eq!(self.log().ready(), Ok(())),
            other => panic!("{other}"),
        }
    }

    async fn append(&mut self, length: usize) {
        let id = format!("m{}", self.tried);
        self.tried += 1;
        let result = append(&self.log(), &id, &vec![b'x'; length]).await;
        match result {
            Ok(_) => self.promised.push(id),
            Err(error) => self.failed(&error),
        }
    }

    async fn stamp(&mut self) {
        let below = self.log().reader().len();
        let result = stamp_pending(&self.log(), &[Box::new(Granting)]).await;
        match result {
            Ok(_) => self.stamped = below,
            Err(PendingError::Log(error)) => self.failed(&error),
            Err(other) => panic!("{other}"),
        }
    }

    async fn make_checkpoint(&mut self) {
        let settings = Settings {
            origin: ORIGIN.to_owned(),
            every: Duration::from_secs(1),
            previous_keys: Vec::new(),
            witnesses: Vec::new(),
            quorum: 0,
        };
        let clock = Arc::new(self.clock.clone());
        let checkpoints = Checkpoints::open(self.log(), self.signer.clone(), settings, clock).unwrap();
        match checkpoints.make().await {
            Ok(made) => self.checkpoint = Some(made.unwrap().checkpoint.size()),
            Err(CheckpointError::Log(error)) => {
                drop(checkpoints);
                self.failed(&error);
            }
            Err(other) => panic!("{other}"),
        }
    }

    async fn erase(&mut self) {
        let Some(key) = self.log().vault().keys().unwrap().into_iter().next() else { return };
        let result = erase(&self.log(), &key, "an officer", "the time is over").await;
        match result {
            Ok(_) => self.erased = Some(Ok(key)),
            Err(error) => {
                self.erased = Some(Err(key));
                self.failed(&error);
            }
        }
    }

    async fn live(&mut self) {
        self.start();
        // A small body, those that make a segment full and begin the next, those that go to files.
        for length in [100, 60_000, 60_000, 60_000, 60_000, 60_000, 200_000, 100, 200_000] {
            self.append(length).await;
        }
        self.stamp().await;
        self.make_checkpoint().await;
        self.clock.advance(Duration::from_secs(24 * 3600));
        self.append(100).await;
        self.append(200_000).await;
        self.erase().await;
        self.stamp().await;
        self.start();
        self.append(100).await;
        self.log = None;
    }

    /// With a disk on which everything works.
    fn check(&self, what: &str) {
        let log = open(&self.directory).unwrap_or_else(|e| panic!("{what}: {e}"));
        let reader = log.reader();
        let records: Vec<_> = (0..reader.len()).map(|n| reader.get(n).unwrap().unwrap()).collect();
        let is_promised = |id: &&str| self.promised.iter().any(|promised| promised == id);
        let there = records.iter().filter_map(|record| record.record.message_id());
        let kept: Vec<_> = there.filter(is_promised).collect();
        assert_eq!(kept, self.promised, "{what}: promised and there, once, in order");
        for record in records.iter().filter(|record| record.record.message().is_some()) {
            let n = record.sequence;
            assert!(
                n >= self.stamped || reader.timestamp_of(n).unwrap().is_some(),
                "{what}: {n} is not stamped"
            );
            let material = reader.export(n).unwrap().unwrap();
            for (part, content) in record.record.message().unwrap().parts.iter().zip(material.parts) {
                let key = &part.stored.as_ref().unwrap().key;
                let content = content.map(|content| content.read());
                match &self.erased {
                    Some(Ok(erased)) if erased == key => assert!(content.is_none(), "{what}: {n} was erased"),
                    // Whether it is there is not known.
                    Some(Err(erased)) if erased == key => {}
                    _ => drop(content.unwrap_or_else(|| panic!("{what}: {n} has no body")).unwrap()),
                }
            }
        }
        let checkpoint = last_in(&reader).unwrap().map(|(record, _)| record.size);
        assert!(checkpoint >= self.checkpoint, "{what}: the checkpoint was promised");
        let count = reader.len();
        drop((log, reader));
        let verdict = audit(&config(&self.directory).directory, &mut ()).unwrap();
        assert_eq!((verdict.findings.as_slice(), verdict.records), ([].as_slice(), count), "{what}");
    }
}

const ORIGIN: &str = "gateway.example/DEMO/GOV/1001/log";

fn signer(directory: &Path) -> NoteSigner {
    let keys = Arc::new(SoftwareKeys::open(directory.join("signer"), &Pin::new("pin")).unwrap());
    let id = keys.create(KeyType::Ed25519, Usage::Checkpoint, ORIGIN, None, clock().now()).unwrap();
    NoteSigner::new(ORIGIN, SignatureType::Ed25519, id, keys).unwrap()
}

fn fail_every_step(fault: Fault) {
    let runtime = runtime();
    let keys = tempfile::tempdir().unwrap();
    let signer = signer(keys.path());
    for at in 1.. {
        let directory = tempfile::tempdir().unwrap();
        let disk = FailingDisk::new(at, fault);
        let what = format!("{fault:?} at step {at}");
        let mut life = Life::new(directory.path(), Arc::clone(&disk), signer.clone());
        runtime.block_on(life.live());
        disk.cut_power();
        // With the index that the log has, and without.
        life.check(&what);
        fs::remove_dir_all(directory.path().join("log/index")).unwrap();
        life.check(&what);
        if !disk.struck() {
            assert_eq!((life.promised.len(), life.errors), (12, 0));
            assert!(
                directory.path().join("log/segments").read_dir().unwrap().count() > 1,
                "a segment was full"
            );
            assert!(life.checkpoint.is_some() && matches!(life.erased, Some(Ok(_))));
            println!("{fault:?}: each of {} steps was made to fail", at - 1);
            assert!(at > 80, "{fault:?}: only {at} steps");
            break;
        }
    }
}

#[test]
fn no_step_that_fails_without_effect_breaks_a_promise() {
    fail_every_step(Fault::Io);
}

#[test]
fn no_step_on_a_full_disk_breaks_a_promise() {
    fail_every_step(Fault::NoSpace);
}

#[test]
fn no_step_that_fails_half_way_breaks_a_promise() {
    fail_every_step(Fault::Half);
}

#[test]
fn no_step_that_fails_after_its_effect_breaks_a_promise() {
    fail_every_step(Fault::ShortOrLate);
}

/// How many operations it takes to open the log, and to seal a first body.
fn opening(directory: &Path) -> usize {
    let disk = FailingDisk::new(usize::MAX, Fault::Io);
    let log = open_on(directory, Arc::clone(&disk)).unwrap();
    log.vault().seal(b"makes the key of the day").unwrap();
    drop(log);
    let before = disk.count.swap(0, Ordering::SeqCst);
    assert!(before > 0);
    // The key is there now.
    let log = open_on(directory, Arc::clone(&disk)).unwrap();
    log.vault().seal(b"finds it").unwrap();
    disk.count.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_failed_sync_stops_the_log_for_good() {
    let directory = tempfile::tempdir().unwrap();
    drop(create(directory.path()));
    // The first operation of an opened log is the write of the first record, the second its sync.
    let log = open_on(directory.path(), FailingDisk::new(opening(directory.path()) + 2, Fault::Io)).unwrap();
    assert!(matches!(append(&log, "first", b"").await, Err(LogError::Stopped(_))));
    assert!(matches!(append(&log, "second", b"").await, Err(LogError::Stopped(_))));
    assert!(matches!(log.ready(), Err(LogError::Stopped(_))));
}

#[tokio::test]
async fn a_full_disk_is_refused_before_and_forgotten_when_space_returns() {
    let directory = tempfile::tempdir().unwrap();
    drop(create(directory.path()));
    let disk = FailingDisk::new(usize::MAX, Fault::Io);
    let log = open_on(directory.path(), Arc::clone(&disk)).unwrap();
    assert_eq!(log.ready(), Ok(()));
    disk.free.store(config(directory.path()).reserve - 1, Ordering::SeqCst);
    assert!(matches!(log.ready(), Err(LogError::NoSpace(_))));
    append(&log, "under way", b"").await.unwrap();
    disk.free.store(1 << 30, Ordering::SeqCst);
    assert_eq!(log.ready(), Ok(()));
}

#[tokio::test]
async fn no_room_for_a_new_segment_refuses_records_until_there_is() {
    let directory = tempfile::tempdir().unwrap();
    drop(create(directory.path()));
    // Four records of 60,000 bytes fill the segment: write and sync each, then the new segment's file is made.
    let log =
        open_on(directory.path(), FailingDisk::new(opening(directory.path()) + 9, Fault::NoSpace)).unwrap();
    let body = vec![1; 60_000];
    for n in 0..4 {
        assert_eq!(append(&log, &format!("m{n}"), &body).await.unwrap().sequence, n);
    }
    assert!(matches!(append(&log, "refused", &body).await, Err(LogError::NoSpace(_))));
    assert_eq!(append(&log, "taken", &body).await.unwrap().sequence, 4);
    drop(log);
    let promised: Vec<_> = ["m0", "m1", "m2", "m3", "taken"].map(str::to_owned).into();
    assert_eq!(ids(&open(directory.path()).unwrap()), promised);
    assert_eq!(audit(&config(directory.path()).directory, &mut ()).unwrap().findings, []);
}
