//! Who and what occurs in a recording: clients, providers, services; and the settings in which they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;

use conf::identifier::{ClientId, MemberId, ServiceId};
use gateway::message::transport::Direction;
use gateway::message::{Beside, Request};

use super::super::recording::{Case, Parts, latin1};

/// Who and what occurs.
#[derive(Debug, Default)]
pub(super) struct Parties {
    clients: BTreeSet<ClientId>,
    /// The services of each provider that exists.
    providers: BTreeMap<ClientId, BTreeSet<Offer>>,
}

/// A service: its code, its version, and whether it speaks SOAP.
type Offer = (String, Option<String>, bool);

impl Parties {
    /// Looks through the requests of all cases.
    pub(super) fn of(cases: &[Case]) -> Self {
        let mut parties = Self::default();
        for case in cases {
            parties.look_at(case);
        }
        parties
    }

    fn look_at(&mut self, case: &Case) {
        // A call in the other protocol is refused for that: the service speaks the one that the case does not.
        let is_refused = case.facts.error_code.as_ref().is_some_and(|code| code.ends_with(".ServiceType"));
        let is_soap = case.is_soap() != is_refused;
        for message in [case.sent("request"), case.received("request")].into_iter().flatten() {
            let Some(part) = Parts::of(Direction::Request, case.protocol(), &message).message else {
                continue;
            };
            let Ok(request) = Request::parse(case.protocol(), part, Beside::default()) else { continue };
            self.clients.insert(request.header().client.clone());
            self.offers(&request.header().service, is_soap);
        }
        let Some(request) = case.http("client-request.http") else { return };
        let target = request.start.split(' ').nth(1).unwrap_or_default();
        let named = target.split_once("/r1/").map(|(_, path)| path.split('?').next().unwrap_or_default());
        let segments: Vec<&str> = named.unwrap_or_default().split('/').take(5).collect();
        if let Ok(service) = ServiceId::parse_encoded(&segments.join("/")) {
            self.offers(&service, is_soap);
        }
        for (name, value) in &request.headers {
            if name.eq_ignore_ascii_case(b"x-road-client")
                && let Ok(client) = ClientId::parse_encoded(&latin1(value))
            {
                self.clients.insert(client);
            }
        }
    }

    fn offers(&mut self, service: &ServiceId, is_soap: bool) {
        if service.client().to_string().contains("nosuch") {
            return;
        }
        let services = self.providers.entry(service.client().clone()).or_default();
        if !service.code().contains("nosuch") {
            services.insert((service.code().to_owned(), service.version().map(str::to_owned), is_soap));
        }
    }

    /// Everybody who asks.
    pub(super) fn clients(&self) -> Vec<ClientId> {
        self.clients.iter().filter(|client| !client.to_string().contains("unregistered")).cloned().collect()
    }

    /// Everybody who offers something.
    pub(super) fn providers(&self) -> Vec<ClientId> {
        self.providers.keys().cloned().collect()
    }

    /// The members of all.
    pub(super) fn members(&self) -> BTreeSet<MemberId> {
        let all = self.clients.iter().chain(self.providers.keys());
        all.map(|client| client.member().clone()).collect()
    }

    /// The settings of the gateway that all clients use.
    pub(super) fn consumer_settings(&self, server: &str) -> String {
        self.clients().iter().fold(head(server), |text, id| text + &client(id))
    }

    /// The settings of the gateway that all services are behind.
    pub(super) fn provider_settings(&self, server: &str, service: SocketAddr) -> String {
        let mut text = head(server);
        for (provider, codes) in &self.providers {
            text.push_str(&client(provider));
            for (code, version, is_soap) in codes {
                let slash = if code.contains("slash") { "/" } else { "" };
                // Nobody listens at the discard port.
                let address =
                    if code.contains("down") { "127.0.0.1:9".to_owned() } else { service.to_string() };
                let _ = write!(
                    text,
                    "[[client.service]]\ncode = {}\nurl = \"http://{address}/base{slash}\"\ntimeout = \"5 s\"\n",
                    quoted(code)
                );
                if *is_soap {
                    text.push_str("protocol = \"soap\"\n");
                }
                if let Some(version) = version {
                    let _ = writeln!(text, "version = {}", quoted(version));
                }
                if code.contains("disabled") {
                    text.push_str("disabled = \"closed\"\n");
                }
                let allowed = self.clients.iter().filter(|_| !code.contains("denied"));
                for client in allowed {
                    let _ = write!(text, "[[client.service.allow]]\nto = {}\n", quoted(&client.to_string()));
                }
            }
        }
        text
    }
}

fn head(server: &str) -> String {
    format!("[server]\nid = {}\n[configuration]\nanchor = \"anchor.xml\"\n", quoted(server))
}

fn client(id: &ClientId) -> String {
    format!("[[client]]\nid = {}\nauthentication = \"http\"\n", quoted(&id.to_string()))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
