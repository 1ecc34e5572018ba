//! What can go wrong with certificates, proofs and keys, sorted by who is at fault.
//!
//! Decoding (the bytes are not what they claim to be), inspecting (well-formed, but not acceptable in
//! shape), verifying (well-formed, but not true) and keys (our own side) are four different things: the
//! first three are the fault of whoever sent the object, the last is ours.
//! Nothing here knows how an error is shown to a peer.

use crate::keys::KeyId;

/// Any failure of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// The bytes are not the structure that was expected.
    #[error("{what} cannot be decoded: {reason}")]
    Decode {
        /// The structure that was expected.
        what: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The structure is sound but its content is not acceptable.
    #[error("{what} is not acceptable: {reason}")]
    Inspect {
        /// The structure that was looked at.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A proof does not hold.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A key of ours cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The authority's rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Reading or writing our own files failed.
    #[error("store: {0}")]
    Store(String),
    /// An HTTP exchange failed.
    #[error("http: {0}")]
    Http(String),
}

/// Why a certificate, a signature, an OCSP response or a time-stamp is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The signature does not belong to this content and key.
    #[error("the signature does not match")]
    BadSignature,
    /// An algorithm, curve or combination that is not accepted.
    #[error("unsupported algorithm: {0}")]
    UnsupportedAlgorithm(String),
    /// A key that is too short to be trusted.
    #[error("weak key: {0}")]
    WeakKey(String),
    /// No trusted certificate leads to this one.
    #[error("the issuer is not known")]
    UnknownIssuer,
    /// The certificate's validity has not begun.
    #[error("the certificate is not yet valid")]
    NotYetValid,
    /// The certificate's validity has ended.
    #[error("the certificate has expired")]
    Expired,
    /// A certificate without the right to issue has issued another.
    #[error("the issuer is not a certification authority")]
    NotACa,
    /// The path is longer than a CA certificate in it, or this program, allows.
    #[error("the certification path is too long")]
    PathTooLong,
    /// The key may not be used for this.
    #[error("the certificate's key usage does not allow {0}")]
    WrongKeyUsage(&'static str),
    /// A critical extension that nobody here understands.
    #[error("unknown critical extension {0}")]
    UnknownCriticalExtension(String),
    /// No OCSP response is at hand.
    #[error("the OCSP response is missing")]
    OcspMissing,
    /// `thisUpdate` is older than the freshness allowed.
    #[error("the OCSP response is too old")]
    OcspTooOld,
    /// `thisUpdate` lies in the future.
    #[error("the OCSP response is not yet valid")]
    OcspNotYetValid,
    /// `nextUpdate` has passed.
    #[error("the OCSP response has expired")]
    OcspExpired,
    /// The certificate is revoked.
    #[error("the certificate is revoked")]
    OcspRevoked,
    /// The responder does not know the certificate.
    #[error("the OCSP responder does not know the certificate")]
    OcspUnknown,
    /// Signed by somebody who may not speak for the issuer.
    #[error("the OCSP responder is not authorised by the issuer")]
    OcspUnauthorizedResponder,
    /// The response is about another certificate.
    #[error("the OCSP response is for another certificate")]
    OcspOtherCertificate,
    /// The responder answered with an error status.
    #[error("the OCSP responder answered: {0}")]
    OcspStatus(String),
    /// The nonce is not the one that was sent.
    #[error("the OCSP response has another nonce")]
    OcspNonce,
    /// The authority refused to stamp.
    #[error("the time-stamping authority refused: {0}")]
    TimestampRejected(String),
    /// The token is over other data.
    #[error("the time-stamp is over other data")]
    TimestampImprint,
    /// The nonce is not the one that was sent.
    #[error("the time-stamp has another nonce")]
    TimestampNonce,
    /// Signed by somebody who is not an approved time-stamping authority.
    #[error("the time-stamp is not by an approved authority")]
    TimestampUnknownTsa,
    /// The stated time is not plausible.
    #[error("the time-stamp's time is not acceptable")]
    TimestampTime,
}

/// Why a key of ours cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key with this id is here.
    #[error("key {0} is not in this store")]
    NotFound(KeyId),
    /// The PIN does not open the key.
    #[error("the PIN is wrong")]
    WrongPin,
    /// A kind of key, or a use of it, that is not supported.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The file is open to others, belongs to another, or is not a plain file.
    #[error("{path}: {reason}")]
    Permissions {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file's content is not a key, or not the key that its name says.
    #[error("{path} holds no usable key: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is over another key.
    #[error("the certificate does not belong to the key")]
    CertificateMismatch,
    /// Reading or writing the file failed.
    #[error("{path}: {reason}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The process that holds the key cannot be reached, or does not sign.
    #[error("the signer: {0}")]
    Signer(String),
    /// The cryptographic operation itself failed.
    #[error("the cryptographic operation failed: {0}")]
    Crypto(&'static str),
}

/// Why a certification authority does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No certificate with this serial number was issued here.
    #[error("no certificate with serial number {0} was issued here")]
    UnknownSerial(String),
    /// The certificate is revoked already, and for good.
    #[error("the certificate with serial number {0} is revoked already")]
    AlreadyRevoked(String),
    /// The serial number was used before.
    #[error("serial number {0} was used before")]
    SerialUsed(String),
    /// The request asks for what the policy does not give.
    #[error("{0}")]
    Policy(String),
}

impl PkiError {
    /// A [`PkiError::Decode`].
    pub fn decode(what: &'static str, reason: impl ToString) -> Self {
        Self::Decode { what, reason: reason.to_string() }
    }

    /// A [`PkiError::Inspect`].
    pub fn inspect(what: &'static str, reason: impl ToString) -> Self {
        Self::Inspect { what, reason: reason.to_string() }
    }
}
