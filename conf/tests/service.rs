//! The authority's server on a real socket, and the program from the command line.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failure of the test")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::{Clock, SystemClock};
use cert_authority::http;
use common::world::{World, copy_tree, put};
use conf::authority::{Publisher, Registry, SourceKind};
use conf::client::verify_folder;
use conf::service::Serving;

async fn get(url: &str) -> (u16, Vec<u8>) {
    let response = http::Client::new().get(url, http::Limits::default()).await.unwrap();
    (response.status.as_u16(), response.body.to_vec())
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("nothing happened in 20 s")
}

#[tokio::test]
async fn each_version_that_is_written_is_served_and_no_other() {
    let world = World::new().await;
    let at = |path: &str| format!("http://{}{path}", world.address);
    for source in ["internalconf", "externalconf"] {
        for version in 3..=6 {
            let (status, body) = get(&at(&format!("/{source}?version={version}"))).await;
            assert_eq!(status, 200);
            assert_eq!(body, std::fs::read(world.path(&format!("public/V{version}/{source}"))).unwrap());
            let text = String::from_utf8(body).unwrap();
            for location in text.lines().filter_map(|line| line.strip_prefix("Content-location: ")) {
                let (status, part) = get(&at(location)).await;
                assert_eq!((status, part.starts_with(b"<?xml")), (200, true), "{location}");
            }
        }
        for no_version in ["", "?version=2", "?version=7", "?version=", "?version=../keys", "?v=6"] {
            assert_eq!(get(&at(&format!("/{source}{no_version}"))).await.0, 404, "{no_version}");
        }
    }
    for path in
        ["/", "/V6", "/V6/internalconf", "/V6/../../keys/pin", "/authority.toml", "/V6/1/%2e%2e/pin.xml"]
    {
        assert_eq!(get(&at(path)).await.0, 404, "{path}");
    }
    let post = http::Client::new()
        .post(&at("/internalconf?version=6"), "text/plain", "x".into(), http::Limits::default())
        .await
        .unwrap();
    assert_eq!(post.status.as_u16(), 405);
}

