//! The log after a crash, and after somebody was at its files.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use gateway::messagelog::{LogError, erase::erase, error::Flaw};
use log_support::{files::*, *};

/// Somebody at the files.
type Tamper<'a> = Box<dyn Fn() + 'a>;

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_the_log_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 3, 20).await;
    fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    let path = segment(directory.path(), 1);
    let whole = fs::read(&path).unwrap();
    let chunks = chunks(&whole);
    let frames: Vec<_> = chunks.iter().filter(|chunk| chunk.2).collect();
    let (begin, end) = (frames[1].1, frames[2].1);
    // Where its last bytes are zero anyway nothing is torn.
    let last = (begin..end).rev().find(|at| whole[*at] != 0).unwrap();
    // Each byte is torn in the tests of `recover`; here the whole log is opened.
    for cut in (begin..end).step_by(61).chain([last, last + 1]) {
        overwrite(&path, 0, &whole);
        overwrite(&path, cut, &vec![0; end - cut]);
        let log = open(directory.path()).unwrap();
        let records = if cut > last { 3 } else { 2 };
        assert_eq!(log.reader().len(), records, "torn at {cut}");
        assert_eq!(append(&log, "next", b"").await.unwrap().sequence, records);
        drop(log);
        assert_eq!(findings(directory.path()), [], "torn at {cut}");
        fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    }
}

#[tokio::test]
async fn pages_of_one_write_that_arrived_without_those_before_them_are_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 3, 20).await;
    fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    let path = segment(directory.path(), 1);
    let whole = fs::read(&path).unwrap();
    let chunks = chunks(&whole);
    // The third record: its first blob is missing, its second blob and its frame are there.
    let (begin, end, _) = chunks[6];
    overwrite(&path, begin, &vec![0; end - begin]);
    let log = open(directory.path()).unwrap();
    assert_eq!(ids(&log), ["m0", "m1"]);
    // A record of the same shape must not bring the remnant back to life.
    append(&log, "m9", &[b'y'; 20]).await.unwrap();
    drop(log);
    assert_eq!(ids(&open(directory.path()).unwrap()), ["m0", "m1", "m9"]);
    assert_eq!(findings(directory.path()), []);
}

#[tokio::test]
async fn what_was_durable_and_is_damaged_is_no_torn_tail() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 3, 20).await;
    fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    let path = segment(directory.path(), 1);
    let whole = fs::read(&path).unwrap();
    let second = chunks(&whole)[3];
    for (at, flaw) in [(second.0 + 5, Flaw::Chunk), (second.0 + 60, Flaw::Hash)] {
        overwrite(&path, at, &[whole[at] ^ 1]);
        match open(directory.path()).map(drop) {
            Err(LogError::Damaged(finding)) => assert_eq!((finding.sequence, finding.flaw), (1, flaw)),
            other => panic!("{other:?}"),
        }
        overwrite(&path, at, &[whole[at]]);
    }
    assert_eq!(open(directory.path()).unwrap().reader().len(), 3);
}

#[tokio::test]
async fn a_log_that_was_cut_off_or_rolled_back_is_seen_by_its_index() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 3, 20).await;
    let path = segment(directory.path(), 1);
    let whole = fs::read(&path).unwrap();
    let (begin, end) = (chunks(&whole)[6].0, chunks(&whole)[8].1);
    overwrite(&path, begin, &vec![0; end - begin]);
    let opened = open(directory.path()).map(drop);
    assert_eq!(opened.unwrap_err(), LogError::CutOff { expected: 3, found: 2 });
}

