//! The administration port (T36): without a token, with another's, by another name, by guessing.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use tokio::net::TcpSocket;

use super::case::{Answer, Case, Expected};
use super::wire;
use crate::world::{Wishes, World};

const OPERATOR: &str = "a-token-of-an-operator";
const AUDITOR: &str = "a-token-of-an-auditor";

/// A provider with two tokens.
pub(super) fn with_tokens() -> Wishes {
    let token = |name: &str, role: &str, secret: &str| {
        let hash = digest(DigestAlgorithm::Sha256, secret.as_bytes()).hex();
        format!("[[administration.token]]\nname = \"{name}\"\nrole = \"{role}\"\nsha256 = \"{hash}\"\n\n")
    };
    let tokens = token("op", "operator", OPERATOR) + &token("aud", "auditor", AUDITOR);
    Wishes { provider: vec![("[timestamping]\n", format!("{tokens}[timestamping]\n"))], ..Wishes::default() }
}

/// T36.
pub(super) async fn cases(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let host = world.provider.host.to_string();
    let hash = digest(DigestAlgorithm::Sha256, OPERATOR.as_bytes()).hex();
    for path in [
        "/metrics",
        "/log/records",
        "/log/count",
        "/log/record",
        "/log/container",
        "/log/verdict",
        "/log/readers",
        "/log/export",
        "/log/checkpoint",
        "/monitoring/exchanges",
        "/monitoring/health",
        "/nothing",
        "/",
    ] {
        cases.push(asked(format!("GET {path} without a token"), "GET", path, &host, "", 401));
    }
    for authorization in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer x".to_owned(),
        format!("Bearer {hash}"),
        format!("Bearer {}", OPERATOR.to_uppercase()),
        format!("Bearer {}", &OPERATOR[..OPERATOR.len() - 1]),
        format!("Bearer {OPERATOR}x"),
        format!("Bearer {OPERATOR} {OPERATOR}"),
        format!("Bearer \"{OPERATOR}\""),
        format!("Basic {OPERATOR}"),
        OPERATOR.to_owned(),
        format!("Bearer {}", "x".repeat(10_000)),
        "Bearer ../../keys/pin".to_owned(),
        "Bearer ' OR 1=1 --".to_owned(),
    ] {
        let name = format!("Authorization: {}", authorization.chars().take(60).collect::<String>());
        cases.push(asked(
            name,
            "GET",
            "/metrics",
            &host,
            &format!("Authorization: {authorization}\r\n"),
            401,
        ));
    }
    let operator = format!("Authorization: Bearer {OPERATOR}\r\n");
    let auditor = format!("Authorization: Bearer {AUDITOR}\r\n");
    for path in [
        "/log/records",
        "/log/count",
        "/log/record",
        "/log/container",
        "/log/verdict",
        "/log/readers",
        "/log/export",
    ] {
        cases.push(asked(format!("an operator asks for {path}"), "GET", path, &host, &operator, 403));
    }
    for name in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "169.254.169.254",
        "[::1]x",
        "",
        "evil.example:4000",
        "localhost@evil.example",
        "*",
    ] {
        cases.push(asked(format!("by the name {name:?}"), "GET", "/metrics", name, &auditor, 403));
        cases.push(asked(format!("health by the name {name:?}"), "GET", "/health", name, "", 403));
    }
    for verb in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"] {
        cases.push(asked(format!("{verb} /metrics"), verb, "/metrics", &host, &auditor, 405));
    }
    for path in [
        "/metrics/",
        "//metrics",
        "/METRICS",
        "/%6detrics",
        "/x/../metrics",
        "/metrics%00",
        "/metrics;x",
        "/log",
        "/log/tile/../records",
        "/log/tile/%2e%2e/records",
        "/log/tile/0/../../keys",
        "/keys/pin",
        "/gateway.toml",
        "/.git/config",
    ] {
        let status = 404;
        cases.push(asked(format!("GET {path} by an auditor"), "GET", path, &host, &auditor, status));
    }
    for lines in ["Origin: https://evil.example\r\n", "Origin: null\r\n"] {
        let name = format!("a page of another origin reads health: {}", lines.trim_end());
        let bytes = request("GET", "/health", &host, lines);
        cases.push(Case::doing(
            name,
            move |world| {
                let bytes = bytes.clone();
                Box::pin(async move {
                    let answer = from_a_new_address(world, &bytes).await;
                    let allowed = answer.text.to_ascii_lowercase().contains("access-control-allow");
                    Answer::verdict(if allowed { "allowed" } else { "not allowed" }, answer.text)
                })
            },
            Expected::Verdict("not allowed".to_owned()),
        ));
    }
    cases.push(Case::doing(
        "guessing: the sixth try, and the right token after it",
        guessed,
        Expected::Verdict("401 401 401 401 401 429 429".to_owned()),
    ));
    cases
}

fn request(verb: &str, path: &str, host: &str, lines: &str) -> Vec<u8> {
    format!("{verb} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n").into_bytes()
}

/// A request that gets a status, and no more.
fn asked(name: String, verb: &str, path: &str, host: &str, lines: &str, status: u16) -> Case {
    let bytes = request(verb, path, host, lines);
    Case::doing(
        name,
        move |world| {
            let bytes = bytes.clone();
            Box::pin(async move {
                let answer = from_a_new_address(world, &bytes).await;
                Answer::verdict(answer.status.unwrap_or(0).to_string(), answer.text)
            })
        },
        Expected::Verdict(status.to_string()),
    )
}

/// Failures count by address: each case has its own.
async fn from_a_new_address(world: &World, bytes: &[u8]) -> Answer {
    static ADDRESSES: AtomicU32 = AtomicU32::new(0);
    let [_, x, y, z] = ADDRESSES.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    from(world, Ipv4Addr::new(127, 200 + x, y, z + 1), bytes).await
}

async fn from(world: &World, address: Ipv4Addr, bytes: &[u8]) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let stream = socket.connect((world.provider.host, 4000).into()).await.unwrap();
    wire::exchange(stream, bytes).await
}

fn guessed(world: &World) -> futures_util::future::BoxFuture<'_, Answer> {
    Box::pin(async move {
        let mut statuses = Vec::new();
        let tokens = (0..6).map(|n| format!("guess-{n}")).chain([OPERATOR.to_owned()]);
        for token in tokens {
            let lines = format!("Authorization: Bearer {token}\r\n");
            let bytes = request("GET", "/metrics", &world.provider.host.to_string(), &lines);
            let answer = from(world, Ipv4Addr::new(127, 250, 1, 1), &bytes).await;
            statuses.push(answer.status.unwrap_or(0).to_string());
        }
        Answer::verdict(statuses.join(" "), "")
    })
}
