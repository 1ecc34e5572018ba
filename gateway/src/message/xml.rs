//! Parsing XML that others wrote, without letting it keep the parser busy.
//!
//! No document type, so no entities but the predefined ones; nothing is fetched. The parser's time grows with the square
//! of a tag's attributes and of namespace declarations, so both are counted before it begins.

use std::collections::HashMap;

use roxmltree::{Document, NodeId, ParsingOptions};

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
    let too_deep = is_deeper_than(limits.depth, &document);
    if too_deep { Err(XmlError::TooInvolved("too involved: depth")) } else { Ok(document) }
}

/// Whether nodes stand in each other deeper than this; each is met once, after the one that it stands in.
fn is_deeper_than(limit: usize, document: &Document<'_>) -> bool {
    let mut depths: HashMap<NodeId, usize> = HashMap::new();
    document.descendants().any(|node| {
        let outer = node.parent().and_then(|parent| depths.get(&parent.id())).copied().unwrap_or(0);
        let depth = outer.saturating_add(1);
        if node.has_children() {
            depths.insert(node.id(), depth);
        }
        depth > limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { nodes: 3_000_000, attributes: 2, namespaces: 2, depth: 250 };

    fn refused(text: &str) -> Option<XmlError> {
        parse(text, &LIMITS).err()
    }

    #[test]
    fn nodes_stand_in_each_other_as_deep_as_is_allowed() {
        // The document itself is the first.
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert_eq!(refused(&nested(249)), None);
        assert_eq!(refused(&nested(250)), Some(XmlError::TooInvolved("too involved: depth")));
    }

    /// To ask each node for all that it stands in took ten seconds here.
    #[test]
    fn a_million_nodes_at_the_deepest_place_take_little_time() {
        let wide = format!("{}{}{}", "<a>".repeat(248), "<b/>".repeat(1_000_000), "</a>".repeat(248));
        let began = tokio::time::Instant::now();
        assert_eq!(refused(&wide), None);
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn what_is_counted_is_counted_before_the_parser_begins() {
        let other = |what| Some(XmlError::TooInvolved(what));
        assert_eq!(refused("<a b='' c=''/>"), None);
        assert_eq!(refused("<a b='' c='' d='"), other("too involved: attributes"));
        assert_eq!(refused("<a xmlns='x'><b xmlns='y'/></a>"), None);
        assert_eq!(refused("<a xmlns:a='x'><b xmlns='y'><c xmlns="), other("too involved: namespaces"));
        assert_eq!(refused("<!DOCTYPE a [ <!ENTITY"), Some(XmlError::DocumentType));
        let few = Limits { nodes: 10, ..LIMITS };
        assert_eq!(parse(&format!("<a>{}</a>", "<b/>".repeat(10)), &few).err(), other("too involved: nodes"));
    }
}
