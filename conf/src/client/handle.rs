//! The configuration in force, as everybody else sees it.
//!
//! [`ConfHandle`] belongs to whoever needs the configuration; only [`super::Client`] changes what it shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use cert_authority::clock::UnixTime;
use tokio::sync::watch;

use crate::error::ConfError;
use crate::snapshot::GlobalConf;

/// The configuration in force. Cheap to clone; all clones show the same.
#[derive(Debug, Clone)]
pub struct ConfHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    instance: String,
    conf: ArcSwapOption<GlobalConf>,
    changed: watch::Sender<u64>,
    counters: [AtomicU64; 4],
}

/// What came of the questions that were asked so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Configurations that came into force.
    pub taken: u64,
    /// Answers with the configuration that was in force already.
    pub unchanged: u64,
    /// Valid configurations that were ignored because they are older than the one in force.
    pub older: u64,
    /// Questions without a usable answer.
    pub failed: u64,
}

/// Which of the [`Counters`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counter {
    Taken,
    Unchanged,
    Older,
    Failed,
}

impl ConfHandle {
    pub(crate) fn new(instance: &str) -> Self {
        Self(Arc::new(Shared {
            instance: instance.to_owned(),
            conf: ArcSwapOption::empty(),
            changed: watch::Sender::new(0),
            counters: Default::default(),
        }))
    }

    /// A handle that always shows this configuration: for tools that work on a folder, and for tests.
    pub fn fixed(conf: GlobalConf) -> Self {
        let handle = Self::new(conf.own_instance());
        handle.show(conf);
        handle
    }

    /// The configuration to decide by.
    ///
    /// # Errors
    /// [`ConfError::Missing`] before the first one has come; [`ConfError::Expired`] from the second on that the
    /// configuration of the own instance has expired, until a fresh one comes.
    pub fn snapshot(&self, now: UnixTime) -> Result<Arc<GlobalConf>, ConfError> {
        let conf = self.last_good().ok_or_else(|| ConfError::Missing(self.0.instance.clone()))?;
        match conf.expires() {
            Some(at) if now > at => Err(ConfError::Expired { instance: self.0.instance.clone(), at }),
            _ => Ok(conf),
        }
    }

    /// The newest configuration that was in force, though it may have expired: for what must go on nevertheless.
    pub fn last_good(&self) -> Option<Arc<GlobalConf>> {
        self.0.conf.load_full()
    }

    /// Tells each change of the configuration.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// What came of the questions that were asked so far.
    pub fn counters(&self) -> Counters {
        let [taken, unchanged, older, failed] =
            [Counter::Taken, Counter::Unchanged, Counter::Older, Counter::Failed]
                .map(|counter| self.counter(counter).load(Ordering::Relaxed));
        Counters { taken, unchanged, older, failed }
    }

    pub(crate) fn count(&self, counter: Counter) {
        self.counter(counter).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn show(&self, conf: GlobalConf) {
        self.0.conf.store(Some(Arc::new(conf)));
        self.0.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    fn counter(&self, counter: Counter) -> &AtomicU64 {
        let [taken, unchanged, older, failed] = &self.0.counters;
        match counter {
            Counter::Taken => taken,
            Counter::Unchanged => unchanged,
            Counter::Older => older,
            Counter::Failed => failed,
        }
    }
}
