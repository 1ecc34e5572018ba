//! A log, moved from files to tables or back: identity, numbers, frames, tree, bodies and wrapped keys stay what they
//! are, so that every proof, receipt and checkpoint of before still holds.
//!
//! ```text
//! the source, locked ──► judged ──► copied ──► the copy, judged: the same tree ──► opened ──► the source, closed
//! ```
//! Until the copy is opened no gateway takes it for a log, and a move that was broken off begins anew. The source is
//! never changed but for being closed at the end; one that was broken off between opening and closing is closed by the
//! next try.
//!
//! Not here: the bytes of files (`files`), tables (`postgres`).

mod files;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use cert_authority::clock::Clock;

use super::{
    audit::{Source, audit, audit_tables},
    beside::{Beside, Folder},
    cleaned::{Content, Entry},
    disk::{self, Disk, SystemDisk},
    error::{Finding, Flaw, LogError},
    frame::Frame,
    index::Facts,
    key,
    lock::Lock,
    postgres::{self, Database, Giving, Held, Link, Receiving, Snapshot, TableRow},
    record::{Place, Stored},
    segment,
    service::{Config, MessageLog, read_identity},
    tree::{self, Hash, Tree},
    verify::{Verdict, stored},
};
use files::Filling;

/// Bytes of a large body that are copied at once.
const PIECE: u64 = 1 << 20;

/// Why a log is not moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// The log cannot be read or written; among others [`LogError::Locked`] while a gateway runs, and
    /// [`LogError::NotEmpty`] where there is something already.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The source is not what was written: see `log verify`.
    #[error("the log does not verify, and stays where it is: {0}")]
    Damaged(Finding),
    /// What was copied is not what was read.
    #[error("the copy is not the log that was read, and is not used")]
    Different,
}

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// How many records.
    pub records: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// Told the number of each record that is copied.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// Moves the log in the directory of these settings to their database. No gateway may be running.
///
/// # Errors
/// [`MigrateError`]: then it is where it was.
pub fn to_postgres(
    config: &Config,
    database: &Database,
    clock: &Arc<dyn Clock>,
    progress: Progress<'_>,
) -> Result<Moved, MigrateError> {
    let directory = config.directory.as_path();
    // As at the start of a gateway: what the last write has left unfinished is cut off, and the key must be there.
    drop(MessageLog::open(Config { postgres: None, ..config.clone() }, Arc::clone(clock))?);
    let _lock = Lock::take(directory)?;
    let (id, server) = (read_identity(directory)?, database.server()?);
    let source = judged(audit(directory, &mut ()))?;
    if is_there(directory, database, &source) {
        close_files(directory)?;
        return Ok(moved(&source));
    }
    let proof = key::proof_of_kek(&config.key_file, &id)?;
    let mut target = Tables {
        beside: Arc::new(Link::new(server.clone())?),
        rows: Receiving::begin(server.clone(), id, proof)?,
    };
    let records = files::records(directory, id)?;
    let from = Folder::new(directory, Arc::new(SystemDisk));
    let tree = copy(records, &from, &mut target, directory, progress)?;
    target.rows.complete(&tree)?;
    let copied = judged(audit_tables(id, server, postgres::COPYING, None, &|_, _| None, &mut ()))?;
    same(&source, &copied)?;
    target.rows.open()?;
    close_files(directory)?;
    Ok(moved(&source))
}

/// Moves the log in the database of these settings to their directory. No gateway may be running.
///
/// # Errors
/// [`MigrateError`]: then it is where it was.
pub fn to_files(
    config: &Config,
    database: &Database,
    clock: &Arc<dyn Clock>,
    progress: Progress<'_>,
) -> Result<Moved, MigrateError> {
    let directory = config.directory.as_path();
    let failed = |e: std::io::Error| LogError::io("the directory of the log cannot be made", &e);
    disk::make_dir(&SystemDisk, directory).map_err(failed)?;
    let _lock = Lock::take(directory)?;
    let server = database.server()?;
    let giving = Giving::begin(server.clone())?;
    let id = giving.head.log;
    match read_identity(directory) {
        Err(LogError::Missing(_)) => {}
        Ok(found) if found == id => {}
        _ => return Err(LogError::NotEmpty(directory.display().to_string()).into()),
    }
    key::check_kek(&config.key_file, &id, &giving.head.kek)?;
    let source = judged(audit_tables(id, server.clone(), postgres::FORMAT, None, &|_, _| None, &mut ()))?;
    if segment::directory(directory).exists() {
        let there = audit(Source::Files(directory), &mut ())?;
        if same(&source, &there).is_err() {
            return Err(LogError::NotEmpty(directory.display().to_string()).into());
        }
        giving.close()?;
        return Ok(moved(&source));
    }
    let mut target = Filling::begin(directory, id, config.segment_size, clock.now())?;
    let (snapshot, _) = Snapshot::begin(server.clone(), postgres::FORMAT)?;
    let records = snapshot.flat_map(|page| match page {
        Ok(rows) => rows.into_iter().map(of_row).collect(),
        Err(error) => vec![Err(error)],
    });
    let from = Arc::new(Link::new(server)?);
    copy(records, &from, &mut target, directory, progress)?;
    let staged = target.complete()?;
    let copied = judged(audit(&staged.directory(), &mut ()))?;
    same(&source, &copied)?;
    staged.open()?;
    giving.close()?;
    Ok(moved(&source))
}

/// The tables as a target.
struct Tables {
    beside: Arc<Link>,
    rows: Receiving,
}

/// Where records are copied to.
trait Target {
    /// Where their keys and large bodies go.
    fn beside(&self) -> &dyn Beside;

