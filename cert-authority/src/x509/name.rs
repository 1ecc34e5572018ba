//! Distinguished names: DER kept as it came, read once, written as text in the form that XAdES needs.
//!
//! Specification: RFC 5280 §4.1.2.4; RFC 2253 and RFC 4514 (text). [`Name::rfc2253`] writes what Java's
//! `X500Principal.getName()` writes, because signatures of X-Road peers carry that string.
//! Not here: what the attributes mean for a member's identity.

use std::{fmt, hash, str::FromStr, sync::Arc};

use const_oid::ObjectIdentifier;
use der::{Decode, Encode, Tag, Tagged, asn1::Any};
use x509_cert::{attr::AttributeTypeAndValue, name::RdnSequence, name::RelativeDistinguishedName};

use super::{name_text, oid};
use crate::error::PkiError;

/// A distinguished name. Cheap to clone; equal when the DER is equal.
#[derive(Clone)]
pub struct Name(Arc<Inner>);

struct Inner {
    der: Vec<u8>,
    /// In the order of the DER: the most general first.
    rdns: Vec<Vec<Attribute>>,
}

pub(super) struct Attribute {
    pub(super) oid: ObjectIdentifier,
    pub(super) value: Any,
    /// The value as text, where it is of a string type.
    pub(super) text: Option<String>,
}

impl Name {
    /// Reads a DER name.
    ///
    /// # Errors
    /// [`PkiError::Decode`] when it is none, or has bytes behind it.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let failed = |e: der::Error| PkiError::decode("distinguished name", e);
        let rdns = RdnSequence::from_der(der).map_err(failed)?;
        let read = |rdn: &RelativeDistinguishedName| rdn.0.iter().map(Attribute::read).collect();
        Ok(Self(Arc::new(Inner { der: der.to_vec(), rdns: rdns.0.iter().map(read).collect() })))
    }

    /// Makes a name from attributes, the most general (country) first.
    ///
    /// # Errors
    /// [`PkiError::Inspect`] when a value is empty or does not fit the attribute.
    pub fn build(attributes: &[(ObjectIdentifier, &str)]) -> Result<Self, PkiError> {
        let rdns = attributes.iter().map(|(oid, text)| Ok(vec![(*oid, directory_string(*oid, text)?)]));
        Self::from_rdns(rdns.collect::<Result<Vec<_>, PkiError>>()?)
    }

    /// Reads a name in the text form of RFC 4514: the most specific attribute first, as in
    /// `CN=Example CA, O=Example, C=EE`. Short names, dotted object identifiers, escapes, quotes and
    /// `#hex` values are understood; spaces around the parts are not part of them.
    ///
    /// # Errors
    /// [`PkiError::Decode`] with what is wrong with the text.
    pub fn parse_rfc4514(text: &str) -> Result<Self, PkiError> {
        let mut rdns = name_text::parse(text)?
            .into_iter()
            .map(|rdn| {
                rdn.into_iter()
                    .map(|part| match part.value {
                        name_text::Value::Text(text) => Ok((part.oid, directory_string(part.oid, &text)?)),
                        name_text::Value::Der(der) => Any::from_der(&der)
                            .map(|v| (part.oid, v))
                            .map_err(|e| PkiError::decode("name", e)),
                    })
                    .collect::<Result<Vec<_>, PkiError>>()
            })
            .collect::<Result<Vec<_>, PkiError>>()?;
        rdns.reverse();
        Self::from_rdns(rdns)
    }

    fn from_rdns(rdns: Vec<Vec<(ObjectIdentifier, Any)>>) -> Result<Self, PkiError> {
        let failed = |e: der::Error| PkiError::decode("distinguished name", e);
        let rdns = rdns
            .into_iter()
            .map(|rdn| {
                let parts: Vec<_> =
                    rdn.into_iter().map(|(oid, value)| AttributeTypeAndValue { oid, value }).collect();
                parts.try_into().map(RelativeDistinguishedName).map_err(failed)
            })
            .collect::<Result<Vec<_>, PkiError>>()?;
        Self::from_der(&RdnSequence(rdns).to_der().map_err(failed)?)
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The name as Java's `X500Principal.getName()` writes it: the most specific part first, `CN`, `C`, `L`,
    /// `ST`, `O`, `OU`, `STREET`, `DC` and `UID` by name and as text, everything else as `oid=#hex`.
    ///
    /// # Compatibility
    /// BMPString and TeletexString are written as the text they are; Java takes their bytes for UTF-8.
    pub fn rfc2253(&self) -> String {
        name_text::write(&self.0.rdns)
    }

    /// Every attribute of this type that is text, the most general first. Where an identity hangs on an
    /// attribute, look that there is only one.
    pub fn attributes(&self, oid: &ObjectIdentifier) -> impl Iterator<Item = &str> {
        let found = self.0.rdns.iter().flatten().filter(move |a| a.oid == *oid);
        found.filter_map(|a| a.text.as_deref())
    }

    /// The first value of this attribute, counted from the most general.
    pub fn attribute(&self, oid: &ObjectIdentifier) -> Option<&str> {
        self.0.rdns.iter().flatten().find(|a| a.oid == *oid).and_then(|a| a.text.as_deref())
    }

    /// CN.
    pub fn common_name(&self) -> Option<&str> {
        self.attribute(&oid::COMMON_NAME)
    }

    /// O.
    pub fn organization(&self) -> Option<&str> {
        self.attribute(&oid::ORGANIZATION)
    }

    /// C.
    pub fn country(&self) -> Option<&str> {
        self.attribute(&oid::COUNTRY)
    }

    /// serialNumber (of the subject, not of the certificate).
    pub fn serial_number(&self) -> Option<&str> {
        self.attribute(&oid::SERIAL_NUMBER)
    }

    /// businessCategory.
    pub fn business_category(&self) -> Option<&str> {
        self.attribute(&oid::BUSINESS_CATEGORY)
    }

    /// Whether there is no attribute at all.
    pub fn is_empty(&self) -> bool {
        self.0.rdns.is_empty()
    }

    /// Whether both name the same, though the string types, the letter case or runs of spaces may differ
    /// (RFC 5280 §7.1).
    pub fn same_as(&self, other: &Self) -> bool {
        self == other
            || (self.0.rdns.len() == other.0.rdns.len()
                && self
                    .0
                    .rdns
                    .iter()
                    .zip(&other.0.rdns)
                    .all(|(a, b)| a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| x.same_as(y)))))
    }
}

