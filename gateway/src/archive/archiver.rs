//! Archives what is time-stamped: builds, announces, puts in place, notes ([`super::ledger`] tells why in this order).
//!
//! A round takes the messages below the first one without a time-stamp, sorts them by group, and makes of each group
//! as many archives as the limit of their length wants. Memory: the numbers of a round, and the names in one archive.
//!
//! Not here: when it runs.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Seek, Write},
    sync::Arc,
};

use cert_authority::{algorithm::DigestAlgorithm, crypto::Digest};

use super::{
    encryption::Recipients,
    ledger::Ledger,
    linking::Link,
    target::{self, Parcel, Target, TargetError},
    write::{ALGORITHM, ArchiveWriter, Finished, file_name},
};
use crate::messagelog::{
    LogError, LogStore, Record, Role,
    reader::{Reader, StoredRecord},
    record::ArchiveRecord,
};
use crate::metaservice::container::{ContainerError, LoggedContainer};

/// Which messages share a chain of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// All.
    #[default]
    None,
    /// Those of a member.
    Member,
    /// Those of a subsystem.
    Subsystem,
}

impl Grouping {
    /// The group of a message: whose it is on our side.
    fn of(self, record: &StoredRecord) -> Option<String> {
        let message = record.record.message()?;
        let own = match message.role {
            Role::Consumer => &message.client,
            Role::Provider => message.service.client(),
        };
        match self {
            Self::None => None,
            Self::Member => Some(own.member().to_string()),
            Self::Subsystem => Some(own.to_string()),
        }
    }
}

/// Settings of archiving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which messages share a chain.
    pub grouping: Grouping,
    /// An archive longer than this gets no more containers.
    pub rotate_at: u64,
    /// How many records are looked at in a round.
    pub round: u64,
    /// Who can read the archives; none: everybody.
    pub recipients: Option<Recipients>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { grouping: Grouping::None, rotate_at: 32 << 20, round: 100_000, recipients: None }
    }
}

/// What a run has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The archives that are in their place now.
    pub files: Vec<String>,
    /// How many messages are in them.
    pub messages: usize,
    /// Messages that cannot be archived because they are damaged. They are tried again in each run.
    pub damaged: Vec<u64>,
}

/// Why a run has ended early. What was done stays done; the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum ArchivingError {
    /// The log cannot be read or written.
    #[error("message log: {0}")]
    Log(#[from] LogError),
    /// The place of the archives.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// An archive cannot be made.
    #[error("an archive cannot be made: {0}")]
    Build(io::Error),
}

impl From<io::Error> for ArchivingError {
    /// It is made where it is to lie: when nothing can be written there, that is what is wrong.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Target(error.into())
            }
            _ => Self::Build(error),
        }
    }
}

/// Archives a log. One at a time for each log.
pub struct Archiver<L> {
    log: L,
    reader: Reader,
    target: Arc<dyn Target>,
    settings: Settings,
    ledger: Ledger,
}

/// An archive that waits to be put into its place.
struct Built {
    file: File,
    parcel: Parcel,
    finished: Finished,
    records: Vec<u64>,
    damaged: Vec<u64>,
}

/// Messages of a round that are still to be archived.
struct Round {
    groups: BTreeMap<Option<String>, Vec<u64>>,
    damaged: Vec<u64>,
    end: u64,
}

impl<L: LogStore> Archiver<L> {
    /// Archives of `log`, which `reader` reads, go to `target`.
    pub fn new(log: L, reader: Reader, target: Arc<dyn Target>, settings: Settings) -> Self {
        Self { log, reader, target, settings, ledger: Ledger::default() }
    }

    /// What is archived, as far as the last run has looked.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Archives all that can be.
    ///
    /// # Errors
    /// [`ArchivingError`].
    pub async fn run(&mut self) -> Result<Summary, ArchivingError> {
        let mut summary = Summary::default();
        let target = Arc::clone(&self.target);
        blocking(move || target.check()).await??;
        self.refresh().await?;
        self.resume().await?;
        let mut start = self.ledger.complete_below();
        loop {
            let Round { groups, damaged, end } = self.round(start).await?;
            summary.damaged.extend(damaged);
            let mut groups = groups.into_iter().peekable();
            while let Some((group, mut waiting)) = groups.next() {
                while !waiting.is_empty() {
                    let previous = self.ledger.head(group.as_deref()).cloned();
                    let (built, rest) = self.build(group.clone(), previous.clone(), waiting).await?;
                    waiting = rest;
                    let Some(built) = built else { continue };
                    summary.damaged.extend(&built.damaged);
                    summary.messages += built.records.len();
                    // With the last one of a round all is archived that it has looked at, and need not be looked at again.
                    let all = waiting.is_empty() && groups.peek().is_none();
                    let below = summary.damaged.iter().copied().fold(if all { end } else { start }, u64::min);
                    summary.files.push(self.place(group.clone(), previous, built, below).await?);
                }
            }
            if end == start {
                summary.damaged.sort_unstable();
                summary.damaged.dedup();
                return Ok(summary);
            }
            start = end;
        }
    }

