//! Canonical XML: the bytes that a digest or a signature over XML covers.
//!
//! Specification: Canonical XML 1.0 (inclusive, without comments) and Exclusive XML
//! Canonicalization 1.0 (without comments, without a prefix list); nothing else is accepted.
//!
//! Works on a parsed [`roxmltree::Document`]. That model keeps namespace names and drops prefixes, and
//! the canonical form keeps prefixes, so the lexical names are taken from the input text through the
//! ranges of the nodes. A carriage return that came in as `&#13;` is written as `&#xD;`: X-Road writes it
//! into its base64. Does not select node sets: a subtree or a whole document is all that X-Road uses.

use std::collections::BTreeSet;

use roxmltree::{Attribute, Document, Node};

const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// The two canonicalisation methods that X-Road's signature dialects use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Canonical XML 1.0: an element is written with all namespaces in scope.
    Inclusive,
    /// Exclusive XML Canonicalization 1.0: only with those that are visibly used.
    Exclusive,
}

impl Method {
    /// The method named by an algorithm URI; `None` for every other one.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        [Self::Inclusive, Self::Exclusive].into_iter().find(|method| method.uri() == uri)
    }

    /// The algorithm URI of XML-DSig.
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Inclusive => "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
            Self::Exclusive => "http://www.w3.org/2001/10/xml-exc-c14n#",
        }
    }
}

/// The canonical form of the subtree at `apex`, with what it inherits from its ancestors.
#[must_use]
pub fn canonicalize(apex: Node<'_, '_>, method: Method) -> Vec<u8> {
    let mut writer =
        Writer { out: Vec::with_capacity(apex.range().len() + 256), method, rendered: Vec::new() };
    writer.subtree(apex);
    writer.out
}

/// The canonical form of a whole document: its root element and the processing instructions around it.
#[must_use]
pub fn canonicalize_document(document: &Document<'_>, method: Method) -> Vec<u8> {
    let root = document.root_element();
    let mut writer =
        Writer { out: Vec::with_capacity(document.input_text().len() + 256), method, rendered: Vec::new() };
    let mut after_root = false;
    for node in document.root().children() {
        if node == root {
            writer.subtree(root);
            after_root = true;
        } else if node.is_pi() && after_root {
            writer.out.push(b'\n');
            writer.instruction(node);
        } else if node.is_pi() {
            writer.instruction(node);
            writer.out.push(b'\n');
        }
    }
    writer.out
}

/// Appends character data as Canonical XML writes it in text.
pub fn escape_text(text: &str, out: &mut Vec<u8>) {
    escape(text, out, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'\r' => Some("&#xD;"),
        _ => None,
    });
}

/// Appends character data as Canonical XML writes it in attribute values.
fn escape_attribute(value: &str, out: &mut Vec<u8>) {
    escape(value, out, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'"' => Some("&quot;"),
        b'\t' => Some("&#x9;"),
        b'\n' => Some("&#xA;"),
        b'\r' => Some("&#xD;"),
        _ => None,
    });
}

/// Copies runs of ordinary bytes at once; only the rare special ones are looked at singly.
fn escape(text: &str, out: &mut Vec<u8>, replacement: impl Fn(u8) -> Option<&'static str>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| replacement(*byte).is_some()) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let Some((first, tail)) = special.split_first() {
            out.extend_from_slice(replacement(*first).unwrap_or_default().as_bytes());
            rest = tail;
        }
    }
    out.extend_from_slice(rest);
}

/// A namespace declaration that stands in the output, and the depth of its element.
struct Rendered<'a> {
    prefix: &'a str,
    uri: &'a str,
    depth: usize,
}

struct Writer<'a> {
    out: Vec<u8>,
    method: Method,
    /// Used by the exclusive method only: the inclusive one compares with the parent element.
    rendered: Vec<Rendered<'a>>,
}

impl<'a> Writer<'a> {
    /// Walks without recursion, so that no depth of nesting can exhaust the stack.
    fn subtree(&mut self, apex: Node<'a, 'a>) {
        let mut node = apex;
        let mut depth = 0_usize;
        loop {
            if node.is_element() {
                self.start_tag(node, node == apex, depth);
            } else if node.is_text() {
                escape_text(node.text().unwrap_or_default(), &mut self.out);
            } else if node.is_pi() {
                self.instruction(node);
            }
            if let Some(child) = node.first_child() {
                node = child;
                depth += 1;
                continue;
            }
            loop {
                if node.is_element() {
                    self.end_tag(node, depth);
                }
                if node == apex {
                    return;
                }
                if let Some(next) = node.next_sibling() {
                    node = next;
                    break;
                }
                let Some(parent) = node.parent() else { return };
                node = parent;
                depth = depth.saturating_sub(1);
            }
        }
    }

