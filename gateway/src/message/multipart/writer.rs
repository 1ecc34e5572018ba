//! The framing of a multipart body, byte for byte as X-Road writes it.
//!
//! Specification: PR-MESSTRANSP 3; RFC 2046, 5.1.1.

use bytes::{Bytes, BytesMut};

/// What separates the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// The longest that RFC 2046 allows, in bytes.
    const MAX: usize = 70;

    /// A boundary, if RFC 2046 allows it.
    pub fn new(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let fits = (1..=Self::MAX).contains(&text.len()) && !text.ends_with(' ') && text.bytes().all(allowed);
        fits.then(|| Self(text.to_owned()))
    }

    /// `xtop` and thirty letters, as X-Road writes it, from random bytes: nobody can foresee it, so no body can
    /// hold it.
    pub fn from_random(random: [u8; 30]) -> Self {
        let letter = |byte: u8| match byte % 52 {
            upper @ 0..26 => char::from(b'A' + upper),
            lower => char::from(b'a' + (lower - 26)),
        };
        Self("xtop".chars().chain(random.into_iter().map(letter)).collect())
    }

    /// The boundary of attachments inside a message with this one: `xatt` and the same letters.
    #[must_use]
    pub fn nested(&self) -> Self {
        Self(format!("xatt{}", self.0.strip_prefix("xtop").unwrap_or(&self.0)))
    }

    /// The value of the `Content-Type` header of a body with this boundary.
    pub fn content_type(&self) -> String {
        format!("multipart/mixed; charset=UTF-8; boundary={}", self.0)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives the bytes that stand between, before and after the parts.
#[derive(Debug)]
pub struct Writer {
    boundary: Boundary,
    parts: usize,
}

impl Writer {
    /// A body that has no parts yet.
    pub const fn new(boundary: Boundary) -> Self {
        Self { boundary, parts: 0 }
    }

    /// Begins a part: ends the one before, and writes delimiter and head. The part's bytes follow.
    pub fn begin_part(&mut self, content_type: &str, headers: &[(String, String)]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(256);
        self.head(content_type, headers, &mut bytes);
        bytes.freeze()
    }

    /// Adds a whole part to `out`: for the small ones, it copies the content.
    pub fn part(&mut self, content_type: &str, content: &[u8], out: &mut BytesMut) {
        self.head(content_type, &[], out);
        out.extend_from_slice(content);
    }

    /// Ends the last part and the body.
    pub fn end(&mut self) -> Bytes {
        format!("{}--{}--\r\n", self.line_end(), self.boundary.as_str()).into()
    }

    fn head(&mut self, content_type: &str, headers: &[(String, String)], out: &mut BytesMut) {
        let mut put =
            |pieces: &[&str]| pieces.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
        put(&[self.line_end(), "--", self.boundary.as_str(), "\r\ncontent-type: ", content_type, "\r\n"]);
        for (name, value) in headers {
            put(&[name, ": ", value, "\r\n"]);
        }
        put(&["\r\n"]);
        self.parts += 1;
    }

    /// What ends the part before, if there is one.
    const fn line_end(&self) -> &'static str {
        if self.parts == 0 { "" } else { "\r\n" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_is_that_of_x_road() {
        let mut writer = Writer::new(Boundary::new("xtopA").unwrap());
        assert_eq!(
            Boundary::new("xtopA").unwrap().content_type(),
            "multipart/mixed; charset=UTF-8; boundary=xtopA"
        );
        let mut body = BytesMut::new();
        writer.part("application/ocsp-response", b"DER", &mut body);
        body.extend(writer.begin_part("application/x-road-rest-body", &[]));
        body.extend(b"body");
        body.extend(writer.end());
        let expected = "--xtopA\r\ncontent-type: application/ocsp-response\r\n\r\nDER\r\n\
                        --xtopA\r\ncontent-type: application/x-road-rest-body\r\n\r\nbody\r\n--xtopA--\r\n";
        assert_eq!(std::str::from_utf8(&body), Ok(expected));
    }

    #[test]
    fn a_random_boundary_is_xtop_and_thirty_letters() {
        let mut random = [0; 30];
        random.iter_mut().zip((0..=255).step_by(9)).for_each(|(to, byte)| *to = byte);
        let boundary = Boundary::from_random(random);
        let letters = boundary.as_str().strip_prefix("xtop").unwrap();
        assert_eq!(letters.len(), 30);
        assert!(letters.bytes().all(|byte| byte.is_ascii_alphabetic()));
        assert!(Boundary::new(boundary.as_str()).is_some());
    }
}
