//! From a structure that rcgen has laid out to one that our signer has signed.
//!
//! rcgen signs while it writes and wants the key for that. It is given a [`Placeholder`]; the part to be
//! signed is then taken out, gets the exact names, key and algorithm, goes to the [`Signer`], and is put
//! together again:
//! `SEQUENCE { to be signed, AlgorithmIdentifier, BIT STRING signature }`.

use der::{
    Decode, Encode,
    asn1::{AnyRef, BitStringRef},
};
use rcgen::{PublicKeyData, SigningKey};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::name::RdnSequence;

use super::{Certificate, Name};
use crate::{
    algorithm::SignatureAlgorithm,
    crypto::PublicKey,
    error::PkiError,
    keys::{KeyId, Signer},
};

/// The issuer of certificates and revocation lists: its certificate, and the key behind it.
#[derive(Clone, Copy)]
pub struct Issuer<'a> {
    /// The CA certificate.
    pub certificate: &'a Certificate,
    /// The key of that certificate.
    pub key: &'a KeyId,
    /// Who signs with the key.
    pub signer: &'a dyn Signer,
}

/// A public key in the place where rcgen wants a signing key.
pub(crate) struct Placeholder<'a>(pub(crate) &'a PublicKey);

impl PublicKeyData for Placeholder<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.key_bytes()
    }

    /// Any will do: it is replaced by the real one, as is the key information that rcgen makes with it.
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Placeholder<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// The algorithm that a key signs structures with, and its identifier.
pub(crate) fn algorithm_of(
    key: &PublicKey,
) -> Result<(SignatureAlgorithm, AlgorithmIdentifierOwned), PkiError> {
    let key_type = key
        .key_type()
        .ok_or_else(|| PkiError::inspect("key", "it is of a kind that nobody signs with here"))?;
    let algorithm = key_type.default_algorithm();
    Ok((algorithm, algorithm.to_identifier()?))
}

/// The name as the ASN.1 library's type.
pub(crate) fn rdn_sequence(name: &Name) -> Result<RdnSequence, PkiError> {
    RdnSequence::from_der(name.der()).map_err(|e| PkiError::decode("distinguished name", e))
}

/// The key identifier of RFC 5280 §4.2.1.2 (1), or the one that the certificate itself states.
pub(crate) fn key_identifier(certificate: &Certificate) -> Vec<u8> {
    certificate.subject_key_id().map_or_else(|| certificate.key_hash_sha1().as_ref().to_vec(), <[u8]>::to_vec)
}

/// The key as the ASN.1 library's type.
pub(crate) fn key_info(key: &PublicKey) -> Result<SubjectPublicKeyInfoOwned, PkiError> {
    SubjectPublicKeyInfoOwned::from_der(key.spki_der()).map_err(|e| PkiError::decode("public key", e))
}

#[derive(der::Sequence)]
struct Signed<'a> {
    to_be_signed: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

/// Has `to_be_signed` signed and puts the three parts together.
pub(crate) async fn sign(
    to_be_signed: &[u8],
    algorithm: (SignatureAlgorithm, AlgorithmIdentifierOwned),
    key: &KeyId,
    signer: &dyn Signer,
) -> Result<Vec<u8>, PkiError> {
    let signature = signer.sign(key, algorithm.0, to_be_signed).await?;
    let failed = |e: der::Error| PkiError::decode("signed structure", e);
    Signed {
        to_be_signed: AnyRef::from_der(to_be_signed).map_err(failed)?,
        algorithm: algorithm.1,
        signature: BitStringRef::from_bytes(&signature).map_err(failed)?,
    }
    .to_der()
    .map_err(failed)
}
