//! The files of a machine, in memory, and what of them a power cut takes.
//!
//! A process that is killed leaves everything that it wrote. A power cut leaves of each file what was synced, and of the
//! rest any part: all, none, single sectors, a beginning that ends at any byte; of the names in each directory the first
//! few changes.
//!
//! Not here: what a process does to them, and what of that goes wrong ([`super::disk`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::executor::{Sim, locked};

pub(super) const SECTOR: u64 = 512;

/// The files of a machine, and what of them would not survive.
pub(super) struct Platter {
    pub(super) sim: Sim,
    pub(super) root: PathBuf,
    pub(super) unsynced: Mutex<Unsynced>,
}

#[derive(Default)]
pub(super) struct Unsynced {
    /// By inode, in the order in which they were first seen.
    numbers: HashMap<u64, usize>,
    files: Vec<Dirty>,
    pub(super) names: Vec<Named>,
    pub(super) removed: usize,
    pub(super) full: bool,
}

/// A file, as it differs from what is durable.
pub(super) struct Dirty {
    pub(super) file: Arc<File>,
    /// What stood in each sector.
    pub(super) before: BTreeMap<u64, Vec<u8>>,
    /// Sectors that a failed sync was for.
    pub(super) lost: BTreeSet<u64>,
    pub(super) length: u64,
}

/// A name that was changed.
pub(super) struct Named {
    pub(super) directory: PathBuf,
    pub(super) undo: Undo,
}

pub(super) enum Undo {
    Made(PathBuf),
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<PathBuf> },
    Removed { path: PathBuf, kept: PathBuf },
}

impl Platter {
    /// A disk that is empty; `root` is a directory that is there.
    pub(super) fn new(sim: &Sim, root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("disk"))?;
        fs::create_dir_all(root.join("removed"))?;
        Ok(Self { sim: sim.clone(), root: root.to_path_buf(), unsynced: Mutex::default() })
    }

    /// Where the files lie.
    pub(super) fn path(&self) -> PathBuf {
        self.root.join("disk")
    }

    /// From now on there is no room, or there is again.
    pub(super) fn set_full(&self, full: bool) {
        locked(&self.unsynced).full = full;
    }

    /// The power goes: what was not synced is lost, or not, as drawn.
    pub(super) fn cut_power(&self) -> io::Result<()> {
        let mut unsynced = locked(&self.unsynced);
        let unsynced = &mut *unsynced;
        for dirty in &mut unsynced.files {
            dirty.cut_power(&self.sim)?;
        }
        let directories: BTreeSet<&PathBuf> = unsynced.names.iter().map(|name| &name.directory).collect();
        let mut survive: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for directory in directories {
            let count = unsynced.names.iter().filter(|name| name.directory == *directory).count();
            survive.insert(directory.clone(), self.sim.below(count + 1));
        }
        let mut undone = Vec::new();
        for name in unsynced.names.drain(..) {
            match survive.get_mut(&name.directory) {
                Some(left @ 1..) => *left -= 1,
                _ => undone.push(name.undo),
            }
        }
        self.sim.trace(format_args!("power cut: {} names undone", undone.len()));
        undone.into_iter().rev().try_for_each(Undo::undo)
    }
}

impl Dirty {
    fn read(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, from + u64::try_from(filled).unwrap_or(0))? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(bytes)
    }

    /// Remembers what stands here, as far as that is not remembered yet.
    pub(super) fn remember(&mut self, from: u64, to: u64) -> io::Result<()> {
        let begin = from / SECTOR * SECTOR;
        let bytes = self.read(begin, to.next_multiple_of(SECTOR))?;
        for (sector, content) in (begin / SECTOR..).zip(bytes.chunks(512)) {
            self.before.entry(sector).or_insert_with(|| content.to_vec());
        }
        Ok(())
    }

    fn cut_power(&mut self, sim: &Sim) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let before = std::mem::take(&mut self.before);
        let lost = std::mem::take(&mut self.lost);
        let any = !before.is_empty();
        if length != self.length && sim.chance(500) {
            self.file.set_len(self.length)?;
        }
        let length = self.file.metadata()?.len();
        self.length = length;
        let (way, first) = (sim.below(5), sim.below(before.len() + 1));
        for (place, (sector, content)) in before.into_iter().enumerate() {
            let stays = match way {
                0 => false,
                1 => true,
                2 => sim.chance(500),
                _ => place < first,
            };
            // The one where a beginning ends may be torn.
            let kept = if way == 4 && place == first { sim.below(512) } else { 0 };
            if stays && !lost.contains(&sector) {
                continue;
            }
            let at = sector * SECTOR + u64::try_from(kept).unwrap_or(0);
            let room = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
            let content = content.get(kept..).unwrap_or_default();
            self.file.write_all_at(content.get(..content.len().min(room)).unwrap_or_default(), at)?;
        }
        if any {
            sim.trace(format_args!("power cut: a file, {way} {first}"));
        }
        Ok(())
    }
}

impl Undo {
    fn undo(self) -> io::Result<()> {
        match self {
            Self::Made(path) if path.is_dir() => fs::remove_dir_all(path),
            // The log takes the leftovers of a segment away by itself: no promise rests on that.
            Self::Made(path) => match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
            Self::Renamed { from, to, replaced } => {
                rustix::fs::rename(&to, &from)?;
                replaced.map_or(Ok(()), |kept| Ok(rustix::fs::rename(&kept, &to)?))
            }
            Self::Removed { path, kept } => Ok(rustix::fs::rename(&kept, &path)?),
        }
    }
}

impl Unsynced {
    /// What is known of a file. A new one may have the inode of one that is gone.
    pub(super) fn of(&mut self, file: &File, new: bool) -> io::Result<&mut Dirty> {
        let inode = file.metadata()?.ino();
        if new {
            self.numbers.remove(&inode);
        }
        let number = match self.numbers.get(&inode) {
            Some(number) => *number,
            None => {
                let length = file.metadata()?.len();
                let file = Arc::new(file.try_clone()?);
                self.files.push(Dirty { file, before: BTreeMap::new(), lost: BTreeSet::new(), length });
                self.numbers.insert(inode, self.files.len() - 1);
                self.files.len() - 1
            }
        };
        self.files.get_mut(number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
