//! Records in PostgreSQL, for a reader. The position of a record is its number.
//!
//! Not here: writing.

use std::sync::Arc;

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use tokio_postgres::{Client, Row, types::ToSql};

use super::{
    super::{
        error::LogError,
        index::{Block, id_hash},
        record::Kind,
        records::{Chunks, Records},
        removal::{Full, Present},
        segment::Position,
        tree::{self, Hash},
    },
    Link, bigint, column, failed, number, removing,
};

/// As many records as a block of the index has.
const BLOCK: u64 = 256;

/// The tables.
pub(crate) struct Table(pub(crate) Arc<Link>);

impl Table {
    fn rows(&self, query: &'static str, parameter: i64, second: i64) -> Result<Vec<Row>, LogError> {
        self.0.ask(move |client| async move { rows(&client, query, &[&parameter, &second]).await })
    }
}

async fn rows(
    client: &Client,
    query: &'static str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, LogError> {
    client.query(query, parameters).await.map_err(|e| failed(&e))
}

impl Records for Table {
    fn wait_for(&self, _: u64) -> Result<(), LogError> {
        // What is committed can be found.
        Ok(())
    }

    fn block_of(&self, sequence: u64) -> Result<Option<Arc<Block>>, LogError> {
        let first = sequence - sequence % BLOCK;
        let query = "SELECT sequence, kind, time, client, service, noted FROM passerelle_log.record \
                     WHERE sequence >= $1 AND sequence < $2 ORDER BY sequence";
        let rows = self.rows(query, bigint(first), bigint(first.saturating_add(BLOCK)))?;
        let mut block = Block { first, ..Block::default() };
        for (expected, row) in (first..).zip(&rows) {
            // Nothing is known of what was removed but that it was there, as in files.
            let removed = column::<Option<i64>>(row, 5)?.map(|_| Kind::Access);
            let kind = u8::try_from(column::<i16>(row, 1)?).ok().and_then(Kind::from_code).or(removed);
            let kind = kind.filter(|_| number(row, 0).is_ok_and(|found| found == expected));
            let kind = kind.ok_or_else(|| unreadable(expected))?;
            let position = Position { segment: 0, offset: expected };
            block.places.push((position, kind, UnixTime::from_millis(column(row, 2)?)));
            block.clients.extend(name(row, 3)?);
            block.services.extend(name(row, 4)?);
        }
        let end = first.saturating_add(u64::try_from(block.places.len()).unwrap_or(0));
        Ok((sequence < end).then(|| Arc::new(block)))
    }

    fn by_message_id(&self, message_id: &str) -> Result<Vec<u64>, LogError> {
        let hash = id_hash(message_id);
        let query = "SELECT sequence FROM passerelle_log.record WHERE message_id = $1 ORDER BY sequence";
        let found =
            self.0.ask(move |client| async move { rows(&client, query, &[&hash.as_slice()]).await })?;
        found.iter().map(|row| number(row, 0)).collect()
    }

    fn ids_from(&self, _: u64) -> Result<Option<Vec<[u8; 8]>>, LogError> {
        Ok(None)
    }

    fn stamp_of(&self, sequence: u64) -> Result<Option<u64>, LogError> {
        let query = "SELECT sequence, covers_last FROM passerelle_log.record \
                     WHERE covers_first <= $1 AND covers_first >= $2 ORDER BY covers_first DESC LIMIT 1";
        let found = self.rows(query, bigint(sequence), 0)?;
        let Some(row) = found.first() else { return Ok(None) };
        Ok((sequence <= number(row, 1)?).then_some(number(row, 0)?))
    }

    fn stamped_below(&self) -> Result<u64, LogError> {
        let query = "SELECT coalesce(max(covers_last) + 1, $1::bigint) FROM passerelle_log.record \
                     WHERE covers_last >= $2";
        let found = self.rows(query, 0, 0)?;
        found.first().map_or(Ok(0), |row| number(row, 0))
    }

    fn leaves(&self, _: u64, positions: &[Position]) -> Result<Vec<Hash>, LogError> {
        let Some((first, last)) = positions.first().zip(positions.last()) else { return Ok(Vec::new()) };
        let query =
            "SELECT leaf FROM passerelle_log.record WHERE sequence BETWEEN $1 AND $2 ORDER BY sequence";
        let found = self.rows(query, bigint(first.offset), bigint(last.offset))?;
        if found.len() != positions.len() {
            return Err(unreadable(first.offset));
        }
        found.iter().map(|row| hash(row, 0)?.ok_or_else(|| unreadable(first.offset))).collect()
    }

    fn chunks(&self, sequence: u64, position: Position) -> Result<Chunks, LogError> {
        let asked = bigint(position.offset);
        let (records, beside) = self.0.ask(move |client| async move {
            let record = "SELECT leaf, frame, noted FROM passerelle_log.record WHERE sequence = $1";
            let blob = "SELECT hash, content FROM passerelle_log.blob WHERE sequence = $1";
            Ok((rows(&client, record, &[&asked]).await?, rows(&client, blob, &[&asked]).await?))
        })?;
        let changed = || unreadable(position.offset);
        let row = records.first().ok_or_else(changed)?;
        if column::<Option<i64>>(row, 2)?.is_some() {
            return Err(LogError::Removed { sequence, noted: number(row, 2)? });
        }
        let frame = Bytes::copy_from_slice(column(row, 1)?);
        let leaf = hash(row, 0)?.filter(|leaf| tree::leaf_hash(&[&frame]) == *leaf).ok_or_else(changed)?;
        let blobs = beside.iter().map(|row| {
            let content = Bytes::copy_from_slice(column(row, 1)?);
            let digest = hash(row, 0)?.filter(|digest| tree::sha256(&content) == *digest);
            Ok((digest.ok_or_else(changed)?, content))
        });
        Ok(Chunks { blobs: blobs.collect::<Result<_, LogError>>()?, frame, leaf })
    }

    fn full(&self, after: u64) -> Result<Vec<Full>, LogError> {
        removing::parts(&self.0, after)
    }

    fn present(&self, number: u64) -> Result<Vec<Present>, LogError> {
        removing::present(&self.0, number)
    }

    fn name_of_part(&self, number: u64) -> String {
        let (first, last) = removing::numbers(number);
        format!("messages of records {first} to {last}")
    }
}

fn hash(row: &Row, at: usize) -> Result<Option<Hash>, LogError> {
    Ok(column::<&[u8]>(row, at)?.try_into().ok())
}

/// The key of a client or service: bytes, because that of a service has a zero in it, which no text of PostgreSQL may have.
fn name(row: &Row, at: usize) -> Result<Option<String>, LogError> {
    Ok(column::<Option<&[u8]>>(row, at)?.map(|name| String::from_utf8_lossy(name).into_owned()))
}

fn unreadable(sequence: u64) -> LogError {
    LogError::Index(format!("record {sequence} in PostgreSQL is not what was written"))
}
