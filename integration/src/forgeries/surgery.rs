//! XML as a text with places in it, cut and sewn together: also to what no writer of XML would write.

use std::ops::Range;

use roxmltree::{Document, Node};

/// An attribute, as it is written. Declarations of namespaces are none.
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) whole: Range<usize>,
    pub(super) value: Range<usize>,
}

/// An element, as it is written.
pub(super) struct Element {
    /// Its name, with its prefix.
    pub(super) tag: String,
    /// Its name without.
    pub(super) local: String,
    pub(super) whole: Range<usize>,
    pub(super) start: Range<usize>,
    /// What lies between its tags; nothing where it is one empty tag.
    pub(super) inner: Option<Range<usize>>,
    pub(super) attributes: Vec<Attribute>,
    /// Where its parent stands among all.
    pub(super) parent: Option<usize>,
    /// Whether it holds a text, and nothing else.
    pub(super) holds_text: bool,
    /// Declarations of what is in scope here, and is not declared by the element itself.
    scope: String,
}

/// A document and its elements, in the order of the document.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) elements: Vec<Element>,
}

impl<'a> Source<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        let document = Document::parse(text).unwrap();
        let mut ids = Vec::new();
        let mut elements = Vec::new();
        for node in document.descendants().filter(Node::is_element) {
            let parent =
                node.parent_element().and_then(|parent| ids.iter().position(|id| *id == parent.id()));
            ids.push(node.id());
            elements.push(Element::read(text, node, parent));
        }
        Self { text, elements }
    }

    /// The text of an element.
    pub(super) fn whole(&self, element: &Element) -> &'a str {
        &self.text[element.whole.clone()]
    }

    /// The text of an element that means the same in another place: it declares what it uses.
    pub(super) fn portable(&self, element: &Element) -> String {
        let at = element.whole.start + 1 + element.tag.len();
        let Range { start, end } = element.whole;
        format!("{}{}{}", &self.text[start..at], element.scope, &self.text[at..end])
    }

    /// What the elements of this name hold.
    pub(super) fn named(&self, local: &str) -> impl Iterator<Item = (usize, &Element)> {
        self.elements.iter().enumerate().filter(move |(_, element)| element.local == local)
    }

    /// Where something would be put into an element, at its end.
    pub(super) fn end_of(element: &Element) -> Option<usize> {
        element.inner.as_ref().map(|inner| inner.end)
    }
}

impl Element {
    fn read(text: &str, node: Node<'_, '_>, parent: Option<usize>) -> Self {
        let whole = node.range();
        let written = &text[whole.clone()];
        let tag_end = 1 + written[1..].find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
        let tag = written[1..tag_end].to_owned();
        let start = whole.start..whole.start + end_of_tag(written);
        let is_empty = text[start.clone()].ends_with("/>");
        let inner = (!is_empty).then(|| start.end..whole.start + written.rfind("</").unwrap());
        let attributes = node.attributes().map(|attribute| Attribute {
            name: text[attribute.range_qname()].to_owned(),
            whole: attribute.range(),
            value: attribute.range_value(),
        });
        let declared = &text[start.clone()];
        let scope = node.namespaces().filter_map(|namespace| {
            let name = namespace.name().map_or_else(|| "xmlns".to_owned(), |name| format!("xmlns:{name}"));
            let is_known = namespace.name() == Some("xml") || declared.contains(&format!("{name}="));
            (!is_known).then(|| format!(" {name}=\"{}\"", namespace.uri()))
        });
        Self {
            local: node.tag_name().name().to_owned(),
            holds_text: node.has_children() && node.children().all(|child| child.is_text()),
            attributes: attributes.collect(),
            scope: scope.collect(),
            tag,
            start,
            whole,
            inner,
            parent,
        }
    }

    /// Whether the other one lies in this one, or is it.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.whole.start <= other.whole.start && other.whole.end <= self.whole.end
    }
}

/// Where the start tag ends that this text begins with: a `>` may stand in the value of an attribute.
fn end_of_tag(written: &str) -> usize {
    let mut quote = None;
    for (at, c) in written.char_indices() {
        match (quote, c) {
            (None, '>') => return at + 1,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    written.len()
}

/// The text with something else in one place.
pub fn spliced(text: &str, range: Range<usize>, with: &str) -> String {
    format!("{}{with}{}", &text[..range.start], &text[range.end..])
}

/// The text with something else in several places, which do not overlap.
pub(super) fn edited(text: &str, mut edits: Vec<(Range<usize>, &str)>) -> String {
    edits.sort_by_key(|(range, _)| std::cmp::Reverse((range.start, range.end)));
    edits.into_iter().fold(text.to_owned(), |text, (range, with)| spliced(&text, range, with))
}

/// The element at this place with another name in both of its tags.
pub fn retagged(text: &str, own: Range<usize>, rename: impl Fn(&str) -> String) -> String {
    let element = &text[own.clone()];
    let end = element.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
    let tag = &element[1..end];
    let renamed = format!("<{}{}", rename(tag), &element[end..]);
    let renamed = match renamed.rfind(&format!("</{tag}")) {
        Some(at) if renamed.ends_with('>') && !renamed.ends_with("/>") => {
            format!("{}</{}>", &renamed[..at], rename(tag))
        }
        _ => renamed,
    };
    spliced(text, own, &renamed)
}

/// The element at this place in a namespace of its own.
pub fn namespaced(text: &str, own: Range<usize>) -> String {
    let declared = retagged(text, own.clone(), |tag| format!("other:{}", tag.rsplit(':').next().unwrap()));
    let at =
        own.start + declared[own.start..].find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
    spliced(&declared, at..at, " xmlns:other=\"urn:other\"")
}
