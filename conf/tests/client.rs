//! The client against real sources: what it takes, what it refuses, how it recovers.

#![expect(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod common;

use std::time::Duration;

use common::world::{World, copy_tree, failure, put, round};
use conf::authority::SourceKind;
use conf::client::{Client, Outcome, Settings};
use conf::directory::PartKind;
use conf::error::ConfError;
use conf::identifier::ClientId;
use conf::snapshot::GlobalConf;
use conf::version::Version;

fn taken(outcomes: &[Outcome]) -> bool {
    matches!(outcomes.last(), Some(Outcome::Taken { .. }))
}

#[tokio::test]
async fn a_configuration_is_fetched_verified_and_kept() {
    let world = World::new().await;
    let mut client = world.client();
    let conf = client.handle();
    assert_eq!(conf.snapshot(world.now()).unwrap_err(), ConfError::Missing("DEMO".to_owned()));
    let changed = conf.changed();
    let outcomes = round(&mut client).await;
    assert!(matches!(outcomes[..], [Outcome::Taken { version: Version::V6, .. }]), "{outcomes:?}");
    assert!(changed.has_changed().unwrap());
    let portal: ClientId = "DEMO/GOV/1001/portal".parse().unwrap();
    let snapshot = conf.snapshot(world.now()).unwrap();
    assert_eq!(snapshot.servers_of(&portal).len(), 1);
    assert_eq!(conf.counters().taken, 1);

    // As X-Road keeps it, and readable by whoever reads that layout.
    let folder = world.path("client");
    assert_eq!(std::fs::read_to_string(folder.join("instance-identifier")).unwrap(), "DEMO");
    for name in ["shared-params.xml", "private-params.xml", "fetchinterval-params.xml"] {
        assert_eq!(
            std::fs::read(folder.join("DEMO").join(name)).unwrap(),
            std::fs::read(world.parts().join(name)).unwrap()
        );
    }
    assert_eq!(GlobalConf::load_dir(&folder).unwrap().digest(), snapshot.digest());
    assert_eq!(round(&mut client).await, [], "nothing is asked before the interval has passed");
    world.advance(60);
    assert_eq!(round(&mut client).await, [Outcome::Unchanged]);
}

#[tokio::test]
async fn mediation_stops_the_second_it_expires_and_resumes_without_a_restart() {
    let world = World::new().await;
    let mut client = world.client();
    let conf = client.handle();
    round(&mut client).await;
    let expires = conf.snapshot(world.now()).unwrap().expires().unwrap();
    assert_eq!(expires, world.now() + Duration::from_secs(600));
    assert!(conf.snapshot(expires).is_ok());
    let too_late = expires + Duration::from_millis(1);
    assert_eq!(
        conf.snapshot(too_late).unwrap_err(),
        ConfError::Expired { instance: "DEMO".to_owned(), at: expires }
    );
    assert!(conf.last_good().is_some());
    world.advance(601);
    // The source still has the expired one.
    assert_eq!(round(&mut client).await, [Outcome::Unchanged]);
    assert!(conf.snapshot(world.now()).is_err());
    world.publish().await;
    world.advance(60);
    assert!(taken(&round(&mut client).await));
    assert!(conf.snapshot(world.now()).is_ok());
}

#[tokio::test]
async fn an_expired_configuration_is_refused() {
    let world = World::new().await;
    world.advance(601);
    let mut client = world.client();
    assert!(failure(&mut client).await.contains("expired"));
    assert!(client.handle().snapshot(world.now()).is_err());
}

#[tokio::test]
async fn a_tampered_part_is_refused_and_the_last_good_stays() {
    let world = World::new().await;
    let mut client = world.client();
    round(&mut client).await;
    world.advance(60);
    world.edit("Ministry of Examples", "Ministry of Samples");
    world.publish().await;
    let part = world.parts().join("shared-params.xml");
    let text = std::fs::read_to_string(&part).unwrap();
    for wrong in [text.replace("127.0.0.21", "127.0.0.99"), text[..text.len() - 1].to_owned(), String::new()]
    {
        put(&part, wrong.as_bytes());
        let error = failure(&mut client).await;
        assert!(error.contains("is not what the directory says"), "{error}");
        world.advance(60);
    }
    let name = client
        .handle()
        .snapshot(world.now())
        .unwrap()
        .member_name(&"DEMO/GOV/1001".parse().unwrap())
        .map(str::to_owned);
    assert_eq!(name.as_deref(), Some("Ministry of Examples"));
    put(&part, text.as_bytes());
    assert!(taken(&round(&mut client).await));
}

