//! Asking witnesses: what they hold of this log, and whether they cosign a new checkpoint.
//!
//! A witness that cannot be asked, or refuses, is noted and asked again later: exchanges go on. Only a checkpoint of this
//! very log that the witness shows, and that the log does not go on from, proves something.
//!
//! Specification: C2SP tlog-witness.
//!
//! Not here: being a witness ([`cert_authority::tlog::witness`]), what a proof leads to ([`super::checkpoint`]).

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cert_authority::{
    http::{Client, Limits, Response},
    tlog::{
        Checkpoint, Note, Signature, VerifierKey, proof,
        witness::{AddCheckpoint, origin_hash, read_cosignature},
    },
};

use super::{
    body::blocking,
    checkpoint::{CheckpointError, Checkpoints, Signed},
};

/// What a question to a witness may cost.
const LIMITS: Limits =
    Limits { max_bytes: 256 << 10, connect: Duration::from_secs(3), total: Duration::from_secs(8) };
/// How long a witness that did not cosign is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// A witness that we ask.
#[derive(Clone)]
pub struct WitnessSettings {
    /// Where it is: the prefix of `/add-checkpoint`, without a slash at its end.
    pub url: String,
    /// What its cosignatures are verified with; it has the witness's name.
    pub key: VerifierKey,
    /// How it is reached.
    pub client: Client,
}

impl std::fmt::Debug for WitnessSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WitnessSettings({} at {})", self.key, self.url)
    }
}

/// How it goes with a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessHealth {
    /// Its name.
    pub name: String,
    /// Records that the checkpoint is over that it cosigned last, as far as we know.
    pub cosigned: Option<u64>,
    /// Why it did not cosign when it was asked last.
    pub problem: Option<String>,
    /// How often it did not cosign.
    pub refused: u64,
}

/// What a witness holds of the log `origin`, as it has cosigned it.
///
/// # Errors
/// Why it could not be asked, or that it does not say so with its own signature.
pub async fn ask(witness: &WitnessSettings, origin: &str) -> Result<Option<Checkpoint>, String> {
    Ok(witness.held(origin, std::slice::from_ref(&witness.key)).await?.map(|held| held.checkpoint))
}

/// A checkpoint of this log that somebody holds, signed by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) by: String,
    pub(super) checkpoint: Checkpoint,
}

/// Why there is no cosignature.
pub(super) struct Refused {
    pub(super) proof: Option<CheckpointError>,
    pub(super) wait: Duration,
}

pub(super) struct Witnesses(Vec<(WitnessSettings, Mutex<WitnessHealth>)>);

impl Witnesses {
    pub(super) fn new(all: Vec<WitnessSettings>) -> Self {
        let health =
            |name: &str| WitnessHealth { name: name.to_owned(), cosigned: None, problem: None, refused: 0 };
        Self(all.into_iter().map(|one| (one.clone(), Mutex::new(health(one.key.name())))).collect())
    }

    pub(super) fn health(&self) -> Vec<WitnessHealth> {
        self.0.iter().map(|(_, health)| lock(health).clone()).collect()
    }

