//! Segments that messages were removed from: their bytes, made and read.
//!
//! ```text
//! header  note(42)  leaf(7)  blob frame(8)  leaf(9)  note(57)  leaf(10)        42 names 7 and 9, 57 names 10
//! ```
//! What stands in the place of a message belongs to the last note before it. The first chunk of such a segment is a note,
//! so that one look tells it from others.
//!
//! Not here: which messages go ([`super::removal`]); where a whole log is moved to ([`super::migrate`]).

use std::collections::HashMap;

use bytes::Bytes;

use super::{
    error::{Finding, Flaw, LogError},
    frame::{ChunkHead, ChunkType, NOBODY, SEGMENT_HEADER, chunk_size, frame_head, noted},
    segment::{self, FIRST_CHUNK, Found, Scanner, Segment},
    tree::{self, Hash},
};

/// A record as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The hash of its frame, as the store states it.
    pub(crate) leaf: Hash,
    /// Bodies beside it, with their digests.
    pub(crate) blobs: Vec<(Hash, Bytes)>,
    pub(crate) content: Content,
}

/// What is there of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Frame(Bytes),
    /// Nothing but its leaf; and the number of the record that says who removed it.
    Removed(u64),
}

impl Entry {
    /// Bytes that it takes in a segment, with a note.
    pub(crate) fn size(&self) -> u64 {
        let size = |length: usize| chunk_size(u64::try_from(length).unwrap_or(u64::MAX));
        let blobs = self.blobs.iter().map(|(_, blob)| size(blob.len()));
        let content = match &self.content {
            Content::Frame(frame) => size(frame.len()),
            Content::Removed(_) => size(0).saturating_add(size(size_of::<u64>())),
        };
        blobs.fold(content, u64::saturating_add)
    }

    fn noted(&self) -> Option<u64> {
        match self.content {
            Content::Frame(_) => None,
            Content::Removed(noted) => Some(noted),
        }
    }
}

/// The bytes of these records behind the header of a segment. Each chunk says of itself that all before it was durable
/// when it was written.
pub(crate) fn encode(log: &[u8; 16], entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut current = entries.iter().find_map(Entry::noted);
    if let Some(noted) = current {
        put_note(&mut out, log, noted);
    }
    for entry in entries {
        match &entry.content {
            Content::Frame(frame) => {
                entry.blobs.iter().for_each(|(hash, blob)| put(&mut out, log, ChunkType::Blob, *hash, blob));
                put(&mut out, log, ChunkType::Frame, entry.leaf, frame);
            }
            Content::Removed(noted) => {
                if current != Some(*noted) {
                    put_note(&mut out, log, *noted);
                    current = Some(*noted);
                }
                put(&mut out, log, ChunkType::Removed, entry.leaf, &[]);
            }
        }
    }
    out
}

fn put_note(out: &mut Vec<u8>, log: &[u8; 16], noted: u64) {
    let content = noted.to_be_bytes();
    put(out, log, ChunkType::Note, tree::sha256(&content), &content);
}

fn put(out: &mut Vec<u8>, log: &[u8; 16], kind: ChunkType, hash: Hash, content: &[u8]) {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let write = number(out.len().saturating_add(SEGMENT_HEADER));
    ChunkHead { kind, length: number(content.len()), write, hash }.put(log, &[content], out);
}

/// Puts the chunks of a segment together to records.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    blobs: Vec<(Hash, Bytes)>,
    noted: Option<u64>,
}

impl Gathering {
    /// The record that ends with this chunk, if one does.
    pub(crate) fn take(&mut self, head: &ChunkHead, content: Bytes) -> Option<Entry> {
        let content = match head.kind {
            ChunkType::Blob => {
                self.blobs.push((head.hash, content));
                return None;
            }
            ChunkType::Note => {
                self.noted = Some(noted(&content));
                return None;
            }
            ChunkType::Frame => Content::Frame(content),
            ChunkType::Removed => Content::Removed(self.noted.unwrap_or(NOBODY)),
        };
        Some(Entry { leaf: head.hash, blobs: std::mem::take(&mut self.blobs), content })
    }
}

/// Shows each record of a segment that is whole.
pub(crate) fn each(
    segment: &Segment,
    see: &mut dyn FnMut(u64, Entry) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let unreadable = |e| LogError::io("a segment cannot be read", &e);
    let mut scanner = Scanner::new(segment, FIRST_CHUNK);
    let (mut gathering, mut sequence) = (Gathering::default(), segment.header.tree.size());
    loop {
        let chunk = match scanner.next().map_err(unreadable)? {
            Found::Nothing => return Ok(()),
            Found::Broken(flaw) => return Err(damaged(segment, scanner.offset(), flaw)),
            Found::Chunk(chunk) => chunk,
        };
        if let Some(entry) = gathering.take(&chunk.head, chunk.content) {
            see(sequence, entry)?;
            sequence = sequence.saturating_add(1);
        }
    }
}

pub(crate) fn damaged(segment: &Segment, offset: u64, flaw: Flaw) -> LogError {
    let sequence = segment.header.tree.size();
    LogError::Damaged(Finding { segment: segment.header.number, offset, sequence, flaw })
}

/// Whether messages were removed from a segment.
pub(crate) fn is_cleaned(segment: &Segment) -> bool {
    // What is no chunk is judged by whoever reads it.
    segment::read_head(segment, FIRST_CHUNK).is_ok_and(|head| head.kind == ChunkType::Note)
}

/// Where the records of a segment are that was cleaned.
pub(crate) struct Cleaned {
    /// Where the blobs of each record begin.
    pub(crate) places: HashMap<u64, u64>,
    /// Of each record that was removed, which one says so.
    pub(crate) noted: HashMap<u64, u64>,
}

impl Cleaned {
    /// Finds the records of a segment, as far as it is whole; none when it was not cleaned. `first` is the number of its
    /// first record, where that is known.
    pub(crate) fn read(segment: &Segment, first: Option<u64>) -> Result<Option<Self>, LogError> {
        if !is_cleaned(segment) {
            return Ok(None);
        }
        let unreadable = |e| LogError::io("a segment cannot be read", &e);
        let mut scanner = Scanner::new(segment, FIRST_CHUNK);
        let mut found = Self { places: HashMap::new(), noted: HashMap::new() };
        let (mut begin, mut current) = (FIRST_CHUNK, NOBODY);
        // What was removed does not say its number: behind something broken it is not known until the next frame.
        let mut next = first;
        loop {
            let chunk = match scanner.next().map_err(unreadable)? {
                Found::Chunk(chunk) => chunk,
                Found::Nothing => return Ok(Some(found)),
                Found::Broken(_) if scanner.find_next().map_err(unreadable)? => {
                    (begin, next) = (scanner.offset(), None);
                    continue;
                }
                Found::Broken(_) => return Ok(Some(found)),
            };
            let sequence = match chunk.head.kind {
                ChunkType::Blob => continue,
                ChunkType::Note => {
                    (begin, current) = (chunk.end(), noted(&chunk.content));
                    continue;
                }
                ChunkType::Removed => {
                    found.noted.extend(next.map(|sequence| (sequence, current)));
                    next
                }
                ChunkType::Frame => frame_head(&chunk.content).ok().map(|head| head.sequence),
            };
            found.places.extend(sequence.map(|sequence| (sequence, begin)));
            next = sequence.map(|sequence| sequence.saturating_add(1));
            begin = chunk.end();
        }
    }
}