    /// The log.
    pub const fn log(&self) -> &L {
        &self.log
    }

    async fn refresh(&mut self) -> Result<(), ArchivingError> {
        let (mut ledger, reader) = (std::mem::take(&mut self.ledger), self.reader.clone());
        let (ledger, done) = blocking(move || {
            let done = ledger.refresh(&reader);
            (ledger, done)
        })
        .await?;
        self.ledger = ledger;
        Ok(done?)
    }

    /// What was announced and is in its place is noted; the rest is as if it had never been.
    async fn resume(&mut self) -> Result<(), ArchivingError> {
        let announced: Vec<_> =
            self.ledger.announced().map(|(number, archive)| (number, archive.clone())).collect();
        for (number, archive) in announced {
            // An earlier one of these may have settled this one too.
            if !self.ledger.announced().any(|(other, _)| other == number) {
                continue;
            }
            let parcel = Parcel { name: archive.file.clone(), length: archive.length, hash: archive.hash };
            let target = Arc::clone(&self.target);
            if blocking(move || target.holds(&parcel)).await?? {
                tracing::info!(file = %archive.file, "an archive is in its place, and is noted now");
                self.note(ArchiveRecord { begun: Some(number), ..archive }).await?;
            }
        }
        Ok(())
    }

    /// The messages from `start` on that have a time-stamp and are not archived.
    async fn round(&self, start: u64) -> Result<Round, ArchivingError> {
        let (reader, grouping, most) = (self.reader.clone(), self.settings.grouping, self.settings.round);
        let found = blocking(move || -> Result<_, LogError> {
            let stamped = reader.unstamped(1)?.and_then(|waiting| Some(waiting.covered.first()?.0));
            let end = stamped.unwrap_or_else(|| reader.len()).min(start.saturating_add(most)).max(start);
            let mut messages = Vec::new();
            let mut damaged = Vec::new();
            for (number, found) in reader.each_of(start..end) {
                match found {
                    Ok(Some(record)) if record.record.kind().is_message() => {
                        messages.push((number, grouping.of(&record)));
                    }
                    Err(LogError::Damaged { .. }) => damaged.push(number),
                    Err(LogError::Removed { .. }) => {}
                    other => drop(other?),
                }
            }
            Ok((messages, damaged, end))
        });
        let (messages, damaged, end) = found.await??;
        let mut groups: BTreeMap<Option<String>, Vec<u64>> = BTreeMap::new();
        for (number, group) in messages {
            if !self.ledger.holds(number) {
                groups.entry(group).or_default().push(number);
            }
        }
        Ok(Round { groups, damaged, end })
    }

    /// Makes one archive of the first of these messages; gives it, and those that found no room in it.
    async fn build(
        &self,
        group: Option<String>,
        previous: Option<Link>,
        waiting: Vec<u64>,
    ) -> Result<(Option<Built>, Vec<u64>), ArchivingError> {
        let (reader, target) = (self.reader.clone(), Arc::clone(&self.target));
        let (rotate_at, recipients) = (self.settings.rotate_at, self.settings.recipients.clone());
        let extension =
            if recipients.is_some() { format!("zip{}", target::SEALED) } else { "zip".to_owned() };
        blocking(move || {
            let mut damaged = Vec::new();
            loop {
                let file = target.temporary()?;
                let waiting = Waiting { records: &waiting, without: &damaged, rotate_at };
                let filled = match &recipients {
                    None => {
                        let archive = ArchiveWriter::new(BufWriter::new(file), previous.clone());
                        fill(&reader, archive, &waiting)?.ended(Ok)
                    }
                    Some(recipients) => {
                        let archive = ArchiveWriter::streamed(recipients.encrypt(file)?, previous.clone());
                        fill(&reader, archive, &waiting)?.ended(|stream| stream.into_inner().finish())
                    }
                };
                match filled? {
                    Filled::Damaged(number) => damaged.push(number),
                    Filled::Done { made, records, rest } => {
                        let Some((mut file, finished)) = made else { return Ok((None, rest)) };
                        let (hash, length) = target::hash(&mut file)?;
                        let name = file_name(group.as_deref(), &finished, &extension);
                        let parcel = Parcel { name, length, hash };
                        return Ok((Some(Built { file, parcel, finished, records, damaged }), rest));
                    }
                }
            }
        })
        .await?
    }

