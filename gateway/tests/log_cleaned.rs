//! Messages removed from the log for good: it still verifies, whatever else is removed is found, and no step that fails
//! loses anything that was to stay.
//!
//! ```text
//! messages ──stamped──► archives ──bodies cleaned──► messages removed from full segments ──► log verify, leaves, proofs
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod cleaned_support;
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
mod failing_disk;
mod log_support;
mod metaservice_support;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, atomic::Ordering},
};

use cert_authority::{
    algorithm::DigestAlgorithm,
    clock::{FixedClock, UnixTime},
    crypto::digest,
};
use cleaned_support::*;
use evidence_support::now;
use failing_disk::{FailingDisk, Fault};
use gateway::{
    archive::removing::remove_old,
    audit::reconcile::{self, ReconcileError, Scope},
    evidence::asic::verify_container,
    messagelog::{
        LogError, MessageLog,
        disk::Disk,
        erase::erase,
        frame::{CHUNK_HEAD, ChunkHead, ChunkType, SEGMENT_HEADER, SegmentHeader},
        reader::{Filter, Order},
        record::Kind,
        removal::{self, full},
        tiles::Tiles,
    },
    metaservice::container::LoggedContainer,
};
use log_support::config;
use metaservice_support::*;

fn copied(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    run(Command::new("cp").arg("-a").arg(from.join(".")).arg(copy.path()));
    copy
}

#[test]
fn a_cleaned_log_verifies_as_before_and_says_of_each_message_that_it_was_removed() {
    let old = Old::new();
    let reader = old.scene.reader();
    let (size, before, length) = (reader.len(), leaves(&reader), fs::metadata(old.segment(1)).unwrap().len());
    let root = reader.tree().root();
    let judged = old.report();
    assert_eq!((judged.problems.as_slice(), judged.signatures, judged.removed), ([].as_slice(), 80, 0));

    let removed = old.remove(later());
    assert!(removed > 30, "{removed}");
    assert_eq!(old.remove(later()), 0, "once is enough");
    assert!(fs::metadata(old.segment(1)).unwrap().len() < length / 3);

    let report = old.report();
    assert_eq!(report.problems, []);
    assert_eq!((report.signatures, report.removed), (80 - removed, removed));
    assert_eq!((report.archives, report.stamped), (judged.archives, judged.stamped));

    // Whatever is held in memory, after a restart, and with an index that was built anew.
    let mut old = old;
    for round in 0..3 {
        let reader = old.scene.reader();
        assert_eq!(leaves(&reader)[..before.len()], before, "round {round}");
        assert_eq!(Tiles::new(reader.clone(), false).root(size).unwrap(), root, "round {round}");
        let kept = there(&reader);
        assert_eq!(u64::try_from(kept.iter().filter(|kept| !**kept).count()).unwrap(), removed);
        let error = reader.get(0).unwrap_err().to_string();
        assert!(error.starts_with("record 0 was removed from the log, which keeps its hash"), "{error}");
        let messages = Filter { kinds: vec![Kind::Request, Kind::Response], ..Filter::default() };
        assert_eq!(reader.count(&messages).unwrap(), 80 - removed);
        let traffic = reader.traffic(now(), 1).unwrap();
        assert_eq!(
            (traffic.hours.as_slice(), traffic.services[0].1),
            ([80 - removed].as_slice(), 80 - removed)
        );
        let stamps = Filter { kinds: vec![Kind::Timestamp], ..Filter::default() };
        assert_eq!(reader.find(&stamps, Order::OldestFirst, None, 9).unwrap().len(), 4);
        match reader.by_message_id("q-0-0") {
            Err(LogError::Removed { sequence: 0, .. }) if round == 0 => {}
            Ok(none) if round > 0 => assert_eq!(none, [], "what was read again does not tell its id"),
            other => panic!("round {round}: {other:?}"),
        }
        if round == 1 {
            let Old {
                scene: Scene { directory, world, key, log, clock: time, runtime },
                conf,
                archives,
                config,
            } = old;
            drop((log, reader));
            fs::remove_dir_all(config.directory.join("index")).unwrap();
            let log = opened(&config);
            old = Old {
                scene: Scene { directory, world, key, log, clock: time, runtime },
                conf,
                archives,
                config,
            };
        } else {
            drop(reader);
            old = old.reopen();
        }
    }

    // It goes on: what comes now is logged, stamped, archived, and opened from its container.
    let number = old.scene.log(Message { id: "new", ..REQUEST });
    old.scene.stamp();
    old.archive();
    let container = LoggedContainer::open(&old.scene.reader(), number).unwrap();
    let bytes = container.write(std::io::Cursor::new(Vec::new())).unwrap().into_inner();
    assert!(verify_container(&bytes, &old.conf).unwrap().valid);
    assert_eq!(old.report().problems, []);
}

