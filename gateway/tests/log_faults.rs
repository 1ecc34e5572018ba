//! Every I/O step of the log is made to fail once, and no promise is broken.
//!
//! ```text
//! MessageLog ──► FailingDisk (the n-th operation goes wrong) ──► real files ──► opened again: what was promised is there
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use gateway::messagelog::{
    LogError, LogStore, MessageLog,
    audit::audit,
    disk::{Disk, SystemDisk},
};
use log_support::*;

/// How an operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// EIO; nothing was done.
    Io,
    /// ENOSPC; nothing was done.
    NoSpace,
    /// A write stops half way, then EIO. A sync loses what was written since the last one.
    Half,
    /// A write is short, which is no error. Other operations are done, and then report EIO.
    ShortOrLate,
}

struct FailingDisk {
    at: usize,
    fault: Fault,
    count: AtomicUsize,
    free: AtomicU64,
    unsynced: Mutex<Vec<(u64, usize)>>,
}

impl FailingDisk {
    fn new(at: usize, fault: Fault) -> Arc<Self> {
        let (count, free) = (AtomicUsize::new(0), AtomicU64::new(1 << 40));
        Arc::new(Self { at, fault, count, free, unsynced: Mutex::default() })
    }

    fn now(&self) -> bool {
        self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.at
    }

    fn struck(&self) -> bool {
        self.count.load(Ordering::SeqCst) >= self.at
    }

    fn step<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if !self.now() {
            return operation();
        }
        match self.fault {
            Fault::NoSpace => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Fault::Io | Fault::Half => Err(io::Error::from_raw_os_error(5)),
            Fault::ShortOrLate => operation().and(Err(io::Error::from_raw_os_error(5))),
        }
    }
}

impl Disk for FailingDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.step(|| SystemDisk.create(path))
    }
    fn temporary(&self, directory: &Path) -> io::Result<File> {
        self.step(|| SystemDisk.temporary(directory))
    }
    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        self.step(|| SystemDisk.allocate(file, length))
    }
    fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        let half = &data[..data.len().div_ceil(2)];
        self.unsynced.lock().unwrap().push((offset, data.len()));
        match (self.now(), self.fault) {
            (false, _) => SystemDisk.write(file, data, offset),
            (true, Fault::ShortOrLate) => SystemDisk.write(file, half, offset),
            (true, Fault::NoSpace) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            (true, Fault::Io) => Err(io::Error::from_raw_os_error(5)),
            (true, Fault::Half) => {
                SystemDisk.write(file, half, offset)?;
                Err(io::Error::from_raw_os_error(5))
            }
        }
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        let written = std::mem::take(&mut *self.unsynced.lock().unwrap());
        let result = self.step(|| SystemDisk.sync(file));
        if result.is_err() && self.fault == Fault::Half {
            for (offset, length) in written {
                file.write_all_at(&vec![0; length], offset).unwrap();
            }
        }
        result
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.sync_dir(directory))
    }
    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.step(|| SystemDisk.truncate(file, length))
    }
    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.link(file, path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.rename(from, to))
    }
    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free.load(Ordering::SeqCst))
    }
}

fn open_on(directory: &Path, disk: Arc<FailingDisk>) -> Result<MessageLog, LogError> {
    MessageLog::open_on(config(directory), Arc::new(clock()), disk)
}

/// Appends until `count` records were tried; gives the ids that were promised. After the first stop nothing may be
/// promised any more.
async fn append_some(log: &MessageLog, count: usize) -> Vec<String> {
    let mut promised = Vec::new();
    let mut stopped = false;
    for n in 0..count {
        let id = format!("m{n}");
        // Small bodies, one that makes a segment full, one that goes to a file.
        let body = vec![b'x'; [100, 60_000, 200_000][n % 3]];
        match append(log, &id, &body).await {
            Ok(_) => {
                assert!(!stopped, "{id} was promised after the stop");
                promised.push(id);
            }
            Err(LogError::Stopped(_)) => stopped = true,
            Err(LogError::Io { .. } | LogError::NoSpace(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    promised
}

fn check(directory: &Path, promised: &[String], what: &str) {
    let log = open(directory).unwrap_or_else(|e| panic!("{what}: {e}"));
    let there = ids(&log);
    let kept: Vec<_> = there.iter().filter(|id| promised.contains(id)).cloned().collect();
    assert_eq!(kept, promised, "{what}: promised and there, once, in order");
    for n in 0..log.reader().len() {
        let material = log.reader().export(n).unwrap().unwrap();
        for part in material.parts {
            part.unwrap().read().unwrap();
        }
    }
    drop(log);
    let verdict = audit(&config(directory).directory, &mut ()).unwrap();
    assert_eq!(verdict.findings, [], "{what}");
    assert_eq!(verdict.records, u64::try_from(there.len()).unwrap());
}

fn fail_every_step(fault: Fault) {
    let runtime = runtime();
    let mut steps = 0;
    for at in 1.. {
        let directory = tempfile::tempdir().unwrap();
        drop(create(directory.path()));
        let disk = FailingDisk::new(at, fault);
        let what = format!("{fault:?} at step {at}");
        let promised = match open_on(directory.path(), Arc::clone(&disk)) {
            Ok(log) => runtime.block_on(append_some(&log, 12)),
            Err(error) => {
                assert!(matches!(error, LogError::Io { .. } | LogError::NoSpace(_)), "{what}: {error}");
                Vec::new()
            }
        };
        check(directory.path(), &promised, &what);
        if !disk.struck() {
            assert_eq!(promised.len(), 12);
            break;
        }
        steps = at;
    }
    assert!(steps > 40, "{fault:?}: only {steps} steps were made to fail");
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

#[tokio::test]
async fn a_failed_sync_stops_the_log_for_good() {
    let directory = tempfile::tempdir().unwrap();
    drop(create(directory.path()));
    // The first operation of an opened log is the write of the first record, the second its sync.
    let log = open_on(directory.path(), FailingDisk::new(2, Fault::ShortOrLate)).unwrap();
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
    let log = open_on(directory.path(), FailingDisk::new(9, Fault::NoSpace)).unwrap();
    let body = vec![1; 60_000];
    for n in 0..4 {
        assert_eq!(append(&log, &format!("m{n}"), &body).await.unwrap().sequence, n);
    }
    assert!(matches!(append(&log, "refused", &body).await, Err(LogError::NoSpace(_))));
    assert_eq!(append(&log, "taken", &body).await.unwrap().sequence, 4);
    drop(log);
    let promised: Vec<_> = ["m0", "m1", "m2", "m3", "taken"].map(str::to_owned).into();
    check(directory.path(), &promised, "after the refusal");
}
