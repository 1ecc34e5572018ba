//! Which data keys the messages of a log are sealed with, and what has become of each: a key that is gone takes its bodies
//! with it, and that is right only when a record says that it was destroyed.
//!
//! ```text
//! each message   the key's first use; once it is at hand: does it open what is sealed with it?
//! each record    that destroys a key, which it names
//! the end        gone and not named, or damaged and not named: found at the first message that was sealed with it
//! ```
//! Not here: the bodies themselves, whose digests stand in the records ([`super::verify`]).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    beside::Beside,
    body,
    erase::destroyed,
    error::{Finding, Flaw, LogError},
    key::{DataKey, Kek, can_be_wrapped, check_id},
    record::{Part, Record},
    tree::Hash,
};

/// The data keys that lie beside a log, for its checker.
pub(crate) struct Keys<'a> {
    beside: &'a dyn Beside,
    /// Those that were there before the first record was read: one of them that goes meanwhile is named by a record that
    /// comes meanwhile.
    before: BTreeSet<String>,
    kek: Option<Kek>,
}

/// What a key is found to be.
enum State {
    Gone,
    Damaged,
    /// It can be a key; opened where the key-encryption key is at hand.
    There(Option<DataKey>),
}

impl<'a> Keys<'a> {
    /// `before` are those that are there before the log is read; `kek` opens them.
    pub(crate) const fn new(beside: &'a dyn Beside, before: BTreeSet<String>, kek: Option<Kek>) -> Self {
        Self { beside, before, kek }
    }

    fn state(&self, id: &str) -> Result<State, LogError> {
        if check_id(id).is_err() {
            return Ok(State::Gone);
        }
        let Some(wrapped) = self.beside.key(id)? else { return Ok(State::Gone) };
        Ok(match &self.kek {
            _ if !can_be_wrapped(&wrapped) => State::Damaged,
            None => State::There(None),
            Some(kek) => kek.unwrap(id, &wrapped).map_or(State::Damaged, |key| State::There(Some(key))),
        })
    }
}

/// Where a record stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
}

impl At {
    const fn found(self, flaw: Flaw) -> Finding {
        Finding { segment: self.segment, offset: self.offset, sequence: self.sequence, flaw }
    }
}

/// What was found of the keys.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Keys that messages are sealed with, and that are there.
    pub(crate) there: u64,
    /// Keys that messages were sealed with, and that records say were destroyed.
    pub(crate) destroyed: u64,
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
}

/// Follows the uses of the keys through a log.
#[derive(Default)]
pub(crate) struct KeyUses {
    uses: BTreeMap<String, Use>,
    destroyed: BTreeSet<String>,
}

struct Use {
    first: At,
    /// Where the key was found not to open what is sealed with it.
    wrong: Option<At>,
    /// Nothing more is to be learnt of it.
    known: bool,
}

impl KeyUses {
    /// Takes in a record; `blobs` are the bodies beside it that are what their hashes say.
    pub(crate) fn take(
        &mut self,
        keys: &Keys<'_>,
        place: At,
        record: &Record,
        blobs: &[(Hash, Bytes)],
    ) -> Result<(), LogError> {
        if let Record::Access(access) = record {
            self.destroyed.extend(destroyed(access).map(str::to_owned));
        }
        let parts = record.message().map(|message| message.parts.as_slice()).unwrap_or_default();
        parts.iter().try_for_each(|part| self.part(keys, place, part, blobs))
    }

    fn part(
        &mut self,
        keys: &Keys<'_>,
        place: At,
        part: &Part,
        blobs: &[(Hash, Bytes)],
    ) -> Result<(), LogError> {
        let Some(stored) = &part.stored else { return Ok(()) };
        if !self.uses.contains_key(&stored.key) {
            let known = keys.kek.is_none();
            self.uses.insert(stored.key.clone(), Use { first: place, wrong: None, known });
        }
        let Some(of) = self.uses.get_mut(&stored.key).filter(|of| !of.known) else { return Ok(()) };
        let Some((_, sealed)) = blobs.iter().find(|(hash, _)| *hash == stored.ciphertext) else {
            return Ok(());
        };
        of.known = true;
        // That it is gone or damaged is told at its first use.
        if let State::There(Some(key)) = keys.state(&stored.key)?
            && !body::opens(key, sealed, part.length)
        {
            of.wrong = Some(place);
        }
        Ok(())
    }

    /// What has become of the keys; `end` is the place behind the last record.
    pub(crate) fn end(self, keys: &Keys<'_>, end: At) -> Result<Judged, LogError> {
        let mut judged = Judged::default();
        for (id, of) in &self.uses {
            if self.destroyed.contains(id) {
                judged.destroyed = judged.destroyed.saturating_add(1);
                continue;
            }
            let finding = match keys.state(id)? {
                State::Gone if !keys.before.contains(id) => Some(of.first.found(Flaw::KeyGone)),
                State::Damaged => Some(of.first.found(Flaw::Key)),
                State::There(_) => of.wrong.map(|place| place.found(Flaw::Key)),
                State::Gone => None,
            };
            match finding {
                Some(finding) => judged.findings.push(finding),
                None => judged.there = judged.there.saturating_add(1),
            }
        }
        let unused = keys.before.iter().filter(|id| !self.uses.contains_key(*id) && check_id(id).is_ok());
        for id in unused.filter(|id| !self.destroyed.contains(*id)) {
            if matches!(keys.state(id)?, State::Damaged) {
                // Bodies that are to come cannot be sealed with it.
                judged.findings.push(end.found(Flaw::Key));
            }
        }
        Ok(judged)
    }
}
