//! What can go wrong with a configuration: the floor of the crate, it imports nothing of ours.
//!
//! Each variant says what happened, so that a gateway can map it to the code that a peer of X-Road 7.8
//! expects. Reasons in words are for people and are never matched on.

use thiserror::Error;

/// Why a text or an element is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentifierError {
    /// A segment is empty or only white space.
    #[error("{0} is blank")]
    Blank(&'static str),
    /// Too few or too many segments.
    #[error("{kind} cannot have {found} segments")]
    SegmentCount {
        /// What was to be read.
        kind: &'static str,
        /// How many segments there were.
        found: usize,
    },
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("incomplete percent encoding")]
    BadEscape,
    /// A character that has to be percent-encoded in a segment.
    #[error("character {0:?} is not allowed in a path segment")]
    BadCharacter(char),
    /// The decoded bytes are no UTF-8.
    #[error("the decoded segment is not UTF-8")]
    NotUtf8,
    /// X-Road accepts this character from others; nobody may register it with us.
    #[error("character {character:?} is not allowed in {part}")]
    NotRegistrable {
        /// The part of the identifier.
        part: &'static str,
        /// The character.
        character: char,
    },
    /// The attribute `objectType` is missing.
    #[error("attribute objectType is missing")]
    NoObjectType,
    /// The attribute `objectType` names another kind of identifier.
    #[error("unexpected objectType {0}")]
    ObjectType(String),
    /// A subsystem without its code.
    #[error("a SUBSYSTEM needs a subsystemCode")]
    SubsystemMissing,
    /// A member with the code of a subsystem.
    #[error("a MEMBER has no subsystemCode")]
    SubsystemRedundant,
    /// The element does not have the children that an identifier has.
    #[error(transparent)]
    Xml(Box<XmlError>),
}

/// Why a text is not the XML document that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum XmlError {
    /// It is not well-formed.
    #[error("not well-formed: {0}")]
    Syntax(String),
    /// It has a document type declaration; none of ours ever has.
    #[error("a document type declaration is not allowed")]
    Doctype,
    /// It is longer, or has more nodes, than any real one.
    #[error("the document is too large")]
    TooLarge,
    /// It is not encoded in UTF-8.
    #[error("the document is not UTF-8")]
    NotUtf8,
    /// The root element is another one.
    #[error("the root element is {0}")]
    Root(String),
    /// An element or attribute is missing.
    #[error("{missing} is missing in {parent}")]
    Missing {
        /// The element or attribute.
        missing: &'static str,
        /// Its parent.
        parent: String,
    },
    /// An element is not allowed here, or stands in the wrong place.
    #[error("{element} is not allowed here in {parent}")]
    Unexpected {
        /// The element.
        element: String,
        /// Its parent.
        parent: String,
    },
    /// The text of an element is not of its type.
    #[error("{element} has a wrong value: {reason}")]
    Value {
        /// The element.
        element: String,
        /// What is wrong.
        reason: String,
    },
    /// The document refers to an identifier that it does not define.
    #[error("nothing has the id {0}")]
    DanglingReference(String),
    /// Two elements have the same id.
    #[error("the id {0} is used twice")]
    DuplicateId(String),
    /// An identifier is wrong.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
}

impl From<XmlError> for IdentifierError {
    fn from(error: XmlError) -> Self {
        Self::Xml(Box::new(error))
    }
}
