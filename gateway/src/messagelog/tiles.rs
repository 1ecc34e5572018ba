//! The hashes of the tree as tiles: computed from the segments, full ones kept as files.
//!
//! ```text
//! tile (0, n)     the leaves 256 n to 256 n + 255
//! tile (l, n)     the roots of the tiles (l-1, 256 n) to (l-1, 256 n + 255)
//! <log>/tiles/<level>/x001/x234/067      a full tile: 256 hashes, then their SHA-256
//! ```
//! Specification: C2SP tlog-tiles. A kept tile saves reading the segments; it is believed only as far as a proof made
//! with it leads to the root. The folder may be removed at any time.
//!
//! Entry bundles have 16 bits for the length of an entry: a bundle with a record of 64 KiB or more does not exist. Its
//! hashes do, and the record can be had alone.
//!
//! Not here: who may have tiles (the transparency endpoints), signed heads ([`super::checkpoint`]).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cert_authority::tlog::proof::{self, HashReader, node_hash};

use super::{
    disk::Work,
    error::LogError,
    reader::Reader,
    tree::{self, Hash},
};

/// Hashes of a full tile.
pub const WIDTH: u64 = 256;
/// Levels of the tree that a tile spans.
const HEIGHT: u32 = 8;
/// Tiles held in memory.
const HELD: usize = 256;

/// Why there is no bundle of entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record does not fit into the format.
    #[error("record {sequence} has {length} bytes; entries of a bundle have at most 65535")]
    TooLong {
        /// Its number.
        sequence: u64,
        /// Its length.
        length: usize,
    },
}

/// By level and index.
type Held = HashMap<(u32, u64), Arc<Tile>>;

/// The hashes of a tile, and over them those of the levels within it.
struct Tile(Vec<Vec<Hash>>);

impl Tile {
    /// Full tiles of upper levels are few, and part of every proof: they are hashed once. Those of level 0 are many, and
    /// each is part of few.
    fn new(level: u32, hashes: Vec<Hash>) -> Self {
        let whole = level > 0 && hashes.len() == full();
        let mut rows = vec![hashes];
        while whole && let Some(row) = rows.last().filter(|row| row.len() > 1) {
            rows.push(above(row));
        }
        Self(rows)
    }

    fn hashes(&self) -> &[Hash] {
        self.0.first().map_or(&[], Vec::as_slice)
    }

    /// The hash `index` of those `levels` above the tile's own.
    fn hash(&self, levels: u32, index: usize) -> Option<Hash> {
        if let Some(row) = self.0.get(usize::try_from(levels).ok()?) {
            return row.get(index).copied();
        }
        let from = index << levels;
        self.hashes().get(from..from + (1 << levels)).map(top)
    }
}

/// The tiles of a log. Blocks while it reads files.
#[derive(Clone)]
pub struct Tiles(Arc<Shared>);

struct Shared {
    reader: Reader,
    directory: PathBuf,
    /// What is known of tiles; what is behind what a reader wants stays true.
    held: Mutex<Held>,
    /// Whether full tiles are kept as files.
    keep: bool,
    written: AtomicU64,
}

impl Tiles {
    /// The tiles of the log that `reader` reads. `keep` says whether full tiles are written to files.
    pub fn new(reader: Reader, keep: bool) -> Self {
        let directory = reader.directory().join("tiles");
        Self(Arc::new(Shared {
            reader,
            directory,
            held: Mutex::default(),
            keep,
            written: AtomicU64::default(),
        }))
    }

