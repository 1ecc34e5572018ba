//! A gateway as its operator has it: a folder with `gateway.toml` and keys, run by [`gateway::gateway::serve_with`].

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock, SystemClock};
use cert_authority::durable;
use cert_authority::keys::Pin;
use cert_authority::keys::inventory::{Inventory, Usage};
use cert_authority::keys::software::SoftwareKeys;
use cert_authority::x509::issue::Profile;
use conf::identifier::MemberId;
use conf::snapshot::GlobalConf;
use gateway::evidence::signature::{self, SignatureBundle, TrustCache};
use gateway::gateway::StartError;
use gateway::message::digests::PartDigests;
use gateway::messagelog::reader::{Filter, Order, Reader, StoredRecord};
use gateway::messagelog::record::{Outcome, TimestampRecord};
use gateway::messagelog::{self, Record};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::authority::{Holder, Key, Trust};
use super::http1::Message;
use super::network::Network;
use super::{INSTANCE, TurnedClock, lock, member, sign_subject, within};

/// A gateway.
pub struct Node {
    /// Its folder.
    pub folder: PathBuf,
    /// Its address.
    pub host: Ipv4Addr,
    /// Its signing certificate.
    pub sign: Holder,
    /// Its authentication certificate.
    pub auth: Holder,
    /// The certificate of its HTTPS door.
    pub tls: Holder,
    /// The certificate of an information system of its own.
    pub pinned: Holder,
    code: String,
    server: String,
    clock: TurnedClock,
    log: PathBuf,
    running: Option<(watch::Sender<bool>, Run)>,
}

/// What a gateway that speaks QUIC has in its settings, before its administration. Exchanges wait until the connection stands.
const QUIC: &str = "[quic]\nlisten = \"{host}:5500\"\nwait = \"10 s\"\n\n[administration]";

/// Whether every gateway of every world speaks QUIC, and everybody knows: `PASSERELLE_WORLD=quic`.
pub(crate) fn over_quic() -> bool {
    std::env::var_os("PASSERELLE_WORLD").is_some_and(|world| world == "quic")
}

/// A wish for a gateway that does not speak QUIC, whatever the others do.
pub fn over_tcp() -> (&'static str, String) {
    ("[administration]\n", "[quic]\nlisten = \"off\"\n\n[administration]\n".to_owned())
}

/// A gateway that runs.
type Run = JoinHandle<Result<(), StartError>>;

/// What the log says of one message, in short: `request`, `response`, `fault CODE`, `in doubt CODE`.
pub fn kinds(records: &[StoredRecord]) -> Vec<String> {
    records
        .iter()
        .map(|stored| match &stored.record {
            Record::Request(_) => "request".to_owned(),
            Record::Response(_) => "response".to_owned(),
            Record::Outcome(outcome) => {
                let kind = if outcome.outcome == Outcome::InDoubt { "in doubt" } else { "fault" };
                format!("{kind} {}", outcome.fault_code.as_deref().unwrap_or("-"))
            }
            other => format!("{:?}", other.kind()),
        })
        .collect()
}

impl Node {
    pub(crate) async fn make(
        folder: &Path,
        host: Ipv4Addr,
        (code, server): (&str, &str),
        clock: &TurnedClock,
        trust: &Trust,
    ) -> Self {
        let keys = folder.join("keys");
        std::fs::create_dir_all(&keys).unwrap();
        let subject = format!("C={INSTANCE}, CN={server}");
        let [sign, auth, tls] = prepared_keys(&keys, code);
        let node = Self {
            folder: folder.to_owned(),
            host,
            sign: trust.ca.certify(sign, Profile::Sign, &sign_subject(code)).await,
            auth: trust.ca.certify(auth, Profile::Auth, &subject).await,
            tls: trust.other.certify(tls, Profile::Tls, "CN=door").await,
            pinned: trust.other.issue(Profile::Tls, "CN=information system").await,
            code: code.to_owned(),
            server: server.to_owned(),
            clock: clock.clone(),
            log: folder.join("log"),
            running: None,
        };
        for holder in [&node.sign, &node.auth, &node.tls] {
            Inventory::load(&keys).unwrap().import_certificate(&holder.certificate.to_pem()).unwrap();
        }
        node
    }

    /// Puts a key with its certificate into the folder of keys, as `keys import` does.
    pub fn add_key(&self, usage: Usage, holder: &Holder) {
        let directory = self.folder.join("keys");
        let pin = Pin::from_file(directory.join("pin")).unwrap();
        let keys = SoftwareKeys::open(&directory, &pin).unwrap();
        keys.import(&holder.key.pkcs8, usage, "test", None, self.clock.now()).unwrap();
        Inventory::load(&directory).unwrap().import_certificate(&holder.certificate.to_pem()).unwrap();
    }

