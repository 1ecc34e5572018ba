//! Signs messages, those that wait for the same key together.
//!
//! A key is busy while a task signs with it. Whatever comes meanwhile waits, and the task takes up what waits at its
//! next turn: one signature for all of it, over a hash chain, of which each message gets its own part. A message that
//! nobody waits beside is signed by itself. Nobody waits for others to come: the task only lets go first what is ready
//! to run, again as long as that brings more, so that a loaded machine, whose messages would have waited for the
//! processor, signs fewer times.
//!
//! ```text
//! sign ──► queue of the key ──► task: lets others run ─► takes what waits ─► signs once ─► gives each its own
//!  ▲                             └─────────────────────── until nothing waits ───────────────────────┘    │
//!  └──────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Who gives up waiting takes only its own message out of the batch. When a key does not sign, or not in time, each
//! message of the batch fails by itself, and may be signed again.
//!
//! Specification: X-Road's batch signatures; what is signed is made by [`signature::sign_batch`].
//!
//! # Security
//! A message of a batch carries digests of others in it, which the receivers of those others have not shown it: of a
//! message whose every byte can be guessed it can be confirmed. X-Road's have the same property; requests of REST carry
//! an id that nobody can guess.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cert_authority::clock::UnixTime;
use cert_authority::error::KeyError;
use cert_authority::keys::{KeyId, Signer};
use tokio::sync::oneshot;

use crate::evidence::signature::{self, SignatureBundle, SignatureError, SigningKey};
use crate::exchange::ports::{MessageSigner, Wait};
use crate::message::digests::PartDigests;

/// How messages are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether messages that wait for the same key are signed together.
    pub batch: bool,
    /// Messages of one batch at most: each doubling makes every message of it some 400 bytes longer.
    pub most: NonZeroUsize,
    /// How long a key may take for one signature.
    pub timeout: Duration,
}

/// As X-Road does it with keys in software, but for the bound, which it does not have.
impl Default for Settings {
    fn default() -> Self {
        Self { batch: true, most: NonZeroUsize::MIN.saturating_add(63), timeout: Duration::from_secs(60) }
    }
}

/// Signs messages, those that wait for the same key together.
pub struct BatchSigner {
    keys: Arc<Keys>,
}

struct Keys {
    signer: Arc<dyn Signer>,
    settings: Settings,
    /// Of each key that is busy, the messages that wait for it. A task serves each entry, and takes it away.
    waiting: Mutex<HashMap<KeyId, VecDeque<Waiting>>>,
}

/// A message that waits.
struct Waiting {
    digests: PartDigests,
    key: Arc<SigningKey>,
    now: UnixTime,
    answer: oneshot::Sender<Result<SignatureBundle, SignatureError>>,
}

impl BatchSigner {
    /// Signs with the keys of `signer`.
    pub fn new(signer: Arc<dyn Signer>, settings: Settings) -> Self {
        Self { keys: Arc::new(Keys { signer, settings, waiting: Mutex::default() }) }
    }
}

impl MessageSigner for BatchSigner {
    fn sign<'a>(
        &'a self,
        digests: &'a PartDigests,
        key: &'a Arc<SigningKey>,
        now: UnixTime,
    ) -> Wait<'a, Result<SignatureBundle, SignatureError>> {
        Box::pin(async move {
            if !self.keys.settings.batch {
                let signed = self.keys.sign(&[digests], key, now).await?;
                return signed.into_iter().next().ok_or_else(broken_off);
            }
            let (answer, signed) = oneshot::channel();
            self.keys.wait(Waiting { digests: digests.clone(), key: Arc::clone(key), now, answer });
            signed.await.unwrap_or(Err(broken_off()))
        })
    }
}

impl Keys {
    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, VecDeque<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message behind those that wait for its key; the first one starts the task that serves them.
    fn wait(self: &Arc<Self>, message: Waiting) {
        match self.lock().entry(message.key.id().clone()) {
            Entry::Occupied(mut busy) => busy.get_mut().push_back(message),
            Entry::Vacant(idle) => {
                let task = Task { keys: Arc::clone(self), key: idle.key().clone(), is_over: false };
                idle.insert(VecDeque::from([message]));
                tokio::spawn(task.run());
            }
        }
    }

