//! What runs by itself beside the doors: time-stamps, OCSP responses, following the configuration; and health.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::UnixTime;
use cert_authority::clocks::Clocks;
use cert_authority::http;
use cert_authority::keys::inventory::Usage;
use conf::shared_params::ApprovedTsa;
use conf::snapshot::GlobalConf;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::admin::Health;
use crate::archive;
use crate::exchange::Gateway;
use crate::keyring::Keyring;
use crate::messagelog::checkpoint::Checkpoints;
use crate::messagelog::record::ConfigurationRecord;
use crate::messagelog::stamp::{Authorities, TimestampAuthority};
use crate::messagelog::timestamper::{self, HttpAuthority};
use crate::messagelog::{LogStore as _, Record};
use crate::serverconf::ServerConf;
use crate::transport::auth_trust::AuthTrust;
use crate::transport::ocsp_refresh::OcspRefresher;
use crate::transport::peer_registry::Registry;
use crate::transport::revocation_watch::{InUse, RevocationWatch};

/// How long one time-stamping authority may take before the next one is asked.
const STAMP_LIMITS: http::Limits =
    http::Limits { max_bytes: 64 * 1024, connect: Duration::from_secs(20), total: Duration::from_secs(60) };
/// How long settings wait to be noted before they come into force.
const NOTE: Duration = Duration::from_secs(5);
/// How often time-stamps are tried while there is no configuration to say so.
const WITHOUT_CONF: Duration = Duration::from_secs(2);

/// Completes when `stop` turns true, or when nobody can turn it any more.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Keeps the OCSP responses of our certificates fresh.
pub(super) async fn refresh(
    refresher: Arc<OcspRefresher>,
    woken: watch::Receiver<()>,
    stop: watch::Receiver<bool>,
) {
    refresher.run(woken, stop).await;
}

/// Asks responders about the certificates of peers, if that is asked for.
pub(super) async fn watch(
    gateway: Arc<Gateway>,
    trust: Arc<AuthTrust>,
    registry: Registry,
    interval: Option<Duration>,
    stop: watch::Receiver<bool>,
) {
    let Some(interval) = interval else { return };
    let revocations = Arc::clone(trust.revocations());
    let clock = Arc::clone(&gateway.clock);
    let servers: InUse = Arc::new(move |since| trust.in_use(since));
    let signers: InUse = Arc::new(move |since| gateway.trust.in_use(since));
    RevocationWatch::new(registry, vec![servers, signers], revocations, clock, interval).run(stop).await;
}

/// The time-stamping authorities of the configuration, the last one that was good: a stamp is evidence of the past, so
/// it is asked for though the configuration may have expired meanwhile. With `at_once` each message waits for its stamp.
pub(super) fn authorities(gateway: &Gateway, at_once: bool) -> Authorities {
    let (conf, clocks) = (gateway.conf.clone(), Arc::clone(&gateway.clocks));
    let authorities: Authorities =
        Arc::new(move || conf.last_good().map(|conf| asked(&conf, &clocks)).unwrap_or_default());
    if at_once {
        gateway.log.stamp_at_once(Arc::clone(&authorities));
    }
    authorities
}

/// Learns which requests the log holds. Until then each that comes is looked for in it.
pub(super) async fn know_replays(gateway: Arc<Gateway>) {
    let known = spawn_blocking(move || gateway.replays.catch_up(gateway.clock.now())).await;
    if let Ok(Err(error)) = known {
        tracing::warn!(%error, "each request is looked for in the message log, whether it was seen before");
    }
}

/// Time-stamps what has been logged.
pub(super) async fn stamp(
    gateway: Arc<Gateway>,
    authorities: Authorities,
    interval: Option<Duration>,
    stop: watch::Receiver<bool>,
) {
    let every = stamping_interval(&gateway, interval);
    let log = &gateway.log;
    log.while_leading(stop.clone(), || {
        let authorities = Arc::clone(&authorities);
        timestamper::run(log.clone(), move || authorities(), &every, stop.clone())
    })
    .await;
}

/// Archives and cleans while this node leads, if that is asked for.
pub(super) async fn archive(
    gateway: Arc<Gateway>,
    settings: Option<crate::config::Archive>,
    status: archive::task::Status,
    stop: watch::Receiver<bool>,
) {
    let Some(settings) = settings else { return };
    let schedule = archive::task::Schedule {
        every: settings.every,
        keep_bodies: settings.keep_bodies,
        keep_records: settings.keep_records,
        clock: Arc::clone(&gateway.clock),
    };
    let run = || {
        let archiver = settings.archiver(&gateway.log);
        archive::task::run(archiver, schedule.clone(), status.clone(), stop.clone())
    };
    gateway.log.while_leading(stop.clone(), run).await;
}

/// How often time-stamps are asked for: as the settings say, else as the network does.
pub(super) fn stamping_interval(
    gateway: &Gateway,
    interval: Option<Duration>,
) -> impl Fn() -> Duration + Send + Sync + use<> {
    let conf = gateway.conf.clone();
    move || interval.or_else(|| Some(conf.last_good()?.timestamping_interval())).unwrap_or(WITHOUT_CONF)
}

