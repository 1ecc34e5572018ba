//! The question: what is the status of these certificates?
//!
//! Specification: RFC 6960 4.1; RFC 9654 (a nonce has 1 to 128 bytes).
//!
//! A signature on a request is read over: nobody here gives different answers to different askers.

use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode, Sequence};

use super::{CertId, ID_PKIX_OCSP_NONCE};
use crate::asn1::{Extension, encode};
use crate::error::PkiError;

const WHAT: &str = "OCSP request";
const MAX_NONCE: usize = 128;

/// An OCSP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked about, in this order; at least one.
    pub cert_ids: Vec<CertId>,
    /// Makes the answer fresh: a responder that knows nonces repeats it.
    pub nonce: Option<Vec<u8>>,
}

#[derive(Sequence)]
struct OcspRequest<'a> {
    tbs_request: TbsRequest<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    optional_signature: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct TbsRequest<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<u8>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    requestor_name: Option<AnyRef<'a>>,
    request_list: Vec<RequestEntry<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension<'a>>>,
}

#[derive(Sequence)]
struct RequestEntry<'a> {
    cert_id: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

impl Request {
    /// A question about one certificate, without a nonce, as X-Road asks.
    #[must_use]
    pub fn new(cert_id: CertId) -> Self {
        Self { cert_ids: vec![cert_id], nonce: None }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`PkiError::Decode`] if it is no request, asks about nothing, has an unknown critical extension, or a nonce of a length
    /// that RFC 9654 does not allow.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        Self::read(der).map_err(|error| PkiError::decode(WHAT, error))?
    }

    fn read(der: &[u8]) -> der::Result<Result<Self, PkiError>> {
        let tbs = OcspRequest::from_der(der)?.tbs_request;
        let cert_ids: Vec<_> =
            tbs.request_list.iter().map(|entry| CertId::read(entry.cert_id)).collect::<der::Result<_>>()?;
        if cert_ids.is_empty() {
            return Ok(Err(PkiError::decode(WHAT, "asks about nothing")));
        }
        let mut nonce = None;
        for extension in tbs.extensions.iter().flatten() {
            if extension.id == ID_PKIX_OCSP_NONCE {
                let value = read_nonce(extension);
                if value.is_empty() || value.len() > MAX_NONCE {
                    return Ok(Err(PkiError::decode(WHAT, "the nonce must have 1 to 128 bytes")));
                }
                nonce = Some(value.to_vec());
            } else if extension.critical {
                return Ok(Err(PkiError::decode(WHAT, "unknown critical extension")));
            }
        }
        Ok(Ok(Self { cert_ids, nonce }))
    }

    /// Writes the request, unsigned.
    ///
    /// # Errors
    /// [`PkiError::Decode`] if a part is longer than DER allows.
    pub fn to_der(&self) -> Result<Vec<u8>, PkiError> {
        let wrong = |error: der::Error| PkiError::decode(WHAT, error);
        let nonce = self.nonce.as_deref().map(write_nonce).transpose().map_err(wrong)?;
        let extensions = nonce.as_deref().map(nonce_extension).transpose().map_err(wrong)?;
        let request_list = self
            .cert_ids
            .iter()
            .map(|id| Ok(RequestEntry { cert_id: AnyRef::from_der(id.der())?, extensions: None }))
            .collect::<der::Result<_>>()
            .map_err(wrong)?;
        let tbs_request = TbsRequest {
            version: None,
            requestor_name: None,
            request_list,
            extensions: extensions.map(|one| vec![one]),
        };
        encode(WHAT, &OcspRequest { tbs_request, optional_signature: None })
    }
}

/// RFC 6960 wants an OCTET STRING inside the extension; what older programs put there bare is taken as it is.
pub(super) fn read_nonce<'a>(extension: &Extension<'a>) -> &'a [u8] {
    let raw = extension.value.as_bytes();
    OctetStringRef::from_der(raw).map_or(raw, |string| string.as_bytes())
}

pub(super) fn write_nonce(nonce: &[u8]) -> der::Result<Vec<u8>> {
    OctetStringRef::new(nonce)?.to_der()
}

/// The extension around what [`write_nonce`] made.
pub(super) fn nonce_extension(value: &[u8]) -> der::Result<Extension<'_>> {
    Ok(Extension { id: ID_PKIX_OCSP_NONCE, critical: false, value: OctetStringRef::new(value)? })
}
