//! Operational monitoring: a record of each exchange, and how the services have been doing.
//!
//! ```text
//! the two stories ──► Observation ──(dropped)──► a queue with an end ──► Recorder ─┬─► files   ──► searches
//!                     a line a step              full: counted, lost               ├─► statistics
//!                                                                                  └─► measurements, traces
//! ```
//! Nothing here can fail an exchange, or make it wait: what finds no place in the queue, or in the files, is lost, counted,
//! and told in `/health`.
//!
//! - [`observation`]: what a story says on its way; [`record`]: what becomes of it
//! - `recorder`: what runs beside the exchanges; `store`: the files
//! - [`search`], [`statistics`]: what can be asked
//! - [`trace_context`]: which trace an exchange is part of; [`traces`]: exchanges as spans
//!
//! Specification: Operational Monitoring Protocol (PR-OPMON) 1.7. Not here: who may ask, and in what form it is answered.

pub mod observation;
pub mod record;
mod recorder;
pub mod search;
pub mod statistics;
mod store;
#[cfg(test)]
mod tests;
pub mod trace_context;
pub mod traces;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cert_authority::clock::{Clock, UnixTime};
use conf::identifier::ServerId;
use tokio::sync::{Semaphore, mpsc};

use self::observation::Observed;
pub use self::observation::{Observation, Step};
use self::record::ServerType;
pub use self::recorder::Recorder;
use self::search::{Found, Search};
use self::statistics::Statistics;
use self::traces::{Collector, Exporter};

/// The release of X-Road that records name.
const XROAD_VERSION: &str = "7.8.0";

/// Observations that wait to be recorded, at most.
const QUEUE: usize = 16 * 1024;

/// How long a loss is told in `/health`.
const TOLD: Duration = Duration::from_secs(600);

/// What is kept, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder of the records; `None` when none are kept.
    pub directory: Option<PathBuf>,
    /// How long they are kept.
    pub keep: Duration,
    /// How much room they may take, bytes.
    pub room: u64,
    /// Over which period services are judged.
    pub period: Duration,
    /// How long after an exchange its record can be asked for by others: until then more of the same second may come.
    pub offset: Duration,
    /// The most records of one answer to others.
    pub most_records: usize,
    /// Where traces go; `None` when there are none.
    pub traces: Option<Collector>,
    /// Whether those who are not the owner learn the operating system and certificates only.
    pub limited: bool,
}

/// Where exchanges are observed, and where what is known of them is asked. Cheap to clone.
#[derive(Clone)]
pub struct Monitor(Option<Arc<Shared>>);

/// Why nothing can be found.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No records are kept.
    #[error("records of exchanges are not kept here")]
    Off,
    /// They cannot be read.
    #[error("the records cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The search was given up.
    #[error("the search was given up")]
    GivenUp,
}

/// Traces cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("traces cannot be sent: {0}")]
pub struct TracesError(String);

/// What monitors, observations and the recorder share.
struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<Observed>,
    statistics: Mutex<Statistics>,
    lost: Losses,
    /// One search at a time: what others ask may not take the disk from the log.
    reading: Semaphore,
}

/// Records that were lost.
#[derive(Default)]
struct Losses {
    count: AtomicU64,
    /// When the last one was, in milliseconds.
    last: AtomicI64,
}

impl Monitor {
    /// One that observes nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// A monitor, and what records for it.
    ///
    /// # Errors
    /// Why the collector of traces cannot be reached.
    pub fn new(
        settings: Settings,
        server: &ServerId,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recorder), TracesError> {
        let traces = settings.traces.as_ref().map(|collector| Exporter::new(collector, &server.to_string()));
        let traces = traces.transpose().map_err(TracesError)?;
        let (queue, observed) = mpsc::channel(QUEUE);
        let statistics = Mutex::new(Statistics::new(clock.now(), settings.period));
        let (lost, reading) = (Losses::default(), Semaphore::new(1));
        let shared = Arc::new(Shared { settings, clock, queue, statistics, lost, reading });
        Ok((Self(Some(Arc::clone(&shared))), Recorder::new(shared, observed, traces)))
    }

    /// An exchange begins.
    pub fn begin(&self, side: ServerType, now: UnixTime) -> Observation {
        self.0
            .as_ref()
            .map_or(Observation::unwanted(), |shared| Observation::begin(Arc::clone(shared), side, now))
    }

    /// The settings; none when nothing is observed.
    pub fn settings(&self) -> Option<&Settings> {
        self.0.as_ref().map(|shared| &shared.settings)
    }

    /// Finds records.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn search(&self, search: Search) -> Result<Found, SearchError> {
        let shared = self.0.as_ref().ok_or(SearchError::Off)?;
        let directory = shared.settings.directory.clone().ok_or(SearchError::Off)?;
        let _turn = shared.reading.acquire().await.map_err(|_| SearchError::GivenUp)?;
        let searched = tokio::task::spawn_blocking(move || search.run(&directory)).await;
        Ok(searched.map_err(|_| SearchError::GivenUp)??)
    }

    /// Asks the statistics; none when nothing is observed.
    pub fn statistics<T>(&self, ask: impl FnOnce(&Statistics, UnixTime) -> T) -> Option<T> {
        let shared = self.0.as_ref()?;
        Some(ask(&shared.statistics(), shared.clock.now()))
    }

    /// Whether records have been lost lately.
    ///
    /// # Errors
    /// How many, in words.
    pub fn health(&self) -> Result<(), String> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let (count, last) =
            (shared.lost.count.load(Ordering::Relaxed), shared.lost.last.load(Ordering::Relaxed));
        if count == 0 || shared.clock.now().since(UnixTime::from_millis(last)) > TOLD {
            return Ok(());
        }
        Err(format!("{count} records of exchanges were lost"))
    }
}

impl Shared {
    /// Takes an observation that is complete: into the queue, or not at all.
    fn take(&self, observed: Observed) {
        if self.queue.try_send(observed).is_err() {
            self.lose(1, "queue");
        }
    }

    fn exports_traces(&self) -> bool {
        self.settings.traces.is_some()
    }

    fn statistics(&self) -> MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, records: usize, place: &'static str) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.lost.count.fetch_add(records, Ordering::Relaxed);
        self.lost.last.store(self.clock.now().as_millis(), Ordering::Relaxed);
        metrics::counter!("passerelle_monitoring_records_lost_total", "place" => place).increment(records);
    }
}
