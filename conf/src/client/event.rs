//! What came of asking a source: told as a value, in the log and in the metrics.

use cert_authority::clock::UnixTime;

use super::handle::{ConfHandle, Counter};
use super::plan::Answer;
use crate::error::ConfError;
use crate::version::Version;

/// One question and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The instance that was asked about.
    pub instance: String,
    /// The address that was asked.
    pub url: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A newer configuration is in force.
    Taken {
        /// Until when it is valid.
        expires: UnixTime,
        /// Its version.
        version: Version,
    },
    /// The source has what is in force.
    Unchanged,
    /// A genuine configuration that is older than the one in force, from a slow source or an attacker: ignored.
    Older {
        /// Expire-date of the one in force.
        kept: UnixTime,
        /// Expire-date of the one that was ignored.
        found: UnixTime,
    },
    /// The source does not have this version.
    NoSuchVersion,
    /// Nothing usable.
    Failed(ConfError),
}

impl Outcome {
    /// What the plan has to know of it.
    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Taken { .. } => Answer::Taken,
            Self::Unchanged => Answer::Unchanged,
            Self::Older { .. } => Answer::Older,
            Self::NoSuchVersion => Answer::NoSuchVersion,
            Self::Failed(_) => Answer::Failed,
        }
    }

    const fn name(&self) -> Option<(&'static str, Counter)> {
        match self {
            Self::Taken { .. } => Some(("taken", Counter::Taken)),
            Self::Unchanged => Some(("unchanged", Counter::Unchanged)),
            Self::Older { .. } => Some(("older", Counter::Older)),
            Self::Failed(_) => Some(("failed", Counter::Failed)),
            // A version that a source does not have is no news: the next one is asked for.
            Self::NoSuchVersion => None,
        }
    }
}

impl Event {
    /// Counts and logs the event: `conf_fetch_total{instance, outcome}` and `conf_expires_seconds{instance}`.
    pub(super) fn record(&self, handle: &ConfHandle) {
        let Self { instance, url, outcome } = self;
        if let Some((name, counter)) = outcome.name() {
            handle.count(counter);
            metrics::counter!("conf_fetch_total", "instance" => instance.clone(), "outcome" => name)
                .increment(1);
        }
        match outcome {
            Outcome::Taken { expires, version } => {
                let seconds = u32::try_from(expires.as_secs()).map_or(f64::INFINITY, f64::from);
                metrics::gauge!("conf_expires_seconds", "instance" => instance.clone()).set(seconds);
                tracing::info!(instance, url, %expires, version = version.number(), "configuration taken");
            }
            Outcome::Older { kept, found } => {
                tracing::warn!(instance, url, %kept, %found, "an older configuration was ignored");
            }
            Outcome::Failed(error) => {
                tracing::warn!(instance, url, %error, "no configuration from this source")
            }
            Outcome::Unchanged | Outcome::NoSuchVersion => tracing::debug!(instance, url, ?outcome),
        }
    }
}
