//! What the descriptions that were taken up say of services and endpoints, brought into the settings.
//!
//! - A `[[client.service]]` with a description: rules are held against it, and what they name that it does not describe
//!   is a warning.
//! - A `[[client.wsdl]]`: each operation is a service. One that also has a `[[client.service]]` of its own is left to
//!   that.
//!
//! A description that was never taken up describes nothing: no service of a WSDL is offered before an administrator has
//! seen them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cert_authority::settings::Text;
use conf::identifier::ClientId;

use super::clients::{endpoint, identifier_part, service_address, service_code};
use super::resolve::Resolver;
use super::{Allow, Description, Endpoint, Group, Service, ServiceTrust, Subject, file};
use crate::access::endpoint::PathGlob;
use crate::description::wsdl::DescribedService;
use crate::description::{Accepted, Document, Source};
use crate::message::Protocol;

/// The descriptions met so far.
pub(super) struct Described<'a> {
    accepted: &'a Accepted,
    /// Of the client at hand.
    of_client: Vec<Description>,
    /// By digest and protocol: a document is read once, however many services it describes.
    documents: HashMap<(String, Protocol), Arc<Document>>,
}

impl<'a> Described<'a> {
    /// Looks up documents there.
    pub(super) fn by(accepted: &'a Accepted) -> Self {
        Self { accepted, of_client: Vec::new(), documents: HashMap::new() }
    }

    /// Those of the client at hand; the next client begins anew.
    pub(super) fn take(&mut self) -> Vec<Description> {
        std::mem::take(&mut self.of_client)
    }

    fn document(
        &mut self,
        client: &ClientId,
        written: &str,
        protocol: Protocol,
    ) -> Result<Option<Arc<Document>>, String> {
        let Some(entry) = self.accepted.get(client, written) else { return Ok(None) };
        let key = (entry.sha256.clone(), protocol);
        if let Some(document) = self.documents.get(&key) {
            return Ok(Some(Arc::clone(document)));
        }
        let bytes = self.accepted.document(entry).map_err(|error| error.to_string())?;
        let document = Arc::new(Document::read(bytes, protocol).map_err(|error| error.to_string())?);
        self.documents.insert(key, Arc::clone(&document));
        Ok(Some(document))
    }
}

