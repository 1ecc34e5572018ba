//! X.509, OCSP, time-stamping and keys, and a small certification authority. Knows nothing of X-Road.

pub mod algorithm;
mod asn1;
pub mod authority;
pub mod clock;
mod cms;
pub mod crypto;
pub mod durable;
pub mod error;
#[cfg(feature = "http")]
pub mod http;
pub mod keys;
pub mod ocsp;
pub mod pem;
#[cfg(feature = "service")]
pub mod service;
pub mod settings;
pub mod timestamp;
pub mod x509;