#[tokio::test]
async fn a_tampered_directory_is_refused() {
    let world = World::new().await;
    let mut client = world.client();
    let directory = std::fs::read_to_string(world.path("public/V6/internalconf")).unwrap();
    let later = directory.replace("Expire-date: 2026", "Expire-date: 2036");
    let other_hash = {
        let hash = directory.lines().find(|line| line.ends_with("==")).unwrap();
        directory.replacen(hash, &format!("AAAA{}", &hash[4..]), 1)
    };
    let elsewhere = directory.replace("/V6/", "/V5/");
    for wrong in [later, other_hash, elsewhere] {
        assert_ne!(wrong, directory);
        put(&world.path("public/V6/internalconf"), wrong.as_bytes());
        let error = failure(&mut client).await;
        assert!(error.contains("signature of the directory does not hold"), "{error}");
        world.advance(60);
    }
}

#[tokio::test]
async fn a_directory_signed_by_a_stranger_is_refused() {
    let world = World::new().await;
    let stranger = World::new().await;
    put(
        &world.path("public/V6/internalconf"),
        &std::fs::read(stranger.path("public/V6/internalconf")).unwrap(),
    );
    let error = failure(&mut world.client()).await;
    assert!(error.contains("no verification certificate has the hash"), "{error}");
}

#[tokio::test]
async fn an_older_configuration_is_ignored_and_counted_even_after_a_restart() {
    let world = World::new().await;
    let old = world.path("old");
    copy_tree(&world.path("public"), &old);
    world.advance(30);
    let newest = world.publish().await;
    let mut client = world.client();
    round(&mut client).await;
    let digest = *client.handle().snapshot(world.now()).unwrap().digest();
    // The source is rolled back: genuine, not expired, but older.
    std::fs::remove_dir_all(world.path("public")).unwrap();
    copy_tree(&old, &world.path("public"));
    for restarted in [false, true] {
        if restarted {
            client = world.client();
        }
        world.advance(60);
        let outcomes = round(&mut client).await;
        let found = newest - Duration::from_secs(30);
        assert_eq!(outcomes, [Outcome::Older { kept: newest, found }]);
        assert_eq!(client.handle().counters().older, 1);
        let snapshot = client.handle().snapshot(world.now()).unwrap();
        assert_eq!((snapshot.expires(), *snapshot.digest()), (Some(newest), digest));
    }
}

#[tokio::test]
async fn an_operator_can_accept_an_older_one_and_a_running_client_follows() {
    let world = World::new().await;
    let old = world.path("old");
    copy_tree(&world.path("public"), &old);
    world.advance(30);
    let newest = world.publish().await;
    let mut gateway = world.client();
    round(&mut gateway).await;
    std::fs::remove_dir_all(world.path("public")).unwrap();
    copy_tree(&old, &world.path("public"));
    let mut operator = world.client_with(Settings { accept_older: true, ..world.settings() });
    assert!(taken(&round(&mut operator).await));
    world.advance(60);
    assert_eq!(round(&mut gateway).await, [Outcome::Unchanged]);
    let expires = gateway.handle().snapshot(world.now()).unwrap().expires();
    assert_eq!(expires, Some(newest - Duration::from_secs(30)));
}

#[tokio::test]
async fn another_instance_is_refused() {
    let world = World::new().await;
    let shared = std::fs::read_to_string(world.parts().join("shared-params.xml")).unwrap();
    let private = std::fs::read(world.parts().join("private-params.xml")).unwrap();
    // Signed by the right key, but a document in it is of another instance.
    let shared = shared.replace("<instanceIdentifier>DEMO<", "<instanceIdentifier>OTHER<");
    let place = world.parts();
    let location = format!("/V6/{}", place.file_name().unwrap().to_string_lossy());
    put(&place.join("shared-params.xml"), shared.as_bytes());
    let (shared_at, private_at) =
        (format!("{location}/shared-params.xml"), format!("{location}/private-params.xml"));
    let later = world.now() + Duration::from_secs(600);
    let parts: [(PartKind, &str, &[u8]); 2] = [
        (PartKind::SharedParameters, &shared_at, shared.as_bytes()),
        (PartKind::PrivateParameters, &private_at, &private),
    ];
    // First the document alone, then the directory too.
    for instance in ["DEMO", "OTHER"] {
        world.replace_directory(&world.forge(instance, later, &parts).await);
        let error = failure(&mut world.client()).await;
        assert!(error.contains("expected the instance DEMO, found OTHER"), "{error}");
    }
}

