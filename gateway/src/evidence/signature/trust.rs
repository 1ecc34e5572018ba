//! Whether the signer is who the signature says, and was in good standing at a given time.
//!
//! Specification: X-Road's trust model: the certificate of a member, for signatures (key usage
//! nonRepudiation), with a path to an authority approved by the global configuration and an OCSP response
//! inside the signature for every certificate of the path but the authority's own.
//!
//! [`TrustCache`] remembers what was found out, because a peer signs thousands of messages with one
//! certificate and one OCSP response.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::UnixTime,
    crypto::{Digest, Hasher},
    error::{PkiError, VerifyError},
    ocsp::{self, Policy, Response, Revocations},
    x509::Certificate,
};
use conf::{error::ConfError, identifier::MemberId, snapshot::GlobalConf};

use super::{SignatureError, read::Signature, shared::SharedVerifications};
use crate::evidence::xml;

/// How far the clock of an OCSP responder may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);
/// A remembered chain is looked at anew after this time, whatever else would allow.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Signers remembered at once; each takes a few kilobytes.
const CAPACITY: usize = 4096;

/// Who signed.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    pub(super) certificate: Certificate,
    pub(super) member: MemberId,
}

impl Signer {
    /// Reads the certificate of a signature and asks the configuration whose it is.
    pub(super) fn identify(
        signature: &Signature<'_>,
        conf: &GlobalConf,
        expected: &MemberId,
    ) -> Result<Self, SignatureError> {
        let certificate = certificate(signature.certificate)?;
        if !certificate.key_usage().is_some_and(|usage| usage.non_repudiation()) {
            let subject = certificate.subject().rfc2253();
            return Err(SignatureError::NotASigningCertificate(subject));
        }
        let member = conf.member_of_signing_cert(&certificate, expected.instance()).map_err(|error| {
            SignatureError::OtherSigner { found: error.to_string(), expected: expected.to_string() }
        })?;
        Ok(Self { certificate, member })
    }
}

/// Proof that a signer's certificate was good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// When the OCSP response for the signing certificate was made.
    pub(super) ocsp_produced_at: UnixTime,
    /// Up to when the same certificates and responses prove the same.
    pub(super) until: UnixTime,
}

/// Looks for a path from the signer to an approved authority and for an OCSP response for each step of it.
pub(super) fn prove(
    signer: &Signer,
    signature: &Signature<'_>,
    conf: &GlobalConf,
    revocations: &Revocations,
    at: UnixTime,
) -> Result<(Standing, Vec<Pair>), SignatureError> {
    let intermediates =
        signature.intermediates.iter().map(|text| certificate(text)).collect::<Result<Vec<_>, _>>()?;
    let responses = signature.ocsp.iter().map(|text| response(text)).collect::<Result<Vec<_>, _>>()?;
    let chain = conf.chain(&signer.certificate, &intermediates, at).map_err(|error| match error {
        ConfError::Chain(error) => SignatureError::Path(error),
        _ => SignatureError::Path(VerifyError::UnknownIssuer),
    })?;
    let (freshness, next_update) = conf.ocsp_policy();
    let mut standing = None;
    let mut until = (at + MAX_AGE).min(chain.anchor().not_after());
    let mut pairs = Vec::new();
    for (certificate, issuer) in chain.pairs() {
        let responders = conf
            .ocsp_responders(issuer)
            .iter()
            .filter_map(|responder| responder.certificate.clone())
            .collect::<Vec<_>>();
        let policy = Policy { freshness: Some(freshness), next_update, skew: SKEW, responders: &responders };
        let good = responses
            .iter()
            .map(|response| ocsp::verify(response, certificate, issuer, &policy, at))
            .find(|verdict| *verdict != Err(VerifyError::OcspOtherCertificate))
            .unwrap_or(Err(VerifyError::OcspMissing))
            .map_err(SignatureError::Status)?;
        if revocations.outrank(certificate, good.this_update()) {
            return Err(SignatureError::Status(VerifyError::OcspRevoked));
        }
        pairs.push((certificate.clone(), issuer.clone()));
        until = until
            .min(certificate.not_after())
            .min(good.this_update() + freshness)
            .min(good.next_update().filter(|_| next_update).unwrap_or(until));
        standing.get_or_insert_with(|| good.produced_at());
    }
    let ocsp_produced_at = standing.ok_or(SignatureError::Status(VerifyError::OcspMissing))?;
    Ok((Standing { ocsp_produced_at, until }, pairs))
}

