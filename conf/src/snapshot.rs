//! The global configuration as a gateway asks it: one immutable view, every question a look-up.
//!
//! ```text
//! anchor -> signed directory -> parts -> InstanceParts of each instance -> GlobalConf
//!                                        (downloaded, or kept on disk)     (shared as Arc, replaced whole)
//! ```
//!
//! The own instance must be sound, or there is no view at all. A federated instance that has expired or cannot
//! be read is left out and told in [`GlobalConf::ignored`]: it must not stop us. What one instance says is
//! never taken as said by another: members, servers and groups are named within the instance that names them.
//!
//! Specification: PR-GCONF; X-Road 7.8 decides what follows from it (`GlobalConfImpl`).
//!
//! Not here: whether the configuration has expired ([`crate::client`] asks [`GlobalConf::expires`]), OCSP.

mod index;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::UnixTime;
use cert_authority::crypto::Digest;
use cert_authority::x509::chain::{self, ValidChain};
use cert_authority::x509::{Certificate, Name};

use crate::certificate_profile::CertificateProfile;
use crate::directory::kept;
use crate::error::{ConfError, ProfileError};
use crate::identifier::{ClientId, GlobalGroupId, MemberId, ServerId};
use crate::optional_parts::OptionalParts;
use crate::private_params::PrivateParams;
use crate::shared_params::{ApprovedTsa, MemberClass, OcspResponder, Source};
use crate::version::Version;

pub use crate::directory::kept::InstanceParts;

/// The global group of all owners of servers.
pub const SECURITY_SERVER_OWNERS: &str = "security-server-owners";

/// One view of the configurations of all instances. Made by [`GlobalConf::build`] or [`GlobalConf::load_dir`].
#[derive(Debug)]
pub struct GlobalConf {
    own: String,
    digest: Digest,
    ignored: Vec<(String, ConfError)>,
    instances: BTreeMap<String, Instance>,
    ocsp_freshness: Duration,
    tsas: Vec<ApprovedTsa>,
    private: Option<PrivateParams>,
    optional: OptionalParts,
    members: HashMap<MemberId, Arc<str>>,
    clients: HashSet<ClientId>,
    servers: HashMap<ServerId, Arc<SecurityServer>>,
    servers_of: HashMap<ClientId, Vec<Arc<SecurityServer>>>,
    server_by_auth_cert: HashMap<Vec<u8>, Arc<SecurityServer>>,
    groups: HashMap<GlobalGroupId, HashSet<ClientId>>,
    cas: HashMap<Name, Vec<Ca>>,
    ocsp_responders: HashMap<Certificate, Vec<OcspResponder>>,
    anchors: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    tsa_certificates: Vec<Certificate>,
}

/// What belongs to one instance and is asked seldom.
#[derive(Debug)]
pub struct Instance {
    /// The version of its shared parameters.
    pub version: Version,
    /// Until when its configuration is valid.
    pub expires: Option<UnixTime>,
    /// Where its configuration can be had.
    pub sources: Vec<Source>,
    /// Its member classes.
    pub member_classes: Vec<MemberClass>,
    /// Its members and subsystems, in the order of the configuration.
    pub clients: Vec<Client>,
}

/// A member or subsystem with its names, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Who it is.
    pub id: ClientId,
    /// The name of the member.
    pub member_name: Arc<str>,
    /// The name of the subsystem.
    pub subsystem_name: Option<String>,
}

/// A security server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityServer {
    /// Who it is.
    pub id: ServerId,
    /// Host name or address; a server without one only asks.
    pub address: Option<String>,
    /// Hashes of its authentication certificates.
    pub auth_cert_hashes: Vec<Vec<u8>>,
    /// Who uses it: its owner, and those registered.
    pub clients: HashSet<ClientId>,
    /// It is closed for work on it; the text is for consumers and may be empty.
    pub maintenance: Option<String>,
}

