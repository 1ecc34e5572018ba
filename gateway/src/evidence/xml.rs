//! Strict reading of small XML documents whose shape is fixed: signatures and hash chains.
//!
//! Every element is asked for by namespace and name, in order; whatever else stands there is an error.
//! Nothing is looked up by searching, so an element that was moved or doubled is never used by mistake.
//! No document type, no entities but the predefined ones, UTF-8 only.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use memchr::memmem;
use roxmltree::{Document, Node, ParsingOptions};

use crate::message::well_formed;

/// XML-DSig's namespace.
pub(crate) const DS: &str = "http://www.w3.org/2000/09/xmldsig#";

/// How large and how involved a document may be.
///
/// # Security
/// The parser compares every attribute of an element with every other, and copies the namespaces in scope
/// to every element that declares one: without these limits 50 KB of nested declarations take it seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    bytes: usize,
    nodes: u32,
    /// Namespace declarations in all.
    namespaces: usize,
    /// Attributes of one element.
    attributes: usize,
}

impl Limits {
    /// For signatures and hash chains: far above any real one (10 KiB, 200 nodes, 4 namespaces).
    pub(crate) const SIGNATURE: Self = Self { bytes: 1 << 20, nodes: 20_000, namespaces: 32, attributes: 32 };

    /// For messages in containers, which are looked at one at a time and by hand.
    pub(crate) const MESSAGE: Self =
        Self { bytes: 32 << 20, nodes: 1_000_000, namespaces: 1000, attributes: 4096 };

    /// Refuses before anything is parsed. A start tag holds no `<`, so that what stands between two of
    /// them has at least as many `=` as the tag has attributes.
    fn check(self, text: &str) -> Result<(), XmlError> {
        let refuse = |reason: &str| Err(XmlError::NotWellFormed(reason.to_owned()));
        let bytes = text.as_bytes();
        if memmem::find(bytes, b"<!DOCTYPE").is_some() {
            return refuse("a document type is not allowed");
        }
        if memmem::find_iter(bytes, b"xmlns").nth(self.namespaces).is_some() {
            return refuse("too many namespace declarations");
        }
        let mut equal_signs = 0;
        for at in memchr::memchr2_iter(b'<', b'=', bytes) {
            equal_signs = if bytes.get(at) == Some(&b'<') { 0 } else { equal_signs + 1 };
            if equal_signs > self.attributes {
                return refuse("too many attributes");
            }
        }
        Ok(())
    }
}

/// Java writes base64 in lines; padding is as lenient as its decoder.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a document could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    /// Not XML as we take it.
    #[error("not well-formed XML: {0}")]
    NotWellFormed(String),
    /// XML, but not of the shape that is prescribed.
    #[error("{0}")]
    Shape(String),
}

/// Parses a document in UTF-8 that declares no other encoding and no document type.
pub(crate) fn parse(bytes: &[u8], limits: Limits) -> Result<Document<'_>, XmlError> {
    let text = text(bytes, limits)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: limits.nodes, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| XmlError::NotWellFormed(error.to_string()))?;
    well_formed::check(text, &document).map_err(|what| XmlError::NotWellFormed(what.to_owned()))?;
    Ok(document)
}

fn text(bytes: &[u8], limits: Limits) -> Result<&str, XmlError> {
    let refuse = |reason: &str| Err(XmlError::NotWellFormed(reason.to_owned()));
    if bytes.len() > limits.bytes {
        return refuse("it is too large");
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return refuse("not UTF-8");
    };
    limits.check(text)?;
    if let Some(declaration) = text.strip_prefix("<?xml ").and_then(|rest| rest.split_once("?>")) {
        let encoding = declaration
            .0
            .split_once("encoding")
            .map(|(_, rest)| rest.trim_start_matches([' ', '=', '"', '\'']));
        if encoding.is_some_and(|name| !starts_with_ignoring_case(name, "UTF-8")) {
            return refuse("an encoding other than UTF-8");
        }
    }
    Ok(text)
}

/// Refuses comments and processing instructions inside the root element.
pub(crate) fn plain_elements_and_text(document: &Document<'_>) -> Result<(), XmlError> {
    for node in document.root_element().descendants() {
        if node.is_comment() || node.is_pi() {
            return Err(shape(node, "holds a comment or a processing instruction"));
        }
    }
    Ok(())
}

/// A cursor over the child elements of a node that holds nothing but elements and white space.
pub(crate) struct Children<'a> {
    parent: Node<'a, 'a>,
    next: Option<Node<'a, 'a>>,
}

impl<'a> Children<'a> {
    /// Refuses stray text among the children at once.
    pub(crate) fn of(parent: Node<'a, 'a>) -> Result<Self, XmlError> {
        let stray =
            |node: Node<'_, '_>| !node.is_element() && node.text().is_none_or(|text| !text.trim().is_empty());
        if parent.children().any(stray) {
            return Err(shape(parent, "holds text where only elements belong"));
        }
        Ok(Self { parent, next: parent.first_element_child() })
    }

    /// The next child, if it is of this name.
    pub(crate) fn optional(&mut self, namespace: &str, name: &str) -> Option<Node<'a, 'a>> {
        let node = self.next.filter(|node| node.has_tag_name((namespace, name)))?;
        self.next = node.next_sibling_element();
        Some(node)
    }

