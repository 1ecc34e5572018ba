//! What fails around the gateways: services, time-stamps, disks, settings, and their own stop.
#![expect(clippy::unwrap_used, reason = "what cannot be set up is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::Clock as _;
use gateway::admin::Metrics;
use gateway::transport::tls::{ServiceTrust, peer_client, service_client};
use integration::power_cut::{as_root, run};
use integration::world::{Ask, Mode, RECORDS, Reply, TsaMode, Wishes, World, soon, within};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const DOWN: &str = "/r1/DEMO/GOV/2002/registry/down";
const CLOSED: &str = "/r1/DEMO/GOV/2002/registry/closed/x";

#[tokio::test]
async fn a_service_that_fails_is_told_noted_and_never_called_again() {
    let world = World::start().await;
    let records = format!("{RECORDS}/x");
    let cases = [
        ("down", DOWN, Mode::Echo, 0, "network_error", "fault"),
        ("slow", &records, Mode::Held, 1, "io_error", "in doubt"),
        ("resetting", &records, Mode::Reset, 1, "io_error", "in doubt"),
        ("silent", &records, Mode::Silent, 1, "io_error", "in doubt"),
        ("breaking off", &records, Mode::CutShort, 1, "io_error", "in doubt"),
        ("not HTTP", &records, Mode::Raw(b"nonsense\r\n\r\n".to_vec()), 1, "io_error", "in doubt"),
        ("empty", &records, Mode::Raw(Vec::new()), 1, "io_error", "in doubt"),
        (
            "switching protocols",
            &records,
            Mode::Raw(b"HTTP/1.1 101 Go on\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_vec()),
            1,
            "io_error",
            "in doubt",
        ),
        (
            "framed twice",
            &records,
            Mode::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec()),
            1,
            "io_error",
            "in doubt",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, target, mode, calls, code, outcome) in cases {
        world.service.mode(mode);
        let before = world.service.calls();
        let id = format!("service-{}", what.replace(' ', "-"));
        let reply = world.ask(&Ask::post(target, "act once").id(&id)).await;
        let code = format!("server.serverproxy.{code}");
        if (reply.status, reply.error()) != (500, Some(code.as_str())) {
            wrong.push(format!("{what}: {} {:?} {}", reply.status, reply.error(), reply.text()));
        }
        if world.service.calls() != before + calls {
            wrong.push(format!("{what}: called {} times", world.service.calls() - before));
        }
        let traces = (world.consumer.trace(&id), world.provider.trace(&id));
        let expected = vec!["request".to_owned(), format!("{outcome} {code}")];
        if traces.1 != expected {
            wrong.push(format!("{what}: the provider notes {:?}", traces.1));
        }
        if traces.0 != ["request".to_owned(), format!("in doubt {code}")] {
            wrong.push(format!("{what}: the consumer notes {:?}", traces.0));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    world.service.mode(Mode::Echo);
    world.is_alive().await;
}

#[tokio::test]
async fn a_provider_whose_gateway_is_down_is_told_and_nothing_is_logged() {
    let mut world = World::start().await;
    world.is_alive().await;
    world.provider.stop().await;
    let reply = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("down")).await;
    assert_eq!((reply.status, reply.error()), (500, Some("server.clientproxy.network_error")));
    assert_eq!(world.consumer.trace("down"), Vec::<String>::new(), "nothing has left");
    world.provider.start().await;
    world.is_alive().await;
}

#[tokio::test]
async fn exchanges_go_on_without_time_stamps_for_the_acceptable_period_and_stop_then() {
    let period = [("acceptable_failure = \"4 h\"", "acceptable_failure = \"10 min\"".to_owned())];
    let world = World::wish(Wishes { consumer: period.to_vec(), ..Wishes::default() }).await;
    world.trust.stamp(TsaMode::Down);
    world.is_alive().await;
    world.network.publish_until(world.clock.now() + Duration::from_secs(7200), |_| {}).await;
    world.taken_up().await;
    let asked = world.trust.tsa_calls();
    soon("time-stamps are asked for", || world.trust.tsa_calls() >= asked + 4).await;
    world.clock.advance(Duration::from_secs(590));
    world.is_alive().await;
    world.clock.advance(Duration::from_secs(20));
    let calls = world.service.calls();
    let refused = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("late")).await;
    let code = "server.clientproxy.logging_failed.timestamping_failed";
    assert_eq!((refused.status, refused.error()), (500, Some(code)), "{}", refused.text());
    assert_eq!((world.service.calls(), world.provider.trace("late")), (calls, Vec::new()));
    assert!(world.consumer.is_well(false).await.contains("time-stamping"));

    world.trust.stamp(TsaMode::Good);
    world.consumer.is_well(true).await;
    world.is_alive().await;
    everything_is_stamped(&world).await;
}

#[tokio::test]
async fn a_time_stamp_that_is_not_what_was_asked_for_is_not_taken() {
    let world = World::start().await;
    world.trust.stamp(TsaMode::Down);
    world.is_alive().await;
    for mode in [TsaMode::WrongImprint, TsaMode::WrongNonce, TsaMode::Unapproved] {
        world.trust.stamp(mode);
        let asked = world.trust.tsa_calls();
        soon("time-stamps are asked for", || world.trust.tsa_calls() >= asked + 5).await;
        for node in [&world.consumer, &world.provider] {
            assert!((0..2).all(|message| stamp_of(node, message).is_none()), "{mode:?}");
        }
        world.is_alive().await;
    }
    world.trust.stamp(TsaMode::Good);
    everything_is_stamped(&world).await;
}

#[tokio::test]
async fn with_time_stamps_at_once_nothing_is_forwarded_or_answered_before_it_has_its_own() {
    // Nothing is stamped but at once.
    let at_once = [("interval = \"50 ms\"", "interval = \"1 h\"\nat_once = true".to_owned())];
    let both = Wishes { consumer: at_once.to_vec(), provider: at_once.to_vec() };
    let world = World::wish(both).await;
    for _ in 0..3 {
        world.is_alive().await;
        for node in [&world.consumer, &world.provider] {
            assert!((0..node.messages()).all(|message| stamp_of(node, message).is_some()));
        }
    }
    assert_eq!((world.consumer.messages(), world.provider.messages()), (6, 6));

    // Nobody stamps: nothing leaves the consumer, and what it has logged stays.
    world.trust.stamp(TsaMode::Down);
    let calls = world.service.calls();
    let refused = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("unstamped")).await;
    let code = "server.clientproxy.logging_failed.timestamping_failed";
    assert_eq!((refused.status, refused.error()), (500, Some(code)), "{}", refused.text());
    assert_eq!((world.service.calls(), world.provider.trace("unstamped")), (calls, Vec::new()));
    assert_eq!(world.consumer.trace("unstamped").first().map(String::as_str), Some("request"));
    world.trust.stamp(TsaMode::Good);
    world.is_alive().await;
    everything_is_stamped(&world).await;

    // Only the provider wants it: its service is not called.
    let world = World::wish(Wishes { provider: at_once.to_vec(), ..Wishes::default() }).await;
    world.trust.stamp(TsaMode::Down);
    let refused = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("unstamped")).await;
    let code = "server.serverproxy.logging_failed.timestamping_failed";
    assert_eq!((refused.status, refused.error()), (500, Some(code)), "{}", refused.text());
    assert_eq!(world.service.calls(), 0);
    world.trust.stamp(TsaMode::Good);
    world.is_alive().await;
    everything_is_stamped(&world).await;
}

