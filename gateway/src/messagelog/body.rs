//! Bodies, in flight and at rest the same thing: encrypted from the first byte, small ones in memory, large ones in a
//! file without a name, until a record names them.
//!
//! ```text
//! sealed body   version 1 (1)  salt (16)  frame  frame  ...  last frame
//! frame         AES-256-GCM of 65,536 bytes (the last: 0 to 65,536), tag (16)
//! nonce         number of the frame (8, big-endian)  0 0 0  last frame: 1, else 0
//! key           first 32 bytes of SHA-512("passerelle body key 1", data key, salt)
//! ```
//! Not here: data keys (`key`), records.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf as _, Bytes, BytesMut};
use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::Clock,
    crypto::{self, Hasher, aead},
};
use conf::identifier::ClientId;
use futures_util::{Stream, stream};

use super::{
    beside::ReadAt,
    disk::{self, Disk, Work},
    error::LogError,
    key::{DataKey, KeyGrouping, KeyRing},
    record::{Place, Stored},
    tree::{self, Hash},
};

/// Plain text of a frame.
const FRAME: usize = 64 << 10;
const SEALED_FRAME: usize = FRAME + aead::TAG_LEN;
const SALT: usize = 16;
const VERSION: u8 = 1;
const HEAD: usize = 1 + SALT;
/// A sealed body longer than this goes to a file.
const IN_MEMORY: usize = HEAD + SEALED_FRAME;
/// How many frames are read or written at once.
const FRAMES_AT_ONCE: usize = 4;

/// Seals bodies and opens them again. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    shared: Arc<Shared>,
    /// The mark of whose bodies are sealed, in the ids of the keys.
    owner: Option<Arc<str>>,
    /// The key that bodies are sealed with; none: that of the day.
    key: Option<Arc<DataKey>>,
}

struct Shared {
    keys: KeyRing,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    grouping: KeyGrouping,
    quota: u64,
    in_flight: Arc<AtomicU64>,
}

impl Vault {
    /// A vault whose files lie in `directory`; `quota` bounds what is in flight, in memory and in files together.
    pub(crate) fn new(
        keys: KeyRing,
        directory: PathBuf,
        grouping: KeyGrouping,
        quota: u64,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
    ) -> Self {
        let shared = Shared { keys, clock, disk, directory, grouping, quota, in_flight: Arc::default() };
        Self { shared: Arc::new(shared), owner: None, key: None }
    }

    /// The same vault for the bodies of this owner: sealed with keys that can be destroyed for it alone, if that is
    /// wanted.
    #[must_use]
    pub fn of(&self, owner: &ClientId) -> Self {
        let owner = self.shared.grouping.mark(owner).map(Arc::from);
        Self { shared: Arc::clone(&self.shared), owner, key: None }
    }

    /// The same, with the key of the day at hand: what is sealed then waits for no store. The first one of a day waits
    /// for its key here, and keeps nobody else from working.
    ///
    /// # Errors
    /// [`LogError::Key`] and what making the key of a new day can meet.
    pub async fn keyed(&self, owner: &ClientId) -> Result<Self, LogError> {
        let vault = self.of(owner);
        let now = vault.shared.clock.now();
        let key = match vault.shared.keys.at_hand(now, vault.owner.as_deref()) {
            Some(key) => key,
            None => {
                let asked = vault.clone();
                blocking(self.work(), move || asked.shared.keys.current(now, asked.owner.as_deref())).await?
            }
        };
        Ok(Self { key: Some(key), ..vault })
    }

