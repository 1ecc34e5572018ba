//! Removing messages for good: their leaves stay in their places, and a record names them.
//!
//! ```text
//! files    say who and why (record 42, which names 7 and 9) ──► the segment anew beside the old one ──► rename it over
//!          the old one; died before the end: the record stands, removing again finishes it
//! tables   record 42 and the rows 7 and 9, emptied: one commit
//! ```
//! Numbers and tree stay what they were, and so do all other records: time-stamps, checkpoints, outcomes, who read what.
//! Whoever has a copy of a message can still show that it was in the log.
//!
//! Not here: which messages may go, and when (`archive::removing`); the bytes of a segment (`cleaned`), the statements
//! (`postgres`).

use std::{collections::BTreeSet, path::Path};

use cert_authority::clock::UnixTime;

use super::{
    append::LogStore,
    body::blocking,
    cleaned::{self, Content, damaged, each},
    disk,
    error::{Flaw, LogError},
    frame::Frame,
    reader::Reader,
    record::{AccessRecord, MessageRecord, Record},
    segment, service,
    service::MessageLog,
    tree,
};

/// The action of the record that names what is removed.
pub const ACTION: &str = "remove";

/// A part of a log that is cleaned at once: a segment that is full, some rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Its number, from 1: that of the segment.
    pub segment: u64,
    /// When what follows was begun; at the end of a table when its last record was logged.
    pub until: UnixTime,
}

/// A message that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its number.
    pub sequence: u64,
    /// When it was logged.
    pub time: UnixTime,
    /// What it says.
    pub message: MessageRecord,
}

impl Present {
    /// The message in a frame, if it is one.
    pub(crate) fn in_frame(frame: Frame) -> Option<Self> {
        let (Record::Request(message) | Record::Response(message)) = frame.record else { return None };
        Some(Self { sequence: frame.head.sequence, time: frame.head.time, message })
    }
}

/// The parts behind number `after` that can be cleaned, the oldest first. Blocks while it reads.
///
/// # Errors
/// Those of the log.
pub fn full(reader: &Reader, after: u64) -> Result<Vec<Full>, LogError> {
    reader.records().full(after)
}

/// The messages that are in such a part. Blocks while it reads.
///
/// # Errors
/// Those of the log; [`LogError::Damaged`] when the part is not whole.
pub fn present(reader: &Reader, number: u64) -> Result<Vec<Present>, LogError> {
    reader.records().present(number)
}

/// Removes messages from such a part. `who` and `reason` stand in the log, before anything is removed or with it.
///
/// # Errors
/// Those of the log; [`LogError::Damaged`] when a segment is not whole, [`LogError::Overtaken`] when another node leads
/// or one of the messages is not in the table: then nothing is removed.
pub async fn remove(
    log: &MessageLog,
    number: u64,
    messages: BTreeSet<u64>,
    who: &str,
    reason: &str,
) -> Result<(), LogError> {
    let record = AccessRecord {
        who: who.to_owned(),
        role: None,
        action: ACTION.to_owned(),
        query: log.reader().records().name_of_part(number),
        reason: Some(reason.to_owned()),
        records: messages.iter().copied().collect(),
        bodies: true,
    };
    let count = messages.len();
    if log.is_in_tables() {
        log.commit_removing(record).await?;
    } else {
        let noted = log.append(Record::Access(record), Vec::new()).await?.sequence;
        let log = log.clone();
        blocking(log.work(), move || rewrite(&log, number, &messages, noted)).await?;
    }
    tracing::info!(part = number, messages = count, "messages were removed from the log");
    Ok(())
}

/// The segments behind number `after` that are full.
pub(crate) fn full_segments(log: &Path, id: &[u8; 16], after: u64) -> Result<Vec<Full>, LogError> {
    let numbers: Vec<u64> = segment::list(log)?.into_iter().filter(|number| *number > after).collect();
    let each = numbers.iter().zip(numbers.iter().skip(1));
    each.map(|(number, next)| {
        Ok(Full { segment: *number, until: segment::open(log, id, *next)?.header.created })
    })
    .collect()
}

/// The messages in a segment.
pub(crate) fn present_in_segment(log: &Path, id: &[u8; 16], number: u64) -> Result<Vec<Present>, LogError> {
    let segment = segment::open(log, id, number)?;
    let mut messages = Vec::new();
    each(&segment, &mut |sequence, entry| {
        let Content::Frame(frame) = entry.content else { return Ok(()) };
        let frame = Frame::decode(&frame).ok().filter(|frame| frame.head.sequence == sequence);
        let frame = frame.ok_or_else(|| damaged(&segment, 0, Flaw::Fields))?;
        messages.extend(Present::in_frame(frame));
        Ok(())
    })?;
    Ok(messages)
}

/// Puts a segment without these messages into the place of the old one.
fn rewrite(log: &MessageLog, number: u64, messages: &BTreeSet<u64>, noted: u64) -> Result<(), LogError> {
    let reader = log.reader();
    let (directory, id) = (reader.directory(), service::read_identity(reader.directory())?);
    let old = segment::open(directory, &id, number)?;
    let next = segment::open(directory, &id, number.saturating_add(1))?;
    let (mut new, mut tree) = (old.header.encode(), old.header.tree.clone());
    if tree::sha256(&new) != old.header_hash {
        return Err(damaged(&old, 0, Flaw::Header));
    }
    let mut entries = Vec::new();
    each(&old, &mut |sequence, mut entry| {
        // What was removed before keeps its own note.
        if messages.contains(&sequence) && matches!(entry.content, Content::Frame(_)) {
            (entry.content, entry.blobs) = (Content::Removed(noted), Vec::new());
        }
        tree.push(entry.leaf);
        entries.push(entry);
        Ok(())
    })?;
    // Nothing is removed from what is not what it was.
    if tree != next.header.tree {
        return Err(damaged(&next, 0, Flaw::Tree));
    }
    new.extend_from_slice(&cleaned::encode(&id, &entries));
    disk::put(log.disk(), &segment::path(directory, number), &new)
        .map_err(|e| LogError::io("a segment cannot be written anew", &e))?;
    reader.forget(number);
    Ok(())
}
