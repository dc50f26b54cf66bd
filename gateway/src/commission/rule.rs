//! When a display and a sealed value agree.
//!
//! The display was read by a person, who needs a moment: it is compared with everything sealed within
//! 2 s of it (or within a tick, where that is longer), and the difference is to the nearest of that.
//! Allowed are
//!
//! - the resolution of the display, for the digits it does not show, and of the sealed value;
//! - for a momentary value, the class: so many percent of the upper end of the range, or without a
//!   range of the number displayed. A totaliser gets no such allowance: its display and its register
//!   are one count.

use evidence::decimal::{Decimal, format_mantissa, pow10};
use evidence::measurement::PointKind;

use super::Sealed;

/// What may lie between display and sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The accuracy class in percent, from the nameplate.
    pub class_percent: Option<Decimal>,
    /// The upper end of the range, where the class is of the range.
    pub range_end: Option<Decimal>,
    /// The smallest step of the display.
    pub resolution: Decimal,
}

/// The largest accuracy class that is taken, in percent. The classes of measuring instruments end at 5;
/// beyond 10 nothing would be compared any more.
const LARGEST_CLASS_PERCENT: i64 = 10;

/// A claim that would make everything agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Implausible {
    /// The class.
    #[error(
        "the class is {0} %: it is above 0 and at most {LARGEST_CLASS_PERCENT}, as the nameplate says it"
    )]
    Class(Decimal),
    /// The resolution is no step.
    #[error("the resolution is {0}: it is the smallest step of the display, above 0")]
    NoStep(Decimal),
    /// The resolution is coarser than what was read.
    #[error(
        "the resolution {resolution} is coarser than the last digit of {display}: leave it out, then that \
         digit counts. A display that moves in steps of {resolution} shows a multiple of it, and at least \
         a hundred steps are needed to compare by"
    )]
    Coarse {
        /// What was claimed.
        resolution: Decimal,
        /// The number displayed.
        display: Decimal,
    },
}

impl Allowance {
    /// Refuses claims under which a display would agree with anything.
    ///
    /// # Errors
    /// [`Implausible`].
    pub fn assert_plausible(&self, display: Decimal) -> Result<(), Implausible> {
        if let Some(class) = self.class_percent {
            let largest = LARGEST_CLASS_PERCENT.checked_mul(pow10(class.decimals()).unwrap_or(0));
            if class.mantissa() <= 0 || largest.is_none_or(|most| class.mantissa() > most) {
                return Err(Implausible::Class(class));
            }
        }
        let resolution = self.resolution;
        if resolution.mantissa() <= 0 {
            return Err(Implausible::NoStep(resolution));
        }
        let decimals = display.decimals().max(resolution.decimals());
        let here = |value: Decimal| value.on_grid(decimals).map(i128::from);
        let last = Decimal::new(1, display.decimals()).and_then(here);
        let fits = match (here(resolution), here(display), last) {
            (Some(step), Some(shown), Some(last)) => {
                step <= last || (shown % step == 0 && shown.abs() >= 100 * step)
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(Implausible::Coarse {
            resolution,
            display,
        })
    }
}

/// What the comparison gave, as decimals in the point's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The smallest value sealed around the moment.
    pub low: String,
    /// The largest.
    pub high: String,
    /// From the display to the nearest of them.
    pub difference: String,
    /// What is allowed, rounded down to the digits shown.
    pub allowed: String,
    /// What the allowance is made of.
    pub why: String,
    /// Whether the difference is within it.
    pub agrees: bool,
}

/// Compares; `None` if nothing was sealed that is a number, or the digits are too many to compare
/// exactly.
#[must_use]
pub fn compare(
    display: Decimal,
    kind: PointKind,
    allowance: &Allowance,
    sealed: &Sealed,
) -> Option<Comparison> {
    let (low, high) = sealed.around?;
    let parts = [display, allowance.resolution];
    let shown = parts
        .iter()
        .map(|part| part.decimals())
        .chain([sealed.decimals])
        .max()?;
    let on_grid = |mantissa: i64, decimals: u8| {
        i128::from(mantissa).checked_mul(10_i128.checked_pow(u32::from(shown - decimals))?)
    };
    let of = |value: Decimal| on_grid(value.mantissa(), value.decimals());
    let (low, high) = (
        on_grid(low, sealed.decimals)?,
        on_grid(high, sealed.decimals)?,
    );
    let display_here = of(display)?;
    let difference = (low - display_here).max(display_here - high).max(0);
    let steps = of(allowance.resolution)?.abs() + on_grid(1, sealed.decimals)?;
    // Everything below in units of the grid times 100 times the class's own grid, so that nothing is rounded.
    let class = match kind {
        PointKind::Register => None,
        PointKind::Instant => allowance.class_percent,
    };
    let base = allowance.range_end.unwrap_or(display);
    let (of_class, unit) = match class {
        None => (0, 1),
        Some(class) => {
            let unit = 10_i128
                .checked_pow(u32::from(class.decimals()) + u32::from(base.decimals()))?
                .checked_mul(100)?;
            let grid = 10_i128.checked_pow(u32::from(shown))?;
            let share = i128::from(base.mantissa())
                .abs()
                .checked_mul(i128::from(class.mantissa()).abs())?;
            (share.checked_mul(grid)?, unit)
        }
    };
    let allowed = steps.checked_mul(unit)?.checked_add(of_class)?;
    let steps_text = "the display's and the sealed value's last digits";
    let why = match (class, allowance.range_end) {
        (None, _) => String::from(steps_text),
        (Some(class), Some(end)) => format!("{class} % of the range's end {end}, and {steps_text}"),
        (Some(class), None) => format!("{class} % of the display, and {steps_text}"),
    };
    let text = |value: i128| format_mantissa(value, shown);
    Some(Comparison {
        low: text(low),
        high: text(high),
        difference: text(difference),
        allowed: text(allowed / unit),
        why,
        agrees: difference.checked_mul(unit)? <= allowed,
    })
}

#[cfg(test)]
mod tests {
    use evidence::decimal::Decimal;
    use evidence::measurement::PointKind;

