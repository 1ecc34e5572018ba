//! The small checks of the stories: is the message for us, where does it go, does the answer belong to the request.

use std::sync::Arc;

use cert_authority::clock::UnixTime;
use conf::identifier::{ClientId, MemberId, ServerId};
use conf::snapshot::{GlobalConf, SecurityServer};
use semver::Version;

use super::attached::TakeError;
use super::incoming::{ReceiveError, whole_fault};
use super::outgoing::{SendError, Streamed};
use super::ports::{Awaited, Gateway, PeerAnswer, PeerFailure, Route};
use super::protocol::clients_fault;
use crate::evidence::signature::{SignatureBundle, SigningKey};
use crate::fault::Fault;
use crate::message::digests::PartDigests;
use crate::message::transport::is_whole_fault;
use crate::message::{Request, Response, request_hash};
use crate::messagelog::replays::{Entered, ReplayError};
use crate::serverconf::ServerConf;

/// Why a request has no way to its provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No server has the provider registered.
    #[error("could not find addresses for service provider \"{0}\"")]
    UnknownProvider(ClientId),
    /// The client wants a server that does not exist, or not for this provider.
    #[error("invalid security server \"{0}\"")]
    InvalidServer(ServerId),
    /// All servers of the provider are in maintenance.
    #[error("security server \"{server}\" is in maintenance mode{}", .message.as_ref().map(|m| format!(": {m}")).unwrap_or_default())]
    Maintenance {
        /// One of them.
        server: ServerId,
        /// What its administrator says.
        message: Option<String>,
    },
}

/// The provider's servers that may be asked: those not in maintenance, or only the one that the client wants.
///
/// # Errors
/// [`RouteError`].
pub fn route(conf: &Arc<GlobalConf>, request: &Request) -> Result<Route, RouteError> {
    let header = request.header();
    let provider = header.service.client();
    let all = conf.servers_of(provider);
    if all.is_empty() {
        return Err(RouteError::UnknownProvider(provider.clone()));
    }
    let wanted: Vec<&Arc<SecurityServer>> = match &header.security_server {
        None => all.iter().collect(),
        Some(server) => all.iter().filter(|candidate| candidate.id == *server).collect(),
    };
    if let (Some(server), true) = (&header.security_server, wanted.is_empty()) {
        return Err(RouteError::InvalidServer(server.clone()));
    }
    let servers: Vec<_> =
        wanted.iter().filter(|server| server.maintenance.is_none()).map(|s| Arc::clone(s)).collect();
    match (servers.is_empty(), wanted.first()) {
        (true, Some(closed)) => Err(RouteError::Maintenance {
            server: closed.id.clone(),
            message: closed.maintenance.clone().filter(|text| !text.is_empty()),
        }),
        _ => Ok(Route { provider: provider.clone(), servers, conf: Arc::clone(conf) }),
    }
}

/// The key that signs for a member now, while our clock is right enough for evidence to bear its time.
///
/// # Errors
/// Why nothing can be signed.
pub fn signing_key(
    gateway: &Gateway,
    member: &MemberId,
    conf: &GlobalConf,
    now: UnixTime,
) -> Result<Arc<SigningKey>, Fault> {
    gateway.clocks.check()?;
    Ok(gateway.keys.signing_key(member, conf, now)?)
}

/// A verified request must not have been received before; what is given back is held until it is logged.
///
/// # Errors
/// [`ReplayError`].
pub async fn first_time(
    gateway: &Gateway,
    request: &Request,
    signature: &SignatureBundle,
    now: UnixTime,
) -> Result<Entered, ReplayError> {
    let header = request.header();
    gateway.replays.enter(&header.client, &header.message_id, &signature.signature_xml, now).await
}

/// A request of a peer that carries no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must use POST request method instead of others")]
pub struct OtherMethod;

/// Messages are posted.
///
/// # Errors
/// [`OtherMethod`].
pub const fn is_posted(method: &str) -> Result<(), OtherMethod> {
    if method.eq_ignore_ascii_case("POST") { Ok(()) } else { Err(OtherMethod) }
}

/// A peer that is too old, or does not say how old it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the minimum supported version for client security server is: {0}")]
pub struct TooOld(pub Version);

/// The consumer's gateway must be of the release that the settings demand, or a newer one (`x-proxy-version`).
///
/// # Errors
/// [`TooOld`].
pub fn is_new_enough(local: &ServerConf, version: Option<&str>) -> Result<(), TooOld> {
    let Some(least) = local.least_peer_version() else { return Ok(()) };
    let version = version.and_then(|text| Version::parse(text).ok());
    if version.is_some_and(|version| version >= *least) { Ok(()) } else { Err(TooOld(least.clone())) }
}

/// A client or provider that is not registered at this gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("client '{0}' not found")]
pub struct UnknownClient(pub ClientId);

