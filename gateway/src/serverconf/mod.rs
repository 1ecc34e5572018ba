//! The settings that decide about exchanges: whose gateway this is, what its clients offer, who may call it.
//!
//! A [`ServerConf`] is immutable and indexed; one serves a whole exchange. A changed file makes a new one, and only if
//! all of it is right: otherwise whoever asked is told every fault, and goes on with the one he has.
//!
//! Built from [`crate::config`]; the decisions themselves are in [`crate::access`]. Not here: watching the file.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::{Digest, digest};
use cert_authority::x509::Certificate;
use conf::identifier::{ClientId, MemberId, ServiceId};
use semver::Version;

use crate::access::built_in::BuiltIn;
use crate::access::client_auth::Authentication;
use crate::access::endpoint::{Endpoint, PathGlob};
use crate::access::groups::LocalGroups;
use crate::access::rights::{Access, Reach, Rights, ServiceAccess, Subject};
use crate::config::{self, Config, ConfigError, ServiceTrust};
use crate::description::{Accepted, Document};
use crate::message::Request;
use crate::message::rest::{PathRules, Verb};

/// A view of the settings at one moment.
#[derive(Debug, Clone)]
pub struct ServerConf {
    digest: Digest,
    owner: MemberId,
    clients: HashMap<ClientId, Client>,
    own_certificate: Option<Certificate>,
    path_rules: PathRules,
    log: config::Log,
    least_peer_version: Option<Version>,
}

/// A client of this gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// How its information systems are known.
    pub authentication: Authentication,
    services: HashMap<ServiceId, Service>,
}

/// A service of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its address.
    pub url: String,
    /// The longest wait for its answer.
    pub timeout: Duration,
    /// How its certificate is judged, for https.
    pub trust: Option<ServiceTrust>,
    /// Who may call it.
    pub access: ServiceAccess,
    /// The description of it that was taken up, if one was.
    pub description: Option<Arc<Document>>,
    /// The endpoints that it describes.
    pub endpoints: Vec<Endpoint>,
}

impl ServerConf {
    /// Reads a settings file, once, and everything that it names; `own_certificate` is that of our HTTPS door.
    ///
    /// # Errors
    /// [`ConfigError`], with every fault.
    pub fn load(path: &Path, own_certificate: Option<Certificate>) -> Result<(Config, Self), ConfigError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: name.clone(), reason: error.to_string() })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let accepted = Accepted::load(folder)
            .map_err(|error| ConfigError::Unreadable { path: name.clone(), reason: error.to_string() })?;
        let config = Config::described(&text, folder, &accepted)
            .map_err(|problems| ConfigError::Faulty { path: name, problems })?;
        let view = Self::new(&config, &[text.as_str(), accepted.text()].concat(), own_certificate);
        Ok((config, view))
    }

    /// Indexes settings; `text` is what they were read from.
    pub fn new(config: &Config, text: &str, own_certificate: Option<Certificate>) -> Self {
        let mut shared = Shared::default();
        let clients =
            config.clients.iter().map(|client| (client.id.clone(), Client::new(client, &mut shared)));
        let mut clients: HashMap<_, _> = clients.collect();
        // The owner is a client, as with X-Road: it signs for its server. Without settings of its own nobody may ask
        // in its name.
        clients.entry(config.owner().clone().into()).or_insert_with(|| Client {
            authentication: Authentication::Certificate(Vec::new()),
            services: HashMap::new(),
        });
        Self {
            digest: digest(DigestAlgorithm::Sha256, text.as_bytes()),
            owner: config.owner().clone(),
            clients,
            own_certificate,
            path_rules: PathRules {
                encoded_slash: config.dangerous.encoded_slash,
                dot_segments: config.dangerous.dot_segments,
            },
            log: config.log.clone(),
            least_peer_version: config.least_peer_version.clone(),
        }
    }

    /// The same, with the certificate of our HTTPS door.
    #[must_use]
    pub fn with_own_certificate(self, own_certificate: Option<Certificate>) -> Self {
        Self { own_certificate, ..self }
    }

    /// SHA-256 of the settings file, and of `descriptions/accepted.toml` behind it where there is one: what decided can be
    /// found again among the administrator's versions of them.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A client, if it is one of this gateway's.
    pub fn client(&self, id: &ClientId) -> Option<&Client> {
        self.clients.get(id)
    }

    /// All clients.
    pub fn clients(&self) -> impl Iterator<Item = (&ClientId, &Client)> {
        self.clients.iter()
    }

    /// How a client's information systems are known, if it is one of this gateway's.
    pub fn authentication(&self, id: &ClientId) -> Option<&Authentication> {
        self.client(id).map(|client| &client.authentication)
    }

    /// A service, if one of our clients offers it.
    pub fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.client(id.client())?.services.get(id)
    }

    /// Whether a request is for one of our services that has a description.
    pub fn is_described(&self, request: &Request) -> bool {
        self.service(&request.header().service).is_some_and(|service| service.description.is_some())
    }

    /// Who may call what a request asks for; `monitoring` is the client that may see every machine of the network.
    pub fn access(&self, request: &Request, monitoring: Option<&ClientId>) -> Option<Access<'_>> {
        let (client, service) = (&request.header().client, &request.header().service);
        let is_owner = |client: &ClientId| client.member() == &self.owner && client.subsystem().is_none();
        match BuiltIn::asked_for(request) {
            None => self.service(service).map(|service| Access::Holders(&service.access)),
            Some(asked) if asked.is_of_server() && !is_owner(service.client()) => None,
            Some(BuiltIn::ServerMetrics) if !is_owner(client) && monitoring != Some(client) => {
                Some(Access::Nobody)
            }
            Some(_) => Some(Access::Everybody),
        }
    }

    /// The certificate of our HTTPS door.
    pub fn own_certificate(&self) -> Option<&Certificate> {
        self.own_certificate.as_ref()
    }

    /// Which hazards of paths are let pass.
    pub fn path_rules(&self) -> PathRules {
        self.path_rules
    }

    /// The oldest release of a consumer's gateway that is served; none for all.
    pub fn least_peer_version(&self) -> Option<&Version> {
        self.least_peer_version.as_ref()
    }

    /// Whether the log keeps bodies of messages between these.
    pub fn keeps_bodies_of(&self, client: &ClientId, provider: &ClientId) -> bool {
        self.log.keeps_bodies_of(&[client, provider])
    }
}

