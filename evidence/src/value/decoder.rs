//! From column values to values on the point's grid.

use super::{Kind, MANTISSA_LIMIT};
use crate::decimal::{Decimal, pow10};
use crate::measurement::{Point, Source};
use crate::quality::Quality;

/// The largest magnitude of a scale factor's exponent.
const MOST_EXPONENT: i64 = 10;

#[expect(
    clippy::reversed_empty_ranges,
    reason = "an empty range: nothing is fast"
)]
const NOTHING: std::ops::RangeInclusive<i64> = 1..=0;

/// Everything about a point that decoding a column needs, worked out once per configuration.
#[derive(Debug, Clone)]
pub struct Decoder {
    kind: Kind,
    /// Column values are multiplied by this on the point's grid.
    factor: i64,
    addend: i64,
    power: f64,
    decimals: u8,
    sentinels: Vec<i64>,
    /// Every NaN is a sentinel, because one of them is declared.
    nan_is_sentinel: bool,
    /// The point of the same device that holds the exponent, for values with a scale factor.
    scale_from: Option<u16>,
    /// The plausible range on the grid, always inside ±(2^53 − 1).
    low: i64,
    high: i64,
    /// Column values in this range need no check beyond it (empty for floats and bits).
    fast: std::ops::RangeInclusive<i64>,
    message: bool,
}

