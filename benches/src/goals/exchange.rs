//! G1 to G5 and G7: an exchange beside two nginx hops that only pass the bytes on, with the floor of the same round.
//!
//! Three ecosystems stand at once and are loaded one after the other: gateways that sign each message by itself, gateways as
//! they are by default (with batches), and gateways with RSA keys. Beside them nginx with kept connections, and with a new
//! connection for each request.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::network::{self, Change};
use super::{Bound, Place, Row, Scale, Section, figure, median};
use crate::chain::{CASES, Case, Chain, LARGE, MANY, MEDIUM, SINGLE, SMALL, wait_for};
use crate::floor::Floor;
use crate::nginx::{Keys, Link, Pair, Ports};
use crate::report::Figures;

/// In the order of [`NAMES`].
const CHAINS: usize = 6;
const NAMES: [&str; CHAINS] = [
    "nginx",
    "nginx, new connections",
    "nginx, new connections, RSA",
    "each signed",
    "by default (batches)",
    "by default, RSA",
];
const KEPT: usize = 0;
const FRESH: usize = 1;
const FRESH_RSA: usize = 2;
const EACH: usize = 3;
const BATCH: usize = 4;
const RSA: usize = 5;

const ALONE: [Change; 1] = [("[doors]\n", "[signing]\nbatch = false\n\n[doors]\n")];

/// What a round has shown: of each load each chain, where it was asked.
struct Round {
    floor: Floor,
    figures: [[Option<Figures>; CHAINS]; CASES.len()],
}

/// Measures.
///
/// # Errors
/// In words: a program that could not be started, a request that failed.
pub async fn measure(scale: &Scale, place: &Place) -> Result<Section, String> {
    let folder = place.directory.join("exchange");
    let start = |name: &str, ports, key, changes: &'static [Change]| {
        let folder = folder.join(name);
        async move {
            std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            network::start(&place.programs, &folder, place.ports + ports, key, changes, &[]).await
        }
    };
    let mut each = start("each", 0, "p256", &ALONE).await?;
    let mut batch = start("batch", 50, "p256", &[]).await?;
    let mut rsa = start("rsa", 100, "rsa2048", &[]).await?;
    let service = each.layout.service();
    let mut pairs = Vec::new();
    for (number, link) in
        [Link::Kept, Link::Fresh(Keys::P256), Link::Fresh(Keys::Rsa2048)].into_iter().enumerate()
    {
        let port = |of: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, place.ports + of));
        let number = u16::try_from(number).unwrap_or_default();
        let ports = Ports { front: port(150 + 2 * number), back: port(151 + 2 * number), service };
        pairs.push((Pair::start(&folder.join(format!("nginx-{number}")), ports, link)?, ports.front));
        wait_for(ports.front, "/bytes/1").await?;
    }
    let nginx = pairs.iter().map(|(pair, door)| Chain { door: *door, prefix: "", hops: pair.hops() });
    let gateways = [&mut each, &mut batch, &mut rsa].map(network::chain);
    let chains: Vec<Chain> = nginx.chain(gateways).collect();

    for chain in &chains {
        chain.run(&SMALL, Duration::from_secs(1)).await?; // warm
    }
    let mut rounds = Vec::new();
    for _ in 0..scale.rounds {
        let mut round = Round { floor: Floor::measure(&folder)?, figures: [[None; CHAINS]; CASES.len()] };
        for (case, figures) in CASES.iter().zip(&mut round.figures) {
            for (index, (chain, figures)) in chains.iter().zip(figures).enumerate() {
                if asked(case, index) {
                    *figures = Some(chain.run(case, Duration::from_secs(scale.seconds)).await?);
                }
            }
        }
        rounds.push(round);
    }
    for mut ecosystem in [each, batch, rsa] {
        ecosystem.alive()?;
        ecosystem.stop()?;
    }
    drop(pairs);
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Section { rows: rows(&rounds), details: details(&rounds) })
}

/// Which chains a load goes through: whichever a goal speaks of.
fn asked(case: &Case, chain: usize) -> bool {
    match chain {
        KEPT | EACH | BATCH => true,
        _ => case.name == SMALL.name,
    }
}

/// A figure of one chain under one load, in a round.
fn of(round: &Round, case: &Case, chain: usize) -> Figures {
    let index = CASES.iter().position(|one| one.name == case.name);
    let figures = index.and_then(|index| round.figures.get(index)?.get(chain).copied().flatten());
    figures.unwrap_or_default()
}

/// What a round has shown of something.
type Of<'a> = &'a dyn Fn(&Round) -> f64;

fn middle(rounds: &[Round], of: Of<'_>) -> String {
    figure(median(&rounds.iter().map(of).collect::<Vec<_>>()))
}

/// What an exchange cannot cost less than: two hops that only pass bytes on, and what evidence needs.
fn floor(round: &Round, case: &Case) -> f64 {
    of(round, case, KEPT).cpu + round.floor.exchange(case.body)
}

