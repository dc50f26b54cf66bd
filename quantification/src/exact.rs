//! Exact decimals for results: an `i128` mantissa and a number of decimals.
//!
//! Three rules, the same on every platform, hold for everything that is computed here:
//!
//! - sums and differences are exact;
//! - a product is exact while it needs at most [`PRODUCT_DECIMALS`] decimals, otherwise it is
//!   rounded to that many, half to even;
//! - a quotient is rounded to [`DIVISION_DECIMALS`] decimals, half to even.
//!
//! A value that does not fit is an error ([`ArithmeticError::Overflow`]), never a wrong value.

mod ratio;
mod wide;

pub use ratio::Ratio;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use wide::{divide_small, drop_digits, narrow, product};

/// Quotients are rounded half to even to this many decimals.
pub const DIVISION_DECIMALS: u8 = 18;
/// Products are rounded half to even to this many decimals when they need more.
pub const PRODUCT_DECIMALS: u8 = 24;

/// An exact decimal, `mantissa × 10^-decimals`, kept without trailing zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exact {
    mantissa: i128,
    decimals: u8,
}

/// Why a computation has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArithmeticError {
    /// The result needs more than 38 digits.
    #[error("the result needs more digits than can be kept exactly")]
    Overflow,
    /// A division by zero.
    #[error("division by zero")]
    DivisionByZero,
}

/// A text that is not a plain decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a decimal number; write digits with an optional minus sign and point, like \"-0.25\", at most 30 digits and 15 decimals"
)]
pub struct NotADecimal(pub String);

type Result<T> = std::result::Result<T, ArithmeticError>;

/// The most decimals a written number may have (a computed one may have more).
const WRITTEN_DECIMALS: usize = 15;
const WRITTEN_DIGITS: usize = 30;

/// Returns `10^exponent`.
pub(crate) fn pow10(exponent: u32) -> Result<i128> {
    10_i128
        .checked_pow(exponent)
        .ok_or(ArithmeticError::Overflow)
}

impl Exact {
    /// Zero.
    pub const ZERO: Self = Self {
        mantissa: 0,
        decimals: 0,
    };
    /// One.
    pub const ONE: Self = Self {
        mantissa: 1,
        decimals: 0,
    };

