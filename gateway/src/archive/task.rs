//! Archives at an interval while the gateway runs; what failed is tried again soon.
//!
//! Not here: archiving itself ([`super::archiver`]).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cert_authority::clock::Clock;
use tokio::sync::watch;

use super::archiver::{Archiver, ArchivingError, Summary};
use super::cleaning::clean;
use super::removing::remove_old;
use crate::messagelog::MessageLog;

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

/// When archiving and cleaning are done.
#[derive(Clone)]
pub struct Schedule {
    /// How often.
    pub every: Duration,
    /// How long bodies are kept that are archived; none: for ever.
    pub keep_bodies: Option<Duration>,
    /// How long messages are kept that are archived and whose bodies are gone; none: for ever.
    pub keep_records: Option<Duration>,
    /// Says how old they are.
    pub clock: Arc<dyn Clock>,
}

/// Archives and cleans until `stop` turns true: at once, and then each time that the interval has passed.
pub async fn run(
    mut archiver: Archiver<MessageLog>,
    schedule: Schedule,
    status: Status,
    mut stop: watch::Receiver<bool>,
) {
    let work = async {
        loop {
            let wait = match once(&mut archiver, &schedule).await {
                Ok(summary) => {
                    let damaged = summary.damaged.len();
                    status
                        .set((damaged > 0).then(|| format!("{damaged} damaged messages cannot be archived")));
                    schedule.every
                }
                Err(error) => {
                    tracing::error!(%error, "archiving failed, and is tried again");
                    status.set(Some(match error {
                        ArchivingError::Target(_) => "the place of the archives is away".to_owned(),
                        ArchivingError::Log(_) | ArchivingError::Build(_) => "failing".to_owned(),
                    }));
                    schedule.every.min(RETRY)
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

/// Cleans only after everything was archived that could be.
async fn once(archiver: &mut Archiver<MessageLog>, schedule: &Schedule) -> Result<Summary, ArchivingError> {
    let summary = archiver.run().await?;
    if let Some(keep) = schedule.keep_bodies {
        clean(archiver.log(), archiver.ledger(), keep, schedule.clock.now()).await?;
    }
    if let Some(keep) = schedule.keep_records {
        remove_old(archiver.log(), keep, schedule.clock.now()).await?;
    }
    Ok(summary)
}
