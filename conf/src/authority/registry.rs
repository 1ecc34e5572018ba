//! `authority.toml` as it is meant: certificates read, identifiers resolved, everything checked against the rest.
//!
//! All faults are collected and reported together, each with its line and key. A [`Registry`] that exists is sound:
//! publishing it cannot fail for what it says.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::crypto::{Digest, Hasher};
use cert_authority::settings::{Problem, Problems, Text};
use cert_authority::tlog::settings::WitnessSettings;
use cert_authority::x509::Certificate;

use super::check::{Check, is_host};
use super::file::{self, Cost, File, RequestFormat};
use crate::anchor::Anchor;
use crate::identifier::{ClientId, MemberId, ServerId};
use crate::optional_parts::{MIN_FETCH_INTERVAL, OptionalParts};
use crate::private_params::{ManagementService, PrivateParams};
use crate::shared_params::{
    AcmeServer, ApprovedCa, ApprovedTsa, CaInfo, CostType, CsrFormat, GlobalGroup, GlobalSettings,
    Maintenance, Member, MemberClass, OcspResponder, Server, SharedParams, Subsystem,
};
use crate::snapshot::SECURITY_SERVER_OWNERS;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7001);

/// Everything that an authority publishes, and how.
#[derive(Debug)]
pub struct Registry {
    /// The shared parameters; their sources are filled in from [`Registry::addresses`] and the signing keys.
    pub shared: SharedParams,
    /// The private parameters.
    pub private: PrivateParams,
    /// The optional parts.
    pub optional: OptionalParts,
    /// Hosts that the configuration is fetched from.
    pub addresses: Vec<String>,
    /// The public folder.
    pub directory: PathBuf,
    /// Where `serve` listens.
    pub listen: SocketAddr,
    /// How often the configuration is published.
    pub every: Duration,
    /// How long it is valid.
    pub validity: Duration,
    /// The folder of the signing keys.
    pub keys: PathBuf,
    /// The file of their PIN.
    pub pin: PathBuf,
    /// Being a witness of logs; `None` for not.
    pub witness: Option<WitnessSettings>,
    /// Every file that was read.
    pub files: Vec<PathBuf>,
    /// Digest over the content of these files.
    pub digest: Digest,
}

/// Why a register cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problems: Problems,
}

impl std::error::Error for RegistryError {}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:\n{}", self.path.display(), self.problems)
    }
}

impl Registry {
    /// Reads the file and all that it names.
    ///
    /// # Errors
    /// All faults, together.
    pub fn load(path: &Path) -> Result<Self, RegistryError> {
        let failed = |problems| RegistryError { path: path.to_owned(), problems };
        let text = std::fs::read_to_string(path).map_err(|error| {
            failed(Problems(vec![Problem {
                line: None,
                key: "the file".to_owned(),
                reason: error.to_string(),
            }]))
        })?;
        let file = File::parse(&text).map_err(failed)?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut check = Check::new(&text, folder, path.to_owned());
        match check.registry(&file) {
            Some(registry) => check.problems.or(registry).map_err(failed),
            // What stands in the way has been told.
            None => Err(failed(check.problems.or(()).err().unwrap_or_default())),
        }
    }
}

