//! `log list | show | count | export | readers`: what the message log holds.
//!
//! The log is opened for reading only, so a running gateway is not disturbed; what it appends meanwhile is not seen. That
//! it is read is noted first (`reading`).
//! What messages contain is never printed: it comes out as a container only.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cert_authority::clock::{Clock, SystemClock};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::erase;
use super::export::{self, ExportArguments};
use super::migrate;
use super::reading::{ReadingArguments, Shown, asked};
use super::reconcile;
use super::selection::FilterArguments;
use super::table::{Table, printable};
use super::transparency;
use super::verify::{self, VerifyArguments};
use crate::audit::export::Stamps;
use crate::audit::register;
use crate::audit::view::{self, kind_name, length, outcome_name, role_name};
use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog::{
    LogError, MessageRecord, Record,
    reader::{Filter, Order, Reader, StoredRecord},
    record::TimestampRecord,
    service,
};
use crate::metaservice::container::ContainerError;

/// Why a command about the log fails.
#[derive(Debug, thiserror::Error)]
pub enum LogCommandError {
    /// There is no record with this number.
    #[error("there is no record {0}")]
    NoRecord(u64),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is no container of this record.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The container cannot be written. A file that is there already is never overwritten.
    #[error("{path}: {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Which records are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What they are like.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// Only records beyond this number.
    pub beyond: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Lists records: a table, or a JSON object a line.
///
/// # Errors
/// [`LogCommandError`].
pub fn list(
    reader: &Reader,
    selection: &Selection,
    json: bool,
    out: &mut impl Write,
) -> Result<(), LogCommandError> {
    write_list(reader, &found(reader, selection)?, json, out)
}

/// The records of a list.
fn found(reader: &Reader, selection: &Selection) -> Result<Vec<StoredRecord>, LogError> {
    let Selection { filter, order, beyond, limit } = selection;
    reader.find(filter, *order, *beyond, *limit)
}

fn write_list(
    reader: &Reader,
    records: &[StoredRecord],
    json: bool,
    out: &mut impl Write,
) -> Result<(), LogCommandError> {
    let mut stamps = Stamps::new(reader);
    let mut table = Table::new(&[
        "NUMBER",
        "TIME",
        "ROLE",
        "DIRECTION",
        "MESSAGE",
        "CLIENT",
        "SERVICE",
        "LENGTH",
        "STATE",
    ]);
    for record in records {
        let stamp = stamps.of(record)?;
        if json {
            writeln!(out, "{}", view::summary(record, stamp))?;
        } else {
            table.row(row(record, stamp));
        }
    }
    if !json {
        table.write(out)?;
    }
    Ok(())
}

/// Shows all that is known of one record.
///
/// # Errors
/// [`LogCommandError`].
pub fn show(reader: &Reader, sequence: u64, json: bool, out: &mut impl Write) -> Result<(), LogCommandError> {
    let record = reader.get(sequence)?.ok_or(LogCommandError::NoRecord(sequence))?;
    let mut stamps = Stamps::new(reader);
    let all = view::whole(&record, stamps.of(&record)?);
    if json {
        writeln!(out, "{all}")?;
    } else {
        write_fields(&all, 0, out)?;
    }
    Ok(())
}

/// Shows who has read about the records of a query, or about one record.
///
/// # Errors
/// [`LogCommandError`].
pub fn readers(
    reader: &Reader,
    about: &[u64],
    json: bool,
    out: &mut impl Write,
) -> Result<(), LogCommandError> {
    let mut table = Table::new(&["NUMBER", "TIME", "WHO", "ACTION", "BODIES", "REASON", "QUERY"]);
    for (stored, access) in register::readings(reader, about)? {
        if json {
            writeln!(out, "{}", view::summary(&stored, None))?;
            continue;
        }
        table.row(vec![
            stored.sequence.to_string(),
            stored.time.to_rfc3339_millis(),
            printable(&access.who),
            printable(&access.action),
            if access.bodies { "yes" } else { "no" }.to_owned(),
            access.reason.as_deref().map_or_else(|| "-".to_owned(), printable),
            printable(&access.query),
        ]);
    }
    if !json {
        table.write(out)?;
    }
    Ok(())
}

/// The records of a query.
fn of_query(reader: &Reader, message_id: &str) -> Result<Vec<u64>, LogCommandError> {
    Ok(reader.by_message_id(message_id)?.iter().map(|record| record.sequence).collect())
}

fn row(record: &StoredRecord, stamp: Option<&TimestampRecord>) -> Vec<String> {
    let none = || "-".to_owned();
    let message = record.record.message();
    let of = |text: &dyn Fn(&MessageRecord) -> String| message.map_or_else(none, text);
    vec![
        record.sequence.to_string(),
        record.time.to_rfc3339_millis(),
        of(&|message| role_name(message.role).to_owned()),
        kind_name(record.record.kind()).to_owned(),
        record.record.message_id().map_or_else(none, printable),
        of(&|message| printable(&message.client.to_string())),
        of(&|message| printable(&message.service.to_string())),
        of(&|message| length(message).to_string()),
        state(&record.record, stamp),
    ]
}

fn state(record: &Record, stamp: Option<&TimestampRecord>) -> String {
    match (record, stamp) {
        (Record::Request(_) | Record::Response(_), Some(stamp)) => {
            format!("stamped {}", stamp.time.to_rfc3339())
        }
        (Record::Request(_) | Record::Response(_), None) => "pending".to_owned(),
        (Record::Outcome(outcome), _) => {
            let code = outcome.fault_code.as_deref().unwrap_or_default();
            format!("{} {}", outcome_name(outcome.outcome), printable(code))
        }
        (Record::Timestamp(stamp), _) => {
            format!("over {} messages, by {}", stamp.covered.len(), printable(&stamp.authority))
        }
        (Record::Checkpoint(checkpoint), _) => format!("over {} records", checkpoint.size),
        (Record::Configuration(configuration), _) => {
            let instance = configuration.instance.as_deref().unwrap_or_default();
            format!("{} {}", printable(&configuration.scope), printable(instance))
        }
        (Record::Access(access), _) => format!("{} by {}", printable(&access.action), printable(&access.who)),
        (Record::Archive(archive), _) => {
            let step = if archive.begun.is_some() { "in place" } else { "announced" };
            format!("{} messages in {}, {step}", archive.records.len(), printable(&archive.file))
        }
    }
}

/// For people: a field a line, what is below another indented, what is not there left out.
fn write_fields(value: &Value, indent: usize, out: &mut impl Write) -> io::Result<()> {
    const WIDTH: usize = 22;
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for item in items {
                    writeln!(out, "{:indent$}{name}", "")?;
                    write_fields(item, indent + 2, out)?;
                }
            }
            Value::String(text) => {
                writeln!(out, "{:indent$}{name:WIDTH$}{}", "", printable(text))?;
            }
            other => writeln!(out, "{:indent$}{name:WIDTH$}{other}", "")?,
        }
    }
    Ok(())
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List messages, the last one first.
    List(Box<ListArguments>),
    /// Show all that is known of one record, but not what the message contains.
    Show {
        /// Its number.
        number: u64,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reading: ReadingArguments,
    },
    /// Say how many records there are.
    Count {
        #[command(flatten)]
        filter: Box<FilterArguments>,
        #[command(flatten)]
        reading: ReadingArguments,
    },
    /// Write the ASiC-E container of a message, or many records as a ZIP of containers, JSON lines or CSV.
    Export(Box<ExportArguments>),
    /// Say who has read about a record or a query, when and why.
    Readers {
        /// The number of a record.
        #[arg(required_unless_present = "message_id", conflicts_with = "message_id")]
        number: Option<u64>,
        /// All records with this X-Road-Id.
        #[arg(long)]
        message_id: Option<String>,
        /// A JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reading: ReadingArguments,
    },
    /// Compare the logs of two organisations. Exit code 0: the same in both; 1: something differs; 2: not compared.
    Reconcile(Box<reconcile::Arguments>),
    /// Verify the whole log from its bytes: frames, tree, signatures, certificates, time-stamps, checkpoints. Exit code
    /// 0: nothing is wrong; 1: something is; 2: nothing was judged.
    Verify(Box<VerifyArguments>),
    #[command(flatten)]
    Transparency(transparency::Command),
    /// Erase bodies for good, by destroying data keys. No gateway may be running.
    Erase(erase::Arguments),
    /// Move the log between files and PostgreSQL. No gateway may be running.
    Migrate(migrate::Arguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// Only records beyond this number: where the page before has ended.
    #[arg(long, value_name = "NUMBER")]
    beyond: Option<u64>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// The first one first.
    #[arg(long)]
    oldest_first: bool,
    /// A JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: ReadingArguments,
}

