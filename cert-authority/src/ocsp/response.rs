//! The answer, read and written.
//!
//! Specification: RFC 6960 4.2.
//!
//! Reading judges nothing: [`super::verify()`] does.

use bytes::Bytes;
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Sequence, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierRef;

use super::request::{nonce_extension, read_nonce, write_nonce};
use super::{CertId, ID_PKIX_OCSP_BASIC, ID_PKIX_OCSP_NONCE};
use crate::algorithm::SignatureAlgorithm;
use crate::asn1::{Extension, GeneralizedTime, content};
use crate::clock::UnixTime;
use crate::error::{PkiError, VerifyError};
use crate::keys::{KeyId, Signer};
use crate::x509::{Certificate, Name};

const WHAT: &str = "OCSP response";
/// More embedded certificates than this are not looked at.
const MAX_CERTIFICATES: usize = 8;

/// What is said about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertStatus {
    /// Issued and not revoked.
    Good,
    /// Revoked.
    Revoked {
        /// Since then.
        at: UnixTime,
        /// CRLReason (RFC 5280 5.3.1), if given.
        reason: Option<u8>,
    },
    /// The responder does not know it.
    Unknown,
}

/// The answer about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleResponse {
    /// Which certificate.
    pub cert_id: CertId,
    /// Its status.
    pub status: CertStatus,
    /// The status was known to be so at this time.
    pub this_update: UnixTime,
    /// News will be had at this time at the latest.
    pub next_update: Option<UnixTime>,
}

/// How a responder names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResponderId {
    /// By its name.
    Name(Name),
    /// By the SHA-1 of its key.
    KeyHash(Vec<u8>),
}

/// A successful response: signed by somebody, judged by nobody yet. Cheap to clone is its [`Response::der`] only.
#[derive(Debug, Clone)]
pub struct Response {
    der: Bytes,
    pub(super) tbs: Vec<u8>,
    pub(super) algorithm: Option<SignatureAlgorithm>,
    pub(super) signature: Vec<u8>,
    pub(super) responder: ResponderId,
    pub(super) certificates: Vec<Certificate>,
    produced_at: UnixTime,
    responses: Vec<SingleResponse>,
    nonce: Option<Vec<u8>>,
}

#[derive(Sequence)]
struct OcspResponse<'a> {
    response_status: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    response_bytes: Option<ResponseBytes<'a>>,
}

#[derive(Sequence)]
struct ResponseBytes<'a> {
    response_type: ObjectIdentifier,
    response: OctetStringRef<'a>,
}

#[derive(Sequence)]
struct BasicOcspResponse<'a> {
    tbs_response_data: AnyRef<'a>,
    signature_algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certs: Option<Vec<AnyRef<'a>>>,
}

#[derive(Sequence)]
struct ResponseData<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<u8>,
    responder_id: AnyRef<'a>,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponseDer<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension<'a>>>,
}

#[derive(Sequence)]
struct SingleResponseDer<'a> {
    cert_id: AnyRef<'a>,
    cert_status: AnyRef<'a>,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct RevokedInfo<'a> {
    revocation_time: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    revocation_reason: Option<AnyRef<'a>>,
}

impl Response {
    /// Reads a response.
    ///
    /// # Errors
    /// [`PkiError::Decode`] if it is none; [`VerifyError::OcspStatus`] if the responder refuses to answer.
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, PkiError> {
        let der = der.into();
        let wrong = |error: der::Error| PkiError::decode(WHAT, error);
        let outer = OcspResponse::from_der(&der).map_err(wrong)?;
        outer.response_status.tag().assert_eq(Tag::Enumerated).map_err(wrong)?;
        if outer.response_status.value() != [0] {
            let status = ErrorStatus::text(outer.response_status.value());
            return Err(VerifyError::OcspStatus(status).into());
        }
        let bytes = outer.response_bytes.ok_or_else(|| PkiError::decode(WHAT, "successful but empty"))?;
        if bytes.response_type != ID_PKIX_OCSP_BASIC {
            return Err(PkiError::decode(WHAT, "not a basic response"));
        }
        Self::read_basic(der.clone(), bytes.response.as_bytes())
    }

