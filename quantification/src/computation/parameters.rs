//! One parameter of the report: its values per interval and year, and what they rest on.

use std::collections::BTreeMap;

use super::compose::Notes;
use super::measured::measured;
use super::track::Track;
use super::{Computation, ComputationError};
use crate::exact::Exact;
use crate::methodology::{Aggregation, Direction, Parameter};
use crate::period::{day_after, day_start, utc, zone};
use crate::plan::{Entered, Input, InputSource};
use crate::report::{EnteredReport, GapReport, IntervalValue, ParameterReport, VintageValue};
use crate::unit::Unit;

pub(super) type Result<T> = std::result::Result<T, ComputationError>;

/// The decimals of the grid on which tracks sum.
const GRID: u8 = 15;

pub(super) fn describe(
    computation: &Computation<'_>,
    input: &Input,
    track: Option<&Track>,
    notes: &mut Notes,
) -> Result<ParameterReport> {
    let parameter = computation.bound.parameter(input);
    let mut report = ParameterReport {
        name: input.label.clone(),
        description: parameter.description.clone(),
        value: Exact::ZERO,
        unit: parameter.unit.symbol().to_owned(),
        aggregation: Aggregation::Fixed.name().to_owned(),
        direction: parameter.direction,
        option: String::new(),
        source: None,
        intervals: Vec::new(),
        vintages: Vec::new(),
        entered: Vec::new(),
        measured: None,
        gaps: Vec::new(),
    };
    match &input.source {
        InputSource::Fixed { fixed, value } => {
            let fixed = &computation.bound.plan.fixed[*fixed];
            check_valid(computation, &input.label, fixed.valid)?;
            report.option = "fixed ex ante".to_owned();
            report.source = Some(fixed.source.clone());
            constant(computation, &mut report, *value);
        }
        InputSource::Neutral { neutral, value } => {
            report.option = "neutral".to_owned();
            report.source = Some(
                computation.bound.plan.neutral[*neutral]
                    .justification
                    .clone(),
            );
            constant(computation, &mut report, *value);
        }
        InputSource::Default(value) => {
            if let Some(default) = &parameter.default {
                check_valid(computation, &input.label, default.valid)?;
                report.source = Some(default.source.clone());
            }
            report.option = "default of the methodology".to_owned();
            constant(computation, &mut report, *value);
        }
        InputSource::Entered(positions) => {
            let entered: Vec<&Entered> = positions
                .iter()
                .map(|at| &computation.bound.plan.entered[*at])
                .collect();
            by_hand(computation, input, parameter, &entered, &mut report, notes)?;
        }
        InputSource::Point(source) => {
            let Some(track) = track else {
                return Err(ComputationError::Overflow);
            };
            measured(computation, input, source, track, &mut report, notes)?;
        }
    }
    check_range(parameter, &report, notes);
    Ok(report)
}

pub(super) fn convert(input: &str, from: &Unit, value: Exact, to: &Unit) -> Result<Exact> {
    from.convert(value, to)
        .map_err(|error| ComputationError::Unit {
            input: input.to_owned(),
            error: Box::new(error),
        })
}

pub(super) fn fits(
    result: std::result::Result<Exact, crate::exact::ArithmeticError>,
) -> Result<Exact> {
    result.or(Err(ComputationError::Overflow))
}

pub(super) fn grid(sum: i128) -> Result<Exact> {
    fits(Exact::new(sum, GRID))
}

fn constant(computation: &Computation<'_>, report: &mut ParameterReport, value: Exact) {
    report.value = value;
    for cell in &computation.cells {
        let length_ms = cell.end_ms - cell.start_ms;
        let interval = cell.label.clone();
        report.intervals.push(IntervalValue {
            interval,
            value,
            known: true,
            length_ms,
            valid_ms: length_ms,
        });
        if report
            .vintages
            .last()
            .is_none_or(|vintage| vintage.year != cell.vintage)
        {
            report.vintages.push(VintageValue {
                year: cell.vintage,
                value,
            });
        }
    }
}

fn check_valid(
    computation: &Computation<'_>,
    input: &str,
    (from, to): (Option<jiff::civil::Date>, Option<jiff::civil::Date>),
) -> Result<()> {
    let period = computation.period;
    if from.is_none_or(|from| from <= period.from()) && to.is_none_or(|to| to >= period.to()) {
        return Ok(());
    }
    let text =
        |day: Option<jiff::civil::Date>| day.map_or_else(|| "-".to_owned(), |day| day.to_string());
    Err(ComputationError::FixedNotValid {
        input: input.to_owned(),
        from: text(from),
        to: text(to),
    })
}

