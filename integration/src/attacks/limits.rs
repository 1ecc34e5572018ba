//! More than anybody needs (T20), and slower than anybody is (T21): heads, targets, header lines, envelopes, parts; at the
//! limit, and one past it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::case::{Answer, Case, Evidence, Expected, serving};
use super::soap::{self, TEXT};
use super::wire;
use crate::world::{Ask, PORTAL, RECORDS, Wishes, World, envelope};

/// T20.
pub(super) async fn sizes(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, expected) in [
        (15_000, None),
        (16 * 1024, None),
        (16 * 1024 + 1, Some(431)),
        (17_000, Some(431)),
        (40_000, Some(431)),
    ] {
        let line = format!("X-Own: {}\r\n", "a".repeat(size - "X-Own".len()));
        both(world, &mut cases, &format!("a header line of {size} bytes"), &line, expected, size).await;
    }
    for (count, expected) in
        [(150, None), (199, Some(431)), (201, Some(431)), (500, Some(431)), (10_000, Some(431))]
    {
        let lines: String = (0..count).map(|n| format!("x{n}: 1\r\n")).collect();
        both(world, &mut cases, &format!("{count} header lines"), &lines, expected, count).await;
    }
    for (size, expected) in [(60_000, None), (66_000, Some(431)), (80_000, Some(431)), (500_000, Some(431))] {
        let lines: String =
            (0..size / 10_000 + 1).map(|n| format!("x{n}: {}\r\n", "a".repeat(10_000))).collect();
        let lines =
            if expected.is_none() { lines[..50_000].rsplit_once("x").unwrap().0.to_owned() } else { lines };
        both(world, &mut cases, &format!("a head of {size} bytes"), &lines, expected, size).await;
    }
    for (length, expected) in
        [(8_000, None), (8_192, None), (8_193, Some(414)), (9_000, Some(414)), (30_000, Some(414))]
    {
        let path = format!("/{}", "p".repeat(length - RECORDS.len() - 1));
        let bytes = format!(
            "GET {RECORDS}{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Road-Client: {PORTAL}\r\n\r\n"
        );
        let expected = match expected {
            None => Expected::Passes(format!("GET /base{path} HTTP/1.1")),
            Some(status) => Expected::Bare(status),
        };
        cases.push(Case::plain(format!("a target of {length} bytes"), bytes, expected));
    }
    exactly(world, &mut cases).await;
    for megabytes in [10, 11, 20] {
        let text = envelope(("people", "v1"), "large", "", "<people/>");
        let text = text.replace("<people/>", &format!("<people>{}</people>", "x".repeat(megabytes << 20)));
        let expected = Expected::Code(200, "client.invalid_soap".to_owned());
        cases.push(
            Case::ask(format!("an envelope of {megabytes} MiB"), soap::post(TEXT, text), expected)
                .because("X-Road takes any, and keeps it in memory"),
        );
    }
    for (what, from, to) in [
        ("message part", "x-road-id:", format!("x-own:{}\r\nx-road-id:", "a".repeat(140_000))),
        (
            "number of headers",
            "x-road-id:",
            (0..300).map(|n| format!("x{n}:1\r\n")).collect::<String>() + "x-road-id:",
        ),
    ] {
        let message = super::headers::written(world, from, &to).await;
        let code = if what == "message part" {
            "service_failed.invalid_message"
        } else {
            "service_failed.invalid_request"
        };
        cases.push(
            Case::message(format!("a peer's {what} is too large"), message, serving(code))
                .because("X-Road has no limit here, and says so in a comment"),
        );
    }
    cases
}

