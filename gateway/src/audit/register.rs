//! The register: who has read about a record, when and why.
//!
//! It is written by all that shows records: the pages and interfaces of the administration port, the containers at the
//! information systems' door, the commands on the machine (through [`super::counter`] while a gateway runs), and erasure.
//! Whoever takes the files of the log leaves no trace in it.

use crate::messagelog::{
    LogError, LogStore as _, MessageLog, Record,
    reader::{Filter, Order, Reader, StoredRecord},
    record::{AccessRecord, Kind},
};

/// Most numbers of records in one access record: longer readings are noted in several.
const MOST: usize = 100_000;
/// Access records that are read at once.
const PAGE: usize = 256;

/// A reading, and where it stands.
pub type Reading = (StoredRecord, AccessRecord);

/// The readings that showed one of these records: all, in the order of the log.
///
/// # Errors
/// When the log cannot be read.
pub fn readings(reader: &Reader, records: &[u64]) -> Result<Vec<Reading>, LogError> {
    let mut found = latest(reader, records, None, usize::MAX)?;
    found.reverse();
    Ok(found)
}

/// The last `limit` of them before the record `before`, the last one first.
///
/// # Errors
/// When the log cannot be read.
pub fn latest(
    reader: &Reader,
    records: &[u64],
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Reading>, LogError> {
    let mut found = Vec::new();
    // Nothing is read before it is there.
    let Some(first) = records.iter().min() else { return Ok(found) };
    let filter = Filter { kinds: vec![Kind::Access], ..Filter::default() };
    let mut cursor = before;
    loop {
        let page = reader.find(&filter, Order::NewestFirst, cursor, PAGE)?;
        cursor = page.last().map(|last| last.sequence);
        for stored in page {
            if found.len() >= limit || stored.sequence < *first {
                return Ok(found);
            }
            if let Record::Access(access) = &stored.record
                && access.records.iter().any(|number| records.contains(number))
            {
                let access = access.clone();
                found.push((stored, access));
            }
        }
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// What is noted of a reading: itself, or several of the same when it has very many records.
pub fn pieces(access: AccessRecord) -> Vec<AccessRecord> {
    if access.records.len() <= MOST {
        return vec![access];
    }
    let piece = |records: &[u64]| AccessRecord { records: records.to_vec(), ..access.clone() };
    access.records.chunks(MOST).map(piece).collect()
}

/// Notes a reading. What was to be read is shown only when this has succeeded.
///
/// # Errors
/// Those of the log.
pub async fn note(log: &MessageLog, access: AccessRecord) -> Result<(), LogError> {
    for piece in pieces(access) {
        log.append(Record::Access(piece), Vec::new()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_of_very_many_records_is_noted_in_pieces_of_which_none_is_lost() {
        let access = AccessRecord {
            who: "ben".to_owned(),
            role: None,
            action: "export".to_owned(),
            query: String::new(),
            reason: None,
            records: (0..250_000).collect(),
            bodies: false,
        };
        let all = pieces(access.clone());
        assert_eq!(
            all.iter().map(|piece| piece.records.len()).collect::<Vec<_>>(),
            [100_000, 100_000, 50_000]
        );
        assert_eq!(all.iter().flat_map(|piece| piece.records.clone()).collect::<Vec<_>>(), access.records);
        let short = AccessRecord { records: Vec::new(), ..access };
        assert_eq!(pieces(short.clone()), [short]);
    }
}