    /// The next child, which must be of this name.
    pub(crate) fn required(&mut self, namespace: &str, name: &str) -> Result<Node<'a, 'a>, XmlError> {
        self.optional(namespace, name)
            .ok_or_else(|| shape(self.parent, &format!("lacks {name}, or has it elsewhere")))
    }

    /// The next child, whatever its name.
    pub(crate) fn any(&mut self) -> Option<Node<'a, 'a>> {
        let node = self.next?;
        self.next = node.next_sibling_element();
        Some(node)
    }

    /// There must be no further child.
    pub(crate) fn end(&self) -> Result<(), XmlError> {
        self.next.map_or(Ok(()), |extra| {
            Err(shape(
                self.parent,
                &format!("holds {}, which does not belong there", extra.tag_name().name()),
            ))
        })
    }
}

/// The text of an element that holds nothing else.
pub(crate) fn content<'a>(node: Node<'a, 'a>) -> Result<&'a str, XmlError> {
    let mut children = node.children();
    match (children.next(), children.next()) {
        (None, _) => Ok(""),
        (Some(only), None) if only.is_text() => Ok(only.text().unwrap_or_default()),
        _ => Err(shape(node, "holds more than text")),
    }
}

/// The decoded base64 text of an element.
pub(crate) fn base64(node: Node<'_, '_>) -> Result<Vec<u8>, XmlError> {
    decode_base64(content(node)?).ok_or_else(|| shape(node, "is not base64"))
}

/// Base64 with any white space in it, as Java writes it.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let plain = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>();
        BASE64.decode(plain).ok()
    } else {
        BASE64.decode(text).ok()
    }
}

/// An attribute without namespace that must be there.
pub(crate) fn attribute<'a>(node: Node<'a, 'a>, name: &str) -> Result<&'a str, XmlError> {
    node.attribute(name).ok_or_else(|| shape(node, &format!("lacks the attribute {name}")))
}

/// An error about an element.
pub(crate) fn shape(node: Node<'_, '_>, problem: &str) -> XmlError {
    XmlError::Shape(format!("{} {problem}", node.tag_name().name()))
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(bytes: &[u8]) -> bool {
        parse(bytes, Limits::SIGNATURE).is_ok()
    }

    #[test]
    fn a_document_type_is_refused_even_when_empty() {
        assert!(!accepted(b"<!DOCTYPE a><a/>"));
    }

    #[test]
    fn another_encoding_is_refused() {
        assert!(!accepted(b"<?xml version='1.0' encoding='UTF-7'?><a/>"));
        assert!(accepted(b"<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"no\"?><a/>"));
        assert!(!accepted(&[0xff, 0xfe, b'<', 0]));
    }

    #[test]
    fn documents_that_keep_the_parser_busy_are_refused_at_once() {
        let many = |what: &dyn Fn(usize) -> String| (0..2000).map(what).collect::<String>();
        let attributes = many(&|number| format!(" a{number}='>'"));
        assert!(!accepted(format!("<a{attributes}/>").as_bytes()));
        let namespaces = many(&|number| format!("<a xmlns:a{number}='u{number}'>"));
        assert!(!accepted(format!("{namespaces}{}", "</a>".repeat(2000)).as_bytes()));
        assert!(!accepted(format!("<a>{}</a>", "<b/>".repeat(30_000)).as_bytes()));
        assert!(!accepted(format!("<a>{}</a>", " ".repeat(2 << 20)).as_bytes()));
    }

    #[test]
    fn at_its_limits_a_document_is_read_and_one_past_them_it_is_not() {
        let Limits { bytes, nodes, namespaces, attributes } = Limits::SIGNATURE;
        let of_bytes = |length: usize| format!("<a>{}</a>", " ".repeat(length - 7));
        // The document and its root are nodes, too.
        let of_nodes = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count - 2));
        let of_namespaces = |count: usize| format!("<a>{}</a>", "<b xmlns='u'/>".repeat(count));
        let of_attributes =
            |count: usize| format!("<a{}/>", (0..count).map(|n| format!(" a{n}=''")).collect::<String>());
        let nodes = usize::try_from(nodes).unwrap();
        let texts: [(&dyn Fn(usize) -> String, usize); 4] = [
            (&of_bytes, bytes),
            (&of_nodes, nodes),
            (&of_namespaces, namespaces),
            (&of_attributes, attributes),
        ];
        for (number, (text, limit)) in texts.into_iter().enumerate() {
            assert!(accepted(text(limit).as_bytes()), "{number}: {limit}");
            assert!(!accepted(text(limit + 1).as_bytes()), "{number}: {limit} and one");
        }
    }

    #[test]
    fn base64_may_be_broken_into_lines_and_nothing_else() {
        assert_eq!(decode_base64("QUJD\r\nREVG"), Some(b"ABCDEF".to_vec()));
        assert_eq!(decode_base64("QUJD!"), None);
    }

    #[test]
    fn an_element_in_another_place_is_not_found() {
        let document = parse(b"<a xmlns='n'><c/><b/></a>", Limits::SIGNATURE).unwrap();
        let mut children = Children::of(document.root_element()).unwrap();
        assert!(children.required("n", "b").is_err());
        assert!(children.required("n", "c").is_ok());
        assert!(children.end().is_err());
    }
}
