//! The paths of tiles: `0/x001/x234/067`, `1/003.p/17`, `entries/000`.
//!
//! Specification: C2SP tlog-tiles. One tile has one path.
//!
//! Not here: whether there is such a tile.

use crate::messagelog::tiles::index_path;

/// A tile, or a bundle of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TilePath {
    /// Its level; `None` for entries.
    pub level: Option<u32>,
    /// Its place in the level.
    pub index: u64,
    /// How many hashes or entries.
    pub width: usize,
}

impl TilePath {
    /// Reads what follows `/tile/`; `None` when it is no path of a tile.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = if level == "entries" { None } else { Some(decimal(level, 63)?) };
        let (index_text, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, decimal(width, 255).filter(|width| *width > 0)?),
            None => (rest, 256),
        };
        let mut index: u64 = 0;
        for piece in index_text.split('/') {
            let digits = piece.strip_prefix('x').unwrap_or(piece);
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let width = usize::try_from(width).ok()?;
        // Only the one way to write it.
        (index_path(index) == index_text).then_some(Self { level, index, width })
    }
}

fn decimal(text: &str, most: u32) -> Option<u32> {
    let number: u32 = text.parse().ok().filter(|number| *number <= most)?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_specification_writes_them_and_in_no_other_way() {
        let tile = |level, index, width| Some(TilePath { level, index, width });
        assert_eq!(TilePath::parse("0/x001/x234/067"), tile(Some(0), 1_234_067, 256));
        assert_eq!(TilePath::parse("1/000.p/17"), tile(Some(1), 0, 17));
        assert_eq!(TilePath::parse("entries/273.p/112"), tile(None, 273, 112));
        assert_eq!(TilePath::parse("63/999"), tile(Some(63), 999, 256));
        for bad in [
            "",
            "0",
            "0/",
            "00/000",
            "64/000",
            "-1/000",
            "0/0",
            "0/0000",
            "0/001/000",
            "0/x000/001",
            "0/x001",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "0/000.p/1/2",
            "0/../x",
            "entries/",
            "data/000",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::parse(bad), None, "{bad}");
        }
    }
}
