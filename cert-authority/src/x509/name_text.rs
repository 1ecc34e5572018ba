//! Distinguished names as text: the grammar of RFC 4514 in, Java's RFC 2253 form out.

use std::fmt::Write;

use const_oid::ObjectIdentifier;
use der::{Encode, Tag, Tagged};

use super::{name::Attribute, oid};
use crate::asn1;
use crate::error::PkiError;

/// Short names in text that we read, first the ones that are also written.
const KEYWORDS: &[(&str, ObjectIdentifier)] = &[
    ("CN", oid::COMMON_NAME),
    ("C", oid::COUNTRY),
    ("L", oid::LOCALITY),
    ("ST", oid::STATE),
    ("O", oid::ORGANIZATION),
    ("OU", oid::ORGANIZATIONAL_UNIT),
    ("STREET", oid::STREET),
    ("DC", oid::DOMAIN_COMPONENT),
    ("UID", oid::USER_ID),
    ("S", oid::STATE),
    ("SERIALNUMBER", oid::SERIAL_NUMBER),
    ("BUSINESSCATEGORY", oid::BUSINESS_CATEGORY),
    ("ORGANIZATIONIDENTIFIER", oid::ORGANIZATION_IDENTIFIER),
    ("GIVENNAME", oid::GIVEN_NAME),
    ("GN", oid::GIVEN_NAME),
    ("SURNAME", oid::SURNAME),
    ("SN", oid::SURNAME),
    ("TITLE", oid::TITLE),
    ("T", oid::TITLE),
    ("EMAILADDRESS", oid::EMAIL_ADDRESS),
    ("E", oid::EMAIL_ADDRESS),
];
const WRITTEN: usize = 9;

/// One `type=value` of a text.
pub(super) struct Part {
    pub(super) oid: ObjectIdentifier,
    pub(super) value: Value,
}

pub(super) enum Value {
    Text(String),
    Der(Vec<u8>),
}

/// Writes the relative names, which come in the order of the DER, the last first.
pub(super) fn write(rdns: &[Vec<Attribute>]) -> String {
    let mut out = String::new();
    for (i, rdn) in rdns.iter().rev().enumerate() {
        for (j, attribute) in rdn.iter().enumerate() {
            out.push_str(match (i, j) {
                (0, 0) => "",
                (_, 0) => ",",
                _ => "+",
            });
            write_attribute(&mut out, attribute);
        }
    }
    out
}

fn write_attribute(out: &mut String, attribute: &Attribute) {
    let keyword = KEYWORDS.iter().take(WRITTEN).find(|(_, oid)| *oid == attribute.oid);
    // Java takes a NumericString for no string.
    let is_text = attribute.value.tag() != Tag::NumericString;
    match (keyword, &attribute.text) {
        (Some((keyword, _)), Some(text)) if is_text => {
            out.push_str(keyword);
            out.push('=');
            write_escaped(out, text);
        }
        _ => {
            match keyword {
                Some((keyword, _)) => out.push_str(keyword),
                None => out.push_str(&attribute.oid.to_string()),
            }
            let der = attribute.value.to_der().unwrap_or_default();
            let _ = write!(out, "=#{}", hex::encode(der));
        }
    }
}

fn write_escaped(out: &mut String, text: &str) {
    let leading = text.len() - text.trim_start_matches([' ', '\r']).len();
    let trailing = text.trim_end_matches([' ', '\r']).len();
    for (at, c) in text.char_indices() {
        match c {
            '\0' => out.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => out.extend(['\\', c]),
            _ if at < leading || at >= trailing => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
}

/// Reads a text into relative names in the order of the text.
pub(super) fn parse(text: &str) -> Result<Vec<Vec<Part>>, PkiError> {
    let mut reader = Reader { rest: text };
    let mut rdns = vec![vec![reader.part()?]];
    while let Some(separator) = reader.separator()? {
        let part = reader.part()?;
        match rdns.last_mut() {
            Some(rdn) if separator == '+' => rdn.push(part),
            _ => rdns.push(vec![part]),
        }
    }
    Ok(rdns)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// The separator before the next part, or nothing at the end of the text.
    fn separator(&mut self) -> Result<Option<char>, PkiError> {
        match self.next() {
            None => Ok(None),
            Some(c @ (',' | ';' | '+')) => Ok(Some(c)),
            Some(c) => Err(bad(format!("{c:?} stands where a comma is expected"))),
        }
    }

    fn part(&mut self) -> Result<Part, PkiError> {
        let (keyword, rest) = self.rest.split_once('=').ok_or_else(|| bad("an equals sign is missing"))?;
        let keyword = keyword.trim();
        let oid = KEYWORDS
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(keyword))
            .map(|(_, oid)| *oid)
            .or_else(|| asn1::read_oid(keyword.strip_prefix("OID.").unwrap_or(keyword)))
            .ok_or_else(|| bad(format!("{keyword:?} is no known attribute")))?;
        self.rest = rest.trim_start_matches(' ');
        let value = match self.rest.chars().next() {
            Some('#') => self.hex_value()?,
            Some('"') => self.quoted_value()?,
            _ => self.plain_value()?,
        };
        Ok(Part { oid, value })
    }

    fn hex_value(&mut self) -> Result<Value, PkiError> {
        let end = self.rest.find([',', ';', '+']).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        hex::decode(digits.trim().trim_start_matches('#')).map(Value::Der).map_err(bad)
    }

    fn quoted_value(&mut self) -> Result<Value, PkiError> {
        self.next();
        let mut bytes = Vec::new();
        loop {
            match self.next().ok_or_else(|| bad("a quote is not closed"))? {
                '"' => break,
                '\\' => self.escaped(&mut bytes)?,
                c => push(&mut bytes, c),
            }
        }
        self.rest = self.rest.trim_start_matches(' ');
        String::from_utf8(bytes).map(Value::Text).map_err(bad)
    }

    fn plain_value(&mut self) -> Result<Value, PkiError> {
        let mut bytes = Vec::new();
        // Spaces at the end count only when they are escaped.
        let mut end = 0;
        while let Some(c) = self.rest.chars().next().filter(|c| !matches!(c, ',' | ';' | '+')) {
            self.next();
            match c {
                '\\' => self.escaped(&mut bytes)?,
                '"' => return Err(bad("a quote stands inside a value")),
                c => push(&mut bytes, c),
            }
            if c != ' ' {
                end = bytes.len();
            }
        }
        bytes.truncate(end);
        String::from_utf8(bytes).map(Value::Text).map_err(bad)
    }

    /// What follows a backslash: a special character, or two hexadecimal digits that are a byte of UTF-8.
    fn escaped(&mut self, bytes: &mut Vec<u8>) -> Result<(), PkiError> {
        let first = self.next().ok_or_else(|| bad("a backslash stands at the end"))?;
        match (first.to_digit(16), self.rest.chars().next().and_then(|c| c.to_digit(16))) {
            (Some(high), Some(low)) => {
                self.next();
                bytes.push(u8::try_from(high * 16 + low).map_err(bad)?);
            }
            _ if " \"#+,;<=>\\\r".contains(first) => push(bytes, first),
            _ => return Err(bad(format!("\\{first} is no escape"))),
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn bad(reason: impl ToString) -> PkiError {
    PkiError::decode("distinguished name", reason)
}
