//! The message log as the gateway uses it: made, opened, asked whether it is ready, appended to, read.
//!
//! ```text
//! <directory>/identity   which log this is; without it a directory is no log
//!             lock       held by the process that writes
//!             segments/  the truth
//!             bodies/    large bodies, encrypted, in a directory for each data key
//!             keys/      data keys, wrapped
//!             index/     sled; can be removed
//! ```
//! Not here: the bytes ([`super::frame`]), the thread that writes (`writer`).

use std::{
    fs,
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::Ordering, mpsc as std_mpsc},
    task::Poll,
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use cert_authority::{
    clock::{Clock, UnixTime},
    crypto,
};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};

use super::{
    append::{LogStore, Receipt},
    beside::{Beside, Folder},
    body::{SealedBody, Vault, blocking},
    disk::{self, Disk, SystemDisk, Work},
    error::LogError,
    frame::{FRAME_HEAD, MAX_CONTENT, SegmentHeader},
    hands::{self, Hands},
    index::{Facts, Index, Known},
    key::{self, KeyGrouping, KeyRing},
    lock::Lock,
    postgres::{self, Database},
    reader::Reader,
    record::{AccessRecord, MessageRecord, Record},
    records::Files,
    recover,
    salvage::salvage,
    segment,
    stamp::{Authorities, Health, RecentSignatures},
    timestamper,
    tree::{Hash, Tree},
    writer::{Batch, Entry, Lead, Reply, State, Writer},
};

const IDENTITY: &str = "identity";
const FORMAT: &str = "passerelle message log 1";

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
    recent: Arc<RecentSignatures>,
    stamping: Mutex<Health>,
    /// Held from finding what is pending until its time-stamp is logged, so that nothing is stamped twice.
    stamper: Arc<tokio::sync::Mutex<()>>,
    /// Who stamps each message before it is answered, if that is wanted.
    at_once: OnceLock<Authorities>,
    /// Taken when the log is closed.
    queue: Option<mpsc::Sender<Entry>>,
    threads: Vec<JoinHandle<()>>,
    _lock: Lock,
}

impl Inner {
    /// Finds the end of a log in files, brings its index up to date, and gives what is still to be done all the time.
    fn of_files(
        config: Config,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
        (id, lock): ([u8; 16], Lock),
        (index, known): (Index, Known),
    ) -> Result<(Self, Hands), LogError> {
        let directory = config.directory.clone();
        let found =
            recover::recover(disk.as_ref(), &directory, &id, config.segment_size, known.from, |records| {
                index.add(records)
            })?;
        let records = found.tree.size();
        if known.top > records {
            return Err(LogError::CutOff { expected: known.top, found: records });
        }
        if found.torn > 0 {
            tracing::warn!(
                bytes = found.torn,
                records,
                "the end of the message log was not written whole and is cut off"
            );
        }
        let vault = open_vault(&config, &clock, &disk)?;
        let (index, state) = (Arc::new(index), Arc::new(State::default()));
        let files = Files::new(directory.clone(), id, Arc::clone(&index));
        let reader = Reader::new(directory.clone(), Box::new(files), Arc::clone(&state), vault.clone());
        let (queue, waiting) = mpsc::channel(config.queue);
        let (indexed, to_index) = std_mpsc::channel();
        state.reached(&found.tree);
        state.lead(true);
        state.room.store(found.segment.capacity.saturating_sub(found.end), Ordering::Relaxed);
        let writer = Writer {
            disk: Arc::clone(&disk),
            log: directory,
            segment_size: config.segment_size,
            segment: found.segment,
            end: found.end,
            tree: found.tree,
            state: Arc::clone(&state),
            index: indexed,
            batch: Batch::default(),
        };
        let hands = Hands { writer, waiting, index, to_index };
        let stamping = Mutex::default();
        let inner = Self {
            config,
            clock,
            disk,
            vault,
            reader,
            state,
            recent: Arc::default(),
            stamping,
            stamper: Arc::default(),
            at_once: OnceLock::new(),
            queue: Some(queue),
            threads: Vec::new(),
            _lock: lock,
        };
        Ok((inner, hands))
    }
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
    /// Makes a new log and opens it. In a database there may be one already: then the node joins it, and must have the
    /// key-encryption key of the others.
    ///
    /// # Errors
    /// [`LogError::NotEmpty`] where there is one, or something else; otherwise as [`Self::open`].
    pub fn create(config: Config, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        Self::create_on(config, clock, Arc::new(SystemDisk))
    }

