//! All rows of the log as they stand at one moment, page by page: for those who judge it, and for those who move it.
//!
//! Nothing is believed here: what is read is given as it is.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use cert_authority::{algorithm::DigestAlgorithm, crypto::Hasher};
use tokio_postgres::Row;

use super::{
    super::{
        error::LogError,
        frame::{Frame, NOBODY},
        index::Facts,
        pieces::{Chunk, Head, Piece},
        record::Stored,
        tree::{self, Hash},
    },
    Link, REMOVED, bigint, column, failed, is_taken_up,
    link::{Server, Session},
};

/// Numbers of a page: each record may have bodies beside it.
const PAGE: u64 = 128;

/// What a row says to search its record by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Searched {
    kind: i16,
    time: i64,
    message_id: Option<Vec<u8>>,
    client: Option<Vec<u8>>,
    service: Option<Vec<u8>>,
    covers: (Option<i64>, Option<i64>),
    /// Of a record that was removed: the one that says so.
    noted: Option<i64>,
}

impl Searched {
    /// Whether the frame says the same.
    pub(crate) fn is_of(&self, frame: &Frame) -> bool {
        let facts = Facts::of(&frame.record);
        let first = facts.covers.map(|(first, _)| bigint(first));
        let last = facts.covers.map(|(_, last)| bigint(last));
        self.kind == i16::from(frame.head.kind.code())
            && self.time == frame.head.time.as_millis()
            && self.message_id.as_deref() == facts.id.as_ref().map(<[u8; 8]>::as_slice)
            && self.client.as_deref() == facts.client.as_deref().map(str::as_bytes)
            && self.service.as_deref() == facts.service.as_deref().map(str::as_bytes)
            && self.covers == (first, last)
    }

    /// The number of the record that says that this one was removed; none of one that is there.
    pub(crate) fn noted(&self) -> Option<u64> {
        self.noted.map(|noted| u64::try_from(noted).unwrap_or(NOBODY))
    }

    /// Whether it says nothing, as it must of a record that was removed.
    pub(crate) fn is_empty(&self) -> bool {
        let nothing = Self {
            kind: REMOVED,
            time: 0,
            message_id: None,
            client: None,
            service: None,
            covers: (None, None),
            noted: self.noted,
        };
        *self == nothing
    }
}

/// A record as it stands in the tables.
#[derive(Debug)]
pub(crate) struct TableRow {
    pub(crate) number: u64,
    pub(crate) frame: Bytes,
    /// Its hash as it is stated; none where that is no hash.
    pub(crate) leaf: Option<Hash>,
    pub(crate) searched: Searched,
    /// Bodies beside it, with their hashes as they are stated.
    pub(crate) blobs: Vec<(Option<Hash>, Bytes)>,
}

/// The tables at one moment: nothing that is written meanwhile is seen. Gives pages of rows in their order.
pub(crate) struct Snapshot {
    /// The connection with the transaction: on another one it would be another moment.
    session: Session,
    /// Where the next page begins; none behind the last.
    next: Option<u64>,
}

impl Snapshot {
    /// Begins; the head row as it stands comes with it, and must have this format.
    pub(crate) fn begin(server: Server, format: i32) -> Result<(Self, Head), LogError> {
        let session = Session::open(server)?;
        let head = session.ask(move |client| async move {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            client.batch_execute(begin).await.map_err(|e| failed(&e))?;
            is_taken_up(&client).await?;
            let query = "SELECT format, log, size, edge, \
                         EXISTS (SELECT FROM passerelle_log.record WHERE sequence < 0) FROM passerelle_log.head";
            let row = client.query_opt(query, &[]).await.map_err(|e| failed(&e))?;
            let row = row.filter(|row| column(row, 0) == Ok(format));
            let row = row.ok_or_else(|| LogError::Missing("the database".to_owned()))?;
            let head = Head {
                log: column(&row, 1)?,
                size: column(&row, 2)?,
                edge: column(&row, 3)?,
                strays: column(&row, 4)?,
            };
            Ok(head)
        })?;
        Ok((Self { session, next: Some(0) }, head))
    }

    /// The ids of the data keys.
    pub(crate) fn keys(&self) -> Result<BTreeSet<String>, LogError> {
        self.session.ask(|client| async move {
            let query = "SELECT id FROM passerelle_log.data_key";
            let rows = client.query(query, &[]).await.map_err(|e| failed(&e))?;
            rows.iter().map(|row| column(row, 0)).collect()
        })
    }

    /// As the checker takes it.
    pub(crate) fn pieces(self, head: Head) -> impl Iterator<Item = Result<Piece<Chunk>, LogError>> + Send {
        let pages = self.map(|page| {
            let chunks = page?.into_iter().flat_map(chunks_of).collect();
            Ok(Piece::Chunks { segment: 0, chunks })
        });
        pages.chain(std::iter::once(Ok(Piece::Head(head))))
    }

