//! `log reconcile`: two organisations' logs of the same exchanges, side by side.
//!
//! With the log of the settings a reason is needed, and what of it is shown is noted there.
//!
//! Exit codes: 0 the same in both, 1 something differs, 2 nothing was compared.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cert_authority::clock::UnixTime;
use clap::Args;
use conf::identifier::MemberId;

use super::reading::{MaybeReadingArguments, ReadingArguments, Shown, asked};
use super::selection::time;
use super::table::{Table, printable};
use crate::audit::reconcile::{ReconcileError, Reconciled, Scope, What, read, reconcile};
use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog;

const DIFFERENT: u8 = 1;
const NOT_COMPARED: u8 = 2;

/// What is compared.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The first log: its directory, or an export as JSON lines.
    first: PathBuf,
    /// The second log.
    second: PathBuf,
    /// Logged by one of them at this time or later (RFC 3339).
    #[arg(long, value_parser = time)]
    from: Option<UnixTime>,
    /// Logged by one of them before this time (RFC 3339).
    #[arg(long, value_parser = time)]
    until: Option<UnixTime>,
    /// Only messages between these two members, each INSTANCE/CLASS/MEMBER. Without it, what either exchanged with
    /// others is a difference too.
    #[arg(long, num_args = 2, value_names = ["MEMBER", "MEMBER"])]
    between: Vec<MemberId>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: MaybeReadingArguments,
}

pub(super) fn run(settings: &Path, arguments: &Arguments) -> ExitCode {
    let own = match own(settings, arguments) {
        Ok(own) => own,
        Err(why) => {
            eprintln!("passerelle-gateway: {why}");
            return ExitCode::from(NOT_COMPARED);
        }
    };
    let compared = compare(arguments);
    if let (Ok(result), Some((log, second, reading))) = (&compared, own) {
        let numbers = result.differences.iter().flat_map(|d| if second { &d.second } else { &d.first });
        let (action, query, records) = ("reconcile", asked(), numbers.copied().collect());
        reading.note(&log, Shown { action, query, records, bodies: false });
    }
    match compared.map(|result| (result.differences.is_empty(), show(&result, arguments.json))) {
        Ok((same, Ok(()))) => ExitCode::from(if same { 0 } else { DIFFERENT }),
        Ok((_, Err(error))) => failed(&error),
        Err(error) => failed(&error),
    }
}

/// The log of the settings, if it is one of the two, whether it is the second, and why it is read. Of other logs it is
/// said that nobody notes that they are read.
fn own(
    settings: &Path,
    arguments: &Arguments,
) -> Result<Option<(messagelog::Config, bool, ReadingArguments)>, String> {
    let log = Config::load(settings).ok().map(|config| log_settings(&config));
    let place = |path: &Path| fs::canonicalize(path).ok();
    let mut own = None;
    for (second, path) in [(false, &arguments.first), (true, &arguments.second)] {
        match &log {
            Some(log) if place(path).is_some() && place(path) == place(&log.directory) => {
                let reading = arguments.reading.clone().given();
                let reading = reading.ok_or("one of them is the log of the settings: --reason is needed")?;
                own = Some((log.clone(), second, reading));
            }
            _ if path.is_dir() => {
                eprintln!(
                    "passerelle-gateway: this reading is not registered: {} is not the log of the settings",
                    path.display()
                );
            }
            _ => {}
        }
    }
    Ok(own)
}

fn compare(arguments: &Arguments) -> Result<Reconciled, ReconcileError> {
    let between = match arguments.between.as_slice() {
        [one, other] => Some((one.to_string(), other.to_string())),
        _ => None,
    };
    let scope = Scope { from: arguments.from, until: arguments.until, between };
    let first = read(&arguments.first, &scope, false)?;
    let second = read(&arguments.second, &scope, true)?;
    Ok(reconcile(first, second, &scope))
}

fn show(result: &Reconciled, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{}", serde_json::to_string(result)?);
    }
    let mut table = Table::new(&["WHAT", "MESSAGE", "REQUEST", "KIND", "SIDE", "FIRST", "SECOND"]);
    let numbers = |numbers: &[u64]| {
        let all: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(",") }
    };
    for difference in &result.differences {
        let what = match difference.what {
            What::OnlyInFirst => "only in first",
            What::OnlyInSecond => "only in second",
            What::OtherDigests => "other digests",
        };
        let key = &difference.key;
        table.row(vec![
            what.to_owned(),
            printable(&key.message_id),
            printable(&key.request_id),
            printable(&key.kind),
            key.role.to_owned(),
            numbers(&difference.first),
            numbers(&difference.second),
        ]);
    }
    if !result.differences.is_empty() {
        table.write(&mut out)?;
    }
    writeln!(out, "{} messages compared, {} differ", result.compared, result.differences.len())
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("passerelle-gateway: {error}");
    ExitCode::from(NOT_COMPARED)
}
