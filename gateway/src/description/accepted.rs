//! The descriptions that an administrator has taken up, in the folder `descriptions/` beside the settings.
//!
//! ```text
//! descriptions/accepted.toml       which document each client's description is, since when
//! descriptions/<SHA-256 in hex>    the documents, each under its own digest, never changed
//! ```
//!
//! A document is written before the list that names it: whenever the machine stops, the list that is there names
//! documents that are there. Documents that are not named any more stay: they tell what once was decided by.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use cert_authority::durable;
use conf::identifier::ClientId;
use serde::{Deserialize, Serialize};

use super::{LIMITS, sha256};

/// The folder, beside the settings.
pub const FOLDER: &str = "descriptions";
/// The list, in the folder.
pub const LIST: &str = "accepted.toml";

const HEADING: &str = "\
# The service descriptions that were taken up, written by `passerelle-gateway service refresh`.
# Each document lies beside this file, under its SHA-256.
";

/// What was taken up.
#[derive(Debug, Clone)]
pub struct Accepted {
    folder: PathBuf,
    text: String,
    entries: Vec<Entry>,
}

/// A description that was taken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The client that offers what it describes.
    pub client: String,
    /// Where it comes from, as the settings say it.
    pub description: String,
    /// Of the document, in hex.
    pub sha256: String,
    /// When it was taken up.
    pub taken_up: String,
    /// The document, while it is not written yet.
    #[serde(skip)]
    fresh: Option<Bytes>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    description: Vec<Entry>,
}

/// Why what was taken up cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptedError {
    /// The list or a document cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The document is not the one that was taken up.
    #[error("{path} is not the document that was taken up: its SHA-256 is {found}")]
    Changed {
        /// The file.
        path: String,
        /// What it has.
        found: String,
    },
}

impl Accepted {
    /// None, yet, beside settings in this folder.
    #[must_use]
    pub fn none(settings: &Path) -> Self {
        Self { folder: settings.join(FOLDER), text: String::new(), entries: Vec::new() }
    }

    /// Those beside settings in this folder; there may be none.
    ///
    /// # Errors
    /// [`AcceptedError::Unreadable`].
    pub fn load(settings: &Path) -> Result<Self, AcceptedError> {
        let none = Self::none(settings);
        let path = none.folder.join(LIST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(none);
            }
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let list: List = toml::from_str(&text).map_err(|error| unreadable(&path, &error))?;
        Ok(Self { text, entries: list.description, ..none })
    }

    /// The list as it is written; empty where there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Everything that was taken up.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was taken up for a client's description.
    #[must_use]
    pub fn get(&self, client: &ClientId, description: &str) -> Option<&Entry> {
        let client = client.to_string();
        self.entries.iter().find(|entry| entry.client == client && entry.description == description)
    }

    /// Its document, which is the one that was taken up.
    ///
    /// # Errors
    /// [`AcceptedError`].
    pub fn document(&self, entry: &Entry) -> Result<Bytes, AcceptedError> {
        if let Some(fresh) = &entry.fresh {
            return Ok(fresh.clone());
        }
        let path = self.folder.join(file_name(&entry.sha256)?);
        let bytes = fs::metadata(&path).and_then(|metadata| {
            if metadata.len() > u64::try_from(LIMITS.max_bytes).unwrap_or(u64::MAX) {
                return Err(io::Error::other("longer than any description may be"));
            }
            fs::read(&path)
        });
        let bytes = bytes.map_err(|error| unreadable(&path, &error))?;
        match sha256(&bytes) {
            found if found == entry.sha256 => Ok(bytes.into()),
            found => Err(AcceptedError::Changed { path: path.display().to_string(), found }),
        }
    }

    /// Puts a document in the place of what was taken up before; [`Self::write`] makes it last.
    pub fn take_up(&mut self, client: &ClientId, description: &str, document: Bytes, at: UnixTime) {
        let client = client.to_string();
        self.entries.retain(|entry| (&*entry.client, &*entry.description) != (&*client, description));
        self.entries.push(Entry {
            client,
            description: description.to_owned(),
            sha256: sha256(&document),
            taken_up: at.to_rfc3339(),
            fresh: Some(document),
        });
    }

    /// Forgets what these do not name.
    pub fn retain(&mut self, named: impl Fn(&Entry) -> bool) {
        self.entries.retain(named);
    }

