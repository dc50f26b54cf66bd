//! A mass flow from a volume flow at line conditions, sample by sample.
//!
//! The density belongs to pressure and temperature of the same tick: averaging the temperature first
//! would move the mass by percents. So the three points must be polled in one stream. A sample of which
//! one of the three is not good, or whose state has no density, is not good; it is never computed.

use std::collections::BTreeMap;

use evidence::chunk::Exception;
use evidence::quality::Quality;
use evidence::segment::{DecodedColumn, Segment};

use super::cuts::{Cuts, Region};
use crate::carbon_dioxide::{State, StateError, density};
use crate::exact::{ArithmeticError, Exact};
use crate::plan::{Companion, DensityRule};

/// Densities are kept to a millionth of a kilogram per cubic metre.
pub(super) const DENSITY_DECIMALS: u8 = 6;
const GRID: f64 = 1e6;

/// Where a configuration keeps pressure and temperature, and how their samples become SI units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Companions {
    pub(super) pressure: u16,
    pub(super) temperature: u16,
    to_pa: Scale,
    to_k: Scale,
    pressure_uncertainty_pa: f64,
    temperature_uncertainty_k: f64,
    /// In pascal.
    two_phase: Option<(f64, f64)>,
}

/// value = mantissa × factor + offset: one IEEE multiplication and one addition, the same everywhere.
#[derive(Debug, Clone, Copy)]
struct Scale {
    factor: f64,
    offset: f64,
}

/// What became of the samples within the period.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) computed: u64,
    pub(super) out_of_range: u64,
    pub(super) near_saturation: u64,
    pub(super) two_phase: u64,
}

/// The double nearest to a decimal.
fn nearest(value: Exact) -> f64 {
    value.to_string().parse().expect("a decimal is a number")
}

impl Scale {
    fn of(companion: &Companion, decimals: u8) -> Result<Self, ArithmeticError> {
        let step = Exact::new(1, decimals)?;
        Ok(Self {
            factor: nearest(companion.unit.factor().apply(step)?),
            offset: nearest(companion.unit.offset()),
        })
    }

    /// Sealed values are below 2^53, so the conversion to a double is exact.
    #[expect(
        clippy::cast_precision_loss,
        reason = "|mantissa| < 2^53, as sealed values are"
    )]
    fn apply(self, mantissa: i64) -> f64 {
        mantissa as f64 * self.factor + self.offset
    }
}

impl Companions {
    /// `pressure` and `temperature` are (index in the configuration, decimals).
    pub(super) fn new(
        rule: &DensityRule,
        pressure: (u16, u8),
        temperature: (u16, u8),
    ) -> Result<Self, ArithmeticError> {
        let base =
            |companion: &Companion, value: Exact| companion.unit.factor().apply(value).map(nearest);
        let limit = |value| base(&rule.pressure, value);
        Ok(Self {
            pressure: pressure.0,
            temperature: temperature.0,
            to_pa: Scale::of(&rule.pressure, pressure.1)?,
            to_k: Scale::of(&rule.temperature, temperature.1)?,
            pressure_uncertainty_pa: base(&rule.pressure, rule.pressure.uncertainty)?,
            temperature_uncertainty_k: base(&rule.temperature, rule.temperature.uncertainty)?,
            two_phase: match rule.two_phase {
                None => None,
                Some((from, to)) => Some((limit(from)?, limit(to)?)),
            },
        })
    }

    /// The column of mass flows, with [`DENSITY_DECIMALS`] more decimals than the flow; none when the
    /// segment lacks one of the columns.
    pub(super) fn mass(
        &self,
        segment: &Segment,
        flow: &DecodedColumn,
        cuts: &Cuts,
        counts: &mut Counts,
    ) -> Option<DecodedColumn> {
        let column = |point: u16| segment.columns.iter().find(|column| column.point == point);
        let (pressure, temperature) = (column(self.pressure)?, column(self.temperature)?);
        let mut bad: BTreeMap<u16, Vec<Exception>> = BTreeMap::new();
        for exception in [flow, pressure, temperature]
            .iter()
            .flat_map(|column| &column.exceptions)
        {
            bad.entry(exception.sample).or_default().push(*exception);
        }
        let start_ms = segment.start_ms()?;
        let samples = flow
            .values
            .iter()
            .zip(&pressure.values)
            .zip(&temperature.values);
        let mut values = Vec::with_capacity(flow.values.len());
        for (sample, ((flow, pressure), temperature)) in (0_u16..).zip(samples) {
            let time_ms = start_ms + i64::from(sample) * i64::from(segment.tick_ms);
            let inside = u64::from(matches!(cuts.region(time_ms).0, Region::Cell(_)));
            let value = if bad.contains_key(&sample) {
                None
            } else {
                let found = self.density(*pressure, *temperature);
                match found {
                    Ok(_) => counts.computed += inside,
                    Err(Refusal::OutOfRange) => counts.out_of_range += inside,
                    Err(Refusal::NearSaturation) => counts.near_saturation += inside,
                    Err(Refusal::TwoPhase) => counts.two_phase += inside,
                }
                let value = found.ok().and_then(|density| flow.checked_mul(density));
                if value.is_none() {
                    bad.entry(sample).or_default().push(Exception {
                        sample,
                        quality: Quality::OUT_OF_RANGE,
                        aux: 0,
                    });
                }
                value
            };
            values.push(value.unwrap_or(0));
        }
        Some(DecodedColumn {
            point: flow.point,
            values,
            texts: None,
            offsets_ms: None,
            exceptions: bad.into_values().flat_map(in_order).collect(),
        })
    }

    /// The density on its grid.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a density is below 1,500 kg/m3, on its grid below 1.5e9"
    )]
    fn density(&self, pressure: i64, temperature: i64) -> Result<i64, Refusal> {
        let pressure_pa = self.to_pa.apply(pressure);
        let two_phase = self
            .two_phase
            .is_some_and(|(from, to)| (from..=to).contains(&pressure_pa));
        if two_phase {
            return Err(Refusal::TwoPhase);
        }
        let state = State {
            pressure_pa,
            temperature_k: self.to_k.apply(temperature),
            pressure_uncertainty_pa: self.pressure_uncertainty_pa,
            temperature_uncertainty_k: self.temperature_uncertainty_k,
        };
        match density(&state) {
            Ok(density) => Ok((density * GRID).round_ties_even() as i64),
            Err(StateError::NearSaturation { .. }) => Err(Refusal::NearSaturation),
            Err(_) => Err(Refusal::OutOfRange),
        }
    }
}

enum Refusal {
    OutOfRange,
    NearSaturation,
    TwoPhase,
}

/// The records of one sample, each code once, ascending.
fn in_order(mut records: Vec<Exception>) -> Vec<Exception> {
    records.sort_by_key(|record| record.quality);
    records.dedup_by_key(|record| record.quality);
    records
}
