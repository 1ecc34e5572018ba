//! The checker: derives everything again from the bytes and names what is wrong. It shares with the writer the format
//! ([`super::frame`]) and nothing else.
//!
//! ```text
//! segment ──► `pieces`: chunks as they stand ──► hashes, fields, bodies, each record alone ──► numbers, order, tree
//! tables  ──►           one after the other      on all cores                                  in the order of the log
//! ```
//! It finds: records that were removed and no record says so, changed bits, missing, doubled, swapped or foreign segments and records, records cut off at the end of any
//! segment but the last, bodies that are gone or others, data keys that are gone without a record that says so. What was cut off at the very end is found by whoever knows how
//! long the log was: a signed checkpoint, the index.
//!
//! Not here: files and tables ([`super::audit`] opens them), signatures and time-stamps inside the records.

use std::collections::BTreeMap;

use bytes::Bytes;
use cert_authority::clock::UnixTime;

use super::{
    error::{Finding, Flaw, LogError},
    frame::{self, ChunkType, Frame, NOBODY, SegmentHeader},
    in_order::in_order,
    key_uses::{At, KeyUses, Keys},
    pieces::{Chunk, Head, Piece},
    postgres::Searched,
    record::{Place, Record, Stored},
    removal,
    tree::{Hash, Tree},
};

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

    /// At the end: how many data keys that messages were sealed with are there, and how many records say are destroyed.
    fn keys(&mut self, _there: u64, _destroyed: u64) {}
}

/// Who does not look.
impl Observer for () {
    fn record(&mut self, _sequence: u64, _time: UnixTime, _record: &Record) {}
}

/// Says in words what is wrong with a record that was logged at this time, by what stands in it alone. Asked on all cores.
pub type Judge<'a> = &'a (dyn Fn(UnixTime, &Record) -> Option<String> + Sync);

/// Whether the file of a body is there and has the digest that its record states; that of a body whose data key was
/// destroyed may be gone. Asked on all cores.
pub(crate) type Kept<'a> = &'a (dyn Fn(&Stored) -> Result<bool, LogError> + Sync);

/// What lies beside the records.
#[derive(Clone, Copy)]
pub(crate) struct Beside<'a> {
    /// Large bodies.
    pub(crate) kept: Kept<'a>,
    /// Data keys.
    pub(crate) keys: &'a Keys<'a>,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How many records there are.
    pub records: u64,
    /// Of how many of them only the leaf is there.
    pub removed: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// What is wrong, in the order of the log; empty if nothing is.
    pub findings: Vec<Finding>,
}

/// Checks the pieces of a log in their order.
///
/// # Errors
/// When it cannot be read at all.
pub(crate) fn check(
    log: [u8; 16],
    pieces: impl Iterator<Item = Result<Piece<Chunk>, LogError>> + Send,
    beside: Beside<'_>,
    judge: Judge<'_>,
    seen: &mut dyn Observer,
) -> Result<Verdict, LogError> {
    let Beside { kept, keys } = beside;
    let mut checker = Checker {
        log,
        before: Before::Beginning,
        tree: Tree::EMPTY,
        missing: 0,
        blobs: Vec::new(),
        removed: BTreeMap::new(),
        noted: NOBODY,
        cleaned_of: 0,
        ended: (0, 0),
        keys,
        uses: KeyUses::default(),
        findings: Vec::new(),
    };
    in_order(
        pieces,
        |piece| piece.and_then(|piece| piece.examine(kept, judge)),
        |piece| checker.take(piece?, seen),
    )?;
    checker.end(seen)
}

/// What a chunk holds.
pub(crate) struct Examined {
    offset: u64,
    /// Whether a table gives it the number at its offset.
    numbered: bool,
    /// Whether it is what its head says, with nothing written where zeros belong.
    whole: bool,
    hash: Hash,
    what: What,
}

enum What {
    Blob(Bytes),
    /// The number of a record.
    Note(u64),
    Removed {
        /// The record that a row of a table names; in a segment a note does.
        noted: Option<u64>,
        /// Whether a row still says something to search it by.
        searched: bool,
    },
    Frame(Result<Box<Said>, Flaw>),
}

/// What a frame says.
struct Said {
    frame: Frame,
    /// Whether its large bodies are there.
    kept: bool,
    /// Whether it is found by what it says.
    searched: bool,
    /// What is wrong with it by itself.
    wrong: Option<String>,
}

impl Piece<Chunk> {
    /// Does what needs no order.
    fn examine(self, kept: Kept<'_>, judge: Judge<'_>) -> Result<Piece<Examined>, LogError> {
        Ok(match self {
            Self::Begin { segment, header } => Piece::Begin { segment, header },
            Self::End { segment, offset, last, broken } => Piece::End { segment, offset, last, broken },
            Self::Head(head) => Piece::Head(head),
            Self::Chunks { segment, chunks } => {
                let chunks = chunks.into_iter().map(|chunk| chunk.examine(kept, judge));
                Piece::Chunks { segment, chunks: chunks.collect::<Result<_, LogError>>()? }
            }
        })
    }
}

