//! Segment files as the place that a log is moved to or from.
//!
//! ```text
//! <log>/migrating/{identity,segments,keys,bodies}   the copy, until it is judged; then each is renamed into its place,
//!                                                   the segments last: without them a directory is no log in files
//! ```
//! A segment is written at once, when all that it holds is known.

use std::{
    fs::File,
    io, iter,
    path::{Path, PathBuf},
    sync::Arc,
};

use cert_authority::clock::UnixTime;

use super::{
    super::{
        beside::{Beside, Folder},
        cleaned::{self, Content, Entry, Gathering},
        disk::{self, Disk, SystemDisk},
        error::LogError,
        frame::{Frame, SegmentHeader},
        pieces::{Chunk, Piece, Pieces},
        segment::{self, FIRST_CHUNK},
        service::{read_identity, write_identity},
        tree::{Hash, Tree},
    },
    Target,
};

const STAGING: &str = "migrating";

/// The records in the segments of a log, which have been judged.
pub(super) fn records(
    directory: &Path,
    id: [u8; 16],
) -> Result<impl Iterator<Item = Result<Entry, LogError>>, LogError> {
    let segments = segment::list(directory)?;
    let last = segments.last().copied();
    let directory = directory.to_path_buf();
    let pieces = segments.into_iter().flat_map(move |number| -> Box<dyn Iterator<Item = _>> {
        match File::open(segment::path(&directory, number)) {
            Ok(file) => Box::new(Pieces::new(id, number, Some(number) == last, file)),
            Err(error) => Box::new(iter::once(Err(error))),
        }
    });
    let mut gathering = Gathering::default();
    Ok(pieces.flat_map(move |piece| match piece {
        Ok(Piece::Chunks { chunks, .. }) => {
            let parts = chunks.into_iter().map(Chunk::into_parts);
            parts.filter_map(|(head, content)| gathering.take(&head, content).map(Ok)).collect()
        }
        Ok(_) => {
            // A note is said for its own segment alone.
            gathering = Gathering::default();
            Vec::new()
        }
        Err(error) => vec![Err(LogError::io("a segment cannot be read", &error))],
    }))
}

/// A log in files while it is moved there.
pub(super) struct Filling {
    log: PathBuf,
    beside: Folder,
    segment_size: u64,
    /// Of the segment that is being filled.
    header: SegmentHeader,
    /// What goes into it, and how many bytes that takes with the header.
    entries: Vec<Entry>,
    size: u64,
    /// The tree over all records.
    tree: Tree,
    /// When the last record was logged of which that is known.
    time: UnixTime,
}

/// The copy, whole, but not in its place.
pub(super) struct Staged {
    log: PathBuf,
}

impl Filling {
    /// Begins. What a move that was broken off has left there is removed.
    pub(super) fn begin(
        log: &Path,
        id: [u8; 16],
        segment_size: u64,
        now: UnixTime,
    ) -> Result<Self, LogError> {
        let failed = |e: io::Error| LogError::io("the files of the log cannot be made", &e);
        let system: Arc<dyn Disk> = Arc::new(SystemDisk);
        let staging = log.join(STAGING);
        disk::gone(system.remove_dir(&staging)).map_err(failed)?;
        for name in ["segments", "bodies", "keys"] {
            disk::make_dir(&*system, &staging.join(name)).map_err(failed)?;
        }
        write_identity(&*system, &staging, &id, now)?;
        let tree = Tree::default();
        let header =
            SegmentHeader { log: id, number: 1, created: now, previous: [0; 32], tree: tree.clone() };
        let (log, beside) = (log.to_path_buf(), Folder::new(&staging, system));
        let (entries, size, time) = (Vec::new(), FIRST_CHUNK, now);
        Ok(Self { log, beside, segment_size, header, entries, size, tree, time })
    }

    /// Writes what is left, and waits until all is durable.
    pub(super) fn complete(mut self) -> Result<Staged, LogError> {
        // What was removed stands only in segments that nothing is added to.
        if self.entries.iter().any(|entry| matches!(entry.content, Content::Removed(_))) {
            self.next(self.time)?;
        }
        self.write(self.segment_size)?;
        Ok(Staged { log: self.log })
    }

    /// Writes the segment and begins the next one.
    fn next(&mut self, created: UnixTime) -> Result<(), LogError> {
        let previous = self.write(0)?;
        let (log, number) = (self.header.log, self.header.number.saturating_add(1));
        self.header = SegmentHeader { log, number, created, previous, tree: self.tree.clone() };
        self.entries.clear();
        self.size = FIRST_CHUNK;
        Ok(())
    }

    /// Writes the segment, of at least this length. Gives the hash of its header.
    fn write(&self, capacity: u64) -> Result<Hash, LogError> {
        let failed = |e: io::Error| LogError::io("a segment cannot be written", &e);
        let content = cleaned::encode(&self.header.log, &self.entries);
        let end = FIRST_CHUNK.saturating_add(u64::try_from(content.len()).unwrap_or(u64::MAX));
        let staging = self.log.join(STAGING);
        let segment = segment::create(&SystemDisk, &staging, self.header.clone(), capacity.max(end))?;
        disk::write_all(&SystemDisk, &segment.file, &content, FIRST_CHUNK).map_err(failed)?;
        SystemDisk.sync(&segment.file).map_err(failed)?;
        Ok(segment.header_hash)
    }
}

impl Target for Filling {
    fn beside(&self) -> &dyn Beside {
        &self.beside
    }

    fn add(&mut self, _: u64, entry: Entry, frame: Option<Frame>) -> Result<(), LogError> {
        let time = frame.map_or(self.time, |frame| frame.head.time);
        let size = entry.size();
        if !self.entries.is_empty() && self.size.saturating_add(size) > self.segment_size {
            self.next(time)?;
        }
        (self.time, self.size) = (time, self.size.saturating_add(size));
        self.tree.push(entry.leaf);
        self.entries.push(entry);
        Ok(())
    }
}

impl Staged {
    /// Where it lies.
    pub(super) fn directory(&self) -> PathBuf {
        self.log.join(STAGING)
    }

    /// Puts it into its place.
    pub(super) fn open(self) -> Result<(), LogError> {
        let failed = |e: io::Error| LogError::io("the files of the log cannot be put into their place", &e);
        let (log, staging) = (&self.log, self.directory());
        // The index of an earlier life of the log knows other places.
        disk::gone(SystemDisk.remove_dir(&log.join("index"))).map_err(failed)?;
        for name in ["keys", "bodies"] {
            disk::gone(SystemDisk.remove_dir(&log.join(name))).map_err(failed)?;
            SystemDisk.rename(&staging.join(name), &log.join(name)).map_err(failed)?;
        }
        if read_identity(log).is_err() {
            SystemDisk.rename(&staging.join("identity"), &log.join("identity")).map_err(failed)?;
        }
        SystemDisk.sync_dir(log).map_err(failed)?;
        SystemDisk.rename(&segment::directory(&staging), &segment::directory(log)).map_err(failed)?;
        SystemDisk.sync_dir(log).map_err(failed)?;
        disk::gone(SystemDisk.remove_dir(&staging)).map_err(failed)
    }
}
