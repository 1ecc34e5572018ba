//! The checker, run over the files or the tables of a log.
//!
//! Not here: what is checked ([`super::verify`]).

use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::{self, Read},
    iter,
    path::Path,
    sync::Arc,
};

use cert_authority::{algorithm::DigestAlgorithm, crypto::Hasher};

use super::{
    beside::{Beside as _, Folder},
    body::body_file,
    disk::SystemDisk,
    error::LogError,
    key::Kek,
    key_uses::Keys,
    pieces::Pieces,
    postgres::{self, Database, Link, Server, Snapshot},
    record::Stored,
    segment,
    service::{self, Config},
    verify::{Beside, Judge, Observer, Verdict, check},
};

/// Where a log lies that is judged.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// In the files of a directory.
    Files(&'a Path),
    /// In the tables of a database. The directory of a node says which log is expected there.
    Tables(&'a Path, &'a Database),
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Source<'a> {
    fn from(directory: &'a P) -> Self {
        Self::Files(directory.as_ref())
    }
}

impl<'a> From<&'a Config> for Source<'a> {
    fn from(config: &'a Config) -> Self {
        match &config.postgres {
            Some(database) => Self::Tables(&config.directory, database),
            None => Self::Files(&config.directory),
        }
    }
}

/// Checks a log; `seen` is shown each record that can be read. Needs no lock and no key.
///
/// # Errors
/// [`LogError::Missing`] when there is no log, [`LogError::Io`] when it cannot be read. What is wrong with the log is in
/// the verdict.
pub fn audit<'a>(log: impl Into<Source<'a>>, seen: &mut dyn Observer) -> Result<Verdict, LogError> {
    audit_judged(log.into(), None, &|_, _| None, seen)
}

/// The same; `judge` is asked about each record by itself, and what it says is told to `seen`. With the file of the
/// key-encryption key it is found out whether the data keys are those that the bodies are sealed with.
///
/// # Errors
/// As there; [`LogError::Key`] when the key-encryption key cannot be used.
pub fn audit_judged(
    log: Source<'_>,
    kek: Option<&Path>,
    judge: Judge<'_>,
    seen: &mut dyn Observer,
) -> Result<Verdict, LogError> {
    let kek = kek.map(Kek::read).transpose()?;
    match log {
        Source::Files(directory) => audit_files(directory, kek, judge, seen),
        Source::Tables(directory, database) => {
            let id = service::read_identity(directory)?;
            audit_tables(id, database.server()?, postgres::FORMAT, kek, judge, seen)
        }
    }
}

/// As the tables stand at one moment; their bodies as they stand when they are asked for.
pub(super) fn audit_tables(
    id: [u8; 16],
    server: Server,
    format: i32,
    kek: Option<Kek>,
    judge: Judge<'_>,
    seen: &mut dyn Observer,
) -> Result<Verdict, LogError> {
    let (snapshot, head) = Snapshot::begin(server.clone(), format)?;
    let bodies = Arc::new(Link::new(server)?);
    let kept = |stored: &Stored| postgres::is_kept(&bodies, stored);
    let keys = Keys::new(&bodies, snapshot.keys()?, kek);
    check(id, snapshot.pieces(head), Beside { kept: &kept, keys: &keys }, judge, seen)
}

fn audit_files(
    directory: &Path,
    kek: Option<Kek>,
    judge: Judge<'_>,
    seen: &mut dyn Observer,
) -> Result<Verdict, LogError> {
    let id = service::read_identity(directory)?;
    let mut waiting = VecDeque::from(segment::list(directory)?);
    if waiting.is_empty() {
        return Err(LogError::Missing(directory.display().to_string()));
    }
    let folder = Folder::new(directory, Arc::new(SystemDisk));
    let (bodies, keys) = (directory.join("bodies"), directory.join("keys"));
    // Before the records are read: that a key is destroyed stands in the log before it is.
    let before = if keys.exists() { folder.keys()? } else { BTreeSet::new() };
    // The log may go on meanwhile; what it says of a segment that was cleaned just now may stand in a new one.
    let segments = iter::from_fn(|| {
        let number = waiting.pop_front()?;
        if waiting.is_empty() {
            let listed = segment::list(directory).unwrap_or_default();
            waiting.extend(listed.into_iter().filter(|later| *later > number));
        }
        Some((number, waiting.is_empty()))
    });
    let pieces = segments.flat_map(|(number, last)| -> Box<dyn Iterator<Item = _> + Send> {
        match File::open(segment::path(directory, number)) {
            Ok(file) => Box::new(Pieces::new(id, number, last, file)),
            Err(error) => Box::new(iter::once(Err(error))),
        }
    });
    let pieces = pieces.map(|piece| piece.map_err(|e| LogError::io("a segment cannot be read", &e)));
    let kept = |stored: &Stored| match File::open(body_file(&bodies, &stored.key, &stored.ciphertext)) {
        Ok(file) => Ok(digest(file).is_ok_and(|found| found == stored.ciphertext)),
        // Its key is gone too: whether that is right the records say.
        Err(_) => Ok(!keys.join(format!("{}.key", stored.key)).exists()),
    };
    check(id, pieces, Beside { kept: &kept, keys: &Keys::new(&folder, before, kek) }, judge, seen)
}

fn digest(mut file: File) -> io::Result<[u8; 32]> {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(super::tree::to_hash(&hasher.finish()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}
