//! Many records at once: JSON lines, CSV, or one ZIP of containers.
//!
//! First it is said which records they are ([`numbers`]), so that this can be noted; then they are written, a record at a
//! time, to whatever takes them.
//!
//! JSON lines end with one of another kind, `{"kind":"end","records":2,"first":7,"last":9,"sha256":"…"}`: how many came
//! before it, and the digest of their bytes with their line ends. Without it an export was cut off. It is no proof: the
//! proofs are the containers, and the tree.
//!
//! CSV is as in RFC 4180, with a line of names. A spreadsheet takes a field that begins with `=`, `+`, `-`, `@`, a tab or
//! a line end for a formula: such a field gets an apostrophe before it.
//!
//! Not here: a single container ([`crate::metaservice::container`]), archives ([`crate::archive`]).

use std::io::{self, Write};
use std::str::FromStr;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::Hasher;
use serde_json::{Value, json};
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

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One ZIP with the ASiC-E container of each message.
    Zip,
    /// A JSON object a line, without what messages contain; and a line that says that this is all.
    Jsonl,
    /// CSV (RFC 4180), without what messages contain.
    Csv,
}

impl FromStr for Form {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "zip" => Ok(Self::Zip),
            "jsonl" => Ok(Self::Jsonl),
            "csv" => Ok(Self::Csv),
            _ => Err("none of zip, jsonl, csv"),
        }
    }
}

impl Form {
    /// Writes records in this form; gives those that have no container, in a ZIP.
    ///
    /// # Errors
    /// [`ExportError`]; what was written then is not the whole.
    pub fn write(
        self,
        reader: &Reader,
        numbers: &[u64],
        out: &mut impl Write,
    ) -> Result<Vec<LeftOut>, ExportError> {
        match self {
            Self::Zip => containers(reader, numbers, out),
            Self::Jsonl => json_lines(reader, numbers, out).map(|()| Vec::new()),
            Self::Csv => csv(reader, numbers, out).map(|()| Vec::new()),
        }
    }
}

/// Which records an export has: those that pass the filter, and in a ZIP are messages.
///
/// # Errors
/// When the log cannot be read.
pub fn numbers(reader: &Reader, filter: &Filter, form: Form) -> Result<Vec<u64>, LogError> {
    let mut numbers = Vec::new();
    reader.each::<LogError>(filter, &mut |record| {
        if form != Form::Zip || record.record.kind().is_message() {
            numbers.push(record.sequence);
        }
        Ok(())
    })?;
    Ok(numbers)
}

fn records(reader: &Reader, numbers: &[u64]) -> impl Iterator<Item = Result<StoredRecord, LogError>> {
    let missing = |number| LogError::Index(format!("record {number} is not in the log"));
    reader.each_of(numbers.to_vec()).map(move |(number, found)| found?.ok_or_else(|| missing(number)))
}

/// The last line of an export: that nothing is missing before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// How many records came before it.
    pub(crate) records: u64,
    /// The digest of their lines, hexadecimal.
    pub(crate) sha256: String,
}

impl End {
    /// Of a line that is one.
    pub(crate) fn of(line: &Value) -> Option<Self> {
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        (text("kind") == Some("end")).then_some(())?;
        Some(Self { records: line.get("records")?.as_u64()?, sha256: text("sha256")?.to_owned() })
    }
}

fn json_lines(reader: &Reader, numbers: &[u64], out: &mut impl Write) -> Result<(), ExportError> {
    let mut stamps = Stamps::new(reader);
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    for record in records(reader, numbers) {
        let record = record?;
        let line = format!("{}\n", view::whole(&record, stamps.of(&record)?));
        hasher.update(line.as_bytes());
        out.write_all(line.as_bytes())?;
    }
    let end = json!({
        "kind": "end",
        "records": numbers.len(),
        "first": numbers.first(),
        "last": numbers.last(),
        "sha256": hasher.finish().hex(),
    });
    Ok(writeln!(out, "{end}")?)
}

fn csv(reader: &Reader, numbers: &[u64], out: &mut impl Write) -> Result<(), ExportError> {
    let mut stamps = Stamps::new(reader);
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    table.write_record(COLUMNS)?;
    for record in records(reader, numbers) {
        let record = record?;
        let all = view::whole(&record, stamps.of(&record)?);
        table.write_record(COLUMNS.iter().map(|name| match all.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => harmless(text),
            Some(other) => other.to_string(),
        }))?;
    }
    Ok(table.flush()?)
}

/// The name in a ZIP of the list of messages that have no container, and why; there only when there are such.
const LEFT_OUT: &str = "left-out.txt";

fn containers(reader: &Reader, numbers: &[u64], out: &mut impl Write) -> Result<Vec<LeftOut>, ExportError> {
    let (mut zip, mut left_out) = (ZipWriter::new_stream(out), Vec::new());
    // Containers are compressed already; but what is stored cannot be read from a stream by everybody.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .large_file(true);
    for (number, container) in LoggedContainer::each(reader, numbers.iter().copied()) {
        match container {
            Ok(container) => {
                zip.start_file(container.file_name(), options)?;
                container.stream(&mut zip)?;
            }
            Err(ContainerError::Log(error)) => return Err(error.into()),
            Err(why) => left_out.push((number, why.to_string())),
        }
    }
    if !left_out.is_empty() {
        zip.start_file(LEFT_OUT, options)?;
        for (_, why) in &left_out {
            writeln!(zip, "{why}")?;
        }
    }
    zip.finish()?;
    Ok(left_out)
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
