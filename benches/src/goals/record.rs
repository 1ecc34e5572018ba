//! G9: what a durable record costs, beside SQLite, and how that grows with the log.
//!
//! SQLite 3 (write-ahead log, `synchronous=FULL`) keeps the same fields in a table with an index for each question that the
//! message log answers without reading all of it: by message id, by member and time. 32 records share a transaction there, and
//! 32 tasks wait for their records here. CPU of the whole process, on the same disk, in alternating rounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::SystemClock;
use gateway::messagelog::MessageLog;
use rusqlite::{Connection, params};

use super::{Bound, Place, Row, Scale, Section, count, figure, median};
use crate::filled::{Filling, config, id, member};
use crate::process::own_cpu;

/// Records whose cost is measured at a time.
const TIMED: u64 = 10_000;
/// What a log does after its records are answered is its own cost, and not that of the log whose turn is next.
const SETTLE: Duration = Duration::from_secs(1);
/// Records of a transaction, and tasks that append.
const GROUP: u64 = 32;
/// Length of a record of each kind.
const KINDS: [(&str, usize); 2] = [("4 KB", 4096), ("256 bytes", 256)];

/// Measures.
///
/// # Errors
/// In words: the disk, SQLite.
pub async fn measure(scale: &Scale, place: &Place) -> Result<Section, String> {
    let folder = place.directory.join("record");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut rows = vec![beside_sqlite(scale, &folder).await?];
    for (name, length) in KINDS {
        rows.push(growth(scale, &folder, name, length).await?);
    }
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Section { rows, details: String::new() })
}

async fn beside_sqlite(scale: &Scale, folder: &Path) -> Result<Row, String> {
    let directory = folder.join("beside");
    std::fs::create_dir(&directory).map_err(|error| error.to_string())?;
    let log = create(&directory)?;
    let mut sqlite = open(&directory.join("sqlite")).map_err(|error| error.to_string())?;
    let filling = Filling { tasks: GROUP, record: 4096 };
    // Both have made their files and caches before it counts.
    filling.append(&log, 0, TIMED, |_| {}).await;
    insert(&mut sqlite, 0, TIMED).map_err(|error| error.to_string())?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=u64::try_from(scale.rounds).unwrap_or(u64::MAX) {
        let before = own_cpu();
        insert(&mut sqlite, round * TIMED, (round + 1) * TIMED).map_err(|error| error.to_string())?;
        theirs.push(each(before));
        let before = own_cpu();
        filling.append(&log, round * TIMED, (round + 1) * TIMED, |_| {}).await;
        ours.push(each(before));
    }
    Ok(Row {
        goal: "G9",
        what: "CPU of a durable record of 4 KB beside SQLite (WAL, FULL, groups of 32)".to_owned(),
        bound: Bound::AtMost(0.35),
        floor: String::new(),
        baseline: format!("{} us", figure(median(&theirs))),
        ours: format!("{} us", figure(median(&ours))),
        ratios: ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect(),
    })
}

/// The cost of a record behind many others beside one behind 10^4. Both logs stand before anything is timed, and are timed in
/// turn: what the machine does more slowly a minute later is not the log's growth.
async fn growth(scale: &Scale, folder: &Path, name: &str, length: usize) -> Result<Row, String> {
    let filling = Filling { tasks: 256, record: length };
    let mut logs = Vec::new();
    for size in [scale.records, TIMED] {
        let directory = folder.join(format!("{length}-{size}"));
        std::fs::create_dir(&directory).map_err(|error| error.to_string())?;
        let log = create(&directory)?;
        filling.append(&log, 0, size, |_| {}).await;
        logs.push((log, size, Vec::new(), directory));
    }
    for _ in 0..scale.rounds {
        for (log, size, costs, _) in &mut logs {
            let before = own_cpu();
            filling.append(log, *size, *size + TIMED, |_| {}).await;
            tokio::time::sleep(SETTLE).await;
            costs.push(each(before));
            *size += TIMED;
        }
    }
    let mut costs = Vec::new();
    for (log, _, of_one, directory) in logs {
        drop(log);
        std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        costs.push(of_one);
    }
    let [large, small] = <[Vec<f64>; 2]>::try_from(costs).unwrap_or_default();
    Ok(Row {
        goal: "G9",
        what: format!("CPU of a record of {name} at {} records beside 10^4", scale.records),
        bound: Bound::AtMost(1.1),
        floor: String::new(),
        baseline: format!("{} us", figure(median(&small))),
        ours: format!("{} us", figure(median(&large))),
        ratios: large.iter().zip(&small).map(|(large, small)| large / small).collect(),
    })
}

fn create(directory: &Path) -> Result<MessageLog, String> {
    MessageLog::create(config(directory), Arc::new(SystemClock)).map_err(|error| error.to_string())
}

fn each(before: Duration) -> f64 {
    own_cpu().saturating_sub(before).as_secs_f64() * 1e6 / count(TIMED)
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let sqlite = Connection::open(file)?;
    sqlite.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE record (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, at INTEGER NOT NULL, member TEXT NOT NULL,
                              service TEXT NOT NULL, content BLOB NOT NULL);
         CREATE INDEX by_id ON record (id);
         CREATE INDEX by_member ON record (member, at);",
    )?;
    Ok(sqlite)
}

fn insert(sqlite: &mut Connection, first: u64, end: u64) -> rusqlite::Result<()> {
    let content = vec![b's'; 4096 - 150]; // what is left for it beside the other columns
    let mut number = first;
    while number < end {
        let transaction = sqlite.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO record (id, at, member, service, content) VALUES (?, ?, ?, ?, ?)",
            )?;
            for number in number..(number + GROUP).min(end) {
                let (id, member) = (id(number), format!("DEMO/GOV/{}/portal", member(number)));
                let at = i64::try_from(number).unwrap_or_default();
                insert.execute(params![id, at, member, "DEMO/GOV/2002/registry/records", content])?;
            }
        }
        transaction.commit()?;
        number += GROUP;
    }
    Ok(())
}
