//! A log on a real file system that is full, has no inode left, or is read-only; and a clock that was set back.
//!
//! The file systems are small ones in memory; mounting them needs root. Without that a test says that it was not run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod log_support;
mod small_disk;

use std::{fs, path::Path, sync::Arc, time::Duration};

use cert_authority::clock::Clock;
use gateway::messagelog::{LogError, LogStore, MessageLog, audit::audit, service::read_only, tiles::Tiles};
use log_support::*;
use small_disk::Mounted;

fn holds(directory: &Path, promised: &[String]) {
    let log = open(directory).unwrap();
    assert_eq!(ids(&log), promised);
    drop(log);
    let verdict = audit(&config(directory).directory, &mut ()).unwrap();
    assert_eq!(verdict.findings, []);
}

#[tokio::test]
async fn a_log_on_a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let Some(disk) = Mounted::new("size=4m") else { return };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let log = create(disk.path());
    let mut promised = Vec::new();
    let mut refused = 0;
    for n in 0..100 {
        let id = format!("m{n}");
        match append(&log, &id, &vec![b'x'; [100, 60_000, 200_000][n % 3]]).await {
            Ok(_) => promised.push(id),
            Err(LogError::NoSpace(_)) => refused += 1,
            Err(other) => panic!("{id}: {other}"),
        }
    }
    assert!(refused > 10 && promised.len() > 10, "{refused} refused, {} promised", promised.len());
    assert!(matches!(log.ready(), Err(LogError::NoSpace(_))));
    fs::remove_file(&ballast).unwrap();
    append(&log, "after", &[b'x'; 60_000]).await.unwrap();
    promised.push("after".to_owned());
    drop(log);
    holds(disk.path(), &promised);
}

#[tokio::test]
async fn without_an_inode_left_no_exchange_begins_until_there_is_one() {
    let Some(disk) = Mounted::new("size=64m,nr_inodes=200") else { return };
    let log = create(disk.path());
    append(&log, "before", &[b'x'; 200_000]).await.unwrap();
    assert_eq!(log.ready(), Ok(()));
    let files = disk.path().join("files");
    fs::create_dir(&files).unwrap();
    for n in 0.. {
        if fs::write(files.join(n.to_string()), b"").is_err() {
            break;
        }
    }
    assert!(matches!(log.ready(), Err(LogError::NoSpace(_))));
    let large = append(&log, "large", &[b'x'; 200_000]).await;
    assert!(matches!(large, Err(LogError::NoSpace(_))), "{large:?}");
    append(&log, "small", b"needs no file of its own").await.unwrap();
    fs::remove_dir_all(&files).unwrap();
    assert_eq!(log.ready(), Ok(()));
    append(&log, "after", &[b'x'; 200_000]).await.unwrap();
    drop(log);
    holds(disk.path(), &["before", "small", "after"].map(str::to_owned));
}

#[tokio::test]
async fn a_log_on_a_read_only_disk_is_not_opened_and_nothing_is_lost() {
    let Some(disk) = Mounted::new("size=16m") else { return };
    let log = create(disk.path());
    append(&log, "m0", b"body").await.unwrap();
    drop(log);
    disk.remount("ro");
    let refused = open(disk.path()).err();
    assert!(matches!(refused, Some(LogError::Io { .. })), "{refused:?}");
    // An auditor needs no more than to read it.
    let clock: Arc<dyn Clock> = Arc::new(clock());
    let reader = read_only(&config(disk.path()), &clock).unwrap();
    let found = reader.by_message_id("m0").unwrap().remove(0);
    let body = reader.bodies(&found).unwrap().remove(1).unwrap();
    assert_eq!(body.read().unwrap().as_ref(), b"body");
    assert_eq!(audit(&config(disk.path()).directory, &mut ()).unwrap().findings, []);
    let tiles = Tiles::new(reader.clone(), true);
    assert_eq!(tiles.root(1).unwrap(), reader.tree().root());
    drop((tiles, reader));
    disk.remount("rw");
    holds(disk.path(), &["m0".to_owned()]);
}

#[tokio::test]
async fn without_room_for_tiles_proofs_are_right_and_tiles_are_kept_when_there_is_some() {
    let Some(disk) = Mounted::new("size=8k") else { return };
    let directory = tempfile::tempdir().unwrap();
    let log = create(directory.path());
    for n in 0..520 {
        append(&log, &format!("m{n}"), b"body").await.unwrap();
    }
    std::os::unix::fs::symlink(disk.path(), directory.path().join("log/tiles")).unwrap();
    let reader = log.reader();
    let full = Tiles::new(reader.clone(), true);
    assert_eq!(full.root(520).unwrap(), reader.tree().root());
    assert_eq!(full.written(), 0);
    disk.remount("size=1m");
    let tiles = Tiles::new(reader.clone(), true);
    assert_eq!(tiles.root(520).unwrap(), reader.tree().root());
    assert_eq!(tiles.written(), 2, "what was left by the attempts before does no harm");
    let again = Tiles::new(reader.clone(), true);
    assert_eq!((again.root(520).unwrap(), again.written()), (reader.tree().root(), 0));
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_disturb_the_order() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = MessageLog::create(config(directory.path()), Arc::new(clock.clone())).unwrap();
    let promised: Vec<_> = (0..600).map(|n| format!("m{n}")).collect();
    for (n, id) in promised.iter().enumerate() {
        if n == 300 {
            clock.set(log_support::clock().now() - Duration::from_secs(30 * 86_400));
        }
        append(&log, id, b"body").await.unwrap();
    }
    let reader = log.reader();
    assert!(reader.get(300).unwrap().unwrap().time < reader.get(299).unwrap().unwrap().time);
    drop((reader, log));
    holds(directory.path(), &promised);
    fs::remove_dir_all(directory.path().join("log/index")).unwrap();
    holds(directory.path(), &promised);
}
