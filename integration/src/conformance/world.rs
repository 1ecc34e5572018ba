//! The world in which a recording is judged: two gateways in one process, with a clock that is turned by hand.
//!
//! The configuration trusts the recording's authority, for what was recorded, and one of our own, for what we sign here:
//! the recorded private keys are not kept. Every client and provider that occurs is registered, but for those that the
//! recording calls unknown.

mod keys;
mod parties;
mod played;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock, FixedClock, UnixTime};
use cert_authority::clocks::{self, Clocks};
use cert_authority::durable;
use cert_authority::x509::Certificate;
use conf::client::ConfHandle;
use conf::identifier::ServerId;
use conf::shared_params::{
    ApprovedCa, CaInfo, GlobalSettings, Member, MemberClass, OcspResponder, Server, SharedParams, Source,
    Subsystem,
};
use conf::snapshot::GlobalConf;
use conf::version::Version;
use gateway::config::Config;
use gateway::doors::Front;
use gateway::evidence::signature::TrustCache;
use gateway::exchange::Gateway;
use gateway::messagelog::replays::{self, Replays};
use gateway::messagelog::{self, MessageLog};
use gateway::network::ServiceNetwork;
use gateway::opmonitor::Monitor;
use gateway::serverconf::ServerConf;
use gateway::signing::{self, BatchSigner};
use gateway::transport::auth_trust::AuthTrust;
use gateway::transport::ocsp_cache::OcspCache;
use gateway::transport::{DoorLimits, ServiceSettings, front_door};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::recording::Case;
use keys::Keys;
use parties::Parties;
pub(super) use played::{Gathered, InMemory, Played, PlayedService, read_message};

/// The two gateways, and what is played around them.
pub(super) struct World {
    clock: FixedClock,
    pub(super) conf: Arc<GlobalConf>,
    keys: Arc<Keys>,
    /// The provider's gateway.
    pub(super) provider: Gateway,
    /// Where the consumer's gateway takes requests.
    pub(super) door: SocketAddr,
    /// What the peer of the consumer's gateway does.
    pub(super) played: Arc<Played>,
    /// What the service does.
    pub(super) service: PlayedService,
    /// The certificate that the consumer's gateway shows to the provider's.
    pub(super) shown: Certificate,
    _stop: watch::Sender<bool>,
    _folder: TempDir,
}

impl World {
    /// Sets everything up for the cases of a folder.
    pub(super) async fn new(folder: &Path, cases: &[Case]) -> Result<Self, String> {
        let certificate = |name: &str| {
            let path = folder.join("certs").join(name);
            let pem = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Certificate::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))
        };
        let began = cases.first().ok_or_else(|| format!("{}: no cases", folder.display()))?.at;
        let scratch = tempfile::tempdir().map_err(said)?;
        let clock = FixedClock::new(began);
        let time: Arc<dyn Clock> = Arc::new(clock.clone());
        let parties = Parties::of(cases);
        let keys = Arc::new(Keys::new(&parties, began).await?);
        let shown = certificate("consumer-auth.pem")?;
        let cas = vec![
            approved(
                certificate("root-ca.pem")?,
                vec![certificate("sub-ca.pem")?],
                Some(certificate("ocsp-responder.pem")?),
            ),
            approved(keys.authority().clone(), Vec::new(), None),
        ];
        let conf = ConfHandle::fixed(global_conf(scratch.path(), &parties, cas, &shown)?);
        let trust = Arc::new(AuthTrust::new(Arc::clone(&time), Arc::new(OcspCache::new(None))));
        let played = Arc::new(Played::new(trust));
        let service = PlayedService::start().await.map_err(said)?;

        let gateway = |server: &str, local: ServerConf| -> Result<Gateway, String> {
            let server: ServerId = server.parse().map_err(said)?;
            let log = messagelog::Config {
                acceptable_timestamp_failure: None,
                segment_size: 4 << 20,
                ..messagelog::Config::new(scratch.path().join(server.owner().code()))
            };
            let local = Arc::new(local);
            let same = Arc::clone(&local);
            let log = MessageLog::create(log, Arc::clone(&time)).map_err(said)?;
            // Recorded cases are played one after the other, and some of them are of the same message.
            let replays = replays::Settings { handling: None, ..replays::Settings::default() };
            let replays = Replays::new(replays, &log);
            Ok(Gateway {
                server,
                clock: Arc::clone(&time),
                clocks: Arc::new(Clocks::new(Arc::clone(&time), clocks::Limits::default())),
                ids: played.clone(),
                conf: conf.clone(),
                local: Arc::new(move || Arc::clone(&same)),
                keys: keys.clone(),
                signer: Arc::new(BatchSigner::new(keys.clone(), signing::Settings::default())),
                trust: TrustCache::default(),
                monitor: Monitor::off(),
                log,
                replays,
                peers: played.clone(),
                services: Arc::new(ServiceNetwork::new(
                    || None,
                    ServiceSettings { idle_connections: 0, ..ServiceSettings::default() },
                )),
            })
        };
        let provider = gateway(PROVIDER, settings(&parties.provider_settings(PROVIDER, service.address()))?)?;
        let consumer = gateway(CONSUMER, settings(&parties.consumer_settings(CONSUMER))?)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(said)?;
        let door = listener.local_addr().map_err(said)?;
        let (stop, stopped) = watch::channel(false);
        let front = Arc::new(Front {
            gateway: Arc::new(consumer),
            authorities: Arc::new(Vec::new),
            conf_directory: scratch.path().join("globalconf"),
        });
        tokio::spawn(front_door::serve(listener, None, DoorLimits::default(), front, stopped));
        let conf = conf.last_good().ok_or("no configuration")?;
        Ok(Self { clock, conf, keys, provider, door, played, service, shown, _stop: stop, _folder: scratch })
    }

    /// What time it is.
    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Turns the clock to the time of a case.
    pub(super) async fn turn_to(&self, at: UnixTime) -> Result<(), String> {
        self.clock.set(at);
        self.keys.renew(at).await
    }
}

