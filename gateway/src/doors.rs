//! What stands behind the doors: requests and messages become calls of the two stories, and what these give becomes
//! answers. Faults are rendered here, once.
//!
//! Specification: PR-REST 4; PR-MESS 2; PR-MESSTRANSP 2. Not here: what happens to a message ([`crate::exchange`]).

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::digest;
use conf::identifier::ClientId;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::access::client_auth::{Connection, identify};
use crate::exchange::attached;
use crate::exchange::consumer::{self, ClientCall};
use crate::exchange::ports::{Agreed, Gateway, Ids, Leaving, Peer, ServiceBody};
use crate::exchange::provider::{self, PeerCall, Reply};
use crate::exchange::record::{About, tell};
use crate::fault::{Fault, Leaf, REFUSED, Side, rest, soap};
use crate::message::multipart::Boundary;
use crate::message::text;
use crate::message::transport::header::{
    HASH_ALGORITHM, MESSAGE_TYPE, ORIGINAL_CONTENT_TYPE, ORIGINAL_SOAP_ACTION, PROXY_VERSION, REQUEST_ID,
};
use crate::message::{Beside, Protocol, Response};
use crate::messagelog::stamp::Authorities;
use crate::messagelog::timestamper::stamp_pending;
use crate::metaservice;
use crate::network::as_stream;
use crate::opmonitor::trace_context;
use crate::transport::Caller;
use crate::transport::body::OutgoingBody;
use crate::transport::front_door::{ClientReply, ClientRequest, FrontService};
use crate::transport::head::RequestHead;
use crate::transport::peer_door::{PeerReply, PeerRequest, PeerService};

/// Serves information systems.
pub struct Front {
    /// Our gateway.
    pub gateway: Arc<Gateway>,
    /// Who stamps what a client wants to have stamped now.
    pub authorities: Authorities,
    /// Where the verified configuration is kept.
    pub conf_directory: PathBuf,
}

impl FrontService for Front {
    async fn serve(&self, request: ClientRequest) -> ClientReply {
        let ClientRequest { head, body, caller } = request;
        let path = head.path_and_query();
        let protocol = match (head.method.as_str(), path) {
            (_, path) if path.starts_with("/r1/") => Protocol::Rest,
            ("POST", _) => Protocol::Soap,
            _ => return self.metaservice(&head, &caller).await,
        };
        let address = caller.address.to_string();
        let call = ClientCall {
            protocol,
            address: &address,
            verb: &head.method,
            target: path,
            headers: &head.headers,
            connection: connection(&caller),
            body: Box::new(body),
        };
        match consumer::serve(&self.gateway, call).await {
            Ok(reply) => answer(&reply, &*self.gateway.ids),
            Err(fault) => match protocol {
                Protocol::Rest => refuse(&fault, &head),
                Protocol::Soap => soap_fault(&fault),
            },
        }
    }
}

impl Front {
    /// What is no message: who there is, and evidence.
    async fn metaservice(&self, head: &RequestHead, caller: &Caller) -> ClientReply {
        let target = head.path_and_query();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let answered = match (head.method.as_str(), path) {
            ("GET", "/listClients") => self.list_clients(query, head),
            ("GET", "/verificationconf") => {
                Ok(metaservice::verification_conf::serve(self.conf_directory.clone()).await)
            }
            ("GET", "/asic") => Ok(self.containers(query, caller).await),
            _ => Err(Fault::new(Leaf::InvalidHttpMethod, "Must use POST request method instead of others")
                .at(Side::Client)),
        };
        answered.map_or_else(|fault| self.refuse(fault, caller), found)
    }

    fn list_clients(&self, query: &str, head: &RequestHead) -> Result<metaservice::Response, Fault> {
        // Who there is can be asked of an expired configuration too, as with X-Road: nothing is exchanged.
        let conf = match self.gateway.conf.last_good() {
            Some(conf) => conf,
            None => self.gateway.conf.snapshot(self.gateway.clock.now())?,
        };
        metaservice::list_clients::serve(query, accept(head), &conf)
    }

    async fn containers(&self, query: &str, caller: &Caller) -> metaservice::Response {
        let local = (self.gateway.local)();
        let may_speak_for = |client: &ClientId| {
            identify(local.authentication(client), connection(caller), local.own_certificate())
        };
        let log = &self.gateway.log;
        let stamp = async { stamp_pending(log, &(self.authorities)()).await };
        let caller_described = described(caller);
        let response =
            metaservice::asic_download::serve(query, &caller_described, may_speak_for, log, stamp).await;
        if response.status >= 400 {
            let (from, code) = (caller.address, response.status);
            tracing::warn!(target: REFUSED, side = "consumer", %from, code, "evidence not given");
        }
        response
    }

    fn refuse(&self, fault: Fault, caller: &Caller) -> ClientReply {
        let fault = fault.at(Side::ClientProxy).identified(self.gateway.ids.uuid());
        tell("consumer", &About { address: caller.address.to_string(), ..About::default() }, &fault);
        soap_fault(&fault)
    }
}

/// Faults outside REST are SOAP's, always with status 200.
fn soap_fault(fault: &Fault) -> ClientReply {
    ClientReply {
        status: StatusCode::OK,
        reason: None,
        headers: vec![content_type(soap::CONTENT_TYPE)],
        body: OutgoingBody::whole(soap::render(fault)),
    }
}

fn connection(caller: &Caller) -> Connection<'_> {
    match &caller.tls {
        None => Connection::Plain,
        Some(tls) => Connection::Tls { certificate: tls.certificates.first().map(AsRef::as_ref) },
    }
}

