//! The signer of a program that has no keys itself.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::wire::{self, LONGEST_REPLY, LONGEST_REQUEST, Reason, Reply, Request};
use crate::algorithm::SignatureAlgorithm;
use crate::crypto::PublicKey;
use crate::error::KeyError;
use crate::keys::inventory::Entry;
use crate::keys::{KeyId, SignFuture, Signer};

/// Signatures under way at once, each on its connection; further ones wait. A signer takes more connections than this.
const MOST_AT_ONCE: usize = 16;
/// How long nobody may listen before signatures fail: a signer that is started again is waited for.
const RESTARTS_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks whether somebody listens again.
const AGAIN: Duration = Duration::from_millis(20);

/// Asks another process to sign.
///
/// A connection that broke is made anew, so that a signer that was restarted is found by the next signature. While it is
/// away signatures fail: those that come first after some seconds, later ones at once, until it is back.
pub struct RemoteSigner {
    socket: PathBuf,
    limit: Duration,
    room: Semaphore,
    idle: Mutex<Vec<UnixStream>>,
    /// Since when nobody listens.
    away: Mutex<Option<Instant>>,
    known: RwLock<Arc<Known>>,
}

#[derive(Default)]
struct Known {
    /// As the signer told it.
    told: Vec<u8>,
    entries: Vec<Entry>,
    public: HashMap<KeyId, PublicKey>,
}

impl RemoteSigner {
    /// Asks the signer behind `socket` which keys it has. Each answer may take as long as `limit`.
    ///
    /// # Errors
    /// [`KeyError::Signer`] when it cannot be reached, does not want us, or does not answer in time.
    pub async fn connect(socket: impl Into<PathBuf>, limit: Duration) -> Result<Self, KeyError> {
        let room = Semaphore::new(MOST_AT_ONCE);
        let (idle, away, known) = (Mutex::default(), Mutex::default(), RwLock::default());
        let signer = Self { socket: socket.into(), limit, room, idle, away, known };
        signer.refresh().await?;
        Ok(signer)
    }

    /// Asks again which keys there are; whether anything changed. After an error everything is as it was.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn refresh(&self) -> Result<bool, KeyError> {
        let Reply::Keys(told) = self.ask(&Request::Keys).await? else { return Err(out_of_turn()) };
        if self.known().told == told {
            return Ok(false);
        }
        let keys = wire::told(&told)?;
        let public = keys.iter().map(|(entry, public)| (entry.key.id.clone(), public.clone())).collect();
        let entries = keys.into_iter().map(|(entry, _)| entry).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Known { told, entries, public });
        Ok(true)
    }

    /// The signer's keys with their certificates, as they were when it was last asked.
    pub fn entries(&self) -> Vec<Entry> {
        self.known().entries.clone()
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<UnixStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, request: &Request<'_>) -> Result<Reply, KeyError> {
        let request = request.write()?;
        if request.len() > LONGEST_REQUEST {
            return Err(KeyError::Unsupported(format!("signing something of {} bytes", request.len())));
        }
        let answer = timeout(self.limit, self.ask_any(&request)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let answer = answer.map_err(|error| KeyError::Signer(error.to_string()))?;
        match Reply::read(answer).ok_or_else(out_of_turn)? {
            Reply::Refused(Reason::Unsupported, text) => Err(KeyError::Unsupported(text)),
            Reply::Refused(_, text) => Err(KeyError::Signer(text)),
            reply => Ok(reply),
        }
    }

    /// Over a connection that was kept, or over a new one. Whoever gives up waiting drops the connection, so that nobody
    /// takes a late answer for that to another question.
    async fn ask_any(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let _place = self.room.acquire().await.map_err(io::Error::other)?;
        loop {
            // Not in the condition: the lock would be held while we wait.
            let kept = self.idle().pop();
            let Some(mut kept) = kept else { break };
            // One that died with its signer: to sign again does no harm.
            if let Ok(answer) = exchange(&mut kept, request).await {
                self.idle().push(kept);
                return Ok(answer);
            }
        }
        let mut stream = self.connect_anew().await?;
        let answer = exchange(&mut stream, request).await?;
        self.idle().push(stream);
        Ok(answer)
    }

    async fn connect_anew(&self) -> io::Result<UnixStream> {
        loop {
            let error = match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    *self.away() = None;
                    return Ok(stream);
                }
                Err(error) => error,
            };
            let restarts = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
            let since = *self.away().get_or_insert_with(Instant::now);
            if !restarts || since.elapsed() >= RESTARTS_WITHIN {
                return Err(error);
            }
            sleep(AGAIN).await;
        }
    }

    fn away(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(stream: &mut UnixStream, request: &[u8]) -> io::Result<Vec<u8>> {
    wire::write(stream, request).await?;
    // The limit is the caller's.
    let answer = wire::read(stream, LONGEST_REPLY, Duration::MAX).await?;
    answer.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"))
}

fn out_of_turn() -> KeyError {
    KeyError::Signer("it answered something else".to_owned())
}

impl Signer for RemoteSigner {
    fn sign<'a>(
        &'a self,
        key: &'a KeyId,
        algorithm: SignatureAlgorithm,
        to_be_signed: &'a [u8],
    ) -> SignFuture<'a> {
        Box::pin(async move {
            self.public_key(key)?;
            match self.ask(&Request::Sign { key: key.clone(), algorithm, to_be_signed }).await? {
                Reply::Signature(signature) => Ok(signature),
                Reply::Keys(_) | Reply::Refused(..) => Err(out_of_turn()),
            }
        })
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, KeyError> {
        self.known().public.get(key).cloned().ok_or_else(|| KeyError::NotFound(key.clone()))
    }
}
