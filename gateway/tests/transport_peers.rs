//! Gateway to gateway over real TLS: which address is taken, what is never repeated, how long a connection is trusted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod transport_world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cert_authority::error::VerifyError;
use cert_authority::ocsp::CertStatus;
use cert_authority::x509::issue::Profile;
use gateway::transport::auth_trust::{AuthTrust, TrustError};
use gateway::transport::body::{BodyError, IncomingBody};
use gateway::transport::ocsp_cache::OcspCache;
use gateway::transport::peer_connector::{
    Address, AnswerError, ConnectError, PeerAnswer, PeerConnector, Route,
};
use gateway::transport::peer_door::{self, PeerReply, PeerRequest, PeerService};
use gateway::transport::{DoorLimits, PeerSettings, tls};
use http::{HeaderName, HeaderValue};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use transport_world::{Authority, Conf, HOUR, InForce, Party, beginning, client, clock, server, soon};

/// How a provider behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Reads the message and sends it back.
    Echo,
    /// Refuses before it reads the body.
    Refuse,
    /// Begins an answer and gives it up when the test says so.
    BreakOff,
}

/// One message as a provider got it.
struct Got {
    from: SocketAddr,
    headers: Vec<(Bytes, Bytes)>,
    body: Vec<u8>,
}

struct Provider {
    manner: Manner,
    resume: Arc<Notify>,
    got: mpsc::UnboundedSender<Got>,
}

async fn read(body: &mut IncomingBody) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

impl PeerService for Provider {
    async fn serve(&self, mut request: PeerRequest, reply: PeerReply) {
        assert!(request.peer().is_some_and(|peer| !peer.certificates.is_empty()));
        let headers = request.head.headers.clone();
        if self.manner == Manner::Refuse {
            self.got.send(Got { from: request.caller.address, headers, body: Vec::new() }).unwrap();
            return reply.whole("text/xml", Vec::new(), Bytes::from_static(b"<refused/>"));
        }
        let body = read(&mut request.body).await.unwrap();
        self.got.send(Got { from: request.caller.address, headers, body: body.clone() }).unwrap();
        let kind = (HeaderName::from_static("content-type"), HeaderValue::from_static("multipart/mixed"));
        let mut sender = reply.begin(vec![kind]);
        sender.send(body.into()).await.unwrap();
        match self.manner {
            Manner::BreakOff => self.resume.notified().await,
            _ => sender.finish(Bytes::new()).await.unwrap(),
        }
    }

    fn not_registered(&self, _caller: &gateway::transport::Caller) -> Bytes {
        Bytes::from_static(b"<not-registered/>")
    }
}