/// How an information system has come in, for the register.
fn described(caller: &Caller) -> String {
    let way = match caller.tls.as_ref().map(|tls| tls.certificates.first()) {
        None => "HTTP".to_owned(),
        Some(None) => "HTTPS".to_owned(),
        Some(Some(certificate)) => {
            format!("HTTPS with the certificate {}", digest(DigestAlgorithm::Sha256, certificate).hex())
        }
    };
    format!("{way} from {}", caller.address.ip())
}

/// The answer of an exchange: only what is verified and logged becomes one.
fn answer(reply: &consumer::Reply, ids: &dyn Ids) -> ClientReply {
    let received = reply.message().message();
    let stream = |ServiceBody { length, content }| OutgoingBody::stream(as_stream(content), Some(length));
    match &received.message {
        Response::Rest(message) => ClientReply {
            status: StatusCode::from_u16(message.status).unwrap_or(StatusCode::BAD_GATEWAY),
            reason: Some(message.reason.clone()),
            headers: message.headers.clone(),
            body: received.attachments.first().map_or_else(OutgoingBody::empty, |attachment| {
                stream(ServiceBody::unsealed(&attachment.body))
            }),
        },
        Response::Soap(message) => {
            let (part, original) = (received.message.part(), &message.original_content_type);
            let (written, body) = attached::whole(part, &received.attachments, original, &ids.boundary());
            let headers = vec![(Bytes::from_static(b"Content-Type"), Bytes::from(written))];
            ClientReply { status: StatusCode::OK, reason: None, headers, body: stream(body) }
        }
    }
}

fn found(response: metaservice::Response) -> ClientReply {
    let mut headers = vec![content_type(response.content_type)];
    if let Some(disposition) = response.content_disposition {
        headers.push((Bytes::from_static(b"Content-Disposition"), disposition.into()));
    }
    ClientReply {
        status: StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        reason: None,
        headers,
        body: match response.body {
            metaservice::Body::Whole(bytes) => OutgoingBody::whole(bytes),
            metaservice::Body::Stream(chunks) => OutgoingBody::chunks(chunks),
        },
    }
}

fn accept(head: &RequestHead) -> impl Iterator<Item = &[u8]> {
    let named = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"accept"));
    named.map(|(_, value)| value.as_ref())
}

fn refuse(fault: &Fault, head: &RequestHead) -> ClientReply {
    let rendered = rest::render(fault, accept(head));
    ClientReply {
        status: StatusCode::from_u16(rendered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        reason: None,
        headers: vec![
            (Bytes::from_static(rest::ERROR_HEADER.as_bytes()), rendered.code.into()),
            content_type(rendered.content_type),
        ],
        body: OutgoingBody::whole(rendered.body),
    }
}

fn content_type(value: &'static str) -> (Bytes, Bytes) {
    (Bytes::from_static(b"Content-Type"), Bytes::from_static(value.as_bytes()))
}

/// Serves other gateways.
pub struct Peers(pub Arc<Gateway>);

impl PeerService for Peers {
    async fn serve(&self, request: PeerRequest, reply: PeerReply) {
        let PeerRequest { head, body, caller } = request;
        let text = |name: &str| text::header(&head.headers, name);
        let peer = caller.tls.as_ref().map(|tls| Peer {
            address: caller.address.to_string(),
            certificates: tls.certificates.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
            agreed: Agreed::from(tls),
        });
        let call = PeerCall {
            peer: peer.unwrap_or_default(),
            method: head.method.clone(),
            version: text(PROXY_VERSION),
            message_type: text(MESSAGE_TYPE),
            content_type: text("content-type").unwrap_or_default(),
            hash_algorithm: text(HASH_ALGORITHM),
            trace: trace_context::among(&head.headers),
            beside: Beside {
                request_id: text(REQUEST_ID),
                content_type: text(ORIGINAL_CONTENT_TYPE),
                action: text(ORIGINAL_SOAP_ACTION),
            },
            body: Box::new(body),
        };
        provider::serve(&self.0, call, Box::new(ReplyTo(reply))).await;
    }

    fn not_registered(&self, caller: &Caller) -> Bytes {
        let text = "The certificate of the security server is not registered";
        let fault = Fault::new(Leaf::SslAuthenticationFailed, text)
            .at(Side::ServerProxy)
            .identified(self.0.ids.uuid());
        let shown = caller.tls.as_ref().and_then(|tls| tls.certificates.first());
        let certificate = shown.map(|der| Bytes::copy_from_slice(der));
        let about = About { address: caller.address.to_string(), certificate, ..About::default() };
        tell("provider", &about, &fault);
        soap::render(&fault)
    }
}

struct ReplyTo(PeerReply);

impl Reply for ReplyTo {
    fn whole(self: Box<Self>, fault: &Fault) {
        let headers = vec![(HeaderName::from_static("soapaction"), HeaderValue::from_static(""))];
        self.0.whole(soap::CONTENT_TYPE, headers, soap::render(fault));
    }

    fn begin(self: Box<Self>, boundary: &Boundary, content_type: Option<&str>) -> Box<dyn Leaving> {
        let mut headers =
            vec![(HeaderName::from_static(HASH_ALGORITHM), HeaderValue::from_static("SHA-512"))];
        if let Some(value) = content_type.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.push((HeaderName::from_static(ORIGINAL_CONTENT_TYPE), value));
        }
        if let Ok(value) = HeaderValue::from_str(&boundary.content_type()) {
            headers.insert(0, (header::CONTENT_TYPE, value));
        }
        Box::new(self.0.begin(headers))
    }
}
