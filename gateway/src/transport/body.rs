//! Bodies as streams: [`IncomingBody`] arrives, [`OutgoingBody`] leaves.
//!
//! Neither ever holds a whole body: one chunk at a time comes in when asked for, and what goes out waits in a queue of
//! a few chunks until the socket takes it. A body that was begun and not finished reaches the other side as cut off,
//! never as complete.
//!
//! Specification: RFC 9112 6 and 7; THREATS T21, T23.
//!
//! Does not know what the bytes mean, and does not keep trailers (X-Road loses them too).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::head::Heads;

/// Chunks that wait between whoever makes a body and the socket.
const QUEUE: usize = 4;

/// Why a body that arrives ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for too long.
    #[error("the body stopped arriving for {0:?}")]
    Stalled(Duration),
    /// It came, but below the least rate.
    #[error("the body arrives too slowly")]
    TooSlow,
    /// The connection broke, or the framing was wrong.
    #[error("the body was cut off: {0}")]
    CutOff(String),
}

/// How patient we are with a body that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest pause; `None` waits for ever.
    pub pause: Option<Duration>,
    /// Waiting time before the least rate counts, and that rate in bytes a second.
    pub least_rate: Option<(Duration, u32)>,
}

/// What is to happen when a body has arrived to its end: a connection goes back to its pool.
type AtEnd = Box<dyn FnOnce() + Send>;

/// A body that arrives.
pub struct IncomingBody {
    source: Source,
    pace: Pace,
    received: u64,
    waited: Duration,
    at_end: Option<AtEnd>,
    /// What has seen its bytes, and may doubt where it ends.
    seen_by: Option<Arc<Heads>>,
}

enum Source {
    Wire(Incoming),
    Memory(Option<Bytes>),
}

impl IncomingBody {
    /// The body of a message that hyper reads.
    pub(crate) fn new(incoming: Incoming, pace: Pace) -> Self {
        Self::of(Source::Wire(incoming), pace)
    }

    fn of(source: Source, pace: Pace) -> Self {
        Self { source, pace, received: 0, waited: Duration::ZERO, at_end: None, seen_by: None }
    }

    /// Comes to its end only where nobody else could find another one.
    pub(crate) fn seen_by(mut self, heads: &Arc<Heads>) -> Self {
        self.seen_by = Some(Arc::clone(heads));
        self
    }

    fn is_in_doubt(&self) -> bool {
        self.seen_by.as_ref().is_some_and(|heads| heads.is_body_in_doubt())
    }

    /// A body that is already here.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self::of(Source::Memory(Some(bytes)), Pace { pause: None, least_rate: None })
    }

    /// Runs `then` once the last byte has been read; never when the body is cut off or dropped before.
    pub(crate) fn at_end(mut self, then: impl FnOnce() + Send + 'static) -> Self {
        if self.is_end() {
            then();
        } else {
            self.at_end = Some(Box::new(then));
        }
        self
    }

    /// Whether it is known that nothing more comes.
    #[must_use]
    pub fn is_end(&self) -> bool {
        match &self.source {
            Source::Wire(incoming) => incoming.is_end_stream() && !self.is_in_doubt(),
            Source::Memory(bytes) => bytes.is_none(),
        }
    }

    /// The length announced by Content-Length, if it was.
    #[must_use]
    pub fn announced_length(&self) -> Option<u64> {
        match &self.source {
            Source::Wire(incoming) => incoming.size_hint().exact(),
            Source::Memory(bytes) => bytes.as_ref().and_then(|bytes| u64::try_from(bytes.len()).ok()),
        }
    }

    /// The next chunk, never empty; `None` at the end.
    ///
    /// # Errors
    /// [`BodyError`] when the body will not come to its end. The connection is then not used again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let chunk = match &mut self.source {
                Source::Memory(bytes) => bytes.take(),
                Source::Wire(incoming) => {
                    next_data(incoming, self.pace, self.received, &mut self.waited).await?
                }
            };
            match chunk {
                None if self.is_in_doubt() => {
                    return Err(BodyError::CutOff("its end is framed doubtfully".to_owned()));
                }
                None => {
                    if let Some(then) = self.at_end.take() {
                        then();
                    }
                    return Ok(None);
                }
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    self.received =
                        self.received.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                    return Ok(Some(data));
                }
            }
        }
    }

    /// The whole body, refused when longer than `most`.
    ///
    /// # Errors
    /// [`BodyError`] as [`Self::next`]; [`BodyError::CutOff`] when it is too long.
    pub async fn collect(&mut self, most: usize) -> Result<Bytes, BodyError> {
        let mut whole = bytes::BytesMut::new();
        while let Some(chunk) = self.next().await? {
            if whole.len().saturating_add(chunk.len()) > most {
                return Err(BodyError::CutOff(format!("longer than {most} bytes")));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

impl std::fmt::Debug for IncomingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncomingBody").field("received", &self.received).finish_non_exhaustive()
    }
}

/// Waits for data no longer than the pace allows. Only time spent waiting counts: that we are slow ourselves, or that
/// backpressure holds us, is not the sender's fault.
async fn next_data(
    incoming: &mut Incoming,
    pace: Pace,
    received: u64,
    waited: &mut Duration,
) -> Result<Option<Bytes>, BodyError> {
    let (allowed, verdict) = allowance(pace, received, *waited);
    let began = Instant::now();
    let frame = match allowed {
        None => incoming.frame().await,
        Some(allowed) => timeout(allowed, incoming.frame()).await.map_err(|_elapsed| verdict)?,
    };
    *waited = waited.saturating_add(began.elapsed());
    match frame {
        None => Ok(None),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(error)) => Err(BodyError::CutOff(error.to_string())),
    }
}

