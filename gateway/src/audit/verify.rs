//! Verifies a whole log: everything that it says is derived again from its bytes.
//!
//! ```text
//! files, tables ──► frames, each record alone ──► tree, each record in its order ──► what takes time
//!                                     (messagelog::verify)
//!   message       signature, certificate,
//!                 OCSP
//!   time-stamp                                      covers messages before it          token, over their signatures
//!   checkpoint                                      its root, its signatures           token
//!   archive                                         goes on after the last one         file, chain, containers
//!                 on all cores                      one after the other                on all cores
//! ```
//! What needs a configuration is judged by the one that is given, at the time when the record was logged; its expiry
//! does not matter. Memory: the signatures that wait for their time-stamp, the leaves since the last checkpoint.
//!
//! Not here: what bodies say. What is checked of them is the digest of their ciphertext, and that their data key is there,
//! or was destroyed as a record says; with the key-encryption key that it is the right one.

use std::{
    collections::HashMap,
    num::NonZero,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use bytes::Bytes;
use cert_authority::{
    clock::UnixTime,
    timestamp::{self, Token},
    tlog::{Checkpoint, Trust},
};
use conf::snapshot::GlobalConf;
use serde::Serialize;

use super::{
    Problem,
    archives::{self, Noted, Shelves, Verdict},
    checkpoints,
};
use crate::evidence::{
    signature::{SignatureBundle, TrustCache, verify as verify_signature},
    timestamp::{Batch, signature_digest, single},
};
use crate::message::digests::PartDigests;
use crate::messagelog::{
    LogError, MessageRecord, Record,
    audit::{Source, audit_judged},
    record::{CheckpointRecord, Kind, TimestampRecord},
    removal,
    tree::Hash,
    verify::Observer,
};

/// What waits for a processor.
const WAITING: usize = 64;

/// What a log is judged by. What is not given is not judged, and the report says so.
#[derive(Clone, Copy, Default)]
pub struct Grounds<'a> {
    /// Who may sign and time-stamp.
    pub conf: Option<&'a GlobalConf>,
    /// Who signs checkpoints.
    pub trust: Option<&'a Trust>,
    /// A checkpoint from elsewhere: a witness, an earlier visit.
    pub expected: Option<&'a Checkpoint>,
    /// The archives that the log has made.
    pub archives: Option<&'a Shelves>,
    /// The file of the key-encryption key: the data keys must be those that the bodies were sealed with.
    pub kek: Option<&'a Path>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records in the log.
    pub records: u64,
    /// The root of the tree over them, hexadecimal.
    pub root: String,
    /// Messages whose signature is valid.
    pub signatures: u64,
    /// Messages under a valid time-stamp.
    pub stamped: u64,
    /// Messages that wait for one.
    pub waiting: u64,
    /// Messages that the log was cleaned of; their leaves are kept, and judged with the tree.
    pub removed: u64,
    /// Data keys that messages are sealed with, and that are there.
    pub keys: u64,
    /// Data keys that messages were sealed with, and that were destroyed, as records say.
    pub keys_destroyed: u64,
    /// Whether the data keys were opened: there was a key-encryption key.
    pub keys_judged: bool,
    /// Checkpoints of this tree.
    pub checkpoints: u64,
    /// Archives in which everything is right.
    pub archives: u64,
    /// Archives that are the files that were put there, but encrypted for others.
    pub archives_sealed: u64,
    /// Archives that the log says are in their place.
    pub archives_named: u64,
    /// Whether the files of the archives were judged: it was said where they are.
    pub archives_judged: bool,
    /// Whether signatures and time-stamps were judged: there was a configuration.
    pub evidence_judged: bool,
    /// Whether the signatures of checkpoints were judged: there were keys.
    pub checkpoints_judged: bool,
    /// What is wrong, the first record first.
    pub problems: Vec<Problem>,
}

