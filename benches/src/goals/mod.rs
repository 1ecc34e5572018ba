//! The goals of the project for speed and memory, each measured beside its baseline in alternating rounds of one run.
//!
//! ```text
//! measure ──► Section { rows, details } ──► RESULTS.md (table), RESULTS.svg (picture)
//! ```
//! | module | goals |
//! |---|---|
//! | [`exchange`] | G1 to G5, G7: the whole chain beside nginx |
//! | [`background`] | G6: the same while everything else that a gateway does is forced each second |
//! | [`large`] | G8: a large body |
//! | [`record`] | G9: the message log beside SQLite |
//! | [`verification`] | G10: the log verified beside reading and hashing it |
//! | [`trust`] | G11, G12: OCSP and time-stamps beside `openssl` |
//! | [`start`] | G13: from keys unlocked to the first signed answer |
//! | [`configuration`] | G14: a configuration of many members beside `xmllint` and `openssl` |
//!
//! A ratio is taken within one round, between neighbours in time; a goal is held when the median of the rounds holds it. G15,
//! the original in the same run, is not here: it cannot be had from package registries.

use std::fmt::Write as _;
use std::path::PathBuf;

use integration::demo::programs::Programs;

pub mod background;
pub mod configuration;
pub mod exchange;
pub mod large;
pub mod network;
pub mod picture;
pub mod record;
pub mod start;
pub mod trust;
pub mod verification;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Alternating rounds.
    pub rounds: usize,
    /// Seconds of every single load.
    pub seconds: u64,
    /// Records of a large log.
    pub records: u64,
    /// Bytes of a large body.
    pub body: u64,
    /// Certificates of a large authority.
    pub certificates: u64,
    /// Members of a large network.
    pub members: usize,
}

impl Scale {
    /// What the goals speak of: about half an hour on two cores.
    pub const FULL: Self = Self {
        rounds: 3,
        seconds: 4,
        records: 1_000_000,
        body: 1 << 30,
        certificates: 100_000,
        members: 10_000,
    };

    /// For daily use: under five minutes on two cores. Its figures say less.
    pub const SHORT: Self =
        Self { rounds: 3, seconds: 1, records: 50_000, body: 64 << 20, certificates: 5_000, members: 10_000 };
}

/// Where it is measured.
#[derive(Debug, Clone)]
pub struct Place {
    /// The programs that are measured.
    pub programs: Programs,
    /// An empty folder on a real disk; each section makes a folder of its own below it, and removes it.
    pub directory: PathBuf,
    /// The first of 600 ports on loopback.
    pub ports: u16,
}

/// What is asked of a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Small is good.
    AtMost(f64),
    /// Large is good.
    AtLeast(f64),
}

/// One goal, measured.
#[derive(Debug, Clone)]
pub struct Row {
    /// `G1` and so on.
    pub goal: &'static str,
    /// What is compared, and with what.
    pub what: String,
    /// What is asked of the ratio.
    pub bound: Bound,
    /// What cannot be undercut, with its unit; empty where nothing is measured for it.
    pub floor: String,
    /// The other side of the ratio, with its unit: the median.
    pub baseline: String,
    /// Ours, with its unit: the median.
    pub ours: String,
    /// Ours against the baseline, of each round.
    pub ratios: Vec<f64>,
}

impl Row {
    /// The median of the rounds.
    pub fn median(&self) -> f64 {
        median(&self.ratios)
    }

    /// The round that was farthest from the goal.
    pub fn worst(&self) -> f64 {
        let rounds = self.ratios.iter().copied();
        match self.bound {
            Bound::AtMost(_) => rounds.fold(f64::MIN, f64::max),
            Bound::AtLeast(_) => rounds.fold(f64::MAX, f64::min),
        }
    }

    /// How far the median is from the goal: 1 is just held, 2 misses it twofold, 0.5 is twice as good.
    pub fn distance(&self) -> f64 {
        match self.bound {
            Bound::AtMost(limit) => self.median() / limit,
            Bound::AtLeast(limit) => limit / self.median(),
        }
    }

    /// Whether the median holds the goal.
    pub fn held(&self) -> bool {
        self.distance() <= 1.0
    }
}

/// What one module has measured.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// The goals.
    pub rows: Vec<Row>,
    /// What stands behind them, as Markdown.
    pub details: String,
}

/// The table of the goals.
pub fn table(rows: &[Row]) -> String {
    let mut text = "| goal | what | floor | baseline | ours | ratio, median | worst round | asked | |\n\
                    |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let asked = match row.bound {
            Bound::AtMost(limit) => format!("at most {limit}"),
            Bound::AtLeast(limit) => format!("at least {limit}"),
        };
        let held = if row.held() { "held" } else { "**missed**" };
        let Row { goal, what, floor, baseline, ours, .. } = row;
        let (median, worst) = (figure(row.median()), figure(row.worst()));
        let _ = writeln!(
            text,
            "| {goal} | {what} | {floor} | {baseline} | {ours} | {median} | {worst} | {asked} | {held} |"
        );
    }
    text
}

/// The middle of some figures; of an even number the upper one.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A figure with three digits that count.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A count as a number that figures are made of.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub fn count(of: u64) -> f64 {
    of as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bound: Bound, ratios: &[f64]) -> Row {
        Row {
            goal: "G1",
            what: "CPU".to_owned(),
            bound,
            floor: String::new(),
            baseline: "1 us".to_owned(),
            ours: "2 us".to_owned(),
            ratios: ratios.to_vec(),
        }
    }

    #[test]
    fn a_goal_is_held_by_its_median_and_told_with_its_worst_round() {
        let most = row(Bound::AtMost(2.0), &[1.0, 9.0, 1.5]);
        assert!(most.held());
        assert_eq!((most.median(), most.worst()), (1.5, 9.0));
        let least = row(Bound::AtLeast(2.0), &[1.0, 9.0, 1.5]);
        assert!(!least.held());
        assert_eq!((least.median(), least.worst()), (1.5, 1.0));
        assert!(
            table(&[most, least])
                .ends_with("| G1 | CPU |  | 1 us | 2 us | 1.50 | 1.00 | at least 2 | **missed** |\n")
        );
    }
}
