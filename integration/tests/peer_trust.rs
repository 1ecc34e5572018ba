//! Whom a gateway trusts at the other end of a connection, and for how long.
#![expect(clippy::unwrap_used, reason = "what cannot be set up is a failed test")]

use std::time::Duration;

use bytes::Bytes;
use cert_authority::clock::Clock as _;
use cert_authority::keys::inventory::Usage;
use cert_authority::x509::issue::Profile;
use conf::shared_params::SharedParams;
use gateway::message::transport::part;
use integration::world::{Ask, FAKE, Holder, OcspMode, RECORDS, Signatory, Wishes, World, within};

const UNTRUSTED_PEER: &str = "server.serverproxy.service_failed.ssl_authentication_failed";
const NOT_REGISTERED: &str = "server.serverproxy.ssl_authentication_failed";
const UNTRUSTED_PROVIDER: &str = "server.clientproxy.ssl_authentication_failed";

/// What responders may say of a certificate that is otherwise good.
const BAD_OCSP: [OcspMode; 5] =
    [OcspMode::Revoked, OcspMode::Unknown, OcspMode::TooOld, OcspMode::Future, OcspMode::WrongSigner];

/// A certificate of the rogue peer, its OCSP response, and whether the configuration has it.
struct Shown {
    what: String,
    holder: Holder,
    ocsp: Bytes,
    is_registered: bool,
}

async fn bad_certificates(world: &World) -> Vec<Shown> {
    let (trust, subject) = (&world.trust, "C=DEMO, CN=ss3");
    let good = |holder: Holder, what: &str, is_registered| {
        let what = what.to_owned();
        async move {
            let ocsp = trust.ocsp(&holder.certificate).await;
            Shown { what, holder, ocsp, is_registered }
        }
    };
    let ended = world.clock.now() - Duration::from_secs(60);
    let mut shown = vec![
        good(trust.ca.issue(Profile::Auth, subject).await, "of no server", false).await,
        good(trust.other.issue(Profile::Auth, subject).await, "of another CA", true).await,
        good(trust.other.issue(Profile::Auth, subject).await, "of another CA and no server", false).await,
        good(trust.ca.issue_until(Profile::Auth, subject, ended).await, "that has expired", true).await,
        good(trust.ca.issue(Profile::Sign, subject).await, "for signing", true).await,
    ];
    for mode in BAD_OCSP {
        let holder = trust.ca.issue(Profile::Auth, subject).await;
        let ocsp = trust.ocsp_as(&holder.certificate, mode).await;
        shown.push(Shown {
            what: format!("whose OCSP response is {mode:?}"),
            holder,
            ocsp,
            is_registered: true,
        });
    }
    let holder = trust.ca.issue(Profile::Auth, subject).await;
    let ocsp = trust.ocsp(&world.rogue.auth.certificate).await;
    shown.push(Shown {
        what: "with the OCSP response of another".to_owned(),
        holder,
        ocsp,
        is_registered: true,
    });
    let holder = trust.ca.issue(Profile::Auth, subject).await;
    shown.push(Shown {
        what: "with nonsense for OCSP".to_owned(),
        holder,
        ocsp: "nonsense".into(),
        is_registered: true,
    });
    shown
}

fn register(shared: &mut SharedParams, all: &[Shown]) {
    let server = shared.servers.iter_mut().find(|server| server.code == "ss3").unwrap();
    server.auth_cert_hashes.extend(all.iter().filter(|one| one.is_registered).map(|one| one.holder.hash()));
}

#[tokio::test]
async fn a_message_over_a_certificate_that_is_no_good_goes_nowhere() {
    let world = World::start().await;
    let all = bad_certificates(&world).await;
    world.publish(|shared| register(shared, &all)).await;
    let good =
        world.rogue.request(&world.trust, "POST", &format!("{RECORDS}/x"), "trust", Some(b"body")).await;
    let mut wrong = Vec::new();
    for shown in &all {
        let mut envelope = good.clone();
        envelope.change(part::OCSP_RESPONSE, |der| *der = shown.ocsp.to_vec());
        let reply = world.rogue.send_as(&shown.holder, &world.provider.peers(), &envelope).await;
        let fault = reply.as_ref().and_then(|reply| reply.fault());
        let fine = match &fault {
            Some(code) => shown.is_registered && code == UNTRUSTED_PEER,
            None => !shown.is_registered && reply.is_none(),
        };
        if !fine {
            wrong.push(format!("a certificate {}: {fault:?}", shown.what));
        }
    }
    let mut without = good.clone();
    without.remove(part::OCSP_RESPONSE);
    let unheard_of = world.trust.ca.issue(Profile::Auth, "C=DEMO, CN=ss3").await;
    let hash = unheard_of.hash();
    world.publish(|shared| shared.servers[2].auth_cert_hashes.push(hash)).await;
    let reply = world.rogue.send_as(&unheard_of, &world.provider.peers(), &without).await.unwrap();
    assert_eq!(reply.fault().as_deref(), Some(UNTRUSTED_PEER), "without any OCSP response");

    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!((world.service.calls(), world.provider.messages()), (0, 0));
    let reply = world.rogue.send(&world.provider.peers(), &good).await.unwrap();
    assert_eq!((reply.fault(), reply.is_signed()), (None, true));
    world.is_alive().await;
}