    /// [`Self::create`] on another disk.
    ///
    /// # Errors
    /// As there.
    pub fn create_on(config: Config, clock: Arc<dyn Clock>, disk: Arc<dyn Disk>) -> Result<Self, LogError> {
        match &config.postgres {
            Some(database) => Self::create_node(disk.as_ref(), &config, database, &*clock)?,
            None => create_files(disk.as_ref(), &config, clock.now())?,
        }
        Self::open_on(config, clock, disk)
    }

    /// Opens a log, finds its end and brings its index up to date. Blocks while it reads.
    ///
    /// # Errors
    /// [`LogError::Missing`] where there is none, [`LogError::Locked`], [`LogError::Damaged`], [`LogError::CutOff`],
    /// [`LogError::Key`], [`LogError::Io`].
    pub fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        Self::open_on(config, clock, Arc::new(SystemDisk))
    }

    /// [`Self::open`] on another disk.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(config: Config, clock: Arc<dyn Clock>, disk: Arc<dyn Disk>) -> Result<Self, LogError> {
        if let Some(database) = config.postgres.clone() {
            return Self::open_node(config, &database, clock, disk);
        }
        if cfg!(feature = "test-answer-before-sync") {
            tracing::error!("BUILT TO FAIL: this gateway answers before its evidence is durable");
        }
        let id = read_identity(&config.directory)?;
        let lock = Lock::take(&config.directory)?;
        let index = Index::open(&config.directory, &id)?;
        let (mut inner, hands) = Inner::of_files(config, clock, disk, (id, lock), index)?;
        inner.threads = hands.on_threads()?;
        Ok(Self(Arc::new(inner)))
    }

    /// [`Self::create`] on another disk, without threads, as [`Self::open_driven`].
    ///
    /// # Errors
    /// As there.
    pub fn create_driven(
        config: Config,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, impl Future<Output = ()> + Send), LogError> {
        create_files(disk.as_ref(), &config, clock.now())?;
        Self::open_driven(config, clock, disk)
    }

    /// [`Self::open`] on another disk, without threads: the future that is given with it does their work, and ends when
    /// the last clone of the log is gone. So a log can be part of a simulation. Its index lies in memory.
    ///
    /// # Errors
    /// As there.
    pub fn open_driven(
        config: Config,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, impl Future<Output = ()> + Send), LogError> {
        let id = read_identity(&config.directory)?;
        let lock = Lock::take(&config.directory)?;
        let index = (Index::temporary(), Known { from: None, top: 0 });
        let (inner, hands) = Inner::of_files(config, clock, disk, (id, lock), index)?;
        Ok((Self(Arc::new(inner)), hands.driven()))
    }

    /// Makes the tables of a log in a database where there are none, and what a node has of it in its directory. All
    /// nodes have the key-encryption key of the first.
    fn create_node(
        disk: &dyn Disk,
        config: &Config,
        database: &Database,
        clock: &dyn Clock,
    ) -> Result<(), LogError> {
        let link = postgres::Link::new(database.server()?)?;
        let head = link.ask(|client| async move { postgres::migrate(&client).await })?;
        if head.kek.is_empty() {
            key::create_kek(disk, &config.key_file)?;
        }
        let proof = key::proof_of_kek(&config.key_file, &head.log)?;
        let known = link.ask(move |client| {
            let proof = proof.clone();
            async move { postgres::note_kek(&client, &proof).await }
        })?;
        key::check_kek(&config.key_file, &head.log, &known)?;
        create_node_files(disk, config, &head.log, clock.now())
    }

    /// Opens a log in a database. Only bodies in flight lie in the node's directory.
    fn open_node(
        config: Config,
        database: &Database,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, LogError> {
        let directory = config.directory.clone();
        let id = read_identity(&directory)?;
        let lock = Lock::take(&directory)?;
        let server = database.server()?;
        let link = Arc::new(postgres::Link::new(server.clone())?);
        let head = link.ask(|client| async move {
            postgres::take_up(&client).await?;
            postgres::head(&client, "").await
        })?;
        if head.log != id {
            return Err(LogError::Missing("the database".to_owned()));
        }
        key::check_kek(&config.key_file, &id, &head.kek)?;
        let vault = vault_beside(&config, Arc::new(Arc::clone(&link)), &clock, &disk)?;
        let state = Arc::new(State::default());
        state.reached(&head.tree);
        // No segment is to be made: only the reserve must be free.
        state.room.store(config.segment_size, Ordering::Relaxed);
        let table = Box::new(postgres::Table::new(link));
        let reader = Reader::new(directory, table, Arc::clone(&state), vault.clone());
        let (queue, waiting) = mpsc::channel(config.queue);
        let writer = postgres::Writer {
            server,
            log: id,
            state: Arc::clone(&state),
            client: None,
            vault: vault.clone(),
            erased: head.erased,
            node: crypto::random_array().map_err(|e| LogError::Key(e.to_string()))?,
            known: None,
            alone: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| LogError::io("a thread of the log cannot be started", &e))?;
        let threads = vec![hands::spawn("log-writer", move || runtime.block_on(writer.run(waiting)))?];
        let stamping = Mutex::default();
        let inner = Inner {
            config,
            clock,
            disk,
            vault,
            reader,
            state,
            recent: Arc::default(),
            stamping,
            stamper: Arc::default(),
            at_once: OnceLock::new(),
            queue: Some(queue),
            threads,
            _lock: lock,
        };
        Ok(Self(Arc::new(inner)))
    }

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
        Arc::clone(&self.0.recent)
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
        *self.0.stamping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long time-stamping has failed, and for how long it may, once that is more than the half.
    pub fn half_unstamped(&self) -> Option<(Duration, Duration)> {
        let acceptable = self.0.config.acceptable_timestamp_failure?;
        let failing = self.0.clock.now().since(self.stamping().failing_since?);
        (failing > acceptable / 2).then_some((failing, acceptable))
    }

    pub(crate) fn set_stamping(&self, health: Health) {
        *self.0.stamping.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    pub(crate) fn stamper(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.0.stamper)
    }

    /// From now on a message counts as logged only with its time-stamp. Those that come while one is asked for share
    /// the next. Said once, at the start; what is said later changes nothing.
    pub fn stamp_at_once(&self, authorities: Authorities) {
        let _ = self.0.at_once.set(authorities);
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
        let signature = record.message().map(|message| self.0.recent.digest(&message.signature));
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
        if let Some(authorities) = self.0.at_once.get().filter(|_| message) {
            let stamped = timestamper::stamp_at_once(self, authorities, receipt.sequence).await;
            stamped.map_err(|error| LogError::Unstamped(error.to_string()))?;
        }
        Ok(receipt)
    }
}