#[tokio::test]
async fn mixed_parts_of_two_publications_are_refused() {
    let world = World::new().await;
    let old_private = std::fs::read(world.parts().join("private-params.xml")).unwrap();
    let mut client = world.client();
    round(&mut client).await;
    world.advance(60);
    world.edit("4001", "4002");
    world.edit("Ministry of Examples", "Ministry of Samples");
    world.publish().await;
    put(&world.parts().join("private-params.xml"), &old_private);
    let error = failure(&mut client).await;
    assert!(error.contains("private-params.xml is not what the directory says"), "{error}");
    let address =
        |conf: &GlobalConf| conf.private().unwrap().management.auth_cert_registration_address.clone();
    assert!(address(&client.handle().snapshot(world.now()).unwrap()).contains("4001"));
    let on_disk = GlobalConf::load_dir(world.path("client")).unwrap();
    assert_eq!(on_disk.member_name(&"DEMO/GOV/1001".parse().unwrap()), Some("Ministry of Examples"));
}

#[tokio::test]
async fn half_a_set_is_refused() {
    let world = World::new().await;
    let place = world.parts();
    let shared = std::fs::read(place.join("shared-params.xml")).unwrap();
    let at = format!("/V6/{}/shared-params.xml", place.file_name().unwrap().to_string_lossy());
    let later = world.now() + Duration::from_secs(900);
    let only_shared = world.forge("DEMO", later, &[(PartKind::SharedParameters, &at, &shared)]).await;
    world.replace_directory(&only_shared);
    let mut client = world.client();
    let error = failure(&mut client).await;
    assert!(error.contains("has no PRIVATE-PARAMETERS"), "{error}");

    // All listed, but one is not there.
    world.publish().await;
    std::fs::remove_file(world.parts().join("private-params.xml")).unwrap();
    world.advance(60);
    let error = failure(&mut client).await;
    assert!(error.contains("private-params.xml: 404"), "{error}");
    assert!(client.handle().last_good().is_none());
}

#[tokio::test]
async fn a_signed_document_that_cannot_be_read_does_not_replace_one_that_can() {
    let world = World::new().await;
    let mut client = world.client();
    round(&mut client).await;
    world.advance(60);
    let place = world.parts();
    let private = std::fs::read(place.join("private-params.xml")).unwrap();
    let location = format!("/V6/{}", place.file_name().unwrap().to_string_lossy());
    put(&place.join("shared-params.xml"), b"<conf>");
    let (shared_at, private_at) =
        (format!("{location}/shared-params.xml"), format!("{location}/private-params.xml"));
    let parts: [(PartKind, &str, &[u8]); 2] = [
        (PartKind::SharedParameters, &shared_at, b"<conf>"),
        (PartKind::PrivateParameters, &private_at, &private),
    ];
    let directory = world.forge("DEMO", world.now() + Duration::from_secs(600), &parts).await;
    world.replace_directory(&directory);
    let error = failure(&mut client).await;
    assert!(error.contains("shared"), "{error}");
    assert!(client.handle().snapshot(world.now()).is_ok());
    assert!(GlobalConf::load_dir(world.path("client")).is_ok(), "it did not reach the disk");
}

#[tokio::test]
async fn a_source_that_is_down_is_asked_again_with_back_off_until_it_is_up() {
    let mut world = World::new().await;
    world.down().await;
    let mut client = world.client();
    for wait in [1, 2, 4] {
        let (events, next) = client.round().await;
        assert!(matches!(events[0].outcome, Outcome::Failed(ConfError::Http { .. })), "{events:?}");
        assert_eq!(next, world.now() + Duration::from_secs(wait));
        world.advance(wait);
    }
    world.up().await;
    assert!(taken(&round(&mut client).await));
    assert!(client.handle().snapshot(world.now()).is_ok());
}

