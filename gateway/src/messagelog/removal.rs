//! Removing messages for good: a segment that is full is written anew, with their leaves in their places.
//!
//! ```text
//! before   header  blob frame(7)  frame(8)  blob frame(9)
//! say who and why (record 42, which names 7 and 9) ──► the new segment beside the old one ──► rename it over the old one
//! after    header  note(42)  leaf(7)  frame(8)  leaf(9)
//! died before the end: the record stands, removing again finishes it
//! ```
//! Header, numbers and tree stay what they were, and so do all other records: time-stamps, checkpoints, outcomes, who
//! read what. Whoever has a copy of a message can still show that it was in the log.
//!
//! Not here: which messages may go, and when (`archive::removing`); logs in PostgreSQL.

use std::collections::{BTreeSet, HashMap};

use cert_authority::clock::UnixTime;

use super::{
    append::LogStore,
    body::blocking,
    disk,
    error::{Finding, Flaw, LogError},
    frame::{ChunkHead, ChunkType, Frame, frame_head},
    reader::Reader,
    record::{AccessRecord, MessageRecord, Record},
    segment::{self, FIRST_CHUNK, Found, Scanner, Segment},
    service::{self, MessageLog},
    tree,
};

/// The action of the record that names what is removed.
pub const ACTION: &str = "remove";

/// A segment that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Its number.
    pub segment: u64,
    /// When the next one was begun.
    pub until: UnixTime,
}

/// A message that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its number.
    pub sequence: u64,
    /// When it was logged.
    pub time: UnixTime,
    /// What it says.
    pub message: MessageRecord,
}

/// The segments behind number `after` that are full, the oldest first. Blocks while it reads.
///
/// # Errors
/// Those of the log.
pub fn full(reader: &Reader, after: u64) -> Result<Vec<Full>, LogError> {
    let (log, id) = (reader.directory(), service::read_identity(reader.directory())?);
    let numbers: Vec<u64> = segment::list(log)?.into_iter().filter(|number| *number > after).collect();
    let each = numbers.iter().zip(numbers.iter().skip(1));
    each.map(|(number, next)| {
        Ok(Full { segment: *number, until: segment::open(log, &id, *next)?.header.created })
    })
    .collect()
}

/// The messages that are in a segment. Blocks while it reads.
///
/// # Errors
/// Those of the log; [`LogError::Damaged`] when the segment is not whole.
pub fn present(reader: &Reader, number: u64) -> Result<Vec<Present>, LogError> {
    let (log, id) = (reader.directory(), service::read_identity(reader.directory())?);
    let segment = segment::open(log, &id, number)?;
    let mut messages = Vec::new();
    each_entry(&segment, &mut |_, entry| {
        let Some(frame) = entry.frame else { return Ok(()) };
        let frame = Frame::decode(&frame.content).map_err(|flaw| damaged(&segment, frame.offset, flaw))?;
        if let Record::Request(message) | Record::Response(message) = frame.record {
            messages.push(Present { sequence: frame.head.sequence, time: frame.head.time, message });
        }
        Ok(())
    })?;
    Ok(messages)
}

/// Removes messages from a segment that is full. `who` and `reason` stand in the log, before anything is removed.
///
/// # Errors
/// Those of the log; [`LogError::Damaged`] when the segment is not whole: then nothing is removed.
pub async fn remove(
    log: &MessageLog,
    number: u64,
    messages: BTreeSet<u64>,
    who: &str,
    reason: &str,
) -> Result<(), LogError> {
    let record = AccessRecord {
        who: who.to_owned(),
        role: None,
        action: ACTION.to_owned(),
        query: format!("messages of segment {number}"),
        reason: Some(reason.to_owned()),
        records: messages.iter().copied().collect(),
        bodies: true,
    };
    let noted = log.append(Record::Access(record), Vec::new()).await?.sequence;
    let (log, count) = (log.clone(), messages.len());
    blocking(move || rewrite(&log, number, &messages, noted)).await?;
    tracing::info!(segment = number, messages = count, "messages were removed from the log");
    Ok(())
}

/// Puts a segment without these messages into the place of the old one.
fn rewrite(log: &MessageLog, number: u64, messages: &BTreeSet<u64>, noted: u64) -> Result<(), LogError> {
    let reader = log.reader();
    let (directory, id) = (reader.directory(), service::read_identity(reader.directory())?);
    let old = segment::open(directory, &id, number)?;
    let next = segment::open(directory, &id, number.saturating_add(1))?;
    let (mut new, mut tree) = (old.header.encode(), old.header.tree.clone());
    if tree::sha256(&new) != old.header_hash {
        return Err(damaged(&old, 0, Flaw::Header));
    }
    put(&mut new, &id, ChunkType::Note, tree::sha256(&noted.to_be_bytes()), &noted.to_be_bytes());
    each_entry(&old, &mut |sequence, entry| {
        let kept = entry.frame.as_ref().filter(|_| !messages.contains(&sequence));
        match kept {
            None => put(&mut new, &id, ChunkType::Removed, entry.leaf, &[]),
            Some(frame) => {
                for chunk in entry.blobs.iter().chain([frame]) {
                    put(&mut new, &id, chunk.head.kind, chunk.head.hash, &chunk.content);
                }
            }
        }
        tree.push(entry.leaf);
        Ok(())
    })?;
    // Nothing is removed from what is not what it was.
    if tree != next.header.tree {
        return Err(damaged(&next, 0, Flaw::Tree));
    }
    disk::put(log.disk(), &segment::path(directory, number), &new)
        .map_err(|e| LogError::io("a segment cannot be written anew", &e))?;
    reader.forget(number);
    Ok(())
}

