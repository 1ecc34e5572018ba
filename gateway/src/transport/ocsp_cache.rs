//! The OCSP responses at hand: our own certificates' (renewed by [`super::ocsp_refresh`], kept on disk too, served to
//! peers on 5577) and those of peers (in memory only).
//!
//! Specification: XROAD-FACTS 1.5, 2.9.
//!
//! Judges nothing: whoever takes a response verifies it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::Digest;
use cert_authority::durable;
use cert_authority::x509::Certificate;

/// Responses of peers kept at most.
const MOST_OF_PEERS: usize = 20_000;

/// Responses by certificate.
#[derive(Debug)]
pub struct OcspCache {
    directory: Option<PathBuf>,
    responses: RwLock<Responses>,
}

#[derive(Debug, Default)]
struct Responses {
    own: HashMap<Digest, Bytes>,
    peers: HashMap<Digest, Bytes>,
    /// SHA-1 and SHA-256 fingerprints of our own certificates, in hex -> SHA-256.
    names: HashMap<String, Digest>,
}

impl OcspCache {
    /// An empty cache; our own certificates' responses are kept in `directory`.
    #[must_use]
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, responses: RwLock::default() }
    }

    /// The response for a certificate, by its SHA-256 fingerprint.
    #[must_use]
    pub fn get(&self, fingerprint: &Digest) -> Option<Bytes> {
        let responses = self.responses.read().unwrap_or_else(PoisonError::into_inner);
        responses.own.get(fingerprint).or_else(|| responses.peers.get(fingerprint)).cloned()
    }

    /// The responses for a certificate and its intermediates, in order; `None` if one is missing.
    #[must_use]
    pub fn get_all(&self, certificates: &[Certificate]) -> Option<Vec<Bytes>> {
        certificates.iter().map(|one| self.get(&one.fingerprint(DigestAlgorithm::Sha256))).collect()
    }

    /// The response for one of our own certificates, by SHA-1 or SHA-256 fingerprint in hex.
    #[must_use]
    pub fn own_by_hex(&self, fingerprint: &str) -> Option<Bytes> {
        let responses = self.responses.read().unwrap_or_else(PoisonError::into_inner);
        let name = responses.names.get(&fingerprint.to_ascii_lowercase())?;
        responses.own.get(name).cloned()
    }

    /// Keeps a response for a peer's certificate. Only verified ones are worth it.
    pub(crate) fn put(&self, certificate: &Certificate, response: Bytes) {
        let mut responses = self.responses.write().unwrap_or_else(PoisonError::into_inner);
        if responses.peers.len() >= MOST_OF_PEERS {
            responses.peers.clear();
        }
        responses.peers.insert(certificate.fingerprint(DigestAlgorithm::Sha256), response);
    }

    /// Keeps a response for a certificate of ours, on disk too.
    pub(crate) fn put_own(&self, certificate: &Certificate, response: Bytes) {
        if let Some(file) = self.file(certificate)
            && let Err(error) = durable::write(&file, &response)
        {
            tracing::warn!(file = %file.display(), %error, "an OCSP response cannot be kept on disk");
        }
        self.insert_own(certificate, response);
    }

    /// Takes a response of ours from disk, if there is one and none in memory.
    pub(crate) fn load_own(&self, certificate: &Certificate) -> Option<Bytes> {
        let response = Bytes::from(std::fs::read(self.file(certificate)?).ok()?);
        self.insert_own(certificate, response.clone());
        Some(response)
    }

    /// Forgets the response for a certificate of ours: it is not good any more.
    pub(crate) fn remove_own(&self, certificate: &Certificate) {
        if let Some(file) = self.file(certificate)
            && let Err(error) = durable::remove(&file)
        {
            tracing::warn!(file = %file.display(), %error, "an OCSP response cannot be removed");
        }
        let fingerprint = certificate.fingerprint(DigestAlgorithm::Sha256);
        self.responses.write().unwrap_or_else(PoisonError::into_inner).own.remove(&fingerprint);
    }

    fn insert_own(&self, certificate: &Certificate, response: Bytes) {
        let fingerprint = certificate.fingerprint(DigestAlgorithm::Sha256);
        let mut responses = self.responses.write().unwrap_or_else(PoisonError::into_inner);
        responses.names.insert(certificate.fingerprint(DigestAlgorithm::Sha1).hex(), fingerprint);
        responses.names.insert(fingerprint.hex(), fingerprint);
        responses.own.insert(fingerprint, response);
    }

    fn file(&self, certificate: &Certificate) -> Option<PathBuf> {
        let name = certificate.fingerprint(DigestAlgorithm::Sha256).hex();
        Some(self.directory.as_ref()?.join(format!("{name}.ocsp")))
    }
}
