//! Measurements, kept in memory and shown as Prometheus text.
//!
//! Not here: the measurements themselves; each part counts its own through the crate `metrics`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the buckets of every histogram, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// How often samples are put into their buckets. Until then each is held by itself, 24 bytes.
const TIDYING: Duration = Duration::from_millis(250);

/// Why there are no measurements.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("measurements cannot be collected: {0}")]
pub struct MetricsError(String);

/// The measurements of this process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// What collects for the whole process, once there is one.
static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);

impl Metrics {
    /// Begins to collect whatever the process counts; several gateways of one process count together.
    ///
    /// # Errors
    /// [`MetricsError`] when somebody else collects already.
    pub fn install() -> Result<Self, MetricsError> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = &*installed {
            return Ok(metrics.clone());
        }
        let refused = |error: &dyn std::error::Error| MetricsError(error.to_string());
        let handle = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .map_err(|error| refused(&error))?
            .install_recorder()
            .map_err(|error| refused(&error))?;
        super::measurements::describe();
        Ok(installed.insert(Self(handle)).clone())
    }

    /// All measurements now.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Tidies up for as long as this is awaited: histograms collect samples until somebody looks, which may be never.
    pub(super) async fn keep_tidy(self) {
        loop {
            tokio::time::sleep(TIDYING).await;
            self.0.run_upkeep();
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}
