//! The log in PostgreSQL: the same frames, the same tree, written by several nodes.
//!
//! ```text
//! head     one row: the log's id, how many records there are, the right edge of their tree
//! record   number, frame, leaf hash; what is searched; the record that says that this one was removed
//! blob     small encrypted bodies beside a record
//! body     large encrypted bodies, in rows of 1 MiB
//! data_key data keys, wrapped by the key-encryption key
//! batch    of each node the name of what it committed together last, and the number of its first record
//! ```
//! A commit holds the lock of the head row, so that numbers are dense whoever writes. One that was broken off is tried
//! again under the same name: whoever has the lock sees whether it was committed, so that its outcome is never guessed.
//!
//! One node leads: it time-stamps, makes checkpoints and archives. It holds a lease in the head row and renews it; when it
//! does not, another takes it. What only the leader may write is refused under the lock of the head row when it comes from
//! anybody else, so that a leader that slept through the end of its lease can do no harm.
//!
//! Specification: `POSTGRES.md` beside this part.

mod beside;
mod link;
mod moving;
mod records;
mod removing;
mod rows;
mod settings;
mod snapshot;
mod writer;

use cert_authority::crypto;
use tokio_postgres::{Client, Row};

pub use settings::Database;

pub(crate) use self::{
    link::{Link, Server},
    moving::{Giving, Held, Receiving},
    records::Table,
    snapshot::{Searched, Snapshot, TableRow, is_kept},
    writer::Writer,
};
use super::{error::LogError, tree::Tree};

/// Tables are made in this schema.
const TABLES: &str = "
CREATE SCHEMA IF NOT EXISTS passerelle_log;
CREATE TABLE IF NOT EXISTS passerelle_log.head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format integer NOT NULL, log bytea NOT NULL, size bigint NOT NULL, edge bytea NOT NULL,
    kek bytea NOT NULL DEFAULT '', erased bigint NOT NULL DEFAULT 0,
    leader bytea NOT NULL DEFAULT '', term bigint NOT NULL DEFAULT 0,
    lease timestamptz NOT NULL DEFAULT '-infinity');
CREATE TABLE IF NOT EXISTS passerelle_log.record (
    sequence bigint PRIMARY KEY, kind smallint NOT NULL, time bigint NOT NULL, frame bytea NOT NULL,
    leaf bytea NOT NULL, message_id bytea, client bytea, service bytea, covers_first bigint, covers_last bigint,
    noted bigint);
CREATE INDEX IF NOT EXISTS record_message_id ON passerelle_log.record (message_id, sequence);
CREATE INDEX IF NOT EXISTS record_covers ON passerelle_log.record (covers_first) WHERE covers_first IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_covered ON passerelle_log.record (covers_last) WHERE covers_last IS NOT NULL;
CREATE TABLE IF NOT EXISTS passerelle_log.blob (
    sequence bigint NOT NULL, hash bytea NOT NULL, content bytea NOT NULL);
CREATE INDEX IF NOT EXISTS blob_sequence ON passerelle_log.blob (sequence);
CREATE TABLE IF NOT EXISTS passerelle_log.data_key (id text PRIMARY KEY, wrapped bytea NOT NULL);
CREATE TABLE IF NOT EXISTS passerelle_log.body (
    data_key text NOT NULL, hash bytea NOT NULL, chunk bigint NOT NULL, content bytea NOT NULL,
    PRIMARY KEY (data_key, hash, chunk));
ALTER TABLE passerelle_log.body ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS passerelle_log.batch (id bytea PRIMARY KEY, first bigint NOT NULL);
ALTER TABLE passerelle_log.record ADD COLUMN IF NOT EXISTS noted bigint;
";
/// The format of a log that is in use.
pub(crate) const FORMAT: i32 = 1;
/// Of one that is being moved here, and is not whole yet.
pub(crate) const COPYING: i32 = -1;
/// Of one that was moved elsewhere.
const MOVED: i32 = -2;

/// The kind of a row whose record was removed: no kind of a record.
const REMOVED: i16 = 0;

/// What the head row says.
pub(crate) struct Head {
    pub(crate) log: [u8; 16],
    pub(crate) tree: Tree,
    /// Tells the log's key-encryption key from others; empty until the first node has one.
    pub(crate) kek: Vec<u8>,
    /// How many data keys were destroyed.
    pub(crate) erased: u64,
    /// The node that leads or led last.
    pub(crate) leader: Vec<u8>,
    /// Whether its lease is over, by the clock of the server.
    pub(crate) vacant: bool,
}