    /// Makes one signature.
    async fn sign(
        &self,
        messages: &[&PartDigests],
        key: &SigningKey,
        now: UnixTime,
    ) -> Result<Vec<SignatureBundle>, SignatureError> {
        let signed = signature::sign_batch(messages, key, &*self.signer, now);
        let in_time = tokio::time::timeout(self.settings.timeout, signed).await;
        let bundles = in_time.unwrap_or(Err(KeyError::Crypto("the key did not sign in time").into()))?;
        metrics::counter!("passerelle_signatures_total").increment(1);
        metrics::counter!("passerelle_signed_messages_total")
            .increment(u64::try_from(bundles.len()).unwrap_or(u64::MAX));
        Ok(bundles)
    }
}

fn broken_off() -> SignatureError {
    KeyError::Crypto("the signer broke off").into()
}

/// Signs with one key until nothing waits for it.
struct Task {
    keys: Arc<Keys>,
    key: KeyId,
    is_over: bool,
}

impl Task {
    async fn run(mut self) {
        loop {
            self.gather().await;
            let Some(batch) = self.next() else { return };
            self.sign(batch).await;
        }
    }

    /// Lets run first what is ready to: it may be about to wait for this key. Again, as long as that brings more.
    async fn gather(&self) {
        let waiting = || self.keys.lock().get(&self.key).map_or(0, VecDeque::len);
        let mut before = waiting();
        loop {
            tokio::task::yield_now().await;
            let now = waiting();
            if now <= before || now >= self.keys.settings.most.get() {
                return;
            }
            before = now;
        }
    }

    /// The first that waits, and those behind it that can be signed with it: by the same certificate and OCSP responses,
    /// over digests of the same kind. The others keep their places.
    fn next(&mut self) -> Option<Batch> {
        let mut all = self.keys.lock();
        let waiting = all.get_mut(&self.key).map(std::mem::take).unwrap_or_default();
        let mut waiting = waiting.into_iter().filter(|message| !message.answer.is_closed());
        let Some(first) = waiting.next() else {
            all.remove(&self.key);
            self.is_over = true;
            return None;
        };
        let mut batch = Batch { key: Arc::clone(&first.key), messages: vec![first] };
        let mut later = VecDeque::new();
        for message in waiting {
            if batch.messages.len() < self.keys.settings.most.get() && batch.takes(&message) {
                batch.messages.push(message);
            } else {
                later.push_back(message);
            }
        }
        all.insert(self.key.clone(), later);
        Some(batch)
    }

    async fn sign(&self, batch: Batch) {
        let Batch { key, messages } = batch;
        let digests: Vec<&PartDigests> = messages.iter().map(|message| &message.digests).collect();
        let now = messages.iter().map(|message| message.now).max().unwrap_or_default();
        let signed = self.keys.sign(&digests, &key, now).await;
        // Whoever has gone meanwhile does not take its signature; the others do.
        match signed {
            Ok(bundles) => {
                for (message, bundle) in messages.into_iter().zip(bundles) {
                    let _ = message.answer.send(Ok(bundle));
                }
            }
            Err(error) => {
                for message in messages {
                    let _ = message.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

/// A signer that panics, or a runtime that stops, ends the task early: those that wait learn it, and the next message
/// finds the key idle.
impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_over {
            self.keys.lock().remove(&self.key);
        }
    }
}

/// Messages that are signed together.
struct Batch {
    key: Arc<SigningKey>,
    messages: Vec<Waiting>,
}

impl Batch {
    fn takes(&self, message: &Waiting) -> bool {
        let same = |first: &Waiting| first.digests.algorithm == message.digests.algorithm;
        Arc::ptr_eq(&self.key, &message.key) && self.messages.first().is_some_and(same)
    }
}
