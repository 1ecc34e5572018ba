//! A registered peer that sends spoilt messages, and gives spoilt answers.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what cannot be set up is a failed test")]

use std::sync::Arc;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use gateway::message::transport::part;
use integration::world::{AnswerPlan, Ask, Envelope, FAKE, RECORDS, World};

type Spoil = fn(&mut Envelope);

fn swap(envelope: &mut Envelope, one: &str, other: &str) {
    let (one, other) = (envelope.place(one), envelope.place(other));
    envelope.parts.swap(one, other);
}

fn flip(content: &mut [u8]) {
    if let Some(byte) = content.get_mut(content.len() / 2) {
        *byte ^= 1;
    }
}

/// Changes the digest value of a hash chain that names `part`.
fn spoil_signature_value(envelope: &mut Envelope) {
    envelope.change(part::SIGNATURE, |xml| {
        let text = String::from_utf8(xml.clone()).unwrap();
        let at = text.find("<ds:SignatureValue").unwrap();
        let at = at + text[at..].find('\n').unwrap() + 5;
        xml[at] = if xml[at] == b'A' { b'B' } else { b'A' };
    });
}

/// What is wrong, how it is made, and the code that the sender is told.
const SPOILT: &[(&str, Spoil, &str)] = &[
    (
        "the body was changed in transit",
        |e| e.change(part::REST_BODY, |body| flip(body)),
        "signature_verification.malformed_signature.invalid_hash_chain",
    ),
    (
        "the body was cut",
        |e| e.change(part::REST_BODY, |body| body.truncate(3)),
        "signature_verification.malformed_signature.invalid_hash_chain",
    ),
    (
        "the message part was changed",
        |e| e.replace(part::REST_REQUEST, "/x\r\n", "/y\r\n"),
        "signature_verification.malformed_signature.invalid_hash_chain",
    ),
    (
        "the body was taken away",
        |e| e.remove(part::REST_BODY),
        "signature_verification.malformed_signature.invalid_reference",
    ),
    (
        "the hash chain was taken away",
        |e| e.remove(part::HASH_CHAIN),
        "signature_verification.malformed_signature.invalid_reference",
    ),
    (
        "the result was taken away",
        |e| e.remove(part::HASH_CHAIN_RESULT),
        "signature_verification.internal_error",
    ),
    (
        "chain and result were taken away",
        |e| {
            e.remove(part::HASH_CHAIN);
            e.remove(part::HASH_CHAIN_RESULT)
        },
        "signature_verification.internal_error",
    ),
    (
        "two inputs of the chain were swapped",
        |e| {
            e.replace(part::HASH_CHAIN, "/message.xml", "/swap");
            e.replace(part::HASH_CHAIN, "/attachment1", "/message.xml");
            e.replace(part::HASH_CHAIN, "/swap", "/attachment1")
        },
        "signature_verification.malformed_signature.invalid_hash_chain",
    ),
    (
        "the result was changed",
        |e| {
            e.change(part::HASH_CHAIN_RESULT, |xml| {
                let at = xml.len() - 60;
                flip(&mut xml[at..])
            })
        },
        "signature_verification",
    ),
    ("the signature was taken away", |e| e.remove(part::SIGNATURE), "missing_signature"),
    ("the signature is empty", |e| e.change(part::SIGNATURE, Vec::clear), "signature_verification"),
    (
        "the signature was cut off",
        |e| e.change(part::SIGNATURE, |xml| xml.truncate(xml.len() / 2)),
        "signature_verification",
    ),
    (
        "the signature value was changed",
        spoil_signature_value,
        "signature_verification.invalid_signature_value",
    ),
    (
        "there are two signatures in one part",
        |e| {
            e.change(part::SIGNATURE, |xml| {
                let text = String::from_utf8(xml.clone()).unwrap();
                let from = text.find("<ds:Signature ").unwrap();
                let end = text.find("</asic:").unwrap();
                xml.splice(end..end, text.as_bytes()[from..end].to_vec());
            })
        },
        "signature_verification",
    ),
    (
        "the signature part stands there twice",
        |e| e.double(part::SIGNATURE),
        "service_failed.invalid_message",
    ),
    (
        "the algorithm is SHA-1",
        |e| {
            e.replace(
                part::SIGNATURE,
                "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
                "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1",
            )
        },
        "signature_verification",
    ),
    ("the body stands there twice", |e| e.double(part::REST_BODY), "service_failed.invalid_content_type"),
    (
        "the message part stands there twice",
        |e| e.double(part::REST_REQUEST),
        "service_failed.invalid_content_type",
    ),
    (
        "the hash chain stands there twice",
        |e| e.double(part::HASH_CHAIN),
        "service_failed.invalid_content_type",
    ),
    (
        "body and message changed places",
        |e| swap(e, part::REST_REQUEST, part::REST_BODY),
        "service_failed.invalid_content_type",
    ),
    (
        "chain and result changed places",
        |e| swap(e, part::HASH_CHAIN, part::HASH_CHAIN_RESULT),
        "service_failed.invalid_content_type",
    ),
    (
        "signature and body changed places",
        |e| swap(e, part::SIGNATURE, part::REST_BODY),
        "service_failed.invalid_message",
    ),
    (
        "a part of an unknown kind",
        |e| e.parts.insert(2, ("application/unheard-of".to_owned(), "x".into())),
        "service_failed.invalid_content_type",
    ),
    ("no message part", |e| e.remove(part::REST_REQUEST), "service_failed.invalid_content_type"),
    ("no part at all", |e| e.parts.clear(), ""),
    ("the last boundary is missing", |e| e.cut_short = 12, "service_failed.mime_parsing_failed"),
    (
        "the signature is cut off with its boundary",
        |e| e.cut_short = 200,
        "service_failed.mime_parsing_failed",
    ),
    ("another boundary is announced", |e| e.headers[0].1 = "multipart/mixed; boundary=other".to_owned(), ""),
    (
        "two boundaries are announced",
        |e| e.headers[0].1.push_str("; boundary=other"),
        "service_failed.mime_parsing_failed",
    ),
    (
        "no content type",
        |e| {
            e.headers.remove(0);
        },
        "",
    ),
    (
        "no digest algorithm",
        |e| {
            e.headers.remove(1);
        },
        "internal_error",
    ),
    (
        "another request id in HTTP",
        |e| e.headers.last_mut().unwrap().1 = "other".to_owned(),
        "internal_error",
    ),
    (
        "the message part is no request",
        |e| e.change(part::REST_REQUEST, |part| *part = b"nonsense".to_vec()),
        "service_failed.internal_error",
    ),
    (
        "a line feed alone in the message part",
        |e| e.replace(part::REST_REQUEST, "\r\n", "\n"),
        "signature_verification.malformed_signature.invalid_hash_chain",
    ),
    (
        "a dot segment in the service path",
        |e| e.replace(part::REST_REQUEST, "/x\r\n", "/../x\r\n"),
        "access_denied",
    ),
    (
        "an encoded slash in the service path",
        |e| e.replace(part::REST_REQUEST, "/x\r\n", "/a%2fx\r\n"),
        "access_denied",
    ),
    (
        "another provider",
        |e| e.replace(part::REST_REQUEST, "GOV/2002/registry", "GOV/1001/portal"),
        "service_failed.unknown_member",
    ),
    (
        "another client of another server",
        |e| e.replace(part::REST_REQUEST, "DEMO/GOV/3003/other", "DEMO/GOV/1001/portal"),
        "service_failed.ssl_authentication_failed",
    ),
    (
        "a client of its own without rights",
        |e| e.replace(part::REST_REQUEST, "DEMO/GOV/3003/other", "DEMO/GOV/3003/fake"),
        "access_denied",
    ),
    (
        "an unknown service",
        |e| e.replace(part::REST_REQUEST, "registry/records", "registry/nothing"),
        "unknown_service",
    ),
    (
        "an OCSP response that is none",
        |e| e.change(part::OCSP_RESPONSE, |der| *der = b"nonsense".to_vec()),
        "service_failed.ssl_authentication_failed",
    ),
];

