//! What can go wrong with a configuration: the floor of the crate, it imports nothing of it.
//!
//! Each variant says what happened, so that a gateway can map it to the code that a peer of X-Road 7.8
//! expects. Reasons in words are for people and are never matched on.

use cert_authority::clock::UnixTime;
use cert_authority::error::{KeyError, VerifyError};
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

/// Why a subject does not name a member, as its certificate profile wants it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// The configuration names a profile that nobody here knows.
    #[error("unknown certificate profile {0}")]
    Unknown(String),
    /// The subject lacks an attribute.
    #[error("the subject has no {0}")]
    MissingAttribute(&'static str),
    /// The subject has an attribute twice: which one counts would be a guess.
    #[error("the subject has more than one {0}")]
    RepeatedAttribute(&'static str),
    /// An attribute has another form than the profile wants.
    #[error("the {0} of the subject has another form than the profile wants")]
    WrongAttribute(&'static str),
    /// The subject names a member of another instance.
    #[error("the subject is of the instance {found}, not {expected}")]
    OtherInstance {
        /// The instance that was asked about.
        expected: String,
        /// The instance in the subject.
        found: String,
    },
    /// The parts do not make an identifier.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
}

/// Why a signed directory is not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DirectoryError {
    /// The multipart framing is broken.
    #[error("not a signed directory: {0}")]
    Framing(&'static str),
    /// A header is missing.
    #[error("header {0} is missing")]
    MissingHeader(&'static str),
    /// A header is there twice.
    #[error("header {0} is there twice")]
    RepeatedHeader(&'static str),
    /// A header has a wrong value.
    #[error("header {name} has a wrong value: {value}")]
    WrongHeader {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// There is nothing that could be signed.
    #[error("the signed part is missing")]
    MissingSignedData,
    /// There is no signature.
    #[error("the signature is missing")]
    MissingSignature,
    /// The first inner part does not say when the configuration expires.
    #[error("the expiration date is missing")]
    MissingExpireDate,
    /// Text that should be base64.
    #[error("{0} is not base64")]
    NotBase64(&'static str),
    /// More bytes or parts than any real directory has.
    #[error("the directory is too large")]
    TooLarge,
}

/// What is wrong with a configuration, or with a question to it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfError {
    /// There is no configuration.
    #[error("there is no configuration of {0}")]
    Missing(String),
    /// The configuration of the own instance has expired: nothing may be exchanged.
    #[error("the configuration of {instance} expired at {at}")]
    Expired {
        /// Whose configuration.
        instance: String,
        /// When it expired.
        at: UnixTime,
    },
    /// A valid configuration that is older than the one in force.
    #[error(
        "the configuration of {instance} that expires at {found} is older than the one in force ({kept})"
    )]
    RolledBack {
        /// Whose configuration.
        instance: String,
        /// Expire-date of the one in force.
        kept: UnixTime,
        /// Expire-date of the one that was refused.
        found: UnixTime,
    },
    /// The signed directory cannot be taken apart.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A document is not what it should be.
    #[error("{what}: {reason}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// What is wrong with it.
        reason: XmlError,
    },
    /// A version that is not known, or that is not written.
    #[error("version {0} of the configuration is not supported")]
    UnsupportedVersion(String),
    /// The directory is signed with a key that the anchor does not know.
    #[error("no verification certificate has the hash {hash}")]
    UnknownVerificationCertificate {
        /// The hash in the directory, base64.
        hash: String,
    },
    /// The verification certificate of that hash cannot be read.
    #[error("the verification certificate cannot be read: {0}")]
    BadVerificationCertificate(String),
    /// The directory cannot be signed.
    #[error("the directory cannot be signed: {0}")]
    Signing(KeyError),
    /// The signature over the directory does not hold.
    #[error("the signature of the directory does not hold: {0}")]
    Signature(VerifyError),
    /// A part is not the one that the directory has the hash of.
    #[error("{location} is not what the directory says")]
    HashMismatch {
        /// `Content-location` of the part.
        location: String,
    },
    /// A part that must be there is not.
    #[error("the configuration of {instance} has no {part}")]
    MissingPart {
        /// Whose configuration.
        instance: String,
        /// Which part.
        part: String,
    },
    /// Two parts of the same kind, or with the same file name.
    #[error("the directory has {0} twice")]
    DuplicatePart(String),
    /// A name that could lead out of the directory where parts are kept.
    #[error("unsafe name {0:?}")]
    UnsafeName(String),
    /// A part, or a document, of another instance than expected.
    #[error("expected the instance {expected}, found {found}")]
    OtherInstance {
        /// The instance expected.
        expected: String,
        /// The instance found.
        found: String,
    },
    /// A certificate that no approved authority of the instance has issued.
    #[error("no approved certification authority of {instance} has issued the certificate of {subject}")]
    UnknownCa {
        /// The instance that was asked.
        instance: String,
        /// The subject of the certificate.
        subject: String,
    },
    /// A signing certificate from an authority that is approved for TLS only.
    #[error("{0} is approved for authentication certificates only")]
    AuthenticationOnlyCa(String),
    /// A certificate that is not meant for signing.
    #[error("the certificate of {0} is not a signing certificate")]
    NotASigningCertificate(String),
    /// The subject does not name a member.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The path from a certificate to an approved authority is not valid.
    #[error(transparent)]
    Chain(#[from] VerifyError),
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A download failed.
    #[error("{url}: {reason}")]
    Http {
        /// From where.
        url: String,
        /// What happened.
        reason: String,
    },
}

impl ConfError {
    pub(crate) fn malformed(what: &'static str, reason: XmlError) -> Self {
        Self::Malformed { what, reason }
    }

    pub(crate) fn io(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), reason: error.to_string() }
    }
}
