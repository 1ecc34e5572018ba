//! What follows a message part: the body of REST, the attachments of SOAP; and a SOAP message as information systems
//! send and get it.
//!
//! ```text
//! from an information system   envelope ──► Part, Following ──► pieces, as they come
//! to an information system     MessagePart, [Attachment] ──► whole ──► content type, bytes
//! ```
//! Nothing is held but the envelope: attachments flow, and where they wait they are sealed.
//!
//! Specification: PR-MESS 2.4; SOAP Messages with Attachments; RFC 2387.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::ports::{Arriving, Interrupted, Resumed, ServiceBody, Wait};
use crate::message::MessagePart;
use crate::message::multipart::{Boundary, ContentType, Event, Limits, Part, PartHead, Reader, Writer};
use crate::message::soap::{MAX_ENVELOPE_BYTES, SoapError, is_envelope};
use crate::message::transport::ATTACHMENT_LIMITS;
use crate::messagelog::SealedBody;

const RELATED: &str = "multipart/related";

/// What a message of an information system may be.
const LIMITS: Limits = Limits { folded: true, ..ATTACHMENT_LIMITS };

/// An attachment that waits, sealed.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The head of its part.
    pub head: PartHead,
    /// Its bytes.
    pub body: SealedBody,
}

/// The next of what follows. An attachment ends where the next one begins.
#[derive(Debug)]
pub enum Piece {
    /// An attachment begins.
    Begin(PartHead),
    /// More of it; never empty.
    Data(Bytes),
}

/// What follows a message part, while it comes.
pub enum Following {
    /// Nothing.
    Nothing,
    /// A body that is there, be it empty.
    Body(Box<dyn Arriving>),
    /// A body that is one only if it has a byte.
    MaybeBody(Box<dyn Arriving>),
    /// A body that has begun.
    Begun(Box<dyn Arriving>),
    /// Attachments.
    Attachments(Box<Reader>, Box<dyn Arriving>),
}

/// Why something cannot be taken from an information system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// It is no SOAP message.
    #[error(transparent)]
    Soap(#[from] SoapError),
    /// It broke off.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Following {
    /// Waits until it is known whether a body has a byte.
    ///
    /// # Errors
    /// [`TakeError::Interrupted`].
    pub async fn settle(self) -> Result<Self, TakeError> {
        match self {
            Self::MaybeBody(mut body) => Ok(match body.next().await? {
                None => Self::Nothing,
                Some(first) => Self::Body(Resumed::boxed(first, body)),
            }),
            settled => Ok(settled),
        }
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// [`TakeError`].
    pub async fn next(&mut self) -> Result<Option<Piece>, TakeError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Body(_) => {
                if let Self::Body(body) = std::mem::replace(self, Self::Nothing) {
                    *self = Self::Begun(body);
                }
                Ok(Some(Piece::Begin(PartHead::default())))
            }
            Self::MaybeBody(_) => {
                *self = std::mem::replace(self, Self::Nothing).settle().await?;
                Box::pin(self.next()).await
            }
            Self::Begun(body) => Ok(body.next().await?.map(Piece::Data)),
            Self::Attachments(reader, source) => loop {
                match event(reader, source).await? {
                    Event::PartHead(head) if head.content_type.is_none() => return Err(untyped().into()),
                    Event::PartHead(head) => return Ok(Some(Piece::Begin(head))),
                    Event::Data(data) => return Ok(Some(Piece::Data(data))),
                    Event::PartEnd => {}
                    Event::End | Event::NeedMore => return Ok(None),
                }
            },
        }
    }
}

/// Takes the envelope of a SOAP message; what follows it is to come.
///
/// # Errors
/// [`TakeError`].
pub async fn envelope(
    content_type: Option<&str>,
    mut source: Box<dyn Arriving>,
) -> Result<(Part, Following), TakeError> {
    let content_type = content_type.ok_or_else(untyped)?;
    let parsed = ContentType::parse(content_type).map_err(SoapError::from)?;
    if is_envelope(parsed.media_type()) {
        let mut content = BytesMut::new();
        while let Some(chunk) = source.next().await? {
            gather(&mut content, &chunk)?;
        }
        return Ok((Part { head: PartHead::of(parsed), content: content.freeze() }, Following::Nothing));
    }
    if parsed.media_type() != RELATED {
        return Err(SoapError::ContentType(parsed.media_type().to_owned()).into());
    }
    let mut reader = Reader::of_type(RELATED, content_type, LIMITS).map_err(SoapError::from)?;
    let Event::PartHead(head) = event(&mut reader, &mut source).await? else {
        return Err(SoapError::Missing.into());
    };
    if head.content_type.is_none() {
        return Err(untyped().into());
    }
    let mut content = BytesMut::new();
    while let Event::Data(data) = event(&mut reader, &mut source).await? {
        gather(&mut content, &data)?;
    }
    let part = Part { head, content: content.freeze() };
    Ok((part, Following::Attachments(Box::new(reader), source)))
}