impl Chunk {
    fn examine(self, kept: Kept<'_>, judge: Judge<'_>) -> Result<Examined, LogError> {
        let length = usize::try_from(self.head.length).unwrap_or(usize::MAX);
        let (content, padding) = self.padded.split_at_checked(length).unwrap_or((&self.padded, &[]));
        // Of what is there, whatever its head says.
        let hash = self.head.hash_of(content);
        let whole = self.head.matches_hash(&hash, content) && padding.iter().all(|byte| *byte == 0);
        let what = match self.head.kind {
            ChunkType::Blob => What::Blob(self.padded.slice(..content.len())),
            ChunkType::Note => What::Note(frame::noted(content)),
            ChunkType::Removed => What::Removed {
                noted: self.row.as_ref().and_then(Searched::noted),
                searched: self.row.as_ref().is_some_and(|row| !row.is_empty()),
            },
            // By itself, so that who keeps a part of it does not keep all that was read with it.
            ChunkType::Frame => What::Frame(match Frame::decode(&Bytes::copy_from_slice(content)) {
                Ok(frame) => Ok(Box::new(said(frame, self.row.as_ref(), kept, judge)?)),
                Err(flaw) => Err(flaw),
            }),
        };
        Ok(Examined { offset: self.offset, numbered: self.row.is_some(), whole, hash, what })
    }
}

fn said(frame: Frame, row: Option<&Searched>, kept: Kept<'_>, judge: Judge<'_>) -> Result<Said, LogError> {
    let kept = stored(&frame.record)
        .filter(|stored| stored.place == Place::File)
        .try_fold(true, |all, stored| Ok(all && kept(stored)?))?;
    let wrong = judge(frame.head.time, &frame.record);
    let searched = row.is_none_or(|row| row.is_of(&frame));
    Ok(Said { frame, kept, searched, wrong })
}

/// The sealed bodies that a record names.
pub(super) fn stored(record: &Record) -> impl Iterator<Item = &Stored> {
    record.message().into_iter().flat_map(|message| &message.parts).filter_map(|part| part.stored.as_ref())
}

/// Checks what is in order.
struct Checker<'a> {
    log: [u8; 16],
    before: Before,
    tree: Tree,
    /// Rows that are missing in a table: the tree behind them is not known.
    missing: u64,
    /// The blobs since the last frame, each with the hash of what is there.
    blobs: Vec<(Hash, Bytes)>,
    /// What was removed, until the record comes that it names and says that the log was cleaned of it.
    removed: BTreeMap<u64, Gone>,
    /// What the last note in the segment names.
    noted: u64,
    /// How many records were removed.
    cleaned_of: u64,
    /// The end of the last segment.
    ended: (u64, u64),
    keys: &'a Keys<'a>,
    uses: KeyUses,
    findings: Vec<Finding>,
}

