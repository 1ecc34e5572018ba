//! Signed notes: text, an empty line, and a line for each signature.
//!
//! ```text
//! text, which ends in a newline
//!
//! — key-name base64(key id (4), signature)
//! ```
//! Specification: C2SP signed-note v1; the types 0x01 (Ed25519) and 0x04 (timestamped cosignature, of
//! [`super::checkpoint`]s only).
//!
//! Not here: what the text says.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use crate::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    clock::UnixTime,
    crypto::{EcdsaForm, PublicKey, digest_parts},
    error::KeyError,
    keys::{KeyId, Signer},
};

/// The longest note that is read.
pub const LONGEST: usize = 256 << 10;
/// Most signatures of a note that is read.
pub const MOST_SIGNATURES: usize = 64;

const SIGNATURE: &str = "\u{2014} ";

/// Why a note, or a part of one, is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It does not have the form.
    #[error("malformed note: {0}")]
    Malformed(&'static str),
    /// Not a name that a key may have.
    #[error("\"{0}\" is no name of a key: it is empty, or has a space or a plus")]
    Name(String),
    /// The text of a verifier key cannot be read.
    #[error("malformed verifier key: {0}")]
    VerifierKey(&'static str),
    /// The key signs otherwise than Ed25519.
    #[error("notes are signed with Ed25519 keys")]
    KeyType,
    /// A signature by a known key does not hold: the note was changed, or made to deceive.
    #[error("the signature of {0} does not hold")]
    BadSignature(String),
    /// No known key has signed.
    #[error("no signature by a known key")]
    Unsigned,
}

/// What kind of signature a key makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureType {
    /// Ed25519 over the text.
    Ed25519,
    /// Ed25519 over a time and a checkpoint's text: the word of a witness.
    Cosignature,
}

impl SignatureType {
    const fn code(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// A key that notes are verified with: `name+id+base64`, as people hand it to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: SignatureType,
    public: PublicKey,
}

impl VerifierKey {
    /// The key of this name.
    ///
    /// # Errors
    /// [`NoteError::Name`]; [`NoteError::KeyType`] when the key is not Ed25519.
    pub fn new(name: &str, kind: SignatureType, public: PublicKey) -> Result<Self, NoteError> {
        check_name(name)?;
        let encoded = public.ed25519().ok_or(NoteError::KeyType)?;
        let hash = digest_parts(DigestAlgorithm::Sha256, &[name.as_bytes(), b"\n", &[kind.code()], &encoded]);
        let id = hash.as_ref().first_chunk().copied().map_or(0, u32::from_be_bytes);
        Ok(Self { name: name.to_owned(), id, kind, public })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id: with the name it says which key made a signature.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What it signs.
    pub const fn kind(&self) -> SignatureType {
        self.kind
    }

    /// Whether a signature says that it is by this key. It may still be false.
    pub fn is_named_by(&self, signature: &Signature) -> bool {
        signature.id == self.id && signature.name == self.name
    }

    /// Verifies that a signature is this key's over the text.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`].
    pub fn verify(&self, text: &str, signature: &Signature) -> Result<(), NoteError> {
        let bad = || NoteError::BadSignature(self.name.clone());
        if !self.is_named_by(signature) {
            return Err(bad());
        }
        let holds = |message: &[u8], signature: &[u8]| {
            self.public.verify(SignatureAlgorithm::Ed25519, EcdsaForm::Der, message, signature)
        };
        match self.kind {
            SignatureType::Ed25519 => holds(text.as_bytes(), &signature.bytes),
            SignatureType::Cosignature => {
                let (seconds, bytes) = signature.timestamped().ok_or_else(bad)?;
                holds(cosigned(text, seconds).as_bytes(), bytes)
            }
        }
        .map_err(|_| bad())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.code()];
        key.extend(self.public.ed25519().unwrap_or_default());
        write!(f, "{}+{:08x}+{}", self.name, self.id, BASE64.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::VerifierKey;
        // The base64 may hold a plus too.
        let mut pieces = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (pieces.next(), pieces.next(), pieces.next()) else {
            return Err(malformed("it has the form name+id+base64"));
        };
        let key = BASE64.decode(key).map_err(|_| malformed("its third part is no base64"))?;
        let kind = match key.first() {
            Some(0x01) => SignatureType::Ed25519,
            Some(0x04) => SignatureType::Cosignature,
            _ => return Err(malformed("only the types 1 (Ed25519) and 4 (cosignature) are known")),
        };
        let public: &[u8; 32] = key
            .get(1..)
            .and_then(|rest| rest.try_into().ok())
            .ok_or_else(|| malformed("an Ed25519 key has 32 bytes"))?;
        let made = Self::new(name, kind, PublicKey::from_ed25519(public))?;
        if id != format!("{:08x}", made.id) {
            return Err(malformed("its id is not that of its name and key"));
        }
        Ok(made)
    }
}

/// One signature of a note, as it stands there: nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    id: u32,
    bytes: Vec<u8>,
}

impl Signature {
    /// The name of the key that it says it is by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time that a cosignature states, in seconds, and the signature proper; none for what is too short to be one.
    pub fn timestamped(&self) -> Option<(u64, &[u8])> {
        let (seconds, bytes) = self.bytes.split_first_chunk::<8>()?;
        let seconds = u64::from_be_bytes(*seconds);
        (i64::try_from(seconds).is_ok() && seconds > 0).then_some((seconds, bytes))
    }

