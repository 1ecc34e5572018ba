//! Handshakes: from a TCP connection to a secured one, and what its far end has shown.
//!
//! rustls everywhere; towards other gateways OpenSSL in its place where the settings say so (`legacy_tls`).

use std::io;
use std::sync::Arc;

use rustls::server::Acceptor;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsConnector};

use super::door::TlsPeer;
use super::io::Stream;
#[cfg(feature = "legacy-tls")]
use super::legacy_tls;
use super::read_ahead::ReadAhead;

/// How handshakes are answered.
#[derive(Debug)]
pub enum ServerTls {
    /// As this configuration says.
    Rustls(Arc<ServerConfig>),
    /// For peers that have CBC suites only.
    #[cfg(feature = "legacy-tls")]
    Legacy(legacy_tls::Server),
}

/// How handshakes are begun.
#[derive(Debug)]
pub enum ClientTls {
    /// As this configuration says.
    Rustls(Arc<ClientConfig>),
    /// For peers that have CBC suites only.
    #[cfg(feature = "legacy-tls")]
    Legacy(legacy_tls::Client),
}

impl From<ServerConfig> for ServerTls {
    fn from(config: ServerConfig) -> Self {
        Self::Rustls(Arc::new(config))
    }
}

impl From<ClientConfig> for ClientTls {
    fn from(config: ClientConfig) -> Self {
        Self::Rustls(Arc::new(config))
    }
}

/// A handshake that the far end has begun; nothing has been computed for it yet.
pub(crate) enum Begun<'a> {
    Rustls(&'a Arc<ServerConfig>, Box<StartHandshake<ReadAhead>>),
    #[cfg(feature = "legacy-tls")]
    Legacy(&'a legacy_tls::Server, TcpStream),
}

impl ServerTls {
    /// Waits until the far end has said what it wants: who says nothing costs a socket and no more.
    pub(crate) async fn begun(&self, stream: TcpStream) -> io::Result<Begun<'_>> {
        match self {
            Self::Rustls(config) => {
                let hello = LazyConfigAcceptor::new(Acceptor::default(), ReadAhead::from(stream)).await?;
                Ok(Begun::Rustls(config, Box::new(hello)))
            }
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(server) => {
                stream.peek(&mut [0]).await?;
                Ok(Begun::Legacy(server, stream))
            }
        }
    }
}

impl Begun<'_> {
    /// The rest of the handshake: keys are agreed, certificates and signatures looked at.
    pub(crate) async fn finish(self) -> io::Result<(Stream, TlsPeer)> {
        match self {
            Self::Rustls(config, hello) => {
                let stream = hello.into_stream(Arc::clone(config)).await?;
                let peer = TlsPeer::of(stream.get_ref().1);
                Ok((Stream::Tls(Box::new(stream.into())), peer))
            }
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(server, stream) => server.accept(stream).await,
        }
    }
}

impl ClientTls {
    /// No name goes out as SNI: none is looked at, the address is enough to tell sessions apart.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<(Stream, TlsPeer)> {
        match self {
            Self::Rustls(config) => {
                let name = ServerName::from(stream.peer_addr()?.ip());
                let stream =
                    TlsConnector::from(Arc::clone(config)).connect(name, ReadAhead::from(stream)).await?;
                let peer = TlsPeer::of(stream.get_ref().1);
                Ok((Stream::Tls(Box::new(stream.into())), peer))
            }
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(client) => client.connect(stream).await,
        }
    }
}
