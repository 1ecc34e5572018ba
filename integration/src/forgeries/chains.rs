//! Hash chains whose digests stay what they are, while their entries become something else: the digest of a step says
//! neither what kind its entries are of nor what they name.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;

use super::surgery::{Element, Source, edited, retagged, spliced};
use super::{Forge, Kind, Pieces};

pub(super) fn forge(forge: &mut Forge<'_>, place: usize, source: &Source<'_>, others: &[&Pieces]) {
    let parts: Vec<&Element> = source.named("DataRef").map(|(_, element)| element).collect();
    if parts.is_empty() {
        return;
    }
    let own = contents(std::iter::once(forge.original));
    renamed(forge, place, source, &parts, &own);
    hidden(forge, place, source, &parts, &own);
    let all = contents(std::iter::once(forge.original).chain(others.iter().copied()));
    shown(forge, place, source, parts.len(), &all);
}

/// What can be named by a digest: the place among its pieces, and the content.
fn contents<'a>(pieces: impl Iterator<Item = &'a Pieces>) -> HashMap<String, (usize, Bytes)> {
    let mut known = HashMap::new();
    for pieces in pieces {
        for (at, (_, bytes)) in pieces.0.iter().enumerate() {
            for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha384, DigestAlgorithm::Sha512] {
                let digest = STANDARD.encode(digest(algorithm, bytes));
                known.entry(digest).or_insert_with(|| (at, bytes.clone()));
            }
        }
    }
    known
}

/// The digest that an entry states.
fn stated(source: &Source<'_>, entry: &Element) -> String {
    let value = source.named("DigestValue").find(|(_, value)| entry.contains(value));
    let inner = value.and_then(|(_, value)| value.inner.clone()).unwrap_or_default();
    source.text[inner].split_whitespace().collect()
}

fn uri(entry: &Element) -> std::ops::Range<usize> {
    entry.attributes.iter().find(|attribute| attribute.name == "URI").map(|uri| uri.value.clone()).unwrap()
}

/// Two parts have each other's name, and each other's place.
fn renamed(
    forge: &mut Forge<'_>,
    place: usize,
    source: &Source<'_>,
    parts: &[&Element],
    own: &HashMap<String, (usize, Bytes)>,
) {
    for (one, first) in parts.iter().enumerate() {
        for (other, second) in parts.iter().enumerate().skip(one + 1) {
            let (mine, theirs) = (uri(first), uri(second));
            let edits =
                vec![(mine.clone(), &source.text[theirs.clone()]), (theirs.clone(), &source.text[mine])];
            let mut pieces = forge.original.with(place, edited(source.text, edits));
            let found = [first, second].map(|part| own.get(&stated(source, part)).map(|(at, _)| *at));
            if let [Some(a), Some(b)] = found {
                let content = pieces.0[a].1.clone();
                pieces.0[a].1 = std::mem::replace(&mut pieces.0[b].1, content);
            }
            forge.add(Kind::Chain, format!("parts {one} and {other} under each other's name"), pieces);
        }
    }
}

/// A part becomes a digest of something else, and is taken out.
fn hidden(
    forge: &mut Forge<'_>,
    place: usize,
    source: &Source<'_>,
    parts: &[&Element],
    own: &HashMap<String, (usize, Bytes)>,
) {
    for (number, part) in parts.iter().enumerate() {
        let name = part.attributes.iter().find(|attribute| attribute.name == "URI").unwrap();
        let blank = " ".repeat(name.whole.len());
        let nameless = spliced(source.text, name.whole.clone(), &blank);
        let text = retagged(&nameless, part.whole.clone(), |tag| tag.replace("DataRef", "HashValue"));
        let mut pieces = forge.original.with(place, text);
        forge.add(Kind::Chain, format!("part {number} as a digest of something else"), pieces.clone());
        if let Some((at, _)) = own.get(&stated(source, part)) {
            pieces.0.remove(*at);
            forge.add(Kind::Chain, format!("part {number} as a digest of something else, and gone"), pieces);
        }
    }
}

/// A digest of something else becomes one part more: what it is of, where that is known, or nothing.
fn shown(
    forge: &mut Forge<'_>,
    place: usize,
    source: &Source<'_>,
    parts: usize,
    all: &HashMap<String, (usize, Bytes)>,
) {
    for (number, value) in source.named("HashValue") {
        let text = retagged(source.text, value.whole.clone(), |tag| tag.replace("HashValue", "DataRef"));
        let at = value.start.start + 1 + value.tag.replace("HashValue", "DataRef").len();
        let text = spliced(&text, at..at, &format!(" URI=\"/attachment{parts}\""));
        let mut pieces = forge.original.with(place, text);
        forge.add(Kind::Chain, format!("the digest {number} as a part that is not there"), pieces.clone());
        let Some((_, content)) = all.get(&stated(source, value)) else { continue };
        let is_message = |(name, _): &(String, Bytes)| name.starts_with("application/x-road-rest-re");
        match pieces.0.iter().position(is_message) {
            Some(message) => {
                pieces.0.insert(message + 1, ("application/x-road-rest-body".to_owned(), content.clone()));
            }
            None => pieces.0.push((format!("attachment{parts}"), content.clone())),
        }
        forge.add(Kind::Chain, format!("the digest {number} as a part, with what it is of"), pieces);
    }
}
