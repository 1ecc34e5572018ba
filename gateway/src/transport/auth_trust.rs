//! Is the far end of a connection a registered server, and is its certificate good now?
//!
//! For each message, in X-Road's order: the certificate may be used for authentication; it leads to an approved
//! authority; it and every intermediate is good by a fresh OCSP response; the configuration has it registered for a
//! server; that server has the client (of a request) or the provider (of an answer) registered.
//!
//! What costs signatures is remembered, and the memory ends with the first of: another configuration, the freshness of
//! an OCSP response, the validity of a certificate, news of a revocation. Registration and client are looked up every time.
//!
//! Specification: PR-MESSTRANSP 2.1 and 2.2; XROAD-FACTS 2.9, 2.10; THREATS T01 to T05.
//!
//! Fetches nothing: a response comes from the message, from [`OcspCache`], or the caller fetches what
//! [`TrustError::missing`] names ([`super::ocsp_exchange::fetch`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::crypto::{Digest, digest};
use cert_authority::error::{PkiError, VerifyError};
use cert_authority::ocsp::{self, Revocations};
use cert_authority::x509::{Certificate, oid};
use conf::identifier::{ClientId, ServerId};
use rustls_pki_types::CertificateDer;

use super::ocsp_cache::OcspCache;
use super::peer_registry::{PeerRegistry, Registry};
use super::tls::Registered;

/// How far a responder's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);

/// Certificates remembered at most; they are registered ones, so this bounds a hostile configuration only.
const MOST_REMEMBERED: usize = 20_000;

/// Why a peer is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It has shown no certificate.
    #[error("the peer has shown no certificate")]
    NoCertificate,
    /// What it has shown is none.
    #[error("the peer's certificate cannot be read: {0}")]
    Unreadable(PkiError),
    /// The certificate is registered for no server.
    #[error("the peer's certificate is not registered in the global configuration")]
    NotRegistered,
    /// The certificate is not one for authentication.
    #[error("the peer's certificate is not an authentication certificate")]
    WrongKeyUsage,
    /// No valid path leads to an approved authority.
    #[error("the peer's certificate is not trusted: {0}")]
    Chain(VerifyError),
    /// Nothing is known about these certificates' being revoked.
    #[error("no OCSP response for {} of the peer's certificates", .0.len())]
    OcspMissing(Vec<Certificate>),
    /// The response says no, or cannot be believed.
    #[error("the OCSP response for {subject} does not hold: {error}")]
    Ocsp {
        /// Whose.
        subject: String,
        /// Why.
        error: VerifyError,
    },
    /// The server is registered, but not for this client.
    #[error("the peer's certificate does not belong to {0}")]
    OtherClient(String),
}

impl TrustError {
    /// The certificates whose OCSP responses would help: none is at hand, or only one that is too old.
    #[must_use]
    pub fn missing(&self) -> &[Certificate] {
        if let Self::OcspMissing(certificates) = self { certificates } else { &[] }
    }
}

/// Proof that a peer is a registered server with a good certificate, and speaks for the client it was asked for.
///
/// Made by [`AuthTrust::judge`] only; holds for the message it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTrusted {
    server: ServerId,
    certificate: Certificate,
}

impl PeerTrusted {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &ServerId {
        &self.server
    }

    /// Its authentication certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Judges peers.
pub struct AuthTrust {
    clock: Arc<dyn Clock>,
    responses: Arc<OcspCache>,
    revocations: Arc<Revocations>,
    known: Mutex<HashMap<Digest, Known>>,
}

impl std::fmt::Debug for AuthTrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthTrust")
    }
}

/// A certificate that we have met.
struct Known {
    certificate: Certificate,
    good: Option<Good>,
    used: UnixTime,
}

/// That its path and its OCSP responses were good.
struct Good {
    snapshot: Digest,
    /// What was heard of revocations until then.
    news: u64,
    /// The certificates of the path, each with its issuer.
    pairs: Vec<(Certificate, Certificate)>,
    /// The responses that said so.
    responses: Vec<Bytes>,
    until: UnixTime,
}

