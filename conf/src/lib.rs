//! Identifiers and the signed global configuration: model, verification, client, authority.
//!
//! ```text
//! authority                                        gateway
//! ---------                                        -------
//! members, servers, CAs, TSAs (a TOML file)        GlobalConf: one immutable view, look-ups only
//!        |                                                ^
//!        v                                                | snapshot
//! SharedParams, PrivateParams, OptionalParts       InstanceParts of every instance  <-- kept on disk
//!        | write                                          ^
//!        v                                                | Entry::accept (hash)
//! files of versions 3 to 6                         files
//!        |                                                ^
//!        v Contents::sign                                 | SignedDirectory::verify (signature)
//! signed directory  ---------- HTTP ---------->    signed directory  <-- Anchor: whose keys, from where
//! ```
//!
//! - [`identifier`]: members, subsystems, services, servers, groups
//! - [`anchor`], [`directory`], [`shared_params`], [`private_params`], [`optional_parts`]: the documents, read
//!   and written
//! - [`certificate_profile`]: which member a certificate belongs to
//! - [`snapshot`]: what a gateway asks
//! - [`client`]: getting and keeping configurations; [`authority`] and `service`: making them
//!
//! Specification: X-Road Protocol for Downloading Configuration (PR-GCONF) and X-Road 7.8.

pub mod anchor;
#[cfg(feature = "service")]
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
pub mod version;
mod xml;
