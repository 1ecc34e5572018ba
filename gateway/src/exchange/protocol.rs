//! Where the two message protocols differ in the stories: how a request is read from an information system, what goes
//! beside a message between gateways, and how an answer is made from what a service said.
//!
//! Specification: PR-REST 4; PR-MESS 2; PR-MESSTRANSP 2.

use bytes::Bytes;
use conf::snapshot::GlobalConf;

use super::attached::{Following, TakeError, envelope};
use super::consumer::ClientCall;
use super::ports::{Gateway, ServiceAnswer};
use crate::fault::{Fault, Scope, Side};
use crate::message::digests::PartDigests;
use crate::message::multipart::Boundary;
use crate::message::rest::{RestRequest, RestResponse, request_hash};
use crate::message::soap::{SoapError, SoapRequest, SoapResponse, check_action};
use crate::message::text;
use crate::message::transport::header;
use crate::message::{Protocol, Request, Response};
use crate::serverconf::ServerConf;

/// Reads the request of an information system, as far as its message part goes. What is wrong with a SOAP message is
/// the client's fault; of REST it is ours to tell, as with X-Road.
///
/// # Errors
/// The fault to be answered.
pub async fn read_call(
    gateway: &Gateway,
    conf: &GlobalConf,
    local: &ServerConf,
    call: ClientCall<'_>,
) -> Result<(Request, Following), Fault> {
    let ClientCall { protocol, verb, target, headers, body, .. } = call;
    let request_id = gateway.ids.uuid();
    match protocol {
        Protocol::Rest => {
            let fresh_id = || format!("{}-{}", conf.own_instance(), gateway.ids.uuid());
            let rules = local.path_rules();
            let request = RestRequest::from_client(verb, target, headers, &request_id, fresh_id, rules)?;
            Ok((Request::Rest(request), Following::MaybeBody(body)))
        }
        Protocol::Soap => {
            let action = text::header(headers, "soapaction");
            check_action(action.as_deref()).map_err(clients_fault)?;
            let content_type = text::header(headers, "content-type");
            let taken = envelope(content_type.as_deref(), body).await;
            let (part, following) = taken.map_err(|error| match error {
                TakeError::Soap(error) => clients_fault(error),
                TakeError::Interrupted(error) => error.into(),
            })?;
            let request = SoapRequest::read(part, request_id, action, content_type.unwrap_or_default());
            Ok((Request::Soap(request.map_err(clients_fault)?), following))
        }
    }
}

/// What is wrong with a SOAP message of an information system.
pub fn clients_fault(error: SoapError) -> Fault {
    match error {
        SoapError::Fault(fault) => Fault::sent_by(Side::Client, *fault),
        error => Fault::from(error).at(Side::Client),
    }
}

/// What failed about a service, below the scope that X-Road gives it with SOAP.
pub fn of_service(request: &Request, failure: impl Into<Fault>) -> Fault {
    match request.protocol() {
        Protocol::Rest => failure.into(),
        Protocol::Soap => failure.into().within(Scope::ServiceFailed),
    }
}

/// The HTTP headers of a request to another gateway, in X-Road's order; what they say of a trace stands last.
pub fn http_headers(
    request: &Request,
    headers: &[(Bytes, Bytes)],
    boundary: &Boundary,
    trace: Vec<(&'static str, String)>,
) -> Vec<(&'static str, String)> {
    let mut sent = Vec::with_capacity(6);
    if request.protocol() == Protocol::Rest {
        sent.push((header::MESSAGE_TYPE, header::REST.to_owned()));
    }
    sent.extend([
        (header::HASH_ALGORITHM, "SHA-512".to_owned()),
        (header::ORIGINAL_CONTENT_TYPE, text::header(headers, "content-type").unwrap_or_default()),
        (header::REQUEST_ID, request.request_id().to_owned()),
        (header::PROXY_VERSION, super::PROXY_VERSION.to_owned()),
    ]);
    if let Request::Soap(request) = request {
        sent.push((header::ORIGINAL_SOAP_ACTION, request.action.clone().unwrap_or_default()));
    }
    sent.push(("content-type", boundary.content_type()));
    sent.extend(trace);
    sent
}

/// In which protocol another gateway's message is, by its `x-road-message-type`.
pub fn of_message(message_type: Option<&str>) -> Protocol {
    if message_type == Some(header::REST) { Protocol::Rest } else { Protocol::Soap }
}

/// Makes the answer to a request from what its service said.
///
/// # Errors
/// The fault to be answered; a SOAP service's own fault as it is.
pub async fn read_answer(
    request: &Request,
    digests: &PartDigests,
    answered: ServiceAnswer,
) -> Result<(Response, Following), Fault> {
    let ServiceAnswer { status, reason, headers, body } = answered;
    match request {
        Request::Rest(request) => {
            let hash = request_hash(digests);
            let response = RestResponse::from_service(status, &reason, &headers, request, &hash)?;
            Ok((Response::Rest(response), body.map_or(Following::Nothing, Following::Body)))
        }
        Request::Soap(_) => {
            let services = |error: Fault| error.within(Scope::ServiceFailed);
            // A fault may come with 500; every other status is no answer of SOAP.
            if !matches!(status, 200 | 500) {
                return Err(services(SoapError::Status(status).into()));
            }
            let content_type = text::header(&headers, "content-type");
            let body = body.ok_or(SoapError::Missing).map_err(|error| services(error.into()))?;
            let (part, following) =
                envelope(content_type.as_deref(), body).await.map_err(|error| services(error.into()))?;
            let content_type = content_type.unwrap_or_default();
            match SoapResponse::from_service(part, content_type, digests.algorithm, &digests.message) {
                Ok(response) => Ok((Response::Soap(response), following)),
                Err(SoapError::Fault(fault)) => Err(Fault::relayed(*fault)),
                Err(error) => Err(services(error.into())),
            }
        }
    }
}
