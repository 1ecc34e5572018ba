//! The settings of a witness, as they stand in the file of whatever program is one.
//!
//! ```toml
//! [witness]
//! name = "authority.example/witness"
//! listen = "0.0.0.0:7010"
//! directory = "witness"
//! [[witness.log]]
//! origin = "gateway.example/DEMO/GOV/1001/ss1"
//! keys = ["gateway.example/DEMO/GOV/1001/ss1+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"]
//! ```
//! Not here: what a witness does ([`super::witness`]).

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    note::{NoteSigner, SignatureType, VerifierKey},
    witness::{KnownLog, Witness, WitnessError},
};
use crate::{
    clock::Clock,
    error::KeyError,
    keys::{
        KeyId, Signer,
        inventory::{Inventory, Usage},
    },
    settings::{Problems, Text},
};

/// `[witness]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessFile {
    name: Text,
    listen: SocketAddr,
    directory: Option<PathBuf>,
    key: Option<Text>,
    #[serde(default)]
    log: Vec<LogFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogFile {
    origin: Text,
    keys: Vec<Text>,
}

/// The settings of a witness, as they are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it remembers.
    pub directory: PathBuf,
    /// Its key; none for the newest one with usage `witness`.
    pub key: Option<KeyId>,
    /// The logs that it knows.
    pub logs: Vec<KnownLog>,
}

/// Why a witness cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its key.
    #[error("the key of the witness: {0}")]
    Key(#[from] KeyError),
    /// There is none.
    #[error("there is no key with usage witness: make one of type ed25519")]
    NoKey,
    /// What it remembers.
    #[error("witness: {0}")]
    Witness(#[from] WitnessError),
}

impl WitnessFile {
    /// As it is meant; paths are relative to `folder`. Faults are noted with their places in `text`.
    pub fn resolve(&self, text: &str, folder: &Path, problems: &mut Problems) -> WitnessSettings {
        let mut fault = |at: &Text, key: &str, reason: String| problems.at(text, &at.span(), key, reason);
        let key = self.key.as_ref().and_then(|at| match at.get_ref().parse() {
            Ok(id) => Some(id),
            Err(error) => {
                fault(at, "witness.key", format!("{error}"));
                None
            }
        });
        let mut logs = Vec::new();
        let mut seen = HashSet::new();
        for log in &self.log {
            let origin = log.origin.get_ref().clone();
            if origin.is_empty() || !seen.insert(origin.clone()) {
                fault(&log.origin, "witness.log.origin", "it is empty, or stands here twice".to_owned());
            }
            if log.keys.is_empty() {
                fault(&log.origin, "witness.log.keys", "a log has at least one key".to_owned());
            }
            let mut keys = Vec::new();
            for at in &log.keys {
                match at.get_ref().parse::<VerifierKey>() {
                    Ok(key) if key.kind() == SignatureType::Ed25519 => keys.push(key),
                    Ok(_) => fault(at, "witness.log.keys", "this is the key of a witness".to_owned()),
                    Err(error) => fault(at, "witness.log.keys", error.to_string()),
                }
            }
            logs.push(KnownLog { origin, keys });
        }
        WitnessSettings {
            name: self.name.get_ref().clone(),
            listen: self.listen,
            directory: folder.join(self.directory.as_deref().unwrap_or_else(|| Path::new("witness"))),
            key,
            logs,
        }
    }
}

impl WitnessSettings {
    /// The witness of these settings, with a key of the inventory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        &self,
        inventory: &Inventory,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Witness, OpenError> {
        let signer = self.signer(inventory, signer)?;
        Ok(Witness::open(signer, &self.directory, self.logs.clone(), clock)?)
    }

    /// What its cosignatures are made with.
    ///
    /// # Errors
    /// [`OpenError::NoKey`], [`OpenError::Key`].
    pub fn signer(&self, inventory: &Inventory, signer: Arc<dyn Signer>) -> Result<NoteSigner, OpenError> {
        let key = self.key.clone().or_else(|| newest(inventory, Usage::Witness)).ok_or(OpenError::NoKey)?;
        Ok(NoteSigner::new(&self.name, SignatureType::Cosignature, key, signer)?)
    }
}

/// The newest key of a usage.
pub fn newest(inventory: &Inventory, usage: Usage) -> Option<KeyId> {
    let of_usage = inventory.entries().iter().rev().find(|entry| entry.key.usage == usage);
    of_usage.map(|entry| entry.key.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Reader;

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn read(text: &str) -> Result<WitnessSettings, Problems> {
        let mut reader = Reader::new(text)?;
        let file: Option<WitnessFile> = reader.one("witness");
        let mut problems = reader.finish();
        let Some(file) = file else { return Err(problems) };
        let settings = file.resolve(text, Path::new("/etc"), &mut problems);
        problems.or(settings)
    }

    #[test]
    fn settings_are_read_and_every_fault_is_told_with_its_line() {
        let head = "[witness]\nname = \"w.example\"\nlisten = \"127.0.0.1:1\"\n";
        let log =
            |origin: &str, key: &str| format!("[[witness.log]]\norigin = \"{origin}\"\nkeys = [\"{key}\"]\n");
        let settings = read(&format!("{head}{}", log("a", KEY))).unwrap();
        assert_eq!((settings.directory.as_path(), settings.logs.len()), (Path::new("/etc/witness"), 1));
        let bad = format!("{head}key = \"x\"\n{}{}{}", log("a", KEY), log("a", "b"), log("", KEY));
        let lines: Vec<_> = read(&bad).unwrap_err().0.into_iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(4), Some(9), Some(10), Some(12)]);
        assert!(read(&format!("{head}[[witness.log]]\norigin = \"a\"\nkeys = []\n")).is_err());
        assert!(read("[witness]\nname = \"w\"\n").is_err());
    }
}
