//! The call to a service, against services made by hand: what is written, what is believed, what is never repeated.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod transport_world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::x509::AltName;
use cert_authority::x509::issue::Profile;
use gateway::transport::ServiceSettings;
use gateway::transport::body::{BodyError, OutgoingBody};
use gateway::transport::fastest::ReachError;
use gateway::transport::service_caller::{Service, ServiceAnswer, ServiceCall, ServiceError};
use gateway::transport::tls::{self, Identity, ServiceTrust};
use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use transport_world::{Authority, Party, soon};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A service that gives the same answer to each request, as bytes.
struct Fake {
    port: u16,
    requests: mpsc::UnboundedReceiver<String>,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    /// `close`: whether the connection ends with the answer.
    async fn new(answer: &'static [u8], close: bool) -> Self {
        Self::with(answer, close, None).await
    }

    async fn with(answer: &'static [u8], close: bool, identity: Option<Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let acceptor =
            identity.map(|identity| TlsAcceptor::from(Arc::new(tls::front_server(identity).unwrap())));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (sender, acceptor) = (sender.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, answer, close, &sender).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, answer, close, &sender).await,
                            Err(_refused) => {}
                        },
                    }
                });
            }
        });
        Self { port, requests, connections }
    }

    fn service(&self) -> Service {
        self.service_with(&format!("http://127.0.0.1:{}/base", self.port), TIMEOUT)
    }

    fn service_with(&self, url: &str, timeout: Duration) -> Service {
        Service::new(url, None, timeout, &ServiceSettings::default()).unwrap()
    }

    async fn request(&mut self) -> String {
        soon(self.requests.recv()).await.unwrap()
    }
}

