//! From raw words to a value on the point's grid, the same in every language.
//!
//! A *column value* is what a chunk holds: the registers of one sample, put into the declared order,
//! as one integer. The step is a permutation of bytes, so the words as they stood on the wire can
//! always be recovered, and a corrected template re-decodes old evidence without touching it.

use crate::decimal::{Decimal, pow10};
use crate::measurement::{Point, Source};
use crate::quality::Quality;

/// Values of 2^53 and more in magnitude are not exact in every reader's arithmetic and are refused.
pub const MANTISSA_LIMIT: i64 = 1 << 53;

/// The layout of a point's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The type.
    pub kind: Kind,
    /// The order of bytes and words.
    pub order: Order,
}

/// The type of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One register, unsigned.
    U16,
    /// One register, two's complement.
    I16,
    /// Two registers, unsigned.
    U32,
    /// Two registers, two's complement.
    I32,
    /// Four registers, unsigned.
    U64,
    /// Four registers, two's complement.
    I64,
    /// Two registers, IEEE 754.
    F32,
    /// Four registers, IEEE 754.
    F64,
    /// One bit (0–15) of one register, or a coil.
    Bit(u8),
    /// One register of four decimal digits.
    Bcd16,
    /// Two registers of eight decimal digits.
    Bcd32,
    /// Characters; never a number.
    Text,
    /// A number from a message, as an integer on the point's grid.
    Number,
}

/// The order of the bytes of a value; `ABCD` is big-endian throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Most significant word first, most significant byte first.
    Abcd,
    /// Least significant word first.
    Cdab,
    /// Most significant word first, bytes swapped within words.
    Badc,
    /// Least significant word first, bytes swapped within words.
    Dcba,
}

impl Order {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Abcd, "ABCD"),
        (Self::Cdab, "CDAB"),
        (Self::Badc, "BADC"),
        (Self::Dcba, "DCBA"),
    ];

    /// The name, e.g. `CDAB`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(order, _)| *order == self)
            .map_or("ABCD", |(_, name)| name)
    }

    /// The order of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(order, _)| *order)
    }

    const fn swaps_words(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }

    const fn swaps_bytes(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba)
    }
}

impl Kind {
    const NAMES: [(Self, &'static str); 12] = [
        (Self::U16, "u16"),
        (Self::I16, "i16"),
        (Self::U32, "u32"),
        (Self::I32, "i32"),
        (Self::U64, "u64"),
        (Self::I64, "i64"),
        (Self::F32, "f32"),
        (Self::F64, "f64"),
        (Self::Bcd16, "bcd16"),
        (Self::Bcd32, "bcd32"),
        (Self::Text, "text"),
        (Self::Number, "number"),
    ];

    /// The name in configurations and in the sealed body; bits are `bit0`–`bit15`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Bit(bit) => format!("bit{bit}"),
            other => Self::NAMES
                .iter()
                .find(|(kind, _)| *kind == other)
                .map_or("", |(_, name)| name)
                .to_owned(),
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(digits) = name.strip_prefix("bit") {
            return (0..16).find(|bit| bit.to_string() == digits).map(Self::Bit);
        }
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }
}

impl Format {
    /// The format of a type name and an order name.
    #[must_use]
    pub fn from_names(kind: &str, order: &str) -> Option<Self> {
        Some(Self {
            kind: Kind::from_name(kind)?,
            order: Order::from_name(order)?,
        })
    }

    /// The number of registers; 0 for texts (any number) and messages (none).
    #[must_use]
    pub const fn words(self) -> u8 {
        match self.kind {
            Kind::U16 | Kind::I16 | Kind::Bit(_) | Kind::Bcd16 => 1,
            Kind::U32 | Kind::I32 | Kind::F32 | Kind::Bcd32 => 2,
            Kind::U64 | Kind::I64 | Kind::F64 => 4,
            Kind::Text | Kind::Number => 0,
        }
    }

    /// Whether scale and offset must be neutral.
    #[must_use]
    pub const fn takes_no_scale(self) -> bool {
        matches!(
            self.kind,
            Kind::F32 | Kind::F64 | Kind::Text | Kind::Number | Kind::Bit(_)
        )
    }

