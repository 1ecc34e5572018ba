//! Who offers QUIC, and one connection to each of them, for as long as it is used.
//!
//! ```text
//! unknown ─ offered ─► off ─► dialing ─► up ─ unused, closed ─► off
//!                       ▲        └─ not reached ─► away ─┐      └─ no packet comes through ─► away
//!                       └──────────── after a while ─────┘
//! ```
//! A connection is made beside the exchange that would like it: the exchange waits for a moment, then goes by TCP. So UDP
//! that does not pass costs one exchange that moment, and then nothing until it is tried again.
//!
//! Specification: RFC 9000 10. Judges nobody: the far end has shown a certificate, [`super::super::auth_trust`] is asked by
//! the connector.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use quinn::{Connection, ConnectionError, Endpoint, TokioRuntime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::stream::{End, Use};
use super::{Code, QuicSettings, QuicStream, client, endpoint, peer_of};
use crate::transport::PeerSettings;
use crate::transport::door::TlsPeer;
use crate::transport::fastest::resolve;
use crate::transport::handshake::ClientTls;

/// Makes and keeps connections. Gone, it closes them.
pub(crate) struct Dialer(Arc<Inner>);

struct Inner {
    settings: QuicSettings,
    handshake_timeout: Duration,
    /// How long a connection without an exchange is kept.
    unused: Duration,
    tls: Arc<ArcSwap<ClientTls>>,
    /// For IPv4 and IPv6; made when they are needed.
    sockets: Mutex<[Option<Endpoint>; 2]>,
    made: Mutex<Option<(Arc<ClientTls>, quinn::ClientConfig)>>,
    hosts: Mutex<HashMap<String, Host>>,
    /// Its end is that of the connections.
    open: watch::Sender<()>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dialer")
    }
}

/// A host that offers QUIC at a port.
struct Host {
    port: u16,
    said_by: SaidBy,
    state: State,
}

/// Who says that a host offers QUIC. The authority's word counts before the host's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SaidBy {
    /// The host, in an answer.
    Host,
    /// The authority, in the configuration.
    Authority,
}

enum State {
    Off,
    Dialing { since: Instant, over: watch::Receiver<bool> },
    Up(Arc<Standing>),
    Away { until: Instant },
}

/// A connection that stands.
pub(crate) struct Standing {
    connection: Connection,
    pub(crate) peer: Arc<TlsPeer>,
    /// The TLS configuration that it was made with: new keys end its use.
    pub(crate) made_with: Arc<ClientTls>,
    usage: Arc<Use>,
}

impl Standing {
    /// A stream for one exchange; `None` when the far end allows no more at once, or is gone.
    pub(crate) fn open(&self) -> Option<QuicStream> {
        let opened = self.connection.open_bi().now_or_never()?.ok()?;
        Some(QuicStream::new(opened, End::Asking { _using: Use::begin(&self.usage) }))
    }

    fn is_usable(&self, tls: &Arc<ClientTls>) -> bool {
        self.connection.close_reason().is_none() && Arc::ptr_eq(&self.made_with, tls)
    }
}

impl Dialer {
    pub(crate) fn new(settings: &PeerSettings, tls: Arc<ArcSwap<ClientTls>>) -> Self {
        Self(Arc::new(Inner {
            settings: settings.quic.clone(),
            handshake_timeout: settings.handshake_timeout,
            unused: settings.idle,
            tls,
            sockets: Mutex::default(),
            made: Mutex::default(),
            hosts: Mutex::default(),
            open: watch::Sender::new(()),
        }))
    }

    /// Notes that a host offers QUIC at a port. Another port than before is tried at once.
    pub(crate) fn offered(&self, host: &str, port: u16, said_by: SaidBy) {
        let mut hosts = self.0.hosts();
        match hosts.get_mut(host) {
            Some(known) if known.port == port || known.said_by > said_by => {}
            Some(known) => *known = Host { port, said_by, state: State::Off },
            None => drop(hosts.insert(host.to_owned(), Host { port, said_by, state: State::Off })),
        }
    }

    /// The connection to a host, which is made if it offers one; waited for no longer than the settings say.
    pub(crate) async fn standing(&self, host: &str) -> Option<Arc<Standing>> {
        let (since, mut over) = {
            let mut hosts = self.0.hosts();
            let known = hosts.get_mut(host)?;
            match &known.state {
                State::Up(standing) if standing.is_usable(&self.0.tls.load()) => {
                    return Some(Arc::clone(standing));
                }
                State::Away { until } if Instant::now() < *until => return None,
                State::Dialing { since, over } => (*since, over.clone()),
                State::Off | State::Up(_) | State::Away { .. } => self.begin(host, known),
            }
        };
        let _ = timeout_at(since + self.0.settings.wait, over.wait_for(|over| *over)).await;
        match &self.0.hosts().get(host)?.state {
            State::Up(standing) if standing.is_usable(&self.0.tls.load()) => Some(Arc::clone(standing)),
            _ => None,
        }
    }

