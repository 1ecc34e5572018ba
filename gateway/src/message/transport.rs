//! A message between gateways: which parts it has, and in which order.
//!
//! ```text
//! request    application/ocsp-response *          the sender's TLS certificate and its issuers
//!            application/x-road-rest-request      the message part
//!            application/x-road-rest-body ?       the body, of any size
//!         or text/xml, application/xop+xml        the message part of SOAP
//!            multipart/mixed ?                    its attachments, of any number and size, each a part of its own
//!            application/hash-chain-result ?      with a body, or in a batch
//!            application/hash-chain ?
//!            signature/bdoc-1.0/ts                the signature, or text/xml: a fault
//! response   the same with application/x-road-rest-response and without OCSP responses
//! ```
//!
//! Small parts are handed on whole, the body as it flows. What is handed on is what is hashed: the digests that
//! [`Incoming::finish`] gives are those of the bytes that the caller has seen.
//!
//! Specification: PR-MESSTRANSP 2 and 3; the order of checks of release 7.8. Threat T14.
//! Not here: what the parts say, and whether the signature is one.

use bytes::{Bytes, BytesMut};
use cert_authority::algorithm::DigestAlgorithm;

use super::Protocol;
use super::digests::{PartDigests, RunningDigests};
use super::multipart::{ContentType, Event, Limits, MultipartError, Part, PartHead, Reader};
use super::rest::MAX_PART_BYTES;
use super::soap::{MAX_ENVELOPE_BYTES, is_envelope};
use crate::fault::{self, Leaf};

/// Headers of the HTTP request and response that carry a message.
pub mod header {
    /// [`REST`] for REST messages; absent for SOAP.
    pub const MESSAGE_TYPE: &str = "x-road-message-type";
    /// The value of [`MESSAGE_TYPE`].
    pub const REST: &str = "REST";
    /// The digest algorithm of the parts: `SHA-512`.
    pub const HASH_ALGORITHM: &str = "x-hash-algorithm";
    /// The content type of the information system's own request; empty when it had none.
    pub const ORIGINAL_CONTENT_TYPE: &str = "x-original-content-type";
    /// `SOAPAction` of the information system's own request; empty when it had none.
    pub const ORIGINAL_SOAP_ACTION: &str = "x-original-soapaction";
    /// The id of the exchange.
    pub const REQUEST_ID: &str = "x-road-request-id";
    /// The release of the sending gateway.
    pub const PROXY_VERSION: &str = "x-proxy-version";
}

/// Media types of parts.
pub mod part {
    /// An OCSP response of the sender's TLS certificate, or of one of its issuers.
    pub const OCSP_RESPONSE: &str = "application/ocsp-response";
    /// The message part of a REST request.
    pub const REST_REQUEST: &str = "application/x-road-rest-request";
    /// The message part of a REST response.
    pub const REST_RESPONSE: &str = "application/x-road-rest-response";
    /// The body.
    pub const REST_BODY: &str = "application/x-road-rest-body";
    /// The attachments of a SOAP message.
    pub const ATTACHMENTS: &str = "multipart/mixed";
    /// The result of the hash chain: what the signature is over.
    pub const HASH_CHAIN_RESULT: &str = "application/hash-chain-result";
    /// The hash chain.
    pub const HASH_CHAIN: &str = "application/hash-chain";
    /// The signature.
    pub const SIGNATURE: &str = "signature/bdoc-1.0/ts";
    /// A fault.
    pub const FAULT: &str = "text/xml";
}

/// OCSP responses of one message; a chain is not longer.
const MAX_OCSP_RESPONSES: usize = 10;
const MAX_OCSP_BYTES: usize = 64 * 1024;
const MAX_CHAIN_BYTES: usize = 256 * 1024;
const MAX_SIGNATURE_BYTES: usize = 1024 * 1024;

/// What attachments may be; their bytes are not limited here.
pub const ATTACHMENT_LIMITS: Limits =
    Limits { part_head: 8 * 1024, parts: 1000, around: 8 * 1024, folded: false };

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the provider.
    Request,
    /// Back to the consumer.
    Response,
}