/// Values entered by hand: an amount lies within one interval, states are weighted by time.
fn by_hand(
    computation: &Computation<'_>,
    input: &Input,
    parameter: &Parameter,
    entered: &[&Entered],
    report: &mut ParameterReport,
    notes: &mut Notes,
) -> Result<()> {
    let mean = parameter.aggregations.contains(&Aggregation::Mean);
    let calendar = |_error| ComputationError::Overflow;
    let zone = zone(&computation.bound.plan.reporting_zone).map_err(calendar)?;
    let mut sums = vec![(Exact::ZERO, 0_i64); computation.cells.len()];
    let mut covered: Vec<(i64, i64)> = Vec::new();
    for value in entered {
        let start = day_start(value.from, &zone).map_err(calendar)?;
        let end = day_start(day_after(value.to).map_err(calendar)?, &zone).map_err(calendar)?;
        let number = convert(&input.label, &value.unit, value.value, &parameter.unit)?;
        let parts: Vec<(usize, i64, i64)> = computation.cuts.parts(start, end).collect();
        let Some(&(first, ..)) = parts.first() else {
            continue;
        };
        let mut covers = true;
        if mean {
            for &(cell, from, to) in &parts {
                let weighted = fits(number.times(Exact::whole(to - from)))?;
                sums[cell].0 = fits(sums[cell].0.plus(weighted))?;
            }
        } else {
            let whole = parts.as_slice() == [(first, start, end)];
            // An amount over a boundary belongs to neither side: what costs counts whole, what
            // earns not at all, until a person enters one value for each side.
            covers = whole || parameter.direction == Some(Direction::Costs);
            if covers {
                sums[first].0 = fits(sums[first].0.plus(number))?;
            }
            if !whole {
                crossing(
                    &input.label,
                    value,
                    &computation.cells[first].label,
                    covers,
                    notes,
                );
            }
        }
        for (cell, from, to) in parts.into_iter().filter(|_| covers) {
            sums[cell].1 += to - from;
            covered.push((from, to));
        }
        report.entered.push(EnteredReport {
            option: value.option.letter().to_owned(),
            value: value.value,
            unit: value.unit.symbol().to_owned(),
            from: value.from.to_string(),
            to: value.to.to_string(),
            person: value.person.clone(),
            citation: value.citation.clone(),
        });
    }
    report.option = entered
        .first()
        .map_or("B", |value| value.option.letter())
        .to_owned();
    report.aggregation = if mean {
        "mean, entered by hand"
    } else {
        "sum, entered by hand"
    }
    .to_owned();
    let valid: Vec<i64> = sums.iter().map(|(_, known)| *known).collect();
    let sums: Vec<Exact> = sums.into_iter().map(|(sum, _)| sum).collect();
    fill(computation, report, &sums, &valid, mean, &|sum| Ok(sum))?;
    covered.sort_unstable();
    let mut from = computation.cuts.start();
    covered.push((computation.cuts.end(), computation.cuts.end()));
    for (begin, end) in covered {
        if begin > from {
            report.gaps.push(gap_report(
                from,
                begin,
                "no value entered".to_owned(),
                Vec::new(),
            ));
        }
        from = from.max(end);
    }
    if !report.gaps.is_empty() && parameter.direction == Some(Direction::Costs) {
        notes.block(
            "costs-not-entered",
            &input.label,
            "no value is entered for part of the period, so what costs is understated",
        );
    }
    Ok(())
}

fn crossing(input: &str, value: &Entered, interval: &str, counts: bool, notes: &mut Notes) {
    let what = if counts {
        "counts whole, since it costs"
    } else {
        "does not count"
    };
    let text = format!(
        "the amount entered for {} to {} reaches beyond {interval} or the period and {what}; \
         an amount is never shared out by days: enter one value for each side of the boundary",
        value.from, value.to
    );
    notes.block("entered-crosses", input, text);
}

/// Fills intervals, years and the whole period from sums per cell. For a mean, sums are weighted by
/// milliseconds and divided by `valid`.
pub(super) fn fill(
    computation: &Computation<'_>,
    report: &mut ParameterReport,
    sums: &[Exact],
    valid: &[i64],
    mean: bool,
    convert: &dyn Fn(Exact) -> Result<Exact>,
) -> Result<()> {
    let value = |sum: Exact, valid_ms: i64| match (mean, valid_ms) {
        (false, _) => convert(sum),
        (true, 0) => Ok(Exact::ZERO),
        (true, valid_ms) => convert(fits(sum.divided_by(Exact::whole(valid_ms)))?),
    };
    let mut years: BTreeMap<i16, (Exact, i64)> = BTreeMap::new();
    let (mut total, mut total_ms) = (Exact::ZERO, 0);
    for ((cell, sum), valid_ms) in computation.cells.iter().zip(sums).zip(valid) {
        report.intervals.push(IntervalValue {
            interval: cell.label.clone(),
            value: value(*sum, *valid_ms)?,
            known: *valid_ms > 0,
            length_ms: cell.end_ms - cell.start_ms,
            valid_ms: *valid_ms,
        });
        let year = years.entry(cell.vintage).or_insert((Exact::ZERO, 0));
        *year = (fits(year.0.plus(*sum))?, year.1 + valid_ms);
        (total, total_ms) = (fits(total.plus(*sum))?, total_ms + valid_ms);
    }
    for (year, (sum, valid_ms)) in years {
        report.vintages.push(VintageValue {
            year,
            value: value(sum, valid_ms)?,
        });
    }
    report.value = value(total, total_ms)?;
    Ok(())
}

pub(super) fn gap_report(from_ms: i64, to_ms: i64, reason: String, entries: Vec<u64>) -> GapReport {
    GapReport {
        from: utc(from_ms),
        to: utc(to_ms),
        length_ms: to_ms - from_ms,
        reason,
        entries,
        advance: None,
        advance_counted: false,
    }
}

fn check_range(parameter: &Parameter, report: &ParameterReport, notes: &mut Notes) {
    for interval in report.intervals.iter().filter(|interval| interval.known) {
        let low = parameter.least.filter(|least| interval.value < *least);
        let high = parameter.most.filter(|most| interval.value > *most);
        if let Some(limit) = low.or(high) {
            let text = format!(
                "{} {} in {} is beyond the limit {limit} of what it can be",
                interval.value, parameter.unit, interval.interval
            );
            notes.block("out-of-range", &report.name, text);
        }
    }
}
