//! Public keys, taken apart once, and the verification of signatures.
//!
//! Specification: RFC 5280 §4.1.2.7, RFC 8017, FIPS 186-5; RFC 9231 §2.3.6 (ECDSA in XML).
//! Not here: whether the key's owner is to be believed.

use std::{fmt, sync::Arc};

use der::{Decode, Encode, asn1::UintRef};
use spki::SubjectPublicKeyInfoRef;

use super::{CURVE_P256, CURVE_P384, EC_PUBLIC_KEY, ED25519, RSA_ENCRYPTION, backend::signature as sig};
use crate::{
    algorithm::SignatureAlgorithm,
    error::{PkiError, VerifyError},
    keys::{KeyId, KeyType},
};

/// The shortest RSA key that is believed, in bits.
const RSA_MIN_BITS: usize = 2048;

/// How an ECDSA signature is written. RSA has one form only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcdsaForm {
    /// `SEQUENCE { r, s }`: certificates, CMS, TLS, the global configuration.
    Der,
    /// r and s one after the other, each as long as the curve: XML signatures.
    Raw,
}

/// A public key, taken apart once. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Arc<Parsed>);

#[derive(PartialEq, Eq)]
struct Parsed {
    kind: Kind,
    spki: Vec<u8>,
    /// The content of the BIT STRING: an EC point or an `RSAPublicKey`.
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Rsa { bits: usize },
    Ed25519,
    Other(String),
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo`. Keys of unknown kinds are read too; they verify nothing.
    ///
    /// # Errors
    /// [`PkiError::Decode`] when it is none, or has bytes behind it.
    pub fn from_spki(der: &[u8]) -> Result<Self, PkiError> {
        let failed = |e: der::Error| PkiError::decode("public key", e);
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(failed)?;
        let key = spki
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| PkiError::decode("public key", "not whole bytes"))?;
        let kind = match (spki.algorithm.oid, spki.algorithm.parameters_oid().ok()) {
            (RSA_ENCRYPTION, _) => modulus_bits(key)
                .map_or_else(|_| Kind::Other("RSA key".to_owned()), |bits| Kind::Rsa { bits }),
            (EC_PUBLIC_KEY, Some(CURVE_P256)) if is_point(key, 32) => Kind::P256,
            (EC_PUBLIC_KEY, Some(CURVE_P384)) if is_point(key, 48) => Kind::P384,
            (EC_PUBLIC_KEY, Some(CURVE_P256 | CURVE_P384)) => {
                Kind::Other("EC key that is no uncompressed point of its curve".to_owned())
            }
            (EC_PUBLIC_KEY, Some(curve)) => Kind::Other(format!("curve {curve}")),
            (ED25519, None) if key.len() == 32 => Kind::Ed25519,
            (algorithm, _) => Kind::Other(format!("key of algorithm {algorithm}")),
        };
        Ok(Self(Arc::new(Parsed { kind, spki: der.to_vec(), key: key.to_vec() })))
    }

    /// The Ed25519 key with this encoding (RFC 8032).
    pub fn from_ed25519(key: &[u8; 32]) -> Self {
        // SEQUENCE { SEQUENCE { 1.3.101.112 }, BIT STRING } (RFC 8410).
        let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let spki = [head.as_slice(), key].concat();
        Self(Arc::new(Parsed { kind: Kind::Ed25519, spki, key: key.to_vec() }))
    }

    /// The encoding (RFC 8032) of an Ed25519 key; none for other kinds.
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        matches!(self.0.kind, Kind::Ed25519).then(|| self.0.key.as_slice().try_into().ok()).flatten()
    }

    /// The `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// The content of the BIT STRING inside, which OCSP hashes.
    pub fn key_bytes(&self) -> &[u8] {
        &self.0.key
    }

    /// The kind of key, where it is one that this project makes; other sizes and curves have none.
    pub fn key_type(&self) -> Option<KeyType> {
        match self.0.kind {
            Kind::P256 => Some(KeyType::EcP256),
            Kind::P384 => Some(KeyType::EcP384),
            Kind::Rsa { bits: 2048 } => Some(KeyType::Rsa2048),
            Kind::Rsa { bits: 3072 } => Some(KeyType::Rsa3072),
            Kind::Rsa { bits: 4096 } => Some(KeyType::Rsa4096),
            Kind::Ed25519 => Some(KeyType::Ed25519),
            Kind::Rsa { .. } | Kind::Other(_) => None,
        }
    }

