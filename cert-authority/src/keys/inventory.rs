//! Which keys a directory holds, for what, and with which certificates. Needs no PIN.
//!
//! ```text
//! <id>.key.pem     the key, encrypted (mode 0600)                    super::software
//! <id>.toml        usage, kind, label, member, when it was made      Description
//! <id>.cert.pem    its certificate first, then the intermediates     import_certificate
//! ```
//! Not here: the private halves.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{KeyId, KeyType};
use crate::{
    clock::UnixTime,
    durable,
    error::{KeyError, PkiError},
    x509::Certificate,
};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// Signing messages for a member.
    Sign,
    /// Authenticating a server to its peers.
    Auth,
    /// TLS towards one's own systems.
    Tls,
    /// Issuing certificates.
    Ca,
    /// Signing OCSP responses.
    Ocsp,
    /// Signing time-stamps.
    Tsa,
    /// Signing the global configuration.
    Configuration,
    /// Signing checkpoints of a log.
    Checkpoint,
    /// Cosigning checkpoints of the logs of others.
    Witness,
}

impl Usage {
    /// Whether the TLS library may be given the key.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Auth | Self::Tls)
    }

    /// Whether signed notes are made with the key, and nothing else.
    pub const fn is_note(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Witness)
    }
}

/// What is known of a key without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The key.
    pub id: KeyId,
    /// What it is for.
    pub usage: Usage,
    /// Its kind.
    pub key_type: KeyType,
    /// What the administrator calls it.
    pub label: String,
    /// Whose it is, where it belongs to somebody.
    pub member: Option<String>,
    /// When it was made.
    pub created: UnixTime,
}

/// A key with its certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is known of the key.
    pub key: Description,
    /// Its certificate first, then the intermediates; empty until a certificate was imported.
    pub certificates: Vec<Certificate>,
}

impl Entry {
    /// The key's own certificate.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificates.first()
    }
}

/// The keys of one directory with their certificates, as they were when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    directory: PathBuf,
    entries: Vec<Entry>,
}

impl Inventory {
    /// Reads the directory; one that is not there is empty.
    ///
    /// # Errors
    /// [`KeyError::CertificateMismatch`] when a certificate is over another key than its file's name says;
    /// [`KeyError::Malformed`], [`KeyError::Io`].
    pub fn load(directory: impl Into<PathBuf>) -> Result<Self, KeyError> {
        let directory = directory.into();
        let entries = descriptions(&directory)?
            .into_iter()
            .map(|key| Ok(Entry { certificates: read_certificates(&directory, &key.id)?, key }))
            .collect::<Result<_, KeyError>>()?;
        Ok(Self { directory, entries })
    }

    /// With the keys of another place, too.
    #[must_use]
    pub fn with(mut self, others: impl IntoIterator<Item = Entry>) -> Self {
        self.entries.extend(others);
        self.entries.sort_by(|a, b| (a.key.created, &a.key.id).cmp(&(b.key.created, &b.key.id)));
        self
    }

    /// All keys, the oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The key with this id.
    pub fn find(&self, id: &KeyId) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key.id == *id)
    }

    /// Keeps a certificate, and the intermediates that follow it in the text, with the key that it is over.
    /// An earlier certificate of the key is replaced.
    ///
    /// # Errors
    /// [`KeyError::CertificateMismatch`] when no key here is the certificate's; [`PkiError::Decode`].
    pub fn import_certificate(&mut self, pem: &str) -> Result<KeyId, PkiError> {
        let certificates = Certificate::pems(pem)?;
        let leaf = certificates.first().ok_or_else(|| PkiError::decode("certificate", "there is none"))?;
        let id = leaf.public_key().key_id();
        let entry = self
            .entries
            .iter_mut()
            .find(|e| e.key.id == id)
            .ok_or(PkiError::Key(KeyError::CertificateMismatch))?;
        let path = certificate_path(&self.directory, &id);
        let text: String = certificates.iter().map(Certificate::to_pem).collect();
        durable::write(&path, text.as_bytes()).map_err(|e| io_failed(&path, &e))?;
        entry.certificates = certificates;
        Ok(id)
    }
}

/// The `<id>.toml` of a key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptionFile {
    usage: Usage,
    key_type: String,
    label: String,
    member: Option<String>,
    created: String,
}

impl Description {
    pub(super) fn write(&self, directory: &Path) -> Result<(), KeyError> {
        let path = directory.join(format!("{}.toml", self.id));
        let file = DescriptionFile {
            usage: self.usage,
            key_type: self.key_type.to_string(),
            label: self.label.clone(),
            member: self.member.clone(),
            created: self.created.to_rfc3339(),
        };
        let text = toml::to_string(&file).map_err(|e| malformed(&path, e))?;
        durable::write(&path, text.as_bytes()).map_err(|e| io_failed(&path, &e))
    }

    fn read(path: &Path, id: KeyId) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map_err(|e| io_failed(path, &e))?;
        let file: DescriptionFile = toml::from_str(&text).map_err(|e| malformed(path, e.message()))?;
        Ok(Self {
            id,
            usage: file.usage,
            key_type: file.key_type.parse().map_err(|e| malformed(path, e))?,
            label: file.label,
            member: file.member,
            created: UnixTime::from_rfc3339(&file.created).map_err(|e| malformed(path, e))?,
        })
    }
}

/// The descriptions of all keys of a directory, the oldest first.
pub(super) fn descriptions(directory: &Path) -> Result<Vec<Description>, KeyError> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_failed(directory, &e)),
    };
    let mut found = Vec::new();
    for entry in listing {
        let name = entry.map_err(|e| io_failed(directory, &e))?.file_name();
        let id = name.to_str().and_then(|n| n.strip_suffix(".toml")).and_then(|stem| stem.parse().ok());
        if let Some(id) = id {
            found.push(Description::read(&directory.join(&name), id)?);
        }
    }
    found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    Ok(found)
}

fn read_certificates(directory: &Path, id: &KeyId) -> Result<Vec<Certificate>, KeyError> {
    let path = certificate_path(directory, id);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_failed(&path, &e)),
    };
    let certificates = Certificate::pems(&text).map_err(|e| malformed(&path, e))?;
    match certificates.first() {
        Some(leaf) if leaf.public_key().key_id() == *id => Ok(certificates),
        Some(_) => Err(KeyError::CertificateMismatch),
        None => Err(malformed(&path, "it holds no certificate")),
    }
}

fn certificate_path(directory: &Path, id: &KeyId) -> PathBuf {
    directory.join(format!("{id}.cert.pem"))
}

fn malformed(path: &Path, reason: impl ToString) -> KeyError {
    KeyError::Malformed { path: path.display().to_string(), reason: reason.to_string() }
}

fn io_failed(path: &Path, e: &io::Error) -> KeyError {
    KeyError::Io { path: path.display().to_string(), reason: e.to_string() }
}
