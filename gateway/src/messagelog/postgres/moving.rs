//! The tables as the place that a log is moved to or from. The head row says so: while it does, no gateway opens them.
//!
//! ```text
//! to     no head ──► head: copying ──► records, bodies, keys ──► judged ──► head: in use
//! from   head: in use, locked, nobody leads ──► read ──► head: moved
//! ```
//! Not here: reading records ([`super::Snapshot`]), what is done in which order ([`super::super::migrate`]).

use std::sync::Arc;

use cert_authority::clock::UnixTime;
use tokio_postgres::Client;

use super::{
    super::{
        cleaned::{Content, Entry},
        error::LogError,
        index::Facts,
        record::Kind,
        tree::Tree,
    },
    COPYING, FORMAT, Head, MOVED, TABLES, bigint, column, failed, head_in_any_state,
    link::{Server, Session},
    rows::Rows,
    take_up,
};

/// Most bytes of one statement, but for a single larger record.
const MOST_BYTES: usize = 8 << 20;
/// Most records of one statement.
const MOST_RECORDS: usize = 1024;

/// A record that is to be written.
pub(crate) struct Held {
    pub(crate) sequence: u64,
    pub(crate) entry: Entry,
    /// What its frame says; none of one that was removed.
    pub(crate) said: Option<(Kind, UnixTime, Facts)>,
}

/// The tables while a log is moved there.
pub(crate) struct Receiving {
    session: Session,
    waiting: Vec<Held>,
    bytes: usize,
}

impl Receiving {
    /// Makes the tables. What a move that was broken off has left there is removed.
    pub(crate) fn begin(server: Server, id: [u8; 16], kek: Vec<u8>) -> Result<Self, LogError> {
        let session = Session::open(server)?;
        session.ask(move |client| {
            let kek = kek.clone();
            async move { make_room(&client, &id, &kek).await }
        })?;
        Ok(Self { session, waiting: Vec::new(), bytes: 0 })
    }

    pub(crate) fn add(&mut self, held: Held) -> Result<(), LogError> {
        let size = usize::try_from(held.entry.size()).unwrap_or(usize::MAX);
        self.bytes = self.bytes.saturating_add(size);
        self.waiting.push(held);
        if self.bytes < MOST_BYTES && self.waiting.len() < MOST_RECORDS {
            return Ok(());
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), LogError> {
        self.bytes = 0;
        let records = Arc::new(std::mem::take(&mut self.waiting));
        if records.is_empty() {
            return Ok(());
        }
        self.session.ask(move |client| {
            let records = Arc::clone(&records);
            async move {
                let mut rows = Rows::default();
                for Held { sequence, entry, said } in records.iter() {
                    match (&entry.content, said) {
                        (Content::Frame(frame), Some((kind, time, facts))) => {
                            let head = (*kind, *time);
                            rows.add(*sequence, head, facts, &entry.blobs, frame.to_vec(), entry.leaf);
                        }
                        (Content::Frame(_), None) => {
                            return Err(LogError::Record("it was not read before it was written"));
                        }
                        (Content::Removed(noted), _) => rows.add_removed(*sequence, entry.leaf, *noted),
                    }
                }
                rows.insert(&client).await.map_err(|e| failed(&e))
            }
        })
    }

    /// All records are there: this is the tree over them.
    pub(crate) fn complete(&mut self, tree: &Tree) -> Result<(), LogError> {
        self.write()?;
        let (size, edge) = (bigint(tree.size()), tree.edge().concat());
        self.session.ask(move |client| {
            let edge = edge.clone();
            async move {
                let stated = "UPDATE passerelle_log.head SET size = $1, edge = $2";
                client.execute(stated, &[&size, &edge]).await.map_err(|e| failed(&e))?;
                Ok(())
            }
        })
    }

    /// From now on gateways open it.
    pub(crate) fn open(self) -> Result<(), LogError> {
        set_format(&self.session, FORMAT)
    }
}

async fn make_room(client: &Client, id: &[u8; 16], kek: &[u8]) -> Result<(), LogError> {
    // Held as long as the connection: nobody else moves a log here.
    let locked = "SELECT pg_try_advisory_lock(hashtext('passerelle_log migrate'))";
    let row = client.query_one(locked, &[]).await.map_err(|e| failed(&e))?;
    if !column::<bool>(&row, 0)? {
        return Err(LogError::Locked);
    }
    // A gateway that makes a log here at the same time waits.
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(hashtext('passerelle_log'));";
    client.batch_execute(&format!("{lock}{TABLES}")).await.map_err(|e| failed(&e))?;
    let empty = match head_in_any_state(client, "FOR UPDATE").await? {
        Some((format, _)) => format == COPYING,
        None => {
            let query = "SELECT EXISTS (SELECT FROM passerelle_log.record)";
            let row = client.query_one(query, &[]).await.map_err(|e| failed(&e))?;
            !column::<bool>(&row, 0)?
        }
    };
    if !empty {
        client.batch_execute("ROLLBACK").await.map_err(|e| failed(&e))?;
        return Err(LogError::NotEmpty("the schema passerelle_log in the database".to_owned()));
    }
    let clear = "TRUNCATE passerelle_log.head, passerelle_log.record, passerelle_log.blob, passerelle_log.body, \
                 passerelle_log.data_key, passerelle_log.batch";
    client.batch_execute(clear).await.map_err(|e| failed(&e))?;
    let insert = "INSERT INTO passerelle_log.head (format, log, size, edge, kek) VALUES ($1, $2, 0, '', $3)";
    client.execute(insert, &[&COPYING, &id.as_slice(), &kek]).await.map_err(|e| failed(&e))?;
    client.batch_execute("COMMIT").await.map_err(|e| failed(&e))
}

/// The tables while a log is moved from there: no gateway can write, because the head row is locked.
pub(crate) struct Giving {
    session: Session,
    pub(crate) head: Head,
}

impl Giving {
    /// Begins, if no gateway leads.
    pub(crate) fn begin(server: Server) -> Result<Self, LogError> {
        let session = Session::open(server)?;
        let head = session.ask(|client| async move {
            take_up(&client).await?;
            // It is held for as long as all the rest takes.
            client.batch_execute("BEGIN").await.map_err(|e| failed(&e))?;
            let head = super::head(&client, "FOR UPDATE").await?;
            if head.vacant { Ok(head) } else { Err(LogError::Locked) }
        })?;
        Ok(Self { session, head })
    }

    /// From now on no gateway opens it.
    pub(crate) fn close(self) -> Result<(), LogError> {
        set_format(&self.session, MOVED)?;
        self.session.ask(|client| async move { client.batch_execute("COMMIT").await.map_err(|e| failed(&e)) })
    }
}

fn set_format(session: &Session, format: i32) -> Result<(), LogError> {
    session.ask(move |client| async move {
        let set = "UPDATE passerelle_log.head SET format = $1";
        client.execute(set, &[&format]).await.map_err(|e| failed(&e))?;
        Ok(())
    })
}
