//! QUIC as the rogue peer speaks it, and a piece of network that a test has in its hand.
//!
//! ```text
//! gateway ══ UDP ══► Relay ══ UDP ══► gateway      passes, counts, or loses everything
//! Rogue ── Stranger, QuicLine ──► gateway          with any certificate, protocol, bytes
//! gateway ──► Rogue::speak_quic                    answers in any manner
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gateway::transport::quic::PROTOCOL;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::version::TLS13;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UdpSocket;

use super::authority::Holder;
use super::http1::Message;
use super::rogue::{Envelope, PeerReply, Rogue, State, server};
use super::within;

/// A way that datagrams take.
#[derive(Clone)]
pub struct Relay(Arc<Passage>);

#[derive(Default)]
struct Passage {
    is_blocked: AtomicBool,
    there: AtomicU64,
    back: AtomicU64,
}

impl Relay {
    /// From one address to another.
    pub async fn start(listen: SocketAddr, to: SocketAddr) -> Self {
        let relay = Self(Arc::default());
        let front = Arc::new(UdpSocket::bind(listen).await.unwrap());
        let passage = Arc::clone(&relay.0);
        tokio::spawn(async move {
            let mut known: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
            let mut datagram = vec![0; 65_536];
            while let Ok((length, from)) = front.recv_from(&mut datagram).await {
                let bytes = datagram.get(..length).unwrap_or_default();
                if passage.is_blocked.load(Ordering::SeqCst) {
                    continue;
                }
                passage.there.fetch_add(u64::try_from(length).unwrap(), Ordering::SeqCst);
                let back = match known.get(&from) {
                    Some(back) => Arc::clone(back),
                    None => {
                        let back = UdpSocket::bind((listen.ip(), 0)).await.unwrap();
                        back.connect(to).await.unwrap();
                        let back = Arc::new(back);
                        tokio::spawn(come_back(
                            Arc::clone(&passage),
                            Arc::clone(&back),
                            Arc::clone(&front),
                            from,
                        ));
                        known.insert(from, Arc::clone(&back));
                        back
                    }
                };
                let _ = back.send(bytes).await;
            }
        });
        relay
    }

    /// Loses everything from now on, or nothing.
    pub fn block(&self, blocked: bool) {
        self.0.is_blocked.store(blocked, Ordering::SeqCst);
    }

    /// How many bytes it has carried, there and back.
    pub fn carried(&self) -> (u64, u64) {
        (self.0.there.load(Ordering::SeqCst), self.0.back.load(Ordering::SeqCst))
    }
}

async fn come_back(passage: Arc<Passage>, back: Arc<UdpSocket>, front: Arc<UdpSocket>, to: SocketAddr) {
    let mut datagram = vec![0; 65_536];
    loop {
        // Refused: nobody listens there now.
        let Ok(length) = back.recv(&mut datagram).await else { continue };
        if passage.is_blocked.load(Ordering::SeqCst) {
            continue;
        }
        passage.back.fetch_add(u64::try_from(length).unwrap(), Ordering::SeqCst);
        let _ = front.send_to(datagram.get(..length).unwrap_or_default(), to).await;
    }
}

/// How somebody greets over QUIC.
#[derive(Clone)]
pub struct Stranger {
    /// What it shows.
    pub holder: Option<Holder>,
    /// The protocols that it offers.
    pub protocols: Vec<Vec<u8>>,
    /// Whether it would send before the handshake is over.
    pub early: bool,
    /// Where it comes from.
    pub from: IpAddr,
}

impl Stranger {
    /// With a certificate, and otherwise as a gateway does.
    pub fn with(holder: &Holder) -> Self {
        Self {
            holder: Some(holder.clone()),
            protocols: vec![PROTOCOL.to_vec()],
            early: false,
            from: Ipv4Addr::UNSPECIFIED.into(),
        }
    }

    /// An endpoint that greets like this.
    pub fn endpoint(&self, rogue: &Rogue) -> Endpoint {
        let mut tls = rogue.client_config(self.holder.as_ref(), &[], &[&TLS13]);
        tls.alpn_protocols = self.protocols.clone();
        tls.enable_early_data = self.early;
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(Some(Duration::from_secs(20).try_into().unwrap()));
        config.transport_config(Arc::new(transport));
        let mut endpoint = Endpoint::client(SocketAddr::new(self.from, 0)).unwrap();
        endpoint.set_default_client_config(config);
        endpoint
    }

    /// Connects; or what the other end said. A connection counts when the other end lets it be used.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(&self, rogue: &Rogue, to: SocketAddr) -> Result<QuicLine, String> {
        let endpoint = self.endpoint(rogue);
        let connecting = endpoint.connect(to, &to.ip().to_string()).map_err(|error| error.to_string())?;
        let connection =
            within("a handshake or its refusal", connecting).await.map_err(|error| error.to_string())?;
        // In TLS 1.3 whoever greets is through before the other end has looked at its certificate.
        match tokio::time::timeout(Duration::from_millis(200), connection.closed()).await {
            Ok(closed) => Err(closed.to_string()),
            Err(_open) => Ok(QuicLine { connection, _endpoint: endpoint }),
        }
    }
}

/// A connection of the rogue peer.
pub struct QuicLine {
    /// The connection.
    pub connection: Connection,
    _endpoint: Endpoint,
}

