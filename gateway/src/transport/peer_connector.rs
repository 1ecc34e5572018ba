//! From the servers of a provider to a connection whose far end is trusted, and one message over it.
//!
//! ```text
//! QUIC with the remembered server?  ── yes ─► trusted? ─► a stream of it
//!   └ no ─► kept connection to it?  ── yes ─► still trusted? ready? ─► use it
//!             └ no ─► race of the addresses ─► TLS ─► trusted? ─► use it, remember the address
//!                        ▲                       │       │
//!                        └────── the next ◄──────┴───────┘ (nothing of the message has left)
//! ```
//!
//! Until the first byte of a message is handed to a connection, any failure leads to the next address. From then on
//! nothing is ever sent again, whatever happens, but for two: a request that hyper gives back unwritten (the kept
//! connection was closed under it), and one over QUIC of which it is certain that not a byte was read
//! ([`super::quic`]). They go over another connection.
//!
//! Trust is asked for each message, on kept connections too: it ends with the registration or the OCSP response, not with
//! the connection.
//!
//! Specification: PR-MESSTRANSP 2, 3; XROAD-FACTS 1.3, 2.10, 2.12, 7 no. 10.
//!
//! Does not read what it carries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use conf::identifier::{ClientId, ServerId};
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::PeerSettings;
use super::auth_trust::{AuthTrust, PeerTrusted, TrustError};
use super::body::{BodySender, IncomingBody, OutgoingBody, Pace};
use super::door::TlsPeer;
use super::fastest::{ConnectTimeouts, Fastest, ReachError};
use super::handshake::ClientTls;
use super::io::Stream;
use super::link::{Idle, Link, LinkAnswer, SendFailure, keep_alive};
use super::ocsp_exchange::{self, FetchError};
use super::peer_registry::PeerRegistry;
use super::quic::{Dialer, Fate, OFFER, SaidBy};

