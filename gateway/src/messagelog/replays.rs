//! Requests that were seen before: the same client, message id and signature, byte for byte. TLS lets nobody repeat what
//! others have sent; the peer itself, or whoever has its key, could.
//!
//! ```text
//! verified request ─► under way? ─► filter: its id may be known? ─no─► new
//!                        │                    └─maybe─► log: a request of this client, id and signature? ─► replayed
//!                        └─► replayed
//! ```
//! The log is what remembers, over restarts and for all nodes of a database: a request that was served is in it, with its
//! signature. The filter only spares looking: it holds hashes of the message ids logged within the window, and is wrong in
//! one direction only. After a start it is filled beside the work; until then, and always in a database, which other nodes write
//! too, each id is looked for. Two nodes that get the same
//! request in the same moment may both serve it: each sees the other's record only once it is there.
//!
//! Memory: five filters of 4 MiB, for a quarter of the window each, whatever the traffic; beyond some ten million messages
//! in a window more of them are looked for in the log than need be. Beside that 200 bytes for each request under way.
//!
//! A request with the same id and another signature is a lawful retry; it passes, and is told.
//!
//! Specification: THREATS T08; XROAD-FACTS 7 no. 8. # Compatibility: X-Road serves a request as often as it comes.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::UnixTime,
    crypto::{Digest, Hasher},
};
use conf::identifier::ClientId;

use super::{
    body::blocking,
    error::LogError,
    index::id_hash,
    reader::Reader,
    record::{MessageRecord, Record, Role},
    service::MessageLog,
    stamp::{RecentSignatures, signature_digest},
};

/// What is done about a request that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// It is told, and served.
    Warn,
    /// It is refused.
    Reject,
}

/// How replays are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What is done; `None` for not even looking.
    pub handling: Option<Handling>,
    /// For how long a request is remembered.
    pub window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { handling: Some(Handling::Reject), window: Duration::from_secs(24 * 3600) }
    }
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It was seen before.
    #[error("the request was received before")]
    Replayed,
    /// Whether it was cannot be found out.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The requests that were seen.
pub struct Replays {
    settings: Settings,
    log: Reader,
    signatures: Arc<RecentSignatures>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    under_way: HashSet<Digest>,
    /// Newest last.
    filters: VecDeque<Filter>,
    /// Whether they hold all of the window; where they do not, every id is looked for.
    complete: bool,
}

/// A request that is let in: held until it is logged.
#[derive(Debug)]
pub struct Entered {
    seen: Arc<Mutex<Seen>>,
    request: Option<Digest>,
    id: [u8; 8],
    at: UnixTime,
    period: Duration,
}

impl Replays {
    /// What the log holds. Every id is looked for in it until [`Self::catch_up`] was called.
    pub fn new(settings: Settings, log: &MessageLog) -> Self {
        let (log, signatures) = (log.reader(), log.recent_signatures());
        Self { settings, log, signatures, seen: Arc::default() }
    }

    /// Takes the ids in that the log holds of the window that ends `now`. Blocks while it reads; requests can be let in
    /// meanwhile.
    ///
    /// # Errors
    /// [`LogError`] when the log cannot be read.
    pub fn catch_up(&self, now: UnixTime) -> Result<(), LogError> {
        if self.settings.handling.is_none() {
            return Ok(());
        }
        // What is logged from here on is remembered by whoever logs it.
        lock(&self.seen).begin(now);
        let ids = self.log.message_ids_since(now - self.settings.window)?;
        let logged = ids.map(|ids| {
            let mut filter = Filter::new(now);
            ids.iter().for_each(|id| filter.insert(*id));
            filter
        });
        lock(&self.seen).complete(logged);
        Ok(())
    }

    /// Lets a verified request in that was not seen before, or is to be told of only.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub async fn enter(
        &self,
        client: &ClientId,
        message_id: &str,
        signature: &Bytes,
        now: UnixTime,
    ) -> Result<Entered, ReplayError> {
        let (id, period) = (id_hash(message_id), self.settings.window / QUARTERS);
        let mut entered = Entered { seen: Arc::clone(&self.seen), request: None, id, at: now, period };
        let Some(handling) = self.settings.handling else { return Ok(entered) };
        let signature = self.signatures.digest(signature);
        let request = name(client, message_id, &signature);
        let is_known = {
            let mut seen = lock(&self.seen);
            if seen.under_way.insert(request) {
                entered.request = Some(request);
                seen.may_know(id)
            } else {
                drop(seen);
                return self.replayed(handling, client).map(|()| entered);
            }
        };
        if is_known && self.is_logged(client, message_id, signature, now).await? {
            self.replayed(handling, client)?;
        }
        Ok(entered)
    }

    fn replayed(&self, handling: Handling, client: &ClientId) -> Result<(), ReplayError> {
        metrics::counter!("passerelle_replayed_requests_total").increment(1);
        match handling {
            Handling::Reject => Err(ReplayError::Replayed),
            Handling::Warn => {
                tracing::warn!(%client, "a request that was received before is served again");
                Ok(())
            }
        }
    }

    async fn is_logged(
        &self,
        client: &ClientId,
        message_id: &str,
        signature: Digest,
        now: UnixTime,
    ) -> Result<bool, LogError> {
        let (log, since) = (self.log.clone(), now - self.settings.window);
        let (client, message_id) = (client.clone(), message_id.to_owned());
        let (same, others) = blocking(log.work(), move || {
            let found = match log.by_message_id(&message_id) {
                // Whoever removes messages from the log within the window forgets them.
                Err(LogError::Removed { .. }) => Vec::new(),
                found => found?,
            };
            let requests = found.iter().filter(|stored| stored.time >= since);
            let requests = requests.filter_map(|stored| received(&stored.record));
            let same_id: Vec<&MessageRecord> = requests.filter(|record| record.client == client).collect();
            let is_same = |record: &&&MessageRecord| signature_digest(&record.signature) == signature;
            Ok((same_id.iter().any(|record| is_same(&record)), same_id.len()))
        })
        .await?;
        if !same && others > 0 {
            metrics::counter!("passerelle_repeated_requests_total").increment(1);
            tracing::info!("a request has the id of an earlier one, signed anew");
        }
        Ok(same)
    }
}

