//! Versions of the global configuration.
//!
//! Specification: X-Road Protocol for Downloading Configuration (PR-GCONF); version 6 appears in 7.8.
//! All from 2 to 6 are read; 3 to 6 are written, because 2 knows certificates by SHA-1 only.

use cert_authority::algorithm::DigestAlgorithm;

use crate::error::ConfError;

/// The version of a configuration; each adds elements to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The oldest; certificates of servers are known by SHA-1.
    V2,
    /// Adds configuration sources and ACME servers; SHA-256.
    V3,
    /// Adds the profiles of ACME servers.
    V4,
    /// Adds names of subsystems and the maintenance mode of servers.
    V5,
    /// Adds cost types and the format of certificate requests.
    V6,
}

impl Version {
    /// Newest first, as a client asks for them.
    pub const ALL: [Self; 5] = [Self::V6, Self::V5, Self::V4, Self::V3, Self::V2];

    /// The number, as in `?version=6`.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
            Self::V4 => 4,
            Self::V5 => 5,
            Self::V6 => 6,
        }
    }

    /// The version of this number. No number at all means 2: that is how the oldest servers answer.
    pub fn from_text(text: Option<&str>) -> Result<Self, ConfError> {
        let text = text.unwrap_or("2").trim();
        Self::ALL
            .into_iter()
            .find(|version| text.parse() == Ok(version.number()))
            .ok_or_else(|| ConfError::UnsupportedVersion(text.to_owned()))
    }

    /// What `authCertHash` is a hash with.
    pub const fn certificate_hash(self) -> DigestAlgorithm {
        match self {
            Self::V2 => DigestAlgorithm::Sha1,
            _ => DigestAlgorithm::Sha256,
        }
    }
}
