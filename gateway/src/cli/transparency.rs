//! `log checkpoint | prove | check-proof | consistency | witnesses`: the log as a transparency log.
//!
//! All but `check-proof` read the log of the settings, and leave a running gateway alone. They show hashes; only `prove
//! --record` shows a record, and is noted as a reading. `check-proof` needs nothing but
//! the files and keys it is given: it is for those who do not trust whoever runs the log.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cert_authority::clock::{Clock, SystemClock};
use cert_authority::durable;
use cert_authority::tlog::{Checkpoint, InclusionProof, Trust, VerifierKey};
use clap::Subcommand;

use super::reading::{MaybeReadingArguments, ReadingArguments, Shown as Reading, asked};
use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog::checkpoint::{Signed, agrees};
use crate::messagelog::reader::Reader;
use crate::messagelog::service;
use crate::messagelog::witnessing::ask;
use crate::transparency::{ShowError, Shown, as_json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the last signed checkpoint in the log.
    Checkpoint {
        /// The last one that witnesses have cosigned.
        #[arg(long)]
        cosigned: bool,
    },
    /// Prove that a record is in the log: a text that stands by itself (C2SP tlog-proof).
    Prove {
        /// Its number.
        number: u64,
        /// Write the record's bytes, which the proof is about, to this file. Then --reason is needed.
        #[arg(long)]
        record: Option<PathBuf>,
        #[command(flatten)]
        reading: MaybeReadingArguments,
    },
    /// Check a proof against the record's bytes. Needs no log.
    CheckProof {
        /// The proof.
        proof: PathBuf,
        /// The record's bytes.
        #[arg(long)]
        record: PathBuf,
        /// Verifier key of the log; its name is that of the log.
        #[arg(long)]
        key: VerifierKey,
        /// Verifier key of a witness that must have cosigned; may be given again.
        #[arg(long)]
        witness: Vec<VerifierKey>,
    },
    /// Prove that the log as it was is the beginning of the log as it is: JSON.
    Consistency {
        /// Records that it had.
        from: u64,
        /// Records that it has; those of the last checkpoint when left out.
        to: Option<u64>,
    },
    /// Ask every witness what it holds, and compare: whether the log was rolled back or changed.
    Witnesses,
}

/// Runs a command.
pub(super) fn run(path: &Path, command: Command, out: &mut impl Write) -> Result<(), String> {
    if let Command::CheckProof { proof, record, key, witness } = command {
        return check(&proof, &record, key, witness, out);
    }
    let config = Config::load(path).map_err(said)?;
    // Before the log is read: a running gateway hands over later checkpoints meanwhile.
    let held = matches!(command, Command::Witnesses).then(|| ask_all(&config)).transpose()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = log_settings(&config);
    let reader = service::read_only(&log, &clock).map_err(said)?;
    let shown = Shown::of(reader.clone());
    match command {
        Command::Checkpoint { cosigned } => {
            let signed = if cosigned { shown.last_cosigned() } else { shown.last().map(Some) };
            let signed = signed.map_err(said)?.ok_or("no checkpoint in the log has a cosignature")?;
            agrees(shown.tiles(), &signed.checkpoint, "the log itself").map_err(said)?;
            write!(out, "{}", signed.note).map_err(said)
        }
        Command::Prove { number, record, reading } => {
            let record = match (record, reading.given()) {
                (Some(_), None) => return Err("--record shows a record: --reason is needed".to_owned()),
                (record, reading) => record.zip(reading),
            };
            let note = |reading: &ReadingArguments| {
                let (action, query, records) = ("prove", asked(), vec![number]);
                reading.note(&log, Reading { action, query, records, bodies: false });
            };
            let record = record.as_ref().map(|(path, reading)| (path.as_path(), || note(reading)));
            prove(&shown, &reader, number, record, out)
        }
        Command::Consistency { from, to } => {
            let to = to.map_or_else(|| shown.last().map(|last| last.checkpoint.size()), Ok).map_err(said)?;
            writeln!(out, "{}", as_json(&shown.consistency(from, to).map_err(said)?)).map_err(said)
        }
        Command::Witnesses => witnesses(held.unwrap_or_default(), &shown, out),
        Command::CheckProof { .. } => Ok(()),
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn prove(
    shown: &Shown,
    reader: &Reader,
    number: u64,
    record: Option<(&Path, impl FnOnce())>,
    out: &mut impl Write,
) -> Result<(), String> {
    // One that witnesses have cosigned convinces more people, where it reaches so far.
    let covers = |signed: &Signed| signed.checkpoint.size() > number;
    let cosigned = shown.last_cosigned().map_err(said)?.filter(covers);
    let signed = cosigned.map_or_else(|| shown.last(), Ok).map_err(said)?;
    let proof = shown.inclusion(number, &signed).map_err(said)?;
    if let Some((path, note)) = record {
        let missing = ShowError::NotCovered { number, size: signed.checkpoint.size() };
        let frame = reader.frame(number).map_err(said)?.ok_or(missing).map_err(said)?;
        note();
        durable::write_secret(path, &frame).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    write!(out, "{proof}").map_err(said)
}

fn check(
    proof: &Path,
    record: &Path,
    key: VerifierKey,
    witnesses: Vec<VerifierKey>,
    out: &mut impl Write,
) -> Result<(), String> {
    let unreadable = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let text = fs::read_to_string(proof).map_err(|error| unreadable(proof, error))?;
    let content = fs::read(record).map_err(|error| unreadable(record, error))?;
    let proof = InclusionProof::parse(&text).map_err(said)?;
    let quorum = witnesses.len();
    let trust = Trust { origin: key.name().to_owned(), log: vec![key], witnesses, quorum };
    let checkpoint = proof.verify(&content, &trust).map_err(said)?;
    let (index, size, origin) = (proof.index, checkpoint.size(), checkpoint.origin());
    writeln!(out, "record {index} is in the log {origin}, as of {size} records; {quorum} witnesses cosigned")
        .map_err(said)
}

/// What a witness holds, or why it could not be asked.
type Held = (String, Result<Option<Checkpoint>, String>);

fn ask_all(config: &Config) -> Result<Vec<Held>, String> {
    let asked = config.log.checkpoints.as_ref().ok_or("the settings have no [log.checkpoints]")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)?;
    let each = asked.witnesses.iter().map(|witness| {
        let held = runtime.block_on(ask(&witness.settings()?, &asked.origin));
        Ok((witness.key.name().to_owned(), held))
    });
    each.collect()
}

/// Tells of every witness before anything is said to be wrong.
fn witnesses(all: Vec<Held>, shown: &Shown, out: &mut impl Write) -> Result<(), String> {
    let mut wrong = None;
    for (name, held) in all {
        let line = match held {
            Err(reason) => format!("{name}: cannot be asked: {reason}"),
            Ok(None) => format!("{name}: holds nothing of this log"),
            Ok(Some(held)) => match agrees(shown.tiles(), &held, &name) {
                Ok(()) => format!("{name}: holds {} records, as the log does", held.size()),
                Err(error) => wrong.insert(error).to_string(),
            },
        };
        writeln!(out, "{line}").map_err(said)?;
    }
    wrong.map_or(Ok(()), |error| Err(said(error)))
}
