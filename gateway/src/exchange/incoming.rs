//! A message as it comes in: its head first, so that cheap refusals come before a body is read.
//!
//! ```text
//! Incoming::request_head ──► Head<Request>  (OCSP responses, message part)
//!         Head::read_rest ──► Received<Request>  (attachments sealed, every part hashed, signature at hand)
//! ```
//! Attachments go through the log's vault: encrypted, in memory or in a file without a name, within a quota. They are
//! nobody's yet: what is received is not believed before its signature is verified.
//!
//! Specification: PR-MESSTRANSP 3; XROAD-FACTS 2.3. Not here: the order of parts ([`crate::message::transport`]).

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;

use super::attached::Attachment;
use super::ports::{Arriving, Interrupted};
use crate::evidence::signature::SignatureBundle;
use crate::fault::{ReceivedFault, soap};
use crate::message::digests::PartDigests;
use crate::message::multipart::{Part, PartHead};
use crate::message::soap::SoapError;
use crate::message::transport::{self, Direction, Item, TransportError};
use crate::message::{self, Beside, ParseError, Protocol, Response};
use crate::messagelog::{BodyWriter, LogError, Vault};

/// Why a message could not be received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Its parts.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What its message part says.
    #[error(transparent)]
    Message(ParseError),
    /// The sender does not say how it hashed.
    #[error("the digest algorithm {0:?} is not known")]
    HashAlgorithm(Option<String>),
    /// It broke off.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// There is no room for its body.
    #[error(transparent)]
    Held(#[from] LogError),
    /// It is a fault.
    #[error("fault {}: {}", .0.code, .0.text)]
    Fault(ReceivedFault),
    /// It is a fault that cannot be read.
    #[error("an unreadable fault")]
    UnreadableFault,
}

impl ReceiveError {
    /// Whether the peer has told how the exchange ended: a fault that can be read.
    pub const fn is_told(&self) -> bool {
        matches!(self, Self::Fault(_))
    }

    /// Whether the service itself has told how the exchange ended: a fault in its own words, of SOAP.
    pub fn is_of_service(&self) -> bool {
        matches!(self, Self::Fault(fault) if !fault.code.to_ascii_lowercase().starts_with("server."))
    }
}

/// A message that comes in.
pub struct Incoming {
    protocol: Protocol,
    source: Box<dyn Arriving>,
    parts: transport::Incoming,
    began: UnixTime,
}

/// A message whose message part is known; what follows it has not been read.
pub struct Head<H> {
    /// What the message part says.
    pub message: H,
    /// OCSP responses that came before it.
    pub ocsp_responses: Vec<Bytes>,
    incoming: Incoming,
}

/// A message that has been received whole.
#[derive(Debug)]
pub struct Received<H> {
    /// What the message part says.
    pub message: H,
    /// OCSP responses that came before it.
    pub ocsp_responses: Vec<Bytes>,
    /// What followed it, sealed: the body of REST, the attachments of SOAP.
    pub attachments: Vec<Attachment>,
    /// Digests of all parts, as they were read.
    pub digests: PartDigests,
    /// The signature, not verified.
    pub signature: SignatureBundle,
    /// When the message began to come in.
    pub began: UnixTime,
}

/// A request from another gateway.
pub type Request = Received<message::Request>;
/// An answer from another gateway.
pub type Answer = Received<Response>;

impl<H> Received<H> {
    /// What a signature is verified with: the digests as read, and the signature as received. Cheap copies, so that
    /// the message itself can be handed to the verification and come back proven.
    pub fn evidence(&self) -> (PartDigests, SignatureBundle) {
        (self.digests.clone(), self.signature.clone())
    }
}

impl AsRef<message::Request> for Request {
    fn as_ref(&self) -> &message::Request {
        &self.message
    }
}

impl Incoming {
    /// Begins to take a message apart. `hash_algorithm` is what the sender says in `x-hash-algorithm`.
    ///
    /// # Errors
    /// [`ReceiveError::HashAlgorithm`], [`ReceiveError::Transport`].
    pub fn new(
        direction: Direction,
        protocol: Protocol,
        content_type: &str,
        hash_algorithm: Option<&str>,
        source: Box<dyn Arriving>,
        began: UnixTime,
    ) -> Result<Self, ReceiveError> {
        let algorithm = hash_algorithm
            .and_then(DigestAlgorithm::from_name)
            .filter(|algorithm| !matches!(algorithm, DigestAlgorithm::Sha1 | DigestAlgorithm::Sha224))
            .ok_or_else(|| ReceiveError::HashAlgorithm(hash_algorithm.map(str::to_owned)))?;
        let parts = transport::Incoming::new(direction, protocol, content_type, algorithm)?;
        Ok(Self { protocol, source, parts, began })
    }

