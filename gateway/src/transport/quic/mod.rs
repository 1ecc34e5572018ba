//! QUIC between two Passerelle gateways: the same messages, the same certificates, the same checks as over TCP.
//!
//! ```text
//! peer_connector ──► dialer ──► one connection to each server ══ UDP ══► door ──► peer_door
//!                      │          └ a stream for each exchange: HTTP/1.1, request and answer, as on TCP
//!                      └ not offered, not reached in time, no room: TCP
//! ```
//! - `Dialer`: who offers QUIC, and the connections to them
//! - [`door`]: the listener, beside the peer door
//! - `stream`: one exchange's bytes, and whether the far end can have read them
//! - `session`: what a handshake agreed on
//!
//! A gateway that speaks QUIC says so in a header of its answers ([`OFFER`]), or the authority says it for it in a part of
//! the configuration, whose word counts before its own; X-Road reads neither. Nobody is asked anything twice: a request goes by TCP after QUIC only when not
//! a byte of it can have been read (`stream::Fate`).
//!
//! TLS 1.3 with the configurations of TCP ([`super::tls`]): the same keys, certificates and verifiers, another protocol
//! name. No early data, no migration, no datagrams (RFC 9221), no streams in one direction.
//!
//! Specification: RFC 9000, RFC 9001; THREATS T38.

mod dialer;
pub mod door;
mod session;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::Hasher;
use quinn::congestion::BbrConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use rustls::ProtocolVersion;
use rustls::client::Resumption;
use rustls::server::ServerSessionMemoryCache;

pub(crate) use dialer::{Dialer, SaidBy};
pub(crate) use stream::{Fate, QuicStream};

use super::door::TlsPeer;
use super::handshake::{ClientTls, ServerTls};
use super::tls::Identity;
use session::{Agreed, Observed};

/// The header in which a gateway tells the UDP port at which it speaks QUIC.
pub const OFFER: &str = "x-passerelle-quic";

/// The name of what is spoken (ALPN): HTTP/1.1, one exchange a stream.
pub const PROTOCOL: &[u8] = b"passerelle-1";

/// Version 1 only: the drafts before it are nobody's here.
const VERSIONS: [u32; 1] = [1];

/// How many TLS sessions are remembered for resumption.
const SESSIONS: usize = 256;

/// Why an end of a connection, or of a stream, is ended (RFC 9000 20.2: ours to choose).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Nothing is left to say.
    Done,
    /// Not a byte of this request was read, or of any that has no answer: it may go another way.
    Unread,
    /// The certificate is not registered.
    NotAdmitted,
    /// Broken off.
    GivenUp,
}

impl Code {
    pub(crate) const fn number(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Unread => 1,
            Self::NotAdmitted => 2,
            Self::GivenUp => 3,
        })
    }
}

/// Settings of QUIC, for both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicSettings {
    /// Where other gateways' connections are taken; `None`: QUIC is neither offered nor used.
    pub listen: Option<SocketAddr>,
    /// Connections at once; more are refused, and their gateways use TCP.
    pub connections: usize,
    /// The same from one address.
    pub connections_per_address: usize,
    /// Exchanges at once on one connection; more use TCP.
    pub streams: u32,
    /// Handshakes under way with addresses that nobody has proved to be at; above it each must prove it first (Retry).
    pub unproven: usize,
    /// After how long without a packet a connection is given up.
    pub idle: Duration,
    /// The largest datagram taken, and tried when the path is explored, in bytes.
    pub datagram: u16,
    /// How much of one body may wait in memory.
    pub window: u32,
    /// The same of all bodies of a connection.
    pub connection_window: u32,
    /// How fast is sent what a path may not carry.
    pub congestion: Congestion,
    /// How long an exchange waits for a connection to come about before it goes by TCP.
    pub wait: Duration,
    /// After how long QUIC is tried again with a server that could not be reached by it.
    pub retry: Duration,
}

/// How a connection finds out how much a path carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// By what is lost (RFC 9438): as most of the network does.
    Cubic,
    /// By how fast it arrives (BBR): where packets are lost for other reasons than that there are too many.
    Bbr,
}

impl Default for QuicSettings {
    fn default() -> Self {
        Self {
            listen: None,
            connections: 1000,
            connections_per_address: 16,
            streams: 256,
            unproven: 32,
            idle: Duration::from_secs(30),
            datagram: 1452,
            window: 1 << 20,
            connection_window: 8 << 20,
            congestion: Congestion::Cubic,
            wait: Duration::from_millis(300),
            retry: Duration::from_secs(600),
        }
    }
}