#[tokio::test]
async fn the_second_source_is_asked_when_the_first_is_of_no_use() {
    let mut liar = World::new().await;
    put(&liar.path("public/V6/internalconf"), b"garbage");
    let world = World::new().await;
    world
        .edit(&format!("[\"{}\"]", world.address), &format!("[\"{}\", \"{}\"]", liar.address, world.address));
    world.publish().await;
    world.write_anchor();
    let mut client = world.client();
    assert!(taken(&round(&mut client).await));
    liar.down().await;
    world.advance(60);
    world.publish().await;
    let outcomes = round(&mut client).await;
    assert!(matches!(outcomes[..], [Outcome::Taken { .. }]), "the good one is asked first now: {outcomes:?}");
}

/// A source that answers each connection with these bytes, then one byte a second.
async fn raw_source(answer: Vec<u8>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&answer).await;
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if stream.write_all(b"-").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_source_that_trickles_is_cut_off() {
    let world = World::new().await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec();
    let address = raw_source(head).await;
    let anchor = std::fs::read_to_string(world.path("anchor.xml")).unwrap().replace(&world.address, &address);
    put(&world.path("anchor.xml"), anchor.as_bytes());
    let mut settings = world.settings();
    settings.limits.directory.total = Duration::from_millis(500);
    let error = failure(&mut world.client_with(settings)).await;
    assert!(error.contains("in time"), "{error}");
}

#[tokio::test]
async fn garbage_redirects_and_oversized_answers_are_refused() {
    let world = World::new().await;
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/internalconf?version=6\r\nContent-Length: 0\r\n\r\n",
        world.address
    );
    let too_long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 2 << 20, "x".repeat(2 << 20));
    for (answer, reason) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngarbage".to_owned(), "not a signed directory"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), "header Content-Type is missing"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "HTTP"),
        (redirect, "answered with status 302"),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned(), "answered with status 500"),
        (too_long, "longer than"),
    ] {
        let address = raw_source(answer.into_bytes()).await;
        let anchor = std::fs::read_to_string(world.path("anchor.xml")).unwrap();
        put(&world.path("lying.xml"), anchor.replace(&world.address, &address).as_bytes());
        let settings = Settings { anchor: world.path("lying.xml"), ..world.settings() };
        let error = failure(&mut world.client_with(settings)).await;
        assert!(error.contains(reason), "{error} does not say {reason}");
    }
}

#[tokio::test]
async fn an_authority_that_has_only_an_older_version_is_followed() {
    let world = World::new().await;
    for version in ["V6", "V5", "V4"] {
        std::fs::remove_dir_all(world.path("public").join(version)).unwrap();
    }
    let outcomes = round(&mut world.client()).await;
    assert!(matches!(outcomes[..], [Outcome::Taken { version: Version::V3, .. }]), "{outcomes:?}");
}

#[tokio::test]
async fn a_rotated_signing_key_is_followed_and_known_after_a_restart() {
    let world = World::new().await;
    let mut client = world.client();
    round(&mut client).await;
    let old = world.keys().active(SourceKind::Internal).unwrap().id.to_string();
    let new = world.add_key(SourceKind::Internal).await;
    for step in ["added", "activated", "removed"] {
        match step {
            "activated" => drop(world.keys().activate(&new).unwrap()),
            "removed" => world.keys().remove(&old).unwrap(),
            _ => {}
        }
        world.advance(60);
        world.publish().await;
        assert!(taken(&round(&mut client).await), "{step}");
    }
    // The anchor still names the old key only.
    let mut restarted = world.client();
    assert!(restarted.handle().snapshot(world.now()).is_ok());
    world.advance(60);
    world.publish().await;
    assert!(taken(&round(&mut restarted).await));
    // A newcomer with the old anchor is not led on by the new key alone.
    let newcomer = Settings { directory: world.path("newcomer"), ..world.settings() };
    let error = failure(&mut world.client_with(newcomer)).await;
    assert!(error.contains("no verification certificate"), "{error}");
}

#[tokio::test]
async fn a_key_that_was_never_announced_is_not_followed() {
    let world = World::new().await;
    let mut client = world.client();
    round(&mut client).await;
    let new = world.add_key(SourceKind::Internal).await;
    world.keys().activate(&new).unwrap();
    world.advance(60);
    world.publish().await;
    let error = failure(&mut client).await;
    assert!(error.contains("no verification certificate"), "{error}");
}

