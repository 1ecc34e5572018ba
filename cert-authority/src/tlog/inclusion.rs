//! A proof that stands by itself: that a leaf is in a log, with the checkpoint that says so.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 73894
//! gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=      the path, the leaf's sibling first
//!                                                   an empty line
//! example.com/log ...                               the checkpoint, a signed note, perhaps with cosignatures
//! ```
//! Specification: C2SP tlog-proof. The optional line `extra` is read, and means nothing here.
//!
//! Not here: making the path ([`super::proof`]).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{
    checkpoint::{Checkpoint, CheckpointError, parse_decimal, parse_hash},
    note::{Note, NoteError, VerifierKey},
    proof::{self, Hash, ProofError},
};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Why a leaf is not believed to be in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// It is no proof.
    #[error("malformed proof: {0}")]
    Malformed(&'static str),
    /// Its checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from the leaf to the checkpoint.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Too few of the witnesses that count have cosigned.
    #[error("{found} witnesses have cosigned the checkpoint, {needed} are needed")]
    Quorum {
        /// How many have.
        found: usize,
        /// How many should.
        needed: usize,
    },
}

impl From<NoteError> for InclusionError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// Whom a proof is believed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// What the log is called.
    pub origin: String,
    /// The keys that sign its checkpoints.
    pub log: Vec<VerifierKey>,
    /// The witnesses that count.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned.
    pub quorum: usize,
}

/// That a leaf is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The number of the leaf.
    pub index: u64,
    /// From its sibling to the root.
    pub path: Vec<Hash>,
    /// The checkpoint.
    pub note: Note,
}

impl InclusionProof {
    /// Reads a proof.
    ///
    /// # Errors
    /// [`InclusionError::Malformed`], [`InclusionError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, InclusionError> {
        let malformed = InclusionError::Malformed;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| malformed("no empty line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(malformed("it does not begin with c2sp.org/tlog-proof@v1"));
        }
        let mut line = lines.next();
        if let Some(extra) = line.and_then(|line| line.strip_prefix("extra ")) {
            BASE64.decode(extra).map_err(|_| malformed("what follows extra is no base64"))?;
            line = lines.next();
        }
        let index = line
            .and_then(|line| line.strip_prefix("index "))
            .and_then(parse_decimal)
            .ok_or_else(|| malformed("no index"))?;
        let hash = |line| parse_hash(line).ok_or_else(|| malformed("a line of the path is no hash"));
        let path: Vec<Hash> = lines.take(64).map(hash).collect::<Result<_, _>>()?;
        if path.len() > 63 {
            return Err(malformed("the path has more than 63 lines"));
        }
        Ok(Self { index, path, note: Note::parse(note.as_bytes())? })
    }

    /// Verifies that the leaf with this content is in the log.
    ///
    /// # Errors
    /// [`InclusionError`].
    pub fn verify(&self, content: &[u8], trust: &Trust) -> Result<Checkpoint, InclusionError> {
        let checkpoint = Checkpoint::open(&self.note, &trust.origin, &trust.log)?;
        let found = match self.note.verify(&trust.witnesses) {
            Ok(cosigned) => cosigned.len(),
            Err(NoteError::Unsigned) => 0,
            Err(error) => return Err(error.into()),
        };
        if found < trust.quorum {
            return Err(InclusionError::Quorum { found, needed: trust.quorum });
        }
        let leaf = proof::leaf_hash(content);
        proof::verify_inclusion(&self.path, &leaf, self.index, checkpoint.size(), checkpoint.root())?;
        Ok(checkpoint)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nindex {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}
