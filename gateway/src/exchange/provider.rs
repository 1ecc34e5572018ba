//! The provider's side: from another gateway's message to the signed answer.
//!
//! ```text
//!  9 receive  10 check  11 trust  12 authorise  13 verify  14 log  15 call ───► the service
//! 19 release  18 log    17 sign   16 stream ◄──────────────────────────────
//! ```
//! The service is called once, and only with a [`Deliverable`]: a request whose client may call it, whose signature
//! holds, and that is logged. Until the service is called a fault is the whole answer, from then on its last part.
//!
//! Specification: PR-MESSTRANSP 3; the order of checks is that of X-Road 7.8, rights before signature.

use bytes::Bytes;

use super::attached::Attachment;
use super::check;
use super::incoming::{Incoming, Request};
use super::outgoing::Outgoing;
use super::ports::{Arriving, Gateway, Gone, Leaving, Peer, View};
use super::protocol;
use super::record::{Exchange, Message, Progress, tell};
use crate::access::rights::{Authorized, authorize};
use crate::evidence::signature::{Verified, verify};
use crate::fault::{Fault, Scope, Side, soap};
use crate::message::multipart::Boundary;
use crate::message::transport::Direction;
use crate::message::{self, Beside};
use crate::messagelog::{LogStore as _, Logged, Role};
use crate::opmonitor::record::ServerType;
use crate::opmonitor::{Observation, Step};

/// What alone may reach a service.
pub type Deliverable = Logged<Verified<Authorized<Request>>>;

impl Deliverable {
    /// The request.
    pub fn request(&self) -> &message::Request {
        &self.received().message
    }

    /// What followed it, for the service.
    pub fn attachments(&self) -> &[Attachment] {
        &self.received().attachments
    }

    fn received(&self) -> &Request {
        self.message().message().message()
    }
}

/// A message of another gateway, as the door hands it over.
pub struct PeerCall {
    /// Who sent it.
    pub peer: Peer,
    /// How it was sent.
    pub method: String,
    /// `x-proxy-version`: the release of the gateway that sent it.
    pub version: Option<String>,
    /// `x-road-message-type`.
    pub message_type: Option<String>,
    /// `Content-Type`.
    pub content_type: String,
    /// `x-hash-algorithm`.
    pub hash_algorithm: Option<String>,
    /// What it says of the trace that it is part of: nobody has signed it.
    pub trace: Vec<(Bytes, Bytes)>,
    /// `x-road-request-id`, and what else stands beside a message.
    pub beside: Beside,
    /// The message.
    pub body: Box<dyn Arriving>,
}

/// Where an answer can go.
pub trait Reply: Send {
    /// Sends a fault as the whole answer.
    fn whole(self: Box<Self>, fault: &Fault);
    /// Begins an answer in parts; with the content type that the service's answer had, which goes beside SOAP.
    fn begin(self: Box<Self>, boundary: &Boundary, content_type: Option<&str>) -> Box<dyn Leaving>;
}

/// Serves one message. A failure is noted in the log before it is told.
pub async fn serve(gateway: &Gateway, call: PeerCall, reply: Box<dyn Reply>) {
    let mut progress = Progress::asked_from(&call.peer.address, call.peer.certificates.first());
    let mut answer = Answer::Unbegun(reply);
    let mut seen = gateway.monitor.begin(ServerType::Producer, gateway.clock.now());
    if let Err(fault) = run(gateway, call, &mut answer, &mut progress, &mut seen).await {
        let fault = fault.at(Side::ServerProxy).identified(gateway.ids.uuid());
        tell("provider", &progress.about, &fault);
        seen.failed(&fault);
        progress.conclude(gateway, &fault).await;
        answer.fail(gateway, &fault).await;
    }
}

