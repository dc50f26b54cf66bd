//! Puts the report together once all readings are in.

use std::collections::BTreeMap;

use super::calculate::Calculator;
use super::track::{Kind, Track};
use super::{Computation, ComputationError, parameters};
use crate::exact::Exact;
use crate::methodology::Direction;
use crate::period::{Cell, tz_version, utc};
use crate::plan::{InputSource, RoundingPer};
use crate::report::{
    Balance, FORMAT, LogReport, MethodologyReport, PeriodReport, Report, RoundingReport, Vintage,
    Warning,
};

pub(super) fn compose(computation: &Computation<'_>) -> Result<Report, ComputationError> {
    let (bound, cells) = (computation.bound, &computation.cells);
    let mut notes = Notes::default();
    let mut parameters = Vec::with_capacity(bound.inputs.len());
    let mut inputs: Vec<Vec<Exact>> = vec![Vec::with_capacity(bound.inputs.len()); cells.len()];
    for (position, input) in bound.inputs.iter().enumerate() {
        let track = computation
            .tracks
            .iter()
            .find(|track| track.input == position);
        let parameter = parameters::describe(computation, input, track, &mut notes)?;
        for (cell, value) in inputs.iter_mut().zip(&parameter.intervals) {
            cell.push(value.value);
        }
        parameters.push(parameter);
    }
    for log in &computation.logs {
        for (entry, point) in &log.lacking {
            notes.warn("point-lacking", &log.origin, format!(
                "the configuration sealed in entry {entry} has no point `{point}`; its time is a gap"
            ));
        }
    }

    let calculator = Calculator::new(bound);
    let mut formulas = Vec::new();
    let mut balances = Vec::with_capacity(cells.len());
    let mut df = Exact::ONE;
    for (cell, inputs) in cells.iter().zip(&inputs) {
        let values = calculator.run(cell, inputs, Some(&mut formulas))?;
        let (balance, factor) = calculator.balance(cell, &values)?;
        check_balance(cell, &balance, &mut notes);
        balances.push(balance);
        df = factor;
    }
    check_directions(computation, &calculator, &inputs)?;

    let totals = sum(balances.iter())?;
    let mut vintages = vintages(cells, &balances)?;
    let rounding = round(computation, &totals, &mut vintages, df)?;
    if totals.er.signum() < 0 || vintages.iter().any(|vintage| vintage.exact.er.signum() < 0) {
        notes.warn(
            "negative-reductions",
            "ER",
            "emission reductions are negative in part; they are carried, never set to 0",
        );
    }
    Ok(Report {
        format: FORMAT.to_owned(),
        provisional: !notes.provisional.is_empty(),
        provisional_reasons: notes.provisional,
        stated_reasons: computation.stated.clone(),
        state: match bound.plan.state {
            crate::plan::State::Demo => "demo",
            crate::plan::State::Draft => "draft",
            crate::plan::State::Registered => "registered",
        }
        .to_owned(),
        project: bound.plan.project.clone(),
        plan_sha256: bound.plan.hash().to_hex(),
        methodology: MethodologyReport {
            id: bound.methodology.id.clone(),
            version: bound.methodology.version.clone(),
            title: bound.methodology.title.clone(),
            sha256: bound.methodology.hash().to_hex(),
            excluded: bound.methodology.excluded.clone(),
        },
        period: period(computation),
        totals,
        vintages,
        rounding,
        warnings: notes.warnings,
        parameters,
        formulas,
        logs: logs(computation),
    })
}

/// Warnings and reasons to be provisional, in the order they are found.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) warnings: Vec<Warning>,
    pub(super) provisional: Vec<String>,
}

impl Notes {
    pub(super) fn warn(&mut self, code: &str, subject: &str, text: impl Into<String>) {
        self.warnings.push(Warning {
            code: code.to_owned(),
            subject: subject.to_owned(),
            text: text.into(),
        });
    }

