//! A log as it stands, piece by piece, for those who judge it or move it: nothing is believed here.
//!
//! Not here: what is made of it ([`super::verify`], [`super::migrate`]); rows of tables (`postgres`).

use std::io::{self, Read};

use bytes::Bytes;

use super::{
    error::Flaw,
    frame::{CHUNK_HEAD, ChunkHead, ChunkType, SEGMENT_HEADER, SegmentHeader},
    postgres::Searched,
    tree::{self, Hash},
};

/// About how much is read at once, and worked on by one core.
const PIECE: usize = 1 << 20;

/// A part of a segment: its beginning, chunks of one kind of reading or another, its end. Tables are all chunks, and a
/// head behind them.
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
    Head(Head),
}

/// What a table says of all its rows.
#[derive(Debug)]
pub(crate) struct Head {
    /// The id of the log.
    pub(crate) log: Vec<u8>,
    /// The number of records, and the right edge of the tree over them.
    pub(crate) size: i64,
    pub(crate) edge: Vec<u8>,
    /// Whether there are rows with numbers that no record has.
    pub(crate) strays: bool,
}

/// A chunk as it stands, with its padding.
pub(crate) struct Chunk {
    pub(super) offset: u64,
    pub(super) head: ChunkHead,
    pub(super) padded: Bytes,
    /// What a table says beside a frame.
    pub(super) row: Option<Searched>,
}

impl Chunk {
    /// What its head says, and its content as it stands.
    pub(crate) fn into_parts(self) -> (ChunkHead, Bytes) {
        let length = usize::try_from(self.head.length).unwrap_or(usize::MAX);
        let content =
            self.padded.get(..length).map_or_else(|| self.padded.clone(), |_| self.padded.slice(..length));
        (self.head, content)
    }

    /// From a row of a table, which says that this is its hash. A frame has columns to search by; where it was removed
    /// the columns name the record that says so.
    pub(crate) fn of_row(number: u64, hash: Hash, content: Bytes, row: Option<Searched>) -> Self {
        let kind = match row.as_ref().map(Searched::noted) {
            None => ChunkType::Blob,
            Some(None) => ChunkType::Frame,
            Some(Some(_)) => ChunkType::Removed,
        };
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        Self { offset: number, head: ChunkHead { kind, length, write: 0, hash }, padded: content, row }
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
    ahead: Bytes,
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
        Self { log, segment, last, from, offset: 0, ahead: Bytes::new(), next: Next::Header }
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
        let padded = self.ahead.split_to(size).slice(CHUNK_HEAD..);
        let offset = self.offset;
        self.offset = offset.saturating_add(head.size());
        Ok(Some(Chunk { offset, head, padded, row: None }))
    }

    /// Reads on until so much is there, if there is so much.
    fn read(&mut self, wanted: usize) -> io::Result<bool> {
        if self.ahead.len() < wanted {
            // A little more than what is read: whether that was all is asked there.
            let more = wanted.max(PIECE);
            let mut held = Vec::with_capacity(self.ahead.len().saturating_add(more).saturating_add(64));
            held.extend_from_slice(&self.ahead);
            self.from.by_ref().take(u64::try_from(more).unwrap_or(u64::MAX)).read_to_end(&mut held)?;
            self.ahead = held.into();
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
