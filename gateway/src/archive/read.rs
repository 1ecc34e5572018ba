//! Reads and judges one archive: the digest chain over its containers and, with a configuration, the containers.
//!
//! Specification: X-Road's message log archives. Memory does not grow with the archive; a container that is judged
//! itself is held whole.
//!
//! # Compatibility
//! Stricter than X-Road: an entry that is neither a container nor `linkinginfo`, anything between the entries, and
//! local headers that say other than the directory are refused. What the chain does not cover must not be there.
//!
//! Not here: how several archives go together ([`super::chains`]).

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};

use cert_authority::{
    algorithm::DigestAlgorithm,
    crypto::{Digest, Hasher},
};
use conf::snapshot::GlobalConf;
use zip::{ZipArchive, read::ZipFile};

use super::linking::{LinkingError, LinkingInfo};
use crate::evidence::asic::{NotAZip, Report, verify_container};

/// The entry that ties the others together.
pub const LINKING_INFO: &str = "linkinginfo";
/// How the names of containers end.
pub const CONTAINER: &str = ".asice";
const MAX_LINKING_INFO: u64 = 256 << 20;
/// What an entry may unpack to: this, and more only as a small multiple of the archive.
const ALWAYS_ALLOWED: u64 = 64 << 20;
const MAX_RATIO: u64 = 100;
/// Length of a local header before its name.
const LOCAL_HEADER: u64 = 30;

/// An archive whose chain is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// What ties it together.
    pub linking: LinkingInfo,
    /// The last digest of its chain: what the next archive begins with.
    pub last: String,
    /// The verdicts over its containers; none without a configuration to judge them by.
    pub reports: Vec<(String, Report)>,
}

/// Why an archive is not what it says to be.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No ZIP file at all.
    #[error("not a ZIP file")]
    NotAZip,
    /// A ZIP file that is damaged or ambiguous.
    #[error("the archive is not acceptable: {0}")]
    Invalid(String),
    /// Nothing ties the containers together.
    #[error("there is no linking information in it")]
    NoLinkingInfo,
    /// What ties them together cannot be read.
    #[error("the linking information: {0}")]
    LinkingInfo(#[from] LinkingError),
    /// It holds nothing.
    #[error("there are no containers in it")]
    NoContainers,
    /// The linking information is of other containers.
    #[error("{file} stands in {} only", if *.linked { "the linking information" } else { "the archive" })]
    Names {
        /// The container.
        file: String,
        /// Where: in the linking information, or in the archive.
        linked: bool,
    },
    /// A container, or the order of containers, is another.
    #[error("the digest chain breaks at {0}")]
    Chain(String),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn invalid(reason: impl Into<String>) -> ArchiveError {
    ArchiveError::Invalid(reason.into())
}

/// Judges an archive; the containers too when there is a configuration to do it with.
///
/// # Errors
/// [`ArchiveError`]; what is wrong with a container alone stands in [`Archive::reports`].
pub fn read<R: Read + Seek>(file: R, conf: Option<&GlobalConf>) -> Result<Archive, ArchiveError> {
    match conf {
        None => examine(file, None),
        Some(conf) => examine(file, Some(&mut |_, bytes| Some(judge(bytes, conf)))),
    }
}

/// Is shown the name and the bytes of a container, and may judge it.
pub type Examiner<'a> = &'a mut dyn FnMut(&str, &[u8]) -> Option<Report>;

/// Judges an archive; each container is shown to `examiner`, in the order of the chain.
///
/// # Errors
/// As [`read`].
pub fn examine<R: Read + Seek>(
    mut file: R,
    mut examiner: Option<Examiner<'_>>,
) -> Result<Archive, ArchiveError> {
    let length = file.seek(SeekFrom::End(0)).map_err(damaged("its end"))?;
    let mut zip = ZipArchive::new(file).map_err(|error| match error {
        zip::result::ZipError::Io(error) if !is_damage(&error) => error.into(),
        _ => ArchiveError::NotAZip,
    })?;
    let headers = layout(&mut zip, length)?;
    let linking = linking_info(&mut zip, &headers)?;
    check_names(&linking, &headers)?;

    let mut chain = linking.chain();
    let mut reports = Vec::new();
    let mut links: Vec<_> = linking.files.iter().collect();
    links.sort_by(|a, b| a.file.cmp(&b.file));
    for (index, header) in headers.iter().enumerate() {
        if !header.name.ends_with(CONTAINER) {
            continue;
        }
        let mut entry = zip.by_index(index).map_err(|_| invalid(format!("{} is damaged", header.name)))?;
        let (digest, report) = container(&mut entry, header, linking.algorithm, &mut examiner)?;
        let digest = chain.add(&digest);
        let found = links.binary_search_by(|link| link.file.as_str().cmp(&header.name)).ok();
        if found.and_then(|at| links.get(at)).is_none_or(|link| link.digest != digest) {
            return Err(ArchiveError::Chain(header.name.clone()));
        }
        reports.extend(report.map(|report| (header.name.clone(), report)));
    }
    let last = chain.last().to_owned();
    check_local_headers(&mut zip.into_inner(), &headers)?;
    Ok(Archive { linking, last, reports })
}

/// An entry.
struct Header {
    name: String,
    start: u64,
    data: u64,
    end: u64,
    size: u64,
    described: bool,
}

/// The entries in the order of the directory; they lie one behind the other from the beginning to the directory.
fn layout<R: Read + Seek>(zip: &mut ZipArchive<R>, length: u64) -> Result<Vec<Header>, ArchiveError> {
    if zip.offset() != 0 || zip.has_duplicate_names() {
        return Err(invalid("something lies before it, or a name stands there twice"));
    }
    let mut headers = Vec::with_capacity(zip.len().min(1 << 16));
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|_| invalid("its directory is damaged"))?;
        headers.push(header(&entry, length)?);
    }
    let mut expected = 0..=0;
    let mut in_place: Vec<&Header> = headers.iter().collect();
    in_place.sort_by_key(|header| header.start);
    for header in in_place {
        if !expected.contains(&header.start) {
            return Err(invalid(format!("something lies before {}, or over it", header.name)));
        }
        // Behind data whose length was not known: a descriptor of 12 to 24 bytes.
        expected = if header.described { header.end + 12..=header.end + 24 } else { header.end..=header.end };
    }
    if !expected.contains(&zip.central_directory_start()) {
        return Err(invalid("something lies before its directory"));
    }
    Ok(headers)
}

