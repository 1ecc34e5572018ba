//! The door for information systems, HTTP and HTTPS.
//!
//! Hands over each request with its head as received, and who asks; sends back whatever it is given.
//! On HTTPS the client may show a certificate: any is accepted in the handshake, for it is compared with the pinned ones
//! of the client that the request names, which is known only later.
//!
//! Specification: PR-REST 4.1 and 4.2; XROAD-FACTS 2.10, 7 no. 16.
//!
//! Does not read X-Road headers, does not judge certificates, does not write error bodies.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::body::{IncomingBody, OutgoingBody};
use super::door::{self, Answer, Caller, Handler, Protection, Received};
use super::handshake::ServerTls;
use super::head::RequestHead;
use super::{DoorLimits, is_framing};

/// One request of an information system.
#[derive(Debug)]
pub struct ClientRequest {
    /// Its head, as received.
    pub head: RequestHead,
    /// Its body, as it arrives. An `Expect: 100-continue` is answered when the first chunk is asked for.
    pub body: IncomingBody,
    /// Who asks.
    pub caller: Arc<Caller>,
}

/// What an information system is answered.
#[derive(Debug)]
pub struct ClientReply {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, when it is not the usual one.
    pub reason: Option<Bytes>,
    /// The headers, in order. Those that frame a message (Content-Length, Connection ...) are left out: they are made anew.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The body.
    pub body: OutgoingBody,
}

/// What answers information systems.
pub trait FrontService: Send + Sync + 'static {
    /// Serves one request. It runs to its end even when the client has gone.
    fn serve(&self, request: ClientRequest) -> impl Future<Output = ClientReply> + Send;
}

/// Serves information systems until `stop` turns true; then lets what is under way finish.
///
/// With `tls` the door speaks HTTPS; the configuration may be exchanged while it runs ([`super::tls::front_server`]).
pub async fn serve<S: FrontService>(
    listener: TcpListener,
    tls: Option<Arc<ArcSwap<ServerTls>>>,
    limits: DoorLimits,
    service: Arc<S>,
    stop: watch::Receiver<bool>,
) {
    let (name, protection) = tls.map_or(("http", Protection::Plain), |tls| ("https", Protection::Tls(tls)));
    door::run(name, listener, protection, limits, Arc::new(Front(service)), stop).await;
}

struct Front<S>(Arc<S>);

impl<S: FrontService> Handler for Front<S> {
    async fn handle(self: Arc<Self>, received: Received, answer: Answer) {
        let Received { head, body, caller } = received;
        let reply = self.0.serve(ClientRequest { head, body, caller }).await;
        // The client may have gone; the exchange has reached its end all the same.
        let _ = answer.send(response(reply));
    }
}

fn response(reply: ClientReply) -> Response<OutgoingBody> {
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.status;
    if let Some(reason) = reply.reason
        && let Ok(reason) = hyper::ext::ReasonPhrase::try_from(reason)
    {
        response.extensions_mut().insert(reason);
    }
    for (name, value) in reply.headers {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), HeaderValue::from_maybe_shared(value))
        else {
            tracing::warn!("a header of an answer cannot be sent and is left out");
            continue;
        };
        if !is_framing(&name) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
