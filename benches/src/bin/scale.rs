//! Cost as a function of size: connections, members with services and rights, records of the message log.
//!
//! ```text
//! cargo run --release -p benches --bin scale              all curves, a quarter of an hour: SCALE.md and SCALE.svg in benches/
//! cargo run --release -p benches --bin scale -- --short   smaller, two minutes: the tables, on the terminal only
//! ```
//! It builds the programs first if they are missing or older. Everything goes over loopback, bounded in count and time.

use std::path::Path;
use std::process::ExitCode;

use benches::goals::Place;
use benches::scale::{Curves, connections, log, network, picture};
use benches::{chain, machine, process};
use clap::Parser;
use integration::demo::programs::Programs;

/// Measures how costs grow with size.
#[derive(Parser)]
struct Options {
    /// Less of everything; writes no files.
    #[arg(long)]
    short: bool,
    /// Only what has this in its name: connections, network, log.
    #[arg(long)]
    only: Option<String>,
    /// First of the ports.
    #[arg(long, default_value_t = 17000)]
    port_base: u16,
}

/// The gateway's: what is measured of the message log in this process is measured as it is there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match process::unless_stopped(run(&options)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("scale: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    let directory = source.join("target/scale");
    let programs = Programs::locate()?;
    let place = Place { programs, directory: chain::prepare(&directory)?, ports: options.port_base };
    let (rounds, seconds) = if options.short { (1, 1) } else { (3, 4) };
    let large: &[u64] = if options.short { &[10_000, 30_000] } else { &[10_000, 100_000, 1_000_000] };
    let small: &[u64] =
        if options.short { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000, 10_000_000] };
    let before = machine::load();
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));

    let mut all = Vec::new();
    if wanted("connections") {
        told(&mut all, connections::measure(&place, rounds, seconds).await?);
    }
    if wanted("network") {
        told(&mut all, network::measure(&place, rounds, seconds).await?);
    }
    if wanted("log") {
        told(&mut all, log::measure(&place, 4096, large).await?);
        told(&mut all, log::measure(&place, 256, small).await?);
    }
    std::fs::remove_dir_all(&place.directory).map_err(|error| format!("{}: {error}", directory.display()))?;

    if !options.short && options.only.is_none() {
        let tables: Vec<String> = all.iter().map(Curves::table).collect();
        let text = format!(
            "{HEAD}\n{}\n- {rounds} rounds; {seconds} s a load; load average before {before}, after {}\n\n{}",
            machine::describe(source),
            machine::load(),
            tables.join("\n"),
        );
        let write = |name: &str, content: String| {
            let file = source.join("benches").join(name);
            process::write(&file, content.as_bytes()).map_err(|error| format!("{}: {error}", file.display()))
        };
        write("SCALE.md", text)?;
        write("SCALE.svg", picture(&all))?;
    }
    Ok(())
}

fn told(all: &mut Vec<Curves>, curves: Curves) {
    println!("{}", curves.table());
    all.push(curves);
}

const HEAD: &str = "# Cost as a function of size

Written by `cargo run --release -p benches --bin scale`; the method is in [README.md](README.md). Medians of the rounds. The picture
has each cost beside what it is at the smallest size, which stands in brackets.

![cost as a function of size](SCALE.svg)
";
