//! The small HTTP server: a listener, a handler, a graceful stop.
//!
//! Specification: RFC 9112, through hyper. The request target is passed on as it came: no slashes are merged, no escapes
//! undone (an OCSP request in a GET path needs that).
//!
//! It speaks no TLS and has no routes: the handler looks at the path.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::HttpError;

/// The body of an answer: whole, in memory.
pub type Body = Full<Bytes>;

/// A request's header must be complete after this time; an idle connection is closed after it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's body must be complete after this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests under way get this long to finish once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failure to accept, for instance when out of file descriptors.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
const MAX_HEADER_BYTES: usize = 32 * 1024;
const MAX_CONNECTIONS: usize = 4096;

/// Answers requests with `handler` until `shutdown` completes; then accepts no more, finishes what is under way and returns.
pub async fn serve<H, F>(listener: TcpListener, handler: H, shutdown: impl Future<Output = ()>)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADER_BYTES);
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
                continue;
            }
        };
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still under way were cut off");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Reads a whole body of at most `max` bytes.
///
/// # Errors
/// [`HttpError::TooLarge`], before the rest is read; [`HttpError::Timeout`] for a body that dribbles; [`HttpError::Protocol`]
/// when it is cut short.
pub async fn read_body(body: Incoming, max: usize) -> Result<Bytes, HttpError> {
    let whole = Limited::new(body, max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Err(_) => Err(HttpError::Timeout("body")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(HttpError::TooLarge(max)),
        Ok(Err(error)) => Err(HttpError::Protocol(error.to_string())),
    }
}

/// An answer with a body of this media type.
#[must_use]
pub fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer for people: one line of text.
#[must_use]
pub fn respond_text(status: StatusCode, line: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", format!("{line}\n"))
}
