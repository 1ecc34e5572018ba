//! WSDL 1.1: which services a document describes, and the document with another address.
//!
//! ```text
//! service ─ port ──► binding over HTTP ─ operation        one service of X-Road each:
//!            └ soap:address                └ version      code = name of the operation
//! ```
//!
//! Specification: WSDL 1.1; PR-MESS 2.7 (`version`); PR-META (`getWsdl`). Schemas and imports are not looked at and
//! never fetched; so a binding that stands in another document is an error.
//!
//! # Compatibility
//! As X-Road: ports that are not bound to SOAP over HTTP are passed over, `version` counts in any namespace, and
//! addresses of SOAP 1.2 are left as they are by [`with_address`]. An operation that stands under several ports is taken
//! once, from the first, those of SOAP 1.1 before those of SOAP 1.2; with X-Road it is left to chance.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use roxmltree::{Document, Node};

use super::DescriptionError;
use crate::message::soap::charset::Charset;
use crate::message::xml::{self, Limits, XmlError};

const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
const SOAP_1_1: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const SOAP_1_2: &str = "http://schemas.xmlsoap.org/wsdl/soap12/";
const OVER_HTTP: &str = "http://schemas.xmlsoap.org/soap/http";

/// Generators like to declare a namespace at each element.
const LIMITS: Limits = Limits { nodes: 1_000_000, attributes: 256, namespaces: 10_000, depth: 256 };

/// Operations of all ports together: the same one may stand under many.
const MAX_OPERATIONS: usize = 100_000;

/// A document, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wsdl {
    /// What it describes, in its order.
    pub services: Vec<DescribedService>,
}

/// A service of X-Road: one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedService {
    /// The service code: the name of the operation.
    pub code: String,
    /// Its version.
    pub version: Option<String>,
    /// Where it says it is.
    pub address: Option<String>,
}

/// Reads a document.
///
/// # Errors
/// [`DescriptionError`].
pub fn read(bytes: &[u8]) -> Result<Wsdl, DescriptionError> {
    let (_, text) = decode(bytes)?;
    let document = parse(&text)?;
    let root = definitions(&document)?;
    let ports: Vec<_> = children(root, "service").flat_map(|service| children(service, "port")).collect();
    let bindings: HashMap<_, _> =
        children(root, "binding").filter_map(|binding| Some((binding.attribute("name")?, binding))).collect();
    let mut services = Vec::new();
    let mut seen = HashSet::new();
    let mut steps = 0;
    for soap in [SOAP_1_1, SOAP_1_2] {
        for port in &ports {
            let binding = binding(root, &bindings, *port)?;
            if transport(binding, soap) != Some(OVER_HTTP) {
                continue;
            }
            let address = child(*port, soap, "address").and_then(|address| address.attribute("location"));
            for operation in children(binding, "operation") {
                steps += 1;
                if steps > MAX_OPERATIONS {
                    return Err(DescriptionError::TooInvolved("too many operations".to_owned()));
                }
                let (code, version) = (attribute(operation, "name")?, version(operation));
                if seen.insert((code, version)) {
                    services.push(DescribedService {
                        code: code.to_owned(),
                        version: version.map(str::to_owned),
                        address: address.map(str::to_owned),
                    });
                }
            }
        }
    }
    Ok(Wsdl { services })
}

/// The document with `address` in place of the location of every `soap:address`; every other byte is as it was.
///
/// # Errors
/// [`DescriptionError`].
pub fn with_address(bytes: &[u8], address: &str) -> Result<Vec<u8>, DescriptionError> {
    let (charset, text) = decode(bytes)?;
    let document = parse(&text)?;
    let root = definitions(&document)?;
    let locations: Vec<Range<usize>> = root
        .descendants()
        .filter(|node| node.has_tag_name((SOAP_1_1, "address")))
        .filter_map(|node| node.attribute_node("location"))
        .map(|location| location.range_value())
        .collect();
    let written = escaped(address);
    let mut changed = String::with_capacity(text.len());
    let mut from = 0;
    for location in locations {
        changed.push_str(text.get(from..location.start).unwrap_or_default());
        changed.push_str(&written);
        from = location.end;
    }
    changed.push_str(text.get(from..).unwrap_or_default());
    charset.encode(&changed).map_err(|_unfit| DescriptionError::Encoding)
}

fn decode(bytes: &[u8]) -> Result<(Charset, Cow<'_, str>), DescriptionError> {
    if bytes.len() > super::LIMITS.max_bytes {
        return Err(DescriptionError::TooLarge(super::LIMITS.max_bytes));
    }
    Charset::decode(bytes).map_err(|_unreadable| DescriptionError::Encoding)
}

fn parse(text: &str) -> Result<Document<'_>, DescriptionError> {
    xml::parse(text, &LIMITS).map_err(|error| match error {
        XmlError::DocumentType => DescriptionError::DocumentType,
        XmlError::TooInvolved(what) => DescriptionError::TooInvolved(what.to_owned()),
        XmlError::Malformed(reason) => DescriptionError::Malformed(reason),
    })
}

fn definitions<'a>(document: &'a Document<'a>) -> Result<Node<'a, 'a>, DescriptionError> {
    let root = document.root_element();
    if root.has_tag_name((WSDL, "definitions")) {
        return Ok(root);
    }
    let name = root.tag_name();
    let found = format!("{} of {}", name.name(), name.namespace().unwrap_or("no namespace"));
    Err(DescriptionError::Version { expected: "WSDL 1.1", found })
}

/// The binding that a port names.
fn binding<'a>(
    root: Node<'a, 'a>,
    bindings: &HashMap<&'a str, Node<'a, 'a>>,
    port: Node<'a, 'a>,
) -> Result<Node<'a, 'a>, DescriptionError> {
    let reference = attribute(port, "binding")?;
    let (prefix, name) = match reference.split_once(':') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, reference),
    };
    let namespace = port.lookup_namespace_uri(prefix);
    if prefix.is_some() && namespace.is_none() {
        return Err(DescriptionError::Reference(reference.to_owned()));
    }
    let here = namespace == root.attribute("targetNamespace");
    bindings.get(name).filter(|_| here).copied().ok_or_else(|| {
        let imported = children(root, "import").find(|import| import.attribute("namespace") == namespace);
        match imported {
            Some(import) => DescriptionError::Elsewhere {
                place: format!("the binding {name}"),
                reference: import.attribute("location").unwrap_or("no location").to_owned(),
            },
            None => DescriptionError::Reference(reference.to_owned()),
        }
    })
}

/// The transport of a binding to this version of SOAP.
fn transport<'a>(binding: Node<'a, 'a>, soap: &'static str) -> Option<&'a str> {
    child(binding, soap, "binding")?.attribute("transport")
}

fn version<'a>(operation: Node<'a, 'a>) -> Option<&'a str> {
    let element =
        operation.children().find(|node| node.is_element() && node.tag_name().name() == "version")?;
    element.text().map(str::trim).filter(|text| !text.is_empty())
}

fn children<'a>(parent: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    parent.children().filter(move |node| node.has_tag_name((WSDL, name)))
}

fn child<'a>(parent: Node<'a, 'a>, namespace: &'static str, name: &'static str) -> Option<Node<'a, 'a>> {
    parent.children().find(|node| node.has_tag_name((namespace, name)))
}

fn attribute<'a>(node: Node<'a, 'a>, name: &'static str) -> Result<&'a str, DescriptionError> {
    let missing = || DescriptionError::Malformed(format!("{} without {name}", node.tag_name().name()));
    node.attribute(name).ok_or_else(missing)
}

/// A text as it may stand between quotation marks of either kind.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
