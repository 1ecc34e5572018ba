//! What the log shows of itself as a transparency log: checkpoints, tiles, proofs.
//!
//! - [`Shown`]: gives them, from a log that is open or one that is only read
//! - `endpoints`: the same on the administration port, for auditors
//!
//! Specification: C2SP tlog-tiles, tlog-proof. Every proof is verified before it is given: one that does not hold would
//! raise a false alarm.
//!
//! Not here: making checkpoints ([`crate::messagelog::checkpoint`]), being a witness ([`cert_authority::tlog`]).

mod endpoints;
mod tile_path;

use cert_authority::tlog::{
    Hash, InclusionProof,
    proof::{self, leaf_hash},
};

use crate::messagelog::LogError;
use crate::messagelog::checkpoint::{CheckpointError, Signed, last_in};
use crate::messagelog::reader::{Filter, Order, Reader};
use crate::messagelog::record::{Kind, Record};
use crate::messagelog::tiles::{BundleError, Tiles};

pub(crate) use endpoints::as_json;
pub use endpoints::endpoints;
pub use tile_path::TilePath;

/// Checkpoints among which one with cosignatures is looked for.
const LOOKED_AT: usize = 200;

/// Why something cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A checkpoint in the log cannot be read, or is not of it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No checkpoint was made yet.
    #[error("the log has no checkpoint")]
    NoCheckpoint,
    /// The record is behind the last checkpoint, or not there at all.
    #[error("record {number} is not covered by the checkpoint over {size} records")]
    NotCovered {
        /// Its number.
        number: u64,
        /// What is covered.
        size: u64,
    },
    /// No such sizes.
    #[error("there is no proof from {from} to {to} records")]
    Sizes {
        /// The smaller tree.
        from: u64,
        /// The larger one.
        to: u64,
    },
    /// No such tile.
    #[error("the log has no such tile")]
    NoTile,
    /// A record is too long for the format of bundles.
    #[error(transparent)]
    Bundle(BundleError),
    /// The records do not lead to the checkpoint: the log was changed.
    #[error("the records do not lead to the checkpoint over {0} records: the log was changed")]
    Changed(u64),
}

/// That one tree is the beginning of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// Records of the smaller tree, and its root.
    pub from: (u64, Hash),
    /// Records of the larger tree, and its root.
    pub to: (u64, Hash),
    /// The proof.
    pub path: Vec<Hash>,
}

/// A log that shows itself. Blocks while it reads files.
#[derive(Clone)]
pub struct Shown {
    reader: Reader,
    tiles: Tiles,
}

impl Shown {
    /// Of this log; `tiles` are its own.
    #[must_use]
    pub const fn new(reader: Reader, tiles: Tiles) -> Self {
        Self { reader, tiles }
    }

    /// Of a log that is only read.
    #[must_use]
    pub fn of(reader: Reader) -> Self {
        let tiles = Tiles::new(reader.clone(), false);
        Self { reader, tiles }
    }

    /// The tiles of the log.
    #[must_use]
    pub const fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// The last checkpoint in the log; with the cosignatures that it was sealed with, if it was.
    ///
    /// # Errors
    /// [`ShowError::NoCheckpoint`] and others.
    pub fn last(&self) -> Result<Signed, ShowError> {
        let (record, _) = last_in(&self.reader)?.ok_or(ShowError::NoCheckpoint)?;
        Ok(Signed::of(&record)?)
    }

    /// The newest checkpoint in the log that was sealed with cosignatures, among the last ones.
    ///
    /// # Errors
    /// [`ShowError`].
    pub fn last_cosigned(&self) -> Result<Option<Signed>, ShowError> {
        let filter = Filter { kinds: vec![Kind::Checkpoint], ..Filter::default() };
        for found in self.reader.find(&filter, Order::NewestFirst, None, LOOKED_AT)? {
            match found.record {
                Record::Checkpoint(record) if !record.cosignatures.is_empty() => {
                    return Ok(Some(Signed::of(&record)?));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The proof that a record is in the log as the checkpoint says.
    ///
    /// # Errors
    /// [`ShowError`].
    pub fn inclusion(&self, number: u64, signed: &Signed) -> Result<InclusionProof, ShowError> {
        let (size, root) = (signed.checkpoint.size(), signed.checkpoint.root());
        let uncovered = ShowError::NotCovered { number, size };
        if size > self.reader.len() {
            return Err(ShowError::Changed(size));
        }
        let frame = self.reader.frame(number)?.filter(|_| number < size).ok_or(uncovered)?;
        let path = self.twice(size, || {
            let path = proof::inclusion(&self.tiles, number, size)?.unwrap_or_default();
            let holds = proof::verify_inclusion(&path, &leaf_hash(&frame), number, size, root).is_ok();
            Ok(holds.then_some(path))
        })?;
        Ok(InclusionProof { index: number, path, note: signed.note.clone() })
    }

    /// The proof that the first `from` records are the beginning of the first `to`.
    ///
    /// # Errors
    /// [`ShowError`].
    pub fn consistency(&self, from: u64, to: u64) -> Result<Consistency, ShowError> {
        if from > to || to > self.reader.len() {
            return Err(ShowError::Sizes { from, to });
        }
        self.twice(to, || {
            let path = proof::consistency(&self.tiles, from, to)?.unwrap_or_default();
            let (old, new) = (self.tiles.root(from)?, self.tiles.root(to)?);
            let holds = proof::verify_consistency(&path, from, &old, to, &new).is_ok();
            Ok(holds.then_some(Consistency { from: (from, old), to: (to, new), path }))
        })
    }

    /// The bytes of a tile, or of a bundle of entries.
    ///
    /// # Errors
    /// [`ShowError::NoTile`] and others.
    pub fn tile(&self, path: &TilePath) -> Result<Vec<u8>, ShowError> {
        let bytes = match path.level {
            Some(level) => self.tiles.tile(level, path.index, path.width)?.map(|tile| tile.concat()),
            None => self.tiles.entries(path.index, path.width).map_err(ShowError::Bundle)?,
        };
        bytes.ok_or(ShowError::NoTile)
    }

    /// What does not hold with the tiles that were kept may hold with new ones.
    fn twice<T>(&self, size: u64, make: impl Fn() -> Result<Option<T>, LogError>) -> Result<T, ShowError> {
        if let Some(made) = make()? {
            return Ok(made);
        }
        self.tiles.forget();
        make()?.ok_or(ShowError::Changed(size))
    }
}
