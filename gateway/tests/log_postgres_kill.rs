//! Two nodes as processes on one PostgreSQL: the leader is killed under load, another takes over, nothing is lost or doubled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(dead_code, reason = "helpers of other tests too")]

mod log_support;
mod postgres_support;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use gateway::messagelog::{Config, Database, LogStore as _, MessageLog};
use log_support::*;
use postgres_support::Cluster;
use tokio::time::Instant;

/// What another node may take to lead.
const TAKE_OVER: Duration = Duration::from_secs(10);

fn settings(database: Database, directory: &Path) -> Config {
    Config { postgres: Some(database), ..config(directory) }
}

/// What the processes have said.
#[derive(Default)]
struct Said {
    /// Ids and numbers of what they have receipts for.
    receipts: Vec<(String, u64)>,
    /// Who leads, as the last one said that began to.
    leader: Option<usize>,
    takes: usize,
}

fn start(node: usize, life: usize, directory: &Path, cluster: &Cluster, said: &Arc<Mutex<Said>>) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "node_process", "--nocapture"])
        .env("PASSERELLE_TEST_NODE", directory)
        .env("PASSERELLE_TEST_PORT", cluster.database().port.to_string())
        .env("PASSERELLE_TEST_LIFE", format!("{node}-{life}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (output, said) = (child.stdout.take().unwrap(), Arc::clone(said));
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let words: Vec<_> = line.split(' ').collect();
            let mut said = said.lock().unwrap();
            match words.as_slice() {
                ["LEADS"] => {
                    said.leader = Some(node);
                    said.takes += 1;
                }
                ["RECEIPT", id, number] => said.receipts.push(((*id).to_owned(), number.parse().unwrap())),
                _ => {}
            }
        }
    });
    child
}

/// Waits until the processes have said something.
fn wait(said: &Mutex<Said>, longest: Duration, what: impl Fn(&Said) -> bool) -> Duration {
    let begun = Instant::now();
    while !what(&said.lock().unwrap()) {
        assert!(begun.elapsed() < longest, "nothing for {longest:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

#[test]
fn when_the_leader_is_killed_another_leads_within_ten_seconds_and_nothing_is_lost_or_doubled() {
    let kills: usize = option_env_of_run("PASSERELLE_KILLS").map_or(2, |n| n.parse().unwrap());
    let cluster = Cluster::start_for(Duration::from_secs(120 + 30 * u64::try_from(kills).unwrap()));
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for directory in &directories {
        if cluster.kek().exists() {
            std::fs::copy(cluster.kek(), config(directory.path()).key_file).unwrap();
        }
        drop(MessageLog::create(settings(cluster.database(), directory.path()), Arc::new(clock())).unwrap());
        std::fs::copy(config(directory.path()).key_file, cluster.kek()).unwrap();
    }
    let said = Arc::new(Mutex::new(Said::default()));
    let run = |node: usize, life| start(node, life, directories[node].path(), &cluster, &said);
    let mut nodes = [run(0, 0), run(1, 0)];
    wait(&said, 3 * TAKE_OVER, |said| said.leader.is_some());
    let mut longest = Duration::ZERO;
    for kill in 1..=kills {
        let before = said.lock().unwrap().receipts.len();
        wait(&said, 3 * TAKE_OVER, |said| said.receipts.len() > before + 20);
        let (leader, takes) = {
            let said = said.lock().unwrap();
            (said.leader.unwrap(), said.takes)
        };
        nodes[leader].kill().unwrap();
        nodes[leader].wait().unwrap();
        let taken = wait(&said, TAKE_OVER, |said| said.takes > takes);
        assert_ne!(said.lock().unwrap().leader, Some(leader));
        longest = longest.max(taken);
        nodes[leader] = run(leader, kill);
    }
    for node in &mut nodes {
        node.kill().unwrap();
        node.wait().unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    let log =
        MessageLog::open(settings(cluster.database(), directories[0].path()), Arc::new(clock())).unwrap();
    let mut all = ids(&log);
    let receipts = std::mem::take(&mut said.lock().unwrap().receipts);
    for (id, number) in &receipts {
        let found = log.reader().get(*number).unwrap().unwrap();
        assert_eq!(found.record.message_id(), Some(id.as_str()), "lost");
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "doubled");
    println!("{kills} kills, {} receipts, {count} messages, longest take-over {longest:?}", receipts.len());
}

/// Not a test by itself: what the test above starts.
#[test]
#[ignore = "started by another test as a process of its own"]
fn node_process() {
    let of = |name: &str| option_env_of_run(name).expect("started by the test");
    let directory = of("PASSERELLE_TEST_NODE");
    let (port, life) = (of("PASSERELLE_TEST_PORT").parse().unwrap(), of("PASSERELLE_TEST_LIFE"));
    let (user, name) = ("postgres".to_owned(), "postgres".to_owned());
    let database =
        Database { host: "127.0.0.1".into(), port, user, name, password_file: None, authorities: Vec::new() };
    let log = MessageLog::open(settings(database, Path::new(&directory)), Arc::new(clock())).unwrap();
    runtime().block_on(async {
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let leading = log.clone();
        tokio::spawn(async move {
            leading
                .while_leading(stopped, || {
                    println!("LEADS");
                    std::future::pending()
                })
                .await;
        });
        for n in 0.. {
            let id = format!("{life}-{n}");
            match append(&log, &id, b"body").await {
                Ok(receipt) => println!("RECEIPT {id} {}", receipt.sequence),
                Err(error) => println!("REFUSED {id} {error} {:?}", log.ready()),
            }
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "how often to kill is said to a run of the tests")]
fn option_env_of_run(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
