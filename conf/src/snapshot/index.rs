//! Builds a [`GlobalConf`]: reads the parts of each instance and fills the look-up tables. One pass; what
//! the model holds is moved, not copied.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::UnixTime;
use cert_authority::crypto::{Digest, Hasher};
use cert_authority::x509::Certificate;

use super::{Ca, Client, GlobalConf, Instance, InstanceParts, SECURITY_SERVER_OWNERS, SecurityServer};
use crate::certificate_profile::CertificateProfile;
use crate::directory::PartKind;
use crate::error::ConfError;
use crate::identifier::{ClientId, GlobalGroupId, ServerId};
use crate::optional_parts::{
    OptionalParts, read_fetch_interval, read_monitoring, read_next_update, read_quic,
};
use crate::private_params::PrivateParams;
use crate::shared_params::{ApprovedCa, CaInfo, GlobalGroup, Member, Server, SharedParams};

/// The hashes by which servers know their authentication certificates: SHA-256, in version 2 SHA-1.
pub(super) fn certificate_hashes(certificate: &Certificate) -> impl Iterator<Item = Digest> {
    [DigestAlgorithm::Sha256, DigestAlgorithm::Sha1]
        .into_iter()
        .map(|algorithm| certificate.fingerprint(algorithm))
}

pub(super) fn build(
    own: &str,
    mut instances: Vec<InstanceParts>,
    at: Option<UnixTime>,
) -> Result<GlobalConf, ConfError> {
    // The own instance first: what it says about a certificate counts before what others say.
    instances.sort_by(|a, b| (a.instance != own, &a.instance).cmp(&(b.instance != own, &b.instance)));
    let digest = digest(&instances);
    let mut instances = instances.into_iter();
    let parts = instances
        .next()
        .filter(|parts| parts.instance == own)
        .ok_or_else(|| ConfError::Missing(own.to_owned()))?;
    let shared = read_shared(&parts)?;
    let mut conf = GlobalConf {
        own: own.to_owned(),
        digest,
        ignored: Vec::new(),
        instances: BTreeMap::new(),
        ocsp_freshness: shared.settings.ocsp_freshness,
        tsas: shared.approved_tsas.clone(),
        private: read_private(&parts)?,
        optional: read_optional(&parts)?,
        members: HashMap::new(),
        clients: HashSet::new(),
        servers: HashMap::new(),
        servers_of: HashMap::new(),
        server_by_auth_cert: HashMap::new(),
        groups: HashMap::new(),
        cas: HashMap::new(),
        ocsp_responders: HashMap::new(),
        anchors: Vec::new(),
        intermediates: Vec::new(),
        tsa_certificates: Vec::new(),
    };
    conf.add(&parts, shared)?;
    for parts in instances {
        if let Err(error) = add_foreign(&mut conf, &parts, at) {
            conf.ignored.push((parts.instance, error));
        }
    }
    Ok(conf)
}

/// Reads everything before anything is added: half an instance would be worse than none.
fn add_foreign(conf: &mut GlobalConf, parts: &InstanceParts, at: Option<UnixTime>) -> Result<(), ConfError> {
    match (parts.expires, at) {
        (Some(expires), Some(now)) if now > expires => {
            return Err(ConfError::Expired { instance: parts.instance.clone(), at: expires });
        }
        _ => {}
    }
    if conf.instances.contains_key(&parts.instance) {
        return Err(ConfError::DuplicatePart(parts.instance.clone()));
    }
    conf.add(parts, read_shared(parts)?)
}

impl GlobalConf {
    fn add(&mut self, parts: &InstanceParts, shared: SharedParams) -> Result<(), ConfError> {
        let version = parts.required(&PartKind::SharedParameters)?.version();
        let servers =
            shared.servers.into_iter().map(|server| security_server(server, version.certificate_hash()));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let groups = groups(&shared.instance, shared.global_groups, &servers)?;

        self.members.reserve(shared.members.len());
        self.clients.reserve(shared.members.len() * 2);
        self.servers_of.reserve(shared.members.len());
        let mut clients = Vec::with_capacity(shared.members.len() * 2);
        shared.members.into_iter().for_each(|member| self.add_member(member, &mut clients));
        servers.into_iter().for_each(|server| self.add_server(server));
        self.groups.extend(groups);
        for ca in shared.approved_cas {
            self.add_ca(&shared.instance, ca);
        }
        self.tsa_certificates.extend(shared.approved_tsas.into_iter().map(|tsa| tsa.certificate));
        self.instances.insert(
            shared.instance,
            Instance {
                version,
                expires: parts.expires,
                sources: shared.sources,
                member_classes: shared.settings.member_classes,
                clients,
            },
        );
        Ok(())
    }

    fn add_member(&mut self, member: Member, clients: &mut Vec<Client>) {
        let name: Arc<str> = member.name.into();
        let id = ClientId::from(member.id.clone());
        self.clients.insert(id.clone());
        clients.push(Client { id, member_name: Arc::clone(&name), subsystem_name: None });
        for subsystem in member.subsystems {
            self.clients.insert(subsystem.id.clone());
            let member_name = Arc::clone(&name);
            clients.push(Client { id: subsystem.id, member_name, subsystem_name: subsystem.name });
        }
        self.members.insert(member.id, name);
    }

