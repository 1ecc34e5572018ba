//! All cryptography of the project goes through here: digests, signatures, authenticated encryption,
//! random numbers, and the provider that TLS uses.
//!
//! ring does the work by default, aws-lc-rs what ring lacks (SHA-224, RSA key generation, ECDSA with a
//! digest longer than the curve's own); with the feature `aws-lc` it does everything.
//! Not here: where keys are kept ([`crate::keys`]), who is trusted ([`crate::x509`]).

#[cfg(feature = "aws-lc")]
use aws_lc_rs as backend;
use aws_lc_rs::rsa::KeySize;
use base64::Engine;
use der::{
    Decode, Encode,
    asn1::{BitStringRef, ObjectIdentifier, UintRef},
};
#[cfg(not(feature = "aws-lc"))]
use ring as backend;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

use backend::{
    rand::{SecureRandom, SystemRandom},
    signature::{self as sig, KeyPair},
};

use crate::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    error::{KeyError, PkiError, VerifyError},
    keys::{KeyId, KeyType},
};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const CURVE_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const CURVE_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// The shortest RSA key that is believed, in bits.
const RSA_MIN_BITS: usize = 2048;

// ---------------------------------------------------------------------------------------- digests

/// A computed digest, kept in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    bytes: [u8; 64],
}

impl Digest {
    fn new(algorithm: DigestAlgorithm, computed: &[u8]) -> Self {
        let mut bytes = [0; 64];
        bytes.iter_mut().zip(computed).for_each(|(to, from)| *to = *from);
        Self { algorithm, bytes }
    }

    /// The algorithm it was computed with.
    pub const fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// Lower-case hexadecimal.
    pub fn hex(&self) -> String {
        hex::encode(self)
    }

    /// Base64 with padding, in one line.
    pub fn base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(self)
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.output_len()).unwrap_or(&self.bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

/// A digest that is computed while the data flows.
#[derive(Clone)]
pub struct Hasher {
    algorithm: DigestAlgorithm,
    context: Context,
}

#[derive(Clone)]
enum Context {
    Backend(backend::digest::Context),
    AwsLc(aws_lc_rs::digest::Context),
}

impl Hasher {
    /// Starts with no data.
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        use backend::digest::{Context as C, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
        let context = match algorithm {
            DigestAlgorithm::Sha1 => Context::Backend(C::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            DigestAlgorithm::Sha224 => {
                Context::AwsLc(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA224))
            }
            DigestAlgorithm::Sha256 => Context::Backend(C::new(&SHA256)),
            DigestAlgorithm::Sha384 => Context::Backend(C::new(&SHA384)),
            DigestAlgorithm::Sha512 => Context::Backend(C::new(&SHA512)),
        };
        Self { algorithm, context }
    }

    /// Takes in more data.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.context {
            Context::Backend(c) => c.update(data),
            Context::AwsLc(c) => c.update(data),
        }
    }

    /// The digest of all the data taken in.
    pub fn finish(self) -> Digest {
        match self.context {
            Context::Backend(c) => Digest::new(self.algorithm, c.finish().as_ref()),
            Context::AwsLc(c) => Digest::new(self.algorithm, c.finish().as_ref()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hasher").field(&self.algorithm).finish()
    }
}

/// The digest of `data`.
pub fn digest(algorithm: DigestAlgorithm, data: &[u8]) -> Digest {
    digest_parts(algorithm, &[data])
}

/// The digest of the parts, one after the other.
pub fn digest_parts(algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    parts.iter().for_each(|p| hasher.update(p));
    hasher.finish()
}

// ------------------------------------------------------------------------------------ public keys

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
            (RSA_ENCRYPTION, _) => {
                let modulus = RsaPublicKey::from_der(key).map_err(failed)?.modulus;
                let top = modulus.as_bytes().first().copied().unwrap_or(0);
                let unused = usize::try_from(top.leading_zeros()).unwrap_or(0);
                Kind::Rsa { bits: (modulus.as_bytes().len() * 8).saturating_sub(unused) }
            }
            (EC_PUBLIC_KEY, Some(CURVE_P256)) => Kind::P256,
            (EC_PUBLIC_KEY, Some(CURVE_P384)) => Kind::P384,
            (EC_PUBLIC_KEY, Some(curve)) => Kind::Other(format!("curve {curve}")),
            (algorithm, _) => Kind::Other(format!("key of algorithm {algorithm}")),
        };
        Ok(Self(Arc::new(Parsed { kind, spki: der.to_vec(), key: key.to_vec() })))
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
            Kind::Rsa { .. } | Kind::Other(_) => None,
        }
    }

    /// Whether it is an elliptic-curve key that is supported.
    pub fn is_ec(&self) -> bool {
        matches!(self.0.kind, Kind::P256 | Kind::P384)
    }

    /// Whether it is an RSA key.
    pub fn is_rsa(&self) -> bool {
        matches!(self.0.kind, Kind::Rsa { .. })
    }

    /// The id that the key stores know the key by.
    pub fn key_id(&self) -> KeyId {
        KeyId::of_spki(self.spki_der())
    }

    /// Whether the key is of a kind and size that is believed.
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
            (Kind::Rsa { .. } | Kind::P256 | Kind::P384 | Kind::Other(_), _) => {
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
            Kind::Rsa { .. } | Kind::Other(_) => None,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
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

// ----------------------------------------------------------------------------------- private keys

/// A private key, taken apart once and ready to sign. Never shown, never cloned.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    P256(sig::EcdsaKeyPair),
    P384(sig::EcdsaKeyPair),
    Rsa(Box<sig::RsaKeyPair>),
}

