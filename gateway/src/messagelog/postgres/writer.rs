//! Group commit into PostgreSQL: one thread writes what many ask for, in one transaction.
//!
//! The life of a batch, and what is known when the connection is lost:
//! 1. given a name of its own — the same through all that follows
//! 2. head row locked, records numbered behind it, written — if it comes to nothing, nothing is there
//! 3. `COMMIT` sent — perhaps it is there: it is tried again under its name; the lock says that the first try is over,
//!    and the table of batches whether it was committed
//! 4. `COMMIT` returned — **it is there: this is the commit point**; receipts given
//!
//! While PostgreSQL cannot be reached new records are refused, and those on their way wait.
//!
//! Not here: tables (the module above).

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use cert_authority::crypto;
use tokio::{sync::mpsc, time::Instant};
use tokio_postgres::Client;

use super::{
    super::{
        append::Receipt,
        body::Vault,
        error::LogError,
        frame::FrameHead,
        record::Kind,
        tree,
        writer::{Entry, State},
    },
    Head, bigint, column, failed, head,
    link::{PATIENCE, Purpose, Server, connect},
    number, removing,
    rows::Rows,
};

/// Most records of one transaction.
const MOST_RECORDS: usize = 1024;
/// Most bytes of one transaction, but for a single larger record: over a slow network they too are there before the
/// server takes us for gone.
const MOST_BYTES: usize = 2 << 20;
/// How often it is looked what other nodes have written.
const LOOK: Duration = Duration::from_millis(500);
/// How long a node leads without renewing it, by the clock of the server; and by its own, from before it asked.
const LEASE: Duration = Duration::from_secs(6);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// The thread's own.
pub(crate) struct Writer {
    pub(crate) server: Server,
    pub(crate) log: [u8; 16],
    pub(crate) state: Arc<State>,
    pub(crate) client: Option<Arc<Client>>,
    /// Told when a key was destroyed.
    pub(crate) vault: Vault,
    /// How many data keys were destroyed, as far as the vault knows.
    pub(crate) erased: u64,
    /// Tells this opening of the log from all others.
    pub(crate) node: [u8; 16],
    /// The name of the batch before, whose outcome is known: it goes with the next one.
    pub(crate) known: Option<[u8; 16]>,
    /// A record that was taken from the queue and is written by itself.
    pub(crate) alone: Option<Entry>,
}

/// Whether only one node may write this: it is committed by itself.
const fn is_leaders(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Timestamp | Kind::Checkpoint | Kind::Archive) || !entry.removes.is_empty()
}

