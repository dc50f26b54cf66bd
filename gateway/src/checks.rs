//! What the edge notices about a value: it flags, it never alters and never removes.
//!
//! A flag says that a value is not to be counted and why; its raw words are sealed as they were
//! read. Sentinels and bounds follow from the value alone (`evidence::value::Decoder`, the same code
//! the verifier uses); step and rollback compare with the last good value of the point.

use evidence::measurement::{Point, PointKind};
use evidence::quality::Quality;
use evidence::value::Decoder;

use crate::sample::{PointSample, SampleValue};

/// A register that stays below its last good value for this many samples in a row was set back or
/// exchanged: the low value is the new base. The samples until then stay flagged.
const ROLLBACKS_TO_BELIEVE: u8 = 3;

/// Watches one point.
#[derive(Debug, Clone)]
pub struct Watch {
    decoder: Decoder,
    /// Largest plausible change per second: mantissa and its decimals.
    step: Option<(i128, u32)>,
    is_register: bool,
    decimals: u8,
    last_good: Option<At>,
    low: Option<(At, u8)>,
}

#[derive(Debug, Clone, Copy)]
struct At {
    unix_ms: u64,
    mantissa: i64,
}

impl Watch {
    /// Watches `point`, of which nothing is known yet.
    #[must_use]
    pub fn new(point: &Point) -> Self {
        let step = point
            .max_step_per_s
            .map(|step| (i128::from(step.mantissa()), u32::from(step.decimals())));
        Self {
            decoder: Decoder::new(point),
            step,
            is_register: point.kind == PointKind::Register,
            decimals: point.decimals,
            last_good: None,
            low: None,
        }
    }

    /// Adds the flags that a sample deserves. `at_ms` is its time on any axis that grows with time.
    pub fn check(&mut self, sample: &mut PointSample, at_ms: u64) {
        let SampleValue::Int(raw) = sample.value else {
            return;
        };
        let mantissa = match self.decoder.value(raw) {
            Ok(mantissa) => mantissa,
            Err(flag) => return sample.flag(flag),
        };
        let now = At {
            unix_ms: at_ms,
            mantissa,
        };
        if let Some(last) = self.last_good {
            if self.is_register && mantissa < last.mantissa && !self.believes_low(now) {
                sample.flag(Quality::ROLLBACK);
            } else if self.is_too_far(last, now) && !(self.is_register && mantissa < last.mantissa)
            {
                sample.flag(Quality::STEP);
            }
        }
        // What arrived with a flag (retained, maintenance) is no base for the next comparison either.
        if sample.is_good() {
            self.last_good = Some(now);
            self.low = None;
        }
    }

    /// Whether a register has stayed low, without falling further, long enough.
    fn believes_low(&mut self, now: At) -> bool {
        let seen = match self.low {
            Some((before, seen)) if now.mantissa >= before.mantissa => seen.saturating_add(1),
            _ => 1,
        };
        self.low = Some((now, seen));
        seen > ROLLBACKS_TO_BELIEVE
    }

    /// Whether |Δ| exceeds rating × Δt, exactly: both sides in units of 10^-(decimals) per 1000 s.
    fn is_too_far(&self, last: At, now: At) -> bool {
        let Some((rate, rate_decimals)) = self.step else {
            return false;
        };
        let change = (i128::from(now.mantissa) - i128::from(last.mantissa)).abs();
        let elapsed = i128::from(now.unix_ms.saturating_sub(last.unix_ms));
        // |change| × 10^-k > rate × 10^-r × elapsed / 1000; below 10^18 each, so i128 holds all of it.
        let left = change
            .saturating_mul(1_000)
            .saturating_mul(10_i128.pow(rate_decimals));
        let right = rate
            .saturating_mul(elapsed)
            .saturating_mul(10_i128.pow(u32::from(self.decimals)));
        left > right
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;
    use crate::sample::{PointSample, SampleValue};
    use evidence::decimal::Decimal;
    use evidence::measurement::{Point, PointKind, Source, Table};
    use evidence::quality::Quality;
    use evidence::value::{Format, Kind, Order};

    fn point(kind: PointKind) -> Point {
        Point {
            name: "p".to_owned(),
            stream: 1,
            device: 0,
            source: Source::Modbus {
                table: Table::Holding,
                address: 0,
                words: 1,
            },
            format: Format {
                kind: Kind::U16,
                order: Order::Abcd,
            },
            scale: Decimal::parse("0.1").unwrap(),
            offset: Decimal::ZERO,
            decimals: 1,
            unit: "kWh".to_owned(),
            kind,
            sentinels: vec![0xFFFF],
            scale_from: None,
            min: None,
            max: Some(Decimal::parse("5000").unwrap()),
            max_step_per_s: Some(Decimal::parse("0.5").unwrap()),
            stale_after_s: None,
        }
    }

    fn flags(watch: &mut Watch, raw: i64, at_ms: u64) -> Vec<Quality> {
        let mut sample = PointSample::good(0, raw);
        watch.check(&mut sample, at_ms);
        assert_eq!(
            sample.value,
            SampleValue::Int(raw),
            "a flag never alters the value"
        );
        sample
            .qualities
            .iter()
            .map(|&(quality, _)| quality)
            .collect()
    }

    #[test]
    fn sentinels_and_bounds_are_flagged_and_never_become_the_base() {
        let mut watch = Watch::new(&point(PointKind::Instant));
        assert_eq!(flags(&mut watch, 100, 0), []);
        assert_eq!(flags(&mut watch, 0xFFFF, 1_000), [Quality::SENTINEL]);
        assert_eq!(flags(&mut watch, 50_001, 2_000), [Quality::OUT_OF_RANGE]);
        assert_eq!(
            flags(&mut watch, 110, 2_000),
            [],
            "1.0 in two seconds is 0.5 a second"
        );
    }

    #[test]
    fn a_step_is_judged_against_the_last_good_value_and_the_time_since() {
        let mut watch = Watch::new(&point(PointKind::Instant));
        assert_eq!(flags(&mut watch, 1_000, 0), []);
        assert_eq!(
            flags(&mut watch, 1_006, 1_000),
            [Quality::STEP],
            "0.6 in one second"
        );
        assert_eq!(flags(&mut watch, 1_006, 2_000), [], "0.6 in two seconds");
        assert_eq!(
            flags(&mut watch, 995, 4_200),
            [],
            "falling at 0.5 a second is as plausible as rising"
        );
    }

    #[test]
    fn a_zero_between_two_counts_is_a_rollback_and_the_count_goes_on() {
        let mut watch = Watch::new(&point(PointKind::Register));
        assert_eq!(flags(&mut watch, 1_000, 0), []);
        assert_eq!(flags(&mut watch, 0, 1_000), [Quality::ROLLBACK]);
        assert_eq!(flags(&mut watch, 1_001, 2_000), []);
    }

    #[test]
    fn a_register_that_stays_low_is_believed_from_the_fourth_sample_on() {
        let mut watch = Watch::new(&point(PointKind::Register));
        assert_eq!(flags(&mut watch, 1_000, 0), []);
        for (raw, at_ms) in [(5, 1_000), (5, 2_000), (6, 3_000)] {
            assert_eq!(flags(&mut watch, raw, at_ms), [Quality::ROLLBACK]);
        }
        assert_eq!(flags(&mut watch, 7, 4_000), []);
        assert_eq!(flags(&mut watch, 8, 5_000), []);
        assert_eq!(flags(&mut watch, 7, 6_000), [Quality::ROLLBACK]);
    }
}
