//! A verified set: a signed directory whose signature holds, with every part that it lists for us.
//!
//! Whether it comes from a source or from disk, a set is made in the same way: the signature is proven, the parts that
//! must be there are demanded, and each is taken only if its hash is the signed one. A set that is half, mixed from two
//! publications, or of another instance does not come into being.

use bytes::Bytes;
use cert_authority::clock::UnixTime;

use super::store::{SignedSet, Store, StoredPart};
use crate::directory::{Directory, Entry, Part, PartKind, SignedDirectory};
use crate::error::ConfError;
use crate::snapshot::InstanceParts;
use crate::version::Version;

/// What is wanted of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: it is our own instance.
    All,
    /// Shared parameters only: another instance has nothing else to tell us.
    Shared,
}

impl Wanted {
    fn required(self) -> &'static [PartKind] {
        match self {
            Self::All => &[PartKind::SharedParameters, PartKind::PrivateParameters],
            Self::Shared => &[PartKind::SharedParameters],
        }
    }

    fn takes(self, kind: &PartKind) -> bool {
        self == Self::All || *kind == PartKind::SharedParameters
    }
}

/// A signed directory whose signature holds and that lists what must be there; its parts are still to be had.
#[derive(Debug, Clone)]
pub(super) struct VerifiedDirectory {
    signed: Bytes,
    directory: Directory,
    wanted: Wanted,
}

/// A verified set.
#[derive(Debug, Clone)]
pub struct VerifiedSet {
    signed: Bytes,
    directory: Directory,
    parts: Vec<Part>,
}

impl VerifiedDirectory {
    /// Proves the signature with one of these certificates.
    ///
    /// # Errors
    /// Every [`ConfError`] about a directory; [`ConfError::MissingPart`] for half a set.
    pub(super) fn verify(
        signed: Bytes,
        instance: &str,
        certificates: &[Vec<u8>],
        wanted: Wanted,
    ) -> Result<Self, ConfError> {
        let directory = SignedDirectory::read(&signed)?.verify(instance, certificates)?;
        for kind in wanted.required() {
            directory.entry(kind)?;
        }
        Ok(Self { signed, directory, wanted })
    }

    /// What orders configurations: the later Expire-date, then the higher version.
    pub(super) fn age(&self) -> (UnixTime, Version) {
        (self.directory.expires(), self.directory.version())
    }

    /// The directory itself.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The parts that are wanted.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.directory.entries().iter().filter(|entry| self.wanted.takes(entry.kind()))
    }

    /// The set, once every part is here.
    pub(super) fn with_parts(self, parts: Vec<Part>) -> VerifiedSet {
        VerifiedSet { signed: self.signed, directory: self.directory, parts }
    }
}

impl VerifiedSet {
    /// Reads the set of an instance from disk and verifies it as if it had just come; `None` where none is kept.
    ///
    /// # Errors
    /// As [`VerifiedDirectory::verify`]; [`ConfError::HashMismatch`] for a part that was changed on disk.
    pub(super) fn from_store(
        store: &Store,
        instance: &str,
        certificates: &[Vec<u8>],
        wanted: Wanted,
    ) -> Result<Option<Self>, ConfError> {
        let failed = |error| ConfError::io(store.directory(), &error);
        let _lock = store.lock().map_err(failed)?;
        let Some(signed) = store.signed_directory(instance)? else { return Ok(None) };
        let directory = VerifiedDirectory::verify(signed, instance, certificates, wanted)?;
        let mut parts = Vec::new();
        for entry in directory.entries() {
            let bytes = store.part(instance, entry.file_name())?;
            let missing = || ConfError::MissingPart {
                instance: instance.to_owned(),
                part: entry.kind().identifier().to_owned(),
            };
            parts.push(entry.accept(bytes.ok_or_else(missing)?)?);
        }
        Ok(Some(directory.with_parts(parts)))
    }

    /// What orders configurations: the later Expire-date, then the higher version.
    pub fn age(&self) -> (UnixTime, Version) {
        (self.directory.expires(), self.directory.version())
    }

    /// The directory as it came.
    pub fn signed(&self) -> &Bytes {
        &self.signed
    }

    /// The directory itself.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The bytes of the part that has this entry's hash, if we have it already.
    pub(super) fn part_of(&self, entry: &Entry) -> Option<Bytes> {
        let same_name = |part: &&Part| part.file_name() == entry.file_name();
        self.parts.iter().find(same_name).map(Part::bytes).filter(|bytes| entry.matches(bytes)).cloned()
    }

    /// As a view is built from it.
    pub fn instance_parts(&self) -> InstanceParts {
        InstanceParts {
            instance: self.directory.instance().to_owned(),
            expires: Some(self.directory.expires()),
            parts: self.parts.clone(),
        }
    }

    /// As it goes to disk.
    pub(super) fn to_store(&self) -> SignedSet {
        let location_of = |name: &str| {
            let entry = self.directory.entries().iter().find(|entry| entry.file_name() == name);
            entry.map(|entry| entry.location().to_owned()).unwrap_or_default()
        };
        let parts = self.parts.iter().map(|part| StoredPart {
            name: part.file_name().to_owned(),
            identifier: part.kind().identifier().to_owned(),
            location: location_of(part.file_name()),
            content: part.bytes().clone(),
        });
        SignedSet {
            instance: self.directory.instance().to_owned(),
            directory: self.signed.clone(),
            expires: self.directory.expires(),
            version: self.directory.version().number(),
            parts: parts.collect(),
        }
    }
}
