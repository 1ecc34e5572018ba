//! The register: who has read about a record, when and why.
//!
//! It is as complete as what writes it: the pages and interfaces of the administration port, and erasure. Whoever reads
//! the files of the log on the machine itself, with the commands or otherwise, leaves no trace in it.

use crate::messagelog::{
    LogError, Record,
    reader::{Filter, Reader, StoredRecord},
    record::{AccessRecord, Kind},
};

/// The readings that showed one of these records, in the order of the log.
///
/// # Errors
/// When the log cannot be read.
pub fn readings(reader: &Reader, records: &[u64]) -> Result<Vec<(StoredRecord, AccessRecord)>, LogError> {
    let filter = Filter { kinds: vec![Kind::Access], ..Filter::default() };
    let mut found = Vec::new();
    reader.each::<LogError>(&filter, &mut |stored| {
        if let Record::Access(access) = &stored.record
            && access.records.iter().any(|number| records.contains(number))
        {
            let access = access.clone();
            found.push((stored, access));
        }
        Ok(())
    })?;
    Ok(found)
}
