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

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use cert_authority::clock::Clock as _;
use gateway::messagelog::{LogError, LogStore, MessageLog, audit::audit};
use log_support::*;

/// A small file system, gone when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(directory.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("not run: no file system can be mounted here");
        }
        mounted.then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, how: &str) {
        let option = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &option]).arg(self.path()).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

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
    disk.remount("rw");
    holds(disk.path(), &["m0".to_owned()]);
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