/// An approved certification authority of one instance.
#[derive(Debug)]
struct Ca {
    instance: String,
    name: String,
    certificate: Certificate,
    authentication_only: bool,
    profile: Result<CertificateProfile, ProfileError>,
}

impl GlobalConf {
    /// Builds a view from the parts of all instances. Federated instances that have expired `at` this time are
    /// left out; without a time, expiry is ignored.
    pub fn build(own: &str, instances: Vec<InstanceParts>, at: Option<UnixTime>) -> Result<Self, ConfError> {
        index::build(own, instances, at)
    }

    /// Loads a directory as X-Road keeps it, or an unpacked `/verificationconf`; expiry is ignored.
    pub fn load_dir(path: impl AsRef<Path>) -> Result<Self, ConfError> {
        let path = path.as_ref();
        let unpacked = path.join("verificationconf");
        let path = if !path.join(kept::INSTANCE_IDENTIFIER).exists() && unpacked.is_dir() {
            &unpacked
        } else {
            path
        };
        Self::build(&kept::own_instance(path)?, kept::read(path)?, None)
    }

    // -- the view itself ------------------------------------------------------------------------------------

    /// The own instance.
    pub fn own_instance(&self) -> &str {
        &self.own
    }

    /// All instances, by name.
    pub fn instances(&self) -> impl Iterator<Item = &str> {
        self.instances.keys().map(String::as_str)
    }

    /// What is asked seldom of an instance.
    pub fn instance(&self, instance: &str) -> Option<&Instance> {
        self.instances.get(instance)
    }

    /// Instances that were left out, and why.
    pub fn ignored(&self) -> &[(String, ConfError)] {
        &self.ignored
    }

    /// Until when the configuration of the own instance is valid: then everything stops.
    pub fn expires(&self) -> Option<UnixTime> {
        self.instances.get(&self.own).and_then(|own| own.expires)
    }

    /// When the first federated instance expires: then the view has to be built anew, without it.
    pub fn first_foreign_expiry(&self) -> Option<UnixTime> {
        let foreign = self.instances.iter().filter(|(instance, _)| **instance != self.own);
        foreign.filter_map(|(_, instance)| instance.expires).min()
    }

    /// SHA-256 over the bytes of all parts: the same parts give the same digest, wherever they came from.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The private parameters of the own instance; an unpacked `/verificationconf` has none.
    pub fn private(&self) -> Option<&PrivateParams> {
        self.private.as_ref()
    }

    // -- members and servers --------------------------------------------------------------------------------

    /// The name of a member, if there is such a member.
    pub fn member_name(&self, member: &MemberId) -> Option<&str> {
        self.members.get(member).map(|name| &**name)
    }

    /// Whether there is such a member or subsystem.
    pub fn client_exists(&self, client: &ClientId) -> bool {
        self.clients.contains(client)
    }

    /// The servers that a client uses, its own included.
    pub fn servers_of(&self, client: &ClientId) -> &[Arc<SecurityServer>] {
        self.servers_of.get(client).map_or(&[], Vec::as_slice)
    }

    /// A server.
    pub fn server(&self, server: &ServerId) -> Option<&Arc<SecurityServer>> {
        self.servers.get(server)
    }

    /// The server that has registered this authentication certificate.
    pub fn server_by_auth_cert(&self, certificate: &Certificate) -> Option<&Arc<SecurityServer>> {
        index::certificate_hashes(certificate).find_map(|hash| self.server_by_auth_cert.get(hash.as_ref()))
    }

    /// Whether a client is registered at a server, or owns it.
    pub fn server_has_client(&self, server: &ServerId, client: &ClientId) -> bool {
        self.server(server).is_some_and(|server| server.clients.contains(client))
    }

    /// Whether this is the authentication certificate of a server that the client uses.
    pub fn auth_cert_matches(&self, certificate: &Certificate, client: &ClientId) -> bool {
        let hashes: Vec<_> = index::certificate_hashes(certificate).collect();
        let servers = self.servers_of(client).iter();
        servers
            .flat_map(|server| &server.auth_cert_hashes)
            .any(|known| hashes.iter().any(|hash| hash.as_ref() == known))
    }

