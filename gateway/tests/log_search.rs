//! A search finds what going through all records finds, whatever the index passes over: over several runs of the index,
//! with a clock that is set back, before and after the index was built anew.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;

use std::{sync::Arc, time::Duration};

use cert_authority::clock::{FixedClock, UnixTime};
use conf::identifier::{ClientId, MemberId, ServiceId};
use gateway::messagelog::{
    LogStore as _, MessageLog, MessageRecord, Record,
    reader::{Filter, Order, Reader, StoredRecord},
    record::{Kind, Outcome, OutcomeRecord},
};
use log_support::{config, message, runtime};

/// More than a run of the index has.
const RECORDS: u64 = 68_000;
const TOGETHER: u64 = 500;

fn time(of: u64) -> UnixTime {
    let begin = UnixTime::from_secs(1_790_000_000);
    // Now and then it is set back by some hours.
    let back = if of / TOGETHER % 7 == 3 { 4 * 3600 } else { 0 };
    begin + Duration::from_secs(of * 4 + 20_000 - back)
}

fn client(of: u64) -> ClientId {
    format!("DEMO/GOV/{}/portal", 1000 + of % 23).parse().unwrap()
}

fn service(of: u64) -> ServiceId {
    ServiceId::parse_encoded(&format!("DEMO/GOV/{}/registry/s{}", 1015 + of % 11, of % 3)).unwrap()
}

fn record(of: u64) -> (Record, usize) {
    let id = format!("q-{of}");
    if of % 10 == 9 {
        let fault = OutcomeRecord {
            request: of - 9,
            message_id: format!("q-{}", of - 9),
            outcome: Outcome::Fault,
            fault_code: None,
            fault_text: None,
            status: None,
        };
        return (Record::Outcome(fault), 0);
    }
    let one = MessageRecord { client: client(of), service: service(of), ..message(&id, b"", b"") };
    (if of.is_multiple_of(2) { Record::Request(one) } else { Record::Response(one) }, 2)
}

async fn fill(log: &MessageLog, clock: &FixedClock) {
    for first in (0..RECORDS).step_by(usize::try_from(TOGETHER).unwrap()) {
        clock.set(time(first));
        let appends = (first..first + TOGETHER).map(|of| {
            let (record, parts) = record(of);
            log.append(record, (0..parts).map(|_| None).collect())
        });
        futures_util::future::try_join_all(appends).await.unwrap();
    }
}

/// What a search must find: each record looked at.
fn expected(all: &[StoredRecord], filter: &Filter) -> Vec<u64> {
    let passes = |stored: &&StoredRecord| {
        let asked = match &stored.record {
            Record::Outcome(outcome) => all[usize::try_from(outcome.request).unwrap()].record.message(),
            _ => None,
        };
        let message = stored.record.message().or(asked);
        let of = |is: &dyn Fn(&MessageRecord) -> bool| message.is_some_and(is);
        filter.from.is_none_or(|from| stored.time >= from)
            && filter.until.is_none_or(|until| stored.time < until)
            && (filter.kinds.is_empty() || filter.kinds.contains(&stored.record.kind()))
            && filter.client.as_ref().is_none_or(|client| of(&|one| one.client == *client))
            && filter.service.as_ref().is_none_or(|service| of(&|one| one.service == *service))
            && filter.member.as_ref().is_none_or(|member| {
                of(&|one| one.client.member() == member || one.service.client().member() == member)
            })
    };
    all.iter().filter(passes).map(|stored| stored.sequence).collect()
}

fn filters() -> Vec<Filter> {
    let member = |code: u64| -> MemberId { format!("DEMO/GOV/{code}").parse().unwrap() };
    let none = Filter::default();
    let mut filters = vec![
        Filter { client: Some(client(5)), ..none.clone() },
        Filter { service: Some(service(7)), kinds: vec![Kind::Request], ..none.clone() },
        Filter { member: Some(member(1016)), kinds: vec![Kind::Outcome], ..none.clone() },
        Filter { member: Some(member(99)), ..none.clone() },
        Filter { until: Some(time(0)), ..none.clone() },
        Filter { from: Some(time(2 * RECORDS)), ..none },
    ];
    for place in [0, 1_400, 20_000, 30_333, 65_000, 65_536, RECORDS - 1] {
        let (from, until) = (Some(time(place)), Some(time(place) + Duration::from_secs(3600)));
        let within = Filter { from, until, ..Filter::default() };
        filters.push(Filter { member: Some(member(1000 + place % 23)), ..within.clone() });
        filters.push(Filter { client: Some(client(place)), service: Some(service(place)), ..within.clone() });
        filters.push(Filter { kinds: vec![Kind::Response], ..within });
    }
    filters
}

fn found(reader: &Reader, filter: &Filter, order: Order, cursor: Option<u64>, limit: usize) -> Vec<u64> {
    let found = reader.find(filter, order, cursor, limit).unwrap();
    found.iter().map(|stored| stored.sequence).collect()
}

#[test]
fn a_search_finds_what_going_through_all_records_finds() {
    let directory = tempfile::tempdir().unwrap();
    let clock = FixedClock::new(time(0));
    let settings = || config(directory.path());
    let log = MessageLog::create(settings(), Arc::new(clock.clone())).unwrap();
    runtime().block_on(fill(&log, &clock));
    let all: Vec<StoredRecord> =
        log.reader().each_of(0..RECORDS).map(|(_, found)| found.unwrap().unwrap()).collect();
    let expected: Vec<_> = filters().into_iter().map(|filter| (expected(&all, &filter), filter)).collect();
    assert!(expected.iter().filter(|(numbers, _)| !numbers.is_empty()).count() > expected.len() / 2);
    let compare = |reader: &Reader| {
        for (numbers, filter) in &expected {
            assert_eq!(found(reader, filter, Order::OldestFirst, None, usize::MAX), *numbers, "{filter:?}");
            let middle = numbers.get(numbers.len() / 2).copied().unwrap_or(40_000);
            let before: Vec<u64> =
                numbers.iter().rev().copied().filter(|number| *number < middle).take(9).collect();
            assert_eq!(found(reader, filter, Order::NewestFirst, Some(middle), 9), before, "{filter:?}");
        }
    };
    compare(&log.reader());
    drop(log);
    std::fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    compare(&MessageLog::open(settings(), Arc::new(clock)).unwrap().reader());
}
