//! Instants, and the one place that reads the wall clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

#[cfg(feature = "dates")]
use time::OffsetDateTime;
#[cfg(feature = "dates")]
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// An instant in microseconds since 1970-01-01T00:00:00 UTC.
///
/// Stored as a 64-bit integer in both databases; never a local time, never seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that is `micros` microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The instant that is `seconds` seconds after the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: what `iat`, `exp` and `auth_time` carry.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant moved by whole seconds; saturates.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Time from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(feature = "dates")]
impl Timestamp {
    /// `2026-01-01T10:00:00.000Z`: the form of every date the Management API answers.
    pub fn iso(self) -> String {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }

    /// Reads an RFC 3339 date-time.
    pub fn parse_iso(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos() / 1000).ok().map(Self)
    }

    /// Reads an HTTP-date in the form that is to be sent (RFC 9110 §5.6.7), which is one of RFC 2822.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
        Some(Self::from_seconds(at.unix_timestamp()))
    }
}

#[cfg(feature = "dates")]
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// Where the present instant comes from. The server has [`SystemClock`]; tests have one they move.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_has_milliseconds_and_z() {
        let at = Timestamp::from_micros(1_767_261_600_123_456);
        assert_eq!(at.iso(), "2026-01-01T10:00:00.123Z");
        assert_eq!(Timestamp::parse_iso("2026-01-01T10:00:00.123456Z"), Some(at));
    }

    #[test]
    fn an_http_date_is_read() {
        let at = Timestamp::parse_http_date("Thu, 01 Jan 2026 10:00:00 GMT");
        assert_eq!(at.map(Timestamp::iso).as_deref(), Some("2026-01-01T10:00:00.000Z"));
        for wrong in ["", "120", "2026-01-01T10:00:00Z", "Thu, 32 Jan 2026 10:00:00 GMT"] {
            assert_eq!(Timestamp::parse_http_date(wrong), None, "{wrong}");
        }
    }
}