#[tokio::test]
async fn any_changed_bit_is_found_and_the_record_named() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 60, 9000).await;
    let mut seed = 88_172_645_463_325_252u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % u64::try_from(below).unwrap()).unwrap()
    };
    let mut first = 0;
    for number in 1..=3 {
        let path = segment(directory.path(), number);
        let whole = fs::read(&path).unwrap();
        let chunks = chunks(&whole);
        let end = chunks.last().unwrap().1;
        for round in 0..60 {
            let at = if round < 5 { random(4096) } else { random(end) };
            overwrite(&path, at, &[whole[at] ^ (1 << random(8))]);
            let found = findings(directory.path());
            let before = chunks.iter().filter(|chunk| chunk.2 && chunk.1 <= at).count();
            let record = u64::try_from(first + before).unwrap();
            let named = found.first().unwrap_or_else(|| panic!("segment {number}, byte {at} was not found"));
            assert_eq!(named.segment, number);
            // A changed header says nothing of records; its finding comes before all of them.
            if at >= 4096 {
                assert_eq!(named.sequence, record, "segment {number}, byte {at}: {named}");
            }
            overwrite(&path, at, &[whole[at]]);
        }
        first += chunks.iter().filter(|chunk| chunk.2).count();
    }
    assert_eq!(findings(directory.path()), []);
}

#[tokio::test]
async fn missing_doubled_swapped_and_foreign_segments_are_found_and_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 60, 9000).await;
    let other = tempfile::tempdir().unwrap();
    filled(other.path(), 60, 9000).await;
    let kept = tempfile::tempdir().unwrap();
    copy_tree(directory.path(), kept.path());
    let [one, two, three] = [1, 2, 3].map(|n| segment(directory.path(), n));
    let cases: [(&str, Tamper<'_>, Flaw); 5] = [
        ("missing", Box::new(|| fs::remove_file(&two).unwrap()), Flaw::Order),
        ("first missing", Box::new(|| fs::remove_file(&one).unwrap()), Flaw::Order),
        ("doubled", Box::new(|| assert!(fs::copy(&one, &two).unwrap() > 0)), Flaw::Order),
        (
            "swapped",
            Box::new(|| {
                let (a, b) = (fs::read(&two).unwrap(), fs::read(&three).unwrap());
                fs::File::create(&two).unwrap().write_all(&b).unwrap();
                fs::File::create(&three).unwrap().write_all(&a).unwrap();
            }),
            Flaw::Order,
        ),
        (
            "foreign",
            Box::new(|| assert!(fs::copy(segment(other.path(), 2), &two).unwrap() > 0)),
            Flaw::OtherLog,
        ),
    ];
    for (name, tamper, flaw) in cases {
        fs::remove_dir_all(directory.path().join("log")).unwrap();
        copy_tree(&kept.path().join("log"), &directory.path().join("log"));
        tamper();
        let found = findings(directory.path());
        assert_eq!(found.first().map(|f| f.flaw), Some(flaw), "{name}");
        match open(directory.path()).map(drop) {
            Err(LogError::Damaged(finding)) => assert_eq!(finding.flaw, flaw, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_body_that_is_gone_is_found_and_one_that_was_erased_is_none_missing() {
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    append(&log, "m", &[0; 200_000]).await.unwrap();
    let material = log.reader().export(0).unwrap().unwrap();
    let stored = material.message.parts[1].stored.clone().unwrap();
    let path = directory.path().join("log/bodies").join(&stored.key).join(hex::encode(stored.ciphertext));
    let whole = fs::read(&path).unwrap();
    overwrite(&path, 100, &[whole[100] ^ 1]);
    assert_eq!(findings(directory.path())[0].flaw, Flaw::Body);
    fs::remove_file(&path).unwrap();
    assert_eq!(findings(directory.path())[0].flaw, Flaw::Body);
    let untold = tempfile::tempdir().unwrap();
    copy_tree(&directory.path().join("log"), &untold.path().join("log"));
    erase(&log, &stored.key, "officer", "decision 7").await.unwrap();
    assert_eq!(findings(directory.path()), [], "erased, and the log says so");
    assert_eq!(log.reader().export(0).unwrap().unwrap().parts.iter().flatten().count(), 0);
    // The same bytes are gone, but nobody has said so.
    fs::remove_dir_all(untold.path().join("log/bodies").join(&stored.key)).unwrap();
    fs::remove_file(untold.path().join(format!("log/keys/{}.key", stored.key))).unwrap();
    let found = findings(untold.path());
    assert_eq!(
        found.iter().map(|found| (found.sequence, found.flaw)).collect::<Vec<_>>(),
        [(0, Flaw::KeyGone)]
    );
    // Without the directory too.
    fs::remove_dir_all(untold.path().join("log/keys")).unwrap();
    assert_eq!(findings(untold.path())[0].flaw, Flaw::KeyGone);
}

#[tokio::test]
async fn the_index_is_built_anew_when_missing_older_or_damaged() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 300, 10).await;
    let index = directory.path().join("log/index");
    let older = tempfile::tempdir().unwrap();
    copy_tree(&index, older.path());
    let log = open(directory.path()).unwrap();
    for n in 300..700 {
        append(&log, &format!("m{n}"), b"").await.unwrap();
    }
    drop(log);
    let whole = || {
        let log = open(directory.path()).unwrap();
        assert_eq!(log.reader().len(), 700);
        for n in [0, 255, 256, 299, 300, 511, 512, 699] {
            let found = log.reader().by_message_id(&format!("m{n}")).unwrap();
            assert_eq!(found.iter().map(|r| r.sequence).collect::<Vec<_>>(), [n]);
        }
    };
    whole();
    fs::remove_dir_all(&index).unwrap();
    whole();
    fs::remove_dir_all(&index).unwrap();
    copy_tree(older.path(), &index);
    whole();
    for file in ["db", "conf"] {
        let length = fs::metadata(index.join(file)).unwrap().len();
        for at in [0, length / 2, length.saturating_sub(40)] {
            overwrite(&index.join(file), usize::try_from(at).unwrap(), &[0xa5; 64]);
            whole();
        }
    }
    fs::OpenOptions::new().write(true).open(index.join("db")).unwrap().set_len(100).unwrap();
    whole();
}

#[tokio::test]
async fn the_index_of_another_log_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 5, 10).await;
    let other = tempfile::tempdir().unwrap();
    filled(other.path(), 9, 10).await;
    let index = directory.path().join("log/index");
    fs::remove_dir_all(&index).unwrap();
    copy_tree(&other.path().join("log/index"), &index);
    assert_eq!(open(directory.path()).unwrap().reader().len(), 5);
}

