//! A disk of which one operation goes wrong, on real files; and what a power cut may leave of it.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use gateway::messagelog::disk::{Disk, SystemDisk};

/// How an operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// EIO; nothing was done.
    Io,
    /// ENOSPC; nothing was done.
    NoSpace,
    /// A write stops half way, then EIO. A sync loses what was written since the last one.
    Half,
    /// A write is short, which is no error. Other operations are done, and then report EIO.
    ShortOrLate,
}

/// Places in a file, and what stood there.
type Overwritten = Vec<(u64, Vec<u8>)>;

pub(crate) struct FailingDisk {
    at: AtomicUsize,
    fault: Fault,
    pub(crate) count: AtomicUsize,
    pub(crate) free: AtomicU64,
    /// What stood before where something was written since the last sync, by inode.
    unsynced: Mutex<HashMap<u64, Overwritten>>,
    /// Names that were made in a directory that was not synced since.
    undurable: Mutex<BTreeSet<PathBuf>>,
}

impl FailingDisk {
    pub(crate) fn new(at: usize, fault: Fault) -> Arc<Self> {
        let (at, count, free) = (AtomicUsize::new(at), AtomicUsize::new(0), AtomicU64::new(1 << 40));
        let (unsynced, undurable) = Default::default();
        Arc::new(Self { at, fault, count, free, unsynced, undurable })
    }

    fn now(&self) -> bool {
        self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.at.load(Ordering::SeqCst)
    }

    /// The next operation goes wrong.
    pub(crate) fn strike_next(&self) {
        self.at.store(self.count.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    fn named<T>(&self, path: &Path, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let there = path.exists();
        let result = self.step(operation);
        if !there && path.exists() {
            self.undurable.lock().unwrap().insert(path.to_owned());
        }
        result
    }

    /// What a power cut may do: a name that nobody made durable is gone.
    pub(crate) fn cut_power(&self) {
        for path in self.undurable.lock().unwrap().iter() {
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }

    pub(crate) fn struck(&self) -> bool {
        self.count.load(Ordering::SeqCst) >= self.at.load(Ordering::SeqCst)
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
        self.named(path, || SystemDisk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<File> {
        self.step(|| SystemDisk.open(path))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.named(path, || SystemDisk.create_dir(path))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.remove(path))
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.remove_dir(path))
    }
    fn temporary(&self, directory: &Path) -> io::Result<File> {
        self.step(|| SystemDisk.temporary(directory))
    }
    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        self.step(|| SystemDisk.allocate(file, length))
    }
    fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        let half = &data[..data.len().div_ceil(2)];
        let inode = file.metadata().unwrap().ino();
        let mut before = vec![0; data.len()];
        // Beyond the end nothing stands, and what is open for writing only cannot be read.
        let _ = file.read_at(&mut before, offset);
        self.unsynced.lock().unwrap().entry(inode).or_default().push((offset, before));
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
        let written =
            self.unsynced.lock().unwrap().remove(&file.metadata().unwrap().ino()).unwrap_or_default();
        let result = self.step(|| SystemDisk.sync(file));
        if result.is_err() && self.fault == Fault::Half {
            for (offset, before) in written.iter().rev() {
                file.write_all_at(before, *offset).unwrap();
            }
        }
        result
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.sync_dir(directory))?;
        self.undurable.lock().unwrap().retain(|path| path.parent() != Some(directory));
        Ok(())
    }
    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.step(|| SystemDisk.truncate(file, length))
    }
    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        self.named(path, || SystemDisk.link(file, path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.named(to, || SystemDisk.rename(from, to))
    }
    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free.load(Ordering::SeqCst))
    }
}
