//! QUIC against TCP between two gateways: the transport of both, over a link that delays and loses packets.
//!
//! ```text
//! PeerConnector in a namespace ──► link.py: delay, loss ──► peer door (TCP), QUIC door in another ──► an echo
//! ```
//! `cargo run --release -p benches --bin quic` prints what stands in `benches/README.md`. As root, on Linux; needs python3
//! and /dev/net/tun. In each round every load runs once over TCP and once over QUIC, over the same link. What is measured
//! is the transport with its TLS and its trust alone: what signing, logging and the service cost is the same either way.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use benches::machine;
use bytes::Bytes;
use cert_authority::clock::{Clock as _, UnixTime};
use cert_authority::crypto::Digest;
use cert_authority::error::VerifyError;
use cert_authority::ocsp::CertStatus;
use cert_authority::x509::Certificate;
use cert_authority::x509::chain::{self, ValidChain};
use cert_authority::x509::issue::Profile;
use clap::Parser;
use conf::identifier::{ClientId, ServerId};
use gateway::transport::auth_trust::AuthTrust;
use gateway::transport::ocsp_cache::OcspCache;
use gateway::transport::peer_connector::{Address, PeerConnector, Route};
use gateway::transport::peer_door::{self, PeerReply, PeerRequest, PeerService};
use gateway::transport::peer_registry::{PeerRegistry, Responder};
use gateway::transport::quic::{self, Congestion, Lasting, QuicSettings};
use gateway::transport::{Caller, DoorLimits, PeerSettings, tls};
use integration::world::{Authority, Holder, TurnedClock, client, member};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const PORT: u16 = 5500;

/// Measures exchanges between two gateways over TCP and over QUIC.
#[derive(Parser)]
struct Options {
    /// Rounds; in each, every load runs once over TCP and once over QUIC.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of every single load.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Exchanges at once.
    #[arg(long, default_value_t = 64)]
    parallel: usize,
    /// TCP's congestion control in the namespaces, where the kernel lets it be chosen; QUIC's is CUBIC.
    #[arg(long, default_value = "reno")]
    tcp: String,
    /// QUIC's congestion control: BBR in place of CUBIC.
    #[arg(long)]
    bbr: bool,
    /// Links: round trip in milliseconds, and loss in percent of the packets in each direction.
    #[arg(long, value_delimiter = ',', default_values = ["0:0", "0:1", "40:0", "40:1"])]
    links: Vec<String>,
}

/// What a load came to.
#[derive(Clone, Copy, Default)]
struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    println!("{}\n", machine::describe(Path::new(".")));
    println!(
        "{} rounds of {} s a load, TCP with {}, QUIC with {}; load average before {}.\n",
        options.rounds,
        options.seconds,
        options.tcp,
        if options.bbr { "bbr" } else { "cubic" },
        machine::load()
    );
    println!(
        "| round trip, loss | load | way | exchanges/s | p50 ms | p99 ms | CPU us/exchange |\n|---|---|---|---|---|---|---|"
    );
    for link in &options.links {
        let (round_trip, loss) = link.split_once(':').ok_or("a link is ROUND_TRIP:LOSS")?;
        measure(&options, round_trip.parse()?, loss.parse()?)?;
    }
    println!("\nLoad average after {}.", machine::load());
    Ok(())
}

