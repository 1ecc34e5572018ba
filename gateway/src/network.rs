//! The ports of an exchange, over real connections: [`crate::exchange::ports`] on top of [`crate::transport`].
//!
//! Here errors of the transport become what an exchange can tell, and bodies change hands. Nothing is decided.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::clock::UnixTime;
use cert_authority::clocks::{Clocks, Witness};
use cert_authority::crypto::random_to_show;
use cert_authority::http::{Client as HttpClient, HttpError};
use conf::identifier::{ClientId, ServiceId};
use conf::snapshot::GlobalConf;
use futures_util::{Stream, stream};
use http::{HeaderName, HeaderValue};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use crate::config::ServiceTrust;
use crate::exchange::attached;
use crate::exchange::ports::{
    Agreed, Arriving, Awaited, FarEnd, Gone, Ids, Interrupted, Leaving, Peer, PeerAnswer, PeerFailure,
    PeerLink, Peers, Route, ServiceAnswer, ServiceBody, ServiceFailure, Services, View, Wait,
};
use crate::exchange::provider::Deliverable;
use crate::message::Request;
use crate::message::multipart::Boundary;
use crate::message::text;
use crate::message::transport::header::{HASH_ALGORITHM, ORIGINAL_CONTENT_TYPE};
use crate::serverconf::{self, ServerConf};
use crate::transport::auth_trust::AuthTrust;
use crate::transport::body::{BodySender, GivenUp, IncomingBody, OutgoingBody};
use crate::transport::fastest::ReachError;
use crate::transport::peer_connector::{
    Address, AnswerError, ConnectError, PeerConnection, PeerConnector, Route as PeerRoute,
};
use crate::transport::service_caller::{Service, ServiceCall, ServiceError};
use crate::transport::tls::{self, Identity};
use crate::transport::{ServiceSettings, TlsPeer};

impl Arriving for IncomingBody {
    fn next(&mut self) -> Wait<'_, Result<Option<Bytes>, Interrupted>> {
        Box::pin(async { Self::next(self).await.map_err(|error| Interrupted(error.to_string())) })
    }
}

impl Leaving for BodySender {
    fn send(&mut self, chunk: Bytes) -> Wait<'_, Result<(), Gone>> {
        Box::pin(async { Self::send(self, chunk).await.map_err(|_gone| Gone) })
    }

    fn finish(self: Box<Self>, last: Bytes) -> Wait<'static, Result<(), Gone>> {
        Box::pin(async { Self::finish(*self, last).await.map_err(|_gone| Gone) })
    }
}

/// A body that is read back, as the transport sends it; an error breaks the message off.
pub(crate) fn as_stream(body: Box<dyn Arriving>) -> impl Stream<Item = Result<Bytes, GivenUp>> + Send {
    stream::unfold(Some(body), |body| async {
        let mut body = body?;
        match body.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(body))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "a body could not be read back");
                Some((Err(GivenUp), None))
            }
        }
    })
}

/// Ids from the system's source of chance.
#[derive(Debug)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn uuid(&self) -> String {
        fresh().to_string()
    }

    fn boundary(&self) -> Boundary {
        let mut random = [0; 30];
        for half in random.chunks_mut(16) {
            half.iter_mut().zip(fresh().as_bytes()).for_each(|(to, from)| *to = *from);
        }
        Boundary::from_random(random)
    }
}

fn fresh() -> uuid::Uuid {
    let random = random_to_show().map(|bytes| uuid::Builder::from_random_bytes(bytes).into_uuid());
    random.unwrap_or_else(|_| uuid::Uuid::new_v4())
}

/// The other gateways, over mutual TLS.
pub struct PeerNetwork {
    /// Makes and keeps connections.
    pub connector: PeerConnector,
    /// Judges who is at their far ends.
    pub trust: Arc<AuthTrust>,
    /// Hears what time they have.
    pub clocks: Arc<Clocks>,
}

