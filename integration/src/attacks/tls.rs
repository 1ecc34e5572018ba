//! Who is at the other end (T01 to T05): certificates that no server shows, and OCSP responses that prove nothing, on
//! every way that they come: with a peer's message, beside a provider, inside a signature in either direction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::Clock as _;
use cert_authority::ocsp::{CertId, CertStatus, SingleResponse};
use cert_authority::x509::Certificate;
use cert_authority::x509::issue::Profile;
use gateway::message::transport::part;

use super::case::{Answer, Case, Evidence, Expected, asking, serving};
use crate::world::{Ask, FAKE, Holder, OcspMode, RECORDS, Signatory, World};

const UNTRUSTED: &str = "service_failed.ssl_authentication_failed";
const SUBJECT: &str = "C=DEMO, CN=ss3";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A certificate that somebody shows, and the OCSP response that goes with it.
struct Shown {
    what: String,
    holder: Holder,
    ocsp: Bytes,
    /// Whether the configuration has it for the rogue peer's server.
    is_registered: bool,
}

impl Shown {
    /// Shown by a peer that sends a message, and by a provider that is asked.
    fn both_ways(self, cases: &mut Vec<Case>) {
        let Self { what, holder, ocsp, is_registered } = self;
        let expected = if is_registered { serving(UNTRUSTED) } else { Expected::Closed };
        cases.push(as_sender(
            format!("a peer shows a certificate {what}"),
            holder.clone(),
            ocsp.clone(),
            expected,
        ));
        let name = format!("a provider shows a certificate {what}");
        cases.push(as_provider(name, holder, ocsp, asking("ssl_authentication_failed")));
    }
}

fn as_sender(name: String, holder: Holder, ocsp: Bytes, expected: Expected) -> Case {
    Case::doing(
        name,
        move |world| {
            let (holder, ocsp) = (holder.clone(), ocsp.clone());
            Box::pin(async move {
                let target = format!("{RECORDS}/x");
                let mut message =
                    world.rogue.request(&world.trust, "POST", &target, "shown", Some(b"body")).await;
                message.change(part::OCSP_RESPONSE, |der| *der = ocsp.to_vec());
                Answer::of_peer(
                    world.rogue.send_as(&holder, &world.provider.peers(), &message).await.as_ref(),
                )
            })
        },
        expected,
    )
}

/// The rogue peer must not be sent a byte either.
fn as_provider(name: String, holder: Holder, ocsp: Bytes, expected: Expected) -> Case {
    Case::doing(
        name,
        move |world| {
            let (holder, ocsp) = (holder.clone(), ocsp.clone());
            Box::pin(async move {
                world.rogue.show(&holder, ocsp);
                let sent = world.rogue.calls();
                let reply = world.ask(&Ask::post(FAKE, "a secret question")).await;
                world.rogue.show_own(&world.trust).await;
                match world.rogue.calls() - sent {
                    0 => Answer::of_reply(Some(reply)),
                    sent => Answer::verdict("sent", format!("the provider was sent {sent} messages")),
                }
            })
        },
        expected,
    )
}

/// T01, T02: a certificate that is good, in the wrong hands, or no longer.
pub(super) async fn stolen_and_revoked(world: &World) -> (Vec<Case>, Vec<Case>) {
    let (trust, rogue) = (&world.trust, &world.rogue);
    let (mut stolen, mut revoked) = (Vec::new(), Vec::new());
    // Certificates of this world's own gateways, with their keys, from another host: whoever has both is that server,
    // and may still speak for its clients only.
    for (whose, node) in [("the consumer", &world.consumer), ("the provider", &world.provider)] {
        let ocsp = trust.ocsp(&node.auth.certificate).await;
        let name = format!("a peer shows the certificate of {whose}");
        stolen.push(as_sender(name, node.auth.clone(), ocsp.clone(), serving(UNTRUSTED)));
        let name = format!("a provider shows the certificate of {whose}");
        stolen.push(as_provider(name, node.auth.clone(), ocsp, asking("ssl_authentication_failed")));
    }
    // The certificate without its key.
    for (whose, certificate) in [("a peer", &rogue.auth), ("the provider", &world.provider.auth)] {
        let holder = Holder {
            certificate: certificate.certificate.clone(),
            key: trust.other.issue(Profile::Auth, SUBJECT).await.key,
        };
        let ocsp = trust.ocsp(&certificate.certificate).await;
        stolen.push(as_sender(
            format!("the certificate of {whose} without its key"),
            holder,
            ocsp,
            Expected::Closed,
        ));
    }
    for mode in [OcspMode::Revoked, OcspMode::Unknown] {
        let holder = trust.ca.issue(Profile::Auth, SUBJECT).await;
        let ocsp = trust.ocsp_as(&holder.certificate, mode).await;
        register(world, &holder).await;
        let what = format!("that is {mode:?}");
        Shown { what, holder, ocsp, is_registered: true }.both_ways(&mut revoked);
    }
    (stolen, revoked)
}

