//! Connections to PostgreSQL; and questions to it from threads that may wait.
//!
//! Not here: what is asked.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Runtime,
    sync::Mutex,
};
use tokio_postgres::{Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{super::error::LogError, failed};

/// A question takes at most so long, with connecting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the server is to do when we are gone without having said so: the lock of the head row must not stay with nobody.
/// Its side of the connection is given up as soon as ours is (`settings`).
const WHEN_WE_ARE_GONE: &str = "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; \
                                SET tcp_keepalives_count = 3; SET tcp_user_timeout = '5s';";
/// No question of ours is worth being compiled: each is about few rows, whatever the server expects.
const FEW_ROWS: &str = "SET jit = off;";
/// From PostgreSQL 14 on it looks, while it works for us, whether we are still there.
const LOOK_FOR_US: &str = "SELECT set_config(name, '1s', false) FROM pg_settings \
                           WHERE name = 'client_connection_check_interval'";
/// Ends transactions of gateways that take longer than any of ours does. The server does so by itself, unless it waits for
/// the rest of what one had begun to say. Who waits for replicas is left alone: that one has committed.
const END_OTHERS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                          WHERE datname = current_database() AND usename = current_user \
                          AND application_name = 'passerelle-gateway' AND pid <> pg_backend_pid() \
                          AND xact_start < clock_timestamp() - interval '4 s' \
                          AND wait_event IS DISTINCT FROM 'SyncRep'";

/// What a connection is for, which says how long the server waits for us, and for others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Transactions that hold the lock of the head row: short ones. A node that stands still within one loses it.
    Writing,
    /// Single statements.
    Asking,
    /// A transaction that lasts as long as all the rest takes.
    Session,
}

impl Purpose {
    const fn limits(self) -> &'static str {
        match self {
            Self::Writing => {
                "SET idle_in_transaction_session_timeout = '3s'; SET lock_timeout = '4s'; SET statement_timeout = '5s'"
            }
            Self::Asking => {
                "SET idle_in_transaction_session_timeout = '3s'; SET lock_timeout = '4s'; SET statement_timeout = '10s'"
            }
            Self::Session => {
                "SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '2s'; SET statement_timeout = '10s'; \
                 SET application_name = 'passerelle-gateway log'"
            }
        }
    }
}

/// A server, and how one speaks to it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) tls: Option<MakeRustlsConnect>,
}

/// Connects, and makes sure that a commit means that it is on the disk, and that nobody waits for us when we are gone.
pub(crate) async fn connect(server: &Server, purpose: Purpose) -> Result<Client, LogError> {
    let client = match &server.tls {
        Some(tls) => server.config.connect(tls.clone()).await.map(drive),
        None => server.config.connect(NoTls).await.map(drive),
    };
    let client = client.map_err(|e| failed(&e))?;
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
    let limits = format!("{WHEN_WE_ARE_GONE} {FEW_ROWS} {}", purpose.limits());
    client.batch_execute(&limits).await.map_err(|e| failed(&e))?;
    match client.batch_execute(LOOK_FOR_US).await {
        // Where its system cannot tell, it refuses to look.
        Err(error) if error.as_db_error().is_some() => {
            tracing::debug!(%error, "PostgreSQL does not look whether its clients are there");
        }
        set => set.map_err(|e| failed(&e))?,
    }
    if purpose == Purpose::Writing {
        let ended = client.query_one(END_OTHERS, &[]).await.map_err(|e| failed(&e))?;
        if super::number(&ended, 0)? > 0 {
            tracing::warn!("ended what a gateway has left open in PostgreSQL");
        }
    }
    Ok(client)
}

/// Lets a connection run; it ends when its client is dropped.
fn drive<S, T>((client, connection): (Client, Connection<S, T>)) -> Client
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to PostgreSQL has ended");
        }
    });
    client
}

/// Questions from threads that may wait. Connects when needed.
pub(crate) struct Link {
    server: Server,
    purpose: Purpose,
    client: Arc<Mutex<Option<Arc<Client>>>>,
    /// Taken when dropped.
    runtime: Option<Runtime>,
}

impl Link {
    pub(crate) fn new(server: Server) -> Result<Self, LogError> {
        Self::with(server, Purpose::Asking)
    }

    fn with(server: Server, purpose: Purpose) -> Result<Self, LogError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("log-postgres")
            .enable_all()
            .build()
            .map_err(|e| LogError::io("a thread of the log cannot be started", &e))?;
        Ok(Self { server, purpose, client: Arc::default(), runtime: Some(runtime) })
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
        let (server, slot, purpose) = (self.server.clone(), Arc::clone(&self.client), self.purpose);
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let asked = async {
                let (client, kept) = client(&server, purpose, &slot).await?;
                match question(Arc::clone(&client)).await {
                    Err(_) if kept && client.is_closed() => {
                        question(self::client(&server, purpose, &slot).await?.0).await
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

/// One connection and no other: for what is bound to it, such as a transaction.
pub(crate) struct Session {
    link: Link,
    client: Arc<Client>,
}

impl Session {
    pub(crate) fn open(server: Server) -> Result<Self, LogError> {
        let link = Link::with(server, Purpose::Session)?;
        let client = link.ask(|client| async move { Ok(client) })?;
        Ok(Self { link, client })
    }

    /// As [`Link::ask`], but nothing is asked again.
    pub(crate) fn ask<T, F>(
        &self,
        question: impl Fn(Arc<Client>) -> F + Send + Sync + 'static,
    ) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LogError>> + Send + 'static,
    {
        let held = Arc::clone(&self.client);
        self.link.ask(move |_| question(Arc::clone(&held)))
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
async fn client(
    server: &Server,
    purpose: Purpose,
    slot: &Mutex<Option<Arc<Client>>>,
) -> Result<(Arc<Client>, bool), LogError> {
    let mut slot = slot.lock().await;
    if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
        return Ok((Arc::clone(client), true));
    }
    let client = Arc::new(connect(server, purpose).await?);
    *slot = Some(Arc::clone(&client));
    Ok((client, false))
}
