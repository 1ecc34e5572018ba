//! Takes the envelope of a signed directory apart, and splits multiparts. Believes nothing yet.
//!
//! Lines may end with LF alone, as in samples of the original. Folded header lines are refused.

use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};

use crate::error::DirectoryError;
use crate::xml::decode_base64;

/// A real directory has a few kilobytes.
const MAX_BYTES: usize = 1 << 20;

/// A signed directory that nobody has verified: talk to it through [`SignedDirectory::verify`].
#[derive(Debug)]
pub struct SignedDirectory<'a> {
    pub(super) signed: &'a [u8],
    pub(super) inner_boundary: &'a str,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) signature: Vec<u8>,
    pub(super) certificate_hash_algorithm: DigestAlgorithm,
    pub(super) certificate_hash: Vec<u8>,
}

impl<'a> SignedDirectory<'a> {
    /// Takes the envelope apart.
    pub fn read(bytes: &'a [u8]) -> Result<Self, DirectoryError> {
        if bytes.len() > MAX_BYTES {
            return Err(DirectoryError::TooLarge);
        }
        let (headers, body) = Headers::read(bytes)?;
        let Multipart { parts, closed } = split(body, headers.boundary("multipart/related")?)?;
        let mut parts = parts.into_iter();
        let (signed_headers, signed) = Headers::read(parts.next().ok_or(DirectoryError::MissingSignedData)?)?;
        let (headers, signature) = Headers::read(parts.next().ok_or(DirectoryError::MissingSignature)?)?;
        if parts.next().is_some() {
            return Err(DirectoryError::Framing("more than two parts"));
        }
        if !closed {
            return Err(DirectoryError::Framing("not closed"));
        }
        headers.expect_base64_content()?;
        let uri = headers.required("Signature-Algorithm-Id")?;
        let algorithm =
            SignatureAlgorithm::from_uri(uri).ok_or_else(|| wrong("Signature-Algorithm-Id", uri))?;
        let hash = headers.required("Verification-certificate-hash")?;
        let (certificate_hash, parameter) =
            hash.split_once(';').ok_or_else(|| wrong("Verification-certificate-hash", hash))?;
        let hash_algorithm = value_of(parameter, "hash-algorithm-id")
            .and_then(strong_digest)
            .ok_or_else(|| wrong("Verification-certificate-hash", hash))?;
        Ok(Self {
            signed,
            inner_boundary: signed_headers.boundary("multipart/mixed")?,
            algorithm,
            signature: base64(signature, "signature")?,
            certificate_hash_algorithm: hash_algorithm,
            certificate_hash: decode_base64(certificate_hash)
                .ok_or(DirectoryError::NotBase64("verification certificate hash"))?,
        })
    }
}

/// Collisions of SHA-1 can be made: whoever signs could have signed two files at once.
pub(super) fn strong_digest(uri: &str) -> Option<DigestAlgorithm> {
    DigestAlgorithm::from_uri(uri).filter(|algorithm| *algorithm != DigestAlgorithm::Sha1)
}

pub(super) fn wrong(name: &'static str, value: &str) -> DirectoryError {
    DirectoryError::WrongHeader { name, value: value.to_owned() }
}

pub(super) fn base64(bytes: &[u8], what: &'static str) -> Result<Vec<u8>, DirectoryError> {
    std::str::from_utf8(bytes).ok().and_then(decode_base64).ok_or(DirectoryError::NotBase64(what))
}

/// The value of a parameter such as `boundary=x` or `instance='x'`, without its quotes.
pub(super) fn value_of<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let value = parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })?;
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .or(Some(value))
        .filter(|value| !value.is_empty())
}

/// The headers of one part.
pub(super) struct Headers<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Headers<'a> {
    /// The headers, and what follows the blank line after them.
    pub(super) fn read(part: &'a [u8]) -> Result<(Self, &'a [u8]), DirectoryError> {
        let mut headers = Vec::new();
        let mut rest = part;
        loop {
            let (line, after) = match rest.iter().position(|&byte| byte == b'\n') {
                Some(end) => rest.split_at_checked(end + 1).unwrap_or((rest, &[])),
                None => (rest, [].as_slice()),
            };
            rest = after;
            let line =
                std::str::from_utf8(line).map_err(|_| DirectoryError::Framing("a header is not UTF-8"))?;
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                return Ok((Self(headers), rest));
            }
            match line.split_once(':') {
                Some((name, value)) if !name.contains(char::is_whitespace) => {
                    headers.push((name, value.trim()))
                }
                _ => return Err(DirectoryError::Framing("a header line has no name")),
            }
        }
    }

    pub(super) fn optional(&self, name: &'static str) -> Result<Option<&'a str>, DirectoryError> {
        let mut values = self.0.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(DirectoryError::RepeatedHeader(name)),
            (value, None) => Ok(value.map(|(_, value)| *value)),
        }
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&'a str, DirectoryError> {
        let value = self.optional(name)?.filter(|value| !value.is_empty());
        value.ok_or(DirectoryError::MissingHeader(name))
    }

    pub(super) fn expect_base64_content(&self) -> Result<(), DirectoryError> {
        self.expect("Content-Type", "application/octet-stream")?;
        self.expect("Content-Transfer-Encoding", "base64")
    }

    fn expect(&self, name: &'static str, value: &str) -> Result<(), DirectoryError> {
        let found = self.required(name)?;
        if found.eq_ignore_ascii_case(value) { Ok(()) } else { Err(wrong(name, found)) }
    }

    fn boundary(&self, media_type: &str) -> Result<&'a str, DirectoryError> {
        let value = self.required("Content-Type")?;
        let (found, parameters) = value.split_once(';').unwrap_or((value, ""));
        let boundary = value_of(parameters, "boundary").filter(|boundary| boundary.len() <= 70);
        match boundary {
            Some(boundary) if found.trim().eq_ignore_ascii_case(media_type) => Ok(boundary),
            _ => Err(wrong("Content-Type", value)),
        }
    }
}

/// The parts of a multipart.
pub(super) struct Multipart<'a> {
    pub(super) parts: Vec<&'a [u8]>,
    /// Whether the closing delimiter was there.
    pub(super) closed: bool,
}

/// Splits a multipart. The line break before a delimiter belongs to the delimiter.
pub(super) fn split<'a>(body: &'a [u8], boundary: &str) -> Result<Multipart<'a>, DirectoryError> {
    let mut multipart = Multipart { parts: Vec::new(), closed: false };
    let mut start = None;
    let mut position = 0;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let next = position + line.len();
        if let Some(closing) = delimiter(line, boundary) {
            if let Some(start) = start.replace(next) {
                let part = body.get(start..position).unwrap_or_default();
                let part = part.strip_suffix(b"\n").unwrap_or(part);
                multipart.parts.push(part.strip_suffix(b"\r").unwrap_or(part));
            }
            if closing {
                multipart.closed = true;
                return Ok(multipart);
            }
        }
        position = next;
    }
    match start {
        None => Err(DirectoryError::Framing("no delimiter")),
        Some(start) => {
            multipart.parts.push(body.get(start..).unwrap_or_default());
            Ok(multipart)
        }
    }
}

/// Whether a line is a delimiter, and if so whether the closing one.
fn delimiter(line: &[u8], boundary: &str) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary.as_bytes())?;
    match rest.trim_ascii_end() {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}