    fn read_basic(whole: Bytes, basic: &[u8]) -> Result<Self, PkiError> {
        let wrong = |error: der::Error| PkiError::decode(WHAT, error);
        let basic = BasicOcspResponse::from_der(basic).map_err(wrong)?;
        let tbs = basic.tbs_response_data.to_der().map_err(wrong)?;
        let data = ResponseData::from_der(&tbs).map_err(wrong)?;
        // One that cannot be read cannot be a responder's either.
        let certificates = basic.certs.iter().flatten().take(MAX_CERTIFICATES);
        let certificates = certificates
            .filter_map(|certificate| Certificate::from_der(&certificate.to_der().ok()?).ok())
            .collect();
        let responses = data.responses.iter().map(SingleResponse::read).collect::<der::Result<_>>();
        let nonce = data.extensions.iter().flatten().find(|extension| extension.id == ID_PKIX_OCSP_NONCE);
        let algorithm = basic.signature_algorithm.to_der().map_err(wrong)?;
        Ok(Self {
            algorithm: SignatureAlgorithm::from_identifier_der(&algorithm).ok(),
            signature: basic.signature.as_bytes().unwrap_or_default().to_vec(),
            responder: ResponderId::read(data.responder_id)?,
            produced_at: data.produced_at.0,
            nonce: nonce.map(|nonce| read_nonce(nonce).to_vec()),
            responses: responses.map_err(wrong)?,
            certificates,
            tbs,
            der: whole,
        })
    }

    /// The response as it came.
    #[must_use]
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// When it was signed, by the responder's word.
    #[must_use]
    pub fn produced_at(&self) -> UnixTime {
        self.produced_at
    }

    /// What it says, in its order.
    #[must_use]
    pub fn responses(&self) -> &[SingleResponse] {
        &self.responses
    }

    /// The nonce, if it has one.
    #[must_use]
    pub fn nonce(&self) -> Option<&[u8]> {
        self.nonce.as_deref()
    }
}

impl SingleResponse {
    fn read(read: &SingleResponseDer<'_>) -> der::Result<Self> {
        Ok(Self {
            cert_id: CertId::read(read.cert_id)?,
            status: CertStatus::read(read.cert_status)?,
            this_update: read.this_update.0,
            next_update: read.next_update.map(|time| time.0),
        })
    }
}

const fn context(number: TagNumber, constructed: bool) -> Tag {
    Tag::ContextSpecific { constructed, number }
}

impl CertStatus {
    fn read(any: AnyRef<'_>) -> der::Result<Self> {
        const GOOD: Tag = context(TagNumber::N0, false);
        const REVOKED: Tag = context(TagNumber::N1, true);
        const UNKNOWN: Tag = context(TagNumber::N2, false);
        match any.tag() {
            GOOD => Ok(Self::Good),
            UNKNOWN => Ok(Self::Unknown),
            REVOKED => {
                let der = AnyRef::new(Tag::Sequence, any.value())?.to_der()?;
                let info = RevokedInfo::from_der(&der)?;
                let reason = info.revocation_reason.and_then(|reason| reason.value().first().copied());
                Ok(Self::Revoked { at: info.revocation_time.0, reason })
            }
            other => Err(other.value_error()),
        }
    }

    /// Tag and content octets.
    fn write(self) -> der::Result<(Tag, Vec<u8>)> {
        match self {
            Self::Good => Ok((context(TagNumber::N0, false), Vec::new())),
            Self::Unknown => Ok((context(TagNumber::N2, false), Vec::new())),
            Self::Revoked { at, reason } => {
                let reason = reason.map(|reason| [reason]);
                let revocation_reason =
                    reason.as_ref().map(|reason| AnyRef::new(Tag::Enumerated, reason)).transpose()?;
                let info = RevokedInfo { revocation_time: GeneralizedTime(at), revocation_reason };
                Ok((context(TagNumber::N1, true), content(&info)?))
            }
        }
    }
}

impl ResponderId {
    fn read(any: AnyRef<'_>) -> Result<Self, PkiError> {
        const NAME: Tag = context(TagNumber::N1, true);
        const KEY: Tag = context(TagNumber::N2, true);
        match any.tag() {
            NAME => Name::from_der(any.value()).map(Self::Name),
            KEY => match OctetStringRef::from_der(any.value()) {
                Ok(hash) => Ok(Self::KeyHash(hash.as_bytes().to_vec())),
                Err(error) => Err(PkiError::decode(WHAT, error)),
            },
            _ => Err(PkiError::decode(WHAT, "no responder is named")),
        }
    }

    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Name(name) => certificate.subject().same_as(name),
            Self::KeyHash(hash) => certificate.key_hash_sha1().as_ref() == hash,
        }
    }
}

