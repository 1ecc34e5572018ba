//! Identifiers of members, subsystems, services, servers and groups.
//!
//! ```text
//! MemberId       EE/GOV/1001                    instance / member class / member code
//! ClientId       EE/GOV/1001[/portal]           a member, or one of its subsystems
//! ServiceId      EE/GOV/1001/portal/records     [/version] only in SOAP and in XML
//! ServerId       EE/GOV/1001/ss1                owner / server code
//! GlobalGroupId  EE/users
//! LocalGroupId   users
//! ```
//!
//! Each has three written forms:
//! - `Display` and `FromStr`, for people and configuration files: segments as they are; only `%`, `/` and
//!   control characters are written as `%XX`, so that a text means one identifier and no log line breaks.
//! - [`ClientId::encoded`] and [`ClientId::parse_encoded`], for headers and paths: percent-encoded segments;
//! - XML: `read_xml`, `write_xml`.
//!
//! What a peer sends may hold nearly any character, as with X-Road. What is registered with us may not:
//! [`ClientId::check_registrable`] says so.
//!
//! Specification: X-Road Message Protocol for REST (PR-REST) 4.1, 4.3; RFC 3986, 3.3; `identifiers.xsd`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use roxmltree::Node;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::IdentifierError;
use crate::xml::{self, Sequence, Writer};

/// A member: an organisation of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    instance: Arc<str>,
    class: Arc<str>,
    code: Arc<str>,
}

impl MemberId {
    /// A member; no part may be blank.
    pub fn new(
        instance: impl Into<Arc<str>>,
        class: impl Into<Arc<str>>,
        code: impl Into<Arc<str>>,
    ) -> Result<Self, IdentifierError> {
        Ok(Self {
            instance: part(INSTANCE, instance)?,
            class: part(CLASS, class)?,
            code: part(MEMBER, code)?,
        })
    }

    /// The code of the instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The member class.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The code of the member in its class.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// One of the member's subsystems.
    pub fn subsystem(&self, code: impl Into<Arc<str>>) -> Result<ClientId, IdentifierError> {
        Ok(ClientId { member: self.clone(), subsystem: Some(part(SUBSYSTEM, code)?) })
    }

    fn parts(&self) -> Vec<Part<'_>> {
        vec![(INSTANCE, &self.instance), (CLASS, &self.class), (MEMBER, &self.code)]
    }

    fn from_parts(parts: &[Cow<'_, str>]) -> Result<Self, IdentifierError> {
        match parts {
            [instance, class, code] => Self::new(&**instance, &**class, &**code),
            _ => Err(count("a member", parts)),
        }
    }

    fn read_sequence(sequence: &mut Sequence<'_, '_>) -> Result<Self, IdentifierError> {
        Self::new(
            &*sequence.required_text("xRoadInstance")?,
            &*sequence.required_text("memberClass")?,
            &*sequence.required_text("memberCode")?,
        )
    }

    fn write_sequence(&self, out: &mut Writer) {
        out.leaf("id:xRoadInstance", &self.instance);
        out.leaf("id:memberClass", &self.class);
        out.leaf("id:memberCode", &self.code);
    }
}

/// A member or one of its subsystems: whoever can ask for a service, or offer one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    member: MemberId,
    subsystem: Option<Arc<str>>,
}

impl ClientId {
    /// The member itself, or the member that the subsystem belongs to.
    pub fn member(&self) -> &MemberId {
        &self.member
    }

    /// The code of the instance.
    pub fn instance(&self) -> &str {
        self.member.instance()
    }

    /// The code of the subsystem.
    pub fn subsystem(&self) -> Option<&str> {
        self.subsystem.as_deref()
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = self.member.parts();
        parts.extend(self.subsystem().map(|code| (SUBSYSTEM, code)));
        parts
    }

