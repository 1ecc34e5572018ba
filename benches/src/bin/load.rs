//! The load run: the whole chain of Passerelle against tuned nginx -> mutual TLS -> nginx, side by side in one run.
//!
//! `cargo run --release -p benches --bin load` prints what stands in `benches/README.md`. It makes the demo's ecosystem
//! with the real programs, which it builds first if they are missing or older; needs nginx. To loopback only. In every
//! round each load runs once through nginx and once through the gateways, so that a ratio compares neighbours in time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use benches::floor::Floor;
use benches::generator::{self, Load};
use benches::report::{self, Figures, Goals, Results, Round};
use benches::{machine, nginx, process};
use bytes::Bytes;
use clap::Parser;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use integration::demo::ecosystem::{Ecosystem, init};
use integration::demo::layout::{CONSUMER, PROVIDER};
use integration::demo::narrator::Narrator;
use integration::demo::programs::Programs;
use tokio::net::TcpStream;

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
    /// Only these loads, by their numbers from 0, and no goals.
    #[arg(long, value_delimiter = ',')]
    only: Vec<usize>,
    /// Leaves nginx out, without tables: to look at the gateways with a profiler.
    #[arg(long)]
    alone: bool,
}

/// One load: what it is called, and the request.
struct Case {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    /// Length of the request's body.
    sends: usize,
    /// Length of the body, whichever way it goes.
    body: usize,
    connections: usize,
    /// Most requests: bounds what the logs take of the disk.
    most: usize,
}

const GET: Case = Case {
    name: "",
    method: "GET",
    path: "/bytes/1024",
    sends: 0,
    body: 1024,
    connections: 64,
    most: 500_000,
};
const POST: Case = Case { method: "POST", path: "/declarations", ..GET };

const CASES: [Case; 5] = [
    Case { name: "GET 1 KB, 64 connections", ..GET },
    Case { name: "POST 20 KB, 64 connections", sends: 20_480, body: 20_480, ..POST },
    Case {
        name: "POST 1 MB, 8 connections",
        sends: 1 << 20,
        body: 1 << 20,
        connections: 8,
        most: 800,
        ..POST
    },
    Case { name: "GET 1 KB, 1 connection", connections: 1, ..GET },
    Case { name: "GET 1 KB, 256 connections", connections: 256, ..GET },
];

/// A chain of two hops.
struct Chain {
    door: SocketAddr,
    prefix: &'static str,
    hops: [Vec<u32>; 2],
}

#[tokio::main]
async fn main() -> Result<(), String> {
    let options = Options::parse();
    tokio::select! {
        done = run(&options) => done,
        _ = tokio::signal::ctrl_c() => Err("stopped".to_owned()),
    }
}

async fn run(options: &Options) -> Result<(), String> {
    if machine::nginx_version().is_none() {
        return Err("nginx, the baseline, is not there: apt-get install nginx-light".to_owned());
    }
    let programs = Programs::locate()?;
    let directory = prepare(options)?;
    let load_before = machine::load();
    let narrator = Narrator::silent();
    let layout = init(&programs, &directory.join("ecosystem"), options.port_base, &options.key, &narrator)?;
    let mut ecosystem = Ecosystem::start(programs, layout).await?;
    let mut pid = |name| ecosystem.process(name).map(|process| vec![process.id()]).unwrap_or_default();
    let hops = [pid(CONSUMER.folder), pid(PROVIDER.folder)];
    let ours =
        Chain { door: ecosystem.layout.http(&CONSUMER), prefix: "/r1/DEMO/GOV/2002/registry/records", hops };
    let local = |offset| SocketAddr::from(([127, 0, 0, 1], ecosystem.layout.port(offset)));
    let ports = nginx::Ports { front: local(40), back: local(41), service: ecosystem.layout.service() };
    let pair = nginx::Pair::start(&directory.join("nginx"), ports)?;
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
        if let [small, medium, large, single, many] = results.as_slice() {
            println!("{}", Goals { small, medium, large, single, many }.table());
        }
    }
    drop(pair);
    ecosystem.stop()?;
    std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))
}

fn prepare(options: &Options) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    let directory = options.directory.clone().unwrap_or_else(|| source.join("target/load"));
    let named = |error: std::io::Error| format!("{}: {error}", directory.display());
    // What an earlier run left that was interrupted, and nothing else.
    if directory.join("ecosystem").is_dir() && directory.join("nginx").is_dir() {
        std::fs::remove_dir_all(&directory).map_err(named)?;
    }
    std::fs::create_dir_all(directory.join("nginx")).map_err(named)?;
    let directory = directory.canonicalize().map_err(named)?;
    if process::on_tmpfs(&directory) {
        return Err(format!("{} is on a file system in memory: its syncs cost nothing", directory.display()));
    }
    Ok(directory)
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
        figures(&GET, chain, Duration::from_secs(1)).await?;
    }
    let duration = Duration::from_secs(options.seconds);
    for number in 1..=options.rounds {
        let floor = Floor::measure(directory)?;
        for (case, results) in cases.iter().zip(&mut results) {
            let nginx =
                if options.alone { Figures::default() } else { figures(case, baseline, duration).await? };
            let ours = figures(case, ours, duration).await?;
            eprintln!(
                "round {number} of {}: {:<27} nginx {:7.1} us {:6.0}/s   passerelle {:7.1} us {:6.0}/s",
                options.rounds, case.name, nginx.cpu, nginx.rate, ours.cpu, ours.rate
            );
            results.rounds.push(Round { nginx, ours, floor, body: case.body });
        }
    }
    Ok(results)
}

async fn figures(case: &Case, chain: &Chain, duration: Duration) -> Result<Figures, String> {
    let headers = [("X-Road-Client", "DEMO/GOV/1001/portal"), ("Content-Type", "application/octet-stream")];
    let load = Load {
        target: chain.door,
        method: case.method,
        path: format!("{}{}", chain.prefix, case.path),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: Bytes::from(vec![b'x'; case.sends]),
        connections: case.connections,
        duration,
        most: case.most,
    };
    let pids = chain.hops.concat();
    let cpu = process::cpu(&pids);
    let (outcome, memory) = tokio::join!(generator::run(load), async {
        tokio::time::sleep(duration / 2).await; // while all connections are at work
        chain.hops.each_ref().map(|hop| process::pss(hop))
    });
    let cpu = process::cpu(&pids).saturating_sub(cpu);
    if outcome.failed > 0 || outcome.answered == 0 {
        let reason = outcome.first_failure.unwrap_or_default();
        return Err(format!("{}: {} failed: {reason}", case.name, outcome.failed));
    }
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "figures for people")]
    Ok(Figures {
        cpu: cpu.as_secs_f64() * 1e6 / outcome.answered as f64,
        rate: outcome.rate(),
        p50: outcome.percentile(0.5).as_secs_f64() * 1e6,
        p99: outcome.percentile(0.99).as_secs_f64() * 1e6,
        memory: memory.map(|bytes| bytes as f64 / 1e6),
    })
}

async fn wait_for(target: SocketAddr, path: &str) -> Result<(), String> {
    for _ in 0..100 {
        if status(target, path).await == Some(200) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("http://{target}{path} did not answer 200 within 10 s"))
}

async fn status(target: SocketAddr, path: &str) -> Option<u16> {
    let stream = TcpStream::connect(target).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get(path).header("Host", target.to_string()).body(Empty::<Bytes>::new()).ok()?;
    Some(sender.send_request(request).await.ok()?.status().as_u16())
}