/// Reads requests (head, and body by Content-Length or chunks) and answers each.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &[u8],
    close: bool,
    requests: &mpsc::UnboundedSender<String>,
) {
    loop {
        let mut request = Vec::new();
        loop {
            let Ok(byte) = stream.read_u8().await else { return };
            request.push(byte);
            let text = String::from_utf8_lossy(&request);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map(|l| l.parse().unwrap());
            let done = match length {
                Some(length) => body.len() >= length,
                None => !head.contains("chunked") || body.ends_with("0\r\n\r\n"),
            };
            if done {
                break;
            }
        }
        requests.send(String::from_utf8_lossy(&request).into_owned()).unwrap();
        if stream.write_all(answer).await.is_err() || close {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

fn get<'a>(path: &'a str, query: Option<&'a str>, headers: &'a [(Bytes, Bytes)]) -> ServiceCall<'a> {
    ServiceCall { method: "GET", path, query, headers, body: None }
}

fn fields(fields: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
    fields
        .iter()
        .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
        .collect()
}

async fn call(service: &Service, call: ServiceCall<'_>) -> Result<ServiceAnswer, ServiceError> {
    soon(service.call(call)).await
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn request_is_written_as_it_was_decided_on() {
    let mut fake = Fake::new(OK, false).await;
    let headers = fields(&[
        ("X-Road-Client", "A/B/C"),
        ("Connection", "close"),
        ("Transfer-Encoding", "gzip"),
        ("Host", "evil"),
        ("X-Twice", "1"),
        ("X-Twice", "2"),
    ]);
    let mut answer = call(&fake.service(), get("/a//b/../%2F;x", Some("q=%20&"), &headers)).await.unwrap();
    assert_eq!(answer.body.collect(10).await.unwrap(), "ok");
    let request = fake.request().await;
    let (first, rest) = request.split_once("\r\n").unwrap();
    assert_eq!(first, "GET /base/a//b/../%2F;x?q=%20& HTTP/1.1");
    let lower = rest.to_ascii_lowercase();
    assert!(
        lower.contains("x-road-client: a/b/c\r\n") && lower.contains("x-twice: 1\r\nx-twice: 2\r\n"),
        "{rest}"
    );
    assert!(lower.contains(&format!("host: 127.0.0.1:{}\r\n", fake.port)), "{rest}");
    for absent in ["gzip", "evil", "connection", "accept-encoding", "user-agent", "content-length"] {
        assert!(!lower.contains(absent), "{absent} in {rest}");
    }
}

#[tokio::test]
async fn body_goes_with_its_length_when_known_and_in_chunks_when_not() {
    let mut fake = Fake::new(OK, false).await;
    let service = fake.service();
    for length in [Some(5), None] {
        let (mut sender, body) = OutgoingBody::channel(length);
        let post = ServiceCall { method: "POST", path: "/x", query: None, headers: &[], body: Some(body) };
        let send = async {
            sender.send(Bytes::from_static(b"hello")).await.unwrap();
            sender.finish(Bytes::new()).await.unwrap();
        };
        let (answer, ()) = tokio::join!(call(&service, post), send);
        assert_eq!(answer.unwrap().status, 200);
        let request = fake.request().await.to_ascii_lowercase();
        match length {
            Some(_) => {
                assert!(request.contains("content-length: 5\r\n") && request.ends_with("\r\n\r\nhello"))
            }
            None => assert!(
                request.contains("transfer-encoding: chunked\r\n") && request.contains("\r\n5\r\nhello\r\n0")
            ),
        }
    }
}

#[tokio::test]
async fn answer_is_told_as_it_was_written() {
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Nicht da\r\nX-mIxed:  a \r\nSet-Cookie: b=1\r\n\
        set-cookie: c=2\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08";
    let fake = Fake::new(answer, false).await;
    let service = fake.service();
    let mut told = call(&service, get("", None, &[])).await.unwrap();
    assert_eq!((told.status, told.reason.as_ref()), (404, &b"Nicht da"[..]));
    let expected = fields(&[
        ("X-mIxed", "a"),
        ("Set-Cookie", "b=1"),
        ("set-cookie", "c=2"),
        ("Content-Encoding", "gzip"),
        ("Content-Length", "3"),
    ]);
    assert_eq!(told.headers, expected);
    // Not unpacked.
    assert_eq!(told.body.collect(10).await.unwrap(), b"\x1f\x8b\x08"[..]);
}

#[tokio::test]
async fn no_cookie_of_one_answer_goes_into_another_request_and_no_redirect_is_followed() {
    let answer =
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n";
    let mut fake = Fake::new(answer, false).await;
    let service = fake.service();
    for _ in 0..2 {
        let mut told = call(&service, get("/x", None, &[])).await.unwrap();
        assert_eq!((told.status, told.has_body), (302, true));
        assert_eq!(told.body.next().await.unwrap(), None);
        let request = fake.request().await;
        assert!(
            request.starts_with("GET /base/x ") && !request.to_ascii_lowercase().contains("cookie"),
            "{request}"
        );
    }
    assert!(fake.requests.try_recv().is_err());
    assert_eq!(fake.connections.load(Ordering::SeqCst), 1, "the connection was not kept");
}

#[tokio::test]
async fn an_answer_without_a_body_is_told_from_one_with_an_empty_body() {
    let cases: [(&[u8], &str, bool); 6] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET", true),
        (b"HTTP/1.1 200 \r\n\r\n", "GET", true),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", false),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", false),
    ];
    for (answer, method, has_body) in cases {
        let fake = Fake::new(answer, true).await;
        let request = ServiceCall { method, path: "", query: None, headers: &[], body: None };
        let mut told = call(&fake.service(), request).await.unwrap();
        let written = String::from_utf8_lossy(answer);
        assert_eq!(told.has_body, has_body, "{method} {written}");
        assert_eq!(told.body.next().await.unwrap(), None, "{method} {written}");
    }
}

#[tokio::test]
async fn answer_that_ends_before_its_end_is_cut_off() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let fake = Fake::new(answer, true).await;
        let mut told = call(&fake.service(), get("", None, &[])).await.unwrap();
        assert_eq!(told.body.next().await.unwrap().unwrap(), "abc");
        assert!(matches!(told.body.next().await, Err(BodyError::CutOff(_))));
    }
}