/// What an incoming message gave next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Nothing more in what was pushed.
    NeedMore,
    /// An OCSP response, DER.
    OcspResponse(Bytes),
    /// The message part.
    Message(Part),
    /// There is an attachment, be it empty: the body of REST, an attachment of SOAP.
    AttachmentBegin(PartHead),
    /// More of the attachment; never empty.
    AttachmentData(Bytes),
    /// The attachment is complete.
    AttachmentEnd,
    /// The result of the hash chain.
    HashChainResult(Bytes),
    /// The hash chain.
    HashChain(Bytes),
    /// The signature.
    Signature(Bytes),
    /// A fault in place of the signature, or of the message.
    Fault(Bytes),
    /// No more parts.
    End,
}

/// Why a message is refused while it is taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Its framing.
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    /// A part that may not stand here.
    #[error("a part of type {0:?} is not the one that comes next")]
    UnexpectedPart(String),
    /// A part after the signature.
    #[error("a part of type {0:?} follows the signature")]
    ExtraPart(String),
    /// A part is longer, or there are more of its kind, than any message needs.
    #[error("{0} too large")]
    TooLarge(&'static str),
    /// It ended without a message part, or has one of another protocol.
    #[error("the message has no {} part", if matches!(.0, Protocol::Rest) { "REST" } else { "SOAP" })]
    MissingMessage(Protocol),
    /// An attachment that does not say what it is.
    #[error("an attachment has no content type")]
    Untyped,
    /// It ended without a signature.
    #[error("the message has no signature")]
    MissingSignature,
}

impl TransportError {
    /// Its code.
    pub const fn leaf(&self) -> Leaf {
        match self {
            Self::Multipart(error) => error.leaf(),
            Self::UnexpectedPart(_) | Self::Untyped => Leaf::InvalidContentType,
            Self::ExtraPart(_) | Self::TooLarge(_) => Leaf::InvalidMessage,
            Self::MissingMessage(Protocol::Rest) => Leaf::MissingRest,
            Self::MissingMessage(Protocol::Soap) => Leaf::MissingSoap,
            Self::MissingSignature => Leaf::MissingSignature,
        }
    }

    /// Whether X-Road puts its code below `service_failed`: not when the message is well-formed but incomplete.
    pub const fn is_service_failure(&self) -> bool {
        !matches!(self, Self::MissingMessage(_) | Self::MissingSignature)
    }
}

/// Whether an answer with this content type is a fault as a whole.
pub fn is_whole_fault(content_type: &str) -> bool {
    ContentType::parse(content_type).is_ok_and(|parsed| parsed.media_type() == part::FAULT)
}

/// A message that is being received: push what came, pull items until [`Item::End`], then [`Self::finish`].
#[derive(Debug)]
pub struct Incoming {
    direction: Direction,
    protocol: Protocol,
    algorithm: DigestAlgorithm,
    reader: Reader,
    /// Takes the attachments of SOAP apart.
    nested: Option<Reader>,
    next: Slot,
    current: Option<Current>,
    ocsp_responses: usize,
    digests: Option<RunningDigests>,
    is_signed: bool,
}

/// What may come next: this, or anything below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Message,
    Body,
    HashChainResult,
    HashChain,
    Signature,
    Nothing,
}

#[derive(Debug)]
enum Current {
    Body,
    Attachments,
    Small { kind: Small, head: PartHead, content: BytesMut },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Small {
    OcspResponse,
    Message,
    HashChainResult,
    HashChain,
    Signature,
    Fault,
}

impl Incoming {
    /// A message with this `Content-Type` and these digests.
    ///
    /// # Errors
    /// [`TransportError::Multipart`].
    pub fn new(
        direction: Direction,
        protocol: Protocol,
        content_type: &str,
        algorithm: DigestAlgorithm,
    ) -> Result<Self, TransportError> {
        Ok(Self {
            direction,
            protocol,
            algorithm,
            reader: Reader::new(content_type, Limits::default())?,
            nested: None,
            next: Slot::Message,
            current: None,
            ocsp_responses: 0,
            digests: None,
            is_signed: false,
        })
    }