/// Verifies a log, in files or tables. `progress` is told the number of each record.
///
/// # Errors
/// [`LogError`] when it cannot be read at all; whatever is wrong with it is in the report.
pub fn verify<'a>(
    log: impl Into<Source<'a>>,
    grounds: Grounds<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, LogError> {
    let judge = Judge { conf: grounds.conf, shelves: grounds.archives, ..Judge::default() };
    let (queue, waiting) = sync_channel(WAITING);
    let waiting = Mutex::new(waiting);
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut walk = Walk {
        archives_judged: grounds.archives.is_some(),
        queue,
        pending: HashMap::new(),
        checkpoints: checkpoints::Follower::new(grounds.trust, grounds.expected),
        archives: archives::Follower::default(),
        named: 0,
        removed: 0,
        keys: (0, 0),
        problems: Vec::new(),
        progress,
    };
    let verdict = std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| judge.work(&waiting));
        }
        let verdict =
            audit_judged(log.into(), grounds.kek, &|time, record| judge.record(time, record), &mut walk);
        // Whoever waits for more ends.
        drop(std::mem::replace(&mut walk.queue, sync_channel(0).0));
        verdict
    })?;
    let Walk { pending, checkpoints, archives, named, removed, keys, mut problems, .. } = walk;
    problems.extend(checkpoints.end());
    problems.extend(grounds.archives.into_iter().flat_map(|shelves| archives.end(shelves, verdict.records)));
    problems.extend(
        verdict
            .findings
            .iter()
            .map(|finding| Problem::new(finding.sequence, format!("{} ({})", finding.flaw, finding.place()))),
    );
    problems.append(&mut judge.problems.lock().unwrap_or_else(PoisonError::into_inner));
    problems.sort();
    problems.dedup();
    Ok(Report {
        records: verdict.records,
        root: hex::encode(verdict.root),
        signatures: judge.signatures.load(Ordering::Relaxed),
        stamped: judge.stamped.load(Ordering::Relaxed),
        waiting: u64::try_from(pending.len()).unwrap_or(u64::MAX),
        removed,
        keys: keys.0,
        keys_destroyed: keys.1,
        keys_judged: grounds.kek.is_some(),
        checkpoints: checkpoints.right,
        archives: judge.archives.load(Ordering::Relaxed),
        archives_sealed: judge.sealed.load(Ordering::Relaxed),
        archives_named: named,
        archives_judged: grounds.archives.is_some(),
        evidence_judged: grounds.conf.is_some(),
        checkpoints_judged: grounds.trust.is_some(),
        problems,
    })
}

/// Something that takes time, and that any processor can judge by itself.
enum Job {
    /// A time-stamp, and the signature files that it is the first over, as far as they can be read.
    Stamp {
        sequence: u64,
        stamp: Box<TimestampRecord>,
        signatures: Vec<Option<Bytes>>,
    },
    StampedCheckpoint {
        sequence: u64,
        note: Bytes,
        token: Bytes,
    },
    Archive {
        sequence: u64,
        archive: Box<Noted>,
    },
}

/// Goes through the log in its order.
struct Walk<'a> {
    archives_judged: bool,
    queue: SyncSender<Job>,
    /// Messages without a time-stamp so far: their signature files.
    pending: HashMap<u64, Bytes>,
    checkpoints: checkpoints::Follower<'a>,
    archives: archives::Follower,
    /// Archives that are said to be in their place.
    named: u64,
    /// Messages that were removed.
    removed: u64,
    /// Data keys that are there, and that were destroyed.
    keys: (u64, u64),
    problems: Vec<Problem>,
    progress: &'a mut dyn FnMut(u64),
}

impl Walk<'_> {
    /// The judges are there as long as the walk is.
    fn judge(&self, job: Job) {
        let _ = self.queue.send(job);
    }

    fn stamp(&mut self, sequence: u64, stamp: &TimestampRecord) {
        let mut signatures = Vec::with_capacity(stamp.covered.len());
        for (covered, digest) in &stamp.covered {
            self.archives.stamped(*covered, *digest);
            let signature = self.pending.remove(covered);
            // Otherwise it has a time-stamp already, or its record cannot be read, which is told there.
            if signature.is_none() && *covered >= sequence {
                let what = format!("the time-stamp is over record {covered}, which was not there yet");
                self.problems.push(Problem::new(sequence, what));
            }
            signatures.push(signature);
        }
        self.judge(Job::Stamp { sequence, stamp: Box::new(stamp.clone()), signatures });
    }

    fn checkpoint(&mut self, sequence: u64, checkpoint: &CheckpointRecord) {
        let problems = self.checkpoints.checkpoint(sequence, checkpoint);
        self.problems.extend(problems);
        if let Some(token) = &checkpoint.token {
            self.judge(Job::StampedCheckpoint {
                sequence,
                note: checkpoint.note.clone(),
                token: token.clone(),
            });
        }
    }
}

impl Observer for Walk<'_> {
    fn record(&mut self, sequence: u64, _time: UnixTime, record: &Record) {
        (self.progress)(sequence);
        self.archives.record(sequence);
        match record {
            Record::Request(message) | Record::Response(message) => {
                self.archives.message(sequence, record.kind(), message, self.archives_judged);
                self.pending.insert(sequence, message.signature.clone());
            }
            Record::Timestamp(stamp) => self.stamp(sequence, stamp),
            Record::Checkpoint(checkpoint) => self.checkpoint(sequence, checkpoint),
            Record::Archive(archive) => {
                let (problems, noted) = self.archives.archive(sequence, archive);
                self.problems.extend(problems);
                if let Some(archive) = noted {
                    self.named += 1;
                    self.judge(Job::Archive { sequence, archive: Box::new(archive) });
                }
            }
            Record::Access(access) if access.action == removal::ACTION => {
                self.problems.extend(self.archives.cleaned(sequence, &access.records));
            }
            Record::Outcome(_) | Record::Configuration(_) | Record::Access(_) => {}
        }
    }

    fn removed(&mut self, sequence: u64) {
        self.removed = self.removed.saturating_add(1);
        self.archives.removed(sequence);
    }

    fn wrong(&mut self, sequence: u64, what: String) {
        self.problems.push(Problem::new(sequence, what));
    }

    fn keys(&mut self, there: u64, destroyed: u64) {
        self.keys = (there, destroyed);
    }

    fn leaf(&mut self, sequence: u64, leaf: &Hash) {
        self.archives.leaf(sequence);
        let problem = self.checkpoints.leaf(sequence, leaf);
        self.problems.extend(problem);
    }
}

