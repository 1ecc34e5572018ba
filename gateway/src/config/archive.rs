//! `[archive]`: where archives of the message log go, and how.
//!
//! Not here: what is done with it ([`crate::archive`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cert_authority::settings::{Text, optional_duration, optional_size};
use cert_authority::x509::Certificate;
use serde::Deserialize;

use super::file::{OrOff, duration_or_off};
use crate::archive::archiver::{Archiver, Grouping, Settings};
use crate::archive::bucket::{Address, Bucket};
use crate::archive::encryption::Recipients;
use crate::archive::target::{Directory, Target};
use crate::messagelog::MessageLog;

/// How long an object store may be silent.
const PATIENCE: Duration = Duration::from_secs(120);

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveFile {
    directory: Option<PathBuf>,
    s3: Option<BucketFile>,
    #[serde(default)]
    grouping: GroupingFile,
    #[serde(default, deserialize_with = "optional_size")]
    rotate: Option<u64>,
    #[serde(default, deserialize_with = "optional_duration")]
    every: Option<Duration>,
    #[serde(default, deserialize_with = "duration_or_off")]
    keep_bodies: Option<OrOff<Duration>>,
    #[serde(default, deserialize_with = "duration_or_off")]
    keep_records: Option<OrOff<Duration>>,
    recipients: Option<Recipients>,
}

/// `[archive.s3]`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketFile {
    pub(super) endpoint: Text,
    bucket: String,
    #[serde(default)]
    prefix: String,
    region: Option<String>,
    credentials: PathBuf,
    pub(super) authorities: Option<Text>,
    #[serde(default)]
    allow_http: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum GroupingFile {
    #[default]
    None,
    Member,
    Subsystem,
}

/// Where archives go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// To a directory.
    Directory(PathBuf),
    /// To a bucket of an object store.
    Bucket(Address),
}

impl Place {
    /// The folder where they can be judged; what lies in a bucket is judged when it has been fetched.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Bucket(_) => None,
        }
    }
}

/// As meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where archives go.
    pub place: Place,
    /// How they are made.
    pub settings: Settings,
    /// How often.
    pub every: Duration,
    /// How long bodies are kept that are archived; none: for ever.
    pub keep_bodies: Option<Duration>,
    /// How long messages are kept that are archived and whose bodies are gone; none: for ever.
    pub keep_records: Option<Duration>,
}

impl BucketFile {
    /// What is wrong with the endpoint.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let endpoint = self.endpoint.get_ref();
        if endpoint.starts_with("https://") {
            return self.authorities.is_none().then_some("https needs authorities = a PEM file");
        }
        if !endpoint.starts_with("http://") {
            return Some("must begin with https://");
        }
        (!self.allow_http)
            .then_some("anybody on the way could read and change what is sent; allow_http = true allows it")
    }

    fn resolve(&self, folder: &Path, authorities: Vec<Certificate>) -> Address {
        Address {
            endpoint: self.endpoint.get_ref().trim_end_matches('/').to_owned(),
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            region: self.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
            credentials: folder.join(&self.credentials),
            authorities,
            patience: PATIENCE,
        }
    }
}

impl ArchiveFile {
    /// The bucket, if archives are to go to one.
    pub(super) const fn bucket(&self) -> Option<&BucketFile> {
        self.s3.as_ref()
    }

    /// As meant; `authorities` are those of the bucket.
    ///
    /// # Errors
    /// In words: it does not say where to, or says it twice.
    pub(super) fn resolve(
        &self,
        folder: &Path,
        authorities: Vec<Certificate>,
    ) -> Result<Archive, &'static str> {
        let place = match (&self.directory, &self.s3) {
            (Some(directory), None) => Place::Directory(folder.join(directory)),
            (None, Some(bucket)) => Place::Bucket(bucket.resolve(folder, authorities)),
            (Some(_), Some(_)) => return Err("archives go to a directory or to [archive.s3], not to both"),
            (None, None) => return Err("needs directory = a folder, or [archive.s3]"),
        };
        let grouping = match self.grouping {
            GroupingFile::None => Grouping::None,
            GroupingFile::Member => Grouping::Member,
            GroupingFile::Subsystem => Grouping::Subsystem,
        };
        let on = |keep: &Option<OrOff<Duration>>| match keep {
            None | Some(OrOff::Off) => None,
            Some(OrOff::On(keep)) => Some(*keep),
        };
        let (keep_bodies, keep_records) = (on(&self.keep_bodies), on(&self.keep_records));
        match (keep_bodies, keep_records) {
            (None, Some(_)) => return Err("keep_records needs keep_bodies: nobody could open what is left"),
            (Some(bodies), Some(records)) if records < bodies => {
                return Err("keep_records must not be shorter than keep_bodies");
            }
            _ => {}
        }
        let defaults = Settings::default();
        let rotate_at = self.rotate.unwrap_or(defaults.rotate_at);
        Ok(Archive {
            place,
            settings: Settings { grouping, rotate_at, recipients: self.recipients.clone(), ..defaults },
            keep_bodies,
            keep_records,
            every: self.every.unwrap_or(Duration::from_secs(6 * 3600)).max(Duration::from_secs(1)),
        })
    }
}

impl Archive {
    /// What archives this log as the settings say.
    pub fn archiver(&self, log: &MessageLog) -> Archiver<MessageLog> {
        let reader = log.reader();
        let staging = reader.directory().join("bodies");
        let target: Arc<dyn Target> = match &self.place {
            Place::Directory(directory) => Arc::new(Directory::new(directory, staging)),
            Place::Bucket(address) => Arc::new(Bucket::new(address.clone(), staging)),
        };
        Archiver::new(log.clone(), reader, target, self.settings.clone())
    }
}
