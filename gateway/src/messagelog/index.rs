//! The index: where records are, by number, message id, time, client and service. Never the truth: it can be removed,
//! and is built again from the segments.
//!
//! ```text
//! "i" shard, number of the first of 65536 records     -> which message ids of the shard are among them, sorted
//! "b" number of the first of 256 records              -> their places, times, kinds, clients and services
//! "t" number of the first of 65536 records            -> earliest and latest time of them
//! "s" number of the first record of a time-stamp      -> number of the last, number of the time-stamp's record
//! "m" ...                                             -> the log's id, how far the index reaches
//! "r" shard, and "mrest"                              -> what was in memory when the log was closed in order
//! ```
//! A block of 256 records says who occurs in it, and in which record, so that a search reads no others; a run of 65,536
//! records of when it is, so that a search in a period passes over the others. Message ids have no order, and each at a
//! place of its own in a growing tree would cost more and more: they are gathered, sorted, and put away by runs, in 256
//! shards by the first byte of their hash, so that one id is looked for in one shard. The block and the run that are not
//! full yet are in memory; they are put away when the log is closed in order, and otherwise read again from their segments.
//!
//! Not here: what is in memory ([`open`]); reading records ([`super::reader`]).

mod open;

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use bytes::{Buf, Bytes};
use cert_authority::{clock::UnixTime, crypto::Digest};
use conf::identifier::{ClientId, ServiceId};

use open::Open;

use super::{
    block::{BLOCK, Block, Times},
    error::LogError,
    record::{Kind, Record},
    recover::From,
    rest::Rest,
    segment::Position,
    store::{Batch, Store},
    tree,
};

/// Records of a run; a multiple of [`BLOCK`].
const RUN: u64 = 65_536;
/// An entry of a run: 8 bytes of the id's hash, 4 bytes of the record's place in the run.
const ENTRY: usize = 12;
/// Digests of signatures that wait for a time-stamp, at most; those of more are made from the segments.
const MOST_WAITING: usize = 65_536;
/// How long a reader waits for the index to catch up.
const CATCH_UP: Duration = Duration::from_secs(10);
/// How often what is new goes to the disk.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
const LOG: &[u8] = b"mlog";
/// Stands behind the log's id; an index of another format is built anew.
const FORMAT: u8 = 3;
const REACH: &[u8] = b"mreach";
const TOP: &[u8] = b"mtop";
const STAMPED: &[u8] = b"mstamped";
const REST: &[u8] = b"mrest";

/// What the index keeps of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: Option<[u8; 8]>,
    pub(crate) client: Option<String>,
    pub(crate) service: Option<String>,
    /// Of a time-stamp: first and last record covered.
    pub(crate) covers: Option<(u64, u64)>,
    /// Of a message that was logged just now: digest of its signature, for the time-stamp.
    pub(crate) signature: Option<Digest>,
}

impl Facts {
    pub(crate) fn of(record: &Record) -> Self {
        let message = record.message();
        let covered = match record {
            Record::Timestamp(stamp) => stamp.covered.as_slice(),
            Record::Request(_)
            | Record::Response(_)
            | Record::Outcome(_)
            | Record::Checkpoint(_)
            | Record::Configuration(_)
            | Record::Access(_)
            | Record::Archive(_) => &[],
        };
        Self {
            id: record.message_id().map(id_hash),
            client: message.map(|m| m.client.encoded()),
            service: message.map(|m| service_key(&m.service)),
            covers: covered.first().zip(covered.last()).map(|(first, last)| (first.0, last.0)),
            signature: None,
        }
    }
}

/// How a service is named in the index.
pub(crate) fn service_key(service: &ServiceId) -> String {
    format!("{}\u{0}{}", service.client().encoded(), service.code())
}

/// The service with this name.
pub(crate) fn service_of(key: &[u8]) -> Option<ServiceId> {
    let (client, code) = std::str::from_utf8(key).ok()?.split_once('\0')?;
    ServiceId::new(ClientId::parse_encoded(client).ok()?, code, None).ok()
}

