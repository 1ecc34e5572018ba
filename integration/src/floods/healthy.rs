//! Those who only want their work done meanwhile: exchanges over kept connections, and newcomers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::flood::{connect, nobody};
use crate::demo::layout::{CONSUMER, Layout, PROVIDER, SERVICE};

/// Connections that are kept, each with one exchange under way at most.
const KEPT: usize = 8;
/// Between two exchanges of a connection.
const PAUSE: Duration = Duration::from_millis(20);
/// Between a newcomer and the next.
const NEXT: Duration = Duration::from_millis(25);
/// Nobody waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where newcomers come from: nobody else does.
const NEWCOMER: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);

/// What a peer may ask that is no message; it is answered at once.
pub(super) const PEER_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n";

/// Who comes anew.
#[derive(Clone)]
pub enum Newcomer {
    /// A peer: the time of its handshake and a first answer.
    Peer(SocketAddr, Arc<ClientConfig>),
    /// An information system: the time of connection and exchange.
    System,
}

/// How long things took, and what did not succeed.
#[derive(Debug, Default, Clone)]
pub struct Times {
    micros: Vec<u64>,
    /// What did not succeed.
    pub failed: usize,
    /// The first of these, in words.
    pub first: Option<String>,
}

impl Times {
    /// How many succeeded.
    pub fn count(&self) -> usize {
        self.micros.len()
    }

    /// The time in milliseconds that so many of a thousand stayed below.
    pub fn per_mille(&self, share: usize) -> f64 {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * share / 1000).min(sorted.len().saturating_sub(1));
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "microseconds of some seconds"
        )]
        let micros = sorted.get(at).copied().unwrap_or_default() as f64;
        micros / 1000.0
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.micros.extend(other.micros);
        self.failed += other.failed;
        self.first = self.first.or(other.first);
        self
    }

    fn note(&mut self, begun: Instant, done: Result<(), String>) {
        match done {
            Ok(()) => self.micros.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)),
            Err(reason) => {
                self.failed += 1;
                self.first.get_or_insert(reason);
            }
        }
    }
}

/// Exchanges over kept connections, and newcomers, for so long.
pub async fn watch(layout: &Layout, newcomer: &Newcomer, time: Duration) -> (Times, Times) {
    let until = Instant::now() + time;
    let door = layout.http(&CONSUMER);
    let kept: Vec<_> = (0..KEPT).map(|_| tokio::spawn(exchanges(door, until))).collect();
    let newcomers = newcomers(door, newcomer, until).await;
    let mut exchanges = Times::default();
    for one in kept {
        exchanges = exchanges.and(one.await.unwrap_or_default());
    }
    (exchanges, newcomers)
}

async fn exchanges(door: SocketAddr, until: Instant) -> Times {
    let mut times = Times::default();
    while Instant::now() < until {
        if let Err(reason) = over_one_connection(door, until, &mut times).await {
            times.note(until, Err(reason));
            sleep(PAUSE).await;
        }
    }
    times
}

async fn over_one_connection(door: SocketAddr, until: Instant, times: &mut Times) -> Result<(), String> {
    let stream = TcpStream::connect(door).await.map_err(text)?;
    let mut sender = speaks(stream).await?;
    // One at least, however long it took to be let in.
    loop {
        let begun = Instant::now();
        timeout(PATIENCE, exchange(&mut sender)).await.unwrap_or_else(|_| Err("late".to_owned()))?;
        times.note(begun, Ok(()));
        if Instant::now() >= until {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn speaks(stream: TcpStream) -> Result<Sender, String> {
    stream.set_nodelay(true).map_err(text)?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(sender: &mut Sender) -> Result<(), String> {
    let request = Request::get(format!("/r1/{}/{SERVICE}/bytes/1024", PROVIDER.client()))
        .header("Host", "127.0.0.1")
        .header("X-Road-Client", CONSUMER.client())
        .body(Full::default())
        .map_err(text)?;
    sender.ready().await.map_err(text)?;
    let answer = sender.send_request(request).await.map_err(text)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(text)?.to_bytes();
    if status == 200 {
        return Ok(());
    }
    Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
}

async fn newcomers(door: SocketAddr, newcomer: &Newcomer, until: Instant) -> Times {
    let mut times = Times::default();
    // One after the other: several at once from one address would share its places, as those of a flood do.
    while Instant::now() < until {
        let begun = Instant::now();
        let done = timeout(PATIENCE, comes(door, newcomer)).await;
        times.note(begun, done.unwrap_or_else(|_| Err("late".to_owned())));
        sleep(NEXT).await;
    }
    times
}

async fn comes(door: SocketAddr, newcomer: &Newcomer) -> Result<(), String> {
    match newcomer {
        Newcomer::Peer(door, config) => {
            let stream = connect(NEWCOMER, *door).await.map_err(text)?;
            let connected = TlsConnector::from(Arc::clone(config)).connect(nobody(), stream).await;
            let mut stream = connected.map_err(text)?;
            // In TLS 1.3 only an answer shows that we were let in.
            stream.write_all(PEER_REQUEST).await.map_err(text)?;
            match stream.read(&mut [0; 4096]).await.map_err(text)? {
                0 => Err("closed".to_owned()),
                _answer => Ok(()),
            }
        }
        Newcomer::System => {
            let stream = connect(NEWCOMER, door).await.map_err(text)?;
            exchange(&mut speaks(stream).await?).await
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