/// A SOAP message as one body for an information system: its content type, and its bytes. The boundary is our own, so
/// that no attachment can hold it.
pub fn whole(
    part: MessagePart<'_>,
    attachments: &[Attachment],
    original_content_type: &str,
    boundary: &Boundary,
) -> (String, ServiceBody) {
    let original = ContentType::parse(original_content_type).ok();
    let original = original.filter(|original| original.media_type() == RELATED);
    if attachments.is_empty() && original.is_none() {
        let length = u64::try_from(part.content.len()).unwrap_or(u64::MAX);
        let content = Pieces::boxed([Source::Bytes(part.content.clone())]);
        return (part.content_type.to_owned(), ServiceBody { length, content });
    }
    let mut writer = Writer::new(boundary.clone());
    let mut sources = vec![
        Source::Bytes(writer.begin_part(part.content_type, part.headers)),
        Source::Bytes(part.content.clone()),
    ];
    for Attachment { head, body } in attachments {
        let content_type = head.content_type.as_ref().map_or("application/octet-stream", ContentType::as_str);
        sources.push(Source::Bytes(writer.begin_part(content_type, &head.headers)));
        sources.push(Source::Sealed(body.clone()));
    }
    sources.push(Source::Bytes(writer.end()));
    let content_type = original.map_or_else(
        || format!("{RELATED}; type=\"text/xml\"; boundary={}", boundary.as_str()),
        |original| original.with_boundary(boundary),
    );
    let length = sources.iter().map(Source::length).fold(0, u64::saturating_add);
    (content_type, ServiceBody { length, content: Pieces::boxed(sources) })
}

/// A body that is in memory.
pub fn in_memory(content: Bytes) -> Box<dyn Arriving> {
    Pieces::boxed([Source::Bytes(content)])
}

fn untyped() -> SoapError {
    SoapError::ContentType(String::new())
}

fn gather(content: &mut BytesMut, chunk: &[u8]) -> Result<(), SoapError> {
    if content.len() + chunk.len() > MAX_ENVELOPE_BYTES {
        return Err(SoapError::TooLarge("too long"));
    }
    content.extend_from_slice(chunk);
    Ok(())
}

/// The next event, reading on as needed. The end of the bytes before the end of the parts is an error.
async fn event(reader: &mut Reader, source: &mut Box<dyn Arriving>) -> Result<Event, TakeError> {
    loop {
        match reader.pull().map_err(SoapError::from)? {
            Event::NeedMore => match source.next().await? {
                Some(chunk) => reader.push(chunk),
                None => {
                    reader.finish().map_err(SoapError::from)?;
                    return Ok(Event::End);
                }
            },
            Event::End => {
                // What follows the last part must be read too, or the connection cannot be used again.
                match source.next().await? {
                    Some(chunk) => reader.push(chunk),
                    None => return Ok(Event::End),
                }
            }
            event => return Ok(event),
        }
    }
}

/// Bytes one after the other.
struct Pieces(VecDeque<Source>, Option<Box<dyn Arriving>>);

enum Source {
    Bytes(Bytes),
    Sealed(SealedBody),
}

impl Source {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Sealed(body) => body.length(),
        }
    }
}

impl Pieces {
    fn boxed(sources: impl IntoIterator<Item = Source>) -> Box<dyn Arriving> {
        Box::new(Self(sources.into_iter().collect(), None))
    }
}

impl Arriving for Pieces {
    fn next(&mut self) -> Wait<'_, Result<Option<Bytes>, Interrupted>> {
        Box::pin(async {
            loop {
                if let Some(body) = &mut self.1 {
                    if let Some(chunk) = body.next().await? {
                        return Ok(Some(chunk));
                    }
                    self.1 = None;
                }
                match self.0.pop_front() {
                    None => return Ok(None),
                    Some(Source::Bytes(bytes)) if bytes.is_empty() => {}
                    Some(Source::Bytes(bytes)) => return Ok(Some(bytes)),
                    Some(Source::Sealed(body)) => self.1 = Some(ServiceBody::unsealed(&body).content),
                }
            }
        })
    }
}
