//! SOAP messages: the envelope whose bytes are signed, and what its header says.
//!
//! ```text
//! information system        between gateways                   what is signed
//! ------------------        ----------------                   --------------
//! text/xml ───────────────► the message part, byte for byte    /message.xml
//! multipart/related:
//!   text/xml or xop+xml ──► the message part, its MIME head    /message.xml
//!   attachment …        ──► multipart/mixed: attachment …      /attachment1 …
//! ```
//!
//! A request is never written anew: what came is what is signed. Of an answer nothing is changed but for the request's
//! hash, which is put behind the message id.
//!
//! - [`SoapRequest`], [`SoapResponse`]: what it says
//!
//! Specification: PR-MESS 2; SOAP 1.1; SOAP Messages with Attachments; the order of checks of release 7.8. Threats T13,
//! T42. Not here: attachments, which flow ([`super::transport`]); faults ([`crate::fault::soap`]).

pub(crate) mod charset;
mod envelope;
mod own;
mod request_hash;
#[cfg(test)]
mod tests;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::Digest;

use self::envelope::Envelope;
use super::header::MessageHeader;
use super::multipart::{MultipartError, Part};
use crate::fault::{Leaf, ReceivedFault};

/// The longest envelope, in bytes: what is large belongs into attachments, which flow.
pub const MAX_ENVELOPE_BYTES: usize = 10 << 20;

/// A request: the bytes that are signed, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoapRequest {
    part: Part,
    /// What its header says.
    pub header: MessageHeader,
    /// The id of this one exchange: travels beside the message.
    pub request_id: String,
    /// What the information system says that it wants; with its quotation marks.
    pub action: Option<String>,
    /// The content type of the whole, as the information system gave it.
    pub original_content_type: String,
}

/// An answer: the bytes that are signed, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoapResponse {
    part: Part,
    /// What its header says.
    pub header: MessageHeader,
    /// The hash of the request that it answers, in base64, if it says.
    pub request_hash: Option<String>,
    /// The content type of the whole, as the service gave it.
    pub original_content_type: String,
}

