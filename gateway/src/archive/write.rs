//! Writes one archive: container after container into a ZIP file, `linkinginfo` at its end.
//!
//! Memory does not grow with the containers: they are made while they are written. Where one can go back in the output,
//! they are stored; where not, deflated lightly, because readers that stream demand that of data of unknown length.
//!
//! Specification: X-Road's message log archives; names as X-Road gives them.
//!
//! # Compatibility
//! The times in names are UTC, X-Road's those of its machine. A blank in a group's name becomes `_` in the file's, so
//! that the first line of `linkinginfo` can be read by everybody.

use std::io::{self, Seek, Write};

use cert_authority::{algorithm::DigestAlgorithm, clock::UnixTime, crypto::Hasher};
use time::{OffsetDateTime, macros::format_description};
use zip::{
    CompressionMethod, ZipWriter,
    write::{SimpleFileOptions, StreamWriter},
};

use super::{
    linking::{Chain, Link, LinkingInfo},
    read::LINKING_INFO,
};
use crate::evidence::asic::date_time;
use crate::metaservice::container::LoggedContainer;

/// The algorithm of our chains.
pub const ALGORITHM: DigestAlgorithm = DigestAlgorithm::Sha512;
/// A container with bodies longer than this is announced as one that may need the longer fields of ZIP64.
const LARGE: u64 = 1 << 31;

/// An archive in the making.
pub struct ArchiveWriter<W: Write + Seek> {
    zip: ZipWriter<W>,
    packing: SimpleFileOptions,
    linking: LinkingInfo,
    chain: Chain,
    length: u64,
    times: Option<(UnixTime, UnixTime)>,
}

/// An archive that is made, but for its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The last digest of its chain, in hexadecimal.
    pub digest: String,
    /// When its first message was logged.
    pub first: UnixTime,
    /// When its last message was logged.
    pub last: UnixTime,
}

impl<W: Write + Seek> ArchiveWriter<W> {
    /// Begins an archive that goes on after `previous`.
    pub fn new(out: W, previous: Option<Link>) -> Self {
        Self::on(ZipWriter::new(out), CompressionMethod::Stored, None, previous)
    }

    fn on(zip: ZipWriter<W>, method: CompressionMethod, level: Option<i64>, previous: Option<Link>) -> Self {
        let packing = SimpleFileOptions::default()
            .compression_method(method)
            .compression_level(level)
            .unix_permissions(0o644);
        let linking = LinkingInfo { previous, algorithm: ALGORITHM, files: Vec::new() };
        let chain = linking.chain();
        Self { zip, packing, linking, chain, length: 0, times: None }
    }

    /// Adds a container.
    ///
    /// # Errors
    /// Those of the output; [`io::ErrorKind::InvalidData`] when what was logged is not there any more as it was. After
    /// an error the archive can only be dropped.
    pub fn add(&mut self, container: &LoggedContainer) -> io::Result<()> {
        let file = container.file_name();
        let at = container.logged_at();
        let options =
            self.packing.last_modified_time(date_time(at)).large_file(container.length_of_bodies() > LARGE);
        self.zip.start_file(&file, options)?;
        let entry = Entry { zip: &mut self.zip, hasher: Hasher::new(ALGORITHM), length: 0 };
        let Entry { hasher, length, .. } = container.stream(entry)?;
        let digest = self.chain.add(&hasher.finish()).to_owned();
        self.linking.files.push(Link { digest, file });
        self.length = self.length.saturating_add(length);
        let (first, last) = self.times.unwrap_or((at, at));
        self.times = Some((first.min(at), last.max(at)));
        Ok(())
    }

    /// Bytes of the containers so far.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Ends it; gives the output back. None when there is nothing in it.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<Option<(W, Finished)>> {
        let Some((first, last)) = self.times else { return Ok(None) };
        self.zip.start_file(LINKING_INFO, self.packing.last_modified_time(date_time(last)))?;
        self.zip.write_all(self.linking.to_text().as_bytes())?;
        let digest = self.chain.last().to_owned();
        Ok(Some((self.zip.finish()?, Finished { digest, first, last })))
    }
}

impl<W: Write> ArchiveWriter<StreamWriter<W>> {
    /// [`Self::new`] to where one cannot go back.
    pub fn streamed(out: W, previous: Option<Link>) -> Self {
        Self::on(ZipWriter::new_stream(out), CompressionMethod::Deflated, Some(1), previous)
    }
}

/// What is written of a container, digested on its way.
struct Entry<'a, W: Write + Seek> {
    zip: &'a mut ZipWriter<W>,
    hasher: Hasher,
    length: u64,
}

impl<W: Write + Seek> Write for Entry<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.zip.write(data)?;
        self.hasher.update(data.get(..written).unwrap_or_default());
        self.length = self.length.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.zip.flush()
    }
}

/// The name of an archive, `extension` behind the last dot.
pub fn file_name(group: Option<&str>, finished: &Finished, extension: &str) -> String {
    /// Characters of the group, with the hyphen behind it.
    const LONGEST: usize = 200;
    let group = group.map(|group| format!("{}-", escaped(group))).unwrap_or_default();
    let group: String = group.chars().take(LONGEST).collect();
    let digest: String = finished.digest.chars().take(16).collect();
    format!("mlog-{group}{}-{}-{digest}.{extension}", stamp(finished.first), stamp(finished.last))
}

fn escaped(name: &str) -> String {
    let special = |c: char| c.is_control() || c.is_whitespace() || "\\<>/:|*?".contains(c);
    name.chars().map(|c| if special(c) { '_' } else { c }).collect()
}

fn stamp(at: UnixTime) -> String {
    let format = format_description!("[year][month][day][hour][minute][second]");
    OffsetDateTime::from(at).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_original() {
        let at = |text| UnixTime::from_rfc3339(text).unwrap();
        let finished = Finished {
            digest: "9011ab557706b5050584".to_owned(),
            first: at("2023-10-23T12:12:55Z"),
            last: at("2023-10-23T13:00:01.999Z"),
        };
        assert_eq!(
            file_name(None, &finished, "zip"),
            "mlog-20231023121255-20231023130001-9011ab557706b505.zip"
        );
        assert_eq!(
            file_name(Some("EE/GOV/10 01/a:b"), &finished, "zip.age"),
            "mlog-EE_GOV_10_01_a_b-20231023121255-20231023130001-9011ab557706b505.zip.age"
        );
        let long = "x".repeat(300);
        assert_eq!(file_name(Some(&long), &finished, "zip").len(), "mlog-".len() + 200 + 29 + 1 + 16 + 4);
    }
}