#[tokio::test]
async fn service_that_breaks_off_is_not_called_again() {
    let mut fake = Fake::new(b"", true).await;
    let error = call(&fake.service(), get("/x", None, &[])).await.unwrap_err();
    assert!(matches!(error, ServiceError::Broken(_)), "{error:?}");
    fake.request().await;
    assert!(fake.requests.try_recv().is_err(), "the request was repeated");
    assert_eq!(fake.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn kept_connection_that_breaks_under_a_request_is_not_tried_again_elsewhere() {
    // The first answer keeps the connection; the second request is read and never answered.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            for number in 0.. {
                if !matches!(stream.read(&mut request).await, Ok(1..)) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                if number == 1 {
                    break;
                }
                stream.write_all(OK).await.unwrap();
            }
        }
    });
    let service = Service::new(&url, None, TIMEOUT, &ServiceSettings::default()).unwrap();
    let mut first = call(&service, get("", None, &[])).await.unwrap();
    assert_eq!(first.body.collect(10).await.unwrap(), "ok");
    let error = call(&service, get("", None, &[])).await.unwrap_err();
    assert!(matches!(error, ServiceError::Broken(_)), "{error:?}");
    assert_eq!(begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn slow_service_is_given_up_and_not_called_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let patience = Duration::from_millis(100);
    let service = Service::new(&url, None, patience, &ServiceSettings::default()).unwrap();
    assert_eq!(call(&service, get("", None, &[])).await.unwrap_err(), ServiceError::Timeout(patience));
    let (_first, _) = soon(listener.accept()).await.unwrap();
    assert!(tokio::time::timeout(patience, listener.accept()).await.is_err(), "a second call was made");
}

#[tokio::test]
async fn patience_begins_when_the_body_has_left() {
    // Neither the time that the body takes to be made nor that of its way out counts.
    let mut fake = Fake::new(OK, false).await;
    let service = fake.service_with(&format!("http://127.0.0.1:{}", fake.port), Duration::from_millis(150));
    let (mut sender, body) = OutgoingBody::channel(None);
    let post = ServiceCall { method: "POST", path: "/x", query: None, headers: &[], body: Some(body) };
    let send = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            sender.send(Bytes::from_static(b"x")).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        sender.finish(Bytes::new()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(call(&service, post), send);
    assert_eq!(answer.unwrap().status, 200);
    fake.request().await;
}

#[tokio::test]
async fn service_that_does_not_take_the_body_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let patience = Duration::from_millis(200);
    let service = Service::new(&url, None, patience, &ServiceSettings::default()).unwrap();
    let endless = futures_util::stream::repeat_with(|| Ok(Bytes::from_static(&[0; 65536])));
    let body = Some(OutgoingBody::stream(endless, None));
    let post = ServiceCall { method: "POST", path: "/x", query: None, headers: &[], body };
    assert_eq!(call(&service, post).await.unwrap_err(), ServiceError::Timeout(patience));
}

#[tokio::test]
async fn answer_that_stops_in_its_body_is_given_up() {
    let fake = Fake::new(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false).await;
    let patience = Duration::from_millis(100);
    let service = fake.service_with(&format!("http://127.0.0.1:{}", fake.port), patience);
    let mut told = call(&service, get("", None, &[])).await.unwrap();
    assert_eq!(told.body.next().await.unwrap().unwrap(), "abc");
    assert_eq!(soon(told.body.next()).await, Err(BodyError::Stalled(patience)));
}

#[tokio::test]
async fn failures_to_reach_a_service_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let settings = ServiceSettings::default();
    let down = Service::new(&format!("http://127.0.0.1:{port}"), None, TIMEOUT, &settings).unwrap();
    let error = call(&down, get("", None, &[])).await.unwrap_err();
    assert!(matches!(error, ServiceError::Unreachable(ReachError::Refused { .. })), "{error:?}");
    let unknown = Service::new("http://no-such-host.invalid", None, TIMEOUT, &settings).unwrap();
    let error = call(&unknown, get("", None, &[])).await.unwrap_err();
    assert!(matches!(error, ServiceError::Unreachable(ReachError::UnknownHost(_))), "{error:?}");
    let fake = Fake::new(b"SSH-2.0-no\r\n", true).await;
    let error = call(&fake.service(), get("", None, &[])).await.unwrap_err();
    assert!(matches!(error, ServiceError::Malformed(_)), "{error:?}");
}