    /// A warning; if it `blocks`, the report is provisional.
    pub(super) fn note(&mut self, blocks: bool, code: &str, subject: &str, text: String) {
        if blocks {
            self.block(code, subject, text);
        } else {
            self.warn(code, subject, text);
        }
    }

    /// A warning that keeps the report from being final: reductions may be overstated.
    pub(super) fn block(&mut self, code: &str, subject: &str, text: impl Into<String>) {
        let text = text.into();
        self.provisional.push(format!("{subject}: {text}"));
        self.warn(code, subject, text);
    }
}

fn period(computation: &Computation<'_>) -> PeriodReport {
    let period = computation.period;
    PeriodReport {
        from: period.from().to_string(),
        to: period.to().to_string(),
        zone: period.zone_name().to_owned(),
        start_utc: utc(period.start_ms()),
        end_utc: utc(period.end_ms()),
        start_ms: period.start_ms(),
        end_ms: period.end_ms(),
        tz_database: tz_version().to_owned(),
    }
}

fn logs(computation: &Computation<'_>) -> Vec<LogReport> {
    let plan = &computation.bound.plan;
    plan.logs
        .iter()
        .map(|log| LogReport {
            origin: log.origin.to_string(),
            anchor: log.anchor.to_string(),
            succeeds: log.succeeds.as_ref().map(ToString::to_string),
        })
        .collect()
}

fn sum<'a>(balances: impl Iterator<Item = &'a Balance>) -> Result<Balance, ComputationError> {
    let zero = Exact::ZERO;
    let mut total = Balance {
        bau: zero,
        re: zero,
        pe: zero,
        pe_credited: zero,
        er: zero,
        uncredited: zero,
    };
    for balance in balances {
        let parts = [
            (&mut total.bau, balance.bau),
            (&mut total.re, balance.re),
            (&mut total.pe, balance.pe),
            (&mut total.pe_credited, balance.pe_credited),
            (&mut total.er, balance.er),
            (&mut total.uncredited, balance.uncredited),
        ];
        for (sum, part) in parts {
            *sum = sum.plus(part).or(Err(ComputationError::Overflow))?;
        }
    }
    Ok(total)
}

fn vintages(cells: &[Cell], balances: &[Balance]) -> Result<Vec<Vintage>, ComputationError> {
    let mut years: BTreeMap<i16, Vec<(&Cell, &Balance)>> = BTreeMap::new();
    for (cell, balance) in cells.iter().zip(balances) {
        years.entry(cell.vintage).or_default().push((cell, balance));
    }
    let mut vintages = Vec::new();
    for (year, parts) in years {
        let (Some((first, _)), Some((last, _))) = (parts.first(), parts.last()) else {
            continue;
        };
        vintages.push(Vintage {
            year,
            from: first.from.to_string(),
            to: last.to.to_string(),
            exact: sum(parts.iter().map(|(_, balance)| *balance))?,
            credited: Exact::ZERO,
        });
    }
    Ok(vintages)
}

