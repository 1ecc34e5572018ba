//! `gateway.toml` as it is written: every key optional but those that nobody can guess.
//!
//! Every fault that shows without opening another file is found here, with its line and key, all at once.
//! Not here: what the keys mean together ([`super::resolve`]).

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use cert_authority::settings::{Problems, Reader, Text, optional_duration, optional_size};
use cert_authority::tlog::settings::WitnessFile;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::archive::ArchiveFile;
use super::hardening::HardeningFile;
use super::monitoring::MonitoringFile;
use super::postgres::PostgresFile;
use super::quic::QuicFile;
use super::transparency::CheckpointsFile;
use crate::message::Protocol;

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) server: Server,
    pub(crate) configuration: Configuration,
    pub(crate) keys: Keys,
    pub(crate) signing: Signing,
    pub(crate) doors: Doors,
    pub(crate) peers: Peers,
    pub(super) quic: QuicFile,
    pub(crate) administration: Administration,
    pub(crate) log: Log,
    pub(crate) archive: Option<Spanned<ArchiveFile>>,
    pub(crate) witness: Option<WitnessFile>,
    pub(crate) timestamping: Timestamping,
    pub(crate) clock: Clock,
    pub(super) monitoring: MonitoringFile,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) output: Output,
    pub(super) hardening: HardeningFile,
    pub(crate) dangerous: Dangerous,
    pub(crate) client: Vec<Client>,
}

/// A value, or the word `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrOff<T> {
    /// Switched off.
    Off,
    /// This.
    On(T),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) id: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    pub(crate) anchor: PathBuf,
    pub(crate) directory: Option<PathBuf>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) every: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) pin: Option<PathBuf>,
    pub(crate) signer: Option<PathBuf>,
    pub(crate) ocsp_cache: Option<PathBuf>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) ocsp_retry: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signing {
    pub(crate) batch: Option<bool>,
    pub(crate) most: Option<NonZeroUsize>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Doors {
    #[serde(default, deserialize_with = "address_or_off")]
    pub(crate) http: Option<OrOff<SocketAddr>>,
    #[serde(default, deserialize_with = "address_or_off")]
    pub(crate) https: Option<OrOff<SocketAddr>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peers {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) ocsp_listen: Option<SocketAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) least_version: Option<Text>,
    pub(crate) ocsp_port: Option<u16>,
    #[serde(default, deserialize_with = "duration_or_off")]
    pub(crate) revocations: Option<OrOff<Duration>>,
    pub(crate) replays: Option<OnReplay>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) replay_window: Option<Duration>,
}

/// What is done about a request that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnReplay {
    Off,
    Warn,
    Reject,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Administration {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) hosts: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) token: Vec<Token>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) name: Text,
    pub(crate) role: Role,
    pub(crate) sha256: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Operator,
    Auditor,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) bodies: Option<bool>,
    #[serde(default)]
    pub(crate) bodies_except: Vec<Text>,
    #[serde(default)]
    pub(crate) data_keys: DataKeys,
    #[serde(default, deserialize_with = "optional_size")]
    pub(crate) body_quota: Option<u64>,
    #[serde(default, deserialize_with = "optional_size")]
    pub(crate) reserve: Option<u64>,
    pub(crate) checkpoints: Option<CheckpointsFile>,
    pub(crate) postgres: Option<PostgresFile>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DataKeys {
    #[default]
    Period,
    Member,
    Subsystem,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timestamping {
    pub(crate) interval: Option<Text>,
    #[serde(default, deserialize_with = "duration_or_off")]
    pub(crate) acceptable_failure: Option<OrOff<Duration>>,
    #[serde(default)]
    pub(crate) at_once: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clock {
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) alarm: Option<Duration>,
    #[serde(default, deserialize_with = "duration_or_off")]
    pub(crate) refuse: Option<OrOff<Duration>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections: Option<Spanned<usize>>,
    pub(crate) connections_per_address: Option<Spanned<usize>>,
    pub(crate) handshakes: Option<Spanned<usize>>,
    pub(crate) handshakes_per_address: Option<Spanned<usize>>,
    #[serde(default, deserialize_with = "optional_size")]
    pub(crate) head: Option<u64>,
    pub(crate) headers: Option<Spanned<usize>>,
    #[serde(default, deserialize_with = "optional_size")]
    pub(crate) target: Option<u64>,
    #[serde(default, deserialize_with = "optional_size")]
    pub(crate) body_rate: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timeouts {
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) handshake: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) head: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) idle: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) connect: Option<Duration>,
    #[serde(default, deserialize_with = "duration_or_off")]
    pub(crate) answer: Option<OrOff<Duration>>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) drain: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub(crate) level: Option<Text>,
    pub(crate) format: Option<Format>,
}

