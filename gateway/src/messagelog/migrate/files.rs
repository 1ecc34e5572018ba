//! Segment files as the place that a log is moved to or from.
//!
//! ```text
//! <log>/migrating/{identity,segments,keys,bodies}   the copy, until it is judged; then each is renamed into its place,
//!                                                   the segments last: without them a directory is no log in files
//! ```
//! The segments are written by the same writer that a gateway has.

use std::{
    collections::VecDeque,
    fs::File,
    io, iter,
    path::{Path, PathBuf},
    sync::{Arc, mpsc as std_mpsc},
    thread::JoinHandle,
};

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{
        append::Receipt,
        beside::{Beside, Folder},
        disk::{self, Disk, SystemDisk},
        error::{Flaw, LogError},
        frame::{ChunkType, FRAME_HEAD, Frame, SegmentHeader},
        index::Facts,
        pieces::{Chunk, Piece, Pieces},
        segment::{self, FIRST_CHUNK},
        service::{read_identity, write_identity},
        tree::{Hash, Tree},
        writer::{Batch, Entry, State, Writer},
    },
    Copied, Target, damaged,
};

const STAGING: &str = "migrating";
/// Records that wait for the disk.
const WAITING: usize = 1024;

/// The records in the segments of a log, which have been judged.
pub(super) fn records(
    directory: &Path,
    id: [u8; 16],
) -> Result<impl Iterator<Item = Result<Copied, LogError>>, LogError> {
    let segments = segment::list(directory)?;
    let last = segments.last().copied();
    let directory = directory.to_path_buf();
    let pieces = segments.into_iter().flat_map(move |number| -> Box<dyn Iterator<Item = _>> {
        match File::open(segment::path(&directory, number)) {
            Ok(file) => Box::new(Pieces::new(id, number, Some(number) == last, file)),
            Err(error) => Box::new(iter::once(Err(error))),
        }
    });
    let mut blobs = Vec::new();
    Ok(pieces.flat_map(move |piece| match piece {
        Ok(Piece::Chunks { chunks, .. }) => {
            chunks.into_iter().filter_map(|chunk| record(chunk, &mut blobs)).collect()
        }
        Ok(_) => Vec::new(),
        Err(error) => vec![Err(LogError::io("a segment cannot be read", &error))],
    }))
}

/// The record that ends with this chunk, if one does.
fn record(chunk: Chunk, blobs: &mut Vec<(Hash, Bytes)>) -> Option<Result<Copied, LogError>> {
    let (head, content) = chunk.into_parts();
    match head.kind {
        ChunkType::Blob => {
            blobs.push((head.hash, content));
            None
        }
        ChunkType::Frame => {
            Some(Ok(Copied { frame: content, leaf: head.hash, blobs: std::mem::take(blobs) }))
        }
        ChunkType::Note | ChunkType::Removed => Some(Err(damaged(0, Flaw::Removed))),
    }
}

/// A log in files while it is moved there.
pub(super) struct Filling {
    log: PathBuf,
    beside: Folder,
    queue: mpsc::Sender<Entry>,
    writer: JoinHandle<()>,
    /// What is to be answered, and what the answer must be.
    waiting: VecDeque<(oneshot::Receiver<Result<Receipt, LogError>>, Receipt)>,
}

/// The copy, whole, but not in its place.
pub(super) struct Staged {
    log: PathBuf,
}

