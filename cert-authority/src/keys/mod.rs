//! Keys of our own: what they are called, who signs with them, where they are kept.
//!
//! Talk to a key through [`Signer`]: it is given the small structure to be signed, never a body, and
//! answers later, so that a key file, a PKCS#11 device and a separate process look the same.
//!
//! - [`software`]: keys in encrypted files
//! - `remote`: keys in another process, behind a Unix socket (feature `signer`)
//! - [`inventory`]: which keys are here, for what, with which certificates
//! - [`mod@file`]: reading a secret file that nobody else may read
//!
//! Not here: the mathematics ([`crate::crypto`]).

pub mod file;
pub mod inventory;
#[cfg(feature = "signer")]
pub mod remote;
pub mod software;

use std::{fmt, future::Future, path::Path, str::FromStr};

use zeroize::Zeroizing;

use crate::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    crypto::{PublicKey, digest},
    error::{KeyError, PkiError},
};

/// A signature that will come.
pub type SignFuture<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, KeyError>> + Send + 'a>>;

/// Somebody who can sign with private keys.
///
/// Signing may be called from several tasks at once. A failed call has no effect and may be repeated.
pub trait Signer: Send + Sync {
    /// Signs `to_be_signed` (the whole structure, not its digest). ECDSA signatures come as DER.
    fn sign<'a>(
        &'a self,
        key: &'a KeyId,
        algorithm: SignatureAlgorithm,
        to_be_signed: &'a [u8],
    ) -> SignFuture<'a>;

    /// The public half of a key.
    ///
    /// # Errors
    /// [`KeyError::NotFound`].
    fn public_key(&self, key: &KeyId) -> Result<PublicKey, KeyError>;
}

/// Names a key: lower-case hexadecimal of the first 20 bytes of the SHA-256 of its `SubjectPublicKeyInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// The id of the key with this `SubjectPublicKeyInfo`.
    pub fn of_spki(spki: &[u8]) -> Self {
        let mut text = digest(DigestAlgorithm::Sha256, spki).hex();
        text.truncate(40);
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 40 && text.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PkiError::decode("key id", "40 lower-case hexadecimal digits are expected"))
        }
    }
}

/// The kinds of keys that are made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// Elliptic curve P-256.
    EcP256,
    /// Elliptic curve P-384.
    EcP384,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// Ed25519: for signed notes ([`crate::tlog`]) only, never in a certificate.
    Ed25519,
}

impl KeyType {
    /// The kinds that certificates are made for.
    pub const CERTIFIED: [Self; 5] =
        [Self::EcP256, Self::EcP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::EcP256, Self::EcP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::Ed25519];

    /// `p256`, `rsa2048` and the like, as in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcP256 => "p256",
            Self::EcP384 => "p384",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The algorithm we sign with where nobody asks for another.
    pub const fn default_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::EcP256 => SignatureAlgorithm::EcdsaSha256,
            Self::EcP384 => SignatureAlgorithm::EcdsaSha384,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => SignatureAlgorithm::RsaPkcs1Sha512,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyType {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        Self::ALL.into_iter().find(|t| t.name() == text).ok_or_else(|| {
            PkiError::decode("key type", "p256, p384, rsa2048, rsa3072, rsa4096 or ed25519 is expected")
        })
    }
}

/// A PIN or passphrase. Overwritten when dropped; never shown.
pub struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// A PIN from memory.
    pub fn new(pin: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(pin.into()))
    }

    /// Reads a PIN from a file, without the line end at its end.
    ///
    /// # Errors
    /// [`KeyError::Permissions`] when others may read the file; [`KeyError::Malformed`] when it is empty.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let mut content = file::read_secret(path)?;
        if content.last() == Some(&b'\n') {
            content.pop();
            if content.last() == Some(&b'\r') {
                content.pop();
            }
        }
        if content.is_empty() {
            let reason = "the PIN is empty".to_owned();
            return Err(KeyError::Malformed { path: path.display().to_string(), reason });
        }
        Ok(Self(content))
    }

    /// The PIN itself.
    ///
    /// # Security
    /// Do not copy it to where it is not overwritten.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