/// A record that has become durable.
#[derive(Debug, Clone)]
pub(crate) struct Indexed {
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    pub(crate) time: UnixTime,
    pub(crate) position: Position,
    pub(crate) facts: Facts,
}

impl Indexed {
    /// Stands for a record that cannot be read.
    pub(crate) fn unknown(sequence: u64, position: Position) -> Self {
        Self { sequence, kind: Kind::Access, time: UNKNOWN, position, facts: Facts::default() }
    }

    /// Whether the record of this time may be one of which nothing is known.
    pub(crate) fn is_unknown(time: UnixTime) -> bool {
        time == UNKNOWN
    }
}

/// When a record was logged that cannot be read.
const UNKNOWN: UnixTime = UnixTime::from_secs(0);

/// What the writer of a log tells its index.
pub(crate) enum Told {
    /// They have become durable.
    Records(Vec<Indexed>),
    /// The log is closed, and ends there.
    Rest(Rest),
}

/// Records that follow each other, and when they were logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    /// The number after the last one.
    pub(crate) end: u64,
    pub(crate) times: Times,
}

impl Span {
    pub(crate) fn holds(&self, sequence: u64) -> bool {
        (self.first..self.end).contains(&sequence)
    }
}

/// The index. Written by one thread, read by all.
pub(crate) struct Index {
    store: Store,
    open: Mutex<Open>,
    caught_up: Condvar,
}

/// What an index that was there before knows.
pub(crate) struct Known {
    /// From where on it must be told.
    pub(crate) from: Option<From>,
    /// From where on it would have to be told, had the log not been closed in order: between the two nothing is read
    /// before the log opens.
    pub(crate) reach: Option<From>,
    /// How many records it has seen.
    pub(crate) top: u64,
}

impl Known {
    /// What an index knows that was made just now.
    pub(crate) const NOTHING: Self = Self { from: None, reach: None, top: 0 };
}

impl Index {
    /// Opens the index below a log; makes it anew when it is missing, damaged or another log's.
    pub(crate) fn open(log: &Path, id: &[u8; 16]) -> Result<(Self, Known), LogError> {
        let directory = log.join("index");
        let existing = Store::open(&directory).ok().filter(Store::was_recovered);
        if let Some(store) = existing {
            match known(&store, id) {
                Ok(known) => {
                    let (known, open) = at_rest(&store, known, log, id);
                    return Ok((Self::with(store, open), known));
                }
                Err(reason) => tracing::warn!(reason, "the index of the message log is built anew"),
            }
        }
        Self::anew(&directory, id)
    }

    /// An index that is gone when dropped: for one who only reads.
    pub(crate) fn temporary() -> Self {
        Self::with(Store::in_memory(), Open::default())
    }

