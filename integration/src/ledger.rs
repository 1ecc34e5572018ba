//! Whether answered exchanges have their evidence: a load that keeps a ledger outside the gateways, and the comparison
//! of that ledger with both logs.
//!
//! The ledger is written and synced before the next request is sent: whatever stands in it was answered.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cert_authority::clock::{Clock, SystemClock};
use conf::snapshot::GlobalConf;
use gateway::evidence::signature::{SignatureBundle, TrustCache, verify};
use gateway::message::digests::PartDigests;
use gateway::messagelog::reader::StoredRecord;
use gateway::messagelog::{self, LogError, MessageRecord, Record, audit, service};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::demo::layout::{CONSUMER, Layout, PROVIDER, SERVICE};

/// Between a refusal and the next request of a connection: a gateway that starts needs the processor itself.
const AFTER_REFUSAL: Duration = Duration::from_millis(25);

/// What was answered, in the order of the answers.
#[derive(Debug)]
pub struct Ledger {
    file: Mutex<File>,
    answered: AtomicUsize,
    refused: AtomicUsize,
    ids: Mutex<Vec<String>>,
}

impl Ledger {
    /// A new ledger in a file of its own, on another place than the logs.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            file: Mutex::new(File::create(path)?),
            answered: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            ids: Mutex::default(),
        })
    }

    /// How many exchanges were answered so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Acquire)
    }

    /// How many requests had no good answer: the gateway was down, or told a fault.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Acquire)
    }

    /// The message ids of all answered exchanges.
    pub fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, id: &str) -> std::io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{id}")?;
        file.sync_data()?;
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_owned());
        self.answered.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

/// Requests to the consumer's doors, over `connections` connections, each pausing `pause` between two requests, until
/// `stop` turns true.
#[derive(Debug, Clone)]
pub struct Load {
    /// The plain HTTP doors of the consumer's gateways; loopback. Connections are spread over them; one that breaks is
    /// made anew to the next.
    pub doors: Vec<SocketAddr>,
    /// Client of all requests.
    pub client: String,
    /// Path of all requests, `/r1/...`.
    pub path: String,
    /// Connections.
    pub connections: usize,
    /// Pause between two requests of a connection.
    pub pause: Duration,
}

impl Load {
    /// Declarations of the demo's portal to the demo's register, with the usual pause of 5 ms.
    #[must_use]
    pub fn declarations(layout: &Layout, connections: usize) -> Self {
        Self {
            doors: vec![layout.http(&CONSUMER)],
            client: CONSUMER.client(),
            path: format!("/r1/{}/{SERVICE}/declarations", PROVIDER.client()),
            connections,
            pause: Duration::from_millis(5),
        }
    }

    /// Starts it in the background.
    #[must_use]
    pub fn start(self, ledger: &Arc<Ledger>) -> Driver {
        let stop = Arc::new(AtomicBool::new(false));
        Driver { task: tokio::spawn(self.run(Arc::clone(ledger), Arc::clone(&stop))), stop }
    }

    /// Runs until told to stop.
    pub async fn run(self, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) {
        let workers: Vec<_> = (0..self.connections)
            .map(|worker| {
                let (load, ledger, stop) = (self.clone(), Arc::clone(&ledger), Arc::clone(&stop));
                tokio::spawn(async move { load.connection(worker, &ledger, &stop).await })
            })
            .collect();
        for worker in workers {
            let _ = worker.await;
        }
    }

