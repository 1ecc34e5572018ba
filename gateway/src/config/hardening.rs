//! `[hardening]`: what the gateway gives up before it takes the first connection.
//!
//! Not here: how ([`crate::hardening`]).

use std::path::{Path, PathBuf};

use cert_authority::hardening::Confine;
use serde::Deserialize;

/// As written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HardeningFile {
    confine: Option<Confine>,
    #[serde(default)]
    readable: Vec<PathBuf>,
}

/// As meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardening {
    /// Whether the gateway confines itself.
    pub confine: Confine,
    /// What it may read besides what the settings name when it starts.
    pub readable: Vec<PathBuf>,
}

impl HardeningFile {
    /// As meant; paths are relative to `folder`.
    pub(super) fn resolve(&self, folder: &Path) -> Hardening {
        let readable = self.readable.iter().map(|path| folder.join(path)).collect();
        Hardening { confine: self.confine.unwrap_or_default(), readable }
    }
}