/// Reads a log that another process may have open, without a lock and without changing anything. Everything is read
/// once at the beginning; what is appended later is not seen. Of a damaged log everything is shown that is whole; a
/// record that is not says [`LogError::Damaged`] when it is asked for.
///
/// # Errors
/// As [`MessageLog::open`], but for [`LogError::Locked`].
pub fn read_only(config: &Config, clock: &Arc<dyn Clock>) -> Result<Reader, LogError> {
    let id = read_identity(&config.directory)?;
    if let Some(database) = &config.postgres {
        return read_node(config, database, &id, clock);
    }
    let mut index = Index::temporary();
    let read = recover::read(&config.directory, &id, None, |records| index.add(records));
    let tree = match read.and_then(|found| found.undamaged()) {
        Ok(found) => found.tree,
        Err(LogError::Damaged(finding)) => {
            tracing::warn!(%finding, "the log is damaged; what is whole in it is shown, log verify names the rest");
            index = Index::temporary();
            salvage(&config.directory, &id, |records| index.add(records))?
        }
        Err(error) => return Err(error),
    };
    let state = State::default();
    state.reached(&tree);
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let vault = open_vault(config, clock, &disk)?;
    let files = Files::new(config.directory.clone(), id, Arc::new(index));
    Ok(Reader::new(config.directory.clone(), Box::new(files), Arc::new(state), vault))
}

/// Reads a log in a database.
fn read_node(
    config: &Config,
    database: &Database,
    id: &[u8; 16],
    clock: &Arc<dyn Clock>,
) -> Result<Reader, LogError> {
    let link = Arc::new(postgres::Link::new(database.server()?)?);
    let head = link.ask(|client| async move {
        postgres::is_taken_up(&client).await?;
        postgres::head(&client, "").await
    })?;
    if head.log != *id {
        return Err(LogError::Missing("the database".to_owned()));
    }
    let state = State::default();
    state.reached(&head.tree);
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let vault = vault_beside(config, Arc::new(Arc::clone(&link)), clock, &disk)?;
    let table = Box::new(postgres::Table::new(link));
    Ok(Reader::new(config.directory.clone(), table, Arc::new(state), vault))
}

