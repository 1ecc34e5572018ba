//! The load run: the whole chain of Passerelle against tuned nginx -> mTLS -> nginx, side by side in one run.
//!
//! `cargo run --release -p benches --bin load -- --help`. It prints the table of `benches/README.md`. Loopback only.
//! Needs nginx (Debian: nginx-light) and the release programs (`cargo build --release --bins`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use benches::generator::{self, Load, Outcome};
use benches::{nginx, process};
use bytes::Bytes;
use clap::Parser;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Measures the chain client -> gateway -> gateway -> service against the same with nginx.
#[derive(Parser)]
struct Options {
    /// Rounds; in each, every load runs once through nginx and once through the gateways.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of every single load.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Key type of the gateways: p256 or rsa2048.
    #[arg(long, default_value = "p256")]
    key: String,
    /// Where the ecosystem is made; must not be on a memory file system.
    #[arg(long, default_value = "target/load")]
    directory: PathBuf,
    /// First of the ports.
    #[arg(long, default_value_t = 17000)]
    port_base: u16,
}

/// One load: what it is called, and the request.
struct Case {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: usize,
    connections: usize,
}

const CASES: &[Case] = &[
    Case { name: "GET 1 KB, 64 connections", method: "GET", path: "/bytes/1024", body: 0, connections: 64 },
    Case {
        name: "POST 20 KB, 64 connections",
        method: "POST",
        path: "/declarations",
        body: 20_480,
        connections: 64,
    },
    Case {
        name: "POST 1 MB, 8 connections",
        method: "POST",
        path: "/declarations",
        body: 1 << 20,
        connections: 8,
    },
    Case { name: "GET 1 KB, 1 connection", method: "GET", path: "/bytes/1024", body: 0, connections: 1 },
    Case { name: "GET 1 KB, 256 connections", method: "GET", path: "/bytes/1024", body: 0, connections: 256 },
];

/// What one load showed of one chain.
#[derive(Clone, Copy)]
struct Figures {
    cpu_us: f64,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    pss_mib: f64,
}

/// The gateways' ecosystem, stopped when dropped.
struct Ecosystem(Child);

impl Drop for Ecosystem {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() -> Result<(), String> {
    let options = Options::parse();
    let directory = prepare(&options)?;
    let (ecosystem, gateways) = start(&options, &directory).await?;
    let base = options.port_base;
    let ports = nginx::Ports {
        front: SocketAddr::from(([127, 0, 0, 1], base + 900)),
        back: SocketAddr::from(([127, 0, 0, 1], base + 901)),
        service: SocketAddr::from(([127, 0, 0, 1], base + 30)),
    };
    let pair = nginx::Pair::start(&directory.join("nginx"), ports)?;
    wait_for(ports.front, "/bytes/1").await?;
    let proxies = pair.pids();

    println!("CPU: user + system of both hops. Latency: at the client. PSS: both hops, after the load.\n");
    println!("| load | chain | CPU us/request | requests/s | p50 us | p99 us | PSS MiB |");
    println!("|---|---|---|---|---|---|---|");
    for case in CASES {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            let plain = figures(load(case, ports.front, "", &options), &proxies).await?;
            let door = SocketAddr::from(([127, 0, 0, 1], base + 10));
            let ours =
                figures(load(case, door, "/r1/DEMO/GOV/2002/registry/records", &options), &gateways).await?;
            rounds.push((plain, ours));
        }
        print_case(case, &rounds);
    }
    drop(ecosystem);
    Ok(())
}

fn prepare(options: &Options) -> Result<PathBuf, String> {
    let _ = std::fs::remove_dir_all(&options.directory);
    std::fs::create_dir_all(&options.directory).map_err(|error| error.to_string())?;
    let directory = options.directory.canonicalize().map_err(|error| error.to_string())?;
    if process::on_tmpfs(&directory) {
        return Err(format!("{} is on a memory file system: its syncs cost nothing", directory.display()));
    }
    Ok(directory)
}

