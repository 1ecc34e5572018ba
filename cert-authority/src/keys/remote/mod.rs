//! Keys in a process of their own: whoever takes over the program that signs with them does not get them.
//!
//! ```text
//! gateway: RemoteSigner ── one structure to be signed ──► Unix socket ──► serve ──► Vault: SoftwareKeys
//!            │ knows descriptions, certificates, public halves              asks the kernel who calls
//! ```
//! - [`RemoteSigner`]: the [`super::Signer`] of the program without keys
//! - [`serve`], [`Vault`]: the program with them
//! - `wire`: what goes over the socket
//!
//! # Security
//! Who may call gets signatures over whatever it sends, as long as it may call: a gateway that was taken over can still
//! sign. It cannot take the keys with it, nor sign any more once it is stopped.
//!
//! Not here: keys for TLS, which the TLS library needs in its own process.

mod client;
mod server;
pub(crate) mod wire;

pub use client::RemoteSigner;
pub use server::{Vault, serve};
