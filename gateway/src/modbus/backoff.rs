//! When a silent device or link is asked again.

use std::time::Duration;

use tokio::time::Instant;

/// Added to the pause with every failure in a row.
const STEP: Duration = Duration::from_secs(2);

/// The longest pause.
const MOST: Duration = Duration::from_secs(300);

/// Failures in a row of one unit or one link.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    failures: u32,
    again_at: Option<Instant>,
}

/// Whether something may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It answered last time.
    Ready,
    /// It was silent; the pause is over: one cheap question.
    Probe,
    /// It was silent and its pause is not over.
    Wait,
}

impl Backoff {
    /// What is allowed now. A probe is granted to one caller; the others wait for its outcome.
    pub fn permit(&mut self, now: Instant) -> Permit {
        match self.again_at {
            None => Permit::Ready,
            Some(at) if now < at => Permit::Wait,
            Some(_) => {
                // Whoever got the probe reports back within its timeout; if that fails to happen,
                // the next probe is due after another pause.
                self.again_at = Some(now + self.pause());
                Permit::Probe
            }
        }
    }

    /// Records a failure; returns the pause that follows.
    pub fn failed(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.again_at = Some(now + self.pause());
        self.pause()
    }

    /// Records an answer; returns how many failures came before it.
    pub fn answered(&mut self) -> u32 {
        let failures = self.failures;
        *self = Self::default();
        failures
    }

    /// Failures in a row so far.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    fn pause(&self) -> Duration {
        STEP.saturating_mul(self.failures).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Permit};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn the_pause_grows_by_two_seconds_up_to_five_minutes_and_ends_with_an_answer() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.permit(now), Permit::Ready);
        assert_eq!(backoff.failed(now), Duration::from_secs(2));
        assert_eq!(
            backoff.permit(now + Duration::from_millis(1_999)),
            Permit::Wait
        );
        assert_eq!(backoff.permit(now + Duration::from_secs(2)), Permit::Probe);
        assert_eq!(
            backoff.permit(now + Duration::from_secs(2)),
            Permit::Wait,
            "one probe at a time"
        );
        assert_eq!(backoff.failed(now), Duration::from_secs(4));
        for _ in 0..1_000 {
            backoff.failed(now);
        }
        assert_eq!(backoff.failed(now), Duration::from_secs(300));
        assert_eq!(backoff.answered(), 1_003);
        assert_eq!(backoff.permit(now), Permit::Ready);
    }
}
