//! Erasing bodies for good: a data key is destroyed, and with it all that was sealed with it.
//!
//! ```text
//! say who and why (a record) ──► overwrite and remove the key ──► remove the files of its bodies
//! died before the end: the record stands, erasing again finishes it
//! ```
//! Records, signatures, time-stamps and the tree stay as they are. What lies in the segments of small bodies can be
//! opened by nobody any more. Copies of the key elsewhere, such as backups, are for their owners to destroy.
//!
//! Not here: when it is time for it.

use std::time::Duration;

use cert_authority::clock::UnixTime;

pub use super::key::is_of;
use super::{
    append::LogStore,
    body::blocking,
    error::LogError,
    reader::{Filter, Order, Reader},
    record::{AccessRecord, Kind, Record},
    service::MessageLog,
};

/// How long after its day a key may still be used: by a body that came slowly.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
const PAGE: usize = 256;
const ACTION: &str = "erase";
const QUERY: &str = "data key ";

/// The data key that this record says is destroyed, if it says so of one.
pub(crate) fn destroyed(access: &AccessRecord) -> Option<&str> {
    (access.action == ACTION).then(|| access.query.strip_prefix(QUERY)).flatten()
}

/// When the day of a key ends; none for what is not the id of a key.
pub fn end_of_day(key: &str) -> Option<UnixTime> {
    let day = key.split('.').next()?;
    UnixTime::from_rfc3339(&format!("{day}T00:00:00Z")).ok().map(|begin| begin + DAY)
}

/// Destroys the key `key` and the bodies sealed with it; gives the numbers of the messages that had some. `who` and
/// `reason` stand in the log.
///
/// # Errors
/// [`LogError::KeyGone`] when there is no such key; otherwise those of the log.
pub async fn erase(log: &MessageLog, key: &str, who: &str, reason: &str) -> Result<Vec<u64>, LogError> {
    if !log.vault().keys()?.iter().any(|known| known == key) {
        return Err(LogError::KeyGone(key.to_owned()));
    }
    let (reader, id) = (log.reader(), key.to_owned());
    let records = blocking(move || sealed_with(&reader, &id)).await?;
    let record = AccessRecord {
        who: who.to_owned(),
        role: None,
        action: ACTION.to_owned(),
        query: format!("{QUERY}{key}"),
        reason: Some(reason.to_owned()),
        records: records.clone(),
        bodies: true,
    };
    log.append(Record::Access(record), Vec::new()).await?;
    let (vault, id) = (log.vault().clone(), key.to_owned());
    blocking(move || vault.destroy_key(&id)).await?;
    tracing::info!(key, messages = records.len(), "a data key was destroyed, and its bodies with it");
    Ok(records)
}

/// The messages, logged on the day of the key or the next, that have parts sealed with it.
fn sealed_with(reader: &Reader, key: &str) -> Result<Vec<u64>, LogError> {
    let end = end_of_day(key);
    let filter = Filter {
        from: end.map(|end| end - DAY),
        until: end.map(|end| end + DAY),
        kinds: vec![Kind::Request, Kind::Response],
        ..Filter::default()
    };
    let (mut numbers, mut cursor) = (Vec::new(), None);
    loop {
        let page = reader.find(&filter, Order::OldestFirst, cursor, PAGE)?;
        let Some(last) = page.last() else { return Ok(numbers) };
        cursor = Some(last.sequence);
        numbers.extend(page.iter().filter(|found| found.uses(key)).map(|found| found.sequence));
    }
}
