//! The settings of a gateway: `gateway.toml`, as written and as meant.
//!
//! - `file`: as written: every key optional, places remembered
//! - [`resolve`](Config::load): as meant: addresses, durations, certificates; all faults with line and key, together
//! - [`archive`] as written and meant: archives of the log
//! - `monitoring`: what is kept of exchanges
//! - `hardening`: what the gateway gives up
//! - `postgres`: the database of the log
//! - [`transparency`] as written and meant: checkpoints of the log
//! - `clients`: those who use the gateway, what they offer, and who may call it
//! - `described`: what the descriptions that were taken up say of services and endpoints
//! - [`explain`]: what holds, in words
//!
//! Specification: every key, its default and reason stand in `conf/examples/gateway.toml`; a test holds that file and
//! this part together. Not here: what the parts do with their settings.

pub mod archive;
mod clients;
mod described;
pub mod explain;
mod file;
mod hardening;
mod monitoring;
mod postgres;
mod quic;
mod resolve;
pub mod transparency;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::clocks;
use cert_authority::x509::Certificate;
use conf::identifier::{ClientId, GlobalGroupId, LocalGroupId, ServerId};
use semver::Version;

pub use crate::description::Endpoint;
pub use archive::Archive;
pub use cert_authority::settings::{Problem, Problems};
use cert_authority::tlog::settings::WitnessSettings;
pub use file::{Authentication, Dangerous, Format};
pub use hardening::Hardening;
pub use transparency::Checkpoints;

use crate::admin::Token;
use crate::description::{Document, Source};
use crate::message::Protocol;
use crate::messagelog::{Database, KeyGrouping, replays};
use crate::opmonitor;
use crate::signing;
use crate::transport;

/// Everything that `gateway.toml` says, as meant.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who we are: owner and server code.
    pub server: ServerId,
    /// The global configuration.
    pub configuration: Configuration,
    /// Keys and certificates.
    pub keys: Keys,
    /// How messages are signed.
    pub signing: signing::Settings,
    /// Where messages come in.
    pub doors: Doors,
    /// Limits and timeouts of all traffic, and the ports of the network.
    pub transport: transport::Config,
    /// The oldest release of a consumer's gateway that is served; none for all.
    pub least_peer_version: Option<Version>,
    /// What is done about requests that were seen before.
    pub replays: replays::Settings,
    /// The administration port.
    pub administration: Administration,
    /// The message log.
    pub log: Log,
    /// Archives of the log; `None` for none.
    pub archive: Option<Archive>,
    /// Being a witness of others' logs; `None` for not.
    pub witness: Option<WitnessSettings>,
    /// Time-stamping.
    pub timestamping: Timestamping,
    /// How far our clock may be from others'.
    pub clock: clocks::Limits,
    /// Operational monitoring.
    pub monitoring: opmonitor::Settings,
    /// What the program writes about its work.
    pub output: Output,
    /// What is given up before the first connection is taken.
    pub hardening: Hardening,
    /// Departures from what is safe.
    pub dangerous: Dangerous,
    /// Those who use this gateway, with what they offer.
    pub clients: Vec<Client>,
    /// What is not wrong, but may not be what was meant.
    pub warnings: Problems,
}

/// Where the global configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The anchor.
    pub anchor: PathBuf,
    /// Where the verified configuration is kept.
    pub directory: PathBuf,
    /// How often a new one is asked for.
    pub every: Duration,
}

/// Where keys lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The encrypted keys and their certificates.
    pub directory: PathBuf,
    /// The PIN that opens them.
    pub pin: PathBuf,
    /// The socket of the process that holds the keys that sign; `None` when they are in the directory.
    pub signer: Option<PathBuf>,
    /// OCSP responses kept over a restart.
    pub ocsp_cache: PathBuf,
    /// How long to wait after OCSP could not be asked.
    pub ocsp_retry: Duration,
}

/// Addresses that we listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doors {
    /// Information systems, plain.
    pub http: Option<SocketAddr>,
    /// Information systems, TLS.
    pub https: Option<SocketAddr>,
    /// Other gateways.
    pub peers: SocketAddr,
    /// OCSP responses for other gateways.
    pub ocsp: SocketAddr,
}

