//! The life of one message, told once for each side.
//!
//! - [`consumer`]: from the information system's request to its answer
//! - [`provider`]: from another gateway's message to the signed answer
//! - [`protocol`]: where REST and SOAP differ in them
//! - [`attached`]: bodies and attachments
//! - [`incoming`], [`outgoing`]: messages between gateways, as they come in and as they leave
//! - [`check`]: the small checks of the stories; [`record`]: what of an exchange is logged
//! - [`ports`]: what the stories need of the world
//! - [`fault_map`]: every step's error in X-Road's words
//!
//! Specification: PR-REST, PR-MESSTRANSP; the order of checks is that of X-Road 7.8.
//! Not here: sockets, files, and how bytes become messages.

pub mod attached;
pub mod check;
pub mod consumer;
pub mod fault_map;
pub mod incoming;
pub mod outgoing;
pub mod ports;
pub mod protocol;
pub mod provider;
pub mod record;

pub use ports::Gateway;

/// The release that we tell peers to be compatible with (`x-proxy-version`).
pub const PROXY_VERSION: &str = "7.8.0";