/// Only ER is rounded, and only down. Under a rule for the whole period the years are rounded so that
/// they sum to it: each gets what the running total gains in whole tonnes.
fn round(
    computation: &Computation<'_>,
    totals: &Balance,
    vintages: &mut [Vintage],
    df: Exact,
) -> Result<RoundingReport, ComputationError> {
    let fits = |result: Result<Exact, crate::exact::ArithmeticError>| {
        result.or(Err(ComputationError::Overflow))
    };
    let rule = &computation.bound.plan.rounding;
    let per_period = totals.er.floor();
    let mut per_vintage = Exact::ZERO;
    let (mut running, mut given) = (Exact::ZERO, Exact::ZERO);
    for vintage in vintages {
        let floor = vintage.exact.er.floor();
        per_vintage = fits(per_vintage.plus(floor))?;
        running = fits(running.plus(vintage.exact.er))?;
        vintage.credited = match rule.per {
            RoundingPer::Vintage => floor,
            RoundingPer::Period | RoundingPer::Sheet => fits(running.floor().minus(given))?,
        };
        given = running.floor();
    }
    // One report fills one sheet, so the sheet's total is the period's.
    let per_sheet = per_period;
    let er = match rule.per {
        RoundingPer::Vintage => per_vintage,
        RoundingPer::Period => per_period,
        RoundingPer::Sheet => per_sheet,
    };
    let (most, least) = (
        per_vintage.max(per_period).max(per_sheet),
        per_vintage.min(per_period).min(per_sheet),
    );
    Ok(RoundingReport {
        per: rule.per,
        source: rule.source.clone(),
        df,
        er,
        per_vintage,
        per_period,
        per_sheet,
        tonnes_between: fits(most.minus(least))?,
        not_credited: fits(totals.er.minus(er))?,
    })
}

fn check_balance(cell: &Cell, balance: &Balance, notes: &mut Notes) {
    if balance.re > balance.bau {
        let text = format!(
            "in {} reference emissions ({}) exceed business as usual ({})",
            cell.label, balance.re, balance.bau
        );
        notes.block("reference-above-bau", "RE", text);
    }
    if balance.pe_credited < balance.pe {
        let text = format!(
            "in {} the project emissions subtracted ({}) are below the actual ones ({})",
            cell.label, balance.pe_credited, balance.pe
        );
        notes.block("credited-below-actual", "PE_credited", text);
    }
}

/// The sign of the difference quotient of ER must be what the methodology declares.
///
/// Each measured input is moved by a thousandth of its value (by a thousandth where it is 0) in every
/// interval at once, and ER is computed again, exactly. No difference decides nothing.
fn check_directions(
    computation: &Computation<'_>,
    calculator: &Calculator<'_>,
    inputs: &[Vec<Exact>],
) -> Result<(), ComputationError> {
    let cells = &computation.cells;
    let base = calculator.reductions(cells, inputs)?;
    let thousandth = Exact::new(1, 3).or(Err(ComputationError::Overflow))?;
    for (position, input) in computation.bound.inputs.iter().enumerate() {
        let Some(declared) = computation.bound.parameter(input).direction else {
            continue;
        };
        let mut moved = inputs.to_vec();
        for cell in &mut moved {
            let step = cell[position]
                .absolute()
                .times(thousandth)
                .or(Err(ComputationError::Overflow))?;
            let step = if step.is_zero() { thousandth } else { step };
            cell[position] = cell[position]
                .plus(step)
                .or(Err(ComputationError::Overflow))?;
        }
        let difference = calculator
            .reductions(cells, &moved)?
            .minus(base)
            .or(Err(ComputationError::Overflow))?;
        let more = difference.signum() > 0;
        let contradicted = match declared {
            Direction::Earns => difference.signum() < 0,
            Direction::Costs => more,
        };
        if contradicted {
            let declared = declared.name();
            return Err(ComputationError::DirectionContradicted {
                input: input.label.clone(),
                declared,
                more,
            });
        }
    }
    Ok(())
}

/// Whether a track belongs to a point whose missing time would overstate reductions.
pub(super) fn costs(source: &InputSource) -> bool {
    matches!(source, InputSource::Point(source) if source.direction == Direction::Costs)
}

/// The weighted milliseconds or the gaps of a track, as time with a value per cell.
pub(super) fn valid_ms(computation: &Computation<'_>, track: &Track) -> Vec<i64> {
    match &track.kind {
        Kind::Weigh(weigh) => weigh.good_ms.clone(),
        Kind::Increase(_) => {
            let gaps = track.gap_ms(&computation.cuts);
            computation
                .cells
                .iter()
                .zip(gaps)
                .map(|(cell, gap)| cell.end_ms - cell.start_ms - gap)
                .collect()
        }
    }
}
