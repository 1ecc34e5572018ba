//! A clock that is set back or jumps: records are found by the times they state, and a data key is erased with all that
//! was sealed with it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;

use std::{sync::Arc, time::Duration};

use cert_authority::clock::{FixedClock, UnixTime};
use gateway::messagelog::{
    LogStore as _, MessageLog, Record, SealedBody,
    audit::audit,
    erase::erase,
    reader::{Filter, Order},
};
use log_support::*;

fn at(text: &str) -> UnixTime {
    UnixTime::from_rfc3339(text).unwrap()
}

/// Logs a request whose message part was sealed before.
async fn log_sealed(log: &MessageLog, id: &str, head: SealedBody) -> u64 {
    let mut record = message(id, b"sealed before", b"");
    record.parts.truncate(1);
    log.append(Record::Request(record), vec![Some(head)]).await.unwrap().sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_found_whatever_the_clock_has_done_while_it_was_logged() {
    let directory = tempfile::tempdir().unwrap();
    let begin = at("2026-03-04T00:00:00Z");
    let clock = FixedClock::new(begin);
    let log = MessageLog::create(config(directory.path()), Arc::new(clock.clone())).unwrap();
    // Minutes of half a day, each once and none in its turn.
    let minute = |n: u64| Duration::from_secs(60 * (n * 311 % 700));
    for n in 0..700 {
        clock.set(begin + minute(n));
        append(&log, &format!("m-{n}"), b"").await.unwrap();
    }
    let reader = log.reader();
    for (from, until) in [(0, 700), (60, 61), (100, 400), (699, 700), (350, 350), (0, 1)] {
        let (from, until) = (Duration::from_secs(60 * from), Duration::from_secs(60 * until));
        let expected: Vec<u64> = (0..700).filter(|n| (from..until).contains(&minute(*n))).collect();
        let filter = Filter { from: Some(begin + from), until: Some(begin + until), ..Filter::default() };
        let mut found = Vec::new();
        while let page = reader.find(&filter, Order::OldestFirst, found.last().copied(), 50).unwrap()
            && !page.is_empty()
        {
            found.extend(page.iter().map(|record| record.sequence));
        }
        assert_eq!(found, expected, "{from:?} to {until:?}");
        let newest = reader.find(&filter, Order::NewestFirst, None, 1000).unwrap();
        assert!(newest.iter().map(|record| record.sequence).rev().eq(expected.iter().copied()));
        assert_eq!(reader.count(&filter).unwrap(), u64::try_from(expected.len()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_erased_with_all_that_was_sealed_with_it_although_the_clock_was_turned_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let clock = FixedClock::new(at("2026-03-04T12:00:00Z"));
    let log = MessageLog::create(config(directory.path()), Arc::new(clock.clone())).unwrap();
    let seal = || log.vault().seal(b"sealed before").unwrap();
    append(&log, "at noon", b"").await.unwrap();
    let (back, forth) = (seal(), seal());
    // Sealed with the key of the day, logged when the clock had been set back by a month.
    clock.set(at("2026-02-04T12:00:00Z"));
    log_sealed(&log, "after it was set back", back).await;
    append(&log, "of the day that it shows", b"").await.unwrap();
    // The day comes again, and goes on with its key.
    clock.set(at("2026-03-04T11:00:00Z"));
    append(&log, "before noon", b"").await.unwrap();
    // Logged when the clock had been turned on by months.
    clock.set(at("2026-06-01T00:00:00Z"));
    log_sealed(&log, "after it jumped", forth).await;
    let keys = log.vault().keys().unwrap();
    assert_eq!(keys.iter().map(|key| &key[..10]).collect::<Vec<_>>(), ["2026-02-04", "2026-03-04"]);

    let erased = erase(&log, &keys[1], "officer", "decision 7").await.unwrap();
    assert_eq!(erased, [0, 1, 3, 4]);
    let last = log.reader().get(5).unwrap().unwrap();
    let Record::Access(access) = last.record else { panic!("{last:?}") };
    assert_eq!(access.records, erased, "so the log says it");
    for number in 0..5 {
        let parts = log.reader().export(number).unwrap().unwrap().parts;
        assert_eq!(parts.iter().all(Option::is_none), erased.contains(&number), "{number}");
    }
    assert_eq!(audit(&directory.path().join("log"), &mut ()).unwrap().findings, []);
}
