//! What of the index is in memory: the block and the run of records that are not full. When the log is closed in order they
//! are put away as they are, and the next start takes them up.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut};
use cert_authority::crypto::Digest;

use super::{
    super::{
        block::{Block, Times},
        encoding::{Reader, Writer},
        store::{Batch, Store},
    },
    ENTRY, RUN, key, run_key, shard_of,
};

const OPEN: &[u8] = b"mopen";

#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) block: Block,
    /// Of the records since the last full run.
    pub(super) times: Option<Times>,
    /// Hashes of message ids since the last full run, with their numbers.
    pub(super) ids: BTreeSet<([u8; 8], u64)>,
    /// Digests of the signatures of messages without a time-stamp, as far as they are known.
    pub(super) waiting: BTreeMap<u64, Digest>,
    pub(super) failed: Option<String>,
}

impl Open {
    /// Puts the times and the ids of a full run away.
    pub(super) fn end_run(&mut self, batch: &mut Batch) {
        let first = self.next().saturating_sub(RUN);
        if let Some(times) = self.times.take() {
            batch.insert(&key(b't', first), times.encode().to_vec());
        }
        for (shard, entries) in self.shards(first) {
            batch.insert(&run_key(shard, first), entries);
        }
        self.ids.clear();
    }

    /// The ids of the run that begins with `first`, by their shards.
    fn shards(&self, first: u64) -> BTreeMap<u8, Vec<u8>> {
        let mut shards: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (hash, number) in &self.ids {
            let place = u32::try_from(number.saturating_sub(first)).unwrap_or(u32::MAX);
            let shard = shards.entry(shard_of(*hash)).or_default();
            shard.extend_from_slice(hash);
            shard.put_u32(place);
        }
        shards
    }

    /// Puts everything away as it is.
    pub(super) fn put_away(&self, batch: &mut Batch) {
        let first = self.next() - self.next() % RUN;
        for (shard, entries) in self.shards(first) {
            batch.insert(&open_key(shard), [first.to_be_bytes().as_slice(), &entries].concat());
        }
        let mut out = Writer::default();
        out.number(1, Some(self.block.first))
            .bytes(2, &if self.block.len() > 0 { self.block.encode() } else { Vec::new() })
            .bytes(3, &self.times.map(Times::encode).unwrap_or_default())
            .number(4, u64::try_from(self.ids.len()).ok());
        batch.insert(OPEN, out.finish());
    }

    /// What was put away.
    pub(super) fn taken_up(store: &Store) -> Option<Self> {
        let fields = store.get(OPEN).ok()??;
        let mut from = Reader::new(&fields);
        let (first, block, times) = (from.number(1).ok()??, from.bytes(2).ok()?, from.bytes(3).ok()?);
        let count = from.number(4).ok()??;
        let block = if block.is_empty() { Block::new(first) } else { Block::decode(first, block).ok()? };
        let times = if times.is_empty() { None } else { Some(Times::decode(&times).ok()?) };
        let run = block.end() - block.end() % RUN;
        let mut ids = BTreeSet::new();
        for shard in 0..=u8::MAX {
            // Of a run before, when no id of this one was in the shard.
            let Some(mut entries) = store.get(&open_key(shard)).ok()? else { continue };
            if entries.try_get_u64().ok()? == run {
                let (entries, _) = entries.as_chunks::<ENTRY>();
                ids.extend(entries.iter().filter_map(|entry| {
                    let place = entry.last_chunk().copied().map(u32::from_be_bytes)?;
                    Some((*entry.first_chunk()?, run.saturating_add(u64::from(place))))
                }));
            }
        }
        let whole = u64::try_from(ids.len()) == Ok(count);
        whole.then(|| Self { block, times, ids, ..Self::default() })
    }

    /// The number after the last one known.
    pub(super) fn next(&self) -> u64 {
        self.block.end()
    }
}

const fn open_key(shard: u8) -> [u8; 2] {
    [b'r', shard]
}
