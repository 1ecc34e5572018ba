//! The services that every gateway has by itself ([`BuiltIn`]), in front of those of the organisation.
//!
//! | code | module | answers |
//! |---|---|---|
//! | `listMethods`, `allowedMethods` | [`methods`] | what a subsystem offers, and what of it the client may call |
//! | `getOpenAPI`, `getWsdl` | [`description`] | the description of a service |
//! | `getSecurityServerOperationalData` | [`operational_data`] | records of exchanges |
//! | `getSecurityServerHealthData` | [`health_data`] | how the services have been doing |
//! | `getSecurityServerMetrics` | [`server_metrics`] | the machine |
//!
//! They are asked for and answered by the two stories of [`crate::exchange`] like any other: the request is verified
//! and logged before, the answer signed and logged behind. What they answer goes by the same settings and the same
//! configuration as the rest of the exchange; those of monitoring read what is kept of exchanges, and the machine.
//!
//! Specification: PR-META 3, 4; PR-MREST 4, 5; PR-OPMON; X-Road Environmental Monitoring Messages.

pub mod description;
pub mod health_data;
pub mod methods;
pub mod operational_data;
pub mod server_metrics;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cert_authority::clock::Clock;
use conf::identifier::ServerId;

use crate::access::built_in::BuiltIn;
use crate::environment::Environment;
use crate::exchange::attached::in_memory;
use crate::exchange::ports::{Ids, ServiceAnswer, ServiceFailure, Services, View, Wait};
use crate::exchange::provider::Deliverable;
use crate::fault::{Fault, Leaf, Side, soap};
use crate::message::Request;
use crate::message::multipart::Writer;
use crate::opmonitor::Monitor;

const XML: &str = "text/xml; charset=UTF-8";

/// All services: the gateway's own, and those of the organisation behind them.
pub struct AllServices<S> {
    organisations: S,
    own: Own,
}

/// What our own services answer from.
pub struct Own {
    /// Who we are.
    pub server: ServerId,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Boundaries, and ids of faults.
    pub ids: Arc<dyn Ids>,
    /// What is known of exchanges.
    pub monitor: Monitor,
    /// What is known of the machine.
    pub environment: Arc<Environment>,
}

impl<S> AllServices<S> {
    /// Those of the organisation, and our own in front of them.
    pub const fn before(organisations: S, own: Own) -> Self {
        Self { organisations, own }
    }
}

impl<S: Services> Services for AllServices<S> {
    fn call<'a>(
        &'a self,
        request: &'a Deliverable,
        view: View<'a>,
    ) -> Wait<'a, Result<ServiceAnswer, ServiceFailure>> {
        let Some(asked) = BuiltIn::asked_for(request.request()) else {
            return self.organisations.call(request, view);
        };
        Box::pin(async move {
            let answer = answer(asked, request.request(), view, &self.own).await;
            answer.map_err(|fault| ServiceFailure::Refused(Box::new(fault)))
        })
    }
}

async fn answer(
    asked: BuiltIn,
    request: &Request,
    view: View<'_>,
    own: &Own,
) -> Result<ServiceAnswer, Fault> {
    match (asked, request) {
        (BuiltIn::ListMethods, _) => methods::answer(request, view, false),
        (BuiltIn::AllowedMethods, _) => methods::answer(request, view, true),
        (BuiltIn::GetDescription, Request::Rest(request)) => description::open_api(request, view),
        (BuiltIn::GetDescription, Request::Soap(request)) => description::wsdl(request, view, own),
        (BuiltIn::OperationalData, Request::Soap(request)) => {
            operational_data::answer(request, view, own).await
        }
        (BuiltIn::HealthData, Request::Soap(request)) => health_data::answer(request, own),
        (BuiltIn::ServerMetrics, Request::Soap(request)) => server_metrics::answer(request, own).await,
        (BuiltIn::OperationalData | BuiltIn::HealthData | BuiltIn::ServerMetrics, Request::Rest(_)) => {
            Err(Fault::new(Leaf::ServiceType, "Service is a SOAP service"))
        }
    }
}

/// A refusal in the words of the service, as X-Road's own program behind the gateway says it: what is wrong with the
/// question is the client's fault.
fn refused(own: &Own, leaf: Leaf, text: &str) -> Fault {
    let fault = Fault::new(leaf, text).at(Side::Client).identified(own.ids.uuid());
    soap::parse(&soap::render(&fault)).map_or(fault, Fault::relayed)
}

/// An answer with an attachment.
fn multipart(
    own: &Own,
    envelope: &[u8],
    content_type: &str,
    head: &[(String, String)],
    attachment: &[u8],
) -> ServiceAnswer {
    let boundary = own.ids.boundary();
    let mut writer = Writer::new(boundary.clone());
    let mut body = BytesMut::new();
    for (content_type, head, content) in [(XML, &[][..], envelope), (content_type, head, attachment)] {
        body.extend_from_slice(&writer.begin_part(content_type, head));
        body.extend_from_slice(content);
    }
    body.extend_from_slice(&writer.end());
    let written =
        format!("multipart/related; type=\"text/xml\"; charset=UTF-8; boundary={}", boundary.as_str());
    ok(written, body.freeze())
}

/// An answer like that of any service.
fn ok(content_type: impl Into<Bytes>, body: impl Into<Bytes>) -> ServiceAnswer {
    ServiceAnswer {
        status: 200,
        reason: Bytes::from_static(b"OK"),
        headers: vec![(Bytes::from_static(b"Content-Type"), content_type.into())],
        body: Some(in_memory(body.into())),
    }
}
