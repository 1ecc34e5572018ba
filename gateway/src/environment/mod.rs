//! The machine that the gateway runs on, as its owner and the network's monitoring may see it.
//!
//! Everything is read where Linux shows it; what it does not show is left out. What changes all the time is looked at every
//! few seconds, and told as the distribution of the last hour.
//!
//! - [`Environment`]: what there is to tell; [`processes`]: processes and packages
//!
//! Specification: X-Road Environmental Monitoring Messages; the names of metrics are X-Road's. Not here: who may ask, and
//! the XML of the answer ([`crate::builtin::server_metrics`]).

pub mod processes;

use std::collections::VecDeque;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cert_authority::algorithm::DigestAlgorithm;
use cert_authority::clock::{Clock, UnixTime};
use cert_authority::x509::Certificate;
use tokio::sync::watch;

/// How often the machine is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How many looks an hour has.
const MOST_SAMPLES: usize = 720;

/// A metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// Several, under one name.
    Set(String, Vec<Self>),
    /// A number, as written.
    Number(String, String),
    /// A text.
    Text(String, String),
    /// The distribution of a number over the last hour.
    Histogram(String, Distribution),
}

/// How a number was distributed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distribution {
    /// When it was looked at last.
    pub updated: UnixTime,
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
    /// The mean.
    pub mean: f64,
    /// The one in the middle.
    pub median: f64,
    /// The standard deviation, of a sample.
    pub deviation: f64,
}

/// What a certificate is for, as X-Road names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateType {
    /// Messages and connections between gateways.
    AuthOrSign,
    /// Our door for information systems.
    ServerTls,
    /// An information system.
    ClientTls,
}

impl CertificateType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AuthOrSign => "AUTH_OR_SIGN",
            Self::ServerTls => "SECURITY_SERVER_TLS",
            Self::ClientTls => "INTERNAL_IS_CLIENT_TLS",
        }
    }
}

/// Gives the certificates that are in use here.
pub type Certificates = Arc<dyn Fn() -> Vec<(CertificateType, Certificate)> + Send + Sync>;

/// What there is to tell of the machine.
pub struct Environment {
    clock: Arc<dyn Clock>,
    certificates: Certificates,
    samples: Mutex<VecDeque<(UnixTime, Sample)>>,
}

/// One look at what changes all the time. In the order of [`SAMPLED`].
type Sample = [Option<u64>; 5];

/// The names of what changes all the time.
const SAMPLED: [&str; 5] = [
    "CommittedVirtualMemory",
    "FreePhysicalMemory",
    "FreeSwapSpace",
    "OpenFileDescriptorCount",
    "SystemCpuLoad",
];