/// The provider of a request must be one of our clients.
///
/// # Errors
/// [`UnknownClient`].
pub fn provider_is_ours(local: &ServerConf, request: &Request) -> Result<(), UnknownClient> {
    let provider = request.header().service.client();
    if local.client(provider).is_some() { Ok(()) } else { Err(UnknownClient(provider.clone())) }
}

/// A message that another server is to answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid security server identifier '{0}'")]
pub struct OtherServer(pub ServerId);

/// A SOAP message that names a security server must name ours. Of REST X-Road does not ask it.
///
/// # Errors
/// [`OtherServer`].
pub fn server_is_ours(own: &ServerId, request: &Request) -> Result<(), OtherServer> {
    match (request, &request.header().security_server) {
        (Request::Soap(_), Some(named)) if named != own => Err(OtherServer(named.clone())),
        _ => Ok(()),
    }
}

/// A message whose HTTP header names another exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request id of the message is not that of the HTTP request")]
pub struct OtherRequestId;

/// One exchange has one id, in the HTTP header and in the signed message.
///
/// # Errors
/// [`OtherRequestId`].
///
/// # Compatibility
/// X-Road calls the service, and the consumer's gateway finds the difference in the answer.
pub fn one_request_id(header: Option<&str>, request: &Request) -> Result<(), OtherRequestId> {
    if header == Some(request.request_id()) { Ok(()) } else { Err(OtherRequestId) }
}

/// An answer that belongs to another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another client.
    #[error("response client id does not match request message")]
    Client,
    /// Another message id.
    #[error("response message id does not match request message")]
    MessageId,
    /// Another service.
    #[error("response service id does not match request message")]
    Service,
    /// Another exchange.
    #[error("response message request id does not match request message")]
    RequestId,
    /// The hash of another request.
    #[error("response message hash does not match request message")]
    RequestHash,
    /// A field of a SOAP header that must be that of the request.
    #[error("response from server proxy is not consistent with request: {0}")]
    Field(&'static str),
}

/// The answer must be the answer to this very request.
///
/// # Errors
/// [`Mismatch`], in X-Road's order.
pub fn answers(request: &Request, digests: &PartDigests, answer: &Response) -> Result<(), Mismatch> {
    let asked = request.header();
    let refuse = |differs: bool, mismatch| if differs { Err(mismatch) } else { Ok(()) };
    let hash = match answer {
        Response::Rest(answer) => {
            refuse(answer.client.as_ref() != Some(&asked.client), Mismatch::Client)?;
            refuse(answer.message_id != asked.message_id, Mismatch::MessageId)?;
            refuse(answer.service.as_ref() != Some(&asked.service), Mismatch::Service)?;
            refuse(answer.request_id.as_deref() != Some(request.request_id()), Mismatch::RequestId)?;
            Some(&answer.request_hash)
        }
        Response::Soap(answer) => {
            let told = &answer.header;
            refuse(told.client != asked.client, Mismatch::Field("client"))?;
            refuse(told.service != asked.service, Mismatch::Field("service"))?;
            refuse(told.user_id != asked.user_id, Mismatch::Field("userId"))?;
            refuse(told.represented_party != asked.represented_party, Mismatch::Field("representedParty"))?;
            refuse(told.issue != asked.issue, Mismatch::Field("issue"))?;
            refuse(told.message_id != asked.message_id, Mismatch::Field("id"))?;
            answer.request_hash.as_ref()
        }
    };
    refuse(hash != Some(&request_hash(request.protocol(), digests)), Mismatch::RequestHash)
}

/// A peer may answer, with a fault, before it has the whole request: its answer then says more than our broken
/// sending.
///
/// # Errors
/// The peer's fault; what broke the sending.
pub async fn sent_or_refused<'a>(
    sent: Result<Streamed<'a>, SendError>,
    answer: &mut Awaited,
) -> Result<Streamed<'a>, Fault> {
    match sent {
        Err(SendError::Gone(gone)) => match answer.as_mut().await {
            Ok(answer) if is_whole_fault(&answer.content_type) => Err(whole_fault(answer.body).await.into()),
            Ok(_) => Err(PeerFailure::NoAnswer(gone.to_string()).into()),
            Err(failure) => Err(failure.into()),
        },
        Err(SendError::Source(TakeError::Soap(error))) => Err(clients_fault(error)),
        sent => sent.map_err(Into::into),
    }
}

/// A whole-fault answer, as the error it is.
///
/// # Errors
/// [`ReceiveError::Fault`] and its kin, when the answer is a fault as a whole.
pub async fn not_a_fault(answer: PeerAnswer) -> Result<PeerAnswer, ReceiveError> {
    if is_whole_fault(&answer.content_type) {
        return Err(whole_fault(answer.body).await);
    }
    Ok(answer)
}
