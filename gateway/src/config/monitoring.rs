//! `[monitoring]`: what is kept of exchanges, and for whom.
//!
//! Not here: what is done with it ([`crate::opmonitor`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use cert_authority::settings::{Text, optional_duration, optional_size};
use serde::Deserialize;

use super::file::{OrOff, duration_or_off};
use crate::opmonitor::Settings;
use crate::opmonitor::traces::Collector;

/// As written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MonitoringFile {
    #[serde(default, deserialize_with = "duration_or_off")]
    keep: Option<OrOff<Duration>>,
    directory: Option<PathBuf>,
    #[serde(default, deserialize_with = "optional_size")]
    room: Option<u64>,
    #[serde(default, deserialize_with = "optional_duration")]
    period: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    offset: Option<Duration>,
    most_records: Option<usize>,
    limited: Option<bool>,
    pub(super) traces: Option<TracesFile>,
}

/// Where traces go, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TracesFile {
    pub(super) endpoint: Text,
    pub(super) authorities: Option<Text>,
}

/// The address of a collector.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let known = text.starts_with("http://") || text.starts_with("https://");
    if known && !text.contains([' ', '#']) {
        Ok(text.to_owned())
    } else {
        Err("begins with http:// or https://".to_owned())
    }
}

impl MonitoringFile {
    /// As meant; paths are relative to `folder`.
    pub(super) fn resolve(&self, folder: &Path, traces: Option<Collector>) -> Settings {
        let keep = self.keep.unwrap_or(OrOff::On(Duration::from_secs(7 * 86_400)));
        let directory = folder.join(self.directory.as_deref().unwrap_or_else(|| Path::new("monitoring")));
        let (directory, keep) = match keep {
            OrOff::Off => (None, Duration::ZERO),
            OrOff::On(keep) => (Some(directory), keep),
        };
        Settings {
            directory,
            keep,
            room: self.room.unwrap_or(1 << 30),
            period: self.period.unwrap_or(Duration::from_secs(600)),
            offset: self.offset.unwrap_or(Duration::from_secs(60)),
            most_records: self.most_records.unwrap_or(10_000).max(1),
            traces,
            limited: self.limited.unwrap_or(false),
        }
    }
}
