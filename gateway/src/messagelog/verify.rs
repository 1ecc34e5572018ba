//! The checker: derives everything again from the bytes and names what is wrong. It shares with the writer the format
//! ([`super::frame`]) and nothing else.
//!
//! ```text
//! segment ──► `Pieces`: chunks as they stand ──► hashes, fields, bodies, each record alone ──► numbers, order, tree
//!             one after the other                on all cores                                  in the order of the log
//! ```
//! It finds: records that were removed and no record says so, changed bits, missing, doubled, swapped or foreign segments and records, records cut off at the end of any
//! segment but the last, bodies that are gone or others. What was cut off at the very end is found by whoever knows how
//! long the log was: a signed checkpoint, the index.
//!
//! Not here: files ([`super::audit`] opens them), signatures and time-stamps inside the records.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bytes::{Bytes, BytesMut};
use cert_authority::clock::UnixTime;

use super::{
    error::{Finding, Flaw},
    frame::{CHUNK_HEAD, ChunkHead, ChunkType, Frame, SEGMENT_HEADER, SegmentHeader},
    in_order::in_order,
    record::{Place, Record, Stored},
    removal,
    tree::{self, Hash, Tree},
};

/// About how much is read at once, and worked on by one core.
const PIECE: usize = 1 << 20;
/// Most findings that are kept.
const MOST: usize = 1000;

/// Is shown what there is while a log is checked, in its order.
pub trait Observer {
    /// A record that can be read, and when it was logged.
    fn record(&mut self, sequence: u64, time: UnixTime, record: &Record);

    /// What is wrong with the record that was shown last, judged by itself.
    fn wrong(&mut self, _sequence: u64, _what: String) {}

    /// A record that was removed; only its leaf is there.
    fn removed(&mut self, _sequence: u64) {}

    /// The leaf of a frame, whether it can be read or not.
    fn leaf(&mut self, _sequence: u64, _leaf: &Hash) {}
}

/// Who does not look.
impl Observer for () {
    fn record(&mut self, _sequence: u64, _time: UnixTime, _record: &Record) {}
}

/// Says in words what is wrong with a record that was logged at this time, by what stands in it alone. Asked on all cores.
pub type Judge<'a> = &'a (dyn Fn(UnixTime, &Record) -> Option<String> + Sync);

/// Whether the file of a body is there and has the digest that its record states; that of a body whose data key was
/// destroyed may be gone. Asked on all cores.
pub(crate) type Kept<'a> = &'a (dyn Fn(&Stored) -> bool + Sync);

/// The result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How many records there are.
    pub records: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// What is wrong, in the order of the log; empty if nothing is.
    pub findings: Vec<Finding>,
}

/// Checks the pieces of a log's segments in their order.
///
/// # Errors
/// When it cannot be read at all.
pub(crate) fn check(
    log: [u8; 16],
    pieces: impl Iterator<Item = io::Result<Piece<Chunk>>> + Send,
    kept: Kept<'_>,
    judge: Judge<'_>,
    seen: &mut dyn Observer,
) -> io::Result<Verdict> {
    let mut checker = Checker {
        log,
        before: Before::Beginning,
        tree: Tree::EMPTY,
        blobs: Vec::new(),
        removed: BTreeMap::new(),
        notes: BTreeMap::new(),
        findings: Vec::new(),
    };
    in_order(
        pieces,
        |piece| piece.map(|piece| piece.examine(kept, judge)),
        |piece| {
            checker.take(piece?, seen);
            Ok::<(), io::Error>(())
        },
    )?;
    Ok(checker.end())
}

/// A part of a segment: its beginning, chunks of one kind of reading or another, its end.
pub(crate) enum Piece<C> {
    Begin {
        segment: u64,
        /// With its hash.
        header: Result<(Box<SegmentHeader>, Hash), Flaw>,
    },
    Chunks {
        segment: u64,
        chunks: Vec<C>,
    },
    End {
        segment: u64,
        offset: u64,
        /// Whether no segment follows: only there the end may be torn or empty.
        last: bool,
        /// Something stands there that is no chunk.
        broken: bool,
    },
}

