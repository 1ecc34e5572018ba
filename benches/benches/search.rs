//! What an auditor waits for, and what appending costs, as the message log grows.
//!
//! ```text
//! cargo bench -p benches --bench search [-- RECORDS]      default: 1,000,000 records of about 2 KiB of 100 members,
//!                                                         1,000 in each hour
//! ```
//! | measured | beside |
//! |---|---|
//! | append, the last 10,000 records at each size | itself at 10,000 records |
//! | search by id; by member within an hour, at any place of the log | the goals: 5 ms, 50 ms |
//! | frames, tree and checkpoints verified, on all cores | the same files read and hashed once with SHA-256, on one core, in alternating rounds |
//! | 10,000 signed records verified with all signatures | their number times one verification, on all cores |
//!
//! Just written, the log lies in memory where memory suffices.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
#![expect(clippy::print_stdout, reason = "its numbers are its output")]
#![expect(clippy::indexing_slicing, reason = "of what was measured here")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::filled::{Filling, MEMBERS, append_signed, config, id, member};
use benches::process;
use benches::world::{World, at_once, digests, now};
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{FixedClock, UnixTime};
use cert_authority::crypto::Hasher;
use cert_authority::keys::KeyType;
use gateway::audit::verify::{Grounds, verify};
use gateway::evidence::signature::{TrustCache, sign, verify as judge};
use gateway::message::digests::PartDigests;
use gateway::messagelog::{
    MessageLog,
    audit::audit,
    reader::{Filter, Order, Reader},
};
use tokio::runtime::Runtime;

const HOUR: u64 = 1_000;
const SEARCHES: u64 = 300;
const ROUNDS: usize = 3;
/// Messages with real signatures.
const SIGNED: u64 = 10_000;
/// Appends that are timed at each size.
const TIMED: u64 = 10_000;

fn main() {
    let count = std::env::args().skip(1).find(|argument| argument != "--bench");
    let count: u64 = count.map_or(1_000_000, |count| count.parse().unwrap());
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target");
    assert!(!process::on_tmpfs(&target), "{} is a file system in memory", target.display());
    let directory = tempfile::Builder::new().prefix("bench-search").tempdir_in(target).unwrap();
    let clock = FixedClock::new(at(0));
    let log = MessageLog::create(config(directory.path()), Arc::new(clock.clone())).unwrap();
    let runtime = Runtime::new().unwrap();
    let fill = |first, end| {
        let clock = clock.clone();
        let begin = Instant::now();
        runtime.block_on(Filling::USUAL.append(&log, first, end, move |number| clock.set(at(number))));
        begin.elapsed()
    };
    let (mut size, mut first_cost) = (0, None);
    for next in [10_000, 100_000, count] {
        if next > count || next < size + TIMED {
            continue;
        }
        fill(size, next - TIMED);
        let took = fill(next - TIMED, next);
        size = next;
        let base = *first_cost.get_or_insert(took);
        let each = took / u32::try_from(TIMED).unwrap();
        println!("append at {size}: {each:.1?} a record, {:.2} of the first", ratio(took, base));
    }
    searches(&log.reader(), size);
    drop(log);
    verification(&directory.path().join("log"));
    drop(directory);
    signatures(&runtime);
}

/// When a record is logged: so many in each hour.
fn at(number: u64) -> UnixTime {
    let begin = UnixTime::from_secs(1_790_000_000);
    begin + Duration::from_millis(number * 3_600_000 / HOUR)
}

fn searches(reader: &Reader, size: u64) {
    let places = |n: u64| (n * 7_919_777) % size;
    let mut by_id = Vec::new();
    let mut by_member = Vec::new();
    for n in 0..SEARCHES {
        let number = places(n);
        let begin = Instant::now();
        let found = reader.by_message_id(&id(number)).unwrap();
        by_id.push(begin.elapsed());
        assert_eq!(found.len(), 1);

        let hour = number / HOUR * HOUR;
        let filter = Filter {
            from: Some(at(hour)),
            until: Some(at(hour + HOUR)),
            member: Some(format!("DEMO/GOV/{}", member(number)).parse().unwrap()),
            ..Filter::default()
        };
        let begin = Instant::now();
        let found = reader.find(&filter, Order::NewestFirst, None, 100).unwrap();
        by_member.push(begin.elapsed());
        // Records that are appended together may be stamped with each other's time: a quarter of an hour's are.
        let expected = usize::try_from(HOUR / MEMBERS).unwrap();
        assert!(found.len() >= expected / 4 && found.len() <= expected * 2, "{}", found.len());
    }
    println!("search by id among {size}: {}", spread(by_id));
    println!("search by member and hour among {size}: {}", spread(by_member));
}

