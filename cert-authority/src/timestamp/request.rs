//! The question to a time-stamping authority.
//!
//! Specification: RFC 3161 2.4.1.
//!
//! # Compatibility
//! X-Road sends neither a nonce nor certReq; both are allowed by every authority, and we send them.

use der::asn1::{AnyRef, IntRef, OctetStringRef};
use der::{Decode, Sequence};
use spki::AlgorithmIdentifierRef;

use super::{MessageImprint, PolicyId};
use crate::algorithm::DigestAlgorithm;
use crate::asn1::{encode, magnitude, unsigned};
use crate::error::{PkiError, VerifyError};

const WHAT: &str = "time-stamp request";
/// The longest nonce that is repeated, in bytes.
const MAX_NONCE: usize = 64;

/// A request for a time-stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// With which the data was digested.
    pub imprint_algorithm: DigestAlgorithm,
    /// The digest of the data.
    pub imprint: Vec<u8>,
    /// A number, big-endian, that the answer must repeat.
    pub nonce: Option<Vec<u8>>,
    /// Whether the authority's certificates shall come along.
    pub certificates: bool,
    /// The policy wanted, if any.
    pub policy: Option<PolicyId>,
}

#[derive(Sequence)]
struct TimeStampReq<'a> {
    version: u8,
    message_imprint: MessageImprint<'a>,
    policy: Option<PolicyId>,
    nonce: Option<IntRef<'a>>,
    #[asn1(default = "Default::default")]
    certificates: bool,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`PkiError::Decode`] if it is none; [`VerifyError::UnsupportedAlgorithm`] for an unknown digest; [`PkiError::Inspect`]
    /// for a digest of the wrong length, a
    /// negative or overlong nonce, or extensions (none is known).
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let read = TimeStampReq::from_der(der).map_err(|error| PkiError::decode(WHAT, error))?;
        let oid = read.message_imprint.algorithm.oid;
        let imprint_algorithm = DigestAlgorithm::from_oid(&oid)
            .ok_or_else(|| VerifyError::UnsupportedAlgorithm(format!("digest {oid}")))?;
        let imprint = read.message_imprint.digest.as_bytes();
        if imprint.len() != imprint_algorithm.output_len() {
            return Err(PkiError::inspect(WHAT, "the digest has the wrong length"));
        }
        if read.extensions.is_some() {
            return Err(PkiError::inspect(WHAT, "unknown extension"));
        }
        let nonce = read.nonce.map(|nonce| nonce.as_bytes());
        if nonce
            .is_some_and(|nonce| nonce.len() > MAX_NONCE || nonce.first().is_some_and(|byte| *byte >= 0x80))
        {
            return Err(PkiError::inspect(WHAT, "the nonce is negative or too long"));
        }
        Ok(Self {
            imprint_algorithm,
            imprint: imprint.to_vec(),
            nonce: nonce.map(|nonce| magnitude(nonce).to_vec()),
            certificates: read.certificates,
            policy: read.policy,
        })
    }

    /// Writes the request.
    ///
    /// # Errors
    /// [`PkiError::Decode`] if a part is longer than DER allows.
    pub fn to_der(&self) -> Result<Vec<u8>, PkiError> {
        let wrong = |error: der::Error| PkiError::decode(WHAT, error);
        let nonce = self.nonce.as_deref().map(unsigned);
        let request = TimeStampReq {
            version: 1,
            message_imprint: MessageImprint {
                algorithm: AlgorithmIdentifierRef {
                    oid: self.imprint_algorithm.oid(),
                    parameters: Some(AnyRef::NULL),
                },
                digest: OctetStringRef::new(&self.imprint).map_err(wrong)?,
            },
            policy: self.policy.clone(),
            nonce: nonce.as_deref().map(IntRef::new).transpose().map_err(wrong)?,
            certificates: self.certificates,
            extensions: None,
        };
        encode(WHAT, &request)
    }
}
