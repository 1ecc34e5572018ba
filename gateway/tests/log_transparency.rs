//! The log as a transparency log: what an auditor gets over HTTP and from the command line, and what others do not.
//!
//! The auditor of this test trusts nothing: from tiles and entries it computes the root itself, by the definition.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::{Clock, FixedClock},
    crypto::digest,
    durable,
    keys::{KeyType, Pin, inventory::Usage, software::SoftwareKeys},
    tlog::{
        Checkpoint, Hash, InclusionProof, Note, NoteSigner, SignatureType, Trust,
        proof::{empty_root, leaf_hash, node_hash},
    },
};
use gateway::{
    admin::{Admin, Health, Role, Token, Tokens},
    audit::{counter, register},
    messagelog::{
        LogStore, MessageLog, Record,
        checkpoint::{Checkpoints, Settings},
        reader::{Filter, Order},
        record::{AccessRecord, Kind},
    },
    transparency::endpoints,
    transport::DoorLimits,
};
use log_support::*;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

const ORIGIN: &str = "gateway.example/log";

struct World {
    dir: TempDir,
    log: MessageLog,
    checkpoints: Checkpoints,
    address: std::net::SocketAddr,
    _stop: watch::Sender<bool>,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: FixedClock = clock();
        let keys = Arc::new(SoftwareKeys::open(dir.path().join("keys"), &Pin::new("pin")).unwrap());
        let id = keys.create(KeyType::Ed25519, Usage::Checkpoint, "", None, clock.now()).unwrap();
        let signer = NoteSigner::new(ORIGIN, SignatureType::Ed25519, id, keys).unwrap();
        let every = Duration::from_secs(1);
        let settings = Settings {
            origin: ORIGIN.into(),
            every,
            previous_keys: Vec::new(),
            witnesses: Vec::new(),
            quorum: 0,
        };
        let log = create(dir.path());
        let checkpoints = Checkpoints::open(log.clone(), signer, settings, Arc::new(clock)).unwrap();
        let token = |name: &str, role| Token {
            name: name.to_owned(),
            role,
            sha256: digest(DigestAlgorithm::Sha256, name.as_bytes()).as_ref().try_into().unwrap(),
        };
        let tokens = Tokens::new(vec![token("anna", Role::Operator), token("ben", Role::Auditor)]);
        let hosts = Arc::new(ArcSwap::from_pointee(vec!["127.0.0.1".to_owned()]));
        let admin = endpoints(Admin::new(tokens, hosts, Health::new()), &log, &checkpoints);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(admin.serve(listener, DoorLimits::default(), stopped));
        Self { dir, log, checkpoints, address, _stop: stop }
    }

    async fn fill(&self, count: u64) {
        for n in 0..count {
            append(&self.log, &format!("id-{n}"), b"body").await.unwrap();
        }
    }

    async fn get_as(&self, token: Option<&str>, path: &str) -> (u16, Vec<u8>) {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Connection: close\r\n\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer[split + 4..].to_vec())
    }

    async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.get_as(Some("ben"), path).await
    }

    async fn text(&self, path: &str) -> String {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}");
        String::from_utf8(body).unwrap()
    }

    fn trust(&self) -> Trust {
        let log = vec![self.checkpoints.verifier().clone()];
        Trust { origin: ORIGIN.into(), log, witnesses: Vec::new(), quorum: 0 }
    }
}

/// RFC 9162 2.1.1 word by word.
fn by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        more => {
            let k = more.len().next_power_of_two() / 2;
            node_hash(&by_definition(&more[..k]), &by_definition(&more[k..]))
        }
    }
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes.chunks(32).map(|hash| hash.try_into().unwrap()).collect()
}

