//! The administration port: health for anybody, everything else for tokens with the right role, under its own name only.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use gateway::admin::{Admin, AdminReply, Health, Metrics, Role, Token, Tokens};
use gateway::transport::DoorLimits;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Once in a process, whichever test comes first.
static METRICS: OnceLock<Metrics> = OnceLock::new();

struct Port {
    address: SocketAddr,
    healthy: Arc<AtomicBool>,
    _stop: watch::Sender<bool>,
}

impl Port {
    async fn open() -> Self {
        let token = |name: &str, role, text: &str| Token {
            name: name.to_owned(),
            role,
            sha256: digest(DigestAlgorithm::Sha256, text.as_bytes()).as_ref().try_into().unwrap(),
        };
        let tokens =
            Tokens::new(vec![token("anna", Role::Operator, "aaa"), token("ben", Role::Auditor, "bbb")]);
        let healthy = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&healthy);
        let health = Health::new().check("fine", || Ok(())).check("configuration", move || {
            if state.load(Ordering::SeqCst) {
                Ok(())
            } else {
                Err("the configuration has expired".to_owned())
            }
        });
        let hosts = Arc::new(ArcSwap::from_pointee(vec!["127.0.0.1".to_owned(), "[::1]".to_owned()]));
        let admin = Admin::new(tokens, hosts, health).endpoint(
            Method::POST,
            "/reload",
            &[Role::Operator],
            |call| async move {
                AdminReply::json(
                    StatusCode::OK,
                    &json!({ "by": call.token, "query": call.query, "body": call.body.len() }),
                )
            },
        );
        let admin = admin.metrics(METRICS.get_or_init(|| Metrics::install().unwrap()).clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(admin.serve(listener, DoorLimits::default(), stopped));
        Self { address, healthy, _stop: stop }
    }

    async fn ask(&self, method: &str, path: &str, host: &str, token: Option<&str>) -> String {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{token}Content-Length: 2\r\nConnection: close\r\n\r\nhi"
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        answer
    }

    async fn status(&self, method: &str, path: &str, token: Option<&str>) -> u16 {
        let answer = self.ask(method, path, "127.0.0.1:4000", token).await;
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn health_is_open_and_gives_its_reasons() {
    let port = Port::open().await;
    assert!(port.ask("GET", "/health", "127.0.0.1", None).await.ends_with(r#"{"status":"ok"}"#));
    port.healthy.store(false, Ordering::SeqCst);
    let answer = port.ask("GET", "/health", "127.0.0.1", None).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let reasons = json!([{ "check": "configuration", "reason": "the configuration has expired" }]);
    assert_eq!(body, json!({ "status": "failing", "reasons": reasons }));
}

#[tokio::test]
async fn metrics_need_a_token_of_any_role() {
    let port = Port::open().await;
    assert_eq!(port.status("GET", "/metrics", None).await, 401);
    metrics::counter!("passerelle_test_total").increment(3);
    for token in ["aaa", "bbb"] {
        let answer = port.ask("GET", "/metrics", "127.0.0.1", Some(token)).await;
        assert!(answer.contains("passerelle_test_total 3"), "{answer}");
    }
}

#[tokio::test]
async fn endpoints_are_for_their_roles_and_methods() {
    let port = Port::open().await;
    let answer = port.ask("POST", "/reload?x=1", "127.0.0.1", Some("aaa")).await;
    assert!(answer.ends_with(r#"{"body":2,"by":"anna","query":"x=1"}"#), "{answer}");
    assert!(answer.contains("cache-control: no-store"), "{answer}");
    assert_eq!(port.status("POST", "/reload", Some("bbb")).await, 403);
    assert_eq!(port.status("POST", "/reload", None).await, 401);
    assert_eq!(port.status("GET", "/reload", Some("aaa")).await, 405);
    assert_eq!(port.status("POST", "/reload/", Some("aaa")).await, 404);
    // Whoever has no token does not learn what exists.
    assert_eq!(port.status("POST", "/nowhere", None).await, 401);
}

#[tokio::test]
async fn repeated_failures_have_to_wait() {
    let port = Port::open().await;
    for _ in 0..5 {
        assert_eq!(port.status("POST", "/reload", Some("wrong")).await, 401);
    }
    assert_eq!(port.status("POST", "/reload", Some("aaa")).await, 429);
    assert_eq!(port.status("GET", "/health", None).await, 200);
}

#[tokio::test]
async fn other_host_names_are_refused_even_with_a_token() {
    let port = Port::open().await;
    for host in ["evil.example", "127.0.0.1.evil.example", "evil.example:4000", "127.0.0.1:80:80", ""] {
        let answer = port.ask("POST", "/reload", host, Some("aaa")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
    }
    for host in ["127.0.0.1", "127.0.0.1:4000", "[::1]", "[::1]:4000"] {
        let answer = port.ask("POST", "/reload", host, Some("aaa")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
}
