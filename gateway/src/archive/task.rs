//! Archives at an interval while the gateway runs; what failed is tried again soon.
//!
//! Not here: archiving itself ([`super::archiver`]).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::archiver::{Archiver, ArchivingError};
use crate::messagelog::LogStore;

/// How soon what failed is tried again, at the latest.
const RETRY: Duration = Duration::from_secs(60);

/// How archiving goes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Status(Arc<Mutex<Option<String>>>);

impl Status {
    /// For the health of the gateway: nothing but what anybody may know.
    ///
    /// # Errors
    /// Why the last run did not do all that it had to.
    pub fn health(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// Archives until `stop` turns true: at once, and then each time that `every` has passed.
pub async fn run<L: LogStore>(
    mut archiver: Archiver<L>,
    every: Duration,
    status: Status,
    mut stop: watch::Receiver<bool>,
) {
    let work = async {
        loop {
            let wait = match archiver.run().await {
                Ok(summary) => {
                    let damaged = summary.damaged.len();
                    status
                        .set((damaged > 0).then(|| format!("{damaged} damaged messages cannot be archived")));
                    every
                }
                Err(error) => {
                    tracing::error!(%error, "archiving failed, and is tried again");
                    status.set(Some(match error {
                        ArchivingError::Target(_) => "the place of the archives is away".to_owned(),
                        ArchivingError::Log(_) | ArchivingError::Build(_) => "failing".to_owned(),
                    }));
                    every.min(RETRY)
                }
            };
            tokio::time::sleep(wait).await;
        }
    };
    // A run that is broken off here is gone on with at the next start, as after a crash.
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}
