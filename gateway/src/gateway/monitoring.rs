//! What watches: exchanges are observed and recorded, the machine is looked at, the rest is measured.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cert_authority::clock::Clock;
use cert_authority::keys::inventory::Usage;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::client_auth::Authentication;
use crate::builtin::Own;
use crate::config::Config;
use crate::environment::{CertificateType, Certificates, Environment};
use crate::exchange::Gateway;
use crate::keyring::Keyring;
use crate::network::RandomIds;
use crate::opmonitor::{Monitor, Recorder, TracesError};
use crate::serverconf::ServerConf;

/// How often what nothing counts is measured.
const MEASURED_EVERY: Duration = Duration::from_secs(10);

/// What runs beside the exchanges.
pub(super) struct Watching {
    recorder: Recorder,
    environment: Arc<Environment>,
}

/// Records until it is ended: when the last exchange has.
pub(super) struct Recording {
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Wires it; gives what our own services answer from.
///
/// # Errors
/// Why traces cannot be sent.
pub(super) fn wire(
    config: &Config,
    clock: &Arc<dyn Clock>,
    keyring: &Arc<Keyring>,
    local: &Arc<ArcSwap<ServerConf>>,
) -> Result<(Own, Watching), TracesError> {
    let (monitor, recorder) = Monitor::new(config.monitoring.clone(), &config.server, Arc::clone(clock))?;
    let environment = Arc::new(Environment::new(Arc::clone(clock), certificates(keyring, local)));
    let own = Own {
        server: config.server.clone(),
        clock: Arc::clone(clock),
        ids: Arc::new(RandomIds),
        monitor,
        environment: Arc::clone(&environment),
    };
    Ok((own, Watching { recorder, environment }))
}

impl Watching {
    /// Begins to watch: the machine until `stop` turns true, exchanges until what is given back is ended.
    pub(super) fn start(
        self,
        gateway: &Arc<Gateway>,
        keyring: &Arc<Keyring>,
        stop: &watch::Receiver<bool>,
    ) -> Recording {
        let (end, ended) = watch::channel(false);
        tokio::spawn(self.environment.run(stop.clone()));
        tokio::spawn(measure(Arc::clone(gateway), Arc::clone(keyring), stop.clone()));
        Recording { end, task: tokio::spawn(self.recorder.run(ended)) }
    }
}

/// Measures, every now and then, what nothing counts: until when certificates are valid, how the log does.
async fn measure(gateway: Arc<Gateway>, keyring: Arc<Keyring>, mut stop: watch::Receiver<bool>) {
    loop {
        let now = gateway.clock.now();
        let failing = gateway.log.stamping().failing_since;
        let failing = failing.map_or(0.0, |since| now.since(since).as_secs_f64());
        metrics::gauge!("passerelle_log_unstamped_seconds").set(failing);
        metrics::gauge!("passerelle_clock_difference_seconds").set(gateway.clocks.difference().as_secs_f64());
        metrics::gauge!("passerelle_log_records").set(approximately(gateway.log.reader().len()));
        for (usage, name) in [(Usage::Sign, "sign"), (Usage::Auth, "auth"), (Usage::Tls, "tls")] {
            if let Some(certificate) = keyring.certificate(usage, now) {
                let expires = u64::try_from(certificate.not_after().as_secs()).unwrap_or(0);
                metrics::gauge!("passerelle_certificate_expires_seconds", "usage" => name)
                    .set(approximately(expires));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(MEASURED_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

#[expect(clippy::as_conversions, reason = "what is shown may be rounded")]
const fn approximately(number: u64) -> f64 {
    number as f64
}

impl Recording {
    /// Records what there still is.
    pub(super) async fn end(self) {
        let _ = self.end.send(true);
        let _ = self.task.await;
    }
}

/// The certificates that are in use here: ours, and those of information systems.
fn certificates(keyring: &Arc<Keyring>, local: &Arc<ArcSwap<ServerConf>>) -> Certificates {
    let (keyring, local) = (Arc::clone(keyring), Arc::clone(local));
    Arc::new(move || {
        let inventory = keyring.inventory();
        let own = inventory.entries().iter().filter_map(|entry| {
            let kind = match entry.key.usage {
                Usage::Sign | Usage::Auth => CertificateType::AuthOrSign,
                Usage::Tls => CertificateType::ServerTls,
                _ => return None,
            };
            Some((kind, entry.certificate()?.clone()))
        });
        let local = local.load();
        let pinned = local.clients().flat_map(|(_, client)| match &client.authentication {
            Authentication::Certificate(certificates) => certificates.clone(),
            _ => Vec::new(),
        });
        own.chain(pinned.map(|certificate| (CertificateType::ClientTls, certificate))).collect()
    })
}
