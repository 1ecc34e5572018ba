//! Finding and reading records. Blocks while it reads files: from asynchronous code call it off the runtime's threads.
//!
//! Not here: where records lie (`records`), writing, judging ([`super::verify`]), containers ([`crate::evidence::asic`]).

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use bytes::Bytes;
use cert_authority::{clock::UnixTime, crypto::Digest};

pub use super::filter::{Condition, Filter};
use super::{
    block::Block,
    body::{SealedBody, Vault},
    disk::Work,
    error::LogError,
    filter::Names,
    frame::Frame,
    index::{Indexed, Span},
    record::{Kind, MessageRecord, Outcome, Part, Place, Record, TimestampRecord},
    records::{Chunks, Records},
    stamp::{self, Stamp},
    tree::{Hash, Tree},
    writer::State,
};

/// Records that are read at once where that is cheaper: more and more, since nobody knows how many will be wanted.
const FEW: usize = 16;
const MANY: usize = 256;

/// Reads a log. Cheap to clone.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

struct Shared {
    log: PathBuf,
    records: Box<dyn Records>,
    state: Arc<State>,
    vault: Vault,
    /// The time-stamp that was asked for last: thousands of records share it.
    stamp: Mutex<Option<Arc<Stamp>>>,
}

/// A record, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its number.
    pub sequence: u64,
    /// When it was logged.
    pub time: UnixTime,
    /// The hash of its frame: the leaf of the tree.
    pub leaf: Hash,
    /// What it says.
    pub record: Record,
}

impl StoredRecord {
    /// Whether a part of it is sealed with this data key.
    pub fn uses(&self, key: &str) -> bool {
        let sealed = |part: &Part| part.stored.as_ref().is_some_and(|stored| stored.key == key);
        self.record.message().is_some_and(|message| message.parts.iter().any(sealed))
    }
}

/// In which order records are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As they were logged.
    OldestFirst,
    /// The last one first.
    #[default]
    NewestFirst,
}

/// A time-stamp over one signature, with what ties it to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimestampMaterial {
    /// Over this signature alone.
    Single {
        /// The token.
        token: Bytes,
    },
    /// Over several signatures.
    Batch {
        /// The token.
        token: Bytes,
        /// What it is over.
        hash_chain_result: Bytes,
        /// Leads to this signature.
        hash_chain: Bytes,
    },
}

/// All that a container of one message is made of.
#[derive(Debug, Clone)]
pub struct Material {
    /// The number of the record.
    pub sequence: u64,
    /// When it was logged.
    pub time: UnixTime,
    /// Request or response.
    pub kind: Kind,
    /// The record: signature, hash chain and its result among others.
    pub message: MessageRecord,
    /// The contents of its parts in their order; `None` where it was not kept or its key was destroyed.
    pub parts: Vec<Option<SealedBody>>,
    /// The time-stamp and the time it states, once there is one.
    pub timestamp: Option<(UnixTime, TimestampMaterial)>,
}

impl Reader {
    pub(crate) fn new(log: PathBuf, records: Box<dyn Records>, state: Arc<State>, vault: Vault) -> Self {
        Self(Arc::new(Shared { log, records, state, vault, stamp: Mutex::default() }))
    }

    /// Where work with it is done.
    pub(crate) fn work(&self) -> Work {
        self.0.vault.work()
    }

    /// How many records are durable.
    pub fn len(&self) -> u64 {
        self.0.state.durable.load(Ordering::Acquire)
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tree over the durable records.
    pub fn tree(&self) -> Tree {
        self.0.state.tree.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The hashes of `count` frames from the record `first` on, fewer at the end of the log: leaves of the tree. The
    /// frames themselves are not read.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn leaves(&self, first: u64, count: usize) -> Result<Vec<Hash>, LogError> {
        self.0.records.wait_for(self.len())?;
        self.0.records.leaves(first, count)
    }

    /// The bytes of a frame: what the leaf of the tree is the hash of.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn frame(&self, sequence: u64) -> Result<Option<Bytes>, LogError> {
        self.0.records.wait_for(self.len())?;
        let found = self.0.records.read(&[sequence], false)?.into_iter().next();
        found.map(|chunks| Ok(chunks?.frame)).transpose()
    }