impl Resolver<'_> {
    /// What describes a service; its rules are held against it.
    pub(super) fn description(
        &mut self,
        service: &file::Service,
        client: &ClientId,
        trust: Option<&ServiceTrust>,
        key: &str,
    ) -> Option<Description> {
        let written = service.description.as_ref()?;
        let trusted = service.certificate.is_some() || service.authorities.is_some();
        let at = format!("{key}.description");
        let description = self.look_up(written, client, service.protocol, trust, trusted, &at);
        if let Some(document) = &description.document {
            match service.protocol {
                Protocol::Rest => self.hold_rules_against(document, service, key),
                Protocol::Soap => {
                    let version = service.version.as_ref().map(|version| version.get_ref().as_str());
                    let own = (service.code.get_ref().as_str(), version);
                    if !document.services().iter().any(|each| (&*each.code, each.version.as_deref()) == own) {
                        self.warn(
                            &service.code,
                            &format!("{key}.code"),
                            "is not in the service's description",
                        );
                    }
                }
            }
        }
        Some(description)
    }

    /// The services of a client's WSDLs; `explicit` are those that it has entries for.
    pub(super) fn wsdls(
        &mut self,
        file: &[file::Wsdl],
        client: &ClientId,
        client_key: &str,
        groups: &[Group],
        explicit: &[Service],
    ) -> Vec<Service> {
        let mut seen = HashSet::new();
        let mut services = Vec::new();
        for (n, wsdl) in file.iter().enumerate() {
            let key = format!("{client_key}.wsdl[{}]", n + 1);
            let trust = self.judged(wsdl.certificate.as_ref(), wsdl.authorities.as_ref(), &key);
            let trusted = wsdl.certificate.is_some() || wsdl.authorities.is_some();
            if let Some(url) = &wsdl.url {
                self.address(url, trusted, &format!("{key}.url"));
            }
            let at = format!("{key}.description");
            let description =
                self.look_up(&wsdl.description, client, Protocol::Soap, trust.as_ref(), trusted, &at);
            let document = description.document.clone();
            let described = document.as_deref().map(Document::services).unwrap_or_default();
            let rules = self.wsdl_rules(wsdl, described, document.is_some(), &key, groups);
            for operation in described {
                let has_own = |own: &Service| own.code == operation.code && own.version == operation.version;
                if explicit.iter().any(has_own) {
                    continue;
                }
                let written = wsdl.url.as_ref().map(Text::get_ref);
                let url = written.or(operation.address.as_ref()).cloned().unwrap_or_default();
                let faulty = service_code(&operation.code)
                    .and_then(|()| operation.version.as_deref().map_or(Ok(()), identifier_part))
                    .and_then(|()| service_address(&url, trusted));
                if let Err(reason) = faulty {
                    self.fault(&wsdl.description, &at, format!("{} ({url}) {reason}", name(operation)));
                }
                if !seen.insert((operation.code.clone(), operation.version.clone())) {
                    let reason = format!("{} stands in two descriptions", name(operation));
                    self.fault(&wsdl.description, &at, reason);
                }
                let allow = rules.iter().filter(|(_, names)| covers(names.as_deref(), operation));
                services.push(Service {
                    code: operation.code.clone(),
                    version: operation.version.clone(),
                    protocol: Protocol::Soap,
                    url,
                    timeout: wsdl.timeout.unwrap_or(Duration::from_secs(60)),
                    trust: trust.clone(),
                    description: Some(description.clone()),
                    disabled: wsdl.disabled.clone(),
                    allow: allow.map(|(to, _)| Allow { to: to.clone(), endpoints: None }).collect(),
                });
            }
        }
        services
    }

    /// To whom which operations are open; no list is all of them.
    fn wsdl_rules(
        &mut self,
        wsdl: &file::Wsdl,
        described: &[DescribedService],
        is_known: bool,
        key: &str,
        groups: &[Group],
    ) -> Vec<(Subject, Option<Vec<String>>)> {
        let mut rules = Vec::new();
        for allow in &wsdl.allow {
            for written in allow.services.iter().flatten().filter(|_| is_known) {
                let one = std::slice::from_ref(written.get_ref());
                if !described.iter().any(|operation| covers(Some(one), operation)) {
                    let reason = format!("\"{}\" is not in the description", written.get_ref());
                    self.warn(written, &format!("{key}.allow.services"), reason);
                }
            }
            let names =
                allow.services.as_ref().map(|names| names.iter().map(|n| n.get_ref().clone()).collect());
            if let Some(to) = self.subject(&allow.to, &format!("{key}.allow"), groups) {
                rules.push((to, names));
            }
        }
        rules
    }

    /// Finds the document that was taken up, and notes the description once for the client.
    fn look_up(
        &mut self,
        written: &Text,
        client: &ClientId,
        protocol: Protocol,
        trust: Option<&ServiceTrust>,
        trusted: bool,
        key: &str,
    ) -> Description {
        let text = written.get_ref();
        if text.starts_with("https://") && !trusted {
            let reason = "is https, so `certificate` or `authorities` must say whom to believe";
            self.fault(written, key, reason);
        }
        let document = match self.described.document(client, text, protocol) {
            Ok(document) => {
                if document.is_none() {
                    self.warn(written, key, "is not taken up yet: `passerelle-gateway service refresh`");
                }
                document
            }
            Err(reason) => {
                self.fault(written, key, reason);
                None
            }
        };
        let source = Source::new(text, self.folder);
        let found = Description { written: text.clone(), source, protocol, trust: trust.cloned(), document };
        let known = self.described.of_client.iter().find(|known| known.written == found.written);
        match known {
            None => self.described.of_client.push(found.clone()),
            Some(known) if (known.protocol, &known.trust) != (found.protocol, &found.trust) => {
                let reason = "stands here twice, with another protocol or another certificate to believe";
                self.fault(written, key, reason);
            }
            Some(_) => {}
        }
        found
    }

    fn hold_rules_against(&mut self, document: &Document, service: &file::Service, key: &str) {
        let key = format!("{key}.allow.endpoints");
        for written in service.allow.iter().filter_map(|allow| allow.endpoints.as_ref()).flatten() {
            let Ok(rule) = endpoint(written.get_ref()) else { continue };
            if !document.endpoints().iter().any(|described| meet(&rule, described)) {
                let reason = format!("\"{}\" is not in the service's description", written.get_ref());
                self.warn(written, &key, reason);
            }
        }
    }

    fn warn(&mut self, at: &Text, key: &str, reason: impl Into<String>) {
        self.warnings.at(self.text, &at.span(), key, reason);
    }
}

/// Whether a rule and a described endpoint have something to do with each other: one of the patterns takes the other.
fn meet(rule: &Endpoint, described: &Endpoint) -> bool {
    let takes = |one: &str, other: &str| PathGlob::new(one).matches(other);
    (rule.method == "*" || rule.method == described.method)
        && (takes(&rule.path, &described.path) || takes(&described.path, &rule.path))
}

/// Whether these names, or no list of names, are of an operation.
fn covers(names: Option<&[String]>, operation: &DescribedService) -> bool {
    names.is_none_or(|names| names.contains(&name(operation)))
}

/// `code` or `code.version`, as rules name an operation.
fn name(operation: &DescribedService) -> String {
    match &operation.version {
        None => operation.code.clone(),
        Some(version) => format!("{}.{version}", operation.code),
    }
}

#[cfg(test)]
mod tests;
