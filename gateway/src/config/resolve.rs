//! From the settings as written to the settings as meant; every fault is told with its line and key.
//!
//! Certificates are read here, keys are not: `keys create` needs the settings before there is a key.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use cert_authority::clocks;
use cert_authority::settings::{Problem, Problems, Text, parse_duration};
use cert_authority::x509::Certificate;
use conf::identifier::{MemberId, ServerId};
use semver::Version;
use toml::Spanned;

use super::archive::{Archive, ArchiveFile};
use super::clients::any_client;
use super::described::Described;
use super::file::{self, File, OrOff};
use super::monitoring::{self, TracesFile};
use super::postgres::PostgresFile;
use super::transparency::{self, CheckpointsFile};
use super::{
    Administration, Checkpoints, Config, ConfigError, Configuration, Doors, Format, Keys, Log, Output,
    Timestamping,
};
use crate::admin::{Role, Token};
use crate::description::accepted::{self, Accepted};
use crate::messagelog::replays::{self, Handling};
use crate::messagelog::{Database, KeyGrouping};
use crate::opmonitor::traces::Collector;
use crate::signing;
use crate::transport::{self, DoorLimits, PeerSettings, ServiceSettings};

impl Config {
    /// Reads a settings file.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: name.clone(), reason: error.to_string() })?;
        let folder = path.parent().unwrap_or_else(|| Path::new("")).to_path_buf();
        Self::parse(&text, &folder).map_err(|problems| ConfigError::Faulty { path: name, problems })
    }

    /// Reads the text of a settings file, by the descriptions that were taken up; paths are relative to `folder`.
    ///
    /// # Errors
    /// Every fault.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Problems> {
        match Accepted::load(folder) {
            Ok(accepted) => Self::described(text, folder, &accepted),
            Err(error) => Err(Problems(vec![Problem {
                line: None,
                key: format!("{}/{}", accepted::FOLDER, accepted::LIST),
                reason: error.to_string(),
            }])),
        }
    }

    /// Reads the text of a settings file, by these descriptions.
    ///
    /// # Errors
    /// Every fault.
    pub fn described(text: &str, folder: &Path, accepted: &Accepted) -> Result<Self, Problems> {
        let file = File::parse(text)?;
        let mut resolver = Resolver::new(text, folder, accepted);
        let server = resolver.server_id(&file.server.id);
        let clients = resolver.clients(&file.client);
        let least_peer_version = resolver.least_peer_version(&file.peers);
        let administration = resolver.administration(&file.administration);
        let log = resolver.log(&file.log);
        let witness =
            file.witness.as_ref().map(|witness| witness.resolve(text, folder, &mut resolver.problems));
        let archive = file.archive.as_ref().and_then(|archive| resolver.archive(archive));
        let timestamping = resolver.timestamping(&file.timestamping);
        let traces = file.monitoring.traces.as_ref().and_then(|traces| resolver.traces(traces));
        let output = resolver.output(&file.output);
        let mut transport = Resolver::transport(&file);
        if transport.peers.quic.listen.is_some() && file.dangerous.legacy_tls {
            resolver.problems.0.push(Problem {
                line: None,
                key: "quic.listen".to_owned(),
                reason: "cannot be had with dangerous.legacy_tls: OpenSSL speaks no QUIC here".to_owned(),
            });
        }
        transport.services.never = never(&administration, &log);
        resolver.services_are_elsewhere(&file.client, &transport.services);
        let Resolver { problems, mut warnings, .. } = resolver;
        warnings.0.sort_by_key(|warning| warning.line);
        let path = |given: &Option<PathBuf>, default: &str| {
            folder.join(given.as_deref().unwrap_or_else(|| Path::new(default)))
        };
        let Some(server) = server else { return Err(problems) };
        problems.or(Self {
            configuration: Configuration {
                anchor: folder.join(&file.configuration.anchor),
                directory: path(&file.configuration.directory, "globalconf"),
                every: file.configuration.every.unwrap_or(Duration::from_secs(45)),
            },
            keys: Keys {
                directory: path(&file.keys.directory, "keys"),
                pin: path(&file.keys.pin, "keys/pin"),
                signer: file.keys.signer.as_deref().map(|socket| folder.join(socket)),
                ocsp_cache: path(&file.keys.ocsp_cache, "ocsp"),
                ocsp_retry: file.keys.ocsp_retry.unwrap_or(Duration::from_secs(60)),
            },
            signing: signing(&file.signing),
            replays: replays(&file.peers),
            clock: clock(&file.clock),
            doors: doors(&file),
            monitoring: file.monitoring.resolve(folder, traces),
            hardening: file.hardening.resolve(folder),
            dangerous: file.dangerous,
            server,
            transport,
            least_peer_version,
            administration,
            log,
            archive,
            witness,
            timestamping,
            output,
            clients,
            warnings,
        })
    }
}

