//! `log verify` against logs that somebody changed: every change is found, and the first bad record named; whatever was
//! not touched can still be exported.
//!
//! `PASSERELLE_MUTATIONS` raises the number of random changes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod log_support;
mod metaservice_support;
mod verify_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use cert_authority::clock::{Clock, FixedClock};
use evidence_support::now;
use gateway::{
    audit::verify::{Grounds, verify},
    messagelog::{
        LogStore, MessageLog, Record,
        frame::{CHUNK_HEAD, ChunkHead, ChunkType, SEGMENT_HEADER},
        record::TimestampRecord,
    },
};
use log_support::config;
use metaservice_support::*;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use verify_support::*;

const MUTATIONS: usize = 300;

/// Its files, with what they hold.
fn segments_of(judged: &Judged) -> Vec<Vec<u8>> {
    paths(&judged.directory()).iter().map(|path| fs::read(path).unwrap()).collect()
}

fn paths(log: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(log.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    paths.sort();
    paths
}

/// A copy of the log with other segments.
fn with_segments(judged: &Judged, segments: &[Vec<u8>]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    run(Command::new("cp").arg("-a").arg(judged.directory()).arg(copy.path().join("log")));
    for path in paths(&copy.path().join("log")) {
        fs::remove_file(path).unwrap();
    }
    for (n, bytes) in segments.iter().enumerate() {
        put(&copy.path().join(format!("log/segments/{:08}.seg", n + 1)), bytes);
    }
    copy
}

/// Where the records lie: segment, first byte, end; a record begins with its bodies. Empty room at the end of a segment
/// belongs to the record that would come next.
fn map(segments: &[Vec<u8>], log: &[u8; 16]) -> Vec<Vec<(usize, usize, u64)>> {
    let mut number = 0;
    let places = |bytes: &Vec<u8>| {
        let mut places = vec![(0, SEGMENT_HEADER, number)];
        let (mut at, mut begin) = (SEGMENT_HEADER, SEGMENT_HEADER);
        while let Some(head) = bytes.get(at..at + CHUNK_HEAD) {
            let Some(head) = ChunkHead::decode(head.try_into().unwrap(), log) else { break };
            at += usize::try_from(head.size()).unwrap();
            if head.kind == ChunkType::Frame {
                places.push((begin, at, number));
                (begin, number) = (at, number + 1);
            }
        }
        places.push((begin, bytes.len(), number));
        places
    };
    segments.iter().map(places).collect()
}

fn id_of(log: &Path) -> [u8; 16] {
    let text = fs::read_to_string(log.join("identity")).unwrap();
    let hex = text.lines().find_map(|line| line.strip_prefix("id ")).unwrap();
    hex::decode(hex).unwrap().try_into().unwrap()
}

#[test]
fn a_log_that_nobody_touched_is_right_in_everything() {
    let judged = Judged::new(30);
    let report = judged.report(&judged.directory());
    assert_eq!(report.problems, []);
    assert_eq!((report.signatures, report.stamped, report.waiting), (60, 56, 4));
    assert_eq!(report.checkpoints, 9, "made and sealed four times, and made once more");
    assert!(report.evidence_judged && report.checkpoints_judged);
    assert!(segments_of(&judged).len() > 1, "the test wants several segments");
}

#[test]
fn random_changes_are_found_at_the_record_that_they_touch() {
    let judged = Judged::new(30);
    let segments = segments_of(&judged);
    let places = map(&segments, &id_of(&judged.directory()));
    let wanted = std::env::var_os("PASSERELLE_MUTATIONS").and_then(|text| text.to_str()?.parse().ok());
    let mutations = wanted.unwrap_or(MUTATIONS).max(MUTATIONS);
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut below = |most: usize| usize::try_from(random.next_u64() % u64::try_from(most).unwrap()).unwrap();
    let mut untouched = 0;
    for mutation in 0..mutations {
        let mut changed = segments.clone();
        let segment = below(changed.len());
        // What is written, not the room behind it, but for a little.
        let written = places[segment].last().unwrap().0;
        let at = below((written + 64).min(changed[segment].len()));
        let bytes = &mut changed[segment];
        let (what, end) = match mutation % 5 {
            0 => {
                bytes[at] ^= 1 << below(8);
                ("a bit flipped", at + 1)
            }
            1 => {
                let end = (at + 512).min(bytes.len());
                bytes[at..end].fill(0);
                ("a page zeroed", end)
            }
            2 => {
                let from = below(written);
                let length = 256.min(bytes.len() - at.max(from));
                bytes.copy_within(from..from + length, at);
                ("bytes from elsewhere", at + length)
            }
            3 => {
                bytes[at..].fill(0);
                ("the rest of a segment zeroed", bytes.len())
            }
            _ => {
                bytes.truncate(at);
                ("a segment cut short", segments[segment].len())
            }
        };
        if changed == segments {
            untouched += 1;
            continue;
        }
        // The first byte that is another one, and the record that it belongs to.
        let (old, new) = (&segments[segment], &changed[segment]);
        let first = (0..end).find(|byte| old.get(*byte) != new.get(*byte)).unwrap();
        let place = places[segment].iter().find(|(begin, end, _)| (*begin..*end).contains(&first)).unwrap();
        let is_data = old[first..].iter().any(|byte| *byte != 0);
        if !is_data && new[first.min(new.len())..].iter().all(|byte| *byte == 0) {
            // Nothing but room was cut off.
            untouched += 1;
            continue;
        }
        let copy = with_segments(&judged, &changed);
        let grounds = Grounds { conf: None, ..judged.grounds() };
        let report = verify(&copy.path().join("log"), grounds, &mut |_| {}).unwrap();
        let found = report
            .problems
            .first()
            .unwrap_or_else(|| panic!("{mutation}, {what} at {segment}:{at}: not found"));
        assert_eq!(found.record, place.2, "{mutation}, {what} at {segment}:{first}: {:?}", report.problems);
    }
    println!("{} changes found, each at its record; {untouched} touched nothing", mutations - untouched);
    assert!(untouched < mutations / 4);
}

#[test]
fn whole_segments_swapped_missing_doubled_or_of_another_log_are_found() {
    let judged = Judged::new(60);
    let segments = segments_of(&judged);
    assert!(segments.len() >= 3);
    let firsts: Vec<u64> =
        map(&segments, &id_of(&judged.directory())).iter().map(|places| places[0].2).collect();
    let other = segments_of(&Judged::new(60));
    let swapped =
        [segments[..1].to_vec(), vec![segments[2].clone(), segments[1].clone()], segments[3..].to_vec()];
    let cases = [
        ("swapped", swapped.concat(), firsts[1]),
        ("missing", [&segments[..1], &segments[2..]].concat(), firsts[1]),
        ("doubled", [&segments[..2], &segments[1..]].concat(), firsts[2]),
        ("another's", [&segments[..1], &other[1..2], &segments[2..]].concat(), firsts[1]),
        ("cut off", segments[..1].to_vec(), firsts[1]),
        ("all another's", other.clone(), 0),
    ];
    for (name, segments, first) in cases {
        let copy = with_segments(&judged, &segments);
        let report = judged.report(&copy.path().join("log"));
        let found = report.problems.first().unwrap_or_else(|| panic!("{name} is not found"));
        assert_eq!(found.record, first, "{name}: {:?}", report.problems);
    }
}

#[test]
fn a_log_that_was_written_anew_with_other_evidence_is_found_by_signatures_and_stamps() {
    let judged = Judged::new(7);
    let reader = judged.scene.reader();
    type Change = fn(&mut Record, &[Record]);
    let changes: [(&str, u64, &str, Change); 4] = [
        ("another answer's signature", 1, "signature of the message", |record, all| {
            if let (Record::Response(message), Some(Record::Response(other))) = (record, all.get(3)) {
                message.signature = other.signature.clone();
            }
        }),
        ("another body's digest", 0, "signature of the message", |record, all| {
            if let (Record::Request(message), Some(Record::Request(other))) = (record, all.get(2)) {
                message.parts = other.parts.clone();
            }
        }),
        ("a stamp over other messages", 14, "time-stamp is", |record, _| {
            if let Record::Timestamp(TimestampRecord { covered, .. }) = record {
                covered.swap_remove(0);
                covered.sort_unstable_by_key(|(number, _)| *number);
            }
        }),
        ("a stamp of another time", 14, "another time", |record, _| {
            if let Record::Timestamp(stamp) = record {
                stamp.time = stamp.time + Duration::from_secs(1);
            }
        }),
    ];
    let all: Vec<Record> = (0..15).map(|number| reader.get(number).unwrap().unwrap().record).collect();
    assert!(matches!(all[14], Record::Timestamp(_)));
    for (name, number, said, change) in changes {
        let directory = tempfile::tempdir().unwrap();
        let log = MessageLog::create(config(directory.path()), Arc::new(FixedClock::new(now()))).unwrap();
        for (place, record) in all.iter().enumerate() {
            let mut record = record.clone();
            if u64::try_from(place).unwrap() == number {
                change(&mut record, &all);
            }
            if let Record::Request(message) | Record::Response(message) = &mut record {
                message.parts.iter_mut().for_each(|part| part.stored = None);
            }
            let parts = record.message().map_or(0, |message| message.parts.len());
            judged.scene.runtime.block_on(log.append(record, (0..parts).map(|_| None).collect())).unwrap();
        }
        let grounds = Grounds { trust: None, expected: None, ..judged.grounds() };
        let report = verify(&config(directory.path()).directory, grounds, &mut |_| {}).unwrap();
        let found = report.problems.first().unwrap_or_else(|| panic!("{name} is not found"));
        assert!(found.record == number && found.what.contains(said), "{name}: {:?}", report.problems);
        // With the log's key the whole forgery is seen: it has none of the checkpoints.
        assert!(!judged.report(&config(directory.path()).directory).problems.is_empty());
    }
}

/// What the command says, and how it ends.
fn command(judged: &Judged, log: &Path, more: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle-gateway"));
    command
        .args(["log", "verify", "--directory"])
        .arg(log)
        .arg("--conf")
        .arg(judged.scene.configuration())
        .args(more);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn the_command_names_the_first_bad_record_and_the_others_are_still_exported() {
    let judged = Judged::new(14);
    let key = judged.trust.log[0].to_string();
    let (code, said) = command(&judged, &judged.directory(), &["--key", &key]);
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("nothing is wrong\n"), "{said}");

    // A bit in the body of the fifth message, which lies before its frame.
    let mut segments = segments_of(&judged);
    let (begin, _, number) = map(&segments, &id_of(&judged.directory()))[0][5];
    segments[0][begin + CHUNK_HEAD + 4] ^= 1;
    let copy = with_segments(&judged, &segments);
    let log = copy.path().join("log");
    let (code, said) = command(&judged, &log, &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("the first bad record is {number}\n")), "{said}");
    let (code, said) = command(&judged, &log, &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, report["problems"][0]["record"].as_u64()), (1, Some(number)));

    let settings = gateway::messagelog::Config {
        key_file: config(judged.scene.directory.path()).key_file,
        ..gateway::messagelog::Config::new(&log)
    };
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(now()));
    let reader = gateway::messagelog::service::read_only(&settings, &clock).unwrap();
    for other in
        (0..28).filter(|n| reader.get(*n).unwrap().is_some_and(|found| found.record.message().is_some()))
    {
        let exported = gateway::metaservice::container::LoggedContainer::open(&reader, other)
            .map_err(|error| error.to_string())
            .and_then(|found| {
                found.write(std::io::Cursor::new(Vec::new())).map_err(|error| error.to_string())
            });
        assert_eq!(exported.is_ok(), other != number, "record {other}: {:?}", exported.err());
    }
}

#[test]
fn what_keeps_from_judging_is_told_apart_from_what_is_wrong() {
    let judged = Judged::new(7);
    let nowhere = judged.scene.directory.path().join("nowhere");
    let (code, said) = command(&judged, &nowhere, &[]);
    assert!(code == 2 && said.contains("nowhere"), "{said}");
    let checkpoint = judged.scene.directory.path().join("checkpoint");
    put(&checkpoint, b"no note");
    let key = judged.trust.log[0].to_string();
    let file = checkpoint.to_str().unwrap();
    let (code, said) = command(&judged, &judged.directory(), &["--key", &key, "--checkpoint", file]);
    assert!(code == 2 && said.contains("checkpoint"), "{said}");
    let (code, said) = command(&judged, &judged.directory(), &["--checkpoint", file]);
    assert!(code == 2 && said.contains("--key"), "a checkpoint is believed for its signature: {said}");
}
