//! What stands in front of messages: TLS that is none (T37), the OCSP responses that peers ask for (T39), a message sent
//! twice (T08), time-stamps that stay away (T29).

use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;

use super::case::{Answer, Case, Evidence, Expected};
use super::wire;
use crate::world::{Ask, RECORDS, TsaMode, Wishes, World, soon};

/// T08: X-Road serves a message as often as it comes, and so do we; each time leaves its own evidence.
pub(super) async fn replays(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for verb in ["GET", "POST"] {
        let body = (verb == "POST").then_some(b"body".as_slice());
        let message =
            world.rogue.request(&world.trust, verb, &format!("{RECORDS}/x"), "replayed", body).await;
        for time in ["the first time", "once more"] {
            let expected = Expected::Passes(format!("{verb} /base/x HTTP/1.1"));
            cases.push(
                Case::message(format!("a signed {verb} {time}"), message.clone(), expected)
                    .because("as X-Road does; nothing looks for messages that were seen before"),
            );
        }
    }
    cases
}

/// A consumer that puts up with ten minutes without time-stamps.
pub(super) fn soon_without_stamps() -> Wishes {
    let period = ("acceptable_failure = \"4 h\"", "acceptable_failure = \"10 min\"".to_owned());
    Wishes { consumer: vec![period], ..Wishes::default() }
}

/// T29: time-stamps stay away for longer than is acceptable.
pub(super) async fn without_stamps(world: &World) -> Vec<Case> {
    world.network.publish_until(world.network.expires() + Duration::from_secs(7200), |_| {}).await;
    world.taken_up().await;
    world.trust.stamp(TsaMode::Down);
    world.is_alive().await;
    let asked = world.trust.tsa_calls();
    soon("time-stamps are asked for", || world.trust.tsa_calls() >= asked + 4).await;
    world.clock.advance(Duration::from_secs(620));
    let mut cases = Vec::new();
    for verb in ["GET", "POST", "PUT", "DELETE"] {
        let ask = Ask::with(verb, &format!("{RECORDS}/x"));
        let expected =
            Expected::Code(500, "server.clientproxy.logging_failed.timestamping_failed".to_owned());
        cases.push(Case::ask(format!("{verb} after too long without time-stamps"), ask, expected));
    }
    cases.push(
        Case::doing(
            "and a time-stamp resumes exchanges",
            |world| {
                Box::pin(async {
                    world.trust.stamp(TsaMode::Good);
                    world.consumer.is_well(true).await;
                    Answer::of_reply(Some(world.ask(&Ask::get(&format!("{RECORDS}/again"))).await))
                })
            },
            Expected::Passes("GET /base/again HTTP/1.1".to_owned()),
        )
        .leaves(Evidence::Exchange),
    );
    cases
}

/// T37: what is no handshake, at both doors that speak TLS.
pub(super) async fn handshakes(_world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, bytes) in [
        ("a record of nothing", vec![0x16, 3, 1, 0, 0]),
        ("a record that is too long", [vec![0x16, 3, 1, 0xff, 0xff], vec![0; 70_000]].concat()),
        ("a handshake of zeros", [vec![0x16, 3, 1, 0, 100], vec![0; 100]].concat()),
        ("a hello that is cut off", vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]),
        ("a hello of 16 MiB", [vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff], vec![0; 16_380]].concat()),
        ("an alert", vec![0x15, 3, 3, 0, 2, 2, 40]),
        ("application data", [vec![0x17, 3, 3, 0, 10], vec![b'x'; 10]].concat()),
        ("a change of ciphers", vec![0x14, 3, 3, 0, 1, 1]),
        ("a heartbeat", vec![0x18, 3, 3, 0, 3, 1, 0x40, 0]),
        ("an unheard-of record", vec![0x63, 3, 3, 0, 1, 0]),
        ("SSL 2", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]),
        ("SSH", b"SSH-2.0-x\r\n".to_vec()),
        ("SMTP", b"EHLO x\r\n".to_vec()),
        ("a proxy's line", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n".to_vec()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("HTTP", format!("GET {RECORDS} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()),
        ("nothing but line ends", b"\r\n\r\n\r\n\r\n".to_vec()),
        ("zeros", vec![0; 5000]),
        ("ones", vec![0xff; 5000]),
    ] {
        for door in ["peers", "https"] {
            let bytes = bytes.clone();
            cases.push(Case::doing(
                format!("{door}: {what}"),
                move |world| {
                    let bytes = bytes.clone();
                    let address =
                        if door == "peers" { world.provider.peers() } else { world.consumer.https() };
                    Box::pin(async move { wire::without_tls(&address, &bytes).await })
                },
                Expected::Verdict("ended without HTTP".to_owned()),
            ));
        }
    }
    cases
}

/// T39: the port where peers ask for the OCSP responses of a gateway's certificates.
pub(super) async fn ocsp_port(world: &World) -> Vec<Case> {
    let own = world.provider.auth.certificate.fingerprint(DigestAlgorithm::Sha1).hex();
    let of_another = world.consumer.auth.certificate.fingerprint(DigestAlgorithm::Sha1).hex();
    let many = format!("/?{}", vec![format!("cert={of_another}"); 100].join("&"));
    let mut cases = Vec::new();
    for (what, target) in [
        ("no certificate", "/".to_owned()),
        ("an empty query", "/?".to_owned()),
        ("an empty certificate", "/?cert=".to_owned()),
        ("the certificate of another", format!("/?cert={of_another}")),
        ("its own and that of another", format!("/?cert={own}&cert={of_another}")),
        ("a hundred of another", many),
        ("nonsense", "/?cert=nonsense".to_owned()),
        ("a path", "/?cert=../../keys/pin".to_owned()),
        ("an escaped path", "/?cert=%2e%2e%2fkeys%2fpin".to_owned()),
        ("a NUL", "/?cert=%00".to_owned()),
        ("half of a certificate", format!("/?cert={}", &own[..20])),
        ("SQL", "/?cert='%20OR%201=1--".to_owned()),
        ("another parameter", format!("/?certificate={own}")),
        ("8,000 letters", format!("/?cert={}", "a".repeat(8_000))),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").into_bytes();
        cases.push(Case::doing(
            format!("OCSP responses are asked for {what}"),
            move |world| {
                let (address, bytes) = (format!("{}:5577", world.provider.host), bytes.clone());
                Box::pin(async move {
                    let answer = wire::plain(&address, &bytes).await;
                    Answer::verdict(answer.status.unwrap_or(0).to_string(), answer.text)
                })
            },
            Expected::Verdict("500".to_owned()),
        ));
    }
    cases
}
