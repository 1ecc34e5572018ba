//! From a signed directory to a list that can be believed, and from a file to a part.
//!
//! The signature decides, never the connection. A verification certificate is only the wrapping of a public
//! key: it is found by its hash among those of the anchor, and neither its validity nor its issuer matters.
//! Whether the directory has expired, or is older than one that we have, is asked apart
//! ([`Directory::check_expiry`]): both depend on more than the bytes.

use std::collections::HashSet;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::{self, EcdsaForm};
use cert_authority::x509::Certificate;
use percent_encoding::percent_decode_str;

use super::read::{Headers, SignedDirectory, base64, split, strong_digest, value_of, wrong};
use super::{Part, PartKind};
use crate::error::{ConfError, DirectoryError};
use crate::version::Version;

/// More parts than any real configuration has.
const MAX_PARTS: usize = 64;

/// A list of parts whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    instance: String,
    version: Version,
    expires: UnixTime,
    entries: Vec<Entry>,
}

/// One part in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    kind: PartKind,
    location: String,
    file_name: String,
    version: Version,
    algorithm: DigestAlgorithm,
    hash: Vec<u8>,
}

impl SignedDirectory<'_> {
    /// Proves the signature with one of these certificates (DER), and reads the list, which must be that of
    /// this instance.
    pub fn verify(&self, instance: &str, certificates: &[Vec<u8>]) -> Result<Directory, ConfError> {
        let der = certificates
            .iter()
            .find(|der| {
                crypto::digest(self.certificate_hash_algorithm, der).as_ref() == self.certificate_hash
            })
            .ok_or_else(|| ConfError::UnknownVerificationCertificate {
                hash: self.certificate_hash_text(),
            })?;
        let certificate = Certificate::from_der(der)
            .map_err(|error| ConfError::BadVerificationCertificate(error.to_string()))?;
        certificate
            .public_key()
            .verify(self.algorithm, EcdsaForm::Der, self.signed, &self.signature)
            .map_err(ConfError::Signature)?;
        self.read_list(instance)
    }

    fn certificate_hash_text(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&self.certificate_hash)
    }

    fn read_list(&self, instance: &str) -> Result<Directory, ConfError> {
        let parts = split(self.signed, self.inner_boundary)?.parts;
        let mut parts = parts.into_iter();
        let (head, _) = Headers::read(parts.next().unwrap_or_default())?;
        let expires = match head.optional("Expire-date")? {
            Some(text) => UnixTime::from_rfc3339(text).map_err(|_| wrong("Expire-date", text))?,
            None => return Err(DirectoryError::MissingExpireDate.into()),
        };
        let version = Version::from_text(head.optional("Version")?)?;
        if parts.len() > MAX_PARTS {
            return Err(DirectoryError::TooLarge.into());
        }
        let entries =
            parts.map(|part| Entry::read(part, version, instance)).collect::<Result<Vec<_>, _>>()?;
        refuse_duplicates(&entries)?;
        Ok(Directory { instance: instance.to_owned(), version, expires, entries })
    }
}

impl Directory {
    /// Whose configuration it is.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The version of its parts.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Until when it is valid.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The parts.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The part of this kind, which must be there.
    pub fn entry(&self, kind: &PartKind) -> Result<&Entry, ConfError> {
        self.entries.iter().find(|entry| entry.kind == *kind).ok_or_else(|| ConfError::MissingPart {
            instance: self.instance.clone(),
            part: kind.identifier().to_owned(),
        })
    }

    /// Refuses a directory that has expired.
    pub fn check_expiry(&self, now: UnixTime) -> Result<(), ConfError> {
        if now > self.expires {
            Err(ConfError::Expired { instance: self.instance.clone(), at: self.expires })
        } else {
            Ok(())
        }
    }
}

impl Entry {
    /// What the part is.
    pub fn kind(&self) -> &PartKind {
        &self.kind
    }

    /// The path of the file at the source that the directory came from: it begins with a slash and does not
    /// lead anywhere else.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The name under which the part is kept.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Whether these bytes are the part: for a file that we have already.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        crypto::digest(self.algorithm, bytes).as_ref() == self.hash
    }

    /// Takes a file if it is the part.
    pub fn accept(&self, bytes: Bytes) -> Result<Part, ConfError> {
        if !self.matches(&bytes) {
            return Err(ConfError::HashMismatch { location: self.location.clone() });
        }
        Ok(Part { kind: self.kind.clone(), file_name: self.file_name.clone(), version: self.version, bytes })
    }

    fn read(part: &[u8], version: Version, instance: &str) -> Result<Self, ConfError> {
        let (headers, hash) = Headers::read(part)?;
        headers.expect_base64_content()?;
        let location = headers.required("Content-location")?;
        check_location(location)?;
        let uri = headers.required("Hash-algorithm-id")?;
        let algorithm = strong_digest(uri).ok_or_else(|| wrong("Hash-algorithm-id", uri))?;
        let identifier = headers.optional("Content-identifier")?.unwrap_or_default();
        let (identifier, parameters) = identifier.split_once(';').unwrap_or((identifier, ""));
        let kind = PartKind::from_identifier(identifier.trim());
        match value_of(parameters, "instance") {
            Some(found) if found != instance => {
                return Err(ConfError::OtherInstance {
                    expected: instance.to_owned(),
                    found: found.to_owned(),
                });
            }
            None if matches!(kind, PartKind::SharedParameters | PartKind::PrivateParameters) => {
                return Err(DirectoryError::MissingHeader("Content-identifier; instance").into());
            }
            _ => {}
        }
        let file_name = match (kind.file_name(), headers.optional("Content-file-name")?) {
            (Some(fixed), _) => fixed,
            (None, Some(name)) => name,
            (None, None) => location.rsplit('/').next().unwrap_or_default(),
        };
        check_file_name(&kind, file_name)?;
        let file_name = file_name.to_owned();
        let hash = base64(hash, "hash")?;
        Ok(Self { kind, location: location.to_owned(), file_name, version, algorithm, hash })
    }
}

/// A path at the same source: no other host, no way up, nothing that a URL would read as something else.
fn check_location(location: &str) -> Result<(), ConfError> {
    let unsafe_name = || ConfError::UnsafeName(location.to_owned());
    let path = location.strip_prefix('/').ok_or_else(unsafe_name)?;
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| unsafe_name())?;
    let bad_segment = |segment: &str| matches!(segment, "" | "." | "..");
    let bad_character = |c: char| c.is_control() || matches!(c, '\\' | '?' | '#' | '%' | '\u{feff}');
    if decoded.split('/').any(bad_segment) || decoded.contains(bad_character) {
        return Err(unsafe_name());
    }
    Ok(())
}

/// A plain name that cannot be taken for a file of ours.
fn check_file_name(kind: &PartKind, name: &str) -> Result<(), ConfError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let ours = || {
        let lower = name.to_ascii_lowercase();
        lower.ends_with(".metadata")
            || PartKind::KNOWN.iter().any(|known| known.file_name() == Some(lower.as_str()))
    };
    let length = (1..=100).contains(&name.len());
    let taken = matches!(kind, PartKind::Other(_)) && ours();
    if !length || name.starts_with('.') || !name.chars().all(plain) || taken {
        return Err(ConfError::UnsafeName(name.to_owned()));
    }
    Ok(())
}

fn refuse_duplicates(entries: &[Entry]) -> Result<(), ConfError> {
    let mut names = HashSet::new();
    for entry in entries {
        if !names.insert(entry.file_name.to_ascii_lowercase()) {
            return Err(ConfError::DuplicatePart(entry.file_name.clone()));
        }
    }
    Ok(())
}
