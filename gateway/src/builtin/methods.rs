//! `listMethods` and `allowedMethods`: what a subsystem offers in the protocol of the request, and what of it the client
//! may call.
//!
//! ```text
//! SOAP  <x:listMethodsResponse>                REST  {"service":[{
//!         <x:service id:objectType="SERVICE">          "member_class":"GOV", ..., "service_code":"records",
//!           <id:xRoadInstance>DEMO</...>               "service_type":"REST",
//!           ...                                        "endpoint_list":[{"method":"GET","path":"/towns/*"}]
//!           <id:serviceCode>find</...>               }]}
//! ```
//! Endpoints of a service are those of its description, and those for which somebody has a right.
//!
//! Specification: PR-META 3; PR-MREST 4. As X-Road, a service that is disabled is among them.

use std::fmt::Write as _;

use conf::identifier::ServiceId;
use serde::Serialize;

use super::ok;
use crate::access::endpoint::Endpoint;
use crate::access::rights::Reach;
use crate::exchange::ports::{ServiceAnswer, View};
use crate::fault::{Fault, Leaf, soap::escape};
use crate::message::Request;
use crate::message::rest::Verb;
use crate::serverconf::Service;

/// Answers either: `allowed` for what the client may call only.
///
/// # Errors
/// None that reading the request has not met.
pub fn answer(request: &Request, view: View<'_>, allowed: bool) -> Result<ServiceAnswer, Fault> {
    let client = &request.header().client;
    let of_protocol = |(_, service): &(_, &Service)| service.access.protocol == request.protocol();
    let provider = view.local.client(request.header().service.client());
    let mut offered: Vec<_> =
        provider.into_iter().flat_map(|provider| provider.services()).filter(of_protocol).collect();
    offered.sort_by_key(|(id, _)| (id.code(), id.version()));
    let reach = |service: &Service| -> Vec<Reach> {
        if allowed {
            service.access.reach(client, &**view.conf).cloned().collect()
        } else {
            vec![Reach::Service]
        }
    };
    let offered = offered.into_iter().map(|(id, service)| (id, service, reach(service)));
    let offered = offered.filter(|(_, _, reach)| reach.iter().any(Reach::is_something));
    match request {
        Request::Rest(_) => {
            let list =
                List { service: offered.map(|(id, service, reach)| Item::of(id, service, &reach)).collect() };
            let json = serde_json::to_vec(&list)
                .map_err(|error| Fault::new(Leaf::InternalError, error.to_string()))?;
            Ok(ok("application/json", json))
        }
        Request::Soap(request) => {
            let name = if allowed { "allowedMethodsResponse" } else { "listMethodsResponse" };
            let list = xml(name, offered.map(|(id, _, _)| id));
            Ok(ok("text/xml; charset=UTF-8", request.answered(&list)?))
        }
    }
}

fn xml<'a>(name: &str, services: impl Iterator<Item = &'a ServiceId>) -> String {
    let mut out = format!(
        "<x:{name} xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" xmlns:id=\"http://x-road.eu/xsd/identifiers\">"
    );
    for id in services {
        write_service(&mut out, "x:service", id);
    }
    let _ = write!(out, "</x:{name}>");
    out
}

/// A service as an element of this name.
pub(super) fn write_service(out: &mut String, element: &str, id: &ServiceId) {
    let (client, member) = (id.client(), id.client().member());
    let _ = write!(out, "<{element} id:objectType=\"SERVICE\">");
    let fields = [
        ("xRoadInstance", Some(member.instance())),
        ("memberClass", Some(member.class())),
        ("memberCode", Some(member.code())),
        ("subsystemCode", client.subsystem()),
        ("serviceCode", Some(id.code())),
        ("serviceVersion", id.version()),
    ];
    for (name, text) in fields {
        if let Some(text) = text {
            let _ = write!(out, "<id:{name}>{}</id:{name}>", escape(text));
        }
    }
    let _ = write!(out, "</{element}>");
}

#[derive(Serialize)]
struct List<'a> {
    service: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    member_class: &'a str,
    member_code: &'a str,
    object_type: &'static str,
    service_code: &'a str,
    service_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subsystem_code: Option<&'a str>,
    xroad_instance: &'a str,
    endpoint_list: Vec<Listed>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Listed {
    method: &'static str,
    path: String,
}

impl<'a> Item<'a> {
    fn of(id: &'a ServiceId, service: &Service, reach: &[Reach]) -> Self {
        let (client, member) = (id.client(), id.client().member());
        let mut endpoint_list: Vec<Listed> = endpoints(service)
            .filter(|endpoint| reach.iter().any(|reach| reach.includes(endpoint)))
            .map(|Endpoint { verb, path }| Listed {
                method: verb.map_or("*", Verb::as_str),
                path: path.to_string(),
            })
            .collect();
        endpoint_list.sort_by(|one, other| (&one.path, one.method).cmp(&(&other.path, other.method)));
        endpoint_list.dedup();
        Self {
            member_class: member.class(),
            member_code: member.code(),
            object_type: "SERVICE",
            service_code: id.code(),
            service_type: if service.description.is_some() { "OPENAPI" } else { "REST" },
            subsystem_code: client.subsystem(),
            xroad_instance: member.instance(),
            endpoint_list,
        }
    }
}

fn endpoints(service: &Service) -> impl Iterator<Item = &Endpoint> {
    let named = service.access.reaches().flat_map(|reach| match reach {
        Reach::Service => [].iter(),
        Reach::Endpoints(endpoints) => endpoints.iter(),
    });
    service.endpoints.iter().chain(named)
}
