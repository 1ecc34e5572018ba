//! What the load run found, as Markdown: medians of the rounds, and the ratio of each round.
//!
//! A ratio is taken within one round, where both chains ran one after the other, never between medians; its worst is
//! the worst of any round.

use std::fmt::Write as _;

use crate::floor::Floor;
use crate::goals::median;

/// What one load showed of one chain.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// User and system time of both hops for one request, in microseconds.
    pub cpu: f64,
    /// Requests answered in a second.
    pub rate: f64,
    /// Half of the answers came sooner, microseconds.
    pub p50: f64,
    /// 99 of 100 answers came sooner, microseconds.
    pub p99: f64,
    /// Memory of each hop under the load (PSS), MB of 10^6 bytes.
    pub memory: [f64; 2],
}

impl Figures {
    fn pair(&self) -> f64 {
        self.memory.iter().sum()
    }
}

/// One load in one round.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// The pair of nginx hops.
    pub nginx: Figures,
    /// The pair of gateways.
    pub ours: Figures,
    /// What an exchange cannot cost less than, in this round.
    pub floor: Floor,
    /// Length of the body, of request or response.
    pub body: usize,
}

impl Round {
    fn floor_cpu(&self) -> f64 {
        self.nginx.cpu + self.floor.exchange(self.body)
    }
}

/// A load with all its rounds.
#[derive(Debug)]
pub struct Results {
    /// What was asked for.
    pub name: &'static str,
    /// In their order.
    pub rounds: Vec<Round>,
}

impl Results {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(&self.rounds.iter().map(of).collect::<Vec<_>>())
    }

    /// The largest of the rounds.
    fn most(&self, of: impl Fn(&Round) -> f64) -> f64 {
        self.rounds.iter().map(of).fold(f64::MIN, f64::max)
    }

    /// The smallest of the rounds.
    fn least(&self, of: impl Fn(&Round) -> f64) -> f64 {
        self.rounds.iter().map(of).fold(f64::MAX, f64::min)
    }
}

/// A line of the loads: the chain, and where its figures are.
type ChainOf = (&'static str, fn(&Round) -> Figures);
/// A line of the floor: the step, and where its figure is.
type StepOf = (&'static str, fn(&Floor) -> f64);

/// The table of the loads: both chains, and the ratio of the rounds.
pub fn loads(results: &[Results]) -> String {
    let mut text =
        "| load | chain | CPU us/request | requests/s | p50 us | p99 us | memory of the pair, MB |\n\
                    |---|---|---|---|---|---|---|\n"
            .to_owned();
    for case in results {
        let chains: [ChainOf; 2] = [("nginx", |round| round.nginx), ("passerelle", |round| round.ours)];
        for (chain, of) in chains {
            let _ = writeln!(
                text,
                "| {} | {chain} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} |",
                case.name,
                case.median(|round| of(round).cpu),
                case.median(|round| of(round).rate),
                case.median(|round| of(round).p50),
                case.median(|round| of(round).p99),
                case.median(|round| of(round).pair()),
            );
        }
        let ratio = |of: fn(&Figures) -> f64| move |round: &Round| of(&round.ours) / of(&round.nginx);
        let (cpu, rate) = (ratio(|figures| figures.cpu), ratio(|figures| figures.rate));
        let (p50, p99) = (ratio(|figures| figures.p50), ratio(|figures| figures.p99));
        let memory = ratio(Figures::pair);
        let _ = writeln!(
            text,
            "| {} | **ratio**, worst round | {:.2}, {:.2} | {:.3}, {:.3} | {:.1}, {:.1} | {:.1}, {:.1} | {:.2}, {:.2} |",
            case.name,
            case.median(cpu),
            case.most(cpu),
            case.median(rate),
            case.least(rate),
            case.median(p50),
            case.most(p50),
            case.median(p99),
            case.most(p99),
            case.median(memory),
            case.most(memory),
        );
    }
    text
}

/// The table of the floor.
pub fn floors(results: &[Results]) -> String {
    let Some(first) = results.first() else { return String::new() };
    let mut text = "| floor of the same run | CPU us |\n|---|---|\n".to_owned();
    let steps: [StepOf; 5] = [
        ("ECDSA P-256 signature made (ring)", |floor| floor.sign),
        ("the same verified (ring)", |floor| floor.verify),
        ("SHA-512 of 1 MiB (ring)", |floor| floor.hash_mib),
        ("record of 8 KiB, its share of a write and fdatasync of 32", |floor| floor.record),
        ("one record written and synced alone, wall time", |floor| floor.sync),
    ];
    for (name, of) in steps {
        let _ = writeln!(text, "| {name} | {:.1} |", first.median(|round| of(&round.floor)));
    }
    for case in results {
        let floor = case.median(Round::floor_cpu);
        let times = case.median(|round| round.floor_cpu() / round.nginx.cpu);
        let _ = writeln!(text, "| **exchange**: {} | {floor:.1} ({times:.1} x nginx) |", case.name);
    }
    text
}
