//! The equation of state at one temperature: pressure and its slope as functions of density, and the
//! density that gives a pressure.

use libm::{exp, pow};

use super::terms::{
    BETA, CRITICAL_DENSITY, CRITICAL_TEMPERATURE, CRITICALS, Critical, GAS_CONSTANT, GAUSSIANS,
    LARGE_A, LARGE_D, POWERS,
};

/// Iterations before a density is given up; a handful suffices away from the critical point.
const MOST_STEPS: u32 = 200;

/// Everything that depends on the temperature alone.
#[derive(Debug)]
pub(super) struct Isotherm {
    pub(super) temperature_k: f64,
    tau: f64,
    /// `n τ^t` of each power term.
    powers: [f64; 34],
    /// `n τ^t exp(-β (τ - γ)²)` of each Gaussian term.
    gaussians: [f64; 5],
    /// `exp(-D (τ - 1)²)`.
    critical: f64,
}

/// φʳ and its first two derivatives by δ.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Residual {
    pub(super) phi: f64,
    pub(super) first: f64,
    pub(super) second: f64,
}

impl Isotherm {
    pub(super) fn new(temperature_k: f64) -> Self {
        let tau = CRITICAL_TEMPERATURE / temperature_k;
        // Exponents are quarters: square roots are exactly rounded everywhere.
        let quarter = tau.sqrt().sqrt();
        let tau_power = |t4: u8| integer_power(tau, t4 / 4) * integer_power(quarter, t4 % 4);
        let powers = std::array::from_fn(|i| POWERS[i].n * tau_power(POWERS[i].t4));
        let gaussians = std::array::from_fn(|i| {
            let term = &GAUSSIANS[i];
            let off = tau - term.gamma;
            term.n * integer_power(tau, term.t) * exp(-term.beta * off * off)
        });
        let off = tau - 1.0;
        Self {
            temperature_k,
            tau,
            powers,
            gaussians,
            critical: exp(-LARGE_D * off * off),
        }
    }

    /// The residual Helmholtz energy at a density in mol/m³.
    pub(super) fn residual(&self, molar: f64) -> Residual {
        let delta = molar / CRITICAL_DENSITY;
        let mut sum = Residual::default();
        self.add_powers(delta, &mut sum);
        self.add_gaussians(delta, &mut sum);
        for term in &CRITICALS {
            self.add_critical(term, delta, &mut sum);
        }
        sum
    }

    fn add_powers(&self, delta: f64, sum: &mut Residual) {
        let mut of_delta = [1.0; 11];
        for d in 1..of_delta.len() {
            of_delta[d] = of_delta[d - 1] * delta;
        }
        let damped: [f64; 7] = std::array::from_fn(|l| exp(-of_delta[l]));
        for (term, scale) in POWERS.iter().zip(&self.powers) {
            let (d, l) = (f64::from(term.d), f64::from(term.l));
            let mut value = scale * of_delta[usize::from(term.d)];
            // ∂φ/∂δ = φ/δ · (d - l δ^l), and the second derivative accordingly.
            let (mut slope, mut bend) = (d, d * (d - 1.0));
            if term.l > 0 {
                let power = of_delta[usize::from(term.l)];
                value *= damped[usize::from(term.l)];
                slope = d - l * power;
                bend = slope * (slope - 1.0) - l * l * power;
            }
            sum.phi += value;
            sum.first += value * slope;
            sum.second += value * bend;
        }
        if delta > 0.0 {
            sum.first /= delta;
            sum.second /= delta * delta;
        } else {
            // Only the terms with d = 1 have a slope at density 0.
            let linear = POWERS
                .iter()
                .zip(&self.powers)
                .filter(|(term, _)| term.d == 1);
            sum.first = linear.map(|(_, scale)| *scale).sum();
            sum.second = 0.0;
        }
    }

    fn add_gaussians(&self, delta: f64, sum: &mut Residual) {
        let off = delta - 1.0;
        for (term, scale) in GAUSSIANS.iter().zip(&self.gaussians) {
            let d = f64::from(term.d);
            let bell = scale * exp(-term.eta * off * off);
            let low = integer_power(delta, term.d - 2);
            let slope = d - 2.0 * term.eta * off * delta;
            sum.phi += bell * low * delta * delta;
            sum.first += bell * low * delta * slope;
            let bend = slope * slope - d - 2.0 * term.eta * delta * delta;
            sum.second += bell * low * bend;
        }
    }

