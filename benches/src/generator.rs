//! Closed-loop load: each connection sends its next request when the last is answered, or gives way to a new one.
//!
//! Bounded in time, in requests and in connections; to loopback only. Every latency is kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent, again and again.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to; a loopback address.
    pub target: SocketAddr,
    /// Method of every request.
    pub method: &'static str,
    /// Request target, as sent.
    pub path: String,
    /// Headers of every request, `Host` apart.
    pub headers: Vec<(String, String)>,
    /// Body of every request; empty for none.
    pub body: Bytes,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// Whether connections are kept; otherwise each request has a connection of its own.
    pub kept: bool,
    /// How long to send; answers under way are waited for.
    pub duration: Duration,
    /// How many requests to send at most, each connection its share.
    pub most: usize,
}

/// What came back.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Answers with status 200.
    pub answered: u64,
    /// Answers with another status, and connections that broke.
    pub failed: u64,
    /// The first failure, in words.
    pub first_failure: Option<String>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    latencies: Vec<u32>,
}

impl Outcome {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::as_conversions, reason = "a count of requests, far below 2^52")]
        let answered = self.answered as f64;
        answered / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The latency that this share (0 to 1) of the answers stayed below.
    pub fn percentile(&self, share: f64) -> Duration {
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into the sorted latencies"
        )]
        let index = (self.latencies.len() as f64 * share) as usize;
        let micros =
            self.latencies.get(index.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or(0);
        Duration::from_micros(micros.into())
    }
}

/// Runs the load to its end.
pub async fn run(load: Load) -> Outcome {
    assert!(load.target.ip().is_loopback(), "load goes to loopback only");
    let load = Arc::new(load);
    let failed = Arc::new(AtomicU64::new(0));
    let begin = now();
    let deadline = begin + load.duration;
    let workers: Vec<_> = (0..load.connections)
        .map(|_| tokio::spawn(connection(Arc::clone(&load), deadline, Arc::clone(&failed))))
        .collect();
    let mut outcome = Outcome::default();
    for worker in workers {
        let Ok((latencies, failure)) = worker.await else { continue };
        outcome.latencies.extend(latencies);
        outcome.first_failure = outcome.first_failure.or(failure);
    }
    outcome.elapsed = begin.elapsed();
    outcome.answered = u64::try_from(outcome.latencies.len()).unwrap_or(u64::MAX);
    outcome.failed = failed.load(Ordering::Relaxed);
    outcome.latencies.sort_unstable();
    outcome
}

async fn connection(
    load: Arc<Load>,
    deadline: std::time::Instant,
    failed: Arc<AtomicU64>,
) -> (Vec<u32>, Option<String>) {
    let mut latencies = Vec::with_capacity(65_536);
    let mut failure = None;
    let share = load.most.div_ceil(load.connections);
    while now() < deadline && latencies.len() < share {
        match until_it_breaks(&load, deadline, &mut latencies).await {
            Ok(()) => {}
            Err(reason) => {
                failure.get_or_insert(reason);
                // A target that refuses everything must not turn this into a busy loop without end.
                if failed.fetch_add(1, Ordering::Relaxed) > 10_000 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    (latencies, failure)
}

async fn until_it_breaks(
    load: &Load,
    deadline: std::time::Instant,
    latencies: &mut Vec<u32>,
) -> Result<(), String> {
    let stream = TcpStream::connect(load.target).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let share = load.most.div_ceil(load.connections);
    while now() < deadline && latencies.len() < share {
        let mut request = Request::builder().method(load.method).uri(&load.path).header("Host", "127.0.0.1");
        for (name, value) in &load.headers {
            request = request.header(name, value);
        }
        if !load.kept {
            request = request.header("Connection", "close");
        }
        let request = request.body(Full::new(load.body.clone())).map_err(|error| error.to_string())?;
        let start = now();
        let answered = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let mut body = answer.into_body();
            let mut first = None;
            while let Some(frame) = body.frame().await {
                first = first.or(frame?.into_data().ok());
            }
            Ok::<_, hyper::Error>((status, first))
        };
        let answered = tokio::time::timeout(PATIENCE, answered).await.map_err(|_| "no answer".to_owned())?;
        let (status, first) = answered.map_err(|error| error.to_string())?;
        if status != 200 {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&first.unwrap_or_default())));
        }
        latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
        if !load.kept {
            return Ok(());
        }
        sender.ready().await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a load generator reads the machine's own clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
