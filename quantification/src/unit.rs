//! Units: a symbol, a dimension vector, and an exact factor to coherent base units.
//!
//! Two quantities convert only when dimension *and* kind agree. Tonnes of CO2 (`tCO2`) are a
//! dimension of their own beside tonnes of anything (`t`); normal cubic metres (`Nm3`, 0 °C and
//! 101.325 kPa), standard cubic metres (`sm3`, 60 °F and 1 atm) and line cubic metres (`m3`) are
//! three dimensions, since no factor leads from one to the other without a density. The kind keeps
//! apart what has the same dimension but another meaning: mass and mole fraction, gauge and
//! absolute pressure, active and reactive power.

mod table;

use std::fmt;

use crate::exact::{ArithmeticError, Exact, Ratio};

/// Exponents of the base quantities.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Dimension([i8; 8]);

/// The base quantities, in the order of [`Dimension`]'s exponents.
const BASES: [&str; 8] = ["kg", "m", "s", "K", "A", "kgCO2", "Nm3", "sm3"];

impl Dimension {
    /// A pure number.
    pub const NONE: Self = Self([0; 8]);
    /// Mass of anything.
    pub const MASS: Self = Self([1, 0, 0, 0, 0, 0, 0, 0]);
    /// Time.
    pub const TIME: Self = Self([0, 0, 1, 0, 0, 0, 0, 0]);
    /// Mass of CO2 that counts in the balance.
    pub const CO2: Self = Self([0, 0, 0, 0, 0, 1, 0, 0]);

    /// The dimension of a product.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| {
            self.0[i].saturating_add(other.0[i])
        }))
    }

    /// The dimension of a quotient.
    #[must_use]
    pub fn divided_by(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| {
            self.0[i].saturating_sub(other.0[i])
        }))
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = BASES
            .iter()
            .zip(self.0)
            .filter(|(_, exponent)| *exponent != 0)
            .peekable();
        if parts.peek().is_none() {
            return f.write_str("a pure number");
        }
        let mut separator = "";
        for (base, exponent) in parts {
            write!(f, "{separator}{base}")?;
            if exponent != 1 {
                write!(f, "^{exponent}")?;
            }
            separator = "·";
        }
        Ok(())
    }
}

impl fmt::Debug for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dimension({self})")
    }
}

/// A unit of measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    symbol: String,
    dimension: Dimension,
    factor: Ratio,
    /// Added, in base units, after the factor: 273.15 for °C.
    offset: Exact,
    kind: &'static str,
}

/// Why a unit or a conversion is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The symbol is not known.
    #[error("unit `{symbol}` is not known{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// The symbol as written.
        symbol: String,
        /// The nearest known symbol.
        near: Option<String>,
    },
    /// The dimensions or kinds differ.
    #[error("`{from}` ({from_meaning}) does not convert to `{to}` ({to_meaning})")]
    Differs {
        /// The unit converted from.
        from: String,
        /// Its dimension and kind.
        from_meaning: String,
        /// The unit converted to.
        to: String,
        /// Its dimension and kind.
        to_meaning: String,
    },
    /// A unit with a zero of its own (°C) inside a product or quotient.
    #[error("`{0}` has a zero of its own and cannot be multiplied or divided; use K")]
    Offset(String),
    /// The factor does not fit.
    #[error(transparent)]
    Arithmetic(#[from] ArithmeticError),
}

impl Unit {
    /// Parses a symbol: one of evidence's list, or a product or quotient of known symbols such as
    /// `kgCO2/GJ` or `kg/L`.
    ///
    /// # Errors
    /// [`UnitError::Unknown`] with the nearest known symbol; [`UnitError::Offset`] for `kW/°C`.
    pub fn parse(symbol: &str) -> Result<Self, UnitError> {
        if let Some(unit) = table::whole(symbol) {
            return Ok(unit);
        }
        let unknown = || UnitError::Unknown {
            symbol: symbol.to_owned(),
            near: table::nearest(symbol),
        };
        let (mut dimension, mut factor) = (Dimension::NONE, Ratio::ONE);
        let mut rest = symbol;
        let mut divide = false;
        loop {
            let end = rest.find(['/', '·']).unwrap_or(rest.len());
            let (part, tail) = rest.split_at(end);
            let unit = table::whole(part).ok_or_else(unknown)?;
            if !unit.offset.is_zero() {
                return Err(UnitError::Offset(part.to_owned()));
            }
            if divide {
                (dimension, factor) = (
                    dimension.divided_by(unit.dimension),
                    factor.divided_by(unit.factor)?,
                );
            } else {
                (dimension, factor) = (dimension.times(unit.dimension), factor.times(unit.factor)?);
            }
            let Some(operator) = tail.chars().next() else {
                break;
            };
            divide = operator == '/';
            rest = tail.strip_prefix(operator).unwrap_or_default();
        }
        Ok(Self {
            symbol: symbol.to_owned(),
            dimension,
            factor,
            offset: Exact::ZERO,
            kind: "",
        })
    }

    /// The symbol as written.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// The dimension.
    #[must_use]
    pub const fn dimension(&self) -> Dimension {
        self.dimension
    }

    /// The exact factor to base units.
    #[must_use]
    pub const fn factor(&self) -> Ratio {
        self.factor
    }

    /// Whether the unit has a zero of its own, like °C.
    #[must_use]
    pub const fn has_offset(&self) -> bool {
        !self.offset.is_zero()
    }