    /// Whether a client is in a global group. The group `security-server-owners` is always there.
    pub fn global_group_has(&self, group: &GlobalGroupId, client: &ClientId) -> bool {
        self.groups.get(group).is_some_and(|members| members.contains(client))
    }

    /// The global groups.
    pub fn global_groups(&self) -> impl Iterator<Item = &GlobalGroupId> {
        self.groups.keys()
    }

    // -- trust ----------------------------------------------------------------------------------------------

    /// The member whose signing certificate this is, as the profile of the authority that has issued it says.
    /// Only authorities approved by the instance in question count. Proves the issuer's signature, but not that
    /// the certificate is valid now: that is [`GlobalConf::chain`] and OCSP.
    pub fn member_of_signing_cert(
        &self,
        certificate: &Certificate,
        instance: &str,
    ) -> Result<MemberId, ConfError> {
        let subject = || certificate.subject().to_string();
        if !certificate.key_usage().is_some_and(|usage| usage.non_repudiation()) {
            return Err(ConfError::NotASigningCertificate(subject()));
        }
        let ca = self
            .cas
            .get(certificate.issuer())
            .into_iter()
            .flatten()
            .find(|ca| ca.instance == instance && certificate.verify_issued_by(&ca.certificate).is_ok())
            .ok_or_else(|| ConfError::UnknownCa { instance: instance.to_owned(), subject: subject() })?;
        if ca.authentication_only {
            return Err(ConfError::AuthenticationOnlyCa(ca.name.clone()));
        }
        Ok(ca.profile.clone()?.member(certificate.subject(), instance)?)
    }

    /// A valid path from a certificate to an approved authority, through approved intermediate authorities and
    /// those given.
    pub fn chain(
        &self,
        certificate: &Certificate,
        extra_intermediates: &[Certificate],
        at: UnixTime,
    ) -> Result<ValidChain, ConfError> {
        let intermediates: Vec<_> = self.intermediates.iter().chain(extra_intermediates).cloned().collect();
        Ok(chain::build(certificate, &intermediates, &self.anchors, at)?)
    }

    /// The certificates of all approved authorities: trust anchors, then intermediates.
    pub fn ca_certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter().chain(&self.intermediates)
    }

    /// Who answers for what this authority has issued.
    pub fn ocsp_responders(&self, issuer: &Certificate) -> &[OcspResponder] {
        self.ocsp_responders.get(issuer).map_or(&[], Vec::as_slice)
    }

    /// How old an OCSP response may be, and whether its `nextUpdate` counts.
    pub fn ocsp_policy(&self) -> (Duration, bool) {
        (self.ocsp_freshness, self.optional.verify_next_update)
    }

    /// How often OCSP responses are to be fetched.
    pub fn fetch_interval(&self) -> Duration {
        self.optional.fetch_interval
    }

    /// The UDP port at which a server speaks QUIC, if the authority says so.
    pub fn quic_port(&self, server: &ServerId) -> Option<u16> {
        self.optional.quic.get(server).copied()
    }

    /// Who may ask for monitoring data.
    pub fn monitoring_client(&self) -> Option<&ClientId> {
        self.optional.monitoring_client.as_ref()
    }

    /// The time-stamping authorities of the own instance.
    pub fn tsas(&self) -> &[ApprovedTsa] {
        &self.tsas
    }

    /// The certificates of the time-stamping authorities of all instances.
    pub fn tsa_certificates(&self) -> &[Certificate] {
        &self.tsa_certificates
    }

    /// How often logged messages are to be time-stamped.
    pub fn timestamping_interval(&self) -> Duration {
        self.private.as_ref().map_or(DEFAULT_TIMESTAMPING_INTERVAL, |private| private.timestamping_interval)
    }
}

/// What an authority of X-Road uses unless told otherwise.
const DEFAULT_TIMESTAMPING_INTERVAL: Duration = Duration::from_secs(60);
