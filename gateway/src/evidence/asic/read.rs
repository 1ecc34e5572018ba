//! What a container must hold, and in which shape.
//!
//! Read as leniently as containers of X-Road differ (order of the entries, `mimetype` deflated, files
//! that are not ours), and as strictly as the archive demands: see [`super::archive`].

use std::collections::BTreeMap;

use super::{
    MIMETYPE,
    archive::{self, ArchiveError},
    name,
};

/// Why a file is no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// No ZIP file at all.
    #[error("not a ZIP file")]
    NotAZip,
    /// A ZIP file that is damaged, ambiguous or larger than allowed.
    #[error("{0}")]
    Archive(String),
    /// An entry that must be there is not, or is empty.
    #[error("{entry} not found or is empty")]
    Missing {
        /// Its name.
        entry: &'static str,
        /// X-Road's code for it.
        code: &'static str,
    },
    /// The `mimetype` is another.
    #[error("invalid mime type: {0}")]
    MimeType(String),
}

impl ContainerError {
    /// X-Road's code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAZip | Self::Archive(_) => "asic_invalid_container",
            Self::Missing { code, .. } => code,
            Self::MimeType(_) => "asic_invalid_mime_type",
        }
    }
}

impl From<ArchiveError> for ContainerError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::NotAZip => Self::NotAZip,
            ArchiveError::Invalid(_) => Self::Archive(error.to_string()),
        }
    }
}

/// The entries of a container that has all it needs.
#[derive(Debug)]
pub(super) struct Contents(BTreeMap<String, Vec<u8>>);

impl Contents {
    /// Opens a container.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ContainerError> {
        let entries = archive::read(bytes)?;
        let contents = Self(entries.into_iter().map(|entry| (entry.name, entry.data)).collect());
        contents.check()?;
        Ok(contents)
    }

    /// The checks of X-Road, in its order.
    fn check(&self) -> Result<(), ContainerError> {
        let mimetype = self.required(name::MIMETYPE, "asic_mime_type_not_found")?;
        if !mimetype.eq_ignore_ascii_case(MIMETYPE.as_bytes()) {
            let found = String::from_utf8_lossy(mimetype).chars().take(100).collect();
            return Err(ContainerError::MimeType(found));
        }
        self.required(name::MESSAGE, "asic_message_not_found")?;
        self.required(name::SIGNATURE, "asic_signature_not_found")?;
        self.both(name::SIG_HASH_CHAIN_RESULT, name::SIG_HASH_CHAIN)?;
        if self.0.contains_key(name::TIMESTAMP) {
            self.required(name::TIMESTAMP, "asic_timestamp_not_found")?;
        }
        self.both(name::TS_HASH_CHAIN_RESULT, name::TS_HASH_CHAIN)?;
        for manifest in [name::MANIFEST, name::ASIC_MANIFEST] {
            if self.0.contains_key(manifest) {
                self.required(manifest, "asic_manifest_not_found")?;
            }
        }
        Ok(())
    }

    fn required(&self, entry: &'static str, code: &'static str) -> Result<&[u8], ContainerError> {
        self.entry(entry).ok_or(ContainerError::Missing { entry, code })
    }

    /// A hash chain and its result: both or none.
    fn both(&self, result: &'static str, chain: &'static str) -> Result<(), ContainerError> {
        if self.entry(result).is_none() && self.entry(chain).is_none() {
            return Ok(());
        }
        self.required(result, "asic_hash_chain_result_not_found")?;
        self.required(chain, "asic_hash_chain_not_found").map(drop)
    }

    /// An entry that holds more than white space.
    pub(super) fn entry(&self, name: &str) -> Option<&[u8]> {
        let data = self.0.get(name)?.as_slice();
        Some(data).filter(|data| !data.trim_ascii().is_empty())
    }

    /// The message.
    pub(super) fn message(&self) -> &[u8] {
        self.entry(name::MESSAGE).unwrap_or_default()
    }

    /// The signature.
    pub(super) fn signature(&self) -> &[u8] {
        self.entry(name::SIGNATURE).unwrap_or_default()
    }

    /// The attachments by their names; they may be empty.
    pub(super) fn attachments(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let number = |entry: &str| entry.strip_prefix(name::ATTACHMENT).map(str::to_owned);
        let is_number = |text: String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        self.0
            .iter()
            .filter(move |(entry, _)| number(entry).is_some_and(is_number))
            .map(|(entry, data)| (entry.as_str(), data.as_slice()))
    }
}