/// Why a SOAP message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoapError {
    /// The content type is none of SOAP's, or missing.
    #[error("the content type {0:?} is none of a SOAP message")]
    ContentType(String),
    /// The multipart around it.
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    /// `SOAPAction` is neither empty nor a URI in quotation marks.
    #[error("the SOAPAction header is malformed")]
    Action,
    /// It is in an encoding that is not taken, or not in the one that it declares.
    #[error("the encoding of the message cannot be read")]
    Encoding,
    /// It is longer, or more involved, than any message needs.
    #[error("the message is {0}")]
    TooLarge(&'static str),
    /// It is not well-formed XML, or has a document type.
    #[error("the message is not well-formed XML: {0}")]
    NotXml(String),
    /// It is no SOAP envelope.
    #[error("the message has no SOAP envelope")]
    NoEnvelope,
    /// There is no message at all.
    #[error("there is no SOAP message")]
    Missing,
    /// The envelope has no header.
    #[error("the message has no SOAP header")]
    NoHeader,
    /// A field that must be there is not.
    #[error("required field {0:?} is missing")]
    FieldMissing(&'static str),
    /// A field stands twice.
    #[error("SOAP header contains duplicate field {0:?}")]
    FieldTwice(&'static str),
    /// A field holds something else than it should.
    #[error("{field}: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A central service, which no release has known since 7.
    #[error("central services are not supported")]
    CentralService,
    /// The version of the protocol is not 4.
    #[error("protocol version {0:?} is not supported")]
    ProtocolVersion(String),
    /// The envelope has no body.
    #[error("the message has no SOAP body")]
    NoBody,
    /// The body has not exactly one element.
    #[error("the SOAP body must have exactly one child element")]
    Body,
    /// The body asks for another service than the header.
    #[error("service code does not match in header and body")]
    OtherService,
    /// It includes something that is not among its attachments by name.
    #[error("the message includes something from outside of it")]
    External,
    /// A fault, where a message is expected.
    #[error("fault {}: {}", .0.code, .0.text)]
    Fault(Box<ReceivedFault>),
    /// The service answered with this status and something that is no SOAP.
    #[error("the service answered with status {0}")]
    Status(u16),
}

impl SoapError {
    /// Its code.
    pub const fn leaf(&self) -> Leaf {
        match self {
            Self::ContentType(_) => Leaf::InvalidContentType,
            Self::Multipart(error) => error.leaf(),
            Self::Action => Leaf::InvalidSoapAction,
            Self::Encoding
            | Self::TooLarge(_)
            | Self::NotXml(_)
            | Self::NoEnvelope
            | Self::External
            | Self::Fault(_) => Leaf::InvalidSoap,
            Self::Missing => Leaf::MissingSoap,
            Self::NoHeader => Leaf::MissingHeader,
            Self::FieldMissing(_) => Leaf::MissingHeaderField,
            Self::FieldTwice(_) => Leaf::DuplicateHeaderField,
            Self::Field { .. } | Self::CentralService => Leaf::InvalidXml,
            Self::ProtocolVersion(_) => Leaf::InvalidProtocolVersion,
            Self::NoBody => Leaf::MissingBody,
            Self::Body => Leaf::InvalidBody,
            Self::OtherService => Leaf::InconsistentHeaders,
            Self::Status(_) => Leaf::HttpError,
        }
    }
}

/// Whether the part of this media type is one that an envelope may travel in.
pub fn is_envelope(media_type: &str) -> bool {
    matches!(media_type, "text/xml" | "application/xop+xml")
}

impl SoapRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`SoapError`]; a fault is [`SoapError::Fault`].
    pub fn read(
        part: Part,
        request_id: impl Into<String>,
        action: Option<String>,
        original_content_type: impl Into<String>,
    ) -> Result<Self, SoapError> {
        let Envelope { header, .. } = envelope::read(&part)?;
        Ok(Self {
            part,
            header,
            request_id: request_id.into(),
            action,
            original_content_type: original_content_type.into(),
        })
    }

    /// The bytes that are signed, and their head.
    pub fn part(&self) -> &Part {
        &self.part
    }
}

impl SoapResponse {
    /// Reads an answer.
    ///
    /// # Errors
    /// As [`SoapRequest::read`].
    pub fn read(part: Part, original_content_type: impl Into<String>) -> Result<Self, SoapError> {
        let Envelope { header, request_hash, .. } = envelope::read(&part)?;
        Ok(Self { part, header, request_hash, original_content_type: original_content_type.into() })
    }

    /// Makes the answer from what a service said: the digest of the request's envelope is put behind the message id,
    /// what the service has put there itself is taken out, and nothing else is changed.
    ///
    /// # Errors
    /// As [`SoapRequest::read`].
    ///
    /// # Compatibility
    /// X-Road writes the whole document anew. Whoever reads it reads the same.
    pub fn from_service(
        part: Part,
        original_content_type: impl Into<String>,
        algorithm: DigestAlgorithm,
        request: &Digest,
    ) -> Result<Self, SoapError> {
        let content = request_hash::insert(&part, algorithm, request)?;
        Self::read(Part { content, ..part }, original_content_type)
    }

    /// The bytes that are signed, and their head.
    pub fn part(&self) -> &Part {
        &self.part
    }
}

/// Looks at a `SOAPAction` header: none, empty, or a URI in quotation marks.
///
/// # Errors
/// [`SoapError::Action`].
pub fn check_action(action: Option<&str>) -> Result<(), SoapError> {
    let Some(action) = action.filter(|action| !action.is_empty()) else { return Ok(()) };
    let uri = action.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(SoapError::Action)?;
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    let escapes = uri.split('%').skip(1).all(|escape| {
        escape.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if action.len() > 1 && uri.bytes().all(fits) && escapes { Ok(()) } else { Err(SoapError::Action) }
}
