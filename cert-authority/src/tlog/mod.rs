//! Transparency logs: what makes a log that somebody keeps evidence against that very somebody.
//!
//! ```text
//!   leaves ──► proof: tree of hashes, its root ──► checkpoint: origin, size, root ──► note: signed by the log
//!                        │                                                              │
//!                        └── inclusion, consistency ──► witness: consistent with what I signed before? ──► cosignature
//! ```
//! | part | what it is |
//! |---|---|
//! | [`note`] | text with signatures below; verifier keys; making signatures through the key port |
//! | [`checkpoint`] | the head of a tree as the text of a note; cosignatures of witnesses |
//! | [`proof`] | proofs that a leaf is in a tree, and that one tree is the beginning of another |
//! | [`inclusion`] | a proof with its checkpoint, which stands by itself |
//! | [`witness`] | who cosigns only what goes on from what it cosigned before |
//! | [`settings`] | a witness in a settings file |
//! | `door` (feature `http`) | a witness over HTTP |
//!
//! Specification: C2SP signed-note v1, tlog-checkpoint v1, tlog-cosignature, tlog-witness, tlog-proof; RFC 9162 2.1 (RFC 6962 2.1).
//!
//! Not here: what the leaves are, and where they are kept.

pub mod checkpoint;
#[cfg(feature = "http")]
pub mod door;
pub mod inclusion;
pub mod note;
pub mod proof;
pub mod settings;
pub mod witness;

pub use checkpoint::Checkpoint;
pub use inclusion::{InclusionProof, Trust};
pub use note::{Note, NoteSigner, Signature, SignatureType, VerifierKey};
pub use proof::Hash;
