//! A power cut, as a disk sees it: a file system in an image file, whose copy is what a machine finds when it starts
//! again.
//!
//! ```text
//! gateway ─write─► page cache of the volume ─fdatasync, commit─► image file
//!                  lost by the cut                               copied as it is, mounted: journal replayed
//! ```
//! What nobody synced and the system did not write by itself is not in the image. A process that is killed loses
//! nothing of this: its writes stay in the page cache. Needs the programs of e2fsprogs and mount, and root: it asks sudo
//! where it is not root itself, and never for a password.
//!
//! Not here: sectors that a disk tears or swaps; what the image has, it has whole and in the order of the writes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::{Digest, Hasher};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Room for a log: a segment, the next one, and the reserve that it wants free. Only what is written takes room.
const SIZE: u64 = 384 << 20;

/// Copies of an image that changed under our hands, before this is given up.
const TRIES: usize = 50;

/// An ext4 file system in an image file, mounted; unmounted when dropped, whatever happens.
#[derive(Debug)]
pub struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Volume {
    /// Makes the image `<name>.img` in `folder`, and mounts it at `mount`, which is made.
    ///
    /// # Errors
    /// In words: a program that is not there or failed.
    pub fn make(folder: &Path, name: &str, mount: &Path) -> Result<Self, String> {
        let image = folder.join(format!("{name}.img"));
        let sized = File::create(&image).and_then(|file| file.set_len(SIZE));
        sized.map_err(|error| format!("{}: {error}", image.display()))?;
        let owner = format!("root_owner={}:{}", rustix::process::geteuid(), rustix::process::getegid());
        // No blocks kept for root: the image is just large enough.
        let options = ["-q", "-F", "-m", "0", "-J", "size=8", "-E", &owner];
        run(Command::new("/usr/sbin/mkfs.ext4").args(options).arg(&image))?;
        Self::mount(image, mount.to_path_buf())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// What would be left of it if the power went now, mounted. Whoever writes to it should be frozen: the image is
    /// copied until it has not changed meanwhile.
    ///
    /// # Errors
    /// In words: the image does not come to rest, or its copy is no file system.
    pub fn cut(&self, folder: &Path, name: &str) -> Result<Self, String> {
        let copy = folder.join(format!("{name}.img"));
        let failed = |error: io::Error| format!("{}: {error}", copy.display());
        for _ in 0..TRIES {
            let copied = written(&self.image, Some(&copy)).map_err(failed)?;
            if written(&self.image, None).map_err(failed)? == copied {
                return Self::mount(copy, folder.join(name));
            }
        }
        Err(format!("{} changes all the time", self.image.display()))
    }

    fn mount(image: PathBuf, mount: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&mount).map_err(|error| format!("{}: {error}", mount.display()))?;
        run(as_root("mount").args(["-t", "ext4", "-o", "loop"]).arg(&image).arg(&mount))?;
        Ok(Self { image, mount })
    }
}

impl Drop for Volume {
    /// The loop device goes with the mount. One that is still in use is taken out of the tree at once, and goes with
    /// its last user.
    fn drop(&mut self) {
        let unmounted = run(as_root("umount").arg(&self.mount))
            .or_else(|_| run(as_root("umount").arg("--lazy").arg(&self.mount)));
        if let Err(error) = unmounted {
            tracing::error!(error, "a volume stays mounted");
        }
        let _ = fs::remove_file(&self.image);
    }
}

/// A program, with the rights of root: itself, or by sudo without a password.
pub fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}

/// Runs a program to its end.
///
/// # Errors
/// In words: it is not there, or failed.
pub fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name} ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// The digest of all that was written to an image, and where; copies it, too.
fn written(image: &Path, copy: Option<&Path>) -> io::Result<Digest> {
    let from = File::open(image)?;
    let length = from.metadata()?.len();
    let to = copy.map(File::create).transpose()?;
    if let Some(to) = &to {
        to.set_len(length)?;
    }
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        at = match rustix::fs::seek(&from, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(&from, SeekFrom::Hole(at))?;
        while at < hole {
            let wanted = usize::try_from(hole - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            let read = from.read_at(piece, at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let piece = piece.get(..read).unwrap_or_default();
            hasher.update(&at.to_be_bytes());
            hasher.update(piece);
            if let Some(to) = &to {
                to.write_all_at(piece, at)?;
            }
            at += u64::try_from(read).unwrap_or(u64::MAX);
        }
    }
    Ok(hasher.finish())
}