/// The token over the n-th message of a log.
fn stamp_of(node: &integration::world::Node, n: usize) -> Option<bytes::Bytes> {
    let log = node.log();
    let messages = (0..log.len()).filter_map(|sequence| log.get(sequence).unwrap());
    let message = messages.filter(|stored| stored.record.message().is_some()).nth(n).unwrap();
    log.timestamp_of(message.sequence).unwrap().map(|stamp| stamp.token)
}

async fn everything_is_stamped(world: &World) {
    for node in [&world.consumer, &world.provider] {
        let messages = node.messages();
        soon("all is stamped", || (0..messages).all(|message| stamp_of(node, message).is_some())).await;
    }
}

#[tokio::test]
async fn without_room_for_evidence_nothing_is_forwarded() {
    let much = |text: &'static str| [(text, "reserve = \"100000 GiB\"".to_owned())].to_vec();
    let reserve = "reserve = \"1 MiB\"";
    // Health is red from the beginning, so that the world must not wait for it.
    let world = World::wish_unwell(Wishes { consumer: much(reserve), ..Wishes::default() }).await;
    let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "body").id("full")).await;
    assert_eq!((reply.status, reply.error()), (500, Some("server.clientproxy.logging_failed")));
    assert_eq!((world.service.calls(), world.provider.messages(), world.consumer.messages()), (0, 0, 0));
    assert!(world.consumer.is_well(false).await.contains("no space"));

    let world = World::wish_unwell(Wishes { provider: much(reserve), ..Wishes::default() }).await;
    let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "body").id("full")).await;
    let code = "server.serverproxy.logging_failed";
    assert_eq!((reply.status, reply.error()), (500, Some(code)), "{}", reply.text());
    assert_eq!((world.service.calls(), world.provider.messages()), (0, 0));
    assert_eq!(world.consumer.trace("full"), ["request".to_owned(), format!("fault {code}")]);
}

