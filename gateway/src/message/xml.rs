//! Parsing XML that others wrote, without letting it keep the parser busy.
//!
//! No document type, so no entities but the predefined ones; nothing is fetched. The parser's time grows with the square
//! of a tag's attributes and of namespace declarations, so both are counted before it begins.

use roxmltree::{Document, ParsingOptions};

use super::well_formed;

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
    if text.contains("<!DOCTYPE") {
        return Err(XmlError::DocumentType);
    }
    if text.matches("xmlns").nth(limits.namespaces).is_some() {
        return Err(XmlError::TooInvolved("too involved: namespaces"));
    }
    if text.split('<').any(|part| has_more_attributes_than(limits.attributes, part)) {
        return Err(XmlError::TooInvolved("too involved: attributes"));
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: limits.nodes, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::NodesLimitReached => XmlError::TooInvolved("too involved: nodes"),
        error => XmlError::Malformed(error.to_string()),
    })?;
    if is_deeper_than(limits.depth, &document) {
        return Err(XmlError::TooInvolved("too involved: depth"));
    }
    match well_formed::check(text, &document) {
        Ok(()) => Ok(document),
        Err(what) => Err(XmlError::Malformed(what.to_owned())),
    }
}

/// Whether the tag that a part begins with has more attributes; text behind it may hold any number of equal signs, and
/// so may values.
fn has_more_attributes_than(limit: usize, part: &str) -> bool {
    if memchr::memchr_iter(b'=', part.as_bytes()).count() <= limit {
        return false;
    }
    let (mut attributes, mut quote) = (0, None);
    for byte in part.bytes() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'=') => attributes += 1,
            (None, b'>') => break,
            (None, _) => {}
        }
    }
    attributes > limit
}

/// Whether nodes stand in each other deeper than this; each is met once, after the one that it stands in.
fn is_deeper_than(limit: usize, document: &Document<'_>) -> bool {
    // By the number of the node: they are numbered in the order of the document.
    let mut depths: Vec<usize> = Vec::new();
    document.descendants().any(|node| {
        let outer = node.parent().and_then(|parent| depths.get(parent.id().get_usize())).copied();
        let depth = outer.unwrap_or(0).saturating_add(1);
        depths.push(depth);
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
        assert_eq!(refused("<a b='>' c=\"'>\" d=''/>"), other("too involved: attributes"));
        assert_eq!(refused("<a b='====' c='='>a=b=c=d=e</a>"), None);
        assert_eq!(refused("<a>it's <b c='1'/>=====</a>"), None);
        assert_eq!(refused("<a xmlns='x'><b xmlns='y'/></a>"), None);
        assert_eq!(refused("<a xmlns:a='x'><b xmlns='y'><c xmlns="), other("too involved: namespaces"));
        assert_eq!(refused("<!DOCTYPE a [ <!ENTITY"), Some(XmlError::DocumentType));
        let few = Limits { nodes: 10, ..LIMITS };
        assert_eq!(parse(&format!("<a>{}</a>", "<b/>".repeat(10)), &few).err(), other("too involved: nodes"));
    }
}
