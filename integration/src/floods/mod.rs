//! Floods: what a gateway and those who only want their work done feel of thousands of connections that ask for nothing.
//!
//! ```text
//! 127.66.0.1.. ── flood ──────────────┐
//! 127.77.0.1   ── newcomers ──────────┼──► door of a gateway (a process of its own)
//! 127.0.0.1    ── kept connections ───┘    exchanges: consumer ──► provider ──► service
//! ```
//! - [`flood`]: the connections that take places
//! - [`healthy`]: the others, and how long things take them
//! - [`Scene`]: an ecosystem whose settings suit the flood; [`Scene::measure`]: quiet, flood, quiet
//!
//! Specification: THREATS T21, T37, F11, F12.

pub mod flood;
pub mod healthy;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::{Clock as _, SystemClock};
use cert_authority::durable;
use cert_authority::keys::inventory::Usage;
use gateway::config::Config;
use gateway::keyring::Keyring;
use gateway::transport::ocsp_cache::OcspCache;
use gateway::transport::tls;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use rustls::client::Resumption;

use self::flood::{Flood, Kind};
use self::healthy::{Newcomer, Times};
use crate::demo::ecosystem::{Ecosystem, init};
use crate::demo::layout::{CONSUMER, Layout, Organisation, PROVIDER};
use crate::demo::narrator::Narrator;
use crate::demo::programs::Programs;

/// A flood of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Peers that shook hands and wait, at the peers' door.
    IdleTls,
    /// The same, each after an answer.
    AskedTls,
    /// Connections at the information systems' door.
    IdlePlain,
    /// Heads that come byte by byte, at the information systems' door.
    SlowHeads,
    /// Handshakes that are begun, and not gone on with, at the peers' door.
    HalfHandshakes,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::IdleTls, Self::AskedTls, Self::IdlePlain, Self::SlowHeads, Self::HalfHandshakes];

    const fn name(self) -> &'static str {
        match self {
            Self::IdleTls => "idle mutual TLS",
            Self::AskedTls => "idle mutual TLS, after an answer",
            Self::IdlePlain => "idle plain HTTP",
            Self::SlowHeads => "slow heads",
            Self::HalfHandshakes => "half handshakes",
        }
    }

    /// Whose door it comes to.
    const fn victim(self) -> Organisation {
        match self {
            Self::IdleTls | Self::AskedTls | Self::HalfHandshakes => PROVIDER,
            Self::IdlePlain | Self::SlowHeads => CONSUMER,
        }
    }

    /// What the settings must allow for the connections to stay; nothing where the usual limits are what is tried.
    fn settings(self, connections: usize) -> String {
        match self {
            Self::IdleTls | Self::AskedTls | Self::IdlePlain => {
                let most = connections + 2000;
                format!(
                    "[limits]\nconnections = {most}\nconnections_per_address = {most}\n\n\
                     [timeouts]\nhead = \"10 min\"\nidle = \"10 min\"\n"
                )
            }
            Self::SlowHeads | Self::HalfHandshakes => String::new(),
        }
    }
}

/// What was found of one flood.
#[derive(Debug)]
pub struct Row {
    case: Case,
    addresses: u8,
    /// Connections that were held at the end of the flood.
    pub held: usize,
    /// Connections that the door closed meanwhile, and that came to nothing.
    pub ended: (usize, usize),
    /// Memory of the gateway (PSS, bytes) before and with the flood.
    pub memory: (u64, u64),
    /// Exchanges over kept connections: before, with and after the flood.
    pub exchanges: [Times; 3],
    /// Newcomers.
    pub newcomers: [Times; 3],
}

impl Row {
    /// Bytes of memory for each connection held.
    pub fn memory_each(&self) -> u64 {
        let grown = self.memory.1.saturating_sub(self.memory.0);
        grown / u64::try_from(self.held.max(1)).unwrap_or(1)
    }

    /// The first thing that did not succeed, in words.
    pub fn first_failure(&self) -> Option<&String> {
        self.exchanges.iter().chain(&self.newcomers).find_map(|times| times.first.as_ref())
    }
}

/// The head of the table.
pub const HEAD: &str = "| flood | held; closed by the door, failed | memory, MiB: before, with; KiB each | \
     exchanges, p50 ms: before, with, after | p99 ms | p99 with : without | \
     newcomers, p99 ms: before, with, after | of them failed |\n|---|---|---|---|---|---|---|---|";

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let each = |times: &[Times; 3], share| {
            let mut text = String::new();
            for one in times {
                let _ =
                    write!(text, "{}{:.1}", if text.is_empty() { "" } else { ", " }, one.per_mille(share));
            }
            text
        };
        let [before, with, after] = &self.exchanges;
        let without = before.clone().and(after.clone());
        let failed: usize = self.newcomers.iter().map(|times| times.failed).sum();
        let newcomers: usize = self.newcomers.iter().map(|times| times.count() + times.failed).sum();
        write!(
            f,
            "| {}, from {} addresses | {}; {}, {} | {}, {}; {:.1} | {} | {} | {:.2} | {} | {failed} of {newcomers} |",
            self.case.name(),
            self.addresses,
            self.held,
            self.ended.0,
            self.ended.1,
            mib(self.memory.0),
            mib(self.memory.1),
            to_f64(self.memory_each()) / 1024.0,
            each(&self.exchanges, 500),
            each(&self.exchanges, 990),
            with.per_mille(990) / without.per_mille(990).max(0.001),
            each(&self.newcomers, 990),
        )
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "far below 2^52")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}

