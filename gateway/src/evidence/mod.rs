//! Evidence: signatures over messages, hash chains, and the containers in which both outlive us.
//!
//! - [`signature`]: made with [`signature::sign`], believed only after [`signature::verify`](fn@signature::verify)
//! - [`hash_chain`]: one signature or time-stamp over many parts
//! - [`canonical`]: the bytes that an XML signature is over
//!
//! Pure: no input or output, no clock; what is read has come whole, what time it is is told.

pub mod canonical;
pub mod hash_chain;
pub mod signature;
mod xml;
