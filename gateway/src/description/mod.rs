//! Service descriptions: what a service says of itself, in OpenAPI 3 or in WSDL 1.1.
//!
//! ```text
//! Source ── fetch ──► bytes ──┬─ openapi::read ──► endpoints of one service
//! (file, URL)   (bounded)     └─ wsdl::read ─────► services, one for each operation
//!    service refresh            │
//!                               └─ difference ──► an administrator ──► accepted ──► the settings
//! ```
//!
//! - [`fetch()`]: from a file or over HTTP(S)
//! - [`accepted`]: those that were taken up, beside the settings; the gateway reads these and no others
//! - [`difference`]: what another document would change
//! - [`openapi`]: endpoints; the document without the addresses of its servers
//! - [`wsdl`]: services; the document with another address
//!
//! A document is a stranger's input: it is bounded in size, depth and count, and what it refers to elsewhere is never
//! fetched. Specification: OpenAPI 3.0 and 3.1; WSDL 1.1; PR-META, PR-MREST.
//!
//! Not here: what a description decides ([`crate::config`]), and when a new one is taken up (`service refresh`).

pub mod accepted;
pub mod difference;
mod fetch;
pub mod openapi;
pub mod wsdl;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use cert_authority::http::{HttpError, Limits};

pub use accepted::Accepted;
pub use fetch::fetch;

use crate::message::Protocol;
use openapi::OpenApi;
use wsdl::Wsdl;

/// What a description may cost: 10 MiB as with X-Road, 10 s to connect, 30 s in all.
pub const LIMITS: Limits =
    Limits { max_bytes: 10 * 1024 * 1024, connect: Duration::from_secs(10), total: Duration::from_secs(30) };

/// Where a description comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// An `http` or `https` address.
    Url(String),
}

impl Source {
    /// Reads a source as it is written in settings; a path is relative to `folder`.
    #[must_use]
    pub fn new(text: &str, folder: &Path) -> Self {
        if text.starts_with("http://") || text.starts_with("https://") {
            Self::Url(text.to_owned())
        } else {
            Self::File(folder.join(text))
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// A description, read.
#[derive(Clone)]
pub struct Document {
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// The document itself.
    pub bytes: Bytes,
    /// What it says.
    pub content: Content,
}

/// What a description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Of a REST service.
    OpenApi(OpenApi),
    /// Of SOAP services.
    Wsdl(Wsdl),
}

impl Document {
    /// Reads a description of a service that speaks this protocol.
    ///
    /// # Errors
    /// [`DescriptionError`].
    pub fn read(bytes: Bytes, protocol: Protocol) -> Result<Self, DescriptionError> {
        let content = match protocol {
            Protocol::Rest => Content::OpenApi(openapi::read(&bytes)?),
            Protocol::Soap => Content::Wsdl(wsdl::read(&bytes)?),
        };
        Ok(Self { sha256: sha256(&bytes), bytes, content })
    }

    /// The endpoints that it describes; none of SOAP.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        match &self.content {
            Content::OpenApi(described) => &described.endpoints,
            Content::Wsdl(_) => &[],
        }
    }

    /// The services that it describes; none of REST.
    #[must_use]
    pub fn services(&self) -> &[wsdl::DescribedService] {
        match &self.content {
            Content::OpenApi(_) => &[],
            Content::Wsdl(described) => &described.services,
        }
    }
}

/// Documents are the same when their bytes are.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl Eq for Document {}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({})", self.sha256)
    }
}

fn sha256(bytes: &[u8]) -> String {
    digest(DigestAlgorithm::Sha256, bytes).hex()
}

/// A part of a REST service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The method in upper case, or `*`.
    pub method: String,
    /// The path pattern, beginning with a slash.
    pub path: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// Why a description cannot be had or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// The file cannot be read.
    #[error("{0}")]
    File(String),
    /// The server gave no usable answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server answered something else than the document; a redirection is not followed.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// It is longer than allowed, in bytes.
    #[error("the description is longer than {0} bytes")]
    TooLarge(usize),
    /// It is nested, repeated or split up more than any description needs.
    #[error("the description is too involved: {0}")]
    TooInvolved(String),
    /// It is in an encoding that is not taken.
    #[error("the encoding of the description cannot be read")]
    Encoding,
    /// A document type, and with it entities, is not accepted.
    #[error("the description has a document type, which is not accepted")]
    DocumentType,
    /// It is not well-formed, or not of the expected shape.
    #[error("the description is malformed: {0}")]
    Malformed(String),
    /// It is written in another version, or in another language.
    #[error("the description is in {found}, not in {expected}")]
    Version {
        /// What can be read.
        expected: &'static str,
        /// What it says.
        found: String,
    },
    /// Something that decides about rights stands in another document, which is not fetched.
    #[error("{place} stands in another document ({reference}): put everything into one")]
    Elsewhere {
        /// What.
        place: String,
        /// Where it is said to be.
        reference: String,
    },
    /// A reference leads back to itself, or to nothing.
    #[error("the reference {0} leads nowhere")]
    Reference(String),
}
