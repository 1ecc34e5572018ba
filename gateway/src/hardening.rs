//! What the gateway gives up before it takes the first connection, so that whoever takes it over has little: which folders
//! are its own, and what it needs to read.
//!
//! Specification: THREATS A2, A4 (a gateway that was taken over). Not here: the fences themselves
//! ([`cert_authority::hardening`]).

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use cert_authority::hardening::{self, Allowed, Confine, HardeningError, InForce, Sockets};

use crate::config::Config;
use crate::config::archive::Place;

/// What every process needs to read: libraries, name resolution, time zones, authorities, the machine as Linux shows it.
const NEEDED: [&str; 17] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/run/nscd",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/systemd/resolve",
    "/var/lib/dpkg",
    "/var/run/nscd",
];

/// The files and folders that a gateway of these settings needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Folders that it writes, and makes where they are not there.
    pub own: Vec<PathBuf>,
    /// The folder of its archives, which it writes but never makes: where it is away, a disk is not mounted.
    pub archives: Option<PathBuf>,
    /// Files and folders that it reads besides.
    pub read: Vec<PathBuf>,
}

/// Gives up what the gateway does not need, in this thread and in those that it starts. Makes its folders first: what is
/// not there cannot be fenced in.
///
/// # Errors
/// [`HardeningError`] when the settings demand what cannot be had; then this thread may be confined already.
pub fn confine(config: &Config, settings: &Path) -> Result<InForce, HardeningError> {
    let places = Places::of(config, settings);
    if config.hardening.confine != Confine::Off {
        places.make();
    }
    let own = places.own.into_iter().chain(places.archives).collect();
    let allowed = Allowed { own, sockets: Vec::new(), read: places.read };
    hardening::confine(config.hardening.confine, &allowed, Sockets::Network)
}

impl Places {
    /// Those of a gateway whose settings file is `settings`.
    #[must_use]
    pub fn of(config: &Config, settings: &Path) -> Self {
        let mut own = vec![
            config.configuration.directory.clone(),
            config.keys.ocsp_cache.clone(),
            config.log.directory.clone(),
        ];
        own.extend(config.monitoring.directory.clone());
        let archives = match config.archive.as_ref().map(|archive| &archive.place) {
            Some(Place::Directory(directory)) => Some(directory.clone()),
            Some(Place::Bucket(_)) | None => None,
        };
        own.extend(config.witness.as_ref().map(|witness| witness.directory.clone()));
        // The first start makes the key of the log.
        if !config.log.key.exists() {
            own.extend(config.log.key.parent().map(Path::to_path_buf));
        }
        let folder = folder_of(settings);
        let mut read: Vec<PathBuf> = NEEDED.iter().map(PathBuf::from).collect();
        read.push(folder.clone());
        read.push(config.keys.directory.clone());
        read.extend(config.hardening.readable.iter().cloned());
        let text = fs::read_to_string(settings).unwrap_or_default();
        for path in named(&text).into_iter().map(|name| folder.join(name)).filter(|path| path.exists()) {
            // What is replaced by another file of the same name is read, too.
            read.extend(path.parent().map(Path::to_path_buf));
            read.push(path);
        }
        // What is not there cannot be opened later either. A text "/" in the settings opens nothing.
        let mut read: Vec<PathBuf> = read.into_iter().filter_map(|path| path.canonicalize().ok()).collect();
        read.retain(|path| path.parent().is_some());
        read.sort();
        read.dedup();
        Self { own, archives, read }
    }

    /// Makes its folders, readable by nobody else. One that cannot be made is told of by whoever needs it.
    fn make(&self) {
        for folder in &self.own {
            let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        }
    }
}

fn folder_of(settings: &Path) -> PathBuf {
    let folder = settings.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new(".")).to_path_buf()
}

/// Every text of a settings file: whatever file one of them names must stay readable, for the settings are read anew.
fn named(text: &str) -> Vec<String> {
    fn texts(value: toml::Value, found: &mut Vec<String>) {
        match value {
            toml::Value::String(text) => found.push(text),
            toml::Value::Array(values) => values.into_iter().for_each(|value| texts(value, found)),
            toml::Value::Table(table) => table.into_iter().for_each(|(_, value)| texts(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (_, value) in text.parse::<toml::Table>().unwrap_or_default() {
        texts(value, &mut found);
    }
    found
}
