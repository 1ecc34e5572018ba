//! Checkpoints of our log, and being a witness of others' logs: from settings and keys to what runs.
//!
//! Not here: what they do ([`crate::messagelog::checkpoint`], [`cert_authority::tlog`]).

use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::Clock;
use cert_authority::keys::Signer;
use cert_authority::keys::inventory::Usage;
use cert_authority::tlog::settings::newest;
use cert_authority::tlog::{NoteSigner, SignatureType, door, witness::Witness};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{StartError, listen, tasks};
use crate::config::Config;
use crate::keyring::Keyring;
use crate::messagelog::MessageLog;
use crate::messagelog::checkpoint::{Checkpoints, Settings};
use crate::messagelog::stamp::Authorities;

/// The checkpoints that the settings ask for; the last one must be of this log. Blocks while it reads.
pub(super) fn checkpoints(
    config: &Config,
    log: &MessageLog,
    keyring: &Arc<Keyring>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Checkpoints>, StartError> {
    let Some(asked) = &config.log.checkpoints else { return Ok(None) };
    let inventory = keyring.inventory();
    let key = asked.key.clone().or_else(|| newest(&inventory, Usage::Checkpoint));
    let key = key.ok_or(StartError::NoCheckpointKey)?;
    let signer: Arc<dyn Signer> = keyring.clone();
    let signer = NoteSigner::new(&asked.origin, SignatureType::Ed25519, key, signer)?;
    let witnesses = asked.witnesses.iter().map(|one| one.settings().map_err(StartError::Witness));
    let settings = Settings {
        origin: asked.origin.clone(),
        every: asked.every,
        previous_keys: asked.previous_keys.clone(),
        witnesses: witnesses.collect::<Result<_, _>>()?,
        quorum: asked.quorum,
    };
    Ok(Some(Checkpoints::open(log.clone(), signer, settings, Arc::clone(clock))?))
}

/// The witness that the settings ask for, listening.
pub(super) async fn open(
    config: &Config,
    keyring: &Arc<Keyring>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<(TcpListener, Arc<Witness>)>, StartError> {
    let Some(settings) = &config.witness else { return Ok(None) };
    let witness = settings
        .open(&keyring.inventory(), keyring.clone(), Arc::clone(clock))
        .map_err(|error| StartError::Witness(error.to_string()))?;
    tracing::info!(witness = %witness.verifier(), address = %settings.listen, "witness of others' logs");
    Ok(Some((listen(settings.listen).await?, Arc::new(witness))))
}

/// Serves the witness, if there is one.
pub(super) async fn serve(door: Option<(TcpListener, Arc<Witness>)>, closed: watch::Receiver<bool>) {
    if let Some((listener, witness)) = door {
        door::run(listener, witness, tasks::stopped(closed)).await;
    }
}

/// Makes checkpoints while this node leads, and shows those of the node that does, if they are asked for. They are sealed as often as time-stamps are asked for.
pub(super) async fn run(
    log: MessageLog,
    checkpoints: Option<Checkpoints>,
    authorities: Authorities,
    interval: impl Fn() -> Duration + Send + Sync,
    stop: watch::Receiver<bool>,
) {
    let Some(checkpoints) = checkpoints else { return };
    let make = log.while_leading(stop.clone(), || {
        let authorities = Arc::clone(&authorities);
        checkpoints.clone().run(move || authorities(), &interval, stop.clone())
    });
    tokio::join!(make, checkpoints.follow(stop.clone()));
}