fn row(
    rounds: &[Round],
    (goal, what): (&'static str, &str),
    bound: Bound,
    unit: &str,
    base: Of<'_>,
    ours: Of<'_>,
) -> Row {
    Row {
        goal,
        what: what.to_owned(),
        bound,
        floor: String::new(),
        baseline: format!("{} {unit}", middle(rounds, base)),
        ours: format!("{} {unit}", middle(rounds, ours)),
        ratios: rounds.iter().map(|round| ours(round) / base(round)).collect(),
    }
}

fn rows(rounds: &[Round]) -> Vec<Row> {
    let row = |goal, what: &str, bound, unit: &str, base: Of<'_>, ours: Of<'_>| {
        row(rounds, (goal, what), bound, unit, base, ours)
    };
    let cpu = |goal, what: &str, limit, base: usize, ours: usize| {
        let of = |chain| move |round: &Round| of(round, &SMALL, chain).cpu;
        row(goal, what, Bound::AtMost(limit), "us", &of(base), &of(ours))
    };
    let beside_floor = |case: &Case, what: &str, limit| Row {
        floor: format!("{} us", middle(rounds, &|round| floor(round, case))),
        ..row(
            "G2",
            &format!("CPU beside the floor, {what}, each message signed"),
            Bound::AtMost(limit),
            "us",
            &|round| floor(round, case),
            &|round| of(round, case, EACH).cpu,
        )
    };
    let rate = |what: &str, limit, ours: usize| {
        let of = |chain| move |round: &Round| of(round, &SMALL, chain).rate;
        row("G4", what, Bound::AtLeast(limit), "/s", &of(KEPT), &of(ours))
    };
    let mut rows = vec![
        cpu(
            "G1",
            "CPU of both hops, 1 KB, 64 connections, each message signed, beside nginx",
            5.8,
            KEPT,
            EACH,
        ),
        cpu("G1", "the same with batches", 3.2, KEPT, BATCH),
        beside_floor(&SMALL, "1 KB", 1.25),
        beside_floor(&MEDIUM, "20 KB", 1.25),
        beside_floor(&LARGE, "1 MB", 1.15),
        cpu("G3", "CPU beside nginx with a new connection for each request", 0.20, FRESH, EACH),
        cpu("G3", "the same with RSA-2048", 0.45, FRESH_RSA, RSA),
        rate("exchanges a second beside nginx's requests, 1 KB, 64 connections, each signed", 0.24, EACH),
        rate("the same with batches", 0.42, BATCH),
    ];
    let single = |chain| move |round: &Round| of(round, &SINGLE, chain);
    let least = |round: &Round| single(KEPT)(round).p50 + 4.0 * round.floor.sync + 100.0;
    let most = Bound::AtMost;
    rows.extend([
        row(
            "G5",
            "p50 of one connection beside nginx + 4 syncs + 0.1 ms",
            most(1.3),
            "us",
            &least,
            &|round| single(BATCH)(round).p50,
        ),
        row(
            "G5",
            "p99 of one connection beside its p50",
            most(3.0),
            "us",
            &|round| single(BATCH)(round).p50,
            &|round| single(BATCH)(round).p99,
        ),
    ]);
    rows.extend(memory(rounds));
    rows
}

/// With as many connections as a busy hour has.
fn memory(rounds: &[Round]) -> [Row; 2] {
    let of = |chain| move |round: &Round| of(round, &MANY, chain).memory;
    let hop = |round: &Round| of(KEPT)(round).iter().sum::<f64>() / 2.0;
    let larger = |round: &Round| of(BATCH)(round).iter().copied().fold(0.0, f64::max);
    let both = |round: &Round| of(BATCH)(round).iter().sum();
    let one = "memory of the larger gateway beside an nginx hop, 256 connections";
    let pair = "memory of both gateways beside 80 MB, 256 connections";
    [
        row(rounds, ("G7", one), Bound::AtMost(1.5), "MB", &hop, &larger),
        row(rounds, ("G7", pair), Bound::AtMost(1.0), "MB", &|_| 80.0, &both),
    ]
}

fn details(rounds: &[Round]) -> String {
    let mut text = "Medians of the rounds.\n\n\
         | load | chain | CPU us/request | requests/s | p50 us | p99 us | memory of the pair, MB |\n\
         |---|---|---|---|---|---|---|\n"
        .to_owned();
    for case in &CASES {
        for (chain, name) in NAMES.iter().enumerate().filter(|(chain, _)| asked(case, *chain)) {
            let figures: [Of<'_>; 5] = [
                &|round| of(round, case, chain).cpu,
                &|round| of(round, case, chain).rate,
                &|round| of(round, case, chain).p50,
                &|round| of(round, case, chain).p99,
                &|round| of(round, case, chain).memory.iter().sum(),
            ];
            let figures = figures.map(|of| middle(rounds, of)).join(" | ");
            let _ = writeln!(text, "| {} | {name} | {figures} |", case.name);
        }
    }
    text.push_str("\n| floor | us |\n|---|---|\n");
    let steps: [(&str, Of<'_>); 5] = [
        ("ECDSA P-256 signature made (ring), CPU", &|round| round.floor.sign),
        ("the same verified (ring), CPU", &|round| round.floor.verify),
        ("SHA-512 of 1 MiB (ring), CPU", &|round| round.floor.hash_mib),
        ("record of 8 KiB, its share of a write and fdatasync of 32, CPU", &|round| round.floor.record),
        ("one record written and synced alone, wall time", &|round| round.floor.sync),
    ];
    for (name, of) in steps {
        let _ = writeln!(text, "| {name} | {} |", middle(rounds, of));
    }
    text
}