impl Environment {
    /// One that has not looked yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, certificates: Certificates) -> Self {
        Self { clock, certificates, samples: Mutex::default() }
    }

    /// Looks at the machine until `stop` turns true.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut processor = Processor::default();
        loop {
            self.look(&mut processor);
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn look(&self, processor: &mut Processor) {
        let sample = [
            status_of_self("VmSize"),
            meminfo("MemAvailable"),
            meminfo("SwapFree"),
            fs::read_dir("/proc/self/fd").ok().and_then(|files| u64::try_from(files.count()).ok()),
            processor.load(),
        ];
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((self.clock.now(), sample));
        while samples.len() > MOST_SAMPLES {
            samples.pop_front();
        }
    }

    /// The metrics that are asked for, or all of them; `whole` is for the owner, the rest is for those who may see less.
    pub fn metrics(&self, names: &[String], whole: bool) -> Vec<Metric> {
        let wanted = |name: &str| names.is_empty() || names.iter().any(|asked| asked == name);
        let mut metrics = Vec::new();
        if wanted("Certificates") {
            metrics.push(self.certificates());
        }
        metrics.extend(
            fixed()
                .into_iter()
                .filter(|metric| wanted(metric.name()) && (whole || metric.name() == "OperatingSystem")),
        );
        if !whole {
            return metrics;
        }
        metrics.extend(self.distributions().into_iter().filter(|metric| wanted(metric.name())));
        for name in [processes::ALL, processes::OURS].into_iter().filter(|name| wanted(name)) {
            metrics.push(processes::list(name, self.clock.now()));
        }
        if wanted(processes::PACKAGES) {
            metrics.push(processes::packages());
        }
        metrics
    }

    fn certificates(&self) -> Metric {
        let now = self.clock.now();
        let each = (self.certificates)().into_iter().map(|(kind, certificate)| {
            let hash = delimited(&certificate);
            let text = |name: &str, value: String| Metric::Text(name.to_owned(), value);
            let active = kind != CertificateType::AuthOrSign || certificate.valid_at(now).is_ok();
            Metric::Set(
                format!("certificate-{hash}"),
                vec![
                    text("sha1Hash", hash),
                    text("notBefore", certificate.not_before().to_rfc3339()),
                    text("notAfter", certificate.not_after().to_rfc3339()),
                    text("certificateType", kind.as_str().to_owned()),
                    text("active", active.to_string()),
                ],
            )
        });
        Metric::Set("Certificates".to_owned(), each.collect())
    }

    fn distributions(&self) -> Vec<Metric> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((updated, _)) = samples.back() else { return Vec::new() };
        let of = |index: usize| samples.iter().filter_map(move |(_, sample)| *sample.get(index)?).collect();
        let each = SAMPLED.iter().enumerate();
        each.filter_map(|(index, name)| {
            Some(Metric::Histogram((*name).to_owned(), distribution(*updated, of(index))?))
        })
        .collect()
    }
}

impl Metric {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Number(name, _) | Self::Text(name, _) | Self::Histogram(name, _) => {
                name
            }
        }
    }

    fn number(name: &str, value: u64) -> Self {
        Self::Number(name.to_owned(), value.to_string())
    }
}

/// What does not change from one moment to the next, by its name.
fn fixed() -> Vec<Metric> {
    let disk = rustix::fs::statvfs("/").ok();
    let disk = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
        disk.as_ref().map(|disk| blocks(disk).saturating_mul(disk.f_frsize))
    };
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let numbers = [
        ("DiskSpaceFree_/", disk(|disk| disk.f_bfree)),
        ("DiskSpaceTotal_/", disk(|disk| disk.f_blocks)),
        ("MaxFileDescriptorCount", files),
    ];
    let system = fs::read_to_string("/proc/version").ok();
    let system = system.map(|text| Metric::Text("OperatingSystem".to_owned(), text.trim().to_owned()));
    let memory = [("TotalPhysicalMemory", meminfo("MemTotal")), ("TotalSwapSpace", meminfo("SwapTotal"))];
    let metric = |(name, value): (&str, Option<u64>)| Some(Metric::number(name, value?));
    numbers
        .into_iter()
        .filter_map(metric)
        .chain(system)
        .chain(memory.into_iter().filter_map(metric))
        .collect()
}

/// The load of the processors since the last look.
#[derive(Debug, Default)]
struct Processor {
    busy: u64,
    all: u64,
}

impl Processor {
    /// In percent.
    fn load(&mut self) -> Option<u64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let times: Vec<u64> =
            text.lines().next()?.split_whitespace().skip(1).filter_map(|time| time.parse().ok()).collect();
        let all: u64 = times.iter().take(8).sum();
        // What is neither idle nor waiting for a disk.
        let busy = all.saturating_sub(times.iter().skip(3).take(2).sum());
        let (spent, passed) = (busy.saturating_sub(self.busy), all.saturating_sub(self.all));
        *self = Self { busy, all };
        spent.saturating_mul(100).checked_div(passed)
    }
}

fn meminfo(name: &str) -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

fn status_of_self(name: &str) -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, name)
}

/// Bytes of a line `name:  123 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value: u64 = values.next()?.split_whitespace().next()?.parse().ok()?;
    value.checked_mul(1024)
}

