//! The authority's answers.
//!
//! Specification: RFC 3161 2.4.2; RFC 5816. Times have whole seconds: some readers refuse fractions.
//!
//! Serial numbers and the time come from the caller: whoever makes them must make them unique and right.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, BitStringRef, IntRef, OctetStringRef, SequenceRef};
use der::{Decode, Encode};
use spki::AlgorithmIdentifierRef;

use super::token::TstInfo;
use super::{ID_CT_TST_INFO, MessageImprint, PkiStatusInfo, Request, TimeStampResp};
use crate::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use crate::asn1::{GeneralizedTime, encode, unsigned};
use crate::clock::UnixTime;
use crate::cms::{self, SigningIdentity};
use crate::error::PkiError;
use crate::keys::{KeyId, Signer};
use crate::x509::Certificate;

const WHAT: &str = "time-stamp response";

/// Who stamps.
#[derive(Debug, Clone)]
pub struct Stamper {
    /// The authority's certificate; its extended key usage is critical and time-stamping only.
    pub certificate: Certificate,
    /// Intermediate certificates that are sent along when certificates are asked for.
    pub intermediates: Vec<Certificate>,
    /// The key.
    pub key: KeyId,
    /// With which algorithm to sign.
    pub algorithm: SignatureAlgorithm,
    /// The policy that is stated.
    pub policy: ObjectIdentifier,
}

/// Why a request is rejected (PKIFailureInfo).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The digest algorithm is not accepted.
    BadAlgorithm,
    /// The request is not understood.
    BadRequest,
    /// Another policy is wanted than the one that is offered.
    UnacceptedPolicy,
    /// The authority has a trouble of its own.
    SystemFailure,
}

impl Failure {
    /// The bit string, and how many of its last bits are unused.
    const fn bits(self) -> (u8, &'static [u8]) {
        match self {
            Self::BadAlgorithm => (7, &[0x80]),
            Self::BadRequest => (5, &[0x20]),
            Self::UnacceptedPolicy => (0, &[0, 0x01]),
            Self::SystemFailure => (6, &[0, 0, 0, 0x40]),
        }
    }
}

/// A response that refuses.
///
/// # Errors
/// [`PkiError::Decode`], which cannot happen for the failures there are.
pub fn reject(failure: Failure) -> Result<Vec<u8>, PkiError> {
    const REJECTION: u8 = 2;
    let (unused, bits) = failure.bits();
    let failure = BitStringRef::new(unused, bits).map_err(|error| PkiError::decode(WHAT, error))?;
    let status = PkiStatusInfo { status: REJECTION, text: None, failure: Some(failure) };
    encode(WHAT, &TimeStampResp { status, token: None })
}

/// Answers a request: with a token signed now, or with the reason why not.
///
/// # Errors
/// [`PkiError::Key`] if the key cannot sign.
pub async fn stamp(
    request: &Request,
    stamper: &Stamper,
    serial: &[u8],
    now: UnixTime,
    signer: &dyn Signer,
) -> Result<Vec<u8>, PkiError> {
    if request.imprint_algorithm == DigestAlgorithm::Sha1 {
        return reject(Failure::BadAlgorithm);
    }
    if request.policy.as_ref().is_some_and(|policy| *policy != stamper.policy) {
        return reject(Failure::UnacceptedPolicy);
    }
    let wrong = |error: der::Error| PkiError::decode(WHAT, error);
    let info = write_info(request, stamper.policy, serial, now).map_err(wrong)?;
    let mut certificates = Vec::new();
    if request.certificates {
        certificates.push(stamper.certificate.clone());
        certificates.extend_from_slice(&stamper.intermediates);
    }
    let identity = SigningIdentity {
        certificate: &stamper.certificate,
        key: &stamper.key,
        algorithm: stamper.algorithm,
    };
    let token = cms::sign(ID_CT_TST_INFO, &info, &identity, &certificates, now, signer).await?;
    let status = PkiStatusInfo { status: 0, text: None, failure: None };
    let token = SequenceRef::from_der(&token).map_err(wrong)?;
    encode(WHAT, &TimeStampResp { status, token: Some(token) })
}

fn write_info(
    request: &Request,
    policy: ObjectIdentifier,
    serial: &[u8],
    now: UnixTime,
) -> der::Result<Vec<u8>> {
    let nonce = request.nonce.as_deref().map(unsigned);
    TstInfo {
        version: 1,
        policy: policy.into(),
        message_imprint: MessageImprint {
            algorithm: AlgorithmIdentifierRef {
                oid: request.imprint_algorithm.oid(),
                parameters: Some(AnyRef::NULL),
            },
            digest: OctetStringRef::new(&request.imprint)?,
        },
        serial_number: IntRef::new(&unsigned(serial))?,
        gen_time: GeneralizedTime(now),
        // SEQUENCE { seconds 1 }: whole seconds are stated, so no better is promised.
        accuracy: Some(SequenceRef::from_der(&[0x30, 3, 2, 1, 1])?),
        ordering: false,
        nonce: nonce.as_deref().map(IntRef::new).transpose()?,
        tsa: None,
        extensions: None,
    }
    .to_der()
}
