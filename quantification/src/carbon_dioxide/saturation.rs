//! The line between gas and liquid, from the equation itself: equal pressure and equal Gibbs energy.

use libm::{exp, log, pow};

use super::equation::Isotherm;
use super::terms::{CRITICAL_DENSITY, CRITICAL_PRESSURE, CRITICAL_TEMPERATURE};

/// Gas and liquid in equilibrium.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saturation {
    /// The pressure of both, Pa.
    pub pressure_pa: f64,
    /// How it moves with temperature, Pa/K.
    pub slope_pa_k: f64,
    /// The gas's density, mol/m³.
    pub gas_mol_m3: f64,
    /// The liquid's density, mol/m³.
    pub liquid_mol_m3: f64,
}

/// The paper's auxiliary equations 3.14 and 3.15, where the search begins; good to 0.02 %.
fn guess(temperature_k: f64) -> (f64, f64) {
    let off = 1.0 - temperature_k / CRITICAL_TEMPERATURE;
    let liquid = [
        (1.924_510_8, 0.34),
        (-0.623_855_55, 0.5),
        (-0.327_311_27, 10.0 / 6.0),
        (0.392_451_42, 11.0 / 6.0),
    ];
    let gas = [
        (-1.707_487_9, 0.34),
        (-0.822_746_70, 0.5),
        (-4.600_854_9, 1.0),
        (-10.111_178, 7.0 / 3.0),
        (-29.742_252, 14.0 / 3.0),
    ];
    let sum = |terms: &[(f64, f64)]| terms.iter().map(|(a, t)| a * pow(off, *t)).sum::<f64>();
    (
        CRITICAL_DENSITY * exp(sum(&gas)),
        CRITICAL_DENSITY * exp(sum(&liquid)),
    )
}

/// Saturation at the isotherm's temperature, which lies below the critical one; none when the search
/// does not settle, which happens only within some 0.001 K of the critical point.
///
/// Newton's method in the two densities (after Akasaka, J. Therm. Sci. Technol. 3, 442, 2008): the
/// unknowns are those densities at which `δ(1 + δ φ_δ)` and `δ φ_δ + φ + ln δ` are equal.
pub(super) fn of(isotherm: &Isotherm) -> Option<Saturation> {
    let (gas, liquid) = guess(isotherm.temperature_k);
    let (mut gas, mut liquid) = (gas / CRITICAL_DENSITY, liquid / CRITICAL_DENSITY);
    let mut last = f64::INFINITY;
    for _ in 0..60 {
        let g = Side::at(isotherm, gas);
        let l = Side::at(isotherm, liquid);
        let determinant = g.pressure_slope * l.gibbs_slope - l.pressure_slope * g.gibbs_slope;
        let (pressure, gibbs) = (l.pressure - g.pressure, l.gibbs - g.gibbs);
        let step_liquid = (gibbs * g.pressure_slope - pressure * g.gibbs_slope) / determinant;
        let step_gas = (gibbs * l.pressure_slope - pressure * l.gibbs_slope) / determinant;
        liquid -= step_liquid;
        gas -= step_gas;
        let inside = gas > 0.0 && gas < 1.0 && liquid > 1.0 && liquid < 3.2;
        if !inside {
            return None;
        }
        // Rounding is amplified towards the critical point: what is small and does not shrink any
        // more is as good as it gets.
        let step = (step_liquid / liquid).abs().max((step_gas / gas).abs());
        if step <= 1e-13 || (step <= 1e-7 && step >= last) {
            return Some(settled(isotherm, gas, liquid));
        }
        last = step;
    }
    None
}

/// The line of saturation prolonged above the critical temperature along its slope there: equation
/// 3.13 of the paper at the critical point, 7.3773 MPa and 7.0602087 times pressure over temperature.
pub(super) fn beyond(temperature_k: f64) -> Saturation {
    let slope_pa_k = 7.060_208_7 * CRITICAL_PRESSURE / CRITICAL_TEMPERATURE;
    Saturation {
        pressure_pa: CRITICAL_PRESSURE + slope_pa_k * (temperature_k - CRITICAL_TEMPERATURE),
        slope_pa_k,
        gas_mol_m3: CRITICAL_DENSITY,
        liquid_mol_m3: CRITICAL_DENSITY,
    }
}

/// One phase, in the paper's reduced form.
struct Side {
    pressure: f64,
    pressure_slope: f64,
    gibbs: f64,
    gibbs_slope: f64,
}

impl Side {
    fn at(isotherm: &Isotherm, delta: f64) -> Self {
        let residual = isotherm.residual(delta * CRITICAL_DENSITY);
        let slope = 2.0 * residual.first + delta * residual.second;
        Self {
            pressure: delta * (1.0 + delta * residual.first),
            pressure_slope: 1.0 + delta * slope,
            gibbs: delta * residual.first + residual.phi + log(delta),
            gibbs_slope: slope + 1.0 / delta,
        }
    }
}

fn settled(isotherm: &Isotherm, gas: f64, liquid: f64) -> Saturation {
    let (gas, liquid) = (gas * CRITICAL_DENSITY, liquid * CRITICAL_DENSITY);
    let pressure_pa = isotherm.pressure(gas).0;
    Saturation {
        pressure_pa,
        slope_pa_k: slope(isotherm, pressure_pa),
        gas_mol_m3: gas,
        liquid_mol_m3: liquid,
    }
}

/// dp/dT of saturation, from the paper's vapour-pressure equation 3.13 scaled to this pressure; good
/// to 0.1 %, and only a transmitter's uncertainty is multiplied by it.
fn slope(isotherm: &Isotherm, pressure_pa: f64) -> f64 {
    let terms = [
        (-7.060_208_7, 1.0),
        (1.939_121_8, 1.5),
        (-1.646_359_7, 2.0),
        (-3.299_563_4, 4.0),
    ];
    let reduced = isotherm.temperature_k / CRITICAL_TEMPERATURE;
    let off = 1.0 - reduced;
    let sum: f64 = terms.iter().map(|(a, t)| a * pow(off, *t)).sum();
    let change: f64 = terms.iter().map(|(a, t)| a * t * pow(off, t - 1.0)).sum();
    // ln(p/pc) = sum / reduced, so dp/dT = -p/T · (change + sum / reduced).
    -pressure_pa / isotherm.temperature_k * (change + sum / reduced)
}
