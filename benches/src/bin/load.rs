//! The load run: the whole chain of Passerelle against tuned nginx -> mutual TLS -> nginx, side by side in one run.
//!
//! `cargo run --release -p benches --bin load` prints what stands in `benches/README.md`. It makes the demo's ecosystem
//! with the real programs, which it builds first if they are missing or older; needs nginx. To loopback only. In every
//! round each load runs once through nginx and once through the gateways, so that a ratio compares neighbours in time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use benches::chain::{self, CASES, Case, Chain, SMALL, wait_for};
use benches::floor::Floor;
use benches::goals::network;
use benches::report::{self, Figures, Results, Round};
use benches::{machine, nginx, process};
use clap::Parser;
use integration::demo::ecosystem::{Ecosystem, init};
use integration::demo::narrator::Narrator;
use integration::demo::programs::Programs;

/// Measures the chain client -> gateway -> gateway -> service against the same with nginx.
#[derive(Parser)]
struct Options {
    /// Rounds; in each, every load runs once through nginx and once through the gateways.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of every single load.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Key type of the gateways: p256, p384 or rsa2048. The floor is that of p256.
    #[arg(long, default_value = "p256")]
    key: String,
    /// Where the ecosystem is made, and removed afterwards; must not be on a file system in memory
    /// [default: target/load of the source tree].
    #[arg(long)]
    directory: Option<PathBuf>,
    /// First of the ports.
    #[arg(long, default_value_t = 17000)]
    port_base: u16,
    /// Only these loads, by their numbers from 0.
    #[arg(long, value_delimiter = ',')]
    only: Vec<usize>,
    /// Leaves nginx out, without tables: to look at the gateways with a profiler.
    #[arg(long)]
    alone: bool,
}

#[tokio::main]
async fn main() -> Result<(), String> {
    let options = Options::parse();
    process::unless_stopped(run(&options)).await
}

async fn run(options: &Options) -> Result<(), String> {
    if machine::nginx_version().is_none() {
        return Err("nginx, the baseline, is not there: apt-get install nginx-light".to_owned());
    }
    let programs = Programs::locate()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    let directory = options.directory.clone().unwrap_or_else(|| source.join("target/load"));
    let directory = chain::prepare(&directory)?;
    let load_before = machine::load();
    let narrator = Narrator::silent();
    let layout = init(&programs, &directory.join("ecosystem"), options.port_base, &options.key, &narrator)?;
    let mut ecosystem = Ecosystem::start(programs, layout).await?;
    let ours = network::chain(&mut ecosystem);
    let local = |offset| SocketAddr::from(([127, 0, 0, 1], ecosystem.layout.port(offset)));
    let ports = nginx::Ports { front: local(40), back: local(41), service: ecosystem.layout.service() };
    let pair = nginx::Pair::start(&directory.join("nginx"), ports, nginx::Link::Kept)?;
    wait_for(ports.front, "/bytes/1").await?;
    let baseline = Chain { door: ports.front, prefix: "", hops: pair.hops() };

    let results = measure(options, &baseline, &ours, &directory).await?;
    ecosystem.alive()?;
    if !options.alone {
        println!("{}\n", machine::describe(&directory));
        println!(
            "{} rounds of {} s a load; gateways' keys {}; load average before {load_before}, after {}.\n",
            options.rounds,
            options.seconds,
            options.key,
            machine::load()
        );
        println!("{}\n{}", report::loads(&results), report::floors(&results));
    }
    drop(pair);
    ecosystem.stop()?;
    std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))
}

async fn measure(
    options: &Options,
    baseline: &Chain,
    ours: &Chain,
    directory: &Path,
) -> Result<Vec<Results>, String> {
    let chosen = |index: &usize| options.only.is_empty() || options.only.contains(index);
    let cases: Vec<&Case> =
        CASES.iter().enumerate().filter(|(index, _)| chosen(index)).map(|(_, case)| case).collect();
    let mut results: Vec<Results> =
        cases.iter().map(|case| Results { name: case.name, rounds: Vec::new() }).collect();
    eprintln!("warming up; load average {}", machine::load());
    for chain in [baseline, ours] {
        chain.run(&SMALL, Duration::from_secs(1)).await?;
    }
    let duration = Duration::from_secs(options.seconds);
    for number in 1..=options.rounds {
        let floor = Floor::measure(directory)?;
        for (case, results) in cases.iter().zip(&mut results) {
            let nginx = if options.alone { Figures::default() } else { baseline.run(case, duration).await? };
            let ours = ours.run(case, duration).await?;
            eprintln!(
                "round {number} of {}: {:<27} nginx {:7.1} us {:6.0}/s   passerelle {:7.1} us {:6.0}/s",
                options.rounds, case.name, nginx.cpu, nginx.rate, ours.cpu, ours.rate
            );
            results.rounds.push(Round { nginx, ours, floor, body: case.body });
        }
    }
    Ok(results)
}
