//! The network between the gateways: messages in pieces of any length, late, cut off at any byte, delivered twice.
//!
//! ```text
//! consumer: Link::send ──► wire ──► provider::serve           a wire is a task: it cuts messages into pieces, waits,
//!           Awaited   ◄── wire ◄── ReplyTo                    and may break at a byte
//! ```
//! A process that ends breaks its wires, and whoever is at their other ends learns it. Not here: TLS, HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use conf::identifier::ClientId;
use conf::snapshot::GlobalConf;
use gateway::exchange::ports::{
    Agreed, Arriving, Awaited, FarEnd, Gone, Interrupted, Leaving, Peer, PeerAnswer, PeerFailure, PeerLink,
    Peers, Route, Wait,
};
use gateway::exchange::provider::{self, PeerCall, Reply};
use gateway::fault::{Fault, soap};
use gateway::message::Beside;
use gateway::message::multipart::Boundary;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::executor::{Sim, WORLD};
use super::ground::{Ground, Side};
use super::life::Life;
use super::machine::{Machine, Running};

/// How long a peer is waited for that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What goes over a wire.
enum Piece {
    Data(Bytes),
    End,
}

/// Where a message is put in at one end of a wire.
struct Inlet(UnboundedSender<Piece>, Arc<Life>);

impl Leaving for Inlet {
    fn send(&mut self, chunk: Bytes) -> Wait<'_, Result<(), Gone>> {
        Box::pin(std::future::ready(self.put(Piece::Data(chunk))))
    }

    fn finish(self: Box<Self>, last: Bytes) -> Wait<'static, Result<(), Gone>> {
        Box::pin(std::future::ready(self.put(Piece::Data(last)).and_then(|()| self.put(Piece::End))))
    }
}

impl Inlet {
    fn put(&self, piece: Piece) -> Result<(), Gone> {
        // A process that has ended sends nothing more.
        if !self.1.lives() {
            return Err(Gone);
        }
        self.0.send(piece).map_err(|_| Gone)
    }
}

/// Where it comes out.
struct Outlet(UnboundedReceiver<Piece>);

impl Arriving for Outlet {
    fn next(&mut self) -> Wait<'_, Result<Option<Bytes>, Interrupted>> {
        Box::pin(async {
            match self.0.recv().await {
                Some(Piece::Data(data)) => Ok(Some(data)),
                Some(Piece::End) => Ok(None),
                None => Err(Interrupted("the connection was reset".to_owned())),
            }
        })
    }
}

/// Bytes that arrive in pieces of any length; perhaps not all of them.
pub(super) fn in_pieces(sim: &Sim, content: Bytes, breaks: bool) -> Box<dyn Arriving> {
    let (into, from) = unbounded_channel();
    let (to, out) = unbounded_channel();
    let _ = into.send(Piece::Data(content)).and_then(|()| into.send(Piece::End));
    let carrier = sim.clone();
    sim.spawn(WORLD, async move { drop(wire(&carrier, "body", from, &to, breaks).await) });
    Box::new(Outlet(out))
}

/// Carries a message, and gives what went in; nothing if it broke.
async fn wire(
    sim: &Sim,
    what: &str,
    mut from: UnboundedReceiver<Piece>,
    to: &UnboundedSender<Piece>,
    breaks: bool,
) -> Bytes {
    let mut left = breaks.then(|| sim.below(12_000));
    let mut carried = BytesMut::new();
    while let Some(piece) = from.recv().await {
        let Piece::Data(mut data) = piece else {
            let _ = to.send(Piece::End);
            break;
        };
        carried.extend_from_slice(&data);
        while !data.is_empty() {
            let whole = sim.chance(500);
            let mut next = data.split_to(if whole { data.len() } else { 1 + sim.below(data.len()) });
            if let Some(left) = &mut left {
                if *left < next.len() {
                    sim.trace(format_args!("network: a {what} breaks at byte {}", carried.len()));
                    let _ = to.send(Piece::Data(next.split_to(*left)));
                    return Bytes::new();
                }
                *left -= next.len();
            }
            if to.send(Piece::Data(next)).is_err() {
                return Bytes::new();
            }
            if sim.chance(300) {
                sim.sleep_below(Duration::from_millis(20)).await;
            }
        }
    }
    carried.freeze()
}

/// The network as the gateway of one side sees it.
pub(super) struct Network {
    pub(super) sim: Sim,
    pub(super) ground: Arc<Ground>,
    pub(super) life: Arc<Life>,
    pub(super) peer: Arc<Machine>,
    /// How many of a thousand things go wrong.
    pub(super) trouble: usize,
}

impl Peers for Network {
    fn open(&self, route: Route) -> Wait<'_, Result<Box<dyn PeerLink>, PeerFailure>> {
        Box::pin(async move {
            self.sim.sleep_below(Duration::from_millis(5)).await;
            let server = route.servers.first().ok_or_else(|| PeerFailure::Network("no server".to_owned()))?;
            if self.sim.chance(self.trouble) || self.peer.running().is_none() {
                return Err(PeerFailure::Network("connection refused".to_owned()));
            }
            let far_end = FarEnd { server: server.id.clone(), agreed: Agreed::default() };
            let (sim, life, peer) = (self.sim.clone(), Arc::clone(&self.life), Arc::clone(&self.peer));
            let link: Box<dyn PeerLink> = Box::new(Link { sim, life, peer, far_end, trouble: self.trouble });
            Ok(link)
        })
    }

    fn judge(&self, _: &Arc<GlobalConf>, _: &Peer, _: &[Bytes], _: &ClientId) -> Result<FarEnd, PeerFailure> {
        let server = self.ground.identity(Side::Consumer).server.clone();
        Ok(FarEnd { server, agreed: Agreed::default() })
    }
}