#[tokio::test]
async fn each_message_brings_its_ocsp_response_whatever_is_known_of_its_sender() {
    let world = World::start().await;
    let peers = world.provider.peers();
    let good = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "brought", None).await;
    let mut without = good.clone();
    without.remove(part::OCSP_RESPONSE);
    assert!(world.rogue.send(&peers, &good).await.unwrap().is_signed());
    let (calls, messages) = (world.service.calls(), world.provider.messages());
    let reply = world.rogue.send(&peers, &without).await.unwrap();
    assert_eq!((reply.fault().as_deref(), reply.is_signed()), (Some(UNTRUSTED_PEER), false));
    assert_eq!((world.service.calls(), world.provider.messages()), (calls, messages));
}

#[tokio::test]
async fn no_message_leaves_for_a_provider_whose_certificate_is_no_good() {
    let world = World::start().await;
    let all = bad_certificates(&world).await;
    world.publish(|shared| register(shared, &all)).await;
    let mut wrong = Vec::new();
    for (n, shown) in all.iter().enumerate() {
        world.rogue.show(&shown.holder, shown.ocsp.clone());
        let id = format!("to-{n}");
        let reply = world.ask(&Ask::post(FAKE, "a secret question").id(&id)).await;
        if (reply.status, reply.error()) != (500, Some(UNTRUSTED_PROVIDER)) {
            wrong.push(format!("a certificate {}: {:?} {}", shown.what, reply.error(), reply.text()));
        }
        if world.consumer.trace(&id) != Vec::<String>::new() {
            wrong.push(format!("a certificate {}: logged as {:?}", shown.what, world.consumer.trace(&id)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(world.rogue.calls(), 0, "nothing has been sent");

    // The certificate of a server that is registered, but does not serve this provider.
    let of_another = world.provider.auth.clone();
    world.rogue.show(&of_another, world.trust.ocsp(&of_another.certificate).await);
    let reply = world.ask(&Ask::post(FAKE, "a secret question")).await;
    assert_eq!((reply.error(), world.rogue.calls()), (Some(UNTRUSTED_PROVIDER), 0));

    world.rogue.show_own(&world.trust).await;
    assert_eq!(world.ask(&Ask::post(FAKE, "question")).await.status, 200);
    world.is_alive().await;
}

#[tokio::test]
async fn a_kept_connection_does_not_outlive_the_registration_of_its_peer() {
    let world = World::start().await;
    let peers = world.provider.peers();
    let mut requests = Vec::new();
    for id in ["1", "2", "3"] {
        requests.push(world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), id, None).await);
    }
    let mut line = world.rogue.connect_as(&world.rogue.auth, &peers).await.unwrap();
    assert!(line.send(&requests[0]).await.unwrap().is_signed());
    assert!(line.send(&requests[1]).await.unwrap().is_signed(), "the connection is kept");
    assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200, "and so is one in the other direction");
    let (calls, sent) = (world.service.calls(), world.rogue.calls());

    world.publish(|shared| shared.servers[2].auth_cert_hashes.clear()).await;
    let reply = line.send(&requests[2]).await;
    assert!(reply.is_none_or(|reply| reply.fault().as_deref() == Some(NOT_REGISTERED)));
    assert!(world.rogue.send(&peers, &requests[2]).await.is_none(), "nor is a new connection let in");
    let reply = world.ask(&Ask::get(FAKE).id("gone")).await;
    assert_eq!(reply.error(), Some(UNTRUSTED_PROVIDER));
    assert_eq!((world.service.calls(), world.rogue.calls()), (calls, sent));
    assert_eq!(world.consumer.trace("gone"), Vec::<String>::new());
    world.is_alive().await;

    let hash = world.rogue.auth.hash();
    world.publish(|shared| shared.servers[2].auth_cert_hashes.push(hash)).await;
    assert!(world.rogue.send(&peers, &requests[2]).await.unwrap().is_signed(), "registered again");
    assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200);
}

