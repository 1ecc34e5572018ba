//! Good exchanges through two gateways, and requests of information systems that are refused.

use conf::shared_params::Maintenance;
use integration::world::{Ask, FAKE, Mode, PORTAL, RECORDS, World};

const UNKNOWN_SERVICE: &str = "/r1/DEMO/GOV/2002/registry/nothing";

#[tokio::test]
async fn a_good_exchange_gives_the_services_answer_and_evidence_on_both_sides() {
    let world = World::start().await;
    let cases = [
        ("GET", None, "GET /base/people/7?name=a%20b HTTP/1.1\n"),
        ("DELETE", None, "DELETE /base/people/7?name=a%20b HTTP/1.1\n"),
        ("POST", Some("a body"), "POST /base/people/7?name=a%20b HTTP/1.1\na body"),
        ("PUT", Some(""), "PUT /base/people/7?name=a%20b HTTP/1.1\n"),
        ("PATCH", Some("p"), "PATCH /base/people/7?name=a%20b HTTP/1.1\np"),
    ];
    for (n, (verb, body, answer)) in cases.into_iter().enumerate() {
        let id = format!("good-{verb}");
        let mut ask =
            Ask::with(verb, &format!("{RECORDS}/people/7?name=a%20b")).id(&id).header("X-Kept", "yes");
        if let Some(body) = body {
            ask = ask.body(body);
        }
        let reply = world.ask(&ask).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, answer), "{verb}");
        assert_eq!(reply.header("X-Own"), Some("kept"));
        assert_eq!(reply.header("X-Road-Id"), Some(id.as_str()));
        assert!(reply.header("X-Road-Request-Hash").is_some() && reply.header("X-Road-Request-Id").is_some());
        assert_eq!(reply.message.first, "HTTP/1.1 200 Fine");
        assert_eq!(world.service.last().header("X-Kept"), Some("yes"));
        let length = body.filter(|_| verb != "DELETE").map(|body| body.len().to_string());
        assert_eq!(world.service.last().header("Content-Length"), length.as_deref(), "{verb}");
        assert_eq!(world.service.last().header("X-Road-Client"), Some(PORTAL));
        for node in [&world.consumer, &world.provider] {
            assert_eq!(node.trace(&id), ["request", "response"], "{verb}");
            node.verifies(&id);
            assert_eq!(node.messages(), 2 * (n + 1));
        }
    }
    assert_eq!(world.service.calls(), 5);
}