    fn from_parts(parts: &[Cow<'_, str>]) -> Result<Self, IdentifierError> {
        match parts {
            [member @ .., subsystem] if member.len() == 3 => {
                MemberId::from_parts(member)?.subsystem(&**subsystem)
            }
            [_, _, _] => MemberId::from_parts(parts).map(Self::from),
            _ => Err(count("a client", parts)),
        }
    }

    /// Reads an element of the type `XRoadClientIdentifierType`.
    pub fn read_xml(element: Node<'_, '_>) -> Result<Self, IdentifierError> {
        let kind = object_type(element)?;
        let mut sequence = Sequence::in_namespace(element, Some(xml::IDENTIFIERS));
        let member = MemberId::read_sequence(&mut sequence)?;
        let subsystem = sequence.optional_text("subsystemCode")?;
        sequence.end()?;
        match (kind, subsystem) {
            ("MEMBER", None) => Ok(member.into()),
            ("SUBSYSTEM", Some(code)) => member.subsystem(&*code),
            ("MEMBER", Some(_)) => Err(IdentifierError::SubsystemRedundant),
            ("SUBSYSTEM", None) => Err(IdentifierError::SubsystemMissing),
            (other, _) => Err(IdentifierError::ObjectType(other.to_owned())),
        }
    }

    pub(crate) fn write_xml(&self, out: &mut Writer, element: &'static str) {
        let kind = if self.subsystem.is_some() { "SUBSYSTEM" } else { "MEMBER" };
        out.start(element, &[("id:objectType", kind)]);
        self.member.write_sequence(out);
        if let Some(code) = self.subsystem() {
            out.leaf("id:subsystemCode", code);
        }
        out.end();
    }
}

impl From<MemberId> for ClientId {
    fn from(member: MemberId) -> Self {
        Self { member, subsystem: None }
    }
}

/// A service of a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId {
    client: ClientId,
    code: Arc<str>,
    version: Option<Arc<str>>,
}

impl ServiceId {
    /// A service; REST services have no version.
    pub fn new(
        client: ClientId,
        code: impl Into<Arc<str>>,
        version: Option<&str>,
    ) -> Result<Self, IdentifierError> {
        let version = version.map(|version| part(VERSION, version)).transpose()?;
        Ok(Self { client, code: part(SERVICE, code)?, version })
    }

    /// Who offers the service.
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// The code of the service.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The version, in SOAP.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = self.client.parts();
        parts.push((SERVICE, &self.code));
        parts.extend(self.version().map(|version| (VERSION, version)));
        parts
    }

    /// As text a service always belongs to a subsystem and has no version: five segments.
    fn from_parts(parts: &[Cow<'_, str>]) -> Result<Self, IdentifierError> {
        match parts {
            [client @ .., code] if client.len() == 4 => {
                Self::new(ClientId::from_parts(client)?, &**code, None)
            }
            _ => Err(count("a service", parts)),
        }
    }

    /// Reads an element of the type `XRoadServiceIdentifierType`.
    pub fn read_xml(element: Node<'_, '_>) -> Result<Self, IdentifierError> {
        expect_object_type(element, "SERVICE")?;
        let mut sequence = Sequence::in_namespace(element, Some(xml::IDENTIFIERS));
        let member = MemberId::read_sequence(&mut sequence)?;
        let client = match sequence.optional_text("subsystemCode")? {
            Some(code) => member.subsystem(&*code)?,
            None => member.into(),
        };
        let code = sequence.required_text("serviceCode")?;
        let version = sequence.optional_text("serviceVersion")?;
        sequence.end()?;
        Self::new(client, &*code, version.as_deref())
    }
}

/// A security server: its owner and its code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    owner: MemberId,
    code: Arc<str>,
}

impl ServerId {
    /// A server of a member.
    pub fn new(owner: MemberId, code: impl Into<Arc<str>>) -> Result<Self, IdentifierError> {
        Ok(Self { owner, code: part(SERVER, code)? })
    }

    /// The member that answers for the server.
    pub fn owner(&self) -> &MemberId {
        &self.owner
    }

    /// The code of the server among its owner's.
    pub fn code(&self) -> &str {
        &self.code
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = self.owner.parts();
        parts.push((SERVER, &self.code));
        parts
    }

