//! Messages, and the forms in which they travel.
//!
//! - [`digests`]: the digest of each part, computed while it flows

pub mod digests;
