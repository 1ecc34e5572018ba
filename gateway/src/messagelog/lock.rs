//! One process writes a log: the lock on its directory.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

use rustix::{fs::FlockOperation, io::Errno};

use super::error::LogError;

/// Held while it lives. The system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock of a log.
    ///
    /// # Errors
    /// [`LogError::Locked`] when somebody has it; [`LogError::Io`].
    pub(super) fn take(directory: &Path) -> Result<Self, LogError> {
        let failed = |e: io::Error| LogError::io("the log cannot be locked", &e);
        let path = directory.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(LogError::Locked),
            result => result.map(|()| Self(file)).map_err(|e| failed(e.into())),
        }
    }
}

impl Drop for Lock {
    /// Closing our descriptor would not be enough: a process that another thread is just starting has a copy of it
    /// until it runs its program, and keeps the lock as long.
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            tracing::error!(%error, "the lock of the message log is not given back");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn it_is_given_back_even_while_a_copy_of_its_descriptor_lives() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        assert!(matches!(Lock::take(directory.path()), Err(LogError::Locked)));
        let copy = lock.0.try_clone().unwrap();
        drop(lock);
        let again = Lock::take(directory.path()).unwrap();
        drop(copy);
        assert!(matches!(Lock::take(directory.path()), Err(LogError::Locked)), "the copy gives nothing back");
        drop(again);
    }
}