    /// Builds `mantissa × 10^-decimals`; more than [`PRODUCT_DECIMALS`] decimals are an overflow.
    ///
    /// # Errors
    /// [`ArithmeticError::Overflow`].
    pub fn new(mut mantissa: i128, mut decimals: u8) -> Result<Self> {
        if mantissa == 0 {
            return Ok(Self::ZERO);
        }
        while decimals > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            decimals -= 1;
        }
        if decimals > PRODUCT_DECIMALS {
            Err(ArithmeticError::Overflow)
        } else {
            Ok(Self { mantissa, decimals })
        }
    }

    /// A whole number.
    #[must_use]
    pub const fn whole(value: i64) -> Self {
        // `as` because `From` is not const; i64 always fits.
        Self {
            mantissa: value as i128,
            decimals: 0,
        }
    }

    /// Parses plain decimal notation.
    ///
    /// # Errors
    /// [`NotADecimal`] for exponents, plus signs, blanks, leading zeros, or too many digits.
    pub fn parse(text: &str) -> std::result::Result<Self, NotADecimal> {
        let bad = || NotADecimal(text.chars().take(60).collect());
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(bad()),
            Some(parts) => parts,
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !all_digits(whole) || !all_digits(fraction) {
            return Err(bad());
        }
        if whole.len() + fraction.len() > WRITTEN_DIGITS || fraction.len() > WRITTEN_DECIMALS {
            return Err(bad());
        }
        let magnitude = whole
            .bytes()
            .chain(fraction.bytes())
            .fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        let mantissa = if digits.len() == text.len() {
            magnitude
        } else {
            -magnitude
        };
        let decimals = u8::try_from(fraction.len()).expect("at most 15");
        Ok(Self::new(mantissa, decimals).expect("at most 15 decimals"))
    }

    /// The mantissa; the value is `mantissa × 10^-decimals`.
    #[must_use]
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// The number of decimals, without trailing zeros, 0–24.
    #[must_use]
    pub const fn decimals(self) -> u8 {
        self.decimals
    }

    /// Whether the value is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// −1, 0 or 1.
    #[must_use]
    pub const fn signum(self) -> i128 {
        self.mantissa.signum()
    }

    /// The value with its sign turned.
    #[must_use]
    pub const fn negate(self) -> Self {
        Self {
            mantissa: -self.mantissa,
            decimals: self.decimals,
        }
    }

    /// The absolute value.
    #[must_use]
    pub const fn absolute(self) -> Self {
        if self.mantissa < 0 {
            self.negate()
        } else {
            self
        }
    }

    /// The exact sum.
    ///
    /// # Errors
    /// [`ArithmeticError::Overflow`].
    pub fn plus(self, other: Self) -> Result<Self> {
        let decimals = self.decimals.max(other.decimals);
        let sum = self
            .mantissa_at(decimals)?
            .checked_add(other.mantissa_at(decimals)?);
        Self::new(sum.ok_or(ArithmeticError::Overflow)?, decimals)
    }

    /// The exact difference.
    ///
    /// # Errors
    /// [`ArithmeticError::Overflow`].
    pub fn minus(self, other: Self) -> Result<Self> {
        self.plus(other.negate())
    }

    /// The product, exact up to [`PRODUCT_DECIMALS`] decimals.
    ///
    /// # Errors
    /// [`ArithmeticError::Overflow`].
    pub fn times(self, other: Self) -> Result<Self> {
        let negative = (self.mantissa < 0) != (other.mantissa < 0);
        let full = product(self.mantissa.unsigned_abs(), other.mantissa.unsigned_abs());
        let mut decimals = u32::from(self.decimals) + u32::from(other.decimals);
        // Trailing zeros of the full product go first, so that rounding happens only when needed.
        let (mut limbs, limit) = (full, u32::from(PRODUCT_DECIMALS));
        while decimals > 0 {
            let (shorter, rest) = divide_small(limbs, 10);
            if rest != 0 {
                break;
            }
            (limbs, decimals) = (shorter, decimals - 1);
        }
        if decimals > limit {
            limbs = drop_digits(limbs, decimals - limit);
            decimals = limit;
        }
        let magnitude = i128::try_from(narrow(limbs)?).or(Err(ArithmeticError::Overflow))?;
        Self::new(
            if negative { -magnitude } else { magnitude },
            u8::try_from(decimals).expect("at most 24"),
        )
    }

    /// The quotient, rounded half to even at [`DIVISION_DECIMALS`].
    ///
    /// # Errors
    /// [`ArithmeticError::DivisionByZero`], [`ArithmeticError::Overflow`].
    pub fn divided_by(self, other: Self) -> Result<Self> {
        if other.mantissa == 0 {
            return Err(ArithmeticError::DivisionByZero);
        }
        let negative = (self.mantissa < 0) != (other.mantissa < 0);
        let overflow = ArithmeticError::Overflow;
        let mut divisor = other.mantissa.unsigned_abs();
        let digits =
            i32::from(DIVISION_DECIMALS) + i32::from(other.decimals) - i32::from(self.decimals);
        if digits < 0 {
            let more = 10_u128.checked_pow(digits.unsigned_abs()).ok_or(overflow)?;
            divisor = divisor.checked_mul(more).ok_or(overflow)?;
        }
        let numerator = self.mantissa.unsigned_abs();
        let (mut quotient, mut rest) = (numerator / divisor, numerator % divisor);
        for _ in 0..digits {
            rest = rest.checked_mul(10).ok_or(overflow)?;
            quotient = quotient
                .checked_mul(10)
                .and_then(|q| q.checked_add(rest / divisor))
                .ok_or(overflow)?;
            rest %= divisor;
        }
        let up = match rest.cmp(&(divisor - rest)) {
            Ordering::Greater => true,
            Ordering::Equal => quotient % 2 == 1,
            Ordering::Less => false,
        };
        let magnitude = i128::try_from(quotient).or(Err(overflow))? + i128::from(up);
        Self::new(
            if negative { -magnitude } else { magnitude },
            DIVISION_DECIMALS,
        )
    }

    /// The largest whole number not above the value (−0.5 gives −1).
    #[must_use]
    pub fn floor(self) -> Self {
        let one = 10_i128.pow(u32::from(self.decimals));
        Self {
            mantissa: self.mantissa.div_euclid(one),
            decimals: 0,
        }
    }

    fn mantissa_at(self, decimals: u8) -> Result<i128> {
        let factor = pow10(u32::from(decimals - self.decimals))?;
        self.mantissa
            .checked_mul(factor)
            .ok_or(ArithmeticError::Overflow)
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        // Whole parts first, then fractions on the widest grid: neither can overflow.
        let parts = |value: &Self| {
            let one = 10_i128.pow(u32::from(value.decimals));
            let up = 10_i128.pow(u32::from(PRODUCT_DECIMALS - value.decimals));
            (
                value.mantissa.div_euclid(one),
                value.mantissa.rem_euclid(one) * up,
            )
        };
        parts(self).cmp(&parts(other))
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&evidence::decimal::format_mantissa(
            self.mantissa,
            self.decimals,
        ))
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exact({self})")
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a string; a number without quotes is an error that says why.
impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Exact;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal written as a string, like \"0.797\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Exact, E> {
                // A computed value may be longer than a written one.
                parse_computed(text)
                    .ok_or_else(|| E::custom(NotADecimal(text.chars().take(60).collect())))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Exact, E> {
                Err(E::custom(format!(
                    "the decimal {value} has no quotes and would pass through binary floating point; write it as a string, like \"{value}\""
                )))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Exact, E> {
                Err(E::custom(format!(
                    "the decimal {value} has no quotes; write it as a string, like \"{value}\""
                )))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

fn parse_computed(text: &str) -> Option<Exact> {
    if let Ok(written) = Exact::parse(text) {
        return Some(written);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if !plain(whole) || leading_zero || (digits.contains('.') && !plain(fraction)) {
        return None;
    }
    let magnitude: i128 = format!("{whole}{fraction}").parse().ok()?;
    let decimals = u8::try_from(fraction.len()).ok()?;
    Exact::new(
        if digits.len() == text.len() {
            magnitude
        } else {
            -magnitude
        },
        decimals,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::{ArithmeticError, Exact};

    fn exact(text: &str) -> Exact {
        Exact::parse(text).unwrap()
    }

    #[test]
    fn sums_and_products_keep_every_digit() {
        let sum = exact("0.1").plus(exact("0.2")).unwrap();
        assert_eq!(sum, exact("0.3"));
        let product = exact("1234.567").times(exact("0.797")).unwrap();
        assert_eq!(product.to_string(), "983.949899");
        assert_eq!(exact("-2.50").to_string(), "-2.5");
        assert_eq!(exact("12").minus(exact("12.000")).unwrap(), Exact::ZERO);
    }

    #[test]
    fn a_quotient_is_rounded_half_to_even_at_the_eighteenth_decimal() {
        assert_eq!(
            exact("2").divided_by(exact("3")).unwrap().to_string(),
            "0.666666666666666667"
        );
        assert_eq!(
            exact("-1").divided_by(exact("3")).unwrap().to_string(),
            "-0.333333333333333333"
        );
        let tie = |n: i128| {
            Exact::new(n, 18)
                .unwrap()
                .divided_by(exact("2"))
                .unwrap()
                .mantissa()
        };
        assert_eq!((tie(1), tie(3), tie(5), tie(7)), (0, 2, 2, 4));
        assert_eq!(
            exact("1").divided_by(Exact::ZERO),
            Err(ArithmeticError::DivisionByZero)
        );
    }

    #[test]
    fn a_product_beyond_twenty_four_decimals_is_rounded_half_to_even() {
        let small = Exact::new(5, 13).unwrap();
        let other = Exact::new(1, 12).unwrap();
        assert_eq!(
            small.times(other).unwrap(),
            Exact::ZERO,
            "5e-25 is a tie between 0 and 1e-24"
        );
        assert_eq!(
            Exact::new(15, 13).unwrap().times(other).unwrap(),
            Exact::new(2, 24).unwrap()
        );
        assert_eq!(
            Exact::new(51, 14).unwrap().times(other).unwrap(),
            Exact::new(1, 24).unwrap()
        );
        let third = Exact::ONE.divided_by(exact("3")).unwrap();
        assert_eq!(
            third.times(third).unwrap().to_string(),
            "0.111111111111111110888889"
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        let huge = Exact::new(i128::MAX, 0).unwrap();
        assert_eq!(huge.plus(Exact::ONE), Err(ArithmeticError::Overflow));
        assert_eq!(huge.times(exact("10")), Err(ArithmeticError::Overflow));
        assert_eq!(
            huge.times(exact("0.5")),
            Err(ArithmeticError::Overflow),
            "39 digits"
        );
        assert_eq!(huge.times(exact("1.0")).unwrap(), huge);
        assert_eq!(
            huge.divided_by(exact("0.3")),
            Err(ArithmeticError::Overflow)
        );
    }

    #[test]
    fn order_does_not_depend_on_the_number_of_decimals() {
        let mut values = [
            exact("1.5"),
            exact("-0.25"),
            exact("1.49"),
            exact("-3"),
            Exact::ZERO,
        ];
        values.sort();
        assert_eq!(
            values.map(|v| v.to_string()),
            ["-3", "-0.25", "0", "1.49", "1.5"]
        );
        assert_eq!(exact("-0.5").floor(), exact("-1"));
        assert_eq!(exact("983.949899").floor(), exact("983"));
    }

    #[test]
    fn a_number_without_quotes_is_refused_with_the_reason() {
        let error = serde_json::from_str::<Exact>("0.797")
            .unwrap_err()
            .to_string();
        assert!(error.contains("string"), "{error}");
        assert_eq!(
            serde_json::from_str::<Exact>("\"0.797\"").unwrap(),
            exact("0.797")
        );
        for text in [
            "",
            "1e3",
            "+1",
            ".5",
            "5.",
            "01",
            "1,5",
            "--1",
            "1.0000000000000001",
        ] {
            assert!(Exact::parse(text).is_err(), "{text}");
        }
    }
}