struct Link {
    sim: Sim,
    life: Arc<Life>,
    peer: Arc<Machine>,
    far_end: FarEnd,
    trouble: usize,
}

impl PeerLink for Link {
    fn far_end(&self) -> FarEnd {
        self.far_end.clone()
    }

    fn send(self: Box<Self>, headers: Vec<(&'static str, String)>) -> (Box<dyn Leaving>, Awaited) {
        let Self { sim, life, peer, far_end, trouble } = *self;
        let (into, from) = unbounded_channel();
        let (answer, answered) = oneshot::channel();
        let carried = sim.clone();
        sim.spawn(WORLD, async move { carry(&carried, from, headers, &peer, answer, trouble).await });
        let awaited = async move {
            let lost = |what: &str| PeerFailure::NoAnswer(what.to_owned());
            let answered = sim.within(PATIENCE, answered).await.ok_or_else(|| lost("it took too long"))?;
            let Head { content_type, hash_algorithm, original_content_type, body } =
                answered.map_err(|_| lost("the connection was reset"))?;
            Ok(PeerAnswer { content_type, hash_algorithm, original_content_type, body, far_end })
        };
        (Box::new(Inlet(into, life)), Box::pin(awaited))
    }
}

/// The head of an answer, with the body that comes.
struct Head {
    content_type: String,
    hash_algorithm: Option<String>,
    original_content_type: Option<String>,
    body: Box<dyn Arriving>,
}

/// Carries a request to the peer once it has begun, and its answer back. The request may come again, byte by byte.
async fn carry(
    sim: &Sim,
    from: UnboundedReceiver<Piece>,
    headers: Vec<(&'static str, String)>,
    peer: &Arc<Machine>,
    answer: oneshot::Sender<Head>,
    trouble: usize,
) {
    let Some(running) = peer.running() else { return };
    let (to, out) = unbounded_channel();
    serve(sim, &running, &headers, Box::new(Outlet(out)), answer, trouble);
    drop(running);
    let carried = wire(sim, "request", from, &to, sim.chance(trouble)).await;
    drop(to);
    if carried.is_empty() || !sim.chance(trouble) {
        return;
    }
    sim.sleep_below(Duration::from_secs(2)).await;
    sim.trace(format_args!("network: a request comes again"));
    if let Some(running) = peer.running() {
        let (answer, _nobody) = oneshot::channel();
        serve(sim, &running, &headers, in_pieces(sim, carried, false), answer, 0);
    }
}

/// Lets a gateway serve a message, as its door does.
fn serve(
    sim: &Sim,
    running: &Arc<Running>,
    headers: &[(&'static str, String)],
    body: Box<dyn Arriving>,
    answer: oneshot::Sender<Head>,
    trouble: usize,
) {
    let text = |name: &str| {
        headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let call = PeerCall {
        peer: Peer::default(),
        method: "POST".to_owned(),
        version: text("x-proxy-version"),
        message_type: text("x-road-message-type"),
        content_type: text("content-type").unwrap_or_default(),
        hash_algorithm: text("x-hash-algorithm"),
        trace: Vec::new(),
        beside: Beside {
            request_id: text("x-road-request-id"),
            content_type: text("x-original-content-type"),
            action: text("x-original-soapaction"),
        },
        body,
    };
    let life = Arc::clone(&running.life);
    let reply = ReplyTo { sim: sim.clone(), life: Arc::clone(&life), answer, trouble };
    let gateway = Arc::clone(&running.gateway);
    sim.spawn(life.owner, async move { provider::serve(&gateway, call, Box::new(reply)).await });
}

struct ReplyTo {
    sim: Sim,
    life: Arc<Life>,
    answer: oneshot::Sender<Head>,
    trouble: usize,
}

impl ReplyTo {
    fn head(self, content_type: String, original: Option<&str>, hashed: bool) -> Inlet {
        let Self { sim, life, answer, trouble } = self;
        let (into, from) = unbounded_channel();
        let (to, out) = unbounded_channel();
        let head = Head {
            content_type,
            hash_algorithm: hashed.then(|| "SHA-512".to_owned()),
            original_content_type: original.map(str::to_owned),
            body: Box::new(Outlet(out)),
        };
        if life.lives() {
            let carrier = sim.clone();
            sim.spawn(WORLD, async move {
                let breaks = carrier.chance(trouble);
                carrier.sleep_below(Duration::from_millis(5)).await;
                if answer.send(head).is_ok() {
                    drop(wire(&carrier, "response", from, &to, breaks).await);
                }
            });
        }
        Inlet(into, life)
    }
}

impl Reply for ReplyTo {
    fn whole(self: Box<Self>, fault: &Fault) {
        let content = soap::render(fault);
        let into = self.head(soap::CONTENT_TYPE.to_owned(), None, false);
        let _ = into.put(Piece::Data(content)).and_then(|()| into.put(Piece::End));
    }

    fn begin(self: Box<Self>, boundary: &Boundary, content_type: Option<&str>) -> Box<dyn Leaving> {
        Box::new(self.head(boundary.content_type(), content_type, true))
    }
}