fn signing(file: &file::Signing) -> signing::Settings {
    let usual = signing::Settings::default();
    signing::Settings {
        batch: file.batch.unwrap_or(usual.batch),
        most: file.most.unwrap_or(usual.most),
        timeout: file.timeout.unwrap_or(usual.timeout),
    }
}

/// Where no service is: our own administration, and the database of the log.
fn never(administration: &Administration, log: &Log) -> Vec<SocketAddr> {
    let database = log.postgres.as_ref();
    let database = database.and_then(|at| Some(SocketAddr::new(at.host.parse().ok()?, at.port)));
    std::iter::once(administration.listen).chain(database).collect()
}

fn clock(file: &file::Clock) -> clocks::Limits {
    let usual = clocks::Limits::default();
    clocks::Limits {
        alarm: file.alarm.unwrap_or(usual.alarm),
        refuse: match file.refuse {
            None => usual.refuse,
            Some(OrOff::Off) => None,
            Some(OrOff::On(limit)) => Some(limit),
        },
    }
}

fn replays(file: &file::Peers) -> replays::Settings {
    let usual = replays::Settings::default();
    replays::Settings {
        handling: match file.replays {
            None => usual.handling,
            Some(file::OnReplay::Off) => None,
            Some(file::OnReplay::Warn) => Some(Handling::Warn),
            Some(file::OnReplay::Reject) => Some(Handling::Reject),
        },
        window: file.replay_window.unwrap_or(usual.window),
    }
}

fn doors(file: &File) -> Doors {
    let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let anywhere = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let on = |door: OrOff<SocketAddr>| match door {
        OrOff::Off => None,
        OrOff::On(address) => Some(address),
    };
    Doors {
        http: on(file.doors.http.unwrap_or_else(|| OrOff::On(loopback(8080)))),
        https: on(file.doors.https.unwrap_or(OrOff::Off)),
        peers: file.peers.listen.unwrap_or_else(|| anywhere(5500)),
        ocsp: file.peers.ocsp_listen.unwrap_or_else(|| anywhere(5577)),
    }
}

/// What is needed to tell a fault with its place.
pub(super) struct Resolver<'a> {
    pub(super) text: &'a str,
    pub(super) folder: &'a Path,
    pub(super) problems: Problems,
    pub(super) warnings: Problems,
    pub(super) described: Described<'a>,
}

impl<'a> Resolver<'a> {
    fn new(text: &'a str, folder: &'a Path, accepted: &'a Accepted) -> Self {
        let (problems, warnings) = (Problems::default(), Problems::default());
        Self { text, folder, problems, warnings, described: Described::by(accepted) }
    }

    pub(super) fn fault(&mut self, at: &Text, key: &str, reason: impl Into<String>) {
        self.problems.at(self.text, &at.span(), key, reason);
    }