    /// Writes documents and list so that they outlast a power cut.
    ///
    /// # Errors
    /// What the system says; the list is then the old one, or the new one whole.
    pub fn write(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        durable::sync_dir(
            self.folder
                .parent()
                .filter(|path| !path.as_os_str().is_empty())
                .unwrap_or_else(|| Path::new(".")),
        )?;
        for entry in &self.entries {
            if let Some(document) = &entry.fresh {
                durable::write(self.folder.join(&entry.sha256), document)?;
            }
        }
        self.entries
            .sort_by(|one, other| (&one.client, &one.description).cmp(&(&other.client, &other.description)));
        let list = toml::to_string(&List { description: self.entries.clone() }).map_err(io::Error::other)?;
        let text = format!("{HEADING}\n{list}");
        durable::write(self.folder.join(LIST), text.as_bytes())?;
        self.text = text;
        for entry in &mut self.entries {
            entry.fresh = None;
        }
        Ok(())
    }
}

/// A digest is a file name, and nothing else may be one: the list is not to lead anywhere else.
fn file_name(sha256: &str) -> Result<&str, AcceptedError> {
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if is_digest {
        Ok(sha256)
    } else {
        Err(unreadable(Path::new(LIST), &format!("\"{sha256}\" is no SHA-256")))
    }
}

fn unreadable(path: &Path, reason: &impl ToString) -> AcceptedError {
    AcceptedError::Unreadable { path: path.display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> ClientId {
        "DEMO/GOV/2002/registry".parse().unwrap()
    }

    fn one(folder: &Path, document: &'static str) -> Accepted {
        let mut accepted = Accepted::load(folder).unwrap();
        accepted.take_up(&registry(), "a.yaml", document.into(), UnixTime::from_secs(0));
        accepted.write().unwrap();
        Accepted::load(folder).unwrap()
    }

    #[test]
    fn what_was_taken_up_is_there_again_and_what_was_before_stays_as_a_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Accepted::load(folder.path()).unwrap().text().is_empty());
        let first = one(folder.path(), "first");
        let entry = first.get(&registry(), "a.yaml").unwrap();
        assert_eq!(first.document(entry).unwrap(), "first");
        assert_eq!(
            (entry.sha256.as_str(), entry.taken_up.as_str()),
            (sha256(b"first").as_str(), "1970-01-01T00:00:00Z")
        );
        assert!(first.get(&registry(), "b.yaml").is_none());
        assert!(first.get(&"DEMO/GOV/2002/other".parse().unwrap(), "a.yaml").is_none());

        let second = one(folder.path(), "second");
        assert_ne!(first.text(), second.text());
        assert_eq!(second.document(second.get(&registry(), "a.yaml").unwrap()).unwrap(), "second");
        assert_eq!(second.text().matches("[[description]]").count(), 1);
        assert_eq!(fs::read(folder.path().join(FOLDER).join(sha256(b"first"))).unwrap(), b"first");
    }

    #[test]
    fn a_document_that_was_changed_or_is_gone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let accepted = one(folder.path(), "first");
        let path = folder.path().join(FOLDER).join(sha256(b"first"));
        durable::write(&path, b"other").unwrap();
        let again = Accepted::load(folder.path()).unwrap();
        let entry = again.get(&registry(), "a.yaml").unwrap();
        let changed = AcceptedError::Changed { path: path.display().to_string(), found: sha256(b"other") };
        assert_eq!(accepted.document(entry), Err(changed));
        fs::File::create(&path).unwrap().set_len(11 << 20).unwrap();
        assert!(matches!(again.document(entry), Err(AcceptedError::Unreadable { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(again.document(entry), Err(AcceptedError::Unreadable { .. })));
    }

    #[test]
    fn a_list_that_cannot_be_read_or_leads_elsewhere_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let written = one(folder.path(), "first").text().to_owned();
        let path = folder.path().join(FOLDER).join(LIST);
        for wrong in ["[[description", "[[description]]\nclient = 7\n", "[[descriptions]]\n", "\u{0}"] {
            durable::write(&path, wrong.as_bytes()).unwrap();
            assert!(
                matches!(Accepted::load(folder.path()), Err(AcceptedError::Unreadable { .. })),
                "{wrong}"
            );
        }
        for elsewhere in ["../../etc/passwd", "/etc/passwd", "", "ABCDEF"] {
            durable::write(&path, written.replace(&sha256(b"first"), elsewhere).as_bytes()).unwrap();
            let accepted = Accepted::load(folder.path()).unwrap();
            let entry = accepted.get(&registry(), "a.yaml").unwrap();
            assert!(matches!(accepted.document(entry), Err(AcceptedError::Unreadable { .. })), "{elsewhere}");
        }
    }
}
