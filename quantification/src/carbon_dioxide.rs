//! Density of carbon dioxide from pressure and temperature.
//!
//! The reference equation of Span and Wagner (J. Phys. Chem. Ref. Data 25, 1509, 1996), all 42 terms
//! of its residual part: dropping the last three costs up to 0.37 %. Functions come from `libm`, so
//! every platform gets the same bits.
//!
//! Between dew and bubble point pressure and temperature do not fix a density, and measured values
//! are never exactly on the line: a state that the transmitters cannot tell from saturation is
//! refused ([`StateError::NearSaturation`]), never computed. Refused is missing.
//!
//! The equation is for the pure substance. 3 % of nitrogen make it overstate a mass by 5 to 28 %: a
//! result for a stream carries the label "pure-component assumption" with the composition beside it.

mod equation;
mod saturation;
mod terms;

use std::fmt;

pub use saturation::Saturation;

use equation::Isotherm;
use terms::{CRITICAL_DENSITY, CRITICAL_TEMPERATURE, MOLAR_MASS};

/// The lowest temperature that was compared with an independent implementation, K.
pub const LEAST_K: f64 = 250.0;
/// The highest one, K.
pub const MOST_K: f64 = 430.0;
/// The lowest pressure that was compared with an independent implementation, Pa (absolute).
pub const LEAST_PA: f64 = 1.0e5;
/// The highest one, Pa.
pub const MOST_PA: f64 = 4.0e7;

/// Pressure and temperature, each with the standard uncertainty of its transmitter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// Absolute pressure, Pa.
    pub pressure_pa: f64,
    /// Temperature, K.
    pub temperature_k: f64,
    /// Uncertainty of the pressure, Pa, not negative.
    pub pressure_uncertainty_pa: f64,
    /// Uncertainty of the temperature, K, not negative.
    pub temperature_uncertainty_k: f64,
}

/// Why a state has no density.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum StateError {
    /// A value is not a number, or an uncertainty is negative.
    #[error("{0} is not a usable number")]
    NotANumber(Quantity),
    /// A value lies where this implementation was not compared with another one.
    #[error("{quantity} {value} is outside {least} … {most} {}", quantity.unit())]
    OutOfRange {
        /// Which value.
        quantity: Quantity,
        /// What it is.
        value: f64,
        /// The smallest accepted.
        least: f64,
        /// The largest accepted.
        most: f64,
    },
    /// Gas or liquid cannot be told within the transmitters' uncertainty.
    #[error(
        "{pressure_pa} Pa is within {within_pa} Pa of saturation ({saturation_pa} Pa): gas or liquid cannot be told"
    )]
    NearSaturation {
        /// The pressure given, Pa.
        pressure_pa: f64,
        /// Saturation at the temperature given, Pa.
        saturation_pa: f64,
        /// u(p) + u(T)·dp/dT of saturation, Pa.
        within_pa: f64,
    },
    /// The equation has no root where it must have one.
    #[error("the equation of state gave no density at {pressure_pa} Pa and {temperature_k} K")]
    NoRoot {
        /// The pressure given, Pa.
        pressure_pa: f64,
        /// The temperature given, K.
        temperature_k: f64,
    },
}

/// What a [`StateError`] speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Absolute pressure, Pa.
    Pressure,
    /// Temperature, K.
    Temperature,
    /// Uncertainty of one of them.
    Uncertainty,
}

impl Quantity {
    /// The unit it is given in.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Pressure => "Pa",
            Self::Temperature => "K",
            Self::Uncertainty => "",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pressure => "the absolute pressure",
            Self::Temperature => "the temperature",
            Self::Uncertainty => "an uncertainty",
        })
    }
}

/// The density of pure carbon dioxide, in kg per cubic metre.
///
/// # Errors
/// [`StateError`] for a state outside 0.1 … 40 MPa and 250 … 430 K, or too near saturation.
pub fn density(state: &State) -> Result<f64, StateError> {
    state.check()?;
    let isotherm = Isotherm::new(state.temperature_k);
    let no_root = StateError::NoRoot {
        pressure_pa: state.pressure_pa,
        temperature_k: state.temperature_k,
    };
    let (low, high) = if state.temperature_k < CRITICAL_TEMPERATURE {
        let line = saturation::of(&isotherm).ok_or(no_root)?;
        state.check_saturation(&line)?;
        if state.pressure_pa < line.pressure_pa {
            (0.0, line.gas_mol_m3)
        } else {
            (line.liquid_mol_m3, terms::DENSEST)
        }
    } else {
        // The true temperature may still lie below the critical one, where there is a line to hit.
        if state.temperature_k - state.temperature_uncertainty_k < CRITICAL_TEMPERATURE {
            state.check_saturation(&saturation::beyond(state.temperature_k))?;
        }
        (0.0, terms::DENSEST)
    };
    let molar = isotherm
        .density(state.pressure_pa, low, high)
        .ok_or(no_root)?;
    Ok(molar * MOLAR_MASS)
}

/// Saturation at a temperature; none at and above the critical one (304.1282 K) and below 216.592 K.
#[must_use]
pub fn saturation(temperature_k: f64) -> Option<Saturation> {
    let inside = (terms::TRIPLE_TEMPERATURE..CRITICAL_TEMPERATURE).contains(&temperature_k);
    inside
        .then(|| saturation::of(&Isotherm::new(temperature_k)))
        .flatten()
}

/// The density at the critical point, kg/m³.
#[must_use]
pub fn critical_density() -> f64 {
    CRITICAL_DENSITY * MOLAR_MASS
}

impl State {
    fn check(&self) -> Result<(), StateError> {
        for uncertainty in [self.pressure_uncertainty_pa, self.temperature_uncertainty_k] {
            if !uncertainty.is_finite() || uncertainty < 0.0 {
                return Err(StateError::NotANumber(Quantity::Uncertainty));
            }
        }
        let ranges = [
            (Quantity::Pressure, self.pressure_pa, LEAST_PA, MOST_PA),
            (Quantity::Temperature, self.temperature_k, LEAST_K, MOST_K),
        ];
        for (quantity, value, least, most) in ranges {
            if !value.is_finite() {
                return Err(StateError::NotANumber(quantity));
            }
            if !(least..=most).contains(&value) {
                return Err(StateError::OutOfRange {
                    quantity,
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }

    fn check_saturation(&self, line: &Saturation) -> Result<(), StateError> {
        let within_pa =
            self.pressure_uncertainty_pa + self.temperature_uncertainty_k * line.slope_pa_k;
        if (self.pressure_pa - line.pressure_pa).abs() <= within_pa {
            return Err(StateError::NearSaturation {
                pressure_pa: self.pressure_pa,
                saturation_pa: line.pressure_pa,
                within_pa,
            });
        }
        Ok(())
    }
}