    /// Begins a body.
    ///
    /// # Errors
    /// [`LogError::Key`] and what making the key of a new day can meet.
    pub fn writer(&self) -> Result<BodyWriter, LogError> {
        let key = match &self.key {
            Some(key) => Arc::clone(key),
            None => self.shared.keys.current(self.shared.clock.now(), self.owner.as_deref())?,
        };
        let salt: [u8; SALT] = crypto::random_to_show().map_err(|e| LogError::Key(e.to_string()))?;
        let mut sealed = Vec::with_capacity(1024);
        sealed.push(VERSION);
        sealed.extend_from_slice(&salt);
        Ok(BodyWriter {
            cipher: Cipher { key: key.body_key(&salt)?, frame: 0 },
            vault: self.clone(),
            key,
            plain: Vec::new(),
            sealed,
            hasher: Hasher::new(DigestAlgorithm::Sha256),
            length: 0,
            file: None,
            share: Share { of: Arc::clone(&self.shared.in_flight), bytes: 0 },
        })
    }

    /// Seals what is in memory and small, such as a message part; it stays in memory.
    ///
    /// # Errors
    /// As [`Self::writer`], and [`LogError::Quota`].
    pub fn seal(&self, content: &[u8]) -> Result<SealedBody, LogError> {
        let mut writer = self.writer()?;
        for frame in content.chunks(FRAME) {
            writer.absorb(frame)?;
        }
        writer.seal_frame(true)?;
        writer.hash_pending();
        Ok(writer.into_sealed())
    }

    /// Where work on bodies and keys is done.
    pub(crate) fn work(&self) -> Work {
        self.shared.disk.work()
    }

    /// Bytes of sealed bodies that are in flight.
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Whether another body may begin.
    pub(crate) fn ready(&self) -> Result<(), LogError> {
        if self.in_flight() < self.shared.quota { Ok(()) } else { Err(LogError::Quota(self.shared.quota)) }
    }

    /// Destroys a data key: the bodies sealed with it can never be read again; records, signatures and tree still
    /// verify.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn destroy_key(&self, id: &str) -> Result<(), LogError> {
        self.shared.keys.destroy(id)
    }

    /// Holds no data key any longer: each is asked for again, and found to be destroyed if another node has done that.
    pub(crate) fn forget_keys(&self) {
        self.shared.keys.forget();
    }

    /// The ids of all data keys, and of those of which bodies are left, sorted.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn keys(&self) -> Result<Vec<String>, LogError> {
        self.shared.keys.ids()
    }

    /// Makes the body durable as far as that is not done by the segment, and says where it will lie.
    pub(crate) fn keep(&self, body: &SealedBody) -> Result<Stored, LogError> {
        let place = match &body.0.content {
            Content::Memory(_) => Place::Chunk,
            Content::File(file) => {
                let beside = self.shared.keys.beside();
                beside.keep(body.0.key.id(), &body.0.ciphertext, file, body.0.sealed_length)?;
                Place::File
            }
            Content::Kept(_) => Place::File,
        };
        Ok(Stored {
            ciphertext: body.0.ciphertext,
            length: body.0.sealed_length,
            key: body.0.key.id().to_owned(),
            place,
        })
    }

    /// Opens a body that was kept. `chunk` is the blob of one that lies in the segment.
    pub(crate) fn open(
        &self,
        stored: &Stored,
        length: u64,
        chunk: Option<Bytes>,
    ) -> Result<SealedBody, LogError> {
        let key = self.shared.keys.get(&stored.key)?;
        let content = match (stored.place, chunk) {
            (Place::Chunk, Some(chunk)) => Content::Memory(chunk),
            (Place::Chunk, None) => return Err(LogError::Body("it is not in the segment")),
            (Place::File, _) => {
                Content::Kept(self.shared.keys.beside().open(&stored.key, &stored.ciphertext)?)
            }
        };
        Ok(SealedBody(Arc::new(Inner {
            length,
            sealed_length: stored.length,
            ciphertext: stored.ciphertext,
            key,
            content,
            work: self.work(),
            _share: Share { of: Arc::clone(&self.shared.in_flight), bytes: 0 },
        })))
    }
}

/// Whether a key opens a sealed body that is small and whole.
pub(crate) fn opens(key: DataKey, sealed: &Bytes, length: u64) -> bool {
    let body = SealedBody(Arc::new(Inner {
        length,
        sealed_length: u64::try_from(sealed.len()).unwrap_or(u64::MAX),
        ciphertext: Hash::default(),
        key: Arc::new(key),
        content: Content::Memory(sealed.clone()),
        work: Work::Here,
        _share: Share { of: Arc::default(), bytes: 0 },
    }));
    body.read().is_ok()
}

