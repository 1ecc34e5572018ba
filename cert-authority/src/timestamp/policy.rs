//! The policy that a token states.
//!
//! Specification: RFC 3161 2.4.1 (TSAPolicyId), X.690 8.19.
//!
//! # Compatibility
//! `const-oid` wants at least three arcs in three octets; X-Road's own samples state 1.2.3, which takes two.

use std::fmt;

use const_oid::ObjectIdentifier;
use der::{DecodeValue, EncodeValue, FixedTag, Header, Length, Reader, Tag, Writer};
use x509_parser::der_parser::Oid;

/// An object identifier of any length.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PolicyId(Vec<u8>);

impl PolicyId {
    /// Whether these content octets are whole arcs, each written the short way.
    fn well_formed(content: &[u8]) -> bool {
        let starts = std::iter::once(None).chain(content.iter().map(Some));
        let padded = starts.zip(content).any(|(before, byte)| {
            let starts_an_arc = before.is_none_or(|before| before & 0x80 == 0);
            starts_an_arc && *byte == 0x80
        });
        !padded && content.last().is_some_and(|last| last & 0x80 == 0)
    }
}

impl From<ObjectIdentifier> for PolicyId {
    fn from(oid: ObjectIdentifier) -> Self {
        Self(oid.as_bytes().to_vec())
    }
}

impl PartialEq<ObjectIdentifier> for PolicyId {
    fn eq(&self, other: &ObjectIdentifier) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Oid::new(self.0.as_slice().into()), f)
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyId({self})")
    }
}

impl FixedTag for PolicyId {
    const TAG: Tag = Tag::ObjectIdentifier;
}

impl<'a> DecodeValue<'a> for PolicyId {
    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        let content = reader.read_slice(header.length)?;
        if Self::well_formed(content) { Ok(Self(content.to_vec())) } else { Err(Self::TAG.value_error()) }
    }
}

impl EncodeValue for PolicyId {
    fn value_len(&self) -> der::Result<Length> {
        self.0.len().try_into()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::{Decode, Encode};

    #[test]
    fn arcs_of_any_number_are_read_and_broken_ones_are_not() {
        let short: &[u8] = &[6, 2, 0x2A, 3];
        let read = PolicyId::from_der(short).unwrap();
        assert_eq!(read.to_string(), "1.2.3");
        assert_eq!(read.to_der().unwrap(), short);
        assert_eq!(read, PolicyId::from_der(short).unwrap());
        let long = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1");
        assert_eq!(PolicyId::from(long), long);
        for broken in [&[6, 0][..], &[6, 2, 0x2A, 0x83], &[6, 3, 0x2A, 0x80, 1], &[6, 2, 0x80, 1], &[4, 1, 1]]
        {
            assert!(PolicyId::from_der(broken).is_err(), "{broken:?}");
        }
    }
}
