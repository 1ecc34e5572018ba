//! What the two stories need of the world: a gateway, and the ports through which bytes come and go.
//!
//! Everything here is a trait or plain data, so that two whole gateways run against each other in one process, with
//! bodies in memory and a clock that is turned by hand; the doors and connections of [`crate::transport`] are one
//! implementation, in [`crate::network`].
//!
//! Not here: the stories ([`super::consumer`], [`super::provider`]), and anything that touches a socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::clocks::Clocks;
use conf::client::ConfHandle;
use conf::identifier::{ClientId, MemberId, ServerId};
use conf::snapshot::{GlobalConf, SecurityServer};

use super::provider::Deliverable;
use crate::evidence::signature::{SignatureBundle, SignatureError, SigningKey, TrustCache};
use crate::fault::Fault;
use crate::message::digests::PartDigests;
use crate::message::multipart::Boundary;
use crate::messagelog::replays::Replays;
use crate::messagelog::{LogError, MessageLog, SealedBody};
use crate::opmonitor::Monitor;
use crate::serverconf::ServerConf;

/// Something that takes time.
pub type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One organisation's gateway, as its exchanges see it.
pub struct Gateway {
    /// Who we are.
    pub server: ServerId,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whether it is right.
    pub clocks: Arc<Clocks>,
    /// Ids that nobody can foresee.
    pub ids: Arc<dyn Ids>,
    /// The global configuration.
    pub conf: ConfHandle,
    /// Our own settings: clients, services, rights. One snapshot serves a whole exchange.
    pub local: Arc<dyn Fn() -> Arc<ServerConf> + Send + Sync>,
    /// Our signing keys with their certificates and OCSP responses.
    pub keys: Arc<dyn SigningKeys>,
    /// What signs with them.
    pub signer: Arc<dyn MessageSigner>,
    /// Signers whose certificates were found good a moment ago.
    pub trust: TrustCache,
    /// The message log.
    pub log: MessageLog,
    /// Requests that were seen before.
    pub replays: Replays,
    /// What observes exchanges.
    pub monitor: Monitor,
    /// The other gateways.
    pub peers: Arc<dyn Peers>,
    /// Our services.
    pub services: Arc<dyn Services>,
}

/// Ids and boundaries that nobody can foresee.
pub trait Ids: Send + Sync {
    /// A random UUID.
    fn uuid(&self) -> String;
    /// A boundary that no body holds.
    fn boundary(&self) -> Boundary;
}

/// Our signing keys.
pub trait SigningKeys: Send + Sync {
    /// The key that signs for a member now.
    ///
    /// # Errors
    /// Why none can.
    fn signing_key(
        &self,
        member: &MemberId,
        conf: &GlobalConf,
        now: UnixTime,
    ) -> Result<Arc<SigningKey>, KeyUnavailable>;

    /// OCSP responses for our TLS certificate and its issuers below the approved one, leaf first: they precede every
    /// message that we send.
    fn own_ocsp_responses(&self, now: UnixTime) -> Vec<Bytes>;
}

/// What signs messages; those that wait for the same key may share a signature.
pub trait MessageSigner: Send + Sync {
    /// Signs one message. Dropped before its end, the message may or may not be signed, and nobody learns it.
    fn sign<'a>(
        &'a self,
        digests: &'a PartDigests,
        key: &'a Arc<SigningKey>,
        now: UnixTime,
    ) -> Wait<'a, Result<SignatureBundle, SignatureError>>;
}

/// Why no key can sign for a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyUnavailable {
    /// There is no key with a certificate for the member.
    #[error("no signing key with a valid certificate")]
    NoKey,
    /// There is one, but nothing proves that its certificate is not revoked.
    #[error("no valid OCSP response for the signing certificate")]
    NoOcsp,
}

/// A body that arrives.
pub trait Arriving: Send {
    /// The next chunk, never empty; `None` at the end.
    fn next(&mut self) -> Wait<'_, Result<Option<Bytes>, Interrupted>>;
}

/// A body broke off before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

/// A body whose first chunk has been looked at.
pub struct Resumed {
    first: Option<Bytes>,
    rest: Box<dyn Arriving>,
}

impl Resumed {
    /// The body from its beginning.
    pub fn boxed(first: Bytes, rest: Box<dyn Arriving>) -> Box<dyn Arriving> {
        Box::new(Self { first: Some(first), rest })
    }
}

impl Arriving for Resumed {
    fn next(&mut self) -> Wait<'_, Result<Option<Bytes>, Interrupted>> {
        match self.first.take() {
            Some(first) => Box::pin(std::future::ready(Ok(Some(first)))),
            None => self.rest.next(),
        }
    }
}

/// A sealed body, read back.
struct Unsealed<S>(S);

impl<S> Arriving for Unsealed<S>
where
    S: futures_util::Stream<Item = Result<Bytes, LogError>> + Send + Unpin,
{
    fn next(&mut self) -> Wait<'_, Result<Option<Bytes>, Interrupted>> {
        Box::pin(async {
            let chunk = futures_util::StreamExt::next(&mut self.0).await;
            chunk.transpose().map_err(|error| Interrupted(error.to_string()))
        })
    }
}

/// A body that leaves. Dropped before [`Self::finish`], the receiver sees it cut off.
pub trait Leaving: Send {
    /// Hands a chunk over; waits while the receiver is behind.
    fn send(&mut self, chunk: Bytes) -> Wait<'_, Result<(), Gone>>;
    /// Hands the last chunk over. A message of which nothing was sent before leaves as a whole.
    fn finish(self: Box<Self>, last: Bytes) -> Wait<'static, Result<(), Gone>>;
}

