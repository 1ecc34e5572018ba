//! Clients, the services that they offer, and who may call them: as written, as meant.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use cert_authority::settings::Text;
use conf::identifier::{ClientId, GlobalGroupId, LocalGroupId};

use super::resolve::Resolver;
use super::{Allow, Authentication, Client, Endpoint, Group, Service, ServiceTrust, Subject, file};
use crate::access::built_in::BuiltIn;
use crate::message::Protocol;
use crate::transport::ServiceSettings;

impl Resolver<'_> {
    pub(super) fn clients(&mut self, file: &[file::Client]) -> Vec<Client> {
        let mut seen = HashSet::new();
        let mut clients = Vec::new();
        for (n, client) in file.iter().enumerate() {
            let key = format!("client[{}]", n + 1);
            let Some(id) = self.read(&client.id, &format!("{key}.id"), registrable_client) else { continue };
            if !seen.insert(id.clone()) {
                self.fault(&client.id, &format!("{key}.id"), format!("{id} stands here twice"));
            }
            let authentication = client.authentication.unwrap_or_default();
            let certificates = self.certificates(&client.certificates, &format!("{key}.certificates"));
            if authentication == Authentication::Certificate && client.certificates.is_empty() {
                let reason = "is \"certificate\" (the default), so `certificates` must name at least one";
                self.fault(&client.id, &format!("{key}.authentication"), reason);
            }
            let groups: Vec<Group> =
                client.group.iter().filter_map(|group| self.group(group, &key)).collect();
            let mut services = self.services(&client.service, &id, &key, &groups);
            services.extend(self.wsdls(&client.wsdl, &id, &key, &groups, &services));
            let descriptions = self.described.take();
            if id.subsystem().is_none() && !services.is_empty() {
                self.fault(&client.id, &key, "services belong to a subsystem, not to the member itself");
            }
            clients.push(Client { id, authentication, certificates, groups, services, descriptions });
        }
        clients
    }

    fn group(&mut self, group: &file::Group, client: &str) -> Option<Group> {
        let key = format!("{client}.group");
        let id = self.read(&group.code, &key, local_group)?;
        let members = group.members.iter().filter_map(|member| self.read(member, &key, any_client)).collect();
        Some(Group { id, members })
    }

    fn services(
        &mut self,
        file: &[file::Service],
        client: &ClientId,
        client_key: &str,
        groups: &[Group],
    ) -> Vec<Service> {
        let mut seen = HashSet::new();
        let mut services = Vec::new();
        for (n, service) in file.iter().enumerate() {
            let key = format!("{client_key}.service[{}]", n + 1);
            let code = service.code.get_ref().clone();
            if let Err(reason) = service_code(&code) {
                self.fault(&service.code, &format!("{key}.code"), reason);
            }
            let version = self.version(service, &key);
            if !seen.insert((code.clone(), version.clone())) {
                self.fault(&service.code, &format!("{key}.code"), "stands here twice");
            }
            let trust = self.trust(service, &key);
            let description = self.description(service, client, trust.as_ref(), &key);
            let allow = service
                .allow
                .iter()
                .filter_map(|allow| self.allow(allow, service.protocol, &format!("{key}.allow"), groups))
                .collect();
            services.push(Service {
                code,
                version,
                protocol: service.protocol,
                url: service.url.get_ref().clone(),
                timeout: service.timeout.unwrap_or(Duration::from_secs(60)),
                trust,
                description,
                disabled: service.disabled.clone(),
                allow,
            });
        }
        services
    }

    fn version(&mut self, service: &file::Service, key: &str) -> Option<String> {
        let version = service.version.as_ref()?;
        let text = version.get_ref();
        let reason = match service.protocol {
            Protocol::Rest => Some("services of REST have no version: set protocol = \"soap\""),
            Protocol::Soap if text.trim().is_empty() || text.chars().any(char::is_control) => {
                Some("may not be empty nor hold control characters")
            }
            Protocol::Soap => None,
        };
        if let Some(reason) = reason {
            self.fault(version, &format!("{key}.version"), reason);
        }
        Some(text.clone())
    }

    fn trust(&mut self, service: &file::Service, key: &str) -> Option<ServiceTrust> {
        let trust = self.judged(service.certificate.as_ref(), service.authorities.as_ref(), key);
        let trusted = service.certificate.is_some() || service.authorities.is_some();
        self.address(&service.url, trusted, &format!("{key}.url"));
        trust
    }

    /// No service is at an address where none is called; a name is looked at when it has led somewhere.
    pub(super) fn services_are_elsewhere(&mut self, clients: &[file::Client], settings: &ServiceSettings) {
        for (n, client) in clients.iter().enumerate() {
            for (m, service) in client.service.iter().enumerate() {
                if named(service.url.get_ref()).is_some_and(|address| settings.forbids(address)) {
                    let key = format!("client[{}].service[{}].url", n + 1, m + 1);
                    self.fault(
                        &service.url,
                        &key,
                        "is a link-local address, or a port of this gateway's own",
                    );
                }
            }
        }
    }

    /// An address of a service.
    pub(super) fn address(&mut self, url: &Text, trusted: bool, key: &str) {
        if let Err(reason) = service_address(url.get_ref(), trusted) {
            self.fault(url, key, reason);
        }
    }

    /// How a certificate is judged.
    pub(super) fn judged(
        &mut self,
        certificate: Option<&Text>,
        authorities: Option<&Text>,
        key: &str,
    ) -> Option<ServiceTrust> {
        match (certificate, authorities) {
            (Some(pinned), _) => {
                let pinned = self.certificates(std::slice::from_ref(pinned), &format!("{key}.certificate"));
                pinned.into_iter().next().map(ServiceTrust::Pinned)
            }
            (None, Some(authorities)) => {
                let key = format!("{key}.authorities");
                Some(ServiceTrust::Authorities(self.certificates(std::slice::from_ref(authorities), &key)))
            }
            (None, None) => None,
        }
    }

    fn allow(
        &mut self,
        allow: &file::Allow,
        protocol: Protocol,
        key: &str,
        groups: &[Group],
    ) -> Option<Allow> {
        if let (Protocol::Soap, Some(_)) = (protocol, &allow.endpoints) {
            self.fault(&allow.to, &format!("{key}.endpoints"), "services of SOAP have none: leave it out");
        }
        let to = self.subject(&allow.to, key, groups)?;
        let endpoints = allow.endpoints.as_ref().map(|endpoints| {
            let each = endpoints.iter();
            each.filter_map(|text| self.read(text, &format!("{key}.endpoints"), endpoint)).collect()
        });
        Some(Allow { to, endpoints })
    }

    /// Whom a right is given to.
    pub(super) fn subject(&mut self, to: &Text, key: &str, groups: &[Group]) -> Option<Subject> {
        self.read(to, &format!("{key}.to"), |text| {
            if let Some(code) = text.strip_prefix("group:") {
                let id = local_group(code)?;
                let known = groups.iter().any(|group| group.id == id);
                return if known { Ok(Subject::LocalGroup(id)) } else { Err(format!("no group \"{code}\"")) };
            }
            if let Some(id) = text.strip_prefix("global-group:") {
                let id = GlobalGroupId::from_str(id).map_err(|error| error.to_string())?;
                return Ok(Subject::GlobalGroup(id));
            }
            any_client(text).map(Subject::Client)
        })
    }
}