/// An ecosystem of processes that is flooded.
pub struct Scene {
    ecosystem: Ecosystem,
    layout: Layout,
    peer: Arc<ClientConfig>,
}

impl Scene {
    /// Makes it below `directory`; ours and its processes' limit of open files is raised as far as it may be.
    ///
    /// # Errors
    /// In words.
    pub async fn make(directory: &Path, base: u16) -> Result<Self, String> {
        let files = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })
            .map_err(|error| format!("the limit of open files: {error}"))?;
        let programs = Programs::locate()?;
        let layout = init(&programs, &directory.join("ecosystem"), base, "p256", &Narrator::silent())?;
        let peer = Arc::new(peer(&layout)?);
        let ecosystem = Ecosystem::start(programs, layout.clone()).await?;
        Ok(Self { ecosystem, layout, peer })
    }

    /// Starts the flooded gateway with these settings besides its own.
    async fn restart(&mut self, of: &Organisation, settings: &str) -> Result<(), String> {
        let path = self.layout.folder(of.folder).join("gateway.toml");
        let own = path.with_extension("toml.own");
        if !own.exists() {
            fs::copy(&path, &own).map_err(|error| format!("{}: {error}", own.display()))?;
        }
        let text = fs::read_to_string(&own).map_err(|error| format!("{}: {error}", own.display()))?;
        durable::write(&path, format!("{text}\n{settings}").as_bytes()).map_err(|error| error.to_string())?;
        self.ecosystem.restart(of.folder).await
    }

    /// Quiet, flood, quiet: each for so long, once the flood has risen and once it has gone. `more` goes into the settings
    /// of the flooded gateway.
    ///
    /// # Errors
    /// In words: a gateway does not start, or has ended.
    pub async fn measure(
        &mut self,
        case: Case,
        (connections, addresses): (usize, u8),
        time: Duration,
        more: &str,
    ) -> Result<Row, String> {
        let victim = case.victim();
        self.restart(&victim, &format!("{}{more}", case.settings(connections))).await?;
        let id = self.ecosystem.process(victim.folder).map(|process| process.id()).unwrap_or_default();
        let newcomer = match case {
            Case::IdlePlain | Case::SlowHeads => Newcomer::System,
            _ => Newcomer::Peer(self.layout.peer(&victim), Arc::clone(&self.peer)),
        };
        // Caches fill, connections between the gateways are made.
        healthy::watch(&self.layout, &newcomer, time / 2).await;
        let before = healthy::watch(&self.layout, &newcomer, time).await;
        let memory_before = pss(id)?;
        let flood = self.flood(case, connections, addresses).start();
        flood.risen().await;
        let with = healthy::watch(&self.layout, &newcomer, time).await;
        let memory_with = pss(id)?;
        let (held, ended) = (flood.state().held(), (flood.state().closed(), flood.state().failed()));
        drop(flood);
        tokio::time::sleep(time / 4).await;
        let after = healthy::watch(&self.layout, &newcomer, time).await;
        self.ecosystem.alive()?;
        Ok(Row {
            case,
            addresses,
            held,
            ended,
            memory: (memory_before, memory_with),
            exchanges: [before.0, with.0, after.0],
            newcomers: [before.1, with.1, after.1],
        })
    }

    fn flood(&self, case: Case, connections: usize, addresses: u8) -> Flood {
        let victim = case.victim();
        let (peer, peers, systems) =
            (Arc::clone(&self.peer), self.layout.peer(&victim), self.layout.http(&victim));
        let (kind, door) = match case {
            Case::IdleTls => (Kind::IdleTls(peer), peers),
            Case::AskedTls => (Kind::AskedTls(peer), peers),
            Case::HalfHandshakes => (Kind::HalfHandshake(peer), peers),
            Case::IdlePlain => (Kind::IdlePlain, systems),
            Case::SlowHeads => (Kind::SlowHead, systems),
        };
        Flood { kind, door, connections, addresses }
    }

    /// Stops everything gracefully.
    ///
    /// # Errors
    /// In words: who had to be killed.
    pub fn stop(self) -> Result<(), String> {
        self.ecosystem.stop()
    }
}

/// A registered peer, as whom strangers come: the consumer's authentication key. Every handshake is a full one.
fn peer(layout: &Layout) -> Result<ClientConfig, String> {
    let settings = layout.folder(CONSUMER.folder).join("gateway.toml");
    let config = Config::load(&settings).map_err(|error| error.to_string())?;
    let keyring = Keyring::local(&config.keys, Arc::new(OcspCache::new(None)));
    let identity = keyring.and_then(|keyring| keyring.identity(Usage::Auth, SystemClock.now()));
    let identity = identity.map_err(|error| error.to_string())?.ok_or("no authentication certificate")?;
    let mut config = tls::peer_client(identity).map_err(|error| error.to_string())?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Proportional set size of a process, bytes.
fn pss(process: u32) -> Result<u64, String> {
    let file = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB"));
    let kib: u64 = line.and_then(|kib| kib.trim().parse().ok()).ok_or_else(|| format!("{file}: no Pss"))?;
    Ok(kib * 1024)
}