fn measure(options: &Options, round_trip: f64, loss: f64) -> Result<(), Failure> {
    let link = Link::new(round_trip / 2.0, loss, &options.tcp)?;
    // This thread is the client's from now on.
    enter(&link.client)?;
    let (client_side, server_side) = (runtime(&link.client)?, runtime(&link.server)?);
    let congestion = if options.bbr { Congestion::Bbr } else { Congestion::Cubic };
    let pair = client_side.block_on(Pair::new(congestion));
    let (stop, stopped) = watch::channel(false);
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            enter(&link.server)?;
            server_side.block_on(pair.serve(stopped))
        });
        serving.join().unwrap_or_else(|_| Err("the server's thread has ended".into()))
    })?;
    for load in Load::all(options) {
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            for (way, rounds) in [Way::Tcp, Way::Quic].into_iter().zip(&mut rounds) {
                rounds.push(client_side.block_on(load.run(&pair, way))?);
            }
        }
        for (way, rounds) in ["TCP", "QUIC"].into_iter().zip(&rounds) {
            let Figures { rate, p50, p99, cpu } = median(rounds);
            println!(
                "| {round_trip} ms, {loss} % | {} | {way} | {rate:.0} | {p50:.2} | {p99:.2} | {cpu:.0} |",
                load.name
            );
        }
        let ratio = |of: fn(&Figures) -> f64| {
            let [tcp, quic] = &rounds;
            let mut ratios: Vec<f64> = tcp.iter().zip(quic).map(|(tcp, quic)| of(quic) / of(tcp)).collect();
            ratios.sort_by(f64::total_cmp);
            let middle = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
            let (least, most) = (ratios.first().copied(), ratios.last().copied());
            format!("{middle:.2} ({:.2} to {:.2})", least.unwrap_or(f64::NAN), most.unwrap_or(f64::NAN))
        };
        println!(
            "| {round_trip} ms, {loss} % | {} | **QUIC / TCP** | {} | {} | {} | {} |",
            load.name,
            ratio(|figures| figures.rate),
            ratio(|figures| figures.p50),
            ratio(|figures| figures.p99),
            ratio(|figures| figures.cpu)
        );
    }
    let _ = stop.send(true);
    client_side.shutdown_timeout(Duration::from_secs(1));
    server_side.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// The middle of each figure.
fn median(rounds: &[Figures]) -> Figures {
    let middle = |of: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Figures {
        rate: middle(|f| f.rate),
        p50: middle(|f| f.p50),
        p99: middle(|f| f.p99),
        cpu: middle(|f| f.cpu),
    }
}

/// Two namespaces, and the link between them; gone with it.
struct Link {
    client: Child,
    server: Child,
    link: Child,
}

