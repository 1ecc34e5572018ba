//! A message as it leaves: parts are hashed and sealed for the log while they flow; the signature comes last, and only
//! against the proof that the message is logged.
//!
//! ```text
//! Outgoing::begin ─ ocsp ─ message ─ attachments ──► Streamed ──(sign, log)──► Streamed::release(signature, &Logged)
//! ```
//! [`Streamed::release`] is the commit point of X-Road: until then the peer holds nothing that it could prove.
//! Small messages are held back until then and leave in one piece; of large ones the body is gone by then.
//!
//! Specification: PR-MESSTRANSP 2 and 3; XROAD-FACTS 2.3.

use bytes::{Bytes, BytesMut};
use cert_authority::algorithm::DigestAlgorithm;

use super::attached::{Attachment, Following, Piece, TakeError};
use super::ports::{Gone, Leaving};
use crate::evidence::signature::SignatureBundle;
use crate::message::MessagePart;
use crate::message::digests::{PartDigests, RunningDigests};
use crate::message::multipart::{Boundary, ContentType, PartHead, Writer};
use crate::message::transport::part;
use crate::messagelog::{BodyWriter, LogError, Logged, Vault};

/// What is held back until the signature is there, at most.
const HELD_BACK: usize = 32 * 1024;
/// What a small message needs with its signature: as many wait for theirs as there are exchanges.
const USUAL: usize = 12 * 1024;

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The receiver has gone, or has answered already.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// Where the attachments come from, they broke off, or are none.
    #[error(transparent)]
    Source(#[from] TakeError),
    /// There is no room for an attachment.
    #[error(transparent)]
    Held(#[from] LogError),
}

/// A message that leaves. Dropped before its end, the receiver sees it cut off.
pub struct Outgoing {
    leaving: Option<Box<dyn Leaving>>,
    boundary: Boundary,
    writer: Writer,
    /// Writes the attachments of SOAP.
    nested: Option<Writer>,
    /// Written, not yet handed over.
    pending: BytesMut,
}

impl Outgoing {
    /// Begins a message.
    pub fn begin(leaving: Box<dyn Leaving>, boundary: Boundary) -> Self {
        let pending = BytesMut::with_capacity(USUAL);
        let writer = Writer::new(boundary.clone());
        Self { leaving: Some(leaving), boundary, writer, nested: None, pending }
    }

    /// Puts the OCSP responses for our TLS certificate first.
    pub fn ocsp_responses(&mut self, responses: &[Bytes]) {
        for response in responses {
            self.writer.part(part::OCSP_RESPONSE, response, &mut self.pending);
        }
    }

    /// Sends the message part and what follows it, which is sealed while it flows.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn stream(
        &mut self,
        message: MessagePart<'_>,
        mut following: Following,
        vault: &Vault,
    ) -> Result<Streamed<'_>, SendError> {
        self.pending.extend_from_slice(&self.writer.begin_part(message.content_type, message.headers));
        self.pending.extend_from_slice(message.content);
        let mut digests = RunningDigests::of_message(DigestAlgorithm::Sha512, message.content);
        let mut attachments = Vec::new();
        let mut under_way: Option<(PartHead, BodyWriter)> = None;
        while let Some(piece) = following.next().await? {
            match piece {
                Piece::Begin(head) => {
                    seal(under_way.take(), &mut attachments).await?;
                    digests.end_part();
                    digests.update(b"");
                    under_way = Some((self.begin_attachment(head), vault.writer()?));
                }
                Piece::Data(chunk) => {
                    digests.update(&chunk);
                    if let Some((_, writer)) = &mut under_way {
                        writer.write(&chunk).await?;
                    }
                    self.push(chunk).await?;
                }
            }
        }
        seal(under_way, &mut attachments).await?;
        self.end_attachments();
        Ok(Streamed { outgoing: self, digests: digests.finish(), attachments })
    }

    /// Begins the part of a body, which says nothing of itself, or of an attachment of SOAP, among those that are there.
    fn begin_attachment(&mut self, head: PartHead) -> PartHead {
        let Some(content_type) = &head.content_type else {
            self.pending.extend_from_slice(&self.writer.begin_part(part::REST_BODY, &[]));
            return PartHead { content_type: ContentType::parse(part::REST_BODY).ok(), ..head };
        };
        let Self { boundary, writer, nested, pending, .. } = self;
        let nested = nested.get_or_insert_with(|| {
            let inner = boundary.nested();
            pending.extend_from_slice(&writer.begin_part(&inner.content_type(), &[]));
            // As X-Road begins it.
            pending.extend_from_slice(b"\r\n");
            Writer::new(inner)
        });
        pending.extend_from_slice(&nested.begin_part(content_type.as_str(), &head.headers));
        head
    }

    fn end_attachments(&mut self) {
        if let Some(mut nested) = self.nested.take() {
            self.pending.extend_from_slice(&nested.end());
        }
    }

    /// Ends the message with a fault in the place of the signature.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn fail(&mut self, fault: &[u8]) -> Result<(), Gone> {
        self.end(&[(part::FAULT, fault)]).await
    }

    /// Holds a chunk back while there is little of it; large bodies flow.
    async fn push(&mut self, chunk: Bytes) -> Result<(), Gone> {
        if self.pending.len() + chunk.len() <= HELD_BACK {
            self.pending.extend_from_slice(&chunk);
            return Ok(());
        }
        let leaving = self.leaving.as_mut().ok_or(Gone)?;
        if !self.pending.is_empty() {
            leaving.send(self.pending.split().freeze()).await?;
        }
        leaving.send(chunk).await
    }

    async fn end(&mut self, last: &[(&str, &[u8])]) -> Result<(), Gone> {
        self.end_attachments();
        let leaving = self.leaving.take().ok_or(Gone)?;
        for (media_type, content) in last {
            self.writer.part(media_type, content, &mut self.pending);
        }
        self.pending.extend_from_slice(&self.writer.end());
        leaving.finish(self.pending.split().freeze()).await
    }
}

/// A message whose parts have left, or are about to, and whose signature has not.
pub struct Streamed<'a> {
    outgoing: &'a mut Outgoing,
    /// Digests of all parts.
    pub digests: PartDigests,
    /// What follows the message part, sealed.
    pub attachments: Vec<Attachment>,
}

/// Seals the attachment that was under way.
async fn seal(
    under_way: Option<(PartHead, BodyWriter)>,
    attachments: &mut Vec<Attachment>,
) -> Result<(), LogError> {
    if let Some((head, writer)) = under_way {
        attachments.push(Attachment { head, body: writer.finish().await? });
    }
    Ok(())
}

impl Streamed<'_> {
    /// Sends the signature: the message is the receiver's from now on. Only what is logged may be released.
    ///
    /// # Errors
    /// [`Gone`]; the message is logged all the same.
    pub async fn release<M>(self, signature: &SignatureBundle, _logged: &Logged<M>) -> Result<(), Gone> {
        let mut last: Vec<(&str, &[u8])> = Vec::with_capacity(3);
        if let Some(result) = &signature.hash_chain_result {
            last.push((part::HASH_CHAIN_RESULT, result));
        }
        if let Some(chain) = &signature.hash_chain {
            last.push((part::HASH_CHAIN, chain));
        }
        last.push((part::SIGNATURE, &signature.signature_xml));
        self.outgoing.end(&last).await
    }
}