    fn add_server(&mut self, server: SecurityServer) {
        let server = Arc::new(server);
        for client in &server.clients {
            self.servers_of.entry(client.clone()).or_default().push(Arc::clone(&server));
        }
        for hash in &server.auth_cert_hashes {
            self.server_by_auth_cert.entry(hash.clone()).or_insert_with(|| Arc::clone(&server));
        }
        self.servers.insert(server.id.clone(), server);
    }

    fn add_ca(&mut self, instance: &str, ca: ApprovedCa) {
        let profile = CertificateProfile::from_class_name(&ca.certificate_profile);
        self.anchors.push(ca.top.certificate.clone());
        self.intermediates.extend(ca.intermediates.iter().map(|info| info.certificate.clone()));
        for CaInfo { certificate, ocsp } in std::iter::once(ca.top).chain(ca.intermediates) {
            self.cas.entry(certificate.subject().clone()).or_default().push(Ca {
                instance: instance.to_owned(),
                name: ca.name.clone(),
                certificate: certificate.clone(),
                authentication_only: ca.authentication_only,
                profile: profile.clone(),
            });
            let responders = self.ocsp_responders.entry(certificate).or_default();
            for responder in ocsp {
                if !responders.contains(&responder) {
                    responders.push(responder);
                }
            }
        }
    }
}

/// A hash of another length than the version's belongs to no certificate, and is left out.
fn security_server(server: Server, hash: DigestAlgorithm) -> Result<SecurityServer, ConfError> {
    let owner = ClientId::from(server.owner.clone());
    let identifier =
        |error: crate::error::IdentifierError| ConfError::malformed("shared-params.xml", error.into());
    Ok(SecurityServer {
        id: ServerId::new(server.owner, server.code).map_err(identifier)?,
        address: server.address,
        auth_cert_hashes: server
            .auth_cert_hashes
            .into_iter()
            .filter(|bytes| bytes.len() == hash.output_len())
            .collect(),
        clients: server.clients.into_iter().chain([owner]).collect(),
        maintenance: server.maintenance.map(|maintenance| maintenance.message.unwrap_or_default()),
    })
}

/// The groups of an instance. A configuration lists the owners of servers itself; if not, they are added.
fn groups(
    instance: &str,
    groups: Vec<GlobalGroup>,
    servers: &[SecurityServer],
) -> Result<HashMap<GlobalGroupId, HashSet<ClientId>>, ConfError> {
    let id = |code: &str| {
        GlobalGroupId::new(instance, code)
            .map_err(|error| ConfError::malformed("shared-params.xml", error.into()))
    };
    let mut found = HashMap::with_capacity(groups.len() + 1);
    for group in groups {
        found.insert(id(&group.code)?, group.members.into_iter().collect());
    }
    let owners = || servers.iter().map(|server| server.id.owner().clone().into()).collect();
    found.entry(id(SECURITY_SERVER_OWNERS)?).or_insert_with(owners);
    Ok(found)
}

fn read_shared(parts: &InstanceParts) -> Result<SharedParams, ConfError> {
    let part = parts.required(&PartKind::SharedParameters)?;
    let shared = SharedParams::read(part.bytes(), part.version())?;
    same_instance(parts, &shared.instance)?;
    Ok(shared)
}

fn read_private(parts: &InstanceParts) -> Result<Option<PrivateParams>, ConfError> {
    let Some(part) = parts.part(&PartKind::PrivateParameters) else { return Ok(None) };
    let private = PrivateParams::read(part.bytes(), part.version())?;
    same_instance(parts, &private.instance)?;
    Ok(Some(private))
}

fn read_optional(parts: &InstanceParts) -> Result<OptionalParts, ConfError> {
    let bytes = |kind| parts.part(&kind).map(|part| part.bytes());
    let mut optional = OptionalParts::default();
    if let Some(bytes) = bytes(PartKind::Monitoring) {
        optional.monitoring_client = read_monitoring(bytes)?;
    }
    if let Some(bytes) = bytes(PartKind::OcspNextUpdate) {
        optional.verify_next_update = read_next_update(bytes)?;
    }
    if let Some(bytes) = bytes(PartKind::OcspFetchInterval) {
        optional.fetch_interval = read_fetch_interval(bytes)?;
    }
    if let Some(bytes) = bytes(PartKind::Quic) {
        optional.quic = read_quic(bytes)?;
    }
    Ok(optional)
}

fn same_instance(parts: &InstanceParts, found: &str) -> Result<(), ConfError> {
    if found == parts.instance {
        return Ok(());
    }
    Err(ConfError::OtherInstance { expected: parts.instance.clone(), found: found.to_owned() })
}

/// Names and lengths are hashed too, so that no two sets of parts look alike.
fn digest(instances: &[InstanceParts]) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    for instance in instances {
        let mut parts: Vec<_> = instance.parts.iter().collect();
        parts.sort_by_key(|part| part.file_name());
        for part in parts {
            let head = format!("{}\0{}\0{}\0", instance.instance, part.file_name(), part.bytes().len());
            hasher.update(head.as_bytes());
            hasher.update(part.bytes());
        }
    }
    hasher.finish()
}
