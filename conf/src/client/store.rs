//! The configuration on disk, laid out as X-Road keeps it:
//!
//! ```text
//! <directory>/instance-identifier                     DEMO
//! <directory>/DEMO/shared-params.xml                  one folder for each instance
//! <directory>/DEMO/shared-params.xml.metadata         {"contentIdentifier":…,"expirationDate":…,…}
//! <directory>/DEMO/private-params.xml                 own instance only
//! <directory>/DEMO/.signed-directory                  the signed directory, as it came
//! ```
//!
//! The folder of an instance is one signed set and changes as one: a new set is written and synced beside the old one,
//! then the two change places in a single system call. So whatever happens, a reader finds the old set or the new one:
//!
//! | we die | what is found |
//! |---|---|
//! | while the new set is written | the old set; the half new one is removed at the next start |
//! | before the exchange | the old set |
//! | after the exchange | the new set; the old one is removed at the next start |
//!
//! The signed directory is kept so that each start verifies anew what is on disk, and because it holds the Expire-date
//! of the newest configuration ever accepted: an older one stays refused after a restart.
//!
//! It judges nothing: what is stored was verified before, and is verified again when read.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use cert_authority::durable;

use crate::directory::kept::{self, INSTANCE_IDENTIFIER, Metadata};
use crate::error::ConfError;

/// Name of the file that holds the signed directory in an instance's folder.
pub const SIGNED_DIRECTORY: &str = ".signed-directory";
const METADATA_SUFFIX: &str = ".metadata";

/// One part as it goes to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// File name, without a folder.
    pub name: String,
    /// Content identifier: `SHARED-PARAMETERS`.
    pub identifier: String,
    /// Path that it was fetched from.
    pub location: String,
    /// Its bytes.
    pub content: Bytes,
}

/// A signed set: a signed directory and every part that it lists for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSet {
    /// The instance.
    pub instance: String,
    /// The signed directory, as it came.
    pub directory: Bytes,
    /// When it expires.
    pub expires: UnixTime,
    /// Version of the configuration.
    pub version: u8,
    /// The parts.
    pub parts: Vec<StoredPart>,
}

/// See [`Store::lock`].
#[derive(Debug)]
pub struct Lock {
    folder: fs::File,
}

impl Drop for Lock {
    /// Closing would not be enough: a process that is just being started has a copy of the descriptor.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.folder, rustix::fs::FlockOperation::Unlock);
    }
}

