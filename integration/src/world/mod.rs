//! A whole system in one process: authorities, a published configuration, two gateways, a service, and a peer that does
//! as it pleases. Real sockets, real TLS, real files; a clock that runs, and can be turned on.
//!
//! ```text
//!            Trust (CA, OCSP, TSA)      Network (signed configuration)
//!                        \                 /
//!  Ask ──► consumer ss1 (gateway.toml) ──► provider ss2 (gateway.toml) ──► InformationService
//!                        \                 /
//!                        Rogue ss3: good certificates, any behaviour
//! ```
//! Every part has its own address 127.x.y.z, so that worlds can live side by side, each with the network's ports.
//!
//! `PASSERELLE_WORLD=quic` has both gateways of every world speak QUIC with each other, but where a test is about TCP
//! ([`over_tcp`]).
//!
//! For tests only: what cannot be set up panics.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a world that cannot be made is a failed test"
)]

mod ask;
mod authority;
mod clock;
mod http1;
mod network;
mod node;
mod quic;
mod rogue;
mod service;
mod soap;

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use ask::{Ask, Reply};
pub use authority::{Authority, Holder, Key, OcspMode, Trust, TsaMode};
pub use clock::TurnedClock;
pub use http1::Message;
pub use network::{Network, Served};
pub use node::{Node, kinds, over_tcp};
pub use quic::{Manner, QuicLine, Relay, Stranger, echo, initials};
pub use rogue::{AnswerPlan, BOUNDARY, Envelope, Line, PeerReply, Rogue, Signatory};
pub use service::{InformationService, Mode};
pub use soap::envelope;

use cert_authority::x509::issue::Profile;
use conf::identifier::{ClientId, MemberId, ServerId};
use conf::shared_params::{Server, SharedParams};

/// The instance.
pub const INSTANCE: &str = "DEMO";
/// Path of the provider's service.
pub const RECORDS: &str = "/r1/DEMO/GOV/2002/registry/records";
/// Path of the service that the rogue peer offers.
pub const FAKE: &str = "/r1/DEMO/GOV/3003/fake/anything";
/// The usual client.
pub const PORTAL: &str = "DEMO/GOV/1001/portal";

/// Everything.
pub struct World {
    /// What time it is for everybody.
    pub clock: TurnedClock,
    /// CA, OCSP, TSA.
    pub trust: Trust,
    /// The configuration.
    pub network: Network,
    /// The gateway that asks.
    pub consumer: Node,
    /// The gateway that answers.
    pub provider: Node,
    /// The peer that misbehaves.
    pub rogue: Rogue,
    /// The provider's service.
    pub service: InformationService,
    /// All files.
    pub folder: tempfile::TempDir,
}

