//! `[archive]`: where archives of the message log go, and how.
//!
//! Not here: what is done with it ([`crate::archive`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cert_authority::settings::{optional_duration, optional_size};
use serde::Deserialize;

use super::file::{OrOff, duration_or_off};
use crate::archive::archiver::{Archiver, Grouping, Settings};
use crate::archive::encryption::Recipients;
use crate::archive::target::Directory;
use crate::messagelog::MessageLog;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveFile {
    directory: PathBuf,
    #[serde(default)]
    grouping: GroupingFile,
    #[serde(default, deserialize_with = "optional_size")]
    rotate: Option<u64>,
    #[serde(default, deserialize_with = "optional_duration")]
    every: Option<Duration>,
    #[serde(default, deserialize_with = "duration_or_off")]
    keep_bodies: Option<OrOff<Duration>>,
    recipients: Option<Recipients>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum GroupingFile {
    #[default]
    None,
    Member,
    Subsystem,
}

/// As meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where archives go.
    pub directory: PathBuf,
    /// How they are made.
    pub settings: Settings,
    /// How often.
    pub every: Duration,
    /// How long bodies are kept that are archived; none: for ever.
    pub keep_bodies: Option<Duration>,
}

impl ArchiveFile {
    pub(super) fn resolve(&self, folder: &Path) -> Archive {
        let grouping = match self.grouping {
            GroupingFile::None => Grouping::None,
            GroupingFile::Member => Grouping::Member,
            GroupingFile::Subsystem => Grouping::Subsystem,
        };
        let defaults = Settings::default();
        let rotate_at = self.rotate.unwrap_or(defaults.rotate_at);
        Archive {
            directory: folder.join(&self.directory),
            settings: Settings { grouping, rotate_at, recipients: self.recipients.clone(), ..defaults },
            keep_bodies: match self.keep_bodies {
                None | Some(OrOff::Off) => None,
                Some(OrOff::On(keep)) => Some(keep),
            },
            every: self.every.unwrap_or(Duration::from_secs(6 * 3600)).max(Duration::from_secs(1)),
        }
    }
}

impl Archive {
    /// What archives this log as the settings say.
    pub fn archiver(&self, log: &MessageLog) -> Archiver<MessageLog> {
        let reader = log.reader();
        let target = Directory::new(&self.directory, reader.directory().join("bodies"));
        Archiver::new(log.clone(), reader, Arc::new(target), self.settings.clone())
    }
}
