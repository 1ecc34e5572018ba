//! Forgeries: what can be made of a signed thing by somebody who has it, and no key.
//!
//! ```text
//! Pieces      a container's entries, or a message's parts on the wire: names with bytes, in their order
//!   └─ forge  every forgery of it, by kind
//!        ├─ elements    elements removed, doubled, nested, moved, renamed, swapped, in other namespaces
//!        ├─ contents    comments, entities, attributes, white space, values, identifiers, references, algorithms
//!        ├─ chains      entries of hash chains as what they are not
//!        ├─ wrapping    a changed copy and the original, each where the other belongs; pieces of other signatures
//!        └─ parts       entries and parts swapped, doubled, renamed, changed, missing
//! surgery     XML as text with places in it: what no writer of XML would write
//! archive     pieces as a ZIP archive, or as a multipart
//! meaning     what a signed thing says: two that say the same are the same
//! ```
//! The list is the same every time: nothing here is drawn by lot. A forgery that equals what it was made from, or another
//! of its list, is left out.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "places in texts that were just parsed; a forgery that cannot be made is a failed test"
)]

mod archive;
mod chains;
mod contents;
mod elements;
mod meaning;
mod parts;
mod surgery;
mod wrapping;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;

pub use archive::{BOUNDARY, multipart, zip};
pub use meaning::{Statement, statement};
pub use surgery::{namespaced, retagged, spliced};

/// How something is forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An element is gone.
    Removed,
    /// An element stands twice, in one place.
    Doubled,
    /// An element is put into a new one.
    Nested,
    /// An element is moved, or copied, into another.
    Moved,
    /// An element has another name.
    Renamed,
    /// An element or a prefix is of another namespace.
    Namespace,
    /// Two elements, or what they hold, have changed places.
    Swapped,
    /// A reference names something else.
    Reference,
    /// An identifier is changed, doubled, taken away.
    Identifier,
    /// An algorithm is another.
    Algorithm,
    /// Comments and processing instructions.
    Comment,
    /// Document types, entities, character references.
    Entity,
    /// Texts as CDATA sections.
    CData,
    /// An attribute is gone, another, doubled, or new.
    Attribute,
    /// Blanks and line ends, byte order marks, declarations.
    Whitespace,
    /// A text is another.
    Value,
    /// A changed copy stands where the original is looked for, and the original elsewhere.
    Wrapped,
    /// A piece of another signed thing.
    Transplanted,
    /// An entry of a hash chain becomes one of another kind or of another name, and the parts with it: the digests stay.
    Chain,
    /// Parts or entries are swapped, doubled, renamed, changed, missing.
    Part,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Removed,
        Self::Doubled,
        Self::Nested,
        Self::Moved,
        Self::Renamed,
        Self::Namespace,
        Self::Swapped,
        Self::Reference,
        Self::Identifier,
        Self::Algorithm,
        Self::Comment,
        Self::Entity,
        Self::CData,
        Self::Attribute,
        Self::Whitespace,
        Self::Value,
        Self::Wrapped,
        Self::Transplanted,
        Self::Chain,
        Self::Part,
    ];
}

/// A signed thing in pieces: names and bytes, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pieces(pub Vec<(String, Bytes)>);

impl Pieces {
    /// The first piece of this name.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes)
    }

    /// The same with another piece in one place.
    fn with(&self, place: usize, bytes: impl Into<Bytes>) -> Self {
        let mut pieces = self.clone();
        pieces.0[place].1 = bytes.into();
        pieces
    }
}

/// Something forged.
#[derive(Debug, Clone)]
pub struct Forgery {
    /// How.
    pub kind: Kind,
    /// In words.
    pub what: String,
    /// The result.
    pub pieces: Pieces,
}

/// Collects forgeries of one thing, each once.
struct Forge<'a> {
    original: &'a Pieces,
    seen: HashSet<u64>,
    made: Vec<Forgery>,
}

impl Forge<'_> {
    fn add(&mut self, kind: Kind, what: impl Into<String>, pieces: Pieces) {
        let mut hasher = DefaultHasher::new();
        pieces.hash(&mut hasher);
        if pieces != *self.original && self.seen.insert(hasher.finish()) {
            self.made.push(Forgery { kind, what: what.into(), pieces });
        }
    }

    /// A piece that is text becomes another.
    fn text(&mut self, place: usize, kind: Kind, what: &str, text: String) {
        let pieces = self.original.with(place, text);
        let name = &self.original.0[place].0;
        self.add(kind, format!("{name}: {what}"), pieces);
    }
}

/// Every forgery of `original`. `signed` names the pieces that say what is signed: signature and hash chains; `others`
/// are signed things of which pieces can be taken.
pub fn forge(original: &Pieces, signed: &[&str], others: &[&Pieces]) -> Vec<Forgery> {
    let mut forge = Forge { original, seen: HashSet::new(), made: Vec::new() };
    for (place, (name, bytes)) in original.0.iter().enumerate() {
        if signed.contains(&name.as_str()) {
            let source = surgery::Source::read(std::str::from_utf8(bytes).unwrap());
            elements::forge(&mut forge, place, &source);
            contents::forge(&mut forge, place, &source);
            wrapping::forge(&mut forge, place, &source);
            wrapping::transplant(&mut forge, place, &source, others);
            chains::forge(&mut forge, place, &source, others);
        }
    }
    parts::forge(&mut forge, others);
    forge.made
}
