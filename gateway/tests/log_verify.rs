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
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use cert_authority::{
    clock::{Clock, FixedClock},
    crypto::aead,
};
use evidence_support::now;
use gateway::{
    audit::verify::{Grounds, verify},
    messagelog::{
        KeyGrouping, LogError, LogStore, MessageLog, Record, Role,
        erase::erase,
        frame::{CHUNK_HEAD, ChunkHead, ChunkType, SEGMENT_HEADER},
        reader::{Reader, StoredRecord},
        record::{Place, Stored, TimestampRecord},
        service::read_only,
    },
    metaservice::container::LoggedContainer,
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

/// Changes that are to be made: a number from `PASSERELLE_MUTATIONS`, if it is more than this.
fn wanted(least: usize) -> usize {
    let wanted = std::env::var_os("PASSERELLE_MUTATIONS").and_then(|text| text.to_str()?.parse().ok());
    wanted.unwrap_or(least).max(least)
}

/// Gives numbers by chance, the same ones each time.
fn random() -> impl FnMut(usize) -> usize {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    move |most| usize::try_from(random.next_u64() % u64::try_from(most).unwrap()).unwrap()
}

/// Changes bytes of a file that holds something up to `written`; says how.
fn change(
    bytes: &mut Vec<u8>,
    kind: usize,
    written: usize,
    below: &mut impl FnMut(usize) -> usize,
) -> &'static str {
    let at = below((written + 64).min(bytes.len()));
    match kind % 5 {
        0 => {
            bytes[at] ^= 1 << below(8);
            "a bit flipped"
        }
        1 => {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
            "a page zeroed"
        }
        2 => {
            let from = below(written);
            let length = 256.min(bytes.len() - at.max(from));
            bytes.copy_within(from..from + length, at);
            "bytes from elsewhere"
        }
        3 => {
            bytes[at..].fill(0);
            "the rest zeroed"
        }
        _ => {
            bytes.truncate(at);
            "cut short"
        }
    }
}

/// Changes one of these files: its bytes, or the whole of it; says how.
fn change_file(
    files: &[(PathBuf, Vec<u8>)],
    one: usize,
    other: usize,
    kind: usize,
    below: &mut impl FnMut(usize) -> usize,
) -> &'static str {
    let (path, bytes) = &files[one];
    match kind % 7 {
        5 => {
            fs::remove_file(path).unwrap();
            "removed"
        }
        6 => {
            put(path, &files[other].1);
            put(&files[other].0, bytes);
            "swapped with another"
        }
        kind => {
            let mut new = bytes.clone();
            let what = change(&mut new, kind, bytes.len(), below);
            put(path, &new);
            what
        }
    }
}

/// What the log says, and what can be had from a copy of it that somebody changed.
struct Whole {
    settings: gateway::messagelog::Config,
    records: Vec<StoredRecord>,
    bodies: Vec<Vec<Option<bytes::Bytes>>>,
}

impl Whole {
    fn of(judged: &Judged, copy: &Path) -> Self {
        let reader = judged.scene.reader();
        let settings = gateway::messagelog::Config {
            key_file: config(judged.scene.directory.path()).key_file,
            ..gateway::messagelog::Config::new(copy)
        };
        let records: Vec<_> = (0..reader.len()).map(|n| reader.get(n).unwrap().unwrap()).collect();
        let bodies = records.iter().map(|record| contents(&reader, record).unwrap()).collect();
        Self { settings, records, bodies }
    }

    /// What is to be exported of the log as it is now.
    fn reader(&self) -> Reader {
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(now()));
        read_only(&self.settings, &clock).unwrap()
    }

    /// This record and its bodies are what they were, and there is a container of it if its time-stamp is there.
    fn is_had_from(&self, reader: &Reader, number: u64, saying: &str) {
        let at = usize::try_from(number).unwrap();
        let record = reader.get(number).unwrap_or_else(|error| panic!("{saying}: record {number}: {error}"));
        assert_eq!(record.as_ref(), Some(&self.records[at]), "{saying}: record {number}");
        let bodies = contents(reader, &self.records[at]);
        assert_eq!(bodies.as_ref(), Ok(&self.bodies[at]), "{saying}: record {number}");
        if self.records[at].record.message().is_some() && reader.timestamp_of(number).unwrap().is_some() {
            let container = LoggedContainer::open(reader, number).unwrap();
            container.write(std::io::Cursor::new(Vec::new())).unwrap();
        }
    }
}

