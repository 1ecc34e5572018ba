//! One attack as data: what is sent, and what must come of it.

use std::fmt;

use futures_util::future::BoxFuture;

use super::wire;
use crate::world::{AnswerPlan, Ask, Envelope, FAKE, Mode, RECORDS, World};

/// An attack that is not one message.
pub(super) type Doing = Box<dyn for<'w> Fn(&'w World) -> BoxFuture<'w, Answer> + Send + Sync>;

/// What is done.
pub enum Attack {
    /// An information system sends these bytes to the consumer's plain door.
    Plain(Vec<u8>),
    /// A registered peer with good certificates sends these bytes to the provider.
    Peer(Vec<u8>),
    /// A registered peer sends this message to the provider.
    Message(Box<Envelope>),
    /// A good request is answered by the rogue peer, which does this to its answer.
    Answered(Box<dyn Fn(&mut AnswerPlan) + Send + Sync>),
    /// Anything else.
    Doing(Doing),
}

/// What must come of it, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A status without words, and the end of the connection.
    Bare(u16),
    /// A status, with a code of X-Road.
    Code(u16, String),
    /// The connection ends without an answer.
    Closed,
    /// The verdict of something that is not a door.
    Verdict(String),
    /// It is harmless: served once, and the service sees this as its first line.
    Passes(String),
}

/// What it may leave in the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing, in either.
    None,
    /// At the consumer a request that was refused; at the provider nothing.
    Refused,
    /// At the consumer a request whose outcome is not known; at the provider nothing.
    InDoubt,
    /// On both sides a request; at the provider it is known to have failed, at the consumer not.
    Failed,
    /// On both sides a request whose outcome is not known.
    BothInDoubt,
    /// A request and its answer at the consumer, of another provider.
    OnlyAsked,
    /// A request and its answer, at the provider alone (the peer keeps its own) or on both sides.
    Exchange,
}

/// An attack of the table.
pub struct Case {
    /// What is wrong, in words.
    pub name: String,
    /// What is done.
    pub attack: Attack,
    /// What must come of it.
    pub expected: Expected,
    /// What it may leave behind.
    pub evidence: Evidence,
    /// How often the service is called: never, but where the attack comes from it.
    pub calls: u64,
    /// Why that is right, where X-Road does something else.
    pub because: Option<&'static str>,
}

/// What the attacker got.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The code, or the verdict.
    pub code: Option<String>,
    /// How many answers came.
    pub answers: usize,
    /// Whether the connection was ended by the other end; not looked at after whole messages.
    pub closed: bool,
    /// All that was said.
    pub text: String,
}

impl Case {
    fn new(name: impl Into<String>, attack: Attack, expected: Expected) -> Self {
        let evidence =
            if matches!(expected, Expected::Passes(_)) { Evidence::Exchange } else { Evidence::None };
        let calls = u64::from(matches!(expected, Expected::Passes(_)));
        Self { name: name.into(), attack, expected, evidence, calls, because: None }
    }

    /// Bytes to the consumer's plain door.
    pub fn plain(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Expected) -> Self {
        Self::new(name, Attack::Plain(bytes.into()), expected)
    }

    /// Bytes to the provider's peer door.
    pub fn peer(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Expected) -> Self {
        Self::new(name, Attack::Peer(bytes.into()), expected)
    }

    /// A message to the provider.
    pub fn message(name: impl Into<String>, envelope: Envelope, expected: Expected) -> Self {
        Self::new(name, Attack::Message(Box::new(envelope)), expected)
    }

    /// A spoilt answer of a provider: the request is logged, and its outcome is not known.
    pub fn answered(
        name: impl Into<String>,
        change: impl Fn(&mut AnswerPlan) + Send + Sync + 'static,
        code: &str,
    ) -> Self {
        let expected = Expected::Code(500, format!("server.clientproxy.{code}"));
        Self::new(name, Attack::Answered(Box::new(change)), expected).leaves(Evidence::InDoubt)
    }

    /// Anything else.
    pub fn doing(
        name: impl Into<String>,
        doing: impl for<'w> Fn(&'w World) -> BoxFuture<'w, Answer> + Send + Sync + 'static,
        expected: Expected,
    ) -> Self {
        Self::new(name, Attack::Doing(Box::new(doing)), expected)
    }

    /// What an information system asks.
    pub fn ask(name: impl Into<String>, ask: Ask, expected: Expected) -> Self {
        Self::doing(
            name,
            move |world| {
                let ask = ask.clone();
                Box::pin(async move { Answer::of_reply(Some(world.ask(&ask).await)) })
            },
            expected,
        )
    }

    /// A service that answers as it must not; what it does is set before.
    pub fn served(
        name: impl Into<String>,
        prepare: impl Fn(&World) + Send + Sync + 'static,
        code: &str,
    ) -> Self {
        let expected = Expected::Code(500, format!("server.serverproxy.{code}"));
        let doing = move |world: &World| prepare(world);
        let doing = std::sync::Arc::new(doing);
        let mut case = Self::doing(
            name,
            move |world| {
                let doing = std::sync::Arc::clone(&doing);
                Box::pin(async move {
                    doing(world);
                    let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), "question")).await;
                    world.service.mode(Mode::Echo);
                    Answer::of_reply(Some(reply))
                })
            },
            expected,
        );
        case.calls = 1;
        case
    }

    /// With what it leaves behind.
    #[must_use]
    pub fn leaves(mut self, evidence: Evidence) -> Self {
        self.evidence = evidence;
        self
    }

    /// With a call of the service: it takes an exchange to try it.
    #[must_use]
    pub fn called(mut self) -> Self {
        self.calls = 1;
        self
    }

    /// With a reason for what is expected.
    #[must_use]
    pub fn because(mut self, reason: &'static str) -> Self {
        self.because = Some(reason);
        self
    }
}

impl Attack {
    /// Does it.
    pub async fn make(&self, world: &World) -> Answer {
        match self {
            Self::Plain(bytes) => wire::plain(&world.consumer.http(), bytes).await,
            Self::Peer(bytes) => wire::peer(world, &world.rogue.auth, bytes).await,
            Self::Message(envelope) => {
                let reply = world.rogue.send(&world.provider.peers(), envelope).await;
                Answer::of_peer(reply.as_ref())
            }
            Self::Answered(change) => {
                world.rogue.plan(change);
                let reply = world.ask(&Ask::post(FAKE, "question")).await;
                world.rogue.plan(|_| {});
                Answer::of_reply(Some(reply))
            }
            Self::Doing(doing) => doing(world).await,
        }
    }
}

/// The code that a provider tells while it takes a message apart.
pub(super) fn serving(code: &str) -> Expected {
    Expected::Code(200, format!("server.serverproxy.{code}"))
}

/// The code that a consumer tells an information system that speaks REST.
pub(super) fn asking(code: &str) -> Expected {
    Expected::Code(500, format!("server.clientproxy.{code}"))
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(status) => write!(f, "{status} and the end"),
            Self::Code(status, code) => write!(f, "{status} {code}"),
            Self::Closed => f.write_str("the end"),
            Self::Verdict(verdict) => f.write_str(verdict),
            Self::Passes(line) => write!(f, "harmless: {line}"),
        }
    }
}
