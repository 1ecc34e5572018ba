//! Cleaning, the second step: messages that are archived, older than they are to be kept, and whose bodies were cleaned
//! before, are removed from the segments that are full.
//!
//! ```text
//! segment full (rows of a table), and what follows begun long enough ago ──► its messages: each old, in an archive that
//! is in its place, with no data key left ──► said in the log, and removed; hash, number and place in the tree stay
//! ```
//! A message that no archive holds, because it cannot be archived, stays.
//!
//! Not here: how they are removed ([`crate::messagelog::removal`]).

use std::{collections::BTreeSet, time::Duration};

use cert_authority::clock::UnixTime;

use super::archiver::{ArchivingError, blocking};
use crate::messagelog::{
    LogError, MessageLog, Record,
    reader::{Filter, Order, Reader},
    record::Kind,
    removal::{Full, Present, full, present, remove},
};

const WHO: &str = "passerelle-gateway";
const WHY: &str = "archived, and older than records are kept";
/// Segments that are looked at together.
const TOGETHER: usize = 16;

/// Removes what may go; gives how many messages that were.
///
/// # Errors
/// Those of the log.
pub async fn remove_old(log: &MessageLog, keep: Duration, now: UnixTime) -> Result<u64, ArchivingError> {
    let (mut after, mut removed) = (0, 0_u64);
    loop {
        let (reader, keys) = (log.reader(), log.vault().clone());
        let found = blocking(move || {
            let old = |segment: &Full| segment.until + keep <= now;
            let segments: Vec<Full> =
                full(&reader, after)?.into_iter().take_while(old).take(TOGETHER).collect();
            let keys: BTreeSet<String> = keys.keys()?.into_iter().collect();
            let due = due(&reader, &segments, |message| {
                let sealed = message.message.parts.iter().filter_map(|part| part.stored.as_ref());
                message.time + keep <= now && !sealed.into_iter().any(|stored| keys.contains(&stored.key))
            })?;
            Ok::<_, LogError>((segments.last().map(|last| last.segment), due))
        });
        let (Some(last), due) = found.await?? else { return Ok(removed) };
        after = last;
        for (segment, messages) in due {
            removed = removed.saturating_add(u64::try_from(messages.len()).unwrap_or(u64::MAX));
            remove(log, segment, messages, WHO, WHY).await?;
        }
    }
}

/// The messages of each segment that may go and are in an archive.
fn due(
    reader: &Reader,
    segments: &[Full],
    may_go: impl Fn(&Present) -> bool,
) -> Result<Vec<(u64, BTreeSet<u64>)>, LogError> {
    let mut due = Vec::new();
    for Full { segment, .. } in segments {
        match present(reader, *segment) {
            Ok(messages) => {
                let old = messages.iter().filter(|message| may_go(message));
                due.push((*segment, old.map(|message| message.sequence).collect::<BTreeSet<u64>>()));
            }
            // Nothing goes from what is not whole.
            Err(error @ LogError::Damaged(_)) => tracing::warn!(%error, "a segment is not cleaned"),
            Err(error) => return Err(error),
        }
    }
    let wanted = due.iter().flat_map(|(_, messages)| messages).copied().collect();
    let archived = archived(reader, &wanted)?;
    due.iter_mut().for_each(|(_, messages)| messages.retain(|number| archived.contains(number)));
    due.retain(|(_, messages)| !messages.is_empty());
    Ok(due)
}

/// Which of these messages are in archives that are in their place, as the log itself says.
fn archived(reader: &Reader, wanted: &BTreeSet<u64>) -> Result<BTreeSet<u64>, LogError> {
    const PAGE: usize = 256;
    let filter = Filter { kinds: vec![Kind::Archive], ..Filter::default() };
    let mut archived = BTreeSet::new();
    // Nothing is archived before it is there.
    let mut cursor = wanted.first().copied();
    while cursor.is_some() && archived.len() < wanted.len() {
        let page = reader.find(&filter, Order::OldestFirst, cursor, PAGE)?;
        cursor = page.last().map(|last| last.sequence);
        for found in page {
            if let Record::Archive(archive) = found.record
                && archive.begun.is_some()
            {
                archived.extend(archive.records.into_iter().filter(|number| wanted.contains(number)));
            }
        }
    }
    Ok(archived)
}
