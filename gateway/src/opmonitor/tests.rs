//! A monitor with its recorder, on real files.

use std::sync::Arc;
use std::time::Duration;

use cert_authority::clock::{Clock, FixedClock, UnixTime};
use conf::identifier::ServiceId;
use tokio::sync::watch;

use super::record::{Asked, ExchangeRecord, ServerType, Size};
use super::search::Search;
use super::statistics::Statistics;
use super::{Monitor, QUEUE, Recorder, Settings, Step};
use crate::fault::{Fault, Leaf, Side};
use crate::message::Protocol;

const T0: i64 = 1_700_000_000;

fn settings(directory: &std::path::Path) -> Settings {
    Settings {
        directory: Some(directory.join("monitoring")),
        keep: Duration::from_secs(7 * 86_400),
        room: 1 << 30,
        period: Duration::from_secs(600),
        offset: Duration::from_secs(60),
        most_records: 10_000,
        traces: None,
        limited: false,
    }
}

fn server() -> conf::identifier::ServerId {
    "DEMO/GOV/1001/ss1".parse().unwrap()
}

fn asked(service: &str) -> Asked {
    let (client, code) = service.rsplit_once('/').unwrap();
    Asked {
        protocol: Protocol::Rest,
        described: false,
        client: "DEMO/GOV/1001/portal".parse().unwrap(),
        service: ServiceId::new(client.parse().unwrap(), code, None).unwrap(),
        message_id: "m".to_owned(),
        request_id: "r".to_owned(),
        user_id: None,
        issue: None,
        represented_party: None,
        method: Some("GET"),
        path: None,
    }
}

fn record(service: &str, at: i64, took: i64, succeeded: bool) -> ExchangeRecord {
    ExchangeRecord {
        response_out: Some(UnixTime::from_millis(at + took)),
        asked: Some(asked(service)),
        request: Some(Size { message: 100, attached: 10, attachments: 1 }),
        response: Some(Size { message: 200, ..Size::default() }),
        succeeded,
        ..ExchangeRecord::new(ServerType::Producer, UnixTime::from_millis(at))
    }
}

struct Running {
    monitor: Monitor,
    clock: FixedClock,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn on(settings: Settings) -> Self {
        let clock = FixedClock::new(UnixTime::from_secs(T0));
        let (monitor, recorder) = Monitor::new(settings, &server(), Arc::new(clock.clone())).unwrap();
        let (stop, stopped) = watch::channel(false);
        Self { monitor, clock, stop, task: tokio::spawn(Recorder::run(recorder, stopped)) }
    }

    fn observe(&self, fault: Option<&Fault>) {
        let mut observation = self.monitor.begin(ServerType::Client, self.clock.now());
        observation.step(Step::Read);
        match fault {
            Some(fault) => observation.failed(fault),
            None => observation.answered(),
        }
    }

    /// Stops it, so that all is recorded.
    async fn recorded(self) -> Monitor {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        self.monitor
    }
}

fn everything() -> Search {
    Search { to: u64::MAX, limit: usize::MAX, ..Search::default() }
}

#[tokio::test]
async fn each_exchange_has_a_record_also_one_that_was_refused_and_one_that_was_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::on(settings(folder.path()));
    running.observe(None);
    running.observe(Some(&Fault::new(Leaf::BadRequest, "no").at(Side::ClientProxy)));
    drop(running.monitor.begin(ServerType::Producer, running.clock.now()));
    let monitor = running.recorded().await;
    let found = monitor.search(everything()).await.unwrap();
    let fields = |name: &str| found.records.iter().map(|r| r.get(name).cloned()).collect::<Vec<_>>();
    assert_eq!(fields("succeeded"), [Some(true.into()), Some(false.into()), Some(false.into())]);
    assert_eq!(fields("faultString"), [None, Some("no".into()), None]);
    assert_eq!(fields("monitoringDataTs"), vec![Some(T0.into()); 3]);
    assert!(fields("responseOutTs").iter().all(Option::is_some));
    assert_eq!(monitor.health(), Ok(()));
}

#[tokio::test]
async fn a_store_that_cannot_be_written_costs_records_is_told_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("monitoring");
    std::fs::File::create(&place).unwrap(); // a file where the folder belongs
    let running = Running::on(settings(folder.path()));
    running.observe(None);
    while running.monitor.health().is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(running.monitor.health(), Err("1 records of exchanges were lost".to_owned()));
    std::fs::remove_file(&place).unwrap();
    running.observe(None);
    let clock = running.clock.clone();
    let monitor = running.recorded().await;
    assert_eq!(monitor.search(everything()).await.unwrap().records.len(), 1);
    clock.advance(Duration::from_secs(601));
    assert_eq!(monitor.health(), Ok(()), "what was long ago is not told");
}

#[tokio::test]
async fn a_full_queue_makes_nobody_wait_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let clock = FixedClock::new(UnixTime::from_secs(T0));
    let (monitor, recorder) =
        Monitor::new(settings(folder.path()), &server(), Arc::new(clock.clone())).unwrap();
    for _ in 0..QUEUE + 7 {
        drop(monitor.begin(ServerType::Client, clock.now()));
    }
    assert_eq!(monitor.health(), Err("7 records of exchanges were lost".to_owned()));
    let (_stop, stopped) = watch::channel(true);
    recorder.run(stopped).await;
    assert_eq!(monitor.search(everything()).await.unwrap().records.len(), QUEUE);
}