impl Filling {
    /// Begins. What a move that was broken off has left there is removed.
    pub(super) fn begin(
        log: &Path,
        id: [u8; 16],
        segment_size: u64,
        now: UnixTime,
    ) -> Result<Self, LogError> {
        let failed = |e: io::Error| LogError::io("the files of the log cannot be made", &e);
        let system: Arc<dyn Disk> = Arc::new(SystemDisk);
        let staging = log.join(STAGING);
        disk::gone(system.remove_dir(&staging)).map_err(failed)?;
        for name in ["segments", "bodies", "keys"] {
            disk::make_dir(&*system, &staging.join(name)).map_err(failed)?;
        }
        write_identity(&*system, &staging, &id, now)?;
        let tree = Tree::default();
        let header =
            SegmentHeader { log: id, number: 1, created: now, previous: [0; 32], tree: tree.clone() };
        let writer = Writer {
            segment: segment::create(&*system, &staging, header, segment_size)?,
            disk: Arc::clone(&system),
            log: staging.clone(),
            segment_size,
            end: FIRST_CHUNK,
            tree,
            state: Arc::new(State::default()),
            // A log that is opened builds its index.
            index: std_mpsc::channel().0,
            batch: Batch::default(),
        };
        let (queue, entries) = mpsc::channel(WAITING);
        let writer =
            std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || writer.run(entries));
        let (log, beside) = (log.to_path_buf(), Folder::new(&staging, system));
        Ok(Self { log, beside, queue, writer: writer.map_err(failed)?, waiting: VecDeque::new() })
    }

    /// Waits until all is durable.
    pub(super) fn complete(mut self) -> Result<Staged, LogError> {
        while let Some((answer, expected)) = self.waiting.pop_front() {
            check(answer, &expected)?;
        }
        drop(self.queue);
        self.writer.join().map_err(|_| LogError::Stopped("the writer has ended".to_owned()))?;
        Ok(Staged { log: self.log })
    }
}

impl Target for Filling {
    fn beside(&self) -> &dyn Beside {
        &self.beside
    }

    fn add(&mut self, copied: Copied, frame: Frame) -> Result<(), LogError> {
        let (reply, answer) = oneshot::channel();
        let (kind, time) = (frame.head.kind, frame.head.time);
        let fields = copied.frame.get(FRAME_HEAD..).unwrap_or_default().to_vec();
        let entry = Entry { kind, time, fields, blobs: copied.blobs, facts: Facts::of(&frame.record), reply };
        let ended = |_| LogError::Stopped("the writer has ended".to_owned());
        self.queue.blocking_send(entry).map_err(ended)?;
        self.waiting.push_back((answer, Receipt { sequence: frame.head.sequence, leaf: copied.leaf }));
        if self.waiting.len() > WAITING
            && let Some((answer, expected)) = self.waiting.pop_front()
        {
            check(answer, &expected)?;
        }
        Ok(())
    }
}

/// The record must have become what it was: the same number, the same bytes.
fn check(answer: oneshot::Receiver<Result<Receipt, LogError>>, expected: &Receipt) -> Result<(), LogError> {
    let ended = |_| LogError::Stopped("the writer has ended".to_owned());
    let receipt = answer.blocking_recv().map_err(ended)??;
    if receipt == *expected { Ok(()) } else { Err(damaged(expected.sequence, Flaw::Sequence)) }
}

impl Staged {
    /// Where it lies.
    pub(super) fn directory(&self) -> PathBuf {
        self.log.join(STAGING)
    }

    /// Puts it into its place.
    pub(super) fn open(self) -> Result<(), LogError> {
        let failed = |e: io::Error| LogError::io("the files of the log cannot be put into their place", &e);
        let (log, staging) = (&self.log, self.directory());
        // The index of an earlier life of the log knows other places.
        disk::gone(SystemDisk.remove_dir(&log.join("index"))).map_err(failed)?;
        for name in ["keys", "bodies"] {
            disk::gone(SystemDisk.remove_dir(&log.join(name))).map_err(failed)?;
            SystemDisk.rename(&staging.join(name), &log.join(name)).map_err(failed)?;
        }
        if read_identity(log).is_err() {
            SystemDisk.rename(&staging.join("identity"), &log.join("identity")).map_err(failed)?;
        }
        SystemDisk.sync_dir(log).map_err(failed)?;
        SystemDisk.rename(&segment::directory(&staging), &segment::directory(log)).map_err(failed)?;
        SystemDisk.sync_dir(log).map_err(failed)?;
        disk::gone(SystemDisk.remove_dir(&staging)).map_err(failed)
    }
}
