//! OCSP responses: our own kept fresh from a responder, served on the port for peers, fetched by a peer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod transport_world;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::FixedClock;
use cert_authority::http::{read_body, respond};
use cert_authority::ocsp::{self, CertStatus};
use cert_authority::x509::Certificate;
use cert_authority::x509::issue::Profile;
use gateway::transport::auth_trust::{AuthTrust, TrustError};
use gateway::transport::ocsp_cache::OcspCache;
use gateway::transport::ocsp_exchange::{self, FetchError};
use gateway::transport::ocsp_refresh::OcspRefresher;
use gateway::transport::peer_connector::{Address, PeerConnector, Route};
use gateway::transport::peer_door::{self, PeerReply, PeerRequest, PeerService};
use gateway::transport::peer_registry::Responder;
use gateway::transport::{DoorLimits, PeerSettings, tls};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use transport_world::{
    Authority, Conf, HOUR, InForce, Party, beginning, client, clock, directory, server, soon,
};

/// An authority with a responder that says what the test wants; the certificate of `ss1`; its refresher and cache.
struct World {
    ca: Arc<Authority>,
    own: Party,
    conf: InForce,
    clock: FixedClock,
    /// What the responder says; `None` is a failure of the server.
    says: Arc<ArcSwap<Option<CertStatus>>>,
    asked: Arc<AtomicUsize>,
    /// How often it was asked which certificates are ours.
    rounds: Arc<AtomicUsize>,
    cache: Arc<OcspCache>,
    refresher: OcspRefresher,
    stop: watch::Sender<bool>,
}

impl World {
    async fn new(kept: Option<&Path>) -> Self {
        let ca = Arc::new(Authority::new("CA").await);
        let own = ca.issue(Profile::Auth, "ss1").await;
        Self::with(ca, own, kept).await
    }

    async fn with(ca: Arc<Authority>, own: Party, kept: Option<&Path>) -> Self {
        let says = Arc::new(ArcSwap::from_pointee(Some(CertStatus::Good)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = watch::channel(false);
        let (fixed, shared) = clock();
        let url = responder(&ca, &own.certificate, &says, &asked, fixed.clone(), stopped).await;
        let conf = InForce::new(Conf {
            number: 0,
            authorities: vec![ca.certificate.clone()],
            servers: vec![(own.certificate.clone(), server("ss1"), vec![client("registry")])],
            responders: vec![
                Responder { url: "http://127.0.0.1:1/down".to_owned(), certificate: None },
                Responder { url, certificate: None },
            ],
        });
        let cache = Arc::new(OcspCache::new(kept.map(Path::to_path_buf)));
        let chain = vec![own.certificate.clone()];
        let rounds = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&rounds);
        let ours = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            vec![chain.clone()]
        });
        let refresher = OcspRefresher::new(conf.registry(), ours, Arc::clone(&cache), shared);
        Self { ca, own, conf, clock: fixed, says, asked, rounds, cache, refresher, stop }
    }

    fn at_hand(&self) -> Option<Bytes> {
        self.cache.get(&self.own.certificate.fingerprint(DigestAlgorithm::Sha256))
    }

    /// Serves the cache to peers; its port.
    async fn serve(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = self.stop.subscribe();
        tokio::spawn(ocsp_exchange::serve(listener, Arc::clone(&self.cache), DoorLimits::default(), stop));
        port
    }
}

