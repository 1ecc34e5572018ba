//! The public folder, laid out as X-Road's central server lays it out, so that any web server can serve it:
//!
//! ```text
//! V6/internalconf                               signed directory for gateways of this instance
//! V6/externalconf                               signed directory for other instances
//! V6/20260203040506000000000/shared-params.xml  the parts, in a folder named by the time of their making
//! ```
//!
//! The parts of a new set are on disk before a directory names them, and the parts of the sets before stay for as long
//! as somebody may still be fetching them: a client never finds half a set.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cert_authority::clock::UnixTime;
use cert_authority::durable;
use time::OffsetDateTime;

/// The public folder.
#[derive(Debug)]
pub(crate) struct PublicFolder {
    path: PathBuf,
}

/// One part, to be written.
#[derive(Debug, Clone)]
pub(crate) struct PublishedPart {
    pub(crate) name: &'static str,
    pub(crate) content: Vec<u8>,
}

impl PublicFolder {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Writes the parts of a set; gives the path that a directory names them by, without the file: `/V6/2026…`.
    pub(crate) fn write_parts(
        &self,
        version: u8,
        at: UnixTime,
        parts: &[PublishedPart],
    ) -> io::Result<String> {
        let of_version = self.path.join(format!("V{version}"));
        fs::create_dir_all(&of_version)?;
        // Two sets within one millisecond (a clock that stands still) get different names.
        let mut stamp = stamp_of(at);
        let mut n: u32 = 0;
        while of_version.join(&stamp).exists() {
            n = n.saturating_add(1);
            stamp = format!("{}{n:06}", stamp.get(..17).unwrap_or_default());
        }
        durable::replace_dir(of_version.join(&stamp), |folder| {
            // Synced as a whole before it gets its name.
            parts
                .iter()
                .try_for_each(|part| fs::File::create_new(folder.join(part.name))?.write_all(&part.content))
        })?;
        Ok(format!("/V{version}/{stamp}"))
    }

    /// Puts a signed directory in the place of the one before.
    pub(crate) fn write_directory(&self, version: u8, name: &str, signed: &[u8]) -> io::Result<()> {
        durable::write(self.path.join(format!("V{version}")).join(name), signed)
    }

    /// The signed directory that is published now.
    pub(crate) fn directory(&self, version: u8, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(format!("V{version}")).join(name)) {
            Ok(signed) => Ok(Some(signed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes parts that were made before `time`, of this version.
    pub(crate) fn remove_parts_before(&self, version: u8, time: UnixTime) -> io::Result<()> {
        let oldest = stamp_of(time);
        for entry in fs::read_dir(self.path.join(format!("V{version}")))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_stamp = name.len() == oldest.len() && name.bytes().all(|byte| byte.is_ascii_digit());
            let is_left_over = name.starts_with('.') && name.ends_with(".tmp");
            if is_stamp && *name < *oldest || is_left_over && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Year to nanosecond in digits, as X-Road writes it.
fn stamp_of(at: UnixTime) -> String {
    let t = OffsetDateTime::from(at);
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}{:09}",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.nanosecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn parts_lie_under_the_time_of_their_making_and_old_ones_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = PublicFolder::new(dir.path());
        let at = UnixTime::from_rfc3339("2026-02-03T04:05:06.070Z").unwrap();
        let parts = [PublishedPart { name: "shared-params.xml", content: b"<conf/>".to_vec() }];
        let first = folder.write_parts(6, at, &parts).unwrap();
        assert_eq!(first, "/V6/20260203040506070000000");
        let second = folder.write_parts(6, at, &parts).unwrap();
        assert_eq!(second, "/V6/20260203040506070000001");
        let third = folder.write_parts(6, at + Duration::from_secs(60), &parts).unwrap();
        let there = |path: &str| dir.path().join(&path[1..]).join("shared-params.xml").exists();
        assert!(there(&first) && there(&second) && there(&third));
        folder.write_directory(6, "internalconf", b"signed").unwrap();
        folder.remove_parts_before(6, at + Duration::from_secs(30)).unwrap();
        assert!(!there(&first) && !there(&second) && there(&third));
        assert_eq!(folder.directory(6, "internalconf").unwrap().unwrap(), b"signed");
        assert_eq!(folder.directory(5, "internalconf").unwrap(), None);
    }
}
