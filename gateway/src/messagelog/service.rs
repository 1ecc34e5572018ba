//! The message log as the gateway uses it: asked whether it is ready, appended to, read.
//!
//! Not here: how it is made and opened (`opening`), the bytes ([`super::frame`]), the thread that writes (`writer`).

use std::{
    future::poll_fn,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::Ordering},
    task::Poll,
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use cert_authority::clock::Clock;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};

use super::{
    append::{LogStore, Receipt},
    body::{SealedBody, Vault, blocking},
    disk::{Disk, Work},
    error::LogError,
    frame::{FRAME_HEAD, MAX_CONTENT},
    index::Facts,
    key::KeyGrouping,
    lock::Lock,
    postgres::Database,
    reader::Reader,
    record::{AccessRecord, MessageRecord, Record},
    stamp::{Authorities, Health, RecentSignatures},
    timestamper,
    tree::Hash,
    writer::{Entry, Lead, Reply, State},
};

mod opening;

pub use opening::read_only;
pub(crate) use opening::{read_identity, write_identity};

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the log lies. Never on a file system in memory.
    pub directory: PathBuf,
    /// The file of the key-encryption key; made with the log. Keep it elsewhere than backups of the log.
    pub key_file: PathBuf,
    /// Which bodies share a data key.
    pub key_grouping: KeyGrouping,
    /// Length of a segment file.
    pub segment_size: u64,
    /// What must stay free on the disk for exchanges to begin.
    pub reserve: u64,
    /// Most bytes of bodies in flight.
    pub body_quota: u64,
    /// Most records that wait to be written.
    pub queue: usize,
    /// How long time-stamps may fail before exchanges are refused; none: for ever.
    pub acceptable_timestamp_failure: Option<Duration>,
    /// The database that records lie in, with their keys and bodies; `None` for segment files in the directory.
    pub postgres: Option<Database>,
}

impl Config {
    /// The defaults, for a log in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self {
            key_file: directory.with_extension("key"),
            directory,
            key_grouping: KeyGrouping::default(),
            segment_size: 64 << 20,
            reserve: 64 << 20,
            body_quota: 4 << 30,
            queue: 1024,
            acceptable_timestamp_failure: Some(Duration::from_secs(4 * 3600)),
            postgres: None,
        }
    }
}

/// The message log. Cheap to clone; the last clone waits for what is under way, and closes it.
#[derive(Clone)]
pub struct MessageLog(Arc<Inner>);

struct Inner {
    config: Config,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    vault: Vault,
    reader: Reader,
    state: Arc<State>,
    stamping: Stamping,
    /// Taken when the log is closed.
    queue: Option<mpsc::Sender<Entry>>,
    threads: Vec<JoinHandle<()>>,
    _lock: Lock,
}