/// An authority; a consumer `ss1` (client `portal`); providers with the client `registry` at addresses of their own,
/// all on one port.
struct World {
    ca: Authority,
    conf: InForce,
    consumer: Party,
    clock: cert_authority::clock::FixedClock,
    trust: Arc<AuthTrust>,
    settings: PeerSettings,
    resume: Arc<Notify>,
    /// Keeps the doors open.
    _stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl World {
    async fn new() -> Self {
        let ca = Authority::new("CA").await;
        let consumer = ca.issue(Profile::Auth, "ss1").await;
        let conf = InForce::new(Conf {
            number: 0,
            authorities: vec![ca.certificate.clone()],
            servers: vec![(consumer.certificate.clone(), server("ss1"), vec![client("portal")])],
            responders: Vec::new(),
        });
        let (fixed, shared) = clock();
        let trust = Arc::new(AuthTrust::new(shared, Arc::new(OcspCache::new(None))));
        let settings = PeerSettings {
            handshake_timeout: Duration::from_millis(500),
            // Nobody serves OCSP responses here: what is not known is missing.
            ocsp_port: 1,
            ..PeerSettings::default()
        };
        let (stop, stopped) = watch::channel(false);
        Self {
            ca,
            conf,
            consumer,
            clock: fixed,
            trust,
            settings,
            resume: Arc::default(),
            _stop: stop,
            stopped,
        }
    }

    /// A registered provider's certificate, known to be good.
    async fn provider(&self, name: &str) -> Party {
        let party = self.ca.issue(Profile::Auth, name).await;
        self.register(&party, name);
        let good = self.ca.good(&party.certificate).await;
        let shown = [party.der()];
        self.trust.judge(self.conf.now().as_ref(), &shown, &[good], &client("registry")).unwrap();
        party
    }

    fn register(&self, party: &Party, name: &str) {
        let entry = (party.certificate.clone(), server(name), vec![client("registry")]);
        self.conf.change(|conf| conf.servers.push(entry));
    }

    fn remove(&self, party: &Party) {
        self.conf.change(|conf| conf.servers.retain(|(own, _, _)| *own != party.certificate));
    }

    /// Opens a peer door.
    fn open(&self, listener: TcpListener, party: &Party, manner: Manner) -> mpsc::UnboundedReceiver<Got> {
        let registered = self.trust.registered(self.conf.registry());
        let config = tls::peer_server(party.identity.clone(), Arc::clone(&registered)).unwrap();
        let config = Arc::new(ArcSwap::from_pointee(config.into()));
        let (got, receiver) = mpsc::unbounded_channel();
        let service = Arc::new(Provider { manner, resume: Arc::clone(&self.resume), got });
        let limits = DoorLimits { handshake_timeout: Duration::from_millis(500), ..DoorLimits::default() };
        tokio::spawn(peer_door::serve(
            listener,
            config,
            registered,
            limits,
            None,
            service,
            self.stopped.clone(),
        ));
        receiver
    }

    fn connector(&self, port: u16) -> PeerConnector {
        let config = tls::peer_client(self.consumer.identity.clone()).unwrap();
        let settings = PeerSettings { port, ..self.settings.clone() };
        PeerConnector::new(settings, Arc::new(ArcSwap::from_pointee(config.into())), Arc::clone(&self.trust))
    }

    fn route(&self, hosts: &[&str]) -> Route {
        let address = |host: &&str| Address { server: server(host), host: (*host).to_owned() };
        Route {
            provider: client("registry"),
            addresses: hosts.iter().map(address).collect(),
            conf: self.conf.now(),
        }
    }
}

/// Listeners on one port of several addresses.
async fn listeners<const N: usize>(hosts: [&str; N]) -> (u16, [TcpListener; N]) {
    'port: loop {
        let port = TcpListener::bind((hosts[0], 0)).await.unwrap().local_addr().unwrap().port();
        let mut bound = Vec::new();
        for host in hosts {
            let Ok(listener) = TcpListener::bind((host, port)).await else { continue 'port };
            bound.push(listener);
        }
        return (port, bound.try_into().unwrap());
    }
}

fn headers() -> Vec<(HeaderName, HeaderValue)> {
    vec![
        (HeaderName::from_static("x-road-message-type"), HeaderValue::from_static("REST")),
        (HeaderName::from_static("x-hash-algorithm"), HeaderValue::from_static("SHA-512")),
        (HeaderName::from_static("x-original-content-type"), HeaderValue::from_static("")),
    ]
}

/// One message there and back.
async fn exchange(
    connector: &PeerConnector,
    route: Route,
    text: &'static str,
) -> Result<PeerAnswer, AnswerError> {
    let (mut body, answer) = connector.connect(route).await?.send(headers());
    // The peer may refuse before it has everything.
    let _ = body.send(Bytes::from_static(text.as_bytes())).await;
    let _ = body.finish(Bytes::new()).await;
    soon(answer.answer()).await
}

async fn echoed(connector: &PeerConnector, route: Route, text: &'static str) -> PeerAnswer {
    let mut answer = exchange(connector, route, text).await.unwrap();
    assert_eq!(read(&mut answer.body).await.unwrap(), text.as_bytes());
    answer
}

fn broken(outcome: Result<PeerAnswer, AnswerError>) -> bool {
    matches!(outcome, Err(AnswerError::Broken { .. }))
}

#[tokio::test]
async fn messages_go_over_one_kept_connection_with_their_headers_in_order() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let mut got = world.open(listener, &provider, Manner::Echo);
    let connector = world.connector(port);
    let answer = echoed(&connector, world.route(&["127.0.0.21"]), "one").await;
    assert_eq!(answer.trusted.server(), &server("ss2"));
    assert_eq!((answer.peer.version.as_str(), answer.status), ("TLSv1_3", 200));
    assert!(answer.peer.group.is_some(), "{:?}", answer.peer);
    echoed(&connector, world.route(&["127.0.0.21"]), "two").await;
    let (one, two) = (soon(got.recv()).await.unwrap(), soon(got.recv()).await.unwrap());
    assert_eq!(one.from, two.from, "the connection was not kept");
    assert_eq!((one.body.as_slice(), two.body.as_slice()), (&b"one"[..], &b"two"[..]));
    let names: Vec<&[u8]> = one.headers.iter().map(|(name, _)| name.as_ref()).collect();
    assert_eq!(names[..3], [&b"x-road-message-type"[..], b"x-hash-algorithm", b"x-original-content-type"]);
    assert!(names.contains(&&b"host"[..]) && names.contains(&&b"transfer-encoding"[..]), "{names:?}");
}

