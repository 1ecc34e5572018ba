//! The one model of shared parameters, the same for all versions.

use std::time::Duration;

use cert_authority::x509::Certificate;

use crate::identifier::{ClientId, MemberId};

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedParams {
    /// The code of the instance.
    pub instance: String,
    /// Where the configuration can be had (from version 3).
    pub sources: Vec<Source>,
    /// The certification authorities that are trusted.
    pub approved_cas: Vec<ApprovedCa>,
    /// The time-stamping authorities that are trusted.
    pub approved_tsas: Vec<ApprovedTsa>,
    /// The members with their subsystems.
    pub members: Vec<Member>,
    /// The security servers.
    pub servers: Vec<Server>,
    /// The groups that the authority keeps.
    pub global_groups: Vec<GlobalGroup>,
    /// Policy of the instance.
    pub settings: GlobalSettings,
}

/// A place where the configuration can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Host name or address.
    pub address: String,
    /// Certificates (DER) that verify the internal configuration.
    pub internal_certificates: Vec<Vec<u8>>,
    /// Certificates (DER) that verify the external configuration.
    pub external_certificates: Vec<Vec<u8>>,
}

/// A trusted certification authority.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovedCa {
    /// Its name, for people.
    pub name: String,
    /// Its certificates are good for TLS only, never for signatures.
    pub authentication_only: bool,
    /// The trust anchor.
    pub top: CaInfo,
    /// Further authorities under it.
    pub intermediates: Vec<CaInfo>,
    /// The name of the class that finds the member in a subject: see [`crate::certificate_profile`].
    pub certificate_profile: String,
    /// The format of certificate requests (version 6).
    pub default_csr_format: Option<CsrFormat>,
    /// Its ACME server (from version 3).
    pub acme: Option<AcmeServer>,
}

/// One CA certificate and who answers for what it issued.
#[derive(Debug, Clone, PartialEq)]
pub struct CaInfo {
    /// The certificate.
    pub certificate: Certificate,
    /// OCSP responders for what this authority issues.
    pub ocsp: Vec<OcspResponder>,
}

/// An OCSP responder.
#[derive(Debug, Clone, PartialEq)]
pub struct OcspResponder {
    /// Where it listens.
    pub url: String,
    /// What it signs with, if not the authority itself or one that it delegated to.
    pub certificate: Option<Certificate>,
    /// Whether it costs (version 6).
    pub cost: Option<CostType>,
}

/// A trusted time-stamping authority.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovedTsa {
    /// Its name, for people.
    pub name: String,
    /// Where it listens.
    pub url: String,
    /// What it signs with.
    pub certificate: Certificate,
    /// Whether it costs (version 6).
    pub cost: Option<CostType>,
}

/// Whether a service costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostType {
    /// It does not.
    Free,
    /// It does.
    Paid,
    /// Nobody said.
    Undefined,
}

impl CostType {
    pub(super) const ALL: [(Self, &'static str); 3] =
        [(Self::Free, "FREE"), (Self::Paid, "PAID"), (Self::Undefined, "UNDEFINED")];
}

/// The format of a certificate request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsrFormat {
    /// Base64 between lines.
    Pem,
    /// Binary.
    Der,
}

impl CsrFormat {
    pub(super) const ALL: [(Self, &'static str); 2] = [(Self::Pem, "PEM"), (Self::Der, "DER")];
}

/// An ACME server of a certification authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeServer {
    /// Its directory.
    pub directory_url: String,
    /// Its addresses, for firewalls.
    pub ip_address: Option<String>,
    /// The profile of authentication certificates (from version 4).
    pub authentication_profile: Option<String>,
    /// The profile of signing certificates (from version 4).
    pub signing_profile: Option<String>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub id: MemberId,
    /// Its name, for people.
    pub name: String,
    /// Its subsystems.
    pub subsystems: Vec<Subsystem>,
}

/// A subsystem of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subsystem {
    /// Who it is.
    pub id: ClientId,
    /// Its name, for people (from version 5).
    pub name: Option<String>,
}

/// A security server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The member that answers for it.
    pub owner: MemberId,
    /// Its code among the owner's.
    pub code: String,
    /// Host name or address; a server without one only asks.
    pub address: Option<String>,
    /// Hashes of its authentication certificates, by the algorithm of the version.
    pub auth_cert_hashes: Vec<Vec<u8>>,
    /// Who uses it, besides its owner.
    pub clients: Vec<ClientId>,
    /// It is closed for work on it (from version 5).
    pub maintenance: Option<Maintenance>,
}

/// A server's maintenance mode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintenance {
    /// What consumers are told.
    pub message: Option<String>,
}

/// A group that the authority keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalGroup {
    /// Its code.
    pub code: String,
    /// What it is for.
    pub description: String,
    /// Who is in it.
    pub members: Vec<ClientId>,
}

/// Policy of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalSettings {
    /// The member classes.
    pub member_classes: Vec<MemberClass>,
    /// How old an OCSP response may be.
    pub ocsp_freshness: Duration,
}

/// A member class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberClass {
    /// Its code.
    pub code: String,
    /// What it is for.
    pub description: String,
}