    /// Takes in what came next.
    pub fn push(&mut self, data: Bytes) {
        self.reader.push(data);
    }

    /// What comes next. Nothing of use follows an [`Item::Fault`].
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn pull(&mut self) -> Result<Item, TransportError> {
        loop {
            if let Some(item) = self.attachments()? {
                return Ok(item);
            }
            match self.reader.pull()? {
                Event::NeedMore => return Ok(Item::NeedMore),
                Event::End => return Ok(Item::End),
                Event::PartHead(head) => {
                    if let Some(item) = self.begin(head)? {
                        return Ok(item);
                    }
                }
                Event::Data(data) => {
                    if let Some(item) = self.take(data)? {
                        return Ok(item);
                    }
                }
                Event::PartEnd => {
                    if let Some(item) = self.end()? {
                        return Ok(item);
                    }
                }
            }
        }
    }

    /// Says that nothing more will be pushed, and gives the digests of what was handed on.
    ///
    /// # Errors
    /// [`TransportError::Multipart`] when it was cut short, [`TransportError::MissingMessage`],
    /// [`TransportError::MissingSignature`].
    pub fn finish(self) -> Result<PartDigests, TransportError> {
        self.reader.finish()?;
        let digests = self.digests.ok_or(TransportError::MissingMessage(self.protocol))?;
        if self.is_signed { Ok(digests.finish()) } else { Err(TransportError::MissingSignature) }
    }

    /// What the attachments of SOAP give next, from what has been pushed of them.
    fn attachments(&mut self) -> Result<Option<Item>, TransportError> {
        let (Some(nested), Some(digests)) = (&mut self.nested, &mut self.digests) else { return Ok(None) };
        Ok(match nested.pull()? {
            Event::NeedMore | Event::End => None,
            Event::PartHead(head) if head.content_type.is_none() => return Err(TransportError::Untyped),
            Event::PartHead(head) => {
                digests.update(b"");
                Some(Item::AttachmentBegin(head))
            }
            Event::Data(data) => {
                digests.update(&data);
                Some(Item::AttachmentData(data))
            }
            Event::PartEnd => {
                digests.end_part();
                Some(Item::AttachmentEnd)
            }
        })
    }

    /// Begins a part.
    fn begin(&mut self, head: PartHead) -> Result<Option<Item>, TransportError> {
        let is_rest = self.protocol == Protocol::Rest;
        let media_type = head.media_type();
        let (kind, next) = match media_type {
            _ if self.next == Slot::Nothing => return Err(TransportError::ExtraPart(media_type.to_owned())),
            part::OCSP_RESPONSE if self.next == Slot::Message => {
                self.ocsp_responses += 1;
                if self.ocsp_responses > MAX_OCSP_RESPONSES {
                    return Err(TransportError::TooLarge("the number of OCSP responses is"));
                }
                (Small::OcspResponse, Slot::Message)
            }
            part::REST_REQUEST | part::REST_RESPONSE if self.next == Slot::Message => {
                let is_request = media_type == part::REST_REQUEST;
                if !is_rest || is_request != (self.direction == Direction::Request) {
                    return Err(TransportError::MissingMessage(self.protocol));
                }
                (Small::Message, Slot::Body)
            }
            part::REST_BODY if is_rest && self.next == Slot::Body => {
                self.next = Slot::HashChainResult;
                self.current = Some(Current::Body);
                return Ok(Some(Item::AttachmentBegin(head)));
            }
            part::ATTACHMENTS if !is_rest && self.next == Slot::Body => {
                let content_type = head.content_type.as_ref().map_or("", ContentType::as_str);
                self.nested = Some(Reader::new(content_type, ATTACHMENT_LIMITS)?);
                self.next = Slot::HashChainResult;
                self.current = Some(Current::Attachments);
                return Ok(None);
            }
            part::HASH_CHAIN_RESULT if (Slot::Body..=Slot::HashChainResult).contains(&self.next) => {
                (Small::HashChainResult, Slot::HashChain)
            }
            part::HASH_CHAIN if (Slot::Body..=Slot::HashChain).contains(&self.next) => {
                (Small::HashChain, Slot::Signature)
            }
            part::SIGNATURE if self.next != Slot::Message => (Small::Signature, Slot::Nothing),
            // Whether it is a fault in place of a message, whoever reads it sees.
            _ if !is_rest && self.next == Slot::Message && is_envelope(media_type) => {
                (Small::Message, Slot::Body)
            }
            part::FAULT if self.next != Slot::Message || self.direction == Direction::Response => {
                (Small::Fault, Slot::Nothing)
            }
            // X-Road takes it for a SOAP message.
            part::FAULT => return Err(TransportError::MissingMessage(Protocol::Rest)),
            other => return Err(TransportError::UnexpectedPart(other.to_owned())),
        };
        self.next = next;
        self.current = Some(Current::Small { kind, head, content: BytesMut::new() });
        Ok(None)
    }

