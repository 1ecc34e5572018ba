//! The goals of the project for speed and memory, measured with the real programs beside their baselines.
//!
//! ```text
//! cargo run --release -p benches --bin goals               all of them, half an hour: RESULTS.md and RESULTS.svg in benches/
//! cargo run --release -p benches --bin goals -- --short    in under five minutes: the table, on the terminal only
//! ```
//! It needs nginx, openssl and xmllint (`apt-get install nginx-light openssl libxml2-utils`) and builds the programs first if
//! they are missing or older. Everything goes over loopback, bounded in count and time. A part that cannot be measured is told
//! in the table's place, and in the exit code: it is not left out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benches::goals::{self, Place, Row, Scale, Section};
use benches::{chain, machine, process};
use clap::Parser;
use integration::demo::programs::Programs;

/// Measures the goals G1 to G14.
#[derive(Parser)]
struct Options {
    /// Less of everything: says less, and is done in under five minutes.
    #[arg(long)]
    short: bool,
    /// Only these goals, as G9,G13; what is measured together comes together.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Alternating rounds. Default: 3.
    #[arg(long)]
    rounds: Option<usize>,
    /// Where results are written [default: benches/, and nowhere with --short or --only].
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where everything is made, and removed afterwards; must not be on a file system in memory [default: target/goals].
    #[arg(long)]
    directory: Option<PathBuf>,
    /// First of the ports.
    #[arg(long, default_value_t = 17000)]
    port_base: u16,
}

/// What is measured together, by the goals that it speaks of.
const PARTS: [(&str, &[&str]); 8] = [
    ("an exchange beside nginx", &["G1", "G2", "G3", "G4", "G5", "G7"]),
    ("answers while the background works", &["G6"]),
    ("a large body", &["G8"]),
    ("a record beside SQLite", &["G9"]),
    ("verification of the log", &["G10"]),
    ("OCSP and time-stamps beside openssl", &["G11", "G12"]),
    ("start", &["G13"]),
    ("a configuration of many members", &["G14"]),
];

async fn part(index: usize, scale: &Scale, place: &Place) -> Result<Section, String> {
    match index {
        0 => goals::exchange::measure(scale, place).await,
        1 => goals::background::measure(scale, place).await,
        2 => goals::large::measure(scale, place).await,
        3 => goals::record::measure(scale, place).await,
        4 => goals::verification::measure(scale, place).await,
        5 => goals::trust::measure(scale, place).await,
        6 => goals::start::measure(scale, place).await,
        _ => goals::configuration::measure(scale, place).await,
    }
}

/// The gateway's: what is measured of the message log in this process is measured as it is there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    process::unless_stopped(run(&options)).await.unwrap_or_else(|reason| {
        eprintln!("goals: {reason}");
        ExitCode::FAILURE
    })
}

async fn run(options: &Options) -> Result<ExitCode, String> {
    if machine::nginx_version().is_none() {
        return Err("nginx, the baseline, is not there: apt-get install nginx-light".to_owned());
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    let directory = options.directory.clone().unwrap_or_else(|| source.join("target/goals"));
    let programs = Programs::locate()?;
    let place = Place { programs, directory: chain::prepare(&directory)?, ports: options.port_base };
    let mut scale = if options.short { Scale::SHORT } else { Scale::FULL };
    scale.rounds = options.rounds.unwrap_or(scale.rounds).max(1);

    let before = machine::load();
    let (mut rows, mut details, mut missing) = (Vec::new(), String::new(), Vec::new());
    for (index, (name, of)) in PARTS.iter().enumerate() {
        if !options.only.is_empty() && !of.iter().any(|goal| options.only.iter().any(|only| only == goal)) {
            continue;
        }
        eprintln!("{}: {name}; load average {}", of.join(", "), machine::load());
        match part(index, &scale, &place).await {
            Ok(section) => {
                eprint!("{}", told(&section.rows));
                rows.extend(section.rows);
                if !section.details.is_empty() {
                    let _ =
                        writeln!(details, "\n## {}: {name}\n\n{}", of.join(", "), section.details.trim_end());
                }
            }
            Err(reason) => {
                eprintln!("  not measured: {reason}");
                missing.push(format!("**{} not measured**: {reason}", of.join(", ")));
            }
        }
    }
    std::fs::remove_dir_all(&place.directory).map_err(|error| format!("{}: {error}", directory.display()))?;

    let held = rows.iter().filter(|row| row.held()).count();
    let mut text = format!(
        "{}\n- {} rounds; {} s a load; {} records; load average before {before}, after {}\n\n{held} of {} held.\n\n{}",
        machine::describe(source),
        scale.rounds,
        scale.seconds,
        scale.records,
        machine::load(),
        rows.len(),
        goals::table(&rows),
    );
    for reason in &missing {
        let _ = writeln!(text, "\n{reason}");
    }
    text.push_str(&details);
    println!("{text}");
    let usual = (!options.short && options.only.is_empty()).then(|| source.join("benches"));
    if let Some(out) = options.out.clone().or(usual) {
        let write = |name: &str, content: String| {
            process::write(out.join(name), content.as_bytes())
                .map_err(|error| format!("{}: {error}", out.display()))
        };
        write("RESULTS.md", format!("{HEAD}\n{text}"))?;
        write("RESULTS.svg", goals::picture::picture(&rows))?;
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const HEAD: &str = "# Results

Written by `cargo run --release -p benches --bin goals`; the method is in [README.md](README.md). A ratio is that of one round,
where both sides ran one after the other; a goal is held when the median of the rounds holds it. G15, the original in the same
run, is not measured: it cannot be had from package registries.

![distance from the goals](RESULTS.svg)
";

/// A line for each goal, while the run goes on.
fn told(rows: &[Row]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        let held = if row.held() { "held  " } else { "missed" };
        let _ = writeln!(text, "  {held} {:<4} {}: {}", row.goal, row.what, goals::figure(row.median()));
        text
    })
}