async fn start(options: &Options, directory: &Path) -> Result<(Ecosystem, Vec<u32>), String> {
    let demo = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join("passerelle-demo")))
        .filter(|demo| demo.exists())
        .ok_or("passerelle-demo is not beside this program; run: cargo build --release --bins")?;
    let ecosystem = directory.join("ecosystem");
    let made = Command::new(&demo)
        .arg("init")
        .arg(&ecosystem)
        .args(["--port-base", &options.port_base.to_string(), "--key", &options.key])
        .stdout(Stdio::null())
        .status()
        .map_err(|error| error.to_string())?;
    if !made.success() {
        return Err(format!("passerelle-demo init: {made}"));
    }
    let child = Command::new(&demo)
        .arg("run")
        .arg(&ecosystem)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let ecosystem = Ecosystem(child);
    for door in [14, 24] {
        wait_for(SocketAddr::from(([127, 0, 0, 1], options.port_base + door)), "/health").await?;
    }
    let gateways = process::descendants_named(ecosystem.0.id(), &["passerelle-gateway", "serve"]);
    if gateways.len() != 2 {
        return Err(format!("expected two gateways, found {gateways:?}"));
    }
    Ok((ecosystem, gateways))
}

async fn wait_for(target: SocketAddr, path: &str) -> Result<(), String> {
    for _ in 0..200 {
        if status(target, path).await == Some(200) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("http://{target}{path} did not answer 200 within 20 s"))
}

async fn status(target: SocketAddr, path: &str) -> Option<u16> {
    let stream = TcpStream::connect(target).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get(path).header("Host", target.to_string()).body(Empty::<Bytes>::new()).ok()?;
    Some(sender.send_request(request).await.ok()?.status().as_u16())
}

fn load(case: &Case, target: SocketAddr, prefix: &str, options: &Options) -> Load {
    let headers = [("X-Road-Client", "DEMO/GOV/1001/portal"), ("Content-Type", "application/octet-stream")];
    Load {
        target,
        method: case.method,
        path: format!("{prefix}{}", case.path),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: Bytes::from(vec![b'x'; case.body]),
        connections: case.connections,
        duration: Duration::from_secs(options.seconds),
    }
}

async fn figures(load: Load, hops: &[u32]) -> Result<Figures, String> {
    let before = process::cpu(hops);
    let outcome: Outcome = generator::run(load).await;
    let cpu = process::cpu(hops).saturating_sub(before);
    if outcome.failed > 0 || outcome.answered == 0 {
        return Err(format!("{} failed: {}", outcome.failed, outcome.first_failure.unwrap_or_default()));
    }
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "figures for people")]
    Ok(Figures {
        cpu_us: cpu.as_secs_f64() * 1e6 / outcome.answered as f64,
        rate: outcome.rate(),
        p50_us: outcome.percentile(0.5).as_secs_f64() * 1e6,
        p99_us: outcome.percentile(0.99).as_secs_f64() * 1e6,
        pss_mib: process::pss(hops) as f64 / 1_048_576.0,
    })
}

fn print_case(case: &Case, rounds: &[(Figures, Figures)]) {
    let line = |chain: &str, of: &dyn Fn(&(Figures, Figures)) -> Figures| {
        let median =
            |value: &dyn Fn(Figures) -> f64| middle(rounds.iter().map(|round| value(of(round))).collect());
        println!(
            "| {} | {chain} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} |",
            case.name,
            median(&|figures| figures.cpu_us),
            median(&|figures| figures.rate),
            median(&|figures| figures.p50_us),
            median(&|figures| figures.p99_us),
            median(&|figures| figures.pss_mib),
        );
    };
    line("nginx", &|round| round.0);
    line("passerelle", &|round| round.1);
    let ratios = |value: &dyn Fn(Figures) -> f64| {
        let mut ratios: Vec<f64> = rounds.iter().map(|(plain, ours)| value(*ours) / value(*plain)).collect();
        ratios.sort_by(f64::total_cmp);
        let worst = ratios.last().copied().unwrap_or_default();
        format!("{:.2} (worst {worst:.2})", middle(ratios))
    };
    let inverse = |figures: Figures| 1.0 / figures.rate;
    println!(
        "| {} | **ratio** | {} | {:.2} | {} | {} | {} |",
        case.name,
        ratios(&|figures| figures.cpu_us),
        1.0 / middle(rounds.iter().map(|(plain, ours)| inverse(*ours) / inverse(*plain)).collect()),
        ratios(&|figures| figures.p50_us),
        ratios(&|figures| figures.p99_us),
        ratios(&|figures| figures.pss_mib),
    );
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