#[tokio::test]
async fn address_that_is_down_silent_or_somebody_elses_leads_to_the_next() {
    let world = World::new().await;
    // .21 is down, .22 accepts and says nothing, .23 is not registered, .24 is right.
    let (port, [down, silent, wrong, right]) =
        listeners(["127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24"]).await;
    drop(down);
    let stranger = world.ca.issue(Profile::Auth, "ss9").await;
    let provider = world.provider("ss2").await;
    let mut at_wrong = world.open(wrong, &stranger, Manner::Echo);
    let mut at_right = world.open(right, &provider, Manner::Echo);
    let hosts = ["127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24"];
    for _ in 0..5 {
        // A new connector each time: the winner of the race is a matter of chance.
        echoed(&world.connector(port), world.route(&hosts), "x").await;
        soon(at_right.recv()).await.unwrap();
    }
    assert!(at_wrong.try_recv().is_err(), "a message reached somebody who is not registered");
    drop(silent);
}

#[tokio::test]
async fn nobody_there_is_told_with_the_reason_that_came_furthest() {
    let world = World::new().await;
    let (port, [down, wrong]) = listeners(["127.0.0.21", "127.0.0.23"]).await;
    drop(down);
    let connector = world.connector(port);
    let unreachable = connector.connect(world.route(&["127.0.0.21"])).await.err().unwrap();
    assert!(matches!(unreachable, ConnectError::Unreachable(_)), "{unreachable:?}");
    assert_eq!(connector.connect(world.route(&[])).await.err().unwrap(), ConnectError::NoServer);
    let stranger = world.ca.issue(Profile::Auth, "ss9").await;
    let _got = world.open(wrong, &stranger, Manner::Echo);
    let untrusted = connector.connect(world.route(&["127.0.0.21", "127.0.0.23"])).await.err().unwrap();
    assert_eq!(untrusted, ConnectError::Untrusted(TrustError::NotRegistered));
}

