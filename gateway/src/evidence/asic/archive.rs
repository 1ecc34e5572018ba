//! Reads a ZIP archive so that everybody who reads it sees the same files.
//!
//! Specification: APPNOTE 6.3, the part that containers use (stored or deflated, no encryption, no ZIP64);
//! THREATS.md T22, T41. The central directory decides, and the local headers must say the same: the
//! entries lie one behind the other without gaps, so that a reader that streams finds neither more nor
//! others. Nothing is ever extracted to a file.

use std::{collections::BTreeSet, io::Read as _, ops::Range};

use flate2::{Crc, read::DeflateDecoder};

const MAX_ENTRIES: usize = 1000;
/// What all entries may unpack to: [`MAX_RATIO`] times the archive, and small archives up to this.
const ALWAYS_ALLOWED: u64 = 64 << 20;
const MAX_RATIO: u64 = 100;
const END_LENGTH: usize = 22;
const CENTRAL_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;

/// A file of the archive.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
}

/// Why an archive is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArchiveError {
    /// There is no ZIP directory at all.
    #[error("not a ZIP file")]
    NotAZip,
    /// A ZIP file that is damaged, ambiguous or larger than allowed.
    #[error("the container is not acceptable: {0}")]
    Invalid(String),
}

/// All files of an archive.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
    let end = end_of_directory(bytes)?;
    let headers = central_directory(bytes, &end)?;
    let unpacked = headers.iter().map(|header| u64::from(header.size)).sum::<u64>();
    let packed = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if unpacked > ALWAYS_ALLOWED.max(packed.saturating_mul(MAX_RATIO)) {
        return invalid("unpacks to more than is allowed");
    }
    let data = check_layout(bytes, &headers, end.directory.start)?;
    let files = headers.into_iter().zip(data);
    files
        .filter(|(header, _)| !header.name.ends_with('/'))
        .map(|(header, packed)| Ok(Entry { data: unpack(&header, packed)?, name: header.name }))
        .collect()
}

struct End {
    directory: Range<usize>,
    entries: usize,
}

/// The record at the very end, found by its signature and the length of its comment.
fn end_of_directory(bytes: &[u8]) -> Result<End, ArchiveError> {
    let last = bytes.len().checked_sub(END_LENGTH).ok_or(ArchiveError::NotAZip)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    for at in (first..=last).rev() {
        let mut record = Fields::at(bytes, at);
        if record.u32() != Some(0x0605_4b50) {
            continue;
        }
        let field = |value: Option<u16>| value.map(usize::from).unwrap_or_default();
        let disks = (record.u16(), record.u16());
        let entries = (record.u16(), record.u16());
        let (size, offset) = (record.size(), record.size());
        if field(record.u16()) != last - at {
            continue;
        }
        if disks != (Some(0), Some(0)) || entries.0 != entries.1 {
            return invalid("it is spread over several disks");
        }
        // A ZIP64 directory would lie between the two, and is refused with everything else there.
        if offset.checked_add(size) != Some(at) {
            return invalid("the directory does not end where it says");
        }
        return Ok(End { directory: offset..at, entries: field(entries.0) });
    }
    Err(ArchiveError::NotAZip)
}

/// What the central directory says of an entry.
struct Header {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    offset: usize,
}

fn central_directory(bytes: &[u8], end: &End) -> Result<Vec<Header>, ArchiveError> {
    if end.entries > MAX_ENTRIES {
        return invalid("too many entries");
    }
    let mut headers = Vec::with_capacity(end.entries);
    let mut names = BTreeSet::new();
    let mut at = end.directory.start;
    for _ in 0..end.entries {
        let (header, length) = central_header(bytes, at)?;
        if !names.insert(header.name.to_lowercase()) {
            return invalid(&format!("{} twice", header.name));
        }
        headers.push(header);
        at += length;
    }
    if at != end.directory.end {
        return invalid("the directory has another length than it says");
    }
    headers.sort_by_key(|header| header.offset);
    Ok(headers)
}

