//! A door: accepts connections, keeps its limits, and stops gracefully; [`super::requests`] reads what comes over each.
//!
//! All listeners of the gateway are this one loop with another [`Handler`] behind it: the information systems' door, the
//! peers' door, the OCSP exchange and administration. A connection is a task of the door; a request runs in a task of
//! its own, because an exchange that has been begun must reach its end in the log even when the caller hangs up.
//!
//! Specification: RFC 9112; THREATS T17, T20, T21, T37.
//!
//! Knows nothing of what is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use http::{HeaderValue, Response, StatusCode, header};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::DoorLimits;
use super::body::{IncomingBody, OutgoingBody};
use super::handshake::ServerTls;
use super::head::RequestHead;
use super::io::Stream;
use super::places::{Place, Places, counted_as};
use super::requests::{Requests, serve_http};
use crate::fault::REFUSED;

/// What the far end of a TLS connection has shown, and what was agreed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPeer {
    /// Its certificates, its own first; empty when it showed none.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The protocol version, as `TLSv1_3`.
    pub version: String,
    /// The cipher suite, as `TLS13_AES_256_GCM_SHA384`.
    pub suite: String,
    /// The key exchange group, as `X25519`; not known for a resumed session of TLS 1.2.
    pub group: Option<String>,
}

impl TlsPeer {
    /// Reads a finished handshake.
    pub(crate) fn of(connection: &rustls::CommonState) -> Self {
        Self {
            certificates: connection
                .peer_certificates()
                .map(|certificates| certificates.iter().map(|one| one.clone().into_owned()).collect())
                .unwrap_or_default(),
            version: connection.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default(),
            suite: connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
                .unwrap_or_default(),
            group: connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its address.
    pub address: SocketAddr,
    /// What TLS says of it; `None` on a plain connection.
    pub tls: Option<TlsPeer>,
}

/// One request as the door hands it over.
pub(crate) struct Received {
    pub(crate) head: RequestHead,
    pub(crate) body: IncomingBody,
    pub(crate) caller: Arc<Caller>,
}

/// Where an answer goes. Dropped without an answer, the caller gets a bare 500 and the connection is closed.
pub(crate) type Answer = oneshot::Sender<Response<OutgoingBody>>;

/// What stands behind a door.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Whether a connection is let in at all, asked after each handshake, resumed ones too.
    fn admits(&self, _caller: &Caller) -> bool {
        true
    }

    /// Serves one request. Runs to its end even when the caller has gone.
    fn handle(self: Arc<Self>, received: Received, answer: Answer) -> impl Future<Output = ()> + Send;
}

/// How a door speaks.
pub(crate) enum Protection {
    /// Plain HTTP.
    Plain,
    /// HTTPS; the configuration in force is asked for each connection.
    Tls(Arc<ArcSwap<ServerTls>>),
}

/// What all connections of a door share.
pub(super) struct Shared<H> {
    pub(super) name: &'static str,
    pub(super) handler: Arc<H>,
    pub(super) limits: DoorLimits,
    pub(super) handshakes: Arc<Places>,
    by_address: Mutex<HashMap<IpAddr, OfAddress>>,
    pub(super) stop: watch::Receiver<bool>,
    /// Cloned into everything that is under way: when all clones are gone, all is finished.
    pub(super) under_way: mpsc::Sender<Infallible>,
}

/// What an address has with a door.
struct OfAddress {
    open: usize,
    handshakes: Arc<Semaphore>,
}

impl<H> Shared<H> {
    /// With what ends when everything that was under way has.
    pub(super) fn new(
        name: &'static str,
        limits: DoorLimits,
        handler: Arc<H>,
        stop: watch::Receiver<bool>,
    ) -> (Arc<Self>, mpsc::Receiver<Infallible>) {
        let (under_way, all_finished) = mpsc::channel(1);
        let handshakes = Places::new(limits.handshakes);
        let by_address = Mutex::default();
        (Arc::new(Self { name, handler, limits, handshakes, by_address, stop, under_way }), all_finished)
    }
}

/// Runs a door until `stop` turns true (or its sender is gone), then lets what is under way finish, for at most
/// `limits.drain`.
pub(crate) async fn run<H: Handler>(
    name: &'static str,
    listener: TcpListener,
    protection: Protection,
    limits: DoorLimits,
    handler: Arc<H>,
    stop: watch::Receiver<bool>,
) {
    let drain = limits.drain;
    let places = Places::new(limits.connections);
    let (shared, all_finished) = Shared::new(name, limits, handler, stop.clone());
    let protection = Arc::new(protection);
    let mut connections = JoinSet::new();
    let mut stopping = stop;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_finished) = connections.join_next() => continue,
            accepted = accept(&listener) => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(counted) = Counted::count(&shared, address.ip()) else { continue };
                // While nobody gives way, more wait in the kernel's queue.
                let place = tokio::select! {
                    _ = stopping.wait_for(|stop| *stop) => break,
                    place = places.take(address.ip()) => place,
                };
                let protection = Arc::clone(&protection);
                connections.spawn(async move {
                    tokio::select! {
                        biased;
                        () = place.given_up() => dismissed(&counted.shared, "connection"),
                        () = serve_connection(&counted, &place, &protection, stream, address) => {}
                    }
                    drop((counted, place));
                });
            }
            // Out of descriptors, most likely: waiting helps, spinning does not.
            Err(error) => {
                tracing::warn!(door = name, %error, "cannot accept");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop((listener, shared));
    finish(name, connections, all_finished, drain).await;
}

