//! What runs beside the exchanges: it takes their observations a few times a second, counts, measures and keeps
//! them, and sends their traces.
//!
//! Not here: how records are kept (`store`), and counted ([`super::statistics`]).

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use conf::identifier::ServerId;
use metrics::{Counter, Histogram};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Shared;
use super::observation::{Observed, Step};
use super::record::ServerType;
use super::store::Store;
use super::traces::Exporter;
use crate::fault::Leaf;

/// How often observations are taken.
const EVERY: Duration = Duration::from_millis(250);
/// How often what is too old is removed, and our own address looked up.
const TIDYING: Duration = Duration::from_secs(60);

/// Spans that wait for those before them to be taken, at most.
const MOST_SPANS: usize = 64 * 1024;

/// Spans on their way to a collector.
struct Traces {
    exporter: Arc<Exporter>,
    spans: Vec<SpanData>,
    sending: Option<JoinHandle<()>>,
}

/// Records for a [`super::Monitor`].
pub struct Recorder {
    shared: Arc<Shared>,
    observed: mpsc::Receiver<Observed>,
    store: Option<Store>,
    traces: Option<Traces>,
    tidied: Option<Instant>,
    internal_ip: String,
    meters: Meters,
    broken: bool,
}

impl Recorder {
    pub(super) fn new(
        shared: Arc<Shared>,
        observed: mpsc::Receiver<Observed>,
        traces: Option<Exporter>,
    ) -> Self {
        let internal_ip = internal_ip();
        let traces =
            traces.map(|exporter| Traces { exporter: Arc::new(exporter), spans: Vec::new(), sending: None });
        let meters = Meters::default();
        Self { shared, observed, store: None, traces, tidied: None, internal_ip, meters, broken: false }
    }

    /// Records until `stop` turns true, and then what there still is.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let stopped = tokio::select! {
                () = tokio::time::sleep(EVERY) => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            self = match tokio::task::spawn_blocking(move || self.round()).await {
                Ok(recorder) => recorder,
                Err(error) => return tracing::error!(%error, "monitoring has stopped"),
            };
            if let Some(traces) = &mut self.traces {
                traces.send(stopped).await;
            }
            if stopped {
                return;
            }
        }
    }

    /// Takes what there is.
    fn round(mut self) -> Self {
        let mut taken = Vec::new();
        while let Ok(observed) = self.observed.try_recv() {
            taken.push(observed);
        }
        let mut statistics = self.shared.statistics();
        for observed in &taken {
            statistics.count(&observed.record);
        }
        drop(statistics);
        taken.iter().for_each(|observed| self.meters.measure(observed));
        if let Some(traces) = &mut self.traces {
            taken.iter().for_each(|observed| traces.add(observed));
        }
        self.keep(&taken);
        self
    }

    fn keep(&mut self, taken: &[Observed]) {
        let tidy = self.tidied.is_none_or(|at| at.elapsed() > TIDYING);
        if taken.is_empty() && !tidy {
            return;
        }
        if tidy {
            self.internal_ip = internal_ip();
            self.tidied = Some(Instant::now());
        }
        let kept = self.keep_in_files(taken, tidy);
        match &kept {
            Err(error) if !self.broken => tracing::error!(%error, "records of exchanges cannot be kept"),
            Ok(()) if self.broken => tracing::info!("records of exchanges can be kept again"),
            _ => {}
        }
        self.broken = kept.is_err();
        if self.broken {
            self.shared.lose(taken.len(), "files");
        }
    }

    fn keep_in_files(&mut self, taken: &[Observed], tidy: bool) -> std::io::Result<()> {
        let settings = &self.shared.settings;
        let Some(directory) = &settings.directory else { return Ok(()) };
        let now = u64::try_from(self.shared.clock.now().as_secs()).unwrap_or(0);
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(Store::open(directory.clone(), settings.keep, settings.room)?),
        };
        if !taken.is_empty() {
            let ip = &self.internal_ip;
            let records = taken.iter().map(|observed| &observed.record);
            store.append(now, records.map(|record| |out: &mut Vec<u8>| record.write_fields(ip, out)))?;
        }
        if tidy { store.clean(now) } else { Ok(()) }
    }
}

