//! Where the index lies: in sled, or in memory for as long as somebody needs it.
//!
//! Not here: what stands in it ([`super::index`]).

use std::{
    collections::BTreeMap,
    ops::Bound::Included,
    path::Path,
    sync::{PoisonError, RwLock},
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::error::LogError;

/// Keys with their values, in the order of the keys.
pub(super) enum Store {
    /// Files that the next start finds again.
    Files(sled::Db),
    /// Gone when dropped.
    Memory(RwLock<BTreeMap<Vec<u8>, Bytes>>),
}

/// How long a database takes to close, at most: its own threads do it.
const CLOSES: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(5);

/// Whether somebody else has the files. The library has no kind for it.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// What is written at once.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<(Vec<u8>, Bytes)>);

impl Batch {
    pub(super) fn insert(&mut self, key: &[u8], value: impl Into<Bytes>) {
        self.0.push((key.to_vec(), value.into()));
    }
}

/// A key and its value.
pub(super) type Found = (Vec<u8>, Bytes);

impl Store {
    /// The files in a directory, made where there are none. Who has the log has its index: one that is still being closed
    /// is waited for.
    pub(super) fn open(directory: &Path) -> Result<Self, LogError> {
        let config = sled::Config::new().path(directory).flush_every_ms(None).cache_capacity(16 << 20);
        let begun = Instant::now();
        loop {
            match config.open() {
                Err(error) if is_locked(&error) && begun.elapsed() < CLOSES => thread::sleep(AGAIN),
                opened => return opened.map(Self::Files).map_err(failed),
            }
        }
    }

    /// An empty one in memory.
    pub(super) fn in_memory() -> Self {
        Self::Memory(RwLock::default())
    }

    /// Whether it was there before.
    pub(super) fn was_recovered(&self) -> bool {
        matches!(self, Self::Files(db) if db.was_recovered())
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, LogError> {
        match self {
            Self::Files(db) => Ok(db.get(key).map_err(failed)?.map(|value| Bytes::copy_from_slice(&value))),
            Self::Memory(map) => Ok(map.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()),
        }
    }

    /// All from a key to another.
    pub(super) fn range(&self, from: &[u8], to: &[u8]) -> Result<Vec<Found>, LogError> {
        match self {
            Self::Files(db) => db.range(from..=to).map(|found| found.map(owned).map_err(failed)).collect(),
            Self::Memory(map) => {
                let map = map.read().unwrap_or_else(PoisonError::into_inner);
                Ok(map
                    .range::<[u8], _>((Included(from), Included(to)))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect())
            }
        }
    }

    /// The last one from a key to another.
    pub(super) fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<Found>, LogError> {
        match self {
            Self::Files(db) => {
                db.range(from..=to).next_back().transpose().map(|last| last.map(owned)).map_err(failed)
            }
            Self::Memory(map) => {
                let map = map.read().unwrap_or_else(PoisonError::into_inner);
                let last = map.range::<[u8], _>((Included(from), Included(to))).next_back();
                Ok(last.map(|(key, value)| (key.clone(), value.clone())))
            }
        }
    }

    /// Writes all of it or nothing.
    pub(super) fn apply(&self, batch: Batch) -> Result<(), LogError> {
        match self {
            Self::Files(db) => {
                let mut all = sled::Batch::default();
                batch.0.into_iter().for_each(|(key, value)| all.insert(key, value.as_ref()));
                db.apply_batch(all).map_err(failed)
            }
            Self::Memory(map) => {
                map.write().unwrap_or_else(PoisonError::into_inner).extend(batch.0);
                Ok(())
            }
        }
    }

    /// Brings it to the disk, as far as it lies there.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        match self {
            Self::Files(db) => db.flush().map(drop).map_err(failed),
            Self::Memory(_) => Ok(()),
        }
    }
}

fn owned((key, value): (sled::IVec, sled::IVec)) -> Found {
    (key.to_vec(), Bytes::copy_from_slice(&value))
}

fn failed(error: sled::Error) -> LogError {
    LogError::Index(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_still_being_closed_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(directory.path()).unwrap();
        let mut batch = Batch::default();
        batch.insert(b"a", "b");
        first.apply(batch).unwrap();
        first.flush().unwrap();
        let closing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            drop(first);
        });
        let second = Store::open(directory.path()).unwrap();
        closing.join().unwrap();
        assert!(second.was_recovered());
        assert_eq!(second.get(b"a").unwrap().unwrap(), "b");
    }

    #[test]
    fn memory_answers_as_files_do() {
        let directory = tempfile::tempdir().unwrap();
        let stores = [Store::open(directory.path()).unwrap(), Store::in_memory()];
        for store in &stores {
            for keys in [["b1", "b3", "c"], ["a", "b2", "b3"]] {
                let mut batch = Batch::default();
                keys.iter()
                    .for_each(|key| batch.insert(key.as_bytes(), [key, keys[0]].concat().into_bytes()));
                store.apply(batch).unwrap();
            }
            store.flush().unwrap();
        }
        let [files, memory] = &stores;
        assert_eq!(memory.get(b"b3").unwrap().unwrap(), "b3a", "the last word counts");
        for (from, to) in [("a", "z"), ("b", "b2"), ("b2", "b2"), ("d", "z")] {
            let (from, to) = (from.as_bytes(), to.as_bytes());
            assert_eq!(memory.get(from).unwrap(), files.get(from).unwrap());
            let all = memory.range(from, to).unwrap();
            assert_eq!(all, files.range(from, to).unwrap());
            assert_eq!(memory.last_in(from, to).unwrap(), files.last_in(from, to).unwrap());
            assert_eq!(memory.last_in(from, to).unwrap().as_ref(), all.last());
        }
    }
}
