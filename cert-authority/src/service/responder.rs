//! The OCSP responder: from the bytes of a request to the bytes of a response.
//!
//! Specification: RFC 6960, RFC 9654.
//!
//! Every answer is decided by the register as it is at that moment; an answer without a nonce may be given again while the
//! register stands still. No HTTP here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::algorithm::DigestAlgorithm;
use crate::authority::{Authority, Reason, Status};
use crate::clock::{Clock, UnixTime};
use crate::crypto::{Digest, digest};
use crate::error::PkiError;
use crate::keys::Signer;
use crate::ocsp::{
    self, CertId, CertStatus, ErrorStatus, Request, Responder as OcspSigner, SingleResponse, refusal,
};
use crate::x509::Serial;

/// Answers for all authorities of the house.
pub(super) struct Responder {
    issuers: Vec<Issuer>,
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    next_update: Duration,
    reuse: Duration,
}

/// One authority, and who signs about its certificates.
struct Issuer {
    authority: Arc<Authority>,
    signer: OcspSigner,
    /// What CertIDs may call it: digest of its name, digest of its key, by algorithm.
    names: [(DigestAlgorithm, Digest, Digest); 5],
    given: Mutex<Given>,
}

/// Answers that may be given again, by the CertID asked for; all of one revision of the register.
#[derive(Default)]
struct Given {
    revision: u64,
    answers: HashMap<Vec<u8>, (UnixTime, Bytes)>,
}

/// More answers than this are not kept.
const MAX_GIVEN: usize = 100_000;

impl Responder {
    pub(super) fn new(
        issuers: Vec<(Arc<Authority>, OcspSigner)>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        (next_update, reuse): (Duration, Duration),
    ) -> Self {
        let issuers = issuers.into_iter().map(|(authority, signer)| Issuer::new(authority, signer)).collect();
        Self { issuers, signer, clock, next_update, reuse }
    }

    /// The response to these bytes; there always is one.
    pub(super) async fn answer(&self, request: &[u8]) -> Bytes {
        let request = match Request::from_der(request) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(%error, "OCSP request refused");
                return refused(ErrorStatus::MalformedRequest);
            }
        };
        let Some(issuer) = self.issuer_of(&request.cert_ids) else {
            return refused(ErrorStatus::Unauthorized);
        };
        self.decide(issuer, &request).await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot answer an OCSP request");
            refused(ErrorStatus::InternalError)
        })
    }

    /// The one issuer of all certificates asked about: a response has one signer.
    fn issuer_of(&self, ids: &[CertId]) -> Option<&Issuer> {
        let first = ids.first()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.is_named_by(first))?;
        ids.iter().all(|id| issuer.is_named_by(id)).then_some(issuer)
    }

    async fn decide(&self, issuer: &Issuer, request: &Request) -> Result<Bytes, PkiError> {
        let revision = issuer.authority.refresh()?;
        let now = self.clock.now();
        let reusable = match request.cert_ids.as_slice() {
            [id] if request.nonce.is_none() => Some(id),
            _ => None,
        };
        if let Some(answer) = reusable.and_then(|id| issuer.given_before(id, revision, now, self.reuse)) {
            return Ok(answer);
        }
        let responses: Vec<SingleResponse> = request
            .cert_ids
            .iter()
            .map(|id| SingleResponse {
                cert_id: id.clone(),
                status: issuer.status(id),
                this_update: now,
                next_update: Some(now + self.next_update),
            })
            .collect();
        let nonce = request.nonce.as_deref();
        let answer: Bytes =
            ocsp::respond(&issuer.signer, &responses, nonce, now, self.signer.as_ref()).await?.into();
        if let Some(id) = reusable {
            issuer.keep(id, revision, now, &answer);
        }
        Ok(answer)
    }
}

impl Issuer {
    fn new(authority: Arc<Authority>, signer: OcspSigner) -> Self {
        let certificate = authority.certificate();
        let names = DigestAlgorithm::ALL.map(|algorithm| {
            let name = digest(algorithm, certificate.subject().der());
            (algorithm, name, digest(algorithm, certificate.public_key().key_bytes()))
        });
        Self { names, authority, signer, given: Mutex::default() }
    }

    fn is_named_by(&self, id: &CertId) -> bool {
        self.names.iter().any(|(algorithm, name, key)| {
            id.algorithm() == Some(*algorithm)
                && name.as_ref() == id.issuer_name_hash()
                && key.as_ref() == id.issuer_key_hash()
        })
    }

    fn status(&self, id: &CertId) -> CertStatus {
        match self.authority.status(&Serial::from_bytes(id.serial())) {
            Status::Good => CertStatus::Good,
            Status::Unknown => CertStatus::Unknown,
            Status::Revoked(revocation) => CertStatus::Revoked {
                at: revocation.at,
                reason: Some(revocation.reason)
                    .filter(|reason| *reason != Reason::Unspecified)
                    .map(Reason::code),
            },
        }
    }

    fn given_before(&self, id: &CertId, revision: u64, now: UnixTime, reuse: Duration) -> Option<Bytes> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = given.answers.get(id.der()).filter(|_| given.revision == revision)?;
        (*at <= now && now < *at + reuse).then(|| answer.clone())
    }

    fn keep(&self, id: &CertId, revision: u64, now: UnixTime, answer: &Bytes) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.revision > revision {
            return;
        }
        if given.revision < revision || given.answers.len() >= MAX_GIVEN {
            *given = Given { revision, ..Given::default() };
        }
        given.answers.insert(id.der().to_vec(), (now, answer.clone()));
    }
}

fn refused(status: ErrorStatus) -> Bytes {
    Bytes::copy_from_slice(&refusal(status))
}
