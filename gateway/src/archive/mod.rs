//! Archives of the message log, in X-Road's format: ZIP files of ASiC-E containers, tied together by a digest chain.
//!
//! | part | what it is |
//! |---|---|
//! | [`linking`] | the entry `linkinginfo`: the digest chain |
//! | [`read`](mod@read), [`chains`] | judging one archive, and several together |
//!
//! Specification: X-Road's message log archives (UG-SS 11.1, the archive verifier).
//!
//! Not here: the containers ([`crate::evidence::asic`]), the log ([`crate::messagelog`]).

pub mod chains;
pub mod linking;
pub mod read;