impl Peers for PeerNetwork {
    fn open(&self, route: Route) -> Wait<'_, Result<Box<dyn PeerLink>, PeerFailure>> {
        Box::pin(async move {
            let addresses = route
                .servers
                .iter()
                .filter_map(|server| {
                    Some(Address { server: server.id.clone(), host: server.address.clone()? })
                })
                .collect();
            let route = PeerRoute { provider: route.provider, addresses, conf: route.conf };
            let connection = self.connector.connect(route).await?;
            let link: Box<dyn PeerLink> = Box::new(Connected(connection, Arc::clone(&self.clocks)));
            Ok(link)
        })
    }

    fn judge(
        &self,
        conf: &Arc<GlobalConf>,
        peer: &Peer,
        ocsp_responses: &[Bytes],
        client: &ClientId,
    ) -> Result<FarEnd, PeerFailure> {
        // X-Road demands it of each message, whatever is known from earlier ones: one message, one verdict.
        if ocsp_responses.is_empty() {
            return Err(PeerFailure::Untrusted("no OCSP response came with the message".to_owned()));
        }
        let shown: Vec<CertificateDer<'_>> =
            peer.certificates.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
        let trusted = self
            .trust
            .judge(&**conf, &shown, ocsp_responses, client)
            .map_err(|error| PeerFailure::Untrusted(error.to_string()))?;
        Ok(FarEnd { server: trusted.server().clone(), agreed: peer.agreed.clone() })
    }
}

/// A connection that is ready for one message, and who hears what time its answer states.
struct Connected(PeerConnection, Arc<Clocks>);

impl PeerLink for Connected {
    fn far_end(&self) -> FarEnd {
        FarEnd { server: self.0.trusted().server().clone(), agreed: self.0.peer().into() }
    }

    fn send(self: Box<Self>, headers: Vec<(&'static str, String)>) -> (Box<dyn Leaving>, Awaited) {
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
            })
            .collect();
        let Self(connection, clocks) = *self;
        let (body, awaited) = connection.send(headers);
        let answer = async move {
            let answer = awaited.answer().await?;
            let header = |name: &str| text::header(&answer.headers, name);
            // The date is of the moment at which the answer was begun: now, but for the way of it.
            if let Some(date) = header("date").as_deref().and_then(UnixTime::from_http_date) {
                clocks.saw(Witness::Server(&answer.trusted.server().to_string()), date, ON_ITS_WAY);
            }
            Ok(PeerAnswer {
                content_type: header("content-type").unwrap_or_default(),
                hash_algorithm: header(HASH_ALGORITHM),
                original_content_type: header(ORIGINAL_CONTENT_TYPE),
                far_end: FarEnd {
                    server: answer.trusted.server().clone(),
                    agreed: answer.peer.as_ref().into(),
                },
                body: Box::new(answer.body),
            })
        };
        (Box::new(body), Box::pin(answer))
    }
}

/// How long the head of an answer is on its way, at most.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

impl From<&TlsPeer> for Agreed {
    fn from(peer: &TlsPeer) -> Self {
        Self { group: peer.group.clone(), suite: Some(peer.suite.clone()) }
    }
}

impl From<ConnectError> for PeerFailure {
    fn from(error: ConnectError) -> Self {
        let text = error.to_string();
        match error {
            ConnectError::Unreachable(ReachError::UnknownHost(_)) => Self::UnknownHost(text),
            ConnectError::NoServer | ConnectError::Unreachable(_) => Self::Network(text),
            ConnectError::Handshake { .. } | ConnectError::Ocsp(_) | ConnectError::Untrusted(_) => {
                Self::Untrusted(text)
            }
        }
    }
}

impl From<AnswerError> for PeerFailure {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::NotSent(error) => error.into(),
            AnswerError::Broken { .. } | AnswerError::Timeout(_) => Self::NoAnswer(error.to_string()),
        }
    }
}

/// Our organisation's services, over HTTP and HTTPS; connections are kept as long as the settings of a service stay the
/// same.
pub struct ServiceNetwork {
    identity: Box<dyn Fn() -> Option<Identity> + Send + Sync>,
    settings: ServiceSettings,
    ready: Mutex<HashMap<ServiceId, (HowCalled, Arc<Service>)>>,
}

impl ServiceNetwork {
    /// `identity` is what we show to one that asks for a certificate.
    pub fn new(
        identity: impl Fn() -> Option<Identity> + Send + Sync + 'static,
        settings: ServiceSettings,
    ) -> Self {
        Self { identity: Box::new(identity), settings, ready: Mutex::default() }
    }

    fn service(&self, local: &ServerConf, id: &ServiceId) -> Result<Arc<Service>, ServiceFailure> {
        let wanted = local.service(id).ok_or(ServiceFailure::Address)?;
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((how, service)) = ready.get(id)
            && how.is_of(wanted)
        {
            return Ok(Arc::clone(service));
        }
        let tls = wanted.trust.as_ref().map(|trust| tls::service_client(&judged(trust), (self.identity)()));
        let tls = tls.transpose().map_err(|error| {
            tracing::error!(service = %id, %error, "the TLS settings of a service cannot be used");
            ServiceFailure::Address
        })?;
        let service = Service::new(&wanted.url, tls.map(Arc::new), wanted.timeout, &self.settings)?;
        let service = Arc::new(service);
        ready.insert(id.clone(), (HowCalled::new(wanted), Arc::clone(&service)));
        Ok(service)
    }
}

