//! Bytes over real connections, and what comes back: until the other end has ended it, or for as long as one waits.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::case::Answer;
use crate::world::{Holder, PeerReply, Reply, World, within};

/// How long the other end has to end a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Over TCP.
pub(super) async fn plain(address: &str, bytes: &[u8]) -> Answer {
    let stream = within("connecting", TcpStream::connect(address)).await.expect("the door is open");
    exchange(stream, bytes).await
}

/// Over TLS to the provider's peer door.
pub(super) async fn peer(world: &World, holder: &Holder, bytes: &[u8]) -> Answer {
    match world.rogue.connect_as(holder, &world.provider.peers()).await {
        Some(mut line) => exchange(line.stream(), bytes).await,
        None => Answer { closed: true, ..Answer::default() },
    }
}

/// Over anything.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> Answer {
    // The other end may refuse before everything is written.
    let written = async {
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
    };
    let _ = tokio::time::timeout(PATIENCE, written).await;
    let mut came = Vec::new();
    let ended = async { while matches!(stream.read_buf(&mut came).await, Ok(read) if read > 0) {} };
    let closed = tokio::time::timeout(PATIENCE, ended).await.is_ok();
    Answer::of_bytes(&came, closed)
}

impl Answer {
    /// Reads what came over a connection.
    pub fn of_bytes(bytes: &[u8], closed: bool) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let answers = text.matches("HTTP/1.1 ").count() + text.matches("HTTP/1.0 ").count();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let between = |from: &str, to: &str| {
            let rest = text.get(text.to_ascii_lowercase().find(from)? + from.len()..)?;
            Some(rest.split(to).next()?.trim().to_owned())
        };
        let code = between("\r\nx-road-error:", "\r\n").or_else(|| between("<faultcode>", "</faultcode>"));
        Self { status, code, answers, closed, text }
    }

    /// The answer of a gateway to another.
    pub fn of_peer(reply: Option<&PeerReply>) -> Self {
        let Some(reply) = reply else { return Self { closed: true, ..Self::default() } };
        Self {
            status: status(&reply.0.first),
            code: reply.fault(),
            answers: 1,
            closed: false,
            text: format!(
                "{}\r\n{:?}\r\n{}",
                reply.0.first,
                reply.0.headers,
                String::from_utf8_lossy(&reply.0.body)
            ),
        }
    }

    /// The answer of a gateway to an information system.
    pub fn of_reply(reply: Option<Reply>) -> Self {
        let Some(reply) = reply else { return Self { closed: true, ..Self::default() } };
        let text = reply.text();
        let fault = text.split("<faultcode>").nth(1).and_then(|rest| rest.split('<').next());
        Self {
            status: Some(reply.status),
            code: reply.error().or(fault).map(str::to_owned),
            answers: 1,
            closed: false,
            text: format!("{}\r\n{:?}\r\n{text}", reply.message.first, reply.message.headers),
        }
    }

    /// The verdict of something that is not a door, and all that it says.
    pub fn verdict(verdict: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: Some(verdict.into()), text: text.into(), ..Self::default() }
    }
}

fn status(first: &str) -> Option<u16> {
    first.split(' ').nth(1)?.parse().ok()
}

/// Bytes in the clear to a door that speaks TLS: it may end with an alert, and must not speak HTTP.
pub(super) async fn without_tls(address: &str, bytes: &[u8]) -> Answer {
    let answer = plain(address, bytes).await;
    let verdict = if answer.closed && answer.answers == 0 { "ended without HTTP" } else { "spoke" };
    Answer::verdict(verdict, answer.text)
}
