//! The checker: derives everything again from the bytes and names what is wrong. It shares with the writer the format
//! ([`super::frame`]) and nothing else.
//!
//! It finds: changed bits, missing, doubled, swapped or foreign segments and records, records cut off at the end of any
//! segment but the last, bodies that are gone or others. What was cut off at the very end is found by whoever knows how
//! long the log was: a signed checkpoint, the index.
//!
//! Not here: files (`log verify` opens them), signatures and time-stamps inside the records.

use std::io::{self, Read};

use bytes::Bytes;
use cert_authority::clock::UnixTime;

use super::{
    error::{Finding, Flaw},
    frame::{CHUNK_HEAD, ChunkHead, ChunkType, Frame, SEGMENT_HEADER, SegmentHeader},
    record::{Place, Record, Stored},
    tree::{self, Hash, Tree},
};

/// Checks a log, segment by segment in their order.
#[derive(Debug)]
pub struct Checker {
    log: [u8; 16],
    before: Before,
    tree: Tree,
    findings: Vec<Finding>,
    /// Most findings that are kept.
    most: usize,
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

/// What a record says that the checker cannot judge itself.
pub trait Witness {
    /// A record that can be read, and when it was logged.
    fn record(&mut self, sequence: u64, time: UnixTime, record: &Record);

    /// The leaf of a frame, whether it can be read or not.
    fn leaf(&mut self, _sequence: u64, _leaf: &Hash) {}

    /// Whether the file of a body is there and has the digest that its record states. A body whose data key was
    /// destroyed may be gone.
    fn body(&mut self, stored: &Stored) -> bool;
}

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

/// Where the reading stands.
struct Spot {
    segment: u64,
    offset: u64,
}

impl Checker {
    /// A checker of the log with this id.
    pub const fn new(log: [u8; 16]) -> Self {
        Self { log, before: Before::Beginning, tree: Tree::EMPTY, findings: Vec::new(), most: 1000 }
    }

    /// Checks the next segment. `last` says that no other follows: only there the end may be torn or empty.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn segment(
        &mut self,
        number: u64,
        last: bool,
        mut from: impl Read,
        witness: &mut dyn Witness,
    ) -> io::Result<()> {
        let mut at = Spot { segment: number, offset: 0 };
        let mut header = vec![0; SEGMENT_HEADER];
        let read = read_up_to(&mut from, &mut header)?;
        if !self.header(&at, header.get(..read).unwrap_or_default()) {
            return Ok(());
        }
        at.offset = u64::try_from(SEGMENT_HEADER).unwrap_or(0);
        let mut blobs = Vec::new();
        loop {
            match next(&mut from, &self.log)? {
                Next::Chunk { head, content, padding } => {
                    // Of what is there, whatever its head says.
                    let hash = head.kind.hash(&content);
                    if hash != head.hash || padding {
                        self.report(&at, Flaw::Hash);
                    }
                    match head.kind {
                        ChunkType::Blob => blobs.push(hash),
                        ChunkType::Frame => {
                            self.frame(&at, content.into(), hash, &std::mem::take(&mut blobs), witness);
                        }
                    }
                    at.offset = at.offset.saturating_add(head.size());
                }
                Next::End if blobs.is_empty() => return Ok(()),
                Next::End | Next::Broken => {
                    // Without a head nobody knows where the next chunk begins: the rest is lost to the checker.
                    self.report(&at, if last { Flaw::TornTail } else { Flaw::Chunk });
                    return Ok(());
                }
            }
        }
    }

    /// What was found.
    pub fn finish(self) -> Verdict {
        Verdict { records: self.tree.size(), root: self.tree.root(), findings: self.findings }
    }

    /// Whether the segment can be read on.
    fn header(&mut self, at: &Spot, bytes: &[u8]) -> bool {
        let header = match SegmentHeader::decode(bytes) {
            Ok(header) if header.log != self.log => {
                self.report(at, Flaw::OtherLog);
                return false;
            }
            Ok(header) => header,
            Err(flaw) => {
                self.report(at, flaw);
                // The next segment is judged by itself.
                self.before = Before::Unknown;
                return false;
            }
        };
        let follows = match self.before {
            Before::Beginning => header.number == 1 && header.previous == [0; 32],
            Before::Segment(number, hash) => header.number == number + 1 && header.previous == hash,
            Before::Unknown => true,
        };
        if header.number != at.segment || !follows {
            self.report(at, Flaw::Order);
        } else if self.before != Before::Unknown && header.tree != self.tree {
            self.report(at, Flaw::Tree);
        }
        // Go on from what the header says, so that one flaw is reported once.
        self.tree = header.tree;
        self.before = Before::Segment(header.number, tree::sha256(bytes));
        true
    }

    fn frame(&mut self, at: &Spot, content: Bytes, leaf: Hash, blobs: &[Hash], witness: &mut dyn Witness) {
        match Frame::decode(&content) {
            Err(flaw) => self.report(at, flaw),
            Ok(frame) => {
                if frame.head.sequence != self.tree.size() {
                    self.report(at, Flaw::Sequence);
                }
                let mut stored = frame
                    .record
                    .message()
                    .into_iter()
                    .flat_map(|m| &m.parts)
                    .filter_map(|p| p.stored.as_ref());
                let there = stored.all(|stored| match stored.place {
                    Place::Chunk => blobs.contains(&stored.ciphertext),
                    Place::File => witness.body(stored),
                });
                if !there {
                    self.report(at, Flaw::Body);
                }
                witness.record(self.tree.size(), frame.head.time, &frame.record);
            }
        }
        witness.leaf(self.tree.size(), &leaf);
        self.tree.push(leaf);
    }

    fn report(&mut self, at: &Spot, flaw: Flaw) {
        if self.findings.len() < self.most {
            let sequence = self.tree.size();
            self.findings.push(Finding { segment: at.segment, offset: at.offset, sequence, flaw });
        }
    }
}

enum Next {
    Chunk {
        head: ChunkHead,
        content: Vec<u8>,
        /// Something was written where zeros belong.
        padding: bool,
    },
    /// Zeros to the end, or the end.
    End,
    Broken,
}

fn next(from: &mut impl Read, log: &[u8; 16]) -> io::Result<Next> {
    let mut bytes = [0; CHUNK_HEAD];
    let read = read_up_to(from, &mut bytes)?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(if only_zeros(from)? { Next::End } else { Next::Broken });
    }
    let Some(head) = ChunkHead::decode(&bytes, log).filter(|_| read == CHUNK_HEAD) else {
        return Ok(Next::Broken);
    };
    let padded = usize::try_from(head.size()).unwrap_or(usize::MAX).saturating_sub(CHUNK_HEAD);
    let mut content = vec![0; padded];
    if read_up_to(from, &mut content)? < padded {
        return Ok(Next::Broken);
    }
    let length = usize::try_from(head.length).unwrap_or(usize::MAX);
    let padding = content.iter().skip(length).any(|byte| *byte != 0);
    content.truncate(length);
    Ok(Next::Chunk { head, content, padding })
}

fn only_zeros(from: &mut impl Read) -> io::Result<bool> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = read_up_to(from, &mut buffer)?;
        if buffer.iter().take(read).any(|byte| *byte != 0) {
            return Ok(false);
        }
        if read < buffer.len() {
            return Ok(true);
        }
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
