//! A chain of two hops under a load: what one run over it takes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use integration::demo::client;

use crate::generator::{self, Load};
use crate::process;
use crate::report::Figures;

/// One load: what it is called, and the request.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// Method of every request.
    pub method: &'static str,
    /// Path at the service.
    pub path: &'static str,
    /// Length of the request's body.
    pub sends: usize,
    /// Length of the body, whichever way it goes.
    pub body: usize,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// Most requests: bounds what the logs take of the disk.
    pub most: usize,
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

/// A small answer, many at a time.
pub const SMALL: Case = Case { name: "GET 1 KB, 64 connections", ..GET };
/// A request of 20 KB, many at a time.
pub const MEDIUM: Case = Case { name: "POST 20 KB, 64 connections", sends: 20_480, body: 20_480, ..POST };
/// A request of 1 MB, some at a time.
pub const LARGE: Case = Case {
    name: "POST 1 MB, 8 connections",
    sends: 1 << 20,
    body: 1 << 20,
    connections: 8,
    most: 800,
    ..POST
};
/// A small answer, one after the other.
pub const SINGLE: Case = Case { name: "GET 1 KB, 1 connection", connections: 1, ..GET };
/// A small answer, very many at a time.
pub const MANY: Case = Case { name: "GET 1 KB, 256 connections", connections: 256, ..GET };

/// All loads.
pub const CASES: [Case; 5] = [SMALL, MEDIUM, LARGE, SINGLE, MANY];

/// A chain of two hops.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Where the first hop takes requests.
    pub door: SocketAddr,
    /// What stands before the path at the service.
    pub prefix: &'static str,
    /// The processes of each hop.
    pub hops: [Vec<u32>; 2],
}

impl Chain {
    /// Runs the load once for so long.
    ///
    /// # Errors
    /// In words: a request that failed.
    pub async fn run(&self, case: &Case, duration: Duration) -> Result<Figures, String> {
        let headers =
            [("X-Road-Client", "DEMO/GOV/1001/portal"), ("Content-Type", "application/octet-stream")];
        let load = Load {
            target: self.door,
            method: case.method,
            path: format!("{}{}", self.prefix, case.path),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: Bytes::from(vec![b'x'; case.sends]),
            connections: case.connections,
            kept: true,
            duration,
            most: case.most,
        };
        let pids = self.hops.concat();
        let cpu = process::cpu(&pids);
        let (outcome, memory) = tokio::join!(generator::run(load), async {
            tokio::time::sleep(duration / 2).await; // while all connections are at work
            self.hops.each_ref().map(|hop| process::pss(hop))
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
}

/// Waits until something answers 200.
///
/// # Errors
/// It did not within 10 s.
pub async fn wait_for(target: SocketAddr, path: &str) -> Result<(), String> {
    for _ in 0..100 {
        if client::send(target, "GET", path, &[], "").await.is_ok_and(|reply| reply.status.is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("http://{target}{path} did not answer 200 within 10 s"))
}

/// An empty folder for a run, on a real disk. What an earlier run left there that was interrupted goes, nothing else: a folder
/// that was not made here is refused.
///
/// # Errors
/// In words: a file system in memory, a folder with something in it.
pub fn prepare(directory: &Path) -> Result<PathBuf, String> {
    const MARK: &str = "made-by-benches";
    let named = |error: std::io::Error| format!("{}: {error}", directory.display());
    if directory.join(MARK).exists() {
        std::fs::remove_dir_all(directory).map_err(named)?;
    }
    std::fs::create_dir_all(directory).map_err(named)?;
    if std::fs::read_dir(directory).map_err(named)?.next().is_some() {
        return Err(format!("{} is not empty", directory.display()));
    }
    let directory = directory.canonicalize().map_err(named)?;
    process::write(directory.join(MARK), b"").map_err(named)?;
    if process::on_tmpfs(&directory) {
        return Err(format!("{} is on a file system in memory: its syncs cost nothing", directory.display()));
    }
    Ok(directory)
}
