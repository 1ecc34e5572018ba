//! The encodings in which a SOAP message may come: into text, and back again without changing a byte.
//!
//! What counts is what an XML parser sees: the byte-order mark, else the XML declaration, else UTF-8. The `charset` of
//! the `Content-Type` is passed on and otherwise not looked at, as with X-Road.
//!
//! Specification: XML 1.0, 4.3.3 and appendix F. Threat T13: UTF-7 and its like are refused.

use std::borrow::Cow;

use super::SoapError;

/// An encoding, with its byte-order mark where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8 {
        mark: bool,
    },
    /// Also US-ASCII, of which it is a superset: a byte above 0x7f is refused there.
    Latin1,
    Utf16 {
        big: bool,
        mark: bool,
    },
}

impl Charset {
    /// Reads a document as text. A byte-order mark is no part of the text.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, Cow<'_, str>), SoapError> {
        if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
            return Ok((Self::Utf8 { mark: true }, utf8(rest)?));
        }
        for (mark, big) in [(b"\xfe\xff", true), (b"\xff\xfe", false)] {
            if let Some(rest) = bytes.strip_prefix(mark) {
                return Ok((Self::Utf16 { big, mark: true }, utf16(rest, big)?.into()));
            }
        }
        // Without a mark a document in UTF-16 begins with its declaration.
        match bytes {
            [0, b'<', ..] => return Ok((Self::Utf16 { big: true, mark: false }, utf16(bytes, true)?.into())),
            [b'<', 0, ..] => {
                return Ok((Self::Utf16 { big: false, mark: false }, utf16(bytes, false)?.into()));
            }
            _ => {}
        }
        match declared(bytes).map(|name| name.to_ascii_lowercase()).as_deref() {
            None | Some(b"utf-8" | b"utf8") => Ok((Self::Utf8 { mark: false }, utf8(bytes)?)),
            Some(b"us-ascii" | b"ascii") if bytes.is_ascii() => Ok((Self::Latin1, utf8(bytes)?)),
            Some(b"iso-8859-1" | b"iso8859-1" | b"latin1" | b"iso_8859-1") => {
                Ok((Self::Latin1, bytes.iter().map(|&byte| char::from(byte)).collect::<String>().into()))
            }
            Some(_) => Err(SoapError::Encoding),
        }
    }

    /// The bytes of a text that was read so, and changed since.
    pub(crate) fn encode(self, text: &str) -> Result<Vec<u8>, SoapError> {
        Ok(match self {
            Self::Utf8 { mark: false } => text.as_bytes().to_vec(),
            Self::Utf8 { mark: true } => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            Self::Latin1 => {
                let byte = |c| u8::try_from(u32::from(c)).map_err(|_| SoapError::Encoding);
                text.chars().map(byte).collect::<Result<_, _>>()?
            }
            Self::Utf16 { big, mark } => {
                let units = mark.then_some('\u{feff}').into_iter().chain(text.chars());
                let mut pair = [0; 2];
                let mut bytes = Vec::with_capacity(text.len() * 2 + 2);
                for c in units {
                    for unit in c.encode_utf16(&mut pair) {
                        bytes.extend(if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
                    }
                }
                bytes
            }
        })
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, SoapError> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| SoapError::Encoding)
}

fn utf16(bytes: &[u8], big: bool) -> Result<String, SoapError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(SoapError::Encoding);
    }
    let unit = |pair: &[u8; 2]| if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
    let text = char::decode_utf16(pairs.iter().map(unit)).collect::<Result<String, _>>();
    text.map_err(|_| SoapError::Encoding)
}

/// What the XML declaration says of the encoding.
fn declared(bytes: &[u8]) -> Option<&[u8]> {
    let declaration = bytes.strip_prefix(b"<?xml")?;
    let declaration = declaration.get(..memchr::memmem::find(declaration, b"?>")?)?;
    let value = declaration.get(memchr::memmem::find(declaration, b"encoding")? + b"encoding".len()..)?;
    let value = value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (quote, value) = value.split_first()?;
    value.get(..memchr::memchr(*quote, value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(Charset, String), SoapError> {
        Charset::decode(bytes).map(|(charset, text)| (charset, text.into_owned()))
    }

    #[test]
    fn every_encoding_that_x_road_takes_comes_back_byte_for_byte() {
        let utf16 = |big: bool, mark: bool| {
            let charset = Charset::Utf16 { big, mark };
            (charset, charset.encode("<?xml version='1.0' encoding='UTF-16'?><é/>").unwrap())
        };
        let cases = [
            (Charset::Utf8 { mark: false }, "<é/>".as_bytes().to_vec()),
            (Charset::Utf8 { mark: true }, "\u{feff}<é/>".as_bytes().to_vec()),
            (Charset::Latin1, b"<?xml version=\"1.0\" encoding = 'ISO-8859-1'?><\xe9/>".to_vec()),
            (Charset::Latin1, b"<?xml version=\"1.0\" encoding='us-ascii'?><e/>".to_vec()),
            utf16(true, true),
            utf16(false, true),
            utf16(true, false),
            utf16(false, false),
        ];
        for (charset, bytes) in cases {
            let (found, text) = read(&bytes).unwrap();
            assert_eq!(found, charset);
            assert!(text.starts_with('<'), "{text}");
            assert_eq!(found.encode(&text).unwrap(), bytes);
        }
    }

    #[test]
    fn other_encodings_and_broken_ones_are_refused() {
        for bytes in [
            &b"<?xml version='1.0' encoding='UTF-7'?><a/>"[..],
            b"<?xml version='1.0' encoding='windows-1257'?><a/>",
            b"<?xml version='1.0' encoding='us-ascii'?><\xe9/>",
            b"<a>\xe9</a>",
            b"\xfe\xff\0<\0",
            b"\xfe\xff\xd8\0\0<",
        ] {
            assert_eq!(read(bytes).unwrap_err(), SoapError::Encoding);
        }
    }
}
