//! The message log as it grows: what a record costs, and what is asked of the log.
//!
//! Just written, the log lies in memory where memory suffices.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cert_authority::clock::{Clock, FixedClock};
use gateway::messagelog::MessageLog;
use gateway::messagelog::reader::{Order, Reader};
use gateway::messagelog::tiles::Tiles;
use gateway::transparency::Shown;

use super::Curves;
use crate::filled::{Filling, asked_for, at, config, id};
use crate::goals::{Place, count, median};
use crate::process;

/// Records whose cost is measured at a time.
const TIMED: u64 = 10_000;
/// Searches of a kind at each size.
const SEARCHES: u64 = 300;

/// Measures a log whose records have this length.
///
/// # Errors
/// In words: the disk.
pub async fn measure(place: &Place, length: usize, sizes: &[u64]) -> Result<Curves, String> {
    let directory = place.directory.join(format!("log-{length}"));
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let costs = [
        "CPU of a record, us",
        "search by message id, us",
        "search by member within an hour, us",
        "consistency proof, us",
        "opened, closed in order, ms",
        "memory of the process, MB",
    ];
    let mut curves = Curves::of(&format!("records of {length} bytes"), sizes, &costs);
    let clock = FixedClock::new(at(0));
    let filling = Filling { tasks: 256, record: length };
    let set = |clock: FixedClock| move |number| clock.set(at(number));
    let ours: Arc<dyn Clock> = Arc::new(clock.clone());
    let mut log = MessageLog::create(config(&directory), Arc::clone(&ours)).map_err(said)?;
    let mut size = 0;
    for next in sizes {
        filling.append(&log, size, *next, set(clock.clone())).await;
        size = next + TIMED;
        let before = process::own_cpu();
        filling.append(&log, *next, size, set(clock.clone())).await;
        let cpu = process::own_cpu().saturating_sub(before).as_secs_f64() * 1e6 / count(TIMED);
        let (by_id, by_member) = searches(&log.reader(), size)?;
        let proof = proof(&log, size)?;
        drop(log);
        let begin = now();
        log = MessageLog::open(config(&directory), Arc::clone(&ours)).map_err(said)?;
        let opened = begin.elapsed();
        let memory = count(process::pss(&[std::process::id()])) / 1e6;
        curves.add([cpu, by_id, by_member, proof, opened.as_secs_f64() * 1e3, memory]);
    }
    drop(log);
    std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(curves)
}

/// Medians, in microseconds: by message id, by member within an hour.
fn searches(reader: &Reader, size: u64) -> Result<(f64, f64), String> {
    let (mut by_id, mut by_member) = (Vec::new(), Vec::new());
    for n in 0..SEARCHES {
        let number = any(n, size);
        let begin = now();
        let found = reader.by_message_id(&id(number)).map_err(said)?;
        by_id.push(micros(begin.elapsed()));
        if found.len() != 1 {
            return Err(format!("{} records of one message id", found.len()));
        }
        let begin = now();
        let found = reader.find(&asked_for(number), Order::NewestFirst, None, 100).map_err(said)?;
        by_member.push(micros(begin.elapsed()));
        if found.is_empty() {
            return Err("a member's hour is empty".to_owned());
        }
    }
    Ok((median(&by_id), median(&by_member)))
}

/// Median, in microseconds. A gateway has all tiles long before it is asked: it makes them as the log grows.
fn proof(log: &MessageLog, size: u64) -> Result<f64, String> {
    let reader = log.reader();
    let shown = Shown::new(reader.clone(), Tiles::new(reader, true));
    for old in (1..size).step_by(256) {
        black_box(shown.consistency(old, size).map_err(said)?);
    }
    let mut times = Vec::new();
    for n in 0..SEARCHES {
        let begin = now();
        black_box(shown.consistency(any(n, size), size).map_err(said)?);
        times.push(micros(begin.elapsed()));
    }
    Ok(median(&times))
}

/// Anywhere in the log.
const fn any(n: u64, size: u64) -> u64 {
    (n * 7_919_777) % size
}

fn micros(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's own clock")]
fn now() -> Instant {
    Instant::now()
}
