//! Messages removed from the table: which there are, and what a commit does that removes some.
//!
//! ```text
//! head row locked, this node leads ──► the record that names them, its number ──► their rows emptied, the bodies beside
//! them deleted ──► COMMIT: both or neither
//! ```
//! A row that was emptied keeps number and leaf, and has the number of that record; it says nothing more.

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use tokio_postgres::Client;

use super::{
    super::{
        error::{Finding, Flaw, LogError},
        frame::Frame,
        record::Kind,
        removal::{Full, Present},
        tree::{self, Hash},
    },
    Link, REMOVED, bigint, column, failed, number,
};

/// Rows that are cleaned at once: a commit that holds up all others for some milliseconds.
const PART: u64 = 1024;

/// First and last number of a part.
pub(super) fn numbers(part: u64) -> (u64, u64) {
    let first = part.saturating_sub(1).saturating_mul(PART);
    (first, first.saturating_add(PART - 1))
}

/// The parts behind number `after`, the last one included, which need not be full.
pub(super) fn parts(link: &Link, after: u64) -> Result<Vec<Full>, LogError> {
    let rows = link.ask(move |client| async move {
        // Of each part the first record behind it; of the last one its own last record.
        let query = "SELECT part, time FROM passerelle_log.head CROSS JOIN LATERAL \
                     generate_series($1::bigint + 1, (size + $2::bigint - 1) / $2::bigint) AS part \
                     JOIN passerelle_log.record ON sequence = least(part * $2::bigint, size - 1) ORDER BY part";
        client.query(query, &[&bigint(after), &bigint(PART)]).await.map_err(|e| failed(&e))
    })?;
    let each = rows.iter().map(|row| {
        // That of a record that was removed is past.
        Ok(Full { segment: number(row, 0)?, until: UnixTime::from_millis(column(row, 1)?) })
    });
    each.collect()
}

/// The messages of a part that are there.
pub(super) fn present(link: &Link, part: u64) -> Result<Vec<Present>, LogError> {
    let (first, last) = numbers(part);
    let rows = link.ask(move |client| async move {
        let query = "SELECT sequence, leaf, frame FROM passerelle_log.record \
                     WHERE sequence BETWEEN $1 AND $2 AND noted IS NULL ORDER BY sequence";
        client.query(query, &[&bigint(first), &bigint(last)]).await.map_err(|e| failed(&e))
    })?;
    let mut messages = Vec::new();
    for row in &rows {
        let sequence = number(row, 0)?;
        let leaf: Option<Hash> = column::<&[u8]>(row, 1)?.try_into().ok();
        let bytes = Bytes::copy_from_slice(column(row, 2)?);
        let frame = Some(tree::leaf_hash(&[&bytes])).filter(|found| Some(*found) == leaf);
        let frame = frame.and_then(|_| Frame::decode(&bytes).ok());
        let damaged = LogError::Damaged(Finding { segment: 0, offset: sequence, sequence, flaw: Flaw::Hash });
        let frame = frame.filter(|frame| frame.head.sequence == sequence).ok_or(damaged)?;
        messages.extend(Present::in_frame(frame));
    }
    Ok(messages)
}

/// Empties the rows of these messages; `noted` is the number of the record that names them.
///
/// # Errors
/// [`LogError::Overtaken`] when one of them is no message that is there: then the commit must come to nothing.
pub(super) async fn empty(client: &Client, noted: u64, messages: &[u64]) -> Result<(), LogError> {
    let numbers: Vec<i64> = messages.iter().copied().map(bigint).collect();
    let kinds = [Kind::Request, Kind::Response].map(|kind| i16::from(kind.code()));
    let empty = "UPDATE passerelle_log.record SET kind = $3, time = 0, frame = '', message_id = NULL, client = NULL, \
                 service = NULL, covers_first = NULL, covers_last = NULL, noted = $2 \
                 WHERE sequence = ANY($1) AND kind = ANY($4) AND noted IS NULL";
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&numbers, &bigint(noted), &REMOVED, &kinds.as_slice()];
    let emptied = client.execute(empty, &parameters).await.map_err(|e| failed(&e))?;
    if usize::try_from(emptied).ok() != Some(messages.len()) {
        return Err(LogError::Overtaken);
    }
    let blobs = "DELETE FROM passerelle_log.blob WHERE sequence = ANY($1)";
    client.execute(blobs, &[&numbers]).await.map_err(|e| failed(&e))?;
    Ok(())
}
