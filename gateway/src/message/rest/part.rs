//! The lines of a part: written strictly, read as X-Road reads them.

use bytes::Bytes;

use super::{MAX_HEADERS, MAX_PART_BYTES, MessageError};
use crate::message::text::{is_control, is_token, latin1};

/// Headers in the order received: names and values as HTTP carries them.
pub(super) type Headers = Vec<(Bytes, Bytes)>;

/// Names of the headers that this module reads and writes, as written.
pub(super) mod name {
    pub(in super::super) const CLIENT: &str = "x-road-client";
    pub(in super::super) const SERVICE: &str = "x-road-service";
    pub(in super::super) const MESSAGE_ID: &str = "x-road-id";
    pub(in super::super) const REQUEST_ID: &str = "x-road-request-id";
    pub(in super::super) const REQUEST_HASH: &str = "x-road-request-hash";
    pub(in super::super) const SECURITY_SERVER: &str = "x-road-security-server";
    pub(in super::super) const REPRESENTED_PARTY: &str = "x-road-represented-party";
    pub(in super::super) const USER_ID: &str = "x-road-userid";
    pub(in super::super) const ISSUE: &str = "x-road-issue";
}

/// Headers of one connection or one host: no part holds them.
const SKIPPED: &[&str] = &[
    "transfer-encoding",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "connection",
    "user-agent",
    "host",
    "content-length",
    "server",
    "expect",
];

/// Writes a part line by line.
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub(super) fn new(first: &str, second: &str) -> Self {
        let mut lines = Self(Vec::with_capacity(1024));
        for line in [first, second] {
            lines.0.extend_from_slice(line.as_bytes());
            lines.0.extend_from_slice(b"\r\n");
        }
        lines
    }

    /// Headers of HTTP, but for the skipped and those of the given names.
    pub(super) fn headers(&mut self, headers: &[(Bytes, Bytes)], dropped: &[&str]) {
        for (name, value) in headers {
            let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
            if !SKIPPED.iter().any(is) && !dropped.iter().any(is) {
                self.header(&latin1(name), &latin1(value));
            }
        }
    }

    /// One more header.
    pub(super) fn header(&mut self, name: &str, value: &str) {
        for piece in [name, ":", value, "\r\n"] {
            self.0.extend_from_slice(piece.as_bytes());
        }
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// A part taken apart.
pub(super) struct Taken<'a> {
    pub(super) first: &'a str,
    pub(super) second: &'a str,
    /// As they stand in the part.
    fields: Vec<(&'a str, &'a str)>,
    part: &'a Bytes,
}

impl<'a> Taken<'a> {
    /// Takes a part apart. Lines end at CRLF, LF or CR: whoever signed a part with other line ends has signed
    /// these headers, and no line end can get into a value.
    pub(super) fn apart(part: &'a Bytes) -> Result<Self, MessageError> {
        if part.len() > MAX_PART_BYTES {
            return Err(MessageError::TooLarge);
        }
        let text = std::str::from_utf8(part).map_err(|_| MessageError::NotUtf8)?;
        let mut lines = lines(text);
        let first = lines.next().ok_or(MessageError::Line)?;
        let second = lines.next().ok_or(MessageError::Line)?;
        let fields = lines.map(read_header).collect::<Result<Vec<_>, _>>()?;
        if fields.len() > MAX_HEADERS {
            return Err(MessageError::TooLarge);
        }
        Ok(Self { first, second, fields, part })
    }

    /// The first value of a header.
    pub(super) fn first_value(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The last value of a header: the one that counts for X-Road's own.
    pub(super) fn last_value(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().rfind(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// How often a header stands.
    pub(super) fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count()
    }

    /// The headers as HTTP carries them.
    pub(super) fn headers(&self) -> Headers {
        self.fields
            .iter()
            .map(|(name, value)| (self.part.slice_ref(name.as_bytes()), self.for_http(value)))
            .collect()
    }

    /// Text of the part as bytes of HTTP; nothing is copied where it is ASCII.
    pub(super) fn for_http(&self, text: &str) -> Bytes {
        if text.is_ascii() {
            self.part.slice_ref(text.as_bytes())
        } else {
            text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
        }
    }
}

fn lines(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = rest.split_at(rest.find(['\r', '\n']).unwrap_or(rest.len()));
        rest = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\r', '\n'])).unwrap_or(after);
        Some(line)
    })
}

fn read_header(line: &str) -> Result<(&str, &str), MessageError> {
    let (name, value) = line.split_once(':').ok_or(MessageError::Line)?;
    if !is_token(name) || value.chars().any(is_control) {
        return Err(MessageError::HeaderCharacter);
    }
    match SKIPPED.iter().find(|skipped| name.eq_ignore_ascii_case(skipped)) {
        Some(skipped) => Err(MessageError::SkippedHeader(skipped)),
        None => Ok((name, value)),
    }
}