    fn from_parts(parts: &[Cow<'_, str>]) -> Result<Self, IdentifierError> {
        match parts {
            [owner @ .., code] if owner.len() == 3 => Self::new(MemberId::from_parts(owner)?, &**code),
            _ => Err(count("a security server", parts)),
        }
    }

    /// Reads an element of the type `XRoadSecurityServerIdentifierType`.
    pub fn read_xml(element: Node<'_, '_>) -> Result<Self, IdentifierError> {
        expect_object_type(element, "SERVER")?;
        let mut sequence = Sequence::in_namespace(element, Some(xml::IDENTIFIERS));
        let owner = MemberId::read_sequence(&mut sequence)?;
        let code = sequence.required_text("serverCode")?;
        sequence.end()?;
        Self::new(owner, &*code)
    }
}

/// A group that the authority of an instance keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GlobalGroupId {
    instance: Arc<str>,
    code: Arc<str>,
}

impl GlobalGroupId {
    /// A group of an instance.
    pub fn new(instance: impl Into<Arc<str>>, code: impl Into<Arc<str>>) -> Result<Self, IdentifierError> {
        Ok(Self { instance: part(INSTANCE, instance)?, code: part(GROUP, code)? })
    }

    /// The code of the instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The code of the group.
    pub fn code(&self) -> &str {
        &self.code
    }

    fn parts(&self) -> Vec<Part<'_>> {
        vec![(INSTANCE, &self.instance), (GROUP, &self.code)]
    }

    fn from_parts(parts: &[Cow<'_, str>]) -> Result<Self, IdentifierError> {
        match parts {
            [instance, code] => Self::new(&**instance, &**code),
            _ => Err(count("a global group", parts)),
        }
    }

    /// Reads an element of the type `XRoadGlobalGroupIdentifierType`.
    pub fn read_xml(element: Node<'_, '_>) -> Result<Self, IdentifierError> {
        expect_object_type(element, "GLOBALGROUP")?;
        let mut sequence = Sequence::in_namespace(element, Some(xml::IDENTIFIERS));
        let instance = sequence.required_text("xRoadInstance")?;
        let code = sequence.required_text("groupCode")?;
        sequence.end()?;
        Self::new(&*instance, &*code)
    }
}

/// A group that a client keeps for its own services.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalGroupId {
    code: Arc<str>,
}

impl LocalGroupId {
    /// A group.
    pub fn new(code: impl Into<Arc<str>>) -> Result<Self, IdentifierError> {
        Ok(Self { code: part(GROUP, code)? })
    }

    /// The code of the group.
    pub fn code(&self) -> &str {
        &self.code
    }

    fn parts(&self) -> Vec<Part<'_>> {
        vec![(GROUP, &self.code)]
    }

    fn from_parts(parts: &[Cow<'_, str>]) -> Result<Self, IdentifierError> {
        match parts {
            [code] => Self::new(&**code),
            _ => Err(count("a local group", parts)),
        }
    }

    /// Reads an element of the type `XRoadLocalGroupIdentifierType`.
    pub fn read_xml(element: Node<'_, '_>) -> Result<Self, IdentifierError> {
        expect_object_type(element, "LOCALGROUP")?;
        let mut sequence = Sequence::in_namespace(element, Some(xml::IDENTIFIERS));
        let code = sequence.required_text("groupCode")?;
        sequence.end()?;
        Self::new(&*code)
    }
}

/// The written forms, the same for all kinds.
macro_rules! written_forms {
    ($($kind:ident),+) => {$(
        impl $kind {
            /// Percent-encoded segments, as in headers and paths.
            pub fn encoded(&self) -> String {
                let segments: Vec<_> = self.parts().into_iter().map(|(_, text)| encode_segment(text)).collect();
                segments.join("/")
            }

            /// Reads percent-encoded segments; the number of segments must be right.
            pub fn parse_encoded(text: &str) -> Result<Self, IdentifierError> {
                let parts: Vec<_> = text.split('/').map(decode_segment).collect::<Result<_, _>>()?;
                Self::from_parts(&parts)
            }

            /// Refuses what X-Road lets pass in messages, but nobody may register: `%`, `:`, `;`, `/`, `\`,
            /// control characters, U+200B and U+FEFF.
            pub fn check_registrable(&self) -> Result<(), IdentifierError> {
                self.parts().into_iter().try_for_each(|(part, text)| match text.chars().find(unregistrable) {
                    None => Ok(()),
                    Some(character) => Err(IdentifierError::NotRegistrable { part, character }),
                })
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (index, (_, text)) in self.parts().into_iter().enumerate() {
                    if index > 0 {
                        f.write_char('/')?;
                    }
                    write_readable(f, text)?;
                }
                Ok(())
            }
        }

        impl FromStr for $kind {
            type Err = IdentifierError;

            fn from_str(text: &str) -> Result<Self, IdentifierError> {
                let parts: Vec<_> = text.split('/').map(unescape).collect::<Result<_, _>>()?;
                Self::from_parts(&parts)
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
            }
        }
    )+};
}

