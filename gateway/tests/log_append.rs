//! What is appended is durable, found, and read as it was written.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;

use std::sync::Arc;

use gateway::messagelog::{
    LogError, LogStore, MessageLog, Record,
    audit::audit,
    reader::{Filter, Order},
    record::{Kind, Outcome, OutcomeRecord},
};
use log_support::*;

#[tokio::test]
async fn what_is_appended_is_read_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let big = vec![7; 300_000];
    {
        let log = create(directory.path());
        assert_eq!(log.ready(), Ok(()));
        assert_eq!(append(&log, "first", b"small").await.unwrap().sequence, 0);
        assert_eq!(append(&log, "second", &big).await.unwrap().sequence, 1);
        let outcome = OutcomeRecord {
            request: 1,
            message_id: "second".into(),
            outcome: Outcome::InDoubt,
            fault_code: Some("server.serverproxy.network_error".into()),
            fault_text: None,
            status: Some(500),
        };
        assert_eq!(log.append(Record::Outcome(outcome), vec![]).await.unwrap().sequence, 2);
    }
    let log = open(directory.path()).unwrap();
    let reader = log.reader();
    assert_eq!(reader.len(), 3);
    let found = reader.by_message_id("second").unwrap();
    assert_eq!(found.iter().map(|r| r.sequence).collect::<Vec<_>>(), [1, 2]);
    let bodies = reader.bodies(&found[0]).unwrap();
    assert_eq!(bodies[0].as_ref().unwrap().read().unwrap().as_ref(), b"GET /r1/second");
    assert_eq!(bodies[1].as_ref().unwrap().read().unwrap(), big);
    assert_eq!(append(&log, "third", b"").await.unwrap().sequence, 3);
    assert_eq!(reader.get(4).unwrap(), None);
    let verdict = audit(&config(directory.path()).directory, &mut ()).unwrap();
    assert_eq!((verdict.records, verdict.findings), (4, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_at_once_get_dense_numbers_over_many_segments() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let log = log.clone();
            tokio::spawn(async move {
                let mut numbers = Vec::new();
                for n in 0..20 {
                    numbers.push(append(&log, &format!("{task}-{n}"), &[b'x'; 4000]).await.unwrap().sequence);
                }
                numbers
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        let mut own = task.await.unwrap();
        assert!(own.is_sorted(), "one after the other: later numbers");
        numbers.append(&mut own);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..640).collect::<Vec<_>>());
    drop(log);
    let verdict = audit(&config(directory.path()).directory, &mut ()).unwrap();
    assert_eq!((verdict.records, verdict.findings), (640, vec![]));
    let segments = std::fs::read_dir(directory.path().join("log/segments")).unwrap().count();
    assert!(segments > 5, "{segments}");
    let log = open(directory.path()).unwrap();
    for id in ["0-0", "31-19", "7-13"] {
        assert_eq!(log.reader().by_message_id(id).unwrap().len(), 1, "{id}");
    }
}

#[tokio::test]
async fn records_are_found_by_time_client_service_and_kind_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = MessageLog::create(config(directory.path()), Arc::new(clock.clone())).unwrap();
    for n in 0..600 {
        let mut record = message(&format!("m{n}"), b"", b"");
        if n % 100 == 50 {
            record.client = "DEMO/COM/3003/shop".parse().unwrap();
        }
        record.parts.clear();
        log.append(Record::Request(record), vec![]).await.unwrap();
        clock.advance(std::time::Duration::from_secs(1));
    }
    let reader = log.reader();
    let numbers = |filter: &Filter, order, cursor, limit| {
        let found = reader.find(filter, order, cursor, limit).unwrap();
        found.iter().map(|r| r.sequence).collect::<Vec<_>>()
    };
    let shop = Filter { client: Some("DEMO/COM/3003/shop".parse().unwrap()), ..Filter::default() };
    assert_eq!(numbers(&shop, Order::OldestFirst, None, 10), [50, 150, 250, 350, 450, 550]);
    assert_eq!(numbers(&shop, Order::NewestFirst, None, 2), [550, 450]);
    assert_eq!(numbers(&shop, Order::NewestFirst, Some(450), 2), [350, 250]);
    assert_eq!(numbers(&shop, Order::OldestFirst, Some(350), 9), [450, 550]);
    let member = Filter { member: Some("DEMO/COM/3003".parse().unwrap()), ..Filter::default() };
    assert_eq!(numbers(&member, Order::OldestFirst, None, 2), [50, 150]);
    let start = log_support::clock();
    use cert_authority::clock::Clock as _;
    let at = |s| Some(start.now() + std::time::Duration::from_secs(s));
    let hour = Filter { from: at(255), until: at(258), ..Filter::default() };
    assert_eq!(numbers(&hour, Order::OldestFirst, None, 100), [255, 256, 257]);
    assert_eq!(numbers(&Filter::default(), Order::NewestFirst, None, 3), [599, 598, 597]);
    let stamps = Filter { kinds: vec![Kind::Timestamp], ..Filter::default() };
    assert!(numbers(&stamps, Order::NewestFirst, None, 3).is_empty());
    let one = Filter { message_id: Some("m77".into()), ..Filter::default() };
    assert_eq!(numbers(&one, Order::NewestFirst, None, 3), [77]);
}