/// Settings of a world that differ from the usual: texts of `gateway.toml`, and what stands in their place.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Of the consumer.
    pub consumer: Vec<(&'static str, String)>,
    /// Of the provider.
    pub provider: Vec<(&'static str, String)>,
}

impl World {
    /// Makes the usual one and waits until an exchange can succeed.
    pub async fn start() -> Self {
        Self::wish(Wishes::default()).await
    }

    /// Makes one with wishes.
    pub async fn wish(wishes: Wishes) -> Self {
        let world = Self::wish_unwell(wishes).await;
        world.consumer.is_well(true).await;
        world.provider.is_well(true).await;
        world
    }

    /// Makes one with wishes that leave a gateway unwell: it is up, and that is all.
    pub async fn wish_unwell(wishes: Wishes) -> Self {
        let hosts = Hosts::new();
        let folder = tempfile::Builder::new().prefix("world-").tempdir_in(scratch()).unwrap();
        let clock = TurnedClock::default();
        let trust = Trust::start(hosts.host(0), &clock).await;
        let network = Network::start(hosts.host(1), &clock, &trust).await;
        let service = InformationService::start(hosts.host(5)).await;
        let rogue = Rogue::start(hosts.host(4), &clock, &trust).await;

        let mut consumer =
            Node::make(&folder.path().join("consumer"), hosts.host(2), ("1001", "ss1"), &clock, &trust).await;
        let mut provider =
            Node::make(&folder.path().join("provider"), hosts.host(3), ("2002", "ss2"), &clock, &trust).await;
        if node::over_quic() {
            for (node, server) in [(&consumer, "ss1"), (&provider, "ss2")] {
                network.speaks_quic(ServerId::new(node.id(), server).unwrap(), 5500);
            }
        }
        network
            .publish(|shared| {
                register(
                    shared,
                    &consumer.id(),
                    "ss1",
                    consumer.host,
                    &[&consumer.auth],
                    &["portal", "pinned"],
                );
                register(shared, &provider.id(), "ss2", provider.host, &[&provider.auth], &["registry"]);
                register(shared, &member("3003"), "ss3", rogue.host, &[&rogue.auth], &["other", "fake"]);
            })
            .await;
        consumer.configure(&network, &consumer_clients(&consumer), &wishes.consumer);
        provider.configure(&network, &provider_clients(&service), &wishes.provider);
        consumer.start().await;
        provider.start().await;
        Self { clock, trust, network, consumer, provider, rogue, service, folder }
    }

    /// Whether a gateway has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.consumer.is_finished() || self.provider.is_finished()
    }

    /// Asks through the consumer's HTTP door.
    pub async fn ask(&self, ask: &Ask) -> Reply {
        ask.send_to(&self.consumer.http()).await
    }

    /// A good exchange: the world still works.
    pub async fn is_alive(&self) {
        let calls = self.service.calls();
        let reply = self.ask(&Ask::get(&format!("{RECORDS}/alive"))).await;
        assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());
        assert_eq!(self.service.calls(), calls + 1, "a good exchange calls the service once");
    }

    /// Stops both gateways, gracefully.
    pub async fn stop(&mut self) {
        self.consumer.stop().await;
        self.provider.stop().await;
    }

    /// Publishes a change and waits until both gateways go by it.
    pub async fn publish(&self, change: impl FnOnce(&mut SharedParams)) {
        self.network.publish(change).await;
        self.taken_up().await;
    }

    /// Waits until both gateways go by what was published last.
    pub async fn taken_up(&self) {
        let directory = self.network.directory();
        for node in [&self.consumer, &self.provider] {
            soon("the configuration is taken up", || node.signed_directory().as_deref() == Some(&directory))
                .await;
        }
    }

    /// Two minutes on, every gateway asks for the OCSP responses of its own certificates again; waits until health says
    /// what is expected of (consumer, provider).
    pub async fn renew_ocsp(&self, well: (bool, bool)) {
        let before = self.trust.ocsp_calls();
        self.clock.advance(Duration::from_secs(120));
        self.publish(|_| {}).await;
        soon("OCSP responses are asked for", || self.trust.ocsp_calls() >= before + 4).await;
        self.consumer.is_well(well.0).await;
        self.provider.is_well(well.1).await;
    }

    /// A [`Signatory`] with a fresh signing certificate of the approved authority.
    pub async fn signatory(&self, code: &str) -> Signatory {
        let holder = self.trust.ca.issue(Profile::Sign, &sign_subject(code)).await;
        let ocsp = self.trust.ocsp(&holder.certificate).await;
        Signatory { holder, ocsp }
    }
}

/// A member of the instance.
pub fn member(code: &str) -> MemberId {
    MemberId::new(INSTANCE, "GOV", code).unwrap()
}

/// A subsystem of a member.
pub fn client(code: &str, subsystem: &str) -> ClientId {
    member(code).subsystem(subsystem).unwrap()
}

/// The subject of a member's signing certificate.
pub fn sign_subject(code: &str) -> String {
    format!("C={INSTANCE}, O=GOV, CN={code}")
}