/// A responder over HTTP; its address.
async fn responder(
    ca: &Arc<Authority>,
    about: &Certificate,
    says: &Arc<ArcSwap<Option<CertStatus>>>,
    asked: &Arc<AtomicUsize>,
    clock: FixedClock,
    mut stopped: watch::Receiver<bool>,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
    let (ca, about, says, asked) = (Arc::clone(ca), about.clone(), Arc::clone(says), Arc::clone(asked));
    let handler = move |request: http::Request<hyper::body::Incoming>| {
        let (ca, about, says, clock) = (Arc::clone(&ca), about.clone(), Arc::clone(&says), clock.clone());
        asked.fetch_add(1, Ordering::SeqCst);
        async move {
            let question = read_body(request.into_body(), 4096).await.unwrap();
            assert!(ocsp::Request::from_der(&question).is_ok());
            match says.load().as_ref() {
                None => respond(StatusCode::BAD_GATEWAY, "text/plain", Bytes::new()),
                Some(status) => {
                    let now = cert_authority::clock::Clock::now(&clock);
                    respond(StatusCode::OK, ocsp::RESPONSE_TYPE, ca.ocsp(&about, *status, now).await)
                }
            }
        }
    };
    tokio::spawn(cert_authority::http::serve(listener, handler, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    url
}

#[tokio::test]
async fn responses_are_fetched_past_a_responder_that_is_down() {
    let world = World::new(None).await;
    assert_eq!(world.at_hand(), None);
    soon(world.refresher.refresh_now()).await;
    assert!(world.at_hand().is_some());
    assert!(world.refresher.problems().is_empty(), "{:?}", world.refresher.problems());
}

#[tokio::test]
async fn revocation_of_our_own_certificate_takes_the_good_response_away() {
    let files = directory();
    let world = World::new(Some(files.path())).await;
    soon(world.refresher.refresh_now()).await;
    assert!(world.at_hand().is_some());
    world.says.store(Arc::new(Some(CertStatus::Revoked { at: beginning(), reason: None })));
    soon(world.refresher.refresh_now()).await;
    assert_eq!(world.at_hand(), None);
    assert_eq!(world.refresher.problems().len(), 1);
    assert_eq!(std::fs::read_dir(files.path()).unwrap().count(), 0, "it is still on disk");
}

#[tokio::test]
async fn failure_of_the_responder_leaves_what_is_at_hand() {
    let world = World::new(None).await;
    soon(world.refresher.refresh_now()).await;
    let before = world.at_hand();
    world.says.store(Arc::new(None));
    soon(world.refresher.refresh_now()).await;
    assert_eq!(world.at_hand(), before);
    assert_eq!(world.refresher.problems().len(), 1);
}

#[tokio::test]
async fn response_on_disk_serves_a_new_start_while_it_is_fresh() {
    let files = directory();
    let first = World::new(Some(files.path())).await;
    soon(first.refresher.refresh_now()).await;
    let kept = first.at_hand().unwrap();
    let World { ca, own, .. } = first;
    let second = World::with(ca, own, Some(files.path())).await;
    second.says.store(Arc::new(None));
    soon(second.refresher.refresh_now()).await;
    assert_eq!(second.at_hand(), Some(kept));

    // An hour later it is too old to be shown to anybody.
    let World { ca, own, .. } = second;
    let third = World::with(ca, own, Some(files.path())).await;
    third.clock.advance(2 * HOUR);
    third.says.store(Arc::new(None));
    soon(third.refresher.refresh_now()).await;
    assert_eq!(third.at_hand(), None);
}

#[tokio::test]
async fn response_that_does_not_verify_is_not_kept() {
    let world = World::new(None).await;
    let stranger = Authority::new("Other CA").await;
    world.conf.change(|conf| conf.authorities = vec![stranger.certificate.clone()]);
    soon(world.refresher.refresh_now()).await;
    assert_eq!(world.at_hand(), None);
    assert_eq!(world.refresher.problems().len(), 1);
}

#[tokio::test]
async fn running_refresher_asks_when_woken_by_new_keys_but_not_again_for_what_it_has() {
    let world = World::new(None).await;
    let (wake, woken) = watch::channel(());
    let (asked, rounds, cache) =
        (Arc::clone(&world.asked), Arc::clone(&world.rounds), Arc::clone(&world.cache));
    let fingerprint = world.own.certificate.fingerprint(DigestAlgorithm::Sha256);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(async move {
        world.refresher.run(woken, stopped).await;
        drop(world.stop);
    });
    let until = async |done: &dyn Fn() -> bool| {
        soon(async {
            while !done() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    until(&|| cache.get(&fingerprint).is_some()).await;
    for round in 2..5 {
        wake.send(()).unwrap();
        until(&|| rounds.load(Ordering::SeqCst) == round).await;
    }
    stop.send(true).unwrap();
    soon(running).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn curl_reads_the_responses_of_our_own_certificates() {
    let world = World::new(None).await;
    soon(world.refresher.refresh_now()).await;
    let port = world.serve().await;
    let curl = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let run =
            move || Command::new("curl").args(["-sS", "-i", "-m", "15"]).args(arguments).output().unwrap();
        async { tokio::task::spawn_blocking(run).await.unwrap().stdout }
    };
    let base = format!("http://127.0.0.1:{port}/");
    let sha1 = world.own.certificate.fingerprint(DigestAlgorithm::Sha1).hex();
    let sha256 = world.own.certificate.fingerprint(DigestAlgorithm::Sha256).hex();
    let response = world.at_hand().unwrap();
    let contains = |answer: &[u8]| answer.windows(response.len()).filter(|part| *part == response).count();
    for (query, times) in [
        (format!("cert={sha1}"), 1),
        (format!("cert={sha1}&cert_hash={sha256}"), 1),
        (format!("cert={}", sha1.to_uppercase()), 1),
        (format!("cert_hash={sha256}"), 1),
        (format!("cert={sha1}&cert={sha1}"), 2),
        // As many as one may ask for; one more is below.
        (vec![format!("cert={sha1}"); 10].join("&"), 10),
    ] {
        let answer = curl(&[&format!("{base}?{query}")]).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 200 "), "{query}: {text}");
        assert!(
            text.contains("multipart/related; charset=UTF-8; type=\"application/ocsp-response\""),
            "{text}"
        );
        assert_eq!(contains(&answer), times, "{query}");
    }
    let unknown = "00".repeat(20);
    for query in [
        String::new(),
        format!("?cert={unknown}"),
        format!("?{}", vec![format!("cert={sha1}"); 11].join("&")),
        format!("?cert={sha1}&cert={unknown}"),
        "?cert=%22".into(),
    ] {
        let answer = curl(&[&format!("{base}{query}")]).await;
        assert!(answer.starts_with(b"HTTP/1.1 500 "), "{query}: {}", String::from_utf8_lossy(&answer));
    }
    assert!(curl(&["-I", &base]).await.starts_with(b"HTTP/1.1 200 "), "HEAD");
    assert!(curl(&["-d", "x", &base]).await.starts_with(b"HTTP/1.1 500 "), "POST");
}

#[tokio::test]
async fn peer_fetches_what_it_lacks_and_failures_are_told_apart() {
    let world = World::new(None).await;
    let port = world.serve().await;
    let settings = PeerSettings { ocsp_port: port, ..PeerSettings::default() };
    let wanted = [world.own.certificate.clone()];
    let unknown = soon(ocsp_exchange::fetch("127.0.0.1", &wanted, &settings)).await.unwrap_err();
    assert!(matches!(unknown, FetchError::Status { status: 500, .. }), "{unknown:?}");
    soon(world.refresher.refresh_now()).await;
    let fetched = soon(ocsp_exchange::fetch("127.0.0.1", &wanted, &settings)).await.unwrap();
    assert_eq!(fetched, [world.at_hand().unwrap()]);
    let nobody = PeerSettings { ocsp_port: 1, ..PeerSettings::default() };
    let down = soon(ocsp_exchange::fetch("127.0.0.1", &wanted, &nobody)).await.unwrap_err();
    assert!(matches!(down, FetchError::Call { .. }), "{down:?}");
}

struct Nothing;

impl PeerService for Nothing {
    async fn serve(&self, _request: PeerRequest, reply: PeerReply) {
        reply.whole("text/xml", Vec::new(), Bytes::new());
    }

    fn not_registered(&self, _caller: &gateway::transport::Caller) -> Bytes {
        Bytes::new()
    }
}

#[tokio::test]
async fn connector_judges_a_provider_by_the_response_that_the_provider_serves() {
    let world = World::new(None).await;
    let ocsp_port = world.serve().await;
    let consumer = world.ca.issue(Profile::Auth, "consumer").await;
    let entry = (consumer.certificate.clone(), server("consumer"), vec![client("portal")]);
    world.conf.change(|conf| conf.servers.push(entry));
    let (_clock, shared) = clock();
    let trust = Arc::new(AuthTrust::new(shared, Arc::new(OcspCache::new(None))));
    let registered = trust.registered(world.conf.registry());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = tls::peer_server(world.own.identity.clone(), Arc::clone(&registered)).unwrap();
    let config = Arc::new(ArcSwap::from_pointee(config.into()));
    let stop = world.stop.subscribe();
    tokio::spawn(peer_door::serve(
        listener,
        config,
        registered,
        DoorLimits::default(),
        None,
        Arc::new(Nothing),
        stop,
    ));
    let tls = Arc::new(ArcSwap::from_pointee(tls::peer_client(consumer.identity).unwrap().into()));
    let settings = PeerSettings { port, ocsp_port, ..PeerSettings::default() };
    let connector = PeerConnector::new(settings, tls, trust);
    let route = || Route {
        provider: client("registry"),
        addresses: vec![Address { server: server("ss1"), host: "127.0.0.1".to_owned() }],
        conf: world.conf.now(),
    };
    assert!(soon(connector.connect(route())).await.is_err(), "the provider has no response yet");
    soon(world.refresher.refresh_now()).await;
    let connection = soon(connector.connect(route())).await.unwrap();
    assert_eq!(connection.trusted().server(), &server("ss1"));

    // A provider that still serves an old response is not believed.
    let (late, shared) = clock();
    late.advance(2 * HOUR);
    let trust = AuthTrust::new(shared, Arc::new(OcspCache::new(None)));
    let stale = trust.judge(
        route().conf.as_ref(),
        &[world.own.der()],
        &[world.at_hand().unwrap()],
        &client("registry"),
    );
    assert!(matches!(stale, Err(TrustError::Ocsp { .. })), "{stale:?}");
}
