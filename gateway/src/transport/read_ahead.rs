//! A socket that is read in larger pieces than whoever reads it asks for.
//!
//! rustls takes at most 4 KiB at once, and a message of the usual size has three times that: a system call for each. What
//! is ahead is held only until it is taken; a connection that waits holds nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most that is read ahead: about a TLS record of full length.
const AHEAD: usize = 16 * 1024;

/// A socket, and what was read of it and not taken.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    stream: TcpStream,
    ahead: Vec<u8>,
    /// How much of that has been taken.
    taken: usize,
}

impl From<TcpStream> for ReadAhead {
    fn from(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new(), taken: 0 }
    }
}

impl ReadAhead {
    /// Fills what is ahead; empty after it at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Without anything to read there is no need for room.
        ready!(self.stream.poll_read_ready(cx))?;
        let mut room = vec![0; AHEAD];
        let mut read = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        let length = read.filled().len();
        room.truncate(length);
        (self.ahead, self.taken) = (room, 0);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            if buffer.remaining() >= AHEAD {
                return Pin::new(&mut self.stream).poll_read(cx, buffer);
            }
            ready!(self.poll_fill(cx))?;
        }
        let rest = self.ahead.get(self.taken..).unwrap_or_default();
        let now = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(now);
        self.taken = self.taken.saturating_add(now.len());
        if self.taken >= self.ahead.len() {
            self.ahead = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_taken_in_small_pieces_is_all_that_was_sent_in_its_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let sending = sent.clone();
        let sender = tokio::spawn(async move {
            let mut stream = ReadAhead::from(listener.accept().await.unwrap().0);
            for piece in sending.chunks(7001) {
                stream.write_all(piece).await.unwrap();
            }
        });
        let mut stream = ReadAhead::from(TcpStream::connect(address).await.unwrap());
        let (mut came, mut piece) = (Vec::new(), vec![0; 4096]);
        for size in [1, 4096, 100, 3000].into_iter().cycle() {
            let read = stream.read(&mut piece[..size]).await.unwrap();
            if read == 0 {
                break;
            }
            came.extend_from_slice(&piece[..read]);
        }
        assert_eq!(came, sent);
        assert!(stream.ahead.is_empty() && stream.ahead.capacity() == 0, "nothing is held at the end");
        sender.await.unwrap();
    }
}
