//! What every program of this crate does alike: its log, and when it stops.

use tokio::signal::unix::{SignalKind, signal};

use super::config::{Log, LogFormat};
use crate::error::PkiError;

/// Begins the log, on standard error.
///
/// # Errors
/// [`PkiError::Store`] for a level that cannot be read.
pub fn start_log(log: &Log) -> Result<(), PkiError> {
    let filter =
        tracing_subscriber::EnvFilter::try_new(&log.level).map_err(|error| failed("log.level", &error))?;
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Completes when the process is asked to stop (SIGTERM, SIGINT).
///
/// # Errors
/// [`PkiError::Store`] when the system does not let us listen for it.
pub fn stop_signal() -> Result<impl Future<Output = ()>, PkiError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed("SIGTERM", &error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed("SIGINT", &error))?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> PkiError {
    PkiError::Store(format!("{what}: {error}"))
}
