//! Exact ratios.

use std::fmt;

use super::{ArithmeticError, Exact, Result, pow10};

/// An exact ratio `numerator / denominator`, for unit factors.
///
/// The denominator has no factor 2 or 5, so that a conversion that terminates stays exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    numerator: Exact,
    denominator: i128,
}

impl Ratio {
    /// One.
    pub const ONE: Self = Self {
        numerator: Exact::ONE,
        denominator: 1,
    };

    /// Builds `numerator / denominator`.
    ///
    /// # Errors
    /// Overflow, or a zero denominator.
    pub fn new(numerator: Exact, denominator: Exact) -> Result<Self> {
        if denominator.is_zero() {
            return Err(ArithmeticError::DivisionByZero);
        }
        let mut numerator =
            numerator.times(Exact::new(pow10(u32::from(denominator.decimals))?, 0)?)?;
        let mut denominator = denominator.mantissa;
        if denominator < 0 {
            (numerator, denominator) = (numerator.negate(), -denominator);
        }
        let tenths = |n: i128| Exact::new(n, 1);
        while denominator % 2 == 0 {
            (numerator, denominator) = (numerator.times(tenths(5)?)?, denominator / 2);
        }
        while denominator % 5 == 0 {
            (numerator, denominator) = (numerator.times(tenths(2)?)?, denominator / 5);
        }
        let divisor = greatest_common_divisor(
            numerator.mantissa.unsigned_abs(),
            denominator.unsigned_abs(),
        );
        let divisor = i128::try_from(divisor)
            .or(Err(ArithmeticError::Overflow))?
            .max(1);
        Ok(Self {
            numerator: Exact::new(numerator.mantissa / divisor, numerator.decimals)?,
            denominator: denominator / divisor,
        })
    }

    /// The product of two ratios.
    ///
    /// # Errors
    /// Overflow.
    pub fn times(self, other: Self) -> Result<Self> {
        let denominator = self
            .denominator
            .checked_mul(other.denominator)
            .ok_or(ArithmeticError::Overflow)?;
        Self::new(
            self.numerator.times(other.numerator)?,
            Exact::new(denominator, 0)?,
        )
    }

    /// The quotient of two ratios.
    ///
    /// # Errors
    /// Overflow, or a zero divisor.
    pub fn divided_by(self, other: Self) -> Result<Self> {
        if other.numerator.is_zero() {
            return Err(ArithmeticError::DivisionByZero);
        }
        let numerator = self.numerator.times(Exact::new(other.denominator, 0)?)?;
        Self::new(
            numerator,
            other.numerator.times(Exact::new(self.denominator, 0)?)?,
        )
    }

    /// `value × ratio`: multiplied first; divided (and then rounded) only where it does not terminate.
    ///
    /// # Errors
    /// Overflow.
    pub fn apply(self, value: Exact) -> Result<Exact> {
        let product = value.times(self.numerator)?;
        if self.denominator == 1 {
            Ok(product)
        } else {
            product.divided_by(Exact::new(self.denominator, 0)?)
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator == 1 {
            write!(f, "{}", self.numerator)
        } else {
            write!(f, "{}/{}", self.numerator, self.denominator)
        }
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::{Exact, Ratio};

    fn exact(text: &str) -> Exact {
        Exact::parse(text).unwrap()
    }

    #[test]
    fn a_ratio_that_terminates_converts_exactly() {
        let per_hour = Ratio::new(Exact::ONE, exact("3600")).unwrap();
        assert_eq!(per_hour.apply(exact("3600")).unwrap(), Exact::ONE);
        let thousandth = Ratio::new(Exact::ONE, exact("1000")).unwrap();
        assert_eq!(
            thousandth
                .apply(exact("0.123456789012345"))
                .unwrap()
                .to_string(),
            "0.000123456789012345"
        );
        assert_eq!(per_hour.divided_by(per_hour).unwrap(), Ratio::ONE);
        assert_eq!(
            per_hour
                .times(Ratio::new(exact("7200"), Exact::ONE).unwrap())
                .unwrap()
                .to_string(),
            "2"
        );
    }
}
