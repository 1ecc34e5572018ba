//! Identifiers and the signed global configuration: model, verification, client, authority.

pub mod anchor;
pub mod authority;
pub mod certificate_profile;
pub mod client;
pub mod directory;
pub mod error;
pub mod identifier;
pub mod optional_parts;
pub mod private_params;
#[cfg(feature = "service")]
pub mod service;
pub mod shared_params;
pub mod snapshot;
mod xml;
