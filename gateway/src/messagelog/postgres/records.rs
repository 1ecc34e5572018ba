//! Records in PostgreSQL, for a reader. The position of a record is its number.
//!
//! Not here: writing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use tokio_postgres::{Client, Row, types::ToSql};

use super::{
    super::{
        block::{Block, Times},
        error::{Finding, Flaw, LogError},
        index::{Span, id_hash},
        record::Kind,
        records::{Chunks, Records},
        removal::{Full, Present},
        segment::Position,
        tree::{self, Hash},
    },
    Link, bigint, column, failed, number, removing,
};

/// Records of a block: each is a question, so more than a block of files has.
const BLOCK: u64 = 1024;
/// Bytes of records that are read at once, unless a single one has more.
const MOST_BYTES: i64 = 4 << 20;

/// Records whose times are looked at together.
const RUN: u64 = 65_536;

/// The tables.
pub(crate) struct Table {
    link: Arc<Link>,
    /// When runs of records were logged: nothing is ever added to them.
    spans: Mutex<HashMap<u64, Span>>,
}

impl Table {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link, spans: Mutex::default() }
    }

    fn rows(&self, query: &'static str, parameter: i64, second: i64) -> Result<Vec<Row>, LogError> {
        self.link.ask(move |client| async move { rows(&client, query, &[&parameter, &second]).await })
    }

    /// Whether there are records behind this number.
    fn goes_on_behind(&self, sequence: u64) -> Result<bool, LogError> {
        let query =
            "SELECT sequence FROM passerelle_log.record WHERE sequence > $1 AND sequence >= $2 LIMIT 1";
        Ok(!self.rows(query, bigint(sequence), 0)?.is_empty())
    }
}

async fn rows(
    client: &Client,
    query: &'static str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, LogError> {
    client.query(query, parameters).await.map_err(|e| failed(&e))
}

/// The rows of records and of what lies beside them: of the first, and of more as long as they are not too much.
async fn fetch(client: &Client, wanted: &[i64], blobs: bool) -> Result<(Vec<Row>, Vec<Row>), LogError> {
    let records = "SELECT sequence, leaf, frame, noted FROM (\
                     SELECT place, record.*, sum(octet_length(frame) + CASE WHEN $3::boolean THEN \
                       (SELECT coalesce(sum(octet_length(content)), 0) FROM passerelle_log.blob \
                        WHERE blob.sequence = record.sequence) ELSE 0 END) OVER (ORDER BY place) AS bytes \
                     FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (sequence, place) \
                     JOIN passerelle_log.record USING (sequence)) AS found \
                   WHERE place = 1 OR bytes <= $2::bigint";
    let records = rows(client, records, &[&wanted, &MOST_BYTES, &blobs]).await?;
    if !blobs {
        return Ok((records, Vec::new()));
    }
    let found: Vec<i64> = records.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    let beside = "SELECT sequence, hash, content FROM passerelle_log.blob WHERE sequence = ANY($1)";
    let beside = rows(client, beside, &[&found]).await?;
    Ok((records, beside))
}

