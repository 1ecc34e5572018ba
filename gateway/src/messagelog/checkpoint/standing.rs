//! What the log itself says of its checkpoints: where one goes on from, and what another node has made meanwhile.
//!
//! ```text
//! this node leads     its own checkpoints are shown as soon as they are durable
//! another one leads   what it has written is read each second that there is traffic, judged, and shown
//! ```
//! A checkpoint that is read is believed when it is of this tree and no signature on it is false.

use std::sync::{Arc, PoisonError};

use cert_authority::tlog::{Checkpoint, Note, NoteSigner, Signature, VerifierKey, note::NoteError};
use tokio::sync::watch;

use super::{CheckpointError, Checkpoints, Making, Signed, agrees, judged};
use crate::messagelog::{
    reader::{Filter, Order, Reader, StoredRecord},
    record::{CheckpointRecord, Kind, Record},
    service::MessageLog,
    tiles::Tiles,
};

/// Records that are read at once.
const PAGE: usize = 16;

impl Signed {
    /// The checkpoint of a record, with the cosignatures that it was sealed with, if it was.
    ///
    /// # Errors
    /// [`CheckpointError`] when it cannot be read.
    pub fn of(record: &CheckpointRecord) -> Result<Self, CheckpointError> {
        let mut note = Note::parse(&record.note)?;
        for cosignature in &record.cosignatures {
            note.add(Signature::parse(&String::from_utf8_lossy(cosignature))?);
        }
        Ok(Self { checkpoint: Checkpoint::parse(note.text())?, note })
    }
}

impl Checkpoints {
    /// Goes on from the last checkpoint in the log: another node may have made it.
    pub(super) async fn take_up(&self) -> Result<(), CheckpointError> {
        let mut making = self.0.making.lock().await;
        let inner = Arc::clone(&self.0);
        let found = judged(self.0.log.work(), move || {
            standing(&inner.log, &inner.tiles, &inner.settings.origin, &inner.signer)
        });
        let (found, latest) = found.await?;
        if found.covered > making.covered {
            *making = found;
            latest.into_iter().for_each(|latest| self.show(latest));
        }
        Ok(())
    }

    /// While another node leads, shows the checkpoints that it makes, until `stop` turns true. One that is not of this
    /// tree stops the log.
    pub async fn follow(&self, mut stop: watch::Receiver<bool>) {
        let follow = async {
            let mut seen = self.0.log.reader().len();
            loop {
                tokio::time::sleep(self.0.settings.every).await;
                let size = self.0.log.reader().len();
                if self.0.log.leads() || size <= seen {
                    seen = size;
                    continue;
                }
                match self.look(seen, size).await {
                    Ok(()) => seen = size,
                    Err(error) if error.is_proof() => self.0.log.stop(error.to_string()),
                    Err(error) => {
                        tracing::warn!(%error, "the checkpoints of the node that leads cannot be shown");
                    }
                }
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = follow => {}
        }
    }

    /// Shows the newest checkpoint of these records, and the newest that was cosigned.
    async fn look(&self, first: u64, end: u64) -> Result<(), CheckpointError> {
        let this = self.clone();
        let (latest, cosigned) = judged(self.0.log.work(), move || this.newest(first, end)).await?;
        latest.into_iter().for_each(|latest| self.show(Arc::new(latest)));
        if let Some(sealed) = cosigned {
            let mut cosigned = self.0.cosigned.lock().unwrap_or_else(PoisonError::into_inner);
            let newer = |held: &Signed| held.checkpoint.size() < sealed.checkpoint.size();
            if cosigned.as_ref().is_none_or(newer) {
                *cosigned = Some(sealed);
            }
        }
        Ok(())
    }

    fn newest(&self, first: u64, end: u64) -> Result<(Option<Signed>, Option<Signed>), CheckpointError> {
        let filter = Filter { kinds: vec![Kind::Checkpoint], ..Filter::default() };
        let (mut latest, mut cosigned): (Option<CheckpointRecord>, Option<CheckpointRecord>) = (None, None);
        let mut cursor = first.checked_sub(1);
        loop {
            let page = self.0.log.reader().find(&filter, Order::OldestFirst, cursor, PAGE)?;
            for found in &page {
                // What lies behind may be over more records than are known here.
                let Record::Checkpoint(record) = &found.record else { continue };
                let place = if record.cosignatures.is_empty() { &mut latest } else { &mut cosigned };
                let newer = place.as_ref().is_none_or(|held| held.size < record.size);
                if newer && found.sequence < end {
                    *place = Some(record.clone());
                }
            }
            match page.last().filter(|last| page.len() == PAGE && last.sequence < end) {
                Some(last) => cursor = Some(last.sequence),
                None => break,
            }
        }
        Ok((self.if_believed(latest)?, self.if_believed(cosigned)?))
    }

    /// The checkpoint of a record; none of one that has a false signature, or cannot be read.
    fn if_believed(&self, record: Option<CheckpointRecord>) -> Result<Option<Signed>, CheckpointError> {
        let Some(record) = record else { return Ok(None) };
        let signed = Signed::of(&record).and_then(|signed| {
            of_this_tree(&self.0.tiles, &record, &signed.checkpoint)?;
            no_false_signature(&signed.note, self.own_keys().iter().chain(self.witness_keys()))?;
            Ok(signed)
        });
        match signed {
            // Under another name it was another log's.
            Ok(signed) => Ok(Some(signed).filter(|signed| signed.checkpoint.origin() == self.origin())),
            Err(error) if error.is_proof() || matches!(error, CheckpointError::Log(_)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, size = record.size, "a checkpoint in the message log is not shown");
                Ok(None)
            }
        }
    }

