//! Where records lie: what a reader asks of a store, and the answers of segment files and their index.
//!
//! Not here: what records say, searching ([`super::reader`]); the answers of PostgreSQL.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use cert_authority::crypto::Digest;

use super::{
    cleaned::Cleaned,
    error::{Finding, Flaw, LogError},
    frame::{ChunkType, NOBODY},
    index::{Block, Index},
    removal::{self, Full, Present},
    segment::{self, FIRST_CHUNK, Position, Segment},
    tree::Hash,
};

/// How many segment files are kept open.
const OPEN_FILES: usize = 32;

/// The bytes of a record and of the bodies that lie beside it, found to be what was written.
pub(crate) struct Chunks {
    /// Encrypted bodies and their digests.
    pub(crate) blobs: Vec<(Hash, Bytes)>,
    /// The frame.
    pub(crate) frame: Bytes,
    /// Its hash.
    pub(crate) leaf: Hash,
}

/// A store of records. Its calls block.
pub(crate) trait Records: Send + Sync {
    /// Waits until everything below `sequence` can be found.
    fn wait_for(&self, sequence: u64) -> Result<(), LogError>;

    /// A block of records that holds `sequence`, if there is such a record.
    fn block_of(&self, sequence: u64) -> Result<Option<Arc<Block>>, LogError>;

    /// The numbers of records that may belong to a message id, ascending: a few others may be among them.
    fn by_message_id(&self, message_id: &str) -> Result<Vec<u64>, LogError>;

    /// Hashes of the message ids from `first` on, and of some before; `None` where others write too.
    fn ids_from(&self, first: u64) -> Result<Option<Vec<[u8; 8]>>, LogError>;

    /// The number of the time-stamp's record that covers `sequence`.
    fn stamp_of(&self, sequence: u64) -> Result<Option<u64>, LogError>;

    /// Every message below this number has its time-stamp.
    fn stamped_below(&self) -> Result<u64, LogError>;

    /// The leaf hashes of records that follow each other from `first` on, without reading their frames.
    fn leaves(&self, first: u64, positions: &[Position]) -> Result<Vec<Hash>, LogError>;

    /// What stands at the position of this record.
    fn chunks(&self, sequence: u64, position: Position) -> Result<Chunks, LogError>;

    /// The digest of the signature of a message without a time-stamp, where it is at hand without reading.
    fn signature_digest(&self, _sequence: u64) -> Option<Digest> {
        None
    }

    /// A segment was written anew.
    fn forget(&self, _segment: u64) {}

    /// The parts behind number `after` that can be cleaned, the oldest first.
    fn full(&self, after: u64) -> Result<Vec<Full>, LogError>;

    /// The messages in such a part.
    fn present(&self, number: u64) -> Result<Vec<Present>, LogError>;

    /// What a record calls such a part that names messages of it.
    fn name_of_part(&self, number: u64) -> String;
}

/// Segment files and their index.
pub(crate) struct Files {
    log: PathBuf,
    id: [u8; 16],
    index: Arc<Index>,
    open: Mutex<HashMap<u64, Arc<Opened>>>,
}

/// A segment, and where its records are when it was cleaned: the index knows where they were before.
struct Opened {
    segment: Segment,
    cleaned: Option<Cleaned>,
}

impl Files {
    pub(crate) fn new(log: PathBuf, id: [u8; 16], index: Arc<Index>) -> Self {
        Self { log, id, index, open: Mutex::default() }
    }

    fn segment(&self, number: u64) -> Result<Arc<Opened>, LogError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = open.get(&number) {
            return Ok(Arc::clone(segment));
        }
        // What stands in it is judged chunk by chunk.
        let (segment, first) = segment::open_damaged(&self.log, &self.id, number)?;
        let cleaned = Cleaned::read(&segment, first)?;
        let segment = Arc::new(Opened { segment, cleaned });
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        open.insert(number, Arc::clone(&segment));
        Ok(segment)
    }

    fn leaf(&self, sequence: u64, position: Position) -> Result<Hash, LogError> {
        let opened = self.segment(position.segment)?;
        let mut offset = opened.offset(sequence, position)?;
        loop {
            let head = segment::read_head(&opened.segment, offset)?;
            if matches!(head.kind, ChunkType::Frame | ChunkType::Removed) {
                return Ok(head.hash);
            }
            offset = offset.saturating_add(head.size());
        }
    }
}

impl Records for Files {
    fn wait_for(&self, sequence: u64) -> Result<(), LogError> {
        self.index.wait_for(sequence)
    }

    fn block_of(&self, sequence: u64) -> Result<Option<Arc<Block>>, LogError> {
        self.index.block_of(sequence)
    }

    fn by_message_id(&self, message_id: &str) -> Result<Vec<u64>, LogError> {
        self.index.by_message_id(message_id)
    }

    fn ids_from(&self, first: u64) -> Result<Option<Vec<[u8; 8]>>, LogError> {
        self.index.ids_from(first).map(Some)
    }

    fn stamp_of(&self, sequence: u64) -> Result<Option<u64>, LogError> {
        self.index.stamp_of(sequence)
    }

    fn stamped_below(&self) -> Result<u64, LogError> {
        self.index.stamped_below()
    }

    fn signature_digest(&self, sequence: u64) -> Option<Digest> {
        self.index.waiting(sequence)
    }

    fn leaves(&self, first: u64, positions: &[Position]) -> Result<Vec<Hash>, LogError> {
        (first..).zip(positions).map(|(sequence, position)| self.leaf(sequence, *position)).collect()
    }

    fn chunks(&self, sequence: u64, position: Position) -> Result<Chunks, LogError> {
        let opened = self.segment(position.segment)?;
        let mut blobs = Vec::new();
        let mut offset = opened.offset(sequence, position)?;
        loop {
            let chunk = segment::read_chunk(&opened.segment, offset)?;
            offset = chunk.end();
            match chunk.head.kind {
                ChunkType::Blob => blobs.push((chunk.head.hash, chunk.content)),
                ChunkType::Note => {}
                ChunkType::Removed => {
                    let noted = opened.cleaned.as_ref().and_then(|cleaned| cleaned.noted.get(&sequence));
                    let noted = noted.copied().unwrap_or(NOBODY);
                    return Err(LogError::Removed { sequence, noted });
                }
                ChunkType::Frame => {
                    return Ok(Chunks { blobs, frame: chunk.content, leaf: chunk.head.hash });
                }
            }
        }
    }

    fn forget(&self, segment: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&segment);
    }

    fn full(&self, after: u64) -> Result<Vec<Full>, LogError> {
        removal::full_segments(&self.log, &self.id, after)
    }

    fn present(&self, number: u64) -> Result<Vec<Present>, LogError> {
        removal::present_in_segment(&self.log, &self.id, number)
    }

    fn name_of_part(&self, number: u64) -> String {
        format!("messages of segment {number}")
    }
}

impl Opened {
    /// Where the blobs of a record begin.
    fn offset(&self, sequence: u64, position: Position) -> Result<u64, LogError> {
        let Some(cleaned) = &self.cleaned else { return Ok(position.offset) };
        let damaged = || {
            let (segment, offset) = (position.segment, FIRST_CHUNK);
            LogError::Damaged(Finding { segment, offset, sequence, flaw: Flaw::Chunk })
        };
        cleaned.places.get(&sequence).copied().ok_or_else(damaged)
    }
}
