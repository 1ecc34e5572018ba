//! Readings by commands: each is noted in the log before anything is shown, or it is said that it is not.
//!
//! ```text
//! a gateway runs ──► it notes the reading (crate::audit::counter)
//! none runs ──► the command opens the log for a moment and notes it itself
//! neither can be: a medium that cannot be written, the log of another user, a damaged log ──► said on standard error
//! ```
//! Whoever can read the files can copy them and read the copy: that is for the machine's own means to watch. What this
//! gives is the trail of those who keep to the rules.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::SystemClock;
use clap::Args;

use crate::audit::{counter, register};
use crate::messagelog::{self, LogError, MessageLog, record::AccessRecord};

/// How often the lock is tried, and the pause between: its holder may be another command, or a gateway that is starting.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Why somebody reads.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ReadingArguments {
    /// Why you read. It stands in the log, with who you are and what you were shown.
    #[arg(long, value_name = "TEXT", required_unless_present = "copy", value_parser = said)]
    reason: Option<String>,
    /// The log is a copy: nothing is changed in it, and this reading is not registered.
    #[arg(long, conflicts_with = "reason")]
    copy: bool,
}

/// The same where a reason is needed only with something else.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct MaybeReadingArguments {
    /// Why you read. It stands in the log, with who you are and what you were shown.
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: Option<String>,
    /// The log is a copy: nothing is changed in it, and this reading is not registered.
    #[arg(long, conflicts_with = "reason")]
    copy: bool,
}

impl MaybeReadingArguments {
    /// What was said, if anything.
    pub(super) fn given(self) -> Option<ReadingArguments> {
        let Self { reason, copy } = self;
        (copy || reason.is_some()).then_some(ReadingArguments { reason, copy })
    }
}

fn said(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("it says nothing".to_owned()) } else { Ok(text.to_owned()) }
}

/// What is about to be shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// As in the register: `list`, `show`, `export`.
    pub(super) action: &'static str,
    /// What was asked for.
    pub(super) query: String,
    /// The numbers of the records.
    pub(super) records: Vec<u64>,
    /// Whether what messages contain is among it.
    pub(super) bodies: bool,
}

/// The arguments of this process, from the command's name on: what was asked for.
pub(super) fn asked() -> String {
    let arguments: Vec<String> = std::env::args().collect();
    let begin = arguments.iter().position(|argument| argument == "log").unwrap_or(0);
    let mut words = Vec::new();
    let mut rest = arguments.iter().skip(begin);
    while let Some(word) = rest.next() {
        // The reason has a place of its own.
        if word == "--reason" {
            rest.next();
        } else if !word.starts_with("--reason=") {
            words.push(word.as_str());
        }
    }
    words.join(" ")
}

impl ReadingArguments {
    /// Notes a reading in the log of these settings. Where that cannot be, says so on standard error.
    pub(super) fn note(&self, log: &messagelog::Config, shown: Shown) {
        if let Err(why) = self.noted(log, shown) {
            eprintln!("passerelle-gateway: this reading is not registered: {why}");
        }
    }

    fn noted(&self, log: &messagelog::Config, shown: Shown) -> Result<(), String> {
        if self.copy {
            return Err("it is of a copy (--copy)".to_owned());
        }
        let own = rustix::process::geteuid().as_raw();
        let behind = behind_root().filter(|_| own == 0);
        let access = AccessRecord {
            who: counter::user(own, behind.as_deref()),
            role: None,
            action: shown.action.to_owned(),
            query: shown.query,
            reason: self.reason.clone(),
            records: shown.records,
            bodies: shown.bodies,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match counter::tell(&log.directory, access.clone(), behind.as_deref()) {
                Ok(()) => return Ok(()),
                Err(error) if no_gateway(&error) => {}
                Err(error) => return Err(format!("the gateway does not note it: {error}")),
            }
            match by_itself(log, own, access.clone()) {
                Ok(()) => return Ok(()),
                Err(NotNoted::Locked) if tries < TRIES => std::thread::sleep(PAUSE),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "for whom sudo runs this is no setting")]
fn behind_root() -> Option<String> {
    std::env::var("SUDO_USER").ok()
}

#[derive(Debug, thiserror::Error)]
enum NotNoted {
    #[error("another process has the log open, and does not note it")]
    Locked,
    #[error("the log is that of user {0}, and no gateway runs that could note it")]
    OfAnother(u32),
    #[error(transparent)]
    Log(LogError),
    #[error("{0}")]
    Io(io::Error),
}

fn no_gateway(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn by_itself(log: &messagelog::Config, own: u32, access: AccessRecord) -> Result<(), NotNoted> {
    // Files that root makes in the log of another would keep its gateway from starting.
    let owner = fs::metadata(&log.directory).map_err(NotNoted::Io)?.uid();
    if owner != own {
        return Err(NotNoted::OfAnother(owner));
    }
    let failed = |error| match error {
        LogError::Locked => NotNoted::Locked,
        error => NotNoted::Log(error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NotNoted::Io)?;
    let log = MessageLog::open(log.clone(), Arc::new(SystemClock)).map_err(failed)?;
    runtime.block_on(register::note(&log, access)).map_err(failed)
}
