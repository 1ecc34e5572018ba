//! How long the time-stamps of a backlog take once the authority is back, and what appending costs meanwhile.
//!
//! ```text
//! cargo bench -p benches --bench backlog [-- RECORDS] [postgres]      default: 100,000 messages that have no time-stamp
//! ```
//! In files; with `postgres` in a PostgreSQL that is started for it.
//! A real authority over HTTP on loopback. Appending is timed by one task that waits for each of its records, before and
//! while the backlog is stamped: what an exchange would wait longer.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
#![expect(clippy::print_stdout, reason = "its numbers are its output")]
#![expect(clippy::indexing_slicing, reason = "of what was measured here")]

#[path = "../../gateway/tests/postgres_support/mod.rs"]
mod postgres_support;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::filled::{Filling, config};
use benches::process;
use cert_authority::clocks::{self, Clocks};
use cert_authority::http::{Client, Limits};
use gateway::messagelog::stamp::TimestampAuthority;
use gateway::messagelog::timestamper::{HttpAuthority, stamp_pending};
use gateway::messagelog::{Config, MessageLog};
use integration::world::{Trust, TurnedClock};
use postgres_support::Cluster;
use tokio::runtime::Runtime;

/// Appends that are timed before.
const ALONE: u64 = 2_000;

/// The longest run with PostgreSQL.
const LONGEST: Duration = Duration::from_secs(3600);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let count = arguments.iter().find(|argument| *argument != "postgres");
    let count: u64 = count.map_or(100_000, |count| count.parse().unwrap());
    let cluster =
        arguments.iter().any(|argument| argument == "postgres").then(|| Cluster::start_on_disk(LONGEST));
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target");
    assert!(!process::on_tmpfs(&target), "{} is a file system in memory", target.display());
    let directory = tempfile::Builder::new().prefix("bench-backlog").tempdir_in(target).unwrap();
    let postgres = cluster.as_ref().map(Cluster::database);
    let config = Config { postgres, ..config(directory.path()) };
    Runtime::new().unwrap().block_on(measure(count, config));
}

async fn measure(count: u64, config: Config) {
    let clock = TurnedClock::default();
    let trust = Trust::start(Ipv4Addr::new(127, 77, 1, 1), &clock).await;
    let authority: Box<dyn TimestampAuthority> = Box::new(HttpAuthority {
        name: "bench".to_owned(),
        url: trust.tsa_url(),
        approved: vec![trust.tsa.certificate.clone()],
        client: Client::new(),
        limits: Limits::default(),
        clocks: Arc::new(Clocks::new(clock.shared(), clocks::Limits::default())),
    });
    let log = MessageLog::create(config, clock.shared()).unwrap();
    let begin = Instant::now();
    Filling::USUAL.append(&log, 0, count, |_| {}).await;
    println!("{count} messages logged in {:.1?}", begin.elapsed());

    let alone = timed(&log, count, count + ALONE, &AtomicBool::new(false)).await;
    println!("append, nothing else: {}", spread(alone));
    let done = Arc::new(AtomicBool::new(false));
    let appending = tokio::spawn({
        let (log, done) = (log.clone(), Arc::clone(&done));
        async move { timed(&log, count + ALONE, u64::MAX, &done).await }
    });
    let begin = Instant::now();
    let stamped = stamp_pending(&log, &[authority]).await.unwrap();
    let took = begin.elapsed();
    done.store(true, Ordering::Relaxed);
    let beside = appending.await.unwrap();
    println!("append, {} while the backlog is stamped: {}", beside.len(), spread(beside));
    println!("{stamped} messages stamped in {took:.2?}, {:.0} a second", as_rate(stamped, took));
}

/// How long each append takes, one after the other.
async fn timed(log: &MessageLog, first: u64, end: u64, done: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in first..end {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let begin = Instant::now();
        Filling::USUAL.append_one(log, number).await;
        times.push(begin.elapsed());
    }
    times
}

fn as_rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64()
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let last = times.len() - 1;
    format!("median {:.1?}, p99 {:.1?}, worst {:.1?}", times[last / 2], times[last * 99 / 100], times[last])
}