impl PrivateKey {
    /// Makes a key and gives its PKCS#8 form.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the random source or the generation fails.
    pub fn generate(key_type: KeyType) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let ec = |curve| {
            sig::EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new())
                .map(|d| Zeroizing::new(d.as_ref().to_vec()))
                .map_err(|_| KeyError::Crypto("key generation"))
        };
        match key_type {
            KeyType::EcP256 => ec(&sig::ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyType::EcP384 => ec(&sig::ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyType::Rsa2048 => generate_rsa(KeySize::Rsa2048),
            KeyType::Rsa3072 => generate_rsa(KeySize::Rsa3072),
            KeyType::Rsa4096 => generate_rsa(KeySize::Rsa4096),
        }
    }

    /// Reads an unencrypted PKCS#8 key.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for other kinds of key than [`KeyType`] names, [`KeyError::Crypto`] when
    /// its numbers do not fit together.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let info =
            pkcs8::PrivateKeyInfo::try_from(der).map_err(|_| KeyError::Crypto("the key is no PKCS#8"))?;
        let (pair, spki) = match (info.algorithm.oid, info.algorithm.parameters_oid().ok()) {
            (RSA_ENCRYPTION, _) => {
                let pair = sig::RsaKeyPair::from_pkcs8(der).map_err(|e| {
                    KeyError::Unsupported(format!("this RSA key ({e}); 2048, 3072 and 4096 bits are usable"))
                })?;
                let spki =
                    spki_der(RSA_ENCRYPTION, der::asn1::AnyRef::NULL, KeyPair::public_key(&pair).as_ref())?;
                (Pair::Rsa(Box::new(pair)), spki)
            }
            (EC_PUBLIC_KEY, Some(curve @ (CURVE_P256 | CURVE_P384))) => {
                let pair = ec_pair(curve, der)?;
                let spki = spki_der(EC_PUBLIC_KEY, (&curve).into(), pair.public_key().as_ref())?;
                (if curve == CURVE_P256 { Pair::P256(pair) } else { Pair::P384(pair) }, spki)
            }
            (algorithm, _) => return Err(KeyError::Unsupported(format!("key of algorithm {algorithm}"))),
        };
        let public = PublicKey::from_spki(&spki).map_err(|e| KeyError::Unsupported(e.to_string()))?;
        Ok(Self { pair, public })
    }

    /// The public half.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs. ECDSA signatures are DER; P-256 goes with SHA-256 and P-384 with SHA-384 only.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] when key and algorithm do not go together.
    pub fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        use SignatureAlgorithm as A;
        let encoding: &'static dyn sig::RsaEncoding = match (&self.pair, algorithm) {
            (Pair::P256(pair), A::EcdsaSha256) | (Pair::P384(pair), A::EcdsaSha384) => {
                return pair
                    .sign(&SystemRandom::new(), message)
                    .map(|s| s.as_ref().to_vec())
                    .map_err(|_| KeyError::Crypto("signing"));
            }
            (Pair::Rsa(_), A::RsaPkcs1Sha256) => &sig::RSA_PKCS1_SHA256,
            (Pair::Rsa(_), A::RsaPkcs1Sha384) => &sig::RSA_PKCS1_SHA384,
            (Pair::Rsa(_), A::RsaPkcs1Sha512) => &sig::RSA_PKCS1_SHA512,
            (Pair::Rsa(_), A::RsaPssSha256) => &sig::RSA_PSS_SHA256,
            (Pair::Rsa(_), A::RsaPssSha384) => &sig::RSA_PSS_SHA384,
            (Pair::Rsa(_), A::RsaPssSha512) => &sig::RSA_PSS_SHA512,
            (Pair::P256(_) | Pair::P384(_) | Pair::Rsa(_), _) => {
                return Err(KeyError::Unsupported(format!("signing {algorithm:?} with this key")));
            }
        };
        let (Pair::Rsa(pair), Kind::Rsa { bits }) = (&self.pair, &self.public.0.kind) else {
            return Err(KeyError::Unsupported(format!("signing {algorithm:?} with this key")));
        };
        let mut signature = vec![0; bits.div_ceil(8)];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| KeyError::Crypto("signing"))?;
        Ok(signature)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.key_id())
    }
}