/// Where the file of a kept body lies.
pub(crate) fn body_file(directory: &Path, key: &str, ciphertext: &Hash) -> PathBuf {
    directory.join(key).join(hex::encode(ciphertext))
}

/// A part of the quota, given back when dropped.
#[derive(Debug)]
struct Share {
    of: Arc<AtomicU64>,
    bytes: u64,
}

impl Share {
    fn grow(&mut self, by: usize, quota: u64) -> Result<(), LogError> {
        let by = u64::try_from(by).unwrap_or(u64::MAX);
        let before = self.of.fetch_add(by, Ordering::Relaxed);
        self.bytes = self.bytes.saturating_add(by);
        if before.saturating_add(by) > quota { Err(LogError::Quota(quota)) } else { Ok(()) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Cipher {
    key: aead::Key,
    frame: u64,
}

impl Cipher {
    fn nonce(&mut self, last: bool) -> [u8; aead::NONCE_LEN] {
        let mut nonce = [0; aead::NONCE_LEN];
        nonce.iter_mut().zip(self.frame.to_be_bytes()).for_each(|(to, from)| *to = from);
        if let Some(end) = nonce.last_mut() {
            *end = u8::from(last);
        }
        self.frame += 1;
        nonce
    }
}

/// Takes in the plain text of a body as it flows. After an error, or when a call was not awaited to its end, it can
/// only be dropped.
pub struct BodyWriter {
    vault: Vault,
    key: Arc<DataKey>,
    cipher: Cipher,
    /// The frame that is being filled.
    plain: Vec<u8>,
    /// Sealed, not yet in the file.
    sealed: Vec<u8>,
    hasher: Hasher,
    length: u64,
    /// The file and how much of it is written.
    file: Option<(Arc<File>, u64)>,
    share: Share,
}

impl BodyWriter {
    /// Takes in more of the body. Memory does not grow with what was taken in.
    ///
    /// # Errors
    /// [`LogError::Quota`], [`LogError::NoSpace`], [`LogError::Io`].
    pub async fn write(&mut self, mut data: &[u8]) -> Result<(), LogError> {
        while !data.is_empty() {
            let room = if self.plain.len() == FRAME { FRAME } else { FRAME - self.plain.len() };
            let (now, later) = data.split_at_checked(room).unwrap_or((data, &[]));
            self.absorb(now)?;
            data = later;
            if self.sealed.len() >= FRAMES_AT_ONCE * SEALED_FRAME {
                self.spill().await?;
            }
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn finish(mut self) -> Result<SealedBody, LogError> {
        self.seal_frame(true)?;
        if self.file.is_some() || self.sealed.len() > IN_MEMORY {
            self.spill().await?;
        } else {
            self.hash_pending();
        }
        Ok(self.into_sealed())
    }

    /// Bytes of plain text taken in so far.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Puts at most the rest of a frame into it; a full frame is sealed when it is known not to be the last.
    fn absorb(&mut self, data: &[u8]) -> Result<(), LogError> {
        if self.plain.len() == FRAME {
            self.seal_frame(false)?;
        }
        self.share.grow(data.len(), self.vault.shared.quota)?;
        self.length += u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.plain.extend_from_slice(data);
        Ok(())
    }

    fn seal_frame(&mut self, last: bool) -> Result<(), LogError> {
        let nonce = self.cipher.nonce(last);
        let tag =
            self.cipher.key.seal(nonce, &[], &mut self.plain).map_err(|e| LogError::Key(e.to_string()))?;
        self.sealed.reserve(self.plain.len() + tag.len());
        self.sealed.extend_from_slice(&self.plain);
        self.sealed.extend_from_slice(&tag);
        self.plain.clear();
        Ok(())
    }

    fn hash_pending(&mut self) {
        self.hasher.update(&self.sealed);
    }

    async fn spill(&mut self) -> Result<(), LogError> {
        self.hash_pending();
        let data = std::mem::take(&mut self.sealed);
        let vault = Arc::clone(&self.vault.shared);
        let file = self.file.take();
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let (file, offset, buffer) = blocking(self.vault.work(), move || {
            let failed = |e| LogError::io("a body cannot be held", &e);
            let (file, offset) = match file {
                Some(open) => open,
                None => (Arc::new(vault.disk.temporary(&vault.directory).map_err(failed)?), 0),
            };
            disk::write_all(vault.disk.as_ref(), &file, &data, offset).map_err(failed)?;
            Ok((file, offset, data))
        })
        .await?;
        self.sealed = buffer;
        self.sealed.clear();
        self.file = Some((file, offset.saturating_add(length)));
        Ok(())
    }

    fn into_sealed(self) -> SealedBody {
        let (content, sealed_length) = match self.file {
            Some((file, length)) => (Content::File(file), length),
            None => {
                let length = u64::try_from(self.sealed.len()).unwrap_or(u64::MAX);
                (Content::Memory(self.sealed.into()), length)
            }
        };
        SealedBody(Arc::new(Inner {
            length: self.length,
            sealed_length,
            ciphertext: tree::to_hash(&self.hasher.finish()),
            key: self.key,
            content,
            work: self.vault.work(),
            _share: self.share,
        }))
    }
}

/// A whole body, encrypted. Cheap to clone; when the last clone goes and no record named it, it is gone.
#[derive(Debug, Clone)]
pub struct SealedBody(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    length: u64,
    sealed_length: u64,
    ciphertext: Hash,
    key: Arc<DataKey>,
    content: Content,
    work: Work,
    _share: Share,
}

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    /// In flight: without a name.
    File(Arc<File>),
    /// Kept before.
    Kept(Arc<dyn ReadAt>),
}

impl SealedBody {
    /// Bytes of plain text.
    pub fn length(&self) -> u64 {
        self.0.length
    }

    /// SHA-256 of the encrypted body.
    pub fn ciphertext_digest(&self) -> [u8; 32] {
        self.0.ciphertext
    }

    /// The data key it is encrypted with.
    pub fn key_id(&self) -> &str {
        self.0.key.id()
    }

    /// The plain text in pieces of at most 64 KiB, any number of times, each from the beginning.
    ///
    /// An error ends the stream: [`LogError::Body`] when it is not what was sealed, [`LogError::Io`].
    pub fn stream(&self) -> impl Stream<Item = Result<Bytes, LogError>> + Send + Unpin + 'static {
        let reader = BodyReader::new(Arc::clone(&self.0));
        Box::pin(stream::try_unfold(reader, |mut reader| async move {
            if reader.wants_file() {
                reader = blocking(reader.body.work, move || reader.fill().map(|()| reader)).await?;
            }
            Ok(reader.next()?.map(|piece| (piece, reader)))
        }))
    }

    /// The whole plain text. Blocks while a file is read, and holds it all: for tools, and bodies known to be small.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub fn read(&self) -> Result<Bytes, LogError> {
        let mut reader = BodyReader::new(Arc::clone(&self.0));
        let mut whole = Vec::with_capacity(usize::try_from(self.0.length).unwrap_or(0).min(FRAME));
        loop {
            if reader.wants_file() {
                reader.fill()?;
            }
            match reader.next()? {
                Some(piece) => whole.extend_from_slice(&piece),
                None => return Ok(whole.into()),
            }
        }
    }

    /// The plain text for somebody who reads it piece by piece, from the beginning. Blocks while a file is read.
    ///
    /// What ends a stream with an error ends it with one here, of kind [`io::ErrorKind::InvalidData`].
    pub fn reader(&self) -> impl io::Read + Send + use<> {
        PlainText { reader: BodyReader::new(Arc::clone(&self.0)), piece: Bytes::new() }
    }

    /// The sealed bytes of one that is in memory.
    pub(crate) fn in_memory(&self) -> Option<Bytes> {
        match &self.0.content {
            Content::Memory(bytes) => Some(bytes.clone()),
            Content::File(_) | Content::Kept(_) => None,
        }
    }
}

/// A body as [`io::Read`].
struct PlainText {
    reader: BodyReader,
    piece: Bytes,
}

impl io::Read for PlainText {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let failed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        if self.piece.is_empty() {
            if self.reader.wants_file() {
                self.reader.fill().map_err(failed)?;
            }
            self.piece = self.reader.next().map_err(failed)?.unwrap_or_default();
        }
        io::Read::read(&mut (&mut self.piece).reader(), into)
    }
}

/// Reads a sealed body from its beginning.
struct BodyReader {
    body: Arc<Inner>,
    cipher: Option<Cipher>,
    offset: u64,
    /// Sealed frames that were read.
    pending: VecDeque<BytesMut>,
    /// The plain text given out so far.
    given: u64,
    done: bool,
}

impl BodyReader {
    const fn new(body: Arc<Inner>) -> Self {
        Self { body, cipher: None, offset: 0, pending: VecDeque::new(), given: 0, done: false }
    }

