//! Certificates, revocation, time-stamps and keys, and a small certification authority.
//!
//! ```text
//!   bytes ──► x509, ocsp, timestamp: read once ──► verify against what is trusted, at a given time ──► a proof
//!                                                        │
//!   keys::Signer ◄── x509::issue, request, ocsp, timestamp: made, signed through the port
//!        │
//!   authority: decides, remembers ──► service (feature): CA, OCSP and TSA over HTTP
//! ```
//!
//! | for | talk to |
//! |---|---|
//! | a certificate, a path to a trusted one | [`x509::Certificate`], [`x509::chain::build`] |
//! | whether it is revoked | [`ocsp`] |
//! | when something existed | [`timestamp`] |
//! | signing | [`keys::Signer`], [`keys::software::SoftwareKeys`], [`keys::inventory::Inventory`] |
//! | digests, signatures, encryption | [`crypto`], [`algorithm`] |
//! | logs that cannot be rewritten: checkpoints, proofs, witnesses | [`tlog`] |
//! | issuing and revoking | [`authority::Authority`] |
//! | the time, and whether ours is right | [`clock::Clock`], [`clocks::Clocks`] |
//! | files that survive a crash | [`durable`] |
//! | a memory that nobody else reads, and fences around the program | [`hardening`] |
//! | settings files, every fault with its line | [`settings`] |
//!
//! Three promises:
//! 1. It knows nothing of X-Road: no member, no message, no global configuration.
//! 2. Decoding, inspecting and verifying are three steps with three errors ([`error::PkiError`]).
//! 3. The library takes time from a [`clock::Clock`] or a parameter and opens no connection; what does
//!    (`http`, `signer`, `service`) is behind features and never imported from below.
//!
//! ```
//! use cert_authority::{clock::UnixTime, error::VerifyError, x509::{Certificate, chain}};
//!
//! /// Whether the certificate leads to one of ours.
//! fn is_ours(leaf: &Certificate, ours: &[Certificate], at: UnixTime) -> Result<(), VerifyError> {
//!     chain::build(leaf, &[], ours, at).map(|_| ())
//! }
//! ```

pub mod algorithm;
mod asn1;
pub mod authority;
pub mod clock;
pub mod clocks;
mod cms;
pub mod crypto;
pub mod durable;
pub mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod hardening;
#[cfg(feature = "http")]
pub mod http;
pub mod keys;
pub mod ocsp;
pub mod pem;
#[cfg(feature = "service")]
pub mod service;
pub mod settings;
pub mod timestamp;
pub mod tlog;
pub mod x509;
