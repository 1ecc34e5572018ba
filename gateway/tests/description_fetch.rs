//! Descriptions are fetched from real files and servers; what costs too much, or comes from elsewhere, is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod transport_world;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::http::{Client, HttpError, Limits};
use cert_authority::x509::issue::Profile;
use cert_authority::x509::{AltName, Certificate};
use gateway::config::ServiceTrust;
use gateway::description::{DescriptionError, LIMITS, Source, fetch, openapi};
use gateway::network::description_client;
use gateway::transport::tls::{self, Identity};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use transport_world::Authority;

const DOCUMENT: &str = "openapi: 3.0.0\npaths: {/a: {get: {}}}\n";

/// Answers each connection with these bytes; then closes, or not.
async fn server(answer: String, close: bool, identity: Option<Identity>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let acceptor = identity.map(|identity| TlsAcceptor::from(Arc::new(tls::front_server(identity).unwrap())));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &acceptor {
                None => answer_with(stream, &answer, close, &count).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => answer_with(stream, &answer, close, &count).await,
                    Err(_refused) => {}
                },
            }
        }
    });
    (port, asked)
}

async fn answer_with<S>(mut stream: S, answer: &str, close: bool, count: &AtomicUsize)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    count.fetch_add(1, Ordering::SeqCst);
    let _ = stream.write_all(answer.as_bytes()).await;
    if close {
        let _ = stream.shutdown().await;
    } else {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(stream);
        });
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn fetched(
    url: String,
    trust: Option<&ServiceTrust>,
    limits: Limits,
) -> Result<Bytes, DescriptionError> {
    let client = description_client(trust, None).unwrap();
    fetch(&Source::new(&url, Path::new("/nowhere")), &client, limits).await
}

#[tokio::test]
async fn a_file_is_read_up_to_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    cert_authority::durable::write(folder.path().join("a.yaml"), DOCUMENT.as_bytes()).unwrap();
    let source = Source::new("a.yaml", folder.path());
    let client = Client::new();
    let bytes = fetch(&source, &client, LIMITS).await.unwrap();
    assert_eq!(openapi::read(&bytes).unwrap().endpoints.len(), 1);
    let exactly = Limits { max_bytes: DOCUMENT.len(), ..LIMITS };
    assert!(fetch(&source, &client, exactly).await.is_ok());
    let less = Limits { max_bytes: DOCUMENT.len() - 1, ..LIMITS };
    assert_eq!(fetch(&source, &client, less).await, Err(DescriptionError::TooLarge(DOCUMENT.len() - 1)));
    let endless = fetch(&Source::new("/dev/zero", folder.path()), &client, LIMITS).await;
    assert_eq!(endless, Err(DescriptionError::TooLarge(LIMITS.max_bytes)));
    let missing = fetch(&Source::new("b.yaml", folder.path()), &client, LIMITS).await;
    assert!(
        matches!(&missing, Err(DescriptionError::File(reason)) if reason.contains("b.yaml")),
        "{missing:?}"
    );
}

#[tokio::test]
async fn a_document_comes_over_http() {
    let (port, _) = server(ok(DOCUMENT), true, None).await;
    let bytes = fetched(format!("http://127.0.0.1:{port}/api.yaml?v=1"), None, LIMITS).await.unwrap();
    assert_eq!(bytes, DOCUMENT);
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let (other, asked) = server(ok(DOCUMENT), true, None).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let answer =
            format!("HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n");
        let (port, _) = server(answer, true, None).await;
        let refused = fetched(format!("http://127.0.0.1:{port}/"), None, LIMITS).await;
        let code = status.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(refused, Err(DescriptionError::Status(code)));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let (port, _) =
        server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), true, None).await;
    let refused = fetched(format!("http://127.0.0.1:{port}/"), None, LIMITS).await;
    assert_eq!(refused, Err(DescriptionError::Status(404)));
}

#[tokio::test]
async fn an_answer_too_long_or_too_slow_is_given_up() {
    let small = Limits { max_bytes: 1000, ..LIMITS };
    let long = "x".repeat(1001);
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{long}\r\n0\r\n\r\n");
    for answer in [ok(&long), chunked, format!("HTTP/1.1 200 OK\r\n\r\n{long}")] {
        let (port, _) = server(answer, true, None).await;
        let refused = fetched(format!("http://127.0.0.1:{port}/"), None, small).await;
        assert_eq!(refused, Err(DescriptionError::TooLarge(1000)));
    }
    let hasty = Limits { total: Duration::from_millis(300), ..LIMITS };
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nopen"] {
        let (port, _) = server(answer.to_owned(), false, None).await;
        let refused = fetched(format!("http://127.0.0.1:{port}/"), None, hasty).await;
        assert_eq!(refused, Err(DescriptionError::Http(HttpError::Timeout("answer"))));
    }
    let (port, _) = server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nopen".to_owned(), true, None).await;
    let broken = fetched(format!("http://127.0.0.1:{port}/"), None, LIMITS).await;
    assert!(matches!(broken, Err(DescriptionError::Http(HttpError::Protocol(_)))), "{broken:?}");
}

#[tokio::test]
async fn over_tls_the_service_must_show_the_certificate_that_is_believed() {
    let ca = Authority::now("CA").await;
    let names = [AltName::Dns("localhost".to_owned())];
    let own = ca.issue_for(Profile::Tls, "service", &names).await;
    let other = ca.issue_for(Profile::Tls, "service", &names).await;
    let (port, asked) = server(ok(DOCUMENT), true, Some(own.identity.clone())).await;
    let url = |host: &str| format!("https://{host}:{port}/api.yaml");
    let pinned = |der: &[u8]| ServiceTrust::Pinned(Certificate::from_der(der).unwrap());
    let authorities = ServiceTrust::Authorities(vec![ca.certificate.clone()]);

    let refused = |fetched: Result<Bytes, _>| {
        assert!(matches!(fetched, Err(DescriptionError::Http(HttpError::Tls(_)))), "{fetched:?}");
    };
    assert!(fetched(url("127.0.0.1"), Some(&pinned(&own.der())), LIMITS).await.is_ok());
    assert!(fetched(url("localhost"), Some(&authorities), LIMITS).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    refused(fetched(url("127.0.0.1"), Some(&pinned(&other.der())), LIMITS).await);
    refused(fetched(url("127.0.0.1"), Some(&authorities), LIMITS).await);
    refused(fetched(url("localhost"), None, LIMITS).await);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