impl Decoder {
    /// Prepares a point that [`crate::measurement::MeasurementConfig::validate`] has passed.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "powers of ten up to 10^15 are exact in f64"
    )]
    pub fn new(point: &Point) -> Self {
        let bound = |bound: Option<Decimal>, otherwise: i64| {
            bound
                .and_then(|value| value.on_grid(point.decimals))
                .unwrap_or(otherwise)
        };
        let low = bound(point.min, 1 - MANTISSA_LIMIT).max(1 - MANTISSA_LIMIT);
        let high = bound(point.max, MANTISSA_LIMIT - 1).min(MANTISSA_LIMIT - 1);
        let factor = point.scale.on_grid(point.decimals).unwrap_or(0);
        let addend = point.offset.on_grid(point.decimals).unwrap_or(0);
        let message = matches!(point.source, Source::Message { .. });
        let kind = point.format.kind;
        let (factor, addend) = if kind == Kind::Number {
            (1, 0)
        } else {
            (factor, addend)
        };
        Self {
            kind,
            factor,
            addend,
            power: pow10(point.decimals).unwrap_or(1) as f64,
            decimals: point.decimals,
            sentinels: point.sentinels.clone(),
            nan_is_sentinel: point.sentinels.iter().any(|&raw| is_nan(kind, raw)),
            scale_from: point.scale_from,
            low,
            high,
            fast: if point.scale_from.is_some() {
                NOTHING
            } else {
                fast_range(kind, factor, addend, low, high)
            },
            message,
        }
    }

    /// The index of the point that holds this point's scale factor; such a point decodes with
    /// [`Self::scaled_value`] only.
    #[must_use]
    pub const fn scale_from(&self) -> Option<u16> {
        self.scale_from
    }

    fn is_sentinel(&self, raw: i64) -> bool {
        self.sentinels.contains(&raw) || (self.nan_is_sentinel && is_nan(self.kind, raw))
    }

    /// The value of one column value with the exponent that its scale factor had in the same
    /// sample: raw × 10^exponent, exactly. `None` says that the exponent is not known to be good.
    ///
    /// # Errors
    /// Sentinel; out of range when there is no exponent, when it lies outside −10…10, or when the
    /// value leaves the declared range; off grid when the value has more decimals than the point.
    pub fn scaled_value(&self, raw: i64, exponent: Option<i64>) -> Result<i64, Quality> {
        if self.is_sentinel(raw) {
            return Err(Quality::SENTINEL);
        }
        let exponent = exponent
            .filter(|exponent| (-MOST_EXPONENT..=MOST_EXPONENT).contains(exponent))
            .ok_or(Quality::OUT_OF_RANGE)?;
        let shift = exponent + i64::from(self.decimals);
        let power = u32::try_from(shift.unsigned_abs())
            .ok()
            .and_then(|digits| 10_i128.checked_pow(digits))
            .ok_or(Quality::OUT_OF_RANGE)?;
        let raw = if self.kind == Kind::U64 {
            i128::from(raw.cast_unsigned())
        } else {
            i128::from(raw)
        };
        if shift >= 0 {
            return self.in_range(raw.checked_mul(power));
        }
        if raw % power != 0 {
            return Err(Quality::OFF_GRID);
        }
        self.in_range(Some(raw / power))
    }

    /// The value of one column value; `exponent` gives the good value that the point of the scale
    /// factor has in the same sample, and is not asked where there is none.
    ///
    /// # Errors
    /// As [`Self::value`] and [`Self::scaled_value`].
    pub fn value_with(
        &self,
        raw: i64,
        exponent: impl FnOnce(u16) -> Option<i64>,
    ) -> Result<i64, Quality> {
        match self.scale_from {
            Some(factor) => self.scaled_value(raw, exponent(factor)),
            None => self.value(raw),
        }
    }

    /// The value of one column value on the point's grid.
    ///
    /// # Errors
    /// The quality that says why there is no number: sentinel, or out of range. A point with a scale
    /// factor has no number without it.
    pub fn value(&self, raw: i64) -> Result<i64, Quality> {
        if self.scale_from.is_some() {
            return self.scaled_value(raw, None);
        }
        if self.is_sentinel(raw) {
            return Err(Quality::SENTINEL);
        }
        let scaled = match self.kind {
            Kind::F32 => {
                let bits = u32::try_from(raw).map_err(|_too_wide| Quality::OUT_OF_RANGE)?;
                return self.in_range(float_mantissa(f64::from(f32::from_bits(bits)), self.power));
            }
            Kind::F64 => {
                return self.in_range(float_mantissa(
                    f64::from_bits(raw.cast_unsigned()),
                    self.power,
                ));
            }
            Kind::Text => return Err(Quality::OFF_GRID),
            Kind::Bit(bit) => {
                let shifted = raw.checked_shr(u32::from(bit)).unwrap_or(0) & 1;
                return self.in_range(shifted.checked_mul(self.factor).map(i128::from));
            }
            Kind::Bits { low, high } => {
                let mask = (1_i64 << (high.saturating_sub(low) + 1).min(16)) - 1;
                i128::from(raw.checked_shr(u32::from(low)).unwrap_or(0) & mask)
            }
            Kind::Bcd16 | Kind::Bcd32 | Kind::Bcd64 => {
                i128::from(bcd(raw).ok_or(Quality::OUT_OF_RANGE)?)
            }
            Kind::U64 => i128::from(raw.cast_unsigned()),
            _ => i128::from(raw),
        };
        self.in_range(
            scaled
                .checked_mul(i128::from(self.factor))
                .and_then(|value| value.checked_add(i128::from(self.addend))),
        )
    }

    fn in_range(&self, value: Option<i128>) -> Result<i64, Quality> {
        value
            .and_then(|value| i64::try_from(value).ok())
            .filter(|value| (self.low..=self.high).contains(value))
            .ok_or(Quality::OUT_OF_RANGE)
    }

    /// As [`Self::column`], with the exponent of each sample; a sample beyond `exponents` has none.
    #[must_use]
    pub fn scaled_column(
        &self,
        column: &mut [i64],
        exponents: &[Option<i64>],
    ) -> Vec<(usize, Quality)> {
        let mut refused = Vec::new();
        for (sample, raw) in column.iter_mut().enumerate() {
            match self.scaled_value(*raw, exponents.get(sample).copied().flatten()) {
                Ok(value) => *raw = value,
                Err(quality) => refused.push((sample, quality)),
            }
        }
        refused
    }

    /// Converts a column in place; returns the samples that are no numbers, with the reason.
    /// Their slots keep the column value, which means nothing.
    #[must_use]
    pub fn column(&self, column: &mut [i64]) -> Vec<(usize, Quality)> {
        let (least, most) = column
            .iter()
            .fold((i64::MAX, i64::MIN), |(least, most), &raw| {
                (least.min(raw), most.max(raw))
            });
        // A column that is all NaN or holds one is never fast: floats are not.
        let inside = self.fast.contains(&least) && self.fast.contains(&most);
        if inside
            && !self
                .sentinels
                .iter()
                .any(|sentinel| (least..=most).contains(sentinel))
        {
            if self.factor != 1 || self.addend != 0 {
                for raw in column.iter_mut() {
                    *raw = *raw * self.factor + self.addend;
                }
            }
            return Vec::new();
        }
        let mut refused = Vec::new();
        for (sample, raw) in column.iter_mut().enumerate() {
            match self.value(*raw) {
                Ok(value) => *raw = value,
                Err(quality) => refused.push((sample, quality)),
            }
        }
        refused
    }

    /// The value of a number kept as text (JSON number grammar), if it fits the grid exactly.
    ///
    /// # Errors
    /// [`Quality::OFF_GRID`] when it does not, [`Quality::OUT_OF_RANGE`] beyond the bounds.
    pub fn text(&self, text: &[u8]) -> Result<i64, Quality> {
        if !self.message {
            return Err(Quality::OFF_GRID);
        }
        let mantissa = json_mantissa(text, self.decimals).ok_or(Quality::OFF_GRID)?;
        self.in_range(Some(i128::from(mantissa)))
    }
}

