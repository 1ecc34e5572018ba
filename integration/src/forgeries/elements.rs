//! Elements removed, doubled, nested, moved, renamed, swapped, in other namespaces.

use super::surgery::{Source, edited, namespaced, retagged, spliced};
use super::{Forge, Kind};

/// Of the pairs of an element and a place that it could be moved to, no more than about so many are tried in a text.
const MOVES: usize = 600;

pub(super) fn forge(forge: &mut Forge<'_>, place: usize, source: &Source<'_>) {
    single(forge, place, source);
    prefixes(forge, place, source);
    moved(forge, place, source);
    swapped(forge, place, source);
}

fn single(forge: &mut Forge<'_>, place: usize, source: &Source<'_>) {
    let text = source.text;
    for (number, element) in source.elements.iter().enumerate() {
        let mut add = |kind: Kind, what: &str, changed: String| {
            forge.text(place, kind, &format!("{} ({number}) {what}", element.tag), changed);
        };
        let own = element.whole.clone();
        let whole = source.whole(element);
        if let Some(parent) = element.parent.map(|parent| &source.elements[parent]) {
            add(Kind::Removed, "removed", spliced(text, own.clone(), ""));
            add(Kind::Doubled, "doubled", spliced(text, own.end..own.end, whole));
            let first = parent.start.end;
            add(Kind::Doubled, "doubled at the beginning", spliced(text, first..first, whole));
            let last = Source::end_of(parent).unwrap();
            add(Kind::Doubled, "doubled at the end", spliced(text, last..last, whole));
        }
        if let Some(inner) = &element.inner {
            add(Kind::Removed, "emptied", spliced(text, inner.clone(), ""));
            add(Kind::Removed, "replaced by what it holds", spliced(text, own.clone(), &text[inner.clone()]));
        }
        let tag = &element.tag;
        for (what, around) in [
            ("in one of its name", format!("<{tag}>{whole}</{tag}>")),
            (
                "in an object",
                format!(
                    "<ds:Object xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">{}</ds:Object>",
                    source.portable(element)
                ),
            ),
            ("in a stranger", format!("<x:y xmlns:x=\"urn:x\">{whole}</x:y>")),
            ("in nothing", format!("<y xmlns=\"\">{whole}</y>")),
        ] {
            add(Kind::Nested, what, spliced(text, own.clone(), &around));
        }
        add(Kind::Renamed, "with a letter more", retagged(text, own.clone(), |tag| format!("{tag}X")));
        add(Kind::Renamed, "in small letters", retagged(text, own.clone(), str::to_lowercase));
        let local = |tag: &str| tag.rsplit(':').next().unwrap_or(tag).to_owned();
        add(Kind::Renamed, "without a prefix", retagged(text, own.clone(), local));
        if let Some(parent) = element.parent.map(|parent| &source.elements[parent]) {
            add(Kind::Renamed, "as its parent", retagged(text, own.clone(), |_| parent.tag.clone()));
        }
        add(Kind::Namespace, "in another namespace", namespaced(text, own.clone()));
        let at = element.start.start + 1 + tag.len();
        add(Kind::Namespace, "with another default", spliced(text, at..at, " xmlns=\"urn:x\""));
        add(Kind::Namespace, "with a prefix more", spliced(text, at..at, " xmlns:x=\"urn:x\""));
        if let Some((prefix, _)) = tag.split_once(':') {
            let other = format!(" xmlns:{prefix}=\"urn:x\"");
            add(Kind::Namespace, "with its prefix elsewhere", spliced(text, at..at, &other));
        }
    }
}

