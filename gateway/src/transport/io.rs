//! The byte stream of a connection to a door, with its timeouts.
//!
//! - a head must be complete soon after its first byte (slow loris);
//! - a kept connection may not be idle for ever;
//! - a reader who takes nothing of the answer is left.
//!
//! The pace of a request's body is watched where the body is read ([`super::body`]).
//!
//! Specification: THREATS T21.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsStream;

use super::DoorLimits;
use super::head::{Heads, Phase};
use super::quic::QuicStream;
use super::read_ahead::ReadAhead;

/// What is read at once of a connection that rested: most heads.
const WAKING: usize = 1024;

/// A connection, plain or not.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<ReadAhead>>),
    Quic(Box<QuicStream>),
    #[cfg(feature = "legacy-tls")]
    Legacy(Box<tokio_openssl::SslStream<TcpStream>>),
}

/// A connection that tells [`Heads`] what is read, and breaks off when its time is over.
pub(crate) struct Guarded {
    stream: Stream,
    heads: Arc<Heads>,
    head_timeout: Duration,
    idle_timeout: Duration,
    reading: Pin<Box<Sleep>>,
    /// What the timer for reading has been set for.
    timed: Phase,
    writing: Option<Pin<Box<Sleep>>>,
    /// What has been read, and is to be read first.
    ahead: Bytes,
}

impl Guarded {
    pub(crate) fn new(stream: Stream, heads: Arc<Heads>, limits: &DoorLimits) -> Self {
        Self {
            stream,
            heads,
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            reading: Box::pin(sleep(limits.head_timeout)),
            // The first head counts from the beginning of the connection.
            timed: Phase::InHead(0),
            writing: None,
            ahead: Bytes::new(),
        }
    }

    /// Waits until bytes come, and keeps them for whoever reads next; `false` at the end of the connection.
    ///
    /// # Errors
    /// As reading.
    pub(crate) async fn wake(&mut self) -> io::Result<bool> {
        poll_fn(|cx| {
            let mut piece = [0; WAKING];
            let mut buffer = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut *self).poll_read(cx, &mut buffer))?;
            self.ahead = Bytes::copy_from_slice(buffer.filled());
            Poll::Ready(Ok(!self.ahead.is_empty()))
        })
        .await
    }

    /// Ready when we have waited for too long. The timer is set once for a head, however often bytes of it come; while
    /// a request is being served it only wakes us to look again.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let phase = self.heads.phase();
            if self.timed != phase {
                self.set_timer(phase);
            }
            ready!(self.reading.as_mut().poll(cx));
            if phase != Phase::Busy {
                return Poll::Ready(());
            }
            self.set_timer(phase);
        }
    }

    fn set_timer(&mut self, phase: Phase) {
        let patience = if matches!(phase, Phase::InHead(_)) { self.head_timeout } else { self.idle_timeout };
        self.reading.as_mut().reset(Instant::now() + patience);
        self.timed = phase;
    }

    /// A reader who takes nothing for the idle time is left.
    fn guard_write<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.heads.wrote(wrote.is_ready());
        if wrote.is_ready() {
            self.writing = None;
            return wrote;
        }
        let idle = self.idle_timeout;
        ready!(self.writing.get_or_insert_with(|| Box::pin(sleep(idle))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer is not being read")))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let here = self.ahead.len().min(buffer.remaining());
            let rest = self.ahead.split_off(here);
            let next = std::mem::replace(&mut self.ahead, rest);
            buffer.put_slice(&next);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                if self.heads.observe(buffer.filled().get(before..).unwrap_or_default()) {
                    return Poll::Ready(read);
                }
                Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "others had fewer places")))
            }
            Poll::Pending => {
                ready!(self.poll_late(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the caller was too slow")))
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.guard_write(cx, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wrote = Pin::new(&mut self.stream).poll_flush(cx);
        self.guard_write(cx, wrote)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wrote = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.guard_write(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.guard_write(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
            Self::Quic(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
            Self::Quic(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::Quic(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::Quic(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, parts),
            Self::Quic(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, parts),
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Quic(stream) => stream.is_write_vectored(),
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(stream) => stream.is_write_vectored(),
        }
    }
}
