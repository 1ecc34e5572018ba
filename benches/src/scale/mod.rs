//! Cost as a function of size: what grows with connections, with the network, with the message log, and how fast.
//!
//! ```text
//! measure ──► Curves ──► SCALE.md (tables), SCALE.svg (a panel for each)
//! ```
//! | module | what grows |
//! |---|---|
//! | [`connections`] | connections of information systems |
//! | [`network`] | members, services and rights |
//! | [`log`] | records of the message log |
//!
//! Not here: whether a goal is held ([`crate::goals`]).

use std::fmt::Write as _;

use crate::goals::figure;

pub mod connections;
pub mod log;
pub mod network;
mod picture;

pub use picture::picture;

/// How one cost grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The cost, with its unit.
    pub what: String,
    /// At each size.
    pub costs: Vec<f64>,
}

/// Costs at the same sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// What grows.
    pub of: String,
    /// From the smallest on.
    pub sizes: Vec<u64>,
    /// Each cost.
    pub curves: Vec<Curve>,
}

impl Curves {
    /// Costs that are measured at these sizes, without any yet.
    pub fn of(of: &str, sizes: &[u64], costs: &[&str]) -> Self {
        let curves = costs.iter().map(|what| Curve { what: (*what).to_owned(), costs: Vec::new() }).collect();
        Self { of: of.to_owned(), sizes: sizes.to_vec(), curves }
    }

    /// Adds what was measured at the next size, in the order of the costs.
    pub fn add(&mut self, costs: impl IntoIterator<Item = f64>) {
        for (curve, cost) in self.curves.iter_mut().zip(costs) {
            curve.costs.push(cost);
        }
    }

    /// As a table: a line for each cost, and how many times the first the last is.
    pub fn table(&self) -> String {
        let mut text = format!("| {} |", self.of);
        for size in &self.sizes {
            let _ = write!(text, " {size} |");
        }
        let _ = writeln!(text, " last beside first |\n|---|{}---|", "---|".repeat(self.sizes.len()));
        for curve in &self.curves {
            let _ = write!(text, "| {} |", curve.what);
            for cost in &curve.costs {
                let _ = write!(text, " {} |", figure(*cost));
            }
            let grown = curve.costs.first().zip(curve.costs.last()).map_or(0.0, |(first, last)| last / first);
            let _ = writeln!(text, " {} |", figure(grown));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_cost_and_says_how_it_has_grown() {
        let mut curves = Curves::of("records", &[10, 100], &["append, us", "search, ms"]);
        curves.add([2.0, 5.0]);
        curves.add([3.0, 5.0]);
        assert_eq!(
            curves.table(),
            "| records | 10 | 100 | last beside first |\n|---|---|---|---|\n\
             | append, us | 2.00 | 3.00 | 1.50 |\n| search, ms | 5.00 | 5.00 | 1.00 |\n"
        );
        let svg = picture(&[curves]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