#[tokio::test]
async fn connection_whose_answer_can_be_framed_in_two_ways_is_not_used_again() {
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let fake = Fake::new(answer, false).await;
    let service = fake.service();
    for _ in 0..2 {
        let mut told = call(&service, get("", None, &[])).await.unwrap();
        assert_eq!(told.body.collect(10).await.unwrap(), "ok");
    }
    assert_eq!(fake.connections.load(Ordering::SeqCst), 2);
}

/// An https service and the outcome of a call to it.
async fn https(
    own: &Party,
    name: &str,
    trust: &ServiceTrust,
    shown: Option<Identity>,
) -> Result<u16, ServiceError> {
    let fake = Fake::with(OK, false, Some(own.identity.clone())).await;
    let config = Arc::new(tls::service_client(trust, shown).unwrap());
    let url = format!("https://{name}:{}", fake.port);
    let service = Service::new(&url, Some(config), TIMEOUT, &ServiceSettings::default()).unwrap();
    call(&service, get("", None, &[])).await.map(|answer| answer.status)
}

#[tokio::test]
async fn pinned_certificate_is_accepted_and_no_other() {
    let ca = Authority::new("CA").await;
    let (own, other) = (ca.issue(Profile::Tls, "service").await, ca.issue(Profile::Tls, "service").await);
    let pinned = ServiceTrust::Pinned(vec![own.der()]);
    assert_eq!(https(&own, "127.0.0.1", &pinned, Some(other.identity.clone())).await, Ok(200));
    let refused = https(&other, "127.0.0.1", &pinned, None).await;
    assert!(matches!(refused, Err(ServiceError::Tls(_))), "{refused:?}");
}

#[tokio::test]
async fn certificate_below_a_given_root_is_accepted_for_its_own_name_only() {
    let ca = Authority::now("CA").await;
    let own = ca.issue_for(Profile::Tls, "service", &[AltName::Dns("localhost".to_owned())]).await;
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.der().to_vec().into()).unwrap();
    let trust = ServiceTrust::Roots(Arc::new(roots));
    assert_eq!(https(&own, "localhost", &trust, None).await, Ok(200));
    let other_name = https(&own, "127.0.0.1", &trust, None).await;
    assert!(matches!(other_name, Err(ServiceError::Tls(_))), "{other_name:?}");
    let stranger = Authority::now("CA").await;
    let foreign = stranger.issue_for(Profile::Tls, "service", &[AltName::Dns("localhost".to_owned())]).await;
    let refused = https(&foreign, "localhost", &trust, None).await;
    assert!(matches!(refused, Err(ServiceError::Tls(_))), "{refused:?}");
}

/// A name may lead anywhere, and somewhere else a moment later: looked at is the address that is called.
#[tokio::test]
async fn a_name_that_leads_to_where_no_service_is_called_gets_not_a_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    let settings = ServiceSettings { never: vec![own], ..ServiceSettings::default() };
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("http://{host}:{}/metrics", own.port());
        let service = Service::new(&url, None, TIMEOUT, &settings).unwrap();
        let refused = call(&service, get("/x", None, &[])).await.unwrap_err();
        assert!(matches!(refused, ServiceError::Address(_)), "{host}: {refused}");
        let (mut stream, _) = soon(listener.accept()).await.unwrap();
        let mut came = Vec::new();
        soon(AsyncReadExt::read_to_end(&mut stream, &mut came)).await.unwrap();
        assert_eq!(came, b"", "{host}");
    }
    for (address, forbidden) in [
        ("169.254.169.254:80", true),
        ("[fe80::1]:80", true),
        ("[::ffff:169.254.169.254]:80", true),
        ("127.0.0.1:80", false),
        ("10.0.0.1:80", false),
    ] {
        assert_eq!(settings.forbids(address.parse().unwrap()), forbidden, "{address}");
    }
}