fn open_vault(config: &Config, clock: &Arc<dyn Clock>, disk: &Arc<dyn Disk>) -> Result<Vault, LogError> {
    let folder = Folder::new(&config.directory, Arc::clone(disk));
    vault_beside(config, Arc::new(folder), clock, disk)
}

fn vault_beside(
    config: &Config,
    beside: Arc<dyn Beside>,
    clock: &Arc<dyn Clock>,
    disk: &Arc<dyn Disk>,
) -> Result<Vault, LogError> {
    let bodies = config.directory.join("bodies");
    let keys = KeyRing::open(beside, &config.key_file)?;
    let (clock, disk) = (Arc::clone(clock), Arc::clone(disk));
    Ok(Vault::new(keys, bodies, config.key_grouping, config.body_quota, clock, disk))
}

/// The directories, the first segment, the key, and at last the identity: a log whose making was broken off has none,
/// and is made anew.
fn create_files(disk: &dyn Disk, config: &Config, now: UnixTime) -> Result<(), LogError> {
    let failed = |e: io::Error| LogError::io("the log cannot be made", &e);
    let directory = &config.directory;
    if directory.join(IDENTITY).exists() {
        return Err(LogError::NotEmpty(directory.display().to_string()));
    }
    for name in ["segments", "bodies", "keys"] {
        disk::make_dir(disk, &directory.join(name)).map_err(failed)?;
    }
    let _lock = Lock::take(directory)?;
    if segment::list(directory)?.into_iter().any(|number| number != 1 || has_records(directory)) {
        return Err(LogError::NotEmpty(directory.display().to_string()));
    }
    let id: [u8; 16] = crypto::random_array().map_err(|e| LogError::Key(e.to_string()))?;
    let header = SegmentHeader { log: id, number: 1, created: now, previous: [0; 32], tree: Tree::default() };
    segment::create(disk, directory, header, config.segment_size)?;
    key::create_kek(disk, &config.key_file)?;
    write_identity(disk, directory, &id, now)
}

/// What a node has of a log in PostgreSQL: the directory of bodies in flight, and the identity.
fn create_node_files(disk: &dyn Disk, config: &Config, id: &[u8; 16], now: UnixTime) -> Result<(), LogError> {
    let failed = |e: io::Error| LogError::io("the log cannot be made", &e);
    let directory = &config.directory;
    match read_identity(directory) {
        Ok(found) if found == *id => return Ok(()),
        Err(LogError::Missing(_)) if !directory.join("segments").exists() => {}
        _ => return Err(LogError::NotEmpty(directory.display().to_string())),
    }
    disk::make_dir(disk, &directory.join("bodies")).map_err(failed)?;
    write_identity(disk, directory, id, now)
}

pub(crate) fn write_identity(
    disk: &dyn Disk,
    directory: &Path,
    id: &[u8; 16],
    now: UnixTime,
) -> Result<(), LogError> {
    let failed = |e: io::Error| LogError::io("the log cannot be made", &e);
    let text = format!("{FORMAT}\nid {}\ncreated {}\n", hex::encode(id), now.to_rfc3339());
    disk::put(disk, &directory.join(IDENTITY), text.as_bytes()).map_err(failed)
}

/// Whether the first segment holds anything behind its header.
fn has_records(directory: &Path) -> bool {
    let Ok(bytes) = fs::read(segment::path(directory, 1)) else { return true };
    bytes.iter().skip(usize::try_from(segment::FIRST_CHUNK).unwrap_or(0)).any(|byte| *byte != 0)
}

/// The id of the log in a directory.
///
/// # Errors
/// [`LogError::Missing`] when the directory is no log.
pub(crate) fn read_identity(directory: &Path) -> Result<[u8; 16], LogError> {
    let missing = || LogError::Missing(directory.display().to_string());
    let text = fs::read_to_string(directory.join(IDENTITY)).map_err(|_| missing())?;
    let mut lines = text.lines();
    if lines.next() != Some(FORMAT) {
        return Err(missing());
    }
    let mut id = [0; 16];
    let hex = lines.next().and_then(|line| line.strip_prefix("id ")).ok_or_else(missing)?;
    hex::decode_to_slice(hex, &mut id).map_err(|_| missing())?;
    Ok(id)
}
