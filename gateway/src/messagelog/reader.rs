//! Finding and reading records. Blocks while it reads files: from asynchronous code call it off the runtime's threads.
//!
//! Not here: where records lie (`records`), writing, judging ([`super::verify`]), containers ([`crate::evidence::asic`]).

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, atomic::Ordering},
};

use bytes::Bytes;
use cert_authority::{clock::UnixTime, crypto::Digest};
use conf::identifier::{ClientId, MemberId, ServiceId};

use super::{
    body::{SealedBody, Vault},
    error::LogError,
    frame::Frame,
    index::{Block, service_key},
    record::{Kind, MessageRecord, Outcome, Part, Place, Record, Role, TimestampRecord},
    records::{Chunks, Records},
    segment::Position,
    stamp,
    tree::{Hash, Tree},
    writer::State,
};

/// Reads a log. Cheap to clone.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

struct Shared {
    log: PathBuf,
    records: Box<dyn Records>,
    state: Arc<State>,
    vault: Vault,
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

/// Which records are wanted; what is `None` does not matter. How an exchange ended without a signed answer is of the
/// client, service, member, side, user and issue of its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Logged at this time or later.
    pub from: Option<UnixTime>,
    /// Logged before this time.
    pub until: Option<UnixTime>,
    /// Of this query.
    pub message_id: Option<String>,
    /// Of this client.
    pub client: Option<ClientId>,
    /// Of this service.
    pub service: Option<ServiceId>,
    /// Client or provider is this member or one of its subsystems.
    pub member: Option<MemberId>,
    /// Made on this side.
    pub role: Option<Role>,
    /// Of these kinds; empty: of all.
    pub kinds: Vec<Kind>,
    /// For whom the client acted, as it said.
    pub user_id: Option<String>,
    /// Of this file, case or permit.
    pub issue: Option<String>,
    /// In this state.
    pub state: Option<Condition>,
}

