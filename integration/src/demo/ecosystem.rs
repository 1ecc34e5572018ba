//! The running ecosystem: every part a process of its own, started, watched, killed, restarted, stopped.
//!
//! | part | program | ready when |
//! |---|---|---|
//! | `ca` | `passerelle-ca serve` | it takes connections |
//! | `authority` | `passerelle-conf serve` | it takes connections (it publishes before) |
//! | `service` | `passerelle-demo service` | it takes connections |
//! | `provider`, `consumer` | `passerelle-gateway serve` | `/health` is 200 |
//!
//! Whatever happens no process is left behind: dropping an [`Ecosystem`] stops them all.
//!
//! Specification: none; ours. Not here: what the processes are asked for ([`super::story`]).

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::client;
use super::layout::{CONSUMER, Layout, ORGANISATIONS, PROVIDER};
use super::programs::{Programs, Running};

pub use super::init::init;

/// What each process prints goes to this file in its folder.
const OUTPUT: &str = "output.log";

/// Between two looks at whether a part is ready.
const POLL: Duration = Duration::from_millis(20);

/// The longest wait for a part to be ready: a busy machine may be slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a part gets to finish what is under way.
const GRACE: Duration = Duration::from_secs(10);

/// One part of the ecosystem. Its name is also the name of its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// `ca`, `authority`, `service`, `provider`, `consumer`.
    pub name: &'static str,
    /// The program.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: &'static [&'static str],
}

/// All parts, in the order in which they start; they stop the other way round.
pub const PARTS: [Part; 5] = [
    Part { name: "ca", program: "passerelle-ca", arguments: &["serve"] },
    Part { name: "authority", program: "passerelle-conf", arguments: &["serve"] },
    Part { name: "service", program: "passerelle-demo", arguments: &["service", "--config", "service.toml"] },
    Part { name: PROVIDER.folder, program: "passerelle-gateway", arguments: &["serve"] },
    Part { name: CONSUMER.folder, program: "passerelle-gateway", arguments: &["serve"] },
];

/// The processes of one ecosystem.
#[derive(Debug)]
pub struct Ecosystem {
    /// Where everything stands.
    pub layout: Layout,
    /// The programs that run.
    pub programs: Programs,
    /// In the order of their start.
    running: Vec<(Part, Running)>,
}

impl Ecosystem {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// In words: a port that is taken, a part that stopped or is not ready in time, with the end of its log. Then
    /// nothing runs any more.
    pub async fn start(programs: Programs, layout: Layout) -> Result<Self, String> {
        free_ports(&layout)?;
        let mut ecosystem = Self { layout, programs, running: Vec::new() };
        // Without CA and configuration the gateways would only try again later.
        let (trust, gateways) = PARTS.split_at(3);
        for parts in [trust, gateways] {
            for part in parts {
                ecosystem.spawn(*part)?;
            }
            for part in parts {
                ecosystem.ready(part.name).await?;
            }
        }
        Ok(ecosystem)
    }

    /// The process of a part; none while it is killed.
    pub fn process(&mut self, name: &str) -> Option<&mut Running> {
        self.running.iter_mut().find(|(part, _)| part.name == name).map(|(_, running)| running)
    }

    /// Whether all that was started, and not killed on purpose, still runs.
    ///
    /// # Errors
    /// In words: who stopped, with the end of its log.
    pub fn alive(&mut self) -> Result<(), String> {
        self.running.iter_mut().try_for_each(|(part, running)| {
            running.alive().map_err(|reason| format!("{}: {reason}", part.name))
        })
    }

