//! Request heads exactly as they were received: names in their own case, in their own order, the target untouched.
//!
//! X-Road signs header names as the client wrote them, and hyper does not tell: its header map holds lower-case names,
//! grouped. So the connection's bytes pass a `Heads` on their way to hyper. It follows the framing (head, then a body
//! by Content-Length or in chunks, then the next head), keeps the heads, and **refuses whatever could be framed in two
//! ways** before anybody acts on it. That our reading and hyper's are of the same head is checked for each request
//! (`Heads::take`): a difference refuses the request.
//!
//! ```text
//! socket ──► Heads::observe ──► hyper ──► Request<Incoming>
//!                 └── RequestHead ──────────────┴──► Heads::take: equal? -> the handler
//! ```
//!
//! Specification: RFC 9112 2 to 7; XROAD-FACTS 7 no. 16; THREATS T16, T17, T20.
//!
//! Does not decode bodies: hyper does. Knows no header but those that frame a message.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::StatusCode;
use http::request::Parts;
use tokio::time::{Instant, sleep};

use super::DoorLimits;

/// A connection that has had nothing to do for so long rests.
const REST: Duration = Duration::from_secs(1);

/// A request head as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, in the client's spelling.
    pub method: String,
    /// The request target: undecoded, not normalised, in whatever form it came.
    pub target: String,
    /// Names and values in the order received; values without the blanks around them.
    pub headers: Vec<(Bytes, Bytes)>,
}

impl RequestHead {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Path and query of the target, with scheme and authority cut off when it came in absolute form.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        let Some((scheme, rest)) = self.target.split_once("://") else { return &self.target };
        if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return &self.target;
        }
        rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
    }
}

/// The heads of one connection, in order.
#[derive(Debug)]
pub(crate) struct Heads {
    limits: DoorLimits,
    reader: Mutex<Reader>,
    unanswered: AtomicUsize,
    /// Bytes of an answer wait to be taken.
    unwritten: AtomicBool,
}

/// A request that has not been answered to the end; dropped with the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Unanswered(Arc<Heads>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut reader = self.0.lock();
        reader.answered = Instant::now();
        self.0.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Reader {
    state: State,
    /// When the last answer had left, or the connection began.
    answered: Instant,
    dismissed: bool,
    complete: u64,
    partial: BytesMut,
    ready: VecDeque<Result<RequestHead, StatusCode>>,
    body_in_doubt: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Chunks(Chunks),
    /// The framing is in doubt: nothing after this point is read as a request.
    Lost,
}

/// Where the connection stands, for its timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The head with this number is arriving, or the first one is awaited.
    InHead(u64),
    /// In a body, or an answer is being made or sent.
    Busy,
    /// Between two requests.
    Idle,
}