/// The form of the lines that the program writes about its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Departures from what is safe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dangerous {
    /// `%2F` is taken in the path of a service.
    pub encoded_slash: bool,
    /// `.` and `..` are taken in the path of a service.
    pub dot_segments: bool,
    /// OpenSSL speaks with other gateways, and takes CBC suites of TLS 1.2.
    #[serde(deserialize_with = "compiled_in")]
    pub legacy_tls: bool,
}

impl Dangerous {
    /// Those that are taken.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            ("encoded_slash", self.encoded_slash),
            ("dot_segments", self.dot_segments),
            ("legacy_tls", self.legacy_tls),
        ];
        all.into_iter().filter_map(|(name, on)| on.then_some(name)).collect()
    }
}

fn compiled_in<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    let wanted = bool::deserialize(value)?;
    if wanted && !cfg!(feature = "legacy-tls") {
        return Err(serde::de::Error::custom("this program was built without the feature legacy-tls"));
    }
    Ok(wanted)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    pub(crate) id: Text,
    pub(crate) authentication: Option<Authentication>,
    #[serde(default)]
    pub(crate) certificates: Vec<Text>,
    #[serde(default)]
    pub(crate) group: Vec<Group>,
    #[serde(default)]
    pub(crate) service: Vec<Service>,
    #[serde(default)]
    pub(crate) wsdl: Vec<Wsdl>,
}

/// How a client's information systems are known (X-Road: connection type).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// Anyone who reaches a door.
    Http,
    /// Anyone, over TLS.
    Https,
    /// Over TLS with a certificate that is pinned for the client.
    #[default]
    Certificate,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) code: Text,
    #[serde(default)]
    pub(crate) members: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) code: Text,
    pub(crate) version: Option<Text>,
    #[serde(default)]
    pub(crate) protocol: Protocol,
    pub(crate) url: Text,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) timeout: Option<Duration>,
    pub(crate) certificate: Option<Text>,
    pub(crate) authorities: Option<Text>,
    pub(crate) description: Option<Text>,
    pub(crate) disabled: Option<String>,
    #[serde(default)]
    pub(crate) allow: Vec<Allow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allow {
    pub(crate) to: Text,
    pub(crate) endpoints: Option<Vec<Text>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wsdl {
    pub(crate) description: Text,
    pub(crate) url: Option<Text>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub(crate) timeout: Option<Duration>,
    pub(crate) certificate: Option<Text>,
    pub(crate) authorities: Option<Text>,
    pub(crate) disabled: Option<String>,
    #[serde(default)]
    pub(crate) allow: Vec<WsdlAllow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WsdlAllow {
    pub(crate) to: Text,
    pub(crate) services: Option<Vec<Text>>,
}

impl File {
    /// Takes the text apart; also what is missing is noted among the problems.
    ///
    /// # Errors
    /// All faults of form, together.
    pub(crate) fn parse(text: &str) -> Result<Self, Problems> {
        let mut reader = Reader::new(text)?;
        let server = reader.one("server");
        let configuration = reader.one("configuration");
        let keys = reader.optional("keys").unwrap_or_default();
        let signing = reader.optional("signing").unwrap_or_default();
        let doors = reader.optional("doors").unwrap_or_default();
        let peers = reader.optional("peers").unwrap_or_default();
        let quic = reader.optional("quic").unwrap_or_default();
        let administration = reader.optional("administration").unwrap_or_default();
        let log = reader.optional("log").unwrap_or_default();
        let archive = reader.optional("archive");
        let witness = reader.optional("witness");
        let timestamping = reader.optional("timestamping").unwrap_or_default();
        let clock = reader.optional("clock").unwrap_or_default();
        let monitoring = reader.optional("monitoring").unwrap_or_default();
        let limits = reader.optional("limits").unwrap_or_default();
        let timeouts = reader.optional("timeouts").unwrap_or_default();
        let output = reader.optional("output").unwrap_or_default();
        let hardening = reader.optional("hardening").unwrap_or_default();
        let dangerous = reader.optional("dangerous").unwrap_or_default();
        let client = reader.list("client");
        let problems = reader.finish();
        let (Some(server), Some(configuration)) = (server, configuration) else {
            return Err(problems);
        };
        problems.or(Self {
            server,
            configuration,
            keys,
            signing,
            doors,
            peers,
            quic,
            administration,
            log,
            archive,
            witness,
            timestamping,
            clock,
            monitoring,
            limits,
            timeouts,
            output,
            hardening,
            dangerous,
            client,
        })
    }
}

pub(super) fn address_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<OrOff<SocketAddr>>, D::Error> {
    or_off(deserializer, |text| {
        text.parse().map_err(|_| format!("\"{text}\" is no address: write \"127.0.0.1:8080\", or \"off\""))
    })
}

pub(super) fn duration_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<OrOff<Duration>>, D::Error> {
    or_off(deserializer, cert_authority::settings::parse_duration)
}

fn or_off<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<OrOff<T>>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" {
        return Ok(Some(OrOff::Off));
    }
    parse(&text).map(|value| Some(OrOff::On(value))).map_err(serde::de::Error::custom)
}