fn certificate(base64: &str) -> Result<Certificate, SignatureError> {
    let malformed = |reason: String| SignatureError::Malformed(reason);
    let der =
        xml::decode_base64(base64).ok_or_else(|| malformed("a certificate is not base64".to_owned()))?;
    Certificate::from_der(&der).map_err(|error| malformed(error.to_string()))
}

fn response(base64: &str) -> Result<Response, SignatureError> {
    let malformed = |reason: String| SignatureError::Malformed(reason);
    let der =
        xml::decode_base64(base64).ok_or_else(|| malformed("an OCSP response is not base64".to_owned()))?;
    Response::from_der(Bytes::from(der)).map_err(|error| {
        SignatureError::Status(match error {
            PkiError::Verify(error) => error,
            unreadable => VerifyError::OcspStatus(unreadable.to_string()),
        })
    })
}

/// Signers whose certificate, path and OCSP responses have been verified.
///
/// # Security
/// An entry is found only by the very bytes of certificate, intermediates and responses; it ends with the
/// first of: the freshness of a response, the end of a certificate, another configuration, news of a revocation,
/// 60 seconds. It is not used for a time before the one it was made at.
#[derive(Debug, Default)]
pub struct TrustCache {
    entries: Mutex<HashMap<Digest, Entry>>,
    /// Signatures of batches.
    pub(super) shared: SharedVerifications,
    pub(super) revocations: Arc<Revocations>,
}

/// A certificate and its issuer.
pub type Pair = (Certificate, Certificate);

#[derive(Debug)]
struct Entry {
    grounds: Grounds,
    from: UnixTime,
    signer: Arc<Signer>,
    standing: Standing,
    pairs: Vec<Pair>,
}

/// What everything that is remembered goes by: the configuration, and what was heard of revocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grounds(Digest, u64);

impl TrustCache {
    /// One that believes no response that is older than what was heard of a revocation since.
    #[must_use]
    pub fn knowing(revocations: Arc<Revocations>) -> Self {
        Self { revocations, ..Self::default() }
    }

    /// What is verified from now on goes by this.
    pub(super) fn grounds(&self, conf: &GlobalConf) -> Grounds {
        Grounds(*conf.digest(), self.revocations.news())
    }

    /// The certificates, with their issuers, that signatures were verified by since then.
    #[must_use]
    pub fn in_use(&self, since: UnixTime) -> Vec<Pair> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let used = entries.values().filter(|entry| entry.from >= since);
        used.flat_map(|entry| entry.pairs.iter().cloned()).collect()
    }

    /// How many messages were verified by the signature of their batch that another one of it had come with.
    #[must_use]
    pub fn shared_verifications(&self) -> u64 {
        self.shared.hits()
    }

    /// How many signatures of batches are remembered.
    #[must_use]
    pub fn remembered_batches(&self) -> usize {
        self.shared.len()
    }

    /// What identifies an entry: everything in the signature that trust depends on, and the instance whose
    /// rules tell the member from the certificate.
    pub(super) fn key(signature: &Signature<'_>, expected: &MemberId) -> Digest {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        let texts = [expected.instance(), signature.certificate]
            .into_iter()
            .chain(signature.intermediates.iter().copied())
            .chain(std::iter::once("")) // the lists cannot run into each other
            .chain(signature.ocsp.iter().copied());
        for text in texts {
            hasher.update(&text.len().to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finish()
    }

    pub(super) fn get(
        &self,
        key: &Digest,
        grounds: Grounds,
        at: UnixTime,
    ) -> Option<(Arc<Signer>, Standing)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(key)?;
        let valid = entry.grounds == grounds && entry.from <= at && at <= entry.standing.until;
        valid.then(|| (Arc::clone(&entry.signer), entry.standing))
    }

    pub(super) fn put(
        &self,
        key: Digest,
        signer: Arc<Signer>,
        (standing, pairs): (Standing, Vec<Pair>),
        grounds: Grounds,
        at: UnixTime,
    ) {
        // There are other responses now than those that batches were verified by.
        self.shared.forget(&signer.certificate);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(key, Entry { grounds, from: at, signer, standing, pairs });
    }

    /// Forgets a certificate that is not good any more, or of which that is not proven.
    pub(super) fn forget(&self, certificate: &Certificate) {
        self.shared.forget(certificate);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.signer.certificate.der() != certificate.der());
    }
}
