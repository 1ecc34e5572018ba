//! Asks the responders of the configuration about the certificates of peers, so that a revocation takes effect within a
//! minute, and not only when the last good response that the peer keeps bringing has become too old.
//!
//! Asked about are the certificates, and those of the issuers below the approved authority, by which peers were trusted
//! and signatures verified in the last ten minutes: every interval, and at once when one is met for the first time. *Revoked*
//! outranks older responses ([`Revocations`]). Anything else changes nothing: a responder that is down, or that does not
//! know a certificate, must not keep out peers that bring what X-Road asks for.
//!
//! Specification: RFC 6960; THREATS T01, T02. Not here: judging peers ([`super::auth_trust`]).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::crypto::Digest;
use cert_authority::http::{Client, Limits};
use cert_authority::ocsp::Revocations;
use cert_authority::x509::Certificate;
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::ocsp_ask::{self, AskError, LONGEST_RESPONSE};
use super::peer_registry::{PeerRegistry, Registry};

/// Certificates used longer ago than this are not asked about until they are used again.
const LATELY: Duration = Duration::from_secs(600);
/// How often is looked for certificates that have not been asked about.
const TICK: Duration = Duration::from_secs(1);
/// Certificates asked about in one round at most, and how many at once.
const MOST: usize = 2000;
const AT_ONCE: usize = 8;
/// After this time one is asked about again that nobody gave an answer about.
const RETRY: Duration = Duration::from_secs(10);
const LIMITS: Limits =
    Limits { max_bytes: LONGEST_RESPONSE, connect: Duration::from_secs(5), total: Duration::from_secs(10) };

/// The certificates used since a time, each with its issuer.
pub type InUse = Arc<dyn Fn(UnixTime) -> Vec<(Certificate, Certificate)> + Send + Sync>;

/// Asks.
pub struct RevocationWatch {
    registry: Registry,
    in_use: Vec<InUse>,
    revocations: Arc<Revocations>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    client: Client,
}

impl RevocationWatch {
    /// About what is in use, every `interval`.
    #[must_use]
    pub fn new(
        registry: Registry,
        in_use: Vec<InUse>,
        revocations: Arc<Revocations>,
        clock: Arc<dyn Clock>,
        interval: Duration,
    ) -> Self {
        Self { registry, in_use, revocations, clock, interval, client: Client::new() }
    }

    /// Asks until `stop` turns true.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut due = HashMap::new();
        let work = async {
            loop {
                sleep(self.interval.min(TICK)).await;
                self.round(&mut due).await;
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = work => {}
        }
    }

    /// Asks about what is due; `due` says when, of those asked about before.
    async fn round(&self, due: &mut HashMap<Digest, Instant>) {
        let Some(conf) = (self.registry)() else { return };
        let now = self.clock.now();
        self.revocations.forget_before(now - conf.ocsp_freshness().0);
        let since = now - LATELY;
        let mut used: HashMap<Digest, (Certificate, Certificate)> = HashMap::new();
        for (certificate, issuer) in self.in_use.iter().flat_map(|in_use| in_use(since)) {
            used.insert(certificate.fingerprint(DigestAlgorithm::Sha256), (certificate, issuer));
        }
        due.retain(|name, _| used.contains_key(name));
        let began = Instant::now();
        used.retain(|name, _| due.get(name).is_none_or(|at| *at <= began));
        let silent = Mutex::new(HashSet::new());
        let asked: Vec<(Digest, bool)> = stream::iter(used.into_iter().take(MOST))
            .map(|(name, pair)| {
                let (conf, silent) = (conf.as_ref(), &silent);
                async move { (name, self.ask(conf, &pair, silent).await) }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (name, answered) in asked {
            let pause = if answered { self.interval } else { self.interval.min(RETRY) };
            due.insert(name, began + pause);
        }
    }

    /// Asks about one certificate; whether somebody has answered. `silent` are the responders of this round that do not.
    async fn ask(
        &self,
        conf: &dyn PeerRegistry,
        (certificate, issuer): &(Certificate, Certificate),
        silent: &Mutex<HashSet<String>>,
    ) -> bool {
        let silent = || silent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut urls = ocsp_ask::configured(conf, issuer);
        if urls.is_empty() {
            urls.extend(certificate.ocsp_urls().iter().cloned());
        }
        let mut answered = false;
        for url in urls {
            if silent().contains(&url) {
                continue;
            }
            let said =
                ocsp_ask::ask(&self.client, conf, &url, (certificate, issuer), LIMITS, &*self.clock).await;
            let outcome = match said {
                Ok(_good) => "good",
                Err(AskError::Revoked { this_update }) => {
                    if self.revocations.revoked(certificate, this_update) {
                        tracing::warn!(
                            certificate = %certificate.subject(),
                            serial = %certificate.serial(),
                            "a certificate of a peer is revoked; it is refused from now on"
                        );
                    }
                    "revoked"
                }
                Err(AskError::Status(_)) => "other",
                Err(AskError::NoAnswer(reason)) => {
                    if silent().insert(url.clone()) {
                        tracing::info!(url, reason, "a responder gives no answer about peers");
                    }
                    "failed"
                }
            };
            metrics::counter!("passerelle_peer_ocsp_responses_total", "outcome" => outcome).increment(1);
            answered |= outcome != "failed";
            if answered {
                break;
            }
        }
        answered
    }
}