impl Heads {
    pub(crate) fn new(limits: &DoorLimits) -> Self {
        Self {
            limits: limits.clone(),
            reader: Mutex::new(Reader::new()),
            unanswered: AtomicUsize::new(0),
            unwritten: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows bytes that hyper is about to read; whether it may, which nobody who was dismissed may.
    pub(crate) fn observe(&self, bytes: &[u8]) -> bool {
        let mut reader = self.lock();
        reader.follow(bytes, &self.limits);
        !reader.dismissed
    }

    /// Whether a body that was seen is framed so that two readers could find its end in two places, though hyper finds
    /// it in one.
    pub(crate) fn is_body_in_doubt(&self) -> bool {
        self.lock().body_in_doubt
    }

    /// Where the connection stands.
    pub(crate) fn phase(&self) -> Phase {
        let reader = self.lock();
        match reader.state {
            State::Head if reader.complete == 0 || !reader.partial.is_empty() => {
                Phase::InHead(reader.complete)
            }
            State::Head if reader.ready.is_empty() && self.unanswered.load(Ordering::Relaxed) == 0 => {
                Phase::Idle
            }
            _ => Phase::Busy,
        }
    }

    /// Notes whether bytes that are to be written have been taken.
    pub(crate) fn wrote(&self, all: bool) {
        self.unwritten.store(!all, Ordering::Relaxed);
    }

    /// Completes once the connection has been between two requests for [`REST`], with nothing left to write.
    pub(crate) async fn rest(&self) {
        loop {
            sleep(REST).await;
            let is_long = self.lock().answered.elapsed() >= REST;
            if is_long && self.phase() == Phase::Idle && !self.unwritten.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Since when a whole head has been awaited; `None` while a request is served.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        let reader = self.lock();
        self.waits(&reader).then_some(reader.answered)
    }

    /// Ends the connection, unless a request is being served; whether it ends.
    pub(crate) fn dismiss(&self) -> bool {
        let mut reader = self.lock();
        reader.dismissed = self.waits(&reader);
        reader.dismissed
    }

    /// Also in the middle of a head, but not while the one before it is being answered.
    fn waits(&self, reader: &Reader) -> bool {
        reader.state == State::Head && reader.ready.is_empty() && self.unanswered.load(Ordering::Relaxed) == 0
    }

    /// Notes that a request is now being answered.
    pub(crate) fn answering(self: &Arc<Self>) -> Unanswered {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        Unanswered(Arc::clone(self))
    }

    /// The head that belongs to a request that hyper has read, or the status to refuse it with.
    pub(crate) fn take(&self, read: &Parts) -> Result<RequestHead, StatusCode> {
        let next = self.lock().ready.pop_front();
        let head = next.unwrap_or(Err(StatusCode::BAD_REQUEST))?;
        let same = head.method == read.method.as_str()
            && head.headers.len() == read.headers.len()
            && head.headers.iter().all(|(name, value)| {
                http::HeaderName::from_bytes(name).is_ok_and(|name| {
                    read.headers.get_all(name).iter().any(|other| other.as_bytes() == value)
                })
            });
        if same { Ok(head) } else { Err(StatusCode::BAD_REQUEST) }
    }
}

impl Reader {
    fn new() -> Self {
        Self {
            state: State::Head,
            answered: Instant::now(),
            dismissed: false,
            complete: 0,
            partial: BytesMut::new(),
            ready: VecDeque::new(),
            body_in_doubt: false,
        }
    }

    fn follow(&mut self, mut bytes: &[u8], limits: &DoorLimits) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Lost => return,
                State::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes.advance(here);
                    *left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
                    if *left == 0 {
                        self.state = State::Head;
                    }
                }
                State::Chunks(chunks) => match chunks.follow(&mut bytes) {
                    Ok(false) => {}
                    Ok(true) => self.state = State::Head,
                    Err(Doubt) => {
                        self.state = State::Lost;
                        self.body_in_doubt = true;
                    }
                },
                State::Head => self.follow_head(&mut bytes, limits),
            }
        }
    }

    /// Takes bytes of a head up to its end; what follows stays in `bytes`.
    fn follow_head(&mut self, bytes: &mut &[u8], limits: &DoorLimits) {
        let skipped =
            bytes.iter().take_while(|byte| self.partial.is_empty() && matches!(byte, b'\r' | b'\n')).count();
        bytes.advance(skipped);
        let Some(head) = take_head(&mut self.partial, bytes) else {
            if self.partial.len() > limits.head_bytes {
                self.refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
            return;
        };
        self.complete = self.complete.saturating_add(1);
        match read_head(&head, limits) {
            Ok((head, state)) => {
                self.ready.push_back(Ok(head));
                self.state = state;
            }
            Err(status) => self.refuse(status),
        }
    }

    fn refuse(&mut self, status: StatusCode) {
        self.partial.clear();
        self.ready.push_back(Err(status));
        self.state = State::Lost;
    }
}

/// The head whose beginning is in `partial`, and the rest in `bytes`, where what follows it stays. As long as its end is not
/// there, all of them go to `partial`.
pub(crate) fn take_head(partial: &mut BytesMut, bytes: &mut &[u8]) -> Option<Bytes> {
    let before = partial.len();
    // As usual, all at once: nothing of the body is copied, or kept with it.
    if before == 0
        && let Some(end) = end_of_head(bytes, 0)
    {
        return Some(bytes.copy_to_bytes(end));
    }
    partial.extend_from_slice(bytes);
    let Some(end) = end_of_head(partial, before.saturating_sub(3)) else {
        bytes.advance(bytes.len());
        return None;
    };
    bytes.advance(end.saturating_sub(before));
    partial.truncate(end);
    Some(std::mem::take(partial).freeze())
}

/// The length of the head, if its end is there; an empty line, also one ended by a bare LF, which is refused later.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', tail).find_map(|at| {
        let line = match tail.get(at..)? {
            [_, b'\n', ..] => 2,
            [_, b'\r', b'\n', ..] => 3,
            _ => return None,
        };
        Some(from.saturating_add(at).saturating_add(line))
    })
}