    /// Whether it is an elliptic-curve key that is supported.
    pub fn is_ec(&self) -> bool {
        matches!(self.0.kind, Kind::P256 | Kind::P384)
    }

    /// Whether it is an RSA key.
    pub fn is_rsa(&self) -> bool {
        self.rsa_bits().is_some()
    }

    /// The length of an RSA key's modulus.
    pub fn rsa_bits(&self) -> Option<usize> {
        match self.0.kind {
            Kind::Rsa { bits } => Some(bits),
            Kind::P256 | Kind::P384 | Kind::Ed25519 | Kind::Other(_) => None,
        }
    }

    /// The id that the key stores know the key by.
    pub fn key_id(&self) -> KeyId {
        KeyId::of_spki(self.spki_der())
    }

    /// Whether the key is of a kind and size that is believed in certificates and messages.
    ///
    /// # Errors
    /// [`VerifyError::WeakKey`] for RSA below 2048 bits, [`VerifyError::UnsupportedAlgorithm`] for others
    /// than RSA, P-256 and P-384.
    pub fn check_strength(&self) -> Result<(), VerifyError> {
        match &self.0.kind {
            Kind::P256 | Kind::P384 => Ok(()),
            Kind::Rsa { bits } if *bits < RSA_MIN_BITS => {
                Err(VerifyError::WeakKey(format!("RSA of {bits} bits")))
            }
            Kind::Rsa { .. } => Ok(()),
            Kind::Ed25519 => {
                Err(VerifyError::UnsupportedAlgorithm("Ed25519 but for signed notes".to_owned()))
            }
            Kind::Other(what) => Err(VerifyError::UnsupportedAlgorithm(what.clone())),
        }
    }

