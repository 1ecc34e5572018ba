//! Cleaning: bodies that are archived and older than they are to be kept are erased, by destroying their data keys.
//!
//! A key goes when its day is over for long enough and every message that was sealed with it is archived, so
//! time-stamped too. Records, signatures, time-stamps and the tree stay.
//!
//! Not here: how a key is destroyed ([`crate::messagelog::erase`]); whole messages ([`super::removing`]).

use std::time::Duration;

use cert_authority::clock::UnixTime;

use super::{
    archiver::{ArchivingError, blocking},
    ledger::Ledger,
};
use crate::messagelog::{
    LogError, MessageLog,
    erase::{DAY, end_of_day, erase_all},
    reader::Reader,
};

const WHO: &str = "passerelle-gateway";

/// Destroys the keys that may go; gives their ids. `ledger` says what is archived.
///
/// # Errors
/// Those of the log.
pub async fn clean(
    log: &MessageLog,
    ledger: &Ledger,
    keep: Duration,
    now: UnixTime,
) -> Result<Vec<String>, ArchivingError> {
    // Keys whose day has only just ended may still be in use by a body that comes slowly.
    let old = move |key: &String| end_of_day(key).is_some_and(|end| end + keep.max(DAY) <= now);
    let (vault, reader, ledger) = (log.vault().clone(), log.reader(), ledger.clone());
    let due = blocking(move || {
        let keys: Vec<String> = vault.keys()?.into_iter().filter(old).collect();
        not_needed(&reader, &ledger, keys)
    })
    .await??;
    if !due.is_empty() {
        erase_all(log, &due, WHO, "archived, and older than bodies are kept", |_, _| {}).await?;
    }
    Ok(due)
}

/// The keys with which nothing is sealed that is not archived.
fn not_needed(reader: &Reader, ledger: &Ledger, mut keys: Vec<String>) -> Result<Vec<String>, LogError> {
    let numbers = ledger.complete_below()..reader.len();
    for (_, found) in reader.each_of(numbers.filter(|number| !ledger.holds(*number))) {
        if keys.is_empty() {
            break;
        }
        match found {
            Ok(Some(record)) => keys.retain(|key| !record.uses(key)),
            Ok(None) | Err(LogError::Removed { .. }) => {}
            // It cannot be told what it was sealed with.
            Err(LogError::Damaged(_)) => keys.clear(),
            Err(error) => return Err(error),
        }
    }
    Ok(keys)
}