impl AuthTrust {
    /// With the responses that are kept here.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, responses: Arc<OcspCache>) -> Self {
        let (revocations, known) = (Arc::default(), Mutex::new(HashMap::new()));
        Self { clock, responses, revocations, known }
    }

    /// What was heard of revocations: it outranks older responses, whoever brings them.
    #[must_use]
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// The certificates of peers that were trusted since then, each with its issuer.
    #[must_use]
    pub fn in_use(&self, since: UnixTime) -> Vec<(Certificate, Certificate)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let used = known.values().filter(|known| known.used >= since);
        used.filter_map(|known| known.good.as_ref()).flat_map(|good| good.pairs.iter().cloned()).collect()
    }

    /// Judges whoever showed these certificates (its own first), speaking for `client`. `brought` are the OCSP responses
    /// that came with the message, in any order.
    ///
    /// # Errors
    /// [`TrustError`]; with [`TrustError::missing`] the caller may fetch and ask again.
    pub fn judge(
        &self,
        conf: &dyn PeerRegistry,
        shown: &[CertificateDer<'_>],
        brought: &[Bytes],
        client: &ClientId,
    ) -> Result<PeerTrusted, TrustError> {
        let leaf = shown.first().ok_or(TrustError::NoCertificate)?;
        let fingerprint = digest(DigestAlgorithm::Sha256, leaf);
        let certificate = self.read(fingerprint, leaf)?;
        let server = conf.server_of(&certificate).ok_or(TrustError::NotRegistered)?;
        if !self.is_known_good(fingerprint, conf.snapshot(), brought) {
            self.verify(conf, fingerprint, &certificate, shown, brought)?;
        }
        if !conf.has_client(&certificate, client) {
            return Err(TrustError::OtherClient(client.to_string()));
        }
        Ok(PeerTrusted { server, certificate })
    }

    /// Whether a certificate is registered in the configuration in force: for the handshake and the peer door.
    #[must_use]
    pub fn registered(self: &Arc<Self>, registry: Registry) -> Registered {
        let trust = Arc::clone(self);
        Arc::new(move |leaf| {
            let Some(conf) = registry() else { return false };
            let certificate = trust.read(digest(DigestAlgorithm::Sha256, leaf), leaf);
            certificate.is_ok_and(|certificate| conf.server_of(&certificate).is_some())
        })
    }

    /// The parsed certificate, from memory if we have met it.
    fn read(&self, fingerprint: Digest, der: &[u8]) -> Result<Certificate, TrustError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&fingerprint) {
            return Ok(known.certificate.clone());
        }
        drop(known);
        Certificate::from_der(der).map_err(TrustError::Unreadable)
    }

    fn is_known_good(&self, fingerprint: Digest, snapshot: Digest, brought: &[Bytes]) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.get_mut(&fingerprint) else { return false };
        let Some(good) = known.good.as_ref() else { return false };
        let now = self.clock.now();
        // A response that we have not seen may say that the certificate is revoked.
        let is_good = good.snapshot == snapshot
            && good.news == self.revocations.news()
            && now < good.until
            && brought.iter().all(|response| good.responses.contains(response));
        if is_good {
            known.used = now;
        }
        is_good
    }

    /// The part that costs: path, key usage, OCSP. What it finds good it remembers.
    fn verify(
        &self,
        conf: &dyn PeerRegistry,
        fingerprint: Digest,
        certificate: &Certificate,
        shown: &[CertificateDer<'_>],
        brought: &[Bytes],
    ) -> Result<(), TrustError> {
        let (now, news) = (self.clock.now(), self.revocations.news());
        if !is_for_authentication(certificate) {
            return Err(TrustError::WrongKeyUsage);
        }
        let intermediates: Vec<Certificate> =
            shown.iter().skip(1).filter_map(|der| Certificate::from_der(der).ok()).collect();
        let chain = conf.chain(certificate, &intermediates, now).map_err(TrustError::Chain)?;
        let mut good = Good {
            snapshot: conf.snapshot(),
            news,
            pairs: Vec::new(),
            responses: Vec::new(),
            until: chain.anchor().not_after(),
        };
        let mut missing = Vec::new();
        for (certificate, issuer) in chain.pairs() {
            match self.ocsp(conf, certificate, issuer, brought, now)? {
                Some((response, until)) => {
                    good.until = good.until.min(until).min(certificate.not_after());
                    good.responses.push(response);
                    good.pairs.push((certificate.clone(), issuer.clone()));
                }
                None => missing.push(certificate.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(TrustError::OcspMissing(missing));
        }
        good.responses
            .extend(brought.iter().filter(|one| !good.responses.contains(one)).cloned().collect::<Vec<_>>());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        known.insert(fingerprint, Known { certificate: certificate.clone(), good: Some(good), used: now });
        Ok(())
    }

    /// A response that says that the certificate is good, and until when it may be believed; `None` when there is none
    /// that is about it, or only one of ours that has become too old.
    fn ocsp(
        &self,
        conf: &dyn PeerRegistry,
        certificate: &Certificate,
        issuer: &Certificate,
        brought: &[Bytes],
        now: UnixTime,
    ) -> Result<Option<(Bytes, UnixTime)>, TrustError> {
        let refused = |error| TrustError::Ocsp { subject: certificate.subject().to_string(), error };
        let mut verdict = None;
        for der in brought {
            match self.check(conf, der, certificate, issuer, now) {
                Ok(until) => {
                    self.responses.put(certificate, der.clone());
                    return Ok(Some((der.clone(), until)));
                }
                Err(VerifyError::OcspOtherCertificate) => {}
                Err(error) => verdict = Some(error),
            }
        }
        if let Some(error) = verdict {
            return Err(refused(error));
        }
        let Some(der) = self.responses.get(&certificate.fingerprint(DigestAlgorithm::Sha256)) else {
            return Ok(None);
        };
        match self.check(conf, &der, certificate, issuer, now) {
            Ok(until) => Ok(Some((der, until))),
            Err(VerifyError::OcspTooOld | VerifyError::OcspExpired | VerifyError::OcspOtherCertificate) => {
                Ok(None)
            }
            Err(error) => Err(refused(error)),
        }
    }
}

impl AuthTrust {
    /// A response that calls the certificate good must be newer than what was heard of its revocation.
    fn check(
        &self,
        conf: &dyn PeerRegistry,
        der: &Bytes,
        certificate: &Certificate,
        issuer: &Certificate,
        now: UnixTime,
    ) -> Result<UnixTime, VerifyError> {
        let believed = check_response(conf, der, certificate, issuer, now)?;
        let outranked = self.revocations.outrank(certificate, believed.this_update);
        if outranked { Err(VerifyError::OcspRevoked) } else { Ok(believed.until) }
    }
}

/// X-Road's rule: the purpose of a TLS client, or a key that may sign, or encipher keys or data.
fn is_for_authentication(certificate: &Certificate) -> bool {
    certificate.extended_key_usage().contains(&oid::CLIENT_AUTH)
        || certificate.key_usage().is_some_and(|usage| {
            usage.digital_signature() || usage.key_encipherment() || usage.data_encipherment()
        })
}

/// A response that calls a certificate good.
pub(crate) struct Believed {
    /// Of the response.
    pub(crate) this_update: UnixTime,
    /// How long it may be believed.
    pub(crate) until: UnixTime,
}

/// Verifies a response under the configuration's policy.
pub(crate) fn check_response(
    conf: &dyn PeerRegistry,
    der: &Bytes,
    certificate: &Certificate,
    issuer: &Certificate,
    now: UnixTime,
) -> Result<Believed, VerifyError> {
    let response = ocsp::Response::from_der(der.clone()).map_err(|error| match error {
        PkiError::Verify(error) => error,
        other => VerifyError::OcspStatus(other.to_string()),
    })?;
    let (freshness, next_update) = conf.ocsp_freshness();
    let responders: Vec<Certificate> =
        conf.responders(issuer).into_iter().filter_map(|responder| responder.certificate).collect();
    let policy =
        ocsp::Policy { freshness: Some(freshness), next_update, skew: SKEW, responders: &responders };
    let good = ocsp::verify(&response, certificate, issuer, &policy, now)?;
    let fresh_until = good.this_update() + freshness;
    let until = match good.next_update() {
        Some(next) if next_update => fresh_until.min(next),
        _ => fresh_until,
    };
    Ok(Believed { this_update: good.this_update(), until })
}
