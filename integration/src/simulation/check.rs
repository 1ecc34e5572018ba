//! Whether every promise was kept, by what the logs say once all trouble is over.
//!
//! - each answered exchange: one request and one answer on both sides, the same bytes, signed, with their bodies
//! - the provider has no request that the consumer has not, and the consumer no answer that the provider has not
//! - the service was called with what stands in the provider's log, on the record that it was told
//! - numbers are dense; each checkpoint that was ever made is over the beginning of the log as it is
//! - every message that was said to be stamped is, and none is stamped twice

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use gateway::evidence::signature::TrustCache;
use gateway::messagelog::reader::{Reader, StoredRecord};
use gateway::messagelog::tree::Tree;
use gateway::messagelog::{LogError, MessageRecord, Record};

use super::executor::Sim;
use super::ground::{Ground, Side};
use super::ledger::{Answered, Ledger};
use crate::ledger::Findings;

/// A log, read.
struct Log {
    side: Side,
    reader: Reader,
    records: Vec<StoredRecord>,
}

/// Looks at both logs; whatever is wrong is noted.
pub(super) fn check(sim: &Sim, ground: &Ground, ledger: &Ledger, readers: [Reader; 2], signatures: bool) {
    let mut logs = Vec::new();
    for (side, reader) in Side::BOTH.into_iter().zip(readers) {
        let records = (0..reader.len()).map(|number| reader.get(number)).collect::<Result<Vec<_>, _>>();
        match records {
            Ok(records) => logs.push(Log { side, reader, records: records.into_iter().flatten().collect() }),
            Err(error) => return sim.wrong(format!("{}: the log cannot be read: {error}", side.name())),
        }
    }
    let [consumer, provider] = logs.as_slice() else { return };
    for log in [consumer, provider] {
        log.tree(sim, ledger);
        log.stamps(sim, ledger);
    }
    both(sim, consumer, provider);
    for answered in ledger.all_answered() {
        let found = [consumer, provider].map(|log| log.evidence(sim, &answered));
        let [Some(one), Some(other)] = found else { continue };
        for (ours, theirs) in one.iter().zip(&other) {
            if !same(ours, theirs) {
                sim.wrong(format!("{}: the two sides have different evidence", answered.message_id));
            }
        }
        if signatures {
            verify(sim, ground, &answered, [consumer, provider]);
        }
    }
    for served in ledger.all_served() {
        let request = provider.records.get(usize::try_from(served.sequence).unwrap_or(usize::MAX));
        let is_it = |record: &&StoredRecord| matches!(&record.record, Record::Request(message) if message.request_id == served.request_id);
        match request.filter(is_it) {
            None => {
                sim.wrong(format!("the service was called with {}, which is not logged", served.request_id))
            }
            Some(record) => provider.body(sim, record, &served.body),
        }
    }
}

fn verify(sim: &Sim, ground: &Ground, answered: &Answered, logs: [&Log; 2]) {
    let mut findings = Findings::default();
    let trust = TrustCache::default();
    for log in logs {
        let records: Vec<StoredRecord> = log
            .messages()
            .filter(|(_, message)| message.request_id == answered.request_id)
            .map(|(r, _)| r.clone())
            .collect();
        findings.exchange(log.side.name(), &answered.message_id, &records, &ground.global, &trust);
    }
    findings.missing.into_iter().for_each(|finding| sim.wrong(finding));
}

/// What one side has, the other has too.
fn both(sim: &Sim, consumer: &Log, provider: &Log) {
    let known = |log: &Log, requests: bool| -> BTreeMap<String, Bytes> {
        let of_kind =
            log.messages().filter(|(record, _)| matches!(record.record, Record::Request(_)) == requests);
        of_kind.map(|(_, message)| (message.request_id.clone(), message.signature.clone())).collect()
    };
    for (requests, from, has) in [(true, provider, consumer), (false, consumer, provider)] {
        let theirs = known(has, requests);
        for (id, signature) in known(from, requests) {
            if theirs.get(&id) != Some(&signature) {
                let (from, has) = (from.side.name(), has.side.name());
                sim.wrong(format!("the {from} has {id}, the {has} has not"));
            }
        }
    }
}