/// The administration port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Administration {
    /// Address and port.
    pub listen: SocketAddr,
    /// Names under which it may be reached.
    pub hosts: Vec<String>,
    /// Who may use it.
    pub tokens: Vec<Token>,
}

/// The message log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where it lies.
    pub directory: PathBuf,
    /// The key that encrypts the data keys.
    pub key: PathBuf,
    /// Whether bodies are kept.
    pub bodies: bool,
    /// For whom the opposite holds.
    pub bodies_except: HashSet<ClientId>,
    /// Which bodies share a data key.
    pub data_keys: KeyGrouping,
    /// Room for bodies under way, bytes.
    pub body_quota: u64,
    /// Free space below which exchanges are refused, bytes.
    pub reserve: u64,
    /// Signed checkpoints; `None` for none.
    pub checkpoints: Option<Checkpoints>,
    /// The database that it lies in; `None` for files in the directory.
    pub postgres: Option<Database>,
}

impl Log {
    /// Whether bodies are kept of messages to or from one of these.
    pub fn keeps_bodies_of(&self, parties: &[&ClientId]) -> bool {
        self.bodies != parties.iter().any(|party| self.bodies_except.contains(*party))
    }
}

/// Time-stamping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamping {
    /// How often; `None` for what the global configuration says.
    pub interval: Option<Duration>,
    /// How long exchanges go on without a time-stamp; `None` for ever.
    pub acceptable_failure: Option<Duration>,
    /// Whether each message is stamped before it is delivered or answered.
    pub at_once: bool,
}

/// What the program writes about its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What is worth a line, as a filter.
    pub level: String,
    /// Form of the lines.
    pub format: Format,
}

/// A subsystem, or a member, that uses this gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// How its information systems are known.
    pub authentication: Authentication,
    /// Their certificates.
    pub certificates: Vec<Certificate>,
    /// Its local groups.
    pub groups: Vec<Group>,
    /// What it offers; what a WSDL describes is among it.
    pub services: Vec<Service>,
    /// What describes it, each once.
    pub descriptions: Vec<Description>,
}

/// A local group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its code.
    pub id: LocalGroupId,
    /// Who is in it.
    pub members: Vec<ClientId>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its code.
    pub code: String,
    /// Its version, in SOAP.
    pub version: Option<String>,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// Its address.
    pub url: String,
    /// The longest wait for its answer.
    pub timeout: Duration,
    /// How its certificate is judged, for https.
    pub trust: Option<ServiceTrust>,
    /// What describes it: OpenAPI, or WSDL for SOAP.
    pub description: Option<Description>,
    /// The notice, while it is disabled.
    pub disabled: Option<String>,
    /// Who may call it.
    pub allow: Vec<Allow>,
}

/// What describes a service, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Where it comes from, as it is written; with the client it tells one description from another.
    pub written: String,
    /// Where it comes from.
    pub source: Source,
    /// The protocol of what it describes.
    pub protocol: Protocol,
    /// How the certificate of its server is judged.
    pub trust: Option<ServiceTrust>,
    /// The document that was taken up, if one was.
    pub document: Option<Arc<Document>>,
}

/// How the certificate of a service is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceTrust {
    /// It is exactly this one.
    Pinned(Certificate),
    /// One of these authorities issued it, and it carries the name called.
    Authorities(Vec<Certificate>),
}

/// A right: who may call, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Who.
    pub to: Subject,
    /// What: method (or `*`) and path pattern; `None` for the whole service.
    pub endpoints: Option<Vec<Endpoint>>,
}

/// Whom a right is given to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A subsystem or a member.
    Client(ClientId),
    /// A local group of the client that offers the service.
    LocalGroup(LocalGroupId),
    /// A global group.
    GlobalGroup(GlobalGroupId),
}

/// Why settings could not be taken up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file itself cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// What it says is faulty.
    #[error("{path}:\n{problems}")]
    Faulty {
        /// The file.
        path: String,
        /// Every fault.
        problems: Problems,
    },
}