/// A chunk that says of itself that all before it was durable when it was written.
fn put(out: &mut Vec<u8>, log: &[u8; 16], kind: ChunkType, hash: tree::Hash, content: &[u8]) {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let head = ChunkHead { kind, length: number(content.len()), write: number(out.len()), hash };
    head.put(log, &[content], out);
}

/// What stands in a segment for one record.
struct Entry {
    blobs: Vec<segment::Chunk>,
    /// None of one that was removed.
    frame: Option<segment::Chunk>,
    leaf: tree::Hash,
}

fn each_entry(
    segment: &Segment,
    see: &mut dyn FnMut(u64, Entry) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let unreadable = |e| LogError::io("a segment cannot be read", &e);
    let mut scanner = Scanner::new(segment, FIRST_CHUNK);
    let (mut blobs, mut sequence) = (Vec::new(), segment.header.tree.size());
    loop {
        let chunk = match scanner.next().map_err(unreadable)? {
            Found::Nothing => return Ok(()),
            Found::Broken(flaw) => return Err(damaged(segment, scanner.offset(), flaw)),
            Found::Chunk(chunk) => chunk,
        };
        let leaf = chunk.head.hash;
        let frame = match chunk.head.kind {
            ChunkType::Note => continue,
            ChunkType::Blob => {
                blobs.push(chunk);
                continue;
            }
            ChunkType::Removed => None,
            ChunkType::Frame => Some(chunk),
        };
        see(sequence, Entry { blobs: std::mem::take(&mut blobs), frame, leaf })?;
        sequence = sequence.saturating_add(1);
    }
}

fn damaged(segment: &Segment, offset: u64, flaw: Flaw) -> LogError {
    let sequence = segment.header.tree.size();
    LogError::Damaged(Finding { segment: segment.header.number, offset, sequence, flaw })
}

/// The number of the record that says that a segment was cleaned; none if it was not.
pub(crate) fn noted(segment: &Segment) -> Result<Option<u64>, LogError> {
    // What is no chunk is judged by whoever reads it.
    let first = segment::read_head(segment, FIRST_CHUNK).ok().filter(|head| head.kind == ChunkType::Note);
    if first.is_none() {
        return Ok(None);
    }
    let note = segment::read_chunk(segment, FIRST_CHUNK)?;
    let number = note.content.first_chunk().copied().map(u64::from_be_bytes);
    number.map(Some).ok_or_else(|| damaged(segment, FIRST_CHUNK, Flaw::Fields))
}

/// Where the records of a segment are that was cleaned.
pub(crate) struct Cleaned {
    /// The record that says so.
    pub(crate) noted: u64,
    /// Where the blobs of each record begin.
    pub(crate) places: HashMap<u64, u64>,
}

impl Cleaned {
    /// Finds the records of a segment, as far as it is whole; none when it was not cleaned. `first` is the number of its
    /// first record, where that is known.
    pub(crate) fn read(segment: &Segment, first: Option<u64>) -> Result<Option<Self>, LogError> {
        let Some(noted) = noted(segment)? else { return Ok(None) };
        let unreadable = |e| LogError::io("a segment cannot be read", &e);
        let mut scanner = Scanner::new(segment, FIRST_CHUNK);
        let (mut places, mut begin) = (HashMap::new(), FIRST_CHUNK);
        // What was removed does not say its number: behind something broken it is not known until the next frame.
        let mut next = first;
        loop {
            let chunk = match scanner.next().map_err(unreadable)? {
                Found::Chunk(chunk) => chunk,
                Found::Nothing => return Ok(Some(Self { noted, places })),
                Found::Broken(_) if scanner.find_next().map_err(unreadable)? => {
                    (begin, next) = (scanner.offset(), None);
                    continue;
                }
                Found::Broken(_) => return Ok(Some(Self { noted, places })),
            };
            let sequence = match chunk.head.kind {
                ChunkType::Blob => continue,
                ChunkType::Note => {
                    begin = chunk.end();
                    continue;
                }
                ChunkType::Removed => next,
                ChunkType::Frame => frame_head(&chunk.content).ok().map(|head| head.sequence),
            };
            places.extend(sequence.map(|sequence| (sequence, begin)));
            next = sequence.map(|sequence| sequence.saturating_add(1));
            begin = chunk.end();
        }
    }
}