impl Writer {
    /// Works until nobody can append any more.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        self.look().await;
        let mut looked = Instant::now();
        loop {
            let first = match self.alone.take() {
                Some(entry) => Ok(Some(entry)),
                None => tokio::time::timeout(LOOK, queue.recv()).await,
            };
            match first {
                Ok(Some(first)) => {
                    let batch = self.batch(first, &mut queue);
                    self.commit(batch, &queue).await;
                }
                Ok(None) => break,
                Err(_) => {}
            }
            if looked.elapsed() >= LOOK {
                self.look().await;
                looked = Instant::now();
            }
        }
        self.resign().await;
    }

    /// What is written together with `first`.
    fn batch(&mut self, first: Entry, queue: &mut mpsc::Receiver<Entry>) -> Vec<Entry> {
        let mut size = first.bytes();
        let more = !is_leaders(&first);
        let mut batch = vec![first];
        while more && batch.len() < MOST_RECORDS && size < MOST_BYTES {
            let Ok(next) = queue.try_recv() else { break };
            if is_leaders(&next) {
                self.alone = Some(next);
                break;
            }
            size = size.saturating_add(next.bytes());
            batch.push(next);
        }
        batch
    }

    /// Commits a batch, however often that must be tried, and answers.
    async fn commit(&mut self, batch: Vec<Entry>, queue: &mpsc::Receiver<Entry>) {
        let name: Result<[u8; 16], _> = crypto::random_array().map_err(|e| LogError::Key(e.to_string()));
        let result = match self.state.check().and(name) {
            Ok(name) => self.persist(&batch, &name, queue).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(receipts) => {
                for (entry, receipt) in batch.into_iter().zip(receipts) {
                    entry.reply.send(Ok(receipt));
                }
            }
            Err(error) => {
                for entry in batch {
                    entry.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Tries until it is known that the batch is there. Gives up when the log stops, or is closed meanwhile.
    async fn persist(
        &mut self,
        batch: &[Entry],
        name: &[u8; 16],
        queue: &mpsc::Receiver<Entry>,
    ) -> Result<Vec<Receipt>, LogError> {
        let begun = Instant::now();
        loop {
            let error = match tokio::time::timeout(PATIENCE, self.attempt(batch, name)).await {
                Ok(Ok(receipts)) => {
                    self.state.reachable(None);
                    return Ok(receipts);
                }
                Ok(Err(LogError::Overtaken)) => {
                    // The transaction is left by leaving the connection.
                    self.client = None;
                    return Err(LogError::Overtaken);
                }
                Ok(Err(error)) => error,
                Err(_) => LogError::Io { what: "PostgreSQL", reason: "it does not answer".to_owned() },
            };
            // The connection may be within a transaction, or its COMMIT under way.
            self.client = None;
            self.state.check_stopped()?;
            self.state.lead(false);
            tracing::warn!(%error, "PostgreSQL did not commit records of the message log; tried again");
            if queue.is_closed() && begun.elapsed() > PATIENCE {
                return Err(LogError::Stopped(format!(
                    "closed before it was known what was committed: {error}"
                )));
            }
            self.state.reachable(Some(error.to_string()));
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&mut self, batch: &[Entry], name: &[u8; 16]) -> Result<Vec<Receipt>, LogError> {
        let client = self.connected().await?;
        let client = client.as_ref();
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(|e| failed(&e))?;
        // From here on no other try of this batch is under way, on whatever connection it was made.
        let mut head = self.believed(head(client, "FOR UPDATE").await?)?;
        let known = "SELECT first FROM passerelle_log.batch WHERE id = $1";
        let known = client.query_opt(known, &[&name.as_slice()]).await.map_err(|e| failed(&e))?;
        let receipts = if let Some(row) = known {
            let receipts = committed(client, number(&row, 0)?, batch.len()).await?;
            // It counts when the replicas that are waited for have it too: they have it before what is committed now.
            let confirm = "UPDATE passerelle_log.head SET size = size; COMMIT";
            client.batch_execute(confirm).await.map_err(|e| failed(&e))?;
            tracing::info!(records = batch.len(), "a commit whose outcome was not known had been made");
            receipts
        } else {
            self.check_lead(client, &head, batch).await?;
            let receipts = insert(client, &mut head, batch, name, self.known.as_ref()).await?;
            client.batch_execute("COMMIT").await.map_err(|e| failed(&e))?;
            receipts
        };
        self.known = Some(*name);
        self.state.reached(&head.tree);
        Ok(receipts)
    }

    /// Refuses what another node has the right to write. Holds the lock of the head.
    async fn check_lead(&self, client: &Client, head: &Head, batch: &[Entry]) -> Result<(), LogError> {
        let [entry] = batch else { return Ok(()) };
        match (entry.kind, entry.facts.covers) {
            // Any node may stamp, but nothing twice: one that waits for its own message does.
            (Kind::Timestamp, Some((first, _))) => {
                let query =
                    "SELECT coalesce(max(covers_last), -1) FROM passerelle_log.record WHERE covers_last >= 0";
                let row = client.query_one(query, &[]).await.map_err(|e| failed(&e))?;
                if bigint(first) > column::<i64>(&row, 0)? { Ok(()) } else { Err(LogError::Overtaken) }
            }
            _ if is_leaders(entry) && head.leader != self.node => Err(LogError::Overtaken),
            _ => Ok(()),
        }
    }

    /// Takes or keeps the lead, if it is vacant or ours.
    async fn lead(&mut self, head: &Head) -> Result<(), LogError> {
        let ours = head.leader == self.node;
        if !ours && !head.vacant {
            self.state.lead(false);
            return Ok(());
        }
        let client = self.connected().await?;
        let asked = Instant::now();
        let take = "UPDATE passerelle_log.head SET leader = $1, lease = clock_timestamp() + make_interval(secs => $2), \
                    term = term + CASE WHEN leader = $1 THEN 0 ELSE 1 END \
                    WHERE leader = $1 OR lease < clock_timestamp()";
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&self.node.as_slice(), &LEASE.as_secs_f64()];
        let taken = client.execute(take, &parameters).await.map_err(|e| failed(&e))? == 1;
        if taken && !ours {
            tracing::info!("this node leads the message log: it time-stamps, makes checkpoints and archives");
        }
        // A lease that was over in between ends what was begun under it, though nobody else took it.
        if ours && head.vacant {
            self.state.lead(false);
        }
        if taken {
            self.state.lead_until(asked + LEASE);
        } else {
            self.state.lead(false);
        }
        Ok(())
    }

    /// Lets another node lead at once.
    async fn resign(&mut self) {
        let resign = async {
            let client = self.connected().await?;
            let query = "UPDATE passerelle_log.head SET lease = '-infinity' WHERE leader = $1";
            client.execute(query, &[&self.node.as_slice()]).await.map_err(|e| failed(&e))
        };
        if !matches!(tokio::time::timeout(PAUSE, resign).await, Ok(Ok(_))) {
            tracing::debug!("the lead of the message log was not given back; it ends by itself");
        }
    }

    /// Notes what other nodes have written, and whether PostgreSQL can be reached. Renews the lead.
    async fn look(&mut self) {
        let looked = tokio::time::timeout(PATIENCE, async {
            let client = self.connected().await?;
            let found = head(&client, "").await?;
            let head = self.believed(found)?;
            self.lead(&head).await?;
            Ok::<_, LogError>(head)
        });
        let error = match looked.await {
            Ok(Ok(head)) => {
                self.state.reached(&head.tree);
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("PostgreSQL does not answer".to_owned()),
        };
        if error.is_some() {
            self.client = None;
            self.state.lead(false);
        }
        self.state.reachable(error);
    }

    async fn connected(&mut self) -> Result<Arc<Client>, LogError> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => Arc::new(connect(&self.server, Purpose::Writing).await?),
        };
        self.client = Some(Arc::clone(&client));
        Ok(client)
    }

    /// A head row that is this log's, and not shorter than what has been seen: otherwise the log stops.
    fn believed(&mut self, head: Head) -> Result<Head, LogError> {
        let seen = self.state.tree.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let error = if head.log != self.log {
            LogError::Missing("the database that is reached now".to_owned())
        } else if head.tree.size() < seen.size() {
            LogError::CutOff { expected: seen.size(), found: head.tree.size() }
        } else if head.tree.size() == seen.size() && head.tree != seen {
            LogError::Index("the tree in PostgreSQL is another than it was".to_owned())
        } else {
            if head.erased != self.erased {
                self.vault.forget_keys();
                self.erased = head.erased;
            }
            return Ok(head);
        };
        tracing::error!(%error, "the message log stops");
        let _ = self.state.stopped.set(error.to_string());
        Err(error)
    }
}

/// Numbers the records behind the head and writes them, with the new head. The name of the batch `before` goes: nobody
/// will ask for it again.
async fn insert(
    client: &Client,
    head: &mut Head,
    batch: &[Entry],
    name: &[u8; 16],
    before: Option<&[u8; 16]>,
) -> Result<Vec<Receipt>, LogError> {
    let first = head.tree.size();
    let mut rows = Rows::default();
    let mut receipts = Vec::with_capacity(batch.len());
    for (sequence, entry) in (first..).zip(batch) {
        let frame_head = FrameHead { kind: entry.kind, sequence, time: entry.time }.encode();
        let frame = [frame_head.as_slice(), &entry.fields].concat();
        let leaf = tree::leaf_hash(&[&frame]);
        head.tree.push(leaf);
        receipts.push(Receipt { sequence, leaf });
        rows.add(sequence, (entry.kind, entry.time), &entry.facts, &entry.blobs, frame, leaf);
    }
    rows.insert(client).await.map_err(|e| failed(&e))?;
    for (sequence, entry) in (first..).zip(batch).filter(|(_, entry)| !entry.removes.is_empty()) {
        removing::empty(client, sequence, &entry.removes).await?;
    }
    let named = "WITH before AS (DELETE FROM passerelle_log.batch WHERE id = $3) \
                 INSERT INTO passerelle_log.batch (id, first) VALUES ($1, $2)";
    let before = before.map(<[u8; 16]>::as_slice);
    client.execute(named, &[&name.as_slice(), &bigint(first), &before]).await.map_err(|e| failed(&e))?;
    let moved = "UPDATE passerelle_log.head SET size = $1, edge = $2";
    let edge = head.tree.edge().concat();
    client.execute(moved, &[&bigint(head.tree.size()), &edge]).await.map_err(|e| failed(&e))?;
    Ok(receipts)
}

/// The receipts of a batch that was committed before.
async fn committed(client: &Client, first: u64, count: usize) -> Result<Vec<Receipt>, LogError> {
    let end = first.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    let query = "SELECT sequence, leaf FROM passerelle_log.record \
                 WHERE sequence >= $1 AND sequence < $2 ORDER BY sequence";
    let rows = client.query(query, &[&bigint(first), &bigint(end)]).await.map_err(|e| failed(&e))?;
    let unreadable = || LogError::Index("a batch in PostgreSQL is not what was written".to_owned());
    let one = |row| {
        let leaf = column::<&[u8]>(row, 1)?.try_into().map_err(|_| unreadable())?;
        Ok(Receipt { sequence: number(row, 0)?, leaf })
    };
    let receipts = rows.iter().map(one).collect::<Result<Vec<_>, LogError>>()?;
    if receipts.len() == count { Ok(receipts) } else { Err(unreadable()) }
}
