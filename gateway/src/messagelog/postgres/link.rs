//! Connections to PostgreSQL; and questions to it from threads that may wait.
//!
//! Not here: what is asked.

use std::{future::Future, net::IpAddr, sync::Arc, time::Duration};

use tokio::{runtime::Runtime, sync::Mutex};
use tokio_postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
};

use super::{super::error::LogError, failed};

/// A question takes at most so long, with connecting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Connects, and makes sure that a commit means that it is on the disk.
pub(crate) async fn connect(config: &Config) -> Result<Client, LogError> {
    let (client, connection) = config.connect(NoTls).await.map_err(|e| failed(&e))?;
    // Ends when the client is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to PostgreSQL has ended");
        }
    });
    let shown =
        client.query_one("SELECT current_setting('fsync'), current_setting('synchronous_commit')", &[]);
    let row = shown.await.map_err(|e| failed(&e))?;
    if super::column::<&str>(&row, 0)? == "off" {
        let reason = "fsync is off there: it would lose what it has committed".to_owned();
        return Err(LogError::Io { what: "PostgreSQL", reason });
    }
    if matches!(super::column::<&str>(&row, 1)?, "off" | "local") {
        client.batch_execute("SET synchronous_commit = on").await.map_err(|e| failed(&e))?;
    }
    Ok(client)
}

/// Reads the settings of a connection. Only a server on this machine is accepted: there is no TLS yet.
pub(crate) fn settings(text: &str) -> Result<Config, LogError> {
    let refused = |reason: String| LogError::Io { what: "the settings of PostgreSQL", reason };
    // What the library says may repeat the text, and with it a password.
    let mut config: Config = text.parse().map_err(|_| refused("they cannot be read".to_owned()))?;
    let local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    };
    let addresses = config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    if config.get_hosts().is_empty() || !config.get_hosts().iter().all(local) || !addresses {
        return Err(refused(
            "only a server on this machine can be used: 127.0.0.1, ::1, a socket".to_owned(),
        ));
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err(refused("sslmode=require, but there is no TLS yet".to_owned()));
    }
    config.ssl_mode(SslMode::Disable).connect_timeout(PATIENCE);
    Ok(config)
}

/// Questions from threads that may wait. Connects when needed.
pub(crate) struct Link {
    config: Config,
    client: Arc<Mutex<Option<Arc<Client>>>>,
    /// Taken when dropped.
    runtime: Option<Runtime>,
}

impl Link {
    pub(crate) fn new(config: Config) -> Result<Self, LogError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("log-postgres")
            .enable_all()
            .build()
            .map_err(|e| LogError::io("a thread of the log cannot be started", &e))?;
        Ok(Self { config, client: Arc::default(), runtime: Some(runtime) })
    }

    /// Asks, and waits for the answer. A question that meets a connection that has ended is asked once more: it must
    /// change nothing.
    pub(crate) fn ask<T, F>(
        &self,
        question: impl Fn(Arc<Client>) -> F + Send + Sync + 'static,
    ) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LogError>> + Send,
    {
        let ended = |reason: &str| LogError::Io { what: "PostgreSQL", reason: reason.to_owned() };
        let runtime = self.runtime.as_ref().ok_or_else(|| ended("closed"))?;
        let (config, slot) = (self.config.clone(), Arc::clone(&self.client));
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let asked = async {
                let (client, kept) = client(&config, &slot).await?;
                match question(Arc::clone(&client)).await {
                    Err(_) if kept && client.is_closed() => {
                        question(self::client(&config, &slot).await?.0).await
                    }
                    result => result,
                }
            };
            let result = tokio::time::timeout(PATIENCE, asked).await;
            if result.is_err() {
                // Nobody knows what is still to come on this connection.
                slot.lock().await.take();
            }
            let _ = reply.send(result);
        });
        answer
            .recv()
            .map_err(|_| ended("the question was broken off"))?
            .map_err(|_| ended("it does not answer"))?
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Dropping it would wait, which is not allowed on a runtime's thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The connection, and whether it was there before.
async fn client(config: &Config, slot: &Mutex<Option<Arc<Client>>>) -> Result<(Arc<Client>, bool), LogError> {
    let mut slot = slot.lock().await;
    if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
        return Ok((Arc::clone(client), true));
    }
    let client = Arc::new(connect(config).await?);
    *slot = Some(Arc::clone(&client));
    Ok((client, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_elsewhere_is_refused_while_there_is_no_tls() {
        for text in [
            "host=db.example.org user=x",
            "host=10.0.0.1 user=x",
            "host=127.0.0.1,10.0.0.1 user=x",
            "host=127.0.0.1 hostaddr=10.0.0.1 user=x",
            "host=localhost user=x",
            "user=x",
            "host=127.0.0.1 sslmode=require",
        ] {
            assert!(settings(text).is_err(), "{text}");
        }
        assert!(settings("host=127.0.0.1 user=x").is_ok());
        assert!(settings("host=/run/postgresql user=x").is_ok());
    }

    #[test]
    fn a_password_is_not_repeated_in_an_error() {
        let error = settings("host=127.0.0.1 password=secret port=nonsense").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