/// Whether a service may have this code.
pub(super) fn service_code(code: &str) -> Result<(), &'static str> {
    if BuiltIn::RESERVED.contains(&code) {
        return Err("is the code of a service that every gateway has by itself");
    }
    identifier_part(code)
}

/// Whether this may be part of the identifier of a service.
pub(super) fn identifier_part(part: &str) -> Result<(), &'static str> {
    if part.is_empty() || part.contains(['%', ':', ';', '/', '\\']) || part.chars().any(char::is_control) {
        return Err("may not be empty nor hold % : ; / \\ or control characters");
    }
    Ok(())
}

/// Whether a service may be at this address; `trusted`: whether there is a certificate to believe.
pub(super) fn service_address(url: &str, trusted: bool) -> Result<(), &'static str> {
    let https = url.starts_with("https://");
    if !https && !url.starts_with("http://") {
        return Err("must begin with http:// or https://");
    }
    if url.contains(['?', '#']) {
        return Err("may not hold a query or a fragment");
    }
    if https && !trusted {
        return Err("is https, so `certificate` or `authorities` must say whom to believe");
    }
    Ok(())
}

/// The address that a URL names, if it does not leave it to a name; `localhost` is this machine.
fn named(url: &str) -> Option<SocketAddr> {
    let uri: http::Uri = url.parse().ok()?;
    let usual = if url.starts_with("https:") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(usual);
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let ip = if host == "localhost" { IpAddr::from(Ipv4Addr::LOCALHOST) } else { host.parse().ok()? };
    Some(SocketAddr::new(ip, port))
}

fn registrable_client(text: &str) -> Result<ClientId, String> {
    let id = any_client(text)?;
    id.check_registrable().map_err(|error| error.to_string())?;
    Ok(id)
}

pub(super) fn any_client(text: &str) -> Result<ClientId, String> {
    ClientId::from_str(text).map_err(|error| error.to_string())
}

fn local_group(code: &str) -> Result<LocalGroupId, String> {
    LocalGroupId::new(code).map_err(|error| error.to_string())
}

pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let form = || format!("\"{text}\" is no endpoint: write \"GET /path/*\" or \"* /**\"");
    let (method, path) = text.split_once(' ').ok_or_else(form)?;
    let known =
        matches!(method, "*" | "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE");
    if !known || !path.starts_with('/') || path.contains(char::is_whitespace) {
        return Err(form());
    }
    Ok(Endpoint { method: method.to_owned(), path: path.to_owned() })
}
