//! Floods two gateways with connections that ask for nothing, and prints what those feel who only want their work done.
//!
//! `cargo run --release -p integration --bin floods` prints what stands in `integration/README.md`: quiet, flood, quiet, side
//! by side in one run. To loopback only, from 127.66.0.x and 127.77.0.1. Needs twice as many open files as connections.

use std::time::Duration;

use clap::Parser;
use integration::floods::{Case, HEAD, Scene};

/// Floods the demo's gateways, and tells what of it is felt.
#[derive(Parser)]
struct Options {
    /// Idle connections.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Slow heads.
    #[arg(long, default_value_t = 5_000)]
    slow: usize,
    /// Half handshakes.
    #[arg(long, default_value_t = 2_000)]
    half: usize,
    /// Addresses that a flood comes from.
    #[arg(long, default_value_t = 40)]
    addresses: u8,
    /// Seconds of each of the three: quiet, flood, quiet.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Only these, by their numbers from 0.
    #[arg(long, value_delimiter = ',')]
    only: Vec<usize>,
    /// First of the ports.
    #[arg(long, default_value_t = 17_200)]
    port_base: u16,
}

#[tokio::main]
async fn main() -> Result<(), String> {
    let options = Options::parse();
    let folder = tempfile::Builder::new().prefix("floods-").tempdir_in("target");
    let folder = folder.map_err(|error| format!("target: {error}"))?;
    let mut scene = Scene::make(folder.path(), options.port_base).await?;
    println!("{HEAD}");
    for (number, case) in Case::ALL.into_iter().enumerate() {
        if !options.only.is_empty() && !options.only.contains(&number) {
            continue;
        }
        let connections = match case {
            Case::IdleTls | Case::AskedTls | Case::IdlePlain => options.idle,
            Case::SlowHeads => options.slow,
            Case::HalfHandshakes => options.half,
        };
        let time = Duration::from_secs(options.seconds);
        let row = scene.measure(case, (connections, options.addresses), time, "").await?;
        println!("{row}");
        if let Some(failure) = row.first_failure() {
            println!("\nfailed: {failure}\n");
        }
    }
    scene.stop()
}
