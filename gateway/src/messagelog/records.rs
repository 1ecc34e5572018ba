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
    block::Block,
    cleaned::Cleaned,
    error::{Finding, Flaw, LogError},
    frame::{ChunkType, NOBODY},
    index::{Index, Span},
    removal::{self, Full, Present},
    segment::{self, FIRST_CHUNK, Position, Segment},
    tree::Hash,
};

/// How many segment files are kept open.
const OPEN_FILES: usize = 32;

/// The bytes of a record and of the bodies that lie beside it, found to be what was written.
pub(crate) struct Chunks {
    /// Encrypted bodies and their digests, if they were asked for.
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

    /// When a longer run of records that holds `sequence` was logged, where that is known without looking at its blocks.
    fn span_of(&self, _sequence: u64) -> Result<Option<Span>, LogError> {
        Ok(None)
    }

    /// The numbers of records that may belong to a message id, ascending: a few others may be among them.
    fn by_message_id(&self, message_id: &str) -> Result<Vec<u64>, LogError>;

    /// Hashes of the message ids from `first` on, and of some before; `None` where others write too.
    fn ids_from(&self, first: u64) -> Result<Option<Vec<[u8; 8]>>, LogError>;

    /// The number of the time-stamp's record that covers `sequence`.
    fn stamp_of(&self, sequence: u64) -> Result<Option<u64>, LogError>;

    /// Every message below this number has its time-stamp.
    fn stamped_below(&self) -> Result<u64, LogError>;

    /// The leaf hashes of `count` records from `first` on, fewer at the end of the log, without reading their frames.
    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Hash>, LogError>;

    /// What is kept of the first of these records, and of as many behind it as are cheaply read with it; `blobs` says
    /// whether the bodies beside them are read too. Nothing when the first is not there.
    fn read(&self, numbers: &[u64], blobs: bool) -> Result<Vec<Result<Chunks, LogError>>, LogError>;

    /// The digest of the signature of a message without a time-stamp, where it is at hand without reading.
    fn signature_digest(&self, _sequence: u64) -> Option<Digest> {
        None
    }

    /// Whether a record that the index knows as a message was removed meanwhile.
    fn is_removed(&self, _sequence: u64) -> bool {
        false
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

    fn position(&self, sequence: u64) -> Result<Option<Position>, LogError> {
        Ok(self.index.block_of(sequence)?.and_then(|block| block.position(sequence)))
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

    /// What stands at the position of a record.
    fn chunks(&self, sequence: u64, position: Position, wanted: bool) -> Result<Chunks, LogError> {
        let opened = self.segment(position.segment)?;
        let mut blobs = Vec::new();
        let mut offset = opened.offset(sequence, position)?;
        loop {
            if !wanted {
                let head = segment::read_head(&opened.segment, offset)?;
                if head.kind == ChunkType::Blob {
                    offset = offset.saturating_add(head.size());
                    continue;
                }
            }
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

    fn span_of(&self, sequence: u64) -> Result<Option<Span>, LogError> {
        self.index.span_of(sequence)
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

    fn is_removed(&self, sequence: u64) -> bool {
        let found = self.position(sequence).ok().flatten();
        let opened = found.and_then(|position| self.segment(position.segment).ok());
        opened
            .and_then(|opened| Some(opened.cleaned.as_ref()?.noted.contains_key(&sequence)))
            .unwrap_or(false)
    }

    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Hash>, LogError> {
        let mut leaves = Vec::with_capacity(count);
        let end = first.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        for sequence in first..end {
            let Some(position) = self.position(sequence)? else { break };
            leaves.push(self.leaf(sequence, position)?);
        }
        Ok(leaves)
    }

    fn read(&self, numbers: &[u64], blobs: bool) -> Result<Vec<Result<Chunks, LogError>>, LogError> {
        let Some(first) = numbers.first() else { return Ok(Vec::new()) };
        let Some(position) = self.position(*first)? else { return Ok(Vec::new()) };
        Ok(vec![self.chunks(*first, position, blobs)])
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