impl Traces {
    fn add(&mut self, observed: &Observed) {
        let spans = self.exporter.spans(observed);
        if self.spans.len().saturating_add(spans.len()) > MOST_SPANS {
            let lost = u64::try_from(spans.len()).unwrap_or(u64::MAX);
            metrics::counter!("passerelle_spans_lost_total").increment(lost);
            return;
        }
        self.spans.extend(spans);
    }

    /// Sends what there is, beside everything else; one request at a time, and at the end the last one.
    async fn send(&mut self, last: bool) {
        if let Some(sending) = self.sending.take_if(|sending| last || sending.is_finished()) {
            let _ = sending.await;
        }
        if self.sending.is_some() || self.spans.is_empty() {
            return;
        }
        let (exporter, spans) = (Arc::clone(&self.exporter), std::mem::take(&mut self.spans));
        let sending = tokio::spawn(async move { exporter.export(spans).await });
        if last {
            let _ = sending.await;
        } else {
            self.sending = Some(sending);
        }
    }
}

/// What exchanges are counted and measured with: to find a counter by its labels takes longer than to count.
#[derive(Default)]
struct Meters {
    exchanges: HashMap<(Side, &'static str), Counter>,
    peers: HashMap<(Side, &'static str), HashMap<ServerId, Counter>>,
    seconds: HashMap<Side, Histogram>,
    steps: HashMap<(Side, Step), Histogram>,
}

type Side = &'static str;

impl Meters {
    /// Counts an exchange, and measures how long it took, and each of its steps.
    fn measure(&mut self, observed: &Observed) {
        let side = match observed.record.server_type {
            ServerType::Client => "consumer",
            ServerType::Producer => "provider",
        };
        let outcome = observed.outcome;
        let exchanges = self.exchanges.entry((side, outcome));
        exchanges
            .or_insert_with(
                || metrics::counter!("passerelle_exchanges_total", "side" => side, "outcome" => outcome),
            )
            .increment(1);
        if let Some(peer) = &observed.peer {
            self.count_peer(side, outcome, peer);
        }
        if let Some((code, _)) = &observed.record.fault {
            metrics::counter!("passerelle_faults_total", "side" => side, "code" => known(code)).increment(1);
        }
        let seconds = self.seconds.entry(side);
        seconds
            .or_insert_with(|| metrics::histogram!("passerelle_exchange_seconds", "side" => side))
            .record(observed.took.as_secs_f64());
        let ends = observed.steps.iter().skip(1).map(|(_, begins)| *begins).chain([observed.took]);
        for ((step, begins), ends) in observed.steps.iter().zip(ends) {
            let taken = self.steps.entry((side, *step));
            taken
                .or_insert_with(
                    || metrics::histogram!("passerelle_step_seconds", "side" => side, "step" => step.name()),
                )
                .record(ends.saturating_sub(*begins).as_secs_f64());
        }
    }

    fn count_peer(&mut self, side: Side, outcome: &'static str, peer: &ServerId) {
        let peers = self.peers.entry((side, outcome)).or_default();
        if let Some(counter) = peers.get(peer) {
            return counter.increment(1);
        }
        let labels = [("side", side.to_owned()), ("peer", peer.to_string()), ("outcome", outcome.to_owned())];
        let counter = metrics::counter!("passerelle_peer_exchanges_total", &labels);
        counter.increment(1);
        peers.insert(peer.clone(), counter);
    }
}

/// The last part of a code, if it is one of ours: peers and services may write anything.
fn known(code: &str) -> &'static str {
    let last = code.rsplit('.').next().unwrap_or_default();
    Leaf::ALL.iter().map(|leaf| leaf.wire()).find(|wire| *wire == last).unwrap_or("other")
}

/// The address that we have in our own network: the one from which the world is reached. Nothing is sent.
fn internal_ip() -> String {
    let outwards = |own: &str, far: &str| {
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((far, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    };
    let found = outwards("0.0.0.0", "192.0.2.1").or_else(|| outwards("::", "2001:db8::1"));
    found.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string())
}