fn generate_rsa(size: KeySize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    use aws_lc_rs::encoding::AsDer;
    let failed = |_| KeyError::Crypto("key generation");
    let pair = aws_lc_rs::rsa::KeyPair::generate(size).map_err(failed)?;
    Ok(Zeroizing::new(pair.as_der().map_err(failed)?.as_ref().to_vec()))
}

fn ec_pair(curve: ObjectIdentifier, pkcs8: &[u8]) -> Result<sig::EcdsaKeyPair, KeyError> {
    let algorithm = if curve == CURVE_P256 {
        &sig::ECDSA_P256_SHA256_ASN1_SIGNING
    } else {
        &sig::ECDSA_P384_SHA384_ASN1_SIGNING
    };
    #[cfg(not(feature = "aws-lc"))]
    let pair = sig::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new());
    #[cfg(feature = "aws-lc")]
    let pair = sig::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8);
    pair.map_err(|_| KeyError::Crypto("the numbers of the EC key do not fit together"))
}

fn spki_der(
    algorithm: ObjectIdentifier,
    parameters: der::asn1::AnyRef<'_>,
    key: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let failed = |_| KeyError::Crypto("the public half cannot be written");
    SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid: algorithm, parameters: Some(parameters) },
        subject_public_key: BitStringRef::from_bytes(key).map_err(failed)?,
    }
    .to_der()
    .map_err(failed)
}

// ------------------------------------------------------------------------- randomness and the rest

/// Fills `buffer` with random bytes fit for keys.
///
/// # Errors
/// [`KeyError::Crypto`] when the system's source fails.
pub fn random(buffer: &mut [u8]) -> Result<(), KeyError> {
    SystemRandom::new().fill(buffer).map_err(|_| KeyError::Crypto("the random source"))
}

/// Random bytes fit for keys.
///
/// # Errors
/// As [`random`].
pub fn random_array<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    random(&mut bytes)?;
    Ok(bytes)
}

/// Whether the two are equal, in a time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The cryptography that rustls and quinn are given.
pub fn tls_provider() -> Arc<rustls::crypto::CryptoProvider> {
    #[cfg(not(feature = "aws-lc"))]
    let provider = rustls::crypto::ring::default_provider();
    #[cfg(feature = "aws-lc")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Arc::new(provider)
}

/// Authenticated encryption: AES-256-GCM.
pub mod aead {
    use super::backend::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use crate::error::KeyError;

    /// Bytes of a key.
    pub const KEY_LEN: usize = 32;
    /// Bytes of a nonce.
    pub const NONCE_LEN: usize = 12;
    /// Bytes that sealing adds.
    pub const TAG_LEN: usize = 16;

    /// A key with its schedule expanded.
    ///
    /// # Security
    /// A nonce must never be used twice with one key.
    #[derive(Debug)]
    pub struct Key(LessSafeKey);

    impl Key {
        /// Expands a key.
        ///
        /// # Errors
        /// [`KeyError::Crypto`] never in practice: the length is right by type.
        pub fn new(key: &[u8; KEY_LEN]) -> Result<Self, KeyError> {
            UnboundKey::new(&AES_256_GCM, key)
                .map(|k| Self(LessSafeKey::new(k)))
                .map_err(|_| KeyError::Crypto("the AES key"))
        }

        /// Encrypts in place and gives the tag.
        ///
        /// # Errors
        /// [`KeyError::Crypto`] when the data is longer than the algorithm allows.
        pub fn seal(
            &self,
            nonce: [u8; NONCE_LEN],
            associated: &[u8],
            data: &mut [u8],
        ) -> Result<[u8; TAG_LEN], KeyError> {
            let failed = KeyError::Crypto("encryption");
            let tag = self
                .0
                .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), data)
                .map_err(|_| failed.clone())?;
            tag.as_ref().try_into().map_err(|_| failed)
        }

        /// Decrypts in place what [`Self::seal`] made, with the tag at the end; gives the plain text.
        ///
        /// # Errors
        /// [`KeyError::Crypto`] when anything was changed, or key, nonce or associated data differ.
        pub fn open<'a>(
            &self,
            nonce: [u8; NONCE_LEN],
            associated: &[u8],
            data_and_tag: &'a mut [u8],
        ) -> Result<&'a mut [u8], KeyError> {
            self.0
                .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated), data_and_tag)
                .map_err(|_| KeyError::Crypto("decryption"))
        }
    }
}
