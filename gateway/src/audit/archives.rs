//! Whether the archives that a log says it made are there, unchanged, and of the messages that it names.
//!
//! ```text
//! record: announced ──► record: in its place ──► the file    its SHA-256, its digest chain, each container
//!                       goes on after the group's last one    against the message in the log, by its signature
//! ```
//! Memory: a digest for each message that no archive has been noted for yet.
//!
//! Not here: what an archive is by itself ([`crate::archive::read`]).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use cert_authority::crypto::Digest;
use conf::snapshot::GlobalConf;

use super::Problem;
use crate::archive::{
    encryption::{Identities, Opened},
    read, target,
};
use crate::evidence::{
    asic,
    timestamp::{self, signature_digest},
};
use crate::messagelog::{
    MessageRecord,
    record::{ArchiveRecord, Kind},
};
use crate::metaservice::container::file_name;

/// How the names of archives begin, and how they end.
const BEGIN: &str = "mlog-";
const ENDS: [&str; 2] = [".zip", ".zip.age"];

/// The archives of a log, wherever they lie.
pub struct Shelves {
    directories: Vec<PathBuf>,
    identities: Identities,
    /// What lay there before the log was read: all of it must be known to the log.
    listed: BTreeMap<String, PathBuf>,
}

impl Shelves {
    /// The archives in these directories; `identities` opens those that are encrypted.
    ///
    /// # Errors
    /// In words: a directory cannot be read.
    pub fn open(directories: Vec<PathBuf>, identities: Identities) -> Result<Self, String> {
        let mut listed = BTreeMap::new();
        for directory in &directories {
            let failed = |error: io::Error| format!("the archives in {}: {error}", directory.display());
            for entry in fs::read_dir(directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(BEGIN) && ENDS.iter().any(|end| name.ends_with(end)) {
                    listed.insert(name, entry.path());
                }
            }
        }
        Ok(Self { directories, identities, listed })
    }

    fn find(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.directories.iter().map(move |directory| directory.join(name)).filter(|path| path.exists())
    }
}

/// A message as its container must show it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    /// Not known of a message that was removed from the log.
    message: Option<Logged>,
    signature: Digest,
}

/// What the log still has of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Logged {
    /// The name of its container.
    name: String,
    /// Digest of its hash chain, which tells it from the others of its batch: the signature does not.
    hash_chain: Option<Digest>,
}

/// An archive that the log says is in its place, and what must be in it; none where the log cannot be read.
#[derive(Debug)]
pub struct Noted {
    record: ArchiveRecord,
    expected: Vec<Option<Box<Expected>>>,
}

/// What an archive turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything in it is right.
    Right,
    /// It is the file that was put there, and encrypted for others.
    Sealed,
}

/// Follows what a log says of its archives while it is read.
#[derive(Debug, Default)]
pub struct Follower {
    announced: HashMap<u64, ArchiveRecord>,
    noted: HashSet<String>,
    /// The last archive of each group.
    heads: HashMap<Option<String>, (String, Digest)>,
    /// Messages that are in no archive so far; where no archive is judged, without what it must hold.
    waiting: HashMap<u64, Option<Box<Expected>>>,
    unreadable: HashSet<u64>,
    /// Messages that were removed from the log, and of which no archive was noted so far; and what a time-stamp says of
    /// their signature.
    removed: HashMap<u64, Option<Digest>>,
    /// The last record that could be read.
    last: Option<u64>,
}

impl Follower {
    /// A record that can be read, whatever it is.
    pub fn record(&mut self, sequence: u64) {
        self.last = Some(sequence);
    }

    /// A message. `judged` says that the archive it will be in is to be judged.
    pub fn message(&mut self, sequence: u64, kind: Kind, message: &MessageRecord, judged: bool) {
        let expected = judged.then(|| {
            let name = file_name(kind, &message.message_id, sequence);
            let hash_chain = message.hash_chain.as_deref().map(signature_digest);
            let signature = signature_digest(&message.signature);
            Box::new(Expected { message: Some(Logged { name, hash_chain }), signature })
        });
        self.waiting.insert(sequence, expected);
    }

    /// A message that was removed from the log.
    pub fn removed(&mut self, sequence: u64) {
        self.last = Some(sequence);
        self.removed.insert(sequence, None);
    }

    /// A time-stamp is over a signature with this digest; of a message that was removed nothing else is known.
    pub fn stamped(&mut self, sequence: u64, signature: Digest) {
        if let Some(of) = self.removed.get_mut(&sequence) {
            *of = Some(signature);
        }
    }

    /// The log says that it was cleaned of these messages: each must be stamped and archived.
    pub fn cleaned(&self, sequence: u64, messages: &[u64]) -> Vec<Problem> {
        let lost = messages.iter().filter(|number| self.removed.contains_key(number));
        let what = |number| format!("record {number} was removed before it was in an archive");
        lost.map(|number| Problem::new(sequence, what(number))).collect()
    }

    /// A leaf; its record came before, if it can be read.
    pub fn leaf(&mut self, sequence: u64) {
        if self.last != Some(sequence) {
            self.unreadable.insert(sequence);
        }
    }