written_forms!(MemberId, ClientId, ServiceId, ServerId, GlobalGroupId, LocalGroupId);

/// Decodes one segment of a path or of an encoded identifier. `%2F` gives a slash inside the segment.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, IdentifierError> {
    match segment.chars().find(|&c| c != '%' && !stays_in_segment(c)) {
        Some(c) => Err(IdentifierError::BadCharacter(c)),
        None => unescape(segment),
    }
}

/// Encodes one segment; letters, digits and ``-._~!$'()*,;&=@:+`` stay.
pub fn encode_segment(segment: &str) -> Cow<'_, str> {
    utf8_percent_encode(segment, SEGMENT_ESCAPED).into()
}

/// A part of an identifier: what it is, and its text.
type Part<'a> = (&'static str, &'a str);

const INSTANCE: &str = "instance";
const CLASS: &str = "member class";
const MEMBER: &str = "member code";
const SUBSYSTEM: &str = "subsystem code";
const SERVICE: &str = "service code";
const VERSION: &str = "service version";
const SERVER: &str = "server code";
const GROUP: &str = "group code";

/// What is escaped in a segment: all but RFC 3986 `pchar`.
const SEGMENT_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';')
    .remove(b'&')
    .remove(b'=')
    .remove(b'@')
    .remove(b':')
    .remove(b'+');

fn stays_in_segment(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$'()*,;&=@:+".contains(c)
}

fn part(name: &'static str, text: impl Into<Arc<str>>) -> Result<Arc<str>, IdentifierError> {
    let text = text.into();
    if text.chars().all(char::is_whitespace) { Err(IdentifierError::Blank(name)) } else { Ok(text) }
}

fn count(kind: &'static str, parts: &[Cow<'_, str>]) -> IdentifierError {
    IdentifierError::SegmentCount { kind, found: parts.len() }
}

fn unregistrable(c: &char) -> bool {
    matches!(c, '%' | ':' | ';' | '/' | '\\' | '\u{200b}' | '\u{feff}') || c.is_control()
}

/// Decodes `%XX`; every `%` must begin one.
fn unescape(segment: &str) -> Result<Cow<'_, str>, IdentifierError> {
    let escapes = segment.as_bytes().split(|&byte| byte == b'%').skip(1);
    for escape in escapes {
        match escape {
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            _ => return Err(IdentifierError::BadEscape),
        }
    }
    percent_decode_str(segment).decode_utf8().map_err(|_| IdentifierError::NotUtf8)
}

/// For people: only what would make two identifiers look alike, or break a line, is escaped.
fn write_readable(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| {
        if matches!(c, '%' | '/') || c.is_control() {
            write!(f, "{}", utf8_percent_encode(c.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC))
        } else {
            f.write_char(c)
        }
    })
}

fn object_type<'a>(element: Node<'a, '_>) -> Result<&'a str, IdentifierError> {
    element.attribute((xml::IDENTIFIERS, "objectType")).ok_or(IdentifierError::NoObjectType)
}

fn expect_object_type(element: Node<'_, '_>, expected: &str) -> Result<(), IdentifierError> {
    let found = object_type(element)?;
    if found == expected { Ok(()) } else { Err(IdentifierError::ObjectType(found.to_owned())) }
}

/// Parses a document whose root is an identifier, and reads it: for tools and tests.
pub fn read_document<T>(
    bytes: &[u8],
    read: impl FnOnce(Node<'_, '_>) -> Result<T, IdentifierError>,
) -> Result<T, IdentifierError> {
    let text = xml::text_of_bytes(bytes)?;
    let document = xml::parse(text)?;
    read(document.root_element())
}
