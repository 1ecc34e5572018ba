//! The attack table: what a gateway is attacked with, row by row, provoked against a whole system that runs.
//!
//! ```text
//! table   the rows, how many cases each has, and why a row is open
//!   └─ http, path, multipart …     make the cases of their rows: attacks as data, generated from few patterns
//!        └─ case    what is sent, what must come of it
//! judge   one rule for every case: the answer, the service, the logs, the texts, the process
//! wire    bytes over real connections
//! ```
//! [`run`] judges the rows that are asked for. A row with fewer cases than the table says fails, whatever its cases say.
//! Every expectation is what X-Road gives or what the threat model demands; where ours is another, the case says why.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "an attack that cannot be made is a failed test, and rows are tables"
)]

mod access;
mod admin;
mod case;
mod conf;
mod doors;
mod evidence;
mod headers;
mod http;
mod judge;
mod limits;
mod lines;
mod multipart;
mod mutants;
mod path;
mod quic;
mod signature;
mod soap;
mod table;
mod timing;
mod tls;
mod wire;
mod xml;

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use self::http::{CHUNKS, CODINGS, FIRST, HEADS, LENGTHS};
pub use self::path::{CHARACTERS, HARMLESS, HAZARDS};
pub use case::{Answer, Attack, Case, Evidence, Expected};
pub use judge::{Judge, MEMORY, count_panics, keep_lines, memory};
pub use table::{ROWS, Row};
pub use timing::measure;

use crate::world::{Wishes, World};

/// Makes the cases of a row, in a world that runs.
pub type Make = for<'w> fn(&'w World) -> BoxFuture<'w, Vec<Case>>;

/// What was found about a row.
pub struct RowReport {
    /// The row.
    pub row: &'static Row,
    /// How many of its cases came out as expected.
    pub right: usize,
    /// How many were tried.
    pub tried: usize,
    /// What is wrong.
    pub wrong: Vec<String>,
}

impl RowReport {
    /// Whether every case is right, and none is missing.
    pub fn is_right(&self) -> bool {
        self.wrong.is_empty() && self.tried == self.row.cases
    }
}

impl fmt::Display for RowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { id, title, cases, open, elsewhere, .. } = self.row;
        write!(f, "{id}  {title}")?;
        if *cases > 0 {
            write!(f, "  {} of {cases}", self.right)?;
        }
        elsewhere.iter().try_for_each(|test| write!(f, "\n       {test}"))?;
        open.map_or(Ok(()), |reason| write!(f, "\n       open: {reason}"))
    }
}

/// What was found about all rows that were asked for.
#[derive(Default)]
pub struct Report {
    /// Row by row.
    pub rows: Vec<RowReport>,
}

impl Report {
    /// Whether all is right.
    pub fn is_right(&self) -> bool {
        self.rows.iter().all(RowReport::is_right)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applies = |row: &&RowReport| row.row.cases > 0 || !row.row.elsewhere.is_empty();
        let rows = self.rows.iter().filter(applies).count();
        let right = self.rows.iter().filter(applies).filter(|row| row.is_right()).count();
        let cases: usize = self.rows.iter().map(|row| row.right).sum();
        let tests: usize = self.rows.iter().map(|row| row.row.elsewhere.len()).sum();
        let open = self.rows.len() - rows;
        write!(f, "{right} of {rows} rows, {cases} cases, {tests} tests named; {open} rows open")
    }
}

/// Judges rows; `told` hears of each as soon as it is judged.
pub async fn run(rows: &[&'static Row], mut told: impl FnMut(&RowReport)) -> Report {
    let mut report = Report::default();
    let mut usual = None;
    for row in rows {
        let found = match row.make {
            None => RowReport { row, right: 0, tried: 0, wrong: Vec::new() },
            Some(make) => match row.wishes {
                Some(wishes) => judge_row(&World::wish(wishes()).await, row, make).await,
                None => {
                    if usual.is_none() {
                        usual = Some(World::wish(Wishes::default()).await);
                    }
                    judge_row(usual.as_ref().unwrap(), row, make).await
                }
            },
        };
        told(&found);
        report.rows.push(found);
    }
    report
}

/// The cases of a row, by name.
pub async fn list(row: &'static Row) -> Vec<String> {
    let Some(make) = row.make else { return Vec::new() };
    let world = World::wish(row.wishes.map(|wishes| wishes()).unwrap_or_default()).await;
    let line = |case: Case| {
        let reason = case.because.map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("{}  {}: {}{reason}", row.id, case.name, case.expected)
    };
    make(&world).await.into_iter().map(line).collect()
}

async fn judge_row(world: &World, row: &'static Row, make: Make) -> RowReport {
    let cases = make(world).await;
    let mut judge = Judge::new(world);
    let mut found = RowReport { row, right: 0, tried: cases.len(), wrong: Vec::new() };
    for case in &cases {
        let answer = case.attack.make(world).await;
        judge.told(case).await;
        let wrong = judge.judge(world, case, &answer);
        if wrong.is_empty() {
            found.right += 1;
        }
        found.wrong.extend(wrong.into_iter().map(|what| format!("{}: {what}", case.name)));
    }
    if found.tried != row.cases {
        found.wrong.push(format!("{} cases, and the table says {}", found.tried, row.cases));
    }
    // Nothing came late, and the world still works.
    judge.from_here(world);
    if AssertUnwindSafe(world.is_alive()).catch_unwind().await.is_err() {
        found.wrong.push("after this row a good exchange fails".to_owned());
    }
    let memory = memory();
    if memory > MEMORY {
        found.wrong.push(format!("{memory} MiB of memory after this row, more than {MEMORY}"));
    }
    found
}