/// A chunk as it stands, with its padding.
pub(crate) struct Chunk {
    offset: u64,
    head: ChunkHead,
    padded: Bytes,
}

/// What a chunk holds.
pub(crate) struct Examined {
    offset: u64,
    /// Whether it is what its head says, with nothing written where zeros belong.
    whole: bool,
    hash: Hash,
    what: What,
}

enum What {
    Blob,
    /// The number of a record.
    Note(Option<u64>),
    Removed,
    Frame(Result<Box<Said>, Flaw>),
}

/// What a frame says.
struct Said {
    frame: Frame,
    /// Whether the files of its bodies are there.
    files: bool,
    /// What is wrong with it by itself.
    wrong: Option<String>,
}

impl Piece<Chunk> {
    /// Does what needs no order.
    fn examine(self, kept: Kept<'_>, judge: Judge<'_>) -> Piece<Examined> {
        match self {
            Self::Begin { segment, header } => Piece::Begin { segment, header },
            Self::End { segment, offset, last, broken } => Piece::End { segment, offset, last, broken },
            Self::Chunks { segment, chunks } => {
                let chunks = chunks.into_iter().map(|chunk| chunk.examine(kept, judge)).collect();
                Piece::Chunks { segment, chunks }
            }
        }
    }
}

impl Chunk {
    fn examine(self, kept: Kept<'_>, judge: Judge<'_>) -> Examined {
        let length = usize::try_from(self.head.length).unwrap_or(usize::MAX);
        let (content, padding) = self.padded.split_at_checked(length).unwrap_or((&self.padded, &[]));
        // Of what is there, whatever its head says.
        let hash = self.head.hash_of(content);
        let whole = self.head.matches_hash(&hash, content) && padding.iter().all(|byte| *byte == 0);
        let what = match self.head.kind {
            ChunkType::Blob => What::Blob,
            ChunkType::Note => What::Note(content.try_into().ok().map(u64::from_be_bytes)),
            ChunkType::Removed => What::Removed,
            ChunkType::Frame => What::Frame(said(content, kept, judge)),
        };
        Examined { offset: self.offset, whole, hash, what }
    }
}

fn said(content: &[u8], kept: Kept<'_>, judge: Judge<'_>) -> Result<Box<Said>, Flaw> {
    // By itself, so that who keeps a part of it does not keep all that was read with it.
    let frame = Frame::decode(&Bytes::copy_from_slice(content))?;
    let files = stored(&frame.record).filter(|stored| stored.place == Place::File).all(kept);
    let wrong = judge(frame.head.time, &frame.record);
    Ok(Box::new(Said { frame, files, wrong }))
}

fn stored(record: &Record) -> impl Iterator<Item = &Stored> {
    record.message().into_iter().flat_map(|message| &message.parts).filter_map(|part| part.stored.as_ref())
}

/// Checks what is in order.
struct Checker {
    log: [u8; 16],
    before: Before,
    tree: Tree,
    /// Of the blobs since the last frame.
    blobs: Vec<Hash>,
    /// What was removed and where, until a record says that the log was cleaned of it.
    removed: BTreeMap<u64, (u64, u64)>,
    /// The records that segments which were cleaned name, until they come; where that stands, and the record due there.
    notes: BTreeMap<u64, (u64, u64, u64)>,
    findings: Vec<Finding>,
}

/// What stands before the next segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Beginning,
    /// A segment: its number, the hash of its header.
    Segment(u64, Hash),
    /// A segment whose header cannot be read.
    Unknown,
}

impl Checker {
    fn take(&mut self, piece: Piece<Examined>, seen: &mut dyn Observer) {
        match piece {
            Piece::Begin { segment, header } => self.begin(segment, header),
            Piece::Chunks { segment, chunks } => {
                chunks.into_iter().for_each(|chunk| self.chunk(segment, chunk, seen));
            }
            Piece::End { segment, offset, last, broken } => {
                // Without a head nobody knows where the next chunk begins: the rest is lost to the checker.
                if broken || !self.blobs.is_empty() {
                    self.report(segment, offset, if last { Flaw::TornTail } else { Flaw::Chunk });
                }
            }
        }
    }