    fn wants_file(&self) -> bool {
        !matches!(self.body.content, Content::Memory(_)) && self.pending.is_empty() && !self.done
    }

    /// Reads the next frames.
    fn fill(&mut self) -> Result<(), LogError> {
        if self.cipher.is_none() {
            let head = self.take(HEAD)?;
            let Some((&VERSION, salt)) = head.split_first() else {
                return Err(LogError::Body("its version is unknown"));
            };
            self.cipher = Some(Cipher { key: self.body.key.body_key(salt)?, frame: 0 });
        }
        let left = usize::try_from(self.body.sealed_length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let mut read = self.take(left.min(FRAMES_AT_ONCE * SEALED_FRAME))?;
        while !read.is_empty() {
            let frame = read.split_to(read.len().min(SEALED_FRAME));
            self.pending.push_back(frame);
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<BytesMut, LogError> {
        let mut buffer = BytesMut::zeroed(count);
        match &self.body.content {
            Content::File(file) => ReadAt::read_exact_at(&**file, &mut buffer, self.offset)?,
            Content::Kept(kept) => kept.read_exact_at(&mut buffer, self.offset)?,
            Content::Memory(bytes) => {
                let from = usize::try_from(self.offset).unwrap_or(usize::MAX);
                let found =
                    bytes.get(from..from.saturating_add(count)).ok_or(LogError::Body("it was cut off"))?;
                buffer.copy_from_slice(found);
            }
        }
        self.offset += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(buffer)
    }

    /// Opens the next frame. Empty pieces are not given.
    fn next(&mut self) -> Result<Option<Bytes>, LogError> {
        if self.done {
            return Ok(None);
        }
        if self.pending.is_empty() {
            self.fill()?;
        }
        let mut frame = self.pending.pop_front().ok_or(LogError::Body("it was cut off"))?;
        let last = self.pending.is_empty() && self.offset == self.body.sealed_length;
        let cipher = self.cipher.as_mut().ok_or(LogError::Body("it was cut off"))?;
        let nonce = cipher.nonce(last);
        let length = cipher
            .key
            .open(nonce, &[], &mut frame)
            .map_err(|_| LogError::Body("it does not match its key or was changed"))?
            .len();
        frame.truncate(length);
        self.done = last;
        self.given += u64::try_from(length).unwrap_or(u64::MAX);
        if last && self.given != self.body.length {
            return Err(LogError::Body("its length is another one"));
        }
        Ok(Some(frame.freeze()).filter(|piece| !piece.is_empty()))
    }
}

/// Does work on files where it is to be done.
pub(crate) async fn blocking<T: Send + 'static>(
    place: Work,
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    if place == Work::Here {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| LogError::Io { what: "work on a file was broken off", reason: e.to_string() })?
}

#[cfg(test)]
mod tests;