/// How long we may wait for the next chunk, and what it is called when that passes.
fn allowance(pace: Pace, received: u64, waited: Duration) -> (Option<Duration>, BodyError) {
    let by_rate = pace.least_rate.map(|(grace, rate)| {
        let earned = Duration::from_millis(received.saturating_mul(1000) / u64::from(rate.max(1)));
        grace.saturating_add(earned).saturating_sub(waited)
    });
    match (pace.pause, by_rate) {
        (Some(pause), Some(rate)) if rate < pause => (Some(rate), BodyError::TooSlow),
        (Some(pause), _) => (Some(pause), BodyError::Stalled(pause)),
        (None, Some(rate)) => (Some(rate), BodyError::TooSlow),
        (None, None) => (None, BodyError::TooSlow),
    }
}

/// Nobody takes the body any more: the connection is gone, or the other side has already answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the body any more")]
pub struct Gone;

/// What a body that leaves shows to hyper when whoever made it gave up: the connection is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body was given up before its end")]
pub struct GivenUp;

enum Piece {
    Data(Bytes),
    Last(Bytes),
}

/// Whoever makes a body puts it in here, chunk by chunk.
///
/// Dropping it without [`Self::finish`] breaks the message off, visibly for the receiver.
pub struct BodySender(Sending);

/// Hands a body to whatever sends it.
type Begin = Box<dyn FnOnce(OutgoingBody) + Send>;

enum Sending {
    /// Not a byte was given yet, so nobody was told of the body either.
    Unbegun(Begin),
    UnderWay(mpsc::Sender<Piece>),
    /// Only between the two.
    Over,
}

impl std::fmt::Debug for BodySender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodySender").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(data) => write!(f, "Data({})", data.len()),
            Self::Last(data) => write!(f, "Last({})", data.len()),
        }
    }
}

impl BodySender {
    /// A body that is begun with its first bytes: one that is finished at once reaches `begin` as a whole, and leaves
    /// together with the head before it, in one write. Dropped before, nothing has begun.
    pub(crate) fn lazily(begin: impl FnOnce(OutgoingBody) + Send + 'static) -> Self {
        Self(Sending::Unbegun(Box::new(begin)))
    }

    /// Hands a chunk over; waits while the socket is behind.
    ///
    /// # Errors
    /// [`Gone`] when nobody will take it: look at the answer for the reason.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), Gone> {
        if chunk.is_empty() {
            return Ok(());
        }
        match std::mem::replace(&mut self.0, Sending::Over) {
            Sending::Unbegun(begin) => {
                let (sender, body) = OutgoingBody::channel(None);
                begin(body);
                *self = sender;
            }
            under_way => self.0 = under_way,
        }
        let Sending::UnderWay(pieces) = &self.0 else { return Err(Gone) };
        pieces.send(Piece::Data(chunk)).await.map_err(|_closed| Gone)
    }

    /// Hands the last chunk over, which may be empty.
    ///
    /// # Errors
    /// [`Gone`] as [`Self::send`].
    pub async fn finish(self, last: Bytes) -> Result<(), Gone> {
        match self.0 {
            Sending::Unbegun(begin) => {
                begin(OutgoingBody::one_chunk(last));
                Ok(())
            }
            Sending::UnderWay(pieces) => pieces.send(Piece::Last(last)).await.map_err(|_closed| Gone),
            Sending::Over => Err(Gone),
        }
    }
}

