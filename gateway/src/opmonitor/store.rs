//! Where records are kept: one file for each ten minutes, one JSON object a line, in the order in which they came.
//!
//! ```text
//! monitoring/1789459200.jsonl    {"monitoringDataTs":1789459203,"clientMemberClass":"GOV",...}
//! ```
//! Files older than the period are removed, and the oldest when there is no room. A line that a crash has torn is
//! passed over. Nothing is synced: records tell of exchanges, they prove nothing.
//!
//! Not here: when it is written, and by whom ([`super::Monitor`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Seconds of one file.
const SLOT: u64 = 600;
/// What each line begins with; its second follows.
const BEGINNING: &str = "{\"monitoringDataTs\":";
/// The longest line that is read. What a record may hold is far less.
const LONGEST_LINE: u64 = 1 << 20;

/// Writes records. One of them writes to a folder.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    keep: Duration,
    room: u64,
    current: Option<(u64, File)>,
    last: u64,
}

impl Store {
    /// Opens a folder, or makes it.
    pub(super) fn open(directory: PathBuf, keep: Duration, room: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let last = slots(&directory)?.last().map_or(0, |(slot, _)| *slot);
        Ok(Self { directory, keep, room, current: None, last })
    }

    /// Adds records that come now; each writes its fields behind those of the line, each with a comma before it. Time never
    /// goes back in a folder: whoever has read up to a second has read all of it.
    pub(super) fn append<R: FnOnce(&mut Vec<u8>)>(
        &mut self,
        now: u64,
        records: impl IntoIterator<Item = R>,
    ) -> io::Result<()> {
        let now = now.max(self.last);
        let mut lines = Vec::new();
        for record in records {
            let _ = write!(lines, "{BEGINNING}{now}");
            record(&mut lines);
            lines.extend_from_slice(b"}\n");
        }
        let written = self.file(now / SLOT * SLOT).and_then(|mut file| file.write_all(&lines));
        match written {
            Ok(()) => self.last = now,
            // Whatever was written of it ends here: the next attempt begins on a line of its own.
            Err(_) => self.current = None,
        }
        written
    }

    /// Removes what is too old, and the oldest while there is more than there is room for.
    pub(super) fn clean(&self, now: u64) -> io::Result<()> {
        let slots = slots(&self.directory)?;
        let mut total: u64 = slots.iter().map(|(_, length)| length).sum();
        for (slot, length) in slots {
            let over = slot.saturating_add(SLOT).saturating_add(self.keep.as_secs()) < now;
            let in_use = self.current.as_ref().is_some_and(|(current, _)| *current == slot);
            if over || (total > self.room && !in_use) {
                fs::remove_file(self.directory.join(name(slot)))?;
                total = total.saturating_sub(length);
            }
        }
        Ok(())
    }

