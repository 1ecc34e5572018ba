//! Where archives go: the port, and a directory.
//!
//! Not here: what goes into an archive ([`super::write`]), when ([`super::archiver`]).

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use cert_authority::{
    algorithm::DigestAlgorithm,
    crypto::{Digest, Hasher},
};

use crate::messagelog::disk::{self, Disk, SystemDisk};

/// How the name of a file ends that is not whole yet.
const PART: &str = ".part";

/// How the name of an archive ends that is encrypted.
pub(super) const SEALED: &str = ".age";

/// An archive to be put into its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Its name; of one that is encrypted it ends in `.age`.
    pub name: String,
    /// Its length.
    pub length: u64,
    /// Its SHA-256.
    pub hash: Digest,
}

/// Why an archive could not be put into its place. Everything but [`Self::Other`] is tried again.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The place is not there, full, or not to be reached.
    #[error("the place of the archives: {0}")]
    Away(String),
    /// There is another file of that name. Nothing is ever overwritten.
    #[error("there is another file named {0} in the place of the archives")]
    Other(String),
}

impl From<io::Error> for TargetError {
    fn from(error: io::Error) -> Self {
        Self::Away(error.to_string())
    }
}

/// A place for archives. The calls block.
///
/// # Contract
/// After [`Target::put`] returned without error the file is whole under its name and survives a power cut; before that
/// nothing is to be seen under that name but the whole file. After an error it may be there or not; [`Target::holds`]
/// tells.
pub trait Target: Send + Sync {
    /// Whether the place is there. Nothing is archived or cleaned while it is not.
    ///
    /// # Errors
    /// [`TargetError::Away`].
    fn check(&self) -> Result<(), TargetError>;
    /// A file without a name, to make an archive in.
    ///
    /// # Errors
    /// The place is away.
    fn temporary(&self) -> Result<File, TargetError>;
    /// Puts an archive into its place. It may be there already.
    ///
    /// # Errors
    /// [`TargetError`].
    fn put(&self, parcel: &Parcel, file: &mut File) -> Result<(), TargetError>;
    /// Whether exactly this archive is in its place.
    ///
    /// # Errors
    /// [`TargetError::Away`]: it cannot be told.
    fn holds(&self, parcel: &Parcel) -> Result<bool, TargetError>;
}

/// A directory. It must be there: an archive shall not go below the place where a disk was to be mounted.
///
/// Bodies never lie in a file under a name that is not that of a whole archive. Where the file system of the directory
/// knows no files without a name (some network file systems do not), only encrypted archives can go there.
#[derive(Clone)]
pub struct Directory {
    directory: PathBuf,
    staging: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Directory {
    /// Archives go to `directory`. On a file system that knows no files without a name they are made in `staging`.
    pub fn new(directory: impl Into<PathBuf>, staging: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(SystemDisk), directory, staging)
    }

    /// [`Self::new`] on another disk.
    pub fn on(disk: Arc<dyn Disk>, directory: impl Into<PathBuf>, staging: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), staging: staging.into(), disk }
    }

    /// A file without a name in the directory; none when its file system knows no such.
    fn unnamed(&self) -> io::Result<Option<File>> {
        match self.disk.temporary(&self.directory) {
            Err(error) if matches!(error.raw_os_error(), Some(code) if unnamed_is_unknown(code)) => Ok(None),
            made => made.map(Some),
        }
    }

    /// From another file system: by way of a file of the directory that has no name, or, of what is encrypted, not yet
    /// the one that counts.
    fn copy(&self, parcel: &Parcel, file: &mut File, path: &Path) -> io::Result<()> {
        if let Some(mut copy) = self.unnamed()? {
            copied(file, &mut copy)?;
            return self.disk.link(&copy, path);
        }
        if !parcel.name.ends_with(SEALED) {
            let place = self.directory.display();
            return Err(io::Error::other(format!(
                "the file system of {place} knows no files without a name: only encrypted archives can go there"
            )));
        }
        let part = self.directory.join(format!(".{}{PART}", parcel.name));
        disk::gone(self.disk.remove(&part))?;
        let mut copy = self.disk.create(&part)?;
        let placed = copied(file, &mut copy).and_then(|()| self.disk.link(&copy, path));
        // What stays of it is in nobody's way: the next run removes it.
        let _ = self.disk.remove(&part);
        placed
    }

    fn remove_parts(&self) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(".mlog-") && name.ends_with(PART) {
                // It is in nobody's way; the next run tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Target for Directory {
    fn check(&self) -> Result<(), TargetError> {
        if fs::metadata(&self.directory).is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(());
        }
        Err(TargetError::Away(format!("{} is no directory", self.directory.display())))
    }

    fn temporary(&self) -> Result<File, TargetError> {
        self.check()?;
        self.remove_parts();
        match self.unnamed()? {
            Some(file) => Ok(file),
            None => Ok(self.disk.temporary(&self.staging)?),
        }
    }

    fn put(&self, parcel: &Parcel, file: &mut File) -> Result<(), TargetError> {
        self.check()?;
        let path = self.directory.join(&parcel.name);
        let settled = || match self.holds(parcel)? {
            true => Ok(()),
            false => Err(TargetError::Other(parcel.name.clone())),
        };
        if path.exists() {
            return settled();
        }
        file.sync_all()?;
        let placed = match self.disk.link(file, &path) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.copy(parcel, file, &path),
            linked => linked,
        };
        match placed {
            // It has come between, whosever it is.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => settled(),
            placed => {
                placed?;
                Ok(self.disk.sync_dir(&self.directory)?)
            }
        }
    }

    fn holds(&self, parcel: &Parcel) -> Result<bool, TargetError> {
        self.check()?;
        let mut file = match File::open(self.directory.join(&parcel.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        if file.metadata()?.len() != parcel.length || hash(&mut file)?.0 != parcel.hash {
            return Ok(false);
        }
        // Its name may be known to the memory of the machine only.
        self.disk.sync_dir(&self.directory)?;
        Ok(true)
    }
}

fn copied(from: &mut File, to: &mut File) -> io::Result<()> {
    from.seek(SeekFrom::Start(0))?;
    io::copy(from, to)?;
    to.flush()?;
    to.sync_all()
}

/// `EOPNOTSUPP`, and what older file systems say: `EISDIR`, `EINVAL`.
fn unnamed_is_unknown(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL].iter().any(|errno| errno.raw_os_error() == code)
}

/// SHA-256 and length of a file, from its beginning.
pub fn hash(file: &mut File) -> io::Result<(Digest, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0_u64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            file.seek(SeekFrom::Start(0))?;
            return Ok((hasher.finish(), length));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}
