//! The disk of a machine as a process uses it: operations that go wrong.
//!
//! ```text
//! MessageLog ──► Disk of one process ──► Platter of the machine ──► files in /dev/shm
//!                 may be struck            knows, since the last sync: what stood in each sector, how long each file was,
//!                                          which names were made, changed, removed
//! ```
//! After a sync that failed, what it was for is lost with the next power cut even though a later sync works,
//! unless it is written again.
//!
//! Not here: files that the log does not promise anything of (index, tiles, lock).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gateway::messagelog::disk::{Disk, SystemDisk, Work};

use super::Sabotage;
use super::executor::locked;
use super::life::{End, Life};
use super::platter::{Dirty, Named, Platter, SECTOR, Undo, Unsynced};

const EIO: i32 = 5;

/// How an operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    /// The process, or the whole machine, ends before it, or in the middle of it.
    Dies(End),
    /// EIO.
    Fails,
    /// ENOSPC.
    NoSpace,
    /// Half of it is done, then EIO.
    Half,
    /// A short write, which is no error.
    Short,
}

/// The disk as one process sees it.
pub(super) struct ProcessDisk {
    platter: Arc<Platter>,
    life: Arc<Life>,
    sabotage: Sabotage,
    /// Operations until the next one that goes wrong.
    left: Mutex<Option<usize>>,
}

impl ProcessDisk {
    /// With an operation that goes wrong, if that is `wanted`.
    pub(super) fn new(platter: &Arc<Platter>, life: &Arc<Life>, sabotage: Sabotage, wanted: bool) -> Self {
        let sim = &platter.sim;
        let left = (wanted && sim.chance(400)).then(|| sim.below(if sim.chance(500) { 12 } else { 120 }));
        Self { platter: Arc::clone(platter), life: Arc::clone(life), sabotage, left: Mutex::new(left) }
    }

    /// Whether and how this operation goes wrong. One of a process that has ended does nothing.
    fn strike(&self, what: &str) -> io::Result<Option<Strike>> {
        let failed = || io::Error::from_raw_os_error(EIO);
        if !self.life.lives() {
            return Err(failed());
        }
        let mut left = locked(&self.left);
        match &mut *left {
            None => return Ok(None),
            Some(0) => *left = None,
            Some(more) => {
                *more -= 1;
                return Ok(None);
            }
        }
        let sim = &self.platter.sim;
        let strike = match sim.below(8) {
            0 | 1 => Strike::Dies(End::Killed),
            2 | 3 => Strike::Dies(End::PowerCut),
            4 => Strike::Fails,
            5 => Strike::NoSpace,
            6 => Strike::Half,
            _ => Strike::Short,
        };
        sim.trace(format_args!("{}: {what} is struck: {strike:?}", self.life));
        if let Strike::Dies(end) = strike {
            self.life.end(end);
        }
        Ok(Some(strike))
    }

