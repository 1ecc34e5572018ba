//! What XML demands and our parser lets pass: a document that it takes and another reader refuses could mean one thing
//! here and nothing there.
//!
//! Specification: XML 1.0, 2.6 (the target of an instruction) and 4.1 (references to characters); Namespaces in XML 1.0,
//! 3 and 5 (reserved prefixes, prefixes without a namespace, declarations that stand twice). Threat T13.
//!
//! Does not parse: asked only about documents that the parser has taken.

use std::collections::HashSet;

use roxmltree::{Document, Node};

/// Looks for what the parser has let pass.
///
/// # Errors
/// What it is.
pub fn check(text: &str, document: &Document<'_>) -> Result<(), &'static str> {
    if has_bad_reference(text) {
        return Err("a reference to what is no character");
    }
    for node in document.root().descendants() {
        if let Some(pi) = node.pi() {
            if pi.target.eq_ignore_ascii_case("xml") {
                return Err("an instruction with a reserved name");
            }
            let begin = node.range().start + "<?".len() + pi.target.len();
            let behind = text.get(begin..).unwrap_or_default();
            if !behind.starts_with("?>") && !behind.starts_with([' ', '\t', '\r', '\n']) {
                return Err("an instruction whose name does not end");
            }
        }
        if node.is_element() && declares_wrongly(node) {
            return Err("a namespace that may not be declared so");
        }
    }
    Ok(())
}

/// Whether a reference by number names no character of XML; what stands in comments, instructions and CDATA is none.
fn has_bad_reference(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'&', b'<', rest.as_bytes()) {
        rest = rest.get(at..).unwrap_or_default();
        if let Some(number) = rest.strip_prefix("&#") {
            let digits = number.split(';').next().unwrap_or_default();
            let character = match digits.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => digits.parse().ok(),
            };
            if !character.and_then(char::from_u32).is_some_and(is_of_xml) {
                return true;
            }
        }
        let skipped = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")];
        let skipped = skipped.iter().find(|(begin, _)| rest.starts_with(begin));
        let end = skipped.and_then(|(begin, end)| Some(begin.len() + rest.get(begin.len()..)?.find(end)?));
        rest = rest.get(end.unwrap_or(1)..).unwrap_or_default();
    }
    false
}

fn is_of_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether an element declares `xmlns` as a prefix, a prefix for no namespace, or the same prefix (or none) twice. Its own
/// declarations come first among those that hold for it; where there is none, they are those of the element around it.
fn declares_wrongly(element: Node<'_, '_>) -> bool {
    let around = element.parent().filter(Node::is_element);
    let inherited = around.is_some_and(|around| {
        let (own, outer) = (element.namespaces(), around.namespaces());
        own.len() == outer.len() && element.namespaces().next() == around.namespaces().next()
    });
    let wrong = |name: &str, uri: &str| name == "xmlns" || uri.is_empty();
    let mut names = HashSet::new();
    let mut any_wrong = || {
        element
            .namespaces()
            .any(|one| one.name().is_some_and(|name| wrong(name, one.uri())) || !names.insert(one.name()))
    };
    !inherited && any_wrong()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_lets_pass_is_found() {
        for (text, expected) in [
            ("<a>&#xD800;</a>", false),
            ("<a b='&#x110000;'/>", false),
            ("<a>&#99999999999;</a>", false),
            ("<a>&#0;</a>", false),
            ("<a><![CDATA[&#0;]]>&#65;&#x10FFFF;&amp;#0;</a>", true),
            ("<a><!-- &#0; --><?b &#0;?></a>", true),
            ("<?XML version='1.0'?><a/>", false),
            ("<a><?xMl b?></a>", false),
            ("<?xml$version='1.0'?><a/>", false),
            ("<a><?b$c?></a>", false),
            ("<?b?><a><?b c?><?b\n?></a><?\u{e9}t\u{e9}\tc?>", true),
            ("<?xml version='1.0'?><a><?xml-b c?></a>", true),
            ("<a xmlns:xmlns='urn:x'/>", false),
            ("<a xmlns:b='urn:b'><c xmlns:b=''/></a>", false),
            ("<a xmlns='urn:a' xmlns='urn:b'/>", false),
            ("<a xmlns:b='urn:b' xmlns:b='urn:b'/>", false),
            ("<a xmlns='urn:a'><b xmlns='urn:b' xmlns='urn:c'/></a>", false),
            (
                "<a xmlns='urn:a' xmlns:b='urn:b'><a xmlns='urn:c' xmlns:c='urn:c'><a xmlns='urn:a'/></a></a>",
                true,
            ),
            ("<a xmlns:b='urn:b' xmlns='urn:c'><c xmlns=''/><b:d xmlns:b='urn:d'/></a>", true),
        ] {
            // The parser itself may refuse it: that is as good.
            let verdict = Document::parse(text).is_ok_and(|document| check(text, &document).is_ok());
            assert_eq!(verdict, expected, "{text}");
        }
    }
}
