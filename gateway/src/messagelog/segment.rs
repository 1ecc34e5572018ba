//! Segment files: made whole, read chunk by chunk.
//!
//! ```text
//! segments/00000001.seg   preallocated; its name appears only when its header is durable
//! ```
//! Not here: writing chunks ([`super::writer`]), judging what is found ([`super::recover`], [`super::verify`]).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use cert_authority::clock::UnixTime;

use super::{
    disk::{self, Disk},
    error::{Finding, Flaw, LogError},
    frame::{CHUNK_HEAD, ChunkHead, SEGMENT_HEADER, SegmentHeader},
    tree::{self, Hash, Tree},
};

/// Where the first chunk of a segment begins.
pub(crate) const FIRST_CHUNK: u64 = 4096;
const EXTENSION: &str = "seg";
const UNFINISHED: &str = "next.tmp";
/// What the directory of the segments is called when the log was moved elsewhere.
const MOVED: &str = "segments.moved";

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// A segment that is open.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) header_hash: Hash,
    pub(crate) file: Arc<File>,
    /// The length of the file.
    pub(crate) capacity: u64,
}

pub(crate) fn directory(log: &Path) -> PathBuf {
    log.join("segments")
}

/// Where the segments are when the log was moved elsewhere.
pub(crate) fn moved(log: &Path) -> PathBuf {
    log.join(MOVED)
}

pub(crate) fn path(log: &Path, number: u64) -> PathBuf {
    directory(log).join(format!("{number:08}.{EXTENSION}"))
}

/// The numbers of the segments that are there, ascending.
pub(crate) fn list(log: &Path) -> Result<Vec<u64>, LogError> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound if moved(log).exists() => LogError::Moved("files"),
        _ => LogError::io("the segments cannot be listed", &e),
    };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory(log)).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether there is a segment of this number, or may be.
pub(crate) fn is_there(log: &Path, number: u64) -> bool {
    path(log, number).try_exists().unwrap_or(true)
}

/// Makes a segment. After an error there is none, or an empty one that the next try replaces: until then it must be true
/// what its header says of the records before it.
pub(crate) fn create(
    disk: &dyn Disk,
    log: &Path,
    header: SegmentHeader,
    capacity: u64,
) -> Result<Segment, LogError> {
    let unfinished = directory(log).join(UNFINISHED);
    let _ = fs::remove_file(&unfinished);
    let made = create_at(disk, log, &unfinished, header, capacity);
    if made.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    made.map_err(|e| LogError::io("a new segment cannot be made", &e))
}

fn create_at(
    disk: &dyn Disk,
    log: &Path,
    unfinished: &Path,
    header: SegmentHeader,
    capacity: u64,
) -> io::Result<Segment> {
    let file = disk.create(unfinished)?;
    disk.allocate(&file, capacity)?;
    let bytes = header.encode();
    disk::write_all(disk, &file, &bytes, 0)?;
    disk.sync(&file)?;
    disk.rename(unfinished, &path(log, header.number))?;
    disk.sync_dir(&directory(log))?;
    Ok(Segment { header_hash: tree::sha256(&bytes), header, file: Arc::new(file), capacity })
}

/// Opens a segment; its header must be whole and of this log. Where nothing can be written it can be read.
pub(crate) fn open(log: &Path, id: &[u8; 16], number: u64) -> Result<Segment, LogError> {
    let damaged = |flaw| LogError::Damaged(Finding { segment: number, offset: 0, sequence: 0, flaw });
    let Opened { file, header: bytes, capacity } = open_file(log, number)?;
    let header = bytes.ok_or(Flaw::Short).and_then(|bytes| {
        let header = SegmentHeader::decode(&bytes)?;
        Ok((header, tree::sha256(&bytes)))
    });
    let (header, header_hash) = header.map_err(damaged)?;
    if header.log != *id {
        return Err(damaged(Flaw::OtherLog));
    }
    if header.number != number {
        return Err(damaged(Flaw::Order));
    }
    Ok(Segment { header_hash, header, file, capacity })
}

/// Opens a segment to read what is whole in it, whatever its header says: its chunks are bound to the log by themselves.
/// Gives with it the number of its first record, where the header is one of this log.
pub(crate) fn open_damaged(
    log: &Path,
    id: &[u8; 16],
    number: u64,
) -> Result<(Segment, Option<u64>), LogError> {
    let Opened { file, header: bytes, capacity } = open_file(log, number)?;
    let header = bytes.and_then(|bytes| SegmentHeader::decode(&bytes).ok()).filter(|h| h.log == *id);
    let first = header.as_ref().map(|header| header.tree.size());
    let (tree, created) = header.map_or((Tree::EMPTY, UnixTime::from_secs(0)), |h| (h.tree, h.created));
    let header = SegmentHeader { log: *id, number, created, previous: [0; 32], tree };
    Ok((Segment { header_hash: [0; 32], header, file, capacity }, first))
}

/// The file of a segment.
struct Opened {
    file: Arc<File>,
    /// The bytes of its header, if it is long enough.
    header: Option<Vec<u8>>,
    /// Its length.
    capacity: u64,
}

