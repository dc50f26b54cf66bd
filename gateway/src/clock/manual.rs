//! A clock that moves only when told: tests, simulations, and the making of a past period.

use std::sync::{Arc, Mutex, PoisonError};

use evidence::entry::{ClockReading, ClockStatus};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::Clock;

/// A settable [`Clock`]. Clones share one time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    time: Arc<Mutex<Time>>,
    moved: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Clone, Copy)]
struct Time {
    unix_ms: i64,
    monotonic_ms: u64,
    status: ClockStatus,
    error_ms: u64,
}

impl ManualClock {
    /// A trusted (NTP) clock at `unix_ms` on a machine that started `monotonic_ms` ago.
    #[must_use]
    pub fn trusted(unix_ms: u64, monotonic_ms: u64) -> Self {
        Self::new(unix_ms, monotonic_ms, ClockStatus::Ntp)
    }

    /// A clock nobody has set: it shows 1970 plus the time since the machine started.
    #[must_use]
    pub fn unset(monotonic_ms: u64) -> Self {
        Self::new(monotonic_ms, monotonic_ms, ClockStatus::Unset)
    }

    fn new(unix_ms: u64, monotonic_ms: u64, status: ClockStatus) -> Self {
        let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let time = Time {
            unix_ms,
            monotonic_ms,
            status,
            error_ms: 50,
        };
        Self {
            time: Arc::new(Mutex::new(time)),
            moved: Arc::new(watch::Sender::new(monotonic_ms)),
        }
    }

    /// Lets both wall and monotonic time pass.
    pub fn advance(&self, ms: u64) {
        self.change(|time| {
            time.unix_ms += i64::try_from(ms).unwrap_or(i64::MAX);
            time.monotonic_ms += ms;
        });
    }

    /// Steps the wall clock only, as an NTP client or an operator does.
    pub fn step(&self, ms: i64) {
        self.change(|time| time.unix_ms += ms);
    }

    /// Sets the wall clock and says who vouches for it.
    pub fn set(&self, unix_ms: u64, status: ClockStatus) {
        self.change(|time| {
            time.unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
            time.status = status;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Time)) {
        let monotonic_ms = {
            let mut time = self.time.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut time);
            time.monotonic_ms
        };
        self.moved.send_replace(monotonic_ms);
    }

    fn time(&self) -> Time {
        *self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> ClockReading {
        let time = self.time();
        ClockReading {
            unix_ms: u64::try_from(time.unix_ms).unwrap_or(0),
            status: time.status,
            error_ms: time.error_ms,
        }
    }

    fn monotonic_ms(&self) -> u64 {
        self.time().monotonic_ms
    }

    fn sleep_until_monotonic(&self, target_ms: u64) -> BoxFuture<'static, ()> {
        let mut moved = self.moved.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock; without a clock time never comes.
            if moved.wait_for(|&now| now >= target_ms).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{Clock as _, ManualClock};

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_time_is_there_and_not_before() {
        let clock = ManualClock::trusted(1_000_000, 500);
        let sleep = clock.sleep_until_monotonic(700);
        tokio::pin!(sleep);
        clock.advance(199);
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.step(10_000);
        assert!(
            sleep.as_mut().now_or_never().is_none(),
            "a step is not passing time"
        );
        clock.advance(1);
        sleep.await;
        assert_eq!(clock.now().unix_ms, 1_010_200);
    }
}
