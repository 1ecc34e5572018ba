//! Reading a multipart body: push what came, pull events until more is needed.
//!
//! ```text
//! PREAMBLE ──delimiter──► LINE ──CRLF──► HEAD ──blank line──► BODY ──delimiter──► LINE …
//!                           └── "--" ──► EPILOGUE
//! ```
//!
//! Bodies are handed on as slices of what was pushed; only the few bytes around the joint of two pushed pieces
//! are ever copied. A line end is CRLF and nothing else.
//!
//! # Compatibility
//! As X-Road: text before the first and after the last delimiter is ignored (within a limit), header names
//! have any case. Stricter: bare LF, folded headers between gateways, doubled `Content-Type`, and a missing closing delimiter are
//! refused.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::{self, Finder};

use super::{ContentType, MultipartError};
use crate::message::text::{is_control, is_token};

/// What a reader puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one part's head.
    pub part_head: usize,
    /// Parts.
    pub parts: usize,
    /// Bytes before the first part, and after the last one.
    pub around: usize,
    /// Whether a part's header may go on in the next line, as the libraries of some information systems write it. It
    /// is read as one line.
    pub folded: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { part_head: 8 * 1024, parts: 32, around: 8 * 1024, folded: false }
    }
}

/// The head of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartHead {
    /// The content type; none when the head does not say.
    pub content_type: Option<ContentType>,
    /// The other headers, names as written.
    pub headers: Vec<(String, String)>,
}

/// A part that is held whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its head.
    pub head: PartHead,
    /// Its bytes.
    pub content: Bytes,
}

impl PartHead {
    /// A head that says its content type and nothing else.
    pub const fn of(content_type: ContentType) -> Self {
        Self { content_type: Some(content_type), headers: Vec::new() }
    }

    /// `type/subtype` in lower case; empty when the head does not say.
    pub fn media_type(&self) -> &str {
        self.content_type.as_ref().map_or("", ContentType::media_type)
    }
}

/// What a reader found next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing more in what was pushed.
    NeedMore,
    /// A part begins.
    PartHead(PartHead),
    /// More of the part; never empty.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
    /// The body is complete.
    End,
}

/// An incremental reader.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    /// CRLF, two hyphens, boundary.
    delimiter: Finder<'static>,
    state: State,
    /// What is being looked at.
    front: Bytes,
    /// What was pushed after it.
    queue: VecDeque<Bytes>,
    parts: usize,
    ignored: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Line,
    Head,
    Body,
    BodyEnded,
    Epilogue,
}

/// Bytes taken from the next piece when a look across the joint is needed.
const JOINT: usize = 256;

impl Reader {
    /// A reader of `multipart/mixed`, for the value of the body's `Content-Type` header.
    ///
    /// # Errors
    /// [`MultipartError::ContentType`], [`MultipartError::OtherType`], [`MultipartError::Boundary`].
    pub fn new(content_type: &str, limits: Limits) -> Result<Self, MultipartError> {
        Self::of_type("multipart/mixed", content_type, limits)
    }