/// At the limit, and one past it: header lines, the whole head, an envelope.
async fn exactly(world: &World, cases: &mut Vec<Case>) {
    let begin = format!(
        "GET {RECORDS}/exactly HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Road-Client: {PORTAL}\r\n"
    );
    let passes = || Expected::Passes("GET /base/exactly HTTP/1.1".to_owned());
    for (own, expected) in [(197, passes()), (198, Expected::Bare(431))] {
        let lines: String = (0..own).map(|n| format!("x{n}: 1\r\n")).collect();
        let name = format!("a client sends {} header lines in all", own + 3);
        cases.push(Case::plain(name, format!("{begin}{lines}\r\n"), expected));
    }
    let target = format!("{RECORDS}/exactly");
    let mut message = world.rogue.request(&world.trust, "GET", &target, "exactly", None).await;
    message.headers.push(("connection".to_owned(), "close".to_owned()));
    // Beside Host and Content-Length.
    let known = message.headers.len() + 2;
    for (all, expected) in [(200, passes()), (201, Expected::Bare(431))] {
        let mut message = message.clone();
        message.headers.extend((known..all).map(|n| (format!("x{n}"), "1".to_owned())));
        cases.push(Case::peer(format!("a peer sends {all} header lines in all"), message.bytes(), expected));
    }
    for (bytes, expected) in [(64 * 1024, passes()), (64 * 1024 + 1, Expected::Bare(431))] {
        let mut head = begin.clone();
        while head.len() < bytes - 2 {
            let left = bytes - 2 - head.len();
            let line = if left > 20_000 {
                10_000
            } else if left > 10_000 {
                left / 2
            } else {
                left
            };
            head.push_str(&format!("x: {}\r\n", "a".repeat(line - 5)));
        }
        head.push_str("\r\n");
        assert_eq!(head.len(), bytes);
        cases.push(Case::plain(format!("a client sends a head of {bytes} bytes"), head, expected));
    }
    // The service gets what is not too long, and its answer is no SOAP.
    let answered = "server.serverproxy.service_failed.invalid_content_type";
    for (bytes, code, calls) in [(10 << 20, answered, 1), ((10 << 20) + 1, "client.invalid_soap", 0)] {
        let text = envelope(("people", "v1"), &format!("exactly-{bytes}"), "", "<people></people>");
        let filling = "x".repeat(bytes - text.len());
        let text = text.replace("<people></people>", &format!("<people>{filling}</people>"));
        assert_eq!(text.len(), bytes);
        let expected = Expected::Code(200, code.to_owned());
        let mut case = Case::ask(format!("an envelope of {bytes} bytes"), soap::post(TEXT, text), expected);
        case.calls = calls;
        case.evidence = if calls == 0 { Evidence::None } else { Evidence::BothInDoubt };
        cases.push(case);
    }
}

/// T22: what is packed is passed on as it is; nobody unpacks it.
pub(super) async fn packed(_world: &World) -> Vec<Case> {
    // 20 bytes of gzip that say that they hold 4 GiB.
    let bomb: Vec<u8> = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[3, 0], &[0; 4], &[0xff; 4]].concat();
    let mut cases = Vec::new();
    for coding in ["gzip", "deflate", "gzip, gzip, gzip", "br"] {
        let ask = Ask::post(&format!("{RECORDS}/packed"), bomb.clone()).header("Content-Encoding", coding);
        let expected = Expected::Passes("POST /base/packed HTTP/1.1".to_owned());
        cases.push(Case::ask(format!("a body with Content-Encoding: {coding}"), ask, expected));
    }
    cases
}

/// The same lines at both doors.
async fn both(
    world: &World,
    cases: &mut Vec<Case>,
    what: &str,
    lines: &str,
    refused: Option<u16>,
    number: usize,
) {
    let plain = format!(
        "GET {RECORDS}/x{number} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Road-Client: {PORTAL}\r\n{lines}\r\n"
    );
    let expected = match refused {
        None => Expected::Passes(format!("GET /base/x{number} HTTP/1.1")),
        Some(status) => Expected::Bare(status),
    };
    cases.push(Case::plain(format!("a client sends {what}"), plain, expected));
    let message = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x{number}"), what, None).await;
    let bytes = String::from_utf8_lossy(&message.bytes()[..16]).into_owned();
    assert!(bytes.starts_with("POST / HTTP/1.1\r"), "{bytes}");
    let whole = message.bytes();
    let head = format!("POST / HTTP/1.1\r\nConnection: close\r\n{lines}");
    let bytes = [head.as_bytes(), &whole["POST / HTTP/1.1\r\n".len()..]].concat();
    let expected = match refused {
        None => Expected::Passes(format!("GET /base/x{number} HTTP/1.1")),
        Some(status) => Expected::Bare(status),
    };
    cases.push(Case::peer(format!("a peer sends {what}"), bytes, expected));
}

