//! The signed directory: which parts a configuration has, their hashes, and until when it is valid.
//!
//! ```text
//! Content-Type: multipart/related; charset=UTF-8; boundary=OUTER      <- in the body, not in the HTTP head
//!
//! --OUTER
//! Content-Type: multipart/mixed; charset=UTF-8; boundary=INNER
//!
//! --INNER                                                        <-+
//! Expire-date: 2026-11-23T10:00:00Z                                |
//! Version: 6                                                       |
//!                                                                  | exactly these bytes are signed,
//! --INNER                                                          | with the line break after --INNER--
//! Content-type: application/octet-stream                           |
//! Content-transfer-encoding: base64                                |
//! Content-identifier: SHARED-PARAMETERS; instance='EE'             |
//! Content-location: /V6/20261123095000/shared-params.xml           |
//! Hash-algorithm-id: http://www.w3.org/2001/04/xmlenc#sha512       |
//!                                                                  |
//! <base64 hash of the file>                                        |
//! --INNER--                                                      <-+
//!
//! --OUTER
//! Content-Type: application/octet-stream
//! Content-Transfer-Encoding: base64
//! Signature-Algorithm-Id: http://www.w3.org/2001/04/xmldsig-more#rsa-sha512
//! Verification-certificate-hash: <base64>; hash-algorithm-id="http://www.w3.org/2001/04/xmlenc#sha512"
//!
//! <base64 signature, ECDSA in DER>
//! --OUTER--
//! ```
//!
//! Three steps with three kinds of error: [`SignedDirectory::read`] takes the envelope apart,
//! [`SignedDirectory::verify`] proves the signature and reads the list, and [`Entry::accept`] takes a file
//! only if its hash is the one in the list. Only they make a [`Directory`] and a [`Part`].
//! [`kept`] is how a set of parts lies on disk.
//!
//! Specification: PR-GCONF 2.3 to 2.7; what the bytes are beyond that is told by X-Road 7.8.

pub mod kept;
mod read;
mod verify;
mod write;

pub use read::SignedDirectory;
pub use verify::{Directory, Entry};
pub use write::{Contents, File};

use bytes::Bytes;

use crate::version::Version;

/// What a part is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartKind {
    /// What the instance tells all.
    SharedParameters,
    /// What it tells its members only.
    PrivateParameters,
    /// Who may ask for monitoring data.
    Monitoring,
    /// Whether `nextUpdate` of OCSP responses is checked.
    OcspNextUpdate,
    /// How often OCSP responses are fetched.
    OcspFetchInterval,
    /// Which servers speak QUIC. Passerelle's own: X-Road keeps it without reading it.
    Quic,
    /// Something that we keep but do not read.
    Other(String),
}

impl PartKind {
    /// `Content-identifier`.
    pub fn identifier(&self) -> &str {
        match self {
            Self::SharedParameters => "SHARED-PARAMETERS",
            Self::PrivateParameters => "PRIVATE-PARAMETERS",
            Self::Monitoring => "MONITORING",
            Self::OcspNextUpdate => "NEXTUPDATE",
            Self::OcspFetchInterval => "FETCHINTERVAL",
            Self::Quic => "PASSERELLE-QUIC",
            Self::Other(identifier) => identifier,
        }
    }

    /// The kind with this `Content-identifier`.
    pub fn from_identifier(identifier: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|kind| kind.identifier() == identifier)
            .unwrap_or_else(|| Self::Other(identifier.to_owned()))
    }

    /// The name of the file in the directory of its instance, where the kind has a fixed one.
    pub const fn file_name(&self) -> Option<&'static str> {
        match self {
            Self::SharedParameters => Some("shared-params.xml"),
            Self::PrivateParameters => Some("private-params.xml"),
            Self::Monitoring => Some("monitoring-params.xml"),
            Self::OcspNextUpdate => Some("nextupdate-params.xml"),
            Self::OcspFetchInterval => Some("fetchinterval-params.xml"),
            Self::Quic => Some("passerelle-quic.xml"),
            Self::Other(_) => None,
        }
    }

    const KNOWN: [Self; 6] = [
        Self::SharedParameters,
        Self::PrivateParameters,
        Self::Monitoring,
        Self::OcspNextUpdate,
        Self::OcspFetchInterval,
        Self::Quic,
    ];
}

/// A part whose bytes are the ones that were signed, or that we kept since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    kind: PartKind,
    file_name: String,
    version: Version,
    bytes: Bytes,
}

impl Part {
    /// What it is.
    pub fn kind(&self) -> &PartKind {
        &self.kind
    }

    /// The name of its file.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The version of its content.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its content.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}
