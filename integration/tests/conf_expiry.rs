//! The configuration expires, comes back, and is attacked, while gateways run.

use std::time::Duration;

use bytes::Bytes;
use cert_authority::clock::Clock as _;
use integration::world::{Ask, RECORDS, Served, World};

const VALIDITY: Duration = Duration::from_secs(600);

#[tokio::test]
async fn an_expired_configuration_stops_exchanges_and_a_fresh_one_resumes_them_without_a_restart() {
    let world = World::start().await;
    world.is_alive().await;
    let request = world.rogue.request(&world.trust, "GET", &format!("{RECORDS}/x"), "expired", None).await;
    let mut line = world.rogue.connect_as(&world.rogue.auth, &world.provider.peers()).await.unwrap();
    for _ in 0..2 {
        world.clock.advance(VALIDITY + Duration::from_secs(1));
        let (calls, logged) = (world.service.calls(), world.provider.messages());
        let reply = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("late")).await;
        assert_eq!((reply.status, reply.error()), (500, Some("server.clientproxy.global_conf_outdated")));
        for reply in [line.send(&request).await, world.rogue.send(&world.provider.peers(), &request).await] {
            assert!(
                reply.is_none_or(|reply| reply.fault().is_some() && !reply.is_signed()),
                "nobody is trusted"
            );
        }
        for node in [&world.consumer, &world.provider] {
            assert!(node.is_well(false).await.contains("global configuration"));
        }
        assert_eq!((world.service.calls(), world.provider.messages()), (calls, logged));
        assert_eq!(world.consumer.trace("late"), Vec::<String>::new());
        let listed = world.ask(&Ask::get("/listClients")).await;
        assert!(
            listed.status == 200 && String::from_utf8_lossy(&listed.message.body).contains("portal"),
            "who there is can still be asked"
        );

        world.publish(|_| {}).await;
        world.is_alive().await;
        world.consumer.is_well(true).await;
        line = world.rogue.connect_as(&world.rogue.auth, &world.provider.peers()).await.unwrap();
    }
}

#[tokio::test]
async fn a_configuration_that_is_not_the_authoritys_next_one_changes_nothing() {
    let world = World::start().await;
    let older = world.network.served();
    world.publish(|_| {}).await;
    let in_force = world.network.directory();
    let (now, later) = (world.clock.now(), world.network.expires() + Duration::from_secs(60));

    // What each would bring about: nobody could be reached any more.
    let mut emptied = world.network.shared();
    emptied.servers.clear();
    let next = world.network.sign("DEMO", later, &emptied).await;
    let spoil = |name: &str, change: &dyn Fn(&mut Vec<u8>)| -> Served {
        let mut served = next.clone();
        let path = served.keys().find(|path| path.ends_with(name)).unwrap().clone();
        let mut bytes = served[&path].to_vec();
        change(&mut bytes);
        served.insert(path, Bytes::from(bytes));
        served
    };
    let replace = |name: &str, from: &'static str, to: &'static str| {
        spoil(name, &|bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(from), "{from} is not in {text}");
            *bytes = text.replacen(from, to, 1).into_bytes();
        })
    };
    let mut mixed = next.clone();
    for (path, bytes) in &older {
        if let Some(name) = path.strip_prefix("/V6/").and_then(|path| path.split('/').nth(1)) {
            let path = mixed.keys().find(|path| path.ends_with(name)).unwrap().clone();
            mixed.insert(path, bytes.clone());
        }
    }
    let mut partless = next.clone();
    partless.retain(|path, _| !path.ends_with("shared-params.xml"));
    let cases: Vec<(&str, Served)> = vec![
        ("a part was changed", replace("shared-params.xml", "Approved CA", "Approved XX")),
        ("a part is cut off", spoil("shared-params.xml", &|bytes| bytes.truncate(100))),
        ("a part is missing", partless),
        ("the parts are those of an older one", mixed),
        ("the directory was changed", replace("/internalconf", "Version: 6", "Version: 5")),
        ("its instance was changed", replace("/internalconf", "instance='DEMO'", "instance='OTHER'")),
        ("the directory is cut off", spoil("/internalconf", &|bytes| bytes.truncate(bytes.len() / 2))),
        ("the signature is cut off", spoil("/internalconf", &|bytes| bytes.truncate(bytes.len() - 60))),
        ("the directory is nonsense", spoil("/internalconf", &|bytes| *bytes = b"nonsense".to_vec())),
        (
            "the directory leads out of its folder",
            replace("/internalconf", "shared-params.xml", "../../../etc/passwd"),
        ),
        ("it is of another instance", world.network.sign("OTHER", later, &emptied).await),
        (
            "it is older than the one in force",
            world.network.sign("DEMO", now + Duration::from_secs(60), &emptied).await,
        ),
        ("it has expired", world.network.sign("DEMO", now - Duration::from_secs(60), &emptied).await),
        ("it was rolled back to the one before", older),
        ("there is none", Served::new()),
    ];
    for (what, served) in cases {
        world.network.serve(served);
        world.network.is_fetched().await;
        for node in [&world.consumer, &world.provider] {
            assert_eq!(node.signed_directory().as_ref(), Some(&in_force), "{what}");
        }
        world.is_alive().await;
    }
    world.publish(|_| {}).await;
    world.is_alive().await;

    world.network.serve(next);
    world.taken_up().await;
    let reply = world.ask(&Ask::get(&format!("{RECORDS}/x"))).await;
    assert!(reply.error().is_some(), "what was spoilt above would have had its effect");
}

#[tokio::test]
async fn what_was_kept_of_the_configuration_serves_after_a_restart_while_the_source_is_down() {
    let mut world = World::start().await;
    world.is_alive().await;
    let older = world.network.served();
    world.publish(|_| {}).await;
    world.stop().await;
    world.network.serve(Served::new());
    world.consumer.start().await;
    world.provider.start().await;
    world.is_alive().await;

    // Nor does a restart forget how far it was.
    let in_force = world.consumer.signed_directory();
    world.stop().await;
    world.network.serve(older);
    world.consumer.start().await;
    world.provider.start().await;
    world.network.is_fetched().await;
    assert_eq!(world.consumer.signed_directory(), in_force);
    world.is_alive().await;
}

#[tokio::test]
async fn gateways_that_start_with_an_expired_configuration_wait_for_a_fresh_one() {
    let mut world = World::start().await;
    world.is_alive().await;
    world.stop().await;
    world.network.serve(Served::new());
    world.clock.advance(VALIDITY + Duration::from_secs(60));
    world.consumer.launch().await;
    world.provider.launch().await;
    let reply = world.ask(&Ask::get(&format!("{RECORDS}/x"))).await;
    assert_eq!((reply.status, reply.error()), (500, Some("server.clientproxy.global_conf_outdated")));
    assert!(world.consumer.is_well(false).await.contains("global configuration"));
    world.publish(|_| {}).await;
    world.consumer.is_ready().await;
    world.provider.is_ready().await;
    world.is_alive().await;
}
