//! What a handshake agreed on: the evidence names cipher suite and group, and quinn tells neither. They stand in the
//! ServerHello, which passes here on its way between quinn and rustls.
//!
//! ```text
//! quinn ──► Observed ──► rustls          everything is handed on as it is
//!             └ Hello: reads the ServerHello, the second one after a HelloRetryRequest
//! ```
//!
//! Specification: RFC 8446 4.1.3, 4.2.8; RFC 9001 4.

use std::any::Any;
use std::sync::Arc;

use quinn::crypto::rustls::HandshakeData;
use quinn::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn::{ConnectError, ConnectionId, Side};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rustls::{CipherSuite, NamedGroup};

/// What [`Observed`] tells when quinn is asked for the data of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) protocol: Option<Vec<u8>>,
    pub(super) suite: Option<CipherSuite>,
    pub(super) group: Option<NamedGroup>,
}

/// A configuration whose handshakes are listened to.
pub(super) struct Observed<C>(Arc<C>);

impl<C> Observed<C> {
    pub(super) fn new(config: C) -> Self {
        Self(Arc::new(config))
    }
}

impl<C: ClientConfig> ClientConfig for Observed<C> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = Arc::clone(&self.0).start_session(version, server_name, params)?;
        Ok(Box::new(Heard { inner, side: Side::Client, hello: Hello::default() }))
    }
}

impl<C: ServerConfig> ServerConfig for Observed<C> {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let inner = Arc::clone(&self.0).start_session(version, params);
        Box::new(Heard { inner, side: Side::Server, hello: Hello::default() })
    }
}

/// A handshake that is listened to.
struct Heard {
    inner: Box<dyn Session>,
    side: Side,
    hello: Hello,
}

impl Session for Heard {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let data = self.inner.handshake_data()?.downcast::<HandshakeData>().ok()?;
        let Hello { suite, group, .. } = self.hello;
        Some(Box::new(Agreed { protocol: data.protocol, suite, group }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        if self.side == Side::Client {
            self.hello.follow(buf);
        }
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let before = buf.len();
        let keys = self.inner.write_handshake(buf);
        if self.side == Side::Server {
            self.hello.follow(buf.get(before..).unwrap_or_default());
        }
        keys
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

/// The longest ServerHello: a key share of the largest group there is, and some.
const LONGEST: usize = 8 * 1024;

const SERVER_HELLO: u8 = 2;
const KEY_SHARE: u16 = 51;

/// What a server says of the handshake, as far as it is here.
#[derive(Debug, Default)]
struct Hello {
    partial: Vec<u8>,
    is_over: bool,
    suite: Option<CipherSuite>,
    group: Option<NamedGroup>,
}

impl Hello {
    /// Takes what the server has sent next. What is no ServerHello ends it: rustls judges whether it may be there.
    fn follow(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        self.partial.extend_from_slice(bytes);
        while let Some((kind, length)) = self.partial.first().copied().zip(length(&self.partial)) {
            if kind != SERVER_HELLO || length > LONGEST {
                self.is_over = true;
                self.partial = Vec::new();
                return;
            }
            let Some(body) = self.partial.get(4..length.saturating_add(4)) else { return };
            let said = read(body);
            (self.suite, self.group) = (said.map(|said| said.0), said.and_then(|said| said.1));
            self.partial.drain(..length.saturating_add(4));
        }
    }
}

/// The length that stands in the head of a handshake message.
fn length(message: &[u8]) -> Option<usize> {
    let [a, b, c] = *message.get(1..)?.first_chunk::<3>()?;
    usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()
}

/// Suite and group of a ServerHello; no group where the session goes on from an earlier one without a new key exchange.
fn read(body: &[u8]) -> Option<(CipherSuite, Option<NamedGroup>)> {
    let session = usize::from(*body.get(34)?);
    let rest = body.get(35..)?.get(session..)?;
    let suite = CipherSuite::from(number(rest)?);
    let mut extensions = rest.get(5..)?;
    while let (Some(kind), Some(length)) = (number(extensions), extensions.get(2..).and_then(number)) {
        let content = extensions.get(4..)?;
        if kind == KEY_SHARE {
            return Some((suite, number(content).map(NamedGroup::from)));
        }
        extensions = content.get(usize::from(length)..)?;
    }
    Some((suite, None))
}

fn number(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RFC 8446 4.1.3 draws it.
    fn server_hello(suite: u16, group: u16, share: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend(suite.to_be_bytes());
        body.push(0);
        let mut extensions = vec![0, 43, 0, 2, 3, 4, 0, 51];
        let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
        extensions.extend(length(share.len() + 4));
        extensions.extend(group.to_be_bytes());
        extensions.extend(length(share.len()));
        extensions.extend(share);
        body.extend(length(extensions.len()));
        body.extend(extensions);
        let mut message = vec![SERVER_HELLO, 0];
        message.extend(length(body.len()));
        message.extend(body);
        message
    }

    #[test]
    fn suite_and_group_are_read_however_the_hello_is_cut() {
        let hello = server_hello(0x1302, 0x11ec, &[9; 1120]);
        for piece in [1, 7, 500, 5000] {
            let mut heard = Hello::default();
            hello.chunks(piece).for_each(|bytes| heard.follow(bytes));
            assert_eq!(heard.suite, Some(CipherSuite::TLS13_AES_256_GCM_SHA384), "{piece}");
            assert_eq!(heard.group, Some(NamedGroup::X25519MLKEM768), "{piece}");
        }
    }

    #[test]
    fn the_second_hello_counts_after_a_retry_and_what_follows_is_not_looked_at() {
        let mut heard = Hello::default();
        heard.follow(&server_hello(0x1301, 0x0018, &[]));
        heard.follow(&server_hello(0x1303, 0x001d, &[1; 32]));
        heard.follow(&[8, 0, 0, 2, 0, 0]);
        heard.follow(&server_hello(0x1301, 0x0017, &[1; 65]));
        assert_eq!(heard.suite, Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256));
        assert_eq!(heard.group, Some(NamedGroup::X25519));
        assert!(heard.partial.is_empty());
    }

    #[test]
    fn nonsense_says_nothing_and_is_not_kept() {
        for bytes in [vec![2, 0xff, 0xff, 0xff], vec![1; 100], [vec![2, 0, 0, 3], vec![0; 3]].concat()] {
            let mut heard = Hello::default();
            for _ in 0..1000 {
                heard.follow(&bytes);
            }
            assert_eq!((heard.suite, heard.group), (None, None));
            assert!(heard.partial.len() < LONGEST);
        }
    }
}