    pub(crate) fn configure(&mut self, network: &Network, clients: &str, wishes: &[(&str, String)]) {
        self.put("anchor.xml", network.anchor().as_bytes());
        let host = self.host;
        let toml = format!(
            "[server]\nid = \"{INSTANCE}/GOV/{}/{}\"\n\n\
             [configuration]\nanchor = \"anchor.xml\"\nevery = \"50 ms\"\n\n\
             [doors]\nhttp = \"{host}:8080\"\nhttps = \"{host}:8443\"\n\n\
             [peers]\nlisten = \"{host}:5500\"\nocsp_listen = \"{host}:5577\"\nrevocations = \"off\"\n\n\
             [administration]\nlisten = \"{host}:4000\"\n\n\
             [log]\ndirectory = \"log\"\nreserve = \"1 MiB\"\n\n\
             [timestamping]\ninterval = \"50 ms\"\nacceptable_failure = \"4 h\"\n\n\
             [timeouts]\nanswer = \"3 s\"\n\n{clients}",
            self.code, self.server
        );
        let toml = wishes.iter().fold(toml, |toml, (from, to)| {
            assert!(toml.contains(from), "{from} is not in the settings");
            toml.replace(from, to)
        });
        let toml = match over_quic() && !toml.contains("[quic]") {
            true => toml.replacen("[administration]", QUIC, 1),
            false => toml,
        };
        let toml = toml.replace("{host}", &host.to_string());
        if let Some(directory) = toml.lines().skip_while(|line| *line != "[log]").nth(1) {
            let directory = directory.trim_start_matches("directory = ").trim_matches('"');
            self.log = self.folder.join(directory);
        }
        self.put("gateway.toml", toml.as_bytes());
    }