#[tokio::test]
async fn provider_whose_certificate_is_not_good_gets_no_byte() {
    let world = World::new().await;
    let other = Authority::new("Other CA").await;
    let (port, [l1, l2, l3, l4]) = listeners(["127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24"]).await;
    let expired = world.ca.issue_until(Profile::Auth, "expired", beginning() - HOUR).await;
    let foreign = other.issue(Profile::Auth, "foreign").await;
    let unknown = world.ca.issue(Profile::Auth, "unknown").await;
    let others = world.ca.issue(Profile::Auth, "others").await;
    for (party, name) in [(&expired, "expired"), (&foreign, "foreign"), (&unknown, "unknown")] {
        world.register(party, name);
    }
    let entry = (others.certificate.clone(), server("others"), vec![client("somebody-else")]);
    world.conf.change(|conf| conf.servers.push(entry));
    let good = world.ca.good(&others.certificate).await;
    let shown = [others.der()];
    world.trust.judge(world.conf.now().as_ref(), &shown, &[good], &client("somebody-else")).unwrap();
    let mut doors = [
        world.open(l1, &expired, Manner::Echo),
        world.open(l2, &foreign, Manner::Echo),
        world.open(l3, &unknown, Manner::Echo),
        world.open(l4, &others, Manner::Echo),
    ];
    let connector = world.connector(port);
    let refused = async |host: &str| connector.connect(world.route(&[host])).await.err().unwrap();
    let chain = |error| ConnectError::Untrusted(TrustError::Chain(error));
    assert_eq!(refused("127.0.0.21").await, chain(VerifyError::Expired));
    assert_eq!(refused("127.0.0.22").await, chain(VerifyError::UnknownIssuer));
    assert!(matches!(refused("127.0.0.23").await, ConnectError::Ocsp(_)), "no OCSP response can be had");
    let other_client = TrustError::OtherClient(client("registry").to_string());
    assert_eq!(refused("127.0.0.24").await, ConnectError::Untrusted(other_client));
    assert!(doors.iter_mut().all(|got| got.try_recv().is_err()));
}

/// A registered peer that counts the messages that begin, and then does what it should not.
async fn misbehave(
    world: &World,
    listener: TcpListener,
    party: &Party,
    begun: Arc<AtomicUsize>,
    hold: Option<Duration>,
) {
    let registered = world.trust.registered(world.conf.registry());
    let acceptor = TlsAcceptor::from(Arc::new(tls::peer_server(party.identity.clone(), registered).unwrap()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut first = [0; 1];
            if matches!(stream.read(&mut first).await, Ok(1)) {
                begun.fetch_add(1, Ordering::SeqCst);
                if let Some(hold) = hold {
                    tokio::time::sleep(hold).await;
                }
            }
        }
    });
}

#[tokio::test]
async fn message_of_which_a_byte_has_left_is_never_repeated() {
    let world = World::new().await;
    let (port, [one, two]) = listeners(["127.0.0.21", "127.0.0.22"]).await;
    let provider = world.provider("ss2").await;
    let begun = Arc::new(AtomicUsize::new(0));
    misbehave(&world, one, &provider, Arc::clone(&begun), None).await;
    misbehave(&world, two, &provider, Arc::clone(&begun), None).await;
    let outcome = exchange(&world.connector(port), world.route(&["127.0.0.21", "127.0.0.22"]), "x").await;
    assert!(broken(outcome));
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn peer_that_answers_nothing_is_given_up_and_the_message_not_repeated() {
    let mut world = World::new().await;
    world.settings.answer_timeout = Some(Duration::from_millis(200));
    let (port, [one, two]) = listeners(["127.0.0.21", "127.0.0.22"]).await;
    let provider = world.provider("ss2").await;
    let begun = Arc::new(AtomicUsize::new(0));
    let hold = Some(Duration::from_secs(60));
    misbehave(&world, one, &provider, Arc::clone(&begun), hold).await;
    misbehave(&world, two, &provider, Arc::clone(&begun), hold).await;
    let outcome = exchange(&world.connector(port), world.route(&["127.0.0.21", "127.0.0.22"]), "x").await;
    assert!(matches!(outcome, Err(AnswerError::Timeout(_))), "{outcome:?}");
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn kept_connection_that_the_peer_has_closed_is_replaced_and_each_message_arrives_once() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let registered = world.trust.registered(world.conf.registry());
    let acceptor =
        TlsAcceptor::from(Arc::new(tls::peer_server(provider.identity.clone(), registered).unwrap()));
    let arrived = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&arrived);
    // Answers as if the connection were kept, and closes it.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut message = Vec::new();
            while !message.ends_with(b"\r\n0\r\n\r\n") {
                message.push(stream.read_u8().await.unwrap());
            }
            count.fetch_add(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    let connector = world.connector(port);
    for _ in 0..10 {
        echoed(&connector, world.route(&["127.0.0.21"]), "x").await;
    }
    assert_eq!(arrived.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn refusal_arrives_while_the_body_is_still_being_sent() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let _got = world.open(listener, &provider, Manner::Refuse);
    let connection = world.connector(port).connect(world.route(&["127.0.0.21"])).await.unwrap();
    let (mut body, answer) = connection.send(headers());
    body.send(Bytes::from_static(b"the beginning")).await.unwrap();
    // The body has not ended, and never will.
    let mut answer = soon(answer.answer()).await.unwrap();
    assert_eq!(read(&mut answer.body).await.unwrap(), b"<refused/>");
}

#[tokio::test]
async fn connection_ends_when_nobody_waits_for_the_answer_any_more() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let registered = world.trust.registered(world.conf.registry());
    let acceptor =
        TlsAcceptor::from(Arc::new(tls::peer_server(provider.identity.clone(), registered).unwrap()));
    let ended = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut all = Vec::new();
        // The end of the stream or its breaking: both are an end.
        let _ = stream.read_to_end(&mut all).await;
        all
    });
    let connection = world.connector(port).connect(world.route(&["127.0.0.21"])).await.unwrap();
    let (mut body, answer) = connection.send(headers());
    body.send(Bytes::from_static(b"x")).await.unwrap();
    drop(answer);
    soon(ended).await.unwrap();
}

