//! Messages, and the forms in which they travel.
//!
//! - [`digests`]: the digest of each part, computed while it flows
//! - [`header`]: what every request says
//! - [`multipart`]: the framing of messages between gateways, and of SOAP messages with attachments
//! - [`rest`], [`soap`]: requests and responses: the bytes that are signed
//! - [`Request`], [`Response`]: one or the other
//! - [`transport`]: messages between gateways: which parts, in which order

pub mod digests;
pub mod header;
pub mod multipart;
pub mod rest;
pub mod soap;
pub(crate) mod text;
pub mod transport;
pub mod well_formed;
pub(crate) mod xml;

use bytes::Bytes;

use self::digests::PartDigests;
use self::header::MessageHeader;
use self::multipart::Part;
use self::rest::{MessageError, RestRequest, RestResponse};
use self::soap::{SoapError, SoapRequest, SoapResponse};
use self::transport::part;

/// The two message protocols. Both ends of an exchange speak the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// PR-REST.
    #[default]
    Rest,
    /// PR-MESS.
    Soap,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Of REST.
    Rest(RestRequest),
    /// Of SOAP.
    Soap(SoapRequest),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Of REST.
    Rest(RestResponse),
    /// Of SOAP.
    Soap(SoapResponse),
}

/// What of a SOAP message is not in its envelope: it stands in headers of HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// The id of the exchange.
    pub request_id: Option<String>,
    /// The content type that the message had where it came from.
    pub content_type: Option<String>,
    /// `SOAPAction`.
    pub action: Option<String>,
}

/// The message part: what is signed as `/message.xml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessagePart<'a> {
    /// Its media type, with parameters.
    pub content_type: &'a str,
    /// Its other MIME headers.
    pub headers: &'a [(String, String)],
    /// Its bytes.
    pub content: &'a Bytes,
}

/// Why a message part cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// As REST.
    #[error(transparent)]
    Rest(#[from] MessageError),
    /// As SOAP.
    #[error(transparent)]
    Soap(#[from] SoapError),
}

impl Request {
    /// Reads a received message part.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(protocol: Protocol, part: Part, beside: Beside) -> Result<Self, ParseError> {
        Ok(match protocol {
            Protocol::Rest => Self::Rest(RestRequest::parse(part.content)?),
            Protocol::Soap => {
                soap::check_action(beside.action.as_deref())?;
                let request_id = beside.request_id.unwrap_or_default();
                let content_type = beside.content_type.unwrap_or_default();
                Self::Soap(SoapRequest::read(part, request_id, beside.action, content_type)?)
            }
        })
    }

    /// The protocol.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Rest(_) => Protocol::Rest,
            Self::Soap(_) => Protocol::Soap,
        }
    }

    /// Who asks whom for what.
    pub const fn header(&self) -> &MessageHeader {
        match self {
            Self::Rest(request) => &request.header,
            Self::Soap(request) => &request.header,
        }
    }

    /// The id of this one exchange.
    pub fn request_id(&self) -> &str {
        match self {
            Self::Rest(request) => &request.request_id,
            Self::Soap(request) => &request.request_id,
        }
    }

    /// The message part.
    pub fn part(&self) -> MessagePart<'_> {
        match self {
            Self::Rest(request) => MessagePart::rest(part::REST_REQUEST, request.part()),
            Self::Soap(request) => MessagePart::soap(request.part()),
        }
    }
}

impl AsRef<Self> for Request {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Response {
    /// Reads a received message part; `content_type` is what the service's answer had as a whole.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(protocol: Protocol, part: Part, content_type: Option<String>) -> Result<Self, ParseError> {
        Ok(match protocol {
            Protocol::Rest => Self::Rest(RestResponse::parse(part.content)?),
            Protocol::Soap => Self::Soap(SoapResponse::read(part, content_type.unwrap_or_default())?),
        })
    }

    /// The content type that the service's answer had as a whole; of REST it is in the message part.
    pub fn original_content_type(&self) -> Option<&str> {
        match self {
            Self::Rest(_) => None,
            Self::Soap(response) => Some(&response.original_content_type),
        }
    }

    /// The message part.
    pub fn part(&self) -> MessagePart<'_> {
        match self {
            Self::Rest(response) => MessagePart::rest(part::REST_RESPONSE, response.part()),
            Self::Soap(response) => MessagePart::soap(response.part()),
        }
    }
}

impl<'a> MessagePart<'a> {
    const fn rest(content_type: &'static str, content: &'a Bytes) -> Self {
        Self { content_type, headers: &[], content }
    }

    fn soap(part: &'a Part) -> Self {
        let content_type = part.head.content_type.as_ref().map_or(part::FAULT, |known| known.as_str());
        Self { content_type, headers: &part.head.headers, content: &part.content }
    }
}

/// The hash that ties an answer to its request: of REST over all parts, of SOAP over the envelope, in base64.
pub fn request_hash(protocol: Protocol, request: &PartDigests) -> String {
    match protocol {
        Protocol::Rest => rest::request_hash(request),
        Protocol::Soap => request.message.base64(),
    }
}