/// Impatient gateways, so that slow callers need not be waited for.
pub(super) fn impatient() -> Wishes {
    let wishes = vec![
        (
            "[timeouts]\n",
            "[timeouts]\nhandshake = \"500 ms\"\nhead = \"500 ms\"\nidle = \"500 ms\"\n".to_owned(),
        ),
        ("[log]\n", "[limits]\nconnections_per_address = 50\n\n[log]\n".to_owned()),
    ];
    Wishes { consumer: wishes.clone(), provider: wishes }
}

/// T21.
pub(super) async fn slowness(_world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let head = format!("POST {RECORDS}/x HTTP/1.1\r\nHost: h\r\nX-Road-Client: {PORTAL}\r\n");
    let expected = Expected::Verdict("ended in time".to_owned());
    for (what, begun) in [
        ("nothing at all", String::new()),
        ("one byte", "P".to_owned()),
        ("half a line", "POST /r1/DEMO".to_owned()),
        ("half a head", head.clone()),
        ("a head without its end", format!("{head}Content-Length: 5\r\n")),
        ("blank lines", "\r\n".repeat(20)),
    ] {
        for door in ["http", "peers", "ocsp", "administration"] {
            let begun = begun.clone();
            cases.push(Case::doing(
                format!("{what}, and then nothing, at the door {door}"),
                move |world| {
                    let begun = begun.clone();
                    let address = match door {
                        "http" => world.consumer.http(),
                        "peers" => world.provider.peers(),
                        "ocsp" => format!("{}:5577", world.provider.host),
                        _ => format!("{}:4000", world.provider.host),
                    };
                    Box::pin(async move { stalled(&address, begun.as_bytes()).await })
                },
                expected.clone(),
            ));
        }
    }
    for (what, rest) in [
        ("a body that stops", "Content-Length: 100\r\n\r\nhalf"),
        ("chunks that stop", "Transfer-Encoding: chunked\r\n\r\n5\r\nhe"),
    ] {
        let bytes = format!("{head}{rest}").into_bytes();
        cases.push(Case::plain(what, bytes, super::case::asking("io_error")).leaves(Evidence::None));
    }
    cases.push(Case::doing(
        "a head a byte at a time",
        move |world| {
            let (address, head) = (world.consumer.http(), head.clone());
            Box::pin(async move { dripped(&address, head.as_bytes()).await })
        },
        expected.clone(),
    ));
    cases.push(Case::doing(
        "200 connections that say nothing, and a good one",
        |world| Box::pin(flooded(world)),
        expected,
    ));
    cases
}

/// Sends a little and waits for the end.
async fn stalled(address: &str, bytes: &[u8]) -> Answer {
    let began = tokio::time::Instant::now();
    let answer = wire::plain(address, bytes).await;
    judged(began.elapsed(), &answer)
}

async fn dripped(address: &str, bytes: &[u8]) -> Answer {
    let began = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() || began.elapsed() > Duration::from_secs(4) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut came = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut came)).await;
    judged(began.elapsed(), &Answer::of_bytes(&came, ended.is_ok()))
}

fn judged(took: Duration, answer: &Answer) -> Answer {
    let in_time =
        answer.closed && took < Duration::from_secs(4) && answer.status.is_none_or(|status| status == 408);
    let verdict = if in_time { "ended in time" } else { "was waited for" };
    Answer::verdict(verdict, format!("{took:?}: {}", answer.text))
}

/// Idle connections of one address leave room for others: a good request, from another address, is served.
async fn flooded(world: &World) -> Answer {
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(TcpStream::connect(world.consumer.http()).await.unwrap());
    }
    let mut open = 0;
    tokio::time::sleep(Duration::from_millis(200)).await;
    for stream in &held {
        let mut byte = [0];
        open += usize::from(stream.try_read(&mut byte).is_err());
    }
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let mut left = 0;
    for stream in &held {
        let mut byte = [0];
        left += usize::from(stream.try_read(&mut byte).is_err());
    }
    let fine = open <= 50 && left == 0;
    let text = format!("{open} were let in, {left} were left after {:?}", began.elapsed());
    Answer::verdict(if fine { "ended in time" } else { "was waited for" }, text)
}