    /// Takes data of the current part; gives it back when it is the body's.
    fn take(&mut self, data: Bytes) -> Result<Option<Item>, TransportError> {
        match &mut self.current {
            Some(Current::Body) => {
                self.digests.iter_mut().for_each(|digests| digests.update(&data));
                return Ok(Some(Item::AttachmentData(data)));
            }
            Some(Current::Attachments) => self.nested.iter_mut().for_each(|nested| nested.push(data.clone())),
            Some(Current::Small { kind, content, .. }) => {
                if content.len() + data.len() > kind.limit(self.protocol) {
                    return Err(TransportError::TooLarge(kind.name()));
                }
                content.extend_from_slice(&data);
            }
            None => {}
        }
        Ok(None)
    }

    fn end(&mut self) -> Result<Option<Item>, TransportError> {
        let (kind, head, content) = match self.current.take() {
            None => return Ok(None),
            Some(Current::Small { kind, head, content }) => (kind, head, content.freeze()),
            Some(Current::Attachments) => {
                if let Some(nested) = self.nested.take() {
                    nested.finish()?;
                }
                return Ok(None);
            }
            Some(Current::Body) => {
                if let Some(digests) = &mut self.digests {
                    // A body of no bytes is a part all the same.
                    digests.update(b"");
                    digests.end_part();
                }
                return Ok(Some(Item::AttachmentEnd));
            }
        };
        Ok(Some(match kind {
            Small::OcspResponse => Item::OcspResponse(content),
            Small::Message => {
                self.digests = Some(RunningDigests::of_message(self.algorithm, &content));
                Item::Message(Part { head, content })
            }
            Small::HashChainResult => Item::HashChainResult(content),
            Small::HashChain => Item::HashChain(content),
            Small::Signature => {
                self.is_signed = true;
                Item::Signature(content)
            }
            Small::Fault => Item::Fault(content),
        }))
    }
}

impl Small {
    const fn limit(self, protocol: Protocol) -> usize {
        match self {
            Self::OcspResponse => MAX_OCSP_BYTES,
            Self::Message => match protocol {
                Protocol::Rest => MAX_PART_BYTES,
                Protocol::Soap => MAX_ENVELOPE_BYTES,
            },
            Self::HashChainResult | Self::HashChain => MAX_CHAIN_BYTES,
            Self::Signature => MAX_SIGNATURE_BYTES,
            Self::Fault => fault::soap::MAX_BYTES,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::OcspResponse => "an OCSP response is",
            Self::Message => "the message part is",
            Self::HashChainResult => "the hash chain result is",
            Self::HashChain => "the hash chain is",
            Self::Signature => "the signature is",
            Self::Fault => "the fault is",
        }
    }
}

#[cfg(test)]
mod tests;
