//! A clock that runs, and can be turned on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cert_authority::clock::{Clock, SystemClock, UnixTime};

/// The system's time, plus what it was turned on by.
#[derive(Debug, Clone, Default)]
pub struct TurnedClock(Arc<AtomicU64>);

impl TurnedClock {
    /// Turns it on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(0), Ordering::SeqCst);
    }

    /// For those who take any clock.
    pub fn shared(&self) -> Arc<dyn Clock> {
        Arc::new(self.clone())
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> UnixTime {
        SystemClock.now() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}
