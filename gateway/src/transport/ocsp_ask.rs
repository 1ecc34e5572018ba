//! One question to an OCSP responder about one certificate, and its answer, verified.
//!
//! Specification: RFC 6960 2 and appendix A. Not here: who is asked about what, and how often ([`super::ocsp_refresh`],
//! [`super::revocation_watch`]).

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::error::VerifyError;
use cert_authority::http::{Client, Limits};
use cert_authority::ocsp;
use cert_authority::x509::Certificate;

use super::auth_trust::check_response;
use super::peer_registry::PeerRegistry;

/// Longest response accepted.
pub(crate) const LONGEST_RESPONSE: usize = 64 * 1024;

/// Why there is no response that calls the certificate good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// It is revoked.
    #[error("the certificate is revoked")]
    Revoked {
        /// Of the response that says so.
        this_update: UnixTime,
    },
    /// There is a response that says less.
    #[error("{0}")]
    Status(VerifyError),
    /// There is none.
    #[error("{0}")]
    NoAnswer(String),
}

/// The responders that the configuration names for an authority.
pub(crate) fn configured(conf: &dyn PeerRegistry, issuer: &Certificate) -> Vec<String> {
    conf.responders(issuer).into_iter().map(|responder| responder.url).collect()
}

/// Asks one responder; gives the response when it calls the certificate good, under the configuration's policy.
pub(crate) async fn ask(
    client: &Client,
    conf: &dyn PeerRegistry,
    url: &str,
    (certificate, issuer): (&Certificate, &Certificate),
    limits: Limits,
    clock: &dyn Clock,
) -> Result<Bytes, AskError> {
    let no_answer = |reason: String| AskError::NoAnswer(reason);
    let request = ocsp::CertId::new(DigestAlgorithm::Sha1, certificate, issuer)
        .and_then(|id| ocsp::Request::new(id).to_der())
        .map_err(|error| no_answer(error.to_string()))?;
    let answer = client.post(url, ocsp::REQUEST_TYPE, request.into(), limits).await;
    let answer = answer.map_err(|error| no_answer(error.to_string()))?;
    if !answer.status.is_success() {
        return Err(no_answer(format!("HTTP status {}", answer.status.as_u16())));
    }
    match check_response(conf, &answer.body, certificate, issuer, clock.now()) {
        Ok(_believed) => Ok(answer.body),
        Err(VerifyError::OcspRevoked) => Err(AskError::Revoked { this_update: this_update(&answer.body) }),
        Err(error) => Err(AskError::Status(error)),
    }
}

/// Of a response that has been verified.
fn this_update(der: &Bytes) -> UnixTime {
    let response = ocsp::Response::from_der(der.clone()).ok();
    let single = response.and_then(|response| response.responses().first().map(|single| single.this_update));
    single.unwrap_or_default()
}
