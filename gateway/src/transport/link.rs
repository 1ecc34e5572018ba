//! A connection that we have made: one HTTP/1.1 exchange after another, and a pool of those that wait for the next.
//!
//! Nothing is ever repeated once a byte of it may have left. hyper gives a request back when it had not begun to write
//! it ([`SendFailure::Unsent`]); only then may the caller use another connection.
//!
//! The head of an answer is kept as received, for names are signed in the spelling of the service: the same thought as
//! in [`super::head`], simpler here, because one answer is awaited at a time.
//!
//! Specification: RFC 9112 9; XROAD-FACTS 2.1, 7 no. 7 (no cookies: nothing of one answer reaches another request).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::{IncomingBody, OutgoingBody, Pace};
use super::io::Stream;

/// The longest head of an answer.
const LONGEST_HEAD: usize = 64 * 1024;

/// The most header lines of an answer.
const MOST_HEADERS: usize = 200;

/// How long a pooled connection may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_millis(200);

/// An open connection.
#[derive(Debug)]
pub(crate) struct Link {
    sender: SendRequest<OutgoingBody>,
    capture: Arc<Mutex<Capture>>,
}

/// Why an exchange failed before its answer.
#[derive(Debug)]
pub(crate) enum SendFailure {
    /// Not a byte of the request has left: it may go another way.
    Unsent(Box<Request<OutgoingBody>>),
    /// Something may have left.
    Broken(hyper::Error),
    /// The answer did not begin in time.
    Late,
}

/// An answer: its head as received, and its body as it arrives.
#[derive(Debug)]
pub(crate) struct LinkAnswer {
    pub(crate) status: u16,
    pub(crate) reason: Bytes,
    pub(crate) headers: Vec<(Bytes, Bytes)>,
    pub(crate) incoming: Incoming,
    /// Whether the connection may serve another exchange.
    pub(crate) reusable: bool,
}

impl Link {
    /// Begins to speak HTTP on a fresh stream.
    pub(crate) async fn open(stream: Stream) -> hyper::Result<Self> {
        let capture = Arc::new(Mutex::new(Capture::Off));
        let io = TokioIo::new(Listening { stream, capture: Arc::clone(&capture) });
        let (sender, connection) = http1::Builder::new()
            .max_headers(MOST_HEADERS)
            .max_buf_size(LONGEST_HEAD.saturating_add(8 * 1024))
            .handshake(io)
            .await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Self { sender, capture })
    }

    /// Whether the connection can take a request now.
    pub(crate) async fn is_usable(&mut self) -> bool {
        !self.sender.is_closed() && matches!(timeout(READY_TIMEOUT, self.sender.ready()).await, Ok(Ok(())))
    }

    /// Sends a request and waits for the head of its answer; not longer than `patience` from when the far end last took
    /// a piece of the body.
    pub(crate) async fn exchange(
        &mut self,
        mut request: Request<OutgoingBody>,
        patience: Option<Duration>,
    ) -> Result<LinkAnswer, SendFailure> {
        *self.capture.lock().unwrap_or_else(PoisonError::into_inner) = Capture::Head(BytesMut::new());
        let progress = request.body_mut().watched();
        let mut sent = std::pin::pin!(self.sender.try_send_request(request));
        let answered = loop {
            let Some(patience) = patience else { break sent.await };
            let deadline = progress.far_end_silent_since().unwrap_or_else(Instant::now) + patience;
            if let Ok(answered) = timeout_at(deadline, sent.as_mut()).await {
                break answered;
            }
            // The time may have passed while the body was leaving: then it counts anew.
            if progress.far_end_silent_since().is_some_and(|since| since.elapsed() >= patience) {
                return Err(SendFailure::Late);
            }
        };
        match answered {
            Ok(response) => Ok(self.read_head(response)),
            Err(mut failed) => Err(match failed.take_message() {
                Some(request) => SendFailure::Unsent(Box::new(request)),
                None => SendFailure::Broken(failed.into_error()),
            }),
        }
    }

    /// The head as received; should it not be the one that hyper has read, hyper's, and the connection is not used again.
    fn read_head(&self, response: Response<Incoming>) -> LinkAnswer {
        let captured = std::mem::replace(
            &mut *self.capture.lock().unwrap_or_else(PoisonError::into_inner),
            Capture::Off,
        );
        let (parts, incoming) = response.into_parts();
        let framed_twice = parts.headers.contains_key(header::CONTENT_LENGTH)
            && parts.headers.contains_key(header::TRANSFER_ENCODING);
        let status = parts.status.as_u16();
        if let Capture::Complete(head) = captured
            && let Some((reason, headers)) = read_head(&head, &parts)
        {
            let twice = count(&headers, "content-length") > 1
                || (count(&headers, "content-length") > 0 && count(&headers, "transfer-encoding") > 0);
            return LinkAnswer { status, reason, headers, incoming, reusable: !framed_twice && !twice };
        }
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| {
                (Bytes::copy_from_slice(name.as_ref()), Bytes::copy_from_slice(value.as_bytes()))
            })
            .collect();
        let reason = Bytes::from_static(parts.status.canonical_reason().unwrap_or("").as_bytes());
        LinkAnswer { status, reason, headers, incoming, reusable: false }
    }
}

