//! Both fences, as the settings want them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::calls::{self, Sockets};
use super::files;

/// Whether a program confines itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confine {
    /// Not at all.
    Off,
    /// As far as the kernel can.
    #[default]
    BestEffort,
    /// It does not start where the kernel cannot.
    Required,
}

/// Files and folders that a program needs; what is not there when the fence is put up cannot be opened later either.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Folders that it writes.
    pub own: Vec<PathBuf>,
    /// Folders in which it makes sockets and takes them away, and writes nothing else.
    pub sockets: Vec<PathBuf>,
    /// Files and folders that it reads.
    pub read: Vec<PathBuf>,
}

/// What is in force in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// The fence around files, as `/health` of the gateway tells it.
    pub files: &'static str,
    /// The one around system calls.
    pub calls: &'static str,
}

/// Why a program does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HardeningError {
    /// The settings demand what this machine does not have.
    #[error("hardening.confine = \"required\", but {what} cannot be had: {reason}")]
    Missing {
        /// The fence.
        what: &'static str,
        /// What the system said.
        reason: String,
    },
}

/// Gives up everything else, in this thread and in those that it starts.
///
/// # Errors
/// [`HardeningError`] when the settings demand what cannot be had; then this thread may be confined already.
pub fn confine(how: Confine, allowed: &Allowed, sockets: Sockets) -> Result<InForce, HardeningError> {
    if how == Confine::Off {
        return Ok(InForce { files: "off", calls: "off" });
    }
    let had = |what, fence: Result<&'static str, String>| match fence {
        Ok(fence) => Ok(fence),
        Err(reason) if how == Confine::Required => Err(HardeningError::Missing { what, reason }),
        Err(reason) => {
            tracing::warn!(%reason, "{what}: not in force on this machine");
            Ok("not in force")
        }
    };
    // Files first: their fence needs calls that the other one takes away.
    let files = had("landlock", files::confine(allowed))?;
    let calls = had("seccomp", calls::confine(sockets))?;
    tracing::info!(files, calls, "confined");
    Ok(InForce { files, calls })
}