    /// Verifies that `signature` is this key's over `message`. `form` is ignored for RSA.
    ///
    /// # Errors
    /// [`VerifyError::BadSignature`]; [`VerifyError::UnsupportedAlgorithm`] when key and algorithm do not
    /// go together; otherwise as [`Self::check_strength`].
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        form: EcdsaForm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        use SignatureAlgorithm as A;
        use aws_lc_rs::signature as aws;
        if matches!((&self.0.kind, algorithm), (Kind::Ed25519, A::Ed25519)) {
            return self.verify_with(&sig::ED25519, message, signature);
        }
        self.check_strength()?;
        let raw;
        let signature = match (self.coordinate_len(), form) {
            (Some(width), EcdsaForm::Raw) => {
                raw = ecdsa_raw_to_der(width, signature)?;
                &raw
            }
            _ => signature,
        };
        let with = |parameters| self.verify_with(parameters, message, signature);
        match (&self.0.kind, algorithm) {
            (Kind::Rsa { .. }, A::RsaPkcs1Sha256) => with(&sig::RSA_PKCS1_2048_8192_SHA256),
            (Kind::Rsa { .. }, A::RsaPkcs1Sha384) => with(&sig::RSA_PKCS1_2048_8192_SHA384),
            (Kind::Rsa { .. }, A::RsaPkcs1Sha512) => with(&sig::RSA_PKCS1_2048_8192_SHA512),
            (Kind::Rsa { .. }, A::RsaPssSha256) => with(&sig::RSA_PSS_2048_8192_SHA256),
            (Kind::Rsa { .. }, A::RsaPssSha384) => with(&sig::RSA_PSS_2048_8192_SHA384),
            (Kind::Rsa { .. }, A::RsaPssSha512) => with(&sig::RSA_PSS_2048_8192_SHA512),
            (Kind::P256, A::EcdsaSha256) => with(&sig::ECDSA_P256_SHA256_ASN1),
            (Kind::P256, A::EcdsaSha384) => with(&sig::ECDSA_P256_SHA384_ASN1),
            (Kind::P384, A::EcdsaSha256) => with(&sig::ECDSA_P384_SHA256_ASN1),
            (Kind::P384, A::EcdsaSha384) => with(&sig::ECDSA_P384_SHA384_ASN1),
            (Kind::P256, A::EcdsaSha512) => {
                aws::UnparsedPublicKey::new(&aws::ECDSA_P256_SHA512_ASN1, &self.0.key)
                    .verify(message, signature)
                    .map_err(|_| VerifyError::BadSignature)
            }
            (Kind::P384, A::EcdsaSha512) => {
                aws::UnparsedPublicKey::new(&aws::ECDSA_P384_SHA512_ASN1, &self.0.key)
                    .verify(message, signature)
                    .map_err(|_| VerifyError::BadSignature)
            }
            (Kind::Rsa { .. } | Kind::P256 | Kind::P384 | Kind::Ed25519 | Kind::Other(_), _) => {
                Err(VerifyError::UnsupportedAlgorithm(format!("{algorithm:?} with this key")))
            }
        }
    }

    /// As [`Self::verify`], but believes RSA keys from 1024 bits. Only for what is known to have been signed when such keys
    /// were the practice.
    ///
    /// # Errors
    /// As [`Self::verify`]; [`VerifyError::WeakKey`] for RSA below 1024 bits.
    pub fn verify_historic(
        &self,
        algorithm: SignatureAlgorithm,
        form: EcdsaForm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        match (&self.0.kind, algorithm) {
            (Kind::Rsa { bits: 1024..RSA_MIN_BITS }, SignatureAlgorithm::RsaPkcs1Sha256) => {
                self.verify_with(&sig::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, message, signature)
            }
            (Kind::Rsa { bits: 1024..RSA_MIN_BITS }, SignatureAlgorithm::RsaPkcs1Sha512) => {
                self.verify_with(&sig::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, message, signature)
            }
            _ => self.verify(algorithm, form, message, signature),
        }
    }

    fn verify_with(
        &self,
        parameters: &'static dyn sig::VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        sig::UnparsedPublicKey::new(parameters, &self.0.key)
            .verify(message, signature)
            .map_err(|_| VerifyError::BadSignature)
    }

    /// Bytes of r and of s in a raw ECDSA signature by this key; none for other kinds.
    pub fn coordinate_len(&self) -> Option<usize> {
        match self.0.kind {
            Kind::P256 => Some(32),
            Kind::P384 => Some(48),
            Kind::Rsa { .. } | Kind::Ed25519 | Kind::Other(_) => None,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

/// The length of the modulus of an `RSAPublicKey`.
fn modulus_bits(key: &[u8]) -> der::Result<usize> {
    let modulus = RsaPublicKey::from_der(key)?.modulus;
    let top = modulus.as_bytes().first().copied().unwrap_or(0);
    let unused = usize::try_from(top.leading_zeros()).unwrap_or(0);
    Ok((modulus.as_bytes().len() * 8).saturating_sub(unused))
}

/// Whether this has the form of an uncompressed point; that it lies on the curve is checked when it is used.
fn is_point(key: &[u8], width: usize) -> bool {
    key.len() == 1 + 2 * width && key.first() == Some(&4)
}

#[derive(der::Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

#[derive(der::Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// Rewrites an ECDSA signature from `SEQUENCE { r, s }` to r and s of `width` bytes each.
///
/// # Errors
/// [`VerifyError::BadSignature`] when it is no such sequence, or a number is too long.
pub fn ecdsa_der_to_raw(width: usize, der: &[u8]) -> Result<Vec<u8>, VerifyError> {
    let signature = EcdsaSignature::from_der(der).map_err(|_| VerifyError::BadSignature)?;
    let mut raw = Vec::with_capacity(2 * width);
    for number in [signature.r, signature.s] {
        let padding = width.checked_sub(number.as_bytes().len()).ok_or(VerifyError::BadSignature)?;
        raw.extend(std::iter::repeat_n(0, padding));
        raw.extend(number.as_bytes());
    }
    Ok(raw)
}

/// Rewrites an ECDSA signature from r and s of `width` bytes each to `SEQUENCE { r, s }`.
///
/// # Errors
/// [`VerifyError::BadSignature`] when it does not have twice that length.
pub fn ecdsa_raw_to_der(width: usize, raw: &[u8]) -> Result<Vec<u8>, VerifyError> {
    let (r, s) = raw.split_at_checked(width).ok_or(VerifyError::BadSignature)?;
    if s.len() != width {
        return Err(VerifyError::BadSignature);
    }
    let number = |bytes| UintRef::new(bytes).map_err(|_| VerifyError::BadSignature);
    EcdsaSignature { r: number(r)?, s: number(s)? }.to_der().map_err(|_| VerifyError::BadSignature)
}