/// What the rows of a record and of the bodies beside it hold.
fn chunks(sequence: u64, row: &Row, beside: &[&Row]) -> Result<Chunks, LogError> {
    let changed = |flaw| move || damaged(sequence, flaw);
    if column::<Option<i64>>(row, 3)?.is_some() {
        return Err(LogError::Removed { sequence, noted: number(row, 3)? });
    }
    let frame = Bytes::copy_from_slice(column(row, 2)?);
    let leaf =
        hash(row, 1)?.filter(|leaf| tree::leaf_hash(&[&frame]) == *leaf).ok_or_else(changed(Flaw::Hash))?;
    let blobs = beside.iter().map(|row| {
        let content = Bytes::copy_from_slice(column(row, 2)?);
        let digest = hash(row, 1)?.filter(|digest| tree::sha256(&content) == *digest);
        Ok((digest.ok_or_else(changed(Flaw::Body))?, content))
    });
    Ok(Chunks { blobs: blobs.collect::<Result<_, LogError>>()?, frame, leaf })
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
        let mut block = Block::new(first);
        for (expected, row) in (first..).zip(&rows) {
            // Nothing is known of what was removed but that it was there, as in files.
            let removed = column::<Option<i64>>(row, 5)?.map(|_| Kind::Access);
            let kind = u8::try_from(column::<i16>(row, 1)?).ok().and_then(Kind::from_code).or(removed);
            let kind = kind.filter(|_| number(row, 0).is_ok_and(|found| found == expected));
            let kind = kind.ok_or_else(|| unreadable(expected))?;
            let position = Position { segment: 0, offset: expected };
            let place = (position, kind, UnixTime::from_millis(column(row, 2)?));
            let (client, service) = (name(row, 3)?, name(row, 4)?);
            block.push(place, client.as_deref(), service.as_deref());
        }
        Ok((sequence < block.end()).then(|| Arc::new(block)))
    }

    fn span_of(&self, sequence: u64) -> Result<Option<Span>, LogError> {
        let spans = || self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let first = sequence - sequence % RUN;
        if let Some(span) = spans().get(&first) {
            return Ok(Some(*span));
        }
        let end = first.saturating_add(RUN);
        if !self.goes_on_behind(end - 1)? {
            return Ok(None);
        }
        // What was removed says no time any more.
        let query = "SELECT min(time), max(time) FROM passerelle_log.record \
                     WHERE sequence >= $1 AND sequence < $2 AND noted IS NULL";
        let found = self.rows(query, bigint(first), bigint(end))?;
        let Some(row) = found.first() else { return Ok(None) };
        let [earliest, latest] = [column::<Option<i64>>(row, 0)?, column(row, 1)?]
            .map(|time| UnixTime::from_millis(time.unwrap_or(0)));
        let span = Span { first, end, times: Times { earliest, latest } };
        spans().insert(first, span);
        Ok(Some(span))
    }

    fn by_message_id(&self, message_id: &str) -> Result<Vec<u64>, LogError> {
        let hash = id_hash(message_id);
        let query = "SELECT sequence FROM passerelle_log.record WHERE message_id = $1 ORDER BY sequence";
        let found =
            self.link.ask(move |client| async move { rows(&client, query, &[&hash.as_slice()]).await })?;
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

    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Hash>, LogError> {
        let end = first.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let query = "SELECT leaf, sequence FROM passerelle_log.record WHERE sequence >= $1 AND sequence < $2 \
                     ORDER BY sequence";
        let found = self.rows(query, bigint(first), bigint(end))?;
        let each = (first..).zip(&found).map(|(expected, row)| {
            let leaf = hash(row, 0)?.filter(|_| number(row, 1).is_ok_and(|found| found == expected));
            leaf.ok_or_else(|| damaged(expected, Flaw::Sequence))
        });
        each.collect()
    }

    fn read(&self, numbers: &[u64], blobs: bool) -> Result<Vec<Result<Chunks, LogError>>, LogError> {
        let Some(first) = numbers.first() else { return Ok(Vec::new()) };
        let wanted: Vec<i64> = numbers.iter().map(|number| bigint(*number)).collect();
        let (records, beside) = self.link.ask(move |client| {
            let wanted = wanted.clone();
            async move { fetch(&client, &wanted, blobs).await }
        })?;
        // As they were asked for, up to the first that is not there.
        let found: HashMap<u64, &Row> =
            records.iter().map(|row| Ok((number(row, 0)?, row))).collect::<Result<_, LogError>>()?;
        let mut blobs: HashMap<u64, Vec<&Row>> = HashMap::new();
        for row in &beside {
            blobs.entry(number(row, 0)?).or_default().push(row);
        }
        let there = numbers.iter().map_while(|number| Some((*number, *found.get(number)?)));
        let read: Vec<_> = there
            .map(|(sequence, row)| {
                chunks(sequence, row, blobs.get(&sequence).map_or_else(Default::default, Vec::as_slice))
            })
            .collect();
        if read.is_empty() && self.goes_on_behind(*first)? {
            return Ok(vec![Err(damaged(*first, Flaw::Sequence))]);
        }
        Ok(read)
    }

    fn full(&self, after: u64) -> Result<Vec<Full>, LogError> {
        removing::parts(&self.link, after)
    }

    fn present(&self, number: u64) -> Result<Vec<Present>, LogError> {
        removing::present(&self.link, number)
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

/// One record is not what was written; others are.
const fn damaged(sequence: u64, flaw: Flaw) -> LogError {
    LogError::Damaged(Finding { segment: 0, offset: sequence, sequence, flaw })
}
