//! What stands in front of messages: TLS that is none (T37), the OCSP responses that peers ask for (T39), a message sent
//! twice (T08), time-stamps that stay away (T29).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use gateway::transport::tls;
use rustls::version::TLS13;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::case::{Answer, Case, Evidence, Expected, asking, serving};
use super::wire;
use crate::world::{Ask, Envelope, FAKE, Node, RECORDS, TsaMode, Wishes, World, soon, within};

/// A provider that serves a message as often as it comes: where one message is framed in many ways, its framing is judged.
pub(super) fn served_again() -> Wishes {
    let off = ("revocations = \"off\"", "revocations = \"off\"\nreplays = \"off\"".to_owned());
    Wishes { provider: vec![off], ..Wishes::default() }
}

/// T08: a request is served once; one that is signed anew is another.
pub(super) async fn replays(world: &World) -> Vec<Case> {
    const REASON: &str = "X-Road serves a message as often as it comes";
    let mut cases = Vec::new();
    for verb in ["GET", "POST"] {
        let body = (verb == "POST").then_some(b"body".as_slice());
        let target = format!("{RECORDS}/x");
        let id = format!("replayed-{verb}");
        let message = world.rogue.request(&world.trust, verb, &target, &id, body).await;
        let anew = world.rogue.request(&world.trust, verb, &target, &id, body).await;
        let passes = || Expected::Passes(format!("{verb} /base/x HTTP/1.1"));
        let replayed = || serving("invalid_message");
        let case = |what: &str, message: &Envelope, expected| {
            Case::message(format!("a signed {verb} {what}"), message.clone(), expected)
        };
        cases.extend([
            case("the first time", &message, passes()),
            case("once more", &message, replayed()).because(REASON),
            case("with the same id, signed anew", &anew, passes()),
            case("for the third time, after that", &message, replayed()).because(REASON),
        ]);
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
    let mut cases = vec![
        Case::doing(
            "after half of what is acceptable health warns, and exchanges go on",
            |world| {
                Box::pin(async {
                    world.clock.advance(Duration::from_secs(320));
                    let said = warned(&world.consumer, "time-stamps").await;
                    let reply = world.ask(&Ask::get(&format!("{RECORDS}/half"))).await;
                    world.clock.advance(Duration::from_secs(300));
                    let verdict = if reply.status == 200 { "warned" } else { "refused" };
                    Answer::verdict(verdict, said)
                })
            },
            Expected::Verdict("warned".to_owned()),
        )
        .leaves(Evidence::Exchange)
        .called(),
    ];
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

/// Waits until health warns of something, and is well all the same; gives what it says.
async fn warned(node: &Node, of: &str) -> String {
    let waiting = async {
        loop {
            let health = node.administration("/health").await;
            let said = String::from_utf8_lossy(&health.body).into_owned();
            if said.contains("warnings") && said.contains(of) && health.first.contains(" 200 ") {
                return said;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("health warns", waiting).await
}

/// T32: what an authority says of our clock, and what a peer says.
pub(super) async fn clocks(world: &World) -> Vec<Case> {
    let target = format!("{RECORDS}/x");
    let message = world.rogue.request(&world.trust, "GET", &target, "wrong-clock", None).await;
    let mut cases = vec![
        Case::doing(
            "one peer whose clock is decades behind",
            |world| {
                Box::pin(async {
                    world.rogue.plan(|plan| {
                        let date = || ("date".to_owned(), "Mon, 01 Jan 2001 00:00:00 GMT".to_owned());
                        plan.envelope = Arc::new(move |envelope| envelope.headers.push(date()));
                    });
                    let told = world.ask(&Ask::get(FAKE)).await.status;
                    world.rogue.plan(|_| {});
                    let well = world.consumer.administration("/health").await.first.contains(" 200 ");
                    Answer::verdict(if told == 200 && well { "one liar" } else { "believed" }, "")
                })
            },
            Expected::Verdict("one liar".to_owned()),
        )
        .leaves(Evidence::OnlyAsked),
        Case::doing(
            "an authority whose clock is 90 s ahead: health warns, and exchanges go on",
            |world| {
                Box::pin(async {
                    world.trust.stamp(TsaMode::Apart(90));
                    world.is_alive().await;
                    Answer::verdict("warned", warned(&world.consumer, "clock").await)
                })
            },
            Expected::Verdict("warned".to_owned()),
        )
        .leaves(Evidence::Exchange)
        .called(),
    ];
    for (n, verb) in ["GET", "POST", "PUT"].into_iter().enumerate() {
        let ask = Ask::with(verb, &target);
        cases.push(Case::doing(
            format!("{verb} after an authority's clock is 400 s {}", if n == 1 { "behind" } else { "ahead" }),
            move |world| {
                let ask = ask.clone();
                Box::pin(async move {
                    world.trust.stamp(TsaMode::Apart(if n == 1 { -400 } else { 400 }));
                    world.consumer.is_well(false).await;
                    world.provider.is_well(false).await;
                    Answer::of_reply(Some(world.ask(&ask).await))
                })
            },
            asking("cannot_create_signature"),
        ));
    }
    cases.push(Case::message(
        "a peer's message after an authority's clock is 400 s ahead",
        message,
        serving("service_failed.cannot_create_signature"),
    ));
    for verb in ["GET", "POST"] {
        let ask = Ask::with(verb, &target);
        cases.push(Case::doing(
            format!("{verb} once both clocks say the same"),
            move |world| {
                let ask = ask.clone();
                Box::pin(async move {
                    world.trust.stamp(TsaMode::Good);
                    world.consumer.is_well(true).await;
                    world.provider.is_well(true).await;
                    Answer::of_reply(Some(world.ask(&ask).await))
                })
            },
            Expected::Passes(format!("{verb} /base/x HTTP/1.1")),
        ));
    }
    cases
}

/// T37: chains of certificates, as long as they may be, and one longer.
fn chains(world: &World, cases: &mut Vec<Case>) {
    for (certificates, expected) in [(10, "let through"), (11, "ended")] {
        for door in ["peers", "https"] {
            let own = world.trust.ca.certificate.der().to_vec();
            let behind = vec![CertificateDer::from(own); certificates - 1];
            cases.push(Case::doing(
                format!("{door}: a chain of {certificates} certificates"),
                move |world| {
                    let behind = behind.clone();
                    Box::pin(async move {
                        let address =
                            if door == "peers" { world.provider.peers() } else { world.consumer.https() };
                        let versions = [&TLS13];
                        let line =
                            world.rogue.connect_showing(&world.rogue.auth, &behind, &versions, &address);
                        let Ok(mut line) = line.await else { return Answer::verdict("ended", "") };
                        let reply = line.send_bytes(b"GET /listClients HTTP/1.1\r\nHost: h\r\n\r\n").await;
                        Answer::verdict(if reply.is_some() { "let through" } else { "ended" }, "")
                    })
                },
                Expected::Verdict(expected.to_owned()),
            ));
        }
    }
}

/// T37: what is no handshake, at both doors that speak TLS.
pub(super) async fn handshakes(world: &World) -> Vec<Case> {
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
    floods(&mut cases);
    chains(world, &mut cases);
    cases
}

/// Handshakes that many begin at once, and the greeting of one who means it.
const FLOOD: usize = 400;

/// T37: connections that say nothing, or begin a handshake and go no further, keep nobody else out.
fn floods(cases: &mut Vec<Case>) {
    for (what, greets) in [("say nothing", false), ("begin a handshake and stop", true)] {
        for door in ["peers", "https"] {
            cases.push(Case::doing(
                format!("{door}: {FLOOD} connections of one address {what}, and somebody else"),
                move |world| {
                    Box::pin(async move {
                        let flood = flood(world, door, greets).await;
                        let began = Instant::now();
                        let served = match door {
                            "peers" => world
                                .rogue
                                .connect_as(&world.rogue.auth, &world.provider.peers())
                                .await
                                .is_some(),
                            _ => {
                                let ask = Ask::get("/listClients");
                                let tls =
                                    Arc::new(tls::peer_client(world.consumer.pinned.identity()).unwrap());
                                ask.send_tls(&world.consumer.https(), &tls)
                                    .await
                                    .is_some_and(|reply| reply.status == 200)
                            }
                        };
                        let took = began.elapsed();
                        let prompt = served && took < Duration::from_secs(1);
                        drop(flood);
                        Answer::verdict(if prompt { "let through" } else { "kept out" }, format!("{took:?}"))
                    })
                },
                Expected::Verdict("let through".to_owned()),
            ));
        }
    }
}

async fn flood(world: &World, door: &str, greets: bool) -> Vec<TcpStream> {
    let (host, port) =
        if door == "peers" { (world.provider.host, 5500) } else { (world.consumer.host, 8443) };
    let config = tls::peer_client(world.rogue.auth.identity()).unwrap();
    let mut hello = Vec::new();
    let mut connection =
        rustls::ClientConnection::new(Arc::new(config), ServerName::from(IpAddr::from(host))).unwrap();
    connection.write_tls(&mut hello).unwrap();
    let mut held = Vec::with_capacity(FLOOD);
    for _ in 0..FLOOD {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 251, 1, 1), 0).into()).unwrap();
        let mut stream = socket.connect((host, port).into()).await.unwrap();
        if greets {
            stream.write_all(&hello).await.unwrap();
        }
        held.push(stream);
    }
    held
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