    /// Reads one text; a fault is noted and gives nothing.
    pub(super) fn read<T>(
        &mut self,
        at: &Text,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(at.get_ref()) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.fault(at, key, reason);
                None
            }
        }
    }

    fn server_id(&mut self, at: &Text) -> Option<ServerId> {
        self.read(at, "server.id", |text| {
            let id = ServerId::from_str(text).map_err(|error| error.to_string())?;
            id.check_registrable().map_err(|error| error.to_string())?;
            Ok(id)
        })
    }

    fn least_peer_version(&mut self, file: &file::Peers) -> Option<Version> {
        let form = |_| "must be a release, like \"7.3.1\"".to_owned();
        let version = file.least_version.as_ref()?;
        self.read(version, "peers.least_version", |text| Version::parse(text).map_err(form))
    }

    /// The certificates of PEM files.
    pub(super) fn certificates(&mut self, files: &[Text], key: &str) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        for file in files {
            let path = self.folder.join(file.get_ref());
            let read = self.read(file, key, |_| {
                let text =
                    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                let found =
                    Certificate::pems(&text).map_err(|error| format!("{}: {error}", path.display()))?;
                if found.is_empty() {
                    return Err(format!("{}: no certificate in it", path.display()));
                }
                Ok(found)
            });
            certificates.extend(read.unwrap_or_default());
        }
        certificates
    }

    fn administration(&mut self, file: &file::Administration) -> Administration {
        let mut tokens = Vec::new();
        for (n, token) in file.token.iter().enumerate() {
            let key = format!("administration.token[{}].sha256", n + 1);
            let sha256 = self.read(&token.sha256, &key, |text| {
                let mut hash = [0; 32];
                hex::decode_to_slice(text, &mut hash)
                    .map_err(|_| "is no SHA-256 in hex: 64 digits".to_owned())?;
                Ok(hash)
            });
            let role = match token.role {
                file::Role::Operator => Role::Operator,
                file::Role::Auditor => Role::Auditor,
            };
            tokens.extend(sha256.map(|sha256| Token { name: token.name.get_ref().clone(), role, sha256 }));
        }
        Administration {
            listen: file.listen.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000)),
            hosts: file.hosts.clone().unwrap_or_else(|| vec!["localhost".to_owned()]),
            tokens,
        }
    }

    fn log(&mut self, file: &file::Log) -> Log {
        let path = |given: &Option<PathBuf>, default: &str| {
            self.folder.join(given.as_deref().unwrap_or_else(|| Path::new(default)))
        };
        let (directory, key) = (path(&file.directory, "log"), path(&file.key, "keys/log.key"));
        let except = file.bodies_except.iter();
        Log {
            directory,
            key,
            bodies: file.bodies.unwrap_or(true),
            data_keys: match file.data_keys {
                file::DataKeys::Period => KeyGrouping::Period,
                file::DataKeys::Member => KeyGrouping::Member,
                file::DataKeys::Subsystem => KeyGrouping::Subsystem,
            },
            bodies_except: except.filter_map(|id| self.read(id, "log.bodies_except", any_client)).collect(),
            body_quota: file.body_quota.unwrap_or(8 << 30),
            reserve: file.reserve.unwrap_or(64 << 20),
            checkpoints: file.checkpoints.as_ref().and_then(|file| self.checkpoints(file)),
            postgres: file.postgres.as_ref().map(|file| self.postgres(file)),
        }
    }

    fn postgres(&mut self, file: &PostgresFile) -> Database {
        let authorities = self.certificates(file.authorities.as_slice(), "log.postgres.authorities");
        let database = file.resolve(self.folder, authorities);
        // What is wrong with the file of the authorities has been told.
        let told = file.authorities.is_some() && database.authorities.is_empty();
        if let (Err(reason), Some(host), false) = (database.check_address(), &file.host, told) {
            self.fault(host, "log.postgres.host", reason);
        }
        database
    }

    fn checkpoints(&mut self, file: &CheckpointsFile) -> Option<Checkpoints> {
        let origin = self.read(&file.origin, "log.checkpoints.origin", transparency::origin);
        let key = file.key.as_ref().and_then(|at| {
            self.read(at, "log.checkpoints.key", |id| id.parse().map_err(|error| format!("{error}")))
        });
        let previous = file.previous_keys.iter();
        let previous_keys = previous
            .filter_map(|at| self.read(at, "log.checkpoints.previous_keys", transparency::log_key))
            .collect();
        let mut witnesses = Vec::new();
        for witness in &file.witness {
            let at = "log.checkpoints.witness";
            let url = self.read(&witness.url, &format!("{at}.url"), transparency::witness_url);
            let key = self.read(&witness.key, &format!("{at}.key"), transparency::witness_key);
            let authorities = self.certificates(witness.authorities.as_slice(), &format!("{at}.authorities"));
            if url.as_ref().is_some_and(|url| url.starts_with("https:")) && witness.authorities.is_none() {
                self.fault(&witness.url, &format!("{at}.url"), "https needs authorities = a PEM file");
            }
            witnesses.extend(url.zip(key).map(|(url, key)| transparency::Witness { url, key, authorities }));
        }
        let quorum = file.quorum.as_ref().map_or(0, |quorum| *quorum.get_ref());
        if let Some(at) = file.quorum.as_ref().filter(|_| quorum > file.witness.len()) {
            let reason = format!("there are only {} witnesses", file.witness.len());
            self.problems.at(self.text, &at.span(), "log.checkpoints.quorum", reason);
        }
        let every = file.every.unwrap_or(Duration::from_secs(1)).max(Duration::from_millis(100));
        Some(Checkpoints { origin: origin?, key, previous_keys, every, quorum, witnesses })
    }

    fn archive(&mut self, file: &Spanned<ArchiveFile>) -> Option<Archive> {
        let mut authorities = Vec::new();
        if let Some(bucket) = file.get_ref().bucket() {
            authorities = self.certificates(bucket.authorities.as_slice(), "archive.s3.authorities");
            if let Some(reason) = bucket.fault() {
                self.fault(&bucket.endpoint, "archive.s3.endpoint", reason);
            }
        }
        let archive = file.get_ref().resolve(self.folder, authorities);
        archive.map_err(|reason| self.problems.at(self.text, &file.span(), "archive", reason)).ok()
    }

    fn timestamping(&mut self, file: &file::Timestamping) -> Timestamping {
        let interval = file.interval.as_ref().and_then(|at| {
            self.read(at, "timestamping.interval", |text| match text {
                "network" => Ok(None),
                text => parse_duration(text).map(Some),
            })
        });
        Timestamping {
            interval: interval.flatten(),
            acceptable_failure: match file.acceptable_failure {
                Some(OrOff::Off) => None,
                Some(OrOff::On(period)) => Some(period),
                None => Some(Duration::from_secs(4 * 3600)),
            },
            at_once: file.at_once,
        }
    }

    fn traces(&mut self, file: &TracesFile) -> Option<Collector> {
        let at = "monitoring.traces";
        let endpoint = self.read(&file.endpoint, &format!("{at}.endpoint"), monitoring::endpoint)?;
        let authorities = self.certificates(file.authorities.as_slice(), &format!("{at}.authorities"));
        if endpoint.starts_with("https:") && file.authorities.is_none() {
            self.fault(&file.endpoint, &format!("{at}.endpoint"), "https needs authorities = a PEM file");
        }
        Some(Collector { endpoint, authorities })
    }

    fn output(&mut self, file: &file::Output) -> Output {
        let level = file.level.as_ref().and_then(|at| {
            self.read(at, "output.level", |text| {
                tracing_subscriber::EnvFilter::try_new(text).map_err(|error| error.to_string())?;
                Ok(text.to_owned())
            })
        });
        Output {
            level: level.unwrap_or_else(|| "info".to_owned()),
            format: file.format.unwrap_or(Format::Text),
        }
    }

    fn transport(file: &File) -> transport::Config {
        let (limits, timeouts) = (&file.limits, &file.timeouts);
        let bytes = |size: Option<u64>, default: usize| {
            size.map_or(default, |size| usize::try_from(size).unwrap_or(usize::MAX))
        };
        let count = |value: &Option<Spanned<usize>>, default: usize| {
            value.as_ref().map_or(default, |value| (*value.get_ref()).max(1))
        };
        let usual = DoorLimits::default();
        let front = DoorLimits {
            connections: count(&limits.connections, usual.connections),
            connections_per_address: count(&limits.connections_per_address, usual.connections_per_address),
            handshakes: count(&limits.handshakes, usual.handshakes),
            handshakes_per_address: count(&limits.handshakes_per_address, usual.handshakes_per_address),
            handshake_timeout: timeouts.handshake.unwrap_or(usual.handshake_timeout),
            head_timeout: timeouts.head.unwrap_or(usual.head_timeout),
            idle_timeout: timeouts.idle.unwrap_or(usual.idle_timeout),
            head_bytes: bytes(limits.head, usual.head_bytes),
            headers: count(&limits.headers, usual.headers),
            target_bytes: bytes(limits.target, usual.target_bytes),
            body_bytes_per_second: limits
                .body_rate
                .map_or(usual.body_bytes_per_second, |rate| u32::try_from(rate).unwrap_or(u32::MAX)),
            drain: timeouts.drain.unwrap_or(usual.drain),
            ..usual
        };
        let peers = PeerSettings::default();
        let services = ServiceSettings::default();
        transport::Config {
            peer_door: front.clone(),
            front,
            peers: PeerSettings {
                port: file.peers.port.unwrap_or(peers.port),
                ocsp_port: file.peers.ocsp_port.unwrap_or(peers.ocsp_port),
                revocations: match file.peers.revocations {
                    Some(OrOff::Off) => None,
                    Some(OrOff::On(interval)) => Some(interval.max(Duration::from_millis(100))),
                    None => peers.revocations,
                },
                connect_timeout: timeouts.connect.unwrap_or(peers.connect_timeout),
                answer_timeout: match timeouts.answer {
                    Some(OrOff::Off) => None,
                    Some(OrOff::On(wait)) => Some(wait),
                    None => Some(Duration::from_secs(600)),
                },
                quic: file.quic.resolve(),
                ..peers
            },
            services: ServiceSettings {
                connect_timeout: timeouts.connect.unwrap_or(services.connect_timeout),
                ..services
            },
        }
    }
}

/// The member that owns the server is always one of its clients, as in X-Road.
impl Config {
    /// The owner of this server.
    pub fn owner(&self) -> &MemberId {
        self.server.owner()
    }
}

#[cfg(test)]
mod tests;