    use super::{Allowance, Comparison, Implausible, compare};
    use crate::commission::Sealed;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    /// Sealed with two decimals, moving from `low` to `high` around the moment.
    fn judged(
        display: &str,
        resolution: &str,
        class: Option<&str>,
        end: Option<&str>,
        kind: PointKind,
        (low, high): (i64, i64),
    ) -> Comparison {
        let allowance = Allowance {
            class_percent: class.map(decimal),
            range_end: end.map(decimal),
            resolution: decimal(resolution),
        };
        let sealed = Sealed {
            value: Some(low),
            around: Some((low, high)),
            decimals: 2,
            ..Sealed::default()
        };
        compare(decimal(display), kind, &allowance, &sealed).unwrap()
    }

    #[test]
    fn a_totaliser_must_show_the_same_count_within_the_last_digits() {
        let total = |display: &str, around| {
            judged(display, "0.1", Some("1"), None, PointKind::Register, around)
        };
        // Sealed 12345.67: a display of one decimal shows 12345.6, whether it rounds or cuts.
        assert!(total("12345.6", (1_234_567, 1_234_567)).agrees);
        assert!(total("12345.7", (1_234_567, 1_234_567)).agrees);
        // 0.10 of the display and 0.01 of the sealed value: 12345.78 is the end.
        let edge = total("12345.78", (1_234_567, 1_234_567));
        assert_eq!(
            (edge.difference.as_str(), edge.allowed.as_str()),
            ("0.11", "0.11")
        );
        assert!(edge.agrees);
        // One percent of 12 thousand would have hidden this.
        let off = total("12345.79", (1_234_567, 1_234_567));
        assert!(!off.agrees);
        // It counted on while the person was reading.
        assert!(total("12346.2", (1_234_567, 1_234_630)).agrees);
    }

    #[test]
    fn a_momentary_value_may_differ_by_its_class_of_the_range_or_of_the_display() {
        let value = |display: &str, class, end| {
            judged(
                display,
                "0.1",
                Some(class),
                end,
                PointKind::Instant,
                (10_000, 10_000),
            )
        };
        // 0.5 % of 100.6 is 0.503, with 0.11 for the digits 0.613.
        let near = value("100.6", "0.5", None);
        assert_eq!(
            (near.difference.as_str(), near.allowed.as_str()),
            ("0.60", "0.61")
        );
        assert!(near.agrees);
        assert!(!value("100.7", "0.5", None).agrees);
        // 0.5 % of 250 is 1.25.
        assert!(value("101.3", "0.5", Some("250")).agrees);
        assert!(!value("101.4", "0.5", Some("250")).agrees);
        assert!(
            !judged(
                "100.2",
                "0.1",
                None,
                None,
                PointKind::Instant,
                (10_000, 10_000)
            )
            .agrees
        );
    }

    #[test]
    fn no_resolution_or_class_is_taken_under_which_everything_would_agree() {
        let judge = |display: &str, resolution: &str, class: Option<&str>| {
            let allowance = Allowance {
                class_percent: class.map(decimal),
                range_end: None,
                resolution: decimal(resolution),
            };
            allowance.assert_plausible(decimal(display))
        };
        for (display, resolution) in [
            ("1234.5", "0.1"),
            ("1234.5", "0.05"),
            // A display with a factor of ten, or in steps of a half.
            ("123450", "10"),
            ("1234.5", "0.5"),
            ("0.0", "0.1"),
        ] {
            assert_eq!(judge(display, resolution, None), Ok(()), "{display}");
        }
        for (display, resolution) in [
            ("1234.5", "1000"),
            ("1234.5", "1"),
            ("1000", "1000"),
            ("0", "10"),
            ("1234.5", "0"),
            ("1234.5", "-0.1"),
        ] {
            assert!(judge(display, resolution, None).is_err(), "{display}");
        }
        assert_eq!(judge("1.0", "0.1", Some("10.0")), Ok(()));
        for class in ["10.1", "1000", "0", "-1"] {
            let error = judge("1.0", "0.1", Some(class)).unwrap_err();
            assert_eq!(error, Implausible::Class(decimal(class)));
        }
    }

    #[test]
    fn a_wrong_decimal_point_is_never_within_a_class() {
        for kind in [PointKind::Instant, PointKind::Register] {
            let off = judged("1000.0", "0.1", Some("2"), None, kind, (10_000, 10_000));
            assert!(!off.agrees);
        }
    }

    #[test]
    fn numbers_too_long_to_compare_exactly_are_not_compared() {
        let allowance = Allowance {
            class_percent: Some(decimal("0.000000000000001")),
            range_end: None,
            resolution: decimal("0.000000000000001"),
        };
        let sealed = Sealed {
            around: Some((1, 1)),
            ..Sealed::default()
        };
        let display = decimal("999999999999999999");
        assert_eq!(
            compare(display, PointKind::Instant, &allowance, &sealed),
            None
        );
    }
}