fn header<R: Read>(entry: &ZipFile<'_, R>, length: u64) -> Result<Header, ArchiveError> {
    let name = std::str::from_utf8(entry.name_raw()).map_err(|_| invalid("a name is no UTF-8"))?.to_owned();
    if name != LINKING_INFO && !name.ends_with(CONTAINER) {
        return Err(invalid(format!("{name} does not belong there")));
    }
    if entry.size() > ALWAYS_ALLOWED.max(length.saturating_mul(MAX_RATIO)) {
        return Err(invalid(format!("{name} unpacks to more than is allowed")));
    }
    let data = entry.data_start().ok_or_else(|| invalid(format!("{name} has no data")))?;
    let end = data.saturating_add(entry.compressed_size());
    let described = entry.flags().is_using_data_descriptor();
    Ok(Header { name, start: entry.header_start(), data, end, size: entry.size(), described })
}

/// A reader that streams sees the names that stand before the data.
fn check_local_headers<R: Read + Seek>(file: &mut R, headers: &[Header]) -> Result<(), ArchiveError> {
    for header in headers {
        let expected = [b"PK\x03\x04".as_slice(), header.name.as_bytes()];
        let mut found = [vec![0; 4], vec![0; header.name.len()]];
        for (found, at) in found.iter_mut().zip([0, LOCAL_HEADER]) {
            file.seek(SeekFrom::Start(header.start.saturating_add(at))).map_err(damaged(&header.name))?;
            file.read_exact(found).map_err(damaged(&header.name))?;
        }
        if found != expected || header.start + LOCAL_HEADER + length(&header.name) > header.data {
            return Err(invalid(format!("the directory and the local header of {} differ", header.name)));
        }
    }
    Ok(())
}

fn length(name: &str) -> u64 {
    u64::try_from(name.len()).unwrap_or(u64::MAX)
}

fn linking_info<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    headers: &[Header],
) -> Result<LinkingInfo, ArchiveError> {
    let at = headers.iter().position(|header| header.name == LINKING_INFO);
    let at = at.ok_or(ArchiveError::NoLinkingInfo)?;
    let entry = zip.by_index(at).map_err(|_| invalid("the linking information is damaged"))?;
    let mut text = Vec::new();
    entry.take(MAX_LINKING_INFO).read_to_end(&mut text).map_err(damaged(LINKING_INFO))?;
    Ok(LinkingInfo::parse(&text)?)
}

fn check_names(linking: &LinkingInfo, headers: &[Header]) -> Result<(), ArchiveError> {
    let there = headers.iter().map(|header| header.name.as_str()).filter(|name| *name != LINKING_INFO);
    let (there, linked): (BTreeSet<&str>, BTreeSet<&str>) =
        (there.collect(), linking.files.iter().map(|link| link.file.as_str()).collect());
    if there.is_empty() {
        return Err(ArchiveError::NoContainers);
    }
    match there.symmetric_difference(&linked).next() {
        None => Ok(()),
        Some(file) => Err(ArchiveError::Names { file: (*file).to_owned(), linked: linked.contains(file) }),
    }
}

/// The verdict over a container.
pub fn judge(bytes: &[u8], conf: &GlobalConf) -> Report {
    verify_container(bytes, conf)
        .unwrap_or_else(|error @ NotAZip| Report::nothing("asic_invalid_container", error.to_string()))
}

/// The digest of a container, and the verdict over it.
fn container<R: Read>(
    entry: &mut ZipFile<'_, R>,
    header: &Header,
    algorithm: DigestAlgorithm,
    examiner: &mut Option<Examiner<'_>>,
) -> Result<(Digest, Option<Report>), ArchiveError> {
    let mut hasher = Hasher::new(algorithm);
    let Some(examiner) = examiner else {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = entry.read(&mut buffer).map_err(damaged(&header.name))?;
            if length == 0 {
                return Ok((hasher.finish(), None));
            }
            hasher.update(buffer.get(..length).unwrap_or_default());
        }
    };
    let mut bytes = Vec::with_capacity(usize::try_from(header.size).unwrap_or(0).min(1 << 20));
    entry.read_to_end(&mut bytes).map_err(damaged(&header.name))?;
    hasher.update(&bytes);
    Ok((hasher.finish(), examiner(&header.name, &bytes)))
}

/// A wrong checksum and the like is the archive's fault, anything else the disk's.
fn damaged(name: &str) -> impl FnOnce(io::Error) -> ArchiveError {
    move |error| if is_damage(&error) { invalid(format!("{name} is damaged")) } else { error.into() }
}

fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof | Other)
}