impl Whole {
    /// The files of data keys and large bodies, each with the records that need it.
    fn needs(&self, log: &Path) -> BTreeMap<PathBuf, BTreeSet<u64>> {
        let mut needed: BTreeMap<PathBuf, BTreeSet<u64>> = BTreeMap::new();
        for record in &self.records {
            let parts = record.record.message().map(|message| message.parts.as_slice()).unwrap_or_default();
            for Stored { key, ciphertext, place, .. } in parts.iter().filter_map(|part| part.stored.as_ref())
            {
                needed.entry(log.join(format!("keys/{key}.key"))).or_default().insert(record.sequence);
                if *place == Place::File {
                    let body = log.join("bodies").join(key).join(hex::encode(ciphertext));
                    needed.entry(body).or_default().insert(record.sequence);
                }
            }
        }
        needed
    }
}

fn contents(reader: &Reader, record: &StoredRecord) -> Result<Vec<Option<bytes::Bytes>>, LogError> {
    let bodies = reader.bodies(record)?.into_iter();
    bodies.map(|body| body.map(|body| body.read()).transpose()).collect()
}

#[test]
fn random_changes_are_found_at_the_record_that_they_touch_and_all_others_can_be_had() {
    let judged = Judged::new(30);
    let segments = segments_of(&judged);
    let places = map(&segments, &id_of(&judged.directory()));
    let copy = with_segments(&judged, &segments);
    let log = copy.path().join("log");
    let whole = Whole::of(&judged, &log);
    let (mutations, mut below) = (wanted(MUTATIONS), random());
    let (mut untouched, mut had) = (0, 0);
    for mutation in 0..mutations {
        let segment = below(segments.len());
        let (old, mut new) = (&segments[segment], segments[segment].clone());
        // What is written, not the room behind it, but for a little.
        let what = change(&mut new, mutation, places[segment].last().unwrap().0, &mut below);
        let differs = |byte: &usize| new.get(*byte) != Some(&old[*byte]);
        let matters = |byte: &usize| differs(byte) && old[*byte] != new.get(*byte).copied().unwrap_or(0);
        // A byte that is zero may be cut off from a record that it belongs to.
        let (Some(first), Some(last)) = ((0..old.len()).find(differs), (0..old.len()).rfind(matters)) else {
            // Nothing but room was cut off, or what was there was the same.
            untouched += 1;
            continue;
        };
        let saying = format!("{mutation}, {what} at {segment}:{first}");
        let place = places[segment].iter().find(|(begin, end, _)| (*begin..*end).contains(&first)).unwrap();
        put(&paths(&log)[segment], &new);
        let grounds = Grounds { conf: None, ..judged.grounds() };
        let report = verify(&log, grounds, &mut |_| {}).unwrap();
        let found = report.problems.first().unwrap_or_else(|| panic!("{saying}: not found"));
        assert_eq!(found.record, place.2, "{saying}: {:?}", report.problems);
        // Those just before and behind the change, and some others; behind a segment's header stands no record yet.
        let reader = whole.reader();
        let is_whole = |number: u64| {
            let touched = |(begin, end, of): &(usize, usize, u64)| {
                *of == number && *begin >= SEGMENT_HEADER && *begin <= last && first < *end
            };
            !places[segment].iter().any(touched)
        };
        let records = whole.records.len();
        let near = [place.2.saturating_sub(1), place.2, place.2 + 1, place.2 + 2];
        let some = (0..3).map(|_| u64::try_from(below(records)).unwrap()).collect::<Vec<_>>();
        for number in near.into_iter().chain(some).filter(|n| *n < u64::try_from(records).unwrap()) {
            if is_whole(number) {
                whole.is_had_from(&reader, number, &saying);
                had += 1;
            }
        }
        put(&paths(&log)[segment], old);
    }
    println!("{} changes found, each at its record; {untouched} touched nothing", mutations - untouched);
    println!("{had} undamaged records beside them could be had");
    assert!(untouched < mutations / 4 && had > mutations);
}

