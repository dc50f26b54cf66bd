//! What is measured: the readings behind a value, the gaps between them, and what is odd about them.

use evidence::quality::Quality;

use super::Computation;
use super::compose::{Notes, costs, valid_ms};
use super::increase::{Doubt, Increase, RATE_FACTOR};
use super::parameters::{Result, convert, fill, fits, gap_report, grid};
use super::track::{Cause, Gap, Kind, Reading, Track};
use crate::exact::Exact;
use crate::methodology::{Aggregation, Direction};
use crate::period::utc;
use crate::plan::{Input, Nameplate, PointSource};
use crate::report::{
    DensityReport, EdgeReport, EvidenceReport, GapReport, MeasuredReport, ParameterReport,
    PointReport, ReadingReport, ResetReport, TotaliserReport,
};

pub(super) fn measured(
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
        Kind::Weigh(weigh) => (&weigh.sums, weigh.first_inside, weigh.last_inside, None),
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
        unit: source.sample_unit.symbol().to_owned(),
        good: track.good,
        not_good: track.not_good,
        by_quality,
        overlap_ms: track.overlap_ms,
        first: reading(first)?,
        last: reading(last)?,
        evidence: evidence(computation, track),
        totaliser,
        density: point.density.as_ref().map(|rule| DensityReport {
            rule: "volume flow x density of pure CO2, Span and Wagner 1996, per sample".to_owned(),
            assumption: "pure-component assumption".to_owned(),
            composition: rule.composition.clone(),
            pressure: rule.pressure.point.clone(),
            temperature: rule.temperature.point.clone(),
            computed: track.densities.computed,
            refused_out_of_range: track.densities.out_of_range,
            refused_near_saturation: track.densities.near_saturation,
            refused_two_phase: track.densities.two_phase,
        }),
    });
    if let Some(rule) = &point.density {
        let text = format!(
            "the mass rests on the density of pure CO2; the stream is: {}",
            rule.composition
        );
        notes.warn("pure-component-assumption", &input.label, text);
    }
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
        Cause::ClockSet => reasons.push("a clock was set between the readings".to_owned()),
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
        if crossing.implausible {
            report.reason.push_str(", advance-implausible");
        }
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
        notes.note(costs(&input.source), "no-reading", name, text);
    }
    match &track.kind {
        Kind::Increase(increase) => {
            if !increase.resets.is_empty() {
                let text = format!(
                    "the register went down {} times; the advance up to the new start is unknown",
                    increase.resets.len()
                );
                notes.note(costs(&input.source), "reset", name, text);
            }
            warn_implausible(input, source, increase, notes);
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
        Kind::Weigh(_) => {
            let missing: i64 = track.gaps.iter().map(|gap| gap.to_ms - gap.from_ms).sum();
            // A hand-over or a clock that was set may be listed without any time missing.
            if missing > 0 && costs(&input.source) {
                let text = format!(
                    "{missing} ms have no good value and nothing is put in their place, so what costs is understated"
                );
                notes.block("costs-not-measured", name, text);
            }
        }
    }
    let at_end = track
        .gaps
        .last()
        .filter(|gap| gap.to_ms == computation.cuts.end());
    let text = at_end.and_then(|gap| match gap.cause {
        Cause::Ended => Some(format!(
            "the last good value ends at {}, before the period does",
            utc(gap.from_ms)
        )),
        Cause::NotBegun => Some("there is no good value in the period".to_owned()),
        Cause::Samples | Cause::Hole | Cause::HandOver | Cause::ClockSet => None,
    });
    if let Some(text) = text {
        notes.block("ends-early", name, text);
    }
}

/// Advances over gaps that the meter can hardly have measured: a meter exchanged, a register set.
fn warn_implausible(input: &Input, source: &PointSource, increase: &Increase, notes: &mut Notes) {
    for (doubt, limit) in [
        (
            Doubt::AboveNameplate,
            "than the nameplate allows".to_owned(),
        ),
        (
            Doubt::AboveRate,
            format!("than {RATE_FACTOR} times the largest rate of the good samples beside them"),
        ),
    ] {
        let mut all = increase.implausible.iter().filter(|one| one.doubt == doubt);
        let Some(first) = all.next() else {
            continue;
        };
        let amount = grid(first.advance).map_or_else(|_| "too much".to_owned(), |a| a.to_string());
        let what = match increase.direction() {
            Direction::Earns => "it does not count",
            Direction::Costs => "it counts all the same, since it costs",
        };
        let text = format!(
            "{} advances over gaps are larger {limit}; the first is {amount} {} from {} to {}, and {what}; \
             was the meter exchanged or its register set?",
            all.count() + 1,
            source.sum_unit.symbol(),
            utc(first.from_ms),
            utc(first.to_ms)
        );
        notes.note(
            costs(&input.source),
            "advance-implausible",
            &input.label,
            text,
        );
    }
}

/// A value against the theoretical maximum: the check that finds `kWh` under the name of `MWh`.
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
