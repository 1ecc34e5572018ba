//! `GET /listClients[?xRoadInstance=..]`: the members and subsystems of an instance, as XML or JSON.
//!
//! ```text
//! <ns2:member>                                     {"member":[{
//!   <ns2:id ns1:objectType="SUBSYSTEM">              "id":{"member_class":"GOV", ...,
//!     <ns1:xRoadInstance>DEMO</ns1:xRoadInstance>          "object_type":"SUBSYSTEM", ...},
//!     ...                                            "name":"Land Board",
//!   </ns2:id>                                        "subsystem_name":"Register"
//!   <ns2:name>Land Board</ns2:name>                }]}
//!   <ns2:subsystemName>Register</ns2:subsystemName>
//! </ns2:member>
//! ```
//! Open to everybody who reaches the door, as with X-Road.
//!
//! Specification: PR-META 2, its XML Schema and OpenAPI definition.

use std::fmt::Write as _;

use conf::snapshot::{Client, GlobalConf};
use serde::Serialize;

use super::query::Query;
use super::{Body, Response};
use crate::fault::{Fault, Leaf, Side, soap::escape};

/// Answers it. `accept` are the values of the request's `Accept` headers. A fault is rendered as for SOAP.
///
/// # Errors
/// The fault for an instance that is not known, and for a query that cannot be read.
pub fn serve<'a>(
    query: &str,
    accept: impl IntoIterator<Item = &'a [u8]>,
    conf: &GlobalConf,
) -> Result<Response, Fault> {
    let query = Query::read(query)
        .map_err(|error| Fault::new(Leaf::BadRequest, error.to_string()).at(Side::ClientProxy))?;
    let asked = query.value("xRoadInstance").filter(|instance| !instance.trim().is_empty());
    let name = asked.unwrap_or_else(|| conf.own_instance());
    let instance = conf.instance(name).ok_or_else(|| {
        let text = format!("Shared params for instance identifier {name} not found");
        Fault::new(Leaf::InternalError, text).at(Side::ClientProxy)
    })?;
    let (content_type, body) = if wants_json(accept) {
        ("application/json;charset=utf-8", json(&instance.clients)?)
    } else {
        ("text/xml;charset=utf-8", xml(&instance.clients))
    };
    Ok(Response::ok(content_type, None, Body::Whole(body.into())))
}

/// Whether JSON is among what is accepted; weights do not count.
fn wants_json<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> bool {
    accept
        .into_iter()
        .flat_map(|value| value.split(|&byte| byte == b','))
        .filter_map(|range| range.split(|&byte| byte == b';').next())
        .any(|range| range.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

fn object_type(client: &Client) -> &'static str {
    if client.id.subsystem().is_some() { "SUBSYSTEM" } else { "MEMBER" }
}

fn xml(clients: &[Client]) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n\
        <ns2:clientList xmlns:ns1=\"http://x-road.eu/xsd/identifiers\" xmlns:ns2=\"http://x-road.eu/xsd/xroad.xsd\">\n"
        .to_owned();
    for client in clients {
        let (id, member) = (&client.id, client.id.member());
        let _ =
            writeln!(out, "    <ns2:member>\n        <ns2:id ns1:objectType=\"{}\">", object_type(client));
        let parts = [("xRoadInstance", member.instance()), ("memberClass", member.class())]
            .into_iter()
            .chain([("memberCode", member.code())])
            .chain(id.subsystem().map(|code| ("subsystemCode", code)));
        for (name, text) in parts {
            let _ = writeln!(out, "            <ns1:{name}>{}</ns1:{name}>", escape(text));
        }
        out.push_str("        </ns2:id>\n");
        let names =
            [("name", Some(&*client.member_name)), ("subsystemName", client.subsystem_name.as_deref())];
        for (name, text) in names {
            if let Some(text) = text {
                let _ = writeln!(out, "        <ns2:{name}>{}</ns2:{name}>", escape(text));
            }
        }
        out.push_str("    </ns2:member>\n");
    }
    out.push_str("</ns2:clientList>\n");
    out
}

#[derive(Serialize)]
struct List<'a> {
    member: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    id: Id<'a>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subsystem_name: Option<&'a str>,
}

#[derive(Serialize)]
struct Id<'a> {
    member_class: &'a str,
    member_code: &'a str,
    object_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subsystem_code: Option<&'a str>,
    xroad_instance: &'a str,
}

impl<'a> Item<'a> {
    fn of(client: &'a Client) -> Self {
        let member = client.id.member();
        Self {
            id: Id {
                member_class: member.class(),
                member_code: member.code(),
                object_type: object_type(client),
                subsystem_code: client.id.subsystem(),
                xroad_instance: member.instance(),
            },
            name: &client.member_name,
            subsystem_name: client.subsystem_name.as_deref(),
        }
    }
}

fn json(clients: &[Client]) -> Result<String, Fault> {
    let list = List { member: clients.iter().map(Item::of).collect() };
    serde_json::to_string(&list)
        .map_err(|error| Fault::new(Leaf::InternalError, error.to_string()).at(Side::ClientProxy))
}