#[tokio::test]
async fn answer_that_is_given_up_is_no_whole_answer() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let _got = world.open(listener, &provider, Manner::BreakOff);
    let mut answer = exchange(&world.connector(port), world.route(&["127.0.0.21"]), "x").await.unwrap();
    assert_eq!(soon(answer.body.next()).await.unwrap().unwrap(), "x");
    world.resume.notify_one();
    assert!(matches!(soon(answer.body.next()).await, Err(BodyError::CutOff(_))));
}

#[tokio::test]
async fn consumer_that_is_not_registered_reaches_no_service() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let mut got = world.open(listener, &provider, Manner::Echo);
    let connector = world.connector(port);
    world.remove(&world.consumer);
    let outcome = exchange(&connector, world.route(&["127.0.0.21"]), "x").await;
    assert!(broken(outcome));
    assert!(got.try_recv().is_err());
}

#[tokio::test]
async fn consumer_removed_while_connected_is_refused_on_the_next_message_of_the_kept_connection() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let mut got = world.open(listener, &provider, Manner::Echo);
    let connector = world.connector(port);
    echoed(&connector, world.route(&["127.0.0.21"]), "one").await;
    soon(got.recv()).await.unwrap();
    world.remove(&world.consumer);
    let mut answer = exchange(&connector, world.route(&["127.0.0.21"]), "two").await.unwrap();
    assert_eq!(read(&mut answer.body).await.unwrap(), b"<not-registered/>");
    assert!(got.try_recv().is_err(), "the message reached the service");
    // The connection is closed with it; a new one does not come about.
    assert!(exchange(&connector, world.route(&["127.0.0.21"]), "three").await.is_err());
}

#[tokio::test]
async fn provider_removed_or_no_longer_known_good_gets_nothing_over_the_kept_connection() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let mut got = world.open(listener, &provider, Manner::Echo);
    let connector = world.connector(port);
    echoed(&connector, world.route(&["127.0.0.21"]), "one").await;
    soon(got.recv()).await.unwrap();
    world.clock.advance(HOUR + Duration::from_secs(1));
    let stale = connector.connect(world.route(&["127.0.0.21"])).await.err().unwrap();
    assert!(matches!(stale, ConnectError::Ocsp(_)), "{stale:?}");
    let revoked = CertStatus::Revoked { at: beginning(), reason: None };
    let response = world.ca.ocsp(&provider.certificate, revoked, beginning() + HOUR).await;
    let shown = [provider.der()];
    let verdict = world.trust.judge(world.conf.now().as_ref(), &shown, &[response], &client("registry"));
    assert!(matches!(verdict, Err(TrustError::Ocsp { error: VerifyError::OcspRevoked, .. })), "{verdict:?}");
    world.remove(&provider);
    let removed = connector.connect(world.route(&["127.0.0.21"])).await.err().unwrap();
    assert_eq!(removed, ConnectError::Untrusted(TrustError::NotRegistered));
    assert!(got.try_recv().is_err());
}

