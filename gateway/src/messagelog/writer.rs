//! Group commit: one thread writes what many ask for, and syncs once for all of them.
//!
//! The life of a record, and what is lost when we die:
//! 1. in the queue — the record; nobody was answered
//! 2. numbered, hashed, written — perhaps the record, perhaps parts of it: recovery cuts them off
//! 3. `fdatasync` returned — **nothing: this is the commit point**
//! 4. receipts given, index told — nothing; the index is caught up at the next start
//!
//! A write or sync that fails ends it: what the disk holds is not known then, so everything after is refused.
//!
//! Owned by this thread alone: the last segment, its end, the tree, the next number.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use tokio::{
    sync::{OwnedMutexGuard, mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    append::Receipt,
    disk::{self, Disk},
    error::LogError,
    frame::{ChunkHead, ChunkType, FRAME_HEAD, FrameHead, SegmentHeader, chunk_size},
    index::{Facts, Indexed, Told},
    record::Kind,
    rest::Rest,
    segment::{self, FIRST_CHUNK, Position, Segment},
    tree::{self, Hash, Tree},
};

/// Most records of one sync.
const MOST_RECORDS: usize = 1024;
/// Most bytes of one sync, but for a single larger record. They are held in memory, and the room for them is kept.
const MOST_BYTES: usize = 1 << 20;

/// So many records in the queue after a sync: many exchanges are under way, and a sync for each few of them would take
/// processor time from all.
const BUSY: usize = 4;
/// How long the writer then waits for more.
const GATHER: Duration = Duration::from_micros(500);

/// A record on its way into the log.
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) time: UnixTime,
    pub(crate) fields: Vec<u8>,
    /// Bodies that go into the segment, with their digests.
    pub(crate) blobs: Vec<(Hash, Bytes)>,
    pub(crate) facts: Facts,
    /// Messages that the same commit removes; only of a log in tables.
    pub(crate) removes: Vec<u64>,
    pub(crate) reply: Reply,
}

/// Who waits for a record to become durable, and whose turn it is until then.
pub(crate) struct Reply {
    pub(crate) to: oneshot::Sender<Result<Receipt, LogError>>,
    /// Whoever waits may go away; the next one's turn must not come before the record is there.
    pub(crate) _turn: Option<OwnedMutexGuard<()>>,
}

impl Reply {
    /// Tells what became of the record, and ends the turn.
    pub(crate) fn send(self, result: Result<Receipt, LogError>) {
        let _ = self.to.send(result);
    }
}

impl Entry {
    /// Bytes of the record and of the bodies beside it.
    pub(crate) fn bytes(&self) -> usize {
        self.blobs.iter().fold(self.fields.len(), |sum, (_, blob)| sum.saturating_add(blob.len()))
    }

    fn size(&self) -> u64 {
        let size = |length: usize| chunk_size(u64::try_from(length).unwrap_or(u64::MAX));
        let frame = size(FRAME_HEAD + self.fields.len());
        self.blobs.iter().map(|(_, blob)| size(blob.len())).fold(frame, u64::saturating_add)
    }
}

/// What the writer tells the others.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Why nothing is accepted any more.
    pub(crate) stopped: OnceLock<String>,
    /// Why the store cannot be reached at present.
    unreachable: Mutex<Option<String>>,
    /// How many records are durable.
    pub(crate) durable: AtomicU64,
    /// Bytes left in the last segment.
    pub(crate) room: AtomicU64,
    /// The tree over the durable records.
    pub(crate) tree: Mutex<Tree>,
    /// Whether this node leads.
    pub(crate) lead: watch::Sender<Lead>,
}

/// Whether a node leads; counts how often that has changed, so that no change is missed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lead {
    leads: bool,
    /// When it ends by itself; none: it does not.
    until: Option<Instant>,
    changes: u64,
}