fn verification(log: &Path) {
    let mut files: Vec<_> = fs::read_dir(log.join("segments")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for round in 1..=ROUNDS {
        let mut bytes = 0;
        let floor = Spent::on(|| {
            for file in &files {
                let content = fs::read(file).unwrap();
                let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
                hasher.update(&content);
                std::hint::black_box(hasher.finish());
                bytes += content.len();
            }
        });
        let frames = Spent::on(|| assert_eq!(audit(log, &mut ()).unwrap().findings, []));
        let whole = Spent::on(|| {
            let report = verify(log, Grounds::default(), &mut |_| ()).unwrap();
            assert_eq!(report.problems, []);
        });
        println!("round {round}: {} MB read and hashed {floor}", bytes / 1_000_000);
        println!("  frames and tree {frames}, {}", frames.beside(&floor));
        println!("  with checkpoints, and what waits for time-stamps {whole}, {}", whole.beside(&floor));
    }
}

/// What something took.
struct Spent {
    wall: Duration,
    /// Of all threads.
    cpu: Duration,
}

impl Spent {
    fn on(work: impl FnOnce()) -> Self {
        let cpu = || {
            let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            Duration::new(spent.tv_sec.try_into().unwrap(), spent.tv_nsec.try_into().unwrap())
        };
        let (begin, before) = (Instant::now(), cpu());
        work();
        Self { wall: begin.elapsed(), cpu: cpu() - before }
    }

    fn beside(&self, floor: &Self) -> String {
        let (wall, cpu) = (ratio(self.wall, floor.wall), ratio(self.cpu, floor.cpu));
        format!("{wall:.2} times in time and {cpu:.2} in CPU")
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2?} (CPU {:.2?})", self.wall, self.cpu)
    }
}

/// Beside the log with its signatures, one verification: the same messages, verified one after the other by one core.
fn signatures(runtime: &Runtime) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target");
    let directory = tempfile::Builder::new().prefix("bench-signatures").tempdir_in(target).unwrap();
    let world = World::new(KeyType::EcP256).unwrap();
    let log = MessageLog::create(config(directory.path()), Arc::new(FixedClock::new(now()))).unwrap();
    let parts: Vec<PartDigests> = (0..SIGNED).map(|number| digests(Some(&number.to_be_bytes()))).collect();
    let bundles: Vec<_> = parts
        .iter()
        .map(|parts| at_once(sign(parts, &world.signing, &world.keys, now())).unwrap().unwrap())
        .collect();
    runtime.block_on(async {
        let signed = (0..).zip(parts.iter().zip(&bundles));
        futures_util::future::join_all(signed.map(|(number, (parts, bundle))| {
            let client = format!("{}/portal", world.member).parse().unwrap();
            append_signed(&log, number, client, parts, bundle)
        }))
        .await;
    });
    drop(log);
    let cores = std::thread::available_parallelism().unwrap().get();
    for round in 1..=ROUNDS {
        let trust = TrustCache::default();
        let mut floor = Spent::on(|| {
            for (parts, bundle) in parts.iter().zip(&bundles) {
                judge((), parts, bundle, &world.conf, &trust, &world.member, now()).unwrap();
            }
        });
        floor.wall /= u32::try_from(cores).unwrap();
        let grounds = Grounds { conf: Some(&world.conf), ..Grounds::default() };
        let whole = Spent::on(|| {
            let report = verify(&directory.path().join("log"), grounds, &mut |_| ()).unwrap();
            assert_eq!((report.signatures, report.problems), (SIGNED, Vec::new()));
        });
        println!("round {round}: {SIGNED} signatures, their time by {cores} cores {floor}");
        println!("  the log with all of them verified {whole}, {}", whole.beside(&floor));
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let last = times.len() - 1;
    format!("median {:.2?}, p99 {:.2?}, worst {:.2?}", times[last / 2], times[last * 99 / 100], times[last])
}

fn ratio(took: Duration, floor: Duration) -> f64 {
    took.as_secs_f64() / floor.as_secs_f64()
}
