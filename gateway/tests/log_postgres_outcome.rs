//! Commits of which a node does not know whether they were made: each is found out, and each record is there once.
//!
//! ```text
//! node ──proxy──► PostgreSQL      COMMIT is lost, or its answer is; the server is paused, restarted, killed
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;
mod postgres_support;

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use futures_util::future::join_all;
use gateway::messagelog::{Config, Database, LogError, MessageLog, Receipt, audit::audit};
use log_support::*;
use postgres_support::{
    Cluster,
    proxy::{Passes, Rule, Trouble, came},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// What a node asks when it finds that a commit was made.
const LOOKED_UP: &str = "SELECT sequence, leaf FROM passerelle_log.record WHERE sequence >= $1";
const WRITTEN: &str = "INSERT INTO passerelle_log.record";

fn node(cluster: &Cluster, directory: &Path, database: Database) -> MessageLog {
    cluster.node(config(directory), database, Arc::new(clock()))
}

/// The log verifies, and each of these is there once, where its receipt says.
fn assert_once(cluster: &Cluster, directory: &Path, given: &[(String, Receipt)]) {
    let config = Config { postgres: Some(cluster.database()), ..config(directory) };
    assert_eq!(audit(&config, &mut ()).unwrap().findings, []);
    let log = MessageLog::open(config, Arc::new(clock())).unwrap();
    let mut places = HashMap::new();
    for (number, id) in (0..).zip(ids(&log)) {
        assert_eq!(places.insert(id.clone(), number), None, "{id} is doubled");
    }
    for (id, receipt) in given {
        assert_eq!(places.get(id), Some(&receipt.sequence), "{id}");
        assert_eq!(log.reader().get(receipt.sequence).unwrap().unwrap().leaf, receipt.leaf);
    }
}

/// Asks again when it is refused, as whoever comes while PostgreSQL cannot be reached is: nothing of that is in the log.
async fn insist(log: &MessageLog, id: &str) -> Receipt {
    loop {
        match append(log, id, b"body").await {
            Ok(receipt) => return receipt,
            Err(LogError::Io { what: "PostgreSQL", .. }) => sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{id}: {error}"),
        }
    }
}

/// The connection is cut at COMMIT; gives how often the records were written, and how often they were looked up.
async fn cut(passes: Passes) -> (usize, usize) {
    let cluster = Cluster::start();
    let proxy = cluster.proxy();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, directory.path(), cluster.through(&proxy));
    append(&log, "before", b"body").await.unwrap();
    let before = proxy.count(WRITTEN);
    let comes = proxy.wait_for(Rule { kind: b'Q', holds: "COMMIT\0", passes, then: Trouble::Cut });
    let receipt = timeout(PATIENCE, append(&log, "cut", b"body")).await.unwrap().unwrap();
    came(&comes);
    assert_eq!(receipt.sequence, 1);
    let asked = (proxy.count(WRITTEN) - before, proxy.count(LOOKED_UP));
    // More in one commit: each gets its own number.
    let comes = proxy.wait_for(Rule { kind: b'Q', holds: "COMMIT\0", passes, then: Trouble::Cut });
    let names: Vec<String> = (0..20).map(|number| format!("m-{number}")).collect();
    let receipts = timeout(PATIENCE, join_all(names.iter().map(|id| insist(&log, id)))).await.unwrap();
    came(&comes);
    let mut given: Vec<_> = names.into_iter().zip(receipts).collect();
    given.push(("cut".to_owned(), receipt));
    drop(log);
    assert_once(&cluster, directory.path(), &given);
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_did_not_reach_the_server_is_made_again() {
    assert_eq!(cut(Passes::Nothing).await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_found_and_not_made_again() {
    assert_eq!(cut(Passes::All).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_found_counts_only_when_the_replicas_have_it() {
    let cluster = Cluster::start();
    let directory = tempfile::tempdir().unwrap();
    let log = node(&cluster, directory.path(), cluster.database());
    append(&log, "before", b"body").await.unwrap();
    // Nobody renews a lead: nothing else is written.
    cluster.sql("UPDATE passerelle_log.head SET leader = '', lease = clock_timestamp() + interval '1 h'");
    // There is none: what is committed here is nowhere else.
    let replicas = |names: &str| {
        cluster.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        cluster.sql("SELECT pg_reload_conf()");
    };
    replicas("elsewhere");
    while cluster.value("SHOW synchronous_standby_names") != "elsewhere" {
        sleep(Duration::from_millis(50)).await;
    }
    let mut waiting = tokio::spawn({
        let log = log.clone();
        async move { append(&log, "found", b"body").await.unwrap() }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'";
    while cluster.value(waits) == "0" {
        sleep(Duration::from_millis(50)).await;
    }
    // Whoever waits for the replicas is sent away, and leaves a commit that is there.
    cluster.sql(
        "SET synchronous_commit = local; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    );
    while cluster.value("SELECT count(*) FROM passerelle_log.record") != "2" {
        sleep(Duration::from_millis(50)).await;
    }
    let answered = timeout(Duration::from_secs(3), &mut waiting).await;
    assert!(answered.is_err(), "it was answered, and is not there: {answered:?}");
    replicas("");
    let receipt = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    drop(log);
    assert_once(&cluster, directory.path(), &[("found".to_owned(), receipt)]);
}

/// Appends from several tasks on two nodes.
struct Load {
    nodes: [MessageLog; 2],
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Vec<(String, Receipt)>>>,
    given: watch::Receiver<usize>,
}

impl Load {
    fn start(nodes: [MessageLog; 2]) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (counted, given) = watch::channel(0);
        let counted = Arc::new(counted);
        let task = |task: usize| {
            let (log, stopped, counted) = (nodes[task % 2].clone(), stopped.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut given = Vec::new();
                let mut asked = 0;
                while !*stopped.borrow() {
                    let id = format!("{task}-{asked}");
                    asked += 1;
                    match append(&log, &id, b"body").await {
                        Ok(receipt) => {
                            given.push((id, receipt));
                            counted.send_modify(|count| *count += 1);
                        }
                        Err(_) => sleep(Duration::from_millis(10)).await,
                    }
                }
                given
            })
        };
        let tasks = (0..8).map(task).collect();
        Self { nodes, stop, tasks, given }
    }

    /// Waits until so many more were given.
    async fn goes_on(&mut self) {
        let wanted = *self.given.borrow() + 50;
        timeout(PATIENCE, self.given.wait_for(|given| *given >= wanted))
            .await
            .expect("nobody can write")
            .unwrap();
    }

    async fn stop(self) -> Vec<(String, Receipt)> {
        self.stop.send(true).unwrap();
        let given = join_all(self.tasks).await.into_iter().flat_map(Result::unwrap).collect();
        drop(self.nodes);
        given
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_the_server_is_paused_restarted_or_loses_its_main_process_under_load()
{
    let cluster = Cluster::start();
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let nodes = [0, 1].map(|n| node(&cluster, directories[n].path(), cluster.database()));
    let mut load = Load::start(nodes);
    load.goes_on().await;
    tokio::task::block_in_place(|| cluster.signal("STOP"));
    sleep(Duration::from_secs(5)).await;
    tokio::task::block_in_place(|| cluster.signal("CONT"));
    load.goes_on().await;
    tokio::task::block_in_place(|| cluster.restart());
    load.goes_on().await;
    tokio::task::block_in_place(|| cluster.lose_main());
    load.goes_on().await;
    let given = load.stop().await;
    println!("{} records were given a receipt", given.len());
    assert_once(&cluster, directories[0].path(), &given);
}