    /// A reader of another multipart type, in lower case.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_type(media_type: &str, content_type: &str, limits: Limits) -> Result<Self, MultipartError> {
        let content_type = ContentType::parse(content_type)?;
        if content_type.media_type() != media_type {
            return Err(MultipartError::OtherType(content_type.media_type().to_owned()));
        }
        let delimiter = format!("\r\n--{}", content_type.boundary()?.as_str());
        Ok(Self {
            limits,
            delimiter: Finder::new(&delimiter).into_owned(),
            state: State::Preamble,
            // The first delimiter needs no line before it: this is its CRLF.
            front: Bytes::from_static(b"\r\n"),
            queue: VecDeque::new(),
            parts: 0,
            ignored: 0,
        })
    }

    /// Takes in what came next.
    pub fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.queue.push_back(data);
        }
    }

    /// What comes next.
    ///
    /// # Errors
    /// [`MultipartError`]; after an error the reader is of no more use.
    pub fn pull(&mut self) -> Result<Event, MultipartError> {
        loop {
            let event = match self.state {
                State::Preamble => self.preamble()?,
                State::Line => self.line()?,
                State::Head => self.head()?,
                State::Body => self.body(),
                State::BodyEnded => {
                    self.state = State::Line;
                    Some(Event::PartEnd)
                }
                State::Epilogue => {
                    self.ignore(self.front.len())?;
                    (!self.extend()).then_some(Event::End)
                }
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Says that nothing more will be pushed.
    ///
    /// # Errors
    /// [`MultipartError::Truncated`] when the closing delimiter was not seen.
    pub fn finish(&self) -> Result<(), MultipartError> {
        if self.state == State::Epilogue { Ok(()) } else { Err(MultipartError::Truncated) }
    }

    fn preamble(&mut self) -> Result<Option<Event>, MultipartError> {
        let found = self.delimiter.find(&self.front);
        self.ignore(found.unwrap_or_else(|| self.front.len() - self.possible_delimiter()))?;
        Ok(match found {
            Some(_) => self.after_delimiter(State::Line),
            None => self.need_more(),
        })
    }

    fn body(&mut self) -> Option<Event> {
        let found = self.delimiter.find(&self.front);
        let data = self.front.split_to(found.unwrap_or_else(|| self.front.len() - self.possible_delimiter()));
        if !data.is_empty() {
            return Some(Event::Data(data));
        }
        match found {
            Some(_) => self.after_delimiter(State::BodyEnded),
            None => self.need_more(),
        }
    }

    /// The rest of a delimiter line: two hyphens, or blanks and a line end (which is left for the head).
    fn line(&mut self) -> Result<Option<Event>, MultipartError> {
        if self.front.starts_with(b"--") {
            self.front.advance(2);
            self.state = State::Epilogue;
            return Ok(None);
        }
        let blanks = self.front.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        match self.front.get(blanks..blanks + 2) {
            Some(b"\r\n") => {
                self.front.advance(blanks);
                self.state = State::Head;
                Ok(None)
            }
            None if blanks < JOINT => Ok(self.need_more()),
            _ => Err(MultipartError::Delimiter),
        }
    }

    fn head(&mut self) -> Result<Option<Event>, MultipartError> {
        // The line end before the head is still there: so a head without headers ends like every other.
        let end = memmem::find(&self.front, b"\r\n\r\n");
        // Of an end that is not there yet, three bytes may be.
        if end.unwrap_or_else(|| self.front.len().saturating_sub(3)) > self.limits.part_head {
            return Err(MultipartError::TooLong("a part's head is"));
        }
        let Some(end) = end else { return Ok(self.need_more()) };
        let lines = self.front.split_to(end);
        self.front.advance(4);
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(MultipartError::TooManyParts);
        }
        self.state = State::Body;
        Ok(Some(Event::PartHead(read_head(&lines, self.limits.folded)?)))
    }

    fn after_delimiter(&mut self, state: State) -> Option<Event> {
        self.front.advance(self.delimiter.needle().len());
        self.state = state;
        None
    }

    /// Drops bytes outside of the parts.
    fn ignore(&mut self, count: usize) -> Result<(), MultipartError> {
        self.front.advance(count);
        self.ignored += count;
        if self.ignored > self.limits.around {
            return Err(MultipartError::TooLong("the text around the parts is"));
        }
        Ok(())
    }

    /// How many bytes at the end may be the beginning of a delimiter.
    fn possible_delimiter(&self) -> usize {
        let needle = self.delimiter.needle();
        let longest = self.front.len().min(needle.len() - 1);
        (1..=longest)
            .rev()
            .find(|&length| self.front.get(self.front.len() - length..) == needle.get(..length))
            .unwrap_or(0)
    }

    fn need_more(&mut self) -> Option<Event> {
        if self.extend() { None } else { Some(Event::NeedMore) }
    }

    /// Looks further: at the next piece, or across the joint of what is left with it.
    fn extend(&mut self) -> bool {
        let Some(next) = self.queue.front_mut() else { return false };
        if self.front.is_empty() {
            self.front = std::mem::take(next);
        } else {
            let taken = next.split_to(next.len().min(JOINT.max(self.front.len())));
            let mut joined = BytesMut::with_capacity(self.front.len() + taken.len());
            joined.extend_from_slice(&self.front);
            joined.extend_from_slice(&taken);
            self.front = joined.freeze();
        }
        if next.is_empty() {
            self.queue.pop_front();
        }
        true
    }
}

/// Reads the lines of a head, each preceded by its line end.
fn read_head(lines: &[u8], folded: bool) -> Result<PartHead, MultipartError> {
    let bad = |why| MultipartError::Header(why);
    let text = std::str::from_utf8(lines).map_err(|_| bad("not UTF-8"))?;
    let text = if folded {
        Cow::Owned(text.replace("\r\n ", " ").replace("\r\n\t", " "))
    } else {
        Cow::Borrowed(text)
    };
    let mut head = PartHead { content_type: None, headers: Vec::new() };
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            return Err(bad("a folded line"));
        }
        if line.chars().any(is_control) {
            return Err(bad("a control character"));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a line without colon"))?;
        if !is_token(name) {
            return Err(bad("a name"));
        }
        let value = value.trim_matches([' ', '\t']);
        if !name.eq_ignore_ascii_case("content-type") {
            head.headers.push((name.to_owned(), value.to_owned()));
        } else if head.content_type.replace(ContentType::parse(value)?).is_some() {
            return Err(bad("Content-Type given twice"));
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests;
