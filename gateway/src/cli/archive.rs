//! `archive run`: archives what is time-stamped. `archive verify`: judges archives, ours and X-Road's.
//!
//! | exit code of `verify` | |
//! |---|---|
//! | 0 | valid |
//! | 1 | an archive, its place in the chain, or a container is not valid |
//! | 2 | nothing was judged: a file or a configuration that cannot be read |

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cert_authority::clock::SystemClock;
use clap::{Args, Subcommand};
use conf::snapshot::GlobalConf;
use serde_json::{Value, json};

use super::table::printable;
use crate::archive::chains::{self, Judged, Place};
use crate::archive::encryption::{Identities, Opened};
use crate::archive::read::{self, ArchiveError};
use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog::{LogError, MessageLog};

const VALID: u8 = 0;
const NOT_VALID: u8 = 1;
const NOT_JUDGED: u8 = 2;

/// What is to be judged.
#[derive(Debug, Clone, Default, Args)]
pub struct VerifyArguments {
    /// The archives, in any order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Judge the containers too, by this configuration: a directory as it is kept, or an unpacked /verificationconf.
    #[arg(long, value_name = "DIR")]
    pub conf: Option<PathBuf>,
    /// The last digest of an archive that is not given, which one of the files goes on after.
    #[arg(long, value_name = "DIGEST")]
    pub after: Vec<String>,
    /// Decrypts archives that are encrypted: a file of age identities, as `age-keygen` writes it.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The verdict as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Judges archives; the verdict goes to `out`. Gives the exit code.
///
/// # Errors
/// What kept from judging.
pub fn verify(arguments: &VerifyArguments, out: &mut impl Write) -> Result<u8, String> {
    let conf = arguments
        .conf
        .as_ref()
        .map(|directory| {
            GlobalConf::load_dir(directory)
                .map_err(|error| format!("the configuration in {}: {error}", directory.display()))
        })
        .transpose()?;
    let identities =
        arguments.identity.as_ref().map_or_else(|| Ok(Identities::none()), |path| Identities::load(path))?;
    let mut archives = Vec::new();
    for path in &arguments.files {
        match read::read(Opened::open(path, &identities)?, conf.as_ref()) {
            Err(ArchiveError::Io(error)) => return Err(format!("{}: {error}", path.display())),
            judged => archives.push((path.display().to_string(), judged)),
        }
    }
    let judged = chains::judge(archives, &arguments.after);
    let written = if arguments.json { write_json(&judged, out) } else { write_text(&judged, out) };
    written.map_err(|error| error.to_string())?;
    Ok(if judged.iter().all(Judged::is_valid) { VALID } else { NOT_VALID })
}

fn place(judged: &Judged) -> Option<String> {
    Some(match judged.place.as_ref()? {
        Place::First => "begins a chain".to_owned(),
        Place::After(file) => format!("goes on after {}", printable(file)),
        Place::AfterGiven => "goes on after the digest given".to_owned(),
        Place::Missing(file) => {
            format!("goes on after {}, which is missing here (its last digest: --after)", printable(file))
        }
        Place::Fork(file) => format!("goes on where {} does: one of the two is not of it", printable(file)),
    })
}

fn write_text(all: &[Judged], out: &mut impl Write) -> io::Result<()> {
    for judged in all {
        let verdict = if judged.is_valid() { "valid" } else { "not valid" };
        writeln!(out, "{}: {verdict}", printable(&judged.file))?;
        match &judged.archive {
            Err(error) => writeln!(out, "  {}", printable(&error.to_string()))?,
            Ok(archive) => {
                writeln!(out, "  {:12} {}", "containers", archive.linking.files.len())?;
                writeln!(out, "  {:12} {}", "chain", place(judged).unwrap_or_default())?;
                writeln!(out, "  {:12} {}", "ends with", archive.last)?;
                for (name, report) in archive.reports.iter().filter(|(_, report)| !report.valid) {
                    let code = report.code.as_deref().unwrap_or_default();
                    writeln!(out, "  {}: {} ({code})", printable(name), printable(&report.message))?;
                }
                if !archive.reports.is_empty() {
                    let valid = archive.reports.iter().filter(|(_, report)| report.valid).count();
                    writeln!(out, "  {:12} {valid} of {} containers", "valid", archive.reports.len())?;
                }
            }
        }
    }
    Ok(())
}

fn write_json(all: &[Judged], out: &mut impl Write) -> io::Result<()> {
    let one = |judged: &Judged| -> Value {
        let archive = judged.archive.as_ref();
        let previous = archive.ok().and_then(|archive| archive.linking.previous.as_ref());
        json!({
            "file": judged.file,
            "valid": judged.is_valid(),
            "error": archive.err().map(ToString::to_string),
            "place": place(judged),
            "previous_file": previous.map(|link| &link.file),
            "previous_digest": previous.map(|link| &link.digest),
            "last_digest": archive.ok().map(|archive| &archive.last),
            "containers": archive.ok().map(|archive| archive.linking.files.iter().map(|link| &link.file).collect::<Vec<_>>()),
            "verdicts": archive.ok().map(|archive| {
                archive.reports.iter().map(|(name, report)| json!({ "file": name, "verdict": report })).collect::<Vec<_>>()
            }),
        })
    };
    serde_json::to_writer_pretty(&mut *out, &all.iter().map(one).collect::<Vec<_>>())?;
    writeln!(out)
}

/// Archives the log of a settings file; what came of it goes to `out`.
///
/// # Errors
/// Why not all could be archived.
pub fn archive(config: &Path, out: &mut impl Write) -> Result<(), String> {
    let config = Config::load(config).map_err(|error| error.to_string())?;
    let settings = config.archive.as_ref().ok_or("the settings have no [archive]")?;
    let log =
        MessageLog::open(log_settings(&config), Arc::new(SystemClock)).map_err(|error| match error {
            LogError::Locked => "a gateway is running, and archives by itself".to_owned(),
            error => error.to_string(),
        })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime does not start: {error}"))?;
    let summary = runtime.block_on(settings.archiver(&log).run()).map_err(|error| error.to_string())?;
    for file in &summary.files {
        writeln!(out, "{}", printable(file)).map_err(|error| error.to_string())?;
    }
    writeln!(out, "{} messages in {} archives", summary.messages, summary.files.len())
        .map_err(|error| error.to_string())?;
    match summary.damaged.as_slice() {
        [] => Ok(()),
        damaged => Err(format!("damaged, and not archived: records {damaged:?}")),
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verify archives, and that they go together. Exit code 0: valid; 1: not valid; 2: nothing could be judged.
    Verify(VerifyArguments),
    /// Archive now what is time-stamped, while no gateway runs; a running gateway does it by itself.
    Run,
}

/// Runs a command.
pub(super) fn run(config: &Path, command: &Command) -> ExitCode {
    let arguments = match command {
        Command::Verify(arguments) => arguments,
        Command::Run => {
            return match archive(config, &mut io::stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("passerelle-gateway: {error}");
                    ExitCode::FAILURE
                }
            };
        }
    };
    match verify(arguments, &mut io::stdout().lock()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("passerelle-gateway: {error}");
            ExitCode::from(NOT_JUDGED)
        }
    }
}
