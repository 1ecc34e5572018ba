//! A node that vanishes, without a word, while it holds the lock that all others need: another leads within 10 s, and
//! writes. When it is back it has lost nothing, doubled nothing, and knows that it leads no longer.
//!
//! ```text
//! one ──proxy, which falls silent──► PostgreSQL ◄── two
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod log_support;
mod postgres_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use gateway::messagelog::{Config, LogStore as _, MessageLog, audit::audit};
use log_support::*;
use postgres_support::{
    Cluster,
    proxy::{Passes, Proxy, Rule, Trouble, came},
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// What another node may take to lead.
const TAKE_OVER: Duration = Duration::from_secs(10);
/// The longest wait for anything else.
const PATIENCE: Duration = Duration::from_secs(60);

struct Pair {
    cluster: Cluster,
    proxy: Proxy,
    directories: [TempDir; 2],
    one: MessageLog,
    two: MessageLog,
}

impl Pair {
    /// The first one leads.
    async fn new() -> Self {
        let cluster = Cluster::start();
        let proxy = cluster.proxy();
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, two] = [cluster.through(&proxy), cluster.database()];
        let node = |database, directory: &TempDir| {
            cluster.node(config(directory.path()), database, Arc::new(clock()))
        };
        let one = node(one, &directories[0]);
        until(PATIENCE, || one.leads()).await;
        let two = node(two, &directories[1]);
        Self { cluster, proxy, directories, one, two }
    }

    /// The log verifies, and holds these.
    fn assert_holds(&self, expected: &[&str]) {
        assert_eq!(ids(&self.two), expected);
        let config = Config { postgres: Some(self.cluster.database()), ..config(self.directories[1].path()) };
        assert_eq!(audit(&config, &mut ()).unwrap().findings, []);
    }
}

async fn until(longest: Duration, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < longest, "not within {longest:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The first node is lost at this message of its second record; `there` says whether that record was committed.
async fn vanishes(kind: u8, holds: &'static str, passes: Passes, there: bool) {
    let pair = Pair::new().await;
    let Pair { proxy, one, two, .. } = &pair;
    append(one, "before", b"body").await.unwrap();
    let comes = proxy.wait_for(Rule { kind, holds, passes, then: Trouble::Silence });
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { append(&one, "vanished", b"body").await }
    });
    tokio::task::block_in_place(|| came(&comes));
    let vanished = Instant::now();
    let other = tokio::spawn({
        let two = two.clone();
        async move { append(&two, "other", b"body").await.unwrap() }
    });
    until(TAKE_OVER, || two.leads()).await;
    let led = vanished.elapsed();
    assert!(!one.leads(), "two lead");
    timeout(TAKE_OVER.saturating_sub(vanished.elapsed()), other).await.expect("nobody can write").unwrap();
    println!(
        "{holds:?}, {passes:?}: another leads after {led:.1?}, has written after {:.1?}",
        vanished.elapsed()
    );

    proxy.speak();
    let receipt = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(receipt.sequence, if there { 1 } else { 2 });
    assert!(two.leads() && !one.leads());
    let [second, third] = if there { ["vanished", "other"] } else { ["other", "vanished"] };
    append(one, "after", b"body").await.unwrap();
    until(PATIENCE, || two.reader().len() == 4).await;
    pair.assert_holds(&["before", second, third, "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_when_it_has_the_lock_keeps_nobody_from_leading() {
    vanishes(b'P', "passerelle_log.batch", Passes::Nothing, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_within_a_record_keeps_nobody_from_leading() {
    vanishes(b'B', "<signature of=", Passes::Half, false).await;
}

/// The server has a record, and waits for the word to write it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_behind_a_record_keeps_nobody_from_leading() {
    vanishes(b'B', "<signature of=", Passes::All, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_when_it_has_committed_finds_its_record_when_it_is_back() {
    vanishes(b'Q', "COMMIT\0", Passes::All, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_leader_that_reaches_nobody_ends_before_another_begins() {
    let pair = Pair::new().await;
    let Pair { proxy, one, two, .. } = &pair;
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let (both, steps, begins) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let working = tokio::spawn({
        let (one, two) = (one.clone(), two.clone());
        let (both, steps, begins) = (Arc::clone(&both), Arc::clone(&steps), Arc::clone(&begins));
        async move {
            let work = || {
                begins.fetch_add(1, Ordering::SeqCst);
                let (two, both, steps) = (two.clone(), Arc::clone(&both), Arc::clone(&steps));
                async move {
                    loop {
                        sleep(Duration::from_millis(5)).await;
                        both.fetch_or(two.leads(), Ordering::SeqCst);
                        steps.fetch_add(1, Ordering::SeqCst);
                    }
                }
            };
            one.while_leading(stopped, work).await;
        }
    });
    until(PATIENCE, || steps.load(Ordering::SeqCst) > 10).await;
    let comes = proxy.wait_for(Rule {
        kind: b'P',
        holds: "passerelle_log.head",
        passes: Passes::Nothing,
        then: Trouble::Silence,
    });
    tokio::task::block_in_place(|| came(&comes));
    until(TAKE_OVER, || two.leads()).await;
    let done = steps.load(Ordering::SeqCst);
    // Longer than the node waits for an answer.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(steps.load(Ordering::SeqCst), done, "it goes on");
    assert!(!both.load(Ordering::SeqCst), "two have led");
    proxy.speak();
    append_when_ready(one, "after").await;
    assert!(two.leads() && !one.leads());
    assert_eq!(begins.load(Ordering::SeqCst), 1);
    working.abort();
}

async fn append_when_ready(log: &MessageLog, id: &str) {
    until(PATIENCE, || log.ready().is_ok()).await;
    append(log, id, b"body").await.unwrap();
}