/// What of a service's settings its connections depend on; its rights and its description may change under them.
struct HowCalled {
    url: String,
    timeout: Duration,
    trust: Option<ServiceTrust>,
}

impl HowCalled {
    fn new(service: &serverconf::Service) -> Self {
        Self { url: service.url.clone(), timeout: service.timeout, trust: service.trust.clone() }
    }

    fn is_of(&self, service: &serverconf::Service) -> bool {
        (&self.url, self.timeout, &self.trust) == (&service.url, service.timeout, &service.trust)
    }
}

impl Services for ServiceNetwork {
    fn call<'a>(
        &'a self,
        request: &'a Deliverable,
        view: View<'a>,
    ) -> Wait<'a, Result<ServiceAnswer, ServiceFailure>> {
        Box::pin(async move {
            let service = self.service(view.local, &request.request().header().service)?;
            let mut beside;
            let call = match request.request() {
                Request::Rest(asked) => {
                    let body = request.attachments().first().filter(|_| asked.verb.passes_body_on());
                    ServiceCall {
                        method: asked.verb.as_str(),
                        path: asked.service_path.raw(),
                        query: asked.query.as_deref(),
                        headers: &asked.headers,
                        body: body.map(|body| outgoing(ServiceBody::unsealed(&body.body))),
                    }
                }
                Request::Soap(asked) => {
                    let (original, boundary) = (&asked.original_content_type, RandomIds.boundary());
                    let part = request.request().part();
                    let (written, body) = attached::whole(part, request.attachments(), original, &boundary);
                    let action = asked.action.clone().unwrap_or_default();
                    beside = vec![
                        (Bytes::from_static(b"SOAPAction"), Bytes::from(action)),
                        (Bytes::from_static(b"Content-Type"), Bytes::from(written)),
                    ];
                    beside.extend_from_slice(view.trace);
                    let body = Some(outgoing(body));
                    ServiceCall { method: "POST", path: "", query: None, headers: &beside, body }
                }
            };
            let answer = service.call(call).await?;
            let body: Box<dyn Arriving> = Box::new(answer.body);
            Ok(ServiceAnswer {
                status: answer.status,
                reason: answer.reason,
                headers: answer.headers,
                body: answer.has_body.then_some(body),
            })
        })
    }
}

fn outgoing(body: ServiceBody) -> OutgoingBody {
    OutgoingBody::stream(as_stream(body.content), Some(body.length))
}

/// Asks for the description of a service, or over plain HTTP: certificates are believed and shown as when it is called.
///
/// # Errors
/// [`HttpError::Tls`] when the certificates cannot be used.
pub fn description_client(
    trust: Option<&ServiceTrust>,
    identity: Option<Identity>,
) -> Result<HttpClient, HttpError> {
    let Some(trust) = trust else { return Ok(HttpClient::new()) };
    let config = tls::service_client(&judged(trust), identity);
    let config = config.map_err(|error| HttpError::Tls(error.to_string()))?;
    Ok(HttpClient::with_tls(Arc::new(config)))
}

fn judged(trust: &ServiceTrust) -> tls::ServiceTrust {
    let der =
        |certificate: &cert_authority::x509::Certificate| CertificateDer::from(certificate.der().to_vec());
    match trust {
        ServiceTrust::Pinned(certificate) => tls::ServiceTrust::Pinned(vec![der(certificate)]),
        ServiceTrust::Authorities(certificates) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().map(der));
            tls::ServiceTrust::Roots(Arc::new(roots))
        }
    }
}

impl From<ServiceError> for ServiceFailure {
    fn from(error: ServiceError) -> Self {
        let text = error.to_string();
        match error {
            ServiceError::Address(_) | ServiceError::TlsSettings(_) | ServiceError::Unwritable(_) => {
                Self::Address
            }
            ServiceError::Unreachable(ReachError::UnknownHost(_)) => Self::UnknownHost,
            ServiceError::Unreachable(_) => Self::Network(text),
            ServiceError::Tls(_) => Self::Untrusted,
            ServiceError::Timeout(_) | ServiceError::Broken(_) | ServiceError::Malformed(_) => {
                Self::NoAnswer(text)
            }
        }
    }
}
