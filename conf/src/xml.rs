//! The little XML that configurations need: reading elements in the order of a schema, writing escaped text.
//!
//! Specification: XML 1.0, the schemas of X-Road 7.8 (all of them are sequences of unqualified elements in a
//! root of the namespace `http://x-road.eu/xsd/xroad.xsd`).
//!
//! Not here: canonical XML and signatures; no document type declaration is ever accepted. The parser and our
//! readers do not recurse into a document, so its depth costs nothing; its length is limited.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::{Children, Document, Node, ParsingOptions};

use crate::error::XmlError;

/// Namespace of the root elements.
pub(crate) const XROAD: &str = "http://x-road.eu/xsd/xroad.xsd";
/// Namespace of identifiers, of their parts and of `objectType`.
pub(crate) const IDENTIFIERS: &str = "http://x-road.eu/xsd/identifiers";

/// A configuration of 10,000 members has 4 MB; this leaves room for the largest country.
pub(crate) const MAX_BYTES: usize = 128 << 20;
/// As many nodes as [`MAX_BYTES`] of the shortest real elements have.
const MAX_NODES: u32 = 8 << 20;

/// Bytes as text, without a byte order mark.
pub(crate) fn text_of_bytes(bytes: &[u8]) -> Result<&str, XmlError> {
    if bytes.len() > MAX_BYTES {
        return Err(XmlError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Parses a document.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, XmlError> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => XmlError::Doctype,
        roxmltree::Error::NodesLimitReached | roxmltree::Error::AttributesLimitReached => XmlError::TooLarge,
        other => XmlError::Syntax(other.to_string()),
    })?;
    // The parser lets an empty declaration pass.
    let prolog = text.get(..document.root_element().range().start).unwrap_or_default();
    if prolog.contains("<!DOCTYPE") { Err(XmlError::Doctype) } else { Ok(document) }
}

/// The root element, which must have this name in X-Road's namespace.
pub(crate) fn root<'a, 'input>(
    document: &'a Document<'input>,
    name: &str,
) -> Result<Node<'a, 'input>, XmlError> {
    let root = document.root_element();
    if root.tag_name().name() == name && root.tag_name().namespace() == Some(XROAD) {
        Ok(root)
    } else {
        Err(XmlError::Root(root.tag_name().name().to_owned()))
    }
}

/// The child elements of an element, taken in the order in which its schema lists them.
pub(crate) struct Sequence<'a, 'input> {
    parent: Node<'a, 'input>,
    namespace: Option<&'static str>,
    rest: Children<'a, 'input>,
    next: Option<Node<'a, 'input>>,
}

impl<'a, 'input> Sequence<'a, 'input> {
    /// Children without a namespace, as everywhere but in identifiers.
    pub(crate) fn of(parent: Node<'a, 'input>) -> Self {
        Self::in_namespace(parent, None)
    }

    /// Children of one namespace.
    pub(crate) fn in_namespace(parent: Node<'a, 'input>, namespace: Option<&'static str>) -> Self {
        let mut rest = parent.children();
        let next = rest.find(Node::is_element);
        Self { parent, namespace, rest, next }
    }

    /// The next element if it has this name.
    pub(crate) fn optional(&mut self, name: &str) -> Option<Node<'a, 'input>> {
        let node = self.next?;
        if node.tag_name().name() != name || node.tag_name().namespace() != self.namespace {
            return None;
        }
        self.next = self.rest.find(Node::is_element);
        Some(node)
    }

    /// The next element, which must have this name.
    pub(crate) fn required(&mut self, name: &'static str) -> Result<Node<'a, 'input>, XmlError> {
        self.optional(name).ok_or_else(|| XmlError::Missing { missing: name, parent: tag(self.parent) })
    }

    /// The text of the next element if it has this name.
    pub(crate) fn optional_text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, XmlError> {
        self.optional(name).map(text).transpose()
    }

    /// The text of the next element, which must have this name.
    pub(crate) fn required_text(&mut self, name: &'static str) -> Result<Cow<'a, str>, XmlError> {
        self.required(name).and_then(text)
    }

    /// No element is left.
    pub(crate) fn end(self) -> Result<(), XmlError> {
        match self.next {
            None => Ok(()),
            Some(node) => Err(XmlError::Unexpected { element: tag(node), parent: tag(self.parent) }),
        }
    }
}

/// The name of an element, for messages.
pub(crate) fn tag(node: Node<'_, '_>) -> String {
    node.tag_name().name().to_owned()
}

/// The whole text of an element that has no child elements. Comments divide text: all pieces count.
pub(crate) fn text<'a>(node: Node<'a, '_>) -> Result<Cow<'a, str>, XmlError> {
    let mut whole = Cow::Borrowed("");
    for child in node.children() {
        if child.is_element() {
            return Err(XmlError::Unexpected { element: tag(child), parent: tag(node) });
        }
        match child.text() {
            Some(piece) if child.is_text() && whole.is_empty() => whole = Cow::Borrowed(piece),
            Some(piece) if child.is_text() => whole.to_mut().push_str(piece),
            _ => {}
        }
    }
    Ok(whole)
}

/// Text of the type `base64Binary`, which may be broken into lines.
pub(crate) fn base64(node: Node<'_, '_>) -> Result<Vec<u8>, XmlError> {
    let text = text(node)?;
    decode_base64(&text).ok_or_else(|| wrong_value(node, "not base64"))
}

/// Base64 with white space anywhere.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let compact: Cow<'_, str> = if text.contains(|c: char| c.is_ascii_whitespace()) {
        Cow::Owned(text.split_ascii_whitespace().collect())
    } else {
        Cow::Borrowed(text)
    };
    STANDARD.decode(compact.as_bytes()).ok()
}