/// `round_ties_even(x × 10^k)` in one IEEE double multiplication, or `None` when not finite or huge.
fn float_mantissa(x: f64, power: f64) -> Option<i128> {
    let scaled = (x * power).round_ties_even();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "finite, integral and below 2^63 by the test"
    )]
    (scaled.is_finite() && scaled.abs() < 9.2e18).then(|| i128::from(scaled as i64))
}

/// Whether a column value of a float type is a NaN.
fn is_nan(kind: Kind, raw: i64) -> bool {
    match kind {
        Kind::F32 => u32::try_from(raw).is_ok_and(|bits| f32::from_bits(bits).is_nan()),
        Kind::F64 => f64::from_bits(raw.cast_unsigned()).is_nan(),
        _ => false,
    }
}

fn bcd(raw: i64) -> Option<i64> {
    let mut value = 0;
    for nibble in raw
        .to_be_bytes()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
    {
        if nibble > 9 {
            return None;
        }
        value = value * 10 + i64::from(nibble);
    }
    Some(value)
}

/// The column values for which `raw × factor + addend` can neither overflow nor leave the range.
fn fast_range(
    kind: Kind,
    factor: i64,
    addend: i64,
    low: i64,
    high: i64,
) -> std::ops::RangeInclusive<i64> {
    let nothing = NOTHING;
    if factor <= 0
        || low > high
        || matches!(
            kind,
            Kind::F32
                | Kind::F64
                | Kind::Bit(_)
                | Kind::Bits { .. }
                | Kind::Bcd16
                | Kind::Bcd32
                | Kind::Bcd64
                | Kind::Text
        )
    {
        return nothing;
    }
    let (low, high, factor, addend) = (
        i128::from(low),
        i128::from(high),
        i128::from(factor),
        i128::from(addend),
    );
    // Ceiling and floor of (bound − addend) / factor, for a positive factor.
    let least = -((addend - low).div_euclid(factor));
    let most = (high - addend).div_euclid(factor);
    let least = if kind == Kind::U64 {
        least.max(0)
    } else {
        least
    };
    match (i64::try_from(least), i64::try_from(most)) {
        (Ok(least), Ok(most)) => least..=most,
        _ => nothing,
    }
}

/// The mantissa on the grid of a number in JSON's grammar, exactly, below 2^53; `None` otherwise.
#[must_use]
pub fn json_mantissa(text: &[u8], decimals: u8) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty()
                || digits.len() > 4
                || !digits.bytes().all(|digit| digit.is_ascii_digit())
            {
                return None;
            }
            (
                number,
                exponent
                    .strip_prefix('+')
                    .unwrap_or(exponent)
                    .parse::<i32>()
                    .ok()?,
            )
        }
        None => (unsigned, 0),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (number, ""),
    };
    let plain = !whole.is_empty() && (whole == "0" || !whole.starts_with('0'));
    if !plain
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let digits: String = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    let trailing = i32::try_from(digits.len() - significant.len()).ok()?;
    let magnitude: i64 = match significant.trim_start_matches('0') {
        "" => return Some(0),
        some if some.len() <= 16 => some.parse().ok()?,
        _ => return None,
    };
    let shift = exponent - i32::try_from(fraction.len()).ok()? + trailing + i32::from(decimals);
    let mantissa = magnitude.checked_mul(pow10(u8::try_from(shift).ok()?)?)?;
    let in_limit = mantissa < MANTISSA_LIMIT;
    in_limit.then_some(if unsigned.len() == text.len() {
        mantissa
    } else {
        -mantissa
    })
}
