//! Judges a response: is this certificate good at this time?
//!
//! Specification: RFC 6960 3.2 and 4.2.2.2.
//!
//! # Compatibility
//! As in X-Road only the first SingleResponse counts, and the checks come in X-Road's order: certificate, responder,
//! signature, authority of the responder, freshness, next update, status. Stricter than X-Road: a delegated responder's
//! certificate must be valid at the time, and a response from the future is refused.

use std::time::Duration;

use super::{CertStatus, Response};
use crate::clock::UnixTime;
use crate::crypto::EcdsaForm;
use crate::error::VerifyError;
use crate::x509::{Certificate, oid};

/// What is asked of a response.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Longest time since `thisUpdate`; absent: any.
    pub freshness: Option<Duration>,
    /// Whether `nextUpdate`, when there is one, must lie ahead.
    pub next_update: bool,
    /// How far a responder's clock may be ahead of ours.
    pub skew: Duration,
    /// Responders that are believed for this issuer whoever issued their certificates.
    pub responders: &'a [Certificate],
}

impl Default for Policy<'_> {
    /// X-Road's default: one hour, next update looked at; 60 s of clock difference; no responders but the issuer's own.
    fn default() -> Self {
        Self {
            freshness: Some(Duration::from_secs(3600)),
            next_update: true,
            skew: Duration::from_secs(60),
            responders: &[],
        }
    }
}

/// Proof that a certificate was good. Made by [`verify()`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoodStatus {
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    produced_at: UnixTime,
}

impl GoodStatus {
    /// The status was known to be good at this time.
    #[must_use]
    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// News will be had at this time at the latest.
    #[must_use]
    pub fn next_update(&self) -> Option<UnixTime> {
        self.next_update
    }

    /// When the response was signed.
    #[must_use]
    pub fn produced_at(&self) -> UnixTime {
        self.produced_at
    }
}

/// Whether `response` proves that `certificate`, issued by `issuer`, is good at `at`.
///
/// # Errors
/// The `Ocsp…` variants of [`VerifyError`], and [`VerifyError::BadSignature`].
pub fn verify(
    response: &Response,
    certificate: &Certificate,
    issuer: &Certificate,
    policy: &Policy<'_>,
    at: UnixTime,
) -> Result<GoodStatus, VerifyError> {
    let single = response.responses().first().ok_or(VerifyError::OcspOtherCertificate)?;
    if !single.cert_id.names(certificate, issuer) {
        return Err(VerifyError::OcspOtherCertificate);
    }
    verify_responder(response, issuer, policy, at)?;

    let latest = at + policy.skew;
    if single.this_update > latest || response.produced_at() > latest {
        return Err(VerifyError::OcspNotYetValid);
    }
    if policy.freshness.is_some_and(|freshness| single.this_update + freshness < at) {
        return Err(VerifyError::OcspTooOld);
    }
    if policy.next_update && single.next_update.is_some_and(|next| next < at) {
        return Err(VerifyError::OcspExpired);
    }
    match single.status {
        CertStatus::Good => Ok(GoodStatus {
            this_update: single.this_update,
            next_update: single.next_update,
            produced_at: response.produced_at(),
        }),
        CertStatus::Revoked { .. } => Err(VerifyError::OcspRevoked),
        CertStatus::Unknown => Err(VerifyError::OcspUnknown),
    }
}

/// The signer is whoever the response names, among those who may sign; several may bear the same name.
fn verify_responder(
    response: &Response,
    issuer: &Certificate,
    policy: &Policy<'_>,
    at: UnixTime,
) -> Result<(), VerifyError> {
    let algorithm =
        response.algorithm.ok_or_else(|| VerifyError::UnsupportedAlgorithm("OCSP signature".into()))?;
    let trusted = policy.responders.iter().chain([issuer]);
    let delegated = response
        .certificates
        .iter()
        .filter(|responder| response.responder.names(responder) && is_delegated(responder, issuer, at));
    let candidates = trusted.filter(|responder| response.responder.names(responder)).chain(delegated);
    let mut verdict = Err(VerifyError::OcspUnauthorizedResponder);
    for responder in candidates {
        verdict =
            responder.public_key().verify(algorithm, EcdsaForm::Der, &response.tbs, &response.signature);
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

/// Issued by the same CA for signing OCSP responses, and valid.
fn is_delegated(responder: &Certificate, issuer: &Certificate, at: UnixTime) -> bool {
    responder.valid_at(at).is_ok()
        && responder.extended_key_usage().contains(&oid::OCSP_SIGNING)
        && responder.verify_issued_by(issuer).is_ok()
}