impl Lead {
    /// Whether it leads now. One that slept through the end of its lease does not, though nobody has told it yet.
    pub(crate) fn holds(&self) -> bool {
        self.leads && self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether it has led without a break since it was `begun`, or led as little.
    pub(crate) const fn is_still(&self, begun: &Self) -> bool {
        self.changes == begun.changes
    }

    fn set(&mut self, leads: bool, until: Option<Instant>) -> bool {
        let changed = self.holds() != leads || self.leads != leads;
        *self = Self { leads, until, changes: self.changes.wrapping_add(u64::from(changed)) };
        changed
    }
}

impl State {
    /// Notes whether this node leads.
    pub(crate) fn lead(&self, leads: bool) {
        self.lead.send_if_modified(|lead| lead.set(leads, None));
    }

    /// Notes that this node leads until then. If it did not without a break, what it began before ends.
    pub(crate) fn lead_until(&self, until: Instant) {
        self.lead.send_if_modified(|lead| lead.set(true, Some(until)));
    }

    /// Whether records can be accepted now.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.check_stopped()?;
        let unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |reason: &String| LogError::Io { what: "PostgreSQL", reason: reason.clone() };
        unreachable.as_ref().map_or(Ok(()), |reason| Err(error(reason)))
    }

    /// Notes why the store cannot be reached, or that it can.
    pub(crate) fn reachable(&self, why_not: Option<String>) {
        *self.unreachable.lock().unwrap_or_else(PoisonError::into_inner) = why_not;
    }

    /// Whether the log has stopped for good.
    pub(crate) fn check_stopped(&self) -> Result<(), LogError> {
        self.stopped.get().map_or(Ok(()), |why| Err(LogError::Stopped(why.clone())))
    }

    /// Notes that the records of this tree are durable.
    pub(crate) fn reached(&self, tree: &Tree) {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).clone_from(tree);
        self.durable.store(tree.size(), Ordering::Release);
    }
}

/// The thread's own.
pub(crate) struct Writer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) log: PathBuf,
    pub(crate) segment_size: u64,
    pub(crate) segment: Segment,
    /// Where the next chunk goes.
    pub(crate) end: u64,
    pub(crate) tree: Tree,
    pub(crate) state: Arc<State>,
    pub(crate) index: Sender<Told>,
    pub(crate) batch: Batch,
    /// The last chunk that was put into this segment since the log was opened: where it stands, and its hash.
    pub(crate) last: Option<(u64, Hash)>,
}

/// What the next sync will make durable.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    waiting: Vec<(Reply, Receipt)>,
    indexed: Vec<Indexed>,
}