    /// The column value of registers as they were read, or `None` when their number is wrong or the
    /// format has no integer column (texts, messages).
    #[must_use]
    pub fn raw(self, words: &[u16]) -> Option<i64> {
        if words.is_empty() || words.len() != usize::from(self.words()) {
            return None;
        }
        let word = |word: &u16| {
            if self.order.swaps_bytes() {
                word.swap_bytes()
            } else {
                *word
            }
        };
        let join = |sum: u64, word: u16| (sum << 16) | u64::from(word);
        let bits = if self.order.swaps_words() {
            words.iter().rev().map(word).fold(0, join)
        } else {
            words.iter().map(word).fold(0, join)
        };
        Some(match self.kind {
            Kind::I16 => sign_extend(bits, 16),
            Kind::I32 => sign_extend(bits, 32),
            _ => bits.cast_signed(),
        })
    }

    /// The registers of a column value, as they stood on the wire; the inverse of [`Self::raw`].
    #[must_use]
    pub fn wire_words(self, raw: i64) -> Vec<u16> {
        let bytes = raw.to_be_bytes();
        let used = 2 * usize::from(self.words());
        let mut words: Vec<u16> = bytes
            .get(8 - used.min(8)..)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| {
                pair.iter()
                    .fold(0_u16, |word, &byte| (word << 8) | u16::from(byte))
            })
            .map(|word| {
                if self.order.swaps_bytes() {
                    word.swap_bytes()
                } else {
                    word
                }
            })
            .collect();
        if self.order.swaps_words() {
            words.reverse();
        }
        words
    }

    /// Whether a column value can come from registers of this format.
    #[must_use]
    pub fn is_column_value(self, raw: i64) -> bool {
        match self.kind {
            Kind::U16 | Kind::Bit(_) | Kind::Bcd16 => u16::try_from(raw).is_ok(),
            Kind::I16 => i16::try_from(raw).is_ok(),
            Kind::U32 | Kind::F32 | Kind::Bcd32 => u32::try_from(raw).is_ok(),
            Kind::I32 => i32::try_from(raw).is_ok(),
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::Number => true,
            Kind::Text => false,
        }
    }
}

fn sign_extend(bits: u64, width: u32) -> i64 {
    (bits << (64 - width)).cast_signed() >> (64 - width)
}

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
        let (factor, addend) = if point.format.kind == Kind::Number {
            (1, 0)
        } else {
            (factor, addend)
        };
        Self {
            kind: point.format.kind,
            factor,
            addend,
            power: pow10(point.decimals).unwrap_or(1) as f64,
            decimals: point.decimals,
            sentinels: point.sentinels.clone(),
            low,
            high,
            fast: fast_range(point.format.kind, factor, addend, low, high),
            message,
        }
    }

    /// The value of one column value on the point's grid.
    ///
    /// # Errors
    /// The quality that says why there is no number: sentinel, or out of range.
    pub fn value(&self, raw: i64) -> Result<i64, Quality> {
        if self.sentinels.contains(&raw) {
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
            Kind::Bcd16 | Kind::Bcd32 => i128::from(bcd(raw).ok_or(Quality::OUT_OF_RANGE)?),
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

    /// Converts a column in place; returns the samples that are no numbers, with the reason.
    /// Their slots keep the column value, which means nothing.
    #[must_use]
    pub fn column(&self, column: &mut [i64]) -> Vec<(usize, Quality)> {
        let (least, most) = column
            .iter()
            .fold((i64::MAX, i64::MIN), |(least, most), &raw| {
                (least.min(raw), most.max(raw))
            });
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
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "an empty range: nothing is fast"
    )]
    let nothing = 1..=0;
    if factor <= 0
        || low > high
        || matches!(
            kind,
            Kind::F32 | Kind::F64 | Kind::Bit(_) | Kind::Bcd16 | Kind::Bcd32 | Kind::Text
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

#[cfg(test)]
mod tests;