fn asked(conf: &GlobalConf, clocks: &Arc<Clocks>) -> Vec<Box<dyn TimestampAuthority>> {
    let approved = conf.tsa_certificates();
    let authority = |tsa: &ApprovedTsa| -> Box<dyn TimestampAuthority> {
        Box::new(HttpAuthority {
            name: tsa.name.clone(),
            url: tsa.url.clone(),
            approved: approved.to_vec(),
            client: http::Client::new(),
            limits: STAMP_LIMITS,
            clocks: Arc::clone(clocks),
        })
    };
    conf.tsas().iter().map(authority).collect()
}

/// Notes each configuration that comes into force in the log, and has the OCSP responses looked at anew.
pub(super) async fn follow_conf(gateway: Arc<Gateway>, wake: watch::Sender<()>, stop: watch::Receiver<bool>) {
    let mut changed = gateway.conf.changed();
    let mut noted = None;
    let work = async {
        loop {
            if let Some(conf) = gateway.conf.last_good()
                && noted != Some(*conf.digest())
            {
                noted = Some(*conf.digest());
                let record = ConfigurationRecord {
                    scope: "global".to_owned(),
                    instance: Some(conf.own_instance().to_owned()),
                    digest: *conf.digest(),
                    expires: conf.expires(),
                    note: None,
                };
                note_conf(&gateway, record).await;
            }
            // Also when only the expiry is new: what could not be asked while it had expired can be asked again.
            wake.send_replace(());
            if changed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    tokio::select! {
        () = stopped(stop) => {}
        () = work => {}
    }
}

/// Notes in the log that our own settings come into force; a log that does not answer does not hold them up for long.
pub(super) async fn note_settings(gateway: &Gateway, file: &Path, local: &ServerConf) {
    let record = ConfigurationRecord {
        scope: "local".to_owned(),
        instance: None,
        digest: local.digest(),
        expires: None,
        note: file.file_name().map(|name| name.to_string_lossy().into_owned()),
    };
    if tokio::time::timeout(NOTE, note_conf(gateway, record)).await.is_err() {
        tracing::error!("the message log does not answer: the settings come into force without a note in it");
    }
}

async fn note_conf(gateway: &Gateway, record: ConfigurationRecord) {
    if let Err(error) = gateway.log.append(Record::Configuration(record), Vec::new()).await {
        tracing::error!(%error, "a configuration could not be noted in the message log");
    }
}

/// What decides on `/health`.
pub(super) fn health(
    gateway: &Arc<Gateway>,
    keyring: &Arc<Keyring>,
    refresher: &Arc<OcspRefresher>,
    checkpoints: Option<&Checkpoints>,
    archiving: archive::task::Status,
) -> Health {
    let checkpoints = checkpoints.cloned();
    let now = {
        let gateway = Arc::clone(gateway);
        move || -> UnixTime { gateway.clock.now() }
    };
    let (conf, time) = (gateway.conf.clone(), now.clone());
    let (log, monitor) = (gateway.log.clone(), gateway.monitor.clone());
    let (keys, time_of_keys) = (Arc::clone(keyring), now.clone());
    let (known, time_of_ocsp) = (Arc::clone(keyring), now.clone());
    let signing = Arc::clone(keyring);
    let refresher = Arc::clone(refresher);
    let (clocks, alarmed, stamped) =
        (Arc::clone(&gateway.clocks), Arc::clone(&gateway.clocks), gateway.log.clone());
    Health::new()
        .check("clock", move || clocks.check().map_err(|wrong| wrong.to_string()))
        .warn("clock", move || alarmed.check_alarm().map_err(|wrong| wrong.to_string()))
        .warn("time-stamps", move || match stamped.half_unstamped() {
            None => Ok(()),
            Some((failing, acceptable)) => Err(format!(
                "have failed for {} s; after {} s exchanges are refused",
                failing.as_secs(),
                acceptable.as_secs()
            )),
        })
        .check("global configuration", move || {
            conf.snapshot(time()).map(|_| ()).map_err(|error| match error {
                conf::error::ConfError::Expired { .. } => "expired".to_owned(),
                _ => "missing".to_owned(),
            })
        })
        .check("message log", move || {
            log.ready().map_err(|error| match error {
                crate::messagelog::LogError::Timestamping { .. } => {
                    "time-stamping has failed for too long".to_owned()
                }
                crate::messagelog::LogError::NoSpace(_) => "no space".to_owned(),
                crate::messagelog::LogError::Io { what: "PostgreSQL", .. } => "PostgreSQL is away".to_owned(),
                _ => "stopped".to_owned(),
            })
        })
        .check("log checkpoints", move || checkpoints.as_ref().map_or(Ok(()), Checkpoints::health))
        .check("monitoring", move || monitor.health())
        .check("archives", move || archiving.health())
        .check("authentication certificate", move || {
            let valid = keys.certificate(Usage::Auth, time_of_keys());
            valid.map(|_| ()).ok_or_else(|| "no valid certificate".to_owned())
        })
        .check(
            "signer",
            move || {
                if signing.signer_is_away() { Err("the signer is away".to_owned()) } else { Ok(()) }
            },
        )
        .check("OCSP", move || {
            let failing = refresher.problems().len().max(known.without_ocsp_response(time_of_ocsp()));
            if failing == 0 { Ok(()) } else { Err(format!("no fresh response for {failing} certificates")) }
        })
}