impl Attribute {
    fn read(from: &AttributeTypeAndValue) -> Self {
        Self { oid: from.oid, text: text_of(&from.value), value: from.value.clone() }
    }

    fn same_as(&self, other: &Self) -> bool {
        let plain = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        self.oid == other.oid
            && match (&self.text, &other.text) {
                (Some(a), Some(b)) => plain(a) == plain(b),
                _ => self.value == other.value,
            }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Name {}

impl hash::Hash for Name {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.der.hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc2253())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl FromStr for Name {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        Self::parse_rfc4514(text)
    }
}

fn text_of(value: &Any) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        Tag::TeletexString => Some(bytes.iter().map(|b| char::from(*b)).collect()),
        Tag::BmpString => {
            let pairs = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            if pairs.1.is_empty() { String::from_utf16(&units).ok() } else { None }
        }
        _ => None,
    }
}

/// The value in the string type that the attribute is commonly written in.
fn directory_string(attribute: ObjectIdentifier, text: &str) -> Result<Any, PkiError> {
    let refuse = |why: &str| PkiError::inspect("distinguished name", format!("{attribute} {why}"));
    if text.is_empty() {
        return Err(refuse("is empty"));
    }
    if text.contains('\0') {
        return Err(refuse("holds a NUL character"));
    }
    let printable = text.bytes().all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b));
    let tag = match attribute {
        oid::COUNTRY if !printable => return Err(refuse("must be of printable ASCII characters")),
        oid::COUNTRY => Tag::PrintableString,
        oid::SERIAL_NUMBER if printable => Tag::PrintableString,
        oid::DOMAIN_COMPONENT | oid::EMAIL_ADDRESS if !text.is_ascii() => {
            return Err(refuse("must be of ASCII characters"));
        }
        oid::DOMAIN_COMPONENT | oid::EMAIL_ADDRESS => Tag::Ia5String,
        _ => Tag::Utf8String,
    };
    Any::new(tag, text.as_bytes()).map_err(|e| PkiError::inspect("distinguished name", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DER and what `new X500Principal(der).getName()` of Java 17 says to it.
    const JAVA: &[(&str, &str)] = &[
        (
            "3020311e301c06035504030c1520612c622b6322645c653c663e673b683d69236a20",
            "CN=\\ a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h\\=i\\#j\\ ",
        ),
        (
            "3033310b300906035504030c022378310b300906035504080c025163310b300906035504090c025374310a30080603550407\
             0c014c",
            "L=L,STREET=St,ST=Qc,CN=\\#x",
        ),
        (
            "3049310c300a060355040f0c03474f563110300e06035504610c074e545245452d31310d300b060355040c0c04626f737331\
             0b300906035504040c02736e310b3009060355042a0c02676e",
            "2.5.4.42=#0c02676e,2.5.4.4=#0c02736e,2.5.4.12=#0c04626f7373,2.5.4.97=#0c074e545245452d31,\
             2.5.4.15=#0c03474f56",
        ),
        ("30163114300806035504030c01783008060355040a0c016f", "CN=x+O=o"),
        (
            "30243110300e06035504030c07202074776f20203110300e060355040a0c07610a6200632f64",
            "O=a\nb\\00c/d,CN=\\ \\ two\\ \\ ",
        ),
        ("3000", ""),
        ("300b3109300706035504030c00", "CN="),
    ];

    #[test]
    fn names_are_written_as_java_writes_them() {
        for (der, text) in JAVA {
            let name = Name::from_der(&hex::decode(der).unwrap()).unwrap();
            assert_eq!(name.rfc2253(), *text);
        }
        let serial = Name::build(&[
            (oid::COUNTRY, "EE"),
            (oid::ORGANIZATION, "AS Sertifitseerimiskeskus"),
            (oid::COMMON_NAME, "Kõrge CA"),
            (oid::SERIAL_NUMBER, "10747013"),
        ])
        .unwrap();
        assert_eq!(
            serial.rfc2253(),
            "2.5.4.5=#13083130373437303133,CN=Kõrge CA,O=AS Sertifitseerimiskeskus,C=EE"
        );
        let email = Name::parse_rfc4514("E=pki@sk.ee, UID=uid1, DC=example").unwrap();
        assert_eq!(email.rfc2253(), "1.2.840.113549.1.9.1=#1609706b6940736b2e6565,UID=uid1,DC=example");
    }

    #[test]
    fn text_is_read_back_to_the_same_der() {
        for text in [
            "CN=Recording Root CA,O=Recording PKI,C=EE",
            "CN=\\ a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h\\=i\\#j\\ ,C=EE",
            "2.5.4.5=#13083130373437303133,CN=Kõrge",
            "CN=x+O=o",
        ] {
            let name = Name::parse_rfc4514(text).unwrap();
            assert_eq!(Name::parse_rfc4514(&name.rfc2253()).unwrap(), name, "{text}");
        }
        let spaced = Name::parse_rfc4514(" CN = \"a, b\" , O=o ,C=EE ").unwrap();
        assert_eq!(spaced.common_name(), Some("a, b"));
        assert_eq!(spaced.rfc2253(), "CN=a\\, b,O=o,C=EE");
    }

    #[test]
    fn attributes_are_found_by_their_meaning() {
        let name =
            Name::parse_rfc4514("CN=c,serialNumber=DEMO/ss1/GOV,businessCategory=GOV,O=o,C=FI").unwrap();
        assert_eq!(name.serial_number(), Some("DEMO/ss1/GOV"));
        assert_eq!(name.business_category(), Some("GOV"));
        assert_eq!(name.organization(), Some("o"));
        assert_eq!(name.country(), Some("FI"));
        assert_eq!(name.attribute(&oid::EMAIL_ADDRESS), None);
    }

    #[test]
    fn names_that_differ_in_case_and_spaces_are_the_same_name_but_not_equal() {
        let a = Name::parse_rfc4514("CN=Some  Thing,C=EE").unwrap();
        let b = Name::parse_rfc4514("CN=some thing,C=EE").unwrap();
        assert!(a.same_as(&b) && a != b);
        assert!(!a.same_as(&Name::parse_rfc4514("C=EE,CN=some thing").unwrap()));
    }

    #[test]
    fn broken_names_are_refused() {
        for bad in ["", "CN", "CN=", "=x", "CN=a,", "WHAT=x", "CN=a\\", "CN=a\\z", "CN=\"a", "CN=#zz", "C=Ä"]
        {
            assert!(Name::parse_rfc4514(bad).is_err(), "{bad}");
        }
        let good = hex::decode("30163114300806035504030c01783008060355040a0c016f").unwrap();
        assert!(Name::from_der(&good[..10]).is_err());
        assert!(Name::from_der(&[good, vec![0]].concat()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_value_holds_it_survives_the_text_form(
            common in "[^\\x00]{1,20}", organization in "[ ,+\"\\\\<>;=#a-zé]{1,12}",
        ) {
            let name =
                Name::build(&[(oid::ORGANIZATION, &organization), (oid::COMMON_NAME, &common)]).unwrap();
            proptest::prop_assert_eq!(Name::parse_rfc4514(&name.rfc2253()).unwrap(), name);
        }
    }
}
