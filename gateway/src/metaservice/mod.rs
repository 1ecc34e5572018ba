//! What a gateway serves to information systems besides messages: who there is, and evidence.
//!
//! | path | module | gives |
//! |---|---|---|
//! | `/listClients` | [`list_clients`] | the members and subsystems of an instance |
//! | `/asic` | [`asic_download`] | the containers of a query, for the client that has sent or received it |
//! | `/verificationconf` | [`verification_conf`] | what is needed to verify them |
//!
//! [`container`] makes the container of a logged message, for `/asic` and for the command line.
//!
//! Specification: X-Road Service Metadata Protocol (PR-META) 2; X-Road Signed Document Download (UG-SIGDOC).
//!
//! Not here: doors, and how an information system is known ([`crate::access::client_auth`]).

pub mod asic_download;
pub mod container;
pub mod list_clients;
pub(crate) mod outgoing;
pub(crate) mod query;
pub mod verification_conf;

use bytes::Bytes;

pub use outgoing::Chunks;

/// An answer, ready to be written.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Disposition`: under which name the body is to be kept.
    pub content_disposition: Option<String>,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// It is made while it leaves. An error breaks the answer off: what was sent is not the whole body.
    Stream(Chunks),
}

const ZIP: &str = "application/zip";

impl Response {
    fn ok(content_type: &'static str, content_disposition: Option<String>, body: Body) -> Self {
        Self { status: 200, content_type, content_disposition, body }
    }

    /// An error as X-Road tells it: its text and nothing else.
    fn refusal(status: u16, text: impl Into<String>) -> Self {
        let body = Body::Whole(text.into().into());
        Self { status, content_type: "text/plain;charset=utf-8", content_disposition: None, body }
    }
}
