//! Signed checkpoints: what the log was at a time, so that it can never be shown otherwise.
//!
//! ```text
//! durable tree ──each second of traffic──► note ──► frame of kind 5, durable ──► shown, handed to witnesses
//!                                                                                     │ cosignatures
//!           frame of kind 5: the same note, cosignatures, time-stamp token  ◄──with the batches
//! ```
//! The commit point is the frame: a checkpoint that nobody finds in the log is shown to nobody. Records behind the last
//! checkpoint are those of its last second.
//!
//! Specification: C2SP tlog-checkpoint; RFC 3161 for the token, which is over the note as the log signed it.
//!
//! Not here: what the log says of its checkpoints (`standing`), notes and proofs ([`cert_authority::tlog`]), asking witnesses ([`super::witnessing`]).

mod standing;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cert_authority::{
    clock::Clock,
    error::KeyError,
    tlog::{Checkpoint, Note, NoteSigner, Signature, VerifierKey, checkpoint, note::NoteError},
};
use tokio::sync::watch;

use super::{
    append::LogStore,
    body::blocking,
    disk::Work,
    error::LogError,
    record::{CheckpointRecord, Record},
    service::MessageLog,
    stamp::{StampError, TimestampAuthority},
    tiles::Tiles,
    tree::Hash,
    witnessing::{Held, WitnessHealth, WitnessSettings, Witnesses},
};

pub use standing::last_in;
use standing::standing;

/// Settings of the checkpoints.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the log is called: the first line of every checkpoint.
    pub origin: String,
    /// How often one is made while there is traffic.
    pub every: Duration,
    /// Keys that signed its checkpoints before.
    pub previous_keys: Vec<VerifierKey>,
    /// Who cosigns.
    pub witnesses: Vec<WitnessSettings>,
    /// How many of them must work for the gateway to be healthy.
    pub quorum: usize,
}

/// Why there is no checkpoint, or why the log is not what a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The key cannot be used.
    #[error("the key of the checkpoints cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The origin, or a note that was read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::CheckpointError),
    /// The log is shorter than it once was.
    #[error("the log was rolled back: {by} holds its checkpoint over {held} records, and it has {found}")]
    RolledBack {
        /// Who holds the checkpoint.
        by: String,
        /// How many records there were.
        held: u64,
        /// How many there are.
        found: u64,
    },
    /// The log has other records than it once had.
    #[error(
        "the history of the log was changed: {by} holds a checkpoint over {size} records that were others"
    )]
    OtherHistory {
        /// Who holds the checkpoint.
        by: String,
        /// How many records it is over.
        size: u64,
    },
    /// No authority granted a time-stamp.
    #[error("no time-stamp for the checkpoint: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unstamped(Vec<StampError>),
}

impl CheckpointError {
    /// Whether it proves that the log is not what it was.
    pub const fn is_proof(&self) -> bool {
        matches!(self, Self::RolledBack { .. } | Self::OtherHistory { .. })
    }
}

impl From<NoteError> for CheckpointError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// A checkpoint with the note that it is the text of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The note, signed by the log.
    pub note: Note,
}

/// Makes the checkpoints of a log. Cheap to clone.
#[derive(Clone)]
pub struct Checkpoints(Arc<Inner>);

struct Inner {
    log: MessageLog,
    tiles: Tiles,
    signer: NoteSigner,
    own_keys: Vec<VerifierKey>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    latest: watch::Sender<Option<Arc<Signed>>>,
    /// Held while a checkpoint is made.
    making: tokio::sync::Mutex<Making>,
    /// The newest one that witnesses have cosigned, with their cosignatures.
    cosigned: Mutex<Option<Signed>>,
    witnesses: Witnesses,
    problem: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Making {
    /// Records that the last checkpoint is over.
    covered: u64,
    /// Frames behind them that are checkpoints themselves: they are no traffic.
    own: u64,
    /// Records that the last one with cosignatures or token is over.
    sealed: u64,
}

impl Checkpoints {
    /// Takes up where the log stands. Its last checkpoint must be one of this tree. Blocks while it reads.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(
        log: MessageLog,
        signer: NoteSigner,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CheckpointError> {
        Checkpoint::new(&settings.origin, 0, [0; 32])?;
        let tiles = Tiles::new(log.reader(), true);
        let (making, latest) = standing(&log, &tiles, &settings.origin, &signer)?;
        let witnesses = Witnesses::new(settings.witnesses.clone());
        let own_keys = std::iter::once(signer.verifier()).chain(&settings.previous_keys).cloned().collect();
        Ok(Self(Arc::new(Inner {
            log,
            tiles,
            signer,
            own_keys,
            clock,
            settings,
            latest: watch::Sender::new(latest),
            making: tokio::sync::Mutex::new(making),
            cosigned: Mutex::default(),
            witnesses,
            problem: Mutex::default(),
        })))
    }

    /// The last checkpoint. It is durable.
    pub fn latest(&self) -> Option<Arc<Signed>> {
        self.0.latest.borrow().clone()
    }