    /// An operation that is done or not.
    fn step<T>(&self, what: &str, work: impl FnOnce(&mut Unsynced) -> io::Result<T>) -> io::Result<T> {
        let failed = io::Error::from_raw_os_error(EIO);
        match self.strike(what)? {
            None | Some(Strike::Short) => work(&mut locked(&self.platter.unsynced)),
            Some(Strike::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(Strike::Fails) => Err(failed),
            // It is done, and nobody learns it; or not.
            Some(Strike::Half | Strike::Dies(_)) => {
                if self.platter.sim.chance(500) {
                    work(&mut locked(&self.platter.unsynced))?;
                }
                Err(failed)
            }
        }
    }

    fn made<T>(
        &self,
        what: &str,
        path: &Path,
        make: impl FnOnce(&mut Unsynced) -> io::Result<T>,
    ) -> io::Result<T> {
        self.step(what, |unsynced| {
            let made = make(unsynced)?;
            unsynced.names.push(Named { directory: parent(path), undo: Undo::Made(path.to_owned()) });
            Ok(made)
        })
    }

    fn attic(&self, unsynced: &mut Unsynced) -> PathBuf {
        unsynced.removed += 1;
        self.platter.root.join("removed").join(unsynced.removed.to_string())
    }

    fn removed(&self, what: &str, path: &Path) -> io::Result<()> {
        self.step(what, |unsynced| {
            let kept = self.attic(unsynced);
            rustix::fs::rename(path, &kept)?;
            let undo = Undo::Removed { path: path.to_owned(), kept };
            unsynced.names.push(Named { directory: parent(path), undo });
            Ok(())
        })
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_path_buf()
}

impl Disk for ProcessDisk {
    fn work(&self) -> Work {
        Work::Here
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.made("create", path, |unsynced| {
            let file = SystemDisk.create(path)?;
            unsynced.of(&file, true)?;
            Ok(file)
        })
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.step("open", |_| fs::OpenOptions::new().read(true).write(true).open(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.made("create_dir", path, |_| SystemDisk.create_dir(path))
    }

    fn temporary(&self, directory: &Path) -> io::Result<File> {
        self.step("temporary", |unsynced| {
            let file = SystemDisk.temporary(directory)?;
            unsynced.of(&file, true)?;
            Ok(file)
        })
    }

    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        self.step("allocate", |unsynced| {
            if unsynced.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            unsynced.of(file, false)?;
            SystemDisk.allocate(file, length)
        })
    }

    fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        let strike = self.strike("write")?;
        let mut unsynced = locked(&self.platter.unsynced);
        if unsynced.full || strike == Some(Strike::NoSpace) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let some = self.platter.sim.below(data.len() + 1);
        let written = match strike {
            None => data,
            Some(Strike::Short) => data.get(..some.max(1)).unwrap_or(data),
            Some(Strike::Fails) => &[],
            _ => data.get(..some).unwrap_or_default(),
        };
        let end = offset + u64::try_from(written.len()).unwrap_or(0);
        let dirty = unsynced.of(file, false)?;
        dirty.remember(offset, end)?;
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            dirty.lost.remove(&sector);
        }
        dirty.file.write_all_at(written, offset)?;
        match strike {
            None | Some(Strike::Short) => Ok(written.len()),
            _ => Err(io::Error::from_raw_os_error(EIO)),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let strike = self.strike("sync")?;
        let mut unsynced = locked(&self.platter.unsynced);
        let length = file.metadata()?.len();
        let dirty = unsynced.of(file, false)?;
        match strike {
            None | Some(Strike::Short) if self.sabotage == Sabotage::SyncsNothing => {}
            None | Some(Strike::Short) => {
                let Dirty { before, lost, .. } = dirty;
                before.retain(|sector, _| lost.contains(sector));
                dirty.length = length;
            }
            // The system gives up on these pages, and holds them for clean.
            Some(_) => dirty.lost.extend(dirty.before.keys().copied()),
        }
        match strike {
            None | Some(Strike::Short) => Ok(()),
            Some(_) => Err(io::Error::from_raw_os_error(EIO)),
        }
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        fs::metadata(directory)?;
        self.step("sync_dir", |unsynced| {
            if self.sabotage != Sabotage::SyncsNoNames {
                unsynced.names.retain(|name| name.directory != directory);
            }
            Ok(())
        })
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.step("truncate", |unsynced| {
            let end = file.metadata()?.len();
            let dirty = unsynced.of(file, false)?;
            dirty.remember(length, end)?;
            dirty.file.set_len(length)
        })
    }

    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        self.made("link", path, |_| SystemDisk.link(file, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename", |unsynced| {
            let replaced = match to.exists() {
                true => {
                    let kept = self.attic(unsynced);
                    rustix::fs::rename(to, &kept)?;
                    Some(kept)
                }
                false => None,
            };
            rustix::fs::rename(from, to)?;
            let undo = Undo::Renamed { from: from.to_owned(), to: to.to_owned(), replaced };
            unsynced.names.push(Named { directory: parent(to), undo });
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.removed("remove", path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.removed("remove_dir", path)
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(if locked(&self.platter.unsynced).full { 0 } else { 1 << 40 })
    }
}
