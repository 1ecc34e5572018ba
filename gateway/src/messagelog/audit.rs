//! The checker, run over the files of a log.
//!
//! Not here: what is checked ([`super::verify`]).

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use cert_authority::{algorithm::DigestAlgorithm, clock::UnixTime, crypto::Hasher};

use super::{
    body::body_file,
    error::LogError,
    record::{Record, Stored},
    segment, service,
    tree::Hash,
    verify::{Checker, Verdict, Witness},
};

/// Is shown what there is while a log is checked.
pub trait Observer {
    /// A record that can be read, and when it was logged.
    fn record(&mut self, sequence: u64, time: UnixTime, record: &Record);

    /// The leaf of a frame, whether it can be read or not.
    fn leaf(&mut self, _sequence: u64, _leaf: &Hash) {}
}

/// Who does not look.
impl Observer for () {
    fn record(&mut self, _sequence: u64, _time: UnixTime, _record: &Record) {}
}

/// Checks the log in `directory`; `seen` is shown each record that can be read. Needs no lock and no key.
///
/// # Errors
/// [`LogError::Missing`] when there is no log, [`LogError::Io`] when a file cannot be read. What is wrong with the log
/// is in the verdict.
pub fn audit(directory: &Path, seen: &mut dyn Observer) -> Result<Verdict, LogError> {
    let failed = |e: io::Error| LogError::io("a segment cannot be read", &e);
    let mut checker = Checker::new(service::read_identity(directory)?);
    let mut witness = Files { bodies: directory.join("bodies"), keys: directory.join("keys"), seen };
    let segments = segment::list(directory)?;
    let last = segments.last().copied().ok_or_else(|| LogError::Missing(directory.display().to_string()))?;
    for number in segments {
        let file = File::open(segment::path(directory, number)).map_err(failed)?;
        let file = BufReader::with_capacity(1 << 20, file);
        checker.segment(number, number == last, file, &mut witness).map_err(failed)?;
    }
    Ok(checker.finish())
}

struct Files<'a> {
    bodies: PathBuf,
    keys: PathBuf,
    seen: &'a mut dyn Observer,
}

impl Witness for Files<'_> {
    fn record(&mut self, sequence: u64, time: UnixTime, record: &Record) {
        self.seen.record(sequence, time, record);
    }

    fn leaf(&mut self, sequence: u64, leaf: &Hash) {
        self.seen.leaf(sequence, leaf);
    }

    fn body(&mut self, stored: &Stored) -> bool {
        match File::open(body_file(&self.bodies, &stored.key, &stored.ciphertext)) {
            Ok(file) => digest(file).is_ok_and(|found| found == stored.ciphertext),
            // Erased on purpose: its key is gone too.
            Err(_) => !self.keys.join(format!("{}.key", stored.key)).exists(),
        }
    }
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