    /// Takes the next record; its frame was read, if it was not removed.
    fn add(&mut self, sequence: u64, entry: Entry, frame: Option<Frame>) -> Result<(), LogError>;
}

impl Target for Tables {
    fn beside(&self) -> &dyn Beside {
        &self.beside
    }

    fn add(&mut self, sequence: u64, entry: Entry, frame: Option<Frame>) -> Result<(), LogError> {
        let said = frame.map(|frame| (frame.head.kind, frame.head.time, Facts::of(&frame.record)));
        self.rows.add(Held { sequence, entry, said })
    }
}

/// A row as it is copied.
fn of_row(row: TableRow) -> Result<Entry, LogError> {
    let damaged = || damaged(row.number, Flaw::Hash);
    let leaf = row.leaf.ok_or_else(damaged)?;
    let content = row.searched.noted().map_or(Content::Frame(row.frame), Content::Removed);
    let blobs = match content {
        Content::Frame(_) => row.blobs,
        Content::Removed(_) => Vec::new(),
    };
    let blobs = blobs.into_iter().map(|(hash, blob)| Ok((hash.ok_or_else(damaged)?, blob)));
    Ok(Entry { leaf, blobs: blobs.collect::<Result<_, LogError>>()?, content })
}

/// Copies the keys, the records and their bodies. Gives the tree over the records.
fn copy(
    records: impl Iterator<Item = Result<Entry, LogError>>,
    from: &dyn Beside,
    to: &mut dyn Target,
    scratch: &Path,
    progress: Progress<'_>,
) -> Result<Tree, LogError> {
    let keys = from.keys()?;
    for id in &keys {
        if let Some(wrapped) = from.key(id)? {
            to.beside().add_key(id, &wrapped)?;
        }
    }
    let mut tree = Tree::EMPTY;
    for entry in records {
        let (entry, sequence) = (entry?, tree.size());
        let frame = match &entry.content {
            Content::Frame(bytes) => Some(read(sequence, bytes, &entry.leaf)?),
            Content::Removed(_) => None,
        };
        let large = frame.iter().flat_map(|frame| stored(&frame.record));
        for body in large.filter(|body| body.place == Place::File && keys.contains(&body.key)) {
            copy_body(body, from, to.beside(), scratch)?;
        }
        tree.push(entry.leaf);
        to.add(sequence, entry, frame)?;
        progress(sequence);
    }
    Ok(tree)
}

/// Reads a frame, which must be the one of this number and leaf.
fn read(sequence: u64, bytes: &Bytes, leaf: &Hash) -> Result<Frame, LogError> {
    let frame = Frame::decode(bytes).map_err(|flaw| damaged(sequence, flaw))?;
    let same = frame.head.sequence == sequence && tree::leaf_hash(&[bytes]) == *leaf;
    if same { Ok(frame) } else { Err(damaged(sequence, Flaw::Hash)) }
}

/// Copies a large body, through a file without a name.
fn copy_body(body: &Stored, from: &dyn Beside, to: &dyn Beside, scratch: &Path) -> Result<(), LogError> {
    let failed = |e: std::io::Error| LogError::io("a body cannot be copied", &e);
    let source = from.open(&body.key, &body.ciphertext)?;
    let file = SystemDisk.temporary(scratch).map_err(failed)?;
    let mut offset = 0;
    while offset < body.length {
        let length = PIECE.min(body.length.saturating_sub(offset));
        let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
        source.read_exact_at(&mut piece, offset)?;
        disk::write_all(&SystemDisk, &file, &piece, offset).map_err(failed)?;
        offset = offset.saturating_add(length);
    }
    to.keep(&body.key, &body.ciphertext, &file, body.length)
}

/// The verdict over a log in which nothing is wrong.
fn judged(verdict: Result<Verdict, LogError>) -> Result<Verdict, MigrateError> {
    let verdict = verdict?;
    match verdict.findings.first() {
        Some(finding) => Err(MigrateError::Damaged(finding.clone())),
        None => Ok(verdict),
    }
}

fn same(source: &Verdict, copy: &Verdict) -> Result<(), MigrateError> {
    let what = |verdict: &Verdict| (verdict.records, verdict.removed, verdict.root);
    if what(source) == what(copy) { Ok(()) } else { Err(MigrateError::Different) }
}

fn moved(verdict: &Verdict) -> Moved {
    Moved { records: verdict.records, root: verdict.root }
}

/// Whether the whole log is in the database already: only closing the files was broken off.
fn is_there(directory: &Path, database: &Database, source: &Verdict) -> bool {
    let there = audit(Source::Tables(directory, database), &mut ());
    there.is_ok_and(|there| there.findings.is_empty() && same(source, &there).is_ok())
}

/// From now on no gateway opens the files.
fn close_files(directory: &Path) -> Result<(), LogError> {
    let renamed = SystemDisk.rename(&segment::directory(directory), &segment::moved(directory));
    let closed = renamed.and_then(|()| SystemDisk.sync_dir(directory));
    closed.map_err(|e| LogError::io("the segments that were moved cannot be renamed", &e))
}

fn damaged(sequence: u64, flaw: Flaw) -> LogError {
    LogError::Damaged(Finding { segment: 0, offset: sequence, sequence, flaw })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_another_log_or_lacks_more_of_it_is_not_used() {
        let verdict = Verdict { records: 5, removed: 1, root: [0; 32], findings: Vec::new() };
        assert_eq!(same(&verdict, &verdict), Ok(()));
        let others = [
            Verdict { records: 4, ..verdict.clone() },
            Verdict { removed: 2, ..verdict.clone() },
            Verdict { root: [1; 32], ..verdict.clone() },
        ];
        for other in others {
            assert_eq!(same(&verdict, &other), Err(MigrateError::Different));
        }
    }
}
