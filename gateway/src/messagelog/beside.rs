//! What lies beside the records: wrapped data keys and large bodies; and how it lies in a node's own directory.
//!
//! ```text
//! keys/<id>.key              a wrapped data key, mode 0600
//! keys/<id>.gone             one that is being destroyed
//! bodies/<id>/<digest>       a large body sealed with it
//! ```
//! Not here: wrapping (`key`), sealing (`body`), PostgreSQL.

use std::{
    collections::BTreeSet,
    fmt, fs,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    body::body_file,
    disk::{self, Disk},
    error::LogError,
    tree::Hash,
};

const EXTENSION: &str = "key";
/// Of a key that is being destroyed: it is a key no more, and found again when that was broken off.
const DOOMED: &str = "gone";

/// Something sealed that can be read anywhere in it. Its calls block.
pub(crate) trait ReadAt: Send + Sync + fmt::Debug {
    /// Fills `into` from `offset` on. [`LogError::Body`] when it ends before.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<(), LogError>;
}

/// A store of wrapped data keys and of large bodies. Its calls block. Ids have been checked to be plain names.
///
/// # Contract
/// What [`Beside::add_key`] and [`Beside::keep`] have returned from survives a power cut.
pub(crate) trait Beside: Send + Sync {
    /// The ids of all keys.
    fn keys(&self) -> Result<BTreeSet<String>, LogError>;

    /// The ids of keys, also of destroyed ones, of which bodies are left.
    fn keys_of_bodies(&self) -> Result<BTreeSet<String>, LogError>;

    /// A wrapped key.
    fn key(&self, id: &str) -> Result<Option<Vec<u8>>, LogError>;

    /// Keeps a new wrapped key.
    fn add_key(&self, id: &str, wrapped: &[u8]) -> Result<(), LogError>;

    /// Makes sure that the keys that are found survive a power cut too: their keeping may have been broken off.
    fn settle(&self) -> Result<(), LogError> {
        Ok(())
    }

    /// Destroys a key, and the bodies that were sealed with it. What is gone already is no error.
    fn destroy(&self, id: &str) -> Result<(), LogError>;

    /// Keeps a sealed body that lies in a file without a name.
    fn keep(&self, key: &str, ciphertext: &Hash, body: &File, length: u64) -> Result<(), LogError>;

    /// Finds a sealed body that was kept.
    fn open(&self, key: &str, ciphertext: &Hash) -> Result<Arc<dyn ReadAt>, LogError>;
}

impl ReadAt for File {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<(), LogError> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => LogError::Body("it was cut off"),
            _ => LogError::io("a body cannot be read", &e),
        })
    }
}

/// Two directories of a node.
pub(crate) struct Folder {
    keys: PathBuf,
    bodies: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Folder {
    /// Those in the directory of a log.
    pub(crate) fn new(log: &Path, disk: Arc<dyn Disk>) -> Self {
        Self { keys: log.join("keys"), bodies: log.join("bodies"), disk }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.keys.join(format!("{id}.{EXTENSION}"))
    }

    fn names(&self, extension: &str) -> Result<BTreeSet<String>, LogError> {
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(&self.keys).map_err(unlisted)? {
            let path = entry.map_err(unlisted)?.path();
            if path.extension().is_some_and(|found| found == extension) {
                ids.extend(path.file_stem().and_then(|id| id.to_str()).map(str::to_owned));
            }
        }
        Ok(ids)
    }
}

impl Beside for Folder {
    fn keys(&self) -> Result<BTreeSet<String>, LogError> {
        self.names(EXTENSION)
    }

    fn keys_of_bodies(&self) -> Result<BTreeSet<String>, LogError> {
        let mut ids = self.names(DOOMED)?;
        for entry in fs::read_dir(&self.bodies).map_err(unlisted)? {
            ids.extend(entry.map_err(unlisted)?.file_name().to_str().map(str::to_owned));
        }
        Ok(ids)
    }

    fn key(&self, id: &str) -> Result<Option<Vec<u8>>, LogError> {
        match fs::read(self.file(id)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(|e| LogError::io("a data key cannot be read", &e)),
        }
    }

    fn add_key(&self, id: &str, wrapped: &[u8]) -> Result<(), LogError> {
        let failed = |e| LogError::io("a data key cannot be written", &e);
        disk::make_dir(self.disk.as_ref(), &self.bodies.join(id)).map_err(failed)?;
        disk::put(self.disk.as_ref(), &self.file(id), wrapped).map_err(failed)
    }

    fn settle(&self) -> Result<(), LogError> {
        let synced = self.disk.sync_dir(&self.bodies).and_then(|()| self.disk.sync_dir(&self.keys));
        synced.map_err(|e| LogError::io("a data key cannot be made durable", &e))
    }

    fn destroy(&self, id: &str) -> Result<(), LogError> {
        let failed = |e: io::Error| LogError::io("a data key could not be removed", &e);
        let disk = self.disk.as_ref();
        let doomed = self.keys.join(format!("{id}.{DOOMED}"));
        disk::gone(disk.rename(&self.file(id), &doomed)).map_err(failed)?;
        disk.sync_dir(&self.keys).map_err(failed)?;
        overwrite(disk, &doomed).map_err(failed)?;
        disk::gone(disk.remove(&doomed)).map_err(failed)?;
        disk.sync_dir(&self.keys).map_err(failed)?;
        disk::gone(disk.remove_dir(&self.bodies.join(id)))
            .map_err(|e| LogError::io("the bodies of a destroyed key could not be removed", &e))?;
        disk.sync_dir(&self.bodies).map_err(failed)
    }

    fn keep(&self, key: &str, ciphertext: &Hash, body: &File, _: u64) -> Result<(), LogError> {
        let failed = |e| LogError::io("a body cannot be kept", &e);
        let path = body_file(&self.bodies, key, ciphertext);
        self.disk.sync(body).map_err(failed)?;
        match self.disk.link(body, &path) {
            // Its name is its content: the same body, kept before.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => linked.map_err(failed)?,
        }
        self.disk.sync_dir(path.parent().unwrap_or(&path)).map_err(failed)
    }

    fn open(&self, key: &str, ciphertext: &Hash) -> Result<Arc<dyn ReadAt>, LogError> {
        let file = File::open(body_file(&self.bodies, key, ciphertext));
        Ok(Arc::new(file.map_err(|e| LogError::io("a body cannot be opened", &e))?))
    }
}

fn unlisted(error: io::Error) -> LogError {
    LogError::io("the data keys cannot be listed", &error)
}

/// Overwrites a key before its name goes: the blocks of a removed file can be read from the disk for long. On disks that
/// write elsewhere each time only the key-encryption key protects what is left of it.
fn overwrite(disk: &dyn Disk, file: &Path) -> io::Result<()> {
    let key = match disk.open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let length = usize::try_from(key.metadata()?.len()).unwrap_or(0);
    disk::write_all(disk, &key, &vec![0; length], 0)?;
    disk.sync(&key)
}
