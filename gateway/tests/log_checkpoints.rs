//! Signed checkpoints of the message log, and the witnesses that remember them.
//!
//! ```text
//! log ──► Checkpoints ──► frame of kind 5          copy of the folder, put back later: a rolled back log
//!              │ HTTP
//!              ▼
//!          Witness (its own key and folder) ── cosignature; or proof that the log is not what it was
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use cert_authority::{
    clock::{Clock, FixedClock},
    http::Client,
    keys::{KeyType, Pin, inventory::Usage, software::SoftwareKeys},
    tlog::{
        Checkpoint, Note, NoteSigner, SignatureType, door, proof,
        witness::{KnownLog, Witness},
    },
};
use gateway::messagelog::{
    LogError, LogStore, MessageLog, Record,
    checkpoint::{CheckpointError, Checkpoints, Settings, Signed, agrees},
    reader::{Filter, Order},
    record::{CheckpointRecord, Kind},
    stamp::{Granted, StampError, StampFuture, TimestampAuthority},
    tiles::Tiles,
    witnessing::WitnessSettings,
};
use log_support::*;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

const ORIGIN: &str = "gateway.example/DEMO/GOV/1001/log";

struct World {
    dir: TempDir,
    keys: Arc<SoftwareKeys>,
    signer: NoteSigner,
    cosigner: NoteSigner,
    clock: FixedClock,
}

/// A witness that listens.
struct Listening {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<()>,
}