/// Judges what needs a configuration, or the archives.
#[derive(Default)]
struct Judge<'a> {
    conf: Option<&'a GlobalConf>,
    shelves: Option<&'a Shelves>,
    trust: TrustCache,
    signatures: AtomicU64,
    stamped: AtomicU64,
    archives: AtomicU64,
    sealed: AtomicU64,
    problems: Mutex<Vec<Problem>>,
}

impl Judge<'_> {
    fn work(&self, waiting: &Mutex<Receiver<Job>>) {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = next else { return };
            let (sequence, wrong) = match (job, self.conf) {
                (Job::Archive { sequence, archive }, _) => (sequence, self.archive(&archive).err()),
                (Job::Stamp { sequence, stamp, signatures }, conf) => {
                    let alone = self.covered(sequence, &stamp, signatures);
                    (sequence, conf.and_then(|conf| self.stamp(conf, &stamp, alone.as_ref()).err()))
                }
                (Job::StampedCheckpoint { sequence, note, token }, Some(conf)) => {
                    (sequence, token_over(conf, &note, token).err())
                }
                (Job::StampedCheckpoint { .. }, None) => continue,
            };
            if let Some(what) = wrong {
                self.wrong(sequence, what);
            }
        }
    }

    fn wrong(&self, sequence: u64, what: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.push(Problem::new(sequence, what));
    }

    /// Whether the signatures are those that the time-stamp names; gives the one that it is over if it is over one alone.
    fn covered(
        &self,
        sequence: u64,
        stamp: &TimestampRecord,
        signatures: Vec<Option<Bytes>>,
    ) -> Option<Bytes> {
        let mut alone = None;
        for ((covered, digest), signature) in stamp.covered.iter().zip(signatures) {
            let Some(signature) = signature else { continue };
            if signature_digest(&signature) == *digest {
                alone = Some(signature);
            } else {
                self.wrong(sequence, format!("the time-stamp is over another signature of record {covered}"));
            }
        }
        alone
    }

    /// What is wrong with a record by itself.
    fn record(&self, time: UnixTime, record: &Record) -> Option<String> {
        let (conf, message) = self.conf.zip(record.message())?;
        self.message(conf, time, record.kind(), message).err()
    }

    fn message(
        &self,
        conf: &GlobalConf,
        time: UnixTime,
        kind: Kind,
        message: &MessageRecord,
    ) -> Result<(), String> {
        let (first, rest) = message.parts.split_first().ok_or("the message has no parts")?;
        let digests = PartDigests {
            algorithm: first.digest.algorithm(),
            message: first.digest,
            attachments: rest.iter().map(|part| part.digest).collect(),
        };
        let bundle = SignatureBundle {
            signature_xml: message.signature.clone(),
            hash_chain_result: message.hash_chain_result.clone(),
            hash_chain: message.hash_chain.clone(),
        };
        let signer = match kind {
            Kind::Response => message.service.client().member(),
            _ => message.client.member(),
        };
        verify_signature((), &digests, &bundle, conf, &self.trust, signer, time)
            .map_err(|error| format!("the signature of the message is not valid: {error}"))?;
        self.signatures.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn archive(&self, archive: &Noted) -> Result<(), String> {
        let Some(shelves) = self.shelves else { return Ok(()) };
        let count = match archive.judge(shelves, self.conf)? {
            Verdict::Right => &self.archives,
            Verdict::Sealed => &self.sealed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn stamp(&self, conf: &GlobalConf, stamp: &TimestampRecord, alone: Option<&Bytes>) -> Result<(), String> {
        let wrong = |what: &dyn std::fmt::Display| format!("the time-stamp is not valid: {what}");
        let valid = match (&stamp.chain_result, alone) {
            (Some(result), _) => {
                if Batch::new(stamp.covered.iter().map(|(_, digest)| *digest)).result() != *result {
                    return Err(wrong(&"what is stamped is not of the messages that it names"));
                }
                token_over(conf, result, stamp.token.clone())?
            }
            (None, Some(signature)) => {
                let value = single(signature).map_err(|error| wrong(&error))?;
                token_over(conf, &value, stamp.token.clone())?
            }
            // Its message has another time-stamp, or cannot be read.
            (None, None) => return Ok(()),
        };
        if valid != stamp.time {
            return Err(wrong(&"its record states another time"));
        }
        self.stamped.fetch_add(u64::try_from(stamp.covered.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }
}

/// The time of a token that is over these bytes.
fn token_over(conf: &GlobalConf, data: &[u8], token: Bytes) -> Result<UnixTime, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("the time-stamp is not valid: {what}");
    let token = Token::from_der(token).map_err(|error| wrong(&error))?;
    let valid =
        timestamp::verify(&token, data, conf.tsa_certificates(), None).map_err(|error| wrong(&error))?;
    Ok(valid.gen_time())
}