/// Reads a complete head and decides how the body behind it is framed.
fn read_head(head: &Bytes, limits: &DoorLimits) -> Result<(RequestHead, State), StatusCode> {
    let bare_line_feed = head.windows(2).any(|two| matches!(two, [before, b'\n'] if *before != b'\r'));
    if bare_line_feed || head.contains(&0) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let mut fields = vec![httparse::EMPTY_HEADER; limits.headers];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Ok(_) | Err(_) => return Err(StatusCode::BAD_REQUEST),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    if head.len() > limits.head_bytes
        || parsed
            .headers
            .iter()
            .any(|field| field.name.len().saturating_add(field.value.len()) > limits.header_line_bytes)
    {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    if target.len() > limits.target_bytes {
        return Err(StatusCode::URI_TOO_LONG);
    }
    if target.contains('#') || method == "CONNECT" || !is_well_escaped(target) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let state = framing(parsed.headers, minor)?;
    let headers = parsed
        .headers
        .iter()
        .map(|field| (head.slice_ref(field.name.as_bytes()), head.slice_ref(field.value)))
        .collect();
    Ok((RequestHead { method: method.to_owned(), target: target.to_owned(), headers }, state))
}

/// Whether each `%` of the path is followed by two hexadecimal digits (X-Road does not look at the query).
fn is_well_escaped(target: &str) -> bool {
    let path = target.split_once('?').map_or(target, |(path, _query)| path);
    let mut escapes = path.split('%').skip(1);
    escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// How the body is framed; any doubt refuses (RFC 9112 6.1 allows more, smugglers live on it).
fn framing(headers: &[httparse::Header<'_>], minor: u8) -> Result<State, StatusCode> {
    let values = |name: &'static str| {
        headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    let hosts = values("host").count();
    if hosts > 1 || (hosts == 0 && minor > 0) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let connection_upgrade = values("connection").any(|value| {
        value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    if values("upgrade").next().is_some() && !connection_upgrade {
        return Err(StatusCode::BAD_REQUEST);
    }
    let mut lengths = values("content-length");
    let mut codings = values("transfer-encoding");
    match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
        (None, _, None, _) => Ok(State::Head),
        (Some(length), None, None, _) => match decimal(length).ok_or(StatusCode::BAD_REQUEST)? {
            0 => Ok(State::Head),
            length => Ok(State::Length(length)),
        },
        (None, _, Some(coding), None) if minor > 0 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(State::Chunks(Chunks::Size { size: 0, digits: 0 }))
        }
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

/// Digits only: no sign, no list.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Two readers could disagree on where the message ends.
struct Doubt;

/// Where we are in a chunked body.
#[derive(Debug, PartialEq, Eq)]
enum Chunks {
    Size {
        size: u64,
        digits: u8,
    },
    /// A chunk extension, or blanks behind the size.
    Extension {
        size: u64,
    },
    SizeLineFeed {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataLineFeed,
    /// At the beginning of a line of the trailer section.
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
}

impl Chunks {
    /// Takes bytes of the body; `true` when its end has been seen.
    fn follow(&mut self, bytes: &mut &[u8]) -> Result<bool, Doubt> {
        while let Some(byte) = bytes.first().copied() {
            if let Self::Data { left } = self {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                bytes.advance(here);
                *left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
                if *left == 0 {
                    *self = Self::DataReturn;
                }
                continue;
            }
            bytes.advance(1);
            if matches!((&*self, byte), (Self::LastLineFeed, b'\n')) {
                return Ok(true);
            }
            *self = self.step(byte)?;
        }
        Ok(false)
    }

    fn step(&self, byte: u8) -> Result<Self, Doubt> {
        match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && *digits < 15 => {
                let digit = char::from(byte).to_digit(16).ok_or(Doubt)?;
                Ok(Self::Size { size: size << 4 | u64::from(digit), digits: digits.saturating_add(1) })
            }
            (Self::Size { size, digits: 1.. }, b'\r') | (Self::Extension { size }, b'\r') => {
                Ok(Self::SizeLineFeed { size: *size })
            }
            (Self::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => Ok(Self::Extension { size: *size }),
            (Self::Extension { size }, byte) if byte != b'\n' => Ok(Self::Extension { size: *size }),
            (Self::SizeLineFeed { size: 0 }, b'\n') | (Self::TrailerLineFeed, b'\n') => {
                Ok(Self::TrailerStart)
            }
            (Self::SizeLineFeed { size }, b'\n') => Ok(Self::Data { left: *size }),
            (Self::DataReturn, b'\r') => Ok(Self::DataLineFeed),
            (Self::DataLineFeed, b'\n') => Ok(Self::Size { size: 0, digits: 0 }),
            (Self::TrailerStart, b'\r') => Ok(Self::LastLineFeed),
            (Self::Trailer, b'\r') => Ok(Self::TrailerLineFeed),
            (Self::TrailerStart | Self::Trailer, byte) if byte != b'\n' => Ok(Self::Trailer),
            _ => Err(Doubt),
        }
    }
}

#[cfg(test)]
mod tests;