/// The folder.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Opens the folder, makes it if it is not there, and removes what an earlier crash left.
    ///
    /// # Errors
    /// [`ConfError::Io`].
    pub fn open(directory: &Path) -> Result<Self, ConfError> {
        let store = Self { directory: directory.to_owned() };
        store.clean().map_err(|error| ConfError::io(directory, &error))?;
        Ok(store)
    }

    fn clean(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let _lock = self.lock()?;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !(name.starts_with('.') && name.ends_with(".tmp")) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Keeps other processes from changing the folder until it is dropped: a gateway and an operator's `fetch` may
    /// work on the same one. [`Store::replace`] takes it by itself; a reader of several files takes it around them.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub fn lock(&self) -> io::Result<Lock> {
        let folder = fs::File::open(&self.directory)?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(Lock { folder })
    }

    /// The folder itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The own instance as the folder names it; `None` for a new folder.
    ///
    /// # Errors
    /// [`ConfError::Io`].
    pub fn own_instance(&self) -> Result<Option<String>, ConfError> {
        let path = self.directory.join(INSTANCE_IDENTIFIER);
        let content = read(&path).map_err(|error| ConfError::io(&path, &error))?;
        Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Writes the name of the own instance.
    ///
    /// # Errors
    /// [`ConfError::Io`].
    pub fn set_own_instance(&self, instance: &str) -> Result<(), ConfError> {
        let path = self.directory.join(INSTANCE_IDENTIFIER);
        durable::write(&path, instance.as_bytes()).map_err(|error| ConfError::io(&path, &error))
    }

    /// The signed directory of an instance, as it came; `None` where no set is kept.
    ///
    /// # Errors
    /// [`ConfError::Io`].
    pub fn signed_directory(&self, instance: &str) -> Result<Option<Bytes>, ConfError> {
        self.part(instance, SIGNED_DIRECTORY)
    }

    /// A part of an instance's set.
    ///
    /// # Errors
    /// [`ConfError::Io`].
    pub fn part(&self, instance: &str, name: &str) -> Result<Option<Bytes>, ConfError> {
        let path = self.folder_of(instance)?.join(name);
        read(&path).map_err(|error| ConfError::io(&path, &error))
    }

    /// Puts a set in the place of the one before, as a whole.
    ///
    /// # Errors
    /// [`ConfError::Io`]; the set before is then still there.
    pub fn replace(&self, set: &SignedSet) -> Result<(), ConfError> {
        let folder = self.folder_of(&set.instance)?;
        let written =
            self.lock().and_then(|_lock| durable::replace_dir(&folder, |fresh| write_set(fresh, set)));
        written.map_err(|error| ConfError::io(&folder, &error))
    }

    /// Removes the sets of all instances but these.
    ///
    /// # Errors
    /// [`ConfError::Io`].
    pub fn keep_only(&self, instances: &[&str]) -> Result<(), ConfError> {
        let kept = instances
            .iter()
            .map(|instance| self.folder_of(instance))
            .collect::<Result<Vec<_>, ConfError>>()?;
        self.remove_others(&kept).map_err(|error| ConfError::io(&self.directory, &error))
    }

    fn remove_others(&self, kept: &[PathBuf]) -> io::Result<()> {
        let _lock = self.lock()?;
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            // Only folders that hold a set of ours; an administrator may keep other things here.
            if path.join(SIGNED_DIRECTORY).is_file() && !kept.contains(&path) {
                fs::remove_dir_all(path)?;
            }
        }
        durable::sync_dir(&self.directory)
    }

    fn folder_of(&self, instance: &str) -> Result<PathBuf, ConfError> {
        Ok(self.directory.join(kept::directory_name(instance)?))
    }
}

/// Writes into a fresh folder, which is synced as a whole before it gets its name.
fn write_set(folder: &Path, set: &SignedSet) -> io::Result<()> {
    for part in &set.parts {
        write_new(&folder.join(&part.name), &part.content)?;
        let metadata = Metadata {
            content_identifier: Some(part.identifier.clone()),
            instance_identifier: Some(set.instance.clone()),
            expiration_date: Some(set.expires.to_rfc3339()),
            content_file_name: Some(part.name.clone()),
            content_location: Some(part.location.clone()),
            configuration_version: Some(set.version.to_string()),
        };
        let metadata = serde_json::to_vec(&metadata).map_err(io::Error::other)?;
        write_new(&folder.join(format!("{}{METADATA_SUFFIX}", part.name)), &metadata)?;
    }
    write_new(&folder.join(SIGNED_DIRECTORY), &set.directory)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::File::create_new(path)?.write_all(content)
}

