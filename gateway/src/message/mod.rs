//! Messages, and the forms in which they travel.
//!
//! - [`digests`]: the digest of each part, computed while it flows
//! - [`multipart`]: the framing of messages between gateways
//! - [`rest`]: REST requests and responses: the bytes that are signed

pub mod digests;
pub mod multipart;
pub mod rest;
mod text;