/// Registers a member with its subsystems and its server.
pub fn register(
    shared: &mut SharedParams,
    owner: &MemberId,
    server: &str,
    host: Ipv4Addr,
    certificates: &[&Holder],
    subsystems: &[&str],
) {
    let clients: Vec<ClientId> = subsystems.iter().map(|code| owner.subsystem(*code).unwrap()).collect();
    shared.members.push(conf::shared_params::Member {
        id: owner.clone(),
        name: owner.to_string(),
        subsystems: clients
            .iter()
            .map(|id| conf::shared_params::Subsystem { id: id.clone(), name: None })
            .collect(),
    });
    shared.servers.push(Server {
        owner: owner.clone(),
        code: server.to_owned(),
        address: Some(host.to_string()),
        auth_cert_hashes: certificates.iter().map(|holder| holder.hash()).collect(),
        clients,
        maintenance: None,
    });
}

/// Waits for what must happen, but not for ever.
///
/// # Panics
/// After twenty seconds.
pub async fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(what, waiting).await;
}

/// The outcome of what must not take long.
///
/// # Panics
/// After twenty seconds.
pub async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), happens).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("this takes too long: {what}"),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn consumer_clients(consumer: &Node) -> String {
    let pinned = consumer.put("pinned.pem", consumer.pinned.certificate.to_pem().as_bytes());
    format!(
        "[[client]]\nid = \"{PORTAL}\"\nauthentication = \"http\"\n\n\
         [[client]]\nid = \"DEMO/GOV/1001/pinned\"\nauthentication = \"certificate\"\ncertificates = [\"{}\"]\n",
        pinned.display()
    )
}

fn provider_clients(service: &InformationService) -> String {
    let url = service.url();
    format!(
        "[[client]]\nid = \"DEMO/GOV/2002/registry\"\nauthentication = \"http\"\n\n\
         [[client.service]]\ncode = \"records\"\nurl = \"{url}/base\"\ntimeout = \"500 ms\"\n\
         [[client.service.allow]]\nto = \"{PORTAL}\"\n[[client.service.allow]]\nto = \"DEMO/GOV/3003/other\"\n\n\
         [[client.service]]\ncode = \"parted\"\nurl = \"{url}/parted\"\n\
         [[client.service.allow]]\nto = \"{PORTAL}\"\nendpoints = [\"GET /open/*\", \"POST /open/*/notes\"]\n\n\
         [[client.service]]\ncode = \"closed\"\nurl = \"{url}/closed\"\n\n\
         [[client.service]]\ncode = \"off\"\nurl = \"{url}/off\"\ndisabled = \"moved house\"\n\
         [[client.service.allow]]\nto = \"{PORTAL}\"\n\n\
         [[client.service]]\ncode = \"people\"\nversion = \"v1\"\nprotocol = \"soap\"\nurl = \"{url}/soap\"\n\
         timeout = \"500 ms\"\n[[client.service.allow]]\nto = \"{PORTAL}\"\n\n\
         [[client.service]]\ncode = \"shut\"\nprotocol = \"soap\"\nurl = \"{url}/soap\"\n\n\
         [[client.service]]\ncode = \"down\"\nurl = \"http://{}:1/\"\n\
         [[client.service.allow]]\nto = \"{PORTAL}\"\n",
        service.host
    )
}

/// Addresses of one world: 127.x.y.z of its own.
struct Hosts(u32);

impl Hosts {
    fn new() -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(1);
        let number = WORLDS.fetch_add(1, Ordering::SeqCst);
        Self(((std::process::id() & 0x7fff) << 9) | ((number & 0x3f) << 3))
    }

    fn host(&self, role: u32) -> Ipv4Addr {
        let [_, x, y, z] = (self.0 | role).to_be_bytes();
        Ipv4Addr::new(127, x, y, z)
    }
}

/// Where worlds lie: never on a file system in memory, if that can be avoided.
fn scratch() -> std::path::PathBuf {
    std::env::temp_dir()
}
