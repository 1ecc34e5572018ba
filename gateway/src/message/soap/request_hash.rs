//! The request's hash in an answer: put where X-Road puts it.

use std::fmt::Write as _;
use std::ops::Range;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::Digest;

use super::SoapError;
use super::envelope::{XROAD, child, header, parse, refuse_fault, root, text};
use crate::message::multipart::Part;

/// The envelope with the hash of its request behind the message id, under the prefix of the id; one that is there
/// already is taken out. In front of it stands what stands in front of the header's first element.
pub(super) fn insert(part: &Part, algorithm: DigestAlgorithm, request: &Digest) -> Result<Bytes, SoapError> {
    let (charset, text) = text(&part.content)?;
    let (id, old, space, name, namespace) = {
        let document = parse(&text)?;
        let root = root(&document)?;
        refuse_fault(root, part)?;
        let header = header(root)?;
        let id = child(header, XROAD, "id")?.ok_or(SoapError::FieldMissing("id"))?;
        let old = child(header, XROAD, "requestHash")?.map(|node| with_space(&text, node.range()));
        let first = header.first_child().filter(|first| first.is_text());
        let space = first.map(|first| text.get(first.range()).unwrap_or_default()).unwrap_or_default();
        let space = if space.chars().all(char::is_whitespace) { space.to_owned() } else { String::new() };
        let tag = text.get(id.range()).unwrap_or_default();
        let name = tag.strip_prefix('<').and_then(|tag| tag.split_once(':')).map(|(prefix, _)| prefix);
        let qualified = name.filter(|prefix| !prefix.contains(['>', ' ', '/', '\t', '\r', '\n']));
        // The prefix may be declared by the id itself, and by nothing around it.
        let declared = header.lookup_namespace_uri(qualified) == Some(XROAD);
        let (name, namespace) = match qualified {
            None => ("requestHash".to_owned(), format!(" xmlns=\"{XROAD}\"")),
            Some(prefix) => (format!("{prefix}:requestHash"), format!(" xmlns:{prefix}=\"{XROAD}\"")),
        };
        let namespace = if declared { String::new() } else { namespace };
        (id.range().end, old, space, name, namespace)
    };
    let mut hash = space;
    let _ =
        write!(hash, "<{name}{namespace} algorithmId=\"{}\">{}</{name}>", algorithm.uri(), request.base64());
    let old = old.unwrap_or(id..id);
    // What is taken out stands before or behind the place of the hash, never across it.
    let (before, after) = if old.start < id { (old, id..id) } else { (id..id, old) };
    let pieces = [0..before.start, before.end..id, id..after.start, after.end..text.len()];
    let [first, second, third, fourth] = pieces.map(|piece| text.get(piece).unwrap_or_default());
    let written = [first, second, &hash, third, fourth].concat();
    charset.encode(&written).map(Bytes::from)
}

/// An element with the white space before it.
fn with_space(text: &str, element: Range<usize>) -> Range<usize> {
    let before = text.get(..element.start).unwrap_or_default();
    before.trim_end().len()..element.end
}
