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

use std::{collections::BTreeMap, time::Duration};

use cert_authority::clock::UnixTime;

pub use super::key::is_of;
use super::{
    append::LogStore,
    body::blocking,
    error::LogError,
    reader::{Filter, Reader},
    record::{AccessRecord, Kind, Record},
    service::MessageLog,
};

/// How long after its day a key may still be used: by a body that came slowly.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
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
    let erased = erase_all(log, &[key.to_owned()], who, reason, |_, _| {}).await?;
    Ok(erased.into_iter().next().unwrap_or_default())
}

/// The same for several keys, one after the other, of which `told` is told; the log is read through once.
///
/// # Errors
/// As there; those before are destroyed.
pub async fn erase_all(
    log: &MessageLog,
    keys: &[String],
    who: &str,
    reason: &str,
    mut told: impl FnMut(&str, &[u64]),
) -> Result<Vec<Vec<u64>>, LogError> {
    let known = log.vault().keys()?;
    if let Some(unknown) = keys.iter().find(|key| !known.contains(key)) {
        return Err(LogError::KeyGone(unknown.clone()));
    }
    let (reader, wanted) = (log.reader(), keys.to_vec());
    let mut sealed = blocking(log.work(), move || sealed_with(&reader, wanted)).await?;
    let mut erased = Vec::new();
    for key in keys {
        let records = sealed.remove(key).unwrap_or_default();
        destroy(log, key, who, reason, records.clone()).await?;
        told(key, &records);
        erased.push(records);
    }
    Ok(erased)
}

/// Says it, then does it.
async fn destroy(
    log: &MessageLog,
    key: &str,
    who: &str,
    reason: &str,
    records: Vec<u64>,
) -> Result<(), LogError> {
    let count = records.len();
    let record = AccessRecord {
        who: who.to_owned(),
        role: None,
        action: ACTION.to_owned(),
        query: format!("{QUERY}{key}"),
        reason: Some(reason.to_owned()),
        records,
        bodies: true,
    };
    log.append(Record::Access(record), Vec::new()).await?;
    let (vault, id) = (log.vault().clone(), key.to_owned());
    blocking(vault.work(), move || vault.destroy_key(&id)).await?;
    tracing::info!(key, messages = count, "a data key was destroyed, and its bodies with it");
    Ok(())
}

/// The messages that have parts sealed with each of these keys. All are looked at: when the clock was turned, the time at
/// which a message was logged does not tell the day of its key.
fn sealed_with(reader: &Reader, keys: Vec<String>) -> Result<BTreeMap<String, Vec<u64>>, LogError> {
    let filter = Filter { kinds: vec![Kind::Request, Kind::Response], ..Filter::default() };
    let mut sealed: BTreeMap<String, Vec<u64>> = keys.into_iter().map(|key| (key, Vec::new())).collect();
    reader.each::<LogError>(&filter, &mut |found| {
        let of = found.record.message().into_iter().flat_map(|message| &message.parts);
        for stored in of.filter_map(|part| part.stored.as_ref()) {
            if let Some(numbers) = sealed.get_mut(&stored.key)
                && numbers.last() != Some(&found.sequence)
            {
                numbers.push(found.sequence);
            }
        }
        Ok(())
    })?;
    Ok(sealed)
}
