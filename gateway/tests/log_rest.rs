//! A log that was closed in order is opened where it lay: nothing is read again before, and all of it afterwards.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod log_support;

use std::{fs, path::Path, time::Duration};

use gateway::messagelog::{LogError, MessageLog};
use log_support::{
    files::{chunks, copy_tree, filled, findings, overwrite, segment},
    *,
};

/// Each of these records is there, once, and found by its id.
fn assert_found(log: &MessageLog, count: u64) {
    assert_eq!(log.reader().len(), count);
    for n in 0..count {
        let found = log.reader().by_message_id(&format!("m{n}")).unwrap();
        assert_eq!(found.iter().map(|record| record.sequence).collect::<Vec<_>>(), [n]);
    }
}

async fn add(directory: &Path, records: std::ops::Range<u64>) {
    let log = open(directory).unwrap();
    for n in records {
        assert_eq!(append(&log, &format!("m{n}"), b"body").await.unwrap().sequence, n);
    }
}

#[tokio::test]
async fn it_goes_on_where_it_lay_as_often_as_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 1, 20).await;
    // At the edges of a block of the index, and of segments, which hold some 90 of these.
    let mut count = 1;
    for more in [1, 30, 60, 4, 159, 1, 1, 255, 256] {
        add(directory.path(), count..count + more).await;
        count += more;
        // Nothing is added in between.
        assert_found(&open(directory.path()).unwrap(), count);
    }
    assert!(segment(directory.path(), 3).exists());
    assert_eq!(findings(directory.path()), []);
    let tree = open(directory.path()).unwrap().reader().tree();
    fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    let log = open(directory.path()).unwrap();
    assert_eq!(log.reader().tree(), tree, "as derived from all records");
    assert_found(&log, count);
}

#[tokio::test]
async fn what_came_after_the_last_time_it_was_closed_is_read() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 20, 20).await;
    let index = tempfile::tempdir().unwrap();
    copy_tree(&directory.path().join("log/index"), &index.path().join("index"));
    let log = open(directory.path()).unwrap();
    for n in 20..400 {
        append(&log, &format!("m{n}"), b"body").await.unwrap();
    }
    // The machine stops: the log is as it is now, with an index that knows what it knew.
    let stopped = tempfile::tempdir().unwrap();
    copy_tree(directory.path(), stopped.path());
    let tree = log.reader().tree();
    drop(log);
    let log = open(stopped.path()).unwrap();
    assert_eq!(log.reader().tree(), tree);
    assert_found(&log, 400);
    drop(log);
    assert_eq!(findings(stopped.path()), []);
    // The same with a last write that did not arrive whole, and with one whose beginning did not.
    for begins in [true, false] {
        let torn = tempfile::tempdir().unwrap();
        copy_tree(directory.path(), torn.path());
        fs::remove_dir_all(torn.path().join("log/index")).unwrap();
        copy_tree(&index.path().join("index"), &torn.path().join("log/index"));
        let path = segment(torn.path(), last_segment(torn.path()));
        let [.., (begin, middle, _), (_, end, _)] = chunks(&fs::read(&path).unwrap())[..] else { panic!() };
        let (from, to) = if begins { (middle, end) } else { (begin, middle) };
        overwrite(&path, from, &vec![0; to - from]);
        let log = open(torn.path()).unwrap();
        assert_found(&log, 399);
        append(&log, "m399", b"body").await.unwrap();
        drop(log);
        assert_found(&open(torn.path()).unwrap(), 400);
        assert_eq!(findings(torn.path()), []);
    }
}

fn last_segment(directory: &Path) -> u64 {
    (1..).take_while(|number| segment(directory, *number).exists()).last().unwrap()
}

#[tokio::test]
async fn damage_in_what_is_passed_over_stops_the_log_right_after_its_start() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 60, 9000).await;
    let kept = tempfile::tempdir().unwrap();
    copy_tree(directory.path(), kept.path());
    let last = segment(directory.path(), 3);
    let places = chunks(&fs::read(&last).unwrap());
    let first = chunks(&fs::read(segment(directory.path(), 1)).unwrap())[4].0;
    for (number, at, opens) in
        [(3, places[1].0 + 70, true), (1, first + 70, true), (3, places.last().unwrap().0 + 70, false)]
    {
        let path = segment(directory.path(), number);
        let byte = fs::read(&path).unwrap()[at];
        overwrite(&path, at, &[byte ^ 1]);
        match open(directory.path()) {
            // What it would go on from is not as it was: all is read before.
            Err(LogError::CutOff { expected: 60, found: 59 }) => {
                assert!(!opens, "segment {number}, byte {at}")
            }
            Ok(log) if opens => {
                let mut refused = Ok(());
                for n in 0.. {
                    refused = append(&log, &format!("later{n}"), b"").await.map(drop);
                    if refused.is_err() || n == 600 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let Err(LogError::Stopped(why)) = refused else { panic!("{refused:?}") };
                assert!(why.contains(&format!("segment {number}")), "{why}");
                // The next start does not begin at all.
                drop(log);
                let again = open(directory.path()).map(drop);
                assert!(matches!(again, Err(LogError::Damaged(_))), "{again:?}");
            }
            other => panic!("segment {number}, byte {at}: {:?}", other.map(drop)),
        }
        fs::remove_dir_all(directory.path().join("log")).unwrap();
        copy_tree(&kept.path().join("log"), &directory.path().join("log"));
    }
    add(directory.path(), 60..61).await;
}

#[tokio::test]
async fn the_rest_of_another_history_of_the_same_log_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 10, 20).await;
    let other = tempfile::tempdir().unwrap();
    copy_tree(directory.path(), other.path());
    // Both go on, differently, to ends at the same place.
    let log = open(directory.path()).unwrap();
    append(&log, "a", b"1").await.unwrap();
    drop(log);
    let log = open(other.path()).unwrap();
    append(&log, "b", b"2").await.unwrap();
    let tree = log.reader().tree();
    drop(log);
    let index = other.path().join("log/index");
    fs::remove_dir_all(&index).unwrap();
    copy_tree(&directory.path().join("log/index"), &index);
    let log = open(other.path()).unwrap();
    assert_eq!(log.reader().tree(), tree);
    assert_eq!(ids(&log).last().map(String::as_str), Some("b"));
    assert_eq!(log.reader().by_message_id("a").unwrap(), []);
}