/// Zeros from where a record begins look like the end of the log, but others stand behind them.
#[test]
fn a_record_that_is_zeroed_from_its_first_byte_hides_none_behind_it() {
    let judged = Judged::new(30);
    let segments = segments_of(&judged);
    let places = map(&segments, &id_of(&judged.directory()));
    let copy = with_segments(&judged, &segments);
    let log = copy.path().join("log");
    let whole = Whole::of(&judged, &log);
    let records = u64::try_from(whole.records.len()).unwrap();
    let mut had = 0;
    for (segment, old) in segments.iter().enumerate() {
        let written = places[segment].last().unwrap().0;
        for (begin, _, of) in places[segment].iter().filter(|at| at.0 >= SEGMENT_HEADER && at.0 < written) {
            let mut new = old.clone();
            new[*begin..*begin + CHUNK_HEAD].fill(0);
            put(&paths(&log)[segment], &new);
            let reader = whole.reader();
            for number in [of.checked_sub(1), Some(of + 1), Some(of + 2)].into_iter().flatten() {
                if number < records {
                    whole.is_had_from(&reader, number, &format!("{begin} of segment {segment} zeroed"));
                    had += 1;
                }
            }
        }
        put(&paths(&log)[segment], old);
    }
    assert!(had > 100, "{had}");
}

#[test]
fn random_changes_of_data_keys_and_large_bodies_are_found_where_they_are_first_needed() {
    let scene = Scene::grouped(KeyGrouping::Subsystem);
    let large = |n: u8| vec![n; 70_000 + 1000 * usize::from(n)];
    for n in 0..6 {
        let role = if n % 2 == 0 { Role::Consumer } else { Role::Provider };
        scene.log(Message { id: "small", role, body: Some(b"small"), ..REQUEST });
        scene.log(Message { id: "large", role, body: Some(&large(n)), ..REQUEST });
    }
    let judged = Judged::within(scene, 14);
    let copy = with_segments(&judged, &segments_of(&judged));
    let log = copy.path().join("log");
    let whole = Whole::of(&judged, &log);
    let kek = config(judged.scene.directory.path()).key_file;
    let needed = whole.needs(&log);
    let files: Vec<(PathBuf, Vec<u8>)> =
        needed.keys().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let is_key = |path: &Path| path.extension().is_some_and(|end| end == "key");
    assert_eq!(files.iter().map(|(path, _)| is_key(path)).filter(|key| *key).count(), 2, "{files:?}");
    assert_eq!(files.len(), 2 + 6);

    let (mutations, mut below) = (wanted(MUTATIONS), random());
    let (mut untouched, mut unseen_without_kek, mut had) = (0, 0, 0);
    for mutation in 0..mutations {
        let one = below(files.len());
        let (path, old) = &files[one];
        let alike: Vec<usize> =
            (0..files.len()).filter(|n| *n != one && is_key(&files[*n].0) == is_key(path)).collect();
        let other = alike[below(alike.len())];
        let what = change_file(&files, one, other, mutation, &mut below);
        let changed = if mutation % 7 == 6 { vec![one, other] } else { vec![one] };
        if fs::read(path).is_ok_and(|now| now == *old) {
            untouched += 1;
            continue;
        }
        let saying = format!("{mutation}, {} {what}", path.display());
        let touched: BTreeSet<u64> = changed.iter().flat_map(|n| needed[&files[*n].0].clone()).collect();
        let grounds = Grounds { conf: None, kek: Some(&kek), ..judged.grounds() };
        let report = verify(&log, grounds, &mut |_| {}).unwrap();
        let found: Vec<u64> = report.problems.iter().map(|problem| problem.record).collect();
        let firsts: BTreeSet<u64> = changed.iter().map(|n| *needed[&files[*n].0].first().unwrap()).collect();
        assert_eq!(found, Vec::from_iter(firsts), "{saying}: {:?}", report.problems);
        // A key that can be one is judged by nobody without the key-encryption key; a body and a missing key are.
        let blind = verify(&log, Grounds { kek: None, ..grounds }, &mut |_| {}).unwrap();
        if blind.problems.is_empty() {
            assert!(is_key(path) && fs::read(path).unwrap().len() == old.len(), "{saying}");
            unseen_without_kek += 1;
        }
        let reader = whole.reader();
        let others = (0..4).map(|_| u64::try_from(below(whole.records.len())).unwrap());
        for number in others.filter(|number| !touched.contains(number)) {
            whole.is_had_from(&reader, number, &saying);
            had += 1;
        }
        changed.iter().for_each(|n| put(&files[*n].0, &files[*n].1));
    }
    println!(
        "{} changes found, each where it is first needed; {untouched} touched nothing",
        mutations - untouched
    );
    println!(
        "{unseen_without_kek} of them with the key-encryption key only; {had} other records could be had"
    );
    assert!(untouched < mutations / 4 && had > mutations && unseen_without_kek > 0);
    let grounds = Grounds { kek: Some(&kek), ..judged.grounds() };
    let report = verify(&log, grounds, &mut |_| {}).unwrap();
    assert_eq!((report.problems, report.keys, report.keys_destroyed), (vec![], 2, 0));
}