/// Why no connection to the provider came about. Nothing of the message has been sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The configuration has no server for the provider.
    #[error("the provider has no server")]
    NoServer,
    /// Nobody could be reached.
    #[error(transparent)]
    Unreachable(#[from] ReachError),
    /// TLS did not come about.
    #[error("TLS with {host} failed: {reason}")]
    Handshake {
        /// With whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// Its OCSP responses could not be had.
    #[error(transparent)]
    Ocsp(#[from] FetchError),
    /// It is not whom it should be.
    #[error(transparent)]
    Untrusted(#[from] TrustError),
}

impl ConnectError {
    /// How far it got: of several addresses' failures the one that got furthest tells most.
    fn stage(&self) -> u8 {
        match self {
            Self::NoServer => 0,
            Self::Unreachable(ReachError::UnknownHost(_)) => 1,
            Self::Unreachable(_) => 2,
            Self::Handshake { .. } => 3,
            Self::Ocsp(_) => 4,
            Self::Untrusted(_) => 5,
        }
    }
}

/// Why no answer came to a message that had been handed to a connection. It may have been received, even acted on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The connection broke.
    #[error("the connection to {host} broke: {reason}")]
    Broken {
        /// To whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// The answer did not begin in time.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// Not a byte was sent after all, and no other connection could be had.
    #[error(transparent)]
    NotSent(#[from] ConnectError),
}

/// One server of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The server.
    pub server: ServerId,
    /// Its host, as the configuration has it.
    pub host: String,
}

/// Where a message is to go.
#[derive(Clone)]
pub struct Route {
    /// The provider.
    pub provider: ClientId,
    /// Its servers: those that may be asked (not in maintenance, or only the one that the client wants).
    pub addresses: Vec<Address>,
    /// The configuration that the exchange goes by.
    pub conf: Arc<dyn PeerRegistry>,
}

/// Makes and keeps connections to other gateways. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerConnector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: PeerSettings,
    tls: Arc<ArcSwap<ClientTls>>,
    trust: Arc<AuthTrust>,
    fastest: Fastest,
    /// Where QUIC is used.
    quic: Option<Dialer>,
    /// By host.
    idle: Mutex<HashMap<String, Arc<Idle<PeerLink>>>>,
}

/// A connection to a peer that has been trusted at least once.
#[derive(Debug)]
struct PeerLink {
    link: Link,
    host: Arc<str>,
    peer: Arc<TlsPeer>,
    /// The TLS configuration that it was made with: new keys end it.
    made_with: Arc<ClientTls>,
    carrier: Carrier,
}

/// What a connection goes over.
#[derive(Debug)]
enum Carrier {
    /// TCP: one exchange after the other.
    Tcp,
    /// A stream of QUIC: one exchange; the connection below it is kept elsewhere.
    Quic(Arc<Fate>),
}

/// Over what a message may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Any,
    /// QUIC has failed it already.
    Tcp,
}

impl AsMut<Link> for PeerLink {
    fn as_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// A connection that is ready for one message, and whose far end is trusted for it.
pub struct PeerConnection {
    connector: PeerConnector,
    route: Route,
    link: PeerLink,
    trusted: PeerTrusted,
}

/// What a peer answered.
#[derive(Debug)]
pub struct PeerAnswer {
    /// The HTTP status; X-Road's own is always 200.
    pub status: u16,
    /// The headers, as received.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The body, as it arrives.
    pub body: IncomingBody,
    /// Who answered: not always the connection that the message was begun for.
    pub trusted: PeerTrusted,
    /// What was agreed with it.
    pub peer: Arc<TlsPeer>,
}

/// The answer that is awaited.
pub struct Awaited {
    beginning: oneshot::Receiver<Begun>,
    host: Arc<str>,
}

/// A message that has bytes.
enum Begun {
    /// All of them: whoever waits for the answer sends it.
    Complete(Box<(PeerConnection, Request<OutgoingBody>)>),
    /// It is being sent.
    UnderWay(oneshot::Receiver<Result<PeerAnswer, AnswerError>>),
}

impl PeerConnector {
    /// Goes by `settings` and `tls` ([`super::tls::peer_client`]); the latter may be exchanged when there are new keys.
    #[must_use]
    pub fn new(settings: PeerSettings, tls: Arc<ArcSwap<ClientTls>>, trust: Arc<AuthTrust>) -> Self {
        let fastest = Fastest::new(settings.fastest_remembered);
        let quic = settings.quic.listen.map(|_| Dialer::new(&settings, Arc::clone(&tls)));
        Self(Arc::new(Inner { settings, tls, trust, fastest, quic, idle: Mutex::default() }))
    }

    /// A connection to the fastest trusted server of the provider.
    ///
    /// # Errors
    /// [`ConnectError`]: of the address that came furthest, when all have failed.
    pub async fn connect(&self, route: Route) -> Result<PeerConnection, ConnectError> {
        self.connect_over(Over::Any, route).await
    }

    async fn connect_over(&self, over: Over, route: Route) -> Result<PeerConnection, ConnectError> {
        let hosts: Vec<String> = route.addresses.iter().map(|address| address.host.clone()).collect();
        let usual = match hosts.as_slice() {
            [only] => Some(only.clone()),
            several => self.0.fastest.remembered(several),
        };
        if let Some(host) = usual {
            let ready = match over {
                Over::Any => self.by_quic(&route, &host).await,
                Over::Tcp => None,
            };
            let ready = match ready {
                None => self.kept(&route, &host).await,
                ready => ready,
            };
            if let Some((link, trusted)) = ready {
                return Ok(PeerConnection { connector: self.clone(), route, link, trusted });
            }
        }
        let timeouts = ConnectTimeouts {
            remembered: self.0.settings.remembered_connect_timeout,
            any: self.0.settings.connect_timeout,
        };
        let mut left = hosts.clone();
        let mut failure = ConnectError::NoServer;
        while !left.is_empty() {
            let (host, stream) =
                match self.0.fastest.connect(&hosts, &left, self.0.settings.port, timeouts).await {
                    Ok(connected) => connected,
                    Err(error) if failure.stage() > 2 => {
                        tracing::debug!(%error, "no further address");
                        return Err(failure);
                    }
                    Err(error) => return Err(error.into()),
                };
            match self.begin(&route, &host, stream).await {
                Ok((link, trusted)) => {
                    self.0.fastest.remember(&hosts, &host);
                    return Ok(PeerConnection { connector: self.clone(), route, link, trusted });
                }
                Err(error) => {
                    tracing::info!(host, %error, "a server of the provider cannot be used, trying the next");
                    self.0.fastest.forget(&hosts);
                    left.retain(|other| *other != host);
                    if error.stage() > failure.stage() {
                        failure = error;
                    }
                }
            }
        }
        Err(failure)
    }

    /// A stream to a server that speaks QUIC, trusted for this provider. Whatever is in the way leads to TCP.
    async fn by_quic(&self, route: &Route, host: &str) -> Option<(PeerLink, PeerTrusted)> {
        let quic = self.0.quic.as_ref()?;
        let server =
            route.addresses.iter().find(|address| address.host == host).map(|address| &address.server);
        if let Some(port) = server.and_then(|server| route.conf.quic_port(server)) {
            quic.offered(host, port, SaidBy::Authority);
        }
        let standing = quic.standing(host).await?;
        let trusted = match self.trusted(route, &standing.peer, host).await {
            Ok(trusted) => trusted,
            Err(error) => {
                tracing::info!(host, %error, "a connection by QUIC is not trusted");
                return None;
            }
        };
        let stream = standing.open()?;
        let fate = stream.fate();
        let link = Link::open(Stream::Quic(Box::new(stream))).await.ok()?;
        let (peer, made_with) = (Arc::clone(&standing.peer), Arc::clone(&standing.made_with));
        Some((PeerLink { link, host: host.into(), peer, made_with, carrier: Carrier::Quic(fate) }, trusted))
    }

    /// A kept connection to a server, still trusted for this provider.
    async fn kept(&self, route: &Route, host: &str) -> Option<(PeerLink, PeerTrusted)> {
        let idle = self.idle(host);
        while let Some(kept) = idle.take().await {
            if !Arc::ptr_eq(&kept.made_with, &self.0.tls.load()) {
                continue;
            }
            match self.trusted(route, &kept.peer, host).await {
                Ok(trusted) => return Some((kept, trusted)),
                Err(error) => tracing::info!(host, %error, "a kept connection is no longer trusted"),
            }
        }
        None
    }

    /// TLS and trust on a fresh TCP connection.
    async fn begin(
        &self,
        route: &Route,
        host: &str,
        stream: TcpStream,
    ) -> Result<(PeerLink, PeerTrusted), ConnectError> {
        let failed = |reason: String| ConnectError::Handshake { host: host.to_owned(), reason };
        keep_alive(&stream).map_err(|error| failed(error.to_string()))?;
        let tls = self.0.tls.load_full();
        let (stream, peer) = timeout(self.0.settings.handshake_timeout, tls.connect(stream))
            .await
            .map_err(|_elapsed| failed("it takes too long".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        let trusted = self.trusted(route, &peer, host).await?;
        let link = Link::open(stream).await.map_err(|error| failed(error.to_string()))?;
        let (peer, carrier) = (Arc::new(peer), Carrier::Tcp);
        Ok((PeerLink { link, host: host.into(), peer, made_with: tls, carrier }, trusted))
    }

    /// Judges the far end; OCSP responses that are missing are fetched from it.
    async fn trusted(&self, route: &Route, peer: &TlsPeer, host: &str) -> Result<PeerTrusted, ConnectError> {
        let conf = route.conf.as_ref();
        match self.0.trust.judge(conf, &peer.certificates, &[], &route.provider) {
            Ok(trusted) => Ok(trusted),
            Err(error) if error.missing().is_empty() => Err(error.into()),
            Err(error) => {
                let fetched = ocsp_exchange::fetch(host, error.missing(), &self.0.settings).await?;
                Ok(self.0.trust.judge(conf, &peer.certificates, &fetched, &route.provider)?)
            }
        }
    }

    fn idle(&self, host: &str) -> Arc<Idle<PeerLink>> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(idle) = idle.get(host) {
            return Arc::clone(idle);
        }
        let new = Arc::new(Idle::new(self.0.settings.idle_connections, self.0.settings.idle));
        idle.insert(host.to_owned(), Arc::clone(&new));
        new
    }
}

impl PeerConnection {
    /// Who is at the other end.
    #[must_use]
    pub fn trusted(&self) -> &PeerTrusted {
        &self.trusted
    }

    /// What was agreed with it.
    #[must_use]
    pub fn peer(&self) -> &TlsPeer {
        &self.link.peer
    }

    /// Whether it goes over QUIC.
    #[must_use]
    pub fn is_quic(&self) -> bool {
        matches!(self.link.carrier, Carrier::Quic(_))
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.link.host
    }

    /// Begins the one message of this connection: `headers` in their order, then Host; the body follows through the
    /// sender, in chunks. Nothing leaves before the first bytes of the body, and of a body that is finished at once
    /// nothing before the answer is asked for. The peer may answer before the body has ended, a refusal does: wait for
    /// the answer while sending, or ask for it when the sender says [`super::body::Gone`].
    #[must_use]
    pub fn send(self, headers: Vec<(HeaderName, HeaderValue)>) -> (BodySender, Awaited) {
        let host = Arc::clone(&self.link.host);
        let (begun, beginning) = oneshot::channel();
        let sender = BodySender::lazily(move |body| {
            let complete = body.is_complete();
            let mut request = Request::new(body);
            *request.method_mut() = Method::POST;
            *request.uri_mut() = Uri::from_static("/");
            request.headers_mut().extend(headers);
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Keep-Alive"));
            let begin =
                if complete { Begun::Complete(Box::new((self, request))) } else { self.spawn(request) };
            let _ = begun.send(begin);
        });
        (sender, Awaited { beginning, host })
    }

    /// Sends a message that is still being made. In a task of its own: the answer must be able to arrive while whoever
    /// sends is busy with the body. It ends when nobody waits for the answer any more, and the connection with it.
    fn spawn(self, request: Request<OutgoingBody>) -> Begun {
        let (mut answered, answer) = oneshot::channel();
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = self.exchange(request) => outcome,
                () = answered.closed() => return,
            };
            let _ = answered.send(outcome);
        });
        Begun::UnderWay(answer)
    }

    async fn exchange(mut self, mut request: Request<OutgoingBody>) -> Result<PeerAnswer, AnswerError> {
        loop {
            self.address(&mut request);
            let unread = self.may_be_unread(&request);
            let patience = self.connector.0.settings.answer_timeout;
            let failure = match self.link.link.exchange(request, patience).await {
                Ok(answer) => return Ok(self.answered(answer)),
                Err(failure) => failure,
            };
            let host = self.link.host.to_string();
            let over = match (failure, unread) {
                (SendFailure::Unsent(unsent), _) => {
                    tracing::info!(
                        host,
                        "a kept connection was closed before the message was begun, taking another"
                    );
                    request = *unsent;
                    self.link.carrier.other()
                }
                (SendFailure::Broken(error), Some((fate, same))) if fate.is_unread() => {
                    tracing::info!(host, %error, "the message was not read over QUIC, taking TCP");
                    request = same;
                    Over::Tcp
                }
                (SendFailure::Late, _) => return Err(AnswerError::Timeout(host)),
                (SendFailure::Broken(error), _) => {
                    return Err(AnswerError::Broken { host, reason: chain(&error) });
                }
            };
            self = self.connector.connect_over(over, self.route).await?;
        }
    }

    /// A message that is all here and goes over QUIC can go by TCP when it turns out that nobody has read it.
    fn may_be_unread(&self, request: &Request<OutgoingBody>) -> Option<(Arc<Fate>, Request<OutgoingBody>)> {
        let Carrier::Quic(fate) = &self.link.carrier else { return None };
        let mut same = Request::new(request.body().again()?);
        *same.method_mut() = request.method().clone();
        *same.uri_mut() = request.uri().clone();
        *same.headers_mut() = request.headers().clone();
        Some((Arc::clone(fate), same))
    }

    fn answered(self, answer: LinkAnswer) -> PeerAnswer {
        let Self { connector, link, trusted, .. } = self;
        if matches!(link.carrier, Carrier::Quic(_)) {
            metrics::counter!("passerelle_quic_answers_total").increment(1);
        }
        if let (Some(quic), Some(port)) = (&connector.0.quic, offered(&answer.headers)) {
            quic.offered(&link.host, port, SaidBy::Host);
        }
        let (idle, peer) = (connector.idle(&link.host), Arc::clone(&link.peer));
        let pace = Pace { pause: connector.0.settings.answer_timeout, least_rate: None };
        let reusable = answer.reusable && matches!(link.carrier, Carrier::Tcp);
        PeerAnswer {
            status: answer.status,
            headers: answer.headers,
            body: idle.lend(link, reusable, answer.incoming, pace),
            trusted,
            peer,
        }
    }

    fn address(&self, request: &mut Request<OutgoingBody>) {
        let host = &self.link.host;
        let shown = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        let authority = format!("{shown}:{}", self.connector.0.settings.port);
        if let Ok(value) = HeaderValue::from_str(&authority) {
            request.headers_mut().insert(header::HOST, value);
        }
    }
}

impl Awaited {
    /// Waits for the head of the answer.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn answer(self) -> Result<PeerAnswer, AnswerError> {
        let lost = || Err(AnswerError::Broken { host: self.host.to_string(), reason: "given up".to_owned() });
        match self.beginning.await {
            Ok(Begun::Complete(message)) => {
                let (connection, request) = *message;
                connection.exchange(request).await
            }
            Ok(Begun::UnderWay(answer)) => answer.await.unwrap_or_else(|_ended| lost()),
            Err(_dropped) => lost(),
        }
    }
}

impl Carrier {
    /// Over what a message may go that this one has not begun.
    const fn other(&self) -> Over {
        match self {
            Self::Tcp => Over::Any,
            Self::Quic(_) => Over::Tcp,
        }
    }
}

/// The port at which whoever answered speaks QUIC.
fn offered(headers: &[(Bytes, Bytes)]) -> Option<u16> {
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(OFFER.as_bytes()))?;
    std::str::from_utf8(value).ok()?.parse().ok().filter(|port| *port > 0)
}

/// An error with its causes: hyper's own words alone say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
