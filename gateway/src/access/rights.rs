//! May this client call this service, at this endpoint?
//!
//! A right is given to a subsystem (or a member), to a local group of the provider, or to a global group; for the
//! whole service or for some of its endpoints. What nobody has allowed is denied.
//!
//! Specification: X-Road 7.8; the order of checks is its: the service exists, its protocol, the right, the service is not disabled.
//! Threats T18, T19.

use std::collections::HashMap;
use std::sync::Arc;

use conf::identifier::{ClientId, GlobalGroupId, LocalGroupId};

use super::endpoint::Endpoint;
use super::groups::{GlobalGroups, LocalGroups};
use crate::message::rest::{PathHazard, PathRules};
use crate::message::{Protocol, Request};

/// A request whose client may call the service: made only by [`authorize`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorized<M> {
    message: M,
}

impl<M> Authorized<M> {
    /// The request.
    pub fn message(&self) -> &M {
        &self.message
    }

    /// The request, without the proof.
    pub fn into_message(self) -> M {
        self.message
    }
}

impl<M: AsRef<Request>> AsRef<Request> for Authorized<M> {
    fn as_ref(&self) -> &Request {
        self.message.as_ref()
    }
}

/// Why a request is refused at the provider's gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The service does not exist (`unknown_service`).
    #[error("the service is unknown")]
    UnknownService,
    /// It speaks the other protocol (`service_type`).
    #[error("the service speaks another protocol")]
    OtherProtocol,
    /// Its path could be read in two ways, so no right can be decided on it (`access_denied`).
    #[error("{0}")]
    Path(#[from] PathHazard),
    /// Nobody gave the client this right (`access_denied`).
    #[error("the request is not allowed")]
    Denied,
    /// The service is disabled (`service_disabled`).
    #[error("the service is disabled: {notice}")]
    Disabled {
        /// What the provider has to say about it.
        notice: String,
    },
}

/// Who may call what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// Everybody whose message can be trusted: it is the gateway that answers.
    Everybody,
    /// Nobody of those who might ask so.
    Nobody,
    /// Those whom a right was given.
    Holders(&'a ServiceAccess),
}

/// Everything about a service that decides who may call it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceAccess {
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// The rights.
    pub rights: Rights,
    /// The groups of the client that offers it.
    pub groups: Arc<LocalGroups>,
    /// The notice, while it is disabled.
    pub disabled: Option<String>,
}

impl ServiceAccess {
    /// What of the service a client may call; nothing when nobody gave it a right.
    pub fn reach<'a>(
        &'a self,
        client: &'a ClientId,
        global: &'a impl GlobalGroups,
    ) -> impl Iterator<Item = &'a Reach> {
        self.rights.of(client, &self.groups, global)
    }

    /// Everything that is in somebody's reach.
    pub fn reaches(&self) -> impl Iterator<Item = &Reach> {
        let groups = self.rights.local_groups.iter().map(|(_, reach)| reach);
        let groups = groups.chain(self.rights.global_groups.iter().map(|(_, reach)| reach));
        self.rights.clients.values().flatten().chain(groups)
    }
}

/// Whom a right is given to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// This client and no other: neither the member of a subsystem nor the subsystems of a member.
    Client(ClientId),
    /// Whoever is in a local group.
    LocalGroup(LocalGroupId),
    /// Whoever is in a global group.
    GlobalGroup(GlobalGroupId),
}

/// For what a right is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// For the service as a whole.
    Service,
    /// For these of its endpoints.
    Endpoints(Vec<Endpoint>),
}

/// The rights to one service, indexed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    clients: HashMap<ClientId, Vec<Reach>>,
    local_groups: Vec<(LocalGroupId, Reach)>,
    global_groups: Vec<(GlobalGroupId, Reach)>,
}

impl Rights {
    /// Whether one of the rights covers the request.
    fn allow(&self, request: &Request, local: &LocalGroups, global: &impl GlobalGroups) -> bool {
        self.of(&request.header().client, local, global).any(|reach| reach.covers(request))
    }

    /// What a client was given.
    fn of<'a>(
        &'a self,
        client: &'a ClientId,
        local: &'a LocalGroups,
        global: &'a impl GlobalGroups,
    ) -> impl Iterator<Item = &'a Reach> {
        let own = self.clients.get(client).into_iter().flatten();
        let by_local = self.local_groups.iter().filter(|(group, _)| local.has(group, client));
        let by_global = self.global_groups.iter().filter(|(group, _)| global.has(group, client));
        own.chain(by_local.map(|(_, reach)| reach)).chain(by_global.map(|(_, reach)| reach))
    }
}

impl FromIterator<(Subject, Reach)> for Rights {
    fn from_iter<I: IntoIterator<Item = (Subject, Reach)>>(given: I) -> Self {
        let mut rights = Self::default();
        for (subject, reach) in given {
            match subject {
                Subject::Client(client) => rights.clients.entry(client).or_default().push(reach),
                Subject::LocalGroup(group) => rights.local_groups.push((group, reach)),
                Subject::GlobalGroup(group) => rights.global_groups.push((group, reach)),
            }
        }
        rights
    }
}

impl Reach {
    /// Whether it reaches anything.
    pub fn is_something(&self) -> bool {
        !matches!(self, Self::Endpoints(endpoints) if endpoints.is_empty())
    }

    /// Whether another right, to this endpoint, would add nothing.
    pub fn includes(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Service => true,
            Self::Endpoints(endpoints) => endpoints.iter().any(|own| own.includes(endpoint)),
        }
    }

    /// SOAP has no endpoints.
    fn covers(&self, request: &Request) -> bool {
        match (self, request) {
            (Self::Service, _) => true,
            (Self::Endpoints(_), Request::Soap(_)) => false,
            (Self::Endpoints(endpoints), Request::Rest(request)) => {
                endpoints.iter().any(|endpoint| endpoint.matches(request.verb, &request.service_path))
            }
        }
    }
}

/// Decides whether a request may go on to its service; `access` is what is set for the service asked for.
///
/// # Errors
/// [`AccessError`].
pub fn authorize<M: AsRef<Request>>(
    message: M,
    access: Option<Access<'_>>,
    global: &impl GlobalGroups,
    rules: PathRules,
) -> Result<Authorized<M>, AccessError> {
    let service = match access.ok_or(AccessError::UnknownService)? {
        Access::Everybody => return Ok(Authorized { message }),
        Access::Nobody => return Err(AccessError::Denied),
        Access::Holders(service) => service,
    };
    let request = message.as_ref();
    if request.protocol() != service.protocol {
        return Err(AccessError::OtherProtocol);
    }
    if let Request::Rest(request) = request {
        request.service_path.check(rules)?;
    }
    if !service.rights.allow(request, &service.groups, global) {
        return Err(AccessError::Denied);
    }
    match &service.disabled {
        Some(notice) => Err(AccessError::Disabled { notice: notice.clone() }),
        None => Ok(Authorized { message }),
    }
}

#[cfg(test)]
mod tests;
