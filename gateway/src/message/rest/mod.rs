//! REST messages: the bytes that are signed, and what they say.
//!
//! ```text
//! request                                     response
//! VERB CRLF                                   status CRLF
//! path[?query] CRLF                           reason CRLF
//! Name:Value CRLF …                           Name:Value CRLF …
//! x-road-request-id:<uuid> CRLF               x-road-id, x-road-client, x-road-service,
//! [x-road-id:<id> CRLF]                       x-road-request-id, x-road-request-hash
//! ```
//!
//! No blank line ends a part. Header bytes of 0x80 and above are characters of ISO-8859-1 in HTTP and UTF-8 in
//! the part. Whoever receives a part reads it and never builds it anew: what is verified is what came.
//!
//! - [`RestRequest`], [`RestResponse`]: made from what an information system sent, or read from a part
//! - [`ServicePath`]: the part of the path that rights are decided on
//!
//! Specification: PR-REST 4; XROAD-FACTS of release 7.8. Threats T07, T16, T18, T20.
//! Not here: bodies, which are parts of their own, and whether anybody may do what is asked for.

mod part;
mod path;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use path::{PathHazard, PathRules, ServicePath};
pub use request::{RestRequest, Verb};
pub use response::RestResponse;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cert_authority::crypto::digest_parts;
use conf::error::IdentifierError;

use super::digests::PartDigests;
use crate::fault::Leaf;

/// The longest part that is made or read, in bytes: a head of 64 KiB doubles at most when it becomes UTF-8.
pub const MAX_PART_BYTES: usize = 128 * 1024;

/// The most headers of a part.
pub const MAX_HEADERS: usize = 256;

/// The value of `x-road-request-hash`: what ties an answer to its request.
pub fn request_hash(request: &PartDigests) -> String {
    if request.attachments.is_empty() {
        return request.message.base64();
    }
    let digests: Vec<&[u8]> = request.all().map(AsRef::as_ref).collect();
    STANDARD.encode(digest_parts(request.algorithm, &digests))
}

/// Why a REST message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The method is none that X-Road carries, or not in upper case.
    #[error("the request method is not supported")]
    Verb,
    /// The path does not begin with `/r1/` and five segments.
    #[error("the path does not name a service")]
    PathShape,
    /// A character that may not stand in a request target, or a fragment.
    #[error("the request target holds a character that may not stand there")]
    TargetCharacter,
    /// A `%` that begins no escape.
    #[error("the request target holds a bad percent escape")]
    TargetEscape,
    /// The service path could be read in two ways.
    #[error("{0}")]
    Path(#[from] PathHazard),
    /// `X-Road-Client` is missing.
    #[error("the client identifier is missing")]
    ClientMissing,
    /// `X-Road-Client` stands twice.
    #[error("the client identifier is given more than once")]
    ClientTwice,
    /// An identifier in the path or in a header cannot be read.
    #[error("{field}: {source}")]
    Identifier {
        /// Where it stands.
        field: &'static str,
        /// What is wrong with it.
        source: IdentifierError,
    },
    /// An identifier holds a control character, or one that cannot be seen.
    #[error("the service identifier holds a character that may not stand there")]
    IdentifierCharacter,
    /// `X-Road-Id` is there and empty.
    #[error("the message id is empty")]
    MessageIdEmpty,
    /// A header's name is no token, or a header holds a control character.
    #[error("a header holds a character that may not stand there")]
    HeaderCharacter,
    /// The message is larger than the limits allow.
    #[error("the message head is too large")]
    TooLarge,
    /// A received part is not UTF-8.
    #[error("the message is not UTF-8")]
    NotUtf8,
    /// A received part has a line that is no header, or too few lines.
    #[error("the message has a malformed line")]
    Line,
    /// A received part holds a header that no part may hold.
    #[error("the message holds a header that may not be there: {0}")]
    SkippedHeader(&'static str),
    /// A received part lacks a header that every part has.
    #[error("the message has no {0}")]
    HeaderMissing(&'static str),
    /// The status of an answer is not one of HTTP.
    #[error("the answer has no valid status")]
    Status,
}

impl MessageError {
    /// Its code. Where X-Road answers `internal_error`, so do we.
    pub const fn leaf(&self) -> Leaf {
        match self {
            Self::ClientMissing => Leaf::InvalidClientIdentifier,
            Self::ClientTwice => Leaf::DuplicateHeaderField,
            Self::TooLarge => Leaf::InvalidRequest,
            Self::TargetCharacter
            | Self::TargetEscape
            | Self::Path(_)
            | Self::IdentifierCharacter
            | Self::MessageIdEmpty
            | Self::HeaderCharacter => Leaf::BadRequest,
            Self::Verb
            | Self::PathShape
            | Self::Identifier { .. }
            | Self::NotUtf8
            | Self::Line
            | Self::SkippedHeader(_)
            | Self::HeaderMissing(_)
            | Self::Status => Leaf::InternalError,
        }
    }

    /// The HTTP status towards an information system, where the HTTP request itself is at fault.
    pub const fn http_status(&self) -> Option<u16> {
        match self.leaf() {
            Leaf::BadRequest => Some(400),
            Leaf::InvalidRequest => Some(431),
            _ => None,
        }
    }
}