fn same(ours: &StoredRecord, theirs: &StoredRecord) -> bool {
    let digests = |message: &MessageRecord| -> Vec<_> {
        message.parts.iter().map(|part| (part.length, part.digest)).collect()
    };
    match (ours.record.message(), theirs.record.message()) {
        (Some(ours), Some(theirs)) => {
            ours.signature == theirs.signature
                && ours.hash_chain == theirs.hash_chain
                && ours.hash_chain_result == theirs.hash_chain_result
                && digests(ours) == digests(theirs)
        }
        _ => false,
    }
}

impl Log {
    fn messages(&self) -> impl Iterator<Item = (&StoredRecord, &MessageRecord)> {
        self.records.iter().filter_map(|record| Some((record, record.record.message()?)))
    }

    /// The one request and the one answer of an exchange.
    fn evidence(&self, sim: &Sim, answered: &Answered) -> Option<[StoredRecord; 2]> {
        let mut found = self.messages().filter(|(_, message)| message.request_id == answered.request_id);
        let (request, answer, none) = (found.next(), found.next(), found.next());
        let (Some((request, _)), Some((answer, message)), None) = (request, answer, none) else {
            sim.wrong(format!("{} {}: not two records", self.side.name(), answered.message_id));
            return None;
        };
        let is_pair = matches!((&request.record, &answer.record), (Record::Request(_), Record::Response(_)));
        if !is_pair || message.request != Some(request.sequence) || message.message_id != answered.message_id
        {
            sim.wrong(format!("{} {}: not a request and its answer", self.side.name(), answered.message_id));
        }
        self.body(sim, request, &answered.asked);
        self.body(sim, answer, &answered.answer);
        match self.reader.by_message_id(&answered.message_id) {
            Ok(found) if found.contains(request) && found.contains(answer) => {}
            _ => sim.wrong(format!("{} {}: not found by its id", self.side.name(), answered.message_id)),
        }
        Some([request.clone(), answer.clone()])
    }

    fn body(&self, sim: &Sim, record: &StoredRecord, expected: &Bytes) {
        let read = || -> Result<Option<Bytes>, LogError> {
            let body = self.reader.bodies(record)?.into_iter().nth(1).flatten();
            body.map(|body| body.read()).transpose()
        };
        match read() {
            Ok(found) if found.as_ref().unwrap_or(&Bytes::new()) == expected => {}
            Ok(_) => sim.wrong(format!("{} {}: another body", self.side.name(), record.sequence)),
            Err(error) => sim.wrong(format!("{} {}: no body: {error}", self.side.name(), record.sequence)),
        }
    }

    fn tree(&self, sim: &Sim, ledger: &Ledger) {
        let mut checkpoints = ledger.promised(self.side).checkpoints;
        let mut tree = Tree::default();
        for (number, record) in (0_u64..).zip(&self.records) {
            if record.sequence != number {
                sim.wrong(format!("{}: {number} is {}", self.side.name(), record.sequence));
            }
            tree.push(record.leaf);
            if checkpoints.remove(&tree.size()).is_some_and(|root| root != tree.root()) {
                sim.wrong(format!("{}: another history of {} records", self.side.name(), tree.size()));
            }
        }
        if let Some((size, _)) = checkpoints.first_key_value() {
            sim.wrong(format!("{}: {} records, a checkpoint over {size}", self.side.name(), tree.size()));
        }
        if tree != self.reader.tree() {
            sim.wrong(format!("{}: the tree is not that of the records", self.side.name()));
        }
    }

    fn stamps(&self, sim: &Sim, ledger: &Ledger) {
        let mut stamped = BTreeSet::new();
        for record in &self.records {
            let Record::Timestamp(stamp) = &record.record else { continue };
            for (number, _) in &stamp.covered {
                if !stamped.insert(*number) {
                    sim.wrong(format!("{}: {number} is stamped twice", self.side.name()));
                }
            }
        }
        let promised = ledger.promised(self.side).stamped;
        for (record, _) in self.messages().filter(|(record, _)| record.sequence < promised) {
            if !stamped.contains(&record.sequence) {
                sim.wrong(format!("{}: {} lost its time-stamp", self.side.name(), record.sequence));
            }
        }
    }
}
