//! On what a run was measured: said with every table, because figures mean nothing without it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process;

/// One line each: processor, memory, kernel, disk, programs.
pub fn describe(directory: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let disk = process::file_system(directory).unwrap_or_default();
    let commit = output(Command::new("git").args(["describe", "--always", "--dirty"]));
    format!(
        "- machine: {cores} cores of {model}, memory {memory}, Linux {}, log on {disk}\n\
         - commit {commit}; {}; {}",
        kernel.trim(),
        output(Command::new("rustc").arg("--version")),
        nginx_version().unwrap_or_default(),
    )
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// What nginx says it is; none when it is not there.
pub fn nginx_version() -> Option<String> {
    let said = Command::new(nginx()).arg("-v").output().ok()?;
    Some(String::from_utf8_lossy(&said.stderr).trim().replace("nginx version: ", ""))
}

/// Debian keeps nginx where the path of ordinary users does not lead.
pub fn nginx() -> &'static str {
    if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(command: &mut Command) -> String {
    let said = command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.ok().filter(|said| !said.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
