//! What an information system asks, written by hand.

use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http1::Message;
use super::{PORTAL, within};

/// A request.
#[derive(Debug, Clone)]
pub struct Ask {
    verb: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
}

impl Ask {
    /// GET, as the usual client.
    pub fn get(target: &str) -> Self {
        Self::with("GET", target)
    }

    /// POST, as the usual client.
    pub fn post(target: &str, body: impl Into<Bytes>) -> Self {
        Self::with("POST", target).body(body)
    }

    /// Any method, as the usual client.
    pub fn with(verb: &str, target: &str) -> Self {
        Self { verb: verb.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
            .header("X-Road-Client", PORTAL)
    }

    /// With one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// As another client.
    #[must_use]
    pub fn client(self, id: &str) -> Self {
        self.without("X-Road-Client").header("X-Road-Client", id)
    }

    /// With this message id.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.header("X-Road-Id", id)
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Over HTTP to `address`.
    pub async fn send_to(&self, address: &str) -> Reply {
        let stream = within("connecting", TcpStream::connect(address)).await.unwrap();
        self.exchange(stream).await.expect("no answer at all")
    }

    /// Over HTTPS to `address`; `None` when there is no answer.
    pub async fn send_tls(&self, address: &str, tls: &Arc<ClientConfig>) -> Option<Reply> {
        let stream = within("connecting", TcpStream::connect(address)).await.unwrap();
        let name = rustls_pki_types::ServerName::from(stream.peer_addr().unwrap().ip());
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.ok()?;
        self.exchange(stream).await
    }

    /// Over HTTP to `address`, but no more than so many bytes of it; the connection stays open for as long as it is held.
    pub async fn begin(&self, address: &str, bytes: usize) -> TcpStream {
        let mut stream = within("connecting", TcpStream::connect(address)).await.unwrap();
        let all = self.bytes();
        let _ = stream.write_all(all.get(..bytes).unwrap_or(&all)).await;
        stream
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> Option<Reply> {
        // A refusal may come before everything has been written.
        let _ = stream.write_all(&self.bytes()).await;
        let answer = within("an answer", Message::read(&mut stream, self.verb == "HEAD")).await?;
        Some(Reply::new(answer))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text =
            format!("{} {} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n", self.verb, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// All of it.
    pub message: Message,
}

impl Reply {
    fn new(message: Message) -> Self {
        let status = message.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, message }
    }

    /// The code of the fault, if it is one.
    pub fn error(&self) -> Option<&str> {
        self.message.header("X-Road-Error")
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message.body).into_owned()
    }
}