impl Check<'_> {
    fn registry(&mut self, file: &File) -> Option<Registry> {
        file.instance.get_ref().clone_into(&mut self.instance);
        let classes: Vec<_> = file
            .classes
            .iter()
            .map(|(code, description)| MemberClass { code: code.clone(), description: description.clone() })
            .collect();
        let members = self.members(file, &classes);
        let cas = self.cas(file);
        let freshness =
            self.duration("ocsp.freshness", file.ocsp.freshness.as_ref(), Duration::from_secs(3600));
        let shared = SharedParams {
            instance: self.instance.clone(),
            sources: Vec::new(),
            approved_tsas: self.tsas(file),
            servers: self.servers(file, &cas),
            global_groups: self.groups(file),
            approved_cas: cas,
            members,
            settings: GlobalSettings { member_classes: classes, ocsp_freshness: freshness },
        };
        let every = self.duration("publish.every", file.publish.every.as_ref(), Duration::from_secs(60));
        let validity =
            self.duration("publish.validity", file.publish.validity.as_ref(), Duration::from_secs(600));
        if validity <= every {
            let key = file.publish.validity.as_ref().or(file.publish.every.as_ref());
            self.problem(key, "publish.validity", "must be longer than publish.every");
        }
        let optional = self.optional_parts(file);
        let addresses = self.addresses(file);
        Some(Registry {
            shared,
            private: self.private(file)?,
            optional,
            addresses,
            directory: self.folder.join(file.publish.directory.get_ref()),
            listen: file.publish.listen.as_ref().map_or(DEFAULT_LISTEN, |listen| *listen.get_ref()),
            every,
            validity,
            keys: self.folder.join(file.signing.keys.get_ref()),
            pin: self.folder.join(file.signing.pin.get_ref()),
            witness: file
                .witness
                .as_ref()
                .map(|witness| witness.resolve(self.text, &self.folder, &mut self.problems)),
            files: std::mem::take(&mut self.files),
            digest: std::mem::replace(&mut self.hasher, Hasher::new(DigestAlgorithm::Sha256)).finish(),
        })
    }

    fn optional_parts(&mut self, file: &File) -> OptionalParts {
        let default = OptionalParts::default();
        let interval = file.ocsp.fetch_interval.as_ref();
        let fetch_interval = self.duration("ocsp.fetch_interval", interval, default.fetch_interval);
        if fetch_interval < MIN_FETCH_INTERVAL {
            self.problem(interval, "ocsp.fetch_interval", "must be at least 60 s");
        }
        let client = file.monitoring.client.as_ref();
        let quic = file.server.iter().filter_map(|server| {
            let owner: MemberId = server.owner.get_ref().parse().ok()?;
            let id = ServerId::new(owner, server.code.get_ref().as_str()).ok()?;
            Some((id, server.quic.as_ref()?.get_ref().get()))
        });
        OptionalParts {
            quic: quic.collect(),
            monitoring_client: client.and_then(|client| self.known_client(client, "monitoring.client")),
            verify_next_update: file.ocsp.check_next_update.unwrap_or(default.verify_next_update),
            fetch_interval,
        }
    }

    fn addresses(&mut self, file: &File) -> Vec<String> {
        if file.sources.is_empty() {
            self.problem(None, "sources", "at least one is needed");
        }
        for source in &file.sources {
            if source.get_ref().parse::<http::uri::Authority>().is_err() || source.get_ref().contains('@') {
                self.problem(Some(source), "sources", "is no host or host:port");
            }
        }
        file.sources.iter().map(|source| source.get_ref().clone()).collect()
    }

    fn members(&mut self, file: &File, classes: &[MemberClass]) -> Vec<Member> {
        let mut members = Vec::new();
        for (n, entry) in file.member.iter().enumerate() {
            let key = |name: &str| format!("member[{}].{name}", n + 1);
            let id: MemberId = match entry.id.get_ref().parse() {
                Ok(id) => id,
                Err(error) => {
                    self.problem(Some(&entry.id), &key("id"), error);
                    continue;
                }
            };
            if let Err(error) = id.check_registrable() {
                self.problem(Some(&entry.id), &key("id"), error);
            }
            if id.instance() != self.instance {
                self.problem(Some(&entry.id), &key("id"), format!("is not of instance {}", self.instance));
            }
            if !classes.iter().any(|class| class.code == id.class()) {
                let reason = format!("class {} does not stand under [classes]", id.class());
                self.problem(Some(&entry.id), &key("id"), reason);
            }
            if !self.members.insert(id.clone()) {
                self.problem(Some(&entry.id), &key("id"), "stands here twice");
            }
            self.clients.insert(id.clone().into());
            let mut subsystems = Vec::new();
            for subsystem in &entry.subsystems {
                match id.subsystem(subsystem.code.get_ref().as_str()) {
                    Ok(client) => {
                        if let Err(error) = client.check_registrable() {
                            self.problem(Some(&subsystem.code), &key("subsystems"), error);
                        }
                        if !self.clients.insert(client.clone()) {
                            self.problem(Some(&subsystem.code), &key("subsystems"), "stands here twice");
                        }
                        subsystems.push(Subsystem { id: client, name: subsystem.name.clone() });
                    }
                    Err(error) => self.problem(Some(&subsystem.code), &key("subsystems"), error),
                }
            }
            self.not_empty(&entry.name, &key("name"));
            members.push(Member { id, name: entry.name.get_ref().clone(), subsystems });
        }
        members
    }

    fn servers(&mut self, file: &File, cas: &[ApprovedCa]) -> Vec<Server> {
        let mut servers = Vec::new();
        let mut codes = HashSet::new();
        let mut certificates_seen = HashSet::new();
        for (n, entry) in file.server.iter().enumerate() {
            let key = |name: &str| format!("server[{}].{name}", n + 1);
            let Some(owner) = self.known_member(&entry.owner, &key("owner")) else { continue };
            if !codes.insert((owner.clone(), entry.code.get_ref())) {
                self.problem(
                    Some(&entry.code),
                    &key("code"),
                    "this owner has a server with this code already",
                );
            }
            self.not_empty(&entry.code, &key("code"));
            if !is_host(entry.address.get_ref()) {
                self.problem(
                    Some(&entry.address),
                    &key("address"),
                    "is no host name or address without port",
                );
            }
            let mut auth_cert_hashes = Vec::new();
            for path in &entry.certificates {
                let Some(certificate) = self.certificate(path, &key("certificates")) else { continue };
                let hash = certificate.fingerprint(DigestAlgorithm::Sha256).as_ref().to_vec();
                if !certificates_seen.insert(hash.clone()) {
                    self.problem(
                        Some(path),
                        &key("certificates"),
                        "belongs to two servers, or stands here twice",
                    );
                }
                if !is_issued_by_one_of(&certificate, cas) {
                    self.problem(Some(path), &key("certificates"), "is not issued by any CA of this file");
                }
                auth_cert_hashes.push(hash);
            }
            let clients: BTreeSet<_> = entry
                .clients
                .iter()
                .filter_map(|client| self.known_client(client, &key("clients")))
                .collect();
            servers.push(Server {
                clients: clients
                    .into_iter()
                    .filter(|client| *client != ClientId::from(owner.clone()))
                    .collect(),
                owner,
                code: entry.code.get_ref().clone(),
                address: Some(entry.address.get_ref().clone()),
                auth_cert_hashes,
                maintenance: entry
                    .maintenance
                    .as_ref()
                    .map(|text| Maintenance { message: (!text.is_empty()).then(|| text.clone()) }),
            });
        }
        servers
    }

    fn groups(&mut self, file: &File) -> Vec<GlobalGroup> {
        let owners: BTreeSet<ClientId> = file
            .server
            .iter()
            .filter_map(|server| server.owner.get_ref().parse::<MemberId>().ok())
            .map(ClientId::from)
            .collect();
        let mut groups = vec![GlobalGroup {
            code: SECURITY_SERVER_OWNERS.to_owned(),
            description: "Owners of security servers".to_owned(),
            members: owners.into_iter().collect(),
        }];
        for (n, entry) in file.group.iter().enumerate() {
            let key = |name: &str| format!("group[{}].{name}", n + 1);
            let code = entry.code.get_ref();
            self.not_empty(&entry.code, &key("code"));
            if code == SECURITY_SERVER_OWNERS {
                self.problem(Some(&entry.code), &key("code"), "this group keeps itself");
            } else if groups.iter().any(|group| group.code == *code) {
                self.problem(Some(&entry.code), &key("code"), "stands here twice");
            }
            let members: BTreeSet<_> =
                entry.members.iter().filter_map(|member| self.any_client(member, &key("members"))).collect();
            groups.push(GlobalGroup {
                code: code.clone(),
                description: entry.description.get_ref().clone(),
                members: members.into_iter().collect(),
            });
        }
        groups
    }

    fn cas(&mut self, file: &File) -> Vec<ApprovedCa> {
        let mut cas = Vec::new();
        for (n, entry) in file.ca.iter().enumerate() {
            let key = |name: &str| format!("ca[{}].{name}", n + 1);
            self.not_empty(&entry.name, &key("name"));
            let Some(top) = self.ca_info(&entry.certificate, &entry.ocsp, &key("certificate")) else {
                continue;
            };
            let intermediates = entry
                .intermediate
                .iter()
                .filter_map(|ca| self.ca_info(&ca.certificate, &ca.ocsp, &key("intermediate")))
                .collect();
            let Some(certificate_profile) = profile_class(entry.profile.get_ref()) else {
                let reason = "is neither a profile that is known here nor the class name of another one";
                self.problem(Some(&entry.profile), &key("profile"), reason);
                continue;
            };
            cas.push(ApprovedCa {
                name: entry.name.get_ref().clone(),
                authentication_only: entry.authentication_only,
                top,
                intermediates,
                certificate_profile,
                default_csr_format: entry.request_format.map(|format| match format {
                    RequestFormat::Pem => CsrFormat::Pem,
                    RequestFormat::Der => CsrFormat::Der,
                }),
                acme: entry.acme.as_ref().map(|acme| {
                    self.url(&acme.directory, &key("acme.directory"));
                    AcmeServer {
                        directory_url: acme.directory.get_ref().clone(),
                        ip_address: acme.ip_address.clone(),
                        authentication_profile: acme.authentication_profile.clone(),
                        signing_profile: acme.signing_profile.clone(),
                    }
                }),
            });
        }
        cas
    }

    fn ca_info(&mut self, path: &Text, responders: &[file::OcspResponder], key: &str) -> Option<CaInfo> {
        let certificate = self.certificate(path, key)?;
        if !certificate.is_ca() {
            self.problem(Some(path), key, "is not the certificate of a certification authority");
        }
        let mut ocsp = Vec::new();
        for responder in responders {
            self.url(&responder.url, "ocsp.url");
            let certificate =
                responder.certificate.as_ref().and_then(|path| self.certificate(path, "ocsp.certificate"));
            ocsp.push(OcspResponder {
                url: responder.url.get_ref().clone(),
                certificate,
                cost: responder.cost.map(cost_type),
            });
        }
        Some(CaInfo { certificate, ocsp })
    }

    fn tsas(&mut self, file: &File) -> Vec<ApprovedTsa> {
        let mut tsas = Vec::new();
        for (n, entry) in file.tsa.iter().enumerate() {
            let key = |name: &str| format!("tsa[{}].{name}", n + 1);
            self.not_empty(&entry.name, &key("name"));
            self.url(&entry.url, &key("url"));
            let Some(certificate) = self.certificate(&entry.certificate, &key("certificate")) else {
                continue;
            };
            tsas.push(ApprovedTsa {
                name: entry.name.get_ref().clone(),
                url: entry.url.get_ref().clone(),
                certificate,
                cost: entry.cost.map(cost_type),
            });
        }
        tsas
    }

    fn private(&mut self, file: &File) -> Option<PrivateParams> {
        let management = &file.management;
        self.url(&management.registration_address, "management.registration_address");
        let registration_certificate = management
            .registration_certificate
            .as_ref()
            .and_then(|path| self.certificate(path, "management.registration_certificate"));
        let provider = self.known_client(&management.provider, "management.provider");
        let mut anchors: HashMap<String, Anchor> = HashMap::new();
        for (n, entry) in file.federated.iter().enumerate() {
            let key = format!("federated[{}].anchor", n + 1);
            let Some(bytes) = self.read(&entry.anchor, &key) else { continue };
            match Anchor::read(&bytes) {
                Ok(anchor) if anchor.instance == self.instance => {
                    self.problem(Some(&entry.anchor), &key, "is an anchor of this instance itself");
                }
                Ok(anchor) => {
                    if let Some(other) = anchors.insert(anchor.instance.clone(), anchor) {
                        let reason = format!("instance {} stands here twice", other.instance);
                        self.problem(Some(&entry.anchor), &key, reason);
                    }
                }
                Err(error) => self.problem(Some(&entry.anchor), &key, error),
            }
        }
        let mut anchors: Vec<Anchor> = anchors.into_values().collect();
        anchors.sort_by(|a, b| a.instance.cmp(&b.instance));
        let timestamping_interval = self.duration(
            "timestamping.interval",
            file.timestamping.interval.as_ref(),
            Duration::from_secs(60),
        );
        Some(PrivateParams {
            instance: self.instance.clone(),
            anchors,
            management: ManagementService {
                auth_cert_registration_address: management.registration_address.get_ref().clone(),
                auth_cert_registration_certificate: registration_certificate.map(|c| c.der().to_vec()),
                provider: provider?,
            },
            timestamping_interval,
        })
    }
}

fn cost_type(cost: Cost) -> CostType {
    match cost {
        Cost::Free => CostType::Free,
        Cost::Paid => CostType::Paid,
    }
}

/// X-Road names a profile by the class that reads it.
fn profile_class(name: &str) -> Option<String> {
    let known = match name {
        "basic" => "Basic",
        "basic-acme" => "BasicACME",
        "ejbca" => "Ejbca",
        "fivrk" => "FiVRK",
        "fo" => "Fo",
        "is" => "Is",
        class if class.contains('.') => return Some(class.to_owned()),
        _ => return None,
    };
    Some(format!("ee.ria.xroad.common.certificateprofile.impl.{known}CertificateProfileInfoProvider"))
}

fn is_issued_by_one_of(certificate: &Certificate, cas: &[ApprovedCa]) -> bool {
    cas.iter()
        .flat_map(|ca| std::iter::once(&ca.top).chain(&ca.intermediates))
        .any(|ca| certificate.verify_issued_by(&ca.certificate).is_ok())
}
