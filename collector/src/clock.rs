//! Time as a value, and the doubt about it.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

/// Where the collector takes the time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Unix milliseconds, UTC.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some moment before, by a clock that nobody sets. Adjusted in rate like
    /// [`Clock::now_ms`], so that the two drift apart only when that one is set.
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
        // Before 1970 only on a machine without a battery: 0 then, and the store refuses to cosign
        // with a time before the last one.
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
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    now_ms: Arc<AtomicI64>,
    monotonic_ms: Arc<AtomicI64>,
}

impl ManualClock {
    /// Makes a clock that stands at this unix millisecond.
    pub fn at(unix_ms: i64) -> Self {
        let clock = Self::default();
        clock.now_ms.store(unix_ms, Ordering::SeqCst);
        clock
    }

    /// Lets time pass until this unix millisecond. A moment before the present one is a clock that
    /// was wrong all along, as after a start with a wrong clock: no step is seen.
    pub fn set(&self, unix_ms: i64) {
        let before = self.now_ms.swap(unix_ms, Ordering::SeqCst);
        self.monotonic_ms
            .fetch_add(unix_ms - before, Ordering::SeqCst);
    }

    /// Sets the clock, as an operator or an NTP client does, while no time passes.
    pub fn step_to(&self, unix_ms: i64) {
        self.now_ms.store(unix_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> i64 {
        self.monotonic_ms.load(Ordering::SeqCst)
    }
}

/// Why no time can be cosigned now. A cosignature cannot be taken back, so in doubt there is none;
/// the gateway keeps its entries and sends them again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) reason: String,
    /// When to send again, in seconds.
    pub(crate) after_s: u64,
    /// A matter of a second or two that passes by itself.
    pub(crate) passes: bool,
}

impl Doubt {
    /// The refusal to cosign, said to the operator here.
    pub(crate) fn answer(self, origin: &str) -> crate::answer::Answer {
        let Self {
            reason,
            after_s,
            passes,
        } = self;
        if passes {
            tracing::warn!(log.origin = origin, reason, "Not cosigned for a moment");
        } else {
            tracing::error!(
                log.origin = origin,
                reason,
                "Not cosigned, the time is in doubt"
            );
        }
        crate::answer::Answer::busy(after_s, &reason)
    }
}

/// Holds the machine's clock against its monotonic one since the start.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// The difference of the two at the start.
    apart_ms: i64,
    /// Once it was set by more than that, it is not trusted again by this process: whether it was
    /// right before or is right now, only the operator can say, by a restart.
    stepped: AtomicBool,
}

/// How far the clock may be set while the collector runs.
const MOST_STEP_MS: i64 = 60_000;
/// When a sender comes back while an operator is needed.
const OPERATOR_S: u64 = 60;
/// How far before the last cosignature the clock may be without anybody being called.
const SMALL_STEP_S: u64 = 2;
/// How far a synchronised gateway may be ahead of the collector.
const MOST_AHEAD_MS: i64 = 600_000;

impl ClockWatch {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self {
            apart_ms: apart_ms(clock),
            stepped: AtomicBool::new(false),
        }
    }

    /// Whether the clock still runs as it did at the start.
    pub(crate) fn check(&self, clock: &dyn Clock) -> Result<(), Doubt> {
        let step_ms = apart_ms(clock).saturating_sub(self.apart_ms);
        let stepped = step_ms.saturating_abs() > MOST_STEP_MS;
        if stepped {
            self.stepped.store(true, Ordering::SeqCst);
        }
        if !stepped && !self.stepped.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Doubt {
            reason: format!(
                "the collector's clock was set by more than {} s since its start (it is {} s off that course now); \
                 nothing is cosigned until its operator has checked the clock (`timedatectl`) and restarted it",
                MOST_STEP_MS / 1000,
                step_ms / 1000
            ),
            after_s: OPERATOR_S,
            passes: false,
        })
    }
}

fn apart_ms(clock: &dyn Clock) -> i64 {
    clock.now_ms().saturating_sub(clock.monotonic_ms())
}

/// The second to cosign at. Never before the last one of this log, and never the last one in place
/// of the present: both would be a wrong time under our key.
pub(crate) fn second_to_cosign(now_ms: i64, last_s: u64) -> Result<u64, Doubt> {
    let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
    let Some(back_s) = last_s.checked_sub(now_s).filter(|back_s| *back_s > 0) else {
        return Ok(now_s);
    };
    let passes = back_s <= SMALL_STEP_S;
    let remedy = if passes {
        "it is a moment"
    } else {
        "its operator must check the clock (`timedatectl`); if that second is the wrong one, the log continues under a new origin"
    };
    Err(Doubt {
        reason: format!(
            "the collector's clock went back: it says unix second {now_s}, and this log was last cosigned at {last_s}, {back_s} s later; {remedy}"
        ),
        after_s: if passes { back_s } else { OPERATOR_S },
        passes,
    })
}

/// A gateway's synchronised clock against ours. Only one direction says anything: what is old may
/// have waited for the network.
pub(crate) fn check_ahead(sealed_ms: u64, index: u64, now_ms: i64) -> Result<(), Doubt> {
    let ahead_ms = i64::try_from(sealed_ms)
        .unwrap_or(i64::MAX)
        .saturating_sub(now_ms);
    if ahead_ms <= MOST_AHEAD_MS {
        return Ok(());
    }
    Err(Doubt {
        reason: format!(
            "two clocks disagree: entry {index} was sealed by the gateway's synchronised clock at unix ms {sealed_ms}, \
             the collector's clock says {now_ms}, {} s earlier; check both (`timedatectl`)",
            ahead_ms / 1000
        ),
        after_s: OPERATOR_S,
        passes: false,
    })
}

#[cfg(test)]
mod tests {
    use super::{ClockWatch, ManualClock, check_ahead, second_to_cosign};

    #[test]
    fn a_clock_that_was_set_is_not_trusted_again_even_when_it_is_set_back() {
        let clock = ManualClock::at(1_000_000);
        let watch = ClockWatch::new(&clock);
        clock.set(90_000_000);
        clock.step_to(90_060_000);
        assert_eq!(watch.check(&clock), Ok(()));
        clock.step_to(90_060_001);
        assert!(watch.check(&clock).is_err());
        clock.step_to(90_000_000);
        let doubt = watch.check(&clock).unwrap_err();
        assert!(doubt.reason.contains("restarted"), "{}", doubt.reason);
        assert_eq!(ClockWatch::new(&clock).check(&clock), Ok(()));
    }

    #[test]
    fn no_second_before_the_last_one_is_cosigned_and_none_is_made_up() {
        assert_eq!(second_to_cosign(5_999, 5), Ok(5));
        assert_eq!(second_to_cosign(9_000, 5), Ok(9));
        let small = second_to_cosign(3_000, 5).unwrap_err();
        assert_eq!((small.after_s, small.passes), (2, true));
        let large = second_to_cosign(2_999, 5).unwrap_err();
        assert_eq!((large.after_s, large.passes), (60, false));
        assert!(large.reason.contains("went back"), "{}", large.reason);
    }

    #[test]
    fn only_a_gateway_far_ahead_is_in_doubt() {
        assert_eq!(check_ahead(0, 1, 5_000_000), Ok(()));
        assert_eq!(check_ahead(5_600_000, 1, 5_000_000), Ok(()));
        assert!(check_ahead(5_600_001, 1, 5_000_000).is_err());
        assert!(check_ahead(u64::MAX, 1, 5_000_000).is_err());
    }
}
