//! Archives of the message log, in X-Road's format: ZIP files of ASiC-E containers, tied together by a digest chain.
//!
//! | part | what it is |
//! |---|---|
//! | [`linking`] | the entry `linkinginfo`: the digest chain |
//! | [`read`](mod@read), [`chains`] | judging one archive, and several together |
//! | [`write`](mod@write) | making one archive |
//! | [`encryption`] | who can read them |
//! | [`target`] | where archives go: the port, and a directory |
//! | [`bucket`] | where archives go: an S3-compatible object store |
//! | [`ledger`] | what is archived, derived from the log |
//! | [`archiver`], [`task`] | doing it, at an interval |
//! | [`cleaning`], [`removing`] | erasing bodies, and removing messages, that are archived and old |
//!
//! Specification: X-Road's message log archives (UG-SS 11.1, the archive verifier).
//!
//! Not here: the containers ([`crate::evidence::asic`]), the log ([`crate::messagelog`]).

pub mod archiver;
pub mod bucket;
mod bucket_http;
pub mod chains;
pub mod cleaning;
pub mod encryption;
pub mod ledger;
pub mod linking;
pub mod read;
pub mod removing;
pub mod target;
pub mod task;
pub mod write;
