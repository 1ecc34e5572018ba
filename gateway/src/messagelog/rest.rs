//! Where the log came to rest when it was closed in order: the next start goes on from there, instead of reading again the
//! last segment and what the index had only in memory.
//!
//! The index keeps it, and is believed only as far as the segment says the same: what stands before the end must be what
//! stood there then. A log that was put back to an older state is read as if there were no rest; one that was written on
//! and not closed in order, from there on. What is passed over is read right after the start, beside the work: a log that
//! is damaged there stops.
//!
//! Not here: what the index itself has to remember ([`super::index`]).

use std::{
    path::{Path, PathBuf},
    sync::Weak,
};

use bytes::Bytes;

use super::{
    encoding::{Reader, Unreadable, Writer},
    index::Index,
    recover::{self, From},
    segment::{self, Position},
    tree::{Hash, Tree},
    writer::State,
};

/// The end of the log, at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Where the next chunk goes.
    pub(crate) end: Position,
    /// Where the chunk before it stands, and its hash.
    pub(crate) last: (u64, Hash),
    /// The tree over all records.
    pub(crate) tree: Tree,
}

impl Rest {
    /// From where on the next start has to read.
    pub(crate) fn from(&self) -> From {
        From { position: self.end, sequence: self.tree.size(), tree: Some(self.tree.clone()) }
    }

    /// Whether the segment ended so at that time.
    pub(crate) fn is_in(&self, log: &Path, id: &[u8; 16]) -> bool {
        let (offset, hash) = self.last;
        let chunk = segment::open(log, id, self.end.segment)
            .and_then(|segment| segment::read_chunk(&segment, offset));
        chunk.is_ok_and(|chunk| chunk.head.hash == hash && chunk.end() == self.end.offset)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (offset, hash) = self.last;
        let mut out = Writer::default();
        out.number(1, Some(self.end.segment))
            .number(2, Some(self.end.offset))
            .number(3, Some(offset))
            .bytes(4, &hash)
            .number(5, Some(self.tree.size()))
            .bytes(6, self.tree.edge().as_flattened());
        out.finish()
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, Unreadable> {
        let mut from = Reader::new(bytes);
        let segment = from.number(1)?.ok_or(Unreadable)?;
        let end = Position { segment, offset: from.number(2)?.ok_or(Unreadable)? };
        let offset = from.number(3)?.ok_or(Unreadable)?;
        let hash = from.raw(4)?.try_into().map_err(|_| Unreadable)?;
        let size = from.number(5)?.ok_or(Unreadable)?;
        let (edge, odd) = from.raw(6)?.as_chunks();
        let tree = Tree::from_edge(size, edge.to_vec()).filter(|_| odd.is_empty());
        Ok(Self { end, last: (offset, hash), tree: tree.ok_or(Unreadable)? })
    }
}

/// What a start at rest has not read before it opened the log.
pub(super) struct PassedOver {
    pub(super) log: PathBuf,
    pub(super) id: [u8; 16],
    pub(super) from: Option<From>,
    pub(super) until: From,
}

impl PassedOver {
    /// Reads it. When it is not as it was the log stops, and the next start is none at rest: it refuses what is damaged.
    pub(super) fn read(&self, state: &State, index: &Weak<Index>) {
        let Err(error) = recover::retrace(&self.log, &self.id, self.from.as_ref(), &self.until) else {
            return;
        };
        if let Some(Err(error)) = index.upgrade().map(|index| index.forget_rest()) {
            tracing::warn!(%error, "the next start will find the damage only when it has begun");
        }
        tracing::error!(%error, "the message log stops: what stands before the place where it began is damaged");
        let _ = state.stopped.set(error.to_string());
    }
}
