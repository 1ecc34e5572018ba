//! How the services have been doing lately: what getSecurityServerHealthData tells.
//!
//! Counts, durations and sizes of the last period, for each service, from what the provider's side has seen. Durations
//! and sizes are those of exchanges that succeeded, as with X-Road. The period is cut into sixty slices, and sums are
//! whole numbers, so that nothing grows with the traffic and nothing is rounded away.
//!
//! Specification: PR-OPMON 3.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cert_authority::clock::UnixTime;
use conf::identifier::{ClientId, ServiceId};
use serde_json::{Map, Value, json};

use super::record::{ExchangeRecord, ServerType};

/// Slices of a period.
const SLICES: u32 = 60;
/// The most services that are remembered: callers name them, also some that there are not.
const MOST_SERVICES: usize = 4096;

/// The statistics of a gateway.
#[derive(Debug)]
pub struct Statistics {
    started: UnixTime,
    period: Duration,
    services: BTreeMap<ServiceId, Service>,
}

/// What is remembered of a service.
#[derive(Debug, Clone)]
pub struct Service {
    /// `WSDL`, `REST` or `OPENAPI3`.
    pub service_type: &'static str,
    /// When the last request that succeeded was answered.
    pub last_successful: Option<UnixTime>,
    /// When the last one that did not was.
    pub last_unsuccessful: Option<UnixTime>,
    /// By the number of the slice, oldest first.
    slices: VecDeque<(i64, Sums)>,
}

/// The sums of a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests that succeeded.
    pub successful: u64,
    /// Requests that did not.
    pub unsuccessful: u64,
    /// Milliseconds that those which succeeded took.
    pub duration: Summary,
    /// Bytes of their requests.
    pub request_size: Summary,
    /// Bytes of their answers.
    pub response_size: Summary,
}

/// What is known of many numbers without keeping them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    count: u64,
    sum: u128,
    squares: u128,
    least: u64,
    greatest: u64,
}

impl Summary {
    fn add(&mut self, value: u64) {
        let (wide, first) = (u128::from(value), self.count == 0);
        *self = Self {
            count: self.count.saturating_add(1),
            sum: self.sum.saturating_add(wide),
            squares: self.squares.saturating_add(wide.saturating_mul(wide)),
            least: if first { value } else { self.least.min(value) },
            greatest: self.greatest.max(value),
        };
    }

    fn merge(&mut self, other: &Self) {
        if other.count > 0 {
            *self = Self {
                least: if self.count == 0 { other.least } else { self.least.min(other.least) },
                greatest: self.greatest.max(other.greatest),
                count: self.count.saturating_add(other.count),
                sum: self.sum.saturating_add(other.sum),
                squares: self.squares.saturating_add(other.squares),
            };
        }
    }

    /// Least, mean, greatest, and standard deviation (of a sample, as with X-Road); none of no numbers.
    #[expect(clippy::as_conversions, reason = "a mean is a number with a fraction, and may be rounded")]
    pub fn numbers(&self) -> Option<(u64, f64, u64, f64)> {
        (self.count > 0).then_some(())?;
        let count = u128::from(self.count);
        let mean = self.sum as f64 / self.count as f64;
        let spread = count.saturating_mul(self.squares).saturating_sub(self.sum.saturating_mul(self.sum));
        let pairs = count.saturating_mul(count.saturating_sub(1)).max(1);
        Some((self.least, mean, self.greatest, (spread as f64 / pairs as f64).sqrt()))
    }
}

impl Statistics {
    /// Begins to count.
    pub fn new(started: UnixTime, period: Duration) -> Self {
        Self { started, period, services: BTreeMap::new() }
    }

    /// When counting began.
    pub const fn started(&self) -> UnixTime {
        self.started
    }

    /// How long a period is.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Counts an exchange: one that we were asked for, for a service that was named.
    pub fn count(&mut self, record: &ExchangeRecord) {
        let (ServerType::Producer, Some(asked), Some(answered)) =
            (record.server_type, &record.asked, record.response_out)
        else {
            return;
        };
        if !self.services.contains_key(&asked.service) {
            self.forget_one();
        }
        let slice = self.slice(answered);
        let service = self.services.entry(asked.service.clone()).or_insert_with(|| Service {
            service_type: asked.service_type(),
            last_successful: None,
            last_unsuccessful: None,
            slices: VecDeque::new(),
        });
        service.service_type = asked.service_type();
        let last =
            if record.succeeded { &mut service.last_successful } else { &mut service.last_unsuccessful };
        *last = Some(answered);
        service.add(slice, record);
    }