    fn file(&mut self, slot: u64) -> io::Result<&File> {
        if self.current.as_ref().is_none_or(|(current, _)| *current != slot) {
            let path = self.directory.join(name(slot));
            let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
            if !ends_a_line(&mut file)? {
                file.write_all(b"\n")?;
            }
            self.current = Some((slot, file));
        }
        self.current.as_ref().map(|(_, file)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Gives the lines from one second to another, both included, oldest first, until it is told to stop. What a line says is
/// not looked at but for its second.
pub(super) fn read(
    directory: &Path,
    from: u64,
    to: u64,
    mut take: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    for (slot, _) in slots(directory)? {
        if slot > to || slot.saturating_add(SLOT) <= from {
            continue;
        }
        let file = match File::open(directory.join(name(slot))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // cleaned meanwhile
            Err(error) => return Err(error),
        };
        let mut lines = BufReader::with_capacity(1 << 16, file);
        loop {
            line.clear();
            if (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let Some(second) = second_of(&line) else { continue };
            if (from..=to).contains(&second) && take(second, line.trim_ascii_end()).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The second of a whole line; none of a torn one.
fn second_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(BEGINNING.as_bytes())?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    line.ends_with(b"}\n").then_some(())?;
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

fn name(slot: u64) -> String {
    format!("{slot:010}.jsonl")
}

/// Our files with their lengths, oldest first. What else lies in the folder is not ours.
fn slots(directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut slots = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let slot = entry.file_name().to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
        if let Some(slot) = slot {
            slots.push((slot, entry.metadata().map_or(0, |data| data.len())));
        }
    }
    slots.sort_unstable();
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn record(n: u64) -> impl FnOnce(&mut Vec<u8>) {
        move |out| write!(out, ",\"n\":{n}").unwrap()
    }

    fn kept(directory: &Path, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        read(directory, from, to, |second, line| {
            let fields: Map<String, Value> = serde_json::from_slice(line).unwrap();
            assert_eq!(fields["monitoringDataTs"], second);
            found.push((second, fields["n"].as_u64().unwrap()));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn records_are_read_by_their_seconds_over_the_ends_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path().join("m"), DAY, 1 << 20).unwrap();
        for n in [1199, 1200, 1201, 1800, 2400] {
            store.append(n, [record(n), record(n + 10_000)]).unwrap();
        }
        let directory = folder.path().join("m");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 4);
        let seconds = |from, to| kept(&directory, from, to).into_iter().map(|(s, _)| s).collect::<Vec<_>>();
        assert_eq!(seconds(1200, 1800), [1200, 1200, 1201, 1201, 1800, 1800]);
        assert_eq!(seconds(0, 1199), [1199, 1199]);
        assert!(seconds(2401, u64::MAX).is_empty());
    }

    #[test]
    fn time_that_goes_back_does_not_put_records_where_somebody_has_read_already() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path().into(), DAY, 1 << 20).unwrap();
        store.append(5000, [record(1)]).unwrap();
        store.append(4000, [record(2)]).unwrap();
        assert_eq!(kept(folder.path(), 0, 9999), [(5000, 1), (5000, 2)]);
    }

    #[test]
    fn nobody_else_can_read_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("m");
        let mut store = Store::open(directory.clone(), DAY, 1 << 20).unwrap();
        store.append(100, [record(1)]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join(name(0)))), (0o700, 0o600));
    }

    #[test]
    fn a_torn_line_costs_that_record_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path().into(), DAY, 1 << 20).unwrap();
        store.append(100, [record(1)]).unwrap();
        drop(store);
        let path = folder.path().join(name(0));
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"monitoringDataTs\":10").unwrap();
        let mut store = Store::open(folder.path().into(), DAY, 1 << 20).unwrap();
        store.append(101, [record(2)]).unwrap();
        assert_eq!(kept(folder.path(), 0, 999), [(100, 1), (101, 2)]);
    }

    #[test]
    fn what_is_old_goes_and_so_does_the_oldest_when_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path().into(), Duration::from_secs(1200), 1 << 20).unwrap();
        for n in [0, 600, 1200, 1800, 2400] {
            store.append(n, [record(n)]).unwrap();
        }
        File::create(folder.path().join("notes.txt")).unwrap();
        store.clean(2400).unwrap();
        assert_eq!(kept(folder.path(), 0, 9999).first(), Some(&(600, 600)));
        store.room = 1;
        store.clean(2400).unwrap();
        assert_eq!(kept(folder.path(), 0, 9999), [(2400, 2400)], "the newest file is being written");
        assert!(folder.path().join("notes.txt").exists());
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_and_its_return_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("m");
        let mut store = Store::open(directory.clone(), DAY, 1 << 20).unwrap();
        fs::remove_dir(&directory).unwrap();
        assert!(store.append(1, [record(1)]).is_err());
        fs::create_dir(&directory).unwrap();
        store.append(2, [record(2)]).unwrap();
        assert_eq!(kept(&directory, 0, 9), [(2, 2)]);
    }
}
