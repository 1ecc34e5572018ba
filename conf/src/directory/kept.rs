//! How configurations lie on disk: as X-Road keeps them, and as `/verificationconf` gives them.
//!
//! ```text
//! instance-identifier                     the own instance
//! EE/shared-params.xml                    a part
//! EE/shared-params.xml.metadata           {"configurationVersion":"6","expirationDate":...}
//! EE/private-params.xml ...
//! ```
//!
//! A part without metadata (or metadata without a version) is of version 2, and never expires: that is how
//! the original reads it. Nothing is verified here: whoever can write to this directory is trusted.
//!
//! Specification: X-Road 7.8, `ConfigurationPartMetadata`; X-Road Signed Document Download (UG-SIGDOC).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use serde::{Deserialize, Serialize};

use super::{Part, PartKind};
use crate::error::ConfError;
use crate::version::Version;
use crate::xml::MAX_BYTES;

/// The file that names the own instance.
pub const INSTANCE_IDENTIFIER: &str = "instance-identifier";

/// The parts of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceParts {
    /// Whose configuration it is.
    pub instance: String,
    /// Until when it is valid; never expires without one.
    pub expires: Option<UnixTime>,
    /// The parts.
    pub parts: Vec<Part>,
}

impl InstanceParts {
    /// The part of this kind.
    pub fn part(&self, kind: &PartKind) -> Option<&Part> {
        self.parts.iter().find(|part| part.kind == *kind)
    }

    /// The part of this kind, which must be there.
    pub fn required(&self, kind: &PartKind) -> Result<&Part, ConfError> {
        self.part(kind).ok_or_else(|| ConfError::MissingPart {
            instance: self.instance.clone(),
            part: kind.identifier().to_owned(),
        })
    }
}

/// What stands in `<part>.metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// `Content-identifier`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_identifier: Option<String>,
    /// The instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_identifier: Option<String>,
    /// Until when the part is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_date: Option<String>,
    /// The name of the file at the source, where it has another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_file_name: Option<String>,
    /// The path of the file at the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_location: Option<String>,
    /// The version of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration_version: Option<String>,
}

/// The own instance, as the file `instance-identifier` says.
pub fn own_instance(directory: &Path) -> Result<String, ConfError> {
    let path = directory.join(INSTANCE_IDENTIFIER);
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ConfError::Missing(INSTANCE_IDENTIFIER.to_owned()),
        _ => ConfError::io(&path, &error),
    })?;
    match text.trim() {
        "" => Err(ConfError::Missing(INSTANCE_IDENTIFIER.to_owned())),
        instance => Ok(instance.to_owned()),
    }
}

/// The parts of every instance that has shared parameters here, in the order of their names.
pub fn read(directory: &Path) -> Result<Vec<InstanceParts>, ConfError> {
    let mut instances = Vec::new();
    for path in entries(directory)? {
        if path.is_dir() && path.join("shared-params.xml").is_file() {
            instances.push(read_instance(&path)?);
        }
    }
    Ok(instances)
}

/// The name of the directory of an instance: as a Java program encodes a form field.
pub fn directory_name(instance: &str) -> Result<String, ConfError> {
    let name: String = percent_encoding::utf8_percent_encode(instance, FORM).to_string().replace("%20", "+");
    if matches!(name.as_str(), "" | "." | "..") { Err(ConfError::UnsafeName(name)) } else { Ok(name) }
}

const FORM: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_');

fn read_instance(path: &Path) -> Result<InstanceParts, ConfError> {
    let unsafe_name = || ConfError::UnsafeName(path.display().to_string());
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unsafe_name)?;
    let instance = percent_encoding::percent_decode_str(&name.replace('+', " "))
        .decode_utf8()
        .map_err(|_| unsafe_name())?
        .into_owned();
    let mut expires: Option<UnixTime> = None;
    let mut parts = Vec::new();
    for file in entries(path)? {
        let Some(file_name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        if !file.is_file() || file_name.ends_with(".metadata") {
            continue;
        }
        let metadata = read_metadata(&file)?;
        if let Some(text) = &metadata.expiration_date {
            let at = UnixTime::from_rfc3339(text)
                .map_err(|error| ConfError::io(&file, &io::Error::other(error.to_string())))?;
            expires = Some(expires.map_or(at, |earlier| earlier.min(at)));
        }
        parts.push(Part {
            kind: kind_of(file_name, &metadata),
            file_name: file_name.to_owned(),
            version: Version::from_text(metadata.configuration_version.as_deref())?,
            bytes: Bytes::from(read_file(&file)?),
        });
    }
    Ok(InstanceParts { instance, expires, parts })
}

fn kind_of(file_name: &str, metadata: &Metadata) -> PartKind {
    let by_name = PartKind::KNOWN.into_iter().find(|kind| kind.file_name() == Some(file_name));
    by_name.unwrap_or_else(|| PartKind::Other(metadata.content_identifier.clone().unwrap_or_default()))
}

fn read_metadata(file: &Path) -> Result<Metadata, ConfError> {
    let mut path = file.as_os_str().to_owned();
    path.push(".metadata");
    let path = PathBuf::from(path);
    if !path.exists() {
        return Ok(Metadata::default());
    }
    serde_json::from_slice(&read_file(&path)?).map_err(|error| ConfError::io(&path, &error.into()))
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfError> {
    let failed = |error| ConfError::io(path, &error);
    let length = fs::metadata(path).map_err(failed)?.len();
    if usize::try_from(length).is_ok_and(|length| length <= MAX_BYTES) {
        fs::read(path).map_err(failed)
    } else {
        Err(failed(io::Error::other("too large")))
    }
}

/// What lies in a directory; hidden entries are not ours to read: [`crate::client::store`] works with them.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, ConfError> {
    let failed = |error| ConfError::io(directory, &error);
    let mut paths = fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.retain(|path| !hidden(path));
    paths.sort();
    Ok(paths)
}
