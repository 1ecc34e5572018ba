//! Where archives go: the port, and a directory.
//!
//! Not here: what goes into an archive ([`super::write`]), when ([`super::archiver`]).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use cert_authority::{
    algorithm::DigestAlgorithm,
    crypto::{Digest, Hasher},
    durable,
};

use crate::messagelog::disk::{Disk as _, SystemDisk};

/// How the name of a file ends that is not whole yet.
const PART: &str = ".part";

/// An archive to be put into its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Its name.
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
#[derive(Debug, Clone)]
pub struct Directory {
    directory: PathBuf,
    staging: PathBuf,
}

impl Directory {
    /// Archives go to `directory`. On a file system that knows no files without a name they are made in `staging`.
    pub fn new(directory: impl Into<PathBuf>, staging: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), staging: staging.into() }
    }

    /// By way of a file that has a name, but not yet the one that counts.
    fn copy(&self, parcel: &Parcel, file: &mut File) -> io::Result<()> {
        let part = self.directory.join(format!(".{}{PART}", parcel.name));
        let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.seek(SeekFrom::Start(0))?;
        let copied = io::copy(file, &mut copy).and_then(|_| {
            copy.flush()?;
            copy.sync_all()
        });
        if let Err(error) = copied {
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        SystemDisk.rename(&part, &self.directory.join(&parcel.name))
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
        match SystemDisk.temporary(&self.directory) {
            Err(error) if matches!(error.raw_os_error(), Some(code) if unnamed_is_unknown(code)) => {
                Ok(SystemDisk.temporary(&self.staging)?)
            }
            made => Ok(made?),
        }
    }

    fn put(&self, parcel: &Parcel, file: &mut File) -> Result<(), TargetError> {
        self.check()?;
        let path = self.directory.join(&parcel.name);
        if path.exists() {
            let same = self.holds(parcel)?;
            return if same { Ok(()) } else { Err(TargetError::Other(parcel.name.clone())) };
        }
        file.sync_all()?;
        match SystemDisk.link(file, &path) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.copy(parcel, file)?,
            linked => linked?,
        }
        Ok(durable::sync_dir(&self.directory)?)
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
        durable::sync_dir(&self.directory)?;
        Ok(true)
    }
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
