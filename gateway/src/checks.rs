//! What the edge notices about a value: it flags, it never alters and never removes.
//!
//! A flag says that a value is not to be counted and why; its raw words are sealed as they were
//! read. Sentinels and bounds follow from the value alone (`evidence::value::Decoder`, the same code
//! the verifier uses); step, rollback and rollover compare with the last good value of the point.
//!
//! * **Step.** An instant value moves at most `max_step_per_s` × the time since its last good value. A
//!   register advances in counts, and many meters renew it only now and then: it may advance by
//!   one count more, and the time since it last moved counts, up to a minute.
//! * **Rollover or rollback.** A register that goes down was set back, exchanged, or has run over its
//!   declared capacity. The last is believed only when the way over the capacity is one that the
//!   step limit allows (without a limit: a tenth of the capacity). The one sample behind it is flagged *rollover*;
//!   the count goes on from there. It does not count, and neither does the advance over it: a reset of
//!   a register near its capacity looks the same, and who reports decides (quantification begins a
//!   new epoch at every fall). Everything else that goes down is a *rollback*.

use evidence::decimal::Decimal;
use evidence::measurement::{Point, PointKind};
use evidence::quality::Quality;
use evidence::value::{Decoder, Kind};

use crate::config::{DirectionRule, PointRules};
use crate::sample::{PointSample, SampleValue};

mod frozen;

pub use frozen::Frozen;

/// A register that stands still may make up for this long at once, in milliseconds.
const STANDSTILL_MS: u64 = 60_000;

/// A register that stays below its last good value for this many samples in a row was set back or
/// exchanged: the low value is the new base. The samples until then stay flagged.
const ROLLBACKS_TO_BELIEVE: u8 = 3;

/// Watches one point.
#[derive(Debug, Clone)]
pub struct Watch {
    decoder: Decoder,
    /// Largest plausible change per second.
    step: Option<Decimal>,
    is_register: bool,
    /// What one count of the register is on the grid.
    count: i64,
    /// The same where a scale factor says it: 10 to this power.
    scaled_count: Option<u8>,
    is_f32: bool,
    decimals: u8,
    /// Few points have any; there may be thousands of points.
    site: Option<Box<SiteRules>>,
    last_good: Option<At>,
    low: Option<Box<(At, u8)>>,
}