fn open_file(log: &Path, number: u64) -> Result<Opened, LogError> {
    let failed = |e: io::Error| LogError::io("a segment cannot be opened", &e);
    let file = match fs::OpenOptions::new().read(true).write(true).open(path(log, number)) {
        Err(e) if matches!(e.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) => {
            File::open(path(log, number))
        }
        opened => opened,
    };
    let file = file.map_err(failed)?;
    let mut bytes = vec![0; SEGMENT_HEADER];
    let header = file.read_exact_at(&mut bytes, 0).is_ok().then_some(bytes);
    let capacity = file.metadata().map_err(failed)?.len();
    Ok(Opened { file: Arc::new(file), header, capacity })
}

/// A chunk, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) offset: u64,
    pub(crate) head: ChunkHead,
    pub(crate) content: Bytes,
}

impl Chunk {
    /// Where the next one begins.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.head.size())
    }
}

/// What stands at an offset.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole chunk.
    Chunk(Chunk),
    /// Nothing that was written: zeros, or the end of the file.
    Nothing,
    /// Something that is no whole chunk.
    Broken(Flaw),
}

/// Reads chunks one after the other through a buffer.
pub(crate) struct Scanner<'a> {
    segment: &'a Segment,
    offset: u64,
    /// What was read ahead, and where it begins.
    ahead: Bytes,
    ahead_at: u64,
}

const READ_AHEAD: usize = 1 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl<'a> Scanner<'a> {
    pub(crate) const fn new(segment: &'a Segment, offset: u64) -> Self {
        Self { segment, offset, ahead: Bytes::new(), ahead_at: 0 }
    }

    /// What stands at the present offset; goes on behind a chunk.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        let Some(head) = self.bytes(self.offset, CHUNK_HEAD)? else {
            return Ok(if self.rest_is_empty()? { Found::Nothing } else { Found::Broken(Flaw::Chunk) });
        };
        if head.iter().all(|byte| *byte == 0) {
            return Ok(Found::Nothing);
        }
        let head = <&[u8; CHUNK_HEAD]>::try_from(head.as_ref()).ok();
        let Some(head) = head.and_then(|head| ChunkHead::decode(head, &self.segment.header.log)) else {
            return Ok(Found::Broken(Flaw::Chunk));
        };
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        let begin = self.offset.saturating_add(u64::try_from(CHUNK_HEAD).unwrap_or(0));
        let Some(content) = self.bytes(begin, length)? else { return Ok(Found::Broken(Flaw::Short)) };
        if !head.matches(&content) {
            return Ok(Found::Broken(Flaw::Hash));
        }
        let chunk = Chunk { offset: self.offset, head, content };
        self.offset = chunk.end();
        Ok(Found::Chunk(chunk))
    }

    /// Where it stands.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on from a broken chunk to the next place where the head of one stands; false when there is none.
    pub(crate) fn find_next(&mut self) -> io::Result<bool> {
        loop {
            self.offset = self.offset.saturating_add(super::frame::ALIGNMENT);
            let Some(head) = self.bytes(self.offset, CHUNK_HEAD)? else { return Ok(false) };
            let Some(head) = head.first_chunk::<CHUNK_HEAD>() else { return Ok(false) };
            if head.starts_with(b"PCHK") && ChunkHead::decode(head, &self.segment.header.log).is_some() {
                return Ok(true);
            }
        }
    }

    fn bytes(&mut self, at: u64, count: usize) -> io::Result<Option<Bytes>> {
        let end = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if end > self.segment.capacity {
            return Ok(None);
        }
        let inside = |this: &Self| usize::try_from(at.checked_sub(this.ahead_at)?).ok();
        let held = inside(self).filter(|from| from.saturating_add(count) <= self.ahead.len());
        let from = match held {
            Some(from) => from,
            None => {
                let left = usize::try_from(self.segment.capacity - at).unwrap_or(usize::MAX);
                let mut buffer = vec![0; count.max(READ_AHEAD).min(left)];
                self.segment.file.read_exact_at(&mut buffer, at)?;
                self.ahead = buffer.into();
                self.ahead_at = at;
                0
            }
        };
        Ok(Some(self.ahead.slice(from..from + count)))
    }

    fn rest_is_empty(&self) -> io::Result<bool> {
        Ok(data_from(self.segment, self.offset)?.is_none())
    }
}

/// The first byte at or after `offset` that is not zero. Ranges that were never written are not read, unless something
/// brought them into memory.
pub(crate) fn data_from(segment: &Segment, offset: u64) -> io::Result<Option<u64>> {
    use rustix::fs::{Advice, fadvise};
    // What the system reads ahead is in memory afterwards, and is data to it from then on: the next look would read it,
    // and the system more ahead of it, until the whole preallocated rest is read at each start.
    let advise = |advice| fadvise(&segment.file, 0, None, advice);
    let _ = advise(Advice::Random);
    let found = first_data(segment, offset);
    let _ = advise(Advice::Normal);
    found
}

