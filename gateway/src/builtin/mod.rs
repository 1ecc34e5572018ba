//! The services that every gateway has by itself ([`BuiltIn`]), in front of those of the organisation.
//!
//! | code | module | answers |
//! |---|---|---|
//! | `listMethods`, `allowedMethods` | [`methods`] | what a subsystem offers, and what of it the client may call |
//! | `getOpenAPI`, `getWsdl` | [`description`] | the description of a service |
//!
//! They are asked for and answered by the two stories of [`crate::exchange`] like any other: the request is verified
//! and logged before, the answer signed and logged behind. What they answer goes by the same settings and the same
//! configuration as the rest of the exchange, and reads nothing else.
//!
//! Specification: PR-META 3, 4; PR-MREST 4, 5.

pub mod description;
pub mod methods;

use bytes::Bytes;

use crate::access::built_in::BuiltIn;
use crate::exchange::attached::in_memory;
use crate::exchange::ports::{ServiceAnswer, ServiceFailure, Services, View, Wait};
use crate::exchange::provider::Deliverable;
use crate::fault::Fault;
use crate::message::Request;

/// All services: the gateway's own, and those of the organisation behind them.
pub struct AllServices<S> {
    organisations: S,
}

impl<S> AllServices<S> {
    /// Those of the organisation, and our own in front of them.
    pub const fn before(organisations: S) -> Self {
        Self { organisations }
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
        let answer = answer(asked, request.request(), view);
        Box::pin(std::future::ready(answer.map_err(|fault| ServiceFailure::Refused(Box::new(fault)))))
    }
}

fn answer(asked: BuiltIn, request: &Request, view: View<'_>) -> Result<ServiceAnswer, Fault> {
    match (asked, request) {
        (BuiltIn::ListMethods, _) => methods::answer(request, view, false),
        (BuiltIn::AllowedMethods, _) => methods::answer(request, view, true),
        (BuiltIn::GetDescription, Request::Rest(request)) => description::open_api(request, view),
        (BuiltIn::GetDescription, Request::Soap(request)) => description::wsdl(request, view),
    }
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