#[tokio::test]
async fn no_spoilt_message_reaches_the_service_or_the_log() {
    let world = World::start().await;
    let peers = world.provider.peers();
    let target = format!("{RECORDS}/x");
    let good = world
        .rogue
        .request(&world.trust, "POST", &target, "unspoilt", Some(b"the body of the message"))
        .await;
    let mut wrong = Vec::new();
    for (what, spoil, code) in SPOILT {
        let mut envelope = good.clone();
        spoil(&mut envelope);
        let reply = world.rogue.send(&peers, &envelope).await;
        let fault = reply.as_ref().and_then(|reply| reply.fault()).unwrap_or_else(|| "none".to_owned());
        if !fault.starts_with(&format!("server.serverproxy.{code}"))
            || reply.is_some_and(|reply| reply.is_signed())
        {
            wrong.push(format!("{what}: {fault}, not {code}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(
        (world.service.calls(), world.provider.messages()),
        (0, 0),
        "nothing is forwarded, nothing believed"
    );

    let reply = world.rogue.send(&peers, &good).await.unwrap();
    assert_eq!((reply.fault(), reply.is_signed()), (None, true), "the message was good before it was spoilt");
    world.is_alive().await;
}

#[tokio::test]
async fn what_stands_beside_a_message_and_behind_it_is_judged_too() {
    let world = World::start().await;
    let peers = world.provider.peers();
    let good =
        world.rogue.request(&world.trust, "POST", &format!("{RECORDS}/x"), "beside", Some(b"body")).await;
    for header in ["content-type", "x-hash-algorithm", "x-road-request-id"] {
        let mut envelope = good.clone();
        let twice = envelope.headers.iter().find(|(name, _)| name == header).unwrap().clone();
        envelope.headers.push(twice);
        let reply = world.rogue.send(&peers, &envelope).await.unwrap();
        assert_eq!((reply.fault().is_some(), reply.is_signed()), (true, false), "{header} twice");
    }
    // More behind the last part than anybody needs, in a piece of its own.
    let (head, body) = (good.bytes(), vec![b'x'; 200_000]);
    let length = format!("Content-Length: {}", good.body().len());
    let longer = format!("Content-Length: {}", good.body().len() + body.len());
    let head = String::from_utf8_lossy(&head[..head.len() - good.body().len()]).replace(&length, &longer);
    let mut line = world.rogue.connect_as(&world.rogue.auth, &peers).await.unwrap();
    let reply = line.send_bytes(&[head.as_bytes(), &good.body(), &body].concat()).await.unwrap();
    assert_eq!(
        (reply.fault().as_deref(), reply.is_signed()),
        (Some("server.serverproxy.service_failed.mime_parsing_failed"), false)
    );
    assert_eq!((world.service.calls(), world.provider.messages()), (0, 0));
    world.is_alive().await;
}

#[tokio::test]
async fn a_peer_that_does_not_post_is_told_so() {
    let world = World::start().await;
    let peers = world.provider.peers();
    let good =
        world.rogue.request(&world.trust, "POST", &format!("{RECORDS}/x"), "posted", Some(b"body")).await;
    let mut line = world.rogue.connect_as(&world.rogue.auth, &peers).await.unwrap();
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let bare = format!("{method} / HTTP/1.1\r\nHost: peer\r\n\r\n");
        let reply = line.send_bytes(bare.as_bytes()).await.unwrap();
        assert_eq!(reply.fault().as_deref(), Some("server.serverproxy.invalid_http_method"), "{method}");
    }
    let mut put = good.clone();
    put.first = put.first.replace("POST", "PUT");
    let reply = world.rogue.send(&peers, &put).await.unwrap();
    assert_eq!(reply.fault().as_deref(), Some("server.serverproxy.invalid_http_method"));
    assert_eq!((world.service.calls(), world.provider.messages()), (0, 0));

    let reply = line.send(&good).await.unwrap();
    assert_eq!((reply.fault(), reply.is_signed()), (None, true), "and is served when it does");
    world.is_alive().await;
}

#[tokio::test]
async fn a_message_that_breaks_off_is_not_acted_on() {
    let world = World::start().await;
    let mut envelope =
        world.rogue.request(&world.trust, "POST", &format!("{RECORDS}/x"), "broken", Some(b"body")).await;
    envelope.broken_off = true;
    let reply = world.rogue.send(&world.provider.peers(), &envelope).await;
    assert!(reply.is_none_or(|reply| !reply.is_signed()));
    assert_eq!((world.service.calls(), world.provider.messages()), (0, 0));
    world.is_alive().await;
}

/// The signature itself is good, but not the one that is wanted.
#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test]
async fn a_good_signature_of_somebody_else_or_over_something_else_is_refused() {
    let world = World::start().await;
    let (rogue, trust, target) = (&world.rogue, &world.trust, format!("{RECORDS}/x"));
    let peers = world.provider.peers();
    let body = Some(b"body".as_slice());
    let own = &rogue.signatory;
    let other_member = world.signatory("1001").await;
    let mut with_auth_key = own.clone();
    with_auth_key.holder = rogue.auth.clone();
    with_auth_key.ocsp = trust.ocsp(&rogue.auth.certificate).await;
    let mut other_ca = own.clone();
    other_ca.holder =
        trust.other.issue(cert_authority::x509::issue::Profile::Sign, "C=DEMO, O=GOV, CN=3003").await;
    let mut without_ocsp_of_its_own = own.clone();
    without_ocsp_of_its_own.ocsp = other_member.ocsp.clone();

    let mut cases = vec![
        (
            "of another member",
            rogue.request_signed(trust, "POST", &target, "1", body, &other_member, |_| {}).await,
            "incorrect_certificate",
        ),
        (
            "by the authentication key",
            rogue.request_signed(trust, "POST", &target, "2", body, &with_auth_key, |_| {}).await,
            "malformed_signature",
        ),
        (
            "by a certificate of another CA",
            rogue.request_signed(trust, "POST", &target, "3", body, &other_ca, |_| {}).await,
            "",
        ),
        (
            "with the OCSP response of another certificate",
            rogue.request_signed(trust, "POST", &target, "4", body, &without_ocsp_of_its_own, |_| {}).await,
            "invalid_cert_path.cert_validation",
        ),
        (
            "over an input that is not there",
            rogue
                .request_signed(trust, "POST", &target, "5", body, own, |digests| {
                    digests.attachments.push(digest(DigestAlgorithm::Sha512, b"unseen"))
                })
                .await,
            "malformed_signature",
        ),
        (
            "over the body alone",
            rogue
                .request_signed(trust, "POST", &target, "6", body, own, |digests| {
                    digests.message = digests.attachments.remove(0)
                })
                .await,
            "",
        ),
        (
            "over the message part alone, though there is a body",
            rogue
                .request_signed(trust, "POST", &target, "7", body, own, |digests| digests.attachments.clear())
                .await,
            "malformed_signature",
        ),
        (
            "over both, in the places of each other",
            rogue
                .request_signed(trust, "POST", &target, "8", body, own, |digests| {
                    std::mem::swap(&mut digests.message, &mut digests.attachments[0])
                })
                .await,
            "malformed_signature.invalid_hash_chain",
        ),
        (
            "over another message",
            rogue
                .request_signed(trust, "GET", &target, "9", None, own, |digests| {
                    digests.message = digest(DigestAlgorithm::Sha512, b"other")
                })
                .await,
            "invalid_signature_value",
        ),
    ];
    let mut of_another = rogue.request(trust, "GET", &target, "10", None).await;
    let another = rogue.request(trust, "GET", &format!("{target}/other"), "11", None).await;
    let (to, from) = (of_another.place(part::SIGNATURE), another.place(part::SIGNATURE));
    of_another.parts[to] = another.parts[from].clone();
    cases.push(("taken from another message", of_another, "invalid_signature_value"));

    let mut wrong = Vec::new();
    for (what, envelope, code) in cases {
        let reply = rogue.send(&peers, &envelope).await.unwrap();
        let fault = reply.fault().unwrap_or_else(|| "none".to_owned());
        if !fault.starts_with(&format!("server.serverproxy.signature_verification.{code}")) {
            wrong.push(format!("a signature {what}: {fault}, not {code}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!((world.service.calls(), world.provider.messages()), (0, 0));
    world.is_alive().await;
}

/// What is wrong with an answer, how it is made, and the code that the information system is told.
#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test]
async fn no_spoilt_answer_is_given_to_the_information_system() {
    let world = World::start().await;
    let other_member = world.signatory("2002").await;
    let envelope = |spoil: Spoil| move |plan: &mut AnswerPlan| plan.envelope = Arc::new(spoil);
    let message = |from: &'static str, to: &'static str| {
        move |plan: &mut AnswerPlan| {
            plan.message = Arc::new(move |text| {
                let low = text.to_ascii_lowercase();
                let at = low.find(from).unwrap_or_else(|| panic!("{from} is not in {text}"));
                let end = at + text[at..].find("\r\n").unwrap();
                format!("{}{to}{}", &text[..at], &text[end..])
            });
        }
    };
    type Change = Box<dyn Fn(&mut AnswerPlan)>;
    let cases: Vec<(&str, Change, &str)> = vec![
        (
            "of another client",
            Box::new(message("x-road-client:", "x-road-client:DEMO/GOV/1001/pinned")),
            "inconsistent_response",
        ),
        ("to another message", Box::new(message("x-road-id:", "x-road-id:another")), "inconsistent_response"),
        (
            "of another service",
            Box::new(message("x-road-service:", "x-road-service:DEMO/GOV/3003/fake/other")),
            "inconsistent_response",
        ),
        (
            "of another exchange",
            Box::new(message("x-road-request-id:", "x-road-request-id:another")),
            "inconsistent_response",
        ),
        (
            "to another request",
            Box::new(message("x-road-request-hash:", "x-road-request-hash:AAAA")),
            "inconsistent_response",
        ),
        (
            "without a request hash",
            Box::new(message("x-road-request-hash:", "x-other:AAAA")),
            "service_failed.internal_error",
        ),
        (
            "signed by another member",
            Box::new(move |plan| plan.signatory = other_member.clone()),
            "signature_verification.incorrect_certificate",
        ),
        (
            "signed over something else",
            Box::new(|plan| {
                plan.digests = Arc::new(|digests| digests.message = digest(DigestAlgorithm::Sha512, b"other"))
            }),
            "signature_verification.malformed_signature",
        ),
        (
            "with a changed body",
            Box::new(envelope(|e| e.change(part::REST_BODY, |body| flip(body)))),
            "signature_verification.malformed_signature",
        ),
        (
            "with a changed message part",
            Box::new(envelope(|e| e.replace(part::REST_RESPONSE, "X-From", "X-Fram"))),
            "signature_verification.malformed_signature",
        ),
        ("without a signature", Box::new(envelope(|e| e.remove(part::SIGNATURE))), "missing_signature"),
        (
            "with two signatures",
            Box::new(envelope(|e| e.double(part::SIGNATURE))),
            "service_failed.invalid_message",
        ),
        (
            "with two bodies",
            Box::new(envelope(|e| e.double(part::REST_BODY))),
            "service_failed.invalid_content_type",
        ),
        (
            "out of order",
            Box::new(envelope(|e| swap(e, part::REST_BODY, part::REST_RESPONSE))),
            "service_failed.invalid_content_type",
        ),
        ("cut short", Box::new(envelope(|e| e.cut_short = 30)), "service_failed.mime_parsing_failed"),
        ("that breaks off", Box::new(envelope(|e| e.broken_off = true)), "service_failed.io_error"),
        (
            "that is no multipart",
            Box::new(envelope(|e| e.headers[0].1 = "text/plain".to_owned())),
            "service_failed",
        ),
        (
            "that is an unreadable fault",
            Box::new(envelope(|e| e.headers[0].1 = "text/xml".to_owned())),
            "invalid_soap",
        ),
        (
            "without a digest algorithm",
            Box::new(envelope(|e| {
                e.headers.remove(1);
            })),
            "internal_error",
        ),
        ("of nothing", Box::new(|plan| plan.silent = true), "io_error"),
    ];
    let mut wrong = Vec::new();
    for (n, (what, change, code)) in cases.into_iter().enumerate() {
        world.rogue.plan(change);
        let (id, calls) = (format!("spoilt-{n}"), world.rogue.calls());
        let reply = world.ask(&Ask::post(FAKE, "question").id(&id)).await;
        let code = format!("server.clientproxy.{code}");
        let error = reply.error().unwrap_or("none").to_owned();
        if reply.status != 500 || !error.starts_with(&code) || reply.text().contains("rogue peer") {
            wrong.push(format!("an answer {what}: {} {error}, not {code}", reply.status));
        }
        if world.rogue.calls() != calls + 1 {
            wrong.push(format!("an answer {what}: sent {} times", world.rogue.calls() - calls));
        }
        let trace = world.consumer.trace(&id);
        if trace.len() != 2 || trace[0] != "request" || trace[1] != format!("in doubt {error}") {
            wrong.push(format!("an answer {what}: logged as {trace:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    world.rogue.plan(|_| {});
    assert_eq!(world.ask(&Ask::post(FAKE, "question")).await.status, 200, "the same peer may mend its ways");
    world.is_alive().await;
}
