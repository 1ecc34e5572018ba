//! What `der` lacks for the protocols here: times with fractions, BER, sets as they came.
//!
//! Specification: X.690 (BER, DER); RFC 5280 4.1.2.5.2; RFC 3161 2.4.2 (fractions of a second).
//!
//! Opaque parts of a structure (to-be-signed data, names, certificates) are `AnyRef`: DER has one encoding, so what is
//! encoded again is what came. Nothing here knows a protocol.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{
    Decode, DecodeValue, Encode, EncodeValue, ErrorKind, FixedTag, Header, Length, Reader, Sequence,
    SliceReader, Tag, Tagged, Writer,
};
use time::{Date, OffsetDateTime, Time};

use crate::clock::UnixTime;
use crate::error::PkiError;

/// An object identifier in dotted form, each arc of 28 bits at most: of one of more than 32 the crate that reads it would
/// keep the last 32, and take it for another; one of more than 28 it reads, and cannot write.
pub(crate) fn read_oid(text: &str) -> Option<ObjectIdentifier> {
    let fits = |arc: &str| arc.parse::<u32>().is_ok_and(|arc| arc < 1 << 28);
    text.split('.').all(fits).then(|| ObjectIdentifier::new(text).ok()).flatten()
}

/// A GeneralizedTime in UTC. Reads fractions of a second (kept to the millisecond), writes whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GeneralizedTime(pub(crate) UnixTime);

impl FixedTag for GeneralizedTime {
    const TAG: Tag = Tag::GeneralizedTime;
}

impl<'a> DecodeValue<'a> for GeneralizedTime {
    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        let text = reader.read_slice(header.length)?;
        parse_time(text).map(Self).ok_or_else(|| Self::TAG.value_error())
    }
}

impl EncodeValue for GeneralizedTime {
    fn value_len(&self) -> der::Result<Length> {
        Ok(Length::new(15))
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        let at = OffsetDateTime::from(self.0);
        let text = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        );
        writer.write(text.as_bytes())
    }
}

/// `YYYYMMDDHHMMSS[.f…]Z`
fn parse_time(text: &[u8]) -> Option<UnixTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let number = |from: usize, to: usize| whole.get(from..to)?.parse::<u8>().ok();
    let month = time::Month::try_from(number(4, 6)?).ok()?;
    let date = Date::from_calendar_date(whole.get(..4)?.parse().ok()?, month, number(6, 8)?).ok()?;
    let millis = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let time = Time::from_hms_milli(number(8, 10)?, number(10, 12)?, number(12, 14)?, millis).ok()?;
    Some(UnixTime::from(date.with_time(time).assume_utc()))
}

/// An X.509 extension, as OCSP and time-stamps carry them too.
#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(crate) struct Extension<'a> {
    pub(crate) id: ObjectIdentifier,
    #[asn1(default = "Default::default")]
    pub(crate) critical: bool,
    pub(crate) value: OctetStringRef<'a>,
}

/// The elements of a constructed value (a SET OF, an implicitly tagged SEQUENCE OF), in the order they came.
pub(crate) fn elements<'a, T: Decode<'a>>(content: &'a [u8]) -> der::Result<Vec<T>> {
    let mut reader = SliceReader::new(content)?;
    let mut all = Vec::new();
    while !reader.is_finished() {
        all.push(reader.decode()?);
    }
    Ok(all)
}

/// The content octets of an INTEGER without leading zeros: two non-negative numbers are equal if these are.
pub(crate) fn magnitude(content: &[u8]) -> &[u8] {
    let zeros = content.iter().take_while(|byte| **byte == 0).count();
    content.get(zeros..).unwrap_or_default()
}

/// An INTEGER's content octets, whatever its length.
pub(crate) fn integer<'a>(any: AnyRef<'a>) -> der::Result<&'a [u8]> {
    any.tag().assert_eq(Tag::Integer)?;
    if any.value().is_empty() { Err(ErrorKind::Length { tag: Tag::Integer }.into()) } else { Ok(any.value()) }
}

/// Non-negative INTEGER content octets of these big-endian bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let magnitude = magnitude(bytes);
    let mut content = Vec::with_capacity(magnitude.len() + 1);
    if magnitude.first().is_none_or(|first| *first >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(magnitude);
    content
}

/// The content octets of a structure, for an implicit tag of one's own.
pub(crate) fn content(value: &impl EncodeValue) -> der::Result<Vec<u8>> {
    let mut content = Vec::new();
    value.encode_value(&mut content)?;
    Ok(content)
}

/// DER of `value`, with `what` named when it cannot be written.
pub(crate) fn encode(what: &'static str, value: &impl Encode) -> Result<Vec<u8>, PkiError> {
    value.to_der().map_err(|error| PkiError::decode(what, error))
}

/// Deepest nesting that is followed in BER.
const MAX_DEPTH: u8 = 16;

