//! `log list | show | export`: what the message log holds.
//!
//! The log is opened for reading only, so a running gateway is not disturbed; what it appends meanwhile is not seen.
//! What messages contain is never printed: it comes out as a container only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cert_authority::clock::{Clock, SystemClock, UnixTime};
use clap::{Args, Subcommand, ValueEnum};
use conf::identifier::{ClientId, MemberId, ServiceId};
use serde_json::{Value, json};

use super::erase;
use super::table::{Table, printable};
use super::transparency;
use super::verify::{self, VerifyArguments};
use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog::{
    LogError, MessageRecord, Record, Role,
    reader::{Filter, Order, Reader, StoredRecord},
    record::{Kind, Outcome, OutcomeRecord, TimestampRecord},
    service,
};
use crate::metaservice::container::{ContainerError, LoggedContainer};

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
    let Selection { filter, order, beyond, limit } = selection;
    let mut stamps = Stamps { reader, last: None };
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
    for record in reader.find(filter, *order, *beyond, *limit)? {
        let stamp = stamps.of(&record)?;
        if json {
            writeln!(out, "{}", summary(&record, stamp))?;
        } else {
            table.row(row(&record, stamp));
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
    let mut stamps = Stamps { reader, last: None };
    let mut all = summary(&record, stamps.of(&record)?);
    if let (Some(fields), Some(message)) = (all.as_object_mut(), record.record.message()) {
        fields.extend(details(message));
    }
    if let Some(fields) = all.as_object_mut() {
        fields.insert("leaf".to_owned(), hex::encode(record.leaf).into());
    }
    if json {
        writeln!(out, "{all}")?;
    } else {
        write_fields(&all, 0, out)?;
    }
    Ok(())
}

/// Writes the container of a message to a new file, which only its owner can read.
///
/// # Errors
/// [`LogCommandError`]; then there is no file.
pub fn export(reader: &Reader, sequence: u64, file: &Path) -> Result<(), LogCommandError> {
    let container = LoggedContainer::open(reader, sequence)?;
    let failed = |source| LogCommandError::File { path: file.to_path_buf(), source };
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    let written = container.write(io::BufWriter::new(new)).and_then(|out| {
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    });
    written.map_err(|source| {
        // Half a container would look like evidence. What cannot be removed either is told by the first error.
        let _ = fs::remove_file(file);
        failed(source)
    })
}

/// Most records share their time-stamp with their neighbours: it is read once.
struct Stamps<'a> {
    reader: &'a Reader,
    last: Option<TimestampRecord>,
}

impl Stamps<'_> {
    fn of(&mut self, record: &StoredRecord) -> Result<Option<&TimestampRecord>, LogError> {
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

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Request => "request",
        Kind::Response => "response",
        Kind::Outcome => "outcome",
        Kind::Timestamp => "timestamp",
        Kind::Checkpoint => "checkpoint",
        Kind::Configuration => "configuration",
        Kind::Access => "access",
        Kind::Archive => "archive",
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Consumer => "consumer",
        Role::Provider => "provider",
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Fault => "fault",
        Outcome::InDoubt => "in doubt",
    }
}