    /// The directory of the log.
    pub fn directory(&self) -> &Path {
        &self.0.log
    }

    /// The record with this number.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when it is not what was written; [`LogError::Removed`]; [`LogError::Index`],
    /// [`LogError::Io`].
    pub fn get(&self, sequence: u64) -> Result<Option<StoredRecord>, LogError> {
        self.each_of([sequence]).next().map_or(Ok(None), |(_, found)| found)
    }

    /// The same for each of these numbers, one after the other; several are read at once where that is cheaper.
    pub fn each_of(
        &self,
        numbers: impl IntoIterator<Item = u64>,
    ) -> impl Iterator<Item = (u64, Result<Option<StoredRecord>, LogError>)> {
        let walk = self.walk(numbers.into_iter(), false);
        walk.map(|(number, read)| (number, read.map(|read| read.map(|(record, _)| record))))
    }

    /// The records of a query, as they were logged.
    ///
    /// # Errors
    /// As [`Self::get`]; [`LogError::Removed`] when all that may be of the query were removed.
    pub fn by_message_id(&self, message_id: &str) -> Result<Vec<StoredRecord>, LogError> {
        self.0.records.wait_for(self.len())?;
        let (mut records, mut removed) = (Vec::new(), None);
        for (_, found) in self.each_of(self.0.records.by_message_id(message_id)?) {
            match found {
                Err(error @ LogError::Removed { .. }) => removed = removed.or(Some(error)),
                found => {
                    records.extend(found?.filter(|found| found.record.message_id() == Some(message_id)));
                }
            }
        }
        if records.is_empty() { removed.map_or(Ok(records), Err) } else { Ok(records) }
    }

    pub(crate) fn records(&self) -> &dyn Records {
        self.0.records.as_ref()
    }