/// Not a test: the child of the next one. Appends as fast as it can and says what was promised.
#[test]
#[ignore = "runs as the child of `kill_9_loses_nothing_that_was_promised`"]
fn child() {
    let Some(directory) = std::env::var_os("LOG_CHILD_DIRECTORY").map(PathBuf::from) else { return };
    let log = open(&directory).unwrap();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let log = log.clone();
                tokio::spawn(async move {
                    for n in 0.. {
                        let id = format!("{}-{task}-{n}", std::process::id());
                        let body = vec![b'x'; if n % 50 == 49 { 200_000 } else { 2000 }];
                        append(&log, &id, &body).await.unwrap();
                        println!("promised {id}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn kill_9_loses_nothing_that_was_promised() {
    let directory = tempfile::tempdir().unwrap();
    drop(create(directory.path()));
    let mut promised = Vec::new();
    for round in 0..6u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env("LOG_CHILD_DIRECTORY", directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let before = promised.len();
        // Killed after a number of promises that differs from round to round, in the middle of the next ones.
        while promised.len() < before + 40 + usize::try_from(round * 37).unwrap() {
            let line = lines.next().expect("the child ended by itself").unwrap();
            promised.extend(line.split_once("promised ").map(|(_, id)| id.to_owned()));
        }
        child.kill().unwrap();
        promised.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.split_once("promised ").map(|(_, id)| id.to_owned())),
        );
        child.wait().unwrap();
        let log = open(directory.path()).unwrap();
        let mut there = ids(&log);
        drop(log);
        there.sort_unstable();
        let count = there.len();
        there.dedup();
        assert_eq!(there.len(), count, "a record is doubled");
        // A line may have been cut off by the kill: then it is no whole id.
        let missing: Vec<_> = promised.iter().filter(|id| there.binary_search(id).is_err()).collect();
        assert!(
            missing.len() <= 1
                && missing.iter().all(|cut| there.iter().any(|id| id.starts_with(cut.as_str()))),
            "{missing:?}"
        );
        promised.retain(|id| there.binary_search(id).is_ok());
        assert_eq!(findings(directory.path()), []);
    }
    assert!(promised.len() > 600);
}
