//! Time as a value: wall time with its trust, monotonic time, and waiting.
//!
//! Nothing else in the gateway asks the operating system for the time. The wall clock is *unset*
//! until somebody who knows says it is right; a time restored from a file (fake-hwclock, the saved
//! clock of timesyncd) is unset. While it is unset nothing is held back: ticks count on monotonic
//! time (`timeline`).
//!
//! What each declaration proves, honestly:
//!
//! | `source` | status | proven by | not proven |
//! |---|---|---|---|
//! | `ntp`, `auto` | NTP | chrony's `tracking`, timesyncd's mark of this boot, or the kernel's synchronised flag as `timedatectl` reads it | that the servers told the truth (plain NTP is not authenticated) |
//! | `gnss` | GNSS | the same flags; that the reference is a GNSS receiver is the operator's declaration | that the receiver was not spoofed |
//! | `rtc` | free-running | the operator's declaration that a battery-backed clock exists | when it was last set |
//! | `system` | free-running | nothing; for containers and development | anything |
//!
//! After synchronisation is lost the status becomes *free-running* and the stated error grows by
//! 100 ppm, never back to unset before the next start.

use std::fmt;

use evidence::entry::ClockReading;
use futures_util::future::BoxFuture;

mod manual;
mod synchronised;
mod system;

pub use manual::ManualClock;
pub use system::{SystemClock, TimeSource};

/// A step of the wall clock larger than this is an event in the log, in milliseconds.
pub const STEP_LIMIT_MS: i64 = 2_000;

/// Milliseconds of one UTC day.
pub const DAY_MS: u64 = 86_400_000;

/// Where the gateway takes its time from.
///
/// Guarantees: `monotonic_ms` never decreases within one process and is not moved by steps of the
/// wall clock; the status never returns to unset once it was trusted.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time in unix milliseconds, how far it is to be trusted, and its estimated error.
    fn now(&self) -> ClockReading;

    /// Milliseconds since the machine started.
    fn monotonic_ms(&self) -> u64;

    /// Completes when [`Clock::monotonic_ms`] has reached `target_ms`; at once if it has.
    fn sleep_until_monotonic(&self, target_ms: u64) -> BoxFuture<'static, ()>;
}

/// A UTC calendar day, for file names and daily keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcDay(u64);

impl UtcDay {
    /// The day that contains `unix_ms`.
    #[must_use]
    pub const fn of(unix_ms: u64) -> Self {
        Self(unix_ms / DAY_MS)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for UtcDay {
    /// Writes `YYYY-MM-DD` of the proleptic Gregorian calendar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days are counted from 0000-03-01, so that the leap day is the last of its year.
        let days = self.0 + 719_468;
        let era = days / 146_097;
        let of_era = days % 146_097;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Writes a unix time in milliseconds as `YYYY-MM-DDThh:mm:ssZ` (fractions cut off).
#[must_use]
pub fn utc_text(unix_ms: u64) -> String {
    let seconds = unix_ms % DAY_MS / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", UtcDay::of(unix_ms))
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, UtcDay, utc_text};

    #[test]
    fn days_have_their_calendar_names() {
        let cases = [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_454, "2026-01-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ];
        for (day, name) in cases {
            assert_eq!(UtcDay::of(day * DAY_MS + 1).to_string(), name);
        }
    }

    #[test]
    fn a_time_is_written_in_utc() {
        assert_eq!(utc_text(1_767_225_599_999), "2025-12-31T23:59:59Z");
        assert_eq!(utc_text(1_767_225_600_000), "2026-01-01T00:00:00Z");
    }
}