#[tokio::test]
async fn a_revoked_authentication_certificate_is_refused_once_what_was_known_is_too_old() {
    let world = World::start().await;
    world.is_alive().await;
    world.trust.say(&world.provider.auth.certificate, OcspMode::Revoked);
    world.renew_ocsp((true, false)).await;
    assert!(world.provider.is_well(false).await.contains("OCSP"));
    world.clock.advance(Duration::from_secs(3600));
    world.renew_ocsp((true, false)).await;
    let calls = world.service.calls();
    let reply = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("revoked")).await;
    assert_eq!((reply.status, reply.error()), (500, Some(UNTRUSTED_PROVIDER)), "{}", reply.text());
    assert_eq!((world.service.calls(), world.provider.trace("revoked")), (calls, Vec::new()));

    // A suspension that is lifted.
    world.trust.say(&world.provider.auth.certificate, OcspMode::Good);
    world.renew_ocsp((true, true)).await;
    world.is_alive().await;
}

#[tokio::test]
async fn a_gateway_whose_signing_certificate_is_not_proven_good_signs_nothing() {
    let world = World::start().await;
    world.is_alive().await;
    for (mode, kept) in [
        (OcspMode::Revoked, false),
        (OcspMode::Down, true),
        (OcspMode::Unknown, true),
        (OcspMode::WrongSigner, true),
    ] {
        world.trust.say(&world.consumer.sign.certificate, mode);
        world.renew_ocsp((false, true)).await;
        if kept {
            world.is_alive().await; // what it had still holds
            world.clock.advance(Duration::from_secs(3600));
            world.renew_ocsp((false, true)).await;
        }
        let (calls, id) = (world.service.calls(), format!("unproven-{mode:?}"));
        let reply = world.ask(&Ask::get(&format!("{RECORDS}/x")).id(&id)).await;
        assert_eq!(
            reply.error(),
            Some("server.clientproxy.cannot_create_signature"),
            "{mode:?}: {}",
            reply.text()
        );
        assert_eq!((world.service.calls(), world.consumer.trace(&id)), (calls, Vec::new()));
        world.trust.say(&world.consumer.sign.certificate, OcspMode::Good);
        world.renew_ocsp((true, true)).await;
        world.is_alive().await;
    }
}

#[tokio::test]
async fn the_ocsp_response_inside_a_signature_must_prove_its_certificate() {
    let world = World::start().await;
    let peers = world.provider.peers();
    let mut wrong = Vec::new();
    for (n, (mode, code)) in [
        (OcspMode::Revoked, "cert_validation"),
        (OcspMode::Unknown, "cert_validation"),
        (OcspMode::TooOld, "incorrect_validation_info"),
        (OcspMode::Future, "incorrect_validation_info"),
        (OcspMode::WrongSigner, "incorrect_validation_info"),
    ]
    .into_iter()
    .enumerate()
    {
        let holder = world.rogue.signatory.holder.clone();
        let ocsp = world.trust.ocsp_as(&holder.certificate, mode).await;
        let signatory = Signatory { holder, ocsp };
        let target = format!("{RECORDS}/x");
        let request = world
            .rogue
            .request_signed(&world.trust, "GET", &target, &n.to_string(), None, &signatory, |_| {})
            .await;
        let fault = world.rogue.send(&peers, &request).await.unwrap().fault().unwrap_or_default();
        if fault != format!("server.serverproxy.signature_verification.invalid_cert_path.{code}") {
            wrong.push(format!("a request with {mode:?}: {fault}"));
        }
        world.rogue.plan(|plan| plan.signatory = signatory.clone());
        let id = format!("answer-{mode:?}");
        let reply = world.ask(&Ask::get(FAKE).id(&id)).await;
        let code = format!("server.clientproxy.signature_verification.invalid_cert_path.{code}");
        if reply.error() != Some(code.as_str()) {
            wrong.push(format!("an answer with {mode:?}: {:?}", reply.error()));
        }
        assert_eq!(world.consumer.trace(&id), ["request".to_owned(), format!("in doubt {code}")]);
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!((world.service.calls(), world.provider.messages()), (0, 0));
    world.rogue.plan(|_| {});
    assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200);
    world.is_alive().await;
}

