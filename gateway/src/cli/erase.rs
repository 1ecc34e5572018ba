//! `log erase`: destroys data keys, and with them the bodies of the messages of those days, for good.
//!
//! Everything else stays provable: hashes, signatures, time-stamps, the tree.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use cert_authority::clock::{SystemClock, UnixTime};
use clap::Args;
use conf::identifier::ClientId;

use crate::audit::counter;
use crate::config::Config;
use crate::gateway::log_settings;
use crate::messagelog::{LogError, MessageLog, erase};

/// What is to be erased.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// The key of this id; `log show` tells which key a message is sealed with.
    #[arg(long, value_name = "ID", required_unless_present_any = ["before", "of"], conflicts_with_all = ["before", "of"])]
    pub key: Option<String>,
    /// All keys of the days before this one (YYYY-MM-DD).
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub before: Option<UnixTime>,
    /// Only the keys of this member or subsystem of ours: INSTANCE/CLASS/MEMBER[/SUBSYSTEM], as `[log] data_keys` groups
    /// them. Bodies that were sealed before it did so are not among them.
    #[arg(long, value_name = "ID")]
    pub of: Option<ClientId>,
    /// Why; it stands in the log.
    #[arg(long)]
    pub reason: String,
    /// Who; it stands in the log. Default: the user of this machine.
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
    let who = who.unwrap_or_else(|| counter::user(rustix::process::getuid().as_raw(), None));
    let mut keys = log.vault().keys().map_err(said)?;
    if let Some(key) = &arguments.key {
        keys = vec![key.clone()];
    } else {
        let of = |key: &str| arguments.of.as_ref().is_none_or(|owner| erase::is_of(key, owner));
        let old = |key: &str, before| erase::end_of_day(key).is_some_and(|end| end <= before);
        keys.retain(|key| of(key) && arguments.before.is_none_or(|before| old(key, before)));
    }
    if let (Some(owner), []) = (&arguments.of, keys.as_slice()) {
        return Err(format!("no data key is of {owner} alone ([log] data_keys says whose keys are made)"));
    }
    if keys.is_empty() {
        return Ok(());
    }
    let mut written = Ok(());
    let told = |key: &str, erased: &[u64]| {
        let line = writeln!(out, "{key}: destroyed, with the bodies of {} messages", erased.len());
        written = std::mem::replace(&mut written, Ok(())).and(line);
    };
    runtime.block_on(erase::erase_all(&log, &keys, &who, &arguments.reason, told)).map_err(said)?;
    written.map_err(|error: io::Error| error.to_string())
}