/// A body that leaves.
pub struct OutgoingBody {
    kind: Kind,
    progress: Option<Arc<Progress>>,
}

/// How far a body has got on its way out: whoever waits for the answer must not lose patience while it is leaving.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<(Instant, Taker)>);

/// Who is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    /// The far end, which takes the body or makes the answer.
    FarEnd,
    /// Whoever makes the body.
    Maker,
}

impl Progress {
    fn new() -> Self {
        Self(Mutex::new((Instant::now(), Taker::FarEnd)))
    }

    fn note(&self, waiting_for: Taker) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), waiting_for);
    }

    /// Since when the far end has been silent; `None` while it is not its turn.
    pub(crate) fn far_end_silent_since(&self) -> Option<Instant> {
        let (since, waiting_for) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (waiting_for == Taker::FarEnd).then_some(since)
    }
}

enum Kind {
    Whole(Option<Bytes>),
    /// All of a body of which nothing is announced.
    OneChunk(Option<Bytes>),
    Queue {
        pieces: mpsc::Receiver<Piece>,
        left: Option<u64>,
        ended: bool,
    },
    Stream {
        chunks: Pin<Box<dyn Stream<Item = Result<Bytes, GivenUp>> + Send>>,
        left: Option<u64>,
    },
}

impl OutgoingBody {
    fn of(kind: Kind) -> Self {
        Self { kind, progress: None }
    }

    /// Follows how the body leaves from now on.
    pub(crate) fn watched(&mut self) -> Arc<Progress> {
        let progress = Arc::new(Progress::new());
        self.progress = Some(Arc::clone(&progress));
        progress
    }

    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Kind::Whole(None))
    }

    /// A body that is already here; sent with Content-Length.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::of(Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// A body that somebody makes while it leaves; chunked unless its length is known.
    #[must_use]
    pub fn channel(length: Option<u64>) -> (BodySender, Self) {
        let (sender, pieces) = mpsc::channel(QUEUE);
        (BodySender(Sending::UnderWay(sender)), Self::of(Kind::Queue { pieces, left: length, ended: false }))
    }

    /// A body that is already here and goes in one chunk, its length not announced: as X-Road sends messages.
    fn one_chunk(bytes: Bytes) -> Self {
        Self::of(Kind::OneChunk(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// The same body again, if it is all here.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.kind {
            Kind::Whole(bytes) => Some(Self::of(Kind::Whole(bytes.clone()))),
            Kind::OneChunk(bytes) => Some(Self::of(Kind::OneChunk(bytes.clone()))),
            Kind::Queue { .. } | Kind::Stream { .. } => None,
        }
    }

    /// Whether nobody is still making it.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.kind, Kind::Whole(_) | Kind::OneChunk(_))
    }

    /// A body that is read back from somewhere; chunked unless its length is known. An `Err` breaks the message off.
    #[must_use]
    pub fn stream(
        chunks: impl Stream<Item = Result<Bytes, GivenUp>> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        Self::of(Kind::Stream { chunks: Box::pin(chunks), left: length })
    }

    /// A body that somebody writes off the runtime's threads while it leaves. An `Err` breaks the message off.
    #[must_use]
    pub fn chunks(chunks: mpsc::Receiver<std::io::Result<Bytes>>) -> Self {
        let chunks = futures_util::stream::unfold(chunks, |mut chunks| async {
            let chunk = chunks.recv().await?;
            Some((chunk.map_err(|_| GivenUp), chunks))
        });
        Self::stream(chunks, None)
    }
}

