//! The register on disk: one event a line, appended and synchronised, by any number of processes.
//!
//! ```text
//! {"event":"issued","serial":"5c…","at":"2026-02-03T04:05:06Z",…}\n
//! {"event":"revoked","serial":"5c…",…}\n
//! {"event":"issued","seri                     <- torn by a crash: nobody was told of it; the next append cuts it off
//! ```
//! Appending: flock(exclusive), read what others have appended, decide, write, fdatasync. Reading takes no lock: a line
//! without its end is not read. A program that serves sees what another has appended at its next look (one fstat).

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::authority::{Event, Store};
use crate::durable;
use crate::error::PkiError;

/// The register file of one authority.
pub(super) struct Journal {
    path: PathBuf,
    position: Mutex<Position>,
}

struct Position {
    file: File,
    /// Everything before was read or written by us.
    offset: u64,
}

impl Journal {
    /// Makes an empty register; there must be none.
    pub(super) fn create(path: &Path) -> Result<(), PkiError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let synced = made.and_then(|file| file.sync_all());
        synced
            .and_then(|()| durable::sync_dir(path.parent().unwrap_or(path)))
            .map_err(|error| failed(path, &error))
    }

    /// Opens a register that is there: one that is missing has been lost, not forgotten.
    pub(super) fn open(path: &Path) -> Result<Self, PkiError> {
        let file =
            OpenOptions::new().read(true).append(true).open(path).map_err(|error| failed(path, &error))?;
        Ok(Self { path: path.to_owned(), position: Mutex::new(Position { file, offset: 0 }) })
    }
}

impl Store for Journal {
    fn load(&self) -> Result<Vec<Event>, PkiError> {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        position.read_on(&self.path)
    }

    fn append(
        &self,
        event: &Event,
        admit: &mut dyn FnMut(Vec<Event>) -> Result<(), PkiError>,
    ) -> Result<(), PkiError> {
        let mut line = serde_json::to_vec(event).map_err(|error| PkiError::Store(error.to_string()))?;
        line.push(b'\n');
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let io_failed = |error: std::io::Error| failed(&self.path, &error);
        flock(&position.file, FlockOperation::LockExclusive).map_err(|error| io_failed(error.into()))?;
        let appended = position
            .read_on(&self.path)
            .and_then(admit)
            .and_then(|()| position.write(&line).map_err(io_failed));
        flock(&position.file, FlockOperation::Unlock).map_err(|error| io_failed(error.into()))?;
        appended
    }
}

impl Position {
    /// Reads the whole lines from the offset on.
    fn read_on(&mut self, path: &Path) -> Result<Vec<Event>, PkiError> {
        let io_failed = |error: std::io::Error| failed(path, &error);
        let length = self.file.metadata().map_err(io_failed)?.len();
        if length == self.offset {
            return Ok(Vec::new());
        }
        if length < self.offset {
            return Err(PkiError::Store(format!("{} has become shorter", path.display())));
        }
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.offset)).map_err(io_failed)?;
        self.file.read_to_end(&mut bytes).map_err(io_failed)?;
        // All or nothing: after a line that cannot be read, no event is taken for handed out.
        let mut end = self.offset;
        let mut events = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            let event = serde_json::from_slice(line)
                .map_err(|error| PkiError::Store(format!("{}: at byte {end}: {error}", path.display())))?;
            events.push(event);
            end = end.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        }
        self.offset = end;
        Ok(events)
    }

    /// Writes a line after the last whole one. The file is locked, so what lies behind that is torn.
    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        let length = self.file.metadata()?.len();
        if length > self.offset {
            tracing::warn!(bytes = length - self.offset, "a torn line at the end of the register is cut off");
            self.file.set_len(self.offset)?;
        }
        if let Err(error) = self.file.write_all(line).and_then(|()| self.file.sync_data()) {
            // Not kept, as far as we know: it must not come to light later.
            self.file.set_len(self.offset)?;
            self.file.sync_data()?;
            return Err(error);
        }
        self.offset += u64::try_from(line.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

fn failed(path: &Path, error: &std::io::Error) -> PkiError {
    PkiError::Store(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Event {
        Event::CrlMade { number, at: "2026-02-03T04:05:06Z".into() }
    }

    fn append(journal: &Journal, number: u64) -> Result<Vec<Event>, PkiError> {
        let mut seen = Vec::new();
        journal.append(&event(number), &mut |others| {
            seen = others;
            Ok(())
        })?;
        Ok(seen)
    }

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("register.jsonl");
        Journal::create(&path).unwrap();
        (dir, path)
    }

    #[test]
    fn two_processes_see_each_others_events_once_and_in_order() {
        let (_dir, path) = fresh();
        let (one, other) = (Journal::open(&path).unwrap(), Journal::open(&path).unwrap());
        append(&one, 1).unwrap();
        assert_eq!(append(&other, 2).unwrap(), [event(1)]);
        assert_eq!(one.load().unwrap(), [event(2)]);
        assert_eq!(one.load().unwrap(), []);
        assert_eq!(Journal::open(&path).unwrap().load().unwrap(), [event(1), event(2)]);
    }

    #[test]
    fn a_torn_last_line_is_not_read_and_is_cut_off_by_the_next_append() {
        let (_dir, path) = fresh();
        append(&Journal::open(&path).unwrap(), 1).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"event\":\"crl-made\",\"num").unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.load().unwrap(), [event(1)]);
        append(&journal, 2).unwrap();
        assert_eq!(Journal::open(&path).unwrap().load().unwrap(), [event(1), event(2)]);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_reported_with_its_place() {
        let (_dir, path) = fresh();
        let journal = Journal::open(&path).unwrap();
        append(&journal, 1).unwrap();
        let place = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"garbage\n").unwrap();
        let reader = Journal::open(&path).unwrap();
        for _ in 0..2 {
            let error = reader.load().unwrap_err().to_string();
            assert!(error.contains(&format!("at byte {place}")), "{error}");
        }
        OpenOptions::new().write(true).open(&path).unwrap().set_len(place).unwrap();
        assert_eq!(reader.load().unwrap(), [event(1)], "nothing was lost with the broken line");
    }

    #[test]
    fn what_is_not_admitted_is_not_kept() {
        let (_dir, path) = fresh();
        let journal = Journal::open(&path).unwrap();
        let refused = PkiError::Store("no".into());
        assert_eq!(journal.append(&event(1), &mut |_| Err(refused.clone())), Err(refused.clone()));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn a_missing_register_is_not_taken_for_an_empty_one() {
        let (_dir, path) = fresh();
        std::fs::remove_file(&path).unwrap();
        assert!(Journal::open(&path).is_err());
    }
}
