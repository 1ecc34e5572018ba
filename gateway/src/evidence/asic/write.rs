//! Writes a container.
//!
//! In X-Road's order and with its names, `mimetype` first and stored as ASiC wants it. Attachments are
//! stored too: bodies are mostly compressed already, and a reader's limit on unpacking never bites. Where
//! the length cannot be told beforehand ([`stream`]) they are deflated, lightly: readers such as X-Road's demand that.

use std::io::{self, Read, Seek, Write};

use bytes::Bytes;
use cert_authority::{algorithm::DigestAlgorithm, clock::UnixTime, crypto};
use time::OffsetDateTime;
use zip::{
    CompressionMethod, DateTime, ZipWriter,
    write::{SimpleFileOptions, StreamWriter},
};

use super::{MIMETYPE, name};
use crate::evidence::{signature::SignatureBundle, timestamp};

/// What goes into a container.
pub struct Container<'a> {
    /// The signed message part.
    pub message: &'a [u8],
    /// Its signature.
    pub signature: &'a SignatureBundle,
    /// The time-stamp over the signature.
    pub timestamp: TimeStamp<'a>,
    /// The body of a REST message, the attachments of a SOAP message, in order.
    pub attachments: Vec<Box<dyn Read + 'a>>,
    /// When the message was logged: the time of all entries.
    pub logged_at: UnixTime,
}

/// A time-stamp, in DER, and what ties it to the signature.
#[derive(Debug, Clone, Copy)]
pub enum TimeStamp<'a> {
    /// Over this signature alone.
    Single {
        /// The token.
        token: &'a [u8],
    },
    /// Over several signatures.
    Batch {
        /// The token.
        token: &'a [u8],
        /// What it is over.
        hash_chain_result: &'a [u8],
        /// Leads to this signature.
        hash_chain: &'a [u8],
    },
}

/// Writes a container to `out`, which it gives back.
///
/// # Errors
/// Those of `out` and of the attachments; [`io::ErrorKind::InvalidData`] when the signature is none.
pub fn write<W: Write + Seek>(container: Container<'_>, out: W) -> io::Result<W> {
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    fill(ZipWriter::new(out), container, stored)
}

/// Writes a container to where one cannot go back, such as a connection: the lengths follow the data, as in X-Road's
/// own containers.
///
/// # Errors
/// As [`write()`].
pub fn stream<W: Write>(container: Container<'_>, out: W) -> io::Result<W> {
    let lightly = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1));
    fill(ZipWriter::new_stream(out), container, lightly).map(StreamWriter::into_inner)
}

/// `plain` is how that is packed which is mostly compressed already.
fn fill<W: Write + Seek>(
    mut zip: ZipWriter<W>,
    container: Container<'_>,
    plain: SimpleFileOptions,
) -> io::Result<W> {
    let stored = plain.last_modified_time(date_time(container.logged_at)).unix_permissions(0o644);
    let deflated = stored.compression_method(CompressionMethod::Deflated).compression_level(None);
    let attachments = container.attachments.len();
    let files = files(&container)?;

    zip.set_comment(format!("mimetype={MIMETYPE}"))?;
    zip.start_file(name::MIMETYPE, stored)?;
    zip.write_all(MIMETYPE.as_bytes())?;
    let (before, after): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(name, _)| !name.starts_with("META-INF/") || *name == name::SIGNATURE);
    let manifest = manifest(&before, attachments);
    let entries =
        before.into_iter().chain(std::iter::once((name::MANIFEST, Bytes::from(manifest)))).chain(after);
    for (name, data) in entries {
        zip.start_file(name, deflated)?;
        zip.write_all(&data)?;
    }
    for (number, mut attachment) in (1..).zip(container.attachments) {
        zip.start_file(format!("{}{number}", name::ATTACHMENT), stored.large_file(false))?;
        io::copy(&mut attachment, &mut zip)?;
    }
    Ok(zip.finish()?)
}

/// The files that are known without the manifest, in their order.
fn files(container: &Container<'_>) -> io::Result<Vec<(&'static str, Bytes)>> {
    let bundle = container.signature;
    let mut files = vec![(name::MESSAGE, Bytes::copy_from_slice(container.message))];
    let signature = match container.timestamp {
        TimeStamp::Single { token } => timestamp::insert(&bundle.signature_xml, token)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
        TimeStamp::Batch { .. } => bundle.signature_xml.clone(),
    };
    files.push((name::SIGNATURE, signature));
    let optional = |name, data: &Option<Bytes>| data.clone().map(|data| (name, data));
    files.extend(optional(name::SIG_HASH_CHAIN_RESULT, &bundle.hash_chain_result));
    files.extend(optional(name::SIG_HASH_CHAIN, &bundle.hash_chain));
    if let TimeStamp::Batch { token, hash_chain_result, hash_chain } = container.timestamp {
        let copied = |name, data| (name, Bytes::copy_from_slice(data));
        files.push(copied(name::TS_HASH_CHAIN_RESULT, hash_chain_result));
        files.push(copied(name::TS_HASH_CHAIN, hash_chain));
        files.push((name::ASIC_MANIFEST, Bytes::from(asic_manifest(hash_chain_result))));
        files.push(copied(name::TIMESTAMP, token));
    }
    Ok(files)
}

/// The OpenDocument manifest: everything outside `META-INF`.
fn manifest(files: &[(&'static str, Bytes)], attachments: usize) -> String {
    let entry = |name: &str, media_type: &str| {
        format!(
            "    <manifest:file-entry manifest:media-type=\"{media_type}\" manifest:full-path=\"{name}\"/>\n"
        )
    };
    let mut entries = entry("/", MIMETYPE);
    for (name, _) in files.iter().filter(|(name, _)| *name != name::SIGNATURE) {
        entries += &entry(name, "text/xml");
    }
    for number in 1..=attachments {
        entries += &entry(&format!("{}{number}", name::ATTACHMENT), "application/octet-stream");
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <manifest:manifest xmlns:manifest=\"urn:oasis:names:tc:opendocument:xmlns:manifest:1.0\" \
         manifest:version=\"1.2\">\n{entries}</manifest:manifest>\n"
    )
}

/// Which file the time-stamp is over.
fn asic_manifest(hash_chain_result: &[u8]) -> String {
    let digest = crypto::digest(DigestAlgorithm::Sha512, hash_chain_result);
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <asic:ASiCManifest xmlns:asic=\"http://uri.etsi.org/2918/v1.2.1#\" \
         xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\n\
         <asic:SigReference URI=\"{}\" MimeType=\"vnd.etsi.timestamp-token\"/>\n\
         <asic:DataObjectReference URI=\"{}\" MimeType=\"text/xml\">\n\
         <ds:DigestMethod Algorithm=\"{}\"/>\n<ds:DigestValue>{}</ds:DigestValue>\n\
         </asic:DataObjectReference>\n</asic:ASiCManifest>",
        name::TIMESTAMP,
        name::TS_HASH_CHAIN_RESULT,
        digest.algorithm().uri(),
        digest.base64()
    )
}

/// In UTC; ZIP begins in 1980.
pub(crate) fn date_time(at: UnixTime) -> DateTime {
    let at = OffsetDateTime::from(at);
    let year = u16::try_from(at.year()).unwrap_or_default();
    DateTime::from_date_and_time(year, at.month().into(), at.day(), at.hour(), at.minute(), at.second())
        .unwrap_or_default()
}