impl Listening {
    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.done.await.unwrap();
    }
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = clock();
        let keys = Arc::new(SoftwareKeys::open(dir.path().join("keys"), &Pin::new("pin")).unwrap());
        let signer = |name, kind, usage| {
            let id = keys.create(KeyType::Ed25519, usage, name, None, clock.now()).unwrap();
            NoteSigner::new(name, kind, id, keys.clone()).unwrap()
        };
        let own = signer(ORIGIN, SignatureType::Ed25519, Usage::Checkpoint);
        let cosigner = signer("witness.example/w", SignatureType::Cosignature, Usage::Witness);
        Self { signer: own, cosigner, keys, clock, dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn witness(&self) -> Listening {
        let known = KnownLog { origin: ORIGIN.into(), keys: vec![self.signer.verifier().clone()] };
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let witness =
            Witness::open(self.cosigner.clone(), &self.path().join("witness"), vec![known], clock).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(door::run(listener, Arc::new(witness), async {
            let _ = stopped.await;
        }));
        Listening { url, stop: Some(stop), done }
    }

    fn settings(&self, url: &str) -> Settings {
        let witness = WitnessSettings {
            url: url.to_owned(),
            key: self.cosigner.verifier().clone(),
            client: Client::new(),
        };
        Settings {
            origin: ORIGIN.into(),
            every: Duration::from_secs(1),
            previous_keys: Vec::new(),
            witnesses: vec![witness],
            quorum: 1,
        }
    }

    fn checkpoints(&self, log: &MessageLog, url: &str) -> Result<Checkpoints, CheckpointError> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        Checkpoints::open(log.clone(), self.signer.clone(), self.settings(url), clock)
    }

    /// What `log witnesses` says, and whether all is well.
    fn witnesses(&self, url: &str) -> (String, bool) {
        let settings = format!(
            "[server]\nid = \"DEMO/GOV/1001/ss1\"\n[configuration]\nanchor = \"anchor.xml\"\n\
             [log]\ndirectory = \"log\"\nkey = \"kek\"\n[log.checkpoints]\norigin = \"{ORIGIN}\"\n\
             [[log.checkpoints.witness]]\nurl = \"{url}\"\nkey = \"{}\"\n",
            self.cosigner.verifier()
        );
        let file = self.path().join("gateway.toml");
        cert_authority::durable::write(&file, settings.as_bytes()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
        let output = command.arg("--config").arg(&file).args(["log", "witnesses"]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (String::from_utf8(said).unwrap(), output.status.success())
    }

    fn copy(&self, from: &str, to: &str) -> PathBuf {
        let to = self.path().join(to);
        let copied = Command::new("cp").arg("-a").arg(self.path().join(from)).arg(&to).status().unwrap();
        assert!(copied.success());
        to
    }

    /// The log directory is what the copy was.
    fn put_back(&self, copy: &Path) {
        fs::remove_dir_all(self.path().join("log")).unwrap();
        let moved = Command::new("mv").arg(copy).arg(self.path().join("log")).status().unwrap();
        assert!(moved.success());
    }
}

async fn fill(log: &MessageLog, count: u32) {
    for _ in 0..count {
        append(log, &format!("id-{}", log.reader().len()), b"body").await.unwrap();
    }
}

async fn made(checkpoints: &Checkpoints) -> Arc<Signed> {
    checkpoints.make().await.unwrap().unwrap()
}

fn in_the_log(log: &MessageLog) -> Vec<(u64, CheckpointRecord)> {
    let filter = Filter { kinds: vec![Kind::Checkpoint], ..Filter::default() };
    let found = log.reader().find(&filter, Order::OldestFirst, None, 1000).unwrap();
    let checkpoint = |record| match record {
        Record::Checkpoint(checkpoint) => checkpoint,
        other => panic!("{other:?}"),
    };
    found.into_iter().map(|found| (found.sequence, checkpoint(found.record))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_a_frame_before_it_is_shown_and_none_is_made_without_traffic() {
    let world = World::new();
    let log = create(world.path());
    let checkpoints = world.checkpoints(&log, "http://127.0.0.1:9").unwrap();
    assert_eq!(checkpoints.make().await.unwrap(), None, "nothing was logged");
    assert!(checkpoints.latest().is_none());
    fill(&log, 5).await;
    let first = made(&checkpoints).await;
    assert_eq!((first.checkpoint.size(), first.checkpoint.origin()), (5, ORIGIN));
    assert_eq!(checkpoints.make().await.unwrap(), None, "the checkpoint itself is no traffic");
    fill(&log, 2).await;
    let second = made(&checkpoints).await;
    assert_eq!(second.checkpoint.size(), 8);
    let found = in_the_log(&log);
    assert_eq!(found.iter().map(|(number, c)| (*number, c.size)).collect::<Vec<_>>(), [(5, 5), (8, 8)]);
    for ((_, record), signed) in found.iter().zip([&first, &second]) {
        let note = Note::parse(&record.note).unwrap();
        assert_eq!(note, signed.note);
        let checkpoint = Checkpoint::open(&note, ORIGIN, [world.signer.verifier()]).unwrap();
        assert_eq!((checkpoint.size(), checkpoint.root()), (record.size, &record.root));
        agrees(checkpoints.tiles(), &checkpoint, "the log").unwrap();
    }
    // After a restart it goes on from there.
    drop((checkpoints, log));
    let log = open(world.path()).unwrap();
    let checkpoints = world.checkpoints(&log, "http://127.0.0.1:9").unwrap();
    assert_eq!(checkpoints.latest().unwrap().note, second.note);
    assert_eq!(checkpoints.make().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_has_a_proof_in_every_checkpoint_and_each_goes_on_from_the_one_before() {
    let world = World::new();
    let log = create(world.path());
    let checkpoints = world.checkpoints(&log, "http://127.0.0.1:9").unwrap();
    let mut all: Vec<Arc<Signed>> = Vec::new();
    for count in [1, 30, 250, 300] {
        fill(&log, count).await;
        all.push(made(&checkpoints).await);
    }
    let tiles = checkpoints.tiles();
    for signed in &all {
        let (size, root) = (signed.checkpoint.size(), signed.checkpoint.root());
        for number in (0..size).step_by(37) {
            let path = proof::inclusion(tiles, number, size).unwrap().unwrap();
            let leaf = proof::leaf_hash(&log.reader().frame(number).unwrap().unwrap());
            assert_eq!(leaf, log.reader().get(number).unwrap().unwrap().leaf);
            proof::verify_inclusion(&path, &leaf, number, size, root).unwrap();
        }
        for before in &all {
            let (old, old_root) = (before.checkpoint.size(), before.checkpoint.root());
            if let Some(path) = proof::consistency(tiles, old, size).unwrap() {
                proof::verify_consistency(&path, old, old_root, size, root).unwrap();
            }
        }
    }
    // Two full tiles of leaves were kept, and a changed one is not believed.
    assert!(tiles.written() >= 2);
    let tile = world.path().join("log/tiles/0/000");
    let whole = fs::read(&tile).unwrap();
    assert_eq!(whole.len(), 256 * 32 + 32);
    let expected = tiles.tile(0, 0, 256).unwrap().unwrap();
    let forged = [&[7; 32], &whole[32..256 * 32]].concat();
    let check = cert_authority::crypto::digest(cert_authority::algorithm::DigestAlgorithm::Sha256, &forged);
    for bad in [whole[..300].to_vec(), [&[7; 32], &whole[32..]].concat()] {
        cert_authority::durable::write(&tile, &bad).unwrap();
        assert_eq!(Tiles::new(log.reader(), false).tile(0, 0, 256).unwrap().unwrap(), expected);
    }
    // Forged with its check: then a checkpoint shows it, and the tile is made anew.
    cert_authority::durable::write(&tile, &[forged.as_slice(), check.as_ref()].concat()).unwrap();
    let tiles = Tiles::new(log.reader(), true);
    agrees(&tiles, &all[3].checkpoint, "the log").unwrap();
    assert_eq!(tiles.tile(0, 0, 256).unwrap().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_cosigns_and_the_sealed_checkpoint_carries_its_word() {
    let world = World::new();
    let log = create(world.path());
    let witness = world.witness().await;
    let checkpoints = world.checkpoints(&log, &witness.url).unwrap();
    checkpoints.ask_witnesses().await.unwrap();
    for _ in 0..3 {
        fill(&log, 20).await;
        let signed = made(&checkpoints).await;
        checkpoints.hand_to(0, &signed).await.unwrap();
        let shown = checkpoints.shown().unwrap();
        assert_eq!(shown.note.text(), signed.note.text());
        let keys = [world.signer.verifier(), world.cosigner.verifier()];
        assert_eq!(shown.note.verify(keys).unwrap().len(), 2);
    }
    assert!(checkpoints.seal(&[]).await.unwrap());
    assert!(!checkpoints.seal(&[]).await.unwrap(), "once");
    assert_eq!(checkpoints.make().await.unwrap(), None, "a sealed checkpoint is no traffic");
    let (_, sealed) = in_the_log(&log).pop().unwrap();
    assert_eq!((sealed.size, sealed.cosignatures.len(), sealed.token), (62, 1, None));
    let line = std::str::from_utf8(&sealed.cosignatures[0]).unwrap();
    let whole = format!("{}{line}\n", std::str::from_utf8(&sealed.note).unwrap());
    let whole = Note::parse(whole.as_bytes()).unwrap();
    assert_eq!(whole.verify([world.cosigner.verifier()]).unwrap().len(), 1);
    assert_eq!(checkpoints.health(), Ok(()));
    let (said, well) = world.witnesses(&witness.url);
    assert!(well && said.contains("witness.example/w: holds 62 records, as the log does"), "{said}");
    let url = witness.url.clone();
    witness.stop().await;
    let (said, well) = world.witnesses(&url);
    assert!(well && said.contains("cannot be asked"), "{said}");
}

/// Acceptance 3 of the log: what is put back is whole in itself; only somebody else can know that there was more.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_rolled_back_by_a_minute_is_seen_through_the_witness() {
    let world = World::new();
    let log = create(world.path());
    let witness = world.witness().await;
    let checkpoints = world.checkpoints(&log, &witness.url).unwrap();
    fill(&log, 30).await;
    checkpoints.hand_to(0, &*made(&checkpoints).await).await.unwrap();
    drop((checkpoints, log));
    let copy = world.copy("log", "log.before");

    // The minute that somebody would like to undo: a checkpoint a second.
    let log = open(world.path()).unwrap();
    let checkpoints = world.checkpoints(&log, &witness.url).unwrap();
    for _ in 0..60 {
        world.clock.advance(Duration::from_secs(1));
        fill(&log, 2).await;
        checkpoints.hand_to(0, &*made(&checkpoints).await).await.unwrap();
    }
    let held = checkpoints.latest().unwrap().checkpoint.size();
    assert_eq!(held, 30 + 1 + 60 * 3 - 1);
    drop((checkpoints, log));
    world.put_back(&copy);

    // By itself it is a good log, and goes on from its own last checkpoint.
    let log = open(world.path()).unwrap();
    let found = log.reader().len();
    let checkpoints = world.checkpoints(&log, &witness.url).unwrap();
    let proof = CheckpointError::RolledBack { by: "witness.example/w".into(), held, found };
    assert_eq!(checkpoints.ask_witnesses().await, Err(proof.clone()));

    // Another key since then does not hide it, as long as the settings name the one before.
    let id = world.keys.create(KeyType::Ed25519, Usage::Checkpoint, "", None, world.clock.now()).unwrap();
    let newer = NoteSigner::new(ORIGIN, SignatureType::Ed25519, id, world.keys.clone()).unwrap();
    let previous_keys = vec![world.signer.verifier().clone()];
    let settings = Settings { previous_keys, ..world.settings(&witness.url) };
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let renewed = Checkpoints::open(log.clone(), newer, settings, clock).unwrap();
    assert_eq!(renewed.ask_witnesses().await, Err(proof.clone()));
    drop(renewed);

    // An auditor sees the same from the command line, while the gateway has the log open.
    let (said, well) = world.witnesses(&witness.url);
    assert!(!well && said.contains("the log was rolled back"), "{said}");

    // Also when it has grown past what the witness holds, and nobody asked at the start.
    fill(&log, 400).await;
    let signed = made(&checkpoints).await;
    assert!(signed.checkpoint.size() > held);
    assert!(checkpoints.hand_to(0, &signed).await.is_err());
    let changed = CheckpointError::OtherHistory { by: "witness.example/w".into(), size: held };
    assert_eq!(append(&log, "late", b"").await, Err(LogError::Stopped(changed.to_string())));
    assert!(matches!(log.ready(), Err(LogError::Stopped(_))));
    assert!(checkpoints.health().is_err());
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_log_that_is_handed_over_before_it_has_grown_stops_too() {
    let world = World::new();
    let log = create(world.path());
    let witness = world.witness().await;
    fill(&log, 10).await;
    drop(log);
    let copy = world.copy("log", "log.before");
    let log = open(world.path()).unwrap();
    let checkpoints = world.checkpoints(&log, &witness.url).unwrap();
    fill(&log, 10).await;
    checkpoints.hand_to(0, &*made(&checkpoints).await).await.unwrap();
    drop((checkpoints, log));
    world.put_back(&copy);
    let log = open(world.path()).unwrap();
    let checkpoints = world.checkpoints(&log, &witness.url).unwrap();
    checkpoints.hand_to(0, &*made(&checkpoints).await).await.unwrap_err();
    let Err(LogError::Stopped(why)) = append(&log, "late", b"").await else { panic!("it went on") };
    assert!(why.contains("rolled back") && why.contains("20 records"), "{why}");
    witness.stop().await;
}

/// An authority that grants rubbish, or nothing.
struct Authority(bool);

impl TimestampAuthority for Authority {
    fn name(&self) -> &str {
        "TSA"
    }

    fn stamp<'a>(&'a self, data: &'a [u8]) -> StampFuture<'a> {
        Box::pin(async move {
            if self.0 {
                return Ok(Granted { token: data.to_vec().into(), time: clock().now() });
            }
            Err(StampError { authority: "TSA".into(), reason: "closed".into() })
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_stamped_over_its_note_by_the_first_authority_that_grants() {
    let world = World::new();
    let log = create(world.path());
    let checkpoints = world.checkpoints(&log, "http://127.0.0.1:9").unwrap();
    checkpoints.ask_witnesses().await.unwrap();
    assert_eq!(checkpoints.seal(&[Box::new(Authority(true))]).await, Ok(false), "there is none");
    fill(&log, 3).await;
    let signed = made(&checkpoints).await;
    let refused = checkpoints.seal(&[Box::new(Authority(false))]).await;
    assert!(matches!(refused, Err(CheckpointError::Unstamped(errors)) if errors.len() == 1));
    assert_eq!(in_the_log(&log).len(), 1, "nothing is written without a token");
    assert_eq!(checkpoints.seal(&[Box::new(Authority(false)), Box::new(Authority(true))]).await, Ok(true));
    let (_, sealed) = in_the_log(&log).pop().unwrap();
    assert_eq!((&sealed.token, sealed.size), (&Some(sealed.note.clone()), 3));
    assert_eq!(sealed.note, signed.note.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_background_checkpoints_follow_the_traffic_and_a_last_one_is_made_at_the_end() {
    let world = World::new();
    let log = create(world.path());
    let witness = world.witness().await;
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let settings = Settings { every: Duration::from_millis(100), ..world.settings(&witness.url) };
    let checkpoints = Checkpoints::open(log.clone(), world.signer.clone(), settings, clock).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(checkpoints.clone().run(Vec::new, || Duration::from_millis(150), stopped));
    for _ in 0..3 {
        fill(&log, 10).await;
        let size = log.reader().len();
        let cosigned = || {
            let shown = checkpoints.shown().filter(|shown| shown.checkpoint.size() >= size);
            shown.is_some_and(|shown| shown.note.verify([world.cosigner.verifier()]).is_ok())
        };
        tokio::time::timeout(Duration::from_secs(20), async {
            while !cosigned() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }
    fill(&log, 1).await;
    let size = log.reader().len();
    stop.send(true).unwrap();
    running.await.unwrap();
    assert!(checkpoints.latest().unwrap().checkpoint.size() >= size);
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_is_away_or_refuses_is_counted_and_exchanges_go_on() {
    let world = World::new();
    let log = create(world.path());
    // Nobody listens there.
    let checkpoints = world.checkpoints(&log, "http://127.0.0.1:9").unwrap();
    checkpoints.ask_witnesses().await.unwrap();
    fill(&log, 3).await;
    checkpoints.hand_to(0, &*made(&checkpoints).await).await.unwrap_err();
    assert_eq!(checkpoints.health().unwrap_err(), "0 of 1 witnesses cosign, 1 are needed");
    assert_eq!(checkpoints.witnesses()[0].refused, 2);
    fill(&log, 3).await;
    log.ready().unwrap();
    drop(checkpoints);

    // One that does not know the key of this log.
    let witness = world.witness().await;
    let other = world.keys.create(KeyType::Ed25519, Usage::Checkpoint, "", None, world.clock.now()).unwrap();
    let other = NoteSigner::new(ORIGIN, SignatureType::Ed25519, other, world.keys.clone()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let checkpoints =
        Checkpoints::open(log.clone(), other.clone(), world.settings(&witness.url), clock).unwrap();
    checkpoints.hand_to(0, &*made(&checkpoints).await).await.unwrap_err();
    let problem = checkpoints.witnesses()[0].problem.clone().unwrap();
    assert!(problem.starts_with("HTTP 403"), "{problem}");
    fill(&log, 3).await;
    drop(checkpoints);

    // What somebody else signed under our name, and had cosigned, proves nothing: nobody is stopped.
    let text = Checkpoint::new(ORIGIN, 9999, [9; 32]).unwrap().to_string();
    let forged = Note::new(text.as_str(), vec![other.sign(&text, world.clock.now()).await.unwrap()]).unwrap();
    let known = KnownLog { origin: ORIGIN.into(), keys: vec![other.verifier().clone()] };
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let deceived =
        Witness::open(world.cosigner.clone(), &world.path().join("w2"), vec![known], clock).unwrap();
    deceived.add_checkpoint(format!("old 0\n\n{forged}").as_bytes()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(door::run(listener, Arc::new(deceived), std::future::pending()));
    let checkpoints = world.checkpoints(&log, &url).unwrap();
    checkpoints.ask_witnesses().await.unwrap();
    checkpoints.hand_to(0, &*made(&checkpoints).await).await.unwrap_err();
    let problem = checkpoints.witnesses()[0].problem.clone().unwrap();
    assert!(problem.contains("is not believed"), "{problem}");
    fill(&log, 3).await;
    drop(checkpoints);

    // The right key is cosigned at once, although the witness has missed a few.
    let checkpoints = world.checkpoints(&log, &witness.url).unwrap();
    checkpoints.hand_to(0, &*made(&checkpoints).await).await.unwrap();
    assert_eq!(checkpoints.health(), Ok(()));
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_log_and_a_changed_one_are_not_taken_for_the_last() {
    let world = World::new();
    let log = create(world.path());
    fill(&log, 10).await;
    let foreign = |size, root| Checkpoint::new(ORIGIN, size, root).unwrap();
    let sign = async |checkpoint: &Checkpoint| {
        let text = checkpoint.to_string();
        let signature = world.signer.sign(&text, world.clock.now()).await.unwrap();
        Note::new(text, vec![signature]).unwrap()
    };
    let append = async |size, root, note: Vec<u8>| {
        let record = CheckpointRecord { size, root, note: note.into(), ..CheckpointRecord::default() };
        log.append(Record::Checkpoint(record), Vec::new()).await.unwrap();
    };
    let open = || world.checkpoints(&log, "http://127.0.0.1:9").map(|_| ());
    let by = || "the log itself".to_owned();
    // Signed by our key, over a tree that this log never was.
    let note = sign(&foreign(4, [9; 32])).await.to_string();
    append(4, [9; 32], note.into_bytes()).await;
    assert_eq!(open(), Err(CheckpointError::OtherHistory { by: by(), size: 4 }));
    let note = sign(&foreign(4000, [9; 32])).await.to_string();
    append(4000, [9; 32], note.into_bytes()).await;
    let found = log.reader().len();
    assert_eq!(open(), Err(CheckpointError::RolledBack { by: by(), held: 4000, found }));
    // The note of another size than its frame says.
    let tree = log.reader().tree();
    let right = sign(&foreign(tree.size(), tree.root())).await.to_string();
    append(3, tree.root(), right.clone().into_bytes()).await;
    assert_eq!(open(), Err(CheckpointError::OtherHistory { by: by(), size: 3 }));
    // Right in all but the signature.
    let at = right.len() - 6;
    let false_signature = format!(
        "{}{}{}",
        &right[..at],
        if right.as_bytes()[at] == b'A' { 'B' } else { 'A' },
        &right[at + 1..]
    );
    append(tree.size(), tree.root(), false_signature.into_bytes()).await;
    assert!(matches!(open(), Err(CheckpointError::Checkpoint(_))));
    append(tree.size(), tree.root(), b"no note".to_vec()).await;
    assert!(matches!(open(), Err(CheckpointError::Checkpoint(_))));
    append(tree.size(), tree.root(), right.into_bytes()).await;
    assert_eq!(open(), Ok(()));
}