/// A disk that is really full: a small file system, which only root can mount.
#[tokio::test]
async fn a_full_disk_refuses_exchanges_and_recovers_when_there_is_room() {
    let Some(disk) = Disk::mount("160m") else { return };
    let log = disk.0.path().join("log");
    let place = [("directory = \"log\"", format!("directory = \"{}\"", log.display()))];
    let world = World::wish(Wishes { consumer: place.to_vec(), ..Wishes::default() }).await;
    world.is_alive().await;
    let logged = world.consumer.messages();
    let calls = world.service.calls();

    // A body that does not fit: it is read, and runs into the end of the disk.
    disk.fill_but(4 << 20);
    let body = vec![b'x'; 12 << 20];
    let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), body.clone()).id("large")).await;
    assert_eq!(
        (reply.status, reply.error()),
        (500, Some("server.clientproxy.logging_failed")),
        "{}",
        reply.text()
    );
    world.is_alive().await;

    disk.fill_but(0);
    let reply = world.ask(&Ask::get(&format!("{RECORDS}/x")).id("full")).await;
    assert_eq!(
        (reply.status, reply.error()),
        (500, Some("server.clientproxy.logging_failed")),
        "{}",
        reply.text()
    );
    assert!(world.consumer.is_well(false).await.contains("no space"));
    assert_eq!(world.service.calls(), calls + 1, "only the good exchange in between");
    for id in ["large", "full"] {
        assert_eq!((world.consumer.trace(id), world.provider.trace(id)), (Vec::new(), Vec::new()), "{id}");
    }

    disk.empty();
    world.consumer.is_well(true).await;
    world.is_alive().await;
    let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), body).id("fits")).await;
    assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());
    assert_eq!(world.consumer.messages(), logged + 6, "nothing was lost");
    world.consumer.verifies("fits");
}

#[tokio::test]
async fn an_answer_that_cannot_be_made_evidence_is_not_given_and_noted_as_in_doubt() {
    let Some(disk) = Disk::mount("160m") else { return };
    let log = disk.0.path().join("log");
    let place = [("directory = \"log\"", format!("directory = \"{}\"", log.display()))];
    let world = World::wish(Wishes { provider: place.to_vec(), ..Wishes::default() }).await;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 12 << 20).into_bytes();
    answer.resize(answer.len() + (12 << 20), b'y');
    world.service.mode(Mode::Raw(answer));
    disk.fill_but(4 << 20);
    let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "act once").id("large")).await;
    let code = "server.serverproxy.logging_failed";
    assert_eq!((reply.status, reply.error()), (500, Some(code)), "{}", reply.text());
    let expected = ["request".to_owned(), format!("in doubt {code}")];
    assert_eq!(
        (world.consumer.trace("large"), world.provider.trace("large")),
        (expected.to_vec(), expected.to_vec())
    );
    assert_eq!(world.service.calls(), 1);

    disk.empty();
    let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "act again").id("again")).await;
    assert_eq!((reply.status, reply.message.body.len()), (200, 12 << 20));
    world.provider.verifies("again");
    world.consumer.verifies("again");
    world.service.mode(Mode::Echo);
    world.is_alive().await;
}