fn central_header(bytes: &[u8], at: usize) -> Result<(Header, usize), ArchiveError> {
    let mut fields = Fields::at(bytes, at);
    let damaged = || ArchiveError::Invalid("the directory is damaged".to_owned());
    if fields.u32() != Some(0x0201_4b50) {
        return Err(damaged());
    }
    let made_by = fields.u16().ok_or_else(damaged)?;
    fields.skip(2);
    let (flags, method) = (fields.u16().ok_or_else(damaged)?, fields.u16().ok_or_else(damaged)?);
    fields.skip(4);
    let crc = fields.u32().ok_or_else(damaged)?;
    let (packed, size) = (fields.u32().ok_or_else(damaged)?, fields.u32().ok_or_else(damaged)?);
    let lengths = [fields.u16(), fields.u16(), fields.u16()];
    let [name, extra, comment] = lengths.map(|length| usize::from(length.unwrap_or_default()));
    let disk = fields.u16().ok_or_else(damaged)?;
    fields.skip(2);
    let attributes = fields.u32().ok_or_else(damaged)?;
    let offset = fields.size();
    let length = CENTRAL_LENGTH + name + extra + comment;
    let name = fields.bytes(name).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.ok_or_else(damaged)?.to_owned();
    check_name(&name)?;
    const UNIX: u16 = 3;
    const SYMBOLIC_LINK: u32 = 0o120_000;
    if made_by >> 8 == UNIX && (attributes >> 16) & 0o170_000 == SYMBOLIC_LINK {
        return invalid(&format!("{name} is a link"));
    }
    if flags & 0x2041 != 0 {
        return invalid(&format!("{name} is encrypted"));
    }
    if disk != 0 || ![0, 8].contains(&method) {
        return invalid(&format!("{name} is packed in an unknown way"));
    }
    if [packed, size].contains(&u32::MAX) {
        return invalid("ZIP64");
    }
    let header = Header { name, flags, method, crc, packed, size, offset };
    Ok((header, length))
}

/// Relative, without steps upwards, in one spelling only.
fn check_name(name: &str) -> Result<(), ArchiveError> {
    let bad_segment = |segment: &str| matches!(segment, "" | "." | "..");
    let path = name.strip_suffix('/').unwrap_or(name);
    let bad_character = |c: char| c == '\\' || c == ':' || c.is_control();
    if path.split('/').any(bad_segment) || path.contains(bad_character) {
        return invalid("an entry's name is not acceptable");
    }
    Ok(())
}

/// The packed data of the entries, if they lie one behind the other from the start of the archive to its
/// directory, each behind a local header that says what the directory says.
fn check_layout<'a>(
    bytes: &'a [u8],
    headers: &[Header],
    directory: usize,
) -> Result<Vec<&'a [u8]>, ArchiveError> {
    let mut data = Vec::with_capacity(headers.len());
    let mut expected = 0..=0;
    for header in headers {
        if !expected.contains(&header.offset) {
            return invalid(&format!("something lies before {}, or over it", header.name));
        }
        let start = check_local_header(bytes, header)?;
        let length = usize::try_from(header.packed).unwrap_or(usize::MAX);
        let end = start.saturating_add(length);
        data.push(
            bytes
                .get(start..end)
                .ok_or_else(|| ArchiveError::Invalid(format!("{} is cut off", header.name)))?,
        );
        // A descriptor of 12 bytes, or 16 with its signature, follows data whose length was not known.
        expected = match header.has_descriptor() {
            true => end + 12..=end + 16,
            false => end..=end,
        };
    }
    if !expected.contains(&directory) {
        return invalid("something lies before the directory");
    }
    Ok(data)
}

