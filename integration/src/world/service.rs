//! The provider's information system.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::http1::Message;
use super::lock;

/// What the service does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Says what it was asked.
    Echo,
    /// Answers with these bytes.
    Raw(Vec<u8>),
    /// Answers as [`Self::Echo`] once it is allowed to.
    Held,
    /// Breaks the connection without an answer.
    Reset,
    /// Begins an answer and breaks off.
    CutShort,
    /// Never answers.
    Silent,
}

/// A service that counts its calls.
pub struct InformationService {
    /// Its address.
    pub host: Ipv4Addr,
    state: Arc<State>,
}

struct State {
    mode: Mutex<Mode>,
    connections: AtomicU64,
    calls: AtomicU64,
    last: Mutex<Message>,
    release: Notify,
}

impl InformationService {
    pub(crate) async fn start(host: Ipv4Addr) -> Self {
        let state = Arc::new(State {
            mode: Mutex::new(Mode::Echo),
            connections: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            last: Mutex::default(),
            release: Notify::new(),
        });
        let listener = TcpListener::bind((host, 8890)).await.unwrap();
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move { state.serve(stream).await });
            }
        });
        Self { host, state }
    }

    /// Its address as settings have it.
    pub fn url(&self) -> String {
        format!("http://{}:8890", self.host)
    }

    /// What it does from now on.
    pub fn mode(&self, mode: Mode) {
        *lock(&self.state.mode) = mode;
    }

    /// How many connections it was ever given, whether or not a request came over them.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How often it was called.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// The last request.
    pub fn last(&self) -> Message {
        lock(&self.state.last).clone()
    }

    /// Lets a held request be answered.
    pub fn release(&self) {
        self.state.release.notify_one();
    }
}

impl State {
    async fn serve(&self, mut stream: TcpStream) {
        let Some(request) = Message::read(&mut stream, false).await else { return };
        self.calls.fetch_add(1, Ordering::SeqCst);
        let echo = echo(&request);
        *lock(&self.last) = request;
        let mode = lock(&self.mode).clone();
        let answer = match mode {
            Mode::Echo => echo,
            Mode::Raw(bytes) => bytes,
            Mode::Held => {
                self.release.notified().await;
                echo
            }
            Mode::Reset => {
                let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO));
                return;
            }
            Mode::CutShort => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".to_vec(),
            Mode::Silent => {
                // Until the gateway gives up.
                let _ = Message::read(&mut stream, false).await;
                return;
            }
        };
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
}

fn echo(request: &Message) -> Vec<u8> {
    let body = format!("{}\n{}", request.first, String::from_utf8_lossy(&request.body));
    let head = format!(
        "HTTP/1.1 200 Fine\r\nContent-Type: text/plain\r\nX-Own: kept\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut bytes = head.into_bytes();
    if !request.first.starts_with("HEAD ") {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}
