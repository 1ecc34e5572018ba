//! What is known outside the gateways and their disks: what was answered, what the service did, what was promised.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;

use super::executor::{Sim, locked};
use super::ground::Side;

/// The hash of a tree.
pub(super) type Root = [u8; 32];

/// An exchange whose answer an information system has whole.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) message_id: String,
    pub(super) request_id: String,
    pub(super) asked: Bytes,
    pub(super) answer: Bytes,
}

/// A request that the service was called with.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) request_id: String,
    /// The number of the record that it was called on.
    pub(super) sequence: u64,
    pub(super) body: Bytes,
}

/// What was promised by the gateway of one side.
#[derive(Debug, Clone, Default)]
pub(super) struct Promised {
    /// Every message below this number has its time-stamp.
    pub(super) stamped: u64,
    /// Roots of the tree, by the number of records that they are over.
    pub(super) checkpoints: BTreeMap<u64, Root>,
}

/// The ledger.
pub(super) struct Ledger {
    sim: Sim,
    answered: Mutex<Vec<Answered>>,
    served: Mutex<BTreeMap<String, Served>>,
    promised: [Mutex<Promised>; 2],
}

/// What the service answers.
pub(super) fn answer_to(body: &[u8]) -> Bytes {
    let mut answer = BytesMut::from(digest(DigestAlgorithm::Sha256, body).hex().as_bytes());
    answer.extend(body.iter().rev());
    answer.freeze()
}

impl Ledger {
    pub(super) fn new(sim: &Sim) -> Self {
        Self {
            sim: sim.clone(),
            answered: Mutex::default(),
            served: Mutex::default(),
            promised: [Mutex::default(), Mutex::default()],
        }
    }

    /// An information system has an answer; it must be the right one.
    pub(super) fn answered(&self, answered: Answered) {
        if answered.answer != answer_to(&answered.asked) {
            self.sim.wrong(format!("{} got another answer", answered.message_id));
        }
        locked(&self.answered).push(answered);
    }

    /// The service is called: with one and the same signed message never again.
    pub(super) fn served(&self, request_id: &str, sequence: u64, body: &[u8]) {
        let body = Bytes::copy_from_slice(body);
        let served = Served { request_id: request_id.to_owned(), sequence, body };
        if locked(&self.served).insert(request_id.to_owned(), served).is_some() {
            self.sim.wrong(format!("the service was called twice with {request_id}"));
        }
    }

    /// Every message below this number was said to be stamped.
    pub(super) fn stamped(&self, side: Side, below: u64) {
        let mut promised = locked(self.of(side));
        promised.stamped = promised.stamped.max(below);
    }

    /// A checkpoint was made.
    pub(super) fn checkpoint(&self, side: Side, size: u64, root: Root) {
        let before = locked(self.of(side)).checkpoints.insert(size, root);
        if before.is_some_and(|before| before != root) {
            self.sim.wrong(format!("{}: two checkpoints over {size} records", side.name()));
        }
    }

    pub(super) fn all_answered(&self) -> Vec<Answered> {
        locked(&self.answered).clone()
    }

    pub(super) fn all_served(&self) -> Vec<Served> {
        locked(&self.served).values().cloned().collect()
    }

    pub(super) fn promised(&self, side: Side) -> Promised {
        locked(self.of(side)).clone()
    }

    const fn of(&self, side: Side) -> &Mutex<Promised> {
        let [consumer, provider] = &self.promised;
        match side {
            Side::Consumer => consumer,
            Side::Provider => provider,
        }
    }
}