#[tokio::test]
async fn a_changed_register_is_published_at_once_and_a_faulty_one_refused_with_its_line() {
    let world = World::new().await;
    let serving = Serving::begin(world.path("authority.toml"), Arc::new(world.clock.clone())).await.unwrap();
    let (mut published, mut refused) = (serving.published(), serving.refused());
    let url = format!("http://{}/internalconf?version=6", serving.address().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(serving.run(async {
        let _ = stopped.await;
    }));
    let shared = || std::fs::read_to_string(world.parts().join("shared-params.xml")).unwrap();

    let before = *published.borrow_and_update();
    world.edit("Ministry of Examples", "Ministry of Samples");
    within(published.changed()).await.unwrap();
    assert!(published.borrow_and_update().expires > before.expires);
    assert!(shared().contains("Ministry of Samples"));

    world.edit("owner = \"DEMO/GOV/2002\"", "owner = \"DEMO/GOV/3003\"");
    within(refused.wait_for(Option::is_some)).await.unwrap();
    let error = refused.borrow().clone().unwrap();
    let line = std::fs::read_to_string(world.path("authority.toml")).unwrap();
    let line = line.lines().position(|line| line.contains("3003")).map(|n| n + 1);
    assert_eq!(error.problems.0[0].line, line);
    assert_eq!(get(&url).await.0, 200, "what was published last stays");
    assert!(!published.has_changed().unwrap());

    world.edit("owner = \"DEMO/GOV/3003\"", "owner = \"DEMO/GOV/2002\"");
    within(refused.wait_for(Option::is_none)).await.unwrap();
    // A certificate that the register names is a change as well, and so is a key.
    std::fs::copy(world.path("certificates/ss1.pem"), world.path("certificates/old.pem")).unwrap();
    world.edit("[\"certificates/ss1.pem\"]", "[\"certificates/old.pem\"]");
    within(published.changed()).await.unwrap();
    published.borrow_and_update();
    let key = world.add_key(SourceKind::Internal).await;
    within(published.changed()).await.unwrap();
    assert!(world.keys().all().iter().any(|k| k.id.as_str() == key && !k.active));
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn the_configuration_is_republished_all_the_time() {
    let world = World::new().await;
    world.edit("directory = \"public\"", "directory = \"public\"\nevery = \"1 s\"\nvalidity = \"2 s\"");
    let serving = Serving::begin(world.path("authority.toml"), Arc::new(SystemClock)).await.unwrap();
    let mut published = serving.published();
    tokio::spawn(serving.run(std::future::pending()));
    let first = *published.borrow_and_update();
    within(published.changed()).await.unwrap();
    assert!(published.borrow_and_update().expires > first.expires);
}

#[tokio::test]
async fn an_authority_does_not_begin_with_a_faulty_register_or_a_taken_port() {
    let world = World::new().await;
    let begin = || Serving::begin(world.path("authority.toml"), Arc::new(SystemClock));
    world.edit("127.0.0.1:0", &world.address);
    let error = begin().await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen on {}", world.address)), "{error}");
    world.edit("name = \"Demo TSA\"", "nam = \"Demo TSA\"");
    let error = begin().await.err().unwrap().to_string();
    assert!(error.contains("tsa[1]: unknown field `nam`"), "{error}");
}

fn program(folder: &Path, words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_passerelle-conf"))
        .args(words.split(' '))
        .current_dir(folder)
        .output()
        .unwrap()
}

fn succeeds(folder: &Path, words: &str) -> String {
    let output = program(folder, words);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{words}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn fails(folder: &Path, words: &str) -> String {
    let output = program(folder, words);
    assert_eq!(output.status.code(), Some(1), "{words}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_administrator_sets_up_an_authority_and_a_gateway_fetches_from_it() {
    let folder = common::authority();
    let dir = folder.path();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let register = common::REGISTER.replace("127.0.0.1:7001", &format!("127.0.0.1:{port}"));
    common::write(dir, &register.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));

    assert!(fails(dir, "publish").contains("passerelle-conf init"));
    assert!(fails(dir, "anchor").contains("passerelle-conf init"));
    let text = succeeds(dir, "init --key rsa2048");
    assert!(text.contains("internal: new signing key"), "{text}");
    assert!(succeeds(dir, "init").contains("there is a signing key already"));
    assert!(succeeds(dir, "check").contains("is sound: instance DEMO, 2 members, 2 servers"));
    assert!(succeeds(dir, "anchor").contains("SHA-224 fingerprint"));
    succeeds(dir, "anchor --external");
    assert_eq!(succeeds(dir, "key list").lines().count(), 2);

    let mut serving = Command::new(env!("CARGO_BIN_EXE_passerelle-conf"))
        .args(["serve", "--config"])
        .arg(dir.join("authority.toml"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut tries = 0;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tries += 1;
        assert!(tries < 400, "it does not listen");
        std::thread::sleep(Duration::from_millis(25));
    }
    let text = succeeds(dir, "fetch --anchor anchor.xml --dir gateway");
    assert!(text.starts_with("DEMO: version 6 taken from http://127.0.0.1:"), "{text}");
    assert!(succeeds(dir, "fetch --anchor anchor.xml --dir gateway").contains("has nothing new"));
    assert!(
        succeeds(dir, "verify --anchor anchor.xml --dir gateway")
            .contains("gateway: valid; instance DEMO, version 6")
    );
    assert!(succeeds(dir, "verify --anchor anchor.xml").contains("private-params.xml"));
    assert!(!succeeds(dir, "verify --anchor external-anchor.xml").contains("private-params.xml"));
    let wrong =
        fails(dir, &format!("verify --anchor anchor.xml http://127.0.0.1:{port}/externalconf?version=6"));
    assert!(wrong.contains("no verification certificate"), "{wrong}");
    let none = fails(dir, &format!("verify --anchor anchor.xml http://127.0.0.1:{port}/nothing"));
    assert!(none.contains("has no version that is known here"), "{none}");

    // Rotation while it serves.
    let id = succeeds(dir, "key add internal").lines().next().unwrap().to_owned();
    let old = succeeds(dir, "key list").lines().next().unwrap().split(' ').next().unwrap().to_owned();
    assert!(fails(dir, &format!("key remove {old}")).contains("activate another one first"));
    succeeds(dir, &format!("key activate {id}"));
    succeeds(dir, &format!("key remove {old}"));
    assert_eq!(program(dir, "key add sideways").status.code(), Some(2));

    succeeds_to_stop(&mut serving);
    let error = fails(dir, "fetch --anchor anchor.xml --dir gateway");
    assert!(error.contains("cannot connect"), "{error}");
}

fn succeeds_to_stop(process: &mut std::process::Child) {
    let stopped = Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(stopped.success());
    assert_eq!(process.wait().unwrap().code(), Some(0), "a graceful stop");
}

#[test]
fn faults_of_the_register_are_told_with_file_line_and_key() {
    let folder = common::authority();
    let register = common::REGISTER.replace("code = \"ss2\"", "code = 2");
    common::write(folder.path(), &register);
    let line = register.lines().position(|line| line == "code = 2").unwrap() + 1;
    let error = fails(folder.path(), "check");
    let told = format!("authority.toml:\nline {line}: server[2]: invalid type: integer");
    assert!(error.contains(&told), "{error}");
    assert!(fails(folder.path(), "check --config nowhere.toml").contains("nowhere.toml"));
}

#[tokio::test]
async fn a_rolled_back_source_is_refused_by_the_program_unless_the_operator_insists() {
    let world = World::new().await;
    world.clock.set(SystemClock.now());
    world.publish().await;
    copy_tree(&world.path("public"), &world.path("old"));
    world.advance(30);
    world.publish().await;
    let dir = world.folder.path().to_owned();
    let run = |words: &'static str, good: bool| {
        let dir = dir.clone();
        tokio::task::spawn_blocking(move || if good { succeeds(&dir, words) } else { fails(&dir, words) })
    };
    run("fetch --anchor anchor.xml --dir gateway", true).await.unwrap();
    std::fs::remove_dir_all(world.path("public")).unwrap();
    copy_tree(&world.path("old"), &world.path("public"));
    let error = run("fetch --anchor anchor.xml --dir gateway", false).await.unwrap();
    assert!(error.contains("--accept-older takes it"), "{error}");
    let text = run("fetch --anchor anchor.xml --dir gateway --accept-older", true).await.unwrap();
    assert!(text.contains("taken from"), "{text}");
    // What lies on disk is verified anew.
    let part = world.path("gateway/DEMO/shared-params.xml");
    put(&part, std::fs::read_to_string(&part).unwrap().replace("127.0.0.21", "127.0.0.99").as_bytes());
    let error = run("verify --anchor anchor.xml --dir gateway", false).await.unwrap();
    assert!(error.contains("is not what the directory says"), "{error}");
}

/// The fetching process is killed at 40 moments spread over the time that it takes, each time with another set to be
/// fetched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_a_fetch_leaves_the_old_set_or_the_new_one() {
    const KILLS: u32 = 40;
    let world = World::new().await;
    world.clock.set(SystemClock.now());
    let publisher = Publisher::new(Registry::load(&world.path("authority.toml")).unwrap()).unwrap();
    let (anchor, gateway) = (world.path("anchor.xml"), world.path("gateway"));
    let fetch = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-conf"));
        command.args(["fetch", "--anchor"]).arg(&anchor).arg("--dir").arg(&gateway);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut before = publisher.publish(world.now()).await.unwrap().expires;
    let begun = tokio::time::Instant::now();
    assert!(fetch().wait().unwrap().success());
    let whole = begun.elapsed();
    let (mut old, mut new) = (0, 0);
    for kill in 0..KILLS {
        let published = publisher.publish(world.now()).await.unwrap().expires;
        let mut fetching = fetch();
        tokio::time::sleep(whole * kill * 3 / (KILLS * 2)).await;
        fetching.kill().unwrap();
        fetching.wait().unwrap();
        let (found, _) = verify_folder(&anchor, &gateway, world.now()).unwrap().age();
        if found == published {
            new += 1;
        } else {
            assert_eq!(found, before);
            old += 1;
        }
        before = found;
    }
    assert!(old > 0 && new > 0, "killed too early or too late each time: {old} old, {new} new");
}

#[tokio::test]
async fn the_authority_witnesses_logs_that_its_register_knows_and_no_others() {
    use cert_authority::keys::{KeyType, Pin, inventory::Usage, software::SoftwareKeys};
    use cert_authority::tlog::{Checkpoint, Note, NoteSigner, SignatureType, VerifierKey};
    use cert_authority::tlog::{proof::leaf_hash, witness::read_cosignature};
    let world = World::new().await;
    let keys = Arc::new(SoftwareKeys::open(world.path("log"), &Pin::new("1")).unwrap());
    let key = keys.create(KeyType::Ed25519, Usage::Checkpoint, "", None, world.now()).unwrap();
    let log = NoteSigner::new("log.example", SignatureType::Ed25519, key, keys).unwrap();
    let table = format!(
        "[witness]\nname = \"authority.example\"\nlisten = \"127.0.0.1:0\"\n\
         [[witness.log]]\norigin = \"log.example\"\nkeys = [\"{}\"]\n[publish]",
        log.verifier()
    );
    world.edit("[publish]", &table);
    let begin = async || Serving::begin(world.path("authority.toml"), Arc::new(world.clock.clone())).await;
    assert!(begin().await.is_err(), "there is no key yet");
    let shown = conf::service::witness_key(&world.path("authority.toml")).unwrap();
    assert_eq!(conf::service::witness_key(&world.path("authority.toml")).unwrap(), shown, "made once");
    let verifier: VerifierKey = shown.trim().parse().unwrap();

    let serving = begin().await.unwrap();
    let url = format!("http://{}/add-checkpoint", serving.witness_address().unwrap());
    tokio::spawn(serving.run(std::future::pending()));
    let ask = async |origin: &str, leaf: &[u8]| {
        let text = Checkpoint::new(origin, 1, leaf_hash(leaf)).unwrap().to_string();
        let note = Note::new(text.as_str(), vec![log.sign(&text, world.now()).await.unwrap()]).unwrap();
        let body = format!("old 0\n\n{note}");
        let limits = http::Limits::default();
        (http::Client::new().post(&url, "text/plain", body.into(), limits).await.unwrap(), text)
    };
    let (answer, text) = ask("log.example", b"one").await;
    assert_eq!(answer.status.as_u16(), 200);
    read_cosignature(&answer.body, &text, &verifier).unwrap();
    assert_eq!(ask("log.example", b"two").await.0.status.as_u16(), 409);
    assert_eq!(ask("other.example", b"one").await.0.status.as_u16(), 404);
}