#[tokio::test]
async fn a_monitor_that_is_off_observes_nothing_and_finds_nothing() {
    let monitor = Monitor::off();
    drop(monitor.begin(ServerType::Client, UnixTime::from_secs(T0)));
    assert!(monitor.search(everything()).await.is_err());
    assert_eq!(monitor.statistics(|_, _| ()), None);
    assert_eq!(monitor.health(), Ok(()));
}

#[test]
fn statistics_are_those_of_the_last_period_and_of_the_provider_only() {
    let mut statistics = Statistics::new(UnixTime::from_secs(0), Duration::from_secs(600));
    let at = T0 * 1000;
    for (took, succeeded) in [(10, true), (20, true), (60, true), (5000, false)] {
        statistics.count(&record("DEMO/GOV/2002/registry/get", at, took, succeeded));
    }
    let consumer =
        ExchangeRecord { server_type: ServerType::Client, ..record("DEMO/GOV/2002/registry/x", at, 1, true) };
    statistics.count(&consumer);
    let shown = |seconds: i64| statistics.json(UnixTime::from_millis(at + seconds * 1000));
    let now = shown(6);
    assert_eq!(now["services"].as_array().unwrap().len(), 1);
    let service = &now["services"][0];
    assert_eq!(service["service"], "DEMO/GOV/2002/registry/get");
    let sums = &service["lastPeriodStatistics"];
    assert_eq!((&sums["successfulRequestCount"], &sums["unsuccessfulRequestCount"]), (&3.into(), &1.into()));
    assert_eq!((&sums["requestMinDuration"], &sums["requestMaxDuration"]), (&10.into(), &60.into()));
    assert_eq!(sums["requestAverageDuration"], 30.0);
    // sqrt((400 + 100 + 900) / 2)
    assert!((sums["requestDurationStdDev"].as_f64().unwrap() - 700_f64.sqrt()).abs() < 1e-9);
    assert_eq!((&sums["requestAverageSize"], &sums["requestSizeStdDev"]), (&110.0.into(), &0.0.into()));
    assert_eq!(service["lastUnsuccessfulRequestAgeMs"], 1000);
    let later = shown(700);
    let sums = &later["services"][0]["lastPeriodStatistics"];
    assert_eq!(sums, &serde_json::json!({ "successfulRequestCount": 0, "unsuccessfulRequestCount": 0 }));
    assert_eq!(later["services"][0]["lastSuccessfulRequestTimestamp"], at + 60);
}

#[test]
fn callers_who_make_up_services_fill_no_memory() {
    let mut statistics = Statistics::new(UnixTime::from_secs(0), Duration::from_secs(600));
    for n in 0..5000 {
        statistics.count(&record(&format!("DEMO/GOV/2002/registry/s{n}"), T0 * 1000 + n, 1, false));
    }
    let now = statistics.json(UnixTime::from_secs(T0 + 10));
    let services = now["services"].as_array().unwrap();
    assert_eq!(services.len(), 4096);
    assert!(services.iter().any(|s| s["service"] == "DEMO/GOV/2002/registry/s4999"));
    assert!(!services.iter().any(|s| s["service"] == "DEMO/GOV/2002/registry/s0"));
}

#[tokio::test]
async fn records_are_found_by_party_client_provider_and_service_and_a_second_is_never_cut() {
    const BASE: u64 = 1_700_000_000;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("monitoring");
    let mut store = super::store::Store::open(place, Duration::from_secs(1000), 1 << 30).unwrap();
    for (second, service) in [
        (10, "DEMO/GOV/2002/registry/get"),
        (10, "DEMO/GOV/2002/registry/put"),
        (10, "DEMO/GOV/2002/other/get"),
        (11, "DEMO/GOV/1001/portal/get"),
        (12, "DEMO/GOV/2002/registry/get"),
    ] {
        let record = record(service, 0, 1, true);
        store.append(BASE + second, [|out: &mut Vec<u8>| record.write_fields("10.0.0.1", out)]).unwrap();
    }
    let monitor = Running::on(settings(folder.path())).recorded().await;
    let count = async |search: Search| monitor.search(search).await.unwrap().records.len();
    let id = |text: &str| Some(text.parse().unwrap());
    assert_eq!(count(everything()).await, 5);
    assert_eq!(count(Search { party: id("DEMO/GOV/2002/registry"), ..everything() }).await, 3);
    assert_eq!(
        count(Search { party: id("DEMO/GOV/2002"), ..everything() }).await,
        0,
        "not of its subsystems"
    );
    assert_eq!(count(Search { client: id("DEMO/GOV/1001/portal"), ..everything() }).await, 5);
    assert_eq!(count(Search { provider: id("DEMO/GOV/1001/portal"), ..everything() }).await, 1);
    let service = ServiceId::new("DEMO/GOV/2002/registry".parse().unwrap(), "get", None).ok();
    assert_eq!(count(Search { service, ..everything() }).await, 2);
    let first = monitor.search(Search { limit: 2, ..everything() }).await.unwrap();
    assert_eq!(
        (first.records.len(), first.next),
        (3, Some(BASE + 11)),
        "all of the last second, and where to go on"
    );
    let rest = monitor.search(Search { from: BASE + 11, limit: 2, ..everything() }).await.unwrap();
    assert_eq!((rest.records.len(), rest.next), (2, None));
}
