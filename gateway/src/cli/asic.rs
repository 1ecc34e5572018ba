//! `asic verify`: judges a container with nothing but the file and a configuration directory.
//!
//! | exit code | |
//! |---|---|
//! | 0 | valid |
//! | 1 | not valid, or refused for its shape; the code is X-Road's |
//! | 2 | nothing was judged: no ZIP file at all, a file or a configuration that cannot be read |

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use conf::snapshot::GlobalConf;

use super::table::printable;
use crate::evidence::asic::{Report, verify_container};

const VALID: u8 = 0;
const NOT_VALID: u8 = 1;
const NOT_JUDGED: u8 = 2;

/// Verifies a container; the verdict goes to `out`. Gives the exit code.
///
/// # Errors
/// Those of `out`.
pub fn verify(conf_dir: &Path, file: &Path, json: bool, out: &mut impl Write) -> io::Result<u8> {
    let (report, code) = match judge(conf_dir, file) {
        Ok(report) => {
            let code = if report.valid { VALID } else { NOT_VALID };
            (report, code)
        }
        Err((code, message)) => (not_judged(code, message), NOT_JUDGED),
    };
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        write_report(&report, code, out)?;
    }
    Ok(code)
}

/// The verdict, or why there is none: X-Road's code where it has one, and a text.
fn judge(conf_dir: &Path, file: &Path) -> Result<Report, (Option<&'static str>, String)> {
    let conf = GlobalConf::load_dir(conf_dir)
        .map_err(|error| (None, format!("the configuration in {}: {error}", conf_dir.display())))?;
    let bytes = fs::read(file).map_err(|error| (None, format!("{}: {error}", file.display())))?;
    verify_container(&bytes, &conf)
        .map_err(|error| (Some("asic_invalid_container"), format!("{}: {error}", file.display())))
}

fn not_judged(code: Option<&str>, message: String) -> Report {
    Report {
        valid: false,
        code: code.map(str::to_owned),
        message,
        signer: None,
        signed_at: None,
        timestamped_at: None,
        tsa: None,
        ocsp_at: None,
        parts: Vec::new(),
    }
}

fn write_report(report: &Report, code: u8, out: &mut impl Write) -> io::Result<()> {
    let message = printable(&report.message);
    match (code, &report.code) {
        (VALID, _) => writeln!(out, "valid")?,
        (NOT_VALID, Some(code)) => writeln!(out, "not valid: {message} ({code})")?,
        (NOT_VALID, None) => writeln!(out, "not valid: {message}")?,
        _ => writeln!(out, "not judged: {message}")?,
    }
    let facts = [
        ("signed by", &report.signer),
        ("signed at (claimed)", &report.signed_at),
        ("time-stamped at", &report.timestamped_at),
        ("time-stamped by", &report.tsa),
        ("OCSP response of", &report.ocsp_at),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            writeln!(out, "  {name:20} {}", printable(fact))?;
        }
    }
    for part in &report.parts {
        let absent = if part.present { "" } else { "  not in the container: only its digest is proven" };
        let name = printable(&part.name);
        writeln!(out, "  {:20} {name}  {} {}{absent}", "part", part.algorithm, part.digest)?;
    }
    Ok(())
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verify a container. Exit code 0: valid; 1: not valid; 2: no ZIP file, or nothing could be judged.
    Verify {
        /// The configuration: a directory as it is kept, or an unpacked /verificationconf.
        #[arg(long, value_name = "DIR")]
        conf: PathBuf,
        /// The container.
        file: PathBuf,
        /// The verdict as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Verify { conf, file, json } = command;
    match verify(conf, file, *json, &mut io::stdout().lock()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("passerelle-gateway: {error}");
            ExitCode::from(NOT_JUDGED)
        }
    }
}
