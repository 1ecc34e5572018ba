//! `log erase`: destroys data keys, and with them the bodies of the messages of those days, for good.
//!
//! Everything else stays provable: hashes, signatures, time-stamps, the tree.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use cert_authority::clock::{SystemClock, UnixTime};
use clap::Args;

use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog::{LogError, MessageLog, erase};

/// What is to be erased.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// The key of this id; `log show` tells which key a message is sealed with.
    #[arg(long, value_name = "ID", required_unless_present = "before", conflicts_with = "before")]
    pub key: Option<String>,
    /// All keys of the days before this one (YYYY-MM-DD).
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub before: Option<UnixTime>,
    /// Why; it stands in the log.
    #[arg(long)]
    pub reason: String,
    /// Who; it stands in the log. Default: the number of the user of this machine.
    #[arg(long)]
    pub who: Option<String>,
}

fn date(text: &str) -> Result<UnixTime, String> {
    UnixTime::from_rfc3339(&format!("{text}T00:00:00Z"))
        .map_err(|_| "not a date such as 2026-03-04".to_owned())
}

/// Erases, and says what was erased.
///
/// # Errors
/// Why not all could be erased.
pub fn run(config: &Path, arguments: &Arguments, out: &mut impl Write) -> Result<(), String> {
    let config = Config::load(config).map_err(|error| error.to_string())?;
    let said = |error: LogError| match error {
        LogError::Locked => "a gateway is running: stop it first".to_owned(),
        error => error.to_string(),
    };
    let log = MessageLog::open(log_settings(&config), Arc::new(SystemClock)).map_err(said)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime does not start: {error}"))?;
    let who = arguments.who.clone();
    let who = who.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()));
    let mut keys = log.vault().keys().map_err(said)?;
    match (&arguments.key, arguments.before) {
        (Some(key), _) => keys = vec![key.clone()],
        (None, before) => {
            keys.retain(|key| erase::end_of_day(key).zip(before).is_some_and(|(end, before)| end <= before))
        }
    }
    for key in keys {
        let erased = runtime.block_on(erase::erase(&log, &key, &who, &arguments.reason)).map_err(said)?;
        writeln!(out, "{key}: destroyed, with the bodies of {} messages", erased.len())
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
