//! `log migrate`: moves the log between files and PostgreSQL. It stays the same log: identity, numbers, tree, keys.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;

use cert_authority::clock::{Clock, SystemClock};
use clap::{Args, ValueEnum};

use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog::LogError;
use crate::messagelog::migrate::{MigrateError, to_files, to_postgres};

/// Records between two words about how far it is.
const STEP: u64 = 10_000;

/// Where a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// From the files in `[log] directory` to the database of `[log.postgres]`.
    Postgres,
    /// From the database of `[log.postgres]` to files in `[log] directory`.
    Files,
}

/// What is to be moved.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Where to. The settings name both places: `[log] directory` and `[log.postgres]`.
    #[arg(long, value_enum)]
    pub to: To,
}

/// Moves the log of a settings file, and says what is to be done then.
///
/// # Errors
/// Why it stays where it is.
pub fn run(config: &Path, arguments: &Arguments, out: &mut impl Write) -> Result<(), String> {
    let config = Config::load(config).map_err(|error| error.to_string())?;
    let settings = log_settings(&config);
    let database =
        settings.postgres.clone().ok_or("the settings name no database: [log.postgres] is missing")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let watched = io::stderr().is_terminal();
    let mut progress = |number: u64| {
        if watched && number.is_multiple_of(STEP) {
            eprint!("\r{number} records");
        }
    };
    let moved = match arguments.to {
        To::Postgres => to_postgres(&settings, &database, &clock, &mut progress),
        To::Files => to_files(&settings, &database, &clock, &mut progress),
    };
    if watched {
        eprint!("\r");
    }
    let moved = moved.map_err(said)?;
    let then = match arguments.to {
        To::Postgres => {
            "the gateway of these settings goes on with it. What is left in the directory of the log, segments.moved, \
             keys, index and what is in bodies, still holds what may be erased later: remove it when the log verifies \
             where it is now"
        }
        To::Files => {
            "take [log.postgres] out of the settings before the gateway is started. The schema passerelle_log is left in \
             the database: drop it when the log verifies where it is now"
        }
    };
    writeln!(out, "{:14} {}\n{:14} {}\n{then}", "records", moved.records, "root", hex::encode(moved.root))
        .map_err(|error| error.to_string())
}

fn said(error: MigrateError) -> String {
    match error {
        MigrateError::Log(LogError::Locked) => {
            "a gateway is running, or has ended less than 6 s ago: stop every gateway of this log first"
                .to_owned()
        }
        error => error.to_string(),
    }
}