/// What time-stamping goes by.
#[derive(Default)]
struct Stamping {
    recent: Arc<RecentSignatures>,
    health: Mutex<Health>,
    /// Held from finding what is pending until its time-stamp is logged, so that nothing is stamped twice.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Who stamps each message before it is answered, if that is wanted.
    at_once: OnceLock<Authorities>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without a sender the writer ends, and then the indexer, which listens to the writer.
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl MessageLog {
    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Seals bodies for this log.
    pub fn vault(&self) -> &Vault {
        &self.0.vault
    }

    /// Finds and reads records.
    pub fn reader(&self) -> Reader {
        self.0.reader.clone()
    }

    /// Digests of the signatures that were logged last.
    pub(crate) fn recent_signatures(&self) -> Arc<RecentSignatures> {
        Arc::clone(&self.0.stamping.recent)
    }

    /// Whether it lies in PostgreSQL.
    pub(crate) fn is_in_tables(&self) -> bool {
        self.0.config.postgres.is_some()
    }

    /// Where work with it is done.
    pub(crate) fn work(&self) -> Work {
        self.0.disk.work()
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        self.0.disk.as_ref()
    }

    /// Accepts nothing more until the next start: the log has been found not to be what it was.
    pub(crate) fn stop(&self, why: String) {
        tracing::error!(why, "the message log stops");
        let _ = self.0.state.stopped.set(why);
    }

    /// Whether this node leads: makes time-stamps, checkpoints and archives. A log in files has one node, which does.
    pub fn leads(&self) -> bool {
        self.0.state.lead.borrow().holds()
    }

    /// Does what only the leader may: begins `work` each time this node leads, and breaks it off when it leads no longer.
    /// Returns when the work ends by itself, or when `stop` turns true while another node leads.
    pub async fn while_leading<F: Future<Output = ()>>(
        &self,
        mut stop: watch::Receiver<bool>,
        mut work: impl FnMut() -> F,
    ) {
        let mut lead = self.0.state.lead.subscribe();
        loop {
            let begun = tokio::select! {
                now = lead.wait_for(Lead::holds) => match now {
                    Ok(now) => *now,
                    Err(_) => return,
                },
                _ = stop.wait_for(|stop| *stop) => return,
            };
            // Looked at each time that the work is about to go on.
            let over = poll_fn(|_| if self.leads() { Poll::Pending } else { Poll::Ready(()) });
            tokio::select! {
                // Broken off before it can go on: another node may lead already.
                biased;
                _ = lead.wait_for(|now| !now.is_still(&begun)) => {}
                () = over => {}
                () = work() => return,
            }
        }
    }

    /// How time-stamping goes.
    pub fn stamping(&self) -> Health {
        *self.0.stamping.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long time-stamping has failed, and for how long it may, once that is more than the half.
    pub fn half_unstamped(&self) -> Option<(Duration, Duration)> {
        let acceptable = self.0.config.acceptable_timestamp_failure?;
        let failing = self.0.clock.now().since(self.stamping().failing_since?);
        (failing > acceptable / 2).then_some((failing, acceptable))
    }

    pub(crate) fn set_stamping(&self, health: Health) {
        *self.0.stamping.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    pub(crate) fn stamper(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.0.stamping.turn)
    }

    /// From now on a message counts as logged only with its time-stamp. Those that come while one is asked for share
    /// the next. Said once, at the start; what is said later changes nothing.
    pub fn stamp_at_once(&self, authorities: Authorities) {
        let _ = self.0.stamping.at_once.set(authorities);
    }

    fn check_space(&self) -> Result<(), LogError> {
        let inner = &self.0;
        let free = inner.disk.available(&inner.config.directory);
        let free = free.map_err(|e| LogError::io("the free space cannot be had", &e))?;
        // After the next segment has been made, the reserve must still be there.
        let room = inner.state.room.load(Ordering::Relaxed);
        let needed = inner.config.reserve.saturating_add(inner.config.segment_size.saturating_sub(room));
        if free < needed {
            return Err(LogError::NoSpace(format!("{free} bytes are free, {needed} are needed")));
        }
        Ok(())
    }

    /// Makes the bodies durable that go to files, and notes in the record where each lies.
    async fn keep(
        &self,
        message: &mut MessageRecord,
        bodies: Vec<Option<SealedBody>>,
    ) -> Result<Vec<(Hash, Bytes)>, LogError> {
        if bodies.len() != message.parts.len() {
            return Err(LogError::Record("it has another number of parts than contents"));
        }
        let mut blobs = Vec::new();
        for (part, body) in message.parts.iter_mut().zip(bodies) {
            let Some(body) = body else {
                part.stored = None;
                continue;
            };
            if body.length() != part.length {
                return Err(LogError::Record("the length of a part is not that of its content"));
            }
            let stored = match body.in_memory() {
                Some(blob) => {
                    let stored = self.0.vault.keep(&body)?;
                    blobs.push((stored.ciphertext, blob));
                    stored
                }
                None => {
                    let vault = self.0.vault.clone();
                    blocking(vault.work(), move || vault.keep(&body)).await?
                }
            };
            part.stored = Some(stored);
        }
        Ok(blobs)
    }

    /// Makes a record durable.
    async fn commit(&self, mut record: Record, bodies: Vec<Option<SealedBody>>) -> Result<Receipt, LogError> {
        self.0.state.check()?;
        let blobs = match &mut record {
            Record::Request(message) | Record::Response(message) => self.keep(message, bodies).await?,
            Record::Outcome(_)
            | Record::Timestamp(_)
            | Record::Checkpoint(_)
            | Record::Configuration(_)
            | Record::Access(_)
            | Record::Archive(_) => Vec::new(),
        };
        self.enqueue(&record, blobs, Vec::new(), None).await
    }

    /// Makes a record of another kind than messages durable, whose turn ends when it is.
    pub(crate) async fn commit_in_turn(
        &self,
        record: Record,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Receipt, LogError> {
        self.0.state.check()?;
        self.enqueue(&record, Vec::new(), Vec::new(), Some(turn)).await
    }

    /// Makes a record durable that names messages, and removes them with the same commit: of a log in tables.
    pub(crate) async fn commit_removing(&self, names: AccessRecord) -> Result<Receipt, LogError> {
        self.0.state.check()?;
        let removes = names.records.clone();
        self.enqueue(&Record::Access(names), Vec::new(), removes, None).await
    }

    async fn enqueue(
        &self,
        record: &Record,
        blobs: Vec<(Hash, Bytes)>,
        removes: Vec<u64>,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> Result<Receipt, LogError> {
        let kind = record.kind();
        let fields = record.encode();
        if u32::try_from(fields.len() + FRAME_HEAD).is_ok_and(|length| length > MAX_CONTENT) {
            return Err(LogError::Record("it is too long"));
        }
        let signature = record.message().map(|message| self.0.stamping.recent.digest(&message.signature));
        let facts = Facts { signature, ..Facts::of(record) };
        let (to, receipt) = oneshot::channel();
        let reply = Reply { to, _turn: turn };
        let entry = Entry { kind, time: self.0.clock.now(), fields, blobs, facts, removes, reply };
        let ended = || LogError::Stopped("the writer has ended".to_owned());
        let queue = self.0.queue.as_ref().ok_or_else(ended)?;
        queue.send(entry).await.map_err(|_| ended())?;
        receipt.await.map_err(|_| ended())?
    }
}

impl LogStore for MessageLog {
    type Body = SealedBody;

    fn ready(&self) -> Result<(), LogError> {
        self.0.state.check()?;
        self.check_space()?;
        self.0.vault.ready()?;
        self.stamping().check(self.0.config.acceptable_timestamp_failure, self.0.clock.now())
    }

    async fn append(&self, record: Record, bodies: Vec<Option<SealedBody>>) -> Result<Receipt, LogError> {
        let message = record.message().is_some();
        let receipt = self.commit(record, bodies).await?;
        if let Some(authorities) = self.0.stamping.at_once.get().filter(|_| message) {
            let stamped = timestamper::stamp_at_once(self, authorities, receipt.sequence).await;
            stamped.map_err(|error| LogError::Unstamped(error.to_string()))?;
        }
        Ok(receipt)
    }
}
