//! One exchange over QUIC: a stream of bytes in both directions, and what is known of the far end's having read them.
//!
//! What is dropped before its end is reset: the far end sees a message that was broken off, never one that is over.
//!
//! Specification: RFC 9000 2 and 3.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Code;

/// Whether the far end can have read a byte of what was written into a stream.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Bytes were handed over: they may have left.
    written: AtomicBool,
    /// The far end says that it has read none.
    unread: AtomicBool,
}

impl Fate {
    /// Whether it is certain that the far end has read nothing.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire) || !self.written.load(Ordering::Acquire)
    }

    fn said(&self, code: VarInt) {
        if code == Code::Unread.number() {
            self.unread.store(true, Ordering::Release);
        }
    }
}

/// What became of the streams of a connection that we answer on.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    unsettled: AtomicBool,
}

impl Tally {
    /// How the connection may be closed. [`Code::Unread`] says that whoever has no byte of an answer was not read: so every
    /// stream of which a byte was read must have had its answer taken.
    pub(crate) fn farewell(&self) -> Code {
        if self.unsettled.load(Ordering::Acquire) { Code::GivenUp } else { Code::Unread }
    }
}

/// Which end of it we are.
#[derive(Debug)]
pub(crate) enum End {
    /// We ask.
    Asking { _using: Using },
    /// We answer.
    Answering(Arc<Tally>),
}

/// How many exchanges a connection carries, and since when that many.
#[derive(Debug)]
pub(crate) struct Use(Mutex<(usize, Instant)>);

impl Default for Use {
    fn default() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }
}

impl Use {
    /// One more, as long as what it gives lives.
    pub(crate) fn begin(self: &Arc<Self>) -> Using {
        self.change(|count| count.saturating_add(1));
        Using(Arc::clone(self))
    }

    /// When an exchange began or ended for the last time.
    pub(crate) fn last(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Whether there has been no exchange for so long.
    pub(crate) fn is_over_for(&self, time: Duration) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = *state;
        if count > 0 {
            state.1 = Instant::now();
        }
        count == 0 && since.elapsed() >= time
    }

    fn change(&self, to: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (to(state.0), Instant::now());
    }
}

/// An exchange that a connection carries.
#[derive(Debug)]
pub(crate) struct Using(Arc<Use>);

impl Drop for Using {
    fn drop(&mut self) {
        self.0.change(|count| count.saturating_sub(1));
    }
}

/// Until the far end has all that was written, or wants no more of it; `false` when the connection is gone before.
type Taken = Pin<Box<dyn Future<Output = bool> + Send + Sync>>;

/// A stream in both directions.
pub(crate) struct QuicStream {
    sending: SendStream,
    receiving: RecvStream,
    end: End,
    fate: Arc<Fate>,
    /// The far end has sent something that we have handed on.
    has_read: bool,
    /// ... and that was all of it.
    is_read: bool,
    is_finished: bool,
    taken: Option<Taken>,
    was_taken: bool,
}

impl std::fmt::Debug for QuicStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicStream").field("end", &self.end).finish_non_exhaustive()
    }
}

impl QuicStream {
    pub(crate) fn new((sending, receiving): (SendStream, RecvStream), end: End) -> Self {
        let fate = Arc::default();
        let (has_read, is_read, is_finished, was_taken) = (false, false, false, false);
        Self { sending, receiving, end, fate, has_read, is_read, is_finished, taken: None, was_taken }
    }

    /// What becomes known of it.
    pub(crate) fn fate(&self) -> Arc<Fate> {
        Arc::clone(&self.fate)
    }

    /// Says that nothing of it was read, and nothing will be.
    pub(crate) fn refuse(mut self) {
        self.reset(Code::Unread);
    }

    fn reset(&mut self, code: Code) {
        self.is_finished = true;
        // Ended already, both ways: as good.
        let _ = self.sending.reset(code.number());
        let _ = self.receiving.stop(code.number());
    }

    fn failed_to_write(&self, error: WriteError) -> io::Error {
        if let WriteError::Stopped(code) = &error {
            self.fate.said(*code);
        }
        error.into()
    }

    /// What has arrived is read before an error is: an answer that was cut off has told that the request was read.
    fn failed_to_read(&self, error: ReadError) -> io::Error {
        match &error {
            ReadError::Reset(code) => self.fate.said(*code),
            ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close)) if !self.has_read => {
                self.fate.said(close.error_code);
            }
            _ => {}
        }
        error.into()
    }
}

impl AsyncRead for QuicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        match ready!(self.receiving.poll_read_buf(cx, buffer)) {
            Ok(()) => {
                let came = buffer.filled().len() > before;
                self.has_read |= came;
                self.is_read |= !came && room > 0;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(self.failed_to_read(error))),
        }
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.sending).poll_write(cx, bytes)) {
            Ok(written) => {
                self.fate.written.store(true, Ordering::Release);
                Poll::Ready(Ok(written))
            }
            Err(error) => Poll::Ready(Err(self.failed_to_write(error))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Whoever answers waits until the answer has arrived: what is left unread of the request is refused only then, so that
    /// the refusal cannot overtake the answer. A request of which nothing was read is refused as a whole.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answering = matches!(self.end, End::Answering(_));
        if answering && !self.has_read {
            self.reset(Code::Unread);
        }
        if !self.is_finished {
            self.is_finished = true;
            // A far end that takes no more is one that has enough.
            let _ = self.sending.finish();
            if answering {
                let stopped = self.sending.stopped();
                self.taken = Some(Box::pin(async move { stopped.await.is_ok() }));
            }
        }
        if let Some(taken) = &mut self.taken {
            self.was_taken = ready!(taken.as_mut().poll(cx));
            self.taken = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for QuicStream {
    fn drop(&mut self) {
        if let End::Answering(tally) = &self.end
            && self.has_read
            && !self.was_taken
        {
            tally.unsettled.store(true, Ordering::Release);
        }
        match self.end {
            _ if self.is_finished => {}
            // The answer is here, whole: there is nothing to break off.
            End::Asking { .. } if self.is_read => drop(self.sending.finish()),
            End::Answering(_) if !self.has_read => self.reset(Code::Unread),
            End::Asking { .. } | End::Answering(_) => self.reset(Code::GivenUp),
        }
    }
}
