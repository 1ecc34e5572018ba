//! The process that holds the keys: answers those who may call, one request after another on each connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::wire::{self, LONGEST_REQUEST, Reason, Reply, Request};
use crate::error::KeyError;
use crate::keys::Signer as _;
use crate::keys::inventory::Inventory;
use crate::keys::software::SoftwareKeys;

/// Connections at once; further ones wait.
const MOST_CONNECTIONS: usize = 64;
/// A connection that is not used for so long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// Where the system does not give a connection.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The keys, opened; a changed directory is taken up when somebody asks which keys there are.
pub struct Vault {
    directory: PathBuf,
    keys: SoftwareKeys,
    told: Mutex<Told>,
}

struct Told {
    seen: Vec<(PathBuf, Option<SystemTime>)>,
    text: Vec<u8>,
}

impl Vault {
    /// Opens the keys of a directory with the PIN of a file.
    ///
    /// # Errors
    /// As [`SoftwareKeys::open_by_file`]; [`KeyError::Unsupported`] when a key for TLS is among them: those belong to the
    /// program that speaks TLS.
    pub fn open(directory: impl Into<PathBuf>, pin_file: impl Into<PathBuf>) -> Result<Self, KeyError> {
        let directory = directory.into();
        // Looked at first: what comes while the keys are opened is taken up with the next question.
        let seen = seen(&directory);
        let keys = SoftwareKeys::open_by_file(&directory, pin_file)?;
        let told = Told { seen, text: tell(&directory, &keys)? };
        Ok(Self { directory, keys, told: Mutex::new(told) })
    }

    async fn answer(self: &Arc<Self>, request: &[u8]) -> Reply {
        match Request::read(request) {
            None => Reply::Refused(Reason::Malformed, "no request".to_owned()),
            // Opening a key takes tens of milliseconds, in which others want signatures.
            Some(Request::Keys) => {
                let vault = Arc::clone(self);
                match tokio::task::spawn_blocking(move || vault.tell()).await {
                    Ok(keys) => Reply::Keys(keys),
                    Err(error) => Reply::Refused(Reason::Failed, error.to_string()),
                }
            }
            Some(Request::Sign { key, algorithm, to_be_signed }) => {
                match self.keys.sign_now(&key, algorithm, to_be_signed) {
                    Ok(signature) => Reply::Signature(signature),
                    Err(error @ KeyError::NotFound(_)) => Reply::Refused(Reason::NotFound, error.to_string()),
                    Err(KeyError::Unsupported(text)) => Reply::Refused(Reason::Unsupported, text),
                    Err(error) => Reply::Refused(Reason::Failed, error.to_string()),
                }
            }
        }
    }

    /// What there is now. What cannot be taken up is told in the log, and what was there stays in use.
    fn tell(&self) -> Vec<u8> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = seen(&self.directory);
        if now != told.seen {
            told.seen = now;
            match self.keys.reload().and_then(|()| tell(&self.directory, &self.keys)) {
                Ok(text) => {
                    told.text = text;
                    tracing::info!("keys and certificates taken up");
                }
                Err(error) => tracing::error!(%error, "the keys could not be taken up"),
            }
        }
        told.text.clone()
    }
}

fn seen(directory: &Path) -> Vec<(PathBuf, Option<SystemTime>)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| (entry.path(), entry.metadata().and_then(|metadata| metadata.modified()).ok()))
        .collect();
    files.sort();
    files
}

fn tell(directory: &Path, keys: &SoftwareKeys) -> Result<Vec<u8>, KeyError> {
    let inventory = Inventory::load(directory)?;
    if let Some(entry) = inventory.entries().iter().find(|entry| entry.key.usage.is_tls()) {
        let id = &entry.key.id;
        return Err(KeyError::Unsupported(format!("key {id} is for TLS: it belongs to the gateway")));
    }
    let entries = inventory.entries().iter();
    let entries: Result<Vec<_>, _> =
        entries.map(|entry| Ok((entry.clone(), keys.public_key(&entry.key.id)?))).collect();
    wire::tell(&entries?)
}

/// Answers callers whose user is among `callers`, until `shutdown` completes; others are hung up on.
pub async fn serve(
    listener: UnixListener,
    vault: Arc<Vault>,
    callers: Vec<u32>,
    shutdown: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut running = JoinSet::new();
    let accepting = async {
        // Whoever has ended is forgotten.
        while let Ok(place) = Arc::clone(&room).acquire_owned().await {
            while running.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) if may_call(&stream, &callers) => {
                    let vault = Arc::clone(&vault);
                    running.spawn(async move {
                        converse(stream, &vault).await;
                        drop(place);
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
}

/// The kernel says who calls (SO_PEERCRED); nothing that the caller says counts.
fn may_call(stream: &UnixStream, callers: &[u32]) -> bool {
    match stream.peer_cred() {
        Ok(caller) if callers.contains(&caller.uid()) => true,
        Ok(caller) => {
            tracing::warn!(user = caller.uid(), process = caller.pid(), "a stranger is refused");
            false
        }
        Err(error) => {
            tracing::error!(%error, "a caller whom the kernel does not name is refused");
            false
        }
    }
}

async fn converse(mut stream: UnixStream, vault: &Arc<Vault>) {
    loop {
        let request = match wire::read(&mut stream, LONGEST_REQUEST, IDLE).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "a caller is hung up on");
                return;
            }
        };
        let reply = vault.answer(&request).await;
        let is_last = matches!(reply, Reply::Refused(Reason::Malformed, _));
        if let Reply::Refused(_, reason) = &reply {
            tracing::warn!(reason = reason.as_str(), "refused");
        }
        if wire::write(&mut stream, &reply.write()).await.is_err() || is_last {
            return;
        }
    }
}
