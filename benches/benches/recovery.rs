//! How long the message log takes to open: closed well, after kill -9, and with its index gone.
//!
//! ```text
//! cargo bench -p benches --bench recovery [-- RECORDS]      default: 1,000,000 records of about 2 KiB
//! ```
//! The log is made below `target/` of the source tree. It was just written, so its pages are mostly in memory: with more
//! log than memory add the time to read it once.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops at once")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
#![expect(clippy::print_stdout, reason = "its numbers are its output")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::filled::{Filling, config};
use benches::process;
use cert_authority::clock::SystemClock;
use gateway::messagelog::MessageLog;
use tokio::runtime::Runtime;

/// How long the process that is killed appends before: longer than the index takes to go to the disk.
const BEFORE_KILL: Duration = Duration::from_secs(8);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("append-until-killed") => append_until_killed(Path::new(arguments.get(1).unwrap())),
        count => measure(count.map_or(1_000_000, |count| count.parse().unwrap())),
    }
}

fn measure(count: u64) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target");
    assert!(!process::on_tmpfs(&target), "{} is a file system in memory", target.display());
    let directory = tempfile::Builder::new().prefix("bench-recovery").tempdir_in(target).unwrap();
    let begin = Instant::now();
    let log = MessageLog::create(config(directory.path()), Arc::new(SystemClock)).unwrap();
    Runtime::new().unwrap().block_on(Filling::USUAL.append(&log, 0, count, |_| {}));
    drop(log);
    println!("made {count} records in {:.1?}", begin.elapsed());
    open("closed well", directory.path());
    for _ in 0..2 {
        kill(directory.path());
        open("after kill -9", directory.path());
    }
    std::fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    open("index gone", directory.path());
}

fn open(what: &str, directory: &Path) {
    let begin = Instant::now();
    let log = MessageLog::open(config(directory), Arc::new(SystemClock)).unwrap();
    let opened = begin.elapsed();
    println!("{what}: {} records, open {opened:.2?}", log.reader().len());
    drop(log);
    println!("{what}: closed again {:.2?}", begin.elapsed().saturating_sub(opened));
}

/// Another process appends to the log and is killed while it does.
fn kill(directory: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("append-until-killed")
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    std::thread::sleep(BEFORE_KILL);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn append_until_killed(directory: &Path) {
    let log = MessageLog::open(config(directory), Arc::new(SystemClock)).unwrap();
    println!("open");
    let first = log.reader().len();
    Runtime::new().unwrap().block_on(Filling::USUAL.append(&log, first, u64::MAX, |_| {}));
}