    async fn place(
        &mut self,
        group: Option<String>,
        previous: Option<Link>,
        built: Built,
        complete_below: u64,
    ) -> Result<String, ArchivingError> {
        let Built { mut file, parcel, finished, records, .. } = built;
        let name = parcel.name.clone();
        let archive = ArchiveRecord {
            file: name.clone(),
            group,
            begun: None,
            previous: previous
                .map(|link| Ok::<_, LogError>((link.file, chain_digest(&link.digest)?)))
                .transpose()?,
            digest: chain_digest(&finished.digest)?,
            hash: parcel.hash,
            length: parcel.length,
            complete_below,
            records,
        };
        let receipt = self.log.append(Record::Archive(archive.clone()), Vec::new()).await?;
        let target = Arc::clone(&self.target);
        blocking(move || target.put(&parcel, &mut file)).await??;
        self.note(ArchiveRecord { begun: Some(receipt.sequence), ..archive }).await?;
        tracing::info!(file = %name, "archived");
        Ok(name)
    }

    async fn note(&mut self, archive: ArchiveRecord) -> Result<(), ArchivingError> {
        self.log.append(Record::Archive(archive), Vec::new()).await?;
        self.refresh().await
    }
}

/// What is to go into an archive.
struct Waiting<'a> {
    records: &'a [u64],
    /// But these.
    without: &'a [u64],
    rotate_at: u64,
}

enum Filled<W> {
    /// This message is not what was logged; the archive is to be made without it.
    Damaged(u64),
    /// The archive, unless nothing was left to go into it; what is in it; what found no room.
    Done { made: Option<(W, Finished)>, records: Vec<u64>, rest: Vec<u64> },
}

impl<W> Filled<W> {
    /// With the file itself, once `end` has ended what lies between.
    fn ended(self, end: impl FnOnce(W) -> io::Result<BufWriter<File>>) -> io::Result<Filled<File>> {
        Ok(match self {
            Self::Damaged(number) => Filled::Damaged(number),
            Self::Done { made, records, rest } => {
                let file = |out| end(out)?.into_inner().map_err(io::IntoInnerError::into_error);
                let made = made.map(|(out, finished)| file(out).map(|file| (file, finished))).transpose()?;
                Filled::Done { made, records, rest }
            }
        })
    }
}

fn fill<W: Write + Seek>(
    reader: &Reader,
    mut archive: ArchiveWriter<W>,
    waiting: &Waiting<'_>,
) -> Result<Filled<W>, ArchivingError> {
    let mut records = Vec::new();
    let numbers = waiting.records.iter().filter(|number| !waiting.without.contains(number));
    let mut rest = Vec::new();
    for (number, container) in LoggedContainer::each(reader, numbers.copied()) {
        let container = match container {
            Ok(container) => container,
            // Its key was destroyed before it could be archived: there is nothing that could be.
            Err(ContainerError::MessageGone(_) | ContainerError::NoMessage(_)) => continue,
            Err(ContainerError::Log(LogError::Damaged { .. } | LogError::Body(_))) => {
                return Ok(damaged(number));
            }
            Err(error @ ContainerError::NotStamped(_)) => {
                return Err(LogError::Index(error.to_string()).into());
            }
            Err(ContainerError::Log(error)) => return Err(error.into()),
        };
        match archive.add(&container) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(damaged(number)),
            added => added?,
        }
        records.push(number);
        if archive.length() > waiting.rotate_at {
            rest.extend(waiting.records.iter().filter(|later| **later > number));
            break;
        }
    }
    Ok(Filled::Done { made: archive.finish()?, records, rest })
}

fn damaged<W>(number: u64) -> Filled<W> {
    tracing::error!(record = number, "a message is damaged and cannot be archived");
    Filled::Damaged(number)
}

fn chain_digest(hex: &str) -> Result<Digest, LogError> {
    let bytes = hex::decode(hex).ok();
    let algorithm: DigestAlgorithm = ALGORITHM;
    bytes
        .and_then(|bytes| Digest::from_computed(algorithm, &bytes))
        .ok_or(LogError::Record("the digest of an archive is none"))
}

/// Runs what blocks beside the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ArchivingError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ArchivingError::Build(io::Error::other(error)))
}
