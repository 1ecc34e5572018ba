//! QUIC (T38): datagrams that are none, handshakes of strangers, floods, and what a registered peer may not do with a
//! connection: nothing of it may reach a service, or keep somebody else out.

use std::net::SocketAddr;
use std::time::Duration;

use cert_authority::x509::issue::Profile;
use gateway::message::transport::part;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::case::{Answer, Case, Evidence, Expected, serving};
use crate::world::{Envelope, OcspMode, RECORDS, Stranger, Wishes, World, echo, initials, within};

/// Handshakes that are begun at once and go no further.
const FLOOD: usize = 300;

/// A provider that speaks QUIC.
pub(super) fn speaking() -> Wishes {
    let quic = "[quic]\nlisten = \"{host}:5500\"\nunproven = 16\n\n[administration]\n".to_owned();
    Wishes { provider: vec![("[administration]\n", quic)], ..Wishes::default() }
}

fn door(world: &World) -> SocketAddr {
    (world.provider.host, 5500).into()
}

/// T38.
pub(super) async fn cases(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    datagrams(world, &mut cases).await;
    strangers(world, &mut cases).await;
    streams(world, &mut cases).await;
    cases.push(migration());
    // Last: it uses up for a while what one address may have.
    cases.push(flood());
    cases
}

/// Datagrams to which nothing is answered, or less than was sent.
async fn datagrams(world: &World, cases: &mut Vec<Case>) {
    let greeting = initials(&world.rogue, 1).await.remove(0);
    let with = |at: usize, byte: u8| {
        let mut bytes = greeting.clone();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes
    };
    let versioned = |version: u32, length: usize| {
        let mut bytes = greeting.clone();
        bytes.splice(1..5, version.to_be_bytes());
        bytes.truncate(length);
        bytes
    };
    for (what, bytes, expected) in [
        ("nothing", Vec::new(), "no answer"),
        ("a byte", vec![0x40], "no answer"),
        ("zeros", vec![0; 1200], "no answer"),
        ("ones", vec![0xff; 1200], "no answer"),
        ("64 KB of it", vec![0xc3; 65_000], "no answer"),
        (
            "a DNS question",
            b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03www\x02ca\0\0\x01\0\x01".to_vec(),
            "no answer",
        ),
        (
            "a DTLS hello",
            [vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], vec![1; 256]].concat(),
            "no answer",
        ),
        ("TLS", [vec![22, 3, 1, 2, 0], vec![1; 512]].concat(), "no answer"),
        ("HTTP", format!("GET {RECORDS} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes(), "no answer"),
        ("a short header of no connection", [vec![0x43], vec![9; 60]].concat(), "no answer"),
        ("a handshake packet of no connection", with(0, 0xe3), "no answer"),
        ("early data of no connection", with(0, 0xd3), "no answer"),
        ("a Retry", with(0, 0xf0), "no answer"),
        (
            "a greeting whose seal is broken",
            with(700, greeting.get(700).map_or(0, |byte| byte ^ 1)),
            "no answer",
        ),
        ("a greeting that is too short", greeting.get(..1000).unwrap_or_default().to_vec(), "no answer"),
        ("a greeting with an id of 255 bytes", with(5, 255), "no answer"),
        ("another version", versioned(0x6b33_43cf, 1200), "less than was sent"),
        ("a draft", versioned(0xff00_001d, 1200), "less than was sent"),
        ("another version, short", versioned(0x6b33_43cf, 100), "no answer"),
        ("version negotiation", versioned(0, 1200), "no answer"),
    ] {
        cases.push(Case::doing(
            format!("a datagram: {what}"),
            move |world| {
                let bytes = bytes.clone();
                Box::pin(async move {
                    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    let came = echo(&socket, door(world), &bytes, Duration::from_millis(200)).await;
                    let back: usize = came.iter().map(Vec::len).sum();
                    let verdict = match back {
                        0 => "no answer",
                        back if back < bytes.len() => "less than was sent",
                        _ => "more than was sent",
                    };
                    Answer::verdict(verdict, format!("{back} bytes in {} datagrams", came.len()))
                })
            },
            Expected::Verdict(expected.to_owned()),
        ));
    }
    cases.push(Case::doing(
        "a greeting from an address that proves nothing is answered with less than four times as much",
        |world| {
            Box::pin(async {
                let greeting = initials(&world.rogue, 1).await.remove(0);
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let came = echo(&socket, door(world), &greeting, Duration::from_secs(3)).await;
                let back: usize = came.iter().map(Vec::len).sum();
                let verdict = if back > 0 && back < 4 * greeting.len() { "bounded" } else { "amplified" };
                Answer::verdict(verdict, format!("{} bytes, {back} back", greeting.len()))
            })
        },
        Expected::Verdict("bounded".to_owned()),
    ));
}

/// Handshakes that come to nothing.
async fn strangers(world: &World, cases: &mut Vec<Case>) {
    let usual = Stranger::with(&world.rogue.auth);
    let issue = |subject: &'static str| world.trust.ca.issue(Profile::Auth, subject);
    let unregistered = issue("C=DEMO, CN=ss3").await;
    let foreign = world.trust.other.issue(Profile::Auth, "C=DEMO, CN=ss3").await;
    let mut without_key = world.rogue.auth.clone();
    without_key.key = unregistered.key.clone();
    let mut others_key = world.consumer.auth.clone();
    others_key.key = world.rogue.auth.key.clone();
    let speaks = |name: &[u8]| Stranger { protocols: vec![name.to_vec()], ..usual.clone() };
    for (what, stranger) in [
        ("without a certificate", Stranger { holder: None, ..usual.clone() }),
        ("with a certificate that is not registered", Stranger::with(&unregistered)),
        ("with one of another authority", Stranger::with(&foreign)),
        ("with a signing certificate", Stranger::with(&world.rogue.signatory.holder)),
        ("with the certificate of an information system", Stranger::with(&world.consumer.pinned)),
        ("with a registered certificate, without its key", Stranger::with(&without_key)),
        ("with the consumer's certificate and another key", Stranger::with(&others_key)),
        ("in no protocol", Stranger { protocols: Vec::new(), ..usual.clone() }),
        ("in HTTP/3", speaks(b"h3")),
        ("in HTTP/1.1", speaks(b"http/1.1")),
        ("in a later version of ours", speaks(b"passerelle-2")),
        ("in nothing but early data", Stranger { holder: None, early: true, ..usual.clone() }),
    ] {
        cases.push(Case::doing(
            format!("a handshake {what}"),
            move |world| {
                let stranger = stranger.clone();
                Box::pin(async move {
                    match stranger.connect(&world.rogue, door(world)).await {
                        Ok(_line) => Answer::verdict("let in", "a connection stands"),
                        Err(said) => {
                            Answer { closed: true, text: String::new(), ..Answer::verdict("refused", said) }
                        }
                    }
                })
            },
            Expected::Verdict("refused".to_owned()),
        ));
    }
}

/// What a registered peer sends over a connection that stands.
async fn streams(world: &World, cases: &mut Vec<Case>) {
    let target = format!("{RECORDS}/x");
    let good = async |id: &str| world.rogue.request(&world.trust, "POST", &target, id, Some(b"body")).await;
    let over = |name: &str, bytes: Vec<u8>, expected: Expected| {
        Case::doing(
            format!("a stream: {name}"),
            move |world| {
                let bytes = bytes.clone();
                Box::pin(async move {
                    let line = Stranger::with(&world.rogue.auth).connect(&world.rogue, door(world)).await;
                    Answer::of_bytes(&line.expect("a good peer is let in").exchange(&bytes).await, true)
                })
            },
            expected,
        )
    };
    let passes = || Expected::Passes("POST /base/x HTTP/1.1".to_owned());
    cases.push(over("a good message", good("quic-1").await.bytes(), passes()));
    // One stream, one exchange: what stands behind it is not looked at.
    let two = [good("quic-2").await.bytes(), good("quic-3").await.bytes()].concat();
    cases.push(over("two messages", two, passes()));
    let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: peer\r\n{lines}\r\n").into_bytes();
    for (what, bytes) in [
        ("two lengths", head("Content-Length: 5\r\nContent-Length: 6\r\n")),
        ("a length and chunks", head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
        ("chunks, twice", head("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")),
        ("no host", b"POST / HTTP/1.1\r\n\r\n".to_vec()),
        ("a name with a blank", head("Content-Length : 5\r\n")),
    ] {
        cases.push(over(what, bytes, Expected::Bare(400)));
    }
    cases.push(over("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Expected::Closed));
    cases.push(over(
        "a head that is too long",
        head(&format!("X: {}\r\n", "x".repeat(80_000))),
        Expected::Bare(431),
    ));
    let mut revoked: Envelope = good("quic-4").await;
    let response = world.trust.ocsp_as(&world.rogue.auth.certificate, OcspMode::Revoked).await;
    revoked.change(part::OCSP_RESPONSE, |der| *der = response.to_vec());
    cases.push(over(
        "a revoked peer's message",
        revoked.bytes(),
        serving("service_failed.ssl_authentication_failed"),
    ));
    let mut spoilt = good("quic-5").await;
    spoilt.replace(part::REST_BODY, "body", "Body");
    cases.push(over(
        "a message whose body is another",
        spoilt.bytes(),
        serving("signature_verification.malformed_signature.invalid_hash_chain"),
    ));
}

/// Many begin, nobody goes on; somebody else comes.
fn flood() -> Case {
    Case::doing(
        format!("{FLOOD} handshakes that go no further, and somebody else"),
        |world| {
            Box::pin(async {
                let mut sockets = Vec::with_capacity(FLOOD);
                for greeting in initials(&world.rogue, FLOOD).await {
                    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    socket.send_to(&greeting, door(world)).await.unwrap();
                    sockets.push(socket);
                }
                let began = Instant::now();
                // From an address of its own: theirs has used up what one may have.
                let stranger = Stranger { from: [127, 0, 0, 2].into(), ..Stranger::with(&world.rogue.auth) };
                let served = stranger.connect(&world.rogue, door(world)).await.is_ok();
                let took = began.elapsed();
                let prompt = served && took < Duration::from_secs(2);
                Answer::verdict(if prompt { "let through" } else { "kept out" }, format!("{took:?}"))
            })
        },
        Expected::Verdict("let through".to_owned()),
    )
}

/// Another address cannot go on with a connection.
fn migration() -> Case {
    Case::doing(
        "a connection that goes on from another address",
        |world| {
            Box::pin(async {
                let stranger = Stranger::with(&world.rogue.auth);
                let endpoint = stranger.endpoint(&world.rogue);
                let to = door(world);
                let connecting = endpoint.connect(to, &to.ip().to_string()).unwrap();
                let connection = within("a handshake", connecting).await.unwrap();
                endpoint.rebind(std::net::UdpSocket::bind("127.0.0.3:0").unwrap()).unwrap();
                let message = format!("GET {RECORDS} HTTP/1.1\r\nHost: h\r\n\r\n");
                let answered = async {
                    let (mut sending, mut receiving) = connection.open_bi().await.ok()?;
                    sending.write_all(message.as_bytes()).await.ok()?;
                    receiving.read(&mut [0; 100]).await.ok().flatten()
                };
                let answered = tokio::time::timeout(Duration::from_secs(2), answered).await;
                let followed = matches!(answered, Ok(Some(_)));
                Answer::verdict(if followed { "followed" } else { "not followed" }, String::new())
            })
        },
        Expected::Verdict("not followed".to_owned()),
    )
    .leaves(Evidence::None)
}