    /// Reads a line, without its newline.
    ///
    /// # Errors
    /// [`NoteError::Malformed`], [`NoteError::Name`].
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let malformed = || NoteError::Malformed("a signature line has the form — name base64");
        let (name, encoded) =
            line.strip_prefix(SIGNATURE).and_then(|rest| rest.split_once(' ')).ok_or_else(malformed)?;
        check_name(name)?;
        let decoded = BASE64.decode(encoded).map_err(|_| malformed())?;
        let (id, bytes) = decoded.split_first_chunk::<4>().ok_or_else(malformed)?;
        if bytes.is_empty() {
            return Err(malformed());
        }
        Ok(Self { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
    }
}

impl fmt::Display for Signature {
    /// The line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.to_be_bytes().as_slice(), &self.bytes].concat();
        write!(f, "{SIGNATURE}{} {}", self.name, BASE64.encode(bytes))
    }
}

/// A note as it was read: its text may be believed only after [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// A note of this text, which ends in a newline, with these signatures.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] when no note can have this text.
    pub fn new(text: impl Into<String>, signatures: Vec<Signature>) -> Result<Self, NoteError> {
        let text = text.into();
        check_text(&text)?;
        if signatures.is_empty() {
            return Err(NoteError::Malformed("it has no signature"));
        }
        Ok(Self { text, signatures })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`], [`NoteError::Name`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > LONGEST {
            return Err(NoteError::Malformed("it is too long"));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is no UTF-8"))?;
        let split = whole.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before signatures"))?;
        let (text, rest) = whole.split_at(split + 1);
        let lines = rest
            .strip_prefix('\n')
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(NoteError::Malformed("it does not end in a newline"))?;
        let signatures: Vec<_> =
            lines.split('\n').take(MOST_SIGNATURES + 1).map(Signature::parse).collect::<Result<_, _>>()?;
        if signatures.len() > MOST_SIGNATURES {
            return Err(NoteError::Malformed("it has too many signatures"));
        }
        Self::new(text, signatures)
    }

    /// The text, with the newline at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, believed or not.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature; one by the same key is replaced.
    pub fn add(&mut self, signature: Signature) {
        self.signatures.retain(|other| (other.id, &other.name) != (signature.id, &signature.name));
        self.signatures.push(signature);
    }

    /// The signatures by these keys, all of them verified. Signatures by others are passed over; of several by one key
    /// the first counts.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when one by a known key does not hold, [`NoteError::Unsigned`] when there is none.
    pub fn verify<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a VerifierKey>,
    ) -> Result<Vec<(&'a VerifierKey, &Signature)>, NoteError> {
        let mut verified = Vec::new();
        for key in keys {
            if let Some(signature) = self.signatures.iter().find(|signature| key.is_named_by(signature)) {
                key.verify(&self.text, signature)?;
                verified.push((key, signature));
            }
        }
        if verified.is_empty() { Err(NoteError::Unsigned) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// A key of ours that signs notes.
#[derive(Clone)]
pub struct NoteSigner {
    verifier: VerifierKey,
    key: KeyId,
    signer: Arc<dyn Signer>,
}

impl NoteSigner {
    /// Signs with this key under this name.
    ///
    /// # Errors
    /// [`KeyError::NotFound`]; [`KeyError::Unsupported`] when the key or the name is not one for notes.
    pub fn new(
        name: &str,
        kind: SignatureType,
        key: KeyId,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, KeyError> {
        let public = signer.public_key(&key)?;
        let verifier =
            VerifierKey::new(name, kind, public).map_err(|e| KeyError::Unsupported(e.to_string()))?;
        Ok(Self { verifier, key, signer })
    }

    /// What others verify its signatures with.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a text, which ends in a newline; `now` is stated in a cosignature, and only there.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn sign(&self, text: &str, now: UnixTime) -> Result<Signature, KeyError> {
        let make = async |message: &str| {
            self.signer.sign(&self.key, SignatureAlgorithm::Ed25519, message.as_bytes()).await
        };
        let bytes = match self.verifier.kind {
            SignatureType::Ed25519 => make(text).await?,
            SignatureType::Cosignature => {
                let seconds = u64::try_from(now.as_secs()).unwrap_or(0);
                let signature = make(&cosigned(text, seconds)).await?;
                [seconds.to_be_bytes().as_slice(), &signature].concat()
            }
        };
        Ok(Signature { name: self.verifier.name.clone(), id: self.verifier.id, bytes })
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({})", self.verifier)
    }
}

/// What a cosignature is over (C2SP tlog-cosignature).
fn cosigned(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = name.is_empty() || name.chars().any(|c| c == '+' || c.is_whitespace() || c < ' ');
    if bad { Err(NoteError::Name(name.to_owned())) } else { Ok(()) }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') {
        return Err(NoteError::Malformed("its text does not end in a newline"));
    }
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteError::Malformed("it has control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