/// Makes the tables where there are none, and a log without records in them. Gives its head.
pub(crate) async fn migrate(client: &Client) -> Result<Head, LogError> {
    let id: [u8; 16] = crypto::random_array().map_err(|e| LogError::Key(e.to_string()))?;
    // Two that migrate at the same time would both find nothing.
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(hashtext('passerelle_log'));";
    client.batch_execute(&format!("{lock}{TABLES}")).await.map_err(|e| failed(&e))?;
    let insert = "INSERT INTO passerelle_log.head (format, log, size, edge) VALUES ($1, $2, 0, '') \
                  ON CONFLICT DO NOTHING";
    client.execute(insert, &[&FORMAT, &id.as_slice()]).await.map_err(|e| failed(&e))?;
    client.batch_execute("COMMIT").await.map_err(|e| failed(&e))?;
    head(client, "").await
}

/// Takes up tables that were made before something was added to them. Without that nothing is changed, and no right to
/// change tables is needed.
pub(crate) async fn take_up(client: &Client) -> Result<(), LogError> {
    if is_taken_up(client).await.is_ok() {
        return Ok(());
    }
    // Whoever reads for long is not waited for: everybody else would wait behind that (`link` has the limits).
    let add = "ALTER TABLE passerelle_log.record ADD COLUMN IF NOT EXISTS noted bigint";
    client.batch_execute(add).await.map_err(|e| failed(&e))?;
    tracing::info!("the tables of the message log were made by an earlier version, and are taken up");
    Ok(())
}

/// Whether the tables have all that is read.
pub(crate) async fn is_taken_up(client: &Client) -> Result<(), LogError> {
    let query = "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('passerelle_log.record')) AND NOT EXISTS \
                 (SELECT FROM pg_attribute WHERE attrelid = to_regclass('passerelle_log.record') AND attname = 'noted')";
    let row = client.query_one(query, &[]).await.map_err(|e| failed(&e))?;
    if column(&row, 0)? {
        return Err(LogError::Index(
            "the tables in PostgreSQL are those of an earlier version: the next start of a gateway takes them up"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Notes what tells the key-encryption key, if nothing is noted yet. Gives what is noted.
pub(crate) async fn note_kek(client: &Client, proof: &[u8]) -> Result<Vec<u8>, LogError> {
    let note = "UPDATE passerelle_log.head SET kek = $1 WHERE kek = ''";
    client.execute(note, &[&proof]).await.map_err(|e| failed(&e))?;
    Ok(head(client, "").await?.kek)
}

/// Reads the head row of a log in use. `lock` is what stands behind the query.
pub(crate) async fn head(client: &Client, lock: &str) -> Result<Head, LogError> {
    match head_in_any_state(client, lock).await? {
        Some((FORMAT, head)) => Ok(head),
        Some((MOVED, _)) => Err(LogError::Moved("the database")),
        Some((COPYING, _)) => {
            Err(LogError::Missing("the database, into which a log is being moved,".to_owned()))
        }
        Some(_) => Err(LogError::Index("the log in PostgreSQL has a format of a later version".to_owned())),
        None => Err(LogError::Missing("the database".to_owned())),
    }
}

/// The head row with its format.
async fn head_in_any_state(client: &Client, lock: &str) -> Result<Option<(i32, Head)>, LogError> {
    let query = format!(
        "SELECT format, log, size, edge, kek, erased, leader, lease < clock_timestamp() \
                         FROM passerelle_log.head {lock}"
    );
    let Some(row) = client.query_opt(&query, &[]).await.map_err(|e| failed(&e))? else { return Ok(None) };
    let unreadable = || LogError::Index("the head row of the log in PostgreSQL cannot be read".to_owned());
    let log = column::<&[u8]>(&row, 1)?.try_into().map_err(|_| unreadable())?;
    let size = number(&row, 2)?;
    let (edge, rest) = column::<&[u8]>(&row, 3)?.as_chunks::<32>();
    let tree = Tree::from_edge(size, edge.to_vec()).filter(|_| rest.is_empty()).ok_or_else(unreadable)?;
    let (kek, erased) = (column(&row, 4)?, number(&row, 5)?);
    let head = Head { log, tree, kek, erased, leader: column(&row, 6)?, vacant: column(&row, 7)? };
    Ok(Some((column(&row, 0)?, head)))
}

/// What PostgreSQL said, as an error of the log.
pub(crate) fn failed(error: &tokio_postgres::Error) -> LogError {
    use std::error::Error as _;
    let reason = match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    };
    LogError::Io { what: "PostgreSQL", reason }
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, LogError> {
    row.try_get(at).map_err(|e| failed(&e))
}

fn number(row: &Row, at: usize) -> Result<u64, LogError> {
    u64::try_from(column::<i64>(row, at)?).map_err(|_| LogError::Index("a number is negative".to_owned()))
}

/// A number as PostgreSQL has it.
fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
