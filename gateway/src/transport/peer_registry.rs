//! What the transport asks the global configuration about servers and certificates.
//!
//! A port of its own, so that trust can be judged (and tested) with a handful of certificates instead of a whole signed
//! configuration; [`GlobalConf`] is the one implementation outside tests.
//!
//! Specification: XROAD-FACTS 2.10 (look-up by certificate hash), 1.5.

use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::UnixTime;
use cert_authority::crypto::Digest;
use cert_authority::error::VerifyError;
use cert_authority::x509::Certificate;
use cert_authority::x509::chain::ValidChain;
use conf::error::ConfError;
use conf::identifier::{ClientId, ServerId};
use conf::snapshot::GlobalConf;

/// Somebody who answers for an authority's certificates.
#[derive(Clone, Debug)]
pub struct Responder {
    /// Where.
    pub url: String,
    /// With which certificate, if the configuration says so.
    pub certificate: Option<Certificate>,
}

/// What a configuration says about servers and their certificates. One value is one unchanging snapshot.
pub trait PeerRegistry: Send + Sync {
    /// What tells this snapshot from another.
    fn snapshot(&self) -> Digest;
    /// The server that this certificate is registered for.
    fn server_of(&self, certificate: &Certificate) -> Option<ServerId>;
    /// Whether the server of this certificate has the client registered.
    fn has_client(&self, certificate: &Certificate, client: &ClientId) -> bool;
    /// The path from a certificate to an approved authority.
    ///
    /// # Errors
    /// Why there is none.
    fn chain(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        at: UnixTime,
    ) -> Result<ValidChain, VerifyError>;
    /// Who answers for the certificates of an authority.
    fn responders(&self, issuer: &Certificate) -> Vec<Responder>;
    /// How old a response may be, and whether its `nextUpdate` counts.
    fn ocsp_freshness(&self) -> (Duration, bool);
    /// How often our own certificates' responses are renewed.
    fn ocsp_interval(&self) -> Duration;
    /// The port at which a server speaks QUIC, if that is said of it.
    fn quic_port(&self, _server: &ServerId) -> Option<u16> {
        None
    }
}

/// The snapshot in force; `None` while the configuration is missing or expired.
pub type Registry = Arc<dyn Fn() -> Option<Arc<dyn PeerRegistry>> + Send + Sync>;

impl PeerRegistry for GlobalConf {
    fn snapshot(&self) -> Digest {
        *self.digest()
    }

    fn server_of(&self, certificate: &Certificate) -> Option<ServerId> {
        self.server_by_auth_cert(certificate).map(|server| server.id.clone())
    }

    fn has_client(&self, certificate: &Certificate, client: &ClientId) -> bool {
        self.auth_cert_matches(certificate, client)
    }

    fn chain(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        at: UnixTime,
    ) -> Result<ValidChain, VerifyError> {
        Self::chain(self, certificate, intermediates, at).map_err(|error| match error {
            ConfError::Chain(error) => error,
            _ => VerifyError::UnknownIssuer,
        })
    }

    fn responders(&self, issuer: &Certificate) -> Vec<Responder> {
        let known = self.ocsp_responders(issuer).iter();
        known.map(|one| Responder { url: one.url.clone(), certificate: one.certificate.clone() }).collect()
    }

    fn ocsp_freshness(&self) -> (Duration, bool) {
        self.ocsp_policy()
    }

    fn ocsp_interval(&self) -> Duration {
        self.fetch_interval()
    }

    fn quic_port(&self, server: &ServerId) -> Option<u16> {
        Self::quic_port(self, server)
    }
}