/// What must be the same after a restart, so that a peer learns at once that its connections have gone with the process.
#[derive(Clone)]
pub struct Lasting([u8; 64]);

impl Lasting {
    /// From the key that we show in handshakes, from which nobody gets back to it.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha512);
        hasher.update(b"passerelle: stateless resets of QUIC\0");
        hasher.update(identity.key.secret_der());
        let mut bytes = [0; 64];
        bytes.iter_mut().zip(hasher.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

/// An endpoint's settings; `lasting` where others connect to it.
fn endpoint(settings: &QuicSettings, lasting: Option<&Lasting>) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    if let Some(Lasting(bytes)) = lasting {
        let (reset, ids) = bytes.split_at(32);
        config.reset_key(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, reset)));
        let ids = ids.first_chunk().copied().map_or(0, u64::from_be_bytes);
        config.cid_generator(move || Box::new(quinn_proto::HashedConnectionIdGenerator::from_key(ids)));
    }
    config.supported_versions(VERSIONS.to_vec());
    // Out of bounds is what the settings do not let through.
    let _ = config.max_udp_payload_size(settings.datagram);
    config
}

fn transport(settings: &QuicSettings) -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(settings.datagram);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(settings.streams.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(settings.window.into())
        .receive_window(settings.connection_window.into())
        .send_window(settings.connection_window.into())
        .mtu_discovery_config(Some(discovery))
        .max_idle_timeout(IdleTimeout::try_from(settings.idle).ok());
    if settings.congestion == Congestion::Bbr {
        config.congestion_controller_factory(Arc::new(BbrConfig::default()));
    }
    config
}

/// What the far end has shown, and what was agreed with it; `None` when it speaks another protocol than ours.
fn peer_of(connection: &quinn::Connection) -> Option<TlsPeer> {
    let agreed = connection.handshake_data()?.downcast::<Agreed>().ok()?;
    let certificates = connection.peer_identity().and_then(|shown| shown.downcast().ok());
    let Agreed { protocol, suite, group } = *agreed;
    (protocol.as_deref() == Some(PROTOCOL)).then(|| TlsPeer {
        certificates: certificates.map(|certificates| *certificates).unwrap_or_default(),
        version: format!("{:?}", ProtocolVersion::TLSv1_3),
        suite: suite.map(|suite| format!("{suite:?}")).unwrap_or_default(),
        group: group.map(|group| format!("{group:?}")),
    })
}

/// The peer door's configuration for QUIC: none where OpenSSL speaks in place of rustls.
fn server(tls: &ServerTls, settings: &QuicSettings, handshakes: usize) -> Option<quinn::ServerConfig> {
    #[cfg_attr(not(feature = "legacy-tls"), expect(irrefutable_let_patterns, reason = "the only kind"))]
    let ServerTls::Rustls(tls) = tls else { return None };
    let mut tls = rustls::ServerConfig::clone(tls);
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    tls.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    tls.max_early_data_size = 0;
    let crypto = QuicServerConfig::try_from(tls).ok()?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(Observed::new(crypto)));
    config
        .transport_config(Arc::new(transport(settings)))
        .migration(false)
        // Those that wait for their turn; a hello fits into two datagrams, with a certificate or a larger key share in three.
        .max_incoming(handshakes)
        .incoming_buffer_size(16 << 10)
        .incoming_buffer_size_total(4 << 20);
    Some(config)
}

/// The configuration of calls to peers for QUIC; as [`server`].
fn client(tls: &ClientTls, settings: &QuicSettings) -> Option<quinn::ClientConfig> {
    #[cfg_attr(not(feature = "legacy-tls"), expect(irrefutable_let_patterns, reason = "the only kind"))]
    let ClientTls::Rustls(tls) = tls else { return None };
    let mut tls = rustls::ClientConfig::clone(tls);
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    tls.resumption = Resumption::in_memory_sessions(SESSIONS);
    tls.enable_early_data = false;
    let crypto = QuicClientConfig::try_from(tls).ok()?;
    let mut transport = transport(settings);
    // A server that has died without a word is found out while nobody waits for it.
    transport.keep_alive_interval(Some(settings.idle / 6));
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    let mut config = quinn::ClientConfig::new(Arc::new(Observed::new(crypto)));
    config.transport_config(Arc::new(transport));
    Some(config)
}
