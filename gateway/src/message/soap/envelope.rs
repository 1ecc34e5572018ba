//! Reading an envelope: well-formed, of the right shape, and what its header says.
//!
//! # Compatibility
//! As X-Road: fields in any order, fields of other namespaces are left alone, the body's element must begin with the
//! code of the service. Stricter: content is included (XOP) from attachments only; what stands in an identifier stands in the order of its schema, and elements outside
//! of header and body are refused, as is text where only elements belong.

use std::borrow::Cow;

use conf::error::IdentifierError;
use conf::identifier::{ClientId, ServerId, ServiceId};
use roxmltree::{Document, Node};

use super::charset::Charset;
use super::{MAX_ENVELOPE_BYTES, SoapError, is_envelope};
use crate::fault::soap;
use crate::message::header::{MessageHeader, RepresentedParty};
use crate::message::multipart::Part;
use crate::message::xml::{self, Limits, XmlError};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(super) const XROAD: &str = "http://x-road.eu/xsd/xroad.xsd";
const XOP: &str = "http://www.w3.org/2004/08/xop/include";
const REPRESENTATION: &str = "http://x-road.eu/xsd/representation.xsd";

const LIMITS: Limits = Limits { nodes: 1_000_000, attributes: 256, namespaces: 1000, depth: 256 };

/// An envelope, read.
pub(super) struct Envelope {
    pub(super) header: MessageHeader,
    /// In base64.
    pub(super) request_hash: Option<String>,
}

/// Reads an envelope.
pub(super) fn read(part: &Part) -> Result<Envelope, SoapError> {
    let media_type = part.head.media_type();
    if !is_envelope(media_type) {
        return Err(SoapError::ContentType(media_type.to_owned()));
    }
    let (_, text) = text(&part.content)?;
    let document = parse(&text)?;
    let root = root(&document)?;
    refuse_fault(root, part)?;
    let envelope = read_header(header(root)?)?;
    refuse_external(root)?;
    let body = child(root, SOAP, "Body")?;
    let mut elements = body.ok_or(SoapError::NoBody)?.children().filter(Node::is_element);
    let (Some(asked), None) = (elements.next(), elements.next()) else { return Err(SoapError::Body) };
    if asked.tag_name().name().starts_with(envelope.header.service.code()) {
        Ok(envelope)
    } else {
        Err(SoapError::OtherService)
    }
}

/// The text of a document that is not too long.
pub(super) fn text(content: &[u8]) -> Result<(Charset, Cow<'_, str>), SoapError> {
    if content.len() > MAX_ENVELOPE_BYTES {
        return Err(SoapError::TooLarge("too long"));
    }
    Charset::decode(content)
}

/// Parses a document; refuses one that would keep the parser busy before it is parsed.
pub(super) fn parse(text: &str) -> Result<Document<'_>, SoapError> {
    xml::parse(text, &LIMITS).map_err(|error| match error {
        XmlError::DocumentType => SoapError::NotXml("a document type is not allowed".to_owned()),
        XmlError::TooInvolved(what) => SoapError::TooLarge(what),
        XmlError::Malformed(reason) => SoapError::NotXml(reason),
    })
}

/// The envelope of a document.
pub(super) fn root<'a>(document: &'a Document<'a>) -> Result<Node<'a, 'a>, SoapError> {
    let root = document.root_element();
    if root.has_tag_name((SOAP, "Envelope")) { Ok(root) } else { Err(SoapError::NoEnvelope) }
}

/// A fault is no message.
pub(super) fn refuse_fault(root: Node<'_, '_>, part: &Part) -> Result<(), SoapError> {
    let mut bodies = root.children().filter(|node| node.has_tag_name((SOAP, "Body")));
    if !bodies.any(|body| body.children().any(|node| node.has_tag_name((SOAP, "Fault")))) {
        return Ok(());
    }
    let fault = soap::parse(&part.content).map_err(|error| SoapError::NotXml(error.to_string()))?;
    Err(SoapError::Fault(Box::new(fault)))
}

/// What a message includes travels with it: nobody is to be led to fetch it from elsewhere.
fn refuse_external(root: Node<'_, '_>) -> Result<(), SoapError> {
    let mut included = root.descendants().filter(|node| node.has_tag_name((XOP, "Include")));
    let travels = |node: Node<'_, '_>| node.attribute("href").is_some_and(|href| href.starts_with("cid:"));
    if included.all(travels) { Ok(()) } else { Err(SoapError::External) }
}

/// The header of an envelope.
pub(super) fn header<'a>(root: Node<'a, 'a>) -> Result<Node<'a, 'a>, SoapError> {
    child(root, SOAP, "Header")?.ok_or(SoapError::NoHeader)
}

/// A child of this name, which stands there once at most.
pub(super) fn child<'a>(
    parent: Node<'a, 'a>,
    namespace: &str,
    name: &'static str,
) -> Result<Option<Node<'a, 'a>>, SoapError> {
    let mut found = parent.children().filter(|node| node.has_tag_name((namespace, name)));
    let first = found.next();
    if found.next().is_some() { Err(SoapError::FieldTwice(name)) } else { Ok(first) }
}

fn read_header(header: Node<'_, '_>) -> Result<Envelope, SoapError> {
    if child(header, XROAD, "centralService")?.is_some() {
        return Err(SoapError::CentralService);
    }
    let field = |name| child(header, XROAD, name);
    let text = |name| field(name).map(|found| found.map(content));
    let identifier =
        |field| move |error: IdentifierError| SoapError::Field { field, reason: error.to_string() };

    let version = text("protocolVersion")?.ok_or(SoapError::FieldMissing("protocolVersion"))?;
    if !version.starts_with("4.") {
        return Err(SoapError::ProtocolVersion(version));
    }
    let client = field("client")?.map(ClientId::read_xml).transpose().map_err(identifier("client"))?;
    let service = field("service")?.map(ServiceId::read_xml).transpose().map_err(identifier("service"))?;
    let security_server = field("securityServer")?.map(ServerId::read_xml).transpose();
    let header = MessageHeader {
        client: client.ok_or(SoapError::FieldMissing("client"))?,
        message_id: text("id")?.ok_or(SoapError::FieldMissing("id"))?,
        service: service.ok_or(SoapError::FieldMissing("service"))?,
        user_id: text("userId")?,
        issue: text("issue")?,
        represented_party: child(header, REPRESENTATION, "representedParty")?
            .map(represented_party)
            .transpose()?,
        security_server: security_server.map_err(identifier("securityServer"))?,
    };
    if header.message_id.is_empty() {
        return Err(SoapError::FieldMissing("id"));
    }
    let seen = [Some(&header.message_id), header.user_id.as_ref(), header.issue.as_ref()];
    if seen.into_iter().flatten().any(|value| value.chars().any(|c| c.is_control() && !c.is_whitespace())) {
        return Err(SoapError::Field { field: "header", reason: "a control character".to_owned() });
    }
    Ok(Envelope { header, request_hash: text("requestHash")? })
}

fn represented_party(party: Node<'_, '_>) -> Result<RepresentedParty, SoapError> {
    let code = child(party, REPRESENTATION, "partyCode")?.ok_or(SoapError::FieldMissing("partyCode"))?;
    Ok(RepresentedParty {
        class: child(party, REPRESENTATION, "partyClass")?.map(content),
        code: content(code),
    })
}

/// The text of an element, of all its pieces.
fn content(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|text| text.text()).collect()
}
