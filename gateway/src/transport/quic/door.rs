//! The peer door over QUIC: connections of other gateways, an exchange on each stream, the same handler behind it.
//!
//! ```text
//! datagrams ──► address proven, or few enough unproven? ── no ─► Retry
//!                 └► room? ── no ─► refused           └► handshake ─► registered? ─► streams ──► HTTP/1.1, one exchange
//! ```
//! When the gateway stops, streams of which nothing was read are refused one by one, so that their requests can go
//! elsewhere; what was begun is finished.
//!
//! Specification: RFC 9000 5, 8, 10; THREATS T37, T38.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quinn::{Connection, Endpoint, Incoming, TokioRuntime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::stream::{End, Tally};
use super::{Code, Lasting, QuicSettings, QuicStream, endpoint, peer_of, server};
use crate::transport::DoorLimits;
use crate::transport::door::{self, Caller, Counted, Handler, Shared};
use crate::transport::handshake::ServerTls;
use crate::transport::io::Stream;
use crate::transport::peer_door::{PeerService, Peers};
use crate::transport::requests::{Requests, serve_http};
use crate::transport::tls::Registered;

const NAME: &str = "quic";

/// How long the last packets may take to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// A socket that is bound; nobody is answered yet.
#[derive(Debug)]
pub struct Listener(Endpoint);

impl Listener {
    /// Binds to `address`, on a runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(address: SocketAddr, settings: &QuicSettings, lasting: &Lasting) -> io::Result<Self> {
        let (config, socket) = (endpoint(settings, Some(lasting)), UdpSocket::bind(address)?);
        Ok(Self(Endpoint::new(config, None, socket, Arc::new(TokioRuntime))?))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Serves other gateways over QUIC until `stop` turns true; then lets what is under way finish.
pub async fn serve<S: PeerService>(
    Listener(endpoint): Listener,
    tls: Arc<ArcSwap<ServerTls>>,
    registered: Registered,
    limits: DoorLimits,
    settings: QuicSettings,
    service: Arc<S>,
    stop: watch::Receiver<bool>,
) {
    let offer = endpoint.local_addr().ok().map(|address| address.port());
    let limits = DoorLimits {
        connections: settings.connections,
        connections_per_address: settings.connections_per_address,
        ..limits
    };
    let drain = limits.drain;
    let mut configs = Configs { tls, settings, handshakes: limits.handshakes, made: None };
    endpoint.set_server_config(configs.now().map(|config| quinn::ServerConfig::clone(&config)));
    let handler = Arc::new(Peers::new(service, registered, offer));
    let (shared, all_finished) = Shared::new(NAME, limits, handler, stop.clone());
    let mut connections = JoinSet::new();
    accept(&endpoint, &shared, &mut configs, &mut connections, stop).await;
    drop(shared);
    door::finish(NAME, connections, all_finished, drain).await;
    endpoint.close(Code::Done.number(), b"");
    let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
}

/// The configuration for the keys in force.
struct Configs {
    tls: Arc<ArcSwap<ServerTls>>,
    settings: QuicSettings,
    handshakes: usize,
    made: Option<(Arc<ServerTls>, Arc<quinn::ServerConfig>)>,
}

impl Configs {
    fn now(&mut self) -> Option<Arc<quinn::ServerConfig>> {
        let tls = self.tls.load_full();
        if let Some((from, config)) = &self.made
            && Arc::ptr_eq(from, &tls)
        {
            return Some(Arc::clone(config));
        }
        let config = Arc::new(server(&tls, &self.settings, self.handshakes)?);
        self.made = Some((tls, Arc::clone(&config)));
        Some(config)
    }
}

async fn accept<H: Handler>(
    endpoint: &Endpoint,
    shared: &Arc<Shared<H>>,
    configs: &mut Configs,
    connections: &mut JoinSet<()>,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(shared.limits.connections));
    let unproven = Arc::new(Semaphore::new(configs.settings.unproven));
    loop {
        let incoming = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            Some(_finished) = connections.join_next() => continue,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let mut permit = None;
        if !incoming.remote_address_validated() {
            permit = Arc::clone(&unproven).try_acquire_owned().ok();
            if permit.is_none() {
                metrics::counter!("passerelle_quic_retries_total").increment(1);
                // Who has proved nothing may be asked to.
                let _ = incoming.retry();
                continue;
            }
        }
        let slot = Arc::clone(&slots).try_acquire_owned();
        let counted = Counted::count(shared, incoming.remote_address().ip());
        let (Ok(slot), Some(counted), Some(config)) = (slot, counted, configs.now()) else {
            metrics::counter!("passerelle_connections_refused_total", "door" => NAME).increment(1);
            incoming.refuse();
            continue;
        };
        connections.spawn(async move {
            serve_connection(&counted, incoming, config, permit).await;
            drop((counted, slot));
        });
    }
}

async fn serve_connection<H: Handler>(
    counted: &Counted<H>,
    incoming: Incoming,
    config: Arc<quinn::ServerConfig>,
    unproven: Option<OwnedSemaphorePermit>,
) {
    let shared = &counted.shared;
    let address = incoming.remote_address();
    let handshake = async { Ok::<_, io::Error>(incoming.accept_with(config)?.await?) };
    let secured = tokio::select! {
        secured = timeout(shared.limits.handshake_timeout, counted.shake_hands(handshake)) => secured,
        () = door::stopped(shared) => return,
    };
    drop(unproven);
    let connection = match secured {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return door::tell_handshake(shared, address, &error),
        Err(_elapsed) => return door::tell_handshake(shared, address, &"it took too long"),
    };
    let Some(peer) = peer_of(&connection) else {
        return door::tell_handshake(shared, address, &"another protocol");
    };
    let caller = Arc::new(Caller { address, tls: Some(peer) });
    if !door::admits(shared, &caller) {
        return connection.close(Code::NotAdmitted.number(), b"");
    }
    serve_streams(shared, &connection, &caller).await;
}

async fn serve_streams<H: Handler>(shared: &Arc<Shared<H>>, connection: &Connection, caller: &Arc<Caller>) {
    let tally = Arc::new(Tally::default());
    let mut streams = JoinSet::new();
    let mut stop = shared.stop.clone();
    let mut is_stopping = false;
    while !is_stopping || !streams.is_empty() {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop), if !is_stopping => is_stopping = true,
            Some(_finished) = streams.join_next() => {}
            accepted = connection.accept_bi() => {
                let Ok(stream) = accepted else { break };
                let stream = QuicStream::new(stream, End::Answering(Arc::clone(&tally)));
                if is_stopping {
                    stream.refuse();
                    continue;
                }
                let (shared, caller) = (Arc::clone(shared), Arc::clone(caller));
                streams.spawn(async move {
                    serve_http(&shared, Stream::Quic(Box::new(stream)), &caller, Requests::One).await;
                });
            }
        }
    }
    while streams.join_next().await.is_some() {}
    connection.close(tally.farewell().number(), b"");
}