const PROVIDER: &str = "EE/BUSINESS/producer/ss1";
const CONSUMER: &str = "EE/BUSINESS/consumer/ss1";

/// An error in words.
pub(super) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn settings(text: &str) -> Result<ServerConf, String> {
    let mut config = Config::parse(text, Path::new("")).map_err(said)?;
    // A settings file cannot leave out an address; the original's database can.
    for service in config.clients.iter_mut().flat_map(|client| &mut client.services) {
        if service.code.contains("noaddr") {
            service.url.clear();
        }
    }
    Ok(ServerConf::new(&config, text, None))
}

fn approved(top: Certificate, intermediates: Vec<Certificate>, responder: Option<Certificate>) -> ApprovedCa {
    let ca = |certificate: Certificate| CaInfo {
        certificate,
        ocsp: vec![OcspResponder {
            url: "http://ocsp.test/".to_owned(),
            certificate: responder.clone(),
            cost: None,
        }],
    };
    ApprovedCa {
        name: top.subject().rfc2253(),
        authentication_only: false,
        intermediates: intermediates.into_iter().map(ca).collect(),
        top: ca(top),
        certificate_profile:
            "ee.ria.xroad.common.certificateprofile.impl.EjbcaCertificateProfileInfoProvider".to_owned(),
        default_csr_format: None,
        acme: None,
    }
}

/// The configuration, written as an authority does and read as a gateway does.
fn global_conf(
    scratch: &Path,
    parties: &Parties,
    approved_cas: Vec<ApprovedCa>,
    shown: &Certificate,
) -> Result<GlobalConf, String> {
    let anchor = approved_cas.first().map(|ca| ca.top.certificate.der().to_vec()).unwrap_or_default();
    let server = |id: &str, hashes: Vec<Vec<u8>>, clients: Vec<_>| -> Result<Server, String> {
        let id: ServerId = id.parse().map_err(said)?;
        Ok(Server {
            owner: id.owner().clone(),
            code: id.code().to_owned(),
            address: Some("peer.test".to_owned()),
            auth_cert_hashes: hashes,
            clients,
            maintenance: None,
        })
    };
    let subsystems = |clients: Vec<conf::identifier::ClientId>| {
        clients.into_iter().filter(|client| client.subsystem().is_some()).collect::<Vec<_>>()
    };
    let hash = shown.fingerprint(DigestAlgorithm::Sha256).as_ref().to_vec();
    let (clients, providers) = (subsystems(parties.clients()), subsystems(parties.providers()));
    let parameters = SharedParams {
        instance: INSTANCE.to_owned(),
        sources: vec![Source {
            address: "cs.test".to_owned(),
            internal_certificates: vec![anchor.clone()],
            external_certificates: vec![anchor],
        }],
        approved_cas,
        approved_tsas: Vec::new(),
        members: parties
            .members()
            .into_iter()
            .map(|id| Member {
                name: id.code().to_owned(),
                subsystems: clients
                    .iter()
                    .chain(&providers)
                    .filter(|client| *client.member() == id)
                    .collect::<std::collections::BTreeSet<_>>()
                    .into_iter()
                    .map(|client| Subsystem { id: client.clone(), name: None })
                    .collect(),
                id,
            })
            .collect(),
        servers: vec![
            server(CONSUMER, vec![hash], clients.clone())?,
            server(PROVIDER, Vec::new(), providers.clone())?,
            // X-Road-Security-Server may name a second one, at the same address.
            server("EE/BUSINESS/producer/ss2", Vec::new(), providers.clone())?,
        ],
        global_groups: Vec::new(),
        settings: GlobalSettings {
            member_classes: vec![MemberClass {
                code: "BUSINESS".to_owned(),
                description: "Business".to_owned(),
            }],
            ocsp_freshness: Duration::from_secs(24 * 3600),
        },
    };
    let root = scratch.join("globalconf");
    let folder = root.join(INSTANCE);
    fs::create_dir_all(&folder).map_err(said)?;
    let write = |path: &Path, text: &str| durable::write(path, text.as_bytes()).map_err(said);
    write(&root.join("instance-identifier"), INSTANCE)?;
    write(&folder.join("shared-params.xml"), &parameters.write(Version::V5).map_err(said)?)?;
    write(&folder.join("shared-params.xml.metadata"), r#"{"configurationVersion":"5"}"#)?;
    GlobalConf::load_dir(&root).map_err(said)
}

const INSTANCE: &str = "EE";
