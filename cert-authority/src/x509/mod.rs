//! X.509: what a certificate is to us, and when it is believed.
//!
//! - [`Certificate`], [`Name`], [`Serial`]: read once, DER kept
//! - [`chain`]: from a certificate to a trusted one
//! - [`request`]: what somebody asks to be certified
//! - [`issue`]: making certificates
//!
//! Talk to a certificate through [`Certificate`]; trust it through [`chain::build`].
//! Not here: revocation ([`crate::ocsp`]).

pub mod chain;
pub mod issue;
pub mod oid;
pub mod request;

mod certificate;
mod extension;
mod name;
mod name_text;
mod serial;

pub use certificate::Certificate;
pub use const_oid::ObjectIdentifier;
pub use extension::{AltName, KeyUsage};
pub use name::Name;
pub use serial::Serial;