#[test]
fn what_is_young_or_not_stamped_or_not_archived_or_still_has_bodies_stays() {
    let old = Old::archived(None);
    assert_eq!(old.remove(later()), 0, "their bodies can still be read");
    old.clean_bodies();
    assert_eq!(old.remove(now() + 29 * DAY), 0, "too young");
    // Messages in segments that are full, which no archive holds.
    old.fill(7, 60);
    let unstamped = old.scene.reader().len() - 60;
    for key in old.scene.log.vault().keys().unwrap() {
        old.scene.runtime.block_on(erase(&old.scene.log, &key, "officer", "decision 7")).unwrap();
    }
    assert!(old.remove(later()) > 30);
    let kept = there(&old.scene.reader());
    let from = usize::try_from(unstamped).unwrap();
    assert!(kept[from..].iter().all(|kept| *kept), "not stamped");
    old.scene.stamp();
    assert_eq!(old.remove(later()), 0, "stamped, not archived");
    let last = full(&old.scene.reader(), 0).unwrap().last().unwrap().segment;
    let next = SegmentHeader::decode(&fs::read(old.segment(last + 1)).unwrap()[..SEGMENT_HEADER]).unwrap();
    assert!(next.tree.size() > unstamped, "there were full segments with such messages");
    assert_eq!(old.report().problems, []);
}

#[test]
fn what_was_removed_by_somebody_else_is_found() {
    let old = Old::new();
    let copy = copied(&old.log());
    let removed = old.remove(later());
    assert!(removed > 30);
    let judged = |log: &Path| report(log, &old.conf, &old.archives).problems;

    // A segment that was cleaned, in a log that does not say so.
    let first = "segments/00000001.seg";
    put(&copy.path().join(first), &fs::read(old.segment(1)).unwrap());
    let problems = judged(copy.path());
    assert_eq!(problems[0].record, 0);
    assert!(problems[0].what.contains("the log does not say that it was cleaned of it"), "{problems:?}");

    // In a log that says so: a hash that is another, one that is gone, a segment that is gone.
    let copy = copied(&old.log());
    assert_eq!(judged(copy.path()), []);
    let whole = fs::read(copy.path().join(first)).unwrap();
    let header = SegmentHeader::decode(&whole[..SEGMENT_HEADER]).unwrap();
    let at = SEGMENT_HEADER + 64;
    let head = whole[at..at + CHUNK_HEAD].first_chunk().unwrap();
    let head = ChunkHead::decode(head, &header.log).unwrap();
    assert_eq!(head.kind, ChunkType::Removed);
    let note = ChunkHead {
        kind: ChunkType::Note,
        length: 8,
        write: 4096,
        hash: digest(DigestAlgorithm::Sha256, &3_u64.to_be_bytes()).as_ref().try_into().unwrap(),
    };
    let note = [note.encode(&header.log).as_slice(), &3_u64.to_be_bytes()].concat();
    let other_note = [&whole[..SEGMENT_HEADER], &note, &whole[at..]].concat();
    put(&copy.path().join(first), &other_note);
    let problems = judged(copy.path());
    assert!(problems[0].what.contains("the log does not say that it was cleaned of it"), "{problems:?}");
    let mut changed = whole.clone();
    changed[at..at + CHUNK_HEAD].copy_from_slice(&ChunkHead { hash: [7; 32], ..head }.encode(&header.log));
    put(&copy.path().join(first), &changed);
    assert!(judged(copy.path())[0].what.contains("the records before the segment are not those"));
    let without = [&whole[..at], &whole[at + CHUNK_HEAD..]].concat();
    put(&copy.path().join(first), &without);
    let problems = judged(copy.path());
    assert!(problems[0].what.contains("missing, doubled or out of its place"), "{problems:?}");
    fs::remove_file(copy.path().join(first)).unwrap();
    assert!(judged(copy.path())[0].what.contains("the segment is missing"));
}

#[test]
fn a_segment_that_is_cleaned_again_still_says_of_each_message_which_record_removed_it() {
    let old = Old::new();
    let messages = removal::present(&old.scene.reader(), 1).unwrap();
    let remove = |message: u64| {
        let removing = removal::remove(&old.scene.log, 1, [message].into(), "officer", "asked for");
        old.scene.runtime.block_on(removing).unwrap();
        old.scene.reader().len() - 1
    };
    let (first, middle) = (messages[0].sequence, messages[messages.len() / 2].sequence);
    let by = [(middle, remove(middle)), (first, remove(first))];
    assert!(old.remove(later()) > 30);
    // Once is enough, also for one that is named again.
    remove(first);
    let old = old.reopen();
    there(&old.scene.reader());
    for (sequence, noted) in by {
        assert_eq!(old.scene.reader().get(sequence), Err(LogError::Removed { sequence, noted }));
    }
    assert_eq!(old.report().problems, []);

    // A note that names a record which removed others.
    let mut bytes = fs::read(old.segment(1)).unwrap();
    let id = SegmentHeader::decode(&bytes[..SEGMENT_HEADER]).unwrap().log;
    let at = SEGMENT_HEADER;
    assert_eq!(bytes[at + CHUNK_HEAD..at + CHUNK_HEAD + 8], by[1].1.to_be_bytes());
    let note = by[0].1.to_be_bytes();
    let hash = digest(DigestAlgorithm::Sha256, &note).as_ref().try_into().unwrap();
    let head = ChunkHead { kind: ChunkType::Note, length: 8, write: 4096, hash };
    bytes[at..at + CHUNK_HEAD + 8].copy_from_slice(&[head.encode(&id).as_slice(), &note].concat());
    put(&old.segment(1), &bytes);
    let problems = old.report().problems;
    assert_eq!(problems.iter().map(|problem| problem.record).collect::<Vec<_>>(), [first], "{problems:?}");
}