/// Text of a type that Rust can read: integers.
pub(crate) fn number<T: std::str::FromStr>(node: Node<'_, '_>) -> Result<T, XmlError> {
    text(node)?.trim().parse().map_err(|_| wrong_value(node, "not a number in range"))
}

/// Text of the type `boolean`.
pub(crate) fn boolean(node: Node<'_, '_>) -> Result<bool, XmlError> {
    match text(node)?.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong_value(node, "neither true nor false")),
    }
}

/// An error that names the element.
pub(crate) fn wrong_value(node: Node<'_, '_>, reason: &str) -> XmlError {
    XmlError::Value { element: tag(node), reason: reason.to_owned() }
}

/// Writes a document, indented; every text and attribute is escaped.
pub(crate) struct Writer {
    out: String,
    open: Vec<&'static str>,
}

impl Writer {
    /// A document with this root (`ns:` is bound to X-Road's namespace, `id:` to that of identifiers).
    pub(crate) fn document(root: &'static str) -> Self {
        let mut writer = Self {
            out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>"),
            open: Vec::new(),
        };
        writer.start(root, &[("xmlns:ns", XROAD), ("xmlns:id", IDENTIFIERS)]);
        writer
    }

    /// Opens an element.
    pub(crate) fn start(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.open.push(name);
    }

    /// Closes the element that was opened last.
    pub(crate) fn end(&mut self) {
        if let Some(name) = self.open.pop() {
            self.line();
            // Writing to a String cannot fail.
            let _ = write!(self.out, "</{name}>");
        }
    }

    /// An element with text.
    pub(crate) fn leaf(&mut self, name: &'static str, text: &str) {
        self.tag(name, &[]);
        self.escaped(text, false);
        let _ = write!(self.out, "</{name}>");
    }

    /// An element with binary content.
    pub(crate) fn base64(&mut self, name: &'static str, bytes: &[u8]) {
        self.tag(name, &[]);
        STANDARD.encode_string(bytes, &mut self.out);
        let _ = write!(self.out, "</{name}>");
    }

    /// Closes what is open and gives the document.
    pub(crate) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out.push('\n');
        self.out
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.line();
        self.out.push('<');
        self.out.push_str(name);
        for (attribute, value) in attributes {
            let _ = write!(self.out, " {attribute}=\"");
            self.escaped(value, true);
            self.out.push('"');
        }
        self.out.push('>');
    }

    fn line(&mut self) {
        self.out.push('\n');
        for _ in &self.open {
            self.out.push_str("    ");
        }
    }

    /// Carriage returns (and in attributes all white space but the blank) would not survive a parser
    /// unless written as references. Characters that XML cannot hold become U+FFFD.
    fn escaped(&mut self, text: &str, attribute: bool) {
        for c in text.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' if attribute => self.out.push_str("&quot;"),
                '\r' => self.out.push_str("&#13;"),
                '\n' if attribute => self.out.push_str("&#10;"),
                '\t' if attribute => self.out.push_str("&#9;"),
                '\n' | '\t' => self.out.push(c),
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => self.out.push('\u{fffd}'),
                _ => self.out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_type_declaration_is_refused_even_if_empty() {
        for text in ["<!DOCTYPE a><a/>", "<!DOCTYPE a []><a/>", "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>"]
        {
            assert_eq!(parse(text).err(), Some(XmlError::Doctype), "{text}");
        }
        assert!(parse("<?xml version=\"1.0\"?><a>&lt;!DOCTYPE a></a>").is_ok());
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = 200_000;
        let text = format!("{}{}", "<a>".repeat(deep), "</a>".repeat(deep));
        assert!(parse(&text).is_ok());
    }

    #[test]
    fn text_is_whole_in_spite_of_comments() {
        let document = parse("<a>x<!-- y -->z<![CDATA[&]]></a>").unwrap();
        assert_eq!(text(document.root_element()).unwrap(), "xz&");
        let document = parse("<a>x<b/></a>").unwrap();
        assert!(matches!(text(document.root_element()), Err(XmlError::Unexpected { .. })));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let nasty = "a&b<c>\"d'\r\n\t\u{e4}";
        let mut writer = Writer::document("ns:conf");
        writer.start("x", &[("id", nasty)]);
        writer.leaf("y", nasty);
        let text_out = writer.finish();
        let document = parse(&text_out).unwrap();
        let x = Sequence::of(root(&document, "conf").unwrap()).required("x").unwrap();
        assert_eq!(x.attribute("id"), Some(nasty));
        assert_eq!(Sequence::of(x).required_text("y").unwrap(), nasty);
    }

    #[test]
    fn elements_are_taken_in_order_only() {
        let document = parse("<r><b/><a/></r>").unwrap();
        let mut sequence = Sequence::of(document.root_element());
        assert!(sequence.optional("a").is_none());
        assert!(sequence.required("b").is_ok());
        assert!(matches!(sequence.end(), Err(XmlError::Unexpected { .. })));
    }
}
