//! A gateway whose log is put back to what it was a minute ago, and another gateway that remembers.
//!
//! ```text
//! consumer ◄── exchanges ──► provider ── checkpoints ──► the consumer's gateway, as a witness
//!                               │
//!                     its log directory: copied, a minute of traffic, the copy put back
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::Clock as _;
use cert_authority::http::{Client, Limits};
use cert_authority::keys::inventory::Usage;
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::keys::{KeyType, Pin};
use cert_authority::timestamp::{self, Token};
use cert_authority::tlog::witness::origin_hash;
use cert_authority::tlog::{Checkpoint, Note, NoteSigner, SignatureType, VerifierKey};
use gateway::gateway::{StartError, serve_with};
use gateway::messagelog::Record;
use gateway::messagelog::checkpoint::CheckpointError;
use gateway::messagelog::reader::{Filter, Order};
use gateway::messagelog::record::{CheckpointRecord, Kind};
use integration::world::{Node, World, soon};
use tokio::sync::watch;

const LOG: &str = "provider.example/log";
const WITNESS: &str = "consumer.example/witness";

/// Makes a key for notes, as `keys create` does; gives what others verify with.
fn note_key(node: &Node, usage: Usage, kind: SignatureType, name: &str, world: &World) -> VerifierKey {
    let directory = node.folder.join("keys");
    let pin = Pin::from_file(directory.join("pin")).unwrap();
    let keys = Arc::new(SoftwareKeys::open(&directory, &pin).unwrap());
    let id = keys.create(KeyType::Ed25519, usage, name, None, world.clock.now()).unwrap();
    NoteSigner::new(name, kind, id, keys).unwrap().verifier().clone()
}

/// A world in which the consumer's gateway witnesses the log of the provider's.
async fn witnessed() -> (World, VerifierKey, VerifierKey) {
    let mut world = World::start().await;
    world.stop().await;
    let log = note_key(&world.provider, Usage::Checkpoint, SignatureType::Ed25519, LOG, &world);
    let witness = note_key(&world.consumer, Usage::Witness, SignatureType::Cosignature, WITNESS, &world);
    let host = world.consumer.host;
    let being = format!(
        "[witness]\nname = \"{WITNESS}\"\nlisten = \"{host}:7010\"\n\
         [[witness.log]]\norigin = \"{LOG}\"\nkeys = [\"{log}\"]\n\n[timeouts]"
    );
    world.consumer.edit("[timeouts]", &being);
    let asking = format!(
        "[log.checkpoints]\norigin = \"{LOG}\"\nevery = \"100 ms\"\nquorum = 1\n\
         [[log.checkpoints.witness]]\nurl = \"http://{host}:7010\"\nkey = \"{witness}\"\n\n[timeouts]"
    );
    world.provider.edit("[timeouts]", &asking);
    world.consumer.start().await;
    world.provider.start().await;
    (world, log, witness)
}

/// What the witness holds of the log.
async fn held(world: &World, witness: &VerifierKey) -> u64 {
    let url = format!("http://{}:7010/{}/checkpoint", world.consumer.host, origin_hash(LOG));
    let answer = Client::new().get(&url, Limits::default()).await.unwrap();
    if answer.status.as_u16() == 404 {
        return 0;
    }
    let note = Note::parse(&answer.body).unwrap();
    Checkpoint::open(&note, LOG, [witness]).unwrap().size()
}

/// An exchange, and the witness has cosigned a checkpoint with it.
async fn exchange(world: &World, witness: &VerifierKey) {
    let before = world.provider.log().len();
    world.is_alive().await;
    while held(world, witness).await <= before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn checkpoints(node: &Node) -> Vec<CheckpointRecord> {
    let filter = Filter { kinds: vec![Kind::Checkpoint], ..Filter::default() };
    let found = node.log().find(&filter, Order::OldestFirst, None, 10_000).unwrap();
    let checkpoint =
        |record| if let Record::Checkpoint(checkpoint) = record { Some(checkpoint) } else { None };
    found.into_iter().filter_map(|stored| checkpoint(stored.record)).collect()
}

fn run(program: &str, arguments: &[&Path]) {
    let flag: &[&str] = if program == "cp" { &["-a"] } else { &[] };
    assert!(Command::new(program).args(flag).args(arguments).status().unwrap().success());
}

#[tokio::test]
async fn a_log_put_back_by_a_minute_keeps_its_gateway_from_starting_and_the_true_one_does_not() {
    let (mut world, _, witness) = witnessed().await;
    exchange(&world, &witness).await;
    world.provider.is_well(true).await;
    world.provider.stop().await;
    let (log, copy, taken) = (
        world.provider.folder.join("log"),
        world.provider.folder.join("log.copy"),
        world.provider.folder.join("log.true"),
    );
    run("cp", &[&log, &copy]);

    world.provider.start().await;
    for _ in 0..6 {
        world.clock.advance(Duration::from_secs(10));
        exchange(&world, &witness).await;
    }
    world.provider.stop().await;
    let remembered = held(&world, &witness).await;
    run("mv", &[&log, &taken]);
    run("mv", &[&copy, &log]);

    let (_stop, stopped) = watch::channel(false);
    let settings = world.provider.folder.join("gateway.toml");
    let refused = serve_with(&settings, world.clock.shared(), stopped).await;
    let found = world.provider.log().len();
    assert!(found < remembered);
    let Err(StartError::Checkpoints(proof)) = refused else { panic!("it has started: {refused:?}") };
    assert_eq!(proof, CheckpointError::RolledBack { by: WITNESS.to_owned(), held: remembered, found });

    run("mv", &[&log, &copy]);
    run("mv", &[&taken, &log]);
    world.provider.start().await;
    exchange(&world, &witness).await;
    world.provider.is_well(true).await;
}

#[tokio::test]
async fn checkpoints_are_sealed_with_cosignature_and_time_stamp_and_a_witness_that_is_away_stops_nobody() {
    let (mut world, log, witness) = witnessed().await;
    exchange(&world, &witness).await;
    let sealed = || {
        let all = checkpoints(&world.provider);
        all.into_iter().find(|one| one.token.is_some() && !one.cosignatures.is_empty())
    };
    soon("a checkpoint is sealed", || sealed().is_some()).await;
    let sealed = sealed().unwrap();
    let note = Note::parse(&sealed.note).unwrap();
    assert_eq!(Checkpoint::open(&note, LOG, [&log]).unwrap().size(), sealed.size);
    let token = Token::from_der(sealed.token.unwrap()).unwrap();
    let conf = world.provider.conf();
    timestamp::verify(&token, &sealed.note, conf.tsa_certificates(), None).unwrap();

    // Without its witness the gateway is unwell, and works.
    let host = world.consumer.host;
    world.consumer.stop().await;
    world.consumer.edit(&format!("listen = \"{host}:7010\""), &format!("listen = \"{host}:7011\""));
    world.consumer.start().await;
    for _ in 0..3 {
        world.is_alive().await;
    }
    assert!(world.provider.is_well(false).await.contains("0 of 1 witnesses cosign"));
    world.is_alive().await;
    world.consumer.stop().await;
    world.consumer.edit(&format!("listen = \"{host}:7011\""), &format!("listen = \"{host}:7010\""));
    world.consumer.start().await;
    exchange(&world, &witness).await;
    world.provider.is_well(true).await;
}