    fn page(&mut self) -> Result<Option<Vec<TableRow>>, LogError> {
        while let Some(first) = self.next {
            let rows = self.rows(first)?;
            self.next = first.checked_add(PAGE);
            if rows.is_empty() {
                self.next = self.first_from(first)?;
            } else {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    fn rows(&self, first: u64) -> Result<Vec<TableRow>, LogError> {
        let (begin, end) = (bigint(first), bigint(first.saturating_add(PAGE)));
        let (records, blobs) = self.session.ask(move |client| {
            async move {
                let records = "SELECT sequence, frame, leaf, kind, time, message_id, client, service, covers_first, \
                               covers_last, noted FROM passerelle_log.record \
                               WHERE sequence >= $1 AND sequence < $2 ORDER BY sequence";
                let blobs = "SELECT sequence, hash, content FROM passerelle_log.blob \
                             WHERE sequence >= $1 AND sequence < $2 ORDER BY sequence";
                let records = client.query(records, &[&begin, &end]).await.map_err(|e| failed(&e))?;
                let blobs = client.query(blobs, &[&begin, &end]).await.map_err(|e| failed(&e))?;
                Ok((records, blobs))
            }
        })?;
        let mut blobs: VecDeque<Row> = blobs.into();
        records.iter().map(|row| table_row(row, &mut blobs)).collect()
    }

    /// The number of the next row that there is.
    fn first_from(&self, from: u64) -> Result<Option<u64>, LogError> {
        let row = self.session.ask(move |client| async move {
            let query = "SELECT min(sequence) FROM passerelle_log.record WHERE sequence >= $1";
            client.query_one(query, &[&bigint(from)]).await.map_err(|e| failed(&e))
        })?;
        let found: Option<i64> = column(&row, 0)?;
        Ok(found.and_then(|found| u64::try_from(found).ok()))
    }
}

impl Iterator for Snapshot {
    type Item = Result<Vec<TableRow>, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let page = self.page();
        if page.is_err() {
            self.next = None;
        }
        page.transpose()
    }
}

fn table_row(row: &Row, blobs: &mut VecDeque<Row>) -> Result<TableRow, LogError> {
    let sequence: i64 = column(row, 0)?;
    let mut beside = Vec::new();
    // Bodies whose record is not there belong to nothing.
    while let Some(blob) = blobs.front() {
        let of: i64 = column(blob, 0)?;
        if of > sequence {
            break;
        }
        if of == sequence {
            beside.push((hash(blob, 1)?, bytes(blob, 2)?));
        }
        blobs.pop_front();
    }
    let searched = Searched {
        kind: column(row, 3)?,
        time: column(row, 4)?,
        message_id: column(row, 5)?,
        client: column(row, 6)?,
        service: column(row, 7)?,
        covers: (column(row, 8)?, column(row, 9)?),
        noted: column(row, 10)?,
    };
    Ok(TableRow {
        number: u64::try_from(sequence).unwrap_or(0),
        frame: bytes(row, 1)?,
        leaf: hash(row, 2)?,
        searched,
        blobs: beside,
    })
}

/// What is no hash is that of nothing.
fn chunks_of(row: TableRow) -> impl Iterator<Item = Chunk> {
    let TableRow { number, frame, leaf, searched, blobs } = row;
    let blobs = blobs
        .into_iter()
        .map(move |(hash, content)| Chunk::of_row(number, hash.unwrap_or_default(), content, None));
    // Of what was removed nothing but the leaf is there: where that is none, it is a frame that is damaged.
    let searched = Searched { noted: searched.noted.filter(|_| leaf.is_some()), ..searched };
    blobs.chain([Chunk::of_row(number, leaf.unwrap_or_default(), frame, Some(searched))])
}

fn bytes(row: &Row, at: usize) -> Result<Bytes, LogError> {
    Ok(Bytes::from(column::<Vec<u8>>(row, at)?))
}

fn hash(row: &Row, at: usize) -> Result<Option<Hash>, LogError> {
    Ok(column::<&[u8]>(row, at)?.try_into().ok())
}

/// Whether a large body is there and is the one that its record states; that of a key that is gone is gone too, or goes.
pub(crate) fn is_kept(link: &Arc<Link>, stored: &Stored) -> Result<bool, LogError> {
    use super::super::beside::Beside as _;
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut pieces = 0_u64;
    while let Some(piece) = link.piece(&stored.key, &stored.ciphertext, pieces)? {
        hasher.update(&piece);
        pieces = pieces.saturating_add(1);
    }
    Ok(tree::to_hash(&hasher.finish()) == stored.ciphertext || link.key(&stored.key)?.is_none())
}
