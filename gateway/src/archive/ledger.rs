//! What is archived, as the log itself tells: the records of archives that were announced, and that are in place.
//!
//! ```text
//! build the file ──► announce it (a record) ──► put it into its place ──► note that (a record)
//! died before:        nothing has happened        is it there? then it is noted now; else it is built anew
//! ```
//! So each message is in exactly one archive that counts, whenever the program dies, and whichever node goes on.
//!
//! Not here: doing it ([`super::archiver`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::linking::Link;
use crate::messagelog::{
    LogError, Record,
    reader::{Filter, Order, Reader},
    record::{ArchiveRecord, Kind},
};

/// Records that are read at once.
const PAGE: usize = 64;

/// What is archived.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// The log is taken in below this number.
    read_below: u64,
    complete_below: u64,
    /// What is archived beyond that.
    archived: BTreeSet<u64>,
    heads: HashMap<Option<String>, Link>,
    announced: BTreeMap<u64, ArchiveRecord>,
}

impl Ledger {
    /// Takes in what the log says since the last time. Blocks while it reads.
    ///
    /// # Errors
    /// Those of the log.
    pub fn refresh(&mut self, reader: &Reader) -> Result<(), LogError> {
        let end = reader.len();
        let filter = Filter { kinds: vec![Kind::Archive], ..Filter::default() };
        loop {
            let cursor = self.read_below.checked_sub(1);
            let found = reader.find(&filter, Order::OldestFirst, cursor, PAGE)?;
            let full = found.len() == PAGE;
            for stored in found {
                self.read_below = stored.sequence.saturating_add(1);
                if let Record::Archive(archive) = stored.record {
                    self.apply(stored.sequence, archive);
                }
            }
            if !full {
                self.read_below = self.read_below.max(end);
                return Ok(());
            }
        }
    }

    fn apply(&mut self, sequence: u64, archive: ArchiveRecord) {
        let Some(begun) = archive.begun else {
            self.announced.insert(sequence, archive);
            return;
        };
        // Whatever else was announced for the same messages was not put into its place, or is not to count.
        self.announced.remove(&begun);
        let taken: BTreeSet<u64> = archive.records.iter().copied().collect();
        self.announced.retain(|_, other| !other.records.iter().any(|number| taken.contains(number)));
        self.archived.extend(taken);
        if archive.complete_below > self.complete_below {
            self.complete_below = archive.complete_below;
            self.archived = self.archived.split_off(&self.complete_below);
        }
        let link = Link { digest: archive.digest.hex(), file: archive.file };
        self.heads.insert(archive.group, link);
    }

    /// Whether a message is archived, or cannot be any more.
    pub fn holds(&self, sequence: u64) -> bool {
        sequence < self.complete_below || self.archived.contains(&sequence)
    }

    /// Below this number everything is archived, or cannot be any more.
    pub const fn complete_below(&self) -> u64 {
        self.complete_below
    }

    /// The archive that the next one of a group goes on after.
    pub fn head(&self, group: Option<&str>) -> Option<&Link> {
        self.heads.get(&group.map(str::to_owned))
    }

    /// Archives that were announced and of which it is not known whether they are in their place, the first one first.
    pub fn announced(&self) -> impl Iterator<Item = (u64, &ArchiveRecord)> {
        self.announced.iter().map(|(sequence, archive)| (*sequence, archive))
    }
}

#[cfg(test)]
mod tests {
    use cert_authority::{algorithm::DigestAlgorithm, crypto::digest};

    use super::*;

    fn archive(file: &str, begun: Option<u64>, below: u64, records: &[u64]) -> ArchiveRecord {
        let some = digest(DigestAlgorithm::Sha512, file.as_bytes());
        ArchiveRecord {
            file: file.to_owned(),
            group: None,
            begun,
            previous: None,
            digest: some,
            hash: some,
            length: 1,
            complete_below: below,
            records: records.to_vec(),
        }
    }

    #[test]
    fn only_what_is_in_its_place_is_archived() {
        let mut ledger = Ledger::default();
        ledger.apply(10, archive("a", None, 0, &[1, 2]));
        assert!(!ledger.holds(1) && ledger.head(None).is_none());
        ledger.apply(11, archive("a", Some(10), 0, &[1, 2]));
        assert!(ledger.holds(1) && ledger.holds(2) && !ledger.holds(3));
        assert_eq!(ledger.head(None).unwrap().file, "a");
        assert_eq!(ledger.announced().count(), 0);
    }

    #[test]
    fn of_two_announcements_of_the_same_messages_one_counts() {
        let mut ledger = Ledger::default();
        ledger.apply(10, archive("a", None, 0, &[1, 2]));
        ledger.apply(12, archive("b", None, 0, &[1]));
        ledger.apply(13, archive("c", None, 0, &[7]));
        ledger.apply(14, archive("b", Some(12), 0, &[1]));
        assert_eq!(ledger.announced().map(|(n, _)| n).collect::<Vec<_>>(), [13]);
        assert!(ledger.holds(1) && !ledger.holds(2), "what only the other one held is archived anew");
    }

    #[test]
    fn numbers_below_the_mark_take_no_room() {
        let mut ledger = Ledger::default();
        ledger.apply(1, archive("a", Some(0), 0, &(2..1000).collect::<Vec<_>>()));
        ledger.apply(2, archive("b", Some(0), 1000, &[1001]));
        assert_eq!((ledger.archived.len(), ledger.complete_below()), (1, 1000));
        assert!(ledger.holds(0) && ledger.holds(999) && !ledger.holds(1000) && ledger.holds(1001));
    }
}