    fn begin(&self, host: &str, known: &mut Host) -> (Instant, watch::Receiver<bool>) {
        let (done, over) = watch::channel(false);
        let since = Instant::now();
        known.state = State::Dialing { since, over: over.clone() };
        tokio::spawn(dial(
            Arc::downgrade(&self.0),
            self.0.open.subscribe(),
            host.to_owned(),
            known.port,
            done,
        ));
        (since, over)
    }
}

/// Connects, and watches over the connection until its end.
async fn dial(
    inner: Weak<Inner>,
    mut open: watch::Receiver<()>,
    host: String,
    port: u16,
    done: watch::Sender<bool>,
) {
    let Some(made) = inner.upgrade() else { return };
    let outcome = timeout(made.handshake_timeout, made.connect(&host, port)).await;
    let (unused, retry) = (made.unused, made.settings.retry);
    let set = |state| {
        if let Some(inner) = inner.upgrade()
            && let Some(known) = inner.hosts().get_mut(&host)
            && known.port == port
        {
            known.state = state;
        }
    };
    let away = || State::Away { until: Instant::now() + retry };
    let standing = match outcome.unwrap_or_else(|_elapsed| Err("it takes too long".to_owned())) {
        Ok(standing) => Arc::new(standing),
        Err(reason) => {
            tracing::info!(host, port, reason, "cannot be reached by QUIC, using TCP");
            metrics::counter!("passerelle_quic_connections_total", "outcome" => "failed").increment(1);
            set(away());
            let _ = done.send(true);
            return;
        }
    };
    drop(made);
    tracing::debug!(host, port, "connected by QUIC");
    metrics::counter!("passerelle_quic_connections_total", "outcome" => "made").increment(1);
    set(State::Up(Arc::clone(&standing)));
    let _ = done.send(true);
    let connection = standing.connection.clone();
    let lost = loop {
        let due = standing.usage.last() + unused;
        tokio::select! {
            lost = connection.closed() => break lost,
            _gone = open.changed() => connection.close(Code::Done.number(), b""),
            () = sleep_until(due) => {
                if standing.usage.is_over_for(unused) {
                    connection.close(Code::Done.number(), b"");
                }
            }
        }
    };
    tracing::debug!(host, %lost, "a connection by QUIC has ended");
    let next = if lost == ConnectionError::TimedOut { away() } else { State::Off };
    if let Some(inner) = inner.upgrade()
        && let Some(known) = inner.hosts().get_mut(&host)
        && matches!(&known.state, State::Up(now) if Arc::ptr_eq(now, &standing))
    {
        known.state = next;
    }
}

impl Inner {
    fn hosts(&self) -> std::sync::MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Standing, String> {
        let (made_with, config) = self.config().ok_or("TLS without QUIC")?;
        let mut reason = "no address".to_owned();
        for address in resolve(host, port).await.map_err(|error| error.to_string())? {
            match self.connect_to(address, config.clone()).await {
                Ok(connection) => {
                    let peer = Arc::new(peer_of(&connection).ok_or("another protocol")?);
                    return Ok(Standing { connection, peer, made_with, usage: Arc::default() });
                }
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        config: quinn::ClientConfig,
    ) -> Result<Connection, String> {
        let socket = self.socket(address).map_err(|error| error.to_string())?;
        // As over TCP no name goes out: the address tells sessions apart.
        let name = address.ip().to_string();
        let connecting = socket.connect_with(config, address, &name).map_err(|error| error.to_string())?;
        connecting.await.map_err(|error| error.to_string())
    }

    fn socket(&self, to: SocketAddr) -> std::io::Result<Endpoint> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let [v4, v6] = &mut *sockets;
        let (socket, any) = match to {
            SocketAddr::V4(_) => (v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        if let Some(endpoint) = socket {
            return Ok(endpoint.clone());
        }
        let bound = UdpSocket::bind(any)?;
        let made = Endpoint::new(endpoint(&self.settings, None), None, bound, Arc::new(TokioRuntime))?;
        *socket = Some(made.clone());
        Ok(made)
    }

    /// The configuration for the keys in force.
    fn config(&self) -> Option<(Arc<ClientTls>, quinn::ClientConfig)> {
        let tls = self.tls.load_full();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, config)) = &*made
            && Arc::ptr_eq(from, &tls)
        {
            return Some((tls, config.clone()));
        }
        let config = client(&tls, &self.settings)?;
        *made = Some((Arc::clone(&tls), config.clone()));
        Some((tls, config))
    }
}