/// Its SHA-1, as people compare it.
fn delimited(certificate: &Certificate) -> String {
    let hash = certificate.fingerprint(DigestAlgorithm::Sha1);
    let bytes: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

#[expect(clippy::as_conversions, reason = "a mean is a number with a fraction, and may be rounded")]
fn distribution(updated: UnixTime, mut values: Vec<u64>) -> Option<Distribution> {
    values.sort_unstable();
    let (min, max) = (*values.first()?, *values.last()?);
    let count = values.len() as f64;
    let mean = values.iter().map(|value| *value as f64).sum::<f64>() / count;
    let spread: f64 = values.iter().map(|value| (*value as f64 - mean).powi(2)).sum();
    let middle = |at: usize| values.get(at).map(|value| *value as f64);
    let (upper, even) = (values.len() / 2, values.len().is_multiple_of(2));
    let median =
        if even { middle(upper.saturating_sub(1))?.midpoint(middle(upper)?) } else { middle(upper)? };
    let deviation = (spread / (count - 1.0).max(1.0)).sqrt();
    Some(Distribution { updated, min, max, mean, median, deviation })
}

#[cfg(test)]
mod tests {
    use cert_authority::clock::SystemClock;

    use super::*;

    fn environment() -> Environment {
        Environment::new(Arc::new(SystemClock), Arc::new(Vec::new))
    }

    fn names(metrics: &[Metric]) -> Vec<&str> {
        metrics.iter().map(Metric::name).collect()
    }

    #[test]
    fn the_owner_sees_the_machine_and_others_where_limited_its_system_only() {
        let environment = environment();
        let mut processor = Processor::default();
        environment.look(&mut processor);
        environment.look(&mut processor);
        let whole = environment.metrics(&[], true);
        let all = names(&whole);
        for name in [
            "OperatingSystem",
            "TotalPhysicalMemory",
            "DiskSpaceTotal_/",
            "MaxFileDescriptorCount",
            "Processes",
        ]
        .into_iter()
        .chain([
            "CommittedVirtualMemory",
            "FreePhysicalMemory",
            "OpenFileDescriptorCount",
            "SystemCpuLoad",
        ]) {
            assert!(all.contains(&name), "{name} is not in {all:?}");
        }
        assert_eq!(names(&environment.metrics(&[], false)), ["Certificates", "OperatingSystem"]);
        let asked = ["TotalPhysicalMemory".to_owned(), "no such".to_owned()];
        assert_eq!(names(&environment.metrics(&asked, true)), ["TotalPhysicalMemory"]);
        assert!(environment.metrics(&asked, false).is_empty());
    }

    #[test]
    fn values_are_those_of_this_machine() {
        let metrics = environment().metrics(&[], true);
        let value = |wanted: &str| {
            let found = metrics.iter().find(|metric| metric.name() == wanted);
            match found {
                Some(Metric::Number(_, value) | Metric::Text(_, value)) => value.clone(),
                other => panic!("{wanted}: {other:?}"),
            }
        };
        assert!(value("OperatingSystem").starts_with("Linux version "));
        let (free, total): (u64, u64) =
            (value("DiskSpaceFree_/").parse().unwrap(), value("DiskSpaceTotal_/").parse().unwrap());
        assert!(0 < free && free < total);
        assert!(value("TotalPhysicalMemory").parse::<u64>().unwrap() > 1 << 20);
    }

    #[test]
    fn a_distribution_is_told_by_its_numbers() {
        let at = UnixTime::from_secs(1);
        let told = distribution(at, vec![4, 1, 3, 2]).unwrap();
        assert_eq!((told.min, told.max, told.mean, told.median), (1, 4, 2.5, 2.5));
        assert!((told.deviation - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        let told = distribution(at, vec![7]).unwrap();
        assert_eq!((told.median, told.deviation), (7.0, 0.0));
        assert_eq!(distribution(at, Vec::new()), None);
    }
}