    /// The non-analytic terms (equation 6.5 of the paper and table 32 for the derivatives).
    fn add_critical(&self, term: &Critical, delta: f64, sum: &mut Residual) {
        let off = delta - 1.0;
        let square = off * off;
        let lower = 0.5 / BETA;
        let theta_power = pow(square, lower - 1.0);
        let theta = (1.0 - self.tau) + LARGE_A * theta_power * square;
        let a_power = pow(square, term.a - 2.0);
        let distance = theta * theta + term.large_b * a_power * square * square;
        if distance <= 0.0 {
            // The critical point itself, where the terms vanish.
            return;
        }
        let psi = exp(-term.large_c * square) * self.critical;
        let psi_first = -2.0 * term.large_c * off * psi;
        let psi_second = (2.0 * term.large_c * square - 1.0) * 2.0 * term.large_c * psi;
        let brace = LARGE_A * theta * (2.0 / BETA) * theta_power
            + 2.0 * term.large_b * term.a * a_power * square;
        let distance_first = off * brace;
        let mut bend = 4.0 * term.large_b * term.a * (term.a - 1.0) * a_power;
        let inner = LARGE_A / BETA * theta_power;
        bend += 2.0 * inner * inner;
        let mut distance_second = brace + square * bend;
        if square > 0.0 {
            distance_second += LARGE_A * theta * (4.0 / BETA) * (lower - 1.0) * theta_power;
        }
        let power = pow(distance, term.b);
        let power_first = term.b * power / distance * distance_first;
        let power_second = term.b * power / distance
            * (distance_second + (term.b - 1.0) / distance * distance_first * distance_first);
        sum.phi += term.n * power * delta * psi;
        sum.first += term.n * (power * (psi + delta * psi_first) + power_first * delta * psi);
        sum.second += term.n
            * (power * (2.0 * psi_first + delta * psi_second)
                + 2.0 * power_first * (psi + delta * psi_first)
                + power_second * delta * psi);
    }

    /// Pressure (Pa) and its slope by density (Pa·m³/mol) at a density in mol/m³.
    pub(super) fn pressure(&self, molar: f64) -> (f64, f64) {
        let residual = self.residual(molar);
        let delta = molar / CRITICAL_DENSITY;
        let ideal = GAS_CONSTANT * self.temperature_k;
        let compressibility = 1.0 + delta * residual.first;
        let slope = 1.0 + 2.0 * delta * residual.first + delta * delta * residual.second;
        (molar * ideal * compressibility, ideal * slope)
    }

    /// The density in mol/m³ between `low` and `high` that gives `pressure_pa`; none when the pressure
    /// does not lie between theirs.
    ///
    /// Newton's method, halving where it would leave the bracket: on each side of saturation pressure
    /// rises with density.
    pub(super) fn density(&self, pressure_pa: f64, low: f64, high: f64) -> Option<f64> {
        let (mut low, mut high) = (low, high);
        let below = low <= 0.0 || self.pressure(low).0 <= pressure_pa;
        if !below || self.pressure(high).0 < pressure_pa {
            return None;
        }
        let ideal = pressure_pa / (GAS_CONSTANT * self.temperature_k);
        let mut at = if ideal > low && ideal < high {
            ideal
        } else {
            0.5 * (low + high)
        };
        for _ in 0..MOST_STEPS {
            let (pressure, slope) = self.pressure(at);
            let off = pressure - pressure_pa;
            if off == 0.0 {
                return Some(at);
            }
            if off > 0.0 {
                high = at;
            } else {
                low = at;
            }
            let newton = at - off / slope;
            let next = if slope > 0.0 && newton > low && newton < high {
                newton
            } else {
                0.5 * (low + high)
            };
            if (next - at).abs() <= 4.0 * f64::EPSILON * at {
                return Some(next);
            }
            at = next;
        }
        None
    }
}

fn integer_power(base: f64, exponent: u8) -> f64 {
    (0..exponent).fold(1.0, |power, _| power * base)
}
