//! What a signed thing says: two that say the same are the same.

use bytes::Bytes;
use roxmltree::{Document, Node};

/// What whoever reads a signed thing learns, and what was signed.
///
/// Two statements are equal when all of this is: the words of the verifier (the signer and its certificate, the times,
/// the parts with their algorithms and digests), the parts themselves, byte for byte, and everything in the signature
/// that is called `SignedInfo` or `SignedProperties`, wherever it stands: names with their namespaces, attributes, texts.
/// So a forgery that has one of them twice is never equal to its original, whichever of the two was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The verifier's words.
    pub report: String,
    /// The parts that are read, by their names.
    pub parts: Vec<(String, Bytes)>,
    /// What is signed, as a text that says what XML means and not how it is written.
    pub signed: Vec<String>,
}

/// Reads a statement off: `report` is all that the verifier said.
///
/// # Panics
/// When the signature is no XML: it was verified.
pub fn statement(report: String, parts: Vec<(String, Bytes)>, signature: &[u8]) -> Statement {
    let text = std::str::from_utf8(signature).unwrap();
    let document = Document::parse(text).unwrap();
    let is_signed =
        |node: &Node<'_, '_>| ["SignedInfo", "SignedProperties"].contains(&node.tag_name().name());
    let signed = document.descendants().filter(is_signed).map(meaning).collect();
    Statement { report, parts, signed }
}

/// An element by what it means: comments, prefixes and the way it is written do not count.
fn meaning(node: Node<'_, '_>) -> String {
    let mut attributes: Vec<_> = node
        .attributes()
        .map(|attribute| (attribute.namespace().unwrap_or_default(), attribute.name(), attribute.value()))
        .collect();
    attributes.sort_unstable();
    let mut content = Vec::new();
    let mut text = String::new();
    for child in node.children() {
        if child.is_text() {
            text.push_str(child.text().unwrap_or_default());
        } else if child.is_element() {
            content.push(format!("{:?}", std::mem::take(&mut text)));
            content.push(meaning(child));
        }
    }
    content.push(format!("{text:?}"));
    format!("{:?} {attributes:?} [{}]", node.tag_name(), content.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(signature: &str) -> Vec<String> {
        statement(String::new(), Vec::new(), signature.as_bytes()).signed
    }

    #[test]
    fn how_a_thing_is_written_does_not_count_and_what_it_says_does() {
        let original = signed("<a:s xmlns:a='u'><a:SignedInfo x='1' y='2'><a:b>t</a:b></a:SignedInfo></a:s>");
        let same =
            "<s xmlns='u'><!-- c --><SignedInfo y=\"2\" x='&#49;'><b><![CDATA[t]]></b></SignedInfo></s>";
        assert_eq!(signed(same), original);
        for other in [
            "<s xmlns='u'><SignedInfo x='1'><b>t</b></SignedInfo></s>",
            "<s xmlns='u'><SignedInfo x='1' y='2'><b>u</b></SignedInfo></s>",
            "<s xmlns='u'><SignedInfo x='1' y='2'>t<b/></SignedInfo></s>",
            "<s xmlns='u'><SignedInfo x='1' y='2'><b xmlns='v'>t</b></SignedInfo></s>",
            "<s xmlns='u'><SignedInfo x='1' y='2'><b>t</b></SignedInfo><SignedInfo x='1' y='2'><b>t</b></SignedInfo></s>",
        ] {
            assert_ne!(signed(other), original, "{other}");
        }
    }
}
