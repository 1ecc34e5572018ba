//! `log verify`: judges a whole log, from its bytes alone.
//!
//! | exit code | |
//! |---|---|
//! | 0 | nothing is wrong |
//! | 1 | something is: each is named with its record, the first one first |
//! | 2 | nothing was judged: a log, a configuration or a key that cannot be read |

use std::fs;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cert_authority::tlog::{Checkpoint, Note, Trust, VerifierKey};
use clap::Args;
use conf::snapshot::GlobalConf;

use super::table::printable;
use crate::archive::encryption::Identities;
use crate::audit::archives::Shelves;
use crate::audit::verify::{Grounds, Report, verify};
use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog;

const NOT_VALID: u8 = 1;
const NOT_JUDGED: u8 = 2;
/// Problems that are shown to people; JSON has all.
const SHOWN: usize = 20;
/// Records between two words about how far it is.
const STEP: u64 = 50_000;

/// What is judged, and by what.
#[derive(Debug, Clone, Default, Args)]
pub struct VerifyArguments {
    /// The directory of a log in files; the log of the settings when left out, also in PostgreSQL. With it and --conf no
    /// settings are needed.
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// The global configuration that signatures and time-stamps are judged by, or an unpacked /verificationconf; that
    /// of the settings when left out. Its expiry does not matter.
    #[arg(long, value_name = "DIR")]
    pub conf: Option<PathBuf>,
    /// Verifier key of the log, by which its checkpoints are believed (`keys verifier`); may be given again for earlier
    /// ones.
    #[arg(long, value_name = "KEY")]
    pub key: Vec<VerifierKey>,
    /// Verifier key of a witness, by which cosignatures are believed; may be given again.
    #[arg(long, value_name = "KEY")]
    pub witness: Vec<VerifierKey>,
    /// A checkpoint from elsewhere, of a witness or an earlier visit: the log must have been like this once.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub checkpoint: Option<PathBuf>,
    /// Folder of the log's archives; may be given again. That of the settings when left out and the log is theirs too.
    #[arg(long, value_name = "DIR")]
    pub archives: Vec<PathBuf>,
    /// Judge no archives, only what the log says of them.
    #[arg(long, conflicts_with = "archives")]
    pub no_archives: bool,
    /// Opens archives that are encrypted: a file of age identities. Of others only the digest of the file is judged.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// File of the key-encryption key, by which the data keys are judged; that of the settings when left out and the log is
    /// theirs too, if it can be read.
    #[arg(long, value_name = "FILE")]
    pub kek: Option<PathBuf>,
    /// The verdict as JSON, with every problem.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub(super) fn run(settings: &Path, arguments: &VerifyArguments) -> ExitCode {
    match judge(settings, arguments, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_VALID),
        Err(error) => {
            eprintln!("passerelle-gateway: {error}");
            ExitCode::from(NOT_JUDGED)
        }
    }
}

