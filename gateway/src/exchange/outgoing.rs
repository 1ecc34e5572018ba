//! A message as it leaves: parts are hashed and sealed for the log while they flow; the signature comes last, and only
//! against the proof that the message is logged.
//!
//! ```text
//! Outgoing::begin ─ ocsp ─ message ─ body ──► Streamed ──(sign, log)──► Streamed::release(signature, &Logged)
//! ```
//! [`Streamed::release`] is the commit point of X-Road: until then the peer holds nothing that it could prove.
//! Small messages are held back until then and leave in one piece; of large ones the body is gone by then.
//!
//! Specification: PR-MESSTRANSP 2 and 3; XROAD-FACTS 2.3.

use bytes::{Bytes, BytesMut};
use cert_authority::algorithm::DigestAlgorithm;

use super::ports::{Arriving, Gone, Interrupted, Leaving};
use crate::evidence::signature::SignatureBundle;
use crate::message::digests::{PartDigests, RunningDigests};
use crate::message::multipart::{Boundary, Writer};
use crate::message::transport::part;
use crate::messagelog::{LogError, Logged, SealedBody, Vault};

/// What is held back until the signature is there, at most.
const HELD_BACK: usize = 32 * 1024;

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The receiver has gone, or has answered already.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// Where the body comes from, it broke off.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// There is no room for the body.
    #[error(transparent)]
    Held(#[from] LogError),
}

/// A message that leaves. Dropped before its end, the receiver sees it cut off.
pub struct Outgoing {
    leaving: Option<Box<dyn Leaving>>,
    writer: Writer,
    /// Written, not yet handed over.
    pending: BytesMut,
}

impl Outgoing {
    /// Begins a message.
    pub fn begin(leaving: Box<dyn Leaving>, boundary: Boundary) -> Self {
        let pending = BytesMut::with_capacity(HELD_BACK);
        Self { leaving: Some(leaving), writer: Writer::new(boundary), pending }
    }

    /// Puts the OCSP responses for our TLS certificate first.
    pub fn ocsp_responses(&mut self, responses: &[Bytes]) {
        for response in responses {
            self.pending.extend_from_slice(&self.writer.part(part::OCSP_RESPONSE, response));
        }
    }

    /// Sends the message part and the body, which is sealed while it flows. No body is no part; one without bytes is.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn stream(
        &mut self,
        media_type: &str,
        message: &Bytes,
        body: Option<Box<dyn Arriving>>,
        vault: &Vault,
    ) -> Result<Streamed<'_>, SendError> {
        self.pending.extend_from_slice(&self.writer.part(media_type, message));
        let mut digests = RunningDigests::of_message(DigestAlgorithm::Sha512, message);
        let mut sealed = None;
        if let Some(mut body) = body {
            self.pending.extend_from_slice(&self.writer.begin_part(part::REST_BODY));
            let mut writer = vault.writer()?;
            digests.update(b"");
            while let Some(chunk) = body.next().await? {
                digests.update(&chunk);
                writer.write(&chunk).await?;
                self.push(chunk).await?;
            }
            digests.end_part();
            sealed = Some(writer.finish().await?);
        }
        Ok(Streamed { outgoing: self, digests: digests.finish(), body: sealed })
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
        let mut leaving = self.leaving.take().ok_or(Gone)?;
        for (media_type, content) in last {
            self.pending.extend_from_slice(&self.writer.part(media_type, content));
        }
        self.pending.extend_from_slice(&self.writer.end());
        leaving.send(self.pending.split().freeze()).await?;
        leaving.finish().await
    }
}

/// A message whose parts have left, or are about to, and whose signature has not.
pub struct Streamed<'a> {
    outgoing: &'a mut Outgoing,
    /// Digests of all parts.
    pub digests: PartDigests,
    /// The body, sealed.
    pub body: Option<SealedBody>,
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
