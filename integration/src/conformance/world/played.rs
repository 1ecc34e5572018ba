//! What is played: the peer of the consumer's gateway, the ids, and the service behind the provider's.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use conf::identifier::ClientId;
use conf::snapshot::GlobalConf;
use gateway::exchange::ports::{
    Agreed, Arriving, Awaited, FarEnd, Gone, Ids, Interrupted, Leaving, Peer, PeerAnswer, PeerFailure,
    PeerLink, Peers, Route, Wait,
};
use gateway::message::multipart::Boundary;
use gateway::network::RandomIds;
use gateway::transport::auth_trust::AuthTrust;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::recording::Http;

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body in memory.
pub(in super::super) struct InMemory(Option<Bytes>);

impl InMemory {
    pub(in super::super) fn boxed(body: Bytes) -> Box<dyn Arriving> {
        Box::new(Self(Some(body).filter(|body| !body.is_empty())))
    }
}

impl Arriving for InMemory {
    fn next(&mut self) -> Wait<'_, Result<Option<Bytes>, Interrupted>> {
        Box::pin(std::future::ready(Ok(self.0.take())))
    }
}

/// Where a message is gathered in memory; at its end it is handed over.
pub(in super::super) struct Gathered {
    bytes: BytesMut,
    whole: Option<Box<dyn FnOnce(Bytes) + Send>>,
}

impl Gathered {
    pub(in super::super) fn boxed(whole: impl FnOnce(Bytes) + Send + 'static) -> Box<dyn Leaving> {
        Box::new(Self { bytes: BytesMut::new(), whole: Some(Box::new(whole)) })
    }
}

impl Leaving for Gathered {
    fn send(&mut self, chunk: Bytes) -> Wait<'_, Result<(), Gone>> {
        self.bytes.extend_from_slice(&chunk);
        Box::pin(std::future::ready(Ok(())))
    }

    fn finish(mut self: Box<Self>, last: Bytes) -> Wait<'static, Result<(), Gone>> {
        self.bytes.extend_from_slice(&last);
        if let Some(whole) = self.whole.take() {
            whole(self.bytes.split().freeze());
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The peer of the consumer's gateway, and the ids that are given out.
pub(in super::super) struct Played {
    trust: Arc<AuthTrust>,
    ids: Mutex<VecDeque<String>>,
    answer: Mutex<Option<Http>>,
    sent: Arc<Mutex<Option<Http>>>,
}

impl Played {
    pub(super) fn new(trust: Arc<AuthTrust>) -> Self {
        Self { trust, ids: Mutex::default(), answer: Mutex::default(), sent: Arc::default() }
    }

    /// Prepares an exchange: the ids that are given out first, and what the peer answers.
    pub(in super::super) fn prepare(&self, ids: Vec<String>, answer: Option<Http>) {
        *locked(&self.ids) = ids.into();
        *locked(&self.answer) = answer;
        *locked(&self.sent) = None;
    }

    /// What was sent to the peer.
    pub(in super::super) fn sent(&self) -> Option<Http> {
        locked(&self.sent).take()
    }
}

impl Ids for Played {
    fn uuid(&self) -> String {
        locked(&self.ids).pop_front().unwrap_or_else(|| RandomIds.uuid())
    }

    fn boundary(&self) -> Boundary {
        RandomIds.boundary()
    }
}

impl Peers for Played {
    fn open(&self, route: Route) -> Wait<'_, Result<Box<dyn PeerLink>, PeerFailure>> {
        let link = || -> Result<Box<dyn PeerLink>, PeerFailure> {
            let server = route.servers.first().ok_or_else(|| PeerFailure::Network("no server".to_owned()))?;
            if route.provider.member().code().contains("down") {
                return Err(PeerFailure::Network("connection refused".to_owned()));
            }
            let far_end = FarEnd { server: server.id.clone(), agreed: Agreed::default() };
            Ok(Box::new(Link { far_end, answer: locked(&self.answer).take(), sent: Arc::clone(&self.sent) }))
        };
        Box::pin(std::future::ready(link()))
    }

    fn judge(
        &self,
        conf: &Arc<GlobalConf>,
        peer: &Peer,
        ocsp_responses: &[Bytes],
        client: &ClientId,
    ) -> Result<FarEnd, PeerFailure> {
        let shown: Vec<CertificateDer<'_>> =
            peer.certificates.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
        let trusted = self
            .trust
            .judge(&**conf, &shown, ocsp_responses, client)
            .map_err(|error| PeerFailure::Untrusted(error.to_string()))?;
        Ok(FarEnd { server: trusted.server().clone(), agreed: Agreed::default() })
    }
}

struct Link {
    far_end: FarEnd,
    answer: Option<Http>,
    sent: Arc<Mutex<Option<Http>>>,
}

impl PeerLink for Link {
    fn far_end(&self) -> FarEnd {
        self.far_end.clone()
    }

    fn send(self: Box<Self>, headers: Vec<(&'static str, String)>) -> (Box<dyn Leaving>, Awaited) {
        let Self { far_end, answer, sent } = *self;
        let (whole, awaited) = oneshot::channel();
        let leaving = Gathered::boxed(move |body| {
            let headers =
                headers.into_iter().map(|(name, value)| (Bytes::from(name), Bytes::from(value))).collect();
            *locked(&sent) = Some(Http { start: "POST / HTTP/1.1".to_owned(), headers, body });
            let _ = whole.send(());
        });
        let answer = async move {
            let nothing = || PeerFailure::NoAnswer("nothing is recorded".to_owned());
            awaited.await.map_err(|_| nothing())?;
            let answer = answer.ok_or_else(nothing)?;
            Ok(PeerAnswer {
                content_type: answer.header("content-type").unwrap_or_default(),
                hash_algorithm: answer.header("x-hash-algorithm"),
                original_content_type: answer.header("x-original-content-type"),
                body: InMemory::boxed(answer.body),
                far_end,
            })
        };
        (leaving, Box::pin(answer))
    }
}

/// A service that answers with given bytes, whatever they are, and keeps what it was asked.
pub(in super::super) struct PlayedService {
    address: SocketAddr,
    answer: Arc<Mutex<Bytes>>,
    asked: Arc<Mutex<Vec<Http>>>,
}

impl PlayedService {
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let service = Self { address: listener.local_addr()?, answer: Arc::default(), asked: Arc::default() };
        let (answer, asked) = (Arc::clone(&service.answer), Arc::clone(&service.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Ok(Some(request)) = read_message(&mut stream, false).await {
                    locked(&asked).push(request);
                    let bytes = locked(&answer).clone();
                    let _ = stream.write_all(&bytes).await;
                }
            }
        });
        Ok(service)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Prepares the next answer.
    pub(in super::super) fn prepare(&self, answer: Bytes) {
        *locked(&self.answer) = answer;
        locked(&self.asked).clear();
    }

    /// What was asked since.
    pub(in super::super) fn asked(&self) -> Vec<Http> {
        std::mem::take(&mut *locked(&self.asked))
    }
}

/// Reads one message from a connection.
pub(in super::super) async fn read_message(
    stream: &mut TcpStream,
    bodiless: bool,
) -> std::io::Result<Option<Http>> {
    let mut bytes = BytesMut::new();
    let whole = async {
        loop {
            if let Some(message) = Http::read(&bytes, bodiless, false) {
                return Ok(Some(message));
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(Http::read(&bytes, bodiless, true));
            }
        }
    };
    timeout(Duration::from_secs(10), whole).await?
}
