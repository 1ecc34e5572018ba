//! What comes over a stream at a door: requests that hyper reads, each matched with its head as received, and their answers.
//!
//! ```text
//! rests ── first bytes ──► hyper ── a request ──► a task of its own ──► the handler
//!   ▲                        │ ◄── its answer ────────┘
//!   └── nothing for a second ┘
//! ```
//! hyper holds some 20 KiB for a connection. One that rests has none of it: hyper is begun when bytes come, and what it held is
//! given back once it has had nothing to do for a while. Ten thousand peers that keep their connections cost little.
//!
//! Specification: RFC 9112; THREATS T20, T21.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use super::body::{GivenUp, IncomingBody, OutgoingBody, Pace};
use super::door::{Caller, Handler, Received, Shared, bare, shown, stopped};
use super::head::{Heads, Unanswered};
use super::io::{Guarded, Stream};
use super::places::Place;
use crate::fault::REFUSED;

/// How many requests a stream carries.
#[derive(Clone, Copy)]
pub(super) enum Requests<'a> {
    /// One after the other, as long as both sides like and nobody else needs the place.
    UntilClosed(&'a Place),
    /// One: the next has a stream of its own.
    One,
}

/// Serves what comes over a stream, to its end.
pub(super) async fn serve_http<H: Handler>(
    shared: &Arc<Shared<H>>,
    stream: Stream,
    caller: &Arc<Caller>,
    requests: Requests<'_>,
) {
    let heads = Arc::new(Heads::new(&shared.limits));
    let mut io = Guarded::new(stream, Arc::clone(&heads), &shared.limits);
    let Requests::UntilClosed(place) = requests else {
        serve_awake(shared, io, &heads, caller, requests).await;
        return;
    };
    place.reads(&heads);
    loop {
        let woken = tokio::select! {
            woken = io.wake() => woken,
            _ = stopped(shared) => Ok(false),
        };
        match woken {
            Ok(true) => {}
            Ok(false) => {
                let _ = io.shutdown().await;
                return;
            }
            Err(error) => return ended(shared, caller, &error),
        }
        match serve_awake(shared, io, &heads, caller, requests).await {
            Some(rests) => io = rests,
            None => return,
        }
    }
}

/// Lets hyper serve until the connection ends, or has rested for a while: then it is given back.
async fn serve_awake<H: Handler>(
    shared: &Arc<Shared<H>>,
    io: Guarded,
    heads: &Arc<Heads>,
    caller: &Arc<Caller>,
    requests: Requests<'_>,
) -> Option<Guarded> {
    let is_kept = matches!(requests, Requests::UntilClosed(_));
    let service = service_fn(|request| answer(shared, heads, caller, request));
    let connection = http1::Builder::new()
        .max_headers(shared.limits.headers)
        .keep_alive(is_kept)
        // Whoever has a stream for one request may end it behind the request, and still read the answer.
        .half_close(!is_kept)
        // One byte more than the limit: an oversized head is then refused by `heads`, with the right status.
        .max_buf_size(shared.limits.head_bytes.saturating_add(8 * 1024))
        .serve_connection(TokioIo::new(io), service);
    // Boxed, so that a connection that rests has no place for it.
    let mut connection = Box::new(connection);
    let result = tokio::select! {
        // hyper first: what it can write is written before anybody says that the connection rests.
        biased;
        ended = &mut *connection => ended,
        _ = stopped(shared) => {
            Pin::new(&mut *connection).graceful_shutdown();
            connection.await
        }
        () = heads.rest(), if is_kept => {
            let parts = connection.into_parts();
            // Bytes that hyper has read and made nothing of: a handler has answered, and left the body where it was.
            return parts.read_buf.is_empty().then(|| parts.io.into_inner());
        }
    };
    let Err(error) = result else { return None };
    if error.is_parse() || error.is_timeout() || error.is_incomplete_message() {
        let (address, certificate) = (caller.address, shown(caller));
        let code = if error.is_parse_too_large() { 431 } else { 400 };
        tracing::info!(
            target: REFUSED,
            door = shared.name,
            from = %address,
            certificate,
            code,
            %error,
            "request refused for its form"
        );
        metrics::counter!("passerelle_requests_refused_total", "door" => shared.name).increment(1);
    } else {
        ended(shared, caller, &error);
    }
    None
}

/// Tells of a connection that broke.
fn ended<H>(shared: &Shared<H>, caller: &Caller, error: &dyn std::fmt::Display) {
    let (address, certificate) = (caller.address, shown(caller));
    tracing::debug!(door = shared.name, %address, certificate, %error, "connection ended");
}

/// One request: matched with its head as received, handed over, answered.
async fn answer<H: Handler>(
    shared: &Arc<Shared<H>>,
    heads: &Arc<Heads>,
    caller: &Arc<Caller>,
    request: Request<Incoming>,
) -> Result<Response<Answered>, Infallible> {
    let (parts, incoming) = request.into_parts();
    let unanswered = heads.answering();
    let head = match heads.take(&parts) {
        Ok(head) => head,
        Err(status) => {
            let (from, certificate, code) = (caller.address, shown(caller), status.as_u16());
            tracing::info!(target: REFUSED, door = shared.name, %from, certificate, code, "request refused for its head");
            metrics::counter!("passerelle_requests_refused_total", "door" => shared.name).increment(1);
            return Ok(bare(status).map(|body| Answered { body, _unanswered: unanswered }));
        }
    };
    let limits = &shared.limits;
    let pace = Pace {
        pause: Some(limits.idle_timeout),
        least_rate: Some((limits.body_grace, limits.body_bytes_per_second)),
    };
    let received =
        Received { head, body: IncomingBody::new(incoming, pace).seen_by(heads), caller: Arc::clone(caller) };
    let (sender, answered) = oneshot::channel();
    let handler = Arc::clone(&shared.handler);
    let under_way = shared.under_way.clone();
    // Boxed first: an exchange takes kilobytes, and a task is moved several times while it is begun and when it ends.
    tokio::spawn(Box::pin(async move {
        handler.handle(received, sender).await;
        drop(under_way);
    }));
    let mut response = answered.await.unwrap_or_else(|_dropped| bare(StatusCode::INTERNAL_SERVER_ERROR));
    if heads.is_body_in_doubt() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answered { body, _unanswered: unanswered }))
}

/// The body of an answer; the connection counts as busy until it has left.
struct Answered {
    body: OutgoingBody,
    _unanswered: Unanswered,
}

impl Body for Answered {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
