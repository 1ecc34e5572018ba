//! An answer that is written while it leaves, however long it is: what is written goes to the connection, a piece at a
//! time, and waits for it.

use std::io::{self, BufWriter, Write};

use bytes::Bytes;
use tokio::sync::mpsc;

const CHUNK: usize = 64 << 10;
/// Chunks that wait for the connection.
const CHUNKS: usize = 4;

/// What is to leave. An error breaks the answer off: what was sent is not the whole.
pub type Chunks = mpsc::Receiver<io::Result<Bytes>>;

/// Where it is written. When the connection is gone, writing fails.
pub(crate) struct Outgoing(mpsc::Sender<io::Result<Bytes>>);

/// Has `write` write an answer, off the runtime's threads; `what` it is, for the operator when that fails.
pub(crate) fn stream(
    what: &'static str,
    write: impl FnOnce(&mut BufWriter<Outgoing>) -> io::Result<()> + Send + 'static,
) -> Chunks {
    let (chunks, body) = mpsc::channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(CHUNK, Outgoing(chunks.clone()));
        // What a writer sends when it is dropped could be lost unnoticed.
        let written = write(&mut out).and_then(|()| out.flush());
        if let Err(error) = written {
            tracing::warn!(%error, "{what} was not given to its end");
            // Not what is left in the buffer: it would seem to be the end.
            let (_, _) = out.into_parts();
            let _ = chunks.blocking_send(Err(error));
        }
    });
    body
}

impl Write for Outgoing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(data)));
        sent.map(|()| data.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
