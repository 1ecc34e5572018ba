//! One gateway, wired and running: every part gets its settings and its neighbours here, and nowhere else.
//!
//! ```text
//! gateway.toml ─► Config ─┬─► conf::client ──► ConfHandle ─┐
//!                         ├─► Keyring + OcspRefresher ─────┤
//!                         ├─► MessageLog + timestamper ────┼──► exchange::Gateway ──► doors
//!                         ├─► PeerConnector, Services ─────┤    (HTTP, HTTPS, 5500, QUIC, 5577, administration)
//!                         └─► ServerConf ◄── reload ───────┘
//! ```
//! - [`serve`]: wires and runs it
//! - `monitoring`: what watches
//! - `reload`: takes up changed settings and keys while it runs
//! - `witness`: checkpoints of the log, and being a witness of others'
//! - `tasks`: what runs by itself: time-stamps, OCSP, following the configuration; health
//!
//! Not here: what any of the parts does.

mod monitoring;
mod reload;
mod tasks;
mod witness;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use cert_authority::clock::{Clock, SystemClock};
use cert_authority::clocks::Clocks;
use cert_authority::error::KeyError;
use cert_authority::hardening::InForce;
use cert_authority::keys::inventory::Usage;
use cert_authority::tlog::witness::Witness;
use conf::client::{Client as ConfClient, ConfHandle, Settings as ConfSettings};
use conf::error::ConfError;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::monitoring::Watching;
use crate::admin::{Admin, Metrics, MetricsError, Tokens};
use crate::archive;
use crate::audit::counter;
use crate::auditor::Auditor;
use crate::builtin::AllServices;
use crate::config::{Config, ConfigError};
use crate::doors::{Front, Peers};
use crate::evidence::signature::TrustCache;
use crate::exchange::Gateway;
use crate::keyring::Keyring;
use crate::messagelog::checkpoint::{CheckpointError, Checkpoints};
use crate::messagelog::replays::Replays;
use crate::messagelog::{self, LogError, MessageLog};
use crate::network::{PeerNetwork, RandomIds, ServiceNetwork};
use crate::opmonitor::TracesError;
use crate::serverconf::ServerConf;
use crate::signing::BatchSigner;
use crate::transparency;
use crate::transport::auth_trust::AuthTrust;
use crate::transport::handshake::{ClientTls, ServerTls};
use crate::transport::ocsp_cache::OcspCache;
use crate::transport::ocsp_refresh::OcspRefresher;
use crate::transport::peer_connector::PeerConnector;
use crate::transport::peer_registry::{PeerRegistry, Registry};
use crate::transport::tls::{self, Registered, TlsError};
use crate::transport::{DoorLimits, front_door, ocsp_exchange, peer_door, quic};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its keys.
    #[error("keys: {0}")]
    Keys(#[from] KeyError),
    /// There is no certificate for a purpose.
    #[error(
        "no valid certificate with usage {0}: make a key (keys create), ask for a certificate (keys request), \
         take it in (keys import)"
    )]
    NoCertificate(&'static str),
    /// The anchor, or what is kept of the global configuration.
    #[error("global configuration: {0}")]
    Conf(#[from] ConfError),
    /// The message log.
    #[error("message log: {0}")]
    Log(#[from] LogError),
    /// The message log is not what its checkpoints say, or none can be made.
    #[error("message log: {0}")]
    Checkpoints(#[from] CheckpointError),
    /// There is no key that signs checkpoints.
    #[error("no key with usage checkpoint: make one (keys create --usage checkpoint)")]
    NoCheckpointKey,
    /// A witness of ours, or the one that we are.
    #[error("witness: {0}")]
    Witness(String),
    /// A key and its certificate are of no use to TLS.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// An address that cannot be listened on, a folder that cannot be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Traces are wanted, and cannot be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// Measurements are installed already.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// What a gateway begins with: its settings, read once.
pub struct Settings {
    config: Config,
    local: ServerConf,
    seen: reload::Seen,
}

impl Settings {
    /// Reads a settings file and everything that it names.
    ///
    /// # Errors
    /// [`ConfigError`], with every fault.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let seen = reload::Seen::settings(path);
        let (mut config, local) = ServerConf::load(path, None)?;
        // Whom it serves and what they may do is in `local`, and can be very much.
        config.clients = Vec::new();
        let seen = seen.with_keys(&config.keys.directory);
        Ok(Self { config, local, seen })
    }

    /// All but the clients, as meant.
    pub const fn config(&self) -> &Config {
        &self.config
    }
}

/// Runs the gateway of these settings until `stop` turns true, then finishes what is under way. What the process has
/// given up before is told at `/health`.
///
/// # Errors
/// [`StartError`]: it has not started.
pub async fn serve(
    settings: Settings,
    hardening: InForce,
    stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    begin(settings, Arc::new(SystemClock), Some(hardening), stop).await
}

/// [`serve`] of a settings file, by another clock, in a process that gives up nothing.
///
/// # Errors
/// As there.
pub async fn serve_with(
    path: &Path,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    begin(Settings::load(path)?, clock, None, stop).await
}

async fn begin(
    settings: Settings,
    clock: Arc<dyn Clock>,
    hardening: Option<InForce>,
    stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let wired = Wired::new(settings, clock).await?;
    if let Some(checkpoints) = &wired.checkpoints {
        checkpoints.ask_witnesses().await?;
    }
    let doors = Doors::open(&wired).await?;
    wired.run(doors, hardening, stop).await
}

/// A gateway whose parts know each other; nothing runs yet.
struct Wired {
    config: Config,
    clock: Arc<dyn Clock>,
    gateway: Arc<Gateway>,
    keyring: Arc<Keyring>,
    conf_client: ConfClient,
    registry: Registry,
    registered: Registered,
    trust: Arc<AuthTrust>,
    responses: Arc<OcspCache>,
    checkpoints: Option<Checkpoints>,
    watching: Watching,
    live: Live,
    seen: reload::Seen,
}

/// What is exchanged while the gateway runs.
#[derive(Clone)]
struct Live {
    local: Arc<ArcSwap<ServerConf>>,
    peer_server: Arc<ArcSwap<ServerTls>>,
    peer_client: Arc<ArcSwap<ClientTls>>,
    front_server: Option<Arc<ArcSwap<ServerTls>>>,
    tokens: Tokens,
    hosts: Arc<ArcSwap<Vec<String>>>,
}

impl Wired {
    async fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let Settings { config, local, seen } = settings;
        let cache = &config.keys.ocsp_cache;
        std::fs::create_dir_all(cache).map_err(|source| io(cache.display(), source))?;
        let responses = Arc::new(OcspCache::new(Some(cache.clone())));
        let limit = config.signing.timeout;
        // Keys open slowly, by intention. A log that is there opens meanwhile; a new one is made when all else is right.
        let opening = opening_log(&config, &clock);
        let opened = Keyring::open(&config.keys, limit, Arc::clone(&responses)).await;
        if opened.is_ok() {
            tracing::info!("keys are open"); // what a start takes besides counts from here
        }
        // Whatever comes of the start: nothing of it is still at work when it has failed.
        let log = match opening {
            Some(opening) => Some(opening.await.map_err(|died| LogError::Stopped(died.to_string()))),
            None => None,
        };
        let keyring = Arc::new(opened?);
        let local = local.with_own_certificate(keyring.certificate(Usage::Tls, clock.now()));
        warn_of_dangers(&config);
        reload::tell_warnings(&config);

        let conf_client = ConfClient::open(conf_settings(&config), Arc::clone(&clock))?;
        let registry = registry(&conf_client.handle(), &clock);
        let trust = Arc::new(AuthTrust::new(Arc::clone(&clock), Arc::clone(&responses)));
        let registered = trust.registered(Arc::clone(&registry));
        let live = Live::new(&config, local, &keyring, &registered, &*clock)?;

        let peers = config.transport.peers.clone();
        let connector = PeerConnector::new(peers, Arc::clone(&live.peer_client), Arc::clone(&trust));
        let (snapshots, keys, time) = (Arc::clone(&live.local), Arc::clone(&keyring), Arc::clone(&clock));
        let identity = move || keys.identity(Usage::Tls, time.now()).ok().flatten();
        let services = ServiceNetwork::new(identity, config.transport.services.clone());
        let (own, watching) = monitoring::wire(&config, &clock, &keyring, &live.local)?;
        let clocks = Arc::new(Clocks::new(Arc::clone(&clock), config.clock));
        let log = match log {
            Some(opened) => opened??,
            None => make_log(&config, &clock)?,
        };
        let replays = Replays::new(config.replays, &log);
        let gateway = Arc::new(Gateway {
            server: config.server.clone(),
            clock: Arc::clone(&clock),
            clocks: Arc::clone(&clocks),
            ids: Arc::new(RandomIds),
            conf: conf_client.handle(),
            local: Arc::new(move || snapshots.load_full()),
            signer: Arc::new(BatchSigner::new(keyring.clone(), config.signing)),
            keys: keyring.clone(),
            trust: TrustCache::knowing(Arc::clone(trust.revocations())),
            log,
            replays,
            monitor: own.monitor.clone(),
            peers: Arc::new(PeerNetwork {
                connector,
                trust: Arc::clone(&trust),
                clocks: Arc::clone(&clocks),
            }),
            services: Arc::new(AllServices::before(services, own)),
        });
        let checkpoints = witness::checkpoints(&config, &gateway.log, &keyring, &clock)?;
        Ok(Self {
            config,
            clock,
            gateway,
            keyring,
            conf_client,
            registry,
            registered,
            trust,
            responses,
            checkpoints,
            watching,
            live,
            seen,
        })
    }

    async fn run(
        self,
        doors: Doors,
        hardening: Option<InForce>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), StartError> {
        let Self {
            config,
            clock,
            gateway,
            keyring,
            conf_client,
            registry,
            registered,
            trust,
            responses,
            checkpoints,
            watching,
            live,
            seen,
        } = self;
        let metrics = Metrics::install()?;
        let (own, asked) = (Arc::clone(&keyring), Arc::clone(&registry));
        let own = Arc::new(move || own.certificates());
        let refresher =
            Arc::new(OcspRefresher::new(registry, own, Arc::clone(&responses), Arc::clone(&clock)));
        let archiving = archive::task::Status::default();
        let health = tasks::health(&gateway, &keyring, &refresher, checkpoints.as_ref(), archiving.clone())
            .dangerous(config.dangerous.names())
            .hardening(hardening);
        let ((wake, woken), (close, closed)) = (watch::channel(()), watch::channel(false));
        let recording = watching.start(&gateway, &keyring, &stop);
        let limits = &config.transport;

        let mut running = JoinSet::new();
        running.spawn(conf_client.run(tasks::stopped(stop.clone())));
        running.spawn(tasks::refresh(refresher, woken, stop.clone()));
        let every = limits.peers.revocations;
        running.spawn(tasks::watch(Arc::clone(&gateway), trust, asked, every, stop.clone()));
        let authorities = tasks::authorities(&gateway, config.timestamping.at_once);
        let interval = config.timestamping.interval;
        running.spawn(tasks::stamp(Arc::clone(&gateway), Arc::clone(&authorities), interval, stop.clone()));
        let every = tasks::stamping_interval(&gateway, interval);
        let (made, log) = (checkpoints.clone(), gateway.log.clone());
        running.spawn(witness::run(log, made, Arc::clone(&authorities), every, stop.clone()));
        running.spawn(witness::serve(doors.witness, closed.clone()));
        let directory = config.log.directory.clone();
        running.spawn(counter::serve(gateway.log.clone(), directory, closed.clone()));
        running.spawn(tasks::archive(Arc::clone(&gateway), config.archive.clone(), archiving, stop.clone()));
        let conf_directory = config.configuration.directory.clone();
        let (log, pages_clock) = (gateway.log.clone(), Arc::clone(&clock));
        let archives = config.archive.iter().find_map(|archive| archive.place.folder()).map(Path::to_owned);
        let pages = Auditor::new(live.tokens.clone(), log, pages_clock, conf_directory.clone())
            .with_archives(archives);
        running.spawn(tasks::follow_conf(Arc::clone(&gateway), wake.clone(), stop.clone()));
        let (own, known) = (Arc::clone(&gateway), Arc::clone(&registered));
        let reload = reload::Reload::new(&config, live.clone(), keyring, own, known, wake, seen);
        running.spawn(reload.run(stop.clone()));
        running.spawn(tasks::know_replays(Arc::clone(&gateway)));

        running.spawn(ocsp_exchange::serve(doors.ocsp, responses, limits.peer_door.clone(), closed.clone()));
        let peers = Arc::new(Peers(Arc::clone(&gateway)));
        let tls = Arc::clone(&live.peer_server);
        let bounds = (limits.peer_door.clone(), limits.peers.quic.clone());
        serve_peers(&mut running, (doors.peers, doors.quic), tls, registered, bounds, peers, &closed);
        let front = Arc::new(Front { gateway: Arc::clone(&gateway), authorities, conf_directory });
        for (listener, tls) in doors.front {
            let tls = if tls { live.front_server.clone() } else { None };
            let front = Arc::clone(&front);
            running.spawn(front_door::serve(listener, tls, limits.front.clone(), front, closed.clone()));
        }
        let mut admin = Admin::new(live.tokens, live.hosts, health).metrics(metrics);
        if let Some(checkpoints) = &checkpoints {
            admin = transparency::endpoints(admin, &gateway.log, checkpoints);
        }
        admin = crate::monitoring::endpoints::endpoints(admin, &gateway.monitor, &gateway.clock);
        running.spawn(pages.on(admin).serve(doors.administration, limits.front.clone(), closed));
        tracing::info!(server = %config.server, peers = %config.doors.peers, "ready");

        tasks::stopped(stop).await;
        tracing::info!("stopping; what is under way is finished");
        let _ = close.send(true);
        while running.join_next().await.is_some() {}
        recording.end().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Takes messages of other gateways, over TCP and, where it is opened, over QUIC; the one says where the other listens.
fn serve_peers(
    running: &mut JoinSet<()>,
    (tcp, quic): (TcpListener, Option<quic::door::Listener>),
    tls: Arc<ArcSwap<ServerTls>>,
    registered: Registered,
    (bounds, settings): (DoorLimits, quic::QuicSettings),
    peers: Arc<Peers>,
    closed: &watch::Receiver<bool>,
) {
    let offer = quic.as_ref().and_then(|listener| Some(listener.local_addr().ok()?.port()));
    if let Some(listener) = quic {
        let (tls, known, peers) = (Arc::clone(&tls), Arc::clone(&registered), Arc::clone(&peers));
        running.spawn(quic::door::serve(
            listener,
            tls,
            known,
            bounds.clone(),
            settings,
            peers,
            closed.clone(),
        ));
    }
    running.spawn(peer_door::serve(tcp, tls, registered, bounds, offer, peers, closed.clone()));
}

impl Live {
    fn new(
        config: &Config,
        local: ServerConf,
        keyring: &Keyring,
        registered: &Registered,
        clock: &dyn Clock,
    ) -> Result<Self, StartError> {
        let now = clock.now();
        let auth = keyring.identity(Usage::Auth, now)?.ok_or(StartError::NoCertificate("auth"))?;
        let front_server = match config.doors.https {
            None => None,
            Some(_) => {
                let identity = keyring.identity(Usage::Tls, now)?.ok_or(StartError::NoCertificate("tls"))?;
                Some(Arc::new(ArcSwap::from_pointee(
                    tls::front_server(identity).map_err(TlsError::from)?.into(),
                )))
            }
        };
        let peers = tls::peers(auth, registered, config.dangerous.legacy_tls)?;
        Ok(Self {
            local: Arc::new(ArcSwap::from_pointee(local)),
            peer_server: Arc::new(ArcSwap::from_pointee(peers.server)),
            peer_client: Arc::new(ArcSwap::from_pointee(peers.client)),
            front_server,
            tokens: Tokens::new(config.administration.tokens.clone()),
            hosts: Arc::new(ArcSwap::from_pointee(hosts(config))),
        })
    }
}

/// The listeners; all are open before the gateway says that it is ready.
struct Doors {
    /// With whether it speaks TLS.
    front: Vec<(TcpListener, bool)>,
    peers: TcpListener,
    quic: Option<quic::door::Listener>,
    ocsp: TcpListener,
    administration: TcpListener,
    witness: Option<(TcpListener, Arc<Witness>)>,
}

impl Doors {
    async fn open(wired: &Wired) -> Result<Self, StartError> {
        let config = &wired.config;
        let mut front = Vec::new();
        for (address, tls) in [(config.doors.http, false), (config.doors.https, true)] {
            if let Some(address) = address {
                front.push((listen(address).await?, tls));
            }
        }
        Ok(Self {
            front,
            peers: listen(config.doors.peers).await?,
            quic: listen_quic(wired)?,
            ocsp: listen(config.doors.ocsp).await?,
            administration: listen(config.administration.listen).await?,
            witness: witness::open(config, &wired.keyring, &wired.clock).await?,
        })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| io(address, source))
}

fn listen_quic(wired: &Wired) -> Result<Option<quic::door::Listener>, StartError> {
    let settings = &wired.config.transport.peers.quic;
    let Some(address) = settings.listen else { return Ok(None) };
    let auth = wired.keyring.identity(Usage::Auth, wired.clock.now())?;
    let auth = auth.ok_or(StartError::NoCertificate("auth"))?;
    let listener = quic::door::Listener::bind(address, settings, &quic::Lasting::of(&auth));
    listener.map(Some).map_err(|source| io(format_args!("{address} (UDP)"), source))
}

fn io(what: impl std::fmt::Display, source: std::io::Error) -> StartError {
    StartError::Io { what: what.to_string(), source }
}

fn conf_settings(config: &Config) -> ConfSettings {
    let settings = ConfSettings::new(&config.configuration.anchor, &config.configuration.directory);
    ConfSettings { interval: config.configuration.every, ..settings }
}

/// The configuration in force, for the transport: none while it is missing or expired.
fn registry(conf: &ConfHandle, clock: &Arc<dyn Clock>) -> Registry {
    let (conf, clock) = (conf.clone(), Arc::clone(clock));
    Arc::new(move || -> Option<Arc<dyn PeerRegistry>> {
        let conf = conf.snapshot(clock.now()).ok()?;
        Some(conf)
    })
}

/// The settings of the log, as the log wants them.
pub(crate) fn log_settings(config: &Config) -> messagelog::Config {
    messagelog::Config {
        key_file: config.log.key.clone(),
        key_grouping: config.log.data_keys,
        reserve: config.log.reserve,
        body_quota: config.log.body_quota,
        acceptable_timestamp_failure: config.timestamping.acceptable_failure,
        postgres: config.log.postgres.clone(),
        ..messagelog::Config::new(&config.log.directory)
    }
}

/// Begins to open the message log; none when neither it nor its key is there: that is the first start, which makes it. A
/// key without its log means that the log was lost, or that its disk is not mounted: that is for people to look into.
fn opening_log(config: &Config, clock: &Arc<dyn Clock>) -> Option<JoinHandle<Result<MessageLog, LogError>>> {
    let settings = log_settings(config);
    // A node that joins a log in a database has been given its key.
    let key = settings.postgres.is_none() && settings.key_file.exists();
    let is_there = key || settings.directory.join("identity").exists();
    let clock = Arc::clone(clock);
    is_there.then(|| tokio::task::spawn_blocking(move || MessageLog::open(settings, clock)))
}

fn make_log(config: &Config, clock: &Arc<dyn Clock>) -> Result<MessageLog, LogError> {
    let settings = log_settings(config);
    tracing::info!(directory = %settings.directory.display(), "making a new message log");
    MessageLog::create(settings, Arc::clone(clock))
}

fn hosts(config: &Config) -> Vec<String> {
    let address = config.administration.listen.ip();
    let address = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    config.administration.hosts.iter().cloned().chain([address]).collect()
}

fn warn_of_dangers(config: &Config) {
    if config.dangerous.encoded_slash {
        tracing::warn!("dangerous.encoded_slash: %2F is taken in the path of a service");
    }
    if config.dangerous.dot_segments {
        tracing::warn!("dangerous.dot_segments: . and .. are taken in the path of a service");
    }
    if config.dangerous.legacy_tls {
        tracing::warn!("dangerous.legacy_tls: CBC suites of TLS 1.2 are taken from other gateways");
    }
    metrics::gauge!("passerelle_legacy_tls").set(if config.dangerous.legacy_tls { 1.0 } else { 0.0 });
}
