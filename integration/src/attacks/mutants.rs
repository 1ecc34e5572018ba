//! Mutants of an XML document: each of its elements and attributes removed, doubled, renamed, moved to another
//! namespace, changed; one change each.

use crate::forgeries::{namespaced, retagged, spliced};

/// How a document was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An element is gone.
    Removed,
    /// An element stands twice.
    Doubled,
    /// An element has another name.
    Renamed,
    /// An element is of another namespace.
    Moved,
    /// An attribute is gone.
    Without(&'static str),
    /// An attribute has another value.
    Changed(&'static str),
    /// An attribute stands twice: no XML.
    Twice,
    /// A character of a text is another.
    Text,
}

/// A changed document.
pub(super) struct Mutant {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) kind: Kind,
    /// The element that was changed.
    pub(super) element: String,
    /// What it stands in, the outermost last.
    pub(super) within: Vec<String>,
}

/// Every change of one place of a document.
pub(super) fn mutants(text: &str) -> Vec<Mutant> {
    let document = roxmltree::Document::parse(text).unwrap();
    let mut mutants = Vec::new();
    let mut numbers = std::collections::HashMap::<String, usize>::new();
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let element = node.tag_name().name().to_owned();
        let number = numbers.entry(element.clone()).or_insert(0);
        *number += 1;
        let number = *number;
        let within: Vec<String> =
            node.ancestors().skip(1).map(|node| node.tag_name().name().to_owned()).collect();
        let mut add = |kind: Kind, what: &str, changed: String| {
            let name = format!("{element} no. {number} {what}");
            mutants.push(Mutant {
                name,
                text: changed,
                kind,
                element: element.clone(),
                within: within.clone(),
            });
        };
        let own = node.range();
        if node != document.root_element() {
            add(Kind::Removed, "removed", spliced(text, own.clone(), ""));
            add(Kind::Doubled, "doubled", spliced(text, own.end..own.end, &text[own.clone()]));
        }
        add(Kind::Renamed, "renamed", retagged(text, own.clone(), |tag| format!("{tag}X")));
        add(Kind::Moved, "in another namespace", namespaced(text, own.clone()));
        for attribute in node.attributes() {
            let leaked: &'static str = match attribute.name() {
                "Id" => "Id",
                "URI" => "URI",
                "Algorithm" => "Algorithm",
                "Type" => "Type",
                "Target" => "Target",
                "Encoding" => "Encoding",
                _ => "other",
            };
            let range = attribute.range();
            let whole = &text[range.clone()];
            add(
                Kind::Without(leaked),
                &format!("without {}", attribute.name()),
                spliced(text, range.clone(), ""),
            );
            let changed = whole.replacen("=\"", "=\"x", 1);
            add(
                Kind::Changed(leaked),
                &format!("with another {}", attribute.name()),
                spliced(text, range.clone(), &changed),
            );
            let twice = format!("{whole} {whole}");
            add(Kind::Twice, &format!("with two {}", attribute.name()), spliced(text, range, &twice));
        }
        let only = node.first_child().filter(|child| child.is_text() && node.children().count() == 1);
        if let Some(child) = only.filter(|child| child.text().is_some_and(|text| text.trim().len() > 8)) {
            let range = child.range();
            let at = range.start + text[range.clone()].find(|c: char| c.is_ascii_alphanumeric()).unwrap() + 4;
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            add(Kind::Text, "with another character", spliced(text, at..at + 1, other));
        }
    }
    mutants
}