fn first_data(segment: &Segment, offset: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; ZEROS.len()];
    let mut at = offset;
    while at < segment.capacity {
        match rustix::fs::seek(&segment.file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => at = data.max(at),
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            // A file system that knows no holes.
            Err(rustix::io::Errno::INVAL) => {}
            Err(e) => return Err(e.into()),
        }
        let read = segment.file.read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok(None);
        }
        // As wholes first: mostly they are zeros, and the preallocated rest of a segment is long.
        let piece = buffer.get(..read).unwrap_or_default();
        if ZEROS.get(..read) != Some(piece) {
            let found = piece.iter().position(|byte| *byte != 0);
            return Ok(found.map(|found| at + u64::try_from(found).unwrap_or(0)));
        }
        at += u64::try_from(read).unwrap_or(u64::MAX);
    }
    Ok(None)
}

/// Whether a whole chunk stands anywhere at or behind `offset`.
pub(crate) fn whole_from(segment: &Segment, offset: u64) -> io::Result<bool> {
    let Some(data) = data_from(segment, offset)? else { return Ok(false) };
    let aligned = data / super::frame::ALIGNMENT * super::frame::ALIGNMENT;
    let mut scanner = Scanner::new(segment, aligned);
    loop {
        if let Found::Chunk(_) = scanner.next()? {
            return Ok(true);
        }
        if !scanner.find_next()? {
            return Ok(false);
        }
    }
}

/// Whether anything after `offset` was written when the bytes at `offset` were already durable. If so they were not
/// torn by a power cut: they were changed, or the disk lost them.
pub(crate) fn later_write(segment: &Segment, offset: u64) -> io::Result<bool> {
    let mut at = offset;
    let mut buffer = vec![0; READ_AHEAD];
    while let Some(data) = data_from(segment, at)? {
        let begin = data / super::frame::ALIGNMENT * super::frame::ALIGNMENT;
        let read = segment.file.read_at(&mut buffer, begin)?;
        let window = buffer.get(..read).unwrap_or_default();
        for start in (0..read).step_by(8) {
            let head = window.get(start..).and_then(|rest| rest.first_chunk::<CHUNK_HEAD>());
            let Some(head) = head.filter(|head| head.starts_with(b"PCHK")) else { continue };
            let head = ChunkHead::decode(head, &segment.header.log);
            if head.is_some_and(|head| u64::from(head.write) > offset) {
                return Ok(true);
            }
        }
        // A head may lie across the end of what was read.
        let step = if read == buffer.len() { read - CHUNK_HEAD } else { read };
        at = begin + u64::try_from(step.max(8)).unwrap_or(u64::MAX);
    }
    Ok(false)
}

/// Reads the head of the chunk at a position that the index names.
pub(crate) fn read_head(segment: &Segment, offset: u64) -> Result<ChunkHead, LogError> {
    let damaged =
        |flaw| LogError::Damaged(Finding { segment: segment.header.number, offset, sequence: 0, flaw });
    let mut head = [0; CHUNK_HEAD];
    segment.file.read_exact_at(&mut head, offset).map_err(|_| damaged(Flaw::Short))?;
    ChunkHead::decode(&head, &segment.header.log).ok_or_else(|| damaged(Flaw::Chunk))
}

/// Reads the chunk at a position that the index names.
pub(crate) fn read_chunk(segment: &Segment, offset: u64) -> Result<Chunk, LogError> {
    let damaged =
        |flaw| LogError::Damaged(Finding { segment: segment.header.number, offset, sequence: 0, flaw });
    let head = read_head(segment, offset)?;
    let mut content = vec![0; usize::try_from(head.length).unwrap_or(0)];
    let begin = offset.saturating_add(u64::try_from(CHUNK_HEAD).unwrap_or(0));
    segment.file.read_exact_at(&mut content, begin).map_err(|_| damaged(Flaw::Short))?;
    if !head.matches(&content) {
        return Err(damaged(Flaw::Hash));
    }
    Ok(Chunk { offset, head, content: content.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messagelog::disk::SystemDisk;

    #[test]
    fn a_byte_that_was_written_is_found_wherever_it_stands_in_the_preallocated_rest() {
        let log = tempfile::tempdir().unwrap();
        fs::create_dir(directory(log.path())).unwrap();
        let header = SegmentHeader {
            log: [3; 16],
            number: 1,
            created: UnixTime::from_secs(0),
            previous: [0; 32],
            tree: Tree::default(),
        };
        let capacity = (300 << 10) + 5;
        let segment = create(&SystemDisk, log.path(), header, capacity).unwrap();
        assert_eq!(data_from(&segment, FIRST_CHUNK).unwrap(), None);
        for at in [FIRST_CHUNK, 5000, 64 << 10, (64 << 10) + FIRST_CHUNK - 1, 200_000, capacity - 1] {
            segment.file.write_all_at(&[7], at).unwrap();
            assert_eq!(data_from(&segment, FIRST_CHUNK).unwrap(), Some(at));
            assert_eq!(data_from(&segment, at).unwrap(), Some(at));
            assert_eq!(data_from(&segment, at + 1).unwrap(), None, "behind {at}");
            segment.file.write_all_at(&[0], at).unwrap();
        }
    }
}