#[tokio::test]
async fn a_request_that_its_information_system_breaks_off_is_not_acted_on() {
    let world = World::start().await;
    let ask = Ask::post(&format!("{RECORDS}/x"), vec![b'z'; 1 << 20]).id("part");
    for bytes in [50, 1000, 20_000, 500_000] {
        let mut stream = ask.begin(&world.consumer.http(), bytes).await;
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{bytes}");
    }
    world.is_alive().await;
    assert_eq!(world.service.calls(), 1, "the good exchange only");
    for node in [&world.consumer, &world.provider] {
        assert_eq!(node.trace("part"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_information_system_that_does_not_wait_for_its_answer_costs_no_evidence() {
    let patience = [("timeout = \"500 ms\"", "timeout = \"30 s\"".to_owned())];
    let world = World::wish(Wishes { provider: patience.to_vec(), ..Wishes::default() }).await;
    world.service.mode(Mode::Held);
    let ask = Ask::post(&format!("{RECORDS}/x"), "act").id("left");
    let stream = ask.begin(&world.consumer.http(), usize::MAX).await;
    soon("the service is called", || world.service.calls() == 1).await;
    drop(stream);
    let meanwhile = world.ask(&Ask::get(CLOSED)).await;
    assert_eq!(meanwhile.status, 500, "by now its going has been seen");
    world.service.release();
    for node in [&world.consumer, &world.provider] {
        soon("the answer is logged", || node.trace("left").len() == 2).await;
        assert_eq!(node.trace("left"), ["request", "response"]);
        node.verifies("left");
    }
    world.service.mode(Mode::Echo);
    world.is_alive().await;
}

struct Disk(tempfile::TempDir);

impl Disk {
    /// None when these tests are left out: `PASSERELLE_MOUNT=no`, where nothing can be mounted.
    fn mount(size: &str) -> Option<Self> {
        if std::env::var_os("PASSERELLE_MOUNT").is_some_and(|value| value == "no") {
            println!("NOT RUN: PASSERELLE_MOUNT=no");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let options = format!("size={size},uid={user},gid={group},mode=700");
        run(as_root("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()))
            .map_err(|error| format!("{error} (PASSERELLE_MOUNT=no leaves this test out)"))
            .unwrap();
        Some(Self(folder))
    }

    fn fill_but(&self, bytes: u64) {
        self.empty();
        let file = std::fs::File::create(self.0.path().join("filler")).unwrap();
        let state = rustix::fs::statvfs(self.0.path()).unwrap();
        let free = state.f_bavail * state.f_frsize;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, free - bytes).unwrap();
    }

    fn empty(&self) {
        let _ = std::fs::remove_file(self.0.path().join("filler"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = as_root("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn counted(name: &str) -> u64 {
    let text = Metrics::install().unwrap().render();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn changed_settings_are_taken_up_while_exchanges_run_and_faulty_ones_refused() {
    let world = World::start().await;
    world.is_alive().await;
    let code = "server.serverproxy.access_denied";
    assert_eq!(world.ask(&Ask::get(CLOSED)).await.error(), Some(code));
    world.service.mode(Mode::Held);
    // Without the service's patience running out meanwhile.
    world.provider.edit("timeout = \"500 ms\"", "timeout = \"30 s\"");
    let taken_up = || counted("passerelle_settings_taken_up_total");
    let before = taken_up();
    soon("settings are taken up", || taken_up() > before).await;

    let under_way = Ask::post(&format!("{RECORDS}/x"), "long").id("long");
    let (http, calls) = (world.consumer.http(), world.service.calls());
    let under_way = tokio::spawn(async move { under_way.send_to(&http).await });
    soon("the service is called", || world.service.calls() > calls).await;
    let before = taken_up();
    world
        .provider
        .edit("/closed\"\n", "/closed\"\n[[client.service.allow]]\nto = \"DEMO/GOV/1001/portal\"\n");
    soon("settings are taken up", || taken_up() > before).await;
    world.service.mode(Mode::Echo);
    let reply = world.ask(&Ask::get(CLOSED)).await;
    assert_eq!((reply.status, reply.error()), (200, None));
    world.service.release();
    let reply: Reply = within("the exchange under way", under_way).await.unwrap();
    assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());

    let good = world.provider.settings();
    for (from, to) in [
        ("code = \"closed\"", "kode = \"closed\""),
        ("DEMO/GOV/2002/registry", "DEMO/GOV"),
        ("[[client.service]]", "[[client.service"),
    ] {
        let refused = counted("passerelle_settings_refused_total");
        world.provider.edit(from, to);
        soon("faulty settings are refused", || counted("passerelle_settings_refused_total") > refused).await;
        assert_eq!(world.ask(&Ask::get(CLOSED)).await.status, 200, "the old settings stay in force");
        world.is_alive().await;
        let before = taken_up();
        world.provider.put("gateway.toml", good.as_bytes());
        soon("settings are taken up", || taken_up() > before).await;
    }
}

#[tokio::test]
async fn a_graceful_stop_finishes_the_exchange_that_is_under_way() {
    let patience = [("timeout = \"500 ms\"", "timeout = \"30 s\"".to_owned())];
    let mut world = World::wish(Wishes { provider: patience.to_vec(), ..Wishes::default() }).await;
    world.service.mode(Mode::Held);
    let ask = Ask::post(&format!("{RECORDS}/x"), "long").id("last");
    let http = world.consumer.http();
    let under_way = tokio::spawn(async move { ask.send_to(&http).await });
    soon("the service is called", || world.service.calls() == 1).await;
    let stopping = [world.consumer.begin_to_stop(), world.provider.begin_to_stop()];
    let refused = async {
        while tokio::net::TcpStream::connect(world.consumer.http()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("no new connection is taken", refused).await;
    assert!(stopping.iter().all(|task| !task.is_finished()), "it waits for the exchange");
    world.service.release();
    let reply = within("the last answer", under_way).await.unwrap();
    assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());
    for task in stopping {
        within("the end", task).await.unwrap().unwrap();
    }
    for node in [&world.consumer, &world.provider] {
        assert_eq!(node.trace("last"), ["request", "response"]);
    }
    world.service.mode(Mode::Echo);
    world.consumer.start().await;
    world.provider.start().await;
    world.is_alive().await;
}

#[tokio::test]
async fn a_client_with_a_pinned_certificate_is_known_by_it_alone() {
    let world = World::start().await;
    let https = world.consumer.https();
    let server = CertificateDer::from(world.consumer.tls.certificate.der().to_vec());
    let none = Arc::new(service_client(&ServiceTrust::Pinned(vec![server]), None).unwrap());
    let good = Arc::new(peer_client(world.consumer.pinned.identity()).unwrap());
    let other = Arc::new(peer_client(world.provider.pinned.identity()).unwrap());
    let ask = |client: &str| Ask::get(&format!("{RECORDS}/x")).client(client);
    let (pinned, portal) = ("DEMO/GOV/1001/pinned", "DEMO/GOV/1001/portal");
    let denied = Some("server.serverproxy.access_denied");
    let unknown = Some("server.clientproxy.ssl_authentication_failed");
    // The pinned client has no right to the service: that the provider says so shows that it was let in.
    for (client, tls, error) in [
        (pinned, &good, denied),
        (pinned, &other, unknown),
        (pinned, &none, unknown),
        (portal, &none, None),
        (portal, &other, None),
    ] {
        let reply = ask(client).send_tls(&https, tls).await.expect("an answer");
        assert_eq!(reply.error(), error, "{client}: {}", reply.text());
    }
    assert_eq!(world.ask(&ask(pinned)).await.error(), unknown, "over plain HTTP");
    assert_eq!(world.service.calls(), 2);
    world.is_alive().await;
}