#[test]
fn a_key_is_gone_for_a_reason_only_when_a_record_says_so() {
    let judged = Judged::within(Scene::grouped(KeyGrouping::Subsystem), 14);
    let keys = judged.scene.log.vault().keys().unwrap();
    let first_with = |key: &String| {
        let reader = judged.scene.reader();
        (0..reader.len()).find(|n| reader.get(*n).unwrap().unwrap().uses(key)).unwrap()
    };
    let firsts: Vec<u64> = keys.iter().map(first_with).collect();
    // One is destroyed as it should be, the other one by somebody who says nothing.
    judged.scene.runtime.block_on(erase(&judged.scene.log, &keys[0], "officer", "decision 7")).unwrap();
    let report = judged.report(&judged.directory());
    assert_eq!((report.problems, report.keys, report.keys_destroyed), (vec![], 1, 1));
    judged.scene.log.vault().destroy_key(&keys[1]).unwrap();
    let report = judged.report(&judged.directory());
    let found: Vec<(u64, bool)> = report
        .problems
        .iter()
        .map(|problem| (problem.record, problem.what.contains("the log does not say that it was destroyed")))
        .collect();
    assert_eq!(found, [(firsts[1], true)]);
    assert_eq!((report.keys, report.keys_destroyed), (0, 1));
    let (code, said) = command(&judged, &judged.directory(), &[]);
    assert!(code == 1 && said.contains(&format!("the first bad record is {}\n", firsts[1])), "{said}");
    assert!(said.contains("data keys      0, 1 destroyed as records say; not opened: no --kek\n"), "{said}");
}

#[test]
fn another_key_in_the_place_of_a_data_key_is_found_by_what_it_does_not_open() {
    // Who has the key-encryption key can wrap another key under the same name: the bodies are gone all the same.
    let judged = Judged::new(7);
    let kek = config(judged.scene.directory.path()).key_file;
    let key = judged.scene.log.vault().keys().unwrap().remove(0);
    let file = judged.directory().join(format!("keys/{key}.key"));
    let secret = hex::decode(fs::read_to_string(&kek).unwrap().trim_end()).unwrap();
    let wrapping = aead::Key::new(secret.as_slice().try_into().unwrap()).unwrap();
    let mut sealed = [7; 32];
    let tag = wrapping.seal([1; 12], key.as_bytes(), &mut sealed).unwrap();
    put(&file, &[b"PSRLKEY1".as_slice(), &[1; 12], &sealed, &tag].concat());
    let judge = |kek| verify(&judged.directory(), Grounds { kek, ..judged.grounds() }, &mut |_| {}).unwrap();
    assert_eq!(judge(None).problems, []);
    let report = judge(Some(&kek));
    assert!(report.keys_judged && report.problems.len() == 1, "{report:?}");
    assert_eq!(report.problems[0].record, 0);
    assert!(report.problems[0].what.contains("damaged, another one"), "{report:?}");
    // One that no message needs is found behind the last record.
    put(&file, b"");
    put(&judged.directory().join("keys/2026-02-03.00000001.key"), b"no key");
    let found: Vec<u64> = judge(None).problems.iter().map(|problem| problem.record).collect();
    assert_eq!(found, [0, judged.scene.reader().len()]);
    // A key-encryption key that cannot be read keeps from judging.
    let (code, said) = command(&judged, &judged.directory(), &["--kek", "nowhere"]);
    assert!(code == 2 && said.contains("nowhere"), "{said}");
}

#[test]
fn records_of_segments_in_each_others_place_can_still_be_had() {
    let judged = Judged::new(60);
    let mut segments = segments_of(&judged);
    segments.swap(1, 2);
    // And one without its header.
    segments[0][..SEGMENT_HEADER].fill(0);
    let copy = with_segments(&judged, &segments);
    let log = copy.path().join("log");
    let whole = Whole::of(&judged, &log);
    let reader = whole.reader();
    (0..judged.scene.reader().len()).for_each(|number| whole.is_had_from(&reader, number, "swapped"));
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
    let reader = read_only(&settings, &clock).unwrap();
    for other in
        (0..28).filter(|n| reader.get(*n).unwrap().is_some_and(|found| found.record.message().is_some()))
    {
        let exported =
            LoggedContainer::open(&reader, other).map_err(|error| error.to_string()).and_then(|found| {
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