    fn begin(&mut self, segment: u64, header: Result<(Box<SegmentHeader>, Hash), Flaw>) {
        self.blobs.clear();
        let (header, hash) = match header {
            Ok((header, _)) if header.log != self.log => return self.report(segment, 0, Flaw::OtherLog),
            Ok(header) => header,
            Err(flaw) => {
                self.report(segment, 0, flaw);
                // The next segment is judged by itself.
                self.before = Before::Unknown;
                return;
            }
        };
        let follows = match self.before {
            Before::Beginning => header.number == 1 && header.previous == [0; 32],
            Before::Segment(number, hash) => header.number == number + 1 && header.previous == hash,
            Before::Unknown => true,
        };
        if header.number != segment || !follows {
            self.report(segment, 0, Flaw::Order);
        } else if self.before != Before::Unknown && header.tree != self.tree {
            self.report(segment, 0, Flaw::Tree);
        }
        // Go on from what the header says, so that one flaw is reported once.
        self.before = Before::Segment(header.number, hash);
        self.tree = header.tree;
    }

    fn chunk(&mut self, segment: u64, chunk: Examined, seen: &mut dyn Observer) {
        if !chunk.whole {
            self.report(segment, chunk.offset, Flaw::Hash);
        }
        let what = match chunk.what {
            What::Blob => return self.blobs.push(chunk.hash),
            What::Note(noted) => {
                let noted = noted.unwrap_or(u64::MAX);
                self.notes.insert(noted, (segment, chunk.offset, self.tree.size()));
                return;
            }
            What::Removed => None,
            What::Frame(said) => Some(said),
        };
        let blobs = std::mem::take(&mut self.blobs);
        match what {
            None => {
                self.removed.insert(self.tree.size(), (segment, chunk.offset));
                seen.removed(self.tree.size());
            }
            Some(Err(flaw)) => self.report(segment, chunk.offset, flaw),
            Some(Ok(said)) => {
                let Said { frame, files, wrong } = *said;
                if frame.head.sequence != self.tree.size() {
                    self.report(segment, chunk.offset, Flaw::Sequence);
                }
                let mut beside = stored(&frame.record).filter(|stored| stored.place == Place::Chunk);
                if !files || !beside.all(|stored| blobs.contains(&stored.ciphertext)) {
                    self.report(segment, chunk.offset, Flaw::Body);
                }
                self.cleaned(&frame.record);
                seen.record(self.tree.size(), frame.head.time, &frame.record);
                if let Some(what) = wrong {
                    seen.wrong(self.tree.size(), what);
                }
            }
        }
        seen.leaf(self.tree.size(), &chunk.hash);
        self.tree.push(chunk.hash);
    }

    /// Takes in what a record says that the log was cleaned of.
    fn cleaned(&mut self, record: &Record) {
        if let Record::Access(access) = record
            && access.action == removal::ACTION
        {
            self.notes.remove(&self.tree.size());
            for number in &access.records {
                self.removed.remove(number);
            }
        }
    }

    fn end(mut self) -> Verdict {
        let removed = std::mem::take(&mut self.removed).into_iter();
        let removed = removed.map(|(sequence, (segment, offset))| (segment, offset, sequence));
        let unfounded = std::mem::take(&mut self.notes).into_values().chain(removed);
        for (segment, offset, sequence) in unfounded.take(MOST.saturating_sub(self.findings.len())) {
            self.findings.push(Finding { segment, offset, sequence, flaw: Flaw::Removed });
        }
        self.findings.sort_by_key(|finding| (finding.segment, finding.offset));
        Verdict { records: self.tree.size(), root: self.tree.root(), findings: self.findings }
    }

    fn report(&mut self, segment: u64, offset: u64, flaw: Flaw) {
        if self.findings.len() < MOST {
            self.findings.push(Finding { segment, offset, sequence: self.tree.size(), flaw });
        }
    }
}