async fn run(
    gateway: &Gateway,
    call: PeerCall,
    answer: &mut Answer,
    progress: &mut Progress,
    seen: &mut Observation,
) -> Result<(), Fault> {
    check::is_posted(&call.method)?; // first of all, as X-Road does
    let began = gateway.clock.now();
    let conf = gateway.conf.snapshot(began)?; // one view for the whole exchange; expired: a fault
    let local = (gateway.local)();

    // 9 receive: up to the message part, so that cheap refusals come before a body is read
    seen.came_with(&call.trace);
    seen.step(Step::Receive);
    check::is_new_enough(&local, call.version.as_deref())?;
    let PeerCall { peer, message_type, content_type, hash_algorithm, beside, body, trace, .. } = call;
    let (protocol, request_id) = (protocol::of_message(message_type.as_deref()), beside.request_id.clone());
    let algorithm = hash_algorithm.as_deref();
    let incoming = Incoming::new(Direction::Request, protocol, &content_type, algorithm, body, began)?;
    let head = incoming.request_head(beside).await?;
    progress.about.asked(&head.message);
    seen.asked(&head.message, local.is_described(&head.message), &conf, &gateway.server);

    // 10 check
    seen.step(Step::Check);
    check::server_is_ours(&gateway.server, &head.message)?;
    check::provider_is_ours(&local, &head.message)?;
    let header = head.message.header();
    let key = check::signing_key(gateway, header.service.client().member(), &conf, began);
    let key = key.map_err(|fault| fault.within(Scope::ServiceFailed))?;

    // 11 trust
    seen.step(Step::Trust);
    let judged = gateway.peers.judge(&conf, &peer, &head.ocsp_responses, &header.client);
    let far_end = judged.map_err(|failure| Fault::from(failure).within(Scope::ServiceFailed))?;
    seen.peer(&conf, &far_end.server);
    progress.about.peer = Some(far_end.server.clone());
    let vault = gateway.log.vault().keyed(header.service.client()).await?;
    let request = head.read_rest(&vault).await?;
    check::one_request_id(request_id.as_deref(), &request.message)?;

    // 12 authorise
    seen.step(Step::Authorise);
    let access = local.access(&request.message, conf.monitoring_client());
    let request = authorize(request, access, &*conf, local.path_rules())?;

    // 13 verify
    seen.step(Step::Verify);
    let (digests, bundle) = request.message().evidence();
    let client = request.message().message.header().client.member().clone();
    let now = gateway.clock.now();
    let request = verify(request, &digests, &bundle, &conf, &gateway.trust, &client, now)?;

    // 14 log
    seen.step(Step::Log);
    gateway.log.ready()?;
    let received = request.message().message();
    let entered = check::first_time(gateway, &received.message, &bundle, now).await?;
    let (asked, attachments) = (received.message.clone(), received.attachments.clone());
    let (signed_at, ocsp) = (request.facts().signing_time, received.ocsp_responses.clone());
    let exchange = Exchange::new(gateway, (&conf, &local), Role::Provider, &asked, &far_end);
    let message = Message::of(asked.part(), &attachments, &digests, &bundle, began).came(signed_at, &ocsp);
    seen.request(message.size());
    let request: Deliverable = exchange.log_request(request, &message).await?;
    entered.logged();
    progress.logged(&request, &asked, false);

    // 15 call
    seen.step(Step::Call);
    answer.called(); // from here on a fault is a part: the service may have acted
    let called = gateway.services.call(&request, View { conf: &conf, local: &local, trace: &trace }).await;
    let called = called.inspect_err(|failure| progress.in_doubt = failure.may_have_acted());
    let answered = called.map_err(|failure| protocol::of_service(&asked, failure))?;
    progress.in_doubt = true; // it has acted; whatever fails now, the client does not learn how it ended
    let began = gateway.clock.now();

    // 16 stream
    seen.step(Step::Stream);
    let answered = protocol::read_answer(&asked, &digests, answered).await;
    let (response, following) = answered.inspect_err(|fault| progress.in_doubt = !fault.is_relayed())?;
    let answer = answer.begin(gateway, response.original_content_type())?;
    let streamed = answer.stream(response.part(), following, &vault).await;
    let streamed = streamed.map_err(|error| protocol::of_service(&asked, error))?;

    // 17 sign
    seen.step(Step::Sign);
    let signature = gateway.signer.sign(&streamed.digests, &key, gateway.clock.now()).await?;

    // 18 log
    seen.step(Step::LogAnswer);
    let (digests, attachments) = (streamed.digests.clone(), streamed.attachments.clone());
    let message = Message::of(response.part(), &attachments, &digests, &signature, began).sent(&[]);
    seen.response(&response, message.size());
    let logged = exchange.log_response((), &message, request.sequence()).await?;

    // 19 release; the answer is logged, so that the peer has gone is its own loss
    seen.step(Step::Release);
    let _ = streamed.release(&signature, &logged).await;
    seen.answered();
    Ok(())
}

/// How far the answer has come.
enum Answer {
    Unbegun(Box<dyn Reply>),
    Called(Box<dyn Reply>),
    Begun(Outgoing),
    Over,
}

impl Answer {
    /// The service is about to be called.
    fn called(&mut self) {
        if let Self::Unbegun(reply) = std::mem::replace(self, Self::Over) {
            *self = Self::Called(reply);
        }
    }

    /// Begins the answer in parts, once; with the content type that goes beside it.
    fn begin(&mut self, gateway: &Gateway, content_type: Option<&str>) -> Result<&mut Outgoing, Gone> {
        if let Self::Unbegun(reply) | Self::Called(reply) = std::mem::replace(self, Self::Over) {
            let boundary = gateway.ids.boundary();
            *self = Self::Begun(Outgoing::begin(reply.begin(&boundary, content_type), boundary));
        }
        match self {
            Self::Begun(outgoing) => Ok(outgoing),
            Self::Unbegun(_) | Self::Called(_) | Self::Over => Err(Gone),
        }
    }

    /// Tells a fault: as the whole answer, or as the last part of one.
    async fn fail(mut self, gateway: &Gateway, fault: &Fault) {
        if let Self::Called(_) = self {
            let _ = self.begin(gateway, None);
        }
        match self {
            Self::Unbegun(reply) => reply.whole(fault),
            Self::Begun(mut outgoing) => {
                let _ = outgoing.fail(&soap::render(fault)).await;
            }
            Self::Called(_) | Self::Over => {}
        }
    }
}