#[tokio::test]
async fn new_keys_end_the_use_of_connections_made_with_the_old_ones() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let provider = world.provider("ss2").await;
    let mut got = world.open(listener, &provider, Manner::Echo);
    let tls =
        Arc::new(ArcSwap::from_pointee(tls::peer_client(world.consumer.identity.clone()).unwrap().into()));
    let settings = PeerSettings { port, ..world.settings.clone() };
    let connector = PeerConnector::new(settings, Arc::clone(&tls), Arc::clone(&world.trust));
    echoed(&connector, world.route(&["127.0.0.21"]), "one").await;
    tls.store(Arc::new(tls::peer_client(world.consumer.identity.clone()).unwrap().into()));
    echoed(&connector, world.route(&["127.0.0.21"]), "two").await;
    let (one, two) = (soon(got.recv()).await.unwrap(), soon(got.recv()).await.unwrap());
    assert_ne!(one.from, two.from);
}

/// One request over a raw TLS connection: what was answered, and how the handshake went.
async fn raw(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
) -> (std::io::Result<String>, rustls::HandshakeKind) {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream =
        TlsConnector::from(Arc::clone(config)).connect(ServerName::from(address.ip()), stream).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    let answer = soon(async {
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    });
    (answer.await, kind)
}

#[tokio::test]
async fn consumer_removed_from_the_configuration_is_refused_on_a_resumed_session() {
    let world = World::new().await;
    let (port, [listener]) = listeners(["127.0.0.21"]).await;
    let address = listener.local_addr().unwrap();
    let provider = world.provider("ss2").await;
    let mut got = world.open(listener, &provider, Manner::Echo);
    let mut tls12 = tls::peer_client(world.consumer.identity.clone()).unwrap();
    tls12.resumption = Resumption::in_memory_sessions(8);
    let config = Arc::new(tls12);
    // Registered, resumption does work: without this the test would prove nothing.
    assert_eq!(raw(&config, address).await.1, rustls::HandshakeKind::Full);
    let (answer, kind) = raw(&config, address).await;
    assert_eq!(kind, rustls::HandshakeKind::Resumed);
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
    soon(got.recv()).await.unwrap();
    soon(got.recv()).await.unwrap();
    world.remove(&world.consumer);
    let (answer, kind) = raw(&config, address).await;
    assert_eq!(kind, rustls::HandshakeKind::Resumed);
    assert!(!answer.is_ok_and(|answer| answer.contains("HTTP/1.1")), "a removed peer was answered");
    assert!(got.try_recv().is_err(), "a removed peer's message reached the service");
    assert_eq!(port, address.port());
}

#[tokio::test]
async fn tls_1_2_with_aead_is_spoken_and_a_client_without_certificate_is_refused() {
    let world = World::new().await;
    let (_port, [listener]) = listeners(["127.0.0.21"]).await;
    let address = listener.local_addr().unwrap();
    let provider = world.provider("ss2").await;
    let _got = world.open(listener, &provider, Manner::Echo);
    let curl = |arguments: Vec<String>| {
        let run =
            move || std::process::Command::new("curl").args(["-sSk", "-m", "15"]).args(arguments).output();
        tokio::task::spawn_blocking(run)
    };
    let url = format!("https://{address}/");
    let files = transport_world::directory();
    let file = |name: &str, content: &[u8]| {
        let path = files.path().join(name);
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), content).unwrap();
        path.display().to_string()
    };
    let certificate = file("cert.pem", world.consumer.certificate.to_pem().as_bytes());
    let key = file("key.der", &world.consumer.key.pkcs8);
    let own = ["--cert", &certificate, "--key-type", "DER", "--key", &key, "-d", "hello"].map(str::to_owned);
    let version = ["--tls-max", "1.2", &url].map(str::to_owned);
    let with = curl([own.to_vec(), version.to_vec()].concat()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&with.stdout), "hello", "{}", String::from_utf8_lossy(&with.stderr));
    let without = curl(vec![url]).await.unwrap().unwrap();
    assert!(!without.status.success());
}
