//! A small file system in memory, on which little has room. Mounting it needs root, or sudo without a password. Where that
//! cannot be, `PASSERELLE_MOUNT=no` leaves the tests out that need it, and they say so; without it they fail.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{path::Path, process::Command};

/// A small file system, gone when dropped.
pub(crate) struct Mounted(tempfile::TempDir);

impl Mounted {
    /// None when these tests are left out.
    pub(crate) fn new(options: &str) -> Option<Self> {
        if std::env::var_os("PASSERELLE_MOUNT").is_some_and(|value| value == "no") {
            println!("NOT RUN: PASSERELLE_MOUNT=no");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let options = format!("{options},uid={user},gid={group},mode=700");
        done(as_root("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path()));
        Some(Self(directory))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, how: &str) {
        let option = format!("remount,{how}");
        done(as_root("mount").args(["-o", &option]).arg(self.path()));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = as_root("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}(PASSERELLE_MOUNT=no leaves this out)");
}