    fn start_tag(&mut self, node: Node<'a, 'a>, is_apex: bool, depth: usize) {
        let name = element_name(node);
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        match self.method {
            Method::Inclusive => self.declare_in_scope(node, is_apex),
            Method::Exclusive => self.declare_used(node, name, depth),
        }
        self.attributes(node, is_apex);
        self.out.push(b'>');
    }

    fn end_tag(&mut self, node: Node<'a, 'a>, depth: usize) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(element_name(node).as_bytes());
        self.out.push(b'>');
        while self.rendered.last().is_some_and(|last| last.depth >= depth) {
            self.rendered.pop();
        }
    }

    /// Inclusive: everything in scope that the parent element did not already say.
    fn declare_in_scope(&mut self, node: Node<'a, 'a>, is_apex: bool) {
        let parent = node.parent_element().filter(|_| !is_apex);
        let mut declarations = in_scope(node)
            .filter(|(prefix, uri)| match parent {
                Some(parent) => namespace_of(parent, prefix) != *uri,
                None => !uri.is_empty(),
            })
            .collect::<Vec<_>>();
        declarations.sort_unstable();
        for (prefix, uri) in declarations {
            self.declaration(prefix, uri);
        }
    }

    /// Exclusive: the prefixes of the element's name and of its attributes, unless already in force.
    fn declare_used(&mut self, node: Node<'a, 'a>, name: &'a str, depth: usize) {
        let mut used = BTreeSet::from([prefix_of(name)]);
        for attribute in node.attributes() {
            let prefix = prefix_of(attribute_name(node, &attribute));
            if !prefix.is_empty() && prefix != "xml" {
                used.insert(prefix);
            }
        }
        used.remove("xml");
        for prefix in used {
            let uri = namespace_of(node, prefix);
            let in_force = self
                .rendered
                .iter()
                .rev()
                .find(|rendered| rendered.prefix == prefix)
                .map_or("", |rendered| rendered.uri);
            if uri != in_force {
                self.declaration(prefix, uri);
                self.rendered.push(Rendered { prefix, uri, depth });
            }
        }
    }

    fn declaration(&mut self, prefix: &str, uri: &str) {
        self.out.extend_from_slice(b" xmlns");
        if !prefix.is_empty() {
            self.out.push(b':');
            self.out.extend_from_slice(prefix.as_bytes());
        }
        self.value(uri);
    }

    fn attributes(&mut self, node: Node<'a, 'a>, is_apex: bool) {
        let mut attributes =
            node.attributes().map(|attribute| Sorted::new(node, attribute)).collect::<Vec<_>>();
        if is_apex && self.method == Method::Inclusive {
            inherit_xml_attributes(node, &mut attributes);
        }
        attributes.sort_unstable_by(|a, b| (a.namespace, a.local).cmp(&(b.namespace, b.local)));
        for attribute in attributes {
            self.out.push(b' ');
            self.out.extend_from_slice(attribute.lexical.as_bytes());
            self.value(attribute.value);
        }
    }

    fn value(&mut self, value: &str) {
        self.out.extend_from_slice(b"=\"");
        escape_attribute(value, &mut self.out);
        self.out.push(b'"');
    }

    fn instruction(&mut self, node: Node<'_, '_>) {
        let Some(instruction) = node.pi() else { return };
        self.out.extend_from_slice(b"<?");
        self.out.extend_from_slice(instruction.target.as_bytes());
        if let Some(value) = instruction.value {
            self.out.push(b' ');
            self.out.extend_from_slice(value.as_bytes());
        }
        self.out.extend_from_slice(b"?>");
    }
}

/// An attribute with the keys that Canonical XML sorts by.
struct Sorted<'a> {
    namespace: &'a str,
    local: &'a str,
    lexical: &'a str,
    value: &'a str,
}

impl<'a> Sorted<'a> {
    fn new(node: Node<'a, 'a>, attribute: Attribute<'a, 'a>) -> Self {
        Self {
            namespace: attribute.namespace().unwrap_or_default(),
            local: attribute.name(),
            lexical: attribute_name(node, &attribute),
            value: attribute.value(),
        }
    }
}

