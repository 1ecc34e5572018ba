//! Signature wrapping: a changed copy stands where somebody looks who reads, and the original where somebody looks who
//! digests. And pieces of other signatures, which are good ones.

use super::surgery::{Element, Source, edited, spliced};
use super::{Forge, Kind, Pieces};

/// What is worth a copy: all that is digested, leads to it or says who signs.
const WORTHY: [&str; 14] = [
    "Signature",
    "SignedInfo",
    "Reference",
    "KeyInfo",
    "X509Data",
    "Object",
    "QualifyingProperties",
    "SignedProperties",
    "SignedSignatureProperties",
    "SigningCertificate",
    "HashChainResult",
    "HashStep",
    "DataRef",
    "StepRef",
];

pub(super) fn forge(forge: &mut Forge<'_>, place: usize, source: &Source<'_>) {
    for (number, element) in source.elements.iter().enumerate() {
        if WORTHY.contains(&element.local.as_str()) {
            for (what, copy) in copies(source, element) {
                let name = format!("{} ({number}), its copy with {what},", element.tag);
                put(forge, place, source, element, &name, &copy);
            }
        }
    }
}

/// Changed copies of an element, each under its own name, under another and under none.
fn copies(source: &Source<'_>, element: &Element) -> Vec<(String, String)> {
    let portable = source.portable(element);
    let copy = Source::read(&portable);
    let mut changed = Vec::new();
    let texts: Vec<_> = copy.elements.iter().filter(|element| element.holds_text).collect();
    let first_and_last = texts.first().into_iter().chain(texts.last().filter(|_| texts.len() > 1));
    for text in first_and_last {
        let inner = text.inner.clone().unwrap();
        let value = &portable[inner.clone()];
        let Some(at) = value.find(|c: char| c.is_ascii_alphanumeric()) else { continue };
        let letter = if value[at..].starts_with('2') { "3" } else { "2" };
        let other = spliced(value, at..at + 1, letter);
        changed.push((format!("another {}", text.local), spliced(&portable, inner, &other)));
    }
    let attributes = copy.elements.iter().flat_map(|element| &element.attributes);
    if let Some(uri) = attributes.into_iter().find(|attribute| attribute.name == "URI") {
        changed.push(("another URI".to_owned(), spliced(&portable, uri.value.clone(), "/attachment9")));
    }
    let mut copies = Vec::new();
    for (what, text) in changed {
        let read = Source::read(&text);
        let id = read.elements[0].attributes.iter().find(|attribute| attribute.name == "Id");
        if let Some(id) = id {
            copies.push((format!("{what} and another name"), spliced(&text, id.value.clone(), "evil")));
            copies.push((format!("{what} and no name"), spliced(&text, id.whole.clone(), "")));
        }
        copies.push((what, text));
    }
    copies
}

/// The copy, and the original, in every pair of places.
fn put(forge: &mut Forge<'_>, place: usize, source: &Source<'_>, element: &Element, name: &str, copy: &str) {
    let mut add = |what: &str, edits: Vec<(std::ops::Range<usize>, &str)>| {
        forge.text(place, Kind::Wrapped, &format!("{name} {what}"), edited(source.text, edits));
    };
    let own = element.whole.clone();
    let original = source.portable(element);
    let original = original.as_str();
    add("alone", vec![(own.clone(), copy)]);
    add("before the original", vec![(own.start..own.start, copy)]);
    add("behind the original", vec![(own.end..own.end, copy)]);
    let end_of_copy = copy.rfind("</").unwrap_or(copy.len());
    let around = spliced(copy, end_of_copy..end_of_copy, original);
    add("around the original", vec![(own.clone(), around.as_str())]);
    if let Some(end) = Source::end_of(element) {
        add("in the original", vec![(end..end, copy)]);
    }
    let object =
        |text: &str| format!("<ds:Object xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">{text}</ds:Object>");
    let (object_of_original, object_of_copy) = (object(original), object(copy));
    let hosts = [
        "XAdESSignatures",
        "Signature",
        "KeyInfo",
        "Object",
        "QualifyingProperties",
        "UnsignedProperties",
        "UnsignedSignatureProperties",
        "HashChain",
        "HashStep",
    ];
    for host in hosts.into_iter().filter_map(|local| source.named(local).next()).map(|(_, host)| host) {
        let Some(end) = Source::end_of(host) else { continue };
        if element.contains(host) {
            continue;
        }
        let begin = host.start.end;
        let at = &host.tag;
        add(&format!("and the original at the end of {at}"), vec![(own.clone(), copy), (end..end, original)]);
        add(
            &format!("and the original at the beginning of {at}"),
            vec![(own.clone(), copy), (begin..begin, original)],
        );
        add(
            &format!("and the original in an object of {at}"),
            vec![(own.clone(), copy), (end..end, object_of_original.as_str())],
        );
        add(&format!("at the end of {at}"), vec![(end..end, copy)]);
        add(&format!("at the beginning of {at}"), vec![(begin..begin, copy)]);
        add(&format!("in an object of {at}"), vec![(end..end, object_of_copy.as_str())]);
    }
}

/// Pieces of other signed things: each element that both have, in place of the own one and behind it.
pub(super) fn transplant(forge: &mut Forge<'_>, place: usize, source: &Source<'_>, others: &[&Pieces]) {
    let name = forge.original.0[place].0.clone();
    for (number, other) in others.iter().enumerate() {
        let Some(text) = other.get(&name).and_then(|bytes| std::str::from_utf8(bytes).ok()) else { continue };
        forge.text(place, Kind::Transplanted, &format!("that of {number}"), text.to_owned());
        let theirs = Source::read(text);
        let mut counted = std::collections::HashMap::<&str, usize>::new();
        for element in &source.elements {
            let nth = counted.entry(element.local.as_str()).or_default();
            let found = theirs.named(&element.local).nth(*nth);
            *nth += 1;
            let Some((_, found)) = found else { continue };
            let graft = theirs.portable(found);
            let what = format!("{} no. {nth} of {number}", element.tag);
            let own = element.whole.clone();
            let mut add = |what: &str, text| forge.text(place, Kind::Transplanted, what, text);
            add(&what, spliced(source.text, own.clone(), &graft));
            add(&format!("{what}, too"), spliced(source.text, own.end..own.end, &graft));
            if let (Some(mine), Some(inner)) = (&element.inner, &found.inner) {
                let content = &text[inner.clone()];
                add(&format!("content of {what}"), spliced(source.text, mine.clone(), content));
            }
        }
    }
}
