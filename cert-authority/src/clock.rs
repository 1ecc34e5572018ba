//! Time as a value and as a port: nothing else in the project asks the system what time it is.
//!
//! Not here: durations measured with a monotonic clock (the runtime's timers do that).

use std::{
    fmt,
    ops::{Add, Sub},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339, macros::format_description,
};

use crate::error::PkiError;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The time this many milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The time this many seconds after the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Reads a date and time of RFC 3339 with any offset; finer than milliseconds is cut off.
    ///
    /// # Errors
    /// [`PkiError::Decode`] when the text is no such time.
    pub fn from_rfc3339(text: &str) -> Result<Self, PkiError> {
        OffsetDateTime::parse(text, &Rfc3339).map(Self::from).map_err(|e| PkiError::decode("time", e))
    }

    /// Reads the date of an HTTP message (RFC 9110 5.6.7), in the form in which it is to be written.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let form = format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        );
        PrimitiveDateTime::parse(text, form).ok().map(|date| Self::from(date.assume_utc()))
    }

    /// `2026-02-03T04:05:06Z`, with milliseconds only where they are not zero.
    pub fn to_rfc3339(self) -> String {
        if self.0.rem_euclid(1000) == 0 {
            let t = OffsetDateTime::from(self);
            format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                t.year(),
                u8::from(t.month()),
                t.day(),
                t.hour(),
                t.minute(),
                t.second()
            )
        } else {
            self.to_rfc3339_millis()
        }
    }

    /// `2026-02-03T04:05:06.000Z`, always with three digits of milliseconds.
    pub fn to_rfc3339_millis(self) -> String {
        let t = OffsetDateTime::from(self);
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.millisecond()
        )
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for UnixTime {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<OffsetDateTime> for UnixTime {
    fn from(t: OffsetDateTime) -> Self {
        Self(t.unix_timestamp().saturating_mul(1000).saturating_add(i64::from(t.millisecond())))
    }
}

/// Times outside the years -9999 to 9999 become the epoch: no file or message can hold them.
impl From<UnixTime> for OffsetDateTime {
    fn from(t: UnixTime) -> Self {
        Self::from_unix_timestamp_nanos(i128::from(t.0).saturating_mul(1_000_000)).unwrap_or(Self::UNIX_EPOCH)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Where the time of day comes from.
pub trait Clock: Send + Sync {
    /// The present time.
    fn now(&self) -> UnixTime;

    /// How much time has passed since some moment before, whatever the clock is set to meanwhile.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time of day")]
    fn now(&self) -> UnixTime {
        OffsetDateTime::from(std::time::SystemTime::now()).into()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system how much time has passed"
    )]
    fn elapsed(&self) -> Duration {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        BEGAN.get_or_init(Instant::now).elapsed()
    }
}

/// A clock that stands still until it is turned; clones turn together.
#[derive(Debug, Clone, Default)]
pub struct FixedClock(Arc<AtomicI64>);

impl FixedClock {
    /// A clock that shows `time`.
    pub fn new(time: UnixTime) -> Self {
        Self(Arc::new(AtomicI64::new(time.0)))
    }

    /// Turns the clock to `time`.
    pub fn set(&self, time: UnixTime) {
        self.0.store(time.0, Ordering::SeqCst);
    }

    /// Turns the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        self.now().since(UnixTime::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_only_where_there_are_some() {
        let t = UnixTime::from_rfc3339("2026-02-03T06:05:06+02:00").unwrap();
        assert_eq!(t.to_rfc3339(), "2026-02-03T04:05:06Z");
        assert_eq!(t.to_rfc3339_millis(), "2026-02-03T04:05:06.000Z");
        let t = t + Duration::from_millis(70);
        assert_eq!(t.to_rfc3339(), "2026-02-03T04:05:06.070Z");
        assert_eq!(UnixTime::from_rfc3339(&t.to_rfc3339()).unwrap(), t);
    }

    #[test]
    fn seconds_before_the_epoch_round_down() {
        assert_eq!(UnixTime::from_millis(-1).as_secs(), -1);
        assert_eq!(UnixTime::from_millis(-1).to_rfc3339(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn dates_of_http_are_read() {
        let read = UnixTime::from_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read, Some(UnixTime::from_secs(784_111_777)));
        for bad in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "now"] {
            assert_eq!(UnixTime::from_http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn text_that_is_no_time_is_refused() {
        for bad in ["", "2026-02-30T00:00:00Z", "2026-02-03", "2026-02-03T04:05:06", "yesterday"] {
            assert!(UnixTime::from_rfc3339(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn clones_of_a_fixed_clock_turn_together() {
        let clock = FixedClock::new(UnixTime::from_secs(10));
        let other = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(other.now(), UnixTime::from_secs(15));
        assert_eq!(other.now().since(UnixTime::from_secs(20)), Duration::ZERO);
    }
}