/// An apex also carries the `xml:` attributes of its ancestors, the nearest one of each name.
fn inherit_xml_attributes<'a>(apex: Node<'a, 'a>, attributes: &mut Vec<Sorted<'a>>) {
    for ancestor in apex.ancestors().skip(1) {
        for attribute in ancestor.attributes() {
            let known = |own: &Sorted<'_>| own.namespace == XML_NAMESPACE && own.local == attribute.name();
            if attribute.namespace() == Some(XML_NAMESPACE) && !attributes.iter().any(known) {
                attributes.push(Sorted::new(ancestor, attribute));
            }
        }
    }
}

/// The namespaces in scope as (prefix, name), the default one under the empty prefix.
fn in_scope<'a>(node: Node<'a, 'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    node.namespaces()
        .map(|namespace| (namespace.name().unwrap_or_default(), namespace.uri()))
        .filter(|(prefix, _)| *prefix != "xml")
}

fn namespace_of<'a>(node: Node<'a, 'a>, prefix: &str) -> &'a str {
    in_scope(node).find(|(candidate, _)| *candidate == prefix).map_or("", |(_, uri)| uri)
}

fn prefix_of(lexical: &str) -> &str {
    lexical.split_once(':').map_or("", |(prefix, _)| prefix)
}

/// The element's name as written.
fn element_name<'a>(node: Node<'a, 'a>) -> &'a str {
    let text = node.document().input_text();
    let tag = text.get(node.range()).unwrap_or_default();
    let name = tag.strip_prefix('<').unwrap_or_default();
    let end = name.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>').unwrap_or(name.len());
    name.get(..end).unwrap_or_default()
}

fn attribute_name<'a>(node: Node<'a, 'a>, attribute: &Attribute<'a, 'a>) -> &'a str {
    let text = node.document().input_text();
    text.get(attribute.range_qname()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(xml: &str, local_name: &str, method: Method) -> String {
        let document = Document::parse(xml).unwrap();
        let apex = document.descendants().find(|node| node.tag_name().name() == local_name).unwrap();
        String::from_utf8(canonicalize(apex, method)).unwrap()
    }

    #[test]
    fn a_subtree_carries_the_namespaces_of_its_ancestors() {
        let xml = r#"<a:r xmlns:z="urn:z" xmlns:a="urn:a"><a:b Id='1'/></a:r>"#;
        assert_eq!(
            canonical(xml, "b", Method::Inclusive),
            r#"<a:b xmlns:a="urn:a" xmlns:z="urn:z" Id="1"></a:b>"#
        );
        assert_eq!(canonical(xml, "b", Method::Exclusive), r#"<a:b xmlns:a="urn:a" Id="1"></a:b>"#);
    }

    #[test]
    fn a_carriage_return_written_as_a_reference_survives() {
        assert_eq!(canonical("<v>ab&#13;\ncd\r\nef</v>", "v", Method::Inclusive), "<v>ab&#xD;\ncd\nef</v>");
    }

    #[test]
    fn attributes_are_sorted_by_namespace_then_name() {
        let xml = r#"<r xmlns:b="urn:1" xmlns:a="urn:2" a:x="1" b:y="2" z="3" b="4"/>"#;
        assert_eq!(
            canonical(xml, "r", Method::Exclusive),
            r#"<r xmlns:a="urn:2" xmlns:b="urn:1" b="4" z="3" b:y="2" a:x="1"></r>"#
        );
    }

    #[test]
    fn the_default_namespace_is_undeclared_only_where_it_was_in_force() {
        let xml = r#"<r xmlns="urn:r"><b xmlns=""><c xmlns=""/></b></r>"#;
        assert_eq!(canonical(xml, "r", Method::Inclusive), r#"<r xmlns="urn:r"><b xmlns=""><c></c></b></r>"#);
        assert_eq!(canonical(xml, "b", Method::Inclusive), "<b><c></c></b>");
    }

    #[test]
    fn xml_attributes_of_ancestors_belong_to_an_inclusive_apex() {
        let xml = r#"<r xml:lang="et" xml:space="preserve"><b xml:lang="fi"/></r>"#;
        assert_eq!(canonical(xml, "b", Method::Inclusive), r#"<b xml:lang="fi" xml:space="preserve"></b>"#);
        assert_eq!(canonical(xml, "b", Method::Exclusive), r#"<b xml:lang="fi"></b>"#);
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let depth = 50_000;
        let xml = format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert_eq!(canonical(&xml, "a", Method::Inclusive), xml);
    }
}