/// Reads a segment piece by piece; of a segment without a header of this log there is only the beginning.
pub(crate) struct Pieces<R> {
    log: [u8; 16],
    segment: u64,
    last: bool,
    from: R,
    offset: u64,
    /// What was read and not given.
    ahead: BytesMut,
    next: Next,
}

/// What is to be read next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Header,
    Chunk,
    /// Nothing; whether something else than a chunk stands there.
    End(bool),
    Done,
}

impl<R: Read> Pieces<R> {
    /// Of the segment with this number; `last` says that no other follows.
    pub(crate) fn new(log: [u8; 16], segment: u64, last: bool, from: R) -> Self {
        Self { log, segment, last, from, offset: 0, ahead: BytesMut::new(), next: Next::Header }
    }

    fn begin(&mut self) -> io::Result<Piece<Chunk>> {
        self.read(SEGMENT_HEADER)?;
        let bytes = self.ahead.split_to(SEGMENT_HEADER.min(self.ahead.len()));
        self.offset = u64::try_from(SEGMENT_HEADER).unwrap_or(0);
        let header = SegmentHeader::decode(&bytes);
        let ours = header.as_ref().is_ok_and(|header| header.log == self.log);
        self.next = if ours { Next::Chunk } else { Next::Done };
        let header = header.map(|header| (Box::new(header), tree::sha256(&bytes)));
        Ok(Piece::Begin { segment: self.segment, header })
    }

    fn chunks(&mut self) -> io::Result<Piece<Chunk>> {
        let (mut chunks, mut size) = (Vec::new(), 0);
        while size < PIECE
            && let Some(chunk) = self.chunk()?
        {
            size += chunk.padded.len();
            chunks.push(chunk);
        }
        Ok(Piece::Chunks { segment: self.segment, chunks })
    }

    fn chunk(&mut self) -> io::Result<Option<Chunk>> {
        self.read(CHUNK_HEAD)?;
        let bytes = self.ahead.get(..CHUNK_HEAD.min(self.ahead.len())).unwrap_or_default();
        if bytes.iter().all(|byte| *byte == 0) {
            self.next = Next::End(!self.only_zeros()?);
            return Ok(None);
        }
        self.next = Next::End(true);
        let head = bytes.first_chunk().and_then(|bytes| ChunkHead::decode(bytes, &self.log));
        let Some(head) = head else { return Ok(None) };
        let size = usize::try_from(head.size()).unwrap_or(usize::MAX);
        if !self.read(size)? {
            return Ok(None);
        }
        self.next = Next::Chunk;
        let padded = self.ahead.split_to(size).freeze().slice(CHUNK_HEAD..);
        let offset = self.offset;
        self.offset = offset.saturating_add(head.size());
        Ok(Some(Chunk { offset, head, padded }))
    }

    /// Reads on until so much is there, if there is so much.
    fn read(&mut self, wanted: usize) -> io::Result<bool> {
        let held = self.ahead.len();
        if held < wanted {
            self.ahead.resize(held.saturating_add(wanted.max(PIECE)), 0);
            let read = read_up_to(&mut self.from, self.ahead.get_mut(held..).unwrap_or_default())?;
            self.ahead.truncate(held + read);
        }
        Ok(self.ahead.len() >= wanted)
    }

    fn only_zeros(&mut self) -> io::Result<bool> {
        while !self.ahead.is_empty() {
            if self.ahead.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            self.ahead.clear();
            self.read(1)?;
        }
        Ok(true)
    }
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = io::Result<Piece<Chunk>>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = match self.next {
            Next::Header => self.begin(),
            Next::Chunk => self.chunks(),
            Next::End(broken) => {
                self.next = Next::Done;
                Ok(Piece::End { segment: self.segment, offset: self.offset, last: self.last, broken })
            }
            Next::Done => return None,
        };
        if piece.is_err() {
            self.next = Next::Done;
        }
        Some(piece)
    }
}

/// Fills the buffer as far as there is something.
fn read_up_to(from: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<usize> {
    let mut whole = 0;
    while !buffer.is_empty() {
        match from.read(buffer) {
            Ok(0) => break,
            Ok(read) => {
                whole += read;
                buffer = buffer.get_mut(read..).unwrap_or_default();
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(whole)
}