    /// Kills a part as a crash would (SIGKILL).
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, name: &str) -> Result<(), String> {
        self.take(name)?.kill();
        Ok(())
    }

    /// Starts a part again, after it was killed or, if it runs, after stopping it gracefully; waits until it is ready.
    ///
    /// # Errors
    /// As [`Ecosystem::start`]; there is no such part.
    pub async fn restart(&mut self, name: &str) -> Result<(), String> {
        if self.process(name).is_some() {
            self.halt(name)?;
        }
        self.launch(name)?;
        self.ready(name).await
    }

    /// Stops a part gracefully.
    ///
    /// # Errors
    /// It does not run.
    pub fn halt(&mut self, name: &str) -> Result<(), String> {
        self.take(name)?.stop(GRACE);
        Ok(())
    }

    /// Starts a part that does not run, without waiting until it is ready ([`Ecosystem::ready`]).
    ///
    /// # Errors
    /// There is no such part; it cannot be started.
    pub fn launch(&mut self, name: &str) -> Result<(), String> {
        let part = PARTS.into_iter().find(|part| part.name == name);
        self.spawn(part.ok_or_else(|| format!("{name} is no part of the ecosystem"))?)
    }

    /// Stops everything gracefully, gateways first.
    ///
    /// # Errors
    /// In words: who did not stop by itself and had to be killed.
    pub fn stop(mut self) -> Result<(), String> {
        let mut killed = Vec::new();
        while let Some((part, mut running)) = self.running.pop() {
            if !running.stop(GRACE) {
                killed.push(part.name);
            }
        }
        if killed.is_empty() {
            return Ok(());
        }
        Err(format!("had to be killed, after {} s: {}", GRACE.as_secs(), killed.join(", ")))
    }

    fn take(&mut self, name: &str) -> Result<Running, String> {
        let place = self.running.iter().position(|(part, _)| part.name == name);
        let place = place.ok_or_else(|| format!("{name} does not run"))?;
        Ok(self.running.remove(place).1)
    }

    fn spawn(&mut self, part: Part) -> Result<(), String> {
        let folder = self.layout.folder(part.name);
        let running = self.programs.start(&folder, OUTPUT, part.program, part.arguments)?;
        self.running.push((part, running));
        Ok(())
    }

    /// Waits until a part is ready.
    ///
    /// # Errors
    /// In words: it stopped, or why it is not ready in time.
    pub async fn ready(&mut self, name: &str) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let process = self.process(name).ok_or_else(|| format!("{name} does not run"))?;
            process.alive().map_err(|reason| format!("{name}: {reason}"))?;
            let log = process.log().display().to_string();
            match self.probe(name).await {
                Ok(()) => return Ok(()),
                Err(reason) if began.elapsed() > PATIENCE => {
                    let seconds = PATIENCE.as_secs();
                    return Err(format!("{name} is not ready after {seconds} s: {reason}; see {log}"));
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    async fn probe(&self, name: &str) -> Result<(), String> {
        let address = match ORGANISATIONS.iter().find(|organisation| organisation.folder == name) {
            Some(organisation) => return healthy(self.layout.administration(organisation)).await,
            None if name == "ca" => self.layout.trust(),
            None if name == "authority" => self.layout.authority(),
            None => self.layout.service(),
        };
        TcpStream::connect(address).await.map(drop).map_err(|error| format!("{address}: {error}"))
    }
}

impl Drop for Ecosystem {
    /// The reverse order matters: a gateway finishes what is under way with the others still there.
    fn drop(&mut self) {
        while let Some((_, mut running)) = self.running.pop() {
            running.stop(GRACE);
        }
    }
}

async fn healthy(address: SocketAddr) -> Result<(), String> {
    let reply = client::send(address, "GET", "/health", &[], "").await?;
    if reply.status.is_success() {
        return Ok(());
    }
    Err(format!("/health is {}: {}", reply.status, String::from_utf8_lossy(&reply.body)))
}

/// Says at once, and clearly, what would otherwise stand in the log of a process that stopped.
///
/// # Errors
/// In words: which port is taken.
pub fn free_ports(layout: &Layout) -> Result<(), String> {
    for (part, address) in layout.addresses() {
        free_port(address).map_err(|error| {
            format!(
                "{address}, for the {part}, cannot be listened on ({error}): does another demo run? \
                 --port-base N chooses other ports"
            )
        })?;
    }
    Ok(())
}

/// Looks again for a moment: a process that is just being started holds, until it runs its program, what its parent has
/// already closed.
fn free_port(address: SocketAddr) -> std::io::Result<()> {
    const LOOKS: usize = 10;
    let mut found = TcpListener::bind(address);
    for _ in 1..LOOKS {
        match &found {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => std::thread::sleep(POLL),
            _ => break,
        }
        found = TcpListener::bind(address);
    }
    found.map(drop)
}