    /// Hashes of the message ids that were logged since then, and of some before; `None` where others write the log too,
    /// so that nobody knows them all.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn message_ids_since(&self, since: UnixTime) -> Result<Option<Vec<[u8; 8]>>, LogError> {
        self.0.records.wait_for(self.len())?;
        let mut first = self.len();
        // Backwards, block by block: times follow the numbers but for the clock's own jumps, and more does no harm.
        while let Some(last) = first.checked_sub(1)
            && let Some(block) = self.0.records.block_of(last)?
            && block.times().is_none_or(|times| times.latest >= since)
        {
            first = block.first;
        }
        self.0.records.ids_from(first)
    }

    /// A segment was written anew: it is opened again when something in it is wanted.
    pub(crate) fn forget(&self, segment: u64) {
        self.0.records.forget(segment);
    }

    /// At most `limit` records that pass the filter, beyond the record `cursor` if one is given.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn find(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, LogError> {
        self.0.records.wait_for(self.len())?;
        let search = Search {
            filter,
            names: Names::wanted_by(filter),
            stamped_below: match filter.state {
                Some(Condition::Stamped | Condition::Pending) => self.0.records.stamped_below()?,
                Some(Condition::Ended(_)) | None => 0,
            },
        };
        if let Some(message_id) = &filter.message_id {
            return self.find_by_id(&search, message_id, order, cursor, limit);
        }
        let mut found = Vec::new();
        let start = match (order, cursor) {
            (Order::OldestFirst, cursor) => Some(cursor.map_or(0, |c| c.saturating_add(1))),
            (Order::NewestFirst, cursor) => cursor.unwrap_or_else(|| self.len()).checked_sub(1),
        };
        let Some(start) = start else { return Ok(found) };
        for block in self.blocks(filter, order, start) {
            let block = block?;
            if filter.may_pass(&search.names, &block) {
                self.find_in_block(&block, &search, order, start, limit, &mut found)?;
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// The blocks from the one of `start` on, without those that are known to have nothing of the filter's period.
    pub(super) fn blocks<'a>(&'a self, filter: &'a Filter, order: Order, start: u64) -> Blocks<'a> {
        Blocks { records: self.records(), filter, order, next: Some(start), span: None }
    }

    fn find_by_id(
        &self,
        search: &Search<'_>,
        message_id: &str,
        order: Order,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, LogError> {
        let beyond = |record: &StoredRecord| match (order, cursor) {
            (_, None) => true,
            (Order::OldestFirst, Some(cursor)) => record.sequence > cursor,
            (Order::NewestFirst, Some(cursor)) => record.sequence < cursor,
        };
        let mut found = Vec::new();
        for record in self.by_message_id(message_id)? {
            if beyond(&record) && self.passes(search, &record)? {
                found.push(record);
            }
        }
        if order == Order::NewestFirst {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found)
    }

    fn find_in_block(
        &self,
        block: &Block,
        search: &Search<'_>,
        order: Order,
        start: u64,
        limit: usize,
        found: &mut Vec<StoredRecord>,
    ) -> Result<(), LogError> {
        let records = block.records().filter_map(|(sequence, kind, time)| {
            // An outcome is of the parties of its request.
            let unnamed = kind == Kind::Outcome || Indexed::is_unknown(time);
            let may_be = unnamed || search.names.may_be(block.names_of(sequence));
            (may_be && search.filter.in_time(time) && search.filter.of_kind(kind)).then_some(sequence)
        });
        let numbers: Vec<u64> = match order {
            Order::OldestFirst => records.filter(|sequence| *sequence >= start).collect(),
            Order::NewestFirst => records.rev().filter(|sequence| *sequence <= start).collect(),
        };
        for (_, record) in self.each_of(numbers) {
            if found.len() >= limit {
                break;
            }
            let record = match record {
                Err(LogError::Removed { .. }) => continue,
                read => read?,
            };
            if let Some(record) = record
                && self.passes(search, &record)?
            {
                found.push(record);
            }
        }
        Ok(())
    }

    /// How many records pass the filter.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn count(&self, filter: &Filter) -> Result<u64, LogError> {
        let mut count = 0_u64;
        self.each(filter, &mut |_| {
            count = count.saturating_add(1);
            Ok(())
        })?;
        Ok(count)
    }

    /// Shows each record that passes the filter, in the order of the log, without having all in memory.
    ///
    /// # Errors
    /// As [`Self::get`], and those of `see`.
    pub fn each<E: From<LogError>>(
        &self,
        filter: &Filter,
        see: &mut dyn FnMut(StoredRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        const PAGE: usize = 256;
        let mut cursor = None;
        loop {
            let page = self.find(filter, Order::OldestFirst, cursor, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            cursor = Some(last.sequence);
            page.into_iter().try_for_each(&mut *see)?;
        }
    }

    fn passes(&self, search: &Search<'_>, record: &StoredRecord) -> Result<bool, LogError> {
        let filter = search.filter;
        let asked = match &record.record {
            Record::Outcome(outcome) if filter.is_of_messages() => {
                self.request_of(&search.names, outcome.request)?
            }
            _ => None,
        };
        if !filter.passes(record, asked.as_ref().and_then(|asked| asked.record.message())) {
            return Ok(false);
        }
        let stamped = |wanted: bool| -> Result<bool, LogError> {
            let is = record.sequence < search.stamped_below || self.stamp(record.sequence)?.is_some();
            Ok(record.record.kind().is_message() && is == wanted)
        };
        match filter.state {
            Some(Condition::Stamped) => stamped(true),
            Some(Condition::Pending) => stamped(false),
            Some(Condition::Ended(Outcome::Success)) => self.is_last_word(record),
            Some(Condition::Ended(_)) | None => Ok(true),
        }
    }

    /// The request with this number, unless it can be seen without reading it that it does not pass.
    fn request_of(&self, wanted: &Names, request: u64) -> Result<Option<StoredRecord>, LogError> {
        let Some(block) = self.0.records.block_of(request)? else { return Ok(None) };
        let names = block.names_of(request);
        // Of one that cannot be read the index knows none.
        if names != (None, None) && !wanted.may_be(names) {
            return Ok(None);
        }
        match self.get(request) {
            Err(LogError::Removed { .. }) => Ok(None),
            found => found,
        }
    }

    /// Whether no record says of the exchange of an answer that something went wrong behind it.
    fn is_last_word(&self, answer: &StoredRecord) -> Result<bool, LogError> {
        let Record::Response(message) = &answer.record else { return Ok(true) };
        let records = self.by_message_id(&message.message_id)?;
        Ok(!records.iter().any(|other| match &other.record {
            Record::Outcome(outcome) => {
                message.request == Some(outcome.request) && outcome.outcome != Outcome::Success
            }
            _ => false,
        }))
    }

    /// The contents of a message's parts, in their order; `None` where one was not kept or its key was destroyed.
    ///
    /// # Errors
    /// As [`Self::get`], and [`LogError::Key`].
    pub fn bodies(&self, record: &StoredRecord) -> Result<Vec<Option<SealedBody>>, LogError> {
        let Some(message) = record.record.message() else { return Ok(Vec::new()) };
        let (_, read) =
            self.walk(std::iter::once(record.sequence), true).next().ok_or_else(|| gone(record.sequence))?;
        let (_, blobs) = read?.ok_or_else(|| gone(record.sequence))?;
        self.opened(message, &blobs)
    }

    fn opened(&self, message: &MessageRecord, blobs: &Blobs) -> Result<Vec<Option<SealedBody>>, LogError> {
        let mut parts = Vec::new();
        for part in &message.parts {
            let Some(stored) = &part.stored else {
                parts.push(None);
                continue;
            };
            let chunk = match stored.place {
                Place::File => None,
                Place::Chunk => {
                    blobs.iter().find(|(hash, _)| *hash == stored.ciphertext).map(|(_, b)| b.clone())
                }
            };
            match self.0.vault.open(stored, part.length, chunk) {
                Err(LogError::KeyGone(_)) => parts.push(None),
                opened => parts.push(Some(opened?)),
            }
        }
        Ok(parts)
    }

    /// The time-stamp's record that covers a record.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn timestamp_of(&self, sequence: u64) -> Result<Option<TimestampRecord>, LogError> {
        Ok(self.stamp(sequence)?.map(|stamp| stamp.record().clone()))
    }

    fn stamp(&self, sequence: u64) -> Result<Option<Arc<Stamp>>, LogError> {
        let held = || self.0.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let covers = |stamp: &Arc<Stamp>| stamp.record().position(sequence).is_some();
        if let Some(stamp) = held().as_ref().filter(|stamp| covers(stamp)) {
            return Ok(Some(Arc::clone(stamp)));
        }
        self.0.records.wait_for(self.len())?;
        let Some(number) = self.0.records.stamp_of(sequence)? else { return Ok(None) };
        let found = self.get(number)?.ok_or_else(|| gone(number))?;
        let Record::Timestamp(record) = found.record else { return Ok(None) };
        let stamp = Some(Arc::new(Stamp::new(record))).filter(covers);
        if stamp.is_some() {
            held().clone_from(&stamp);
        }
        Ok(stamp)
    }

    /// What the container of a message is made of; none when there is no message with this number.
    ///
    /// # Errors
    /// As [`Self::bodies`].
    pub fn export(&self, sequence: u64) -> Result<Option<Material>, LogError> {
        self.exports([sequence]).next().map_or(Ok(None), |(_, found)| found)
    }

    /// The same for each of these numbers, one after the other; several are read at once where that is cheaper.
    pub fn exports(
        &self,
        numbers: impl IntoIterator<Item = u64>,
    ) -> impl Iterator<Item = (u64, Result<Option<Material>, LogError>)> {
        let walk = self.walk(numbers.into_iter(), true);
        walk.map(|(number, read)| (number, read.and_then(|read| self.material(read))))
    }

    fn material(&self, read: Option<(StoredRecord, Blobs)>) -> Result<Option<Material>, LogError> {
        let Some((StoredRecord { sequence, time, record, .. }, blobs)) = read else { return Ok(None) };
        let kind = record.kind();
        let (Record::Request(message) | Record::Response(message)) = record else { return Ok(None) };
        let parts = self.opened(&message, &blobs)?;
        let timestamp = self.stamp(sequence)?.map(|stamp| (stamp.record().time, stamp.material(sequence)));
        Ok(Some(Material { sequence, time, kind, message, parts, timestamp }))
    }

    /// Every message below this number has its time-stamp.
    pub(crate) fn stamped_below(&self) -> Result<u64, LogError> {
        self.0.records.wait_for(self.len())?;
        self.0.records.stamped_below()
    }

    /// The oldest messages without a time-stamp, at most `limit`: number and digest of the signature of each, and when
    /// the first was logged, and its signature.
    pub(crate) fn unstamped(&self, limit: usize) -> Result<Option<Unstamped>, LogError> {
        self.0.records.wait_for(self.len())?;
        let mut found: Option<Unstamped> = None;
        let mut next = self.0.records.stamped_below()?;
        while let Some(block) = self.0.records.block_of(next)? {
            let left = limit - found.as_ref().map_or(0, |found| found.covered.len());
            let messages =
                block.records().filter(|(sequence, kind, _)| *sequence >= next && kind.is_message());
            let digest = |sequence| self.0.records.signature_digest(sequence);
            let mut messages: Vec<_> =
                messages.take(left).map(|(sequence, _, time)| (sequence, time, digest(sequence))).collect();
            if let Some((_, _, first)) = messages.first_mut().filter(|_| found.is_none()) {
                // Its signature is asked for.
                *first = None;
            }
            let unknown =
                messages.iter().filter(|(_, _, known)| known.is_none()).map(|(sequence, ..)| *sequence);
            let mut read = self.each_of(unknown).peekable();
            for (sequence, time, known) in &messages {
                if let (Some(found), Some(digest)) = (&mut found, known) {
                    found.covered.push((*sequence, *digest));
                    continue;
                }
                let record = match read.next_if(|(number, _)| number == sequence) {
                    Some((_, record)) => record,
                    None => self.get(*sequence),
                };
                let record = record?.ok_or_else(|| gone(*sequence))?;
                let Some(message) = record.record.message() else { continue };
                let one = (*sequence, stamp::signature_digest(&message.signature));
                let none =
                    || Unstamped { oldest: *time, signature: message.signature.clone(), covered: Vec::new() };
                found.get_or_insert_with(none).covered.push(one);
            }
            if found.as_ref().is_some_and(|found| found.covered.len() >= limit) {
                break;
            }
            next = block.end();
        }
        Ok(found)
    }

    fn walk<N: Iterator<Item = u64>>(&self, numbers: N, blobs: bool) -> Walk<'_, N> {
        let known = self.0.records.wait_for(self.len());
        let (ahead, read) = (VecDeque::new(), VecDeque::new());
        Walk { records: self.records(), known: Some(known), numbers, blobs, at_once: FEW, ahead, read }
    }
}

/// A search, and what it needs to know for each record.
struct Search<'a> {
    filter: &'a Filter,
    names: Names,
    /// Every message below this number has its time-stamp; 0 when nobody asks.
    stamped_below: u64,
}