/// Where something was removed, and the record that is named there.
#[derive(Debug, Clone, Copy)]
struct Gone {
    segment: u64,
    offset: u64,
    noted: u64,
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

impl Checker<'_> {
    fn take(&mut self, piece: Piece<Examined>, seen: &mut dyn Observer) -> Result<(), LogError> {
        match piece {
            Piece::Begin { segment, header } => self.begin(segment, header),
            Piece::Head(head) => self.head(&head),
            Piece::Chunks { segment, chunks } => {
                return chunks.into_iter().try_for_each(|chunk| self.chunk(segment, chunk, seen));
            }
            Piece::End { segment, offset, last, broken } => {
                self.ended = (segment, offset);
                // Without a head nobody knows where the next chunk begins: the rest is lost to the checker.
                if broken || !self.blobs.is_empty() {
                    self.report(segment, offset, if last { Flaw::TornTail } else { Flaw::Chunk });
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, segment: u64, header: Result<(Box<SegmentHeader>, Hash), Flaw>) {
        self.blobs.clear();
        self.noted = NOBODY;
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

    /// The number of the record that should stand here.
    fn due(&self) -> u64 {
        self.tree.size().saturating_add(self.missing)
    }

    /// Goes to the record of this number in a table; false when it was there already.
    fn arrive(&mut self, number: u64) -> bool {
        let Some(missing) = number.checked_sub(self.due()) else {
            self.report_of(number, 0, number, Flaw::Sequence);
            return false;
        };
        if missing > 0 {
            self.report(0, number, Flaw::Sequence);
            self.missing = self.missing.saturating_add(missing);
        }
        true
    }

    fn chunk(&mut self, segment: u64, chunk: Examined, seen: &mut dyn Observer) -> Result<(), LogError> {
        if chunk.numbered && !self.arrive(chunk.offset) {
            self.blobs.clear();
            return Ok(());
        }
        if !chunk.whole {
            self.report(segment, chunk.offset, Flaw::Hash);
        }
        let what = match chunk.what {
            What::Blob(content) => {
                self.blobs.push((chunk.hash, content));
                return Ok(());
            }
            What::Note(noted) => {
                self.noted = noted;
                return Ok(());
            }
            What::Removed { noted, searched } => {
                if searched {
                    self.report(segment, chunk.offset, Flaw::Search);
                }
                self.noted = noted.unwrap_or(self.noted);
                None
            }
            What::Frame(said) => Some(said),
        };
        let blobs = std::mem::take(&mut self.blobs);
        match what {
            None => {
                let gone = Gone { segment, offset: chunk.offset, noted: self.noted };
                self.removed.insert(self.due(), gone);
                self.cleaned_of = self.cleaned_of.saturating_add(1);
                seen.removed(self.due());
            }
            Some(Err(flaw)) => self.report(segment, chunk.offset, flaw),
            Some(Ok(said)) => self.said((segment, chunk.offset), *said, &blobs, seen)?,
        }
        seen.leaf(self.due(), &chunk.hash);
        self.tree.push(chunk.hash);
        Ok(())
    }

    fn said(
        &mut self,
        (segment, offset): (u64, u64),
        said: Said,
        blobs: &[(Hash, Bytes)],
        seen: &mut dyn Observer,
    ) -> Result<(), LogError> {
        let Said { frame, kept, searched, wrong } = said;
        if frame.head.sequence != self.due() {
            self.report(segment, offset, Flaw::Sequence);
        }
        let mut beside = stored(&frame.record).filter(|stored| stored.place == Place::Chunk);
        let there = |stored: &Stored| blobs.iter().any(|(hash, _)| *hash == stored.ciphertext);
        if !kept || !beside.all(there) {
            self.report(segment, offset, Flaw::Body);
        }
        if !searched {
            self.report(segment, offset, Flaw::Search);
        }
        self.cleaned(&frame.record);
        let at = At { segment, offset, sequence: self.due() };
        self.uses.take(self.keys, at, &frame.record, blobs)?;
        seen.record(self.due(), frame.head.time, &frame.record);
        if let Some(what) = wrong {
            seen.wrong(self.due(), what);
        }
        Ok(())
    }

    /// What a table says of all its rows.
    fn head(&mut self, head: &Head) {
        let records = self.due();
        if head.log != self.log {
            self.report_of(0, 0, 0, Flaw::OtherLog);
        }
        if head.strays {
            self.report_of(0, 0, 0, Flaw::Sequence);
        }
        let size = u64::try_from(head.size).unwrap_or(0);
        let changed = if size != records {
            Some(size.min(records))
        } else if self.findings.is_empty() {
            // What is found already explains why the tree is another one.
            self.first_changed(&head.edge)
        } else {
            None
        };
        if let Some(first) = changed {
            self.report_of(first, 0, first, Flaw::Head);
        }
    }

    /// The first record of the first perfect subtree that is not the one in this edge.
    fn first_changed(&self, edge: &[u8]) -> Option<u64> {
        let (stated, rest) = edge.as_chunks::<32>();
        let mut first = 0_u64;
        let mut left = self.tree.size();
        let mut stated = stated.iter();
        for hash in self.tree.edge() {
            if stated.next() != Some(hash) {
                return Some(first);
            }
            let perfect = left.checked_ilog2().map_or(0, |level| 1 << level);
            left = left.saturating_sub(perfect);
            first = first.saturating_add(perfect);
        }
        (stated.next().is_some() || !rest.is_empty()).then_some(first)
    }

    /// Takes in what a record says that the log was cleaned of.
    fn cleaned(&mut self, record: &Record) {
        if let Record::Access(access) = record
            && access.action == removal::ACTION
        {
            let due = self.due();
            for number in &access.records {
                if self.removed.get(number).is_some_and(|gone| gone.noted == due) {
                    self.removed.remove(number);
                }
            }
        }
    }

    fn end(mut self, seen: &mut dyn Observer) -> Result<Verdict, LogError> {
        let unfounded = std::mem::take(&mut self.removed).into_iter();
        for (sequence, gone) in unfounded.take(MOST.saturating_sub(self.findings.len())) {
            let Gone { segment, offset, .. } = gone;
            self.findings.push(Finding { segment, offset, sequence, flaw: Flaw::Removed });
        }
        let (segment, offset) = self.ended;
        let end = At { segment, offset, sequence: self.due() };
        let keys = std::mem::take(&mut self.uses).end(self.keys, end)?;
        seen.keys(keys.there, keys.destroyed);
        self.findings.extend(keys.findings.into_iter().take(MOST));
        self.findings.sort_by_key(|finding| (finding.segment, finding.offset));
        let (records, root) = (self.tree.size(), self.tree.root());
        Ok(Verdict { records, removed: self.cleaned_of, root, findings: self.findings })
    }

    fn report(&mut self, segment: u64, offset: u64, flaw: Flaw) {
        self.report_of(self.due(), segment, offset, flaw);
    }

    fn report_of(&mut self, sequence: u64, segment: u64, offset: u64, flaw: Flaw) {
        if self.findings.len() < MOST {
            self.findings.push(Finding { segment, offset, sequence, flaw });
        }
    }
}