/// Why a responder does not answer (OCSPResponseStatus). Such a response is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStatus {
    /// The request is not understood.
    MalformedRequest,
    /// The responder has a trouble of its own.
    InternalError,
    /// Ask again later.
    TryLater,
    /// The certificates asked about are not this responder's.
    Unauthorized,
}

impl ErrorStatus {
    const fn code(self) -> u8 {
        match self {
            Self::MalformedRequest => 1,
            Self::InternalError => 2,
            Self::TryLater => 3,
            Self::Unauthorized => 6,
        }
    }

    fn text(status: &[u8]) -> String {
        match status {
            [1] => "malformedRequest".into(),
            [2] => "internalError".into(),
            [3] => "tryLater".into(),
            [5] => "sigRequired".into(),
            [6] => "unauthorized".into(),
            other => hex::encode(other),
        }
    }
}

/// The response of a responder that does not answer.
#[must_use]
pub const fn refusal(status: ErrorStatus) -> [u8; 5] {
    [0x30, 3, 0x0a, 1, status.code()]
}

/// Who signs responses.
#[derive(Debug, Clone)]
pub struct Responder {
    /// The certificate, sent along with every response: the issuer's own, or one issued by it with EKU OCSPSigning.
    pub certificate: Certificate,
    /// Its key.
    pub key: KeyId,
    /// With which algorithm to sign.
    pub algorithm: SignatureAlgorithm,
}

/// Makes and signs a response.
///
/// # Errors
/// [`PkiError::Key`] if the key cannot sign.
pub async fn respond(
    responder: &Responder,
    responses: &[SingleResponse],
    nonce: Option<&[u8]>,
    produced_at: UnixTime,
    signer: &dyn Signer,
) -> Result<Vec<u8>, PkiError> {
    let tbs = write_data(responder, responses, nonce, produced_at)
        .map_err(|error| PkiError::decode(WHAT, error))?;
    let signature = signer.sign(&responder.key, responder.algorithm, &tbs).await?;
    let algorithm = responder.algorithm.to_identifier_der()?;
    write_response(responder, &algorithm, &tbs, &signature).map_err(|error| PkiError::decode(WHAT, error))
}

fn write_data(
    responder: &Responder,
    responses: &[SingleResponse],
    nonce: Option<&[u8]>,
    produced_at: UnixTime,
) -> der::Result<Vec<u8>> {
    let key_hash = OctetStringRef::new(responder.certificate.key_hash_sha1().as_ref())?.to_der()?;
    let nonce = nonce.map(write_nonce).transpose()?;
    let statuses = responses.iter().map(|single| single.status.write()).collect::<der::Result<Vec<_>>>()?;
    let singles = responses.iter().zip(&statuses).map(|(single, (tag, content))| {
        Ok(SingleResponseDer {
            cert_id: AnyRef::from_der(single.cert_id.der())?,
            cert_status: AnyRef::new(*tag, content)?,
            this_update: GeneralizedTime(single.this_update),
            next_update: single.next_update.map(GeneralizedTime),
            extensions: None,
        })
    });
    ResponseData {
        version: None,
        responder_id: AnyRef::new(context(TagNumber::N2, true), &key_hash)?,
        produced_at: GeneralizedTime(produced_at),
        responses: singles.collect::<der::Result<_>>()?,
        extensions: nonce.as_deref().map(nonce_extension).transpose()?.map(|one| vec![one]),
    }
    .to_der()
}

fn write_response(
    responder: &Responder,
    algorithm: &[u8],
    tbs: &[u8],
    signature: &[u8],
) -> der::Result<Vec<u8>> {
    let basic = BasicOcspResponse {
        tbs_response_data: AnyRef::from_der(tbs)?,
        signature_algorithm: AlgorithmIdentifierRef::from_der(algorithm)?,
        signature: BitStringRef::from_bytes(signature)?,
        certs: Some(vec![AnyRef::from_der(responder.certificate.der())?]),
    }
    .to_der()?;
    OcspResponse {
        response_status: AnyRef::new(Tag::Enumerated, &[0])?,
        response_bytes: Some(ResponseBytes {
            response_type: ID_PKIX_OCSP_BASIC,
            response: OctetStringRef::new(&basic)?,
        }),
    }
    .to_der()
}
