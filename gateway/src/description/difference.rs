//! What another document would change: endpoints, services, addresses.

use std::collections::HashMap;
use std::fmt;

use super::{Content, Document};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Something is described that was not.
    Added(Item),
    /// Something is not described any more.
    Removed(Item),
    /// Something is said to be elsewhere.
    Moved {
        /// What.
        what: Item,
        /// Where it was.
        from: Option<String>,
        /// Where it is.
        to: Option<String>,
    },
}

/// What a description speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// The server of a REST service; there is always one.
    Server,
    /// A part of a REST service: method and path.
    Endpoint(String),
    /// A SOAP service.
    Service {
        /// Its code.
        code: String,
        /// Its version.
        version: Option<String>,
    },
}

/// What changes from one document, or none, to another.
#[must_use]
pub fn between(old: Option<&Document>, new: &Document) -> Vec<Change> {
    let (old, new) = (old.map(items).unwrap_or_default(), items(new));
    let before: HashMap<_, _> = old.iter().map(|(item, address)| (item, address)).collect();
    let after: HashMap<_, _> = new.iter().map(|(item, address)| (item, address)).collect();
    let mut changes = Vec::new();
    for (item, to) in &new {
        match before.get(item) {
            None if *item == Item::Server => {}
            None => changes.push(Change::Added(item.clone())),
            Some(from) if *from != to => {
                changes.push(Change::Moved { what: item.clone(), from: (*from).clone(), to: to.clone() });
            }
            Some(_) => {}
        }
    }
    let gone = old.iter().map(|(item, _)| item).filter(|item| !after.contains_key(item));
    changes.extend(gone.cloned().map(Change::Removed));
    changes
}

/// Everything that a document speaks of, with its address where it has one of its own.
fn items(document: &Document) -> Vec<(Item, Option<String>)> {
    match &document.content {
        Content::OpenApi(described) => {
            let endpoints = described.endpoints.iter().map(|each| (Item::Endpoint(each.to_string()), None));
            [(Item::Server, described.server.clone())].into_iter().chain(endpoints).collect()
        }
        Content::Wsdl(described) => {
            let services = described.services.iter().map(|service| {
                let item = Item::Service { code: service.code.clone(), version: service.version.clone() };
                (item, service.address.clone())
            });
            services.collect()
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(item) => write!(f, "+ {item}"),
            Self::Removed(item) => write!(f, "- {item}"),
            Self::Moved { what, from, to } => {
                let address =
                    |address: &Option<String>| address.clone().unwrap_or_else(|| "no address".to_owned());
                write!(f, "~ {what}: {} -> {}", address(from), address(to))
            }
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Endpoint(endpoint) => write!(f, "endpoint {endpoint}"),
            Self::Service { code, version: None } => write!(f, "service {code}"),
            Self::Service { code, version: Some(version) } => write!(f, "service {code}.{version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Protocol;

    fn changes(protocol: Protocol, old: Option<String>, new: String) -> Vec<String> {
        let read = |text: String| Document::read(text.into(), protocol).unwrap();
        between(old.map(read).as_ref(), &read(new)).iter().map(ToString::to_string).collect()
    }

    fn openapi(server: &str, paths: &str) -> String {
        format!("openapi: 3.0.0\nservers: [{server}]\npaths:\n{paths}")
    }

    fn wsdl(operations: &[(&str, &str)], address: &str) -> String {
        let operation = |(name, version): &(&str, &str)| {
            format!(
                "<operation name=\"{name}\"><x:version xmlns:x=\"urn:x\">{version}</x:version></operation>"
            )
        };
        let operations: String = operations.iter().map(operation).collect();
        format!(
            "<definitions xmlns=\"http://schemas.xmlsoap.org/wsdl/\" targetNamespace=\"urn:t\" xmlns:t=\"urn:t\" \
             xmlns:s=\"http://schemas.xmlsoap.org/wsdl/soap/\"><binding name=\"b\">\
             <s:binding transport=\"http://schemas.xmlsoap.org/soap/http\"/>{operations}</binding>\
             <service><port binding=\"t:b\"><s:address location=\"{address}\"/></port></service></definitions>"
        )
    }

    #[test]
    fn endpoints_come_and_go() {
        let old = openapi("{url: /v1}", "  /a: {get: {}, put: {}}\n  /b/{x}: {get: {}}\n");
        let new = openapi("{url: /v2}", "  /b/{y}: {get: {}}\n  /a: {get: {}}\n  /c: {trace: {}}\n");
        assert_eq!(
            changes(Protocol::Rest, Some(old.clone()), new),
            ["~ server: /v1 -> /v2", "+ endpoint TRACE /c", "- endpoint PUT /a"]
        );
        assert!(changes(Protocol::Rest, Some(old.clone()), old.clone()).is_empty());
        assert_eq!(
            changes(Protocol::Rest, None, old),
            ["+ endpoint GET /a", "+ endpoint PUT /a", "+ endpoint GET /b/*"]
        );
        let gone = changes(Protocol::Rest, Some(openapi("{url: /v1}", " {}")), openapi("", " {}"));
        assert_eq!(gone, ["~ server: /v1 -> no address"]);
    }

    #[test]
    fn services_come_and_go_and_move() {
        let old = wsdl(&[("find", "v1"), ("change", "")], "http://one.example");
        let new = wsdl(&[("find", "v1"), ("find", "v2")], "http://two.example");
        assert_eq!(
            changes(Protocol::Soap, Some(old), new),
            [
                "~ service find.v1: http://one.example -> http://two.example",
                "+ service find.v2",
                "- service change"
            ]
        );
    }
}