impl std::fmt::Debug for OutgoingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutgoingBody").finish_non_exhaustive()
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let polled = match &mut self.kind {
            Kind::Whole(bytes) | Kind::OneChunk(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Kind::Queue { ended: true, .. } => Poll::Ready(None),
            Kind::Queue { pieces, left, ended } => match pieces.poll_recv(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Piece::Data(data))) => Poll::Ready(Some(count(left, data))),
                Poll::Ready(Some(Piece::Last(data))) => {
                    *ended = true;
                    let data = Some(data).filter(|data| !data.is_empty()).map(|data| count(left, data));
                    Poll::Ready(match (data, complete(left)) {
                        (Some(Ok(data)), None) => Some(Ok(data)),
                        (None, end) => end,
                        (Some(_), _) => Some(Err(GivenUp)),
                    })
                }
                Poll::Ready(None) => Poll::Ready(Some(Err(GivenUp))),
            },
            Kind::Stream { chunks, left } => match chunks.as_mut().poll_next(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(data))) => Poll::Ready(Some(count(left, data))),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => Poll::Ready(complete(left)),
            },
        };
        if let Some(progress) = &self.progress {
            progress.note(if polled.is_pending() { Taker::Maker } else { Taker::FarEnd });
        }
        polled.map(|next| next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Whole(None) | Kind::OneChunk(None) | Kind::Queue { ended: true, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(
                bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            ),
            Kind::OneChunk(_) => SizeHint::default(),
            Kind::Queue { left, .. } | Kind::Stream { left, .. } => {
                left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// Counts a chunk against the announced length: more than announced must not leave.
fn count(left: &mut Option<u64>, data: Bytes) -> Result<Bytes, GivenUp> {
    if let Some(left) = left {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        *left = left.checked_sub(length).ok_or(GivenUp)?;
    }
    Ok(data)
}

/// The end, unless less came than was announced.
fn complete(left: &Option<u64>) -> Option<Result<Bytes, GivenUp>> {
    match left {
        None | Some(0) => None,
        Some(_) => Some(Err(GivenUp)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut body: OutgoingBody) -> Result<Vec<u8>, GivenUp> {
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame?.into_data().unwrap());
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_body_begins_with_its_first_bytes_and_one_that_is_finished_at_once_is_whole() {
        let (begun, mut bodies) = mpsc::unbounded_channel();
        let lazily = || {
            let begun = begun.clone();
            BodySender::lazily(move |body| begun.send(body).unwrap())
        };
        lazily().finish(Bytes::from_static(b"ab")).await.unwrap();
        let body = bodies.try_recv().unwrap();
        assert!(body.is_complete());
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(read(body).await, Ok(b"ab".to_vec()));

        let mut sender = lazily();
        sender.send(Bytes::new()).await.unwrap();
        assert!(bodies.try_recv().is_err());
        sender.send(Bytes::from_static(b"a")).await.unwrap();
        let body = bodies.try_recv().unwrap();
        assert!(!body.is_complete());
        sender.send(Bytes::from_static(b"b")).await.unwrap();
        sender.finish(Bytes::from_static(b"c")).await.unwrap();
        assert_eq!(read(body).await, Ok(b"abc".to_vec()));

        drop(lazily());
        assert!(bodies.try_recv().is_err());
    }

    #[tokio::test]
    async fn finished_body_is_complete_and_dropped_one_is_cut_off() {
        let (mut sender, body) = OutgoingBody::channel(None);
        sender.send(Bytes::from_static(b"ab")).await.unwrap();
        sender.finish(Bytes::new()).await.unwrap();
        assert_eq!(read(body).await.unwrap(), b"ab");

        let (mut sender, body) = OutgoingBody::channel(None);
        sender.send(Bytes::from_static(b"ab")).await.unwrap();
        drop(sender);
        assert_eq!(read(body).await, Err(GivenUp));
    }

    #[tokio::test]
    async fn body_shorter_or_longer_than_announced_is_cut_off() {
        for announced in [1, 3] {
            let (mut sender, body) = OutgoingBody::channel(Some(announced));
            sender.send(Bytes::from_static(b"ab")).await.unwrap();
            sender.finish(Bytes::new()).await.unwrap();
            assert_eq!(read(body).await, Err(GivenUp), "announced {announced}");
        }
    }

    #[tokio::test]
    async fn sender_notices_that_nobody_takes_the_body() {
        let (mut sender, body) = OutgoingBody::channel(None);
        drop(body);
        assert_eq!(sender.send(Bytes::from_static(b"x")).await, Err(Gone));
    }

    #[test]
    fn waiting_time_is_earned_by_bytes() {
        let pace =
            Pace { pause: Some(Duration::from_secs(60)), least_rate: Some((Duration::from_secs(30), 1024)) };
        let second = Duration::from_secs(1);
        assert_eq!(allowance(pace, 0, Duration::ZERO), (Some(30 * second), BodyError::TooSlow));
        assert_eq!(allowance(pace, 0, 30 * second), (Some(Duration::ZERO), BodyError::TooSlow));
        assert_eq!(allowance(pace, 10 * 1024, 30 * second), (Some(10 * second), BodyError::TooSlow));
        assert_eq!(
            allowance(pace, 1 << 20, 30 * second),
            (Some(60 * second), BodyError::Stalled(60 * second))
        );
    }
}