/// Judges a log; the verdict goes to `out`. Gives whether nothing is wrong.
///
/// # Errors
/// What kept from judging.
pub fn judge(settings: &Path, arguments: &VerifyArguments, out: &mut impl Write) -> Result<bool, String> {
    let (mut archives, mut kek) = (arguments.archives.clone(), arguments.kek.clone());
    let (log, conf) = match (&arguments.directory, &arguments.conf) {
        (Some(directory), Some(conf)) => (messagelog::Config::new(directory), conf.clone()),
        (directory, conf) => {
            let config = Config::load(settings).map_err(|error| error.to_string())?;
            let log = directory.as_ref().map_or_else(|| log_settings(&config), messagelog::Config::new);
            if directory.is_none() {
                // An auditor may have all but that.
                kek = kek.or_else(|| Some(log.key_file.clone()).filter(|file| fs::File::open(file).is_ok()));
            }
            if directory.is_none() && archives.is_empty() && !arguments.no_archives {
                archives.extend(
                    config.archive.iter().filter_map(|archive| archive.place.folder()).map(Path::to_owned),
                );
            }
            (log, conf.clone().unwrap_or(config.configuration.directory))
        }
    };
    let shelves = shelves(archives, arguments.identity.as_deref())?;
    let conf = GlobalConf::load_dir(&conf)
        .map_err(|error| format!("the configuration in {}: {error}", conf.display()))?;
    let trust = arguments.key.first().map(|key| Trust {
        origin: key.name().to_owned(),
        log: arguments.key.clone(),
        witnesses: arguments.witness.clone(),
        quorum: 0,
    });
    let expected = match (&arguments.checkpoint, &trust) {
        (Some(file), Some(trust)) => Some(checkpoint(file, trust)?),
        _ => None,
    };
    let grounds = Grounds {
        conf: Some(&conf),
        trust: trust.as_ref(),
        expected: expected.as_ref(),
        archives: shelves.as_ref(),
        kek: kek.as_deref(),
    };
    let watched = io::stderr().is_terminal();
    let report = verify(&log, grounds, &mut |number| {
        if watched && number % STEP == 0 {
            eprint!("\r{number} records");
        }
    });
    if watched {
        eprint!("\r");
    }
    let report = report.map_err(|error| format!("{}: {error}", log.directory.display()))?;
    let written = if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        write_text(&report, out)
    };
    written.map_err(|error| error.to_string())?;
    Ok(report.problems.is_empty())
}

/// What lies in these folders now, before the log is read; none when no archives are judged.
fn shelves(directories: Vec<PathBuf>, identity: Option<&Path>) -> Result<Option<Shelves>, String> {
    if directories.is_empty() {
        return Ok(None);
    }
    let identities = identity.map_or_else(|| Ok(Identities::none()), Identities::load)?;
    Shelves::open(directories, identities).map(Some)
}

/// A checkpoint that is believed for its signature.
fn checkpoint(file: &Path, trust: &Trust) -> Result<Checkpoint, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let bytes = fs::read(file).map_err(|error| failed(&error))?;
    let note = Note::parse(&bytes).map_err(|error| failed(&error))?;
    Checkpoint::open(&note, &trust.origin, &trust.log).map_err(|error| failed(&error))
}

fn write_text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:14} {}", "records", report.records)?;
    writeln!(out, "{:14} {}", "root", report.root)?;
    writeln!(out, "{:14} {} valid", "signatures", report.signatures)?;
    writeln!(out, "{:14} {} messages, {} wait for theirs", "time-stamped", report.stamped, report.waiting)?;
    if report.removed > 0 {
        writeln!(out, "{:14} {} messages; their hashes are kept", "cleaned of", report.removed)?;
    }
    let opened = if report.keys_judged { "" } else { "; not opened: no --kek" };
    let destroyed = match report.keys_destroyed {
        0 => String::new(),
        destroyed => format!(", {destroyed} destroyed as records say"),
    };
    writeln!(out, "{:14} {}{destroyed}{opened}", "data keys", report.keys)?;
    let by = if report.checkpoints_judged { "" } else { "; their signatures not judged: no --key" };
    writeln!(out, "{:14} {}{by}", "checkpoints", report.checkpoints)?;
    writeln!(out, "{:14} {}", "archives", archives(report))?;
    let Some(first) = report.problems.first() else { return writeln!(out, "nothing is wrong") };
    writeln!(out, "{} problems; the first bad record is {}", report.problems.len(), first.record)?;
    for problem in report.problems.iter().take(SHOWN) {
        writeln!(out, "  record {}: {}", problem.record, printable(&problem.what))?;
    }
    if report.problems.len() > SHOWN {
        writeln!(out, "  ... --json shows all")?;
    }
    Ok(())
}

fn archives(report: &Report) -> String {
    if !report.archives_judged {
        return format!("{} named; their files not judged: no --archives", report.archives_named);
    }
    let sealed = match report.archives_sealed {
        0 => String::new(),
        sealed => format!("; {sealed} more unchanged, but encrypted for others (--identity)"),
    };
    format!("{} of {} valid{sealed}", report.archives, report.archives_named)
}