#[tokio::test]
async fn a_log_is_not_made_twice_nor_opened_where_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(open(directory.path()), Err(LogError::Missing(_))), "an empty directory is no new log");
    drop(create(directory.path()));
    let again = MessageLog::create(config(directory.path()), Arc::new(clock()));
    assert!(matches!(again, Err(LogError::NotEmpty(_))));
    std::fs::remove_file(directory.path().join("log/identity")).unwrap();
    assert!(matches!(open(directory.path()), Err(LogError::Missing(_))), "an identity that is missing");
}

#[tokio::test]
async fn without_its_identity_a_log_with_records_is_not_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    append(&log, "m", b"").await.unwrap();
    drop(log);
    std::fs::remove_file(directory.path().join("log/identity")).unwrap();
    let again = MessageLog::create(config(directory.path()), Arc::new(clock()));
    assert!(matches!(again, Err(LogError::NotEmpty(_))));
}

#[tokio::test]
async fn two_openers_are_one_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    assert!(matches!(open(directory.path()), Err(LogError::Locked)));
    drop(log);
    assert!(open(directory.path()).is_ok());
}

#[tokio::test]
async fn a_reader_beside_the_running_gateway_sees_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    append(&log, "m", b"body").await.unwrap();
    let clock: Arc<dyn cert_authority::clock::Clock> = Arc::new(clock());
    let reader = gateway::messagelog::service::read_only(&config(directory.path()), &clock).unwrap();
    let found = reader.by_message_id("m").unwrap();
    let bodies = reader.bodies(&found[0]).unwrap();
    assert_eq!(bodies[1].as_ref().unwrap().read().unwrap().as_ref(), b"body");
}

#[tokio::test]
async fn contents_that_are_not_those_of_the_record_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    let record = message("m", b"head", b"body");
    let head = || log.vault().seal(b"head").unwrap();
    let one = log.append(Record::Request(record.clone()), vec![Some(head())]).await;
    assert!(matches!(one, Err(LogError::Record(_))));
    let wrong = log
        .append(Record::Request(record.clone()), vec![Some(head()), Some(log.vault().seal(b"b").unwrap())]);
    assert!(matches!(wrong.await, Err(LogError::Record(_))));
    let logged = log.append_request((), record, vec![Some(head()), None]).await.unwrap();
    assert_eq!(logged.sequence(), 0, "a refused record takes no number");
    let material = log.reader().export(0).unwrap().unwrap();
    assert!(material.parts[0].is_some() && material.parts[1].is_none());
    assert_eq!(material.message.parts[1].length, 4, "length and digest stay without a content");
    assert_eq!(material.timestamp, None);
}
