//! Keeps the OCSP responses of our own certificates fresh.
//!
//! Every certificate of ours (authentication, signing) and every intermediate above it is asked for at the responders of
//! the configuration, then at those that it names itself. A response is kept only when it verifies. One that says
//! *revoked* removes what we had: peers must not be shown an older, better one.
//!
//! Specification: RFC 6960; XROAD-FACTS 1.5, 2.9.
//!
//! Does not decide which certificates are ours.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::crypto::Digest;
use cert_authority::http::{Client, Limits};
use cert_authority::x509::Certificate;
use tokio::sync::watch;
use tokio::time::sleep;

use super::auth_trust::check_response;
use super::ocsp_ask::{self, AskError, LONGEST_RESPONSE};
use super::ocsp_cache::OcspCache;
use super::peer_registry::{PeerRegistry, Registry};

/// Connecting, and in total (XROAD-FACTS 1.5).
const LIMITS: Limits =
    Limits { max_bytes: LONGEST_RESPONSE, connect: Duration::from_secs(20), total: Duration::from_secs(60) };

/// The first pause after a failure; it doubles up to the usual interval.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// Our certificates now: each its own first, then its intermediates.
pub type OwnCertificates = Arc<dyn Fn() -> Vec<Vec<Certificate>> + Send + Sync>;

/// Renews the responses of our own certificates.
pub struct OcspRefresher {
    registry: Registry,
    own: OwnCertificates,
    cache: Arc<OcspCache>,
    clock: Arc<dyn Clock>,
    client: Client,
    problems: Mutex<BTreeMap<String, String>>,
}

/// One round's result.
enum Round {
    /// All are fresh; the next one is due after this time.
    Fresh(Duration),
    /// Some could not be had.
    Failed,
}

impl OcspRefresher {
    /// With the certificates that `own` names.
    #[must_use]
    pub fn new(
        registry: Registry,
        own: OwnCertificates,
        cache: Arc<OcspCache>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { registry, own, cache, clock, client: Client::new(), problems: Mutex::default() }
    }

    /// What went wrong in the last round, by certificate: for health and for the operator.
    #[must_use]
    pub fn problems(&self) -> BTreeMap<String, String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Renews until `stop` turns true. `wake` makes a round at once: new keys, a new configuration.
    pub async fn run(&self, mut wake: watch::Receiver<()>, mut stop: watch::Receiver<bool>) {
        let mut asked: HashMap<Digest, UnixTime> = HashMap::new();
        let mut retry = FIRST_RETRY;
        loop {
            let pause = match self.round(&mut asked).await {
                Round::Fresh(pause) => {
                    retry = FIRST_RETRY;
                    pause
                }
                Round::Failed => {
                    let pause = retry;
                    retry = retry.saturating_mul(2).min(self.interval());
                    pause
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                Ok(()) = wake.changed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Renews whatever is due, once. For the first round at start, and for tests.
    pub async fn refresh_now(&self) {
        self.round(&mut HashMap::new()).await;
    }

    fn interval(&self) -> Duration {
        (self.registry)().map_or(Duration::from_secs(60), |conf| conf.ocsp_interval())
    }

    async fn round(&self, asked: &mut HashMap<Digest, UnixTime>) -> Round {
        let Some(conf) = (self.registry)() else { return Round::Failed };
        let conf = conf.as_ref();
        let now = self.clock.now();
        let mut problems = BTreeMap::new();
        for own in (self.own)() {
            let Some((leaf, intermediates)) = own.split_first() else { continue };
            let chain = match conf.chain(leaf, intermediates, now) {
                Ok(chain) => chain,
                Err(error) => {
                    problems.insert(leaf.subject().to_string(), error.to_string());
                    continue;
                }
            };
            for (certificate, issuer) in chain.pairs() {
                let name = certificate.fingerprint(DigestAlgorithm::Sha256);
                // A round that was woken does not ask again for what the last one has brought.
                let due = conf.ocsp_interval().mul_f32(0.9);
                let recent = asked.get(&name).is_some_and(|at| now.since(*at) < due);
                if recent && self.at_hand(conf, certificate, issuer, now) {
                    continue;
                }
                let renewed = self.renew(conf, certificate, issuer).await;
                let outcome = if renewed.is_ok() { "good" } else { "failed" };
                metrics::counter!("passerelle_ocsp_responses_total", "outcome" => outcome).increment(1);
                match renewed {
                    Ok(()) => {
                        asked.insert(name, now);
                    }
                    Err(problem) => {
                        tracing::warn!(certificate = %certificate.subject(), problem, "no fresh OCSP response");
                        problems.insert(certificate.subject().to_string(), problem);
                    }
                }
            }
        }
        let failed = !problems.is_empty();
        metrics::gauge!("passerelle_own_certificates_without_ocsp")
            .set(f64::from(u32::try_from(problems.len()).unwrap_or(u32::MAX)));
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
        if failed { Round::Failed } else { Round::Fresh(conf.ocsp_interval()) }
    }

    /// Whether a response that still holds is in memory or on disk.
    fn at_hand(
        &self,
        conf: &dyn PeerRegistry,
        certificate: &Certificate,
        issuer: &Certificate,
        now: UnixTime,
    ) -> bool {
        let name = certificate.fingerprint(DigestAlgorithm::Sha256);
        self.cache
            .own_by_hex(&name.hex())
            .is_some_and(|response| check_response(conf, &response, certificate, issuer, now).is_ok())
    }

    async fn renew(
        &self,
        conf: &dyn PeerRegistry,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), String> {
        // What the last run left on disk serves until the responder has answered.
        let now = self.clock.now();
        if !self.at_hand(conf, certificate, issuer, now)
            && let Some(kept) = self.cache.load_own(certificate)
            && check_response(conf, &kept, certificate, issuer, now).is_err()
        {
            self.cache.remove_own(certificate);
        }
        let mut urls = ocsp_ask::configured(conf, issuer);
        urls.extend(
            certificate.ocsp_urls().iter().filter(|url| !urls.contains(url)).cloned().collect::<Vec<_>>(),
        );
        let mut problem = "no responder is known".to_owned();
        for url in urls {
            match ocsp_ask::ask(&self.client, conf, &url, (certificate, issuer), LIMITS, &*self.clock).await {
                Ok(response) => {
                    self.cache.put_own(certificate, response);
                    return Ok(());
                }
                Err(reason) => {
                    if matches!(reason, AskError::Revoked { .. }) {
                        self.cache.remove_own(certificate);
                    }
                    problem = format!("{url}: {reason}");
                }
            }
        }
        Err(problem)
    }
}