    /// The first `width` hashes of a tile; none when the log does not have so many.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn tile(&self, level: u32, index: u64, width: usize) -> Result<Option<Vec<Hash>>, LogError> {
        if !exists(level, index, width, self.0.reader.len()) {
            return Ok(None);
        }
        let tile = self.held(level, index, width)?;
        Ok(tile.hashes().get(..width).map(<[Hash]>::to_vec))
    }

    /// The first `width` records of those that a tile of level 0 has the hashes of: each its length (2 bytes) and its frame.
    /// None when the log does not have so many.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn entries(&self, index: u64, width: usize) -> Result<Option<Vec<u8>>, BundleError> {
        if !exists(0, index, width, self.0.reader.len()) {
            return Ok(None);
        }
        let mut bundle = Vec::new();
        for sequence in (index.saturating_mul(WIDTH)..).take(width) {
            let Some(frame) = self.0.reader.frame(sequence)? else { return Ok(None) };
            let length = u16::try_from(frame.len())
                .map_err(|_| BundleError::TooLong { sequence, length: frame.len() })?;
            bundle.extend_from_slice(&length.to_be_bytes());
            bundle.extend_from_slice(&frame);
        }
        Ok(Some(bundle))
    }

    /// Where work with them is done.
    pub(crate) fn work(&self) -> Work {
        self.0.reader.work()
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.0.reader.len()
    }

    /// The root of the tree of the first `size` records.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn root(&self, size: u64) -> Result<Hash, LogError> {
        proof::root(self, size)
    }

    /// How many tiles were written to files.
    pub fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Forgets what is held and kept: the next ones are computed from the segments.
    pub fn forget(&self) {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // What cannot be removed is found out by the next proof too.
        let _ = fs::remove_dir_all(&self.0.directory);
    }

    /// A tile that is known to have `width` hashes, with at least so many.
    fn held(&self, level: u32, index: u64, width: usize) -> Result<Arc<Tile>, LogError> {
        let held = || self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let fewer = held().get(&(level, index)).cloned();
        if let Some(tile) = fewer.as_ref().filter(|tile| tile.hashes().len() >= width) {
            return Ok(Arc::clone(tile));
        }
        let path = self.0.directory.join(path(level, index));
        let hashes = match read(&path) {
            Some(hashes) => hashes,
            None => {
                let known = fewer.as_ref().map_or(&[][..], |tile| tile.hashes());
                let hashes = self.compute(level, index, width, known)?;
                if hashes.len() == full() && self.0.keep {
                    self.write(&path, &hashes);
                }
                hashes
            }
        };
        let tile = Arc::new(Tile::new(level, hashes));
        let mut held = held();
        if held.len() >= HELD {
            held.retain(|(level, _), _| *level > 0);
        }
        if held.len() >= HELD {
            held.clear();
        }
        held.insert((level, index), Arc::clone(&tile));
        Ok(tile)
    }

    /// The hashes of a tile, of which the first are known.
    fn compute(&self, level: u32, index: u64, width: usize, known: &[Hash]) -> Result<Vec<Hash>, LogError> {
        let first = index.saturating_mul(WIDTH);
        if level == 0 {
            // All that are there: the next one who asks may want one more.
            let leaves = self.0.reader.leaves(first, full())?;
            return if leaves.len() >= width { Ok(leaves) } else { Err(cut_short(first, width)) };
        }
        let mut hashes = known.to_vec();
        for below in (first..).take(width).skip(known.len()) {
            hashes.push(top(self.held(level - 1, below, full())?.hashes()));
        }
        Ok(hashes)
    }

    fn write(&self, path: &Path, tile: &[Hash]) {
        let mut bytes = tile.concat();
        let check = tree::sha256(&bytes);
        bytes.extend_from_slice(&check);
        match replace(path, &bytes) {
            Ok(()) => {
                self.0.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tracing::debug!(%error, "a tile of the log could not be kept"),
        }
    }
}

impl HashReader for Tiles {
    type Error = LogError;

    fn hash(&self, level: u32, index: u64) -> Result<Hash, LogError> {
        let (tile_level, levels) = (level / HEIGHT, level % HEIGHT);
        let width = WIDTH >> levels;
        let (tile, within) = (index / width, usize::try_from(index % width).unwrap_or(0));
        let end = (within + 1) << levels;
        let found = self.held(tile_level, tile, end)?.hash(levels, within);
        found.ok_or_else(|| cut_short(index << levels, end))
    }
}