    async fn connection(&self, worker: usize, ledger: &Ledger, stop: &AtomicBool) {
        let mut number = 0_u64;
        for door in self.doors.iter().cycle().skip(worker) {
            if stop.load(Ordering::Acquire) {
                break;
            }
            // A connection that broke (a gateway was killed) is made anew; the request that was under way is not
            // repeated: it has an id of its own.
            if self.until_it_breaks(*door, worker, &mut number, ledger, stop).await.is_err() {
                ledger.refused.fetch_add(1, Ordering::AcqRel);
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
    }

    async fn until_it_breaks(
        &self,
        door: SocketAddr,
        worker: usize,
        number: &mut u64,
        ledger: &Ledger,
        stop: &AtomicBool,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(door).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        while !stop.load(Ordering::Acquire) {
            *number += 1;
            let id = format!("ledger-{worker}-{number}");
            let request = Request::post(&self.path)
                .header("Host", door.to_string())
                .header("X-Road-Client", &self.client)
                .header("X-Road-Id", &id)
                .header("Content-Type", "application/json")
                .body(Full::new(Bytes::from(format!("{{\"declaration\":\"{id}\"}}"))))?;
            let answer = sender.send_request(request).await?;
            let good = answer.status() == 200;
            let body = answer.into_body().collect().await?.to_bytes();
            if good && !body.is_empty() {
                ledger.note(&id)?;
                tokio::time::sleep(self.pause).await;
            } else {
                ledger.refused.fetch_add(1, Ordering::AcqRel);
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
            sender.ready().await?;
        }
        Ok(())
    }
}

/// A load that runs in the background.
#[derive(Debug)]
pub struct Driver {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Driver {
    /// Lets each connection finish the request that is under way, and waits for it.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.task.await;
    }
}

/// What the comparison found; nothing, when every answered exchange has its evidence.
#[derive(Debug, Default)]
pub struct Findings {
    /// Each one in words.
    pub missing: Vec<String>,
    /// Messages whose signature was verified.
    pub verified: usize,
}

/// Compares the ledger with the log of one side: for each answered exchange exactly one request and one answer, both
/// with signatures that verify against what the log says was signed; and the log as a whole in order, with every body.
///
/// A log that cannot be read is a finding, too: whatever it holds is no evidence then.
#[must_use]
pub fn compare(side: &str, log: &messagelog::Config, conf: &GlobalConf, ids: &[String]) -> Findings {
    let mut findings = Findings::default();
    if let Err(error) = findings.log(side, log, conf, ids) {
        findings.missing.push(format!("{side}: the log cannot be read: {error}"));
    }
    findings
}

impl Findings {
    /// Adds those of the other side.
    pub fn add(&mut self, other: Self) {
        self.missing.extend(other.missing);
        self.verified += other.verified;
    }

    fn log(
        &mut self,
        side: &str,
        log: &messagelog::Config,
        conf: &GlobalConf,
        ids: &[String],
    ) -> Result<(), LogError> {
        let verdict = audit::audit(log, &mut ())?;
        for finding in verdict.findings {
            self.missing.push(format!("{side}: the log is damaged: {finding}"));
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let reader = service::read_only(log, &clock)?;
        let trust = TrustCache::default();
        for id in ids {
            self.exchange(side, id, &reader.by_message_id(id)?, conf, &trust);
        }
        Ok(())
    }

    /// Judges what one side has of one exchange.
    pub fn exchange(
        &mut self,
        side: &str,
        id: &str,
        records: &[StoredRecord],
        conf: &GlobalConf,
        trust: &TrustCache,
    ) {
        let mut count: HashMap<&str, usize> = HashMap::new();
        for StoredRecord { time, record, .. } in records {
            let (kind, message) = match record {
                Record::Request(message) => ("request", message),
                Record::Response(message) => ("response", message),
                _ => continue,
            };
            *count.entry(kind).or_default() += 1;
            let signer = match kind {
                "request" => message.client.member(),
                _ => message.service.client().member(),
            };
            let (digests, bundle) = evidence(message);
            match digests.map(|digests| verify((), &digests, &bundle, conf, trust, signer, *time)) {
                Some(Ok(_)) => self.verified += 1,
                Some(Err(error)) => {
                    self.missing.push(format!("{side} {id}: {kind} does not verify: {error}"));
                }
                None => self.missing.push(format!("{side} {id}: {kind} has no parts")),
            }
        }
        for kind in ["request", "response"] {
            let found = count.get(kind).copied().unwrap_or_default();
            if found != 1 {
                self.missing.push(format!("{side} {id}: {found} {kind} records"));
            }
        }
    }
}

fn evidence(message: &MessageRecord) -> (Option<PartDigests>, SignatureBundle) {
    let digests = message.parts.split_first().map(|(first, rest)| PartDigests {
        algorithm: first.digest.algorithm(),
        message: first.digest,
        attachments: rest.iter().map(|part| part.digest).collect(),
    });
    let bundle = SignatureBundle {
        signature_xml: message.signature.clone(),
        hash_chain_result: message.hash_chain_result.clone(),
        hash_chain: message.hash_chain.clone(),
    };
    (digests, bundle)
}
