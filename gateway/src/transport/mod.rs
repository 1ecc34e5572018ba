//! Everything that touches a socket: the doors where messages come in, and the calls that go out.
//!
//! ```text
//! information system ──► front_door ─┐                           ┌─► peer_connector ──► another gateway
//!                                    ├─► door (accept, limits) ─┐│      └ fastest (which address)
//! another gateway ────► peer_door ───┘     ├ requests (hyper)   ││      ├ auth_trust (who answered)
//!                  5577 ► ocsp_exchange    └ head (bytes as     ││      └ quic (the other way to go)
//!                                             received)         │└─► service_caller ──► the service
//!                                                               └ body (streams both ways)
//! ```
//!
//! - [`front_door`], [`peer_door`]: the two listeners of an exchange; [`ocsp_exchange`] the third, small one.
//! - [`peer_connector`]: a provider's servers -> a connection whose far end is trusted.
//! - [`service_caller`]: the call to the organisation's own service.
//! - [`quic`]: both over QUIC, between two Passerelle gateways.
//! - [`auth_trust`]: is this certificate that of a registered server, valid, not revoked?
//!   [`peer_registry`] is what it asks the configuration; [`ocsp_cache`] and [`ocsp_refresh`] bring the OCSP responses.
//! - [`revocation_watch`]: asks the responders itself about peers; `ocsp_ask`: one question to a responder.
//! - `places`: who gives way to whom when more come than a door has places.
//! - [`tls`]: the TLS configurations; [`handshake`]: the handshakes; [`body`]: bodies as streams; [`head`]: request heads as received.
//!
//! Specification: PR-MESSTRANSP 2 and 3; PR-REST 4; RFC 9110, RFC 9112, RFC 8446.
//!
//! It knows bytes, not messages: nothing here reads an X-Road header, decides a right or looks at a signature.

pub mod auth_trust;
pub mod body;
pub(crate) mod door;
pub mod fastest;
pub mod front_door;
pub mod handshake;
pub mod head;
mod io;
#[cfg(feature = "legacy-tls")]
pub mod legacy_tls;
mod link;
pub(crate) mod ocsp_ask;
pub mod ocsp_cache;
pub mod ocsp_exchange;
pub mod ocsp_refresh;
pub mod peer_connector;
pub mod peer_door;
pub mod peer_registry;
mod places;
pub mod quic;
mod read_ahead;
mod requests;
pub mod revocation_watch;
pub mod service_caller;
pub mod tls;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderName;

pub use door::{Caller, TlsPeer};

/// The limits of a door, all from THREATS T17, T20, T21 and T37.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// Connections open at once; those that wait without a request give way to more (`places`).
    pub connections: usize,
    /// Connections open at once from one address; more are closed at once.
    pub connections_per_address: usize,
    /// TLS handshakes under way at once; more wait, and those that take long give way (`places`). One is under way when the
    /// far end has begun it.
    pub handshakes: usize,
    /// The same from one address (of IPv6: from one /64).
    pub handshakes_per_address: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a request head may take, from its first byte (or from the connection's beginning).
    pub head_timeout: Duration,
    /// How long a kept connection may be idle, how long a body may pause, how long a reader may take nothing.
    pub idle_timeout: Duration,
    /// The longest request head in bytes.
    pub head_bytes: usize,
    /// The longest header line in bytes.
    pub header_line_bytes: usize,
    /// The most header lines.
    pub headers: usize,
    /// The longest request target in bytes.
    pub target_bytes: usize,
    /// A body may be as slow as it likes for this long (counting only the time that we wait for it) ...
    pub body_grace: Duration,
    /// ... and must have brought this many bytes a second on average from then on.
    pub body_bytes_per_second: u32,
    /// After the signal to stop: how long exchanges that are under way may take to finish.
    pub drain: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            connections: 5000,
            connections_per_address: 2000,
            handshakes: 256,
            handshakes_per_address: 32,
            handshake_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            head_bytes: 64 * 1024,
            header_line_bytes: 16 * 1024,
            headers: 200,
            target_bytes: 8 * 1024,
            body_grace: Duration::from_secs(30),
            body_bytes_per_second: 1024,
            drain: Duration::from_secs(30),
        }
    }
}

/// Settings of the calls to other gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// The port of every peer's door: a setting of the network, the configuration holds hosts only.
    pub port: u16,
    /// The port where every peer serves its OCSP responses.
    pub ocsp_port: u16,
    /// How long a TCP connection may take.
    pub connect_timeout: Duration,
    /// How long one to the remembered fastest address may take before the others are tried.
    pub remembered_connect_timeout: Duration,
    /// How long the TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long the head of the answer may take; `None` waits for ever, as X-Road does.
    pub answer_timeout: Option<Duration>,
    /// How long the fastest address of a provider is remembered.
    pub fastest_remembered: Duration,
    /// How long an unused connection is kept: less than the peer's own idle limit.
    pub idle: Duration,
    /// Unused connections kept to one server: as many as it takes from one address, if it is one of ours. With fewer, each
    /// exchange beyond them costs a handshake again and again.
    pub idle_connections: usize,
    /// How often responders are asked about the certificates of peers; `None` for never.
    pub revocations: Option<Duration>,
    /// How long fetching OCSP responses from a peer may take: connect, and in total.
    pub ocsp_timeouts: (Duration, Duration),
    /// QUIC with those that speak it.
    pub quic: quic::QuicSettings,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            port: 5500,
            ocsp_port: 5577,
            connect_timeout: Duration::from_secs(30),
            remembered_connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            answer_timeout: None,
            fastest_remembered: Duration::from_secs(3600),
            idle: Duration::from_secs(25),
            idle_connections: 2000,
            revocations: Some(Duration::from_secs(45)),
            ocsp_timeouts: (Duration::from_secs(20), Duration::from_secs(30)),
            quic: quic::QuicSettings::default(),
        }
    }
}

/// Settings of the calls to services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// How long a TCP connection may take.
    pub connect_timeout: Duration,
    /// How long the TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long an unused connection is kept. Short: many servers close after 5 s, and a request that met such a
    /// closing connection may not be repeated.
    pub idle: Duration,
    /// Unused connections kept to one service.
    pub idle_connections: usize,
    /// Where no service of ours can be, though a name may lead there: administration, the database of the log.
    pub never: Vec<SocketAddr>,
}

impl ServiceSettings {
    /// Whether no service is called at this address: one of [`Self::never`], or one that means something to this machine
    /// only, where clouds tell secrets (link-local).
    #[must_use]
    pub fn forbids(&self, address: SocketAddr) -> bool {
        let is_link_local = match address.ip().to_canonical() {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let own = |never: &SocketAddr| {
            let everywhere = never.ip().is_unspecified() && address.ip().is_loopback();
            never.port() == address.port() && (never.ip() == address.ip().to_canonical() || everywhere)
        };
        is_link_local || self.never.iter().any(own)
    }
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(4),
            idle_connections: 256,
            never: Vec::new(),
        }
    }
}

/// All settings of this part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The information systems' doors.
    pub front: DoorLimits,
    /// The door for other gateways.
    pub peer_door: DoorLimits,
    /// The calls to other gateways.
    pub peers: PeerSettings,
    /// The calls to services.
    pub services: ServiceSettings,
}

/// Whether a header belongs to one connection, not to the message (RFC 9110 7.6.1); such a one is never passed on.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}