/// How far the evidence of a message has come, or how an exchange without a signed answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// A message with a time-stamp.
    Stamped,
    /// A message that waits for one.
    Pending,
    /// An exchange that ended so, one record of it. With success: its signed answer, if nothing went wrong behind it; else
    /// the record that says how it ended.
    Ended(Outcome),
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
        Self(Arc::new(Shared { log, records, state, vault }))
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
        let mut leaves = Vec::with_capacity(count);
        let mut next = first;
        while let Some(block) = self.0.records.block_of(next)? {
            let skipped = usize::try_from(next.saturating_sub(block.first)).unwrap_or(usize::MAX);
            let wanted = block.places.iter().skip(skipped).take(count - leaves.len());
            let positions: Vec<Position> = wanted.map(|(position, _, _)| *position).collect();
            let begin = next;
            next = next.saturating_add(u64::try_from(positions.len()).unwrap_or(0));
            leaves.extend(self.0.records.leaves(begin, &positions)?);
            if leaves.len() == count {
                break;
            }
        }
        Ok(leaves)
    }

    /// The bytes of a frame: what the leaf of the tree is the hash of.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn frame(&self, sequence: u64) -> Result<Option<Bytes>, LogError> {
        self.0.records.wait_for(self.len())?;
        let Some(position) = self.position(sequence)? else { return Ok(None) };
        Ok(Some(self.0.records.chunks(sequence, position)?.frame))
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
        self.0.records.wait_for(self.len())?;
        let Some(position) = self.position(sequence)? else { return Ok(None) };
        self.read(position, sequence).map(|(record, _)| Some(record))
    }

    /// The records of a query, as they were logged.
    ///
    /// # Errors
    /// As [`Self::get`]; [`LogError::Removed`] when all that may be of the query were removed.
    pub fn by_message_id(&self, message_id: &str) -> Result<Vec<StoredRecord>, LogError> {
        self.0.records.wait_for(self.len())?;
        let (mut records, mut removed) = (Vec::new(), None);
        for sequence in self.0.records.by_message_id(message_id)? {
            match self.get(sequence) {
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
            && block.times().is_none_or(|(_, latest)| latest >= since)
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
        if let Some(message_id) = &filter.message_id {
            return self.find_by_id(filter, message_id, order, cursor, limit);
        }
        let mut found = Vec::new();
        let mut next = match (order, cursor) {
            (Order::OldestFirst, cursor) => Some(cursor.map_or(0, |c| c.saturating_add(1))),
            (Order::NewestFirst, cursor) => cursor.unwrap_or_else(|| self.len()).checked_sub(1),
        };
        while let Some(block) = next.map(|next| self.0.records.block_of(next)).transpose()?.flatten() {
            let start = next.unwrap_or(0);
            self.find_in_block(&block, filter, order, start, limit, &mut found)?;
            if found.len() >= limit {
                break;
            }
            next = match order {
                Order::OldestFirst => Some(block.first + u64::try_from(block.places.len()).unwrap_or(0)),
                Order::NewestFirst => block.first.checked_sub(1),
            };
        }
        Ok(found)
    }

    fn find_by_id(
        &self,
        filter: &Filter,
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
            if beyond(&record) && self.passes(filter, &record)? {
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
        filter: &Filter,
        order: Order,
        start: u64,
        limit: usize,
        found: &mut Vec<StoredRecord>,
    ) -> Result<(), LogError> {
        if !filter.may_pass(block) {
            return Ok(());
        }
        let numbered = (block.first..).zip(&block.places);
        let places: Vec<_> = match order {
            Order::OldestFirst => numbered.filter(|(sequence, _)| *sequence >= start).collect(),
            Order::NewestFirst => {
                let mut places: Vec<_> = numbered.filter(|(sequence, _)| *sequence <= start).collect();
                places.reverse();
                places
            }
        };
        for (sequence, (position, kind, time)) in places {
            if found.len() >= limit {
                break;
            }
            if filter.in_time(*time) && filter.of_kind(*kind) {
                let record = match self.read(*position, sequence) {
                    Err(LogError::Removed { .. }) => continue,
                    read => read?.0,
                };
                if self.passes(filter, &record)? {
                    found.push(record);
                }
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

    fn passes(&self, filter: &Filter, record: &StoredRecord) -> Result<bool, LogError> {
        let asked = match &record.record {
            Record::Outcome(outcome) if filter.is_of_messages() => {
                self.request_of(filter, outcome.request)?
            }
            _ => None,
        };
        if !filter.passes(record, asked.as_ref().and_then(|asked| asked.record.message())) {
            return Ok(false);
        }
        let stamped = |wanted: bool| -> Result<bool, LogError> {
            let below = self.0.records.stamped_below()?;
            let is = record.sequence < below || self.timestamp_of(record.sequence)?.is_some();
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
    fn request_of(&self, filter: &Filter, request: u64) -> Result<Option<StoredRecord>, LogError> {
        let Some(block) = self.0.records.block_of(request)? else { return Ok(None) };
        if !filter.may_be_of_parties(&block) {
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
        let position = self.position(record.sequence)?.ok_or_else(|| gone(record.sequence))?;
        let (_, blobs) = self.read(position, record.sequence)?;
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
        self.0.records.wait_for(self.len())?;
        let Some(stamp) = self.0.records.stamp_of(sequence)? else { return Ok(None) };
        let found = self.get(stamp)?.ok_or_else(|| gone(stamp))?;
        Ok(match found.record {
            Record::Timestamp(stamp) => Some(stamp).filter(|stamp| stamp.position(sequence).is_some()),
            _ => None,
        })
    }

    /// What the container of a message is made of; none when there is no message with this number.
    ///
    /// # Errors
    /// As [`Self::bodies`].
    pub fn export(&self, sequence: u64) -> Result<Option<Material>, LogError> {
        let Some(found) = self.get(sequence)? else { return Ok(None) };
        let parts = self.bodies(&found)?;
        let kind = found.record.kind();
        let (Record::Request(message) | Record::Response(message)) = found.record else { return Ok(None) };
        let stamp = self.timestamp_of(sequence)?;
        let timestamp = stamp.map(|stamp| (stamp.time, stamp::material(&stamp, sequence)));
        Ok(Some(Material { sequence, time: found.time, kind, message, parts, timestamp }))
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
            for (sequence, (position, kind, time)) in (block.first..).zip(&block.places) {
                if sequence < next || !kind.is_message() {
                    continue;
                }
                if found.as_ref().is_some_and(|found| found.covered.len() >= limit) {
                    return Ok(found);
                }
                let known = self.0.records.signature_digest(sequence);
                if let (Some(found), Some(digest)) = (&mut found, known) {
                    found.covered.push((sequence, digest));
                    continue;
                }
                let (record, _) = self.read(*position, sequence)?;
                let Some(message) = record.record.message() else { continue };
                let one = (sequence, stamp::signature_digest(&message.signature));
                let none =
                    || Unstamped { oldest: *time, signature: message.signature.clone(), covered: Vec::new() };
                found.get_or_insert_with(none).covered.push(one);
            }
            next = block.first.saturating_add(u64::try_from(block.places.len()).unwrap_or(0));
        }
        Ok(found)
    }

    fn position(&self, sequence: u64) -> Result<Option<Position>, LogError> {
        let Some(block) = self.0.records.block_of(sequence)? else { return Ok(None) };
        let at = sequence.checked_sub(block.first).and_then(|at| usize::try_from(at).ok());
        Ok(at.and_then(|at| block.places.get(at)).map(|(position, _, _)| *position))
    }

    /// Reads the blobs and the frame that stand at a position.
    fn read(
        &self,
        position: Position,
        sequence: u64,
    ) -> Result<(StoredRecord, Vec<(Hash, Bytes)>), LogError> {
        let Chunks { blobs, frame, leaf } = self.0.records.chunks(sequence, position)?;
        let frame = Frame::decode(&frame).ok().filter(|frame| frame.head.sequence == sequence);
        let frame = frame.ok_or_else(|| gone(sequence))?;
        Ok((StoredRecord { sequence, time: frame.head.time, leaf, record: frame.record }, blobs))
    }
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

impl Filter {
    fn in_time(&self, time: UnixTime) -> bool {
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }

    fn of_kind(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether a record of the block may pass.
    fn may_pass(&self, block: &Block) -> bool {
        let Some((earliest, latest)) = block.times() else { return false };
        let in_time =
            self.from.is_none_or(|from| latest >= from) && self.until.is_none_or(|until| earliest < until);
        // The parties of an outcome stand with its request, which may be in another block.
        let outcomes =
            || self.of_kind(Kind::Outcome) && block.places.iter().any(|(_, k, _)| *k == Kind::Outcome);
        in_time && (self.may_be_of_parties(block) || outcomes())
    }

    /// Whether a message of the block may be of these parties.
    fn may_be_of_parties(&self, block: &Block) -> bool {
        let client = self.client.as_ref().is_none_or(|client| block.clients.contains(&client.encoded()));
        let service =
            self.service.as_ref().is_none_or(|service| block.services.contains(&service_key(service)));
        let member = self.member.as_ref().is_none_or(|member| {
            let member = member.encoded();
            block.clients.iter().chain(&block.services).any(|name| name.starts_with(&member))
        });
        client && service && member
    }

    /// Whether it asks for something that only messages say.
    const fn is_of_messages(&self) -> bool {
        self.client.is_some()
            || self.service.is_some()
            || self.member.is_some()
            || self.role.is_some()
            || self.user_id.is_some()
            || self.issue.is_some()
    }

    /// Whether a record passes, as far as it says itself; `asked` is the request of an outcome.
    fn passes(&self, record: &StoredRecord, asked: Option<&MessageRecord>) -> bool {
        let message = record.record.message().or(asked);
        let of = |matches: &dyn Fn(&MessageRecord) -> bool| message.is_some_and(matches);
        self.in_time(record.time)
            && self.of_kind(record.record.kind())
            && self.message_id.as_ref().is_none_or(|id| record.record.message_id() == Some(id))
            && self.client.as_ref().is_none_or(|client| of(&|m| m.client == *client))
            && self.service.as_ref().is_none_or(|service| of(&|m| m.service == *service))
            && self.member.as_ref().is_none_or(|member| {
                of(&|m| m.client.member() == member || m.service.client().member() == member)
            })
            && self.role.is_none_or(|role| of(&|m| m.role == role))
            && self.user_id.as_ref().is_none_or(|user| of(&|m| m.user_id.as_ref() == Some(user)))
            && self.issue.as_ref().is_none_or(|issue| of(&|m| m.issue.as_ref() == Some(issue)))
            && match (self.state, &record.record) {
                (Some(Condition::Ended(wanted)), Record::Outcome(outcome)) => outcome.outcome == wanted,
                (Some(Condition::Ended(wanted)), Record::Response(_)) => wanted == Outcome::Success,
                (Some(Condition::Ended(_)), _) => false,
                _ => true,
            }
    }
}
