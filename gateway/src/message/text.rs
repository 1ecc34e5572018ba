//! What may stand in names and values of headers.
//!
//! Specification: RFC 9110, 5.5 and 5.6.2. Threat T16.

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