fn tile(index: u64, size: u64) -> String {
    let width = (size - index * 256).min(256);
    if width == 256 { format!("{index:03}") } else { format!("{index:03}.p/{width}") }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_tiles_and_the_entries_computes_the_root_of_the_checkpoint() {
    let world = World::new().await;
    world.fill(600).await;
    world.checkpoints.make().await.unwrap().unwrap();
    let note = Note::parse(world.text("/log/checkpoint").await.as_bytes()).unwrap();
    let key = world.text("/log/verifier").await.trim().parse().unwrap();
    let checkpoint = Checkpoint::open(&note, ORIGIN, [&key]).unwrap();
    assert_eq!(checkpoint.size(), 600);
    let mut leaves = Vec::new();
    let mut entries = Vec::new();
    for index in 0..3 {
        let (status, bytes) = world.get(&format!("/log/tile/0/{}", tile(index, 600))).await;
        assert_eq!(status, 200);
        leaves.extend(hashes(&bytes));
        let (status, bundle) =
            world.get(&format!("/log/tile/entries/{}?reason=case+7", tile(index, 600))).await;
        assert_eq!(status, 200);
        let mut rest = bundle.as_slice();
        while let Some((length, more)) = rest.split_first_chunk::<2>() {
            let (entry, more) = more.split_at(usize::from(u16::from_be_bytes(*length)));
            entries.push(leaf_hash(entry));
            rest = more;
        }
    }
    assert_eq!((leaves.len(), &leaves), (600, &entries));
    assert_eq!(by_definition(&leaves), *checkpoint.root());
    let (_, above) = world.get("/log/tile/1/000.p/2").await;
    let expected = [by_definition(&leaves[..256]), by_definition(&leaves[256..512])];
    assert_eq!(hashes(&above), expected);
    // Who read the records stands in the log, before they were shown.
    let filter = Filter { kinds: vec![Kind::Access], ..Filter::default() };
    let readings = world.log.reader().find(&filter, Order::OldestFirst, None, 10).unwrap();
    assert_eq!(readings.len(), 3);
    let Record::Access(AccessRecord { who, reason, records, .. }) = &readings[2].record else { panic!() };
    assert_eq!((who.as_str(), reason.as_deref()), ("ben", Some("case 7")));
    assert_eq!((records.first(), records.last()), (Some(&512), Some(&599)));
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_over_http_hold_and_what_is_not_there_is_not_found() {
    let world = World::new().await;
    assert_eq!(world.get("/log/checkpoint").await.0, 404, "none was made yet");
    world.fill(20).await;
    world.checkpoints.make().await.unwrap().unwrap();
    world.fill(5).await;
    for number in [0, 7, 19] {
        let text = world.text(&format!("/log/proof/inclusion?number={number}")).await;
        let proof = InclusionProof::parse(&text).unwrap();
        let frame = world.log.reader().frame(number).unwrap().unwrap();
        assert_eq!((proof.index, proof.verify(&frame, &world.trust()).unwrap().size()), (number, 20));
        let other = world.log.reader().frame(number + 1).unwrap().unwrap();
        assert!(proof.verify(&other, &world.trust()).is_err());
    }
    let text = world.text("/log/proof/consistency?from=3").await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((json["from"]["size"].as_u64(), json["to"]["size"].as_u64()), (Some(3), Some(20)));
    assert!(!json["proof"].as_array().unwrap().is_empty());
    assert_eq!(world.text("/log/witnesses").await, "[]");
    for (status, path) in [
        (404, "/log/proof/inclusion?number=20"),
        (404, "/log/proof/inclusion?number=9999999999"),
        (400, "/log/proof/inclusion"),
        (400, "/log/proof/inclusion?number=x"),
        (400, "/log/proof/consistency"),
        (400, "/log/proof/consistency?from=21"),
        (400, "/log/proof/consistency?from=1&to=1000"),
        (404, "/log/tile/0/000"),
        (404, "/log/tile/0/001.p/1"),
        (404, "/log/tile/0/000.p/99"),
        (404, "/log/tile/1/000.p/1"),
        (404, "/log/tile/entries/000.p/99"),
        (400, "/log/tile/entries/000.p/20"),
        (400, "/log/tile/entries/000.p/20?reason=+"),
        (404, "/log/tile/0/../../keys"),
        (404, "/log/tile/"),
    ] {
        assert_eq!(world.get(path).await.0, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packages_that_read_the_checksum_database_of_go_read_our_checkpoint_and_tiles() {
    let world = World::new().await;
    // Three levels of tiles would take 65,536 records; two and partial ones do.
    world.fill(600).await;
    world.checkpoints.make().await.unwrap().unwrap();
    let program = world.dir.path().join("reader");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transparency_support/reader.go");
    // Debian's packages of Go libraries lie where Go looked for all packages before it had modules.
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", world.dir.path().join("cache"))
        .output()
        .expect("go is missing (apt-get install golang-go golang-golang-x-mod-dev): run integration/test.sh");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let (url, key) = (format!("http://{}/log", world.address), world.checkpoints.verifier().to_string());
    let read = |number: u64, key: &str, frame: &[u8]| {
        let file = world.dir.path().join("record");
        durable::write(&file, frame).unwrap();
        let mut command = Command::new(&program);
        command.args([url.as_str(), "ben", key, &number.to_string()]).arg(file).output().unwrap()
    };
    let frame = |number| world.log.reader().frame(number).unwrap().unwrap();
    for number in [0, 255, 256, 511, 512, 599] {
        let output = read(number, &key, &frame(number));
        let said = String::from_utf8_lossy(&output.stdout);
        let expected = format!("record {number} of 600 is in the log\n");
        assert_eq!(said, expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!read(7, &key, &frame(8)).status.success(), "another record");
    assert!(!read(600, &key, &frame(599)).status.success(), "one that the checkpoint does not cover");
    let other = World::new().await.checkpoints.verifier().to_string();
    assert!(!read(7, &other, &frame(7)).status.success(), "another log's key");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_auditor_is_shown_anything() {
    let world = World::new().await;
    world.fill(3).await;
    world.checkpoints.make().await.unwrap().unwrap();
    let before = world.log.reader().len();
    for path in ["/log/checkpoint", "/log/tile/0/000.p/3", "/log/tile/entries/000.p/3", "/log/witnesses"] {
        assert_eq!(world.get_as(Some("anna"), path).await.0, 403, "{path}");
        assert_eq!(world.get_as(None, path).await.0, 401, "{path}");
    }
    assert_eq!(world.log.reader().len(), before, "nobody has read anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_long_for_a_bundle_is_named_and_keeps_its_proof() {
    let world = World::new().await;
    world.fill(2).await;
    let mut long = message("long", b"", b"");
    long.parts.clear();
    long.signature = Bytes::from(vec![b'x'; 70_000]);
    world.log.append(Record::Request(long), Vec::new()).await.unwrap();
    world.checkpoints.make().await.unwrap().unwrap();
    let (status, body) = world.get("/log/tile/entries/000.p/3?reason=r").await;
    assert_eq!(status, 422);
    assert!(String::from_utf8(body).unwrap().contains("record 2 has 70"));
    assert_eq!(world.get("/log/tile/entries/000.p/2?reason=r").await.0, 200);
    let proof = InclusionProof::parse(&world.text("/log/proof/inclusion?number=2").await).unwrap();
    proof.verify(&world.log.reader().frame(2).unwrap().unwrap(), &world.trust()).unwrap();
}

fn gateway(folder: &Path, arguments: &[&str]) -> Output {
    let config = folder.join("gateway.toml");
    let text = "[server]\nid = \"DEMO/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
                [log]\ndirectory = \"log\"\nkey = \"kek\"\n[log.checkpoints]\norigin = \"gateway.example/log\"\n";
    durable::write(&config, text.as_bytes()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"))
        .arg("--config")
        .arg(&config)
        .args(arguments)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_prove_records_to_those_who_have_nothing_but_a_key() {
    let world = World::new().await;
    world.fill(30).await;
    world.checkpoints.make().await.unwrap().unwrap();
    // While the gateway has the log open.
    let run = |arguments: &[&str]| gateway(world.dir.path(), arguments);
    let done = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let note = Note::parse(done(&["log", "checkpoint"]).as_bytes()).unwrap();
    assert_eq!(note, world.checkpoints.latest().unwrap().note);
    let file = |name: &str| world.dir.path().join(name).to_str().unwrap().to_owned();
    let directory = world.dir.path().join("log");
    tokio::spawn(counter::serve(world.log.clone(), directory.clone(), world._stop.subscribe()));
    while !directory.join("readings.sock").exists() {
        tokio::task::yield_now().await;
    }
    let proof = done(&["log", "prove", "11"]);
    assert_eq!(register::readings(&world.log.reader(), &[11]).unwrap(), [], "a proof shows no record");
    let refused = run(&["log", "prove", "11", "--record", &file("record")]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--reason is needed"));
    assert_eq!(done(&["log", "prove", "11", "--record", &file("record"), "--reason", "case 7"]), proof);
    let (_, reading) = register::readings(&world.log.reader(), &[11]).unwrap().remove(0);
    assert_eq!((reading.action.as_str(), reading.reason.as_deref()), ("prove", Some("case 7")));
    durable::write(file("proof"), proof.as_bytes()).unwrap();
    let key = world.checkpoints.verifier().to_string();
    let check = ["log", "check-proof", &file("proof"), "--record", &file("record"), "--key", &key];
    assert!(done(&check).starts_with("record 11 is in the log gateway.example/log, as of 30 records"));
    let json: serde_json::Value = serde_json::from_str(&done(&["log", "consistency", "4"])).unwrap();
    assert_eq!(json["to"]["size"], 30);

    durable::write(file("record"), b"another").unwrap();
    let fails = |arguments: &[&str], why: &str| {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
    };
    fails(&check, "the proof does not hold");
    fails(&["log", "prove", "30"], "record 30 is not covered by the checkpoint over 30 records");
    fails(&["log", "consistency", "40"], "no proof from 40 to 30");
    fails(&["log", "checkpoint", "--cosigned"], "no checkpoint in the log has a cosignature");
}