    /// What the unit measures, for error texts.
    #[must_use]
    pub fn meaning(&self) -> String {
        if self.kind.is_empty() {
            self.dimension.to_string()
        } else {
            format!("{}, {}", self.kind, self.dimension)
        }
    }

    /// Converts a value of this unit to `to`.
    ///
    /// # Errors
    /// [`UnitError::Differs`] when dimension or kind differ, overflow.
    pub fn convert(&self, value: Exact, to: &Self) -> Result<Exact, UnitError> {
        self.check(to)?;
        if self.offset == to.offset {
            return Ok(self.factor.divided_by(to.factor)?.apply(value)?);
        }
        let base = self
            .factor
            .apply(value)?
            .plus(self.offset)?
            .minus(to.offset)?;
        Ok(Ratio::ONE.divided_by(to.factor)?.apply(base)?)
    }

    /// Checks that values of this unit can be given in `to`.
    ///
    /// # Errors
    /// [`UnitError::Differs`].
    pub fn check(&self, to: &Self) -> Result<(), UnitError> {
        if self.dimension == to.dimension && self.kind == to.kind {
            return Ok(());
        }
        Err(UnitError::Differs {
            from: self.symbol.clone(),
            from_meaning: self.meaning(),
            to: to.symbol.clone(),
            to_meaning: to.meaning(),
        })
    }

    /// The unit of the product of two quantities.
    ///
    /// # Errors
    /// [`UnitError::Offset`] for temperatures on a scale, overflow.
    pub fn times(&self, other: &Self) -> Result<Self, UnitError> {
        for unit in [self, other] {
            if unit.has_offset() {
                return Err(UnitError::Offset(unit.symbol.clone()));
            }
        }
        Ok(Self {
            symbol: format!("{}·{}", self.symbol, other.symbol),
            dimension: self.dimension.times(other.dimension),
            factor: self.factor.times(other.factor)?,
            offset: Exact::ZERO,
            kind: "",
        })
    }

    /// The zero of a unit that has one of its own, in base units: 273.15 for °C.
    #[must_use]
    pub const fn offset(&self) -> Exact {
        self.offset
    }

    /// The unit of this quantity accumulated over milliseconds, e.g. `kW` → `kW·ms`.
    ///
    /// # Errors
    /// [`UnitError::Offset`] for temperatures on a scale.
    pub fn over_time(&self) -> Result<Self, UnitError> {
        if self.has_offset() {
            return Err(UnitError::Offset(self.symbol.clone()));
        }
        let ms = Self::parse("ms")?;
        Ok(Self {
            symbol: format!("{}·ms", self.symbol),
            dimension: self.dimension.times(Dimension::TIME),
            factor: self.factor.times(ms.factor)?,
            offset: Exact::ZERO,
            kind: self.kind,
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::{Unit, UnitError};
    use crate::exact::Exact;

    fn convert(value: &str, from: &str, to: &str) -> String {
        let (from, to) = (Unit::parse(from).unwrap(), Unit::parse(to).unwrap());
        from.convert(Exact::parse(value).unwrap(), &to)
            .unwrap()
            .to_string()
    }

    fn refused(from: &str, to: &str) {
        let (from, to) = (Unit::parse(from).unwrap(), Unit::parse(to).unwrap());
        assert!(
            matches!(from.check(&to), Err(UnitError::Differs { .. })),
            "{from} → {to}"
        );
    }

    #[test]
    fn every_symbol_that_may_be_sealed_has_a_dimension() {
        for symbol in evidence::unit::SYMBOLS {
            Unit::parse(symbol).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn conversions_are_exact_where_they_terminate() {
        assert_eq!(convert("42826880", "kWh", "MWh"), "42826.88");
        assert_eq!(convert("1", "MWh", "GJ"), "3.6");
        assert_eq!(convert("3.6", "GJ", "MWh"), "1");
        assert_eq!(convert("1", "GJ", "MWh"), "0.277777777777777778");
        assert_eq!(convert("0.84", "kg/L", "t/m3"), "0.84");
        assert_eq!(convert("74.1", "kgCO2/GJ", "tCO2/TJ"), "74.1");
        assert_eq!(convert("99.62", "wt%", "kg/kg"), "0.9962");
        assert_eq!(convert("12.5", "t/h", "kg/s"), "3.472222222222222222");
    }

    #[test]
    fn temperatures_move_by_their_zero() {
        assert_eq!(convert("25", "°C", "K"), "298.15");
        assert!(convert("60", "°F", "°C").starts_with("15.5555555555555555"));
        assert_eq!(convert("-40", "°F", "°C"), "-40");
        assert!(matches!(Unit::parse("kW/°C"), Err(UnitError::Offset(_))));
    }

    #[test]
    fn what_only_looks_alike_does_not_convert() {
        refused("t", "tCO2");
        refused("m3", "Nm3");
        refused("Nm3", "sm3");
        refused("mol/mol", "kg/kg");
        refused("%", "kg/kg");
        refused("bar_g", "bar_a");
        refused("kvarh", "kWh");
        refused("kW", "kWh");
    }

    #[test]
    fn an_unknown_symbol_names_the_nearest_known() {
        let error = Unit::parse("kwh").unwrap_err().to_string();
        assert!(error.contains("did you mean `kWh`"), "{error}");
        let compound = Unit::parse("tCO2/Mwh").unwrap_err().to_string();
        assert!(compound.contains("did you mean `tCO2/MWh`"), "{compound}");
    }
}
