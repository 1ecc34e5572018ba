//! The consumer's side: from an information system's request to its answer.
//!
//! ```text
//!  1 read     2 know     3 route    4 connect    5 stream    6 sign    7 log    8 release ───► the provider's gateway
//! 24 reply   23 log     22 match   21 verify    20 receive ◄───────────────────────────────────
//! ```
//! Nothing that the peer could prove leaves before step 7; nothing is answered before step 23. A request is never sent
//! twice: from step 5 on a failure is told, and noted in the log, as in doubt when the peer may have acted.
//!
//! Specification: PR-REST 4; the order of checks is that of X-Road 7.8.

use bytes::Bytes;

use super::check;
use super::incoming::{Answer, Incoming};
use super::outgoing::Outgoing;
use super::ports::{Arriving, Gateway, Resumed};
use super::record::{Exchange, Message, Progress};
use crate::access::client_auth::{self, Connection};
use crate::evidence::signature::{self, Verified, verify};
use crate::fault::{Fault, Side};
use crate::message::multipart::Boundary;
use crate::message::rest::RestRequest;
use crate::message::transport::{Direction, header, part};
use crate::messagelog::{LogStore as _, Logged, Role};

/// A request of an information system, as the door hands it over.
pub struct ClientCall<'a> {
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
    let mut progress = Progress::default();
    match run(gateway, call, &mut progress).await {
        Ok(reply) => Ok(reply),
        Err(fault) => {
            let fault = fault.at(Side::ClientProxy).identified(gateway.ids.uuid());
            progress.conclude(gateway, &fault).await;
            Err(fault)
        }
    }
}

async fn run(gateway: &Gateway, call: ClientCall<'_>, progress: &mut Progress) -> Result<Reply, Fault> {
    let ClientCall { verb, target, headers, connection, mut body } = call;
    let began = gateway.clock.now();
    let conf = gateway.conf.snapshot(began)?; // one view for the whole exchange; expired: a fault
    let local = (gateway.local)();

    // 1 read
    let fresh_id = || format!("{}-{}", conf.own_instance(), gateway.ids.uuid());
    let request_id = gateway.ids.uuid();
    let request = RestRequest::from_client(verb, target, headers, &request_id, fresh_id, local.path_rules())?;

    // 2 know
    client_auth::identify(local.authentication(&request.client), connection, local.own_certificate())?;
    gateway.log.ready()?;
    let key = gateway.keys.signing_key(request.client.member(), &conf, began)?;

    // 3 route
    let route = check::route(&conf, &request)?;

    // 4 connect
    let first = body.next().await?; // a body without a byte is no part
    let link = gateway.peers.open(route).await?;

    // 5 stream
    let far_end = link.far_end();
    let boundary = gateway.ids.boundary();
    let (leaving, mut answer) = link.send(http_headers(&request, headers, &boundary));
    let mut outgoing = Outgoing::begin(leaving, boundary);
    outgoing.ocsp_responses(&gateway.keys.own_ocsp_responses(began));
    let vault = gateway.log.vault();
    let body = first.map(|first| Resumed::boxed(first, body));
    let streamed = outgoing.stream(part::REST_REQUEST, request.part(), body, vault).await;
    let streamed = check::sent_or_refused(streamed, &mut answer).await?;

    // 6 sign
    let digests = streamed.digests.clone();
    let signature = signature::sign(&digests, &key, &*gateway.signer, gateway.clock.now()).await?;

    // 7 log
    let role = Role::Consumer;
    let exchange =
        Exchange { gateway, conf: &conf, local: &local, role, request: &request, far_end: &far_end };
    let sealed = streamed.body.clone();
    let message = (part::REST_REQUEST, request.part());
    let message =
        Message { part: message, body: sealed.as_ref(), digests: &digests, signature: &signature, began };
    let logged = exchange.log_request((), &message).await?;
    progress.logged(&logged, &request, true);

    // 8 release; that the peer has gone shows in its answer
    let _ = streamed.release(&signature, &logged).await;

    // 20 receive
    let answer = check::not_a_fault(answer.await?).await;
    let answer = answer.inspect_err(|error| progress.in_doubt = !error.is_told())?;
    let (far_end, began) = (answer.far_end, gateway.clock.now());
    let exchange = Exchange { far_end: &far_end, ..exchange };
    let algorithm = answer.hash_algorithm.as_deref();
    let incoming = Incoming::new(Direction::Response, &answer.content_type, algorithm, answer.body, began)?;
    let answer = incoming.answer_head().await?.read_body(vault).await?;

    // 21 verify
    let provider = request.service.client().member();
    let (answered, signature) = answer.evidence();
    let answer = verify(answer, &answered, &signature, &conf, &gateway.trust, provider, gateway.clock.now())?;

    // 22 match
    check::answers(&request, &digests, &answer.message().message)?;

    // 23 log
    let body = answer.message().body.clone();
    let message = answer.message().message.part().clone();
    let message = (part::REST_RESPONSE, &message);
    let message =
        Message { part: message, body: body.as_ref(), digests: &answered, signature: &signature, began };
    let reply = exchange.log_response(answer, &message, logged.sequence()).await?;

    // 24 reply
    Ok(reply)
}

/// The HTTP headers of the message, in X-Road's order.
fn http_headers(
    request: &RestRequest,
    headers: &[(Bytes, Bytes)],
    boundary: &Boundary,
) -> Vec<(&'static str, String)> {
    let original = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-type"))
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    vec![
        (header::MESSAGE_TYPE, header::REST.to_owned()),
        (header::HASH_ALGORITHM, "SHA-512".to_owned()),
        (header::ORIGINAL_CONTENT_TYPE, original.unwrap_or_default()),
        (header::REQUEST_ID, request.request_id.clone()),
        (header::PROXY_VERSION, super::PROXY_VERSION.to_owned()),
        ("content-type", boundary.content_type()),
    ]
}
