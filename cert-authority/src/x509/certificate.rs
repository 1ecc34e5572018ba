//! A certificate: its DER kept, its fields read once.
//!
//! Specification: RFC 5280 §4.1.
//! Reading is lenient in what a certificate may contain (weak keys, unknown algorithms, expired ones):
//! whether it is believed is decided in [`super::chain`] and by [`Certificate::verify_issued_by`].

use std::{
    fmt, hash,
    sync::{Arc, OnceLock},
};

use const_oid::ObjectIdentifier;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    extension::{AltName, Extensions, KeyUsage},
    name::Name,
    oid,
    serial::Serial,
    signed_parts,
};
use crate::{
    algorithm::{DigestAlgorithm, SignatureAlgorithm},
    clock::UnixTime,
    crypto::{Digest, EcdsaForm, PublicKey, digest},
    error::{PkiError, VerifyError},
    pem,
};

const WHAT: &str = "certificate";
/// No certificate that anybody uses is longer.
const MAX_LEN: usize = 64 * 1024;

/// A certificate. Cheap to clone; equal when the DER is equal.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Vec<u8>,
    tbs: std::ops::Range<usize>,
    version_1: bool,
    subject: Name,
    issuer: Name,
    serial: Serial,
    not_before: UnixTime,
    not_after: UnixTime,
    public_key: PublicKey,
    algorithm: Result<SignatureAlgorithm, VerifyError>,
    signature: Vec<u8>,
    extensions: Extensions,
    sha1: OnceLock<Digest>,
    sha256: OnceLock<Digest>,
}