/// T03: what an OCSP response may be, other than a proof.
pub(super) async fn ocsp(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let ca = &world.trust.ca;
    let holder = ca.issue(Profile::Auth, SUBJECT).await;
    register(world, &holder).await;
    for (what, ocsp, _) in responses(world, &holder.certificate).await {
        let what = format!("whose OCSP response is {what}");
        Shown { what, holder: holder.clone(), ocsp, is_registered: true }.both_ways(&mut cases);
    }
    let signer = world.rogue.signatory.holder.clone();
    for (what, ocsp, code) in responses(world, &signer.certificate).await {
        let code = format!("signature_verification.invalid_cert_path.{code}");
        let signatory = Signatory { holder: signer.clone(), ocsp };
        let target = format!("{RECORDS}/x");
        let message =
            world.rogue.request_signed(&world.trust, "GET", &target, "ocsp", None, &signatory, |_| {}).await;
        cases.push(Case::message(
            format!("a request signed with an OCSP response that is {what}"),
            message,
            serving(&code),
        ));
        let name = format!("an answer signed with an OCSP response that is {what}");
        cases.push(Case::answered(name, move |plan| plan.signatory = signatory.clone(), &code));
    }
    cases
}

/// OCSP responses that prove nothing of a certificate, and the code inside a signature.
async fn responses(world: &World, certificate: &Certificate) -> Vec<(&'static str, Bytes, &'static str)> {
    const NOTHING: &str = "incorrect_validation_info";
    const NO: &str = "cert_validation";
    let (ca, other, now) = (&world.trust.ca, &world.trust.other, world.clock.now());
    let id = CertId::new(DigestAlgorithm::Sha1, certificate, &ca.certificate).unwrap();
    let of_another =
        CertId::new(DigestAlgorithm::Sha1, &world.provider.auth.certificate, &ca.certificate).unwrap();
    let single = |cert_id: &CertId, status, from, to| SingleResponse {
        cert_id: cert_id.clone(),
        status,
        this_update: from,
        next_update: Some(to),
    };
    let good = || single(&id, CertStatus::Good, now, now + HOUR);
    let not_a_responder = ca.issue(Profile::Auth, "CN=No responder").await;
    let of_other_ca = other.issue(Profile::Ocsp, "CN=Responder").await;
    let expired = ca.issue_until(Profile::Ocsp, "CN=Old responder", now - MINUTE).await;
    let whole = ca.respond_as(None, &[good()], now).await;
    let flipped = {
        // Behind the algorithm of the signature stands its value.
        const ECDSA_SHA256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let mut der = whole.to_vec();
        let at = der.windows(10).position(|window| window == ECDSA_SHA256).unwrap();
        der[at + 30] ^= 1;
        Bytes::from(der)
    };
    vec![
        (
            "revoked",
            ca.respond_as(
                None,
                &[single(&id, CertStatus::Revoked { at: now, reason: None }, now, now + HOUR)],
                now,
            )
            .await,
            NO,
        ),
        ("unknown", ca.respond_as(None, &[single(&id, CertStatus::Unknown, now, now + HOUR)], now).await, NO),
        (
            "older than the freshness",
            ca.respond_as(None, &[single(&id, CertStatus::Good, now - 2 * HOUR, now + HOUR)], now).await,
            NOTHING,
        ),
        (
            "of the future",
            ca.respond_as(None, &[single(&id, CertStatus::Good, now + 5 * MINUTE, now + HOUR)], now).await,
            NOTHING,
        ),
        ("of an authority that did not issue it", other.respond_as(None, &[good()], now).await, NOTHING),
        (
            "of somebody whom the authority did not make a responder",
            ca.respond_as(Some(&not_a_responder), &[good()], now).await,
            NOTHING,
        ),
        (
            "of a responder of another authority",
            other.respond_as(Some(&of_other_ca), &[good()], now).await,
            NOTHING,
        ),
        (
            "of a responder whose time has passed",
            ca.respond_as(Some(&expired), &[good()], now).await,
            NOTHING,
        ),
        (
            "about another certificate",
            ca.respond_as(None, &[single(&of_another, CertStatus::Good, now, now + HOUR)], now).await,
            NO,
        ),
        ("about nothing", ca.respond_as(None, &[], now).await, NO),
        ("changed in its signature", flipped, NOTHING),
        ("cut off", whole.slice(..whole.len() / 2), NOTHING),
        ("empty", Bytes::new(), NOTHING),
        ("nonsense", Bytes::from_static(b"nonsense"), NOTHING),
        ("an error status", Bytes::from_static(&[0x30, 0x03, 0x0a, 0x01, 0x06]), NOTHING),
    ]
}

