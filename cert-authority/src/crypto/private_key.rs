//! Private keys, taken apart once, and signing.
//!
//! Specification: RFC 5958 (PKCS#8), RFC 8017, FIPS 186-5, RFC 8410 (Ed25519).
//! Not here: where keys are kept, and encrypted key files ([`crate::keys::software`]).

use std::fmt;

use aws_lc_rs::rsa::KeySize;
use der::{
    Encode,
    asn1::{AnyRef, BitStringRef, ObjectIdentifier},
};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::{
    CURVE_P256, CURVE_P384, EC_PUBLIC_KEY, ED25519, PublicKey, RSA_ENCRYPTION,
    backend::{
        rand::SystemRandom,
        signature::{self as sig, KeyPair},
    },
};
use crate::{algorithm::SignatureAlgorithm, error::KeyError, keys::KeyType};

/// A private key, taken apart once and ready to sign. Never shown, never cloned.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    P256(sig::EcdsaKeyPair),
    P384(sig::EcdsaKeyPair),
    Rsa(Box<sig::RsaKeyPair>),
    Ed25519(Box<sig::Ed25519KeyPair>),
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
            KeyType::Ed25519 => generate_ed25519(),
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
                let spki = spki_der(RSA_ENCRYPTION, Some(AnyRef::NULL), KeyPair::public_key(&pair).as_ref())?;
                (Pair::Rsa(Box::new(pair)), spki)
            }
            (EC_PUBLIC_KEY, Some(curve @ (CURVE_P256 | CURVE_P384))) => {
                let pair = ec_pair(curve, der)?;
                let spki = spki_der(EC_PUBLIC_KEY, Some((&curve).into()), pair.public_key().as_ref())?;
                (if curve == CURVE_P256 { Pair::P256(pair) } else { Pair::P384(pair) }, spki)
            }
            (ED25519, None) => {
                // Without the public half, as openssl writes it, it is computed.
                let pair = sig::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map_err(|_| KeyError::Crypto("this is no Ed25519 key"))?;
                let spki = spki_der(ED25519, None, pair.public_key().as_ref())?;
                (Pair::Ed25519(Box::new(pair)), spki)
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

    /// Signs. Ed25519 goes with itself only. ECDSA signatures are DER; P-256 goes with SHA-256 and P-384 with SHA-384 only.
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
            (Pair::Ed25519(pair), A::Ed25519) => return Ok(pair.sign(message).as_ref().to_vec()),
            (Pair::Rsa(_), A::RsaPkcs1Sha256) => &sig::RSA_PKCS1_SHA256,
            (Pair::Rsa(_), A::RsaPkcs1Sha384) => &sig::RSA_PKCS1_SHA384,
            (Pair::Rsa(_), A::RsaPkcs1Sha512) => &sig::RSA_PKCS1_SHA512,
            (Pair::Rsa(_), A::RsaPssSha256) => &sig::RSA_PSS_SHA256,
            (Pair::Rsa(_), A::RsaPssSha384) => &sig::RSA_PSS_SHA384,
            (Pair::Rsa(_), A::RsaPssSha512) => &sig::RSA_PSS_SHA512,
            (Pair::P256(_) | Pair::P384(_) | Pair::Rsa(_) | Pair::Ed25519(_), _) => {
                return Err(KeyError::Unsupported(format!("signing {algorithm:?} with this key")));
            }
        };
        let (Pair::Rsa(pair), Some(bits)) = (&self.pair, self.public.rsa_bits()) else {
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

/// In the first version of PKCS#8, without the public half: what every program reads.
fn generate_ed25519() -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // The key is an OCTET STRING within the OCTET STRING (RFC 8410 7).
    let mut key = Zeroizing::new(vec![0x04, 0x20]);
    key.extend_from_slice(Zeroizing::new(super::random_array::<32>()?).as_slice());
    let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
    let der = pkcs8::PrivateKeyInfo::new(algorithm, &key).to_der();
    der.map(Zeroizing::new).map_err(|_| KeyError::Crypto("key generation"))
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
    parameters: Option<AnyRef<'_>>,
    key: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let failed = |_| KeyError::Crypto("the public half cannot be written");
    SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid: algorithm, parameters },
        subject_public_key: BitStringRef::from_bytes(key).map_err(failed)?,
    }
    .to_der()
    .map_err(failed)
}
