//! Multipart bodies between gateways, read and written piece by piece.
//!
//! ```text
//! --xtopAbc CRLF                          delimiter line
//! content-type: application/x CRLF        part head
//! CRLF
//! <the part's bytes, as they are>
//! CRLF --xtopAbc CRLF                     the CRLF before a delimiter belongs to the delimiter
//! …
//! CRLF --xtopAbc-- CRLF                   closing delimiter
//! ```
//!
//! - [`ContentType`]: the one tokenizer of `Content-Type`
//! - [`Reader`]: bytes in, events out; never holds a body, never copies one
//! - [`Writer`]: the framing, byte for byte as X-Road writes it
//!
//! Specification: RFC 2046, 5.1; PR-MESSTRANSP 3. Threats T14 and T15.
//! Not here: which part may follow which ([`super::transport`]).

mod content_type;
mod reader;
mod writer;

pub use content_type::ContentType;
pub use reader::{Event, Limits, Part, PartHead, Reader};
pub use writer::{Boundary, Writer};

use crate::fault::Leaf;

/// Why a multipart body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// `Content-Type` of the whole, or of a part, is not well-formed: an unknown character, a doubled parameter,
    /// an extended one (RFC 2231).
    #[error("the content type is malformed: {0}")]
    ContentType(&'static str),
    /// The whole is of another type.
    #[error("the content type is {0}")]
    OtherType(String),
    /// The boundary is missing, or cannot be one.
    #[error("the content type has no usable boundary")]
    Boundary,
    /// A line begins like a delimiter and goes on otherwise.
    #[error("a delimiter line is malformed")]
    Delimiter,
    /// A line of a part's head is no header, is folded, or holds a control character.
    #[error("a part's header is malformed: {0}")]
    Header(&'static str),
    /// A part's head, or the text around the parts, is longer than the limits allow.
    #[error("{0} too long")]
    TooLong(&'static str),
    /// There are more parts than the limits allow.
    #[error("there are too many parts")]
    TooManyParts,
    /// The body ended before its closing delimiter.
    #[error("the body is cut short")]
    Truncated,
}

impl MultipartError {
    /// Its code.
    pub const fn leaf(&self) -> Leaf {
        match self {
            Self::OtherType(_) | Self::Boundary => Leaf::InvalidContentType,
            Self::ContentType(_)
            | Self::Delimiter
            | Self::Header(_)
            | Self::TooLong(_)
            | Self::TooManyParts
            | Self::Truncated => Leaf::MimeParsingFailed,
        }
    }
}
