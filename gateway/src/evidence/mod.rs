//! Evidence: signatures over messages, time-stamps over signatures, and the containers that outlive us.
//!
//! - [`signature`]: made with [`signature::sign`], believed only after [`signature::verify`](fn@signature::verify)
//! - [`timestamp`]: what a time-stamp over one or many signatures is over
//! - [`asic`]: a message, its signature and its time-stamp in one file that anybody can verify
//! - [`hash_chain`]: one signature or time-stamp over many parts
//! - [`canonical`]: the bytes that an XML signature is over
//!
//! Pure: no input or output of its own, no clock; what is read has come whole, what time it is is told.

pub mod asic;
pub mod canonical;
pub mod hash_chain;
pub mod signature;
pub mod timestamp;
mod xml;
