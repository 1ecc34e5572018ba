//! Reading a secret from a file that belongs to us and that nobody else may read.
//!
//! The checks are made on the opened file, not on its name, so that it cannot be swapped in between, and
//! a symbolic link is not followed.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::error::KeyError;

/// No key file, PIN or master key is longer.
const MAX_LEN: u64 = 64 * 1024;

/// Reads a secret file.
///
/// # Errors
/// [`KeyError::Permissions`] when it is a link or no plain file, belongs to somebody else than the process
/// (root's files are taken too), or has any permission for group or others; [`KeyError::Io`] otherwise.
pub fn read_secret(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let path = path.as_ref();
    let name = || path.display().to_string();
    let refuse = |reason: String| KeyError::Permissions { path: name(), reason };
    let file = open(path).map_err(|e| {
        if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            refuse("is a symbolic link".into())
        } else {
            KeyError::Io { path: name(), reason: e.to_string() }
        }
    })?;
    let io_failed = |e: io::Error| KeyError::Io { path: name(), reason: e.to_string() };
    let about = file.metadata().map_err(io_failed)?;
    if !about.is_file() {
        return Err(refuse("is no plain file".into()));
    }
    let me = rustix::process::geteuid().as_raw();
    if about.uid() != me && about.uid() != 0 {
        return Err(refuse(format!("belongs to user {}, not to {me}", about.uid())));
    }
    if about.mode() & 0o077 != 0 {
        return Err(refuse(format!("has mode {:04o}; it must be 0600 or 0400", about.mode() & 0o7777)));
    }
    if about.len() > MAX_LEN {
        return Err(KeyError::Malformed { path: name(), reason: format!("is longer than {MAX_LEN} bytes") });
    }
    // One allocation of the right size: a growing vector would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1));
    file.take(MAX_LEN).read_to_end(&mut content).map_err(io_failed)?;
    Ok(content)
}

fn open(path: &Path) -> io::Result<File> {
    // NONBLOCK: a pipe in the file's place must not hang us before it is refused.
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0)).open(path)
}
