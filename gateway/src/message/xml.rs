//! Parsing XML that others wrote, without letting it keep the parser busy.
//!
//! No document type, so no entities but the predefined ones; nothing is fetched. The parser's time grows with the square
//! of a tag's attributes and of namespace declarations, so both are counted before it begins.

use roxmltree::{Document, ParsingOptions};

/// What a document may consist of.
pub(crate) struct Limits {
    pub(crate) nodes: u32,
    /// In one tag.
    pub(crate) attributes: usize,
    /// Declarations, in all.
    pub(crate) namespaces: usize,
    pub(crate) depth: usize,
}

/// Why a text is not taken as XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum XmlError {
    DocumentType,
    TooInvolved(&'static str),
    Malformed(String),
}

/// Parses a document that keeps to the limits.
pub(crate) fn parse<'a>(text: &'a str, limits: &Limits) -> Result<Document<'a>, XmlError> {
    let attributes = |part: &str| part.bytes().filter(|&byte| byte == b'=').count();
    if text.contains("<!DOCTYPE") {
        return Err(XmlError::DocumentType);
    }
    if text.matches("xmlns").nth(limits.namespaces).is_some() {
        return Err(XmlError::TooInvolved("too involved: namespaces"));
    }
    // What stands in a tag stands before its end; text may hold any number of equal signs.
    let tags = text.split('<').map(|part| part.split('>').next().unwrap_or_default());
    if tags.map(attributes).any(|count| count > limits.attributes) {
        return Err(XmlError::TooInvolved("too involved: attributes"));
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: limits.nodes, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::NodesLimitReached => XmlError::TooInvolved("too involved: nodes"),
        error => XmlError::Malformed(error.to_string()),
    })?;
    let too_deep = document.descendants().any(|node| node.ancestors().nth(limits.depth).is_some());
    if too_deep { Err(XmlError::TooInvolved("too involved: depth")) } else { Ok(document) }
}