/// T04: servers that the configuration does not know.
pub(super) async fn strangers(world: &World) -> Vec<Case> {
    let trust = &world.trust;
    let mut cases = Vec::new();
    let ended = world.clock.now() - MINUTE;
    for (what, holder, is_registered) in [
        ("of no server", trust.ca.issue(Profile::Auth, SUBJECT).await, false),
        ("of no server, with another subject", trust.ca.issue(Profile::Auth, "CN=anybody").await, false),
        (
            "with the subject of the consumer's server",
            trust.ca.issue(Profile::Auth, "C=DEMO, CN=ss1").await,
            false,
        ),
        ("of another authority", trust.other.issue(Profile::Auth, SUBJECT).await, true),
        ("of another authority and no server", trust.other.issue(Profile::Auth, SUBJECT).await, false),
        ("that has expired", trust.ca.issue_until(Profile::Auth, SUBJECT, ended).await, true),
        ("that has expired, of no server", trust.ca.issue_until(Profile::Auth, SUBJECT, ended).await, false),
        ("for signing", trust.ca.issue(Profile::Sign, SUBJECT).await, true),
        ("for signing, of its own member", world.rogue.signatory.holder.clone(), false),
        ("for OCSP responses", trust.ca.issue(Profile::Ocsp, SUBJECT).await, false),
        ("for time-stamps", trust.ca.issue(Profile::Tsa, SUBJECT).await, false),
        ("of an authority", trust.ca.issue(Profile::RootCa { path_len: None }, SUBJECT).await, false),
    ] {
        if is_registered {
            register(world, &holder).await;
        }
        let ocsp = trust.ocsp(&holder.certificate).await;
        Shown { what: what.to_owned(), holder, ocsp, is_registered }.both_ways(&mut cases);
    }
    // With the bytes of a message, and without TLS at all.
    let good = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "plain", None).await.bytes();
    for (what, bytes) in
        [("a message", good), ("nonsense", b"nonsense\r\n\r\n".to_vec()), ("a bare line", b"\r\n".to_vec())]
    {
        cases.push(Case::doing(
            format!("{what} to the peers' door without TLS"),
            move |world| {
                let bytes = bytes.clone();
                Box::pin(async move { super::wire::without_tls(&world.provider.peers(), &bytes).await })
            },
            Expected::Verdict("ended without HTTP".to_owned()),
        ));
    }
    cases
}

/// T05: clients that do not belong to the server that speaks for them.
pub(super) async fn clients(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for (client, code) in [
        ("DEMO/GOV/1001/portal", UNTRUSTED),
        ("DEMO/GOV/1001/pinned", UNTRUSTED),
        ("DEMO/GOV/1001", UNTRUSTED),
        ("DEMO/GOV/2002/registry", UNTRUSTED),
        ("DEMO/GOV/3003/nobody", UNTRUSTED),
        ("DEMO/GOV/3003/OTHER", UNTRUSTED),
        ("DEMO/gov/3003/other", UNTRUSTED),
        ("demo/GOV/3003/other", UNTRUSTED),
        ("DEMO/GOV/9999/other", UNTRUSTED),
        ("OTHER/GOV/3003/other", UNTRUSTED),
        ("DEMO/GOV/3003/other%00", UNTRUSTED),
        ("DEMO/GOV/3003/%e2%80%8bother", UNTRUSTED),
        ("DEMO/GOV/3003/fake", "access_denied"),
        ("DEMO/GOV/3003", "access_denied"),
    ] {
        let message = super::headers::written(world, "DEMO/GOV/3003/other", client).await;
        cases.push(Case::message(format!("the rogue peer speaks for {client}"), message, serving(code)));
    }
    for client in [
        "DEMO/GOV/2002/registry",
        "DEMO/GOV/3003/other",
        "DEMO/GOV/9999/x",
        "DEMO/GOV/1001/nobody",
        "OTHER/GOV/1001/portal",
    ] {
        let ask = Ask::get(&format!("{RECORDS}/x")).client(client);
        cases.push(Case::ask(
            format!("an information system speaks for {client}"),
            ask,
            asking("unknown_member"),
        ));
    }
    let ask = Ask::get(&format!("{RECORDS}/x")).client("DEMO/GOV/1001");
    let name = "an information system without certificate speaks for the owner";
    cases.push(Case::ask(name, ask, asking("ssl_authentication_failed")));
    cases
}