/// The path of a tile below the prefix, without its level.
pub fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

fn path(level: u32, index: u64) -> PathBuf {
    Path::new(&level.to_string()).join(index_path(index))
}

const fn full() -> usize {
    1 << HEIGHT
}

/// Whether a tree of `size` leaves has so many hashes in this tile.
fn exists(level: u32, index: u64, width: usize, size: u64) -> bool {
    let hashes = if level < 8 { size >> (HEIGHT * level) } else { 0 };
    let end = u64::try_from(width).ok().and_then(|w| index.checked_mul(WIDTH)?.checked_add(w));
    (1..=full()).contains(&width) && end.is_some_and(|end| end <= hashes)
}

/// The hashes over pairs of hashes.
fn above(row: &[Hash]) -> Vec<Hash> {
    row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect()
}

/// The root over the hashes of a perfect subtree: a power of two of them.
fn top(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = above(&row);
    }
    row.first().copied().unwrap_or_else(proof::empty_root)
}

/// A kept tile, if it is whole.
fn read(path: &Path) -> Option<Vec<Hash>> {
    let bytes = fs::read(path).ok()?;
    let (hashes, check) = bytes.split_last_chunk::<32>()?;
    let (tile, rest) = hashes.as_chunks::<32>();
    (tile.len() == full() && rest.is_empty() && tree::sha256(hashes) == *check).then(|| tile.to_vec())
}

/// Without waiting for the disk: after a power cut a tile is whole, or it is computed again.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is lost with a tile, and its hash says whether it is whole"
)]
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension("tmp");
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, path)
}

fn cut_short(first: u64, wanted: usize) -> LogError {
    LogError::Index(format!("of the {wanted} records from {first} on not all are there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_tile_is_that_of_the_specification() {
        assert_eq!(index_path(1_234_067), "x001/x234/067");
        assert_eq!(index_path(0), "000");
        assert_eq!(index_path(999), "999");
        assert_eq!(index_path(1000), "x001/000");
    }

    #[test]
    fn a_tree_has_the_tiles_that_the_specification_says() {
        let has = |level, index, width| exists(level, index, width, 70_000);
        for (level, index, width) in [(0, 272, 256), (0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)] {
            assert!(has(level, index, width), "{level} {index} {width}");
            if width < 256 {
                assert!(!has(level, index, width + 1), "{level} {index} {width}");
            }
        }
        assert!(!has(0, 274, 1) && !has(2, 1, 1) && !has(3, 0, 1) && !has(63, 0, 1));
        assert!(!has(0, 0, 0) && !has(0, 0, 257) && !has(0, u64::MAX, 1));
    }

    #[test]
    fn the_top_of_a_row_is_the_root_of_its_tree() {
        let leaves: Vec<Hash> = (0..=255).map(|i| [i; 32]).collect();
        let mut tree = tree::Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        assert_eq!(top(&leaves), tree.root());
        assert_eq!(top(&leaves[..1]), leaves[0]);
    }

    #[test]
    fn a_hash_within_a_tile_is_the_same_whether_it_was_made_before_or_is_made_now() {
        let hashes: Vec<Hash> = (0..=255).map(|i| [i; 32]).collect();
        let (made, not) = (Tile::new(1, hashes.clone()), Tile::new(0, hashes.clone()));
        assert_eq!((made.0.len(), not.0.len()), (9, 1));
        for levels in 0..=8 {
            for index in 0..256_usize >> levels {
                assert_eq!(made.hash(levels, index), not.hash(levels, index), "{levels} {index}");
                assert!(made.hash(levels, index).is_some());
            }
            assert_eq!(made.hash(levels, 256 >> levels), None);
            assert_eq!(not.hash(levels, 256 >> levels), None);
        }
        assert_eq!(made.hash(8, 0), Some(top(&hashes)));
        let part = Tile::new(1, hashes[..100].to_vec());
        assert_eq!((part.hash(5, 2), part.hash(5, 3)), (made.hash(5, 2), None));
    }
}