#[tokio::test]
async fn sources_named_in_the_configuration_are_followed() {
    let mut world = World::new().await;
    let mut client = world.client();
    round(&mut client).await;
    // The authority announces a second address, and later the first one is gone.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = listener.local_addr().unwrap().to_string();
    world.edit(&format!("[\"{}\"]", world.address), &format!("[\"{}\", \"{second}\"]", world.address));
    tokio::spawn(conf::service::serve_folder(listener, world.path("public"), std::future::pending()));
    world.advance(60);
    world.publish().await;
    assert!(taken(&round(&mut client).await));
    world.down().await;
    world.advance(60);
    world.publish().await;
    assert!(taken(&round(&mut client).await));
}

#[tokio::test]
async fn a_set_that_was_damaged_on_disk_is_not_shown_and_is_replaced() {
    let world = World::new().await;
    round(&mut world.client()).await;
    let part = world.path("client/DEMO/shared-params.xml");
    let text = std::fs::read_to_string(&part).unwrap();
    put(&part, text.replace("127.0.0.21", "127.0.0.99").as_bytes());
    let mut client = world.client();
    assert!(client.handle().snapshot(world.now()).is_err());
    assert!(taken(&round(&mut client).await));
    assert_eq!(std::fs::read_to_string(&part).unwrap(), text);
}

#[tokio::test]
async fn a_folder_or_an_anchor_of_another_instance_is_refused() {
    let world = World::new().await;
    let other = World::of_instance("OTHER").await;
    let mut client = world.client();
    round(&mut client).await;
    let wrong = Settings { anchor: other.path("anchor.xml"), ..world.settings() };
    let error = Client::open(wrong, std::sync::Arc::new(world.clock.clone())).err().unwrap();
    assert!(matches!(error, ConfError::OtherInstance { .. }), "{error}");
    // The anchor is exchanged under a running client: the old one stays in force.
    std::fs::copy(other.path("anchor.xml"), world.path("anchor.xml")).unwrap();
    world.advance(60);
    world.publish().await;
    assert!(taken(&round(&mut client).await));
}

#[tokio::test]
async fn a_federated_instance_is_followed_only_where_both_sides_agree_and_stays_in_its_bounds() {
    let world = World::new().await;
    let other = World::of_instance("OTHER").await;
    put(&world.path("other.xml"), other.anchor(SourceKind::External).write().as_bytes());
    world.edit("[[group]]", "[[federated]]\nanchor = \"other.xml\"\n[[group]]");
    world.publish().await;
    let mut alone = world.client();
    round(&mut alone).await;
    assert_eq!(alone.handle().snapshot(world.now()).unwrap().instances().count(), 1);
    drop(alone);

    let settings = Settings { federated: vec!["OTHER".to_owned()], ..world.settings() };
    let mut client = world.client_with(settings.clone());
    round(&mut client).await;
    let conf = client.handle();
    let foreign: ClientId = "OTHER/GOV/1001/portal".parse().unwrap();
    assert!(conf.snapshot(world.now()).unwrap().client_exists(&foreign));
    assert!(world.path("client/OTHER/shared-params.xml").exists());
    assert!(!world.path("client/OTHER/private-params.xml").exists());
    // It is there after a restart, before anything is asked.
    let restarted = world.client_with(settings);
    assert!(restarted.handle().snapshot(world.now()).unwrap().client_exists(&foreign));

    // An administrator no longer wants it: it is gone from disk too.
    drop(restarted);
    let mut unfederated = world.client_with(Settings {
        federated: Vec::new(),
        directory: world.path("second"),
        ..world.settings()
    });
    copy_tree(&world.path("client/OTHER"), &world.path("second/OTHER"));
    round(&mut unfederated).await;
    assert!(!world.path("second/OTHER").exists());

    // The other authority falls silent: it is left out when it expires, ours goes on.
    world.advance(601);
    world.publish().await;
    round(&mut client).await;
    assert!(!conf.snapshot(world.now()).unwrap().client_exists(&foreign));
    other.clock.set(world.now());
    other.publish().await;
    world.advance(60);
    round(&mut client).await;
    assert!(conf.snapshot(world.now()).unwrap().client_exists(&foreign));
}

#[tokio::test]
async fn a_running_client_shows_what_it_fetches_and_stops_when_asked() {
    let world = World::new().await;
    let client = world.client();
    let conf = client.handle();
    let mut changed = conf.changed();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(client.run(async {
        let _ = stopped.await;
    }));
    tokio::time::timeout(Duration::from_secs(20), changed.changed()).await.unwrap().unwrap();
    assert!(conf.snapshot(world.now()).is_ok());
    stop.send(()).unwrap();
    running.await.unwrap();
}