#[test]
fn a_message_that_was_removed_before_it_was_archived_is_found_although_the_log_says_so() {
    let old = Old::archived(None);
    old.fill(7, 60);
    old.scene.stamp();
    let reader = old.scene.reader();
    let last = full(&reader, 0).unwrap().last().unwrap().segment;
    let message = removal::present(&reader, last).unwrap().last().unwrap().sequence;
    let removing = removal::remove(&old.scene.log, last, [message].into(), "somebody", "no reason");
    old.scene.runtime.block_on(removing).unwrap();
    let problems = old.report().problems;
    let what = format!("record {message} was removed before it was in an archive");
    assert_eq!(problems.iter().map(|problem| problem.what.as_str()).collect::<Vec<_>>(), [what]);
}

#[test]
fn the_last_segment_and_one_that_is_damaged_are_left_alone() {
    let old = Old::new();
    let reader = old.scene.reader();
    let last = full(&reader, 0).unwrap().last().unwrap().segment + 1;
    let removing = removal::remove(&old.scene.log, last, [reader.len() - 1].into(), "somebody", "why not");
    assert!(old.scene.runtime.block_on(removing).is_err());

    let mut bytes = fs::read(old.segment(1)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    put(&old.segment(1), &bytes);
    assert!(old.remove(later()) > 0, "others are cleaned");
    assert_eq!(fs::read(old.segment(1)).unwrap(), bytes);
}

#[test]
fn logs_are_not_compared_over_a_time_whose_messages_were_removed() {
    let old = Old::new();
    assert!(old.remove(later()) > 30);
    let scope = |from: Option<UnixTime>| Scope { from, ..Scope::default() };
    let found = reconcile::read(&old.log(), &scope(None), false);
    assert!(matches!(found, Err(ReconcileError::Cleaned { .. })), "{found:?}");
    assert!(reconcile::read(&old.log(), &scope(Some(now())), false).is_ok(), "from then on they are whole");
}

#[test]
fn a_removal_that_fails_or_dies_at_any_step_loses_nothing_and_is_finished_later() {
    let old = Old::new();
    let before = leaves(&old.scene.reader());
    let Old { scene: Scene { directory, log, world: _world, .. }, conf, archives, .. } = old;
    drop(log);
    let runtime = log_support::runtime();
    let open_on = |copy: &Path, disk: &Arc<FailingDisk>| {
        let disk: Arc<dyn Disk> = Arc::<FailingDisk>::clone(disk);
        MessageLog::open_on(config(copy), Arc::new(FixedClock::new(now())), disk).unwrap()
    };
    let opening = FailingDisk::new(usize::MAX, Fault::Io);
    drop(open_on(copied(directory.path()).path(), &opening));
    let opening = opening.count.load(Ordering::SeqCst);
    let attempt = |at: usize, fault: Fault| {
        let copy = copied(directory.path());
        let disk = FailingDisk::new(opening + at, fault);
        let log = open_on(copy.path(), &disk);
        let removed = runtime.block_on(remove_old(&log, KEEP, later()));
        drop(log);
        disk.cut_power();
        (copy, removed, disk.struck())
    };
    let (_, all, _) = attempt(usize::MAX / 2, Fault::Io);
    let all = all.unwrap();
    for fault in [Fault::Io, Fault::NoSpace, Fault::Half, Fault::ShortOrLate] {
        for at in 1.. {
            let (copy, removed, struck) = attempt(at, fault);
            let directory = config(copy.path()).directory;
            let log = opened(&config(copy.path()));
            let judged = report(&directory, &conf, &archives);
            assert_eq!(judged.problems, [], "{fault:?} {at}");
            assert_eq!(leaves(&log.reader())[..before.len()], before, "{fault:?} {at}");
            there(&log.reader());
            let rest = runtime.block_on(remove_old(&log, KEEP, later())).unwrap();
            assert_eq!(judged.removed + rest, all, "{fault:?} {at}: {removed:?}");
            let judged = report(&directory, &conf, &archives);
            assert_eq!((judged.problems.as_slice(), judged.removed), ([].as_slice(), all), "{fault:?} {at}");
            if !struck {
                assert!(removed.is_ok() && at > 12, "{fault:?}: {at} steps");
                break;
            }
        }
    }
}
