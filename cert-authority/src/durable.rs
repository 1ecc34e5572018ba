//! The one durable write: a file, or a whole directory of files, is there in its old or its new form
//! after a crash, never in between.
//!
//! ```text
//! write:        open(dir/.name.<random>.tmp, O_CREAT|O_EXCL|O_NOFOLLOW)  write  fsync  rename(name)  fsync(dir)
//! replace_dir:  dir/.name.<random>.tmp/ holds the new set, every file fsync'ed;
//!               rename over a name that does not exist yet, else renameat2(EXCHANGE); fsync(dir); old set removed
//! ```
//! Known gap: what the disk says it has written must be written; a disk that lies is beyond us.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, OFlags, RenameFlags};

/// Replaces a file with `content`, readable as the process's umask allows.
///
/// # Errors
/// Whatever the system reports; the old file is then still there.
pub fn write(path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
    write_with_mode(path.as_ref(), content, 0o644)
}

/// Replaces a file with `content` that only its owner may read (mode 0600).
///
/// # Errors
/// As [`write()`].
pub fn write_secret(path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
    write_with_mode(path.as_ref(), content, 0o600)
}

/// Makes the entries of a directory durable: names that were made, renamed or removed in it.
///
/// # Errors
/// Whatever the system reports.
pub fn sync_dir(path: impl AsRef<Path>) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file durably; one that is not there is no error.
///
/// # Errors
/// Whatever the system reports.
pub fn remove(path: impl AsRef<Path>) -> io::Result<()> {
    match fs::remove_file(path.as_ref()) {
        Ok(()) => sync_dir(parent(path.as_ref())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Replaces a directory as a set: `fill` writes the new set into an empty directory beside it, which then
/// takes the place of the old one in one step. A reader that opens files by path sees the old or the new
/// set; one that reads several files must be prepared for the switch between two of them.
///
/// # Errors
/// Whatever `fill` or the system reports; the old set is then still there.
pub fn replace_dir(path: impl AsRef<Path>, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let path = path.as_ref();
    let parent = parent(path);
    fs::create_dir_all(parent)?;
    let fresh = temporary_name(path)?;
    fs::create_dir(&fresh)?;
    let result = fill(&fresh).and_then(|()| sync_tree(&fresh)).and_then(|()| switch(&fresh, path));
    match result {
        Ok(()) => sync_dir(parent)?,
        Err(e) => {
            let _ = fs::remove_dir_all(&fresh);
            return Err(e);
        }
    }
    // After an exchange the old set lies under the temporary name.
    match fs::remove_dir_all(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn switch(fresh: &Path, path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        rustix::fs::renameat_with(CWD, fresh, CWD, path, RenameFlags::EXCHANGE)?;
    } else {
        rustix::fs::rename(fresh, path)?;
    }
    Ok(())
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

#[expect(clippy::disallowed_methods, reason = "the one durable writer")]
fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(&temporary)?;
    let result =
        file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if let Err(e) = result {
        let _ = fs::remove_file(&temporary);
        return Err(e);
    }
    sync_dir(parent(path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// A name beside `path` that nobody else uses: `.name.<random>.tmp`.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let random = crate::crypto::random_array::<8>().map_err(|e| io::Error::other(e.to_string()))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", hex::encode(random)));
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_file_replaces_the_old_one_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["a.txt"]);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_secret_is_for_its_owner_only_even_over_an_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, b"open").unwrap();
        write_secret(&path, b"closed").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_is_replaced_as_a_set() {
        let dir = tempfile::tempdir().unwrap();
        let set = dir.path().join("set");
        replace_dir(&set, |d| write(d.join("old"), b"1")).unwrap();
        assert_eq!(names(&set), ["old"]);
        replace_dir(&set, |d| write(d.join("new"), b"2")).unwrap();
        assert_eq!(names(&set), ["new"]);
        assert_eq!(names(dir.path()), ["set"]);
    }

    #[test]
    fn a_set_that_cannot_be_filled_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let set = dir.path().join("set");
        replace_dir(&set, |d| write(d.join("old"), b"1")).unwrap();
        let failed = replace_dir(&set, |d| {
            write(d.join("half"), b"2")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(names(&set), ["old"]);
        assert_eq!(names(dir.path()), ["set"]);
    }
}