impl Writer {
    /// Works on a thread of its own until nobody can append any more.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        while let Some(first) = queue.blocking_recv() {
            if self.begin(first, &mut queue) {
                std::thread::sleep(GATHER);
            }
            self.end(&mut queue);
        }
        self.rest();
    }

    /// Tells where the log lies when it is closed.
    fn rest(self) {
        let Some(last) = self.last.filter(|_| self.state.check_stopped().is_ok()) else { return };
        let end = Position { segment: self.segment.header.number, offset: self.end };
        let _ = self.index.send(Told::Rest(Rest { end, last, tree: self.tree }));
    }

    /// Begins a batch with what is in the queue; gives whether more is to be waited for.
    pub(crate) fn begin(&mut self, first: Entry, queue: &mut mpsc::Receiver<Entry>) -> bool {
        self.take(first);
        self.gather(queue);
        self.batch.waiting.len() >= BUSY
    }

    /// Takes what has come meanwhile, makes the batch durable and answers.
    pub(crate) fn end(&mut self, queue: &mut mpsc::Receiver<Entry>) {
        self.gather(queue);
        self.commit();
    }

    /// Takes what is in the queue.
    fn gather(&mut self, queue: &mut mpsc::Receiver<Entry>) {
        while self.batch.waiting.len() < MOST_RECORDS && self.batch.bytes.len() < MOST_BYTES {
            let Ok(next) = queue.try_recv() else { break };
            self.take(next);
        }
    }

    /// Puts a record into the batch; one that cannot be taken is answered at once.
    fn take(&mut self, entry: Entry) {
        if let Err(error) = self.state.check().and_then(|()| self.make_room(&entry)) {
            entry.reply.send(Err(error));
            return;
        }
        let sequence = self.tree.size();
        let begin = self.end.saturating_add(u64::try_from(self.batch.bytes.len()).unwrap_or(u64::MAX));
        for (hash, blob) in &entry.blobs {
            self.put(ChunkType::Blob, *hash, &[blob]);
        }
        let head = FrameHead { kind: entry.kind, sequence, time: entry.time }.encode();
        let leaf = tree::leaf_hash(&[&head, &entry.fields]);
        self.put(ChunkType::Frame, leaf, &[&head, &entry.fields]);
        self.tree.push(leaf);
        self.batch.waiting.push((entry.reply, Receipt { sequence, leaf }));
        self.batch.indexed.push(Indexed {
            sequence,
            kind: entry.kind,
            time: entry.time,
            position: Position { segment: self.segment.header.number, offset: begin },
            facts: entry.facts,
        });
    }

    fn put(&mut self, kind: ChunkType, hash: Hash, content: &[&[u8]]) {
        let length: usize = content.iter().map(|piece| piece.len()).sum();
        let head = ChunkHead {
            kind,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            write: u32::try_from(self.end).unwrap_or(u32::MAX),
            hash,
        };
        let pending = u64::try_from(self.batch.bytes.len()).unwrap_or(u64::MAX);
        self.last = Some((self.end.saturating_add(pending), hash));
        head.put(&self.segment.header.log, content, &mut self.batch.bytes);
    }

    /// Goes to a new segment when the record does not fit into this one. When that fails the next record that does not fit
    /// tries again.
    fn make_room(&mut self, entry: &Entry) -> Result<(), LogError> {
        let needed = entry.size();
        let pending = u64::try_from(self.batch.bytes.len()).unwrap_or(u64::MAX);
        if self.end.saturating_add(pending).saturating_add(needed) <= self.segment.capacity {
            return Ok(());
        }
        self.commit();
        self.state.check()?;
        let header = SegmentHeader {
            log: self.segment.header.log,
            number: self.segment.header.number + 1,
            created: entry.time,
            previous: self.segment.header_hash,
            tree: self.tree.clone(),
        };
        let capacity = self.segment_size.max(FIRST_CHUNK.saturating_add(needed));
        let number = header.number;
        let next = segment::create(self.disk.as_ref(), &self.log, header, capacity).inspect_err(|_| {
            // A name that could not be made durable may be there, of a segment that says which records are before it.
            // There must be no more than those: none fits into this one any longer.
            if segment::is_there(&self.log, number) {
                self.segment.capacity = self.end;
                self.publish();
            }
        })?;
        // The rest of the old one is given back; whether that works matters to nobody.
        let _ = self.disk.truncate(&self.segment.file, self.end);
        self.segment = next;
        self.end = FIRST_CHUNK;
        self.last = None;
        self.publish();
        Ok(())
    }

    /// Makes the batch durable and answers.
    fn commit(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        if !batch.waiting.is_empty() {
            match self.write(&batch.bytes) {
                Ok(()) => {
                    self.end = self.end.saturating_add(u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX));
                    self.publish();
                    for (reply, receipt) in batch.waiting.drain(..) {
                        reply.send(Ok(receipt));
                    }
                    // Readers wait for the index when they come sooner. Without an index nobody can read,
                    // but the evidence is durable: that is what the caller asked for.
                    let _ = self.index.send(Told::Records(std::mem::take(&mut batch.indexed)));
                }
                Err(error) => {
                    let why = format!("a write failed: {error}");
                    tracing::error!(%error, "the message log stops: what the disk holds is not known");
                    let _ = self.state.stopped.set(why.clone());
                    for (reply, _) in batch.waiting.drain(..) {
                        reply.send(Err(LogError::Stopped(why.clone())));
                    }
                }
            }
        }
        batch.bytes.clear();
        self.batch = batch;
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        disk::write_all(self.disk.as_ref(), &self.segment.file, bytes, self.end)?;
        if cfg!(feature = "test-answer-before-sync") {
            return Ok(());
        }
        self.disk.sync(&self.segment.file)
    }

    fn publish(&self) {
        self.state.reached(&self.tree);
        self.state.room.store(self.segment.capacity.saturating_sub(self.end), Ordering::Relaxed);
    }
}
