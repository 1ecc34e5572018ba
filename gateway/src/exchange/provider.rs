//! The provider's side: from another gateway's message to the signed answer.
//!
//! ```text
//!  9 receive  10 check  11 trust  12 authorise  13 verify  14 log  15 call ───► the service
//! 19 release  18 log    17 sign   16 stream ◄──────────────────────────────
//! ```
//! The service is called once, and only with a [`Deliverable`]: a request whose client may call it, whose signature
//! holds, and that is logged. Until the answer has begun a fault is the whole answer, from then on its last part.
//!
//! Specification: PR-MESSTRANSP 3; the order of checks is that of X-Road 7.8, rights before signature.

use super::check;
use super::incoming::{Incoming, Request};
use super::outgoing::Outgoing;
use super::ports::{Arriving, Gateway, Gone, Leaving, Peer, ServiceBody};
use super::record::{Exchange, Message, Progress};
use crate::access::rights::{Authorized, authorize};
use crate::evidence::signature::{self, Verified, verify};
use crate::fault::{Fault, Scope, Side, soap};
use crate::message::multipart::Boundary;
use crate::message::rest::{RestRequest, RestResponse, request_hash};
use crate::message::transport::{Direction, part};
use crate::messagelog::{LogStore as _, Logged, Role};

/// What alone may reach a service.
pub type Deliverable = Logged<Verified<Authorized<Request>>>;

impl Deliverable {
    /// The request.
    pub fn request(&self) -> &RestRequest {
        &self.received().message
    }

    fn received(&self) -> &Request {
        self.message().message().message()
    }

    /// Its body, for the service.
    pub fn body(&self) -> Option<ServiceBody> {
        self.received().body.as_ref().map(ServiceBody::unsealed)
    }
}

/// A message of another gateway, as the door hands it over.
pub struct PeerCall {
    /// Who sent it.
    pub peer: Peer,
    /// `x-road-message-type`.
    pub message_type: Option<String>,
    /// `Content-Type`.
    pub content_type: String,
    /// `x-hash-algorithm`.
    pub hash_algorithm: Option<String>,
    /// `x-road-request-id`.
    pub request_id: Option<String>,
    /// The message.
    pub body: Box<dyn Arriving>,
}

/// Where an answer can go.
pub trait Reply: Send {
    /// Sends a fault as the whole answer.
    fn whole(self: Box<Self>, fault: &Fault);
    /// Begins an answer in parts.
    fn begin(self: Box<Self>, boundary: &Boundary) -> Box<dyn Leaving>;
}

/// Serves one message. A failure is noted in the log before it is told.
pub async fn serve(gateway: &Gateway, call: PeerCall, reply: Box<dyn Reply>) {
    let mut progress = Progress::default();
    let mut answer = Answer::Unbegun(reply);
    if let Err(fault) = run(gateway, call, &mut answer, &mut progress).await {
        let fault = fault.at(Side::ServerProxy).identified(gateway.ids.uuid());
        progress.conclude(gateway, &fault).await;
        answer.fail(&fault).await;
    }
}

async fn run(
    gateway: &Gateway,
    call: PeerCall,
    answer: &mut Answer,
    progress: &mut Progress,
) -> Result<(), Fault> {
    let began = gateway.clock.now();
    let conf = gateway.conf.snapshot(began)?; // one view for the whole exchange; expired: a fault
    let local = (gateway.local)();

    // 9 receive: up to the message part, so that cheap refusals come before a body is read
    let PeerCall { peer, message_type, content_type, hash_algorithm, request_id, body } = call;
    check::is_rest(message_type.as_deref())?;
    let incoming = Incoming::new(Direction::Request, &content_type, hash_algorithm.as_deref(), body, began)?;
    let head = incoming.request_head().await?;

    // 10 check
    check::provider_is_ours(&local, &head.message)?;
    let key = gateway.keys.signing_key(head.message.service.client().member(), &conf, began);
    let key = key.map_err(|error| Fault::from(error).within(Scope::ServiceFailed))?;

    // 11 trust
    let judged = gateway.peers.judge(&conf, &peer, &head.ocsp_responses, &head.message.client);
    let far_end = judged.map_err(|failure| Fault::from(failure).within(Scope::ServiceFailed))?;
    let request = head.read_body(gateway.log.vault()).await?;
    check::one_request_id(request_id.as_deref(), &request.message)?;

    // 12 authorise
    let access = local.access(&request.message.service);
    let request = authorize(request, access, &*conf, local.path_rules())?;

    // 13 verify
    let (digests, bundle) = request.message().evidence();
    let client = request.message().message.client.member().clone();
    let now = gateway.clock.now();
    let request = verify(request, &digests, &bundle, &conf, &gateway.trust, &client, now)?;

    // 14 log
    gateway.log.ready()?;
    let (rest, body) =
        (request.message().message().message.clone(), request.message().message().body.clone());
    let role = Role::Provider;
    let exchange = Exchange { gateway, conf: &conf, local: &local, role, request: &rest, far_end: &far_end };
    let message = (part::REST_REQUEST, rest.part());
    let message =
        Message { part: message, body: body.as_ref(), digests: &digests, signature: &bundle, began };
    let request: Deliverable = exchange.log_request(request, &message).await?;
    progress.logged(&request, &rest, false);

    // 15 call
    let answer = answer.begin(gateway)?; // from here on a fault is a part
    let called = gateway.services.call(&request).await;
    let answered = called.inspect_err(|failure| progress.in_doubt = failure.may_have_acted())?;
    progress.in_doubt = true; // it has acted; whatever fails now, the client does not learn how it ended
    let began = gateway.clock.now();

    // 16 stream
    let hash = request_hash(&digests);
    let response =
        RestResponse::from_service(answered.status, &answered.reason, &answered.headers, &rest, &hash)?;
    let vault = gateway.log.vault();
    let streamed = answer.stream(part::REST_RESPONSE, response.part(), answered.body, vault).await?;

    // 17 sign
    let signature = signature::sign(&streamed.digests, &key, &*gateway.signer, gateway.clock.now()).await?;

    // 18 log
    let (digests, body) = (streamed.digests.clone(), streamed.body.clone());
    let message = (part::REST_RESPONSE, response.part());
    let message =
        Message { part: message, body: body.as_ref(), digests: &digests, signature: &signature, began };
    let logged = exchange.log_response((), &message, request.sequence()).await?;

    // 19 release; the answer is logged, so that the peer has gone is its own loss
    let _ = streamed.release(&signature, &logged).await;
    Ok(())
}

/// How far the answer has come.
enum Answer {
    Unbegun(Box<dyn Reply>),
    Begun(Outgoing),
    Over,
}

impl Answer {
    /// Begins the answer in parts.
    fn begin(&mut self, gateway: &Gateway) -> Result<&mut Outgoing, Gone> {
        if let Self::Unbegun(reply) = std::mem::replace(self, Self::Over) {
            let boundary = gateway.ids.boundary();
            *self = Self::Begun(Outgoing::begin(reply.begin(&boundary), boundary));
        }
        match self {
            Self::Begun(outgoing) => Ok(outgoing),
            Self::Unbegun(_) | Self::Over => Err(Gone),
        }
    }

    /// Tells a fault in whichever way is left.
    async fn fail(self, fault: &Fault) {
        match self {
            Self::Unbegun(reply) => reply.whole(fault),
            Self::Begun(mut outgoing) => {
                let _ = outgoing.fail(&soap::render(fault)).await;
            }
            Self::Over => {}
        }
    }
}