fn count(headers: &[(Bytes, Bytes)], name: &str) -> usize {
    headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes())).count()
}

/// Reason phrase and headers of a head, provided that hyper has read the same.
fn read_head(head: &Bytes, read: &http::response::Parts) -> Option<(Bytes, Vec<(Bytes, Bytes)>)> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut fields);
    if !parsed.parse(head).ok()?.is_complete() || parsed.code != Some(read.status.as_u16()) {
        return None;
    }
    let reason = head.slice_ref(parsed.reason.unwrap_or("").as_bytes());
    let headers: Vec<(Bytes, Bytes)> = parsed
        .headers
        .iter()
        .map(|field| (head.slice_ref(field.name.as_bytes()), head.slice_ref(field.value)))
        .collect();
    // hyper drops a Content-Length beside Transfer-Encoding, and repeated ones; everything it kept must be ours too.
    let same = read.headers.iter().all(|(name, value)| {
        headers
            .iter()
            .any(|(own, other)| own.eq_ignore_ascii_case(name.as_ref()) && other == value.as_bytes())
    });
    same.then_some((reason, headers))
}

/// The head of the answer that is awaited.
#[derive(Debug)]
enum Capture {
    Off,
    Head(BytesMut),
    Complete(Bytes),
}

impl Capture {
    fn observe(&mut self, mut bytes: &[u8]) {
        while let Self::Head(partial) = self {
            let Some(head) = super::head::take_head(partial, &mut bytes) else {
                if partial.len() > LONGEST_HEAD {
                    *self = Self::Off;
                }
                return;
            };
            // Interim answers (100, 103) come before the one that counts.
            let interim = head.get(9..10) == Some(b"1") && head.get(9..12) != Some(b"101");
            *self = if interim { Self::Head(BytesMut::new()) } else { Self::Complete(head) };
        }
    }
}

/// A stream that shows what is read to a [`Capture`].
struct Listening {
    stream: Stream,
    capture: Arc<Mutex<Capture>>,
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.capture.lock().unwrap_or_else(PoisonError::into_inner).observe(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Connections that wait for their next exchange, the most recently used first.
///
/// `T` is a connection with whatever is known of its far end.
#[derive(Debug)]
pub(crate) struct Idle<T> {
    waiting: Mutex<Waiting<T>>,
    most: usize,
    longest: Duration,
}

#[derive(Debug)]
struct Waiting<T> {
    /// With the time since when they wait: who came last is at the end.
    connections: Vec<(T, Instant)>,
    /// When those were last looked for that are closed, or have waited for too long.
    swept: Instant,
}

/// How often all are looked through: with many connections that costs more than an exchange may.
const SWEEP: Duration = Duration::from_secs(1);

impl<T: AsMut<Link>> Idle<T> {
    pub(crate) fn new(most: usize, longest: Duration) -> Self {
        let waiting = Waiting { connections: Vec::new(), swept: Instant::now() };
        Self { waiting: Mutex::new(waiting), most, longest }
    }

    /// The most recently used connection that is still open and has not waited for too long.
    pub(crate) async fn take(&self) -> Option<T> {
        loop {
            let (mut connection, since) =
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).connections.pop()?;
            if since.elapsed() < self.longest && connection.as_mut().is_usable().await {
                return Some(connection);
            }
        }
    }

    /// Takes a connection back whose exchange is over.
    pub(crate) fn put(&self, mut connection: T) {
        if connection.as_mut().sender.is_closed() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.duration_since(waiting.swept) >= SWEEP {
            waiting.swept = now;
            waiting.connections.retain_mut(|(other, since)| {
                now.duration_since(*since) < self.longest && !other.as_mut().sender.is_closed()
            });
        }
        if waiting.connections.len() < self.most {
            waiting.connections.push((connection, now));
        }
    }
}

impl<T: AsMut<Link> + Send + 'static> Idle<T> {
    /// The body of an answer; when it has been read to its end the connection goes back, if it may.
    pub(crate) fn lend(
        self: &Arc<Self>,
        connection: T,
        reusable: bool,
        incoming: Incoming,
        pace: Pace,
    ) -> IncomingBody {
        let body = IncomingBody::new(incoming, pace);
        if !reusable {
            return body.at_end(|| {});
        }
        let idle = Arc::clone(self);
        body.at_end(move || idle.put(connection))
    }
}

/// Lets the kernel notice a far end that has died without a word: an answer may be awaited for very long.
pub(crate) fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}
