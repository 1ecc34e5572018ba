//! Which certificate a question or an answer is about.
//!
//! Specification: RFC 6960 4.1.1. SHA-1 here names an issuer; nothing is signed with it.

use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode, Sequence, Tag};
use spki::AlgorithmIdentifierRef;

use crate::algorithm::DigestAlgorithm;
use crate::asn1::{encode, integer, magnitude};
use crate::crypto;
use crate::error::PkiError;
use crate::x509::Certificate;

const WHAT: &str = "OCSP CertID";

/// CertID: hashes of the issuer's name and key, and a serial number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertId {
    algorithm: Option<DigestAlgorithm>,
    issuer_name_hash: Vec<u8>,
    issuer_key_hash: Vec<u8>,
    serial: Vec<u8>,
    /// As it came: an answer repeats the question's CertID byte for byte.
    der: Vec<u8>,
}

#[derive(Sequence)]
struct CertIdDer<'a> {
    hash_algorithm: AlgorithmIdentifierRef<'a>,
    issuer_name_hash: OctetStringRef<'a>,
    issuer_key_hash: OctetStringRef<'a>,
    serial_number: AnyRef<'a>,
}

impl CertId {
    /// The CertID of `certificate`, which `issuer` has issued. X-Road and most others ask with SHA-1.
    ///
    /// # Errors
    /// [`PkiError::Decode`] if it cannot be written (a field is longer than DER allows).
    pub fn new(
        algorithm: DigestAlgorithm,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<Self, PkiError> {
        let name = crypto::digest(algorithm, issuer.subject().der());
        let key = crypto::digest(algorithm, issuer.public_key().key_bytes());
        let serial = certificate.serial().integer_content();
        let wrong = |error: der::Error| PkiError::decode(WHAT, error);
        let der = CertIdDer {
            hash_algorithm: AlgorithmIdentifierRef { oid: algorithm.oid(), parameters: Some(AnyRef::NULL) },
            issuer_name_hash: OctetStringRef::new(name.as_ref()).map_err(wrong)?,
            issuer_key_hash: OctetStringRef::new(key.as_ref()).map_err(wrong)?,
            serial_number: AnyRef::new(Tag::Integer, &serial).map_err(wrong)?,
        };
        Ok(Self {
            algorithm: Some(algorithm),
            issuer_name_hash: name.as_ref().to_vec(),
            issuer_key_hash: key.as_ref().to_vec(),
            serial: certificate.serial().as_bytes().to_vec(),
            der: encode(WHAT, &der)?,
        })
    }

    pub(super) fn read(any: AnyRef<'_>) -> der::Result<Self> {
        let der = any.to_der()?;
        let read = CertIdDer::from_der(&der)?;
        Ok(Self {
            algorithm: DigestAlgorithm::from_oid(&read.hash_algorithm.oid),
            issuer_name_hash: read.issuer_name_hash.as_bytes().to_vec(),
            issuer_key_hash: read.issuer_key_hash.as_bytes().to_vec(),
            serial: magnitude(integer(read.serial_number)?).to_vec(),
            der,
        })
    }

    /// The digest algorithm, if it is one that we know.
    #[must_use]
    pub fn algorithm(&self) -> Option<DigestAlgorithm> {
        self.algorithm
    }

    /// Hash of the issuer's name.
    #[must_use]
    pub fn issuer_name_hash(&self) -> &[u8] {
        &self.issuer_name_hash
    }

    /// Hash of the issuer's key.
    #[must_use]
    pub fn issuer_key_hash(&self) -> &[u8] {
        &self.issuer_key_hash
    }

    /// The serial number, big-endian, without leading zeros.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The encoded CertID.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether `issuer` is the issuer that is meant.
    #[must_use]
    pub fn names_issuer(&self, issuer: &Certificate) -> bool {
        let Some(algorithm) = self.algorithm else { return false };
        let key_matches = if algorithm == DigestAlgorithm::Sha1 {
            issuer.key_hash_sha1().as_ref() == self.issuer_key_hash
        } else {
            crypto::digest(algorithm, issuer.public_key().key_bytes()).as_ref() == self.issuer_key_hash
        };
        key_matches && crypto::digest(algorithm, issuer.subject().der()).as_ref() == self.issuer_name_hash
    }

    /// Whether it means `certificate`, issued by `issuer`.
    #[must_use]
    pub fn names(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        self.serial == certificate.serial().as_bytes() && self.names_issuer(issuer)
    }
}
