//! Checkpoints of a log in PostgreSQL: whichever node makes them, every node shows the newest.
//!
//! ```text
//! first, leads ──make──► record ──seal──► record with cosignatures
//! second ──reads, judges──► shows the same
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;
mod postgres_support;

use std::{path::Path, sync::Arc, time::Duration};

use cert_authority::{
    clock::{Clock, FixedClock},
    http::Client,
    keys::{KeyType, Pin, inventory::Usage, software::SoftwareKeys},
    tlog::{Checkpoint, Note, NoteSigner, SignatureType},
};
use gateway::messagelog::{
    Config, LogError, LogStore as _, MessageLog, Record,
    checkpoint::{Checkpoints, Settings, Signed},
    record::CheckpointRecord,
    witnessing::WitnessSettings,
};
use log_support::*;
use postgres_support::Cluster;
use tempfile::TempDir;
use tokio::sync::watch;

const ORIGIN: &str = "gateway.example/DEMO/GOV/1001/log";

/// Two nodes of one log, of which the first leads. The second follows.
struct Nodes {
    _cluster: Cluster,
    _directories: [TempDir; 2],
    logs: [MessageLog; 2],
    checkpoints: [Checkpoints; 2],
    own: NoteSigner,
    witness: NoteSigner,
    clock: FixedClock,
    _stop: watch::Sender<bool>,
}

impl Nodes {
    async fn new() -> Self {
        let (cluster, clock) = (Cluster::start(), clock());
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let open = |directory: &Path| {
            let config = Config { postgres: Some(cluster.database()), ..config(directory) };
            if cluster.kek().exists() {
                std::fs::copy(cluster.kek(), &config.key_file).unwrap();
            }
            let log = MessageLog::create(config.clone(), Arc::new(clock.clone())).unwrap();
            std::fs::copy(&config.key_file, cluster.kek()).unwrap();
            log
        };
        let first = open(directories[0].path());
        until(|| first.leads()).await;
        let logs = [first, open(directories[1].path())];
        let keys =
            Arc::new(SoftwareKeys::open(directories[0].path().join("keys"), &Pin::new("pin")).unwrap());
        let signer = |name, kind, usage| {
            let id = keys.create(KeyType::Ed25519, usage, name, None, clock.now()).unwrap();
            NoteSigner::new(name, kind, id, keys.clone()).unwrap()
        };
        let own = signer(ORIGIN, SignatureType::Ed25519, Usage::Checkpoint);
        let witness = signer("witness.example/w", SignatureType::Cosignature, Usage::Witness);
        let settings = || Settings {
            origin: ORIGIN.into(),
            every: Duration::from_millis(100),
            previous_keys: Vec::new(),
            witnesses: vec![WitnessSettings {
                url: "http://127.0.0.1:9".into(),
                key: witness.verifier().clone(),
                client: Client::new(),
            }],
            quorum: 0,
        };
        let checkpoints = [0, 1].map(|node: usize| {
            Checkpoints::open(logs[node].clone(), own.clone(), settings(), Arc::new(clock.clone())).unwrap()
        });
        let (stop, stopped) = watch::channel(false);
        let follower = checkpoints[1].clone();
        tokio::spawn(async move { follower.follow(stopped).await });
        let (_cluster, _directories, _stop) = (cluster, directories, stop);
        Self { _cluster, _directories, logs, checkpoints, own, witness, clock, _stop }
    }

    /// Logs some messages and makes a checkpoint.
    async fn made(&self) -> Arc<Signed> {
        for n in 0..5 {
            append(&self.logs[n % 2], &format!("id-{n}"), b"body").await.unwrap();
        }
        until(|| self.logs[0].reader().len() == self.logs[1].reader().len()).await;
        self.checkpoints[0].make().await.unwrap().unwrap()
    }

    async fn write(&self, signed: &Signed, cosignatures: Vec<String>) {
        let record = Record::Checkpoint(CheckpointRecord {
            size: signed.checkpoint.size(),
            root: *signed.checkpoint.root(),
            note: signed.note.to_string().into(),
            cosignatures: cosignatures.into_iter().map(Into::into).collect(),
            token: None,
        });
        self.logs[0].append(record, Vec::new()).await.unwrap();
    }

    fn shown(&self, node: usize) -> Option<String> {
        self.checkpoints[node].shown().map(|signed| signed.note.to_string())
    }
}

/// Waits until something holds.
async fn until(holds: impl Fn() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_lead_shows_what_the_leader_makes_and_what_was_cosigned() {
    let nodes = Nodes::new().await;
    assert_eq!(nodes.shown(1), None);
    for _ in 0..2 {
        let made = nodes.made().await;
        until(|| nodes.shown(1) == Some(made.note.to_string())).await;
    }
    // One that was cosigned later is shown with its cosignature, though a newer one has none yet.
    let (cosigned, newest) = (nodes.made().await, nodes.made().await);
    let cosignature = nodes.witness.sign(cosigned.note.text(), nodes.clock.now()).await.unwrap();
    nodes.write(&cosigned, vec![cosignature.to_string()]).await;
    let whole = format!("{}{cosignature}\n", cosigned.note);
    until(|| nodes.shown(1) == Some(whole.clone())).await;
    assert_eq!(nodes.checkpoints[1].latest().unwrap().checkpoint, newest.checkpoint);
    assert_eq!(nodes.logs[1].ready(), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_not_of_this_log_is_not_shown_and_stops_the_node() {
    let nodes = Nodes::new().await;
    let made = nodes.made().await;
    until(|| nodes.shown(1) == Some(made.note.to_string())).await;
    // A cosignature that is false: it is over another one.
    let newest = nodes.made().await;
    until(|| nodes.shown(1) == Some(newest.note.to_string())).await;
    let cosignature = nodes.witness.sign(made.note.text(), nodes.clock.now()).await.unwrap();
    nodes.write(&newest, vec![cosignature.to_string()]).await;
    // What comes behind it is shown.
    let newest = nodes.made().await;
    until(|| nodes.shown(1) == Some(newest.note.to_string())).await;
    assert_eq!(nodes.logs[1].ready(), Ok(()));

    // One of another history.
    let checkpoint = Checkpoint::new(ORIGIN, newest.checkpoint.size() + 1, [7; 32]).unwrap();
    let signature = nodes.own.sign(&checkpoint.to_string(), nodes.clock.now()).await.unwrap();
    let note = Note::new(checkpoint.to_string(), vec![signature]).unwrap();
    nodes.write(&Signed { checkpoint, note }, Vec::new()).await;
    until(|| matches!(nodes.logs[1].ready(), Err(LogError::Stopped(_)))).await;
    assert_eq!(nodes.shown(1), Some(newest.note.to_string()));
}