/// Waits for what is under way, for at most `drain`; whether all of it has finished. Nobody else holds the door's
/// [`Shared`] any more.
pub(super) async fn finish(
    name: &'static str,
    mut connections: JoinSet<()>,
    mut all_finished: mpsc::Receiver<Infallible>,
    drain: Duration,
) -> bool {
    let finish = async {
        while connections.join_next().await.is_some() {}
        let _: Option<Infallible> = all_finished.recv().await;
    };
    let finished = timeout(drain, finish).await.is_ok();
    if !finished {
        tracing::warn!(
            door = name,
            connections = connections.len(),
            "stopped before all exchanges had finished"
        );
    }
    finished
}

async fn accept(listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr)> {
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, address))
}

/// A connection counted against its address.
pub(super) struct Counted<H> {
    pub(super) shared: Arc<Shared<H>>,
    address: IpAddr,
    handshakes: Arc<Semaphore>,
}

impl<H> Counted<H> {
    pub(super) fn count(shared: &Arc<Shared<H>>, address: IpAddr) -> Option<Self> {
        let (address, limits) = (counted_as(address), &shared.limits);
        let mut by_address = shared.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = by_address.entry(address).or_insert_with(|| OfAddress {
            open: 0,
            handshakes: Arc::new(Semaphore::new(limits.handshakes_per_address)),
        });
        if of_address.open >= limits.connections_per_address {
            return None;
        }
        of_address.open = of_address.open.saturating_add(1);
        let handshakes = Arc::clone(&of_address.handshakes);
        Some(Self { shared: Arc::clone(shared), address, handshakes })
    }

    /// Carries out a handshake once there is a place for it: first among those of its address, then among all. Neither
    /// silence nor a flood keeps others out.
    pub(super) async fn shake_hands<T>(
        &self,
        handshake: impl Future<Output = std::io::Result<T>>,
    ) -> std::io::Result<T> {
        let _of_address = self.handshakes.acquire().await.map_err(std::io::Error::other)?;
        let place = self.shared.handshakes.take(self.address).await;
        tokio::select! {
            biased;
            () = place.given_up() => {
                dismissed(&self.shared, "handshake");
                Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "others waited for its place"))
            }
            done = handshake => done,
        }
    }
}

impl<H> Drop for Counted<H> {
    fn drop(&mut self) {
        let mut by_address = self.shared.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_address) = by_address.get_mut(&self.address) {
            of_address.open = of_address.open.saturating_sub(1);
            if of_address.open == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

async fn serve_connection<H: Handler>(
    counted: &Counted<H>,
    place: &Place,
    protection: &Protection,
    stream: TcpStream,
    address: SocketAddr,
) {
    let shared = &counted.shared;
    let secured = tokio::select! {
        secured = timeout(shared.limits.handshake_timeout, secure(counted, protection, stream)) => secured,
        _ = stopped(shared) => return,
    };
    match secured {
        Ok(Ok((stream, tls))) => {
            let caller = Arc::new(Caller { address, tls });
            if admits(shared, &caller) {
                serve_http(shared, stream, &caller, Requests::UntilClosed(place)).await;
            }
        }
        Ok(Err(error)) => tell_handshake(shared, address, &error),
        Err(_elapsed) => tell_handshake(shared, address, &"it took too long"),
    }
}

/// Tells of a handshake that came to nothing.
pub(super) fn tell_handshake<H>(shared: &Shared<H>, address: SocketAddr, error: &dyn std::fmt::Display) {
    tracing::info!(target: REFUSED, door = shared.name, from = %address, code = "handshake", %error, "handshake refused");
    metrics::counter!("passerelle_handshakes_refused_total", "door" => shared.name).increment(1);
}

/// Whether a connection is let in; tells of one that is not.
pub(super) fn admits<H: Handler>(shared: &Shared<H>, caller: &Caller) -> bool {
    let admitted = shared.handler.admits(caller);
    if !admitted {
        let (address, certificate) = (caller.address, shown(caller));
        tracing::info!(target: REFUSED, door = shared.name, from = %address, certificate, code = "certificate", "connection not admitted");
        metrics::counter!("passerelle_connections_refused_total", "door" => shared.name).increment(1);
    }
    admitted
}

/// The SHA-256 of the certificate that a caller has shown.
pub(super) fn shown(caller: &Caller) -> Option<String> {
    let leaf = caller.tls.as_ref()?.certificates.first()?;
    Some(digest(DigestAlgorithm::Sha256, leaf).hex())
}

/// Tells that somebody else got the place of a connection or a handshake.
fn dismissed<H>(shared: &Shared<H>, what: &'static str) {
    metrics::counter!("passerelle_places_given_up_total", "door" => shared.name, "of" => what).increment(1);
}

pub(super) async fn stopped<H>(shared: &Shared<H>) {
    // An error means that the sender is gone: the program ends.
    let _ = shared.stop.clone().wait_for(|stop| *stop).await;
}

/// Only a handshake that has begun takes a place.
async fn secure<H>(
    counted: &Counted<H>,
    protection: &Protection,
    stream: TcpStream,
) -> std::io::Result<(Stream, Option<TlsPeer>)> {
    let Protection::Tls(config) = protection else { return Ok((Stream::Plain(stream), None)) };
    let config = config.load_full();
    let begun = config.begun(stream).await?;
    let (stream, peer) = counted.shake_hands(begun.finish()).await?;
    Ok((stream, Some(peer)))
}

/// An answer without words, after which the connection closes.
pub(crate) fn bare(status: StatusCode) -> Response<OutgoingBody> {
    let mut response = Response::new(OutgoingBody::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
