//! HTTP/1.1 by hand: tests must be able to write what no client would, and to read what no client would show.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A request or an answer, read whole.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Its first line.
    pub first: String,
    /// Headers in their order; names as they came.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Bytes,
    /// Whether it ended as its framing says; not so when the connection broke before.
    pub is_whole: bool,
}

impl Message {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Reads one message; `None` when the connection ends before its head is whole. `bodiless`: an answer to HEAD.
    pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, bodiless: bool) -> Option<Self> {
        let mut came = Vec::new();
        let head_end = loop {
            if let Some(at) = find(&came, b"\r\n\r\n") {
                break at;
            }
            if !more(stream, &mut came).await {
                return None;
            }
        };
        let rest = came.split_off(head_end + 4);
        let head = String::from_utf8_lossy(&came).into_owned();
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut message = Self { first, headers, body: Bytes::new(), is_whole: true };
        message.read_body(stream, rest, bodiless).await;
        Some(message)
    }

    async fn read_body<S: AsyncRead + Unpin>(&mut self, stream: &mut S, mut came: Vec<u8>, bodiless: bool) {
        let status = self.first.split(' ').nth(1).unwrap_or_default();
        let is_answer = self.first.starts_with("HTTP/");
        if bodiless || is_answer && matches!(status, "204" | "304") {
            return;
        }
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let Some(line_end) = find(&came, b"\r\n") else {
                    if more(stream, &mut came).await {
                        continue;
                    }
                    self.is_whole = false;
                    break;
                };
                let size = String::from_utf8_lossy(came.get(..line_end).unwrap_or_default()).into_owned();
                let size = size.split(';').next().unwrap_or_default().trim().to_owned();
                let size = usize::from_str_radix(&size, 16).unwrap_or(0);
                let whole = line_end + 2 + size + 2;
                if came.len() < whole {
                    if more(stream, &mut came).await {
                        continue;
                    }
                    self.is_whole = false;
                    break;
                }
                body.extend_from_slice(came.get(line_end + 2..line_end + 2 + size).unwrap_or_default());
                came.drain(..whole);
                if size == 0 {
                    break;
                }
            }
            self.body = body.into();
            return;
        }
        let length = self.header("content-length").and_then(|value| value.parse::<usize>().ok());
        let wanted = match (length, is_answer) {
            (Some(length), _) => length,
            (None, true) => usize::MAX,
            (None, false) => 0,
        };
        while came.len() < wanted && more(stream, &mut came).await {}
        self.is_whole = length.is_none_or(|length| came.len() >= length);
        came.truncate(wanted);
        self.body = came.into();
    }
}

async fn more<S: AsyncRead + Unpin>(stream: &mut S, into: &mut Vec<u8>) -> bool {
    matches!(stream.read_buf(into).await, Ok(read) if read > 0)
}

/// Where `what` first stands.
pub(crate) fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}
