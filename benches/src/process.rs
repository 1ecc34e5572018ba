//! CPU time and memory of other processes, from `/proc`.
//!
//! Specification: proc(5). Not for this process's own threads.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// User and system time that the processes have used so far, their waited-for children not counted.
pub fn cpu(pids: &[u32]) -> Duration {
    let ticks: u64 = pids.iter().filter_map(|pid| cpu_ticks(*pid)).sum();
    // USER_HZ is 100 on every Linux that this runs on.
    Duration::from_millis(ticks * 10)
}

/// Does something, unless it is stopped by Ctrl-C.
///
/// # Errors
/// Those of what is done; that it was stopped.
pub async fn unless_stopped<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err("stopped".to_owned()),
    }
}

/// Writes a file whose loss would matter to nobody: settings of a run, answers of `/proc`.
///
/// # Errors
/// The system's.
pub fn write(file: impl AsRef<Path>, content: &[u8]) -> std::io::Result<()> {
    fs::File::create(file)?.write_all(content)
}

/// Proportional set size of the processes, bytes: what they hold, shared pages divided by their sharers.
pub fn pss(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum::<u64>() * 1024
}

/// User and system time of this process so far, all its threads.
pub fn own_cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// User and system time of the children of this process that have ended and were waited for.
pub fn children_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
    let ticks = fields
        .map(|fields| fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>());
    Duration::from_millis(ticks.unwrap_or_default() * 10)
}

/// The highest resident memory of a process so far, bytes.
pub fn peak(pid: u32) -> u64 {
    kib(&format!("/proc/{pid}/status"), "VmHWM:") * 1024
}

/// Makes the highest resident memory of each process what it is now.
///
/// # Errors
/// In words: a process that is not ours.
pub fn forget_peaks(pids: &[u32]) -> Result<(), String> {
    pids.iter().try_for_each(|pid| {
        let file = format!("/proc/{pid}/clear_refs");
        write(&file, b"5").map_err(|error| format!("{file}: {error}"))
    })
}

/// The process and all its descendants.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    found
}

/// Whether the folder lies on a file system that is only memory: a log there would prove nothing.
pub fn on_tmpfs(folder: &Path) -> bool {
    file_system(folder).is_some_and(|kind| kind == "tmpfs" || kind == "ramfs")
}

/// The kind of file system that the folder lies on.
pub fn file_system(folder: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.to_owned())
}

fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold spaces and brackets: fields are counted from the last bracket.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kib(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}
