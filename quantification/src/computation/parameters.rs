//! One parameter of the report: its values per interval and year, and what they rest on.

use std::collections::BTreeMap;

use evidence::quality::Quality;

use super::compose::{Notes, costs, valid_ms};
use super::increase::Increase;
use super::track::{Cause, Gap, Kind, Reading, Track};
use super::weigh::Weigh;
use super::{Computation, ComputationError};
use crate::exact::Exact;
use crate::methodology::{Aggregation, Direction, Parameter};
use crate::period::{day_after, day_start, utc, zone};
use crate::plan::{Entered, Input, InputSource, MonitoringOption, Nameplate, PointSource};
use crate::report::{
    EdgeReport, EnteredReport, EvidenceReport, GapReport, IntervalValue, MeasuredReport,
    ParameterReport, PointReport, ReadingReport, ResetReport, TotaliserReport, VintageValue,
};
use crate::unit::Unit;

type Result<T> = std::result::Result<T, ComputationError>;

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

fn convert(input: &str, from: &Unit, value: Exact, to: &Unit) -> Result<Exact> {
    from.convert(value, to)
        .map_err(|error| ComputationError::Unit {
            input: input.to_owned(),
            error,
        })
}

fn fits(result: std::result::Result<Exact, crate::exact::ArithmeticError>) -> Result<Exact> {
    result.or(Err(ComputationError::Overflow))
}

fn grid(sum: i128) -> Result<Exact> {
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
            option: option(value.option).to_owned(),
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
        .map_or("B", |value| option(value.option))
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

const fn option(option: MonitoringOption) -> &'static str {
    match option {
        MonitoringOption::A => "A",
        MonitoringOption::B => "B",
        MonitoringOption::C => "C",
    }
}