impl QuicLine {
    /// Sends a message on a stream of its own; `None` when there is no answer.
    pub async fn send(&self, envelope: &Envelope) -> Option<PeerReply> {
        self.send_bytes(&envelope.bytes()).await
    }

    /// Sends any bytes on a stream of their own, and reads the answer.
    pub async fn send_bytes(&self, bytes: &[u8]) -> Option<PeerReply> {
        let (mut sending, mut receiving) = self.connection.open_bi().await.ok()?;
        let _ = sending.write_all(bytes).await;
        let answer = within("an answer", Message::read(&mut receiving, false)).await.map(PeerReply);
        let _ = sending.finish();
        answer
    }

    /// Sends bytes and says that they are all; gives whatever comes back until the other end says the same.
    pub async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let Ok((mut sending, mut receiving)) = self.connection.open_bi().await else { return Vec::new() };
        let _ = sending.write_all(bytes).await;
        let _ = sending.finish();
        let mut came = Vec::new();
        let all = async {
            let mut piece = [0; 4096];
            while let Ok(Some(length)) = receiving.read(&mut piece).await {
                came.extend_from_slice(piece.get(..length).unwrap_or_default());
            }
        };
        within("an end", all).await;
        came
    }
}

/// First datagrams of that many handshakes, as a gateway would send them.
pub async fn initials(rogue: &Rogue, count: usize) -> Vec<Vec<u8>> {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = nobody.local_addr().unwrap();
    let endpoint = Stranger::with(&rogue.auth).endpoint(rogue);
    let mut datagram = [0; 2048];
    let (mut greetings, mut under_way) = (HashMap::with_capacity(count), Vec::with_capacity(count));
    while greetings.len() < count {
        under_way.push(endpoint.connect(to, "127.0.0.1").unwrap());
        let length = within("a greeting", nobody.recv(&mut datagram)).await.unwrap();
        let bytes = datagram.get(..length).unwrap_or_default();
        // Behind the version: the id that it gives the other end, with its length. One that is sent again has the same.
        let id = bytes.get(5..).and_then(|ids| ids.get(1..1 + usize::from(*ids.first()?)));
        if let Some(id) =
            id.filter(|_| length >= 1200 && bytes.first().is_some_and(|first| first & 0xf0 == 0xc0))
        {
            greetings.insert(id.to_vec(), bytes.to_vec());
        }
    }
    greetings.into_values().collect()
}

/// Sends a datagram; what comes back, until none has come for so long.
pub async fn echo(socket: &UdpSocket, to: SocketAddr, datagram: &[u8], patience: Duration) -> Vec<Vec<u8>> {
    socket.send_to(datagram, to).await.unwrap();
    let mut came = Vec::new();
    let mut answer = vec![0; 65_536];
    while let Ok(Ok(length)) = tokio::time::timeout(patience, socket.recv(&mut answer)).await {
        came.push(answer.get(..length).unwrap_or_default().to_vec());
    }
    came
}

/// What the rogue peer does with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers by its plan.
    Answers,
    /// Says that it has read nothing, and resets the stream.
    Unread,
    /// Says that it has read nothing of whatever has no answer, and closes the connection.
    ClosesUnread,
    /// Reads the message, and resets the stream.
    Resets,
    /// Reads the message, and closes the connection.
    Closes,
    /// Begins an answer and resets the stream.
    CutShort,
}

impl Rogue {
    /// Speaks QUIC at its UDP port 5500 from now on, with this certificate. Gives how many streams it was opened.
    pub fn speak_quic(&self, holder: &Holder, manner: Manner) -> Arc<AtomicU64> {
        let mut tls = server(holder);
        tls.alpn_protocols = vec![PROTOCOL.to_vec()];
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(config, SocketAddr::from((self.host, 5500))).unwrap();
        let (state, streams) = (Arc::clone(&self.state), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&streams);
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (state, counted) = (Arc::clone(&state), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    while let Ok(stream) = connection.accept_bi().await {
                        counted.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(serve(Arc::clone(&state), connection.clone(), stream, manner));
                    }
                });
            }
        });
        streams
    }
}

async fn serve(
    state: Arc<State>,
    connection: Connection,
    (mut sending, mut receiving): (SendStream, RecvStream),
    manner: Manner,
) {
    let [unread, given_up] = [1_u32, 3].map(VarInt::from_u32);
    if manner == Manner::Unread {
        let _ = (sending.reset(unread), receiving.stop(unread));
        return;
    }
    if manner == Manner::ClosesUnread {
        return connection.close(unread, b"");
    }
    let Some(request) = Message::read(&mut receiving, false).await else { return };
    let Some(envelope) = state.answered(&request).await else { return };
    match manner {
        Manner::Resets => drop((sending.reset(given_up), receiving.stop(given_up))),
        Manner::Closes => connection.close(given_up, b""),
        Manner::CutShort => {
            let bytes = envelope.bytes();
            let _ = sending.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default()).await;
            let _ = sending.flush().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = sending.reset(given_up);
        }
        _ => {
            let _ = sending.write_all(&envelope.bytes()).await;
            let _ = sending.finish();
            let _ = sending.stopped().await;
        }
    }
}
