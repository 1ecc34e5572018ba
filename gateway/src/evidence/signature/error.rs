//! Why a signature is not believed, or could not be made.

use cert_authority::error::{KeyError, VerifyError};

use crate::evidence::{hash_chain::HashChainError, xml::XmlError};

/// Why a signature is not believed, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature is not XML.
    #[error("the signature is not well-formed XML: {0}")]
    InvalidXml(String),
    /// XML, but not a signature of the prescribed shape.
    #[error("malformed signature: {0}")]
    Malformed(String),
    /// The signature refers to something that is not part of the message.
    #[error("the signature refers to {0}, which cannot be resolved")]
    InvalidReference(String),
    /// A part of the message that the signature does not cover.
    #[error("the signature does not cover {0}")]
    NotCovered(String),
    /// The signature refers to a hash chain result, and none came with it.
    #[error("the hash chain result is missing")]
    MissingHashChainResult,
    /// The hash chain does not lead from the signature to the parts.
    #[error(transparent)]
    HashChain(#[from] HashChainError),
    /// The certificate may not be used for signatures of this kind.
    #[error("the certificate {0} is not a signing certificate")]
    NotASigningCertificate(String),
    /// The certificate belongs to somebody else.
    #[error("the certificate of {found} does not match the sender {expected}")]
    OtherSigner {
        /// Who the certificate belongs to, or why nobody knows.
        found: String,
        /// Who should have signed.
        expected: String,
    },
    /// A digest in a reference is not that of the thing referred to.
    #[error("the digest of {0} does not match the signature")]
    WrongDigest(String),
    /// The signature value is not the signer's over this content.
    #[error("the signature value does not verify: {0}")]
    InvalidValue(VerifyError),
    /// No acceptable path leads from the certificate to an approved authority.
    #[error("the certificate is not trusted: {0}")]
    Path(VerifyError),
    /// The path stands, but its validity is not proven by an OCSP response.
    #[error("the certificate's status is not proven: {0}")]
    Status(VerifyError),
    /// Our own key could not sign.
    #[error("the signature could not be made: {0}")]
    Signing(#[from] KeyError),
}

impl SignatureError {
    /// X-Road's code, to stand behind `server.serverproxy.signature_verification.` and the like.
    ///
    /// # Compatibility
    /// A missing hash chain result is `internal_error` because X-Road says so.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidXml(_) => "invalid_xml",
            Self::Malformed(_) | Self::NotCovered(_) | Self::NotASigningCertificate(_) => {
                "malformed_signature"
            }
            Self::InvalidReference(_) => "malformed_signature.invalid_reference",
            Self::MissingHashChainResult => "internal_error",
            Self::HashChain(error) => match error {
                HashChainError::Malformed(_) => "malformed_signature.malformed_hash_chain",
                HashChainError::UnknownReference(_) => "malformed_signature.invalid_reference",
                HashChainError::WrongReferenceDigest(_) => "malformed_signature.invalid_hash_chain_ref",
                HashChainError::WrongResult => "malformed_signature.invalid_hash_chain",
                HashChainError::UnusedInputs(_) => "malformed_signature.hashchain_unused_inputs",
            },
            Self::OtherSigner { .. } => "incorrect_certificate",
            Self::WrongDigest(_) | Self::InvalidValue(_) => "invalid_signature_value",
            Self::Path(_) => "cannot_create_cert_path.internal_error",
            Self::Status(VerifyError::OcspMissing | VerifyError::OcspRevoked | VerifyError::OcspUnknown) => {
                "invalid_cert_path.cert_validation"
            }
            Self::Status(_) => "invalid_cert_path.incorrect_validation_info",
            Self::Signing(_) => "cannot_create_signature",
        }
    }
}

impl From<XmlError> for SignatureError {
    fn from(error: XmlError) -> Self {
        match error {
            XmlError::NotWellFormed(reason) => Self::InvalidXml(reason),
            XmlError::Shape(reason) => Self::Malformed(reason),
        }
    }
}