impl Certificate {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// [`PkiError::Decode`] when it is none, is cut short, or has bytes behind it;
    /// [`PkiError::Inspect`] when it names two different signature algorithms.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        if der.len() > MAX_LEN {
            return Err(PkiError::decode(WHAT, "it is too long"));
        }
        let (rest, x509) = X509Certificate::from_der(der).map_err(|e| PkiError::decode(WHAT, e))?;
        if !rest.is_empty() {
            return Err(PkiError::decode(WHAT, "bytes follow it"));
        }
        if x509.signature_algorithm != x509.tbs_certificate.signature {
            return Err(PkiError::inspect(WHAT, "its two signature algorithms differ"));
        }
        let tbs = x509.tbs_certificate.as_ref();
        let (tbs, identifier) = signed_parts(der, tbs.len()).map_err(|e| PkiError::decode(WHAT, e))?;
        let time = |t: x509_parser::time::ASN1Time| UnixTime::from_secs(t.timestamp());
        let inner = Inner {
            tbs,
            version_1: x509.version() == x509_parser::x509::X509Version::V1,
            subject: Name::from_der(x509.subject().as_raw())?,
            issuer: Name::from_der(x509.issuer().as_raw())?,
            serial: Serial::from_bytes(x509.raw_serial()),
            not_before: time(x509.validity().not_before),
            not_after: time(x509.validity().not_after),
            public_key: PublicKey::from_spki(x509.public_key().raw)?,
            algorithm: SignatureAlgorithm::from_identifier_der(identifier),
            signature: x509.signature_value.data.to_vec(),
            extensions: Extensions::read(x509.extensions())?,
            sha1: OnceLock::new(),
            sha256: OnceLock::new(),
            der: der.to_vec(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Reads the only certificate of a PEM text.
    ///
    /// # Errors
    /// As [`Self::from_der`]; [`PkiError::Decode`] when there is none or more than one.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        Self::from_der(&pem::decode_one(WHAT, "CERTIFICATE", text)?)
    }

    /// Reads all certificates of a PEM text, in its order.
    ///
    /// # Errors
    /// As [`Self::from_der`].
    pub fn pems(text: &str) -> Result<Vec<Self>, PkiError> {
        pem::decode_all(WHAT, "CERTIFICATE", text)?.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", self.der())
    }

    /// The DER of the part that is signed.
    pub fn tbs_der(&self) -> &[u8] {
        self.0.der.get(self.0.tbs.clone()).unwrap_or_default()
    }

    /// The issuer's signature.
    pub fn signature(&self) -> &[u8] {
        &self.0.signature
    }

    /// The subject.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// The issuer.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The serial number.
    pub fn serial(&self) -> &Serial {
        &self.0.serial
    }

    /// The beginning of its validity.
    pub fn not_before(&self) -> UnixTime {
        self.0.not_before
    }

    /// The last second of its validity.
    pub fn not_after(&self) -> UnixTime {
        self.0.not_after
    }

    /// Whether it is valid at this time.
    ///
    /// # Errors
    /// [`VerifyError::NotYetValid`], [`VerifyError::Expired`].
    pub fn valid_at(&self, at: UnixTime) -> Result<(), VerifyError> {
        if at < self.0.not_before {
            Err(VerifyError::NotYetValid)
        } else if at.as_secs() > self.0.not_after.as_secs() {
            Err(VerifyError::Expired)
        } else {
            Ok(())
        }
    }

    /// The subject's public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// What the key may be used for; none when the certificate does not say.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.0.extensions.key_usage
    }

    /// The purposes; empty when the certificate does not say.
    pub fn extended_key_usage(&self) -> &[ObjectIdentifier] {
        self.0.extensions.extended_key_usage.as_deref().unwrap_or_default()
    }

    /// Whether the purposes are named in a critical extension (time-stamping demands it).
    pub fn extended_key_usage_critical(&self) -> bool {
        self.0.extensions.extended_key_usage_critical
    }

    /// Whether this purpose is named, or any purpose allowed. A certificate that names none allows none.
    pub fn allows_eku(&self, purpose: &ObjectIdentifier) -> bool {
        self.extended_key_usage().iter().any(|p| p == purpose || *p == oid::ANY_PURPOSE)
    }

    /// Whether it may issue certificates.
    pub fn is_ca(&self) -> bool {
        self.0.extensions.is_ca == Some(true)
    }

    /// How many CA certificates may follow it in a path.
    pub fn path_len(&self) -> Option<u32> {
        self.0.extensions.path_len
    }

    /// The subject key identifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_id.as_deref()
    }

    /// The key identifier of the issuer.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.authority_key_id.as_deref()
    }

    /// Where OCSP responders are.
    pub fn ocsp_urls(&self) -> &[String] {
        &self.0.extensions.ocsp_urls
    }

    /// Where the issuer's certificate is.
    pub fn issuer_urls(&self) -> &[String] {
        &self.0.extensions.issuer_urls
    }

    /// Where revocation lists are.
    pub fn crl_urls(&self) -> &[String] {
        &self.0.extensions.crl_urls
    }

    /// The subject's other names.
    pub fn subject_alt_names(&self) -> &[AltName] {
        &self.0.extensions.alt_names
    }

    /// The first critical extension that is not understood.
    pub fn unknown_critical_extension(&self) -> Option<&str> {
        self.0.extensions.unknown_critical.as_deref()
    }

    /// The digest of the DER; SHA-1 and SHA-256 are computed once.
    pub fn fingerprint(&self, algorithm: DigestAlgorithm) -> Digest {
        let compute = || digest(algorithm, self.der());
        match algorithm {
            DigestAlgorithm::Sha1 => *self.0.sha1.get_or_init(compute),
            DigestAlgorithm::Sha256 => *self.0.sha256.get_or_init(compute),
            _ => compute(),
        }
    }

    /// The SHA-1 of the key's bits, which OCSP names keys by.
    pub fn key_hash_sha1(&self) -> Digest {
        digest(DigestAlgorithm::Sha1, self.public_key().key_bytes())
    }

    /// Whether subject and issuer are one.
    pub fn is_self_issued(&self) -> bool {
        self.subject().same_as(self.issuer())
    }

    /// Whether it is signed with its own key.
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.verify_signature(self.public_key()).is_ok()
    }

    /// Verifies that `issuer` is named as the issuer, may issue, and has signed this certificate. Times and
    /// revocation are not looked at.
    ///
    /// # Errors
    /// [`VerifyError::UnknownIssuer`] for another name, [`VerifyError::NotACa`], [`VerifyError::WrongKeyUsage`],
    /// or why the signature is not believed.
    pub fn verify_issued_by(&self, issuer: &Self) -> Result<(), VerifyError> {
        if !self.issuer().same_as(issuer.subject()) {
            return Err(VerifyError::UnknownIssuer);
        }
        // Version 1 knows no extensions: old roots are such, and nobody else issues with them.
        let may_issue = issuer.is_ca() || (issuer.0.version_1 && issuer.is_self_issued());
        if !may_issue {
            return Err(VerifyError::NotACa);
        }
        if issuer.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(VerifyError::WrongKeyUsage("issuing certificates"));
        }
        self.verify_signature(issuer.public_key())
    }

    fn verify_signature(&self, key: &PublicKey) -> Result<(), VerifyError> {
        let algorithm = self.0.algorithm.clone()?;
        key.verify(algorithm, EcdsaForm::Der, self.tbs_der(), self.signature())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl hash::Hash for Certificate {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.der.hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, serial {})", self.subject(), self.serial())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_longer_than_any_is_not_looked_at() {
        let refused = |length: usize| Certificate::from_der(&vec![0x30; length]).unwrap_err().to_string();
        assert!(!refused(MAX_LEN).contains("too long"), "{}", refused(MAX_LEN));
        assert!(refused(MAX_LEN + 1).contains("too long"), "{}", refused(MAX_LEN + 1));
    }
}
