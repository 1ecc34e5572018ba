//! Connections that take places and ask for nothing, from many addresses, held open until told to stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::healthy::PEER_REQUEST;

/// Connections that are being made at once.
const AT_ONCE: usize = 64;
/// Between the end of a connection and the next of the same.
const AGAIN: Duration = Duration::from_millis(50);
/// Between two bytes of a slow head.
const TRICKLE: Duration = Duration::from_secs(1);
/// No more come when none has for so long.
const RISEN: Duration = Duration::from_secs(2);
/// For a connection and what it does first.
const PATIENCE: Duration = Duration::from_secs(30);

/// What each connection does.
#[derive(Clone)]
pub enum Kind {
    /// Shakes hands as a registered peer, and says nothing more.
    IdleTls(Arc<ClientConfig>),
    /// The same, after one request that was answered.
    AskedTls(Arc<ClientConfig>),
    /// Connects, and says nothing.
    IdlePlain,
    /// Sends a head, a byte a second.
    SlowHead,
    /// Begins a handshake, and says nothing more.
    HalfHandshake(Arc<ClientConfig>),
}

/// Connections to one door.
#[derive(Clone)]
pub struct Flood {
    /// What they do.
    pub kind: Kind,
    /// Where to; loopback.
    pub door: SocketAddr,
    /// How many; each is made again when the door closes it.
    pub connections: usize,
    /// From how many addresses, 127.66.0.1 and on.
    pub addresses: u8,
}

/// What has become of a flood so far.
#[derive(Debug, Default)]
pub struct State {
    held: AtomicUsize,
    closed: AtomicUsize,
    failed: AtomicUsize,
}

impl State {
    /// Connections that are open now, and have done what they do first.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Connections that the door has closed.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }

    /// Connections that came to nothing.
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }
}

/// A flood that runs; all its connections close when it is dropped.
pub struct Running {
    state: Arc<State>,
    wanted: usize,
    _connections: JoinSet<()>,
}

impl Flood {
    /// Starts it.
    pub fn start(self) -> Running {
        assert!(self.door.ip().is_loopback(), "floods go to loopback only");
        let (state, room) = (Arc::new(State::default()), Arc::new(Semaphore::new(AT_ONCE)));
        let mut connections = JoinSet::new();
        for number in 0..self.connections {
            let last = u8::try_from(number % usize::from(self.addresses.max(1))).unwrap_or(0);
            let source = Ipv4Addr::new(127, 66, 0, last.saturating_add(1));
            let (flood, state, room) = (self.clone(), Arc::clone(&state), Arc::clone(&room));
            connections.spawn(async move { flood.connection(source, &state, &room).await });
        }
        Running { state, wanted: self.connections, _connections: connections }
    }

    async fn connection(&self, source: Ipv4Addr, state: &State, room: &Semaphore) {
        loop {
            let Ok(place) = room.acquire().await else { return };
            let begun = timeout(PATIENCE, self.begin(source)).await;
            drop(place);
            match begun {
                Ok(Ok(stream)) => {
                    state.held.fetch_add(1, Ordering::Relaxed);
                    self.hold(stream).await;
                    state.held.fetch_sub(1, Ordering::Relaxed);
                    state.closed.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    state.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            sleep(AGAIN).await;
        }
    }

    async fn begin(&self, source: Ipv4Addr) -> std::io::Result<Box<dyn Duplex>> {
        let stream = connect(source, self.door).await?;
        match &self.kind {
            Kind::IdlePlain => Ok(Box::new(stream)),
            Kind::SlowHead => Ok(Box::new(stream)),
            Kind::IdleTls(config) => {
                Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(nobody(), stream).await?))
            }
            Kind::AskedTls(config) => {
                let mut stream = TlsConnector::from(Arc::clone(config)).connect(nobody(), stream).await?;
                stream.write_all(PEER_REQUEST).await?;
                if stream.read(&mut [0; 4096]).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                Ok(Box::new(stream))
            }
            Kind::HalfHandshake(config) => {
                let mut stream = stream;
                let mut hello = Vec::new();
                let connection = ClientConnection::new(Arc::clone(config), nobody());
                connection.map_err(std::io::Error::other)?.write_tls(&mut hello)?;
                stream.write_all(&hello).await?;
                Ok(Box::new(stream))
            }
        }
    }

    /// Until the door closes it.
    async fn hold(&self, mut stream: Box<dyn Duplex>) {
        let mut scrap = [0; 1024];
        match self.kind {
            Kind::SlowHead => {
                let mut head =
                    b"GET /r1/X HTTP/1.1\r\nHost: slow\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
                loop {
                    let byte = *head.next().unwrap_or(&b'x');
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    match timeout(TRICKLE, stream.read(&mut scrap)).await {
                        Err(_pause) => {}
                        Ok(Ok(read)) if read > 0 => {}
                        Ok(_closed) => return,
                    }
                }
            }
            _ => while matches!(stream.read(&mut scrap).await, Ok(read) if read > 0) {},
        }
    }
}

impl Running {
    /// What has become of it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Waits until all connections are held, or no more come.
    pub async fn risen(&self) {
        let (mut most, mut since) = (0, Instant::now());
        while most < self.wanted && since.elapsed() < RISEN {
            sleep(AGAIN).await;
            if self.state.held() > most {
                (most, since) = (self.state.held(), Instant::now());
            }
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection from an address of our choice.
pub(super) async fn connect(source: Ipv4Addr, door: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(door).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// No name is looked at between gateways.
pub(super) fn nobody() -> ServerName<'static> {
    ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST))
}
