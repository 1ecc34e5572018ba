//! What may stand in names and values of headers, and how it is read.
//!
//! Specification: RFC 9110, 5.5 and 5.6.2. Threat T16.

use std::borrow::Cow;

use bytes::Bytes;

/// Whether this is a token: a header's name, a part of a media type.
pub(crate) fn is_token(text: impl AsRef<[u8]>) -> bool {
    let text = text.as_ref();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(allowed)
}

/// Whether this character may stand nowhere in a header: a control character other than the tabulator.
pub(crate) fn is_control(c: char) -> bool {
    c.is_ascii_control() && c != '\t'
}

/// Whether these bytes of HTTP would end a line, and so begin another header.
pub(crate) fn breaks_lines(bytes: impl AsRef<[u8]>) -> bool {
    bytes.as_ref().iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}

/// The value of a header that stands once. Where it stands more often the values are joined (RFC 9110, 5.3): what is no
/// list is then no value at all, and nobody takes the first of two that another reader takes the last of.
pub(crate) fn header(headers: &[(Bytes, Bytes)], name: &str) -> Option<String> {
    let named = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
    let values: Vec<_> = named.map(|(_, value)| String::from_utf8_lossy(value)).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Bytes of HTTP as text: ISO-8859-1, so that every byte is a character.
pub(crate) fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_stands_twice_has_neither_value() {
        let pair = |name: &str, value: &str| {
            (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
        };
        let headers = [pair("A", "1"), pair("B", "2"), pair("a", "3")];
        assert_eq!(header(&headers, "a").as_deref(), Some("1, 3"));
        assert_eq!(header(&headers, "b").as_deref(), Some("2"));
        assert_eq!(header(&headers, "c"), None);
    }
}