    /// The newest checkpoint that witnesses have cosigned, with their cosignatures; else the last one.
    pub fn shown(&self) -> Option<Signed> {
        let cosigned = self.0.cosigned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cosigned.or_else(|| self.latest().map(|signed| Signed::clone(&signed)))
    }

    /// The tiles of the log.
    pub fn tiles(&self) -> &Tiles {
        &self.0.tiles
    }

    /// What others verify the checkpoints with.
    pub fn verifier(&self) -> &VerifierKey {
        self.0.signer.verifier()
    }

    /// This key and those before it.
    pub(super) fn own_keys(&self) -> &[VerifierKey] {
        &self.0.own_keys
    }

    /// What the log is called.
    pub fn origin(&self) -> &str {
        &self.0.settings.origin
    }

    /// What others verify the cosignatures with.
    pub fn witness_keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.0.settings.witnesses.iter().map(|witness| &witness.key)
    }

    /// How it goes with each witness.
    pub fn witnesses(&self) -> Vec<WitnessHealth> {
        self.0.witnesses.health()
    }

    /// Whether checkpoints are made, and enough witnesses cosign.
    ///
    /// # Errors
    /// What is wrong, in words for anybody.
    pub fn health(&self) -> Result<(), String> {
        if let Some(problem) = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(problem);
        }
        let all = self.witnesses();
        let working = all.iter().filter(|witness| witness.problem.is_none()).count();
        if working < self.0.settings.quorum {
            let needed = self.0.settings.quorum;
            return Err(format!("{working} of {} witnesses cosign, {needed} are needed", all.len()));
        }
        Ok(())
    }

    /// Makes a checkpoint when something was logged since the last one, and gives it.
    ///
    /// # Errors
    /// [`CheckpointError`]; none was made.
    pub async fn make(&self) -> Result<Option<Arc<Signed>>, CheckpointError> {
        let inner = &self.0;
        let mut making = inner.making.lock().await;
        let tree = inner.log.reader().tree();
        if tree.size() <= making.covered.saturating_add(making.own) {
            return Ok(None);
        }
        let checkpoint = Checkpoint::new(&inner.settings.origin, tree.size(), tree.root())?;
        let text = checkpoint.to_string();
        let signature = inner.signer.sign(&text, inner.clock.now()).await?;
        let signed = Arc::new(Signed { note: Note::new(text, vec![signature])?, checkpoint });
        inner.log.append(Record::Checkpoint(record(&signed, Vec::new(), None)), Vec::new()).await?;
        making.covered = tree.size();
        making.own = 1;
        inner.latest.send_replace(Some(Arc::clone(&signed)));
        metrics::counter!("passerelle_log_checkpoints_total").increment(1);
        Ok(Some(signed))
    }

    /// Logs the newest checkpoint again, with its cosignatures and a time-stamp over its note. Gives whether there was one
    /// to be sealed.
    ///
    /// # Errors
    /// [`CheckpointError`]; the next try has the newest checkpoint of its time.
    pub async fn seal(&self, authorities: &[Box<dyn TimestampAuthority>]) -> Result<bool, CheckpointError> {
        let inner = &self.0;
        let sealed = inner.making.lock().await.sealed;
        let Some(signed) = self.to_be_sealed().filter(|signed| signed.checkpoint.size() > sealed) else {
            return Ok(false);
        };
        // The note as the log signed it: cosignatures come and go.
        let (own, cosignatures) = apart(&signed.note, self.verifier());
        let note = Note::new(signed.note.text(), own)?;
        let mut refused = Vec::new();
        let mut token = None;
        for authority in authorities {
            match authority.stamp(note.to_string().as_bytes()).await {
                Ok(granted) => {
                    token = Some(granted.token);
                    break;
                }
                Err(error) => refused.push(error),
            }
        }
        if token.is_none() && !refused.is_empty() {
            return Err(CheckpointError::Unstamped(refused));
        }
        if token.is_none() && cosignatures.is_empty() {
            return Ok(false);
        }
        let size = signed.checkpoint.size();
        let signed = Signed { note, ..signed };
        let mut making = inner.making.lock().await;
        let cosignatures = cosignatures.iter().map(|one| Bytes::from(one.to_string())).collect();
        inner.log.append(Record::Checkpoint(record(&signed, cosignatures, token)), Vec::new()).await?;
        making.own = making.own.saturating_add(1);
        making.sealed = size;
        Ok(true)
    }

    /// While a witness works, its word is waited for.
    fn to_be_sealed(&self) -> Option<Signed> {
        if self.witnesses().iter().any(|witness| witness.problem.is_none()) {
            return self.0.cosigned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        self.latest().map(|signed| Signed::clone(&signed))
    }

    /// Asks every witness what it holds of this log.
    ///
    /// # Errors
    /// [`CheckpointError::RolledBack`], [`CheckpointError::OtherHistory`] when one of them proves it. A witness that cannot
    /// be asked proves nothing.
    pub async fn ask_witnesses(&self) -> Result<(), CheckpointError> {
        for held in self.0.witnesses.ask_all(self.origin(), self.own_keys()).await {
            self.judge(held).await?;
        }
        Ok(())
    }

    /// Makes checkpoints, hands them over and seals them until `stop` turns true; then makes a last one. Both closures
    /// are asked anew each time.
    pub async fn run(
        self,
        authorities: impl Fn() -> Vec<Box<dyn TimestampAuthority>> + Send,
        interval: impl Fn() -> Duration + Send,
        mut stop: watch::Receiver<bool>,
    ) {
        if let Err(error) = self.take_up().await {
            tracing::error!(%error, "the last checkpoint of the message log cannot be gone on from");
            if error.is_proof() {
                self.0.log.stop(error.to_string());
            }
        }
        let make = async {
            loop {
                tokio::time::sleep(self.0.settings.every).await;
                self.try_to_make().await;
            }
        };
        let seal = async {
            loop {
                tokio::time::sleep(interval()).await;
                if let Err(error) = self.seal(&authorities()).await {
                    tracing::warn!(%error, "a checkpoint of the message log could not be sealed");
                }
            }
        };
        tokio::select! {
            () = make => {}
            () = seal => {}
            () = self.hand_over() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        self.try_to_make().await;
    }

    async fn try_to_make(&self) {
        let made = self.make().await;
        let problem = made.err().map(|error| {
            tracing::error!(%error, "no checkpoint of the message log");
            "no checkpoint of the message log can be made".to_owned()
        });
        *self.0.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Gives every new checkpoint to every witness, each at its own pace.
    async fn hand_over(&self) {
        let each = (0..self.0.settings.witnesses.len()).map(|witness| async move {
            let mut latest = self.0.latest.subscribe();
            latest.mark_changed();
            loop {
                if latest.changed().await.is_err() {
                    return std::future::pending().await;
                }
                let newest = latest.borrow_and_update().clone();
                let Some(signed) = newest else { continue };
                if let Err(wait) = self.hand_to(witness, &signed).await {
                    tokio::time::sleep(wait).await;
                    // What has come meanwhile, or the same again.
                    latest.mark_changed();
                }
            }
        });
        let all = futures_util::future::join_all(each).await;
        if all.is_empty() {
            std::future::pending().await
        }
    }

    /// Gives a checkpoint to one witness. A witness that proves that the log was rolled back stops it.
    ///
    /// # Errors
    /// How long to wait before the next try.
    pub async fn hand_to(&self, witness: usize, signed: &Signed) -> Result<(), Duration> {
        let inner = &self.0;
        let cosignature = inner.witnesses.hand_over(witness, self, signed).await;
        match cosignature {
            Ok(cosignature) => {
                self.keep(signed, cosignature);
                Ok(())
            }
            Err(refused) => {
                if let Some(proof) = refused.proof.filter(CheckpointError::is_proof) {
                    inner.log.stop(proof.to_string());
                }
                Err(refused.wait)
            }
        }
    }

    fn keep(&self, signed: &Signed, cosignature: Signature) {
        let mut cosigned = self.0.cosigned.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *cosigned {
            Some(kept) if kept.note.text() == signed.note.text() => kept.note.add(cosignature),
            Some(kept) if kept.checkpoint.size() > signed.checkpoint.size() => {}
            other => {
                let mut signed = signed.clone();
                signed.note.add(cosignature);
                *other = Some(signed);
            }
        }
    }

    /// Whether what a witness holds is the beginning of this log.
    pub(super) async fn judge(&self, held: Held) -> Result<(), CheckpointError> {
        let tiles = self.0.tiles.clone();
        judged(self.0.log.work(), move || agrees(&tiles, &held.checkpoint, &held.by)).await
    }
}

/// Whether a checkpoint is over the beginning of the log.
///
/// # Errors
/// [`CheckpointError::RolledBack`], [`CheckpointError::OtherHistory`], [`CheckpointError::Log`].
pub fn agrees(tiles: &Tiles, held: &Checkpoint, by: &str) -> Result<(), CheckpointError> {
    let found = tiles.records();
    if held.size() > found {
        return Err(CheckpointError::RolledBack { by: by.to_owned(), held: held.size(), found });
    }
    let is_held = |root: Hash| root == *held.root();
    if is_held(tiles.root(held.size())?) {
        return Ok(());
    }
    // Perhaps it is only the tiles that were changed.
    tiles.forget();
    if is_held(tiles.root(held.size())?) {
        return Ok(());
    }
    Err(CheckpointError::OtherHistory { by: by.to_owned(), size: held.size() })
}

async fn judged<T: Send + 'static>(
    place: Work,
    work: impl FnOnce() -> Result<T, CheckpointError> + Send + 'static,
) -> Result<T, CheckpointError> {
    // The log's errors go through, the others are told apart again.
    blocking(place, move || Ok(work())).await?
}

fn record(signed: &Signed, cosignatures: Vec<Bytes>, token: Option<Bytes>) -> CheckpointRecord {
    CheckpointRecord {
        size: signed.checkpoint.size(),
        root: *signed.checkpoint.root(),
        note: signed.note.to_string().into(),
        cosignatures,
        token,
    }
}

/// The log's own signatures, and those of others.
fn apart(note: &Note, own: &VerifierKey) -> (Vec<Signature>, Vec<Signature>) {
    note.signatures().iter().cloned().partition(|signature| own.is_named_by(signature))
}
