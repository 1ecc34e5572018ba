//! Parts of a message, entries of a container: swapped, doubled, renamed, changed, missing, of others.

use bytes::Bytes;

use super::{Forge, Kind, Pieces};

pub(super) fn forge(forge: &mut Forge<'_>, others: &[&Pieces]) {
    let pieces = forge.original;
    let count = pieces.0.len();
    for (place, (name, bytes)) in pieces.0.iter().enumerate() {
        let mut add = |what: &str, pieces: Pieces| forge.add(Kind::Part, format!("{name} {what}"), pieces);
        let mut without = pieces.clone();
        without.0.remove(place);
        add("missing", without);
        add("empty", pieces.with(place, Bytes::new()));
        add("of blanks", pieces.with(place, &b" \n"[..]));
        for (what, change) in CHANGES {
            let mut changed = bytes.to_vec();
            change(&mut changed);
            add(what, pieces.with(place, changed));
            // The changed one beside the original, before and behind it.
            let mut changed = bytes.to_vec();
            change(&mut changed);
            for at in [place, place + 1] {
                let mut both = pieces.clone();
                both.0.insert(at, (name.clone(), changed.clone().into()));
                add(&format!("twice, no. {} {what}", at - place + 1), both);
            }
        }
        for at in 0..=count {
            let mut twice = pieces.clone();
            twice.0.insert(at, (name.clone(), bytes.clone()));
            add(&format!("also at {at}"), twice);
        }
        for other in renamed(name).into_iter().chain(pieces.0.iter().map(|(name, _)| name.clone())) {
            let mut named = pieces.clone();
            named.0[place].0.clone_from(&other);
            add(&format!("called {other}"), named);
            let mut also = pieces.clone();
            also.0.push((other.clone(), bytes.clone()));
            add(&format!("also called {other}"), also);
        }
        for (with, (other, content)) in pieces.0.iter().enumerate() {
            add(&format!("with the content of {other}"), pieces.with(place, content.clone()));
            let mut swapped = pieces.with(place, content.clone());
            swapped.0[with].1 = bytes.clone();
            add(&format!("and {other} with each other's content"), swapped);
            let mut swapped = pieces.clone();
            swapped.0.swap(place, with);
            add(&format!("and {other} in each other's place"), swapped);
        }
        for (number, other) in others.iter().enumerate() {
            if let Some(content) = other.get(name) {
                add(&format!("of {number}"), pieces.with(place, content.clone()));
            }
        }
    }
    for (number, other) in others.iter().enumerate() {
        for (name, content) in &other.0 {
            let mut more = pieces.clone();
            more.0.push((name.clone(), content.clone()));
            forge.add(Kind::Part, format!("{name} of {number}, too"), more);
        }
        // All that is signed of one, all that signs of the other.
        for of_other in [true, false] {
            let mut mixed = pieces.clone();
            for (name, bytes) in &mut mixed.0 {
                let signs = name.contains("ign") || name.contains("hain") || name.contains("META-INF");
                if signs == of_other
                    && let Some(theirs) = other.get(name)
                {
                    *bytes = theirs.clone();
                }
            }
            forge.add(Kind::Part, format!("mixed with {number}"), mixed);
        }
    }
}

type Change = fn(&mut Vec<u8>);

const CHANGES: [(&str, Change); 12] = [
    ("with a bit changed at its beginning", |bytes| flip(bytes, |_| 0)),
    ("with a bit changed in its middle", |bytes| flip(bytes, |length| length / 2)),
    ("with a bit changed at its end", |bytes| flip(bytes, |length| length.saturating_sub(1))),
    ("with a byte more", |bytes| bytes.push(b'x')),
    ("with a line end more", |bytes| bytes.extend_from_slice(b"\r\n")),
    ("with a NUL more", |bytes| bytes.push(0)),
    ("with a byte in front", |bytes| bytes.insert(0, b' ')),
    ("with a byte order mark", |bytes| {
        bytes.splice(0..0, *b"\xef\xbb\xbf");
    }),
    ("without its last byte", |bytes| bytes.truncate(bytes.len().saturating_sub(1))),
    ("without its first byte", |bytes| {
        bytes.splice(0..bytes.len().min(1), []);
    }),
    ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
    ("doubled", |bytes| bytes.extend_from_within(..)),
];

fn flip(bytes: &mut [u8], at: impl Fn(usize) -> usize) {
    let at = at(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
}

/// Names that somebody could take for this one.
fn renamed(name: &str) -> Vec<String> {
    let mut names = vec![
        name.to_uppercase(),
        format!("/{name}"),
        format!("./{name}"),
        format!("../{name}"),
        format!("{name}/"),
        format!("{name} "),
        format!(" {name}"),
        format!("{name};x=y"),
        format!("{name}\0"),
        name.replacen('/', "\\", 1),
        name.replacen('/', "//", 1),
        "x/y".to_owned(),
        String::new(),
    ];
    for other in [
        "attachment",
        "attachment0",
        "attachment1",
        "attachment01",
        "attachment2",
        "attachment9",
        "META-INF/x",
    ] {
        names.push(other.to_owned());
    }
    names
}