/// Fills intervals, years and the whole period from sums per cell. For a mean, sums are weighted by
/// milliseconds and divided by `valid`.
fn fill(
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

fn measured(
    computation: &Computation<'_>,
    input: &Input,
    source: &PointSource,
    track: &Track,
    report: &mut ParameterReport,
    notes: &mut Notes,
) -> Result<()> {
    let parameter = computation.bound.parameter(input);
    let point = &computation.bound.plan.points[source.point];
    let mean = source.aggregation == Aggregation::Mean;
    report.option = "C".to_owned();
    report.aggregation = source.aggregation.name().to_owned();
    let valid = valid_ms(computation, track);
    let (sums, first, last, totaliser) = match &track.kind {
        Kind::Increase(increase) => {
            let (first, last) = used(increase);
            (
                &increase.sums,
                first,
                last,
                Some(totaliser(computation, increase)?),
            )
        }
        Kind::Weigh(Weigh {
            sums,
            first_inside,
            last_inside,
            ..
        }) => (sums, *first_inside, *last_inside, None),
    };
    let sums = sums
        .iter()
        .map(|sum| grid(*sum))
        .collect::<Result<Vec<_>>>()?;
    let to_parameter = |sum: Exact| convert(&input.label, &source.sum_unit, sum, &parameter.unit);
    fill(computation, report, &sums, &valid, mean, &to_parameter)?;
    report.gaps = track
        .gaps
        .iter()
        .map(|gap| gap_of(computation, track, gap))
        .collect::<Result<_>>()?;
    let by_quality = track
        .by_code
        .iter()
        .zip(0_u8..)
        .filter(|(count, _)| **count > 0)
        .map(|(count, code)| (quality_name(code).to_owned(), *count))
        .collect();
    let reading = |reading: Option<Reading>| {
        reading
            .map(|reading| reading_of(computation, &reading))
            .transpose()
    };
    report.measured = Some(MeasuredReport {
        number: point.number.clone(),
        method: point.method.clone(),
        points: (point.sources.iter())
            .map(|source| PointReport {
                origin: source.origin.to_string(),
                point: source.point.clone(),
            })
            .collect(),
        unit: point.unit.symbol().to_owned(),
        good: track.good,
        not_good: track.not_good,
        by_quality,
        overlap_ms: track.overlap_ms,
        first: reading(first)?,
        last: reading(last)?,
        evidence: evidence(computation, track),
        totaliser,
    });
    warn(computation, input, source, track, report, notes);
    if let Some(nameplate) = &source.nameplate {
        check_nameplate(computation, input, nameplate, mean, report, notes)?;
    }
    Ok(())
}

/// The readings at the edges of what counts.
fn used(increase: &Increase) -> (Option<Reading>, Option<Reading>) {
    match increase.direction() {
        Direction::Earns => (increase.first_inside, increase.last_inside),
        Direction::Costs => (
            increase.before.or(increase.first_inside),
            increase.after.or(increase.last_inside),
        ),
    }
}

fn totaliser(computation: &Computation<'_>, increase: &Increase) -> Result<TotaliserReport> {
    let edge = |edge: &super::increase::Edge| {
        Ok(EdgeReport {
            from: utc(edge.from_ms),
            to: utc(edge.to_ms),
            advance: grid(edge.advance)?,
            counted: edge.counted,
        })
    };
    let reset = |reset: &super::increase::Reset| {
        let (before, after) = (
            reading_of(computation, &reset.before)?,
            reading_of(computation, &reset.after)?,
        );
        Ok(ResetReport { before, after })
    };
    let rule = increase.rule();
    Ok(TotaliserReport {
        advance_over_gap: rule.advance,
        bridge_max_ms: rule.bridge_max_ms,
        reason: rule.reason.clone(),
        counted_over_gaps: grid(increase.counted_over_gaps)?,
        not_counted: grid(increase.not_counted)?,
        edges: increase.edges.iter().map(edge).collect::<Result<_>>()?,
        resets: increase.resets.iter().map(reset).collect::<Result<_>>()?,
    })
}

fn reading_of(computation: &Computation<'_>, reading: &Reading) -> Result<ReadingReport> {
    Ok(ReadingReport {
        at: utc(reading.time_ms),
        at_ms: reading.time_ms,
        value: fits(Exact::new(i128::from(reading.mantissa), reading.decimals))?,
        origin: computation.logs[reading.log].origin.clone(),
        entry: reading.entry,
        leaf: reading.leaf.to_hex(),
    })
}

fn evidence(computation: &Computation<'_>, track: &Track) -> Vec<EvidenceReport> {
    (track.logs.iter())
        .map(|trace| EvidenceReport {
            origin: computation.logs[trace.log].origin.clone(),
            first_entry: trace.first.0,
            first_leaf: trace.first.1.to_hex(),
            last_entry: trace.last.0,
            last_leaf: trace.last.1.to_hex(),
            segments: trace.segments,
        })
        .collect()
}

fn quality_name(code: u8) -> &'static str {
    Quality::from_code(code).map_or("unknown", Quality::name)
}