    fn anew(directory: &Path, id: &[u8; 16]) -> Result<(Self, Known), LogError> {
        match std::fs::remove_dir_all(directory) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::io("the damaged index cannot be removed", &e));
            }
            _ => {}
        }
        let store = Store::open(directory)?;
        let mut batch = Batch::default();
        batch.insert(LOG, mark(id));
        store.apply(batch)?;
        Ok((Self::with(store, Open::default()), Known::NOTHING))
    }

    const fn with(store: Store, open: Open) -> Self {
        Self { store, open: Mutex::new(open), caught_up: Condvar::new() }
    }

    /// Works until no more records can come.
    pub(crate) fn run(&self, told: &mpsc::Receiver<Told>) {
        // What was told while the log was opened.
        let mut dirty = true;
        loop {
            match told.recv_timeout(FLUSH_EVERY) {
                Ok(told) => {
                    dirty = true;
                    if let Err(error) = self.take(told) {
                        tracing::error!(%error, "the message log cannot be searched until the next start");
                        self.lock().failed = Some(error.to_string());
                        self.caught_up.notify_all();
                        return;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if std::mem::take(&mut dirty) {
                        let _ = self.flush();
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let _ = self.flush();
                    return;
                }
            }
        }
    }

    /// Brings what is known to the disk, and how far it reaches.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        let next = self.lock().next();
        let mut batch = Batch::default();
        batch.insert(TOP, next.to_be_bytes().to_vec());
        self.store.apply(batch)?;
        self.store.flush()
    }

    /// Takes in what the writer tells.
    pub(crate) fn take(&self, told: Told) -> Result<(), LogError> {
        match told {
            Told::Records(records) => self.add(records),
            Told::Rest(rest) => self.rest(&rest),
        }
    }

    /// Puts away what is in memory. One that does not know all records leaves them to the next start.
    fn rest(&self, rest: &Rest) -> Result<(), LogError> {
        let open = self.lock();
        if open.next() != rest.tree.size() {
            return Ok(());
        }
        let mut batch = Batch::default();
        open.put_away(&mut batch);
        batch.insert(REST, rest.encode());
        self.store.apply(batch)
    }

    /// What was put away is not to be gone by any more: the next start reads everything again.
    pub(crate) fn forget_rest(&self) -> Result<(), LogError> {
        let mut batch = Batch::default();
        batch.insert(REST, Bytes::new());
        self.store.apply(batch)?;
        self.store.flush()
    }

    /// Takes in records that have become durable. The database is told by blocks: a write for each commit of the log
    /// would cost more than the log itself.
    pub(crate) fn add(&self, records: Vec<Indexed>) -> Result<(), LogError> {
        let mut batch = Batch::default();
        let mut changed = false;
        let mut open = self.lock();
        for record in records {
            if record.sequence < open.next() {
                continue;
            }
            open.ids.extend(record.facts.id.map(|hash| (hash, record.sequence)));
            if let Some((first, last)) = record.facts.covers {
                let value = [last.to_be_bytes(), record.sequence.to_be_bytes()].concat();
                batch.insert(&key(b's', first), value);
                let after = last.saturating_add(1);
                batch.insert(STAMPED, after.to_be_bytes().to_vec());
                open.waiting = open.waiting.split_off(&after);
                changed = true;
            }
            let sequence = record.sequence;
            if let Some(digest) = record.facts.signature.filter(|_| open.waiting.len() < MOST_WAITING) {
                open.waiting.insert(sequence, digest);
            }
            if sequence.is_multiple_of(RUN) {
                // From here on records must be read again after a restart.
                let Position { segment, offset } = record.position;
                let reach = [sequence, segment, offset];
                batch.insert(REACH, reach.map(u64::to_be_bytes).concat());
                changed = true;
            }
            let Indexed { kind, time, position, facts, .. } = record;
            open.times = Some(Times::with(open.times, time));
            open.block.push((position, kind, time), facts.client.as_deref(), facts.service.as_deref());
            if open.block.len() == BLOCK {
                let full = std::mem::replace(&mut open.block, Block::new(sequence.saturating_add(1)));
                batch.insert(&key(b'b', full.first), full.encode());
                changed = true;
            }
            if open.next().is_multiple_of(RUN) {
                open.end_run(&mut batch);
            }
        }
        if changed {
            batch.insert(TOP, open.next().to_be_bytes().to_vec());
            self.store.apply(batch)?;
        }
        drop(open);
        self.caught_up.notify_all();
        Ok(())
    }

    /// Waits until everything below `sequence` is known.
    pub(crate) fn wait_for(&self, sequence: u64) -> Result<(), LogError> {
        let behind = |open: &mut Open| open.next() < sequence && open.failed.is_none();
        let (open, waited) = self
            .caught_up
            .wait_timeout_while(self.lock(), CATCH_UP, behind)
            .unwrap_or_else(PoisonError::into_inner);
        match &open.failed {
            Some(reason) => Err(LogError::Index(reason.clone())),
            None if waited.timed_out() => Err(LogError::Index("it does not keep up".to_owned())),
            None => Ok(()),
        }
    }

    /// The block that holds `sequence`, if there is such a record.
    pub(crate) fn block_of(&self, sequence: u64) -> Result<Option<Arc<Block>>, LogError> {
        let open = self.lock();
        if sequence >= open.block.first {
            return Ok((sequence < open.next()).then(|| Arc::new(open.block.clone())));
        }
        drop(open);
        let found = self.store.last_in(&key(b'b', 0), &key(b'b', sequence))?;
        let Some((found, value)) = found else { return Ok(None) };
        let block = Block::decode(number(&found)?, value)
            .map_err(|_| LogError::Index("a block cannot be read".to_owned()))?;
        Ok((sequence < block.end()).then(|| Arc::new(block)))
    }

    /// The full run that holds `sequence`.
    pub(crate) fn span_of(&self, sequence: u64) -> Result<Option<Span>, LogError> {
        let first = sequence - sequence % RUN;
        let Some(value) = self.store.get(&key(b't', first))? else { return Ok(None) };
        let times = Times::decode(&value).map_err(|_| LogError::Index("a run cannot be read".to_owned()))?;
        Ok(Some(Span { first, end: first.saturating_add(RUN), times }))
    }

    /// The numbers of records that may belong to a message id, ascending: a few others may be among them.
    pub(crate) fn by_message_id(&self, message_id: &str) -> Result<Vec<u64>, LogError> {
        let hash = id_hash(message_id);
        let mut numbers = Vec::new();
        // Before the runs are looked through: one that ends meanwhile is then found twice rather than not at all.
        let recent: Vec<u64> =
            self.lock().ids.range((hash, 0)..=(hash, u64::MAX)).map(|(_, number)| *number).collect();
        let shard = shard_of(hash);
        for (found, entries) in self.store.range(&run_key(shard, 0), &run_key(shard, u64::MAX))? {
            let first = number(&found)?;
            let (entries, _) = entries.as_chunks::<ENTRY>();
            let from = entries.partition_point(|entry| entry.first_chunk() < Some(&hash));
            let same = entries.iter().skip(from).take_while(|entry| entry.first_chunk() == Some(&hash));
            let places = same.filter_map(|entry| entry.last_chunk().copied().map(u32::from_be_bytes));
            numbers.extend(places.map(|place| first.saturating_add(u64::from(place))));
        }
        numbers.extend(recent);
        numbers.dedup();
        Ok(numbers)
    }

    /// Hashes of the message ids from `first` on, and of those before it that are in its run.
    pub(crate) fn ids_from(&self, first: u64) -> Result<Vec<[u8; 8]>, LogError> {
        let mut hashes: Vec<[u8; 8]> = self.lock().ids.iter().map(|(hash, _)| *hash).collect();
        let run = first - first % RUN;
        for shard in 0..=u8::MAX {
            for (_, entries) in self.store.range(&run_key(shard, run), &run_key(shard, u64::MAX))? {
                let (entries, _) = entries.as_chunks::<ENTRY>();
                hashes.extend(entries.iter().filter_map(|entry| entry.first_chunk().copied()));
            }
        }
        Ok(hashes)
    }

    /// The number of the time-stamp's record that covers `sequence`.
    pub(crate) fn stamp_of(&self, sequence: u64) -> Result<Option<u64>, LogError> {
        let found = self.store.last_in(&key(b's', 0), &key(b's', sequence))?;
        let Some((_, mut value)) = found else { return Ok(None) };
        let damaged = |_| LogError::Index("an entry cannot be read".to_owned());
        let (last, stamp) = (value.try_get_u64().map_err(damaged)?, value.try_get_u64().map_err(damaged)?);
        Ok((sequence <= last).then_some(stamp))
    }

    /// The digest of the signature of a message without a time-stamp, if it is at hand.
    pub(crate) fn waiting(&self, sequence: u64) -> Option<Digest> {
        self.lock().waiting.get(&sequence).copied()
    }

    /// Every message below this number has its time-stamp.
    pub(crate) fn stamped_below(&self) -> Result<u64, LogError> {
        let found = self.store.get(STAMPED)?;
        found.map_or(Ok(0), |value| number(&value))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far an index reaches, or why it cannot be used.
fn known(store: &Store, id: &[u8; 16]) -> Result<Known, &'static str> {
    let get = |name: &[u8]| store.get(name).map_err(|_| "it cannot be read");
    if get(LOG)?.is_none_or(|found| found.as_ref() != mark(id)) {
        return Err("it is another log's, or of another format");
    }
    let top = get(TOP)?.map_or(Ok(0), |value| number(&value)).map_err(|_| "it is damaged")?;
    let Some(reach) = get(REACH)? else { return Ok(Known { top, ..Known::NOTHING }) };
    let mut reach = reach.as_ref();
    let mut next = || reach.try_get_u64().map_err(|_| "it is damaged");
    let (sequence, segment, offset) = (next()?, next()?, next()?);
    let whole = sequence == 0 || {
        let last = store.last_in(&key(b'b', 0), &key(b'b', sequence - 1)).ok().flatten();
        let first = last.and_then(|(found, _)| number(&found).ok());
        first.is_some_and(|first| first.saturating_add(u64::try_from(BLOCK).unwrap_or(0)) == sequence)
    };
    if !whole {
        return Err("blocks are missing");
    }
    let reach = Some(From { position: Position { segment, offset }, sequence, tree: None });
    Ok(Known { from: reach.clone(), reach, top })
}

/// What is known, and was in memory, when the log was closed in order and has not been put back since.
fn at_rest(store: &Store, known: Known, log: &Path, id: &[u8; 16]) -> (Known, Open) {
    let reach = known.reach.as_ref().map_or(0, |from| from.sequence);
    let rest = store.get(REST).ok().flatten().and_then(|rest| Rest::decode(&rest).ok());
    let rest = rest.filter(|rest| rest.tree.size() >= reach && rest.is_in(log, id));
    let taken_up = rest.and_then(|rest| {
        let open = Open::taken_up(store).filter(|open| open.next() == rest.tree.size())?;
        Some((rest.from(), open))
    });
    match taken_up {
        Some((from, open)) => (Known { from: Some(from), ..known }, open),
        None => (known, Open { block: Block::new(reach), ..Open::default() }),
    }
}

pub(crate) fn id_hash(message_id: &str) -> [u8; 8] {
    tree::sha256(message_id.as_bytes()).first_chunk().copied().unwrap_or_default()
}

/// What says whose index it is.
fn mark(id: &[u8; 16]) -> Vec<u8> {
    [id, &[FORMAT][..]].concat()
}

const fn shard_of(hash: [u8; 8]) -> u8 {
    let [shard, ..] = hash;
    shard
}

fn run_key(shard: u8, first: u64) -> Vec<u8> {
    [&[b'i', shard], &first.to_be_bytes()[..]].concat()
}

fn key(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key.iter_mut().skip(1).zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    key
}

/// The number at the end of a key or value.
fn number(bytes: &[u8]) -> Result<u64, LogError> {
    let last = bytes.last_chunk::<8>().ok_or_else(|| LogError::Index("a key cannot be read".to_owned()))?;
    Ok(u64::from_be_bytes(*last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64, id: &str) -> Indexed {
        let facts = Facts { id: Some(id_hash(id)), client: Some("c".to_owned()), ..Facts::default() };
        let position = Position { segment: 1, offset: sequence };
        Indexed { sequence, kind: Kind::Request, time: UnixTime::from_secs(1), position, facts }
    }

    /// Every id stands twice, 100,000 records apart.
    fn records(first: u64, end: u64) -> Vec<Indexed> {
        (first..end).map(|sequence| record(sequence, &(sequence % 100_000).to_string())).collect()
    }

    #[test]
    fn an_id_is_found_in_runs_that_are_full_and_in_the_one_that_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let id = [7; 16];
        let count = 2 * RUN + 30_000;
        {
            let (index, known) = Index::open(directory.path(), &id).unwrap();
            assert!(known.from.is_none());
            for first in (0..count).step_by(10_000) {
                index.add(records(first, (first + 10_000).min(count))).unwrap();
            }
            index.flush().unwrap();
        }
        let (index, known) = Index::open(directory.path(), &id).unwrap();
        let from = known.from.unwrap();
        assert_eq!((known.top, from.sequence, from.position.offset), (count, 2 * RUN, 2 * RUN));
        // What stands in the run that is not full is told again.
        index.add(records(from.sequence, count)).unwrap();
        for number in [0, 1, 999, 60_000, 65_535, 65_536, 99_999] {
            let found = index.by_message_id(&number.to_string()).unwrap();
            let expected: Vec<u64> = [number, number + 100_000].into_iter().filter(|n| *n < count).collect();
            assert_eq!(found, expected, "{number}");
        }
        assert_eq!(index.by_message_id("nobody").unwrap(), Vec::<u64>::new());
        let block = index.block_of(70_000).unwrap().unwrap();
        assert_eq!((block.first, block.end()), (70_000 / 256 * 256, 70_000 / 256 * 256 + 256));
        assert_eq!(block.position(70_001), Some(Position { segment: 1, offset: 70_001 }));
    }

    #[test]
    fn a_block_says_of_each_record_whose_it_is_and_a_run_when_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(directory.path(), &[1; 16]).unwrap();
        let name = |n: u64| (!n.is_multiple_of(3)).then(|| format!("client {}", n % 5));
        // The clock is set back now and then.
        let time = |n: u64| UnixTime::from_secs(i64::try_from(1000 + n - n % 10 * 7).unwrap());
        let named = |n: u64| {
            let facts = Facts { client: name(n), service: Some(format!("s{}", n % 2)), ..Facts::default() };
            Indexed { time: time(n), facts, ..record(n, "id") }
        };
        index.add((0..RUN + 300).map(named).collect()).unwrap();
        // Blocks from the database, and the one that is not full.
        for n in [0, 1, 2, 3, 255, 256, RUN + 299] {
            let block = index.block_of(n).unwrap().unwrap();
            let (client, service) = block.names_of(n);
            assert_eq!(client.map(<[u8]>::to_vec), name(n).map(String::into_bytes), "{n}");
            assert_eq!(service, Some(format!("s{}", n % 2).as_bytes()), "{n}");
        }
        let first = index.block_of(7).unwrap().unwrap();
        let of = |numbers: std::ops::Range<u64>| {
            numbers.map(time).fold(None, |times, time| Some(Times::with(times, time))).unwrap()
        };
        assert_eq!(first.times(), Some(of(0..256)));
        assert_eq!((first.names().0.count(), first.names().1.count()), (5, 2));
        assert_eq!(first.names_of(300), (None, None));
        let run = Span { first: 0, end: RUN, times: of(0..RUN) };
        assert_eq!((index.span_of(0), index.span_of(RUN - 1)), (Ok(Some(run)), Ok(Some(run))));
        assert_eq!(index.span_of(RUN), Ok(None), "not full");
    }

    #[test]
    fn an_index_of_another_log_or_format_is_built_anew() {
        let directory = tempfile::tempdir().unwrap();
        let filled = |id: &[u8; 16]| {
            let (index, known) = Index::open(directory.path(), id).unwrap();
            index.add(records(0, 300)).unwrap();
            index.flush().unwrap();
            known.top
        };
        assert_eq!((filled(&[1; 16]), filled(&[1; 16]), filled(&[2; 16])), (0, 300, 0));
        let store = Store::open(&directory.path().join("index")).unwrap();
        let mut batch = Batch::default();
        batch.insert(LOG, vec![2; 16]);
        store.apply(batch).unwrap();
        drop(store);
        assert_eq!(filled(&[2; 16]), 0);
    }
}