/// Nobody takes the body any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the body any more")]
pub struct Gone;

/// Where a message is to go.
#[derive(Clone)]
pub struct Route {
    /// The provider.
    pub provider: ClientId,
    /// Its servers that may be asked.
    pub servers: Vec<Arc<SecurityServer>>,
    /// The configuration that the exchange goes by.
    pub conf: Arc<GlobalConf>,
}

/// What TLS agreed with a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Key exchange group.
    pub group: Option<String>,
    /// Cipher suite.
    pub suite: Option<String>,
}

/// The gateway on the other side, as authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarEnd {
    /// The server.
    pub server: ServerId,
    /// What TLS agreed with it.
    pub agreed: Agreed,
}

/// The other gateways.
pub trait Peers: Send + Sync {
    /// A connection to one of the provider's servers, whose far end is trusted for it. No byte of a message has been
    /// sent when this fails, nor when it succeeds.
    fn open(&self, route: Route) -> Wait<'_, Result<Box<dyn PeerLink>, PeerFailure>>;

    /// Judges who has sent us a message: the server that the certificates belong to, good by the OCSP responses that
    /// came with the message, and allowed to speak for the client.
    ///
    /// # Errors
    /// [`PeerFailure::Untrusted`].
    fn judge(
        &self,
        conf: &Arc<GlobalConf>,
        peer: &Peer,
        ocsp_responses: &[Bytes],
        client: &ClientId,
    ) -> Result<FarEnd, PeerFailure>;
}

/// Who has sent us a message, as TLS shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address and port.
    pub address: String,
    /// Its certificates (DER), its own first.
    pub certificates: Vec<Bytes>,
    /// What was agreed with it.
    pub agreed: Agreed,
}

/// A connection that is ready for one message.
pub trait PeerLink: Send {
    /// The server at its far end, and what TLS agreed with it.
    fn far_end(&self) -> FarEnd;

    /// Begins the message with these HTTP headers. Nothing is repeated from here on.
    fn send(self: Box<Self>, headers: Vec<(&'static str, String)>) -> (Box<dyn Leaving>, Awaited);
}

/// The answer of a peer that is to come.
pub type Awaited = Wait<'static, Result<PeerAnswer, PeerFailure>>;

/// What a peer answered.
pub struct PeerAnswer {
    /// `Content-Type`.
    pub content_type: String,
    /// `x-hash-algorithm`.
    pub hash_algorithm: Option<String>,
    /// `x-original-content-type`.
    pub original_content_type: Option<String>,
    /// The body.
    pub body: Box<dyn Arriving>,
    /// The server that answered.
    pub far_end: FarEnd,
}

/// Why a peer could not be asked, or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFailure {
    /// Its host has no address.
    #[error("unknown host: {0}")]
    UnknownHost(String),
    /// It cannot be reached.
    #[error("cannot be reached: {0}")]
    Network(String),
    /// It is not whom it should be, or nothing proves that it is.
    #[error("not trusted: {0}")]
    Untrusted(String),
    /// The connection broke, or the answer did not come in time. The message may have been acted on.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

impl PeerFailure {
    /// Whether the peer may have acted on the message all the same.
    pub const fn may_have_acted(&self) -> bool {
        matches!(self, Self::NoAnswer(_))
    }
}

/// What an exchange goes by.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The global configuration.
    pub conf: &'a Arc<GlobalConf>,
    /// Our own settings.
    pub local: &'a Arc<ServerConf>,
    /// What came beside the message of its trace, for a service whose protocol has no place for it.
    pub trace: &'a [(Bytes, Bytes)],
}

/// Our services.
pub trait Services: Send + Sync {
    /// Calls the service of a request, once.
    fn call<'a>(
        &'a self,
        request: &'a Deliverable,
        view: View<'a>,
    ) -> Wait<'a, Result<ServiceAnswer, ServiceFailure>>;
}

/// A body for a service: its length, and its bytes again.
pub struct ServiceBody {
    /// Bytes.
    pub length: u64,
    /// The bytes.
    pub content: Box<dyn Arriving>,
}

impl ServiceBody {
    /// A body that was held until its signature was verified.
    pub fn unsealed(body: &SealedBody) -> Self {
        Self { length: body.length(), content: Box::new(Unsealed(body.stream())) }
    }
}

/// What a service answered.
pub struct ServiceAnswer {
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: Bytes,
    /// Headers in their order.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The body; `None` when an answer of this kind has none.
    pub body: Option<Box<dyn Arriving>>,
}

/// Why a service gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFailure {
    /// Its address is none.
    #[error("the service's address is not usable")]
    Address,
    /// Its host has no address.
    #[error("the service's host is unknown")]
    UnknownHost,
    /// It cannot be reached.
    #[error("the service cannot be reached: {0}")]
    Network(String),
    /// TLS with it failed.
    #[error("the service's TLS certificate is not the one expected")]
    Untrusted,
    /// It took too long, or its answer is no HTTP.
    #[error("the service gave no answer: {0}")]
    NoAnswer(String),
    /// It is one of the gateway's own, and refuses.
    #[error("refused: {}", .0.text())]
    Refused(Box<Fault>),
}

impl ServiceFailure {
    /// Whether the service may have acted on the request all the same.
    pub const fn may_have_acted(&self) -> bool {
        matches!(self, Self::NoAnswer(_))
    }
}
