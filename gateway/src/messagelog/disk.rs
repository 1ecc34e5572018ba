//! The file operations that the log's promises rest on, as a port, so that a test can make each fail once.
//!
//! Not here: reading, which promises nothing.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::FileExt, unix::fs::OpenOptionsExt},
    path::Path,
};

use cert_authority::durable;
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags};

/// What the log asks of a file system.
///
/// # Contract
/// After [`Disk::sync`] returned without error, everything written to that file before survives a power cut; after
/// [`Disk::sync_dir`], every name made in that directory before. After an error nothing is known.
pub trait Disk: Send + Sync {
    /// Where work with these files is done.
    fn work(&self) -> Work {
        Work::Apart
    }
    /// Makes a file that does not exist yet, readable by its owner only.
    ///
    /// # Errors
    /// The system's, as with all the others.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Opens a file for writing.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Makes a directory that does not exist yet.
    ///
    /// # Errors
    /// The system's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a file without a name in a directory.
    ///
    /// # Errors
    /// The system's.
    fn temporary(&self, directory: &Path) -> io::Result<File>;
    /// Reserves room for the file, reading as zeros.
    ///
    /// # Errors
    /// The system's.
    fn allocate(&self, file: &File, length: u64) -> io::Result<()>;
    /// Writes at an offset; perhaps only the beginning of `data`. Gives how much was written.
    ///
    /// # Errors
    /// The system's.
    fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes what was written durable.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Cuts a file.
    ///
    /// # Errors
    /// The system's.
    fn truncate(&self, file: &File, length: u64) -> io::Result<()>;
    /// Gives a name, or one more, to a file. Nothing is overwritten.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when there is something of that name; the system's.
    fn link(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Renames a file over another.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and what is in it.
    ///
    /// # Errors
    /// The system's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that are free for us.
    ///
    /// # Errors
    /// The system's.
    fn available(&self, directory: &Path) -> io::Result<u64>;
}

/// Where work on files is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Off the runtime's threads: it may take long.
    Apart,
    /// Where it is asked for: nothing of it takes time, as on a disk that is simulated.
    Here,
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).open(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn temporary(&self, directory: &Path) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        Ok(rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
            // A file system that cannot reserve: the writes will find out.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(length),
            result => Ok(result?),
        }
    }

    fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(data, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(file)?)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        durable::sync_dir(directory)
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        // By way of /proc: linking a descriptor itself needs a capability.
        let source = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, source.as_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::rename(from, to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn available(&self, directory: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(directory)?;
        // No inode left is no space either: a body needs a file.
        Ok(if stat.f_files > 0 && stat.f_favail == 0 {
            0
        } else {
            stat.f_bavail.saturating_mul(stat.f_frsize)
        })
    }
}

/// Writes all of `data` at an offset, in as many pieces as the system likes.
pub(crate) fn write_all(disk: &dyn Disk, file: &File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        match disk.write(file, data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                data = data.get(written..).unwrap_or_default();
                offset = offset.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Puts a file durably into its place: after a crash it is there wholly or not at all. After an error it is not known
/// whether it is there.
pub(crate) fn put(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = Path::new(&unfinished);
    gone(disk.remove(unfinished))?;
    let file = disk.create(unfinished)?;
    let written = write_all(disk, &file, content, 0).and_then(|()| disk.sync(&file));
    if let Err(error) = written.and_then(|()| disk.rename(unfinished, path)) {
        let _ = disk.remove(unfinished);
        return Err(error);
    }
    disk.sync_dir(parent(path))
}

/// Makes a directory durably, and those above it that are missing. One that is there may be of a try that was broken
/// off: its name is made durable too.
pub(crate) fn make_dir(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let above = parent(path);
    if !above.exists() {
        make_dir(disk, above)?;
    }
    match disk.create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    disk.sync_dir(above)
}

/// What is not there need not be removed.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Where the name of a file stands.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