/// Compares the local header; gives the start of the data behind it.
fn check_local_header(bytes: &[u8], header: &Header) -> Result<usize, ArchiveError> {
    let mut fields = Fields::at(bytes, header.offset);
    let signature = fields.u32();
    fields.skip(2);
    let (flags, method) = (fields.u16(), fields.u16());
    fields.skip(4);
    let sizes = (fields.u32(), fields.u32(), fields.u32());
    let name = usize::from(fields.u16().unwrap_or_default());
    let extra = usize::from(fields.u16().unwrap_or_default());
    let same_sizes = sizes == (Some(header.crc), Some(header.packed), Some(header.size));
    let unknown_sizes = header.has_descriptor() && sizes == (Some(0), Some(0), Some(0));
    let same = signature == Some(0x0403_4b50)
        && flags == Some(header.flags)
        && method == Some(header.method)
        && (same_sizes || unknown_sizes)
        && fields.bytes(name) == Some(header.name.as_bytes());
    if !same {
        return invalid(&format!("the directory and the local header of {} differ", header.name));
    }
    Ok(header.offset + LOCAL_LENGTH + name + extra)
}

impl Header {
    const fn has_descriptor(&self) -> bool {
        self.flags & 8 != 0
    }
}

/// The data of an entry, of exactly the size and checksum that the directory says.
fn unpack(header: &Header, packed: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let size = usize::try_from(header.size).unwrap_or(usize::MAX);
    let damaged = || ArchiveError::Invalid(format!("{} is damaged", header.name));
    let data = if header.method == 0 {
        packed.to_vec()
    } else {
        let mut decoder = DeflateDecoder::new(packed);
        let mut data = Vec::new();
        let limit = u64::from(header.size) + 1;
        decoder.by_ref().take(limit).read_to_end(&mut data).map_err(|_| damaged())?;
        if decoder.total_in() != u64::from(header.packed) {
            return Err(damaged());
        }
        data
    };
    let mut crc = Crc::new();
    crc.update(&data);
    if data.len() != size || crc.sum() != header.crc {
        return Err(damaged());
    }
    Ok(data)
}

/// Little-endian fields, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn at(bytes: &'a [u8], offset: usize) -> Self {
        Self(bytes.get(offset..).unwrap_or_default())
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn skip(&mut self, length: usize) {
        let _ = self.bytes(length);
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// A length or an offset; what does not fit lies beyond every archive.
    fn size(&mut self) -> usize {
        self.u32().and_then(|value| usize::try_from(value).ok()).unwrap_or(usize::MAX)
    }
}