impl Link {
    fn new(delay: f64, loss: f64, tcp: &str) -> Result<Self, Failure> {
        let namespace = || Command::new("unshare").args(["-n", "sleep", "3600"]).spawn();
        let (client, server) = (namespace()?, namespace()?);
        // Until they are in their namespaces.
        std::thread::sleep(Duration::from_millis(200));
        for child in [&client, &server] {
            let set = format!("echo {tcp} > /proc/sys/net/ipv4/tcp_congestion_control");
            let done = Command::new("nsenter")
                .args(["-t", &child.id().to_string(), "-n", "sh", "-c", &set])
                .status()?;
            if !done.success() {
                return Err(format!("TCP without {tcp}").into());
            }
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("link.py");
        let mut link = Command::new("python3")
            .arg(script)
            .args([client.id().to_string(), server.id().to_string(), delay.to_string(), loss.to_string()])
            .arg("7")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        BufReader::new(link.stdout.take().ok_or("no output")?).read_line(&mut said)?;
        let this = Self { client, server, link };
        if said.trim() == "ready" { Ok(this) } else { Err("the link is not ready".into()) }
    }
}

/// Moves this thread into the network namespace of a process.
fn enter(of: &Child) -> Result<(), Failure> {
    let namespace = File::open(format!("/proc/{}/ns/net", of.id()))?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// A runtime whose threads are in the network namespace of a process.
fn runtime(of: &Child) -> Result<Runtime, Failure> {
    let namespace = File::open(format!("/proc/{}/ns/net", of.id()))?;
    let inside = move || {
        let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
        assert!(entered.is_ok(), "{entered:?}");
    };
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(inside)
        .build()?)
}

impl Drop for Link {
    fn drop(&mut self) {
        for child in [&mut self.link, &mut self.client, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Over what.
#[derive(Clone, Copy)]
enum Way {
    Tcp,
    Quic,
}

/// A configuration of two servers.
struct Known {
    authority: Certificate,
    servers: Vec<(Certificate, ServerId)>,
}

impl PeerRegistry for Known {
    fn snapshot(&self) -> Digest {
        cert_authority::crypto::digest(cert_authority::algorithm::DigestAlgorithm::Sha256, b"bench")
    }

    fn server_of(&self, certificate: &Certificate) -> Option<ServerId> {
        self.servers.iter().find(|(own, _)| own.der() == certificate.der()).map(|(_, id)| id.clone())
    }

    fn has_client(&self, _certificate: &Certificate, _client: &ClientId) -> bool {
        true
    }

    fn chain(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        at: UnixTime,
    ) -> Result<ValidChain, VerifyError> {
        chain::build(certificate, intermediates, std::slice::from_ref(&self.authority), at)
    }

    fn responders(&self, _issuer: &Certificate) -> Vec<Responder> {
        Vec::new()
    }

    fn ocsp_freshness(&self) -> (Duration, bool) {
        (Duration::from_secs(3600), true)
    }

    fn ocsp_interval(&self) -> Duration {
        Duration::from_secs(1200)
    }

    fn quic_port(&self, _server: &ServerId) -> Option<u16> {
        Some(PORT)
    }
}

/// Both ends.
struct Pair {
    known: Arc<Known>,
    trust: Arc<AuthTrust>,
    consumer: Holder,
    provider: Holder,
    congestion: Congestion,
}

impl Pair {
    async fn new(congestion: Congestion) -> Self {
        let clock = TurnedClock::default();
        let authority = Authority::fresh("Bench", &clock).await;
        let consumer = authority.issue(Profile::Auth, "CN=ss1").await;
        let provider = authority.issue(Profile::Auth, "CN=ss2").await;
        let id =
            |code: &str| ServerId::new(member("1001"), code).unwrap_or_else(|_| unreachable!("a fine name"));
        let servers =
            vec![(consumer.certificate.clone(), id("ss1")), (provider.certificate.clone(), id("ss2"))];
        let known = Arc::new(Known { authority: authority.certificate.clone(), servers });
        let trust = Arc::new(AuthTrust::new(clock.shared(), Arc::new(OcspCache::new(None))));
        for holder in [&consumer, &provider] {
            let (about, issuer) = (&holder.certificate, &authority.certificate);
            let good = authority.respond(about, issuer, CertStatus::Good, clock.now()).await;
            let judged = trust.judge(&*known, &holder.identity().chain, &[good], &client("1001", "x"));
            assert!(judged.is_ok(), "{judged:?}");
        }
        Self { known, trust, consumer, provider, congestion }
    }

    async fn serve(&self, stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let known = Arc::clone(&self.known);
        let registered = self.trust.registered(Arc::new(move || {
            let known: Arc<dyn PeerRegistry> = known.clone();
            Some(known)
        }));
        let server = tls::peer_server(self.provider.identity(), Arc::clone(&registered))?;
        let server = Arc::new(ArcSwap::from_pointee(server.into()));
        let address = SocketAddr::from((SERVER, PORT));
        let (listener, limits) = (TcpListener::bind(address).await?, DoorLimits::default());
        let (listen, congestion) = (Some(address), self.congestion);
        let settings = QuicSettings { listen, congestion, ..QuicSettings::default() };
        let lasting = Lasting::of(&self.provider.identity());
        let quic = quic::door::Listener::bind(address, &settings, &lasting)?;
        let echo = Arc::new(Echo);
        let (tls, known, service, until) =
            (Arc::clone(&server), Arc::clone(&registered), Arc::clone(&echo), stop.clone());
        tokio::spawn(quic::door::serve(quic, tls, known, limits.clone(), settings, service, until));
        tokio::spawn(peer_door::serve(listener, server, registered, limits, Some(PORT), echo, stop));
        Ok(())
    }

    fn connector(&self, way: Way) -> Result<PeerConnector, Failure> {
        let listen = match way {
            Way::Tcp => None,
            Way::Quic => Some(SocketAddr::from((SERVER, PORT))),
        };
        let wait = Duration::from_secs(10);
        let congestion = self.congestion;
        let quic = QuicSettings { listen, wait, congestion, ..QuicSettings::default() };
        let settings = PeerSettings { port: PORT, quic, ..PeerSettings::default() };
        let client = tls::peer_client(self.consumer.identity())?;
        let client = Arc::new(ArcSwap::from_pointee(client.into()));
        Ok(PeerConnector::new(settings, client, Arc::clone(&self.trust)))
    }

    async fn exchange(&self, connector: &PeerConnector, body: &Bytes, way: Way) -> Result<(), Failure> {
        let (_, id) = self.known.servers.get(1).ok_or("no provider")?;
        let route = Route {
            provider: client("1001", "x"),
            addresses: vec![Address { server: id.clone(), host: SERVER.to_string() }],
            conf: self.known.clone(),
        };
        let connection = connector.connect(route).await?;
        if matches!(way, Way::Quic) != connection.is_quic() {
            return Err("it went the other way".into());
        }
        let (sender, awaited) = connection.send(Vec::new());
        sender.finish(body.clone()).await?;
        let mut answer = awaited.answer().await?;
        let mut came = 0;
        while let Some(chunk) = answer.body.next().await? {
            came += chunk.len();
        }
        if came == body.len() { Ok(()) } else { Err(format!("{came} bytes came").into()) }
    }
}

/// Sends back what came.
struct Echo;

impl PeerService for Echo {
    async fn serve(&self, mut request: PeerRequest, reply: PeerReply) {
        let mut sender = reply.begin(Vec::new());
        while let Ok(Some(chunk)) = request.body.next().await {
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
        let _ = sender.finish(Bytes::new()).await;
    }

    fn not_registered(&self, _caller: &Caller) -> Bytes {
        Bytes::new()
    }
}

/// A load.
struct Load {
    name: String,
    body: usize,
    parallel: usize,
    duration: Duration,
    /// Whether each exchange begins with a connection of its own.
    fresh: bool,
}

impl Load {
    fn all(options: &Options) -> [Self; 4] {
        let duration = Duration::from_secs(options.seconds);
        let load = |name: &str, body, parallel, fresh| Self {
            name: name.to_owned(),
            body,
            parallel,
            duration,
            fresh,
        };
        let many = format!("10 KB there and back, {} at once", options.parallel);
        [
            load(&many, 10_000, options.parallel, false),
            load("10 KB, one after the other", 10_000, 1, false),
            load("1 MB, 8 at once", 1_000_000, 8, false),
            load("1 KB, each over a new connection", 1000, 1, true),
        ]
    }

    async fn run(&self, pair: &Pair, way: Way) -> Result<Figures, Failure> {
        let (connector, body) = (pair.connector(way)?, Bytes::from(vec![b'x'; self.body]));
        if !self.fresh {
            pair.exchange(&connector, &body, way).await?;
        }
        let (began, cpu) = (tokio::time::Instant::now(), clock_gettime(ClockId::ProcessCPUTime));
        let worker = || async {
            let mut latencies = Vec::new();
            while began.elapsed() < self.duration {
                let at = tokio::time::Instant::now();
                if self.fresh {
                    pair.exchange(&pair.connector(way)?, &body, way).await?;
                } else {
                    pair.exchange(&connector, &body, way).await?;
                }
                latencies.push(at.elapsed().as_secs_f64() * 1000.0);
            }
            Ok::<_, Failure>(latencies)
        };
        let done = futures_util::future::try_join_all((0..self.parallel).map(|_| worker())).await?;
        let (elapsed, after) = (began.elapsed().as_secs_f64(), clock_gettime(ClockId::ProcessCPUTime));
        let mut latencies = done.concat();
        latencies.sort_by(f64::total_cmp);
        #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "figures for people")]
        let (count, used) = (
            latencies.len() as f64,
            (after.tv_sec - cpu.tv_sec) as f64 * 1e6 + (after.tv_nsec - cpu.tv_nsec) as f64 / 1e3,
        );
        let at = |hundredths: usize| {
            let place = (latencies.len() * hundredths / 100).min(latencies.len().saturating_sub(1));
            latencies.get(place).copied().unwrap_or(f64::NAN)
        };
        Ok(Figures { rate: count / elapsed, p50: at(50), p99: at(99), cpu: used / count })
    }
}