    /// Writes a file of its folder.
    pub fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        durable::write(&path, content).unwrap();
        path
    }

    /// Its settings as they stand.
    pub fn settings(&self) -> String {
        std::fs::read_to_string(self.folder.join("gateway.toml")).unwrap()
    }

    /// Changes its settings, as an editor does.
    pub fn edit(&self, from: &str, to: &str) {
        let settings = self.settings();
        assert!(settings.contains(from), "{from} is not in the settings");
        self.put("gateway.toml", settings.replace(from, to).as_bytes());
    }

    /// Starts it and waits until it has what it needs for an exchange.
    pub async fn start(&mut self) {
        self.launch().await;
        self.is_ready().await;
    }

    /// Starts it and waits until its doors are open.
    pub async fn launch(&mut self) {
        let (stop, stopped) = watch::channel(false);
        let path = self.folder.join("gateway.toml");
        let clock = self.clock.shared();
        within("the run before has let go of the port of QUIC", async {
            // It does when the last of its connections has ended, also for whoever hears nothing of it.
            while UdpSocket::bind((self.host, 5500)).is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let task = tokio::spawn(async move { gateway::gateway::serve_with(&path, clock, stopped).await });
        self.running = Some((stop, task));
        within("the doors are open", async {
            // The last that is opened.
            while TcpStream::connect((self.host, 4000)).await.is_err() {
                assert!(
                    !self.is_finished(),
                    "the gateway has ended before it was ready: {}",
                    self.settings()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Waits until it has what it needs for an exchange.
    pub async fn is_ready(&self) {
        within("the gateway is ready", async {
            while !self.has_ocsp_responses().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    pub(super) fn is_finished(&self) -> bool {
        self.running.as_ref().is_some_and(|(_, task)| task.is_finished())
    }

    /// Whether it is up and has OCSP responses for its certificates: without them it can sign nothing. Health does not
    /// tell before the responders have been asked once.
    async fn has_ocsp_responses(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((self.host, 5577)).await else { return false };
        let [one, other] = [&self.auth, &self.sign]
            .map(|holder| holder.certificate.fingerprint(DigestAlgorithm::Sha1).hex());
        let request =
            format!("GET /?cert={one}&cert={other} HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        Message::read(&mut stream, false).await.is_some_and(|answer| answer.first.contains(" 200 "))
    }

    /// Asks it to stop; gives the task to wait for.
    pub fn begin_to_stop(&mut self) -> Run {
        let (stop, task) = self.running.take().unwrap();
        let _ = stop.send(true);
        task
    }

    /// Stops it and waits for its end.
    pub async fn stop(&mut self) {
        let task = self.begin_to_stop();
        within("stopping", task).await.unwrap().unwrap();
    }

    /// Address of its HTTP door.
    pub fn http(&self) -> String {
        format!("{}:8080", self.host)
    }

    /// Address of its HTTPS door.
    pub fn https(&self) -> String {
        format!("{}:8443", self.host)
    }

    /// Address of its peer door.
    pub fn peers(&self) -> String {
        format!("{}:5500", self.host)
    }

    /// The member that it belongs to.
    pub fn id(&self) -> MemberId {
        member(&self.code)
    }

    /// What its administration port answers to `GET path`.
    pub async fn administration(&self, path: &str) -> Message {
        let mut stream = within("connecting", TcpStream::connect((self.host, 4000))).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        stream.write_all(request.as_bytes()).await.unwrap();
        within("an answer", Message::read(&mut stream, false)).await.unwrap()
    }

    /// Waits until `/health` says so; gives what it says.
    pub async fn is_well(&self, well: bool) -> String {
        let waiting = async {
            loop {
                let health = self.administration("/health").await;
                if health.first.contains(" 200 ") == well {
                    return String::from_utf8_lossy(&health.body).into_owned();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(if well { "the gateway is well" } else { "the gateway is unwell" }, waiting).await
    }

    /// The signed directory of the configuration that it keeps.
    pub fn signed_directory(&self) -> Option<Bytes> {
        std::fs::read(self.folder.join("globalconf").join(INSTANCE).join(".signed-directory"))
            .ok()
            .map(Bytes::from)
    }

    /// Its log as it is on disk now.
    pub fn log(&self) -> Reader {
        let config = messagelog::Config {
            key_file: self.folder.join("keys/log.key"),
            ..messagelog::Config::new(&self.log)
        };
        messagelog::service::read_only(&config, &self.clock.shared()).unwrap()
    }

    /// When its log was written to last.
    pub fn log_written(&self) -> SystemTime {
        let segments = std::fs::read_dir(self.log.join("segments")).unwrap();
        segments.map(|file| file.unwrap().metadata().unwrap().modified().unwrap()).max().unwrap()
    }

    /// What the log has of a message.
    pub fn records(&self, message_id: &str) -> Vec<StoredRecord> {
        self.log().by_message_id(message_id).unwrap()
    }

    /// The same, in short.
    pub fn trace(&self, message_id: &str) -> Vec<String> {
        kinds(&self.records(message_id))
    }

    /// How many messages are logged.
    pub fn messages(&self) -> usize {
        let records = self.log().find(&Filter::default(), Order::OldestFirst, None, 100_000).unwrap();
        records.iter().filter(|stored| stored.record.message().is_some()).count()
    }

    /// The time-stamp of a record.
    pub fn timestamp_of(&self, sequence: u64) -> Option<TimestampRecord> {
        self.log().timestamp_of(sequence).unwrap()
    }

    /// The configuration as it lies in its folder.
    pub fn conf(&self) -> GlobalConf {
        GlobalConf::load_dir(self.folder.join("globalconf")).unwrap()
    }

    /// Whether every message of this id that is logged has a signature of its sender that verifies now.
    pub fn verifies(&self, message_id: &str) {
        let conf = self.conf();
        for stored in self.records(message_id) {
            let Some(message) = stored.record.message() else { continue };
            let mut parts = message.parts.iter().map(|part| part.digest);
            let first = parts.next().expect("a message has a part");
            let digests =
                PartDigests { algorithm: first.algorithm(), message: first, attachments: parts.collect() };
            let bundle = SignatureBundle {
                signature_xml: message.signature.clone(),
                hash_chain_result: message.hash_chain_result.clone(),
                hash_chain: message.hash_chain.clone(),
            };
            let sender = match stored.record {
                Record::Request(_) => message.client.member(),
                _ => message.service.client().member(),
            };
            let now = Arc::new(self.clock.clone()).now();
            let verdict =
                signature::verify((), &digests, &bundle, &conf, &TrustCache::default(), sender, now);
            assert!(verdict.is_ok(), "{message_id}: {:?}", verdict.err());
        }
    }
}

/// Puts the keys of a node into its folder. Encrypting a key is slow by intention, so each is made and encrypted once
/// for all worlds of the process; every world certifies it anew.
fn prepared_keys(folder: &Path, code: &str) -> [Arc<Key>; 3] {
    static PREPARED: OnceLock<Mutex<HashMap<String, Prepared>>> = OnceLock::new();
    let mut prepared = lock(PREPARED.get_or_init(Mutex::default));
    let Prepared { keys, files } = prepared.entry(code.to_owned()).or_insert_with(Prepared::fresh);
    for (name, content) in files {
        durable::write_secret(folder.join(name), content).unwrap();
    }
    keys.clone()
}

struct Prepared {
    keys: [Arc<Key>; 3],
    files: Vec<(OsString, Vec<u8>)>,
}

impl Prepared {
    fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        durable::write_secret(folder.path().join("pin"), b"1234").unwrap();
        let pin = Pin::from_file(folder.path().join("pin")).unwrap();
        let store = SoftwareKeys::open(folder.path(), &pin).unwrap();
        let keys = [Usage::Sign, Usage::Auth, Usage::Tls].map(|usage| {
            let key = Key::fresh();
            store.import(&key.pkcs8, usage, "test", None, SystemClock.now()).unwrap();
            Arc::new(key)
        });
        let files = std::fs::read_dir(folder.path()).unwrap().flatten();
        let files = files.map(|file| (file.file_name(), std::fs::read(file.path()).unwrap())).collect();
        Self { keys, files }
    }
}
