//! A machine with its disk, its clock, and the gateway that runs on it: started, ended, started again.
//!
//! Not here: what goes wrong on the disk ([`super::disk`]) and between machines ([`super::network`]).

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use cert_authority::clock::{Clock, UnixTime};
use cert_authority::clocks::{self, Clocks};
use gateway::evidence::signature::TrustCache;
use gateway::exchange::Gateway;
use gateway::messagelog::checkpoint::{self, Checkpoints};
use gateway::messagelog::replays::{self, Replays};
use gateway::messagelog::stamp::{Granted, StampError, StampFuture, TimestampAuthority};
use gateway::messagelog::timestamper::{PendingError, stamp_pending};
use gateway::messagelog::{self, KeyGrouping, LogError, LogStore as _, MessageLog};
use gateway::opmonitor::Monitor;

use super::disk::ProcessDisk;
use super::executor::{Sim, WORLD, locked};
use super::ground::{BEGIN, Ground, ORIGIN, Side};
use super::ledger::Ledger;
use super::life::{End, Life};
use super::network::Network;
use super::parts::{Chance, Echo, Keys, Signing};
use super::platter::Platter;
use super::{Plan, Sabotage};

/// A machine.
pub(super) struct Machine {
    pub(super) sim: Sim,
    pub(super) side: Side,
    pub(super) platter: Arc<Platter>,
    pub(super) config: messagelog::Config,
    pub(super) clock: Arc<MachineClock>,
    plan: Plan,
    ground: Arc<Ground>,
    ledger: Arc<Ledger>,
    peer: Mutex<Weak<Self>>,
    running: Mutex<Option<Arc<Running>>>,
    /// Whether things still go wrong.
    trouble: Mutex<bool>,
}

/// A gateway that runs.
pub(super) struct Running {
    pub(super) life: Arc<Life>,
    pub(super) gateway: Arc<Gateway>,
}

/// The clock of a machine: set by whoever likes.
pub(super) struct MachineClock {
    sim: Sim,
    millis: AtomicI64,
}

impl MachineClock {
    /// Sets it: so much before or behind the true time.
    pub(super) fn set(&self, millis: i64) {
        self.millis.store(millis, Ordering::SeqCst);
    }
}

impl Clock for MachineClock {
    fn now(&self) -> UnixTime {
        let now = (BEGIN + self.sim.now()).as_millis();
        UnixTime::from_millis(now + self.millis.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        self.sim.now()
    }
}

impl Machine {
    pub(super) fn new(
        sim: &Sim,
        side: Side,
        root: &std::path::Path,
        plan: Plan,
        ground: &Arc<Ground>,
        ledger: &Arc<Ledger>,
    ) -> Result<Arc<Self>, String> {
        let platter = Platter::new(sim, &root.join(side.name())).map_err(|error| error.to_string())?;
        let config = messagelog::Config {
            key_grouping: sim.one_of(KeyGrouping::Period, &[KeyGrouping::Member]),
            segment_size: (24 << 10) << sim.below(4),
            reserve: 0,
            body_quota: 1 << 20,
            queue: 1 << sim.below(5),
            acceptable_timestamp_failure: None,
            ..messagelog::Config::new(platter.path().join("log"))
        };
        Ok(Arc::new(Self {
            sim: sim.clone(),
            side,
            platter: Arc::new(platter),
            config,
            clock: Arc::new(MachineClock { sim: sim.clone(), millis: AtomicI64::new(0) }),
            plan,
            ground: Arc::clone(ground),
            ledger: Arc::clone(ledger),
            peer: Mutex::default(),
            running: Mutex::default(),
            trouble: Mutex::new(true),
        }))
    }

    /// Tells two machines of each other, and starts their gateways, again and again.
    pub(super) fn connect(machines: &[Arc<Self>; 2]) {
        let [one, other] = machines;
        *locked(&one.peer) = Arc::downgrade(other);
        *locked(&other.peer) = Arc::downgrade(one);
        for machine in machines {
            let supervised = Arc::clone(machine);
            machine.sim.spawn(WORLD, async move { supervised.supervise().await });
        }
    }

    /// The gateway, if it runs.
    pub(super) fn running(&self) -> Option<Arc<Running>> {
        locked(&self.running).clone().filter(|running| running.life.lives())
    }

    /// From now on nothing goes wrong that nobody asks for.
    pub(super) fn calm(&self) {
        *locked(&self.trouble) = false;
        self.platter.set_full(false);
    }

    /// Lets go of what still runs when nothing else does.
    pub(super) fn off(&self) {
        *locked(&self.running) = None;
    }

    fn trouble(&self) -> bool {
        *locked(&self.trouble)
    }

    /// Starts the gateway, and whenever it has ended, again.
    async fn supervise(self: Arc<Self>) {
        loop {
            let (life, ended) = Life::begin(&self.sim, self.side.name());
            let life = Arc::new(life);
            match self.start(&life) {
                Ok(()) => self.sim.trace(format_args!("{life} runs")),
                Err(error) => {
                    self.sim.trace(format_args!("{life} does not start: {error}"));
                    if life.lives() && !matches!(error, LogError::Io { .. } | LogError::NoSpace(_)) {
                        self.sim.wrong(format!("{life} does not start: {error}"));
                    }
                    life.end(End::Killed);
                }
            }
            let end = ended.await.unwrap_or(End::Killed);
            *locked(&self.running) = None;
            self.sim.sleep_below(Duration::from_millis(300)).await;
            if end == End::PowerCut
                && let Err(error) = self.platter.cut_power()
            {
                self.sim.wrong(format!("the simulated disk: {error}"));
                return;
            }
        }
    }

