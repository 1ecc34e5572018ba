//! Two gateways in a world without chance but that of a seed: the real story of a message on both sides, the real message
//! logs, over a network, disks and clocks that go wrong.
//!
//! ```text
//! clients ──► consumer::serve ──► network ──► provider::serve ──► service
//!    │             │ MessageLog                    │ MessageLog        │
//!    │             └─► disk                        └─► disk            │      chaos: kill, power cut, full disk, clock
//!    └────────────────────────────► ledger ◄───────────────────────────┘
//!                                     └─► check: by what both logs say after the last start
//! ```
//! | part | what it is |
//! |---|---|
//! | `executor`, `random` | one thread; which task goes on is drawn; time passes when none can |
//! | `platter`, `disk`, `life` | what is not synced may be lost; operations that fail; processes that end between two steps |
//! | `network` | messages in pieces, late, cut off, repeated |
//! | `machine`, `parts` | a gateway over these ports, started again and again |
//! | `client` | who asks, and what troubles |
//! | `ledger`, `check` | what must be so, and whether it is |
//!
//! What is simulated is real from the ports down to the bytes in the files. Not here: TLS, HTTP, QUIC, SOAP, PostgreSQL,
//! the index in files (it lies in memory here, and is built anew at each start), threads, archives, witnesses.

mod check;
mod client;
mod disk;
mod executor;
mod ground;
mod ledger;
mod life;
mod machine;
mod network;
mod parts;
mod platter;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway::messagelog::audit;

use check::check;
use client::{Client, chaos};
use executor::{Sim, WORLD};
use ground::{Ground, Side};
use ledger::Ledger;
use life::End;
use machine::Machine;

/// What is done to the world so that a promise must break, to see whether that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// Disks whose sync of files does nothing.
    SyncsNothing,
    /// Disks whose sync of names does nothing.
    SyncsNoNames,
    /// Gateways that do not look whether a request was received before.
    Forgets,
}

/// How much goes wrong in a seed.
#[derive(Debug, Clone, Copy)]
struct Plan {
    sabotage: Sabotage,
    /// So many of a thousand things.
    trouble: usize,
}

/// What came of a seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Everything that happened, as a number.
    pub trace: u64,
    /// Exchanges that were answered.
    pub answered: usize,
    /// Every promise that was broken.
    pub wrong: Vec<String>,
}

/// Plays seeds one after the other. A thread has its own.
pub struct Simulation {
    ground: Arc<Ground>,
    scratch: PathBuf,
    _folder: tempfile::TempDir,
    sabotage: Sabotage,
    /// Whether what happens is printed.
    pub told: bool,
}

impl Simulation {
    /// With keys and settings of its own, on files in memory where the machine has a place for them.
    ///
    /// # Errors
    /// In words.
    pub fn new(sabotage: Sabotage) -> Result<Self, String> {
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.map_err(|error| error.to_string())?;
        let (ground, scratch) = (Arc::new(Ground::new()?), folder.path().to_path_buf());
        Ok(Self { ground, scratch, _folder: folder, sabotage, told: false })
    }

    /// Plays a seed.
    ///
    /// # Errors
    /// In words, when the world itself cannot be made.
    pub fn play(&self, seed: u64) -> Result<Outcome, String> {
        let root = self.scratch.join(seed.to_string());
        let sim = Sim::new(seed, self.told);
        let ledger = Arc::new(Ledger::new(&sim));
        let trouble = sim.one_of(0, &[20, 60, 150]);
        let plan = Plan { sabotage: self.sabotage, trouble };
        let machine = |side| Machine::new(&sim, side, &root, plan, &self.ground, &ledger);
        let machines = [machine(Side::Consumer)?, machine(Side::Provider)?];
        let (ground, signatures) = (Arc::clone(&self.ground), seed.is_multiple_of(16));
        let story = story(sim.clone(), ground, machines.clone(), Arc::clone(&ledger), trouble, signatures);
        if catch_unwind(AssertUnwindSafe(|| sim.run(story))).is_err() {
            sim.wrong("something panicked".to_owned());
        }
        for machine in machines {
            machine.off();
            audited(&sim, &machine);
        }
        std::fs::remove_dir_all(&root).map_err(|error| error.to_string())?;
        Ok(Outcome { seed, trace: sim.hash(), answered: ledger.all_answered().len(), wrong: sim.wrongs() })
    }
}

/// What happens in a seed.
async fn story(
    sim: Sim,
    ground: Arc<Ground>,
    machines: [Arc<Machine>; 2],
    ledger: Arc<Ledger>,
    trouble: usize,
    signatures: bool,
) {
    Machine::connect(&machines);
    let [consumer, _] = &machines;
    let client =
        Client { sim: sim.clone(), consumer: Arc::clone(consumer), ledger: Arc::clone(&ledger), trouble };
    let clients: Vec<_> =
        (0..1 + sim.below(3)).map(|name| client.clone().begin(name, 1 + sim.below(3))).collect();
    sim.spawn(WORLD, chaos(sim.clone(), machines.clone(), sim.below(5)));
    for ended in clients {
        let _ = ended.await;
    }
    sim.sleep_below(Duration::from_millis(500)).await;
    sim.trace(format_args!("all trouble is over"));
    for machine in &machines {
        machine.calm();
        let end = if sim.chance(500) { End::PowerCut } else { End::Killed };
        machine.running().into_iter().for_each(|running| running.life.end(end));
    }
    sim.sleep(Duration::from_secs(5)).await;
    let calm = Client { trouble: 0, ..client };
    if !calm.ask_until_answered("the last").await {
        sim.wrong("without trouble nothing is answered".to_owned());
    }
    let [Some(one), Some(other)] = machines.each_ref().map(|machine| machine.running()) else {
        return sim.wrong("a gateway does not run any more".to_owned());
    };
    check(&sim, &ground, &ledger, [one.gateway.log.reader(), other.gateway.log.reader()], signatures);
}

/// The checker of the product, over the files that are left.
fn audited(sim: &Sim, machine: &Machine) {
    match audit::audit(&machine.config.directory, &mut ()) {
        Ok(verdict) => {
            for finding in verdict.findings {
                sim.wrong(format!("{}: {finding}", machine.side.name()));
            }
        }
        Err(error) => sim.wrong(format!("{}: cannot be audited: {error}", machine.side.name())),
    }
}
