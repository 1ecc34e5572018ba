//! The authority at work: publishes the register again and again, at once when it changes, and serves what is
//! published.
//!
//! A register that turns out faulty changes nothing: the faults are told with their lines, and what was read last is
//! published on, so that gateways go on working while it is mended.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::http;
use super::watch::Watch;
use super::witness::Listening;
use crate::authority::{PublishError, Published, Publisher, Registry, RegistryError};

/// After a failure (a full disk) publishing is tried again this soon.
const RETRY: Duration = Duration::from_secs(1);

/// Why an authority cannot begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The register is faulty.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Nothing can be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// What it takes to be a witness.
    #[error(transparent)]
    Witness(#[from] cert_authority::tlog::settings::OpenError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// An authority that has published once and listens.
pub struct Serving {
    config: PathBuf,
    clock: Arc<dyn Clock>,
    publisher: Publisher,
    listener: TcpListener,
    witness: Option<Listening>,
    published: watch::Sender<Published>,
    refused: watch::Sender<Option<RegistryError>>,
}

impl Serving {
    /// Reads the register, publishes it, and listens.
    ///
    /// # Errors
    /// At the beginning every fault counts: there is no last good register yet.
    pub async fn begin(config: PathBuf, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        let publisher = Publisher::new(Registry::load(&config)?)?;
        let address = publisher.registry().listen;
        let published = publisher.publish(clock.now()).await?;
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
        let witness = Listening::begin(publisher.registry(), Arc::clone(&clock)).await?;
        let (published, refused) = (watch::Sender::new(published), watch::Sender::new(None));
        Ok(Self { config, clock, publisher, listener, witness, published, refused })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address that the witness listens on, if there is one.
    pub fn witness_address(&self) -> Option<SocketAddr> {
        self.witness.as_ref().and_then(|witness| witness.address().ok())
    }

    /// Tells each publication.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Tells why the register on disk is not the one in force; `None` while it is.
    pub fn refused(&self) -> watch::Receiver<Option<RegistryError>> {
        self.refused.subscribe()
    }

    /// Publishes and serves until `shutdown` completes; requests under way are finished.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { config, clock, publisher, listener, witness, published, refused } = self;
        let door = http::serve(listener, publisher.registry().directory.clone(), shutdown);
        let work = Work { config, clock, publisher, published, refused };
        let witness = async {
            match witness {
                Some(witness) => witness.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = door => {}
            () = witness => {}
            () = work.run() => {}
        }
    }
}

struct Work {
    config: PathBuf,
    clock: Arc<dyn Clock>,
    publisher: Publisher,
    published: watch::Sender<Published>,
    refused: watch::Sender<Option<RegistryError>>,
}

impl Work {
    async fn run(mut self) {
        let mut watch = match Watch::new() {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "changes of the register are only seen when it is published next");
                None
            }
        };
        let mut wait = self.publisher.registry().every;
        loop {
            let unseen = watch.as_mut().is_some_and(|watch| watch.follow(&self.publisher.files()));
            let changed = async {
                match &mut watch {
                    _ if unseen => {}
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            let due = tokio::select! {
                () = changed => false,
                () = tokio::time::sleep(wait) => true,
            };
            if self.reload() || due {
                wait = self.publish().await;
            }
        }
    }

    /// Takes up a changed register; true if there is a new one.
    fn reload(&mut self) -> bool {
        let registry = match Registry::load(&self.config) {
            Ok(registry) => registry,
            Err(error) => {
                self.refuse(error);
                return false;
            }
        };
        if Publisher::digest_of(&registry).is_ok_and(|digest| digest == *self.publisher.digest()) {
            self.refused.send_replace(None);
            return false;
        }
        match Publisher::new(registry) {
            Ok(publisher) => {
                if publisher.registry().listen != self.publisher.registry().listen
                    || publisher.registry().directory != self.publisher.registry().directory
                    || publisher.registry().witness != self.publisher.registry().witness
                {
                    tracing::warn!("another listen address, public folder or witness needs a restart");
                }
                self.publisher = publisher;
                self.refused.send_replace(None);
                tracing::info!("a changed register is in force");
                true
            }
            Err(error) => {
                tracing::error!(%error, "the signing keys cannot be used; the last good ones stay in force");
                false
            }
        }
    }

    fn refuse(&self, error: RegistryError) {
        // The same fault is told once, not with each publication.
        if self.refused.borrow().as_ref() != Some(&error) {
            tracing::error!("the register is faulty; the last good one stays in force\n{error}");
            self.refused.send_replace(Some(error));
        }
    }

    /// Publishes; gives the time to wait until the next.
    async fn publish(&self) -> Duration {
        let every = self.publisher.registry().every;
        match self.publisher.publish(self.clock.now()).await {
            Ok(published) => {
                tracing::info!(expires = %published.expires, "published");
                self.published.send_replace(published);
                every
            }
            Err(error) => {
                tracing::error!(%error, "cannot publish; tried again in a second");
                RETRY.min(every)
            }
        }
    }
}