#[tokio::test]
async fn a_peer_of_an_older_release_than_is_wanted_is_refused_before_its_message_is_read() {
    let wish = ("[peers]\n", "[peers]\nleast_version = \"7.3.1\"\n".to_owned());
    let world = World::wish(Wishes { provider: vec![wish], ..Wishes::default() }).await;
    world.is_alive().await;
    let calls = world.service.calls();
    let too_old = Some("server.serverproxy.client_proxy_version_not_supported".to_owned());
    for (n, (version, expected)) in [
        (None, &too_old),
        (Some("7.3.0"), &too_old),
        (Some("7.3.1-SNAPSHOT"), &too_old),
        (Some("6.26.3"), &too_old),
        (Some("unknown"), &too_old),
        (Some(""), &too_old),
        (Some("7.3.1"), &None),
        (Some("7.10.0"), &None),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("release-{n}");
        let target = format!("{RECORDS}/x");
        let mut envelope = world.rogue.request(&world.trust, "GET", &target, &id, None).await;
        envelope.headers.extend(version.map(|version| ("x-proxy-version".to_owned(), version.to_owned())));
        let reply = world.rogue.send(&world.provider.peers(), &envelope).await.unwrap();
        assert_eq!((reply.fault(), reply.is_signed()), (expected.clone(), expected.is_none()), "{version:?}");
        assert_eq!(world.provider.trace(&id).is_empty(), expected.is_some());
    }
    assert_eq!(world.service.calls(), calls + 2);
}

#[tokio::test]
async fn of_a_providers_servers_one_that_cannot_be_trusted_is_passed_over() {
    let world = World::start().await;
    let holder = world.trust.other.issue(Profile::Auth, "C=DEMO, CN=ss3").await;
    let (hash, ocsp) = (holder.hash(), world.trust.ocsp(&world.rogue.auth.certificate).await);
    world.rogue.show(&holder, ocsp);
    world
        .publish(|shared| {
            let registry = shared.servers[1].clients.clone();
            shared.servers[2].clients.extend(registry);
            shared.servers[2].auth_cert_hashes = vec![hash];
        })
        .await;
    for _ in 0..5 {
        world.is_alive().await;
    }
    // Also when it is asked for by name it gets nothing.
    let named = Ask::get(&format!("{RECORDS}/x")).header("X-Road-Security-Server", "DEMO/GOV/3003/ss3");
    assert_eq!(world.ask(&named).await.error(), Some(UNTRUSTED_PROVIDER));
    assert_eq!(world.rogue.calls(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_a_server_is_not_heard_from_there_any_more() {
    let world = World::start().await;
    let peers = world.provider.peers();
    let request = |id: &'static str| {
        let target = format!("{RECORDS}/x");
        let world = &world;
        async move { world.rogue.request(&world.trust, "GET", &target, id, None).await }
    };
    let mut line = world.rogue.connect_as(&world.rogue.auth, &peers).await.unwrap();
    assert!(line.send(&request("1").await).await.unwrap().is_signed());
    let calls = world.service.calls();
    world.publish(|shared| shared.servers[2].clients.clear()).await;
    let reply = line.send(&request("2").await).await.unwrap();
    assert_eq!(reply.fault().as_deref(), Some(UNTRUSTED_PEER));
    assert_eq!(world.ask(&Ask::get(FAKE)).await.error(), Some("server.clientproxy.unknown_member"));
    assert_eq!((world.service.calls(), world.rogue.calls()), (calls, 0));
    world.is_alive().await;
}

#[tokio::test]
async fn new_keys_are_taken_up_while_running_and_old_certificates_can_go() {
    let world = World::start().await;
    world.is_alive().await;
    let auth = world.trust.ca.issue(Profile::Auth, "C=DEMO, CN=ss1").await;
    let hash = auth.hash();
    world.publish(|shared| shared.servers[0].auth_cert_hashes.push(hash)).await;
    world.consumer.add_key(Usage::Auth, &auth);
    // The newest is used: the rogue peer sees it.
    let shown = async {
        loop {
            assert_eq!(world.ask(&Ask::get(FAKE)).await.status, 200, "no exchange suffers");
            if world.rogue.shown_to().as_deref() == Some(auth.certificate.der()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the new certificate is used", shown).await;
    world.publish(|shared| drop(shared.servers[0].auth_cert_hashes.remove(0))).await;
    world.is_alive().await;
}

#[tokio::test]
async fn a_restart_while_the_responders_are_down_goes_on_with_what_was_kept() {
    let mut world = World::start().await;
    world.is_alive().await;
    world.stop().await;
    for node in [&world.consumer, &world.provider] {
        world.trust.say(&node.sign.certificate, OcspMode::Down);
        world.trust.say(&node.auth.certificate, OcspMode::Down);
    }
    world.consumer.start().await;
    world.provider.start().await;
    world.is_alive().await;
    assert!(world.provider.is_well(false).await.contains("OCSP"));
}