impl From<ListArguments> for Selection {
    fn from(arguments: ListArguments) -> Self {
        let order = if arguments.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
        let filter = arguments.filter.into();
        Self { filter, order, beyond: arguments.beyond, limit: arguments.limit }
    }
}

/// Runs a command on the log of a settings file.
pub(super) fn run(config: &Path, command: Command) -> Result<ExitCode, String> {
    if let Command::Verify(arguments) = &command {
        return Ok(verify::run(config, arguments));
    }
    if let Command::Reconcile(arguments) = &command {
        return Ok(reconcile::run(config, arguments));
    }
    read(config, command).map(|()| ExitCode::SUCCESS)
}

fn read(config: &Path, command: Command) -> Result<(), String> {
    if let Command::Erase(arguments) = &command {
        return erase::run(config, arguments, &mut io::stdout().lock());
    }
    if let Command::Migrate(arguments) = &command {
        return migrate::run(config, arguments, &mut io::stdout().lock());
    }
    if let Command::Transparency(command) = command {
        return transparency::run(config, command, &mut io::stdout().lock());
    }
    let config = Config::load(config).map_err(|error| error.to_string())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = log_settings(&config);
    let reader = service::read_only(&log, &clock).map_err(|error| error.to_string())?;
    let out = &mut io::stdout().lock();
    let noted = |reading: &ReadingArguments, action, records: Vec<u64>| {
        reading.note(&log, Shown { action, query: asked(), records, bodies: false });
    };
    let done = match command {
        Command::List(arguments) => {
            let (json, reading) = (arguments.json, arguments.reading.clone());
            found(&reader, &Selection::from(*arguments)).map_err(Into::into).and_then(|records| {
                noted(&reading, "list", records.iter().map(|record| record.sequence).collect());
                write_list(&reader, &records, json, out)
            })
        }
        Command::Show { number, json, reading } => {
            let mut shown = Vec::new();
            show(&reader, number, json, &mut shown).and_then(|()| {
                noted(&reading, "show", vec![number]);
                Ok(out.write_all(&shown)?)
            })
        }
        Command::Count { filter, reading } => {
            reader.count(&Filter::from(*filter)).map_err(LogCommandError::from).and_then(|count| {
                noted(&reading, "count", Vec::new());
                Ok(writeln!(out, "{count}")?)
            })
        }
        Command::Export(arguments) => export::run(&reader, &log, *arguments),
        Command::Readers { number, message_id, json, reading } => {
            let about = match (number, message_id) {
                (Some(number), _) => Ok(vec![number]),
                (None, message_id) => of_query(&reader, message_id.as_deref().unwrap_or_default()),
            };
            about.and_then(|about| {
                let mut shown = Vec::new();
                readers(&reader, &about, json, &mut shown)?;
                noted(&reading, "readers", about);
                Ok(out.write_all(&shown)?)
            })
        }
        Command::Transparency(_)
        | Command::Erase(_)
        | Command::Migrate(_)
        | Command::Verify(_)
        | Command::Reconcile(_) => Ok(()),
    };
    match done {
        // Whoever reads has seen enough.
        Err(LogCommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| error.to_string()),
    }
}
