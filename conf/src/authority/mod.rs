//! The authority: a register that people keep in one file becomes a signed configuration that gateways fetch.
//!
//! ```text
//! authority.toml ─► file ─► registry ─► publish ─► folder ─► any web server
//!                (as written) (as meant)    ▲       (V3 … V6)
//!                                         keys
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`Registry`] | everything that is published, checked |
//! | [`SigningKeys`] | the keys that sign it, and their rotation |
//! | [`Publisher`] | signs and writes it, in every version |
//! | [`anchor`] | where others find it, and what verifies it |
//!
//! When it is published, and how it is served, is [`crate::service`]'s business.

mod check;
mod file;
mod folder;
mod keys;
mod publish;
mod registry;

pub use cert_authority::settings::{Problem, Problems};
pub use keys::{SigningKey, SigningKeyError, SigningKeys, SourceKind, pin_or_new};
pub use publish::{PublishError, Published, Publisher, VERSIONS, anchor};
pub use registry::{Registry, RegistryError};
