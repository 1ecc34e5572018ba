//! What can go wrong in the message log.
//!
//! Not here: X-Road's codes for it (`exchange/fault_map.rs`).

use std::io;

/// Why the log did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A write or sync failed earlier: what the disk holds is not known, so nothing is accepted until the
    /// next start, which finds out.
    #[error("the message log has stopped: {0}")]
    Stopped(String),
    /// No room on the disk, or less than the reserve. Ends by itself when space returns.
    #[error("no space for the message log: {0}")]
    NoSpace(String),
    /// The bodies in flight are more than the quota allows. Ends by itself.
    #[error("the bodies in flight take more than {0} bytes")]
    Quota(u64),
    /// Time-stamping has failed for longer than is acceptable. Ends with the next time-stamp.
    #[error("no time-stamp could be had since {since}")]
    Timestamping {
        /// When the oldest message that has no time-stamp was logged, RFC 3339.
        since: String,
    },
    /// A message that was to have its time-stamp before it is answered got none. It is logged, and stamped later.
    #[error("the message could not be time-stamped at once: {0}")]
    Unstamped(String),
    /// Another node has done this meanwhile, or leads now.
    #[error("another node of the message log leads now")]
    Overtaken,
    /// The directory holds no log, and one is expected there.
    #[error("{0} holds no message log")]
    Missing(String),
    /// The directory holds a log or something else, and shall get a new one.
    #[error("{0} is not empty")]
    NotEmpty(String),
    /// The log was moved elsewhere: what is left of it here must not be written any more.
    #[error("the message log in {0} was moved elsewhere (log migrate)")]
    Moved(&'static str),
    /// Another process has the log open.
    #[error("the message log is in use by another process")]
    Locked,
    /// Something that was durable once is not what it was: the log was changed, or the disk is failing.
    #[error("the message log is damaged: {0}")]
    Damaged(Finding),
    /// The record was removed when the log was cleaned; its leaf is kept.
    #[error(
        "record {sequence} was removed from the log, which keeps its hash; record {noted} says by whom and why"
    )]
    Removed {
        /// Its number.
        sequence: u64,
        /// The number of the record that says so.
        noted: u64,
    },
    /// The index knows records that the segments do not hold: the log was cut off or rolled back.
    #[error("the message log ends before record {found}; the index knows {expected} records")]
    CutOff {
        /// How many records the index knows.
        expected: u64,
        /// How many the segments hold.
        found: u64,
    },
    /// The key of the body was destroyed, or is not the one it was sealed with.
    #[error("the key {0} of the body is not there")]
    KeyGone(String),
    /// The key-encryption key or a data key cannot be used.
    #[error("the key of the message log cannot be used: {0}")]
    Key(String),
    /// A body is not what was sealed.
    #[error("the body was changed: {0}")]
    Body(&'static str),
    /// The record that was given cannot be logged.
    #[error("the record cannot be logged: {0}")]
    Record(&'static str),
    /// The index failed. It can be removed: the next start builds it anew.
    #[error("the index of the message log failed: {0}")]
    Index(String),
    /// The system refused; nothing was promised.
    #[error("{what}: {reason}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        reason: String,
    },
}

impl LogError {
    /// An error of the system; a full disk is told apart.
    pub(crate) fn io(what: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace(what.to_owned()),
            _ => Self::Io { what, reason: error.to_string() },
        }
    }
}

/// One thing that is wrong in the bytes of the log, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment}, offset {offset}, record {sequence}: {flaw}")]
pub struct Finding {
    /// Number of the segment; 0 in a table.
    pub segment: u64,
    /// Where in it; in a table the number of the row.
    pub offset: u64,
    /// The record that stands there or should.
    pub sequence: u64,
    /// What is wrong.
    pub flaw: Flaw,
}

impl Finding {
    /// Where it was found.
    pub fn place(&self) -> String {
        match self.segment {
            0 => "table".to_owned(),
            segment => format!("segment {segment}, offset {}", self.offset),
        }
    }
}

/// What is wrong with bytes of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The segment's header is not what was written.
    #[error("the header of the segment is damaged")]
    Header,
    /// The segment belongs to another log.
    #[error("the segment belongs to another log")]
    OtherLog,
    /// The segment is not the one that should follow, or it is missing.
    #[error("the segment is missing, doubled or out of its place")]
    Order,
    /// The tree over the frames before the segment is not the one that its header states.
    #[error("the records before the segment are not those it was opened after")]
    Tree,
    /// Not a chunk, or its length is impossible.
    #[error("damaged chunk")]
    Chunk,
    /// The content is not what the hash says.
    #[error("the content does not match its hash")]
    Hash,
    /// The record does not have the number that is due.
    #[error("a record is missing, doubled or out of its place")]
    Sequence,
    /// The fields of the record cannot be read.
    #[error("the record cannot be read")]
    Fields,
    /// A body that the record names is not the one beside it.
    #[error("a body of the record is missing or is another one")]
    Body,
    /// The data key of a body is gone, so that nobody can read it, and no record says that it was destroyed.
    #[error(
        "the data key that its body is sealed with is gone, and the log does not say that it was destroyed"
    )]
    KeyGone,
    /// The data key of a body is not what was kept, so that nobody can read the body.
    #[error("the data key that its body is sealed with is damaged, another one, or wrapped by another key")]
    Key,
    /// A record was removed, and no later record says that the log was cleaned of it.
    #[error("the record was removed, and the log does not say that it was cleaned of it")]
    Removed,
    /// What a table says to search a record by is not what the record says.
    #[error("the record would not be found by what it says")]
    Search,
    /// The head of a table is not that of the records in it.
    #[error("the head row states other records than there are: some were removed, added or changed")]
    Head,
    /// The file ends too early.
    #[error("the segment ends too early")]
    Short,
    /// The end of the last segment was not written whole: nobody was answered for it.
    #[error("the last write was not finished")]
    TornTail,
}
