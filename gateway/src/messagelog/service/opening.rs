//! How a log is made and opened, in files and in a database, and read beside the process that writes it.
//!
//! ```text
//! <directory>/identity   which log this is; without it a directory is no log
//!             lock       held by the process that writes
//!             segments/  the truth
//!             bodies/    large bodies, encrypted, in a directory for each data key
//!             keys/      data keys, wrapped
//!             index/     sled; can be removed
//! ```
//! Not here: what recovery does with the end of the last segment ([`super::super::recover`]).

use std::{
    fs, io,
    path::Path,
    sync::{Arc, atomic::Ordering, mpsc as std_mpsc},
};

use cert_authority::{
    clock::{Clock, UnixTime},
    crypto,
};
use tokio::sync::mpsc;

use super::{Config, Inner, MessageLog, Stamping};
use crate::messagelog::{
    beside::{Beside, Folder},
    body::Vault,
    disk::{self, Disk, SystemDisk},
    error::LogError,
    frame::SegmentHeader,
    hands::{self, Hands},
    index::{Index, Known},
    key::{self, KeyRing},
    lock::Lock,
    postgres::{self, Database},
    reader::Reader,
    records::Files,
    recover,
    rest::PassedOver,
    salvage::salvage,
    segment,
    tree::Tree,
    writer::{Batch, State, Writer},
};

const IDENTITY: &str = "identity";
const FORMAT: &str = "passerelle message log 1";

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
        let (from, capacity) = (known.from.as_ref(), config.segment_size);
        let found =
            recover::recover(disk.as_ref(), &directory, &id, capacity, from, |records| index.add(records))?;
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
            last: None,
        };
        let passed_over = known.from.filter(|from| from.tree.is_some()).map(|until| PassedOver {
            log: config.directory.clone(),
            id,
            from: known.reach,
            until,
        });
        let hands = Hands { writer, waiting, index, to_index, passed_over };
        let inner = Self {
            config,
            clock,
            disk,
            vault,
            reader,
            state,
            stamping: Stamping::default(),
            queue: Some(queue),
            threads: Vec::new(),
            _lock: lock,
        };
        Ok((inner, hands))
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
        let index = (Index::temporary(), Known::NOTHING);
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
        let inner = Inner {
            config,
            clock,
            disk,
            vault,
            reader,
            state,
            stamping: Stamping::default(),
            queue: Some(queue),
            threads,
            _lock: lock,
        };
        Ok(Self(Arc::new(inner)))
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
