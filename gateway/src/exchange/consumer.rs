//! The consumer's side: from an information system's request to its answer.
//!
//! ```text
//!  1 read     2 know     3 route    4 connect    5 stream    6 sign    7 log    8 release ───► the provider's gateway
//! 24 reply   23 log     22 match   21 verify    20 receive ◄───────────────────────────────────
//! ```
//! Nothing that the peer could prove leaves before step 7; nothing is answered before step 23. A request is never sent
//! twice: from step 5 on a failure is told, and noted in the log, as in doubt when the peer may have acted.
//!
//! Specification: PR-REST 4, PR-MESS 2; the order of checks is that of X-Road 7.8.

use bytes::Bytes;

use super::check;
use super::incoming::{Answer, Incoming};
use super::outgoing::Outgoing;
use super::ports::{Arriving, Gateway};
use super::protocol;
use super::record::{Exchange, Message, Progress, tell};
use crate::access::client_auth::{self, Connection};
use crate::evidence::signature::{Verified, verify};
use crate::fault::{Fault, Side};
use crate::message::Protocol;
use crate::message::transport::Direction;
use crate::messagelog::{LogStore as _, Logged, Role};
use crate::opmonitor::record::ServerType;
use crate::opmonitor::{Observation, Step};

/// A request of an information system, as the door hands it over.
pub struct ClientCall<'a> {
    /// The protocol that the door was asked for.
    pub protocol: Protocol,
    /// The address and port that it came from.
    pub address: &'a str,
    /// The method.
    pub verb: &'a str,
    /// Path and query, raw.
    pub target: &'a str,
    /// Headers in their order.
    pub headers: &'a [(Bytes, Bytes)],
    /// How the information system has come in.
    pub connection: Connection<'a>,
    /// The body.
    pub body: Box<dyn Arriving>,
}

/// An answer that may be given: verified, matched to its request, and logged.
pub type Reply = Logged<Verified<Answer>>;

/// Serves one request. A failure is noted in the log before it is told.
///
/// # Errors
/// The fault to be answered.
pub async fn serve(gateway: &Gateway, call: ClientCall<'_>) -> Result<Reply, Fault> {
    let mut progress = Progress::asked_from(call.address, None);
    let mut seen = gateway.monitor.begin(ServerType::Client, gateway.clock.now());
    match run(gateway, call, &mut progress, &mut seen).await {
        Ok(reply) => Ok(reply),
        Err(fault) => {
            let fault = fault.at(Side::ClientProxy).identified(gateway.ids.uuid());
            tell("consumer", &progress.about, &fault);
            seen.failed(&fault);
            progress.conclude(gateway, &fault).await;
            Err(fault)
        }
    }
}

async fn run(
    gateway: &Gateway,
    call: ClientCall<'_>,
    progress: &mut Progress,
    seen: &mut Observation,
) -> Result<Reply, Fault> {
    let (headers, connection) = (call.headers, call.connection);
    let began = gateway.clock.now();
    let conf = gateway.conf.snapshot(began)?; // one view for the whole exchange; expired: a fault
    let local = (gateway.local)();

    // 1 read
    seen.came_with(headers);
    seen.step(Step::Read);
    let (request, following) = protocol::read_call(gateway, &conf, &local, call).await?;
    seen.asked(&request, local.is_described(&request), &conf, &gateway.server);
    progress.about.asked(&request);
    let client = &request.header().client;

    // 2 know
    seen.step(Step::Know);
    client_auth::identify(local.authentication(client), connection, local.own_certificate())?;
    gateway.log.ready()?;
    let key = check::signing_key(gateway, client.member(), &conf, began)?;

    // 3 route
    seen.step(Step::Route);
    let route = check::route(&conf, &request)?;

    // 4 connect
    seen.step(Step::Connect);
    let following = following.settle().await?; // a body without a byte is no part
    let vault = gateway.log.vault().keyed(&request.header().client).await?;
    let link = gateway.peers.open(route).await?;

    // 5 stream
    seen.step(Step::Stream);
    let far_end = link.far_end();
    seen.peer(&conf, &far_end.server);
    progress.about.peer = Some(far_end.server.clone());
    let boundary = gateway.ids.boundary();
    let beside = protocol::http_headers(&request, headers, &boundary, seen.trace(headers));
    let (leaving, mut answer) = link.send(beside);
    let mut outgoing = Outgoing::begin(leaving, boundary);
    let ocsp_responses = gateway.keys.own_ocsp_responses(began);
    outgoing.ocsp_responses(&ocsp_responses);
    let streamed = outgoing.stream(request.part(), following, &vault).await;
    let streamed = check::sent_or_refused(streamed, &mut answer).await?;

    // 6 sign
    seen.step(Step::Sign);
    let (digests, sealed) = (streamed.digests.clone(), streamed.attachments.clone());
    let signature = gateway.signer.sign(&digests, &key, gateway.clock.now()).await?;

    // 7 log
    seen.step(Step::Log);
    let exchange = Exchange::new(gateway, (&conf, &local), Role::Consumer, &request, &far_end);
    let message = Message::of(request.part(), &sealed, &digests, &signature, began).sent(&ocsp_responses);
    seen.request(message.size());
    let logged = exchange.log_request((), &message).await?;
    progress.logged(&logged, &request, true);

    // 8 release; that the peer has gone shows in its answer
    seen.step(Step::Release);
    let _ = streamed.release(&signature, &logged).await;

    // 20 receive
    seen.step(Step::Wait);
    let answer = answer.await.inspect_err(|failure| progress.in_doubt = failure.may_have_acted())?;
    seen.step(Step::Receive);
    let answer = check::not_a_fault(answer).await;
    let answer = answer.inspect_err(|error| progress.in_doubt = !error.is_told())?;
    let (far_end, began) = (answer.far_end, gateway.clock.now());
    seen.peer(&conf, &far_end.server);
    let exchange = Exchange { far_end: &far_end, ..exchange };
    let algorithm = answer.hash_algorithm.as_deref();
    let incoming = Incoming::new(
        Direction::Response,
        request.protocol(),
        &answer.content_type,
        algorithm,
        answer.body,
        began,
    )?;
    let head = incoming.answer_head(answer.original_content_type).await;
    let head = head.inspect_err(|error| progress.in_doubt = !error.is_of_service())?;
    let answer = head.read_rest(&vault).await?;

    // 21 verify
    seen.step(Step::Verify);
    let provider = request.header().service.client().member();
    let (answered, signature) = answer.evidence();
    let answer = verify(answer, &answered, &signature, &conf, &gateway.trust, provider, gateway.clock.now())?;

    // 22 match
    seen.step(Step::Match);
    check::answers(&request, &digests, &answer.message().message)?;

    // 23 log
    seen.step(Step::LogAnswer);
    let (response, sealed) = (answer.message().message.clone(), answer.message().attachments.clone());
    let (signed_at, ocsp) = (answer.facts().signing_time, answer.message().ocsp_responses.clone());
    let message = Message::of(response.part(), &sealed, &answered, &signature, began).came(signed_at, &ocsp);
    seen.response(&response, message.size());
    let reply = exchange.log_response(answer, &message, logged.sequence()).await?;

    // 24 reply
    seen.step(Step::Reply);
    seen.answered();
    Ok(reply)
}
