//! Many records at once: JSON lines, CSV, or one ZIP of containers.
//!
//! CSV is as in RFC 4180, with a line of names. A spreadsheet takes a field that begins with `=`, `+`, `-`, `@`, a tab or
//! a line end for a formula: such a field gets an apostrophe before it.
//!
//! Not here: a single container ([`crate::metaservice::container`]), archives ([`crate::archive`]).

use std::io::{self, Seek, Write};

use serde_json::Value;
use zip::{CompressionMethod, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::view;
use crate::messagelog::{
    LogError,
    reader::{Filter, Reader, StoredRecord},
    record::TimestampRecord,
};
use crate::metaservice::container::{ContainerError, LoggedContainer};

/// Why records cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
    /// A table cannot be written.
    #[error(transparent)]
    Table(#[from] csv::Error),
    /// A ZIP cannot be made.
    #[error(transparent)]
    Zip(#[from] ZipError),
}

/// Message of a record that has no container, and why.
pub type LeftOut = (u64, String);

const COLUMNS: &[&str] = &[
    "number",
    "time",
    "kind",
    "role",
    "message_id",
    "request_id",
    "client",
    "service",
    "user_id",
    "issue",
    "length",
    "signature_sha512",
    "signed_at",
    "timestamped_at",
    "tsa",
    "outcome",
    "fault_code",
    "leaf",
    "purpose",
    "agreement",
    "jurisdiction",
    "data_class",
    "policy_decision",
];

/// Most records share their time-stamp with their neighbours: it is read once.
pub struct Stamps<'a> {
    reader: &'a Reader,
    last: Option<TimestampRecord>,
}

impl<'a> Stamps<'a> {
    /// Of this log.
    pub const fn new(reader: &'a Reader) -> Self {
        Self { reader, last: None }
    }

    /// The time-stamp of a record.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn of(&mut self, record: &StoredRecord) -> Result<Option<&TimestampRecord>, LogError> {
        if !record.record.kind().is_message() {
            return Ok(None);
        }
        let covers = |stamp: &TimestampRecord| stamp.position(record.sequence).is_some();
        if !self.last.as_ref().is_some_and(covers) {
            self.last = self.reader.timestamp_of(record.sequence)?;
        }
        Ok(self.last.as_ref())
    }
}

/// A JSON object a line; gives the numbers of the records.
///
/// # Errors
/// [`ExportError`].
pub fn json_lines(reader: &Reader, filter: &Filter, out: &mut impl Write) -> Result<Vec<u64>, ExportError> {
    let (mut stamps, mut numbers) = (Stamps::new(reader), Vec::new());
    reader.each::<ExportError>(filter, &mut |record| {
        writeln!(out, "{}", view::whole(&record, stamps.of(&record)?))?;
        numbers.push(record.sequence);
        Ok(())
    })?;
    Ok(numbers)
}

/// A table; gives the numbers of the records.
///
/// # Errors
/// [`ExportError`].
pub fn csv(reader: &Reader, filter: &Filter, out: &mut impl Write) -> Result<Vec<u64>, ExportError> {
    let (mut stamps, mut numbers) = (Stamps::new(reader), Vec::new());
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    table.write_record(COLUMNS)?;
    reader.each::<ExportError>(filter, &mut |record| {
        let all = view::whole(&record, stamps.of(&record)?);
        table.write_record(COLUMNS.iter().map(|name| match all.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => harmless(text),
            Some(other) => other.to_string(),
        }))?;
        numbers.push(record.sequence);
        Ok(())
    })?;
    table.flush()?;
    drop(table);
    Ok(numbers)
}

/// One ZIP with the container of each message; gives the numbers of those in it, and those that have no container.
///
/// # Errors
/// [`ExportError`].
pub fn containers<W: Write + Seek>(
    reader: &Reader,
    filter: &Filter,
    out: W,
) -> Result<(W, Vec<u64>, Vec<LeftOut>), ExportError> {
    let (mut zip, mut numbers, mut left_out) = (ZipWriter::new(out), Vec::new(), Vec::new());
    // Containers are compressed already.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    reader.each::<ExportError>(filter, &mut |record| {
        if !record.record.kind().is_message() {
            return Ok(());
        }
        match LoggedContainer::open(reader, record.sequence) {
            Ok(container) => {
                zip.start_file(container.file_name(), options)?;
                container.stream(&mut zip)?;
                numbers.push(record.sequence);
            }
            Err(ContainerError::Log(error)) => return Err(error.into()),
            Err(why) => left_out.push((record.sequence, why.to_string())),
        }
        Ok(())
    })?;
    Ok((zip.finish()?, numbers, left_out))
}

/// A field that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn a_field_is_never_a_formula() {
        assert_eq!(harmless("plain = 1"), "plain = 1");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
    }
}