#[tokio::test]
async fn answers_without_a_body_stay_without() {
    let world = World::start().await;
    let reply = world.ask(&Ask::with("HEAD", &format!("{RECORDS}/x")).id("head")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    world.service.mode(Mode::Raw(b"HTTP/1.1 204 Nothing\r\nX-Own: 204\r\n\r\n".to_vec()));
    let reply = world.ask(&Ask::with("DELETE", &format!("{RECORDS}/x")).id("204")).await;
    assert_eq!((reply.status, reply.header("X-Own"), reply.text().as_str()), (204, Some("204"), ""));
    for id in ["head", "204"] {
        for node in [&world.consumer, &world.provider] {
            assert_eq!(node.trace(id), ["request", "response"]);
            node.verifies(id);
        }
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_its_answer_and_no_fault() {
    let world = World::start().await;
    world.service.mode(Mode::Raw(b"HTTP/1.1 404 No such person\r\nContent-Length: 2\r\n\r\nno".to_vec()));
    let reply = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("404")).await;
    assert_eq!((reply.status, reply.error(), reply.text().as_str()), (404, None, "no"));
    assert_eq!(world.consumer.trace("404"), ["request", "response"]);
}

/// Refused before anything is logged or leaves the consumer's gateway.
#[tokio::test]
async fn a_request_that_is_no_good_is_refused_at_the_first_door() {
    let world = World::start().await;
    let get = || Ask::get(&format!("{RECORDS}/x"));
    let to = |path: &str| Ask::get(&format!("{RECORDS}{path}"));
    let cases = [
        (get().without("X-Road-Client"), 500, "invalid_client_identifier"),
        (get().header("X-Road-Client", PORTAL), 500, "duplicate_header_field"),
        (get().header("x-road-client", "DEMO/GOV/2002/registry"), 500, "duplicate_header_field"),
        (get().client(""), 500, "internal_error"),
        (get().client("DEMO"), 500, "internal_error"),
        (get().client("DEMO/GOV/1001/portal/more/and/more"), 500, "internal_error"),
        (get().client("DEMO/GOV/1001/por%zztal"), 500, "internal_error"),
        (get().client("DEMO/GOV/2002/registry"), 500, "unknown_member"),
        (get().client("DEMO/GOV/1001/nobody"), 500, "unknown_member"),
        (get().client("demo/gov/1001/portal"), 500, "unknown_member"),
        (get().client("DEMO/GOV/1001/pinned"), 500, "ssl_authentication_failed"),
        (Ask::get("/r1/DEMO/GOV/9999/registry/records"), 500, "unknown_member"),
        (Ask::get("/r1/DEMO/GOV/2002/nothing/records"), 500, "unknown_member"),
        (Ask::get("/r1/OTHER/GOV/2002/registry/records"), 500, "unknown_member"),
        (Ask::get("/r1/DEMO/GOV"), 500, "internal_error"),
        (get().header("X-Road-Security-Server", "DEMO/GOV/1001/ss1"), 500, "invalid_security_server"),
        (Ask::with("BREW", RECORDS), 500, "internal_error"),
        (to("/a%2Fb"), 400, "bad_request"),
        (to("/a/../b"), 400, "bad_request"),
        (to("/%2e%2E/b"), 400, "bad_request"),
        (to("/a/."), 400, "bad_request"),
        (to("/a%5cb"), 400, "bad_request"),
        (to("/a%00b"), 400, "bad_request"),
        (to("/%ff"), 400, "bad_request"),
    ];
    for (ask, status, code) in cases {
        let reply = world.ask(&ask).await;
        let code = format!("server.clientproxy.{code}");
        assert_eq!((reply.status, reply.error()), (status, Some(code.as_str())), "{ask:?}: {}", reply.text());
        assert!(reply.text().contains(&code), "{}", reply.text());
        assert_eq!(reply.header("Content-Type"), Some("application/json;charset=utf-8"));
    }
    for path in ["/%zz", "/%", "/%4"] {
        assert_eq!(
            (world.ask(&to(path)).await.status, path),
            (400, path),
            "refused as HTTP, before it is a message"
        );
    }
    assert_eq!(world.service.calls(), 0);
    assert_eq!((world.consumer.messages(), world.provider.messages()), (0, 0));
    world.is_alive().await;
}

/// Refused by the provider's gateway: the consumer has logged its request, and how it ended.
#[tokio::test]
async fn what_the_provider_does_not_offer_or_allow_is_refused_there() {
    let world = World::start().await;
    let registry = |path: &str| format!("/r1/DEMO/GOV/2002/registry/{path}");
    let cases = [
        ("GET", UNKNOWN_SERVICE.to_owned(), "unknown_service"),
        ("GET", registry("closed/x"), "access_denied"),
        ("GET", registry("parted/shut/1"), "access_denied"),
        ("GET", registry("parted/open/1/more"), "access_denied"),
        ("POST", registry("parted/open/1"), "access_denied"),
        ("GET", registry("parted/Open/1"), "access_denied"),
        ("GET", registry("parted//open/1"), "access_denied"),
        ("GET", registry("parted"), "access_denied"),
        ("GET", registry("off/x"), "service_disabled"),
    ];
    for (n, (verb, target, code)) in cases.into_iter().enumerate() {
        let id = format!("denied-{n}");
        let reply = world.ask(&Ask::with(verb, &target).id(&id)).await;
        let code = format!("server.serverproxy.{code}");
        assert_eq!((reply.status, reply.error()), (500, Some(code.as_str())), "{target}: {}", reply.text());
        assert_eq!(world.consumer.trace(&id), ["request".to_owned(), format!("fault {code}")], "{target}");
        assert_eq!(world.provider.trace(&id), Vec::<String>::new(), "{target}");
    }
    assert_eq!(world.service.calls(), 0);
    for (verb, target) in
        [("GET", "parted/open/1"), ("POST", "parted/open/1/notes"), ("GET", "parted/%6fpen/1")]
    {
        let reply = world.ask(&Ask::with(verb, &registry(target))).await;
        assert_eq!((reply.status, reply.error()), (200, None), "{target}");
    }
    world.is_alive().await;
}

#[tokio::test]
async fn the_good_answer_of_another_implementation_is_taken() {
    let world = World::start().await;
    let reply = world.ask(&Ask::post(FAKE, "question").id("fake")).await;
    assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());
    assert_eq!(reply.text(), "the answer of the rogue peer");
    assert_eq!(world.consumer.trace("fake"), ["request", "response"]);
    world.consumer.verifies("fake");

    let request = world
        .rogue
        .request(&world.trust, "POST", &format!("{RECORDS}/x"), "from-rogue", Some(b"hello"))
        .await;
    let reply = world.rogue.send(&world.provider.peers(), &request).await.unwrap();
    assert_eq!((reply.fault(), reply.is_signed()), (None, true));
    assert_eq!(&world.service.last().body[..], b"hello");
    assert_eq!(world.provider.trace("from-rogue"), ["request", "response"]);
}

#[tokio::test]
async fn a_provider_under_maintenance_is_told_before_anything_is_sent() {
    let world = World::start().await;
    let message = Some("back at noon".to_owned());
    world.publish(|shared| shared.servers[1].maintenance = Some(Maintenance { message })).await;
    let reply = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("closed")).await;
    assert_eq!((reply.status, reply.error()), (500, Some("server.clientproxy.maintenance_mode")));
    assert!(reply.text().contains("back at noon"), "{}", reply.text());
    assert_eq!((world.service.calls(), world.consumer.trace("closed")), (0, Vec::new()));
    world.publish(|shared| shared.servers[1].maintenance = None).await;
    world.is_alive().await;
}
