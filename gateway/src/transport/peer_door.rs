//! The door for other gateways (port 5500): mutual TLS, one message a request.
//!
//! A connection is let in only while the certificate of its far end is registered in the configuration. That is asked
//! in the handshake, again after it (a resumed session skips the verifier), and again for every message, because a kept
//! connection must not outlive the registration.
//!
//! Specification: PR-MESSTRANSP 2 and 3; XROAD-FACTS 2.3, 2.10, 6; THREATS T01, T04.
//!
//! Does not look at OCSP: the peer's responses are in the message, so [`super::auth_trust`] is asked by whoever reads it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::DoorLimits;
use super::body::{BodySender, IncomingBody, OutgoingBody};
use super::door::{self, Answer, Caller, Handler, Protection, Received, TlsPeer};
use super::handshake::ServerTls;
use super::head::RequestHead;
use super::quic::OFFER;
use super::tls::Registered;

/// One message of another gateway.
#[derive(Debug)]
pub struct PeerRequest {
    /// Its head, as received.
    pub head: RequestHead,
    /// Its body, as it arrives.
    pub body: IncomingBody,
    /// Who sent it; `tls` is always there, with at least one certificate.
    pub caller: Arc<Caller>,
}

impl PeerRequest {
    /// What TLS says of the sender.
    #[must_use]
    pub fn peer(&self) -> Option<&TlsPeer> {
        self.caller.tls.as_ref()
    }
}

/// The answer to a message: either whole, or begun now and continued.
///
/// Dropped unused, the peer gets a bare 500.
#[derive(Debug)]
pub struct PeerReply {
    answer: Answer,
    offer: Option<u16>,
}

impl PeerReply {
    /// Sends a whole answer: a fault found before the message was taken apart.
    pub fn whole(self, content_type: &'static str, headers: Vec<(HeaderName, HeaderValue)>, body: Bytes) {
        let mut response = answer(headers, self.offer, OutgoingBody::whole(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        // The peer may have gone; its loss.
        let _ = self.answer.send(response);
    }

    /// Begins an answer; its body follows through the sender, and its head leaves with the first bytes of it.
    #[must_use]
    pub fn begin(self, headers: Vec<(HeaderName, HeaderValue)>) -> BodySender {
        BodySender::lazily(move |body| {
            let _ = self.answer.send(answer(headers, self.offer, body));
        })
    }
}

/// An answer; beside it where we speak QUIC, which X-Road does not read.
fn answer(
    headers: Vec<(HeaderName, HeaderValue)>,
    offer: Option<u16>,
    body: OutgoingBody,
) -> Response<OutgoingBody> {
    let mut response = Response::new(body);
    response.headers_mut().extend(headers);
    if let Some(port) = offer {
        response.headers_mut().insert(HeaderName::from_static(OFFER), port.into());
    }
    response
}

/// What answers other gateways.
pub trait PeerService: Send + Sync + 'static {
    /// Serves one message. It runs to its end even when the peer has gone.
    fn serve(&self, request: PeerRequest, reply: PeerReply) -> impl Future<Output = ()> + Send;

    /// The whole answer (text/xml) for a peer that is no longer registered; that it is refused is told there.
    fn not_registered(&self, caller: &Caller) -> Bytes;
}

/// Serves other gateways until `stop` turns true; then lets what is under way finish. `offer` is the port at which the same
/// is served over QUIC ([`super::quic::door`]).
pub async fn serve<S: PeerService>(
    listener: TcpListener,
    tls: Arc<ArcSwap<ServerTls>>,
    registered: Registered,
    limits: DoorLimits,
    offer: Option<u16>,
    service: Arc<S>,
    stop: watch::Receiver<bool>,
) {
    let handler = Arc::new(Peers::new(service, registered, offer));
    door::run("peer", listener, Protection::Tls(tls), limits, handler, stop).await;
}

pub(super) struct Peers<S> {
    service: Arc<S>,
    registered: Registered,
    offer: Option<u16>,
}

impl<S> Peers<S> {
    pub(super) fn new(service: Arc<S>, registered: Registered, offer: Option<u16>) -> Self {
        Self { service, registered, offer }
    }
}

impl<S: PeerService> Handler for Peers<S> {
    fn admits(&self, caller: &Caller) -> bool {
        let leaf = caller.tls.as_ref().and_then(|tls| tls.certificates.first());
        leaf.is_some_and(|leaf| (self.registered)(leaf))
    }

    async fn handle(self: Arc<Self>, received: Received, answer: Answer) {
        if self.admits(&received.caller) {
            let Received { head, body, caller } = received;
            let reply = PeerReply { answer, offer: self.offer };
            self.service.serve(PeerRequest { head, body, caller }, reply).await;
            return;
        }
        metrics::counter!("passerelle_requests_refused_total", "door" => "peer").increment(1);
        let mut response = door::bare(StatusCode::OK)
            .map(|_none| OutgoingBody::whole(self.service.not_registered(&received.caller)));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml;charset=utf-8"));
        let _ = answer.send(response);
    }
}
