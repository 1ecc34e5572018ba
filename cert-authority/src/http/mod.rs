//! The HTTP client and the small HTTP server that the programs of the project share.
//!
//! | part | what it is |
//! |---|---|
//! | [`Client`] | one bounded question: connect, send, read at most so many bytes within so much time |
//! | [`serve()`] | a listener, a handler, and a graceful stop |
//! | [`read_body`], [`respond`] | what every handler needs |
//!
//! Specification: RFC 9110, RFC 9112 (HTTP/1.1), through hyper.
//!
//! It follows no redirects, keeps no cookies, unpacks no compression and pools no connections: the questions asked with
//! it (OCSP, time-stamps, configuration) are rare and small. The doors of a gateway, where bodies stream, are not built on it.

mod client;
mod server;

pub use client::{Client, Limits, Response};
pub use server::{Body, read_body, respond, respond_text, serve};

/// Why an HTTP question got no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address is not an absolute `http://` or `https://` URL.
    #[error("not a usable URL: {0}")]
    Url(String),
    /// The certificates to be trusted, or the handshake, are not usable.
    #[error("TLS: {0}")]
    Tls(String),
    /// No connection came about.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Host and port that were tried.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The time allowed for this step has passed.
    #[error("no {0} in time")]
    Timeout(&'static str),
    /// The body is longer than allowed.
    #[error("body is longer than {0} bytes")]
    TooLarge(usize),
    /// The other side broke the protocol or hung up.
    #[error("HTTP: {0}")]
    Protocol(String),
}
