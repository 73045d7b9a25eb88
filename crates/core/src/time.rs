//! Points in time as microseconds since the Unix epoch, and the spellings that the APIs use.

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};

/// `2026-08-21T10:15:40Z`.
const SECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
/// `2026-08-21T10:15:40.000000Z`.
const MICROS: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// Microseconds since 1970-01-01T00:00:00Z. The database stores the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This point plus `duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long it is from this time to a later one; nothing to an earlier one.
    #[must_use]
    pub fn until(self, later: Self) -> std::time::Duration {
        let micros = later.micros().saturating_sub(self.micros());
        std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// `2026-08-21T10:15:40Z`: `created`, `updated` of a server.
    #[must_use]
    pub fn seconds_z(self) -> String {
        SECONDS.timestamp_to_string(&self.instant())
    }

    /// `2026-08-21T10:15:40.000000`: `OS-SRV-USG:launched_at`, instance actions.
    #[must_use]
    pub fn micros_naive(self) -> String {
        let mut text = self.micros_z();
        text.truncate(text.len().saturating_sub(1));
        text
    }

    /// `2026-08-21T10:15:40.000000Z`: Keystone's `issued_at`, `expires_at`.
    #[must_use]
    pub fn micros_z(self) -> String {
        MICROS.timestamp_to_string(&self.instant())
    }

    /// `2026-08-21 10:15:40.000000`: `timestamp` of a notification.
    #[must_use]
    pub fn micros_spaced(self) -> String {
        self.format("%Y-%m-%d %H:%M:%S.%6f")
    }

    /// `2026-08-01T00:00:00Z`: when the month of this point began.
    #[must_use]
    pub fn month_begin_z(self) -> String {
        self.format("%Y-%m-01T00:00:00Z")
    }

    fn format(self, pattern: &str) -> String {
        self.instant().strftime(pattern).to_string()
    }

    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Reads the ISO 8601 spellings that Nova accepts in `changes-since`: with `Z`, with an offset,
    /// or naive (taken as UTC), with or without fraction, or a date alone.
    #[must_use]
    pub fn parse_iso(text: &str) -> Option<Self> {
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Some(Self(instant.as_microsecond()));
        }
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        let instant = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some(Self(instant.as_microsecond()))
    }
}

/// The only source of the current time, so that tests can hold it still.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_instant() {
        let instant = Timestamp::from_micros(1_787_307_340_000_123);
        assert_eq!(instant.seconds_z(), "2026-08-21T10:15:40Z");
        let late = Timestamp::from_micros(1_787_307_340_999_999);
        assert_eq!(late.seconds_z(), "2026-08-21T10:15:40Z");
        assert_eq!(instant.micros_naive(), "2026-08-21T10:15:40.000123");
        assert_eq!(instant.micros_z(), "2026-08-21T10:15:40.000123Z");
        assert_eq!(instant.micros_spaced(), "2026-08-21 10:15:40.000123");
        assert_eq!(instant.month_begin_z(), "2026-08-01T00:00:00Z");
        for text in [
            "2026-08-21T10:15:40.000123Z",
            "2026-08-21T10:15:40.000123",
            "2026-08-21T12:15:40.000123+02:00",
        ] {
            assert_eq!(Timestamp::parse_iso(text), Some(instant), "{text}");
        }
        assert_eq!(Timestamp::parse_iso("yesterday"), None);
    }
}
