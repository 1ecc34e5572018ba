//! Messages, and the forms in which they travel.
//!
//! - [`digests`]: the digest of each part, computed while it flows
//! - [`multipart`]: the framing of messages between gateways
//! - [`rest`]: REST requests and responses: the bytes that are signed
//! - [`transport`]: messages between gateways: which parts, in which order

pub mod digests;
pub mod multipart;
pub mod rest;
mod text;
pub mod transport;
