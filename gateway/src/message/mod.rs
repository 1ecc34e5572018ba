//! Messages, and the forms in which they travel.
//!
//! - [`digests`]: the digest of each part, computed while it flows
//! - [`multipart`]: the framing of messages between gateways

pub mod digests;
pub mod multipart;
mod text;