/// The configuration has it for the rogue peer's server from now on.
async fn register(world: &World, holder: &Holder) {
    let hash = holder.hash();
    let add = |shared: &mut conf::shared_params::SharedParams| {
        let server = shared.servers.iter_mut().find(|server| server.code == "ss3").unwrap();
        server.auth_cert_hashes.push(hash);
    };
    world.publish(add).await;
}

/// T09: answers that are good, and belong to something else.
pub(super) async fn answers(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, header, value, code) in [
        (
            "of another client",
            "x-road-client:",
            "x-road-client:DEMO/GOV/1001/pinned",
            "inconsistent_response",
        ),
        (
            "of a client in other letters",
            "x-road-client:",
            "x-road-client:DEMO/GOV/1001/PORTAL",
            "inconsistent_response",
        ),
        ("of no client", "x-road-client:", "x-other:a", "inconsistent_response"),
        (
            "of a client that is none",
            "x-road-client:",
            "x-road-client:nobody",
            "service_failed.internal_error",
        ),
        ("to another message", "x-road-id:", "x-road-id:another", "inconsistent_response"),
        ("to no message", "x-road-id:", "x-other:a", "service_failed.internal_error"),
        ("to an empty message id", "x-road-id:", "x-road-id:", "service_failed.internal_error"),
        (
            "of another service",
            "x-road-service:",
            "x-road-service:DEMO/GOV/3003/fake/other",
            "inconsistent_response",
        ),
        (
            "of another member's service",
            "x-road-service:",
            "x-road-service:DEMO/GOV/2002/registry/records",
            "inconsistent_response",
        ),
        ("of no service", "x-road-service:", "x-other:a", "inconsistent_response"),
        (
            "of a service that is none",
            "x-road-service:",
            "x-road-service:DEMO",
            "service_failed.internal_error",
        ),
        ("of another exchange", "x-road-request-id:", "x-road-request-id:another", "inconsistent_response"),
        ("of no exchange", "x-road-request-id:", "x-other:a", "inconsistent_response"),
        ("to another request", "x-road-request-hash:", "x-road-request-hash:AAAA", "inconsistent_response"),
        ("to an empty hash", "x-road-request-hash:", "x-road-request-hash:", "service_failed.internal_error"),
        ("without a request hash", "x-road-request-hash:", "x-other:AAAA", "service_failed.internal_error"),
        (
            "with another answer's hash behind the good one",
            "x-road-request-hash:",
            "+x-road-request-hash:AAAA",
            "inconsistent_response",
        ),
        ("with another id behind the good one", "x-road-id:", "+x-road-id:another", "inconsistent_response"),
        (
            "with another client behind the good one",
            "x-road-client:",
            "+x-road-client:DEMO/GOV/1001/pinned",
            "inconsistent_response",
        ),
    ] {
        let change = Arc::new(move |text: String| {
            let at = text.to_ascii_lowercase().find(header).expect("it is there");
            let end = at + text[at..].find("\r\n").unwrap();
            let (kept, value) = match value.strip_prefix('+') {
                Some(value) => (&text[..end], format!("\r\n{value}")),
                None => (&text[..at], value.to_owned()),
            };
            format!("{kept}{value}{}", &text[end..])
        });
        cases.push(Case::answered(
            format!("an answer {what}"),
            move |plan| plan.message = change.clone(),
            code,
        ));
    }
    for (what, status) in [
        ("an interim status", "101"),
        ("a status of four digits", "2000"),
        ("a status of letters", "abc"),
        ("no status", ""),
        ("a negative status", "-20"),
    ] {
        let change = Arc::new(move |text: String| text.replacen("200\r\n", &format!("{status}\r\n"), 1));
        let name = format!("an answer with {what}");
        cases.push(Case::answered(
            name,
            move |plan| plan.message = change.clone(),
            "service_failed.internal_error",
        ));
    }
    // What was a good answer to an earlier request.
    let earlier = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&earlier);
    world.rogue.plan(move |plan| {
        plan.envelope = Arc::new(move |envelope| *crate::world::lock(&keep) = Some(envelope.clone()));
    });
    let reply = world.ask(&Ask::post(FAKE, "question")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let earlier = crate::world::lock(&earlier).take().unwrap();
    cases.push(Case::answered(
        "the answer to an earlier request",
        move |plan| {
            let earlier = earlier.clone();
            plan.envelope = Arc::new(move |envelope| *envelope = earlier.clone());
        },
        "inconsistent_response",
    ));
    cases.push(Case::answered("no answer", |plan| plan.silent = true, "io_error"));
    cases.iter_mut().for_each(|case| case.evidence = Evidence::InDoubt);
    cases
}