    /// Opens the log, or makes it where there is none, and everything else of a gateway.
    fn start(self: &Arc<Self>, life: &Arc<Life>) -> Result<(), LogError> {
        let disk = ProcessDisk::new(&self.platter, life, self.plan.sabotage, self.trouble());
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (config, disk) = (self.config.clone(), Arc::new(disk));
        let log = if config.directory.join("identity").exists() {
            let (log, hands) = MessageLog::open_driven(config, Arc::clone(&clock), disk)?;
            self.sim.spawn(life.owner, hands);
            log
        } else {
            let (log, hands) = MessageLog::create_driven(config, Arc::clone(&clock), disk)?;
            self.sim.spawn(life.owner, hands);
            log
        };
        let handling = Some(replays::Handling::Reject).filter(|_| self.plan.sabotage != Sabotage::Forgets);
        let settings = replays::Settings { handling, ..replays::Settings::default() };
        let replays = Replays::new(settings, &log);
        replays.catch_up(clock.now())?;
        let identity = self.ground.identity(self.side);
        let settings = Arc::clone(&identity.settings);
        let peer = locked(&self.peer).upgrade().ok_or(LogError::Locked)?;
        let trouble = if self.trouble() { self.plan.trouble } else { 0 };
        let gateway = Arc::new(Gateway {
            server: identity.server.clone(),
            clock: Arc::clone(&clock),
            clocks: Arc::new(Clocks::new(clock, clocks::Limits::default())),
            ids: Arc::new(Chance(self.sim.clone())),
            conf: self.ground.conf.clone(),
            local: Arc::new(move || Arc::clone(&settings)),
            keys: Arc::new(Keys(Arc::clone(&identity.key))),
            signer: Arc::new(Signing::new(&self.sim, &self.ground)),
            trust: TrustCache::default(),
            monitor: Monitor::off(),
            log: log.clone(),
            replays,
            peers: Arc::new(Network {
                sim: self.sim.clone(),
                ground: Arc::clone(&self.ground),
                life: Arc::clone(life),
                peer,
                trouble,
            }),
            services: Arc::new(Echo {
                sim: self.sim.clone(),
                ledger: Arc::clone(&self.ledger),
                life: Arc::clone(life),
                trouble,
            }),
        });
        let works = Works { machine: Arc::clone(self), life: Arc::clone(life), log };
        works.begin();
        *locked(&self.running) = Some(Arc::new(Running { life: Arc::clone(life), gateway }));
        Ok(())
    }
}

/// What a gateway does by itself.
struct Works {
    machine: Arc<Machine>,
    life: Arc<Life>,
    log: MessageLog,
}

impl Works {
    fn begin(self) {
        let sim = self.machine.sim.clone();
        sim.spawn(self.life.owner, async move { self.run().await });
    }

    /// Time-stamps and checkpoints in turn. A log that has stopped is what its operator looks at, who then starts the
    /// gateway anew.
    async fn run(self) {
        let Self { machine, life, log } = self;
        let (sim, ledger) = (&machine.sim, &machine.ledger);
        let settings = checkpoint::Settings {
            origin: ORIGIN.to_owned(),
            every: Duration::from_secs(1),
            previous_keys: Vec::new(),
            witnesses: Vec::new(),
            quorum: 0,
        };
        let clock: Arc<dyn Clock> = machine.clock.clone();
        let opened = Checkpoints::open(log.clone(), machine.ground.checkpoints.clone(), settings, clock);
        let checkpoints = match opened {
            Ok(checkpoints) => checkpoints,
            Err(error) => {
                sim.wrong(format!("{life}: the log is not what its checkpoints say: {error}"));
                return life.end(End::Killed);
            }
        };
        loop {
            sim.sleep_below(Duration::from_millis(400)).await;
            if log.ready().is_err_and(|error| matches!(error, LogError::Stopped(_))) {
                return life.end(End::Killed);
            }
            if sim.chance(400) {
                let below = log.reader().len();
                let authority: Box<dyn TimestampAuthority> = Box::new(Authority(machine.clone()));
                match stamp_pending(&log, &[authority]).await {
                    Ok(_) => ledger.stamped(machine.side, below),
                    Err(PendingError::Log(
                        LogError::Io { .. } | LogError::Stopped(_) | LogError::NoSpace(_),
                    ))
                    | Err(PendingError::Refused(_)) => {}
                    Err(error) => sim.wrong(format!("{life}: time-stamps: {error}")),
                }
            }
            if sim.chance(400)
                && let Ok(Some(made)) = checkpoints.make().await
            {
                ledger.checkpoint(machine.side, made.checkpoint.size(), *made.checkpoint.root());
            }
        }
    }
}

/// Grants what it is asked for, mostly.
struct Authority(Arc<Machine>);

impl TimestampAuthority for Authority {
    fn name(&self) -> &str {
        "authority"
    }

    fn stamp<'a>(&'a self, data: &'a [u8]) -> StampFuture<'a> {
        Box::pin(async move {
            let sim = &self.0.sim;
            sim.sleep_below(Duration::from_millis(50)).await;
            if sim.chance(self.0.plan.trouble) {
                return Err(StampError {
                    authority: "authority".to_owned(),
                    reason: "it is down".to_owned(),
                });
            }
            let token = bytes::Bytes::copy_from_slice(data.get(..data.len().min(64)).unwrap_or_default());
            Ok(Granted { token, time: BEGIN + sim.now() })
        })
    }
}
