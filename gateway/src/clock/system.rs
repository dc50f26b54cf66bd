//! The operating system's clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use evidence::entry::{ClockReading, ClockStatus};
use futures_util::future::BoxFuture;

use super::{Clock, synchronised};

/// Drift assumed of an oscillator that nobody disciplines, in parts per million.
const DRIFT_PPM: u64 = 100;

/// Error assumed of a declared hardware clock or a trusted system clock, in milliseconds.
const DECLARED_ERROR_MS: u64 = 1_000;

/// A wall time before this (2024-01-01) contradicts any declaration that it is right.
const PLAUSIBLE_UNIX_MS: u64 = 1_704_067_200_000;

/// What the operator declares about this machine's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// Whatever reports synchronisation: chrony, timesyncd, or the kernel's flag.
    Auto,
    /// As `Auto`, named so that a status page can say what is missing.
    Ntp,
    /// As `Ntp`, where the operator vouches that the reference is a GNSS receiver.
    Gnss,
    /// A battery-backed clock: trusted from the start, free-running.
    Rtc,
    /// The system clock as it is: trusted from the start, free-running. Containers, development.
    TrustSystem,
}

/// [`Clock`] over the operating system.
///
/// The trust is refreshed by [`SystemClock::refresh`], which the run loop calls; `now` never
/// blocks.
#[derive(Debug)]
pub struct SystemClock {
    source: TimeSource,
    started: Instant,
    uptime_at_start_ms: u64,
    trust: Mutex<Trust>,
}

#[derive(Debug, Clone, Copy)]
struct Trust {
    status: ClockStatus,
    error_ms: u64,
    /// When the error was last known, on this process's monotonic time.
    known_at: Instant,
}

impl SystemClock {
    /// A clock that trusts nothing but what `source` declares until the first refresh.
    #[must_use]
    pub fn new(source: TimeSource) -> Self {
        let started = Instant::now();
        let clock = Self {
            source,
            started,
            uptime_at_start_ms: uptime_ms().unwrap_or(0),
            trust: Mutex::new(Trust {
                status: ClockStatus::Unset,
                error_ms: 0,
                known_at: started,
            }),
        };
        let declared = matches!(source, TimeSource::Rtc | TimeSource::TrustSystem);
        if declared && wall_ms() >= PLAUSIBLE_UNIX_MS {
            clock.set_trust(ClockStatus::FreeRunning, DECLARED_ERROR_MS);
        }
        clock
    }

    /// Asks the time daemons whether the clock is synchronised. Takes up to a few seconds.
    pub async fn refresh(&self) {
        if matches!(self.source, TimeSource::Rtc | TimeSource::TrustSystem) {
            // Declared once, trusted until the end of the process; synchronisation improves it.
            match synchronised::error_ms().await {
                Some(error_ms) => self.set_trust(ClockStatus::Ntp, error_ms),
                None => self.free_run(),
            }
            return;
        }
        let trusted = if self.source == TimeSource::Gnss {
            ClockStatus::Gnss
        } else {
            ClockStatus::Ntp
        };
        match synchronised::error_ms().await {
            Some(error_ms) if wall_ms() >= PLAUSIBLE_UNIX_MS => self.set_trust(trusted, error_ms),
            _ => self.free_run(),
        }
    }

    fn set_trust(&self, status: ClockStatus, error_ms: u64) {
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        *trust = Trust {
            status,
            error_ms,
            known_at: Instant::now(),
        };
    }

    /// Synchronisation is lost: what was trusted goes on by its own oscillator.
    fn free_run(&self) {
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if trust.status != ClockStatus::Unset {
            trust.status = ClockStatus::FreeRunning;
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> ClockReading {
        let trust = *self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        let drift_ms = if trust.status == ClockStatus::Unset {
            0
        } else {
            whole_ms(trust.known_at.elapsed()) * DRIFT_PPM / 1_000_000
        };
        ClockReading {
            unix_ms: wall_ms(),
            status: trust.status,
            error_ms: trust.error_ms + drift_ms,
        }
    }

    fn monotonic_ms(&self) -> u64 {
        self.uptime_at_start_ms + whole_ms(self.started.elapsed())
    }

    fn sleep_until_monotonic(&self, target_ms: u64) -> BoxFuture<'static, ()> {
        let since_start = target_ms.saturating_sub(self.uptime_at_start_ms);
        let until = self.started + Duration::from_millis(since_start);
        Box::pin(tokio::time::sleep_until(until.into()))
    }
}

/// The system's wall clock; a time before 1970 reads as 1970.
fn wall_ms() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, whole_ms)
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the machine started, as the kernel tells (resolution 10 ms).
fn uptime_ms() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, rest) = text.split_once('.')?;
    let hundredths = rest.split_whitespace().next()?;
    Some(seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10)
}

#[cfg(test)]
mod tests {
    use evidence::entry::ClockStatus;

    use super::{Clock as _, SystemClock, TimeSource};

    #[test]
    fn nothing_is_trusted_before_somebody_vouches() {
        assert_eq!(
            SystemClock::new(TimeSource::Auto).now().status,
            ClockStatus::Unset
        );
        let trusted = SystemClock::new(TimeSource::TrustSystem);
        assert_eq!(trusted.now().status, ClockStatus::FreeRunning);
    }

    #[tokio::test]
    async fn monotonic_time_is_reached_by_sleeping() {
        let clock = SystemClock::new(TimeSource::Auto);
        let target = clock.monotonic_ms() + 3;
        clock.sleep_until_monotonic(target).await;
        assert!(clock.monotonic_ms() >= target);
    }
}
