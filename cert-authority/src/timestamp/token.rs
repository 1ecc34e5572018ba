//! The token, read; and the response around it.
//!
//! Specification: RFC 3161 2.4.2.
//!
//! Reading judges nothing but the shape: [`super::verify()`] does.

use bytes::Bytes;
use der::asn1::{AnyRef, IntRef, SequenceRef};
use der::{Decode, Encode, Sequence};

use super::{ID_CT_TST_INFO, MessageImprint, PkiStatusInfo, PolicyId, TimeStampResp};
use crate::algorithm::DigestAlgorithm;
use crate::asn1::{GeneralizedTime, ber_to_der, magnitude};
use crate::clock::UnixTime;
use crate::cms::SignedData;
use crate::error::{PkiError, VerifyError};

const WHAT: &str = "time-stamp";
const RESPONSE: &str = "time-stamp response";

/// A time-stamp token: signed by somebody, judged by nobody yet.
#[derive(Debug, Clone)]
pub struct Token {
    der: Bytes,
    pub(super) signed: SignedData,
    pub(super) imprint_algorithm: Option<DigestAlgorithm>,
    pub(super) imprint: Vec<u8>,
    pub(super) policy: PolicyId,
    pub(super) serial: Vec<u8>,
    pub(super) nonce: Option<Vec<u8>>,
    gen_time: UnixTime,
}

#[derive(Sequence)]
pub(super) struct TstInfo<'a> {
    pub(super) version: u8,
    pub(super) policy: PolicyId,
    pub(super) message_imprint: MessageImprint<'a>,
    pub(super) serial_number: IntRef<'a>,
    pub(super) gen_time: GeneralizedTime,
    pub(super) accuracy: Option<SequenceRef<'a>>,
    #[asn1(default = "Default::default")]
    pub(super) ordering: bool,
    pub(super) nonce: Option<IntRef<'a>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) tsa: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(super) extensions: Option<AnyRef<'a>>,
}

impl Token {
    /// Reads a token (a ContentInfo).
    ///
    /// # Errors
    /// [`PkiError::Decode`] or [`PkiError::Inspect`] if it is none, or has not exactly one signer.
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, PkiError> {
        let der = der.into();
        let signed = SignedData::read(&der)?;
        if signed.content_type != ID_CT_TST_INFO {
            return Err(PkiError::inspect(WHAT, "what was signed is not a TSTInfo"));
        }
        let info = TstInfo::from_der(&signed.content).map_err(|error| PkiError::decode(WHAT, error))?;
        Ok(Self {
            imprint_algorithm: DigestAlgorithm::from_oid(&info.message_imprint.algorithm.oid),
            imprint: info.message_imprint.digest.as_bytes().to_vec(),
            policy: info.policy,
            serial: info.serial_number.as_bytes().to_vec(),
            nonce: info.nonce.map(|nonce| magnitude(nonce.as_bytes()).to_vec()),
            gen_time: info.gen_time.0,
            signed,
            der,
        })
    }

    /// Takes the token out of an authority's response.
    ///
    /// # Errors
    /// [`PkiError::Decode`] if it is no response or holds no token; [`VerifyError::TimestampRejected`] if the authority has
    /// not granted it.
    pub fn from_response(response: &[u8]) -> Result<Self, PkiError> {
        let wrong = |error: der::Error| PkiError::decode(RESPONSE, error);
        let normal;
        let response = match TimeStampResp::from_der(response) {
            Ok(response) => response,
            Err(error) => {
                normal = ber_to_der(response).ok_or_else(|| wrong(error))?;
                TimeStampResp::from_der(&normal).map_err(wrong)?
            }
        };
        const GRANTED_OR_WITH_MODIFICATIONS: u8 = 1;
        if response.status.status > GRANTED_OR_WITH_MODIFICATIONS {
            return Err(VerifyError::TimestampRejected(describe(&response.status)).into());
        }
        let token =
            response.token.ok_or_else(|| PkiError::decode(RESPONSE, "granted, but there is no token"))?;
        Self::from_der(token.to_der().map_err(wrong)?)
    }

    /// The token as it came.
    #[must_use]
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// The time it states; proven only once verified.
    #[must_use]
    pub fn gen_time(&self) -> UnixTime {
        self.gen_time
    }
}

/// Status and failure bits in the words of RFC 3161.
fn describe(info: &PkiStatusInfo<'_>) -> String {
    let status = match info.status {
        2 => "rejection".into(),
        3 => "waiting".into(),
        4 => "revocationWarning".into(),
        5 => "revocationNotification".into(),
        other => format!("status {other}"),
    };
    const FAILURES: [(usize, &str); 8] = [
        (0, "badAlg"),
        (2, "badRequest"),
        (5, "badDataFormat"),
        (14, "timeNotAvailable"),
        (15, "unacceptedPolicy"),
        (16, "unacceptedExtension"),
        (17, "addInfoNotAvailable"),
        (25, "systemFailure"),
    ];
    let bits: Vec<bool> = info.failure.iter().flat_map(|failure| failure.bits()).collect();
    let failures =
        FAILURES.iter().filter(|(bit, _)| bits.get(*bit).copied().unwrap_or_default()).map(|(_, name)| *name);
    std::iter::once(status.as_str()).chain(failures).collect::<Vec<_>>().join(", ")
}