/// A request that was served here.
fn received(record: &Record) -> Option<&MessageRecord> {
    match record {
        Record::Request(message) if message.role == Role::Provider => Some(message),
        _ => None,
    }
}

fn name(client: &ClientId, message_id: &str, signature: &Digest) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    for text in [client.encoded().as_bytes(), message_id.as_bytes(), signature.as_ref()] {
        hasher.update(&text.len().to_be_bytes());
        hasher.update(text);
    }
    hasher.finish()
}

impl Entered {
    /// It is in the log now, and remembered.
    pub fn logged(self) {
        if self.request.is_some() {
            lock(&self.seen).remember(self.id, self.at, self.period);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(request) = &self.request {
            lock(&self.seen).under_way.remove(request);
        }
    }
}

impl Seen {
    fn may_know(&self, id: [u8; 8]) -> bool {
        !self.complete || self.filters.iter().any(|filter| filter.may_hold(id))
    }

    /// From now on ids are remembered.
    fn begin(&mut self, now: UnixTime) {
        self.filters.push_back(Filter::new(now));
    }

    /// What was logged before is known now, or cannot be: then nothing is remembered either.
    fn complete(&mut self, logged: Option<Filter>) {
        self.complete = logged.is_some();
        match logged {
            Some(logged) => self.filters.push_front(logged),
            None => self.filters.clear(),
        }
    }

    /// Filters that began before the whole window and a quarter of it hold nothing that counts.
    fn remember(&mut self, id: [u8; 8], now: UnixTime, period: Duration) {
        let Some(newest) = self.filters.back_mut() else { return };
        if newest.began + period >= now {
            return newest.insert(id);
        }
        let mut newest = Filter::new(now);
        newest.insert(id);
        self.filters.push_back(newest);
        while self.filters.len() > usize::try_from(QUARTERS).unwrap_or(4) + 1 {
            self.filters.pop_front();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Into how many parts the window is cut.
const QUARTERS: u32 = 4;
/// Bits of a filter, a power of two.
const BITS: u64 = 1 << 25;
/// Bits set for one id.
const PLACES: u64 = 4;

/// A Bloom filter over hashes of message ids.
#[derive(Debug)]
struct Filter {
    began: UnixTime,
    words: Vec<u64>,
}

impl Filter {
    fn new(began: UnixTime) -> Self {
        Self { began, words: vec![0; usize::try_from(BITS / 64).unwrap_or(0)] }
    }

    fn insert(&mut self, id: [u8; 8]) {
        for (word, bit) in places(id) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    fn may_hold(&self, id: [u8; 8]) -> bool {
        places(id).all(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }
}

/// The hash is uniform already: two halves of it make as many places as are wanted.
fn places(id: [u8; 8]) -> impl Iterator<Item = (usize, u64)> {
    let hash = u64::from_be_bytes(id);
    let (one, other) = (hash >> 32, hash & 0xffff_ffff | 1);
    (0..PLACES).map(move |n| {
        let bit = one.wrapping_add(n.wrapping_mul(other)) % BITS;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_what_was_put_into_it_and_little_else() {
        let mut filter = Filter::new(UnixTime::default());
        let id = |n: u32| id_hash(&n.to_string());
        (0..200_000).for_each(|n| filter.insert(id(n)));
        assert!((0..200_000).all(|n| filter.may_hold(id(n))));
        let wrong = (200_000..400_000).filter(|n| filter.may_hold(id(*n))).count();
        assert!(wrong < 200, "{wrong} of 200,000");
    }

    #[test]
    fn an_id_is_remembered_for_a_window_and_forgotten_after_it_and_a_quarter() {
        let mut seen = Seen { complete: true, ..Seen::default() };
        let (hour, id) = (Duration::from_secs(3600), id_hash);
        let at = |n: u64| UnixTime::from_secs(0) + hour * u32::try_from(n).unwrap();
        seen.begin(at(0));
        seen.remember(id("first"), at(0), hour * 6);
        for n in 1..24 {
            seen.remember(id(&n.to_string()), at(n), hour * 6);
            assert!(seen.may_know(id("first")), "after {n} hours");
        }
        for n in 24..40 {
            seen.remember(id(&n.to_string()), at(n), hour * 6);
        }
        assert!(!seen.may_know(id("first")));
        assert!(seen.filters.len() <= 5);
    }
}