fn read(path: &Path) -> io::Result<Option<Bytes>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(content: &'static str) -> SignedSet {
        let part = |name: &str, identifier: &str| StoredPart {
            name: name.to_owned(),
            identifier: identifier.to_owned(),
            location: format!("/V6/1/{name}"),
            content: Bytes::from_static(content.as_bytes()),
        };
        SignedSet {
            instance: "DEMO".to_owned(),
            directory: Bytes::from_static(content.as_bytes()),
            expires: UnixTime::from_secs(1_770_000_000),
            version: 6,
            parts: vec![
                part("shared-params.xml", "SHARED-PARAMETERS"),
                part("private-params.xml", "PRIVATE-PARAMETERS"),
            ],
        }
    }

    /// What a reader finds: the contents of all files of the set, which must agree.
    fn found(store: &Store) -> String {
        let directory = store.signed_directory("DEMO").unwrap().unwrap();
        for name in ["shared-params.xml", "private-params.xml"] {
            assert_eq!(store.part("DEMO", name).unwrap().unwrap(), directory, "a mixture");
        }
        String::from_utf8(directory.to_vec()).unwrap()
    }

    #[test]
    fn a_set_is_laid_out_as_x_road_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.own_instance().unwrap(), None);
        assert_eq!(store.signed_directory("DEMO").unwrap(), None);
        store.set_own_instance("DEMO").unwrap();
        store.replace(&set("one")).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("instance-identifier")).unwrap(), "DEMO");
        assert_eq!(fs::read_to_string(dir.path().join("DEMO/shared-params.xml")).unwrap(), "one");
        assert_eq!(
            fs::read_to_string(dir.path().join("DEMO/shared-params.xml.metadata")).unwrap(),
            r#"{"contentIdentifier":"SHARED-PARAMETERS","instanceIdentifier":"DEMO","expirationDate":"2026-02-02T02:40:00Z","contentFileName":"shared-params.xml","contentLocation":"/V6/1/shared-params.xml","configurationVersion":"6"}"#
        );
        store.replace(&set("two")).unwrap();
        assert_eq!(found(&store), "two");
    }

    /// Every state that a crash of `replace` can leave: k files of the new set written, no exchange yet.
    #[test]
    fn a_crash_while_the_new_set_is_written_leaves_the_old_one() {
        let new = tempfile::tempdir().unwrap();
        let complete = Store::open(new.path()).unwrap();
        complete.replace(&set("new")).unwrap();
        let files: Vec<_> =
            fs::read_dir(new.path().join("DEMO")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(files.len(), 5);
        for written in 0..=files.len() {
            let dir = tempfile::tempdir().unwrap();
            Store::open(dir.path()).unwrap().replace(&set("old")).unwrap();
            let half = dir.path().join(".DEMO.0123456789abcdef.tmp");
            fs::create_dir(&half).unwrap();
            for file in &files[..written] {
                fs::copy(file, half.join(file.file_name().unwrap())).unwrap();
            }
            let store = Store::open(dir.path()).unwrap();
            assert_eq!(found(&store), "old");
            assert!(!half.exists(), "what a crash left is removed");
        }
    }

    #[test]
    fn a_crash_after_the_exchange_leaves_the_new_set() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.replace(&set("new")).unwrap();
        let old = dir.path().join(".DEMO.0123456789abcdef.tmp");
        fs::create_dir(&old).unwrap();
        fs::copy(dir.path().join("DEMO/shared-params.xml"), old.join("shared-params.xml")).unwrap();
        fs::File::create(dir.path().join(".instance-identifier.00.tmp")).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(found(&store), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_while_writing_leaves_the_old_set() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.replace(&set("old")).unwrap();
        let mut broken = set("new");
        // A name with a folder that does not exist cannot be written.
        broken.parts[1].name = "missing/private-params.xml".to_owned();
        store.replace(&broken).unwrap_err();
        assert_eq!(found(&store), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn no_instance_identifier_leads_outside_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("conf");
        let store = Store::open(&folder).unwrap();
        for instance in ["../evil", "a/b", "/etc"] {
            store.replace(&SignedSet { instance: instance.to_owned(), ..set("x") }).unwrap();
        }
        store.replace(&SignedSet { instance: "..".to_owned(), ..set("x") }).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    }

    #[test]
    fn sets_of_instances_no_longer_followed_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.replace(&set("own")).unwrap();
        store.replace(&SignedSet { instance: "OTHER".to_owned(), ..set("other") }).unwrap();
        fs::create_dir(dir.path().join("notes")).unwrap();
        store.keep_only(&["DEMO"]).unwrap();
        assert_eq!(found(&store), "own");
        assert!(!dir.path().join("OTHER").exists());
        assert!(dir.path().join("notes").exists());
    }
}
