//! The HTTP client and the small server against each other and against curl.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cert_authority::crypto;
use cert_authority::http::{self, Client, HttpError, Limits, read_body, respond, respond_text};
use cert_authority::keys::KeyType;
use cert_authority::x509::AltName;
use cert_authority::x509::issue::Profile;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use rustls_pki_types::CertificateDer;
use support::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

const LIMITS: Limits =
    Limits { max_bytes: 1000, connect: Duration::from_secs(5), total: Duration::from_secs(5) };

/// Told when `/slow` was asked for, and when it may answer.
static ASKED: Notify = Notify::const_new();
static ANSWER: Notify = Notify::const_new();

/// Repeats a body of at most 100 bytes; says its path.
async fn echo(request: Request<Incoming>) -> Response<http::Body> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/slow" => {
            ASKED.notify_one();
            ANSWER.notified().await;
        }
        "/never" => std::future::pending().await,
        "/large" => return respond(StatusCode::OK, "text/plain", vec![b'x'; 1001]),
        "/moved" => {
            let mut moved = respond_text(StatusCode::FOUND, "elsewhere");
            moved.headers_mut().insert("location", "/".parse().unwrap());
            return moved;
        }
        _ => {}
    }
    match read_body(request.into_body(), 100).await {
        Ok(body) => respond(StatusCode::OK, "Text/Plain; charset=x", [path.as_bytes(), b" ", &body].concat()),
        Err(error) => respond_text(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string()),
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An [`echo`] server that stops when the sender is dropped.
async fn start() -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let (listener, address) = listen().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(http::serve(listener, echo, async move {
        let _ = stopped.await;
    }));
    (address, stop, server)
}

#[tokio::test]
async fn questions_are_asked_and_paths_are_kept_as_they_are() {
    let (address, _stop, _server) = start().await;
    let client = Client::new();
    let answer = client.get(&format!("http://{address}/a//b%2F/../c"), LIMITS).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, b"/a//b%2F/../c ".as_slice()));
    assert_eq!(answer.media_type(), "text/plain");
    let url = format!("http://{address}");
    let answer = client.post(&url, "text/plain", Bytes::from_static(b"hello"), LIMITS).await.unwrap();
    assert_eq!(answer.body.as_ref(), b"/ hello");
    let answer = client.post(&url, "text/plain", Bytes::from(vec![0; 101]), LIMITS).await.unwrap();
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = client.get(&format!("http://{address}/moved"), LIMITS).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND, "redirects are not followed");
}

#[tokio::test]
async fn every_question_is_bounded() {
    let (address, _stop, _server) = start().await;
    let client = Client::new();
    let large = client.get(&format!("http://{address}/large"), LIMITS).await;
    assert_eq!(large.unwrap_err(), HttpError::TooLarge(1000));
    let short = Limits { total: Duration::from_millis(50), ..LIMITS };
    let slow = client.get(&format!("http://{address}/never"), short).await;
    assert_eq!(slow.unwrap_err(), HttpError::Timeout("answer"));
    for url in ["ftp://x/", "/path", "http://", "http://user:secret@x/", "nonsense"] {
        assert!(matches!(client.get(url, LIMITS).await, Err(HttpError::Url(_))), "{url}");
    }
    let (listener, closed) = listen().await;
    drop(listener);
    let refused = client.get(&format!("http://{closed}/"), LIMITS).await;
    assert!(matches!(refused, Err(HttpError::Connect { .. })));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "nonsense\r\n\r\n", ""] {
        let (listener, address) = listen().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1000]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let broken = Client::new().get(&format!("http://{address}/"), LIMITS).await;
        assert!(matches!(broken, Err(HttpError::Protocol(_))), "{answer:?}: {broken:?}");
    }
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_is_under_way() {
    let (address, stop, server) = start().await;
    let url = format!("http://{address}/slow");
    let asking = tokio::spawn(async move { Client::new().get(&url, LIMITS).await });
    ASKED.notified().await;
    drop(stop);
    ANSWER.notify_one();
    assert_eq!(asking.await.unwrap().unwrap().status, StatusCode::OK);
    server.await.unwrap();
    assert!(Client::new().get(&format!("http://{address}/"), LIMITS).await.is_err());
}

#[tokio::test]
async fn https_believes_only_the_roots_or_certificates_given() {
    let world = World::new();
    let root = world.root(KeyType::EcP256, "CN=Root", None).await;
    let names = [AltName::Ip([127, 0, 0, 1].into())];
    let names: &'static [AltName] = Box::leak(Box::new(names));
    let present = cert_authority::clock::Clock::now(&cert_authority::clock::SystemClock);
    let server = world
        .issue_with(&root, Profile::Tls, "CN=Server", KeyType::EcP256, |template| {
            template.alt_names = names;
            template.not_before = present - support::DAY;
            template.not_after = present + support::DAY;
        })
        .await;
    let other = world.root(KeyType::EcP256, "CN=Other", None).await;
    let key = world.keys.tls_private_key(&server.key).unwrap();
    let chain = vec![CertificateDer::from(server.certificate.der().to_vec())];
    let config = rustls::ServerConfig::builder_with_provider(crypto::tls_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(stream).await else { continue };
            let _ = tls.read(&mut [0; 1000]).await;
            let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            let _ = tls.shutdown().await;
        }
    });
    let url = format!("https://{address}/");
    let der =
        |certificate: &cert_authority::x509::Certificate| CertificateDer::from(certificate.der().to_vec());
    let (root, server, other) = (der(&root.certificate), der(&server.certificate), der(&other.certificate));
    let pinned = Client::with_pinned(std::slice::from_ref(&server)).unwrap();
    assert_eq!(pinned.get(&url, LIMITS).await.unwrap().status, StatusCode::NO_CONTENT);
    // The root was made for another year than the present; its own validity is not what TLS looks at.
    let rooted = Client::with_roots(&[root]).unwrap();
    assert_eq!(rooted.get(&url, LIMITS).await.unwrap().status, StatusCode::NO_CONTENT);
    for client in [
        Client::new(),
        Client::with_pinned(std::slice::from_ref(&other)).unwrap(),
        Client::with_roots(&[other]).unwrap(),
    ] {
        assert!(matches!(client.get(&url, LIMITS).await, Err(HttpError::Tls(_))));
    }
}