/// Every declaration of a namespace names another one; every prefix becomes another.
fn prefixes(forge: &mut Forge<'_>, place: usize, source: &Source<'_>) {
    let text = source.text;
    for (at, _) in text.match_indices("xmlns") {
        let Some(open) = text[at..].find(['"', '\'']).map(|open| at + open + 1) else { continue };
        let Some(end) = text[open..].find(['"', '\'']).map(|end| open + end) else { continue };
        let uri = &text[open..end];
        let mut add = |what: &str, other: String| {
            let changed = spliced(text, open..end, &other);
            forge.text(place, Kind::Namespace, &format!("{uri} {what}"), changed);
        };
        add("is nothing", String::new());
        add("is longer", format!("{uri}x"));
        add("ends with a blank", format!("{uri} "));
        add("begins with a blank", format!(" {uri}"));
        add("is in large letters", uri.to_uppercase());
        add("is without its last letter", uri[..uri.len() - 1].to_owned());
        add("is encrypted", uri.replace("http:", "https:"));
        add("is written with an entity", uri.replacen(':', "&#58;", 1));
        add("is XML's", "http://www.w3.org/XML/1998/namespace".to_owned());
        if let Some(prefix) = text[at..open].strip_prefix("xmlns:").and_then(|rest| rest.split('=').next()) {
            let prefix = prefix.trim();
            for other in ["p", "DS", "xmlfoo"] {
                let changed = text
                    .replace(&format!("xmlns:{prefix}="), &format!("xmlns:{other}="))
                    .replace(&format!("<{prefix}:"), &format!("<{other}:"))
                    .replace(&format!("</{prefix}:"), &format!("</{other}:"));
                let what = format!("the prefix {prefix} is {other}");
                forge.text(place, Kind::Namespace, &what, changed);
            }
            let changed = text
                .replace(&format!("xmlns:{prefix}="), "xmlns=")
                .replace(&format!("<{prefix}:"), "<")
                .replace(&format!("</{prefix}:"), "</");
            forge.text(place, Kind::Namespace, &format!("{prefix} is the default"), changed);
        }
    }
}

/// Every element into every other, evenly thinned out where there are many.
fn moved(forge: &mut Forge<'_>, place: usize, source: &Source<'_>) {
    let pairs = source.elements.len() * source.elements.len();
    let every = pairs.div_ceil(MOVES).max(1);
    let mut count = 0_usize;
    for (from, element) in source.elements.iter().enumerate() {
        for (to, target) in source.elements.iter().enumerate() {
            let Some(end) = Source::end_of(target) else { continue };
            if element.contains(target) {
                continue;
            }
            count += 1;
            if !count.is_multiple_of(every) {
                continue;
            }
            let portable = source.portable(element);
            let portable = portable.as_str();
            let mut add = |what: &str, edits: Vec<_>| {
                let what = format!("{} ({from}) {what} {} ({to})", element.tag, target.tag);
                forge.text(place, Kind::Moved, &what, edited(source.text, edits));
            };
            let first = target.start.end;
            add("moved to the end of", vec![(element.whole.clone(), ""), (end..end, portable)]);
            add("moved to the beginning of", vec![(element.whole.clone(), ""), (first..first, portable)]);
            add("copied into", vec![(end..end, portable)]);
        }
    }
}

/// Siblings change places; elements of one name change what they hold, and their attributes.
fn swapped(forge: &mut Forge<'_>, place: usize, source: &Source<'_>) {
    let elements = &source.elements;
    for (one, first) in elements.iter().enumerate() {
        for (other, second) in elements.iter().enumerate().skip(one + 1) {
            let mut add = |what: &str, edits: Vec<_>| {
                let what = format!("{} ({one}) and {} ({other}) {what}", first.tag, second.tag);
                forge.text(place, Kind::Swapped, &what, edited(source.text, edits));
            };
            if first.contains(second) {
                continue;
            }
            let both = vec![
                (first.whole.clone(), source.whole(second)),
                (second.whole.clone(), source.whole(first)),
            ];
            let same_name = first.local == second.local;
            if first.parent == second.parent || same_name {
                add("in each other's place", both);
            }
            if let (true, Some(inner), Some(with)) = (same_name, &first.inner, &second.inner) {
                let (one, other) = (&source.text[inner.clone()], &source.text[with.clone()]);
                add("with each other's content", vec![(inner.clone(), other), (with.clone(), one)]);
                add("with the content of the first", vec![(with.clone(), one)]);
                add("with the content of the second", vec![(inner.clone(), other)]);
            }
            for (mine, theirs) in first.attributes.iter().zip(&second.attributes) {
                if same_name && mine.name == theirs.name {
                    let (one, other) = (&source.text[mine.value.clone()], &source.text[theirs.value.clone()]);
                    let edits = vec![(mine.value.clone(), other), (theirs.value.clone(), one)];
                    add(&format!("with each other's {}", mine.name), edits);
                }
            }
        }
    }
}
