//! A witness: cosigns the checkpoints of the logs it knows, as long as each goes on from the one before.
//!
//! ```text
//! POST add-checkpoint:   old 20852014                    what the log believes we cosigned last
//!                        PlRNCrwHpqhGrupue0L7gxbjb...    the proof from there to the new checkpoint
//!                                                        an empty line
//!                        example.com/log ...             the checkpoint, a signed note
//!        answer:         — witness.example/w1 CMp+6L...
//! ```
//! Specification: C2SP tlog-witness, tlog-cosignature. What is read here comes from strangers.
//!
//! The commit point is the durable file with the new checkpoint: before it nobody gets the cosignature, after it nobody
//! gets one for anything that does not go on from there. One file a log, named by the SHA-256 of its origin, which is also
//! what the witness shows of the log:
//! ```text
//! <directory>/<hash>     the checkpoint as the log signed it, with our cosignature
//! ```
//! Not here: HTTP (`door`).

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::lock::Mutex;

use super::{
    checkpoint::{Checkpoint, parse_decimal, parse_hash},
    note::{LONGEST, Note, NoteError, NoteSigner, Signature, SignatureType, VerifierKey},
    proof::{self, Hash},
};
use crate::{algorithm::DigestAlgorithm, clock::Clock, crypto::digest, durable};

/// Most lines of a proof: more than any tree has levels.
const MOST_PROOF: usize = 63;

/// The longest request that is read.
pub const LONGEST_REQUEST: usize = LONGEST + 8 * 1024;

/// A request to cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the tree that the witness cosigned last, as its asker believes.
    pub old: u64,
    /// The proof from there to the checkpoint.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub note: Note,
}

impl AddCheckpoint {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed;
        let split =
            body.windows(2).position(|two| two == b"\n\n").ok_or_else(|| malformed("no empty line"))?;
        let (head, note) = body.split_at_checked(split + 2).unwrap_or((body, &[]));
        let head = std::str::from_utf8(head).map_err(|_| malformed("no UTF-8"))?;
        let mut lines = head.trim_end_matches('\n').split('\n');
        let old = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(parse_decimal)
            .ok_or_else(|| malformed("the first line is not old and a size"))?;
        let proof: Vec<Hash> = lines
            .take(MOST_PROOF + 1)
            .map(|line| parse_hash(line).ok_or_else(|| malformed("a line of the proof is no hash")))
            .collect::<Result<_, _>>()?;
        if proof.len() > MOST_PROOF {
            return Err(malformed("the proof has more than 63 lines"));
        }
        let note = Note::parse(note).map_err(|_| malformed("what follows is no signed note"))?;
        Ok(Self { old, proof, note })
    }
}

impl std::fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

/// The cosignature in the answer of a witness, verified; lines by others are passed over.
///
/// # Errors
/// [`NoteError`] when there is none, or it does not hold.
pub fn read_cosignature(answer: &[u8], text: &str, key: &VerifierKey) -> Result<Signature, NoteError> {
    let malformed = || NoteError::Malformed("the answer of the witness is no list of signatures");
    let lines = std::str::from_utf8(answer).ok().filter(|a| a.len() <= LONGEST).ok_or_else(malformed)?;
    let lines = lines.strip_suffix('\n').ok_or_else(malformed)?.split('\n');
    let signatures: Vec<_> = lines.map(Signature::parse).collect::<Result<_, _>>()?;
    let note = Note::new(text, signatures)?;
    note.verify([key])
        .map(|verified| verified.into_iter().next().map(|(_, s)| s.clone()))?
        .ok_or(NoteError::Unsigned)
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be read, or contradicts itself.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The log is not one of those that are witnessed.
    #[error("no log of this origin is witnessed here")]
    UnknownOrigin,
    /// The log has not signed it, or the signature does not hold.
    #[error("the checkpoint is not signed by a key of its log")]
    Unsigned,
    /// Something else was cosigned last.
    #[error("the checkpoint cosigned last has the size {0}")]
    Conflict(u64),
    /// It does not go on from what was cosigned last: the log shows different histories to different people.
    #[error("the checkpoint does not go on from the one that was cosigned before")]
    Inconsistent,
    /// Our own side failed; nothing was cosigned.
    #[error("the witness failed: {0}")]
    Failed(String),
}

impl Refusal {
    /// The HTTP status that says it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::UnknownOrigin => 404,
            Self::Unsigned => 403,
            Self::Conflict(_) => 409,
            Self::Inconsistent => 422,
            Self::Failed(_) => 500,
        }
    }
}

/// Why a witness does not begin its work.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Its directory cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What it remembers of a log is not what it wrote.
    #[error("{path}: what was cosigned last cannot be read: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Its key makes other signatures.
    #[error("a witness needs a key for cosignatures")]
    Key,
}

/// A log that is witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLog {
    /// Its origin.
    pub origin: String,
    /// The keys that sign its checkpoints.
    pub keys: Vec<VerifierKey>,
}

/// A witness.
pub struct Witness {
    signer: NoteSigner,
    clock: Arc<dyn Clock>,
    logs: HashMap<String, Witnessed>,
}

