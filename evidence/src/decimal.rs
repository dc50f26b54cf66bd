//! Exact decimals as configuration states them: an integer mantissa and a number of decimals.

use std::fmt;

/// `mantissa × 10^-decimals`, kept as written: `1.0` and `1.00` are different texts of one value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i64,
    decimals: u8,
}

/// Why a text is not a decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Something other than an optional minus sign, digits and one point.
    #[error(
        "`{0}` is not a decimal number; write digits with an optional minus sign and point, like `-0.25`"
    )]
    Syntax(String),
    /// More digits than can be kept exactly.
    #[error("`{0}` has more than 18 digits or more than 15 decimals")]
    TooLong(String),
}

/// The largest number of decimals a point or factor may declare.
pub const MAX_DECIMALS: u8 = 15;

/// Powers of ten that fit `i64`.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which checks the bounds"
)]
pub(crate) const POW10: [i64; 19] = {
    let mut table = [1_i64; 19];
    let mut i = 1;
    while i < 19 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// Returns `10^exponent`, or `None` above 10^18.
#[must_use]
pub fn pow10(exponent: u8) -> Option<i64> {
    POW10.get(usize::from(exponent)).copied()
}

impl Decimal {
    /// One, the neutral scale.
    pub const ONE: Self = Self {
        mantissa: 1,
        decimals: 0,
    };
    /// Zero, the neutral offset.
    pub const ZERO: Self = Self {
        mantissa: 0,
        decimals: 0,
    };

    /// Builds from parts; `None` when `decimals` is above [`MAX_DECIMALS`].
    #[must_use]
    pub const fn new(mantissa: i64, decimals: u8) -> Option<Self> {
        if decimals > MAX_DECIMALS {
            None
        } else {
            Some(Self { mantissa, decimals })
        }
    }

    /// Parses plain decimal notation (`-12.50`); no exponent, no plus sign, no leading point.
    ///
    /// # Errors
    /// [`DecimalError`] with the text.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let syntax = || DecimalError::Syntax(text.chars().take(40).collect());
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(syntax());
        }
        if digits.ends_with('.') || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(syntax());
        }
        let too_long = || DecimalError::TooLong(text.chars().take(40).collect());
        let decimals = u8::try_from(fraction.len()).map_err(|_too_many| too_long())?;
        if decimals > MAX_DECIMALS || whole.len() + fraction.len() > 18 {
            return Err(too_long());
        }
        let magnitude = whole
            .bytes()
            .chain(fraction.bytes())
            .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let negative = digits.len() != text.len();
        if negative && magnitude == 0 {
            return Err(syntax());
        }
        Ok(Self {
            mantissa: if negative { -magnitude } else { magnitude },
            decimals,
        })
    }

    /// The integer mantissa.
    #[must_use]
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// The number of decimals, 0–15.
    #[must_use]
    pub const fn decimals(self) -> u8 {
        self.decimals
    }

    /// The mantissa on a grid of `decimals` decimals, or `None` when it does not fit exactly.
    #[must_use]
    pub fn on_grid(self, decimals: u8) -> Option<i64> {
        if decimals >= self.decimals {
            self.mantissa.checked_mul(pow10(decimals - self.decimals)?)
        } else {
            let divisor = pow10(self.decimals - decimals)?;
            (self.mantissa % divisor == 0).then(|| self.mantissa / divisor)
        }
    }

    /// Whether the value is one.
    #[must_use]
    pub fn is_one(self) -> bool {
        self.on_grid(0) == Some(1)
    }

    /// Whether the value is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.mantissa == 0
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_mantissa(i128::from(self.mantissa), self.decimals))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decimal({self})")
    }
}

/// Writes `mantissa × 10^-decimals` with exactly `decimals` decimals.
#[must_use]
pub fn format_mantissa(mantissa: i128, decimals: u8) -> String {
    let width = usize::from(decimals);
    let digits = mantissa.unsigned_abs().to_string();
    let digits = format!("{digits:0>least$}", least = width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    let sign = if mantissa < 0 { "-" } else { "" };
    if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Decimal, format_mantissa};

    #[test]
    fn a_decimal_prints_as_it_was_written() {
        for text in [
            "0",
            "1",
            "-1",
            "0.001",
            "-0.5",
            "12.50",
            "999999999999999999",
            "0.000000000000001",
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_but_plain_notation_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e3",
            "+1",
            " 1",
            "01",
            "-0",
            "-0.0",
            "1,5",
            "0x10",
            "1.0.0",
            "1000000000000000000",
            "0.0000000000000001",
            "１",
        ] {
            assert!(Decimal::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mantissa_moves_to_another_grid_only_exactly() {
        let quarter = Decimal::parse("0.25").unwrap();
        assert_eq!(quarter.on_grid(3), Some(250));
        assert_eq!(quarter.on_grid(1), None);
        assert_eq!(Decimal::parse("2.50").unwrap().on_grid(1), Some(25));
    }

    #[test]
    fn a_mantissa_is_written_with_all_its_decimals() {
        assert_eq!(format_mantissa(-5, 3), "-0.005");
        assert_eq!(format_mantissa(12345, 0), "12345");
        assert_eq!(format_mantissa(0, 2), "0.00");
    }
}