/// Goes through the index.
pub(super) struct Blocks<'a> {
    records: &'a dyn Records,
    filter: &'a Filter,
    order: Order,
    next: Option<u64>,
    /// What was looked at last.
    span: Option<Span>,
}

impl Blocks<'_> {
    const fn beyond(&self, first: u64, end: u64) -> Option<u64> {
        match self.order {
            Order::OldestFirst => Some(end),
            Order::NewestFirst => first.checked_sub(1),
        }
    }

    fn look(&mut self) -> Result<Option<Arc<Block>>, LogError> {
        while let Some(at) = self.next {
            if self.filter.is_of_a_period() && self.span.is_none_or(|span| !span.holds(at)) {
                self.span = self.records.span_of(at)?;
            }
            let passed = |span: &Span| span.holds(at) && !self.filter.may_be_within(span.times);
            if let Some(span) = self.span.filter(passed) {
                self.next = self.beyond(span.first, span.end);
                continue;
            }
            let block = self.records.block_of(at)?;
            self.next = block.as_ref().and_then(|block| self.beyond(block.first, block.end()));
            return Ok(block);
        }
        Ok(None)
    }
}

impl Iterator for Blocks<'_> {
    type Item = Result<Arc<Block>, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.look();
        if found.is_err() {
            self.next = None;
        }
        found.transpose()
    }
}

