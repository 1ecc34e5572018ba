//! Processes, and packages of the distribution.
//!
//! Of a process its program's name is told, never its arguments: they may hold what nobody else should know. Packages are
//! those of Debian's package manager, where there is one.

use std::collections::HashMap;
use std::fs;

use cert_authority::clock::UnixTime;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Metric, kilobytes, meminfo};

/// All processes.
pub const ALL: &str = "Processes";
/// Those of this software.
pub const OURS: &str = "Xroad Processes";
/// Installed packages with their versions.
pub const PACKAGES: &str = "Packages";

/// What Linux counts processor time in, for programs.
const TICKS: f64 = 100.0;

/// A process.
struct Process {
    id: u32,
    command: String,
    /// Ticks of processor time.
    spent: f64,
    /// Ticks from the machine's start to its own.
    started: f64,
    memory: u64,
    user: u32,
}

/// The processes of one of the two kinds.
pub fn list(kind: &str, now: UnixTime) -> Metric {
    let ours =
        |process: &Process| process.command.starts_with("passerelle") || process.id == std::process::id();
    let users = users();
    let (uptime, memory) = (uptime().unwrap_or(0.0), meminfo("MemTotal").unwrap_or(0));
    let mut all: Vec<Process> = ids().filter_map(read).collect();
    all.retain(|process| kind == ALL || ours(process));
    all.sort_by_key(|process| process.id);
    let show = |process: &Process| process.show(now, uptime, memory, &users);
    Metric::Set(kind.to_owned(), all.iter().map(show).collect())
}

impl Process {
    #[expect(clippy::as_conversions, reason = "a share is a number with a fraction, and may be rounded")]
    fn show(&self, now: UnixTime, uptime: f64, memory: u64, users: &HashMap<u32, String>) -> Metric {
        let age = (uptime - self.started / TICKS).max(0.01);
        let started = OffsetDateTime::from(now) - time::Duration::seconds_f64(age);
        let user = users.get(&self.user).cloned().unwrap_or_else(|| self.user.to_string());
        let number = |name: &str, value: String| Metric::Number(name.to_owned(), value);
        let text = |name: &str, value: String| Metric::Text(name.to_owned(), value);
        Metric::Set(
            self.id.to_string(),
            vec![
                number("processId", self.id.to_string()),
                text("command", self.command.clone()),
                number("cpuLoad", format!("{:.1}", self.spent / TICKS / age * 100.0)),
                number("memUsed", format!("{:.1}", self.memory as f64 / (memory.max(1)) as f64 * 100.0)),
                text("startTime", start_time(started, now.into())),
                text("userId", user),
            ],
        )
    }
}

/// The time of today, the day of this year, or the year, as `ps` has it.
fn start_time(started: OffsetDateTime, now: OffsetDateTime) -> String {
    let form = if started.date() == now.date() {
        started.format(format_description!("[hour]:[minute]"))
    } else if started.year() == now.year() {
        started.format(format_description!("[month repr:short][day]"))
    } else {
        started.format(format_description!("[year]"))
    };
    form.unwrap_or_default()
}

fn ids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Nothing of a process that has ended meanwhile.
fn read(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    // The command stands in brackets, and may hold some.
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let command = stat.get(begin.saturating_add(1)..end)?.to_owned();
    let fields: Vec<&str> = stat.get(end.saturating_add(1)..)?.split_whitespace().collect();
    let field = |number: usize| fields.get(number)?.parse::<f64>().ok();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
    Some(Process {
        id,
        command,
        spent: field(11)? + field(12)?,
        started: field(19)?,
        memory: kilobytes(&status, "VmRSS").unwrap_or(0), // the kernel's own have none
        user: user.parse().ok()?,
    })
}

fn uptime() -> Option<f64> {
    fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()
}

fn users() -> HashMap<u32, String> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(user).collect()
}

/// The installed packages.
pub fn packages() -> Metric {
    let text = fs::read("/var/lib/dpkg/status").unwrap_or_default();
    Metric::Set(PACKAGES.to_owned(), installed(&String::from_utf8_lossy(&text)))
}

fn installed(status: &str) -> Vec<Metric> {
    let package = |paragraph: &str| {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
        };
        field("Status").filter(|status| status.ends_with(" installed"))?;
        Some(Metric::Text(field("Package")?.to_owned(), field("Version")?.to_owned()))
    };
    status.split("\n\n").filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_them_without_its_arguments() {
        let now = OffsetDateTime::now_utc().into();
        let Metric::Set(name, ours) = list(OURS, now) else { panic!() };
        assert_eq!(name, OURS);
        let own = std::process::id().to_string();
        let own = ours.iter().find(|metric| metric.name() == own).expect("this process");
        let Metric::Set(_, fields) = own else { panic!() };
        let names: Vec<_> = fields.iter().map(Metric::name).collect();
        assert_eq!(names, ["processId", "command", "cpuLoad", "memUsed", "startTime", "userId"]);
        let Metric::Set(_, all) = list(ALL, now) else { panic!() };
        assert!(all.len() > ours.len() || all.len() == 1);
        let Some(Metric::Text(_, command)) = fields.get(1) else { panic!() };
        assert!(!command.contains(' ') && command.len() <= 15, "{command}");
    }

    #[test]
    fn packages_are_those_that_are_installed() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1.2-3\n\n\
                      Package: b\nStatus: deinstall ok config-files\nVersion: 2\n\n\
                      Package: c\nStatus: install ok installed\nDescription: x\n Version: 9\nVersion: 3:1\n";
        let text = |name: &str, version: &str| Metric::Text(name.to_owned(), version.to_owned());
        assert_eq!(installed(status), [text("a", "1.2-3"), text("c", "3:1")]);
        assert!(installed("").is_empty());
    }

    #[test]
    fn a_start_is_told_as_precisely_as_it_matters() {
        let at = |text: &str| OffsetDateTime::from(UnixTime::from_rfc3339(text).unwrap());
        let now = at("2026-11-23T10:00:00Z");
        assert_eq!(start_time(at("2026-11-23T09:05:00Z"), now), "09:05");
        assert_eq!(start_time(at("2026-11-02T09:05:00Z"), now), "Nov02");
        assert_eq!(start_time(at("2025-12-31T09:05:00Z"), now), "2025");
    }
}