/// What the site's rules say of a point, on its grid.
#[derive(Debug, Clone)]
struct SiteRules {
    /// The first value that the register cannot show.
    capacity: Option<i64>,
    /// The smallest and the largest value of the declared direction.
    direction: Option<(i64, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct At {
    unix_ms: u64,
    mantissa: i64,
    /// When it came to this value.
    since_ms: u64,
    /// It was read in this run: how long ago that is, is known.
    is_dated: bool,
}

impl Watch {
    /// Watches `point`, of which nothing is known yet.
    #[must_use]
    pub fn new(point: &Point) -> Self {
        Self::with_rules(point, &PointRules::default())
    }

    /// Watches `point` by the site's rules as well.
    #[must_use]
    pub fn with_rules(point: &Point, rules: &PointRules) -> Self {
        let grid = |value: Decimal| value.on_grid(point.decimals);
        let site = SiteRules {
            capacity: rules.rollover_at.and_then(grid),
            direction: rules.direction.and_then(|rule: DirectionRule| {
                let tolerance = grid(rule.tolerance)?;
                Some(if rule.is_import {
                    (-tolerance, i64::MAX)
                } else {
                    (i64::MIN, tolerance)
                })
            }),
        };
        let has_any = site.capacity.is_some() || site.direction.is_some();
        Self {
            decoder: Decoder::new(point),
            step: point.max_step_per_s,
            is_register: point.kind == PointKind::Register,
            count: grid(point.scale).map_or(1, i64::saturating_abs),
            scaled_count: None,
            is_f32: point.format.kind == Kind::F32,
            decimals: point.decimals,
            site: has_any.then(|| Box::new(site)),
            last_good: None,
            low: None,
        }
    }

    /// Forgets the values so far: what follows is of another device or another setting.
    pub fn forget(&mut self) {
        (self.last_good, self.low) = (None, None);
    }

    /// What a register showed last before this run, on its grid: a lower value is a rollback or a
    /// rollover. How far it may have advanced since then is not judged.
    pub const fn resume(&mut self, mantissa: i64) {
        if self.is_register && self.last_good.is_none() {
            self.last_good = Some(At {
                unix_ms: 0,
                mantissa,
                since_ms: 0,
                is_dated: false,
            });
        }
    }

    /// The point that holds the scale factor; values of this one go through [`Self::check_scaled`].
    #[must_use]
    pub const fn scale_from(&self) -> Option<u16> {
        self.decoder.scale_from()
    }

    /// The number a sample holds, whatever speaks against it; `exponent` is that of its scale factor.
    #[must_use]
    pub fn number(&self, sample: &PointSample, exponent: Option<i64>) -> Option<i64> {
        match sample.value {
            SampleValue::Int(raw) => self.decoder.value_with(raw, |_factor| exponent).ok(),
            _ => None,
        }
    }

    /// The value of a sample that nothing speaks against, after its check.
    #[must_use]
    pub fn good_value(&self, sample: &PointSample) -> Option<i64> {
        match sample.value {
            SampleValue::Int(raw) if sample.is_good() => self.decoder.value(raw).ok(),
            _ => None,
        }
    }

    /// Adds the flags that a sample deserves. `at_ms` is its time on any axis that grows with time.
    /// A value with a scale factor has none here, and is flagged.
    pub fn check(&mut self, sample: &mut PointSample, at_ms: u64) {
        self.check_scaled(sample, None, at_ms);
    }

    /// As [`Self::check`], with the exponent that the scale factor had in the same tick, if it is good.
    pub fn check_scaled(&mut self, sample: &mut PointSample, exponent: Option<i64>, at_ms: u64) {
        let SampleValue::Int(raw) = sample.value else {
            return;
        };
        let mantissa = match self.decoder.value_with(raw, |_factor| exponent) {
            Ok(mantissa) => mantissa,
            Err(flag) => return sample.flag(flag),
        };
        if let (Some(_), Some(exponent)) = (self.scale_from(), exponent) {
            // At most 10^25; a count smaller than the grid never gets here.
            let shift = u8::try_from(exponent + i64::from(self.decimals)).unwrap_or(0);
            self.scaled_count = Some(shift);
        }
        if let Some((low, high)) = self.site.as_ref().and_then(|site| site.direction)
            && !(low..=high).contains(&mantissa)
        {
            sample.flag(Quality::REVERSED);
        }
        let mut now = At {
            unix_ms: at_ms,
            mantissa,
            since_ms: at_ms,
            is_dated: true,
        };
        if let Some(last) = self.last_good {
            if last.mantissa == mantissa && last.is_dated {
                now.since_ms = last.since_ms;
            }
            if self.is_register && mantissa < last.mantissa {
                if sample.is_good() && self.has_rolled_over(last, now) {
                    sample.flag(Quality::ROLLOVER);
                    // The count goes on from here: only this one sample is flagged.
                    self.last_good = Some(now);
                    self.low = None;
                    return;
                }
                if !self.believes_low(now) {
                    sample.flag(Quality::ROLLBACK);
                }
            } else if self.is_too_far(last, now, self.change(last, now)) {
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
        let seen = match self.low.as_deref() {
            Some((before, seen)) if now.mantissa >= before.mantissa => seen.saturating_add(1),
            _ => 1,
        };
        self.low = Some(Box::new((now, seen)));
        seen > ROLLBACKS_TO_BELIEVE
    }

    fn change(&self, last: At, now: At) -> i128 {
        let change = (i128::from(now.mantissa) - i128::from(last.mantissa)).abs();
        if self.is_register {
            (change - self.resolution(now)).max(0)
        } else {
            change
        }
    }

    /// One count of a register: whole numbers count by their scale, floats by what they can tell apart.
    fn resolution(&self, now: At) -> i128 {
        if self.is_f32 {
            (i128::from(now.mantissa).abs() >> 23) + 1
        } else {
            let scaled = self.scaled_count.map(u32::from);
            let count = scaled.map_or(i128::from(self.count), |power| {
                10_i128.saturating_pow(power)
            });
            count.max(1)
        }
    }

    /// Whether the way from the last value over the capacity to this one is a plausible advance.
    fn has_rolled_over(&self, last: At, now: At) -> bool {
        let capacity = self.site.as_ref().and_then(|site| site.capacity);
        let Some(capacity) = capacity.map(i128::from) else {
            return false;
        };
        let over = capacity - i128::from(last.mantissa) + i128::from(now.mantissa);
        if last.mantissa < 0 || now.mantissa < 0 || i128::from(last.mantissa) >= capacity {
            return false;
        }
        if self.step.is_some() && last.is_dated {
            !self.is_too_far(last, now, (over - self.resolution(last)).max(0))
        } else {
            over <= capacity / 10
        }
    }

    /// Whether a change exceeds rating × Δt, exactly: both sides in units of 10^-(decimals) per 1000 s.
    fn is_too_far(&self, last: At, now: At, change: i128) -> bool {
        let Some(step) = self.step else {
            return false;
        };
        if !last.is_dated {
            return false;
        }
        let (rate, rate_decimals) = (i128::from(step.mantissa()), u32::from(step.decimals()));
        let mut elapsed = now.unix_ms.saturating_sub(last.unix_ms);
        if self.is_register {
            let standstill = now.unix_ms.saturating_sub(last.since_ms);
            elapsed = elapsed.max(standstill.min(STANDSTILL_MS));
        }
        let elapsed = i128::from(elapsed);
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
    use super::{Frozen, Watch};
    use crate::config::{DirectionRule, FrozenRule, PointRules};
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
    fn a_value_with_a_scale_factor_is_judged_as_what_it_comes_to() {
        let mut scaled = point(PointKind::Instant);
        scaled.scale = Decimal::ONE;
        scaled.scale_from = Some(1);
        let mut watch = Watch::new(&scaled);
        let mut flags = |raw, exponent, at_ms| {
            let mut sample = PointSample::good(0, raw);
            watch.check_scaled(&mut sample, exponent, at_ms);
            let found: Vec<Quality> = sample.qualities.iter().map(|found| found.0).collect();
            found
        };
        assert_eq!(flags(1_000, Some(0), 0), []);
        assert_eq!(flags(10_004, Some(-1), 1_000), [], "1000.4");
        assert_eq!(flags(10_012, Some(-1), 2_000), [Quality::STEP]);
        assert_eq!(flags(1_001, Some(1), 3_000), [Quality::OUT_OF_RANGE]);
        assert_eq!(flags(1_001, Some(-2), 4_000), [Quality::OFF_GRID]);
        assert_eq!(flags(1_001, None, 5_000), [Quality::OUT_OF_RANGE]);
        assert_eq!(flags(0xFFFF, None, 6_000), [Quality::SENTINEL]);
        assert_eq!(flags(1_001, Some(0), 7_000), []);
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
    fn a_register_below_what_it_showed_before_the_start_is_a_rollback() {
        let mut watch = Watch::new(&point(PointKind::Register));
        watch.resume(1_000);
        assert_eq!(flags(&mut watch, 999, 0), [Quality::ROLLBACK]);
        // Whatever it counted while nobody looked.
        assert_eq!(flags(&mut watch, 40_000, 1_000), []);
        assert_eq!(flags(&mut watch, 40_010, 2_000), [Quality::STEP]);
        let capacity = rules(|rules| rules.rollover_at = Decimal::parse("4000").ok());
        let mut watch = Watch::with_rules(&point(PointKind::Register), &capacity);
        watch.resume(39_000);
        assert_eq!(flags(&mut watch, 500, 0), [Quality::ROLLOVER]);
        let mut watch = Watch::with_rules(&point(PointKind::Register), &capacity);
        watch.resume(30_000);
        assert_eq!(flags(&mut watch, 500, 0), [Quality::ROLLBACK]);
        let mut instant = Watch::new(&point(PointKind::Instant));
        instant.resume(1_000);
        assert_eq!(flags(&mut instant, 10, 0), []);
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

    fn rules(change: impl FnOnce(&mut PointRules)) -> PointRules {
        let mut rules = PointRules::default();
        change(&mut rules);
        rules
    }

    #[test]
    fn a_register_that_ran_over_its_capacity_is_flagged_once_and_counts_on() {
        let capacity = rules(|rules| rules.rollover_at = Decimal::parse("4000").ok());
        let mut watch = Watch::with_rules(&point(PointKind::Register), &capacity);
        assert_eq!(flags(&mut watch, 39_999, 0), []);
        assert_eq!(
            flags(&mut watch, 3, 1_000),
            [Quality::ROLLOVER],
            "0.4 in one second, and the limit is 0.5"
        );
        assert_eq!(flags(&mut watch, 5, 2_000), []);
        assert_eq!(flags(&mut watch, 4, 3_000), [Quality::ROLLBACK]);
    }

    #[test]
    fn a_fall_that_is_no_way_over_the_capacity_is_a_rollback() {
        let capacity = rules(|rules| rules.rollover_at = Decimal::parse("4000").ok());
        let mut watch = Watch::with_rules(&point(PointKind::Register), &capacity);
        assert_eq!(flags(&mut watch, 39_990, 0), []);
        assert_eq!(
            flags(&mut watch, 40, 1_000),
            [Quality::ROLLBACK],
            "5.0 over the capacity in one second"
        );
        let mut without = Watch::new(&point(PointKind::Register));
        assert_eq!(flags(&mut without, 39_999, 0), []);
        assert_eq!(flags(&mut without, 0, 1_000), [Quality::ROLLBACK]);
        // Without a step limit a tenth of the capacity tells a rollover from a reset.
        let unlimited = Point {
            max_step_per_s: None,
            ..point(PointKind::Register)
        };
        let mut watch = Watch::with_rules(&unlimited, &capacity);
        assert_eq!(flags(&mut watch, 38_000, 0), []);
        assert_eq!(flags(&mut watch, 1_900, 1_000), [Quality::ROLLOVER]);
        let mut watch = Watch::with_rules(&unlimited, &capacity);
        assert_eq!(flags(&mut watch, 20_000, 0), []);
        assert_eq!(flags(&mut watch, 0, 1_000), [Quality::ROLLBACK]);
    }

    #[test]
    fn a_register_may_advance_by_one_count_and_make_up_for_a_minute_but_not_more() {
        let mut watch = Watch::new(&point(PointKind::Register));
        assert_eq!(flags(&mut watch, 1_000, 0), []);
        assert_eq!(flags(&mut watch, 1_006, 1_000), [], "0.5 and one count");
        assert_eq!(flags(&mut watch, 1_013, 2_000), [Quality::STEP]);
        for second in 2..=20 {
            assert_eq!(flags(&mut watch, 1_006, second * 1_000), []);
        }
        assert_eq!(flags(&mut watch, 1_106, 21_000), [], "10 in 20 s, at once");
        for second in 22..=200 {
            assert_eq!(flags(&mut watch, 1_106, second * 1_000), []);
        }
        assert_eq!(flags(&mut watch, 1_506, 201_000), [Quality::STEP]);
        assert_eq!(
            flags(&mut watch, 1_406, 201_000),
            [],
            "30 after a standstill"
        );
    }

    #[test]
    fn a_sign_against_the_declared_direction_is_flagged_and_no_base() {
        let import = rules(|rules| {
            rules.direction = Some(DirectionRule {
                is_import: true,
                tolerance: Decimal::parse("0.5").unwrap(),
            });
        });
        let mut watch = Watch::with_rules(&point(PointKind::Instant), &import);
        assert_eq!(flags(&mut watch, -5, 0), []);
        assert_eq!(flags(&mut watch, -6, 1_000), [Quality::REVERSED]);
        let export = rules(|rules| {
            rules.direction = Some(DirectionRule {
                is_import: false,
                tolerance: Decimal::ZERO,
            });
        });
        let mut watch = Watch::with_rules(&point(PointKind::Instant), &export);
        assert_eq!(flags(&mut watch, -6, 0), []);
        assert_eq!(flags(&mut watch, 1, 1_000 * 60), [Quality::REVERSED]);
    }

    #[test]
    fn a_register_that_stands_still_is_frozen_only_while_its_companion_works() {
        let power = Point {
            name: "power".to_owned(),
            ..point(PointKind::Instant)
        };
        let rule = FrozenRule {
            after_s: 30,
            while_above: Some(("power".to_owned(), Decimal::parse("5").unwrap())),
        };
        let find = |name: &str| (name == "power").then_some((1, &power));
        let mut frozen = Frozen::new(&rule, 1_000, find);
        assert_eq!(frozen.companion(), Some(1));
        let mut at_ms = 0;
        let mut stand = |frozen: &mut Frozen, raw: i64, power: Option<i64>, seconds: u64| {
            let mut flagged = 0;
            for _ in 0..seconds {
                at_ms += 1_000;
                let mut sample = PointSample::good(0, raw);
                frozen.check(&mut sample, power, at_ms);
                flagged += u64::from(!sample.is_good());
            }
            flagged
        };
        let (working, idle) = (Some(51), Some(50));
        assert_eq!(stand(&mut frozen, 7, idle, 1_000), 0);
        assert_eq!(stand(&mut frozen, 7, None, 1_000), 0);
        assert_eq!(stand(&mut frozen, 7, working, 29), 0);
        assert_eq!(
            stand(&mut frozen, 7, working, 5),
            5,
            "from the 30th second on"
        );
        assert_eq!(stand(&mut frozen, 8, working, 1), 0, "it moved");
        let alone = FrozenRule {
            after_s: 30,
            while_above: None,
        };
        let mut frozen = Frozen::new(&alone, 1_000, |_| None);
        assert_eq!(stand(&mut frozen, 8, idle, 30), 0);
        assert_eq!(stand(&mut frozen, 8, idle, 1), 1);
        // A night without answers is no standing still.
        let mut sample = PointSample::good(0, 9);
        frozen.check(&mut sample, None, 10_000_000);
        let mut sample = PointSample::good(0, 9);
        frozen.check(&mut sample, None, 20_000_000);
        assert!(sample.is_good());
    }
}