    /// What the log says of an archive: what is wrong with that, and the archive when its file must be there.
    pub fn archive(&mut self, sequence: u64, record: &ArchiveRecord) -> (Vec<Problem>, Option<Noted>) {
        let Some(begun) = record.begun else {
            self.announced.insert(sequence, record.clone());
            return (Vec::new(), None);
        };
        let mut problems = Vec::new();
        let mut wrong = |what: &dyn Display| {
            problems.push(Problem::new(sequence, format!("the archive {}: {what}", record.file)));
        };
        let announced = self.announced.remove(&begun);
        let noted = ArchiveRecord { begun: None, ..record.clone() };
        if announced.is_none_or(|announced| announced != noted) && !self.unreadable.contains(&begun) {
            wrong(&format!("record {begun} did not announce it like this"));
        }
        // The record of the one before may be among those that cannot be read.
        if self.heads.get(&record.group) != record.previous.as_ref() && self.unreadable.is_empty() {
            wrong(&"it does not go on after the last one of its group");
        }
        self.heads.insert(record.group.clone(), (record.file.clone(), record.digest));
        self.noted.insert(record.file.clone());
        let mut expected = Vec::with_capacity(record.records.len());
        for number in &record.records {
            let removed = self.removed.remove(number);
            let message = self.waiting.remove(number);
            if message.is_none() && removed.is_none() && !self.unreadable.contains(number) {
                wrong(&format!("record {number} is in another archive, or is no message before it"));
            }
            if removed == Some(None) {
                wrong(&format!("record {number} was removed, and had no time-stamp when it was archived"));
            }
            let of_removed = |signature| Box::new(Expected { message: None, signature });
            expected.push(message.flatten().or_else(|| removed.flatten().map(of_removed)));
        }
        (problems, Some(Noted { record: noted, expected }))
    }

    /// What lies among the archives and is none that this log has made. It stands behind the last record.
    pub fn end(&self, shelves: &Shelves, records: u64) -> Vec<Problem> {
        let announced = |name: &str, path: &Path| {
            let mut of_that_name = self.announced.values().filter(|archive| archive.file == name);
            hash_of(path).is_ok_and(|hashed| of_that_name.any(|archive| is_that(archive, &hashed)))
        };
        let foreign =
            |(name, path): &(&String, &PathBuf)| !self.noted.contains(*name) && !announced(name, path);
        let what = |name: &String| format!("the archive {name} is none that this log has made");
        let foreign = shelves.listed.iter().filter(foreign);
        foreign.map(|(name, _)| Problem::new(records, what(name))).collect()
    }
}

fn hash_of(path: &Path) -> io::Result<(Digest, u64)> {
    target::hash(&mut File::open(path)?)
}

fn is_that(archive: &ArchiveRecord, (hash, length): &(Digest, u64)) -> bool {
    archive.hash == *hash && archive.length == *length
}

impl Noted {
    /// Judges the file; its containers too when there is a configuration to do it with.
    ///
    /// # Errors
    /// In words: what is wrong with it.
    pub fn judge(&self, shelves: &Shelves, conf: Option<&GlobalConf>) -> Result<Verdict, String> {
        self.judged(shelves, conf).map_err(|what| format!("the archive {}: {what}", self.record.file))
    }

    fn judged(&self, shelves: &Shelves, conf: Option<&GlobalConf>) -> Result<Verdict, String> {
        let mut found = None;
        for path in shelves.find(&self.record.file) {
            if !is_that(&self.record, &hash_of(&path).map_err(|error| error.to_string())?) {
                return Err("the file is not the one that was put there".to_owned());
            }
            found = Some(path);
        }
        let path = found.ok_or("it is missing")?;
        let Some(file) = Opened::open_if_for(&path, &shelves.identities)? else {
            return Ok(Verdict::Sealed);
        };
        let mut signatures = HashMap::new();
        let mut examiner = |name: &str, bytes: &[u8]| {
            signatures.insert(name.to_owned(), logged_evidence(bytes));
            conf.map(|conf| read::judge(bytes, conf))
        };
        let archive = read::examine(file, Some(&mut examiner)).map_err(|error| error.to_string())?;
        self.check_contents(&archive, &signatures)?;
        match archive.reports.iter().find(|(_, report)| !report.valid) {
            Some((name, report)) => Err(format!("{name} is not valid: {}", report.message)),
            None => Ok(Verdict::Right),
        }
    }

    fn check_contents(
        &self,
        archive: &read::Archive,
        signatures: &HashMap<String, Option<Evidence>>,
    ) -> Result<(), String> {
        let previous = archive.linking.previous.as_ref().map(|link| (link.file.clone(), link.digest.clone()));
        let named = self.record.previous.as_ref().map(|(file, digest)| (file.clone(), digest.hex()));
        if previous != named || archive.last != self.record.digest.hex() {
            return Err("its digest chain is not the one that the log names".to_owned());
        }
        if archive.linking.files.len() != self.expected.len() {
            return Err("it holds another number of containers than the log names".to_owned());
        }
        for (link, expected) in archive.linking.files.iter().zip(&self.expected) {
            let Some(expected) = expected else { continue };
            let found = signatures.get(&link.file).and_then(Option::as_ref);
            let is_it = found.is_some_and(|(signature, hash_chain)| {
                let of_it = |of: &Logged| link.file == of.name && *hash_chain == of.hash_chain;
                *signature == expected.signature && expected.message.as_ref().is_none_or(of_it)
            });
            if !is_it {
                let message = expected.message.as_ref();
                let name = message.map_or("a message that was removed", |message| message.name.as_str());
                return Err(format!("{} is not what this log knows as {name}", link.file));
            }
        }
        Ok(())
    }
}

/// Digests of a signature and of the hash chain beside it.
type Evidence = (Digest, Option<Digest>);

/// Those of the signature in a container, as it was logged.
fn logged_evidence(container: &[u8]) -> Option<Evidence> {
    let bundle = asic::signature_of(container).ok()?;
    let signature = timestamp::remove(&bundle.signature_xml).ok()?;
    Some((signature_digest(&signature), bundle.hash_chain.as_deref().map(signature_digest)))
}
