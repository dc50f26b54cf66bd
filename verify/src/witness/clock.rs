//! Time as a value, and when it is not to be signed.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Where a witness takes the time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Unix milliseconds, UTC.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some moment, by a clock that nobody sets.
    fn monotonic_ms(&self) -> i64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else is given"
    )]
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // Before 1970: 0, which is before every time that may be signed.
        since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }

    fn monotonic_ms(&self) -> i64 {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let first = *FIRST.get_or_init(Instant::now);
        i64::try_from(first.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands where it is put; clones share it.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<[AtomicI64; 2]>);

impl ManualClock {
    /// Makes a clock that stands at this unix millisecond.
    #[must_use]
    pub fn at(unix_ms: i64) -> Self {
        Self(Arc::new([AtomicI64::new(unix_ms), AtomicI64::new(0)]))
    }

    /// Lets time pass.
    pub fn pass(&self, ms: i64) {
        for clock in &*self.0 {
            clock.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// Sets the clock, as an operator or an NTP client does, while no time passes.
    pub fn step(&self, ms: i64) {
        let [wall, _monotonic] = &*self.0;
        wall.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        let [wall, _monotonic] = &*self.0;
        wall.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> i64 {
        let [_wall, monotonic] = &*self.0;
        monotonic.load(Ordering::SeqCst)
    }
}

/// 2025-01-01T00:00Z: a clock before it was never set.
const EARLIEST_S: u64 = 1_735_689_600;
/// How far the clock may be set while the witness runs.
const MOST_STEP_MS: i64 = 60_000;

/// The clock, and the doubt about it: a time that was signed cannot be taken back.
#[derive(Debug)]
pub(super) struct Watched {
    clock: Arc<dyn Clock>,
    /// The difference of the two clocks at the start.
    apart_ms: i64,
    /// Once it was set by more than a minute, only the operator can say which time is right: nothing
    /// is signed until a restart.
    stepped: AtomicBool,
}

impl Watched {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            apart_ms: clock.now_ms().saturating_sub(clock.monotonic_ms()),
            clock,
            stepped: AtomicBool::new(false),
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The second to sign, or why none is signed now.
    pub(super) fn second(&self) -> Result<u64, String> {
        let now_ms = self.clock.now_ms();
        let apart_ms = now_ms.saturating_sub(self.clock.monotonic_ms());
        let step_ms = apart_ms.saturating_sub(self.apart_ms);
        if step_ms.saturating_abs() > MOST_STEP_MS {
            self.stepped.store(true, Ordering::SeqCst);
        }
        if self.stepped.load(Ordering::SeqCst) {
            return Err(format!(
                "this witness's clock was set by more than {} s since its start; its operator must check it (`timedatectl`) and restart the witness",
                MOST_STEP_MS / 1000
            ));
        }
        let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
        if now_s < EARLIEST_S {
            return Err(format!(
                "this witness's clock says unix second {now_s}, before this program was written; its operator must set it (`timedatectl`)"
            ));
        }
        Ok(now_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_or_set_by_more_than_a_minute_signs_nothing() {
        let start_ms = 1_767_225_600_000;
        let clock = ManualClock::at(start_ms);
        let watched = Watched::new(Arc::new(clock.clone()));
        clock.pass(86_400_000);
        clock.step(-60_000);
        assert_eq!(watched.second(), Ok(1_767_225_600 + 86_340));
        clock.step(-1);
        assert!(watched.second().is_err());
        clock.step(60_001);
        let still = watched.second().unwrap_err();
        assert!(still.contains("restart"), "{still}");
        assert!(Watched::new(Arc::new(clock)).second().is_ok());
        let unset = Watched::new(Arc::new(ManualClock::at(0)));
        assert!(unset.second().unwrap_err().contains("unix second 0"));
    }
}