    /// Shows a checkpoint, if it is newer than the one that is shown.
    fn show(&self, newer: Arc<Signed>) {
        self.0.latest.send_if_modified(|latest| {
            let is = latest.as_ref().is_none_or(|held| held.checkpoint.size() < newer.checkpoint.size());
            if is {
                *latest = Some(newer);
            }
            is
        });
    }
}

/// What the newest checkpoint in the log says. It must be one of this tree, and so must the last one that was written,
/// which is an older one when that was sealed.
pub(super) fn standing(
    log: &MessageLog,
    tiles: &Tiles,
    origin: &str,
    signer: &NoteSigner,
) -> Result<(Making, Option<Arc<Signed>>), CheckpointError> {
    let few = last_few(&log.reader(), PAGE)?;
    let Some(last) = few.first() else { return Ok((Making::default(), None)) };
    let is_made = |record: &&CheckpointRecord| record.cosignatures.is_empty() && record.token.is_none();
    let made = few.iter().find(is_made).filter(|made| made.size > last.size);
    let mut newest = judged_by_itself(tiles, origin, signer, last)?;
    if let Some(made) = made {
        newest = judged_by_itself(tiles, origin, signer, made)?;
    }
    let making = Making { covered: made.unwrap_or(last).size, own: 1, sealed: 0 };
    Ok((making, newest.map(Arc::new)))
}

/// The checkpoint of a record, without cosignatures; none under another name: it was another log's, but the records are
/// the same nevertheless.
fn judged_by_itself(
    tiles: &Tiles,
    origin: &str,
    signer: &NoteSigner,
    record: &CheckpointRecord,
) -> Result<Option<Signed>, CheckpointError> {
    let note = Note::parse(&record.note)?;
    let checkpoint = Checkpoint::parse(note.text())?;
    of_this_tree(tiles, record, &checkpoint)?;
    if checkpoint.origin() != origin {
        return Ok(None);
    }
    no_false_signature(&note, [signer.verifier()])?;
    Ok(Some(Signed { checkpoint, note }))
}

fn of_this_tree(tiles: &Tiles, record: &CheckpointRecord, held: &Checkpoint) -> Result<(), CheckpointError> {
    agrees(tiles, held, "the log itself")?;
    if held.size() != record.size || *held.root() != record.root {
        return Err(CheckpointError::OtherHistory { by: "the log itself".into(), size: record.size });
    }
    Ok(())
}

/// The last checkpoint in the log, with its note: one that was sealed is written again, and may be older than others.
///
/// # Errors
/// [`CheckpointError`].
pub fn last_in(reader: &Reader) -> Result<Option<(CheckpointRecord, Note)>, CheckpointError> {
    let last = last_few(reader, 1)?.into_iter().next();
    last.map(|record| Ok((record.clone(), Note::parse(&record.note)?))).transpose()
}

fn last_few(reader: &Reader, count: usize) -> Result<Vec<CheckpointRecord>, CheckpointError> {
    let filter = Filter { kinds: vec![Kind::Checkpoint], ..Filter::default() };
    let found = reader.find(&filter, Order::NewestFirst, None, count)?;
    let checkpoint = |found: StoredRecord| match found.record {
        Record::Checkpoint(record) => Some(record),
        _ => None,
    };
    Ok(found.into_iter().filter_map(checkpoint).collect())
}

/// A checkpoint by an earlier key is taken; one that claims to be by one of these keys and is not, is not.
fn no_false_signature<'a>(
    note: &Note,
    keys: impl IntoIterator<Item = &'a VerifierKey>,
) -> Result<(), CheckpointError> {
    match note.verify(keys) {
        Err(error @ NoteError::BadSignature(_)) => Err(error.into()),
        _ => Ok(()),
    }
}
