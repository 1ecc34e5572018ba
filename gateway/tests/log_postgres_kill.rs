//! Two nodes as processes on one PostgreSQL: the leader is killed under load, or stands still and goes on later. Another
//! takes over, nothing is lost or doubled.
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
use tempfile::TempDir;
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
    /// How often each has said that its work as a leader goes on, and that it has ended.
    works: [usize; 2],
    ends: [usize; 2],
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
                ["WORKS"] => said.works[node] += 1,
                ["ENDS"] => said.ends[node] += 1,
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

/// A cluster, the directories of two nodes of the log in it, and what they say.
struct Stage {
    cluster: Cluster,
    directories: [TempDir; 2],
    said: Arc<Mutex<Said>>,
}

impl Stage {
    fn new(troubles: usize) -> Self {
        let cluster = Cluster::start_for(Duration::from_secs(120 + 30 * u64::try_from(troubles).unwrap()));
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for directory in &directories {
            drop(cluster.node(config(directory.path()), cluster.database(), Arc::new(clock())));
        }
        Self { cluster, directories, said: Arc::default() }
    }

    fn run(&self, node: usize, life: usize) -> Child {
        start(node, life, self.directories[node].path(), &self.cluster, &self.said)
    }

    /// Waits for records, and gives who leads and how often somebody has begun to.
    fn under_load(&self) -> (usize, usize) {
        let before = self.said.lock().unwrap().receipts.len();
        wait(&self.said, 3 * TAKE_OVER, |said| said.leader.is_some() && said.receipts.len() > before + 20);
        let said = self.said.lock().unwrap();
        (said.leader.unwrap(), said.takes)
    }

    /// Ends the nodes; each record that they had a receipt for is there, and none twice.
    fn assert_once(self, mut nodes: [Child; 2], what: &str) {
        for node in &mut nodes {
            node.kill().unwrap();
            node.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(500));
        let config = settings(self.cluster.database(), self.directories[0].path());
        let log = MessageLog::open(config, Arc::new(clock())).unwrap();
        let mut all = ids(&log);
        let receipts = std::mem::take(&mut self.said.lock().unwrap().receipts);
        for (id, number) in &receipts {
            let found = log.reader().get(*number).unwrap().unwrap();
            assert_eq!(found.record.message_id(), Some(id.as_str()), "lost");
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "doubled");
        println!("{what}: {} receipts, {count} messages", receipts.len());
    }
}

/// How often the leader gets into trouble; another number by environment variable.
fn troubles(default: usize) -> usize {
    option_env_of_run("PASSERELLE_KILLS").map_or(default, |n| n.parse().unwrap())
}

#[test]
fn when_the_leader_is_killed_another_leads_within_ten_seconds_and_nothing_is_lost_or_doubled() {
    let kills = troubles(2);
    let stage = Stage::new(kills);
    let said = &stage.said;
    let mut nodes = [stage.run(0, 0), stage.run(1, 0)];
    let mut longest = Duration::ZERO;
    for kill in 1..=kills {
        let (leader, takes) = stage.under_load();
        nodes[leader].kill().unwrap();
        nodes[leader].wait().unwrap();
        let taken = wait(said, TAKE_OVER, |said| said.takes > takes);
        assert_ne!(said.lock().unwrap().leader, Some(leader));
        longest = longest.max(taken);
        nodes[leader] = stage.run(leader, kill);
    }
    stage.assert_once(nodes, &format!("{kills} kills, longest take-over {longest:.1?}"));
}

#[test]
fn when_the_leader_stands_still_another_leads_within_ten_seconds_and_it_knows_that_when_it_goes_on() {
    let stops = troubles(1);
    let stage = Stage::new(stops);
    let said = &stage.said;
    let nodes = [stage.run(0, 0), stage.run(1, 0)];
    let signal = |node: usize, signal: &str| {
        let process = nodes[node].id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    };
    let mut longest = Duration::ZERO;
    for _ in 0..stops {
        let (leader, takes) = stage.under_load();
        signal(leader, "-STOP");
        let taken = wait(said, TAKE_OVER, |said| said.takes > takes);
        longest = longest.max(taken);
        let (works, ends) = {
            let said = said.lock().unwrap();
            assert_eq!(said.leader, Some(1 - leader));
            (said.works[leader], said.ends[leader])
        };
        // The other one can write, though this one may have stood still with the lock.
        stage.under_load();
        signal(leader, "-CONT");
        wait(said, TAKE_OVER, |said| said.ends[leader] > ends);
        // Nothing but what it was about to say when it stood still.
        assert!(said.lock().unwrap().works[leader] <= works + 1, "it has gone on with what another one does");
        let own = |said: &Said| {
            said.receipts.iter().filter(|(id, _)| id.starts_with(&format!("{leader}-"))).count()
        };
        let before = own(&said.lock().unwrap());
        wait(said, 3 * TAKE_OVER, |said| own(said) > before + 20);
        assert_eq!(said.lock().unwrap().takes, takes + 1, "nobody else has begun to lead");
    }
    stage.assert_once(nodes, &format!("{stops} stops, longest take-over {longest:.1?}"));
}

/// Says that the work of a leader has ended.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        println!("ENDS");
    }
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
                    let end = End;
                    async move {
                        let _end = end;
                        loop {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            println!("WORKS");
                        }
                    }
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