    /// Reads up to the message part of a request.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub async fn request_head(self, beside: Beside) -> Result<Head<message::Request>, ReceiveError> {
        let protocol = self.protocol;
        self.head(|part| message::Request::parse(protocol, part, beside)).await
    }

    /// Reads up to the message part of an answer, which had this content type where it came from.
    ///
    /// # Errors
    /// [`ReceiveError`]; a fault in place of the answer is [`ReceiveError::Fault`].
    pub async fn answer_head(self, content_type: Option<String>) -> Result<Head<Response>, ReceiveError> {
        let protocol = self.protocol;
        self.head(|part| Response::parse(protocol, part, content_type)).await
    }

    async fn head<H>(
        mut self,
        parse: impl FnOnce(Part) -> Result<H, ParseError>,
    ) -> Result<Head<H>, ReceiveError> {
        let mut ocsp_responses = Vec::new();
        loop {
            match self.next().await? {
                Item::OcspResponse(response) => ocsp_responses.push(response),
                Item::Message(part) => {
                    let message = parse(part).map_err(|error| match error {
                        ParseError::Soap(SoapError::Fault(fault)) => ReceiveError::Fault(*fault),
                        error => ReceiveError::Message(error),
                    })?;
                    return Ok(Head { message, ocsp_responses, incoming: self });
                }
                Item::Fault(fault) => return Err(read_fault(&fault)),
                _ => return Err(TransportError::MissingMessage(self.protocol).into()),
            }
        }
    }

    /// The next item, reading on as needed.
    async fn next(&mut self) -> Result<Item, ReceiveError> {
        loop {
            match self.parts.pull()? {
                Item::NeedMore => match self.source.next().await? {
                    Some(chunk) => self.parts.push(chunk),
                    None => return Ok(Item::End),
                },
                item => return Ok(item),
            }
        }
    }
}

impl<H> Head<H> {
    /// Reads the rest: attachments, hash chain, signature, up to the end of the stream.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub async fn read_rest(self, vault: &Vault) -> Result<Received<H>, ReceiveError> {
        let Self { message, ocsp_responses, mut incoming } = self;
        let mut under_way: Option<(PartHead, BodyWriter)> = None;
        let mut attachments = Vec::new();
        let (mut signature, mut hash_chain_result, mut hash_chain) = (None, None, None);
        loop {
            match incoming.next().await? {
                Item::AttachmentBegin(head) => under_way = Some((head, vault.writer()?)),
                Item::AttachmentData(data) => {
                    if let Some((_, writer)) = &mut under_way {
                        writer.write(&data).await?;
                    }
                }
                Item::AttachmentEnd => {
                    if let Some((head, writer)) = under_way.take() {
                        attachments.push(Attachment { head, body: writer.finish().await? });
                    }
                }
                Item::HashChainResult(bytes) => hash_chain_result = Some(bytes),
                Item::HashChain(bytes) => hash_chain = Some(bytes),
                Item::Signature(bytes) => signature = Some(bytes),
                Item::Fault(fault) => return Err(read_fault(&fault)),
                Item::End => break,
                // The order of parts lets neither come here.
                Item::OcspResponse(_) | Item::Message(_) | Item::NeedMore => {}
            }
        }
        // What follows the last part must be read too, or the connection cannot be used again; within the limits.
        while let Some(behind) = incoming.source.next().await? {
            incoming.parts.push(behind);
            incoming.parts.pull()?;
        }
        let Incoming { parts, began, .. } = incoming;
        let digests = parts.finish()?;
        let signature_xml = signature.ok_or(TransportError::MissingSignature)?;
        let signature = SignatureBundle { signature_xml, hash_chain_result, hash_chain };
        Ok(Received { message, ocsp_responses, attachments, digests, signature, began })
    }
}

/// Reads an answer that is a fault as a whole.
///
/// # Errors
/// Always: the fault, or that it cannot be read.
pub async fn whole_fault(mut source: Box<dyn Arriving>) -> ReceiveError {
    let mut whole = bytes::BytesMut::new();
    loop {
        match source.next().await {
            Ok(Some(chunk)) if whole.len() + chunk.len() <= soap::MAX_BYTES => {
                whole.extend_from_slice(&chunk)
            }
            Ok(Some(_)) => return ReceiveError::UnreadableFault,
            Ok(None) => return read_fault(&whole),
            Err(interrupted) => return interrupted.into(),
        }
    }
}

fn read_fault(bytes: &[u8]) -> ReceiveError {
    soap::parse(bytes).map_or(ReceiveError::UnreadableFault, ReceiveError::Fault)
}