/// What rights have in common: there may be very many to few clients, and to the same endpoints.
#[derive(Default)]
struct Shared<'c> {
    clients: HashSet<&'c ClientId>,
    endpoints: HashMap<&'c config::Endpoint, Option<Endpoint>>,
}

impl<'c> Shared<'c> {
    fn client(&mut self, id: &'c ClientId) -> ClientId {
        if let Some(known) = self.clients.get(id) {
            return (*known).clone();
        }
        self.clients.insert(id);
        id.clone()
    }

    fn right(&mut self, allow: &'c config::Allow) -> (Subject, Reach) {
        let subject = match &allow.to {
            config::Subject::Client(id) => Subject::Client(self.client(id)),
            config::Subject::LocalGroup(id) => Subject::LocalGroup(id.clone()),
            config::Subject::GlobalGroup(id) => Subject::GlobalGroup(id.clone()),
        };
        let mut known = |one| self.endpoints.entry(one).or_insert_with(|| endpoint(one)).clone();
        let reach = match &allow.endpoints {
            None => Reach::Service,
            Some(endpoints) => Reach::Endpoints(endpoints.iter().filter_map(&mut known).collect()),
        };
        (subject, reach)
    }
}

impl Client {
    fn new<'c>(client: &'c config::Client, shared: &mut Shared<'c>) -> Self {
        let authentication = match client.authentication {
            config::Authentication::Http => Authentication::Http,
            config::Authentication::Https => Authentication::Https,
            config::Authentication::Certificate => Authentication::Certificate(client.certificates.clone()),
        };
        let groups: LocalGroups = client
            .groups
            .iter()
            .map(|group| (group.id.clone(), group.members.iter().cloned().collect()))
            .collect();
        let groups = Arc::new(groups);
        let services = client
            .services
            .iter()
            .filter_map(|service| {
                let id =
                    ServiceId::new(client.id.clone(), &*service.code, service.version.as_deref()).ok()?;
                Some((id, Service::new(service, Arc::clone(&groups), shared)))
            })
            .collect();
        Self { authentication, services }
    }

    /// What the client offers.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceId, &Service)> {
        self.services.iter()
    }
}

impl Service {
    fn new<'c>(service: &'c config::Service, groups: Arc<LocalGroups>, shared: &mut Shared<'c>) -> Self {
        let rights: Rights = service.allow.iter().map(|allow| shared.right(allow)).collect();
        let description = service.description.as_ref().and_then(|description| description.document.clone());
        let described = description.as_deref().map(Document::endpoints).unwrap_or_default();
        Self {
            endpoints: described.iter().filter_map(endpoint).collect(),
            description,
            url: service.url.clone(),
            timeout: service.timeout,
            trust: service.trust.clone(),
            access: ServiceAccess {
                protocol: service.protocol,
                rights,
                groups,
                disabled: service.disabled.clone(),
            },
        }
    }
}

/// A method that is none allows nothing; the settings hold no such one.
fn endpoint(endpoint: &config::Endpoint) -> Option<Endpoint> {
    let path = PathGlob::new(&endpoint.path);
    match endpoint.method.as_str() {
        "*" => Some(Endpoint { verb: None, path }),
        method => Verb::read(method).map(|verb| Endpoint { verb: Some(verb), path }),
    }
}

#[cfg(test)]
mod tests;