/// Encrypted bodies that lie beside a record, with their digests.
type Blobs = Vec<(Hash, Bytes)>;

/// Reads records of these numbers one after the other. What is not there is none.
struct Walk<'a, N> {
    records: &'a dyn Records,
    /// Whether all that is durable can be found; told with the first record.
    known: Option<Result<(), LogError>>,
    numbers: N,
    blobs: bool,
    at_once: usize,
    /// Numbers that come next.
    ahead: VecDeque<u64>,
    /// What was read.
    read: VecDeque<(u64, Result<Chunks, LogError>)>,
}

impl<N: Iterator<Item = u64>> Iterator for Walk<'_, N> {
    type Item = (u64, Result<Option<(StoredRecord, Blobs)>, LogError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.read.is_empty() {
            let room = self.at_once.saturating_sub(self.ahead.len());
            self.ahead.extend(self.numbers.by_ref().take(room));
            self.at_once = self.at_once.saturating_mul(2).min(MANY);
            let first = *self.ahead.front()?;
            let known = self.known.take().unwrap_or(Ok(()));
            let read = known.and_then(|()| self.records.read(self.ahead.make_contiguous(), self.blobs));
            match read {
                Ok(read) if !read.is_empty() => {
                    let numbers = self.ahead.drain(..read.len().min(self.ahead.len()));
                    self.read.extend(numbers.zip(read));
                }
                nothing => {
                    self.ahead.pop_front();
                    return Some((first, nothing.map(|_| None)));
                }
            }
        }
        let (number, chunks) = self.read.pop_front()?;
        Some((number, chunks.and_then(|chunks| decoded(number, chunks)).map(Some)))
    }
}

fn decoded(sequence: u64, chunks: Chunks) -> Result<(StoredRecord, Blobs), LogError> {
    let Chunks { blobs, frame, leaf } = chunks;
    let frame = Frame::decode(&frame).ok().filter(|frame| frame.head.sequence == sequence);
    let frame = frame.ok_or_else(|| gone(sequence))?;
    Ok((StoredRecord { sequence, time: frame.head.time, leaf, record: frame.record }, blobs))
}

/// What waits for a time-stamp.
#[derive(Debug)]
pub(crate) struct Unstamped {
    /// When the first was logged.
    pub(crate) oldest: UnixTime,
    /// The signature of the first.
    pub(crate) signature: Bytes,
    /// Number, and digest of the signature.
    pub(crate) covered: Vec<(u64, Digest)>,
}

fn gone(sequence: u64) -> LogError {
    LogError::Index(format!("record {sequence} is not where the index says"))
}