struct Witnessed {
    keys: Vec<VerifierKey>,
    path: PathBuf,
    /// Held from the look at what was cosigned last until the new one is durable.
    last: Mutex<Option<Last>>,
}

#[derive(Clone)]
struct Last {
    size: u64,
    root: Hash,
    /// As it is shown.
    note: String,
}

impl Witness {
    /// A witness of these logs that remembers in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// [`WitnessError`]. What cannot be read is never taken for nothing: forgetting would allow a fork.
    pub fn open(
        signer: NoteSigner,
        directory: &Path,
        logs: Vec<KnownLog>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WitnessError> {
        if signer.verifier().kind() != SignatureType::Cosignature {
            return Err(WitnessError::Key);
        }
        let failed = |source| WitnessError::Io { path: directory.to_path_buf(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let mut known = HashMap::new();
        for KnownLog { origin, keys } in logs {
            let path = directory.join(origin_hash(&origin));
            let last = read_last(&path, &origin, keys.iter().chain([signer.verifier()]))?;
            let last = Mutex::new(last);
            known.insert(origin, Witnessed { keys, path, last });
        }
        Ok(Self { signer, clock, logs: known })
    }

    /// What others verify the cosignatures with.
    pub const fn verifier(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// Cosigns what a request asks for. Gives the lines of the answer.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was cosigned.
    pub async fn add_checkpoint(&self, body: &[u8]) -> Result<String, Refusal> {
        let AddCheckpoint { old, proof, note } = AddCheckpoint::parse(body)?;
        let checkpoint =
            Checkpoint::parse(note.text()).map_err(|_| Refusal::Malformed("the note is no checkpoint"))?;
        let log = self.logs.get(checkpoint.origin()).ok_or(Refusal::UnknownOrigin)?;
        let signed: Vec<Signature> = note
            .verify(&log.keys)
            .map_err(|_| Refusal::Unsigned)?
            .into_iter()
            .map(|(_, signature)| signature.clone())
            .collect();
        if old > checkpoint.size() {
            return Err(Refusal::Malformed("the old size is larger than the new one"));
        }
        let mut last = log.last.lock().await;
        let (size, root) =
            last.as_ref().map_or_else(|| (0, proof::empty_root()), |last| (last.size, last.root));
        if old != size {
            return Err(Refusal::Conflict(size));
        }
        if checkpoint.size() == 0 && *checkpoint.root() != proof::empty_root() {
            return Err(Refusal::Inconsistent);
        }
        proof::verify_consistency(&proof, old, &root, checkpoint.size(), checkpoint.root()).map_err(
            |_| {
                tracing::error!(
                    origin = checkpoint.origin(),
                    %note,
                    "a log shows a history that does not go on from what was cosigned before"
                );
                Refusal::Inconsistent
            },
        )?;
        let cosignature = self
            .signer
            .sign(note.text(), self.clock.now())
            .await
            .map_err(|error| Refusal::Failed(error.to_string()))?;
        let mut answer = String::new();
        let _ = writeln!(answer, "{cosignature}");
        // Of the signatures only those that we know: others may be anything.
        let mut kept = Note::new(note.text(), signed).map_err(|e| Refusal::Failed(e.to_string()))?;
        kept.add(cosignature);
        let kept = kept.to_string();
        durable::write(&log.path, kept.as_bytes()).map_err(|error| Refusal::Failed(error.to_string()))?;
        *last = Some(Last { size: checkpoint.size(), root: *checkpoint.root(), note: kept });
        Ok(answer)
    }

    /// The checkpoint cosigned last of the log whose origin has this SHA-256 in lower-case hexadecimal.
    pub async fn last_of(&self, origin_hash_hex: &str) -> Option<String> {
        let (_, log) = self.logs.iter().find(|(origin, _)| origin_hash(origin) == origin_hash_hex)?;
        log.last.lock().await.as_ref().map(|last| last.note.clone())
    }
}

/// How a witness names a log in paths: SHA-256 of the origin, lower-case hexadecimal.
pub fn origin_hash(origin: &str) -> String {
    digest(DigestAlgorithm::Sha256, origin.as_bytes()).hex()
}

fn read_last<'a>(
    path: &Path,
    origin: &str,
    keys: impl Iterator<Item = &'a VerifierKey>,
) -> Result<Option<Last>, WitnessError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(WitnessError::Io { path: path.to_path_buf(), source }),
    };
    let damaged = |reason: String| WitnessError::Damaged { path: path.to_path_buf(), reason };
    let note = Note::parse(&bytes).map_err(|e| damaged(e.to_string()))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|e| damaged(e.to_string()))?;
    if checkpoint.origin() != origin {
        return Err(damaged(format!("it is of {}", checkpoint.origin())));
    }
    // Keys may have changed since: that nobody whom we know has signed it is no fault.
    if let Err(NoteError::BadSignature(by)) = note.verify(keys) {
        return Err(damaged(format!("the signature of {by} does not hold")));
    }
    Ok(Some(Last { size: checkpoint.size(), root: *checkpoint.root(), note: note.to_string() }))
}