/// Turns BER into DER as far as encoders in use need it: indefinite lengths, octet strings in pieces, long length forms.
/// Bytes after the first element are dropped.
///
/// Returns nothing if the bytes are not BER, use tag numbers above 30, or nest deeper than is reasonable.
pub(crate) fn ber_to_der(ber: &[u8]) -> Option<Vec<u8>> {
    let mut der = Vec::with_capacity(ber.len());
    copy_element(ber, &mut der, MAX_DEPTH)?;
    Some(der)
}

/// Copies one element and returns what follows it.
fn copy_element<'a>(ber: &'a [u8], der: &mut Vec<u8>, depth: u8) -> Option<&'a [u8]> {
    let (&tag, rest) = ber.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let constructed = tag & 0x20 != 0;
    if tag & 0x1f == 0x1f || depth == 0 {
        return None;
    }
    let mut content = Vec::new();
    let rest = if first == 0x80 {
        if !constructed {
            return None;
        }
        let mut rest = rest;
        while !rest.starts_with(&[0, 0]) {
            rest = copy_element(rest, &mut content, depth - 1)?;
        }
        rest.get(2..)?
    } else {
        let (length, rest) = read_length(first, rest)?;
        let (mut value, rest) = rest.split_at_checked(length)?;
        if constructed {
            while !value.is_empty() {
                value = copy_element(value, &mut content, depth - 1)?;
            }
        } else {
            content.extend_from_slice(value);
        }
        rest
    };
    const PIECES: u8 = 0x24;
    if tag == PIECES {
        let pieces: Vec<OctetStringRef<'_>> = elements(&content).ok()?;
        let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.as_bytes().iter().copied()).collect();
        write_element(0x04, &joined, der)?;
    } else {
        write_element(tag, &content, der)?;
    }
    Some(rest)
}

fn read_length(first: u8, rest: &[u8]) -> Option<(usize, &[u8])> {
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    let length = bytes.iter().try_fold(0_usize, |length, byte| {
        length.checked_mul(256).map(|length| length | usize::from(*byte))
    })?;
    Some((length, rest))
}

fn write_element(tag: u8, content: &[u8], der: &mut Vec<u8>) -> Option<()> {
    der.push(tag);
    Length::try_from(content.len()).ok()?.encode(der).ok()?;
    der.extend_from_slice(content);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_fractions_and_written_without() {
        let der = b"\x18\x1120260102030405.5Z";
        let time = GeneralizedTime::from_der(der).unwrap();
        assert_eq!(time.0.to_rfc3339(), "2026-01-02T03:04:05.500Z");
        assert_eq!(time.to_der().unwrap(), b"\x18\x0f20260102030405Z");
    }

    #[test]
    fn times_that_are_none_are_refused() {
        for text in
            ["20260102030405", "20261302030405Z", "2026010203040Z", "20260102030405.Z", "20260102030405+0100"]
        {
            assert_eq!(parse_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn indefinite_lengths_and_pieces_become_definite() {
        // SEQUENCE (indefinite) { OCTET STRING (in pieces) { "ab", "c" }, INTEGER 5 }
        let ber = [0x30, 0x80, 0x24, 0x80, 4, 2, b'a', b'b', 4, 1, b'c', 0, 0, 2, 1, 5, 0, 0];
        assert_eq!(ber_to_der(&ber).unwrap(), [0x30, 8, 4, 3, b'a', b'b', b'c', 2, 1, 5]);
    }

    #[test]
    fn ber_that_is_cut_short_or_too_deep_is_refused() {
        assert_eq!(ber_to_der(&[0x30, 0x80, 2, 1, 5]), None);
        assert_eq!(ber_to_der(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(ber_to_der(&[0x30, 0x80].repeat(1000)), None);
    }

    #[test]
    fn unsigned_integers_have_no_superfluous_zeros_and_no_sign() {
        assert_eq!(unsigned(&[0, 0, 0x7f]), [0x7f]);
        assert_eq!(unsigned(&[0x80]), [0, 0x80]);
        assert_eq!(unsigned(&[]), [0]);
    }

    #[test]
    fn an_identifier_with_an_arc_that_is_too_long_is_none_and_not_another() {
        assert_eq!(read_oid("1.3.6.1.5.5.7.3.8"), Some(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8")));
        assert_eq!(read_oid("1.3.6.1.5.5.7.3.4294967304"), None);
        assert_eq!(read_oid("1.2.161614062626262"), None);
        assert_eq!(read_oid("1.2.268435455").unwrap().to_string(), "1.2.268435455");
        assert_eq!(read_oid("1.2.268435456"), None);
        assert_eq!(read_oid("1.2.99999999999999999999999999"), None);
        assert_eq!((read_oid(""), read_oid("1..2"), read_oid("1.-2")), (None, None, None));
    }
}