    /// The services, of one client or of all, with their sums of the last period.
    pub fn services(
        &self,
        of: Option<&ClientId>,
        now: UnixTime,
    ) -> impl Iterator<Item = (&ServiceId, &Service, Sums)> {
        let oldest = self.slice(now).saturating_sub(i64::from(SLICES));
        let asked = self.services.iter().filter(move |(id, _)| of.is_none_or(|of| id.client() == of));
        asked.map(move |(id, service)| (id, service, service.since(oldest)))
    }

    /// As JSON, for people.
    pub fn json(&self, now: UnixTime) -> Value {
        let services: Vec<Value> = self
            .services(None, now)
            .map(|(id, service, sums)| {
                let mut shown = Map::new();
                shown.insert("service".to_owned(), id.to_string().into());
                shown.insert("serviceType".to_owned(), service.service_type.into());
                let age = |last: Option<UnixTime>| {
                    last.map(|last| now.since(last).as_millis().try_into().unwrap_or(u64::MAX))
                };
                for (name, last) in
                    [("Successful", service.last_successful), ("Unsuccessful", service.last_unsuccessful)]
                {
                    if let (Some(at), Some(age)) = (last, age(last)) {
                        shown.insert(format!("last{name}RequestTimestamp"), at.as_millis().into());
                        let age: u64 = age;
                        shown.insert(format!("last{name}RequestAgeMs"), age.into());
                    }
                }
                shown.insert("lastPeriodStatistics".to_owned(), sums.fields().into_iter().collect());
                Value::Object(shown)
            })
            .collect();
        json!({
            "monitoringStartupTimestamp": self.started.as_millis(),
            "statisticsPeriodSeconds": self.period.as_secs(),
            "services": services,
        })
    }

    fn slice(&self, at: UnixTime) -> i64 {
        let length = i64::try_from((self.period / SLICES).as_millis()).unwrap_or(i64::MAX).max(1);
        at.as_millis().div_euclid(length)
    }

    /// Makes room for one more: the service that was asked for longest ago gives way.
    fn forget_one(&mut self) {
        if self.services.len() < MOST_SERVICES {
            return;
        }
        let oldest = self.services.iter().min_by_key(|(_, s)| s.last_successful.max(s.last_unsuccessful));
        if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
            self.services.remove(&oldest);
        }
    }
}

impl Service {
    fn add(&mut self, slice: i64, record: &ExchangeRecord) {
        // Exchanges end one after the other; one that is a moment late is counted with the newest.
        if self.slices.back().is_none_or(|(newest, _)| *newest < slice) {
            self.slices.push_back((slice, Sums::default()));
        }
        while self.slices.front().is_some_and(|(oldest, _)| *oldest < slice.saturating_sub(i64::from(SLICES)))
        {
            self.slices.pop_front();
        }
        let Some((_, sums)) = self.slices.back_mut() else { return };
        if !record.succeeded {
            sums.unsuccessful = sums.unsuccessful.saturating_add(1);
            return;
        }
        sums.successful = sums.successful.saturating_add(1);
        let fields = [
            (&mut sums.duration, record.duration()),
            (&mut sums.request_size, record.message_size(record.request)),
            (&mut sums.response_size, record.message_size(record.response)),
        ];
        for (summary, value) in fields {
            if let Some(value) = value {
                summary.add(value);
            }
        }
    }

    fn since(&self, oldest: i64) -> Sums {
        let mut all = Sums::default();
        for (_, sums) in self.slices.iter().filter(|(slice, _)| *slice > oldest) {
            all.successful = all.successful.saturating_add(sums.successful);
            all.unsuccessful = all.unsuccessful.saturating_add(sums.unsuccessful);
            all.duration.merge(&sums.duration);
            all.request_size.merge(&sums.request_size);
            all.response_size.merge(&sums.response_size);
        }
        all
    }
}

impl Sums {
    /// Names as X-Road has them, in its order, with their values.
    pub fn fields(&self) -> Vec<(String, Value)> {
        let mut fields = vec![
            ("successfulRequestCount".to_owned(), self.successful.into()),
            ("unsuccessfulRequestCount".to_owned(), self.unsuccessful.into()),
        ];
        let summaries = [
            ("request", "Duration", &self.duration),
            ("request", "Size", &self.request_size),
            ("response", "Size", &self.response_size),
        ];
        for (of, what, summary) in summaries {
            if let Some((least, mean, greatest, deviation)) = summary.numbers() {
                fields.push((format!("{of}Min{what}"), least.into()));
                fields.push((format!("{of}Average{what}"), mean.into()));
                fields.push((format!("{of}Max{what}"), greatest.into()));
                fields.push((format!("{of}{what}StdDev"), deviation.into()));
            }
        }
        fields
    }
}
