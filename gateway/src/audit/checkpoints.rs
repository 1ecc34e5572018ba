//! Whether the checkpoints in a log, and one from elsewhere, are heads of the tree over its frames.
//!
//! ```text
//! leaf, leaf, leaf, checkpoint(2), leaf ...
//! └── pushed up to size 2, root compared; the leaves behind wait for the next checkpoint
//! ```
//! Each leaf is pushed once, so this costs what building the tree costs.
//!
//! Specification: C2SP tlog-checkpoint, tlog-cosignature.

use std::collections::VecDeque;

use cert_authority::tlog::{Checkpoint, Note, Signature, Trust, note::NoteError};

use super::Problem;
use crate::messagelog::{
    record::CheckpointRecord,
    tree::{Hash, Tree},
};

/// Follows the tree of a log while it is read.
pub struct Follower<'a> {
    trust: Option<&'a Trust>,
    /// A head from elsewhere, that the log must have had.
    expected: Option<&'a Checkpoint>,
    tree: Tree,
    waiting: VecDeque<Hash>,
    /// Not all leaves could be read: no head behind can be judged.
    broken: bool,
    /// How many checkpoints were right.
    pub(super) right: u64,
}

impl<'a> Follower<'a> {
    /// Of a log whose checkpoints are believed by `trust`; without it their signatures are not judged.
    pub fn new(trust: Option<&'a Trust>, expected: Option<&'a Checkpoint>) -> Self {
        Self { trust, expected, tree: Tree::EMPTY, waiting: VecDeque::new(), broken: false, right: 0 }
    }

    /// Takes the next leaf.
    pub fn leaf(&mut self, sequence: u64, leaf: &Hash) -> Option<Problem> {
        self.broken |= sequence != self.seen();
        self.waiting.push_back(*leaf);
        let expected = self.expected.filter(|expected| expected.size() == self.seen())?;
        if self.root_at(expected.size()) == Some(*expected.root()) {
            return None;
        }
        Some(Problem::new(sequence, "the log up to here is not the one that the given checkpoint is of"))
    }

    /// Judges a checkpoint that stands in the log as this record.
    pub fn checkpoint(&mut self, sequence: u64, record: &CheckpointRecord) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |what: String| problems.push(Problem::new(sequence, format!("checkpoint: {what}")));
        if let Err(what) = self.signatures(record) {
            wrong(what);
        }
        if record.size > self.seen() {
            wrong(format!("it is over {} records, which were not there yet", record.size));
        } else if let Some(root) = self.root_at(record.size)
            && root != record.root
        {
            wrong(format!("it is not of the first {} records of this log", record.size));
        }
        if problems.is_empty() && !self.broken {
            self.right += 1;
        }
        problems
    }

    /// What can only be told at the end of the log.
    pub fn end(&self) -> Option<Problem> {
        let expected = self.expected.filter(|expected| expected.size() > self.seen())?;
        let what = format!("the log ends here, and had {} records once: it was cut off", expected.size());
        Some(Problem::new(self.seen(), what))
    }

    fn seen(&self) -> u64 {
        self.tree.size().saturating_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX))
    }

    /// The root over the first `size` leaves; none if it cannot be told any more.
    fn root_at(&mut self, size: u64) -> Option<Hash> {
        if self.broken || size < self.tree.size() {
            return None;
        }
        while self.tree.size() < size {
            self.tree.push(self.waiting.pop_front()?);
        }
        Some(self.tree.root())
    }

    fn signatures(&self, record: &CheckpointRecord) -> Result<(), String> {
        let mut note = Note::parse(&record.note).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
        if (checkpoint.size(), checkpoint.root()) != (record.size, &record.root) {
            return Err("the record and its note differ".to_owned());
        }
        let Some(trust) = self.trust else { return Ok(()) };
        Checkpoint::open(&note, &trust.origin, &trust.log).map_err(|error| error.to_string())?;
        for line in &record.cosignatures {
            let line = std::str::from_utf8(line).map_err(|_| "a cosignature is no text")?;
            note.add(Signature::parse(line.trim_end()).map_err(|error| error.to_string())?);
        }
        match note.verify(&trust.witnesses) {
            Ok(_) | Err(NoteError::Unsigned) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
