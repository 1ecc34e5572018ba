//! What the log says of its archives: which records went into which file, announced before the file gets its name and
//! noted again when it is in its place.
//!
//! Not here: the files themselves; the log knows them by name and digest only.

use cert_authority::crypto::Digest;

use super::super::encoding::{Reader, Unreadable, Writer};

/// A file of archived messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRecord {
    /// Its name.
    pub file: String,
    /// The member or subsystem whose messages it holds; none when all are archived together.
    pub group: Option<String>,
    /// The number of the record that announced it. None: this one announces it.
    pub begun: Option<u64>,
    /// The archive of the group before it: name, and last digest of its chain.
    pub previous: Option<(String, Digest)>,
    /// The last digest of its own chain.
    pub digest: Digest,
    /// SHA-256 of the file.
    pub hash: Digest,
    /// Its length.
    pub length: u64,
    /// Below this number every message was archived before, or cannot be any more.
    pub complete_below: u64,
    /// The messages in it, in the order of the file.
    pub records: Vec<u64>,
}

impl ArchiveRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        let (previous, digest) = self.previous.as_ref().map(|(file, digest)| (file, digest)).unzip();
        out.text(1, &self.file)
            .maybe_text(2, self.group.as_deref())
            .number(3, self.begun)
            .maybe_text(4, previous.map(String::as_str))
            .digest(5, digest)
            .digest(6, Some(&self.digest))
            .digest(7, Some(&self.hash))
            .number(8, Some(self.length))
            .number(9, Some(self.complete_below))
            .list(10, self.records.iter().map(|number| number.to_be_bytes()));
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            file: from.text(1)?,
            group: from.maybe_text(2)?,
            begun: from.number(3)?,
            previous: match (from.maybe_text(4)?, from.digest(5)?) {
                (Some(file), Some(digest)) => Some((file, digest)),
                (None, None) => None,
                _ => return Err(Unreadable),
            },
            digest: from.digest(6)?.ok_or(Unreadable)?,
            hash: from.digest(7)?.ok_or(Unreadable)?,
            length: from.number(8)?.ok_or(Unreadable)?,
            complete_below: from.number(9)?.ok_or(Unreadable)?,
            records: from.numbers(10)?,
        })
    }
}