fn gap_report(from_ms: i64, to_ms: i64, reason: String, entries: Vec<u64>) -> GapReport {
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

/// A gap and everything known about why.
fn gap_of(computation: &Computation<'_>, track: &Track, gap: &Gap) -> Result<GapReport> {
    let mut reasons: Vec<String> = Vec::new();
    let mut entries = Vec::new();
    for (log, stream) in &track.streams {
        let declared = computation.logs[*log].declared.iter();
        let overlapping = declared
            .filter(|d| d.stream == *stream && d.from_ms < gap.to_ms && gap.from_ms < d.to_ms);
        for declared in overlapping {
            entries.push(declared.entry);
            if !reasons.contains(&declared.reason) {
                reasons.push(declared.reason.clone());
            }
        }
    }
    for code in (0_u8..64).filter(|code| gap.codes >> code & 1 == 1) {
        reasons.push(quality_name(code).to_owned());
    }
    match gap.cause {
        Cause::HandOver => reasons.push("hand-over to the log that succeeds".to_owned()),
        Cause::NotBegun if reasons.is_empty() => reasons.push("no reading before".to_owned()),
        Cause::Ended if reasons.is_empty() => reasons.push("no reading after".to_owned()),
        Cause::Hole if entries.is_empty() => reasons.push("no entry covers this time".to_owned()),
        _ => {}
    }
    if reasons.is_empty() {
        reasons.push("no message within the time a value holds".to_owned());
    }
    let mut report = gap_report(gap.from_ms, gap.to_ms, reasons.join(", "), entries);
    if let Some(crossing) = gap.crossing {
        report.advance = crossing.advance.map(grid).transpose()?;
        report.advance_counted = crossing.counted;
    }
    Ok(report)
}

/// What people should look at, and what keeps the report from being final.
fn warn(
    computation: &Computation<'_>,
    input: &Input,
    source: &PointSource,
    track: &Track,
    report: &ParameterReport,
    notes: &mut Notes,
) {
    let name = &input.label;
    if let Some(unknown) = report.intervals.iter().find(|interval| !interval.known) {
        let text = format!(
            "there is no good reading in {}; the value there is 0",
            unknown.interval
        );
        if costs(&input.source) {
            notes.block("no-reading", name, text)
        } else {
            notes.warn("no-reading", name, text)
        }
    }
    match &track.kind {
        Kind::Increase(increase) => {
            if !increase.resets.is_empty() {
                let text = format!(
                    "the register went down {} times; the advance up to the new start is unknown",
                    increase.resets.len()
                );
                if costs(&input.source) {
                    notes.block("reset", name, text)
                } else {
                    notes.warn("reset", name, text)
                }
            }
            if increase.not_counted > 0 {
                let amount = grid(increase.not_counted)
                    .map_or_else(|_| "an amount".to_owned(), |a| a.to_string());
                let unit = source.sum_unit.symbol();
                notes.warn(
                    "advance-not-counted",
                    name,
                    format!("{amount} {unit} advanced over gaps and edges do not count"),
                );
            }
            if costs(&input.source) {
                if increase.before.is_none() {
                    notes.block(
                        "edge-open",
                        name,
                        "there is no reading at or before the start of the period",
                    );
                }
                if increase.after.is_none() {
                    notes.block(
                        "edge-open",
                        name,
                        "there is no reading at or after the end of the period",
                    );
                }
            }
        }
        Kind::Weigh(_) if costs(&input.source) && !track.gaps.is_empty() => {
            let missing: i64 = track.gaps.iter().map(|gap| gap.to_ms - gap.from_ms).sum();
            let text = format!(
                "{missing} ms have no good value and nothing is put in their place, so what costs is understated"
            );
            notes.block("costs-not-measured", name, text);
        }
        Kind::Weigh(_) => {}
    }
    let ends_early = track
        .gaps
        .last()
        .filter(|gap| matches!(gap.cause, Cause::Ended | Cause::NotBegun));
    if let Some(gap) = ends_early.filter(|gap| gap.to_ms == computation.cuts.end()) {
        notes.block(
            "ends-early",
            name,
            format!(
                "the last good value ends at {}, before the period does",
                utc(gap.from_ms)
            ),
        );
    }
}

/// A value against the theoretical maximum: the check that finds kWh under the name of MWh.
fn check_nameplate(
    computation: &Computation<'_>,
    input: &Input,
    nameplate: &Nameplate,
    mean: bool,
    report: &ParameterReport,
    notes: &mut Notes,
) -> Result<()> {
    let parameter = computation.bound.parameter(input);
    for (interval, cell) in report.intervals.iter().zip(&computation.cells) {
        let most = if mean {
            nameplate.value
        } else {
            fits(
                nameplate
                    .value
                    .times(Exact::whole(cell.end_ms - cell.start_ms)),
            )?
        };
        let most = convert(&input.label, &nameplate.amount_unit, most, &parameter.unit)?;
        if interval.value <= most {
            continue;
        }
        let mut text = format!(
            "{} {} in {} is more than the nameplate of {} {} allows ({most} {})",
            interval.value,
            parameter.unit,
            interval.interval,
            nameplate.value,
            nameplate.unit,
            parameter.unit
        );
        let thousandth = fits(interval.value.divided_by(Exact::whole(1000)))?;
        if thousandth <= most {
            text.push_str("; a thousandth of it would fit: is it stated under the right unit, such as kWh for MWh?");
        }
        notes.block("above-nameplate", &input.label, text);
    }
    Ok(())
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