    /// What each of them holds; those that cannot be asked are noted.
    pub(super) async fn ask_all(&self, origin: &str, own: &[VerifierKey]) -> Vec<Held> {
        let asked = self.0.iter().map(|(witness, health)| async move {
            match witness.held(origin, own).await {
                Ok(held) => {
                    lock(health).cosigned = Some(held.as_ref().map_or(0, |held| held.checkpoint.size()));
                    held
                }
                Err(reason) => {
                    note(health, reason);
                    None
                }
            }
        });
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// Has a checkpoint cosigned.
    pub(super) async fn hand_over(
        &self,
        witness: usize,
        log: &Checkpoints,
        signed: &Signed,
    ) -> Result<Signature, Refused> {
        let unknown = Refused { proof: None, wait: PAUSE };
        let (witness, health) = self.0.get(witness).ok_or(unknown)?;
        match witness.have_cosigned(health, log, signed).await {
            Ok(cosignature) => {
                let mut health = lock(health);
                health.cosigned = Some(signed.checkpoint.size());
                health.problem = None;
                count(&health.name, "cosigned");
                Ok(cosignature)
            }
            Err(Trouble::Said(reason)) => {
                note(health, reason);
                Err(Refused { proof: None, wait: PAUSE })
            }
            Err(Trouble::Proven(proof)) => {
                note(health, proof.to_string());
                Err(Refused { proof: Some(proof), wait: PAUSE })
            }
        }
    }
}

enum Trouble {
    /// It was not reached, or said no.
    Said(String),
    /// Something is wrong on our side.
    Proven(CheckpointError),
}

impl From<CheckpointError> for Trouble {
    fn from(error: CheckpointError) -> Self {
        Self::Proven(error)
    }
}

impl WitnessSettings {
    async fn have_cosigned(
        &self,
        health: &Mutex<WitnessHealth>,
        log: &Checkpoints,
        signed: &Signed,
    ) -> Result<Signature, Trouble> {
        // At the first meeting, what it holds is looked at, whatever we are about to show.
        let known = lock(health).cosigned;
        let mut old = match known {
            Some(size) => size,
            None => self.look(log).await?,
        };
        for _ in 0..2 {
            if old > signed.checkpoint.size() {
                // A later one than ours: either it is of this log, or it is the proof.
                lock(health).cosigned = Some(self.look(log).await?);
                let reason = format!("it has cosigned a checkpoint over {old} records");
                return Err(Trouble::Said(reason));
            }
            let answer = self.add(log, old, signed).await?;
            match answer.status.as_u16() {
                200 => {
                    return read_cosignature(&answer.body, signed.note.text(), &self.key)
                        .map_err(|error| Trouble::Said(error.to_string()));
                }
                409 => {
                    let size =
                        std::str::from_utf8(&answer.body).ok().and_then(|text| text.trim().parse().ok());
                    old = size.ok_or_else(|| Trouble::Said("an unreadable conflict".to_owned()))?;
                }
                422 => {
                    // It does not see that we go on from what it holds. Either it is right, or our tiles are wrong.
                    log.tiles().forget();
                    old = self.look(log).await?;
                }
                status => {
                    let said = String::from_utf8_lossy(&answer.body);
                    let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
                    return Err(Trouble::Said(format!("HTTP {status}: {said}")));
                }
            }
            lock(health).cosigned = Some(old);
        }
        Err(Trouble::Said("it refused twice".to_owned()))
    }

    /// The size of what it holds, after it was found to be of this log.
    async fn look(&self, log: &Checkpoints) -> Result<u64, Trouble> {
        let held = self.held(log.origin(), log.own_keys()).await.map_err(Trouble::Said)?;
        let Some(held) = held else { return Ok(0) };
        let size = held.checkpoint.size();
        log.judge(held).await?;
        Ok(size)
    }

    async fn add(&self, log: &Checkpoints, old: u64, signed: &Signed) -> Result<Response, Trouble> {
        let (tiles, size) = (log.tiles().clone(), signed.checkpoint.size());
        let proof = blocking(tiles.work(), move || proof::consistency(&tiles, old, size))
            .await
            .map_err(|error| Trouble::Proven(error.into()))?
            .ok_or_else(|| Trouble::Said("there is no proof from there".to_owned()))?;
        let request = AddCheckpoint { old, proof, note: signed.note.clone() };
        let url = format!("{}/add-checkpoint", self.url);
        self.client
            .post(&url, "text/plain; charset=utf-8", Bytes::from(request.to_string()), LIMITS)
            .await
            .map_err(|error| Trouble::Said(error.to_string()))
    }

    /// The checkpoint of this log that the witness shows, signed by one of these keys. A witness can prove with what we
    /// have signed, not with its own word: else it could stop whom it likes.
    async fn held(&self, origin: &str, signed_by: &[VerifierKey]) -> Result<Option<Held>, String> {
        let url = format!("{}/{}/checkpoint", self.url, origin_hash(origin));
        let answer = self.client.get(&url, LIMITS).await.map_err(|error| error.to_string())?;
        match answer.status.as_u16() {
            404 => return Ok(None),
            200 => {}
            status => return Err(format!("HTTP {status}")),
        }
        let note = Note::parse(&answer.body).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::open(&note, origin, signed_by)
            .map_err(|error| format!("what it holds of this log is not believed: {error}"))?;
        Ok(Some(Held { by: self.key.name().to_owned(), checkpoint }))
    }
}

fn note(health: &Mutex<WitnessHealth>, reason: String) {
    let mut health = lock(health);
    tracing::warn!(witness = health.name, reason, "a witness did not cosign");
    count(&health.name, "refused");
    health.problem = Some(reason);
    health.refused = health.refused.saturating_add(1);
}

fn count(witness: &str, outcome: &'static str) {
    let witness = witness.to_owned();
    metrics::counter!("passerelle_log_cosignatures_total", "witness" => witness, "outcome" => outcome)
        .increment(1);
}

fn lock(health: &Mutex<WitnessHealth>) -> std::sync::MutexGuard<'_, WitnessHealth> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}