fn invalid<T>(reason: &str) -> Result<T, ArchiveError> {
    Err(ArchiveError::Invalid(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(files: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, data) in files {
            writer.start_file(*name, options).unwrap();
            writer.write_all(data).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn two() -> Vec<u8> {
        archive(&[("one", b"11111111"), ("two", b"22222222")], SimpleFileOptions::default())
    }

    /// Where the headers with this signature begin.
    fn headers(bytes: &[u8], signature: [u8; 4]) -> Vec<usize> {
        let found = bytes.windows(4).enumerate().filter(|(_, window)| **window == signature);
        found.map(|(at, _)| at).collect()
    }

    const LOCAL: [u8; 4] = *b"PK\x03\x04";
    const CENTRAL: [u8; 4] = *b"PK\x01\x02";

    /// The reason for which an archive is refused.
    fn refused(bytes: &[u8]) -> String {
        read(bytes).expect_err("accepted").to_string()
    }

    #[test]
    fn archives_of_others_are_read() {
        let names =
            |bytes: &[u8]| read(bytes).unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
        assert_eq!(names(&two()), ["one", "two"]);
        let mut streamed = ZipWriter::new_stream(Vec::new());
        streamed.start_file("with a descriptor", SimpleFileOptions::default()).unwrap();
        streamed.write_all(b"data").unwrap();
        assert_eq!(names(&streamed.finish().unwrap().into_inner()), ["with a descriptor"]);
        let mut folder = ZipWriter::new(Cursor::new(Vec::new()));
        folder.add_directory("META-INF", SimpleFileOptions::default()).unwrap();
        assert!(names(&folder.finish().unwrap().into_inner()).is_empty());
    }

    #[test]
    fn what_is_no_archive_is_told_from_a_damaged_one() {
        assert_eq!(read(b"").unwrap_err(), ArchiveError::NotAZip);
        assert_eq!(read(&[b'x'; 100_000]).unwrap_err(), ArchiveError::NotAZip);
        assert_eq!(read(&two()[..50]).unwrap_err(), ArchiveError::NotAZip);
        let mut damaged = two();
        damaged[32] ^= 1;
        assert!(refused(&damaged).contains("differ"));
        let mut damaged = two();
        damaged[34] ^= 1;
        assert!(refused(&damaged).contains("one is damaged"));
    }

    #[test]
    fn a_directory_that_says_other_than_the_files_is_refused() {
        for field in [6, 8, 14, 18, 22, 30] {
            let mut bytes = two();
            bytes[field] ^= 2;
            assert!(refused(&bytes).contains("differ"), "{field}");
        }
        // Something before, between and behind the entries, which a reader that streams would find.
        let mut bytes = two();
        bytes.splice(0..0, *b"PK");
        assert!(!refused(&bytes).is_empty());
        let mut bytes = two();
        let directory = headers(&bytes, CENTRAL)[0];
        let hidden = bytes[..headers(&bytes, LOCAL)[1]].to_vec();
        bytes.splice(directory..directory, hidden.iter().copied());
        let end = bytes.len() - END_LENGTH;
        let offset = u32::try_from(directory + hidden.len()).unwrap();
        bytes[end + 16..end + 20].copy_from_slice(&offset.to_le_bytes());
        assert!(refused(&bytes).contains("before the directory"));
    }

    #[test]
    fn entries_that_overlap_or_share_a_name_are_refused() {
        let mut bytes = two();
        let second = headers(&bytes, CENTRAL)[1];
        bytes[second + 42..second + 46].copy_from_slice(&[0; 4]);
        assert!(refused(&bytes).contains("over it"));
        let replaced = |from: &[u8], to: &[u8]| {
            let mut bytes = two();
            while let Some(at) = bytes.windows(3).position(|window| window == from) {
                bytes[at..at + 3].copy_from_slice(to);
            }
            bytes
        };
        assert!(refused(&replaced(b"two", b"one")).contains("one twice"));
        assert!(refused(&replaced(b"two", b"ONE")).contains("ONE twice"));
        for name in [b"../", b"/ab", b"a//", b"..\\", b"C:x", b"a\0b", b"./a"] {
            assert!(refused(&replaced(b"two", name)).contains("name"), "{name:?}");
        }
    }

    #[test]
    fn links_encryption_and_unknown_methods_are_refused() {
        let central = |offset: usize, value: &[u8]| {
            let mut bytes = two();
            let at = headers(&bytes, CENTRAL)[0] + offset;
            bytes[at..at + value.len()].copy_from_slice(value);
            bytes
        };
        assert!(refused(&central(8, &[1])).contains("encrypted"));
        assert!(refused(&central(10, &[12])).contains("unknown way"));
        assert!(refused(&central(20, &[0xff; 4])).contains("ZIP64"));
        let mut link = ZipWriter::new(Cursor::new(Vec::new()));
        link.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        assert!(refused(&link.finish().unwrap().into_inner()).contains("link"));
    }

    #[test]
    fn bombs_are_refused_before_they_are_unpacked() {
        let zeros = vec![0; (64 << 20) + 1];
        let bomb = archive(&[("bomb", &zeros)], SimpleFileOptions::default());
        assert!(refused(&bomb).contains("more than is allowed"));
        let names = (0..=MAX_ENTRIES).map(|number| number.to_string()).collect::<Vec<_>>();
        let many = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect::<Vec<_>>();
        assert!(refused(&archive(&many, SimpleFileOptions::default())).contains("too many"));
        assert_eq!(read(&archive(&many[1..], SimpleFileOptions::default())).unwrap().len(), MAX_ENTRIES);
        let most = archive(&[("no bomb", &zeros[1..])], SimpleFileOptions::default());
        assert!(read(&most).is_ok());
        // A directory that understates the size.
        let mut bytes = archive(&[("one", &[0; 1000])], SimpleFileOptions::default());
        for header in [(LOCAL, 22), (CENTRAL, 24)] {
            let at = headers(&bytes, header.0)[0] + header.1;
            bytes[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
        }
        assert!(refused(&bytes).contains("damaged"));
    }
}
