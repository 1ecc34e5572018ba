//! How long an auditor searches, and what appending costs, as the message log grows. Verification is G10 of the goals.
//!
//! ```text
//! cargo bench -p benches --bench search [-- RECORDS]      default: 1,000,000 records of about 2 KiB of 100 members,
//!                                                         1,000 in each hour
//! ```
//! | measured | beside |
//! |---|---|
//! | append, the last 10,000 records at each size | itself at 10,000 records |
//! | search by id; by member within an hour, at any place of the log | the goals: 5 ms, 50 ms |
//!
//! Just written, the log lies in memory where memory suffices.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
#![expect(clippy::print_stdout, reason = "its numbers are its output")]
#![expect(clippy::indexing_slicing, reason = "of what was measured here")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::filled::{Filling, HOUR, MEMBERS, asked_for, at, config, id};
use benches::process;
use cert_authority::clock::FixedClock;
use gateway::messagelog::{
    MessageLog,
    reader::{Order, Reader},
};
use tokio::runtime::Runtime;

const SEARCHES: u64 = 300;
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

        let begin = Instant::now();
        let found = reader.find(&asked_for(number), Order::NewestFirst, None, 100).unwrap();
        by_member.push(begin.elapsed());
        // Records that are appended together may be stamped with each other's time: a quarter of an hour's are.
        let expected = usize::try_from(HOUR / MEMBERS).unwrap();
        assert!(found.len() >= expected / 4 && found.len() <= expected * 2, "{}", found.len());
    }
    println!("search by id among {size}: {}", spread(by_id));
    println!("search by member and hour among {size}: {}", spread(by_member));
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let last = times.len() - 1;
    format!("median {:.2?}, p99 {:.2?}, worst {:.2?}", times[last / 2], times[last * 99 / 100], times[last])
}

fn ratio(took: Duration, floor: Duration) -> f64 {
    took.as_secs_f64() / floor.as_secs_f64()
}