fn length(message: &MessageRecord) -> u64 {
    message.parts.iter().map(|part| part.length).sum()
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

/// What stands in a line of JSON. `null` is what is not known, or not yet there.
fn summary(record: &StoredRecord, stamp: Option<&TimestampRecord>) -> Value {
    let mut all = json!({
        "number": record.sequence,
        "time": record.time.to_rfc3339_millis(),
        "kind": kind_name(record.record.kind()),
    });
    let more = match &record.record {
        Record::Request(message) | Record::Response(message) => json!({
            "role": role_name(message.role),
            "message_id": message.message_id,
            "request_id": message.request_id,
            "client": message.client.to_string(),
            "service": message.service.to_string(),
            "length": length(message),
            "timestamped_at": stamp.map(|stamp| stamp.time.to_rfc3339()),
            "tsa": stamp.map(|stamp| &stamp.authority),
        }),
        Record::Outcome(outcome) => outcome_fields(outcome),
        Record::Timestamp(stamp) => json!({
            "timestamped_at": stamp.time.to_rfc3339(),
            "tsa": stamp.authority,
            "covers": stamp.covered.iter().map(|(covered, _)| covered).collect::<Vec<_>>(),
        }),
        Record::Checkpoint(checkpoint) => {
            json!({ "size": checkpoint.size, "root": hex::encode(checkpoint.root) })
        }
        Record::Configuration(configuration) => json!({
            "scope": configuration.scope,
            "instance": configuration.instance,
            "digest": configuration.digest.hex(),
            "expires": configuration.expires.map(UnixTime::to_rfc3339),
            "note": configuration.note,
        }),
        Record::Access(access) => json!({
            "who": access.who,
            "role": access.role,
            "action": access.action,
            "query": access.query,
            "reason": access.reason,
            "records": access.records,
            "bodies": access.bodies,
        }),
        Record::Archive(archive) => json!({
            "file": archive.file,
            "group": archive.group,
            "announced_by": archive.begun,
            "digest": archive.digest.hex(),
            "sha256": archive.hash.hex(),
            "length": archive.length,
            "records": archive.records,
        }),
    };
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

fn outcome_fields(outcome: &OutcomeRecord) -> Value {
    json!({
        "message_id": outcome.message_id,
        "request": outcome.request,
        "outcome": outcome_name(outcome.outcome),
        "fault_code": outcome.fault_code,
        "fault_text": outcome.fault_text,
        "status": outcome.status,
    })
}

/// What `show` adds.
fn details(message: &MessageRecord) -> serde_json::Map<String, Value> {
    let parts = message.parts.iter().map(|part| {
        json!({
            "media_type": part.media_type,
            "length": part.length,
            "algorithm": part.digest.algorithm().name(),
            "digest": part.digest.hex(),
            "kept": part.stored.is_some(),
            "data_key": part.stored.as_ref().map(|stored| &stored.key),
        })
    });
    let more = &message.circumstances;
    let all = json!({
        "user_id": message.user_id,
        "issue": message.issue,
        "represented_party": message.represented_party,
        "own_server": message.own_server.as_ref().map(ToString::to_string),
        "peer_server": message.peer_server.as_ref().map(ToString::to_string),
        "request": message.request,
        "began": message.began.map(UnixTime::to_rfc3339_millis),
        "signed_at": message.signed_at.map(UnixTime::to_rfc3339),
        "signature_length": message.signature.len(),
        "hash_chain": message.hash_chain.is_some(),
        "parts": parts.collect::<Vec<_>>(),
        "global_configuration": more.global_configuration.map(|digest| digest.hex()),
        "local_configuration": more.local_configuration.map(|digest| digest.hex()),
        "tls_group": more.tls_group,
        "tls_suite": more.tls_suite,
    });
    all.as_object().cloned().unwrap_or_default()
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
    },
    /// Write the ASiC-E container of a message.
    Export {
        /// Its number.
        number: u64,
        /// The file; it must not be there yet.
        #[arg(long)]
        out: PathBuf,
    },
    /// Verify the whole log from its bytes: frames, tree, signatures, certificates, time-stamps, checkpoints. Exit code
    /// 0: nothing is wrong; 1: something is; 2: nothing was judged.
    Verify(Box<VerifyArguments>),
    #[command(flatten)]
    Transparency(transparency::Command),
    /// Erase bodies for good, by destroying data keys. No gateway may be running.
    Erase(erase::Arguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Logged at this time or later (RFC 3339).
    #[arg(long, value_parser = time)]
    from: Option<UnixTime>,
    /// Logged before this time (RFC 3339).
    #[arg(long, value_parser = time)]
    until: Option<UnixTime>,
    /// With this X-Road-Id.
    #[arg(long)]
    message_id: Option<String>,
    /// Of this client, INSTANCE/CLASS/MEMBER/SUBSYSTEM.
    #[arg(long)]
    client: Option<ClientId>,
    /// Of this service, INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE.
    #[arg(long)]
    service: Option<ServiceId>,
    /// With this member as client or provider, INSTANCE/CLASS/MEMBER.
    #[arg(long)]
    member: Option<MemberId>,
    /// Made on this side.
    #[arg(long, value_enum)]
    role: Option<Side>,
    /// Only records beyond this number: where the page before has ended.
    #[arg(long, value_name = "NUMBER")]
    beyond: Option<u64>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// The first one first.
    #[arg(long)]
    oldest_first: bool,
    /// Time-stamps, configurations and the like too.
    #[arg(long)]
    all: bool,
    /// A JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Side {
    /// We asked.
    Consumer,
    /// We were asked.
    Provider,
}

fn time(text: &str) -> Result<UnixTime, String> {
    UnixTime::from_rfc3339(text).map_err(|_| "not a time such as 2026-03-04T05:06:07Z".to_owned())
}

impl From<ListArguments> for Selection {
    fn from(arguments: ListArguments) -> Self {
        let messages = vec![Kind::Request, Kind::Response, Kind::Outcome];
        let filter = Filter {
            from: arguments.from,
            until: arguments.until,
            message_id: arguments.message_id,
            client: arguments.client,
            service: arguments.service,
            member: arguments.member,
            role: arguments.role.map(|side| match side {
                Side::Consumer => Role::Consumer,
                Side::Provider => Role::Provider,
            }),
            kinds: if arguments.all { Vec::new() } else { messages },
        };
        let order = if arguments.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
        Self { filter, order, beyond: arguments.beyond, limit: arguments.limit }
    }
}

/// Runs a command on the log of a settings file.
pub(super) fn run(config: &Path, command: Command) -> Result<ExitCode, String> {
    if let Command::Verify(arguments) = &command {
        return Ok(verify::run(config, arguments));
    }
    read(config, command).map(|()| ExitCode::SUCCESS)
}

fn read(config: &Path, command: Command) -> Result<(), String> {
    if let Command::Erase(arguments) = &command {
        return erase::run(config, arguments, &mut io::stdout().lock());
    }
    if let Command::Transparency(command) = command {
        return transparency::run(config, command, &mut io::stdout().lock());
    }
    let config = Config::load(config).map_err(|error| error.to_string())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let reader = service::read_only(&log_settings(&config), &clock).map_err(|error| error.to_string())?;
    let out = &mut io::stdout().lock();
    let done = match command {
        Command::List(arguments) => {
            let json = arguments.json;
            list(&reader, &Selection::from(*arguments), json, out)
        }
        Command::Show { number, json } => show(&reader, number, json, out),
        Command::Export { number, out } => export(&reader, number, &out),
        Command::Transparency(_) | Command::Erase(_) | Command::Verify(_) => Ok(()),
    };
    match done {
        // Whoever reads has seen enough.
        Err(LogCommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| error.to_string()),
    }
}
