//! Reading a log as an auditor does, and judging whole logs with no trust in who kept them.
//!
//! | part | what it is |
//! |---|---|
//! | [`verify`](mod@verify) | everything in a log derived again from its bytes: frames, tree, signatures, time-stamps, checkpoints |
//! | [`view`], [`export`] | records as JSON; periods as JSON lines, CSV, or one ZIP of containers |
//! | [`register`], [`counter`] | who has read about a record; where commands tell a running gateway that they read |
//! | [`reconcile`] | what one of two organisations has of their exchanges, and the other has not |
//! | [`archives`] | whether the archives that the log names are there, and of its messages |
//! | [`checkpoints`] | whether the signed heads of the tree are those of this tree |
//!
//! Not here: the frames and the tree ([`crate::messagelog::verify`]), one message ([`crate::evidence`]).

pub mod archives;
pub mod checkpoints;
pub mod counter;
pub mod export;
pub mod reconcile;
pub mod register;
pub mod verify;
pub mod view;

/// Something that is wrong in a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// The record, or the one that should stand there.
    pub record: u64,
    /// What is wrong with it.
    pub what: String,
}

impl Problem {
    /// Of a record.
    pub fn new(record: u64, what: impl Into<String>) -> Self {
        Self { record, what: what.into() }
    }
}
