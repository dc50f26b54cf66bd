//! The advance of a totaliser.
//!
//! An *advance* is the difference of two consecutive good readings. It belongs to the cell in which
//! the earlier one lies. It counts when nothing lies between the two but one tick (or, for messages,
//! the time a value holds). Otherwise:
//!
//! - over a gap it is listed. For what earns it counts only when the plan bridges or counts, nothing
//!   lies between but samples without any value (no flagged sample, no hole, no hand-over, no clock
//!   that was set), the advance is at most the nameplate times the time between the two readings, and
//!   it is at most [`RATE_FACTOR`] times as fast as the fastest step of the last and the next 60 good
//!   samples: a meter exchanged within the gap would otherwise earn the difference of two registers.
//!   For what costs it always counts; beyond these limits the report is provisional;
//! - over an edge of the period it counts for what costs and not for what earns: what earns runs
//!   from the first good reading at or after the start to the last at or before the end, what costs
//!   from the last at or before the start to the first at or after the end;
//! - a reading below its predecessor begins a new epoch: it is listed, nothing counts, and no
//!   advance is ever negative.

use super::ComputationError;
use super::cuts::{Cuts, Region};
use super::run::Rate;
use super::track::{Reading, on_grid};
use crate::exact::Exact;
use crate::methodology::Direction;
use crate::plan::{AdvanceOverGap, GapRule, Nameplate};
use crate::unit::Unit;

/// What one totaliser did in the period; sums are on the grid 10^-15 of the point's unit.
#[derive(Debug)]
pub(crate) struct Increase {
    direction: Direction,
    rule: GapRule,
    /// What counts, per cell.
    pub(crate) sums: Vec<i128>,
    /// The part of it that lies over gaps.
    pub(crate) counted_over_gaps: i128,
    /// What the register advanced in the period without counting.
    pub(crate) not_counted: i128,
    pub(crate) edges: Vec<Edge>,
    pub(crate) resets: Vec<Reset>,
    /// Advances over gaps that the meter can hardly have measured.
    pub(crate) implausible: Vec<Implausible>,
    limit: Option<Limit>,
    /// The last good reading at or before the start.
    pub(crate) before: Option<Reading>,
    /// The first good reading at or after the start.
    pub(crate) first_inside: Option<Reading>,
    /// The last good reading at or before the end.
    pub(crate) last_inside: Option<Reading>,
    /// The first good reading at or after the end.
    pub(crate) after: Option<Reading>,
}

/// An advance over an edge of the period without a gap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) advance: i128,
    pub(crate) counted: bool,
}

/// A register that went down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reset {
    pub(crate) before: Reading,
    pub(crate) after: Reading,
}

/// What a gap's record says about the register.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crossing {
    /// None when the register went down.
    pub(crate) advance: Option<i128>,
    pub(crate) counted: bool,
    pub(crate) implausible: bool,
}

/// What lies between two good readings of a totaliser.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interruption {
    pub(crate) missing_ms: i64,
    /// Nothing but samples without any value: no flag, no hole, no hand-over, no clock that was set.
    pub(crate) only_missing: bool,
    /// The largest rate of the good samples before and after.
    pub(crate) beside: Option<Rate>,
}

/// An advance over a gap that the meter can hardly have measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Implausible {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) advance: i128,
    pub(crate) doubt: Doubt,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// More than the nameplate allows in that time.
    AboveNameplate,
    /// Faster than [`RATE_FACTOR`] times the largest rate beside the gap.
    AboveRate,
}

/// The nameplate of a totaliser.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) label: String,
    pub(crate) nameplate: Nameplate,
    /// The unit of the readings.
    pub(crate) unit: Unit,
}

impl Limit {
    /// The largest possible advance in so many milliseconds, in the readings' unit.
    fn most(&self, elapsed_ms: i64) -> Result<Exact, ComputationError> {
        let amount = self.nameplate.value.times(Exact::whole(elapsed_ms));
        let amount = amount.or(Err(ComputationError::Overflow))?;
        (self.nameplate.amount_unit)
            .convert(amount, &self.unit)
            .map_err(|error| ComputationError::Unit {
                input: self.label.clone(),
                error: Box::new(error),
            })
    }
}

/// An advance over a gap may be this many times as fast as the fastest step beside the gap.
pub(crate) const RATE_FACTOR: i128 = 2;

impl Increase {
    pub(crate) fn new(
        cells: usize,
        direction: Direction,
        rule: GapRule,
        limit: Option<Limit>,
    ) -> Self {
        Self {
            direction,
            rule,
            sums: vec![0; cells],
            counted_over_gaps: 0,
            not_counted: 0,
            edges: Vec::new(),
            resets: Vec::new(),
            implausible: Vec::new(),
            limit,
            before: None,
            first_inside: None,
            last_inside: None,
            after: None,
        }
    }

    /// The step between two good readings of different runs; says what a gap between them holds.
    pub(crate) fn cross(
        &mut self,
        cuts: &Cuts,
        last: Reading,
        next: Reading,
        interruption: Option<Interruption>,
    ) -> Result<Option<Crossing>, ComputationError> {
        let (start, end) = (cuts.start(), cuts.end());
        if next.time_ms <= start || last.time_ms >= end {
            return Ok(None);
        }
        let advance = on_grid(next.mantissa, next.decimals)
            .checked_sub(on_grid(last.mantissa, last.decimals))
            .ok_or(ComputationError::Overflow)?;
        if advance < 0 {
            self.resets.push(Reset {
                before: last,
                after: next,
            });
            return Ok(Some(Crossing {
                advance: None,
                counted: false,
                implausible: false,
            }));
        }
        let edge = last.time_ms < start || next.time_ms > end;
        let by_rule = match (edge, interruption) {
            (true, _) => self.direction == Direction::Costs,
            (false, None) => true,
            (false, Some(gap)) => self.counts(gap),
        };
        let doubt = match interruption {
            Some(gap) if by_rule => self.doubt(advance, next.time_ms - last.time_ms, gap.beside)?,
            _ => None,
        };
        let counted = by_rule && (doubt.is_none() || self.direction == Direction::Costs);
        if let Some(doubt) = doubt {
            self.implausible.push(Implausible {
                from_ms: last.time_ms,
                to_ms: next.time_ms,
                advance,
                doubt,
            });
        }
        if counted {
            let (Region::Cell(cell), _) = cuts.region(last.time_ms.max(start)) else {
                return Ok(None);
            };
            add(&mut self.sums[cell], advance)?;
            if interruption.is_some() {
                add(&mut self.counted_over_gaps, advance)?;
            }
        } else {
            add(&mut self.not_counted, advance)?;
        }
        if interruption.is_none() && edge {
            self.edges.push(Edge {
                from_ms: last.time_ms,
                to_ms: next.time_ms,
                advance,
                counted,
            });
        }
        Ok(Some(Crossing {
            advance: Some(advance),
            counted,
            implausible: doubt.is_some(),
        }))
    }

    /// Whether the point's rule counts an advance over this gap, if it is plausible.
    fn counts(&self, gap: Interruption) -> bool {
        match self.direction {
            Direction::Costs => true,
            Direction::Earns => {
                let short = gap.missing_ms <= self.rule.bridge_max_ms;
                gap.only_missing && (self.rule.advance == AdvanceOverGap::Count || short)
            }
        }
    }

    /// Why an advance is not what the meter can have measured in that time, if it is not.
    fn doubt(
        &self,
        advance: i128,
        elapsed_ms: i64,
        beside: Option<Rate>,
    ) -> Result<Option<Doubt>, ComputationError> {
        if let Some(limit) = &self.limit {
            let most = limit.most(elapsed_ms)?;
            let advance = Exact::new(advance, 15).or(Err(ComputationError::Overflow))?;
            if advance > most {
                return Ok(Some(Doubt::AboveNameplate));
            }
        }
        // A register that stood still says nothing about what a consumer may take, but is no ground
        // to earn on.
        let compared = beside.filter(|rate| self.direction == Direction::Earns || rate.advance > 0);
        let ours = Rate {
            advance,
            ms: elapsed_ms,
        };
        Ok(compared
            .filter(|rate| !ours.within(RATE_FACTOR, *rate))
            .map(|_| Doubt::AboveRate))
    }

    /// A run of good readings in the order of time: keeps the readings at the edges.
    pub(crate) fn saw(&mut self, cuts: &Cuts, region: Region, first: Reading, last: Reading) {
        match region {
            Region::Before => self.before = Some(last),
            Region::After => {
                self.after = Some(first);
                if first.time_ms == cuts.end() {
                    self.last_inside = Some(first);
                    self.first_inside.get_or_insert(first);
                }
            }
            Region::Cell(_) => {
                if first.time_ms == cuts.start() {
                    self.before = Some(first);
                }
                self.first_inside.get_or_insert(first);
                self.last_inside = Some(last);
            }
        }
    }

    /// The step between two good readings of one run.
    pub(crate) fn step(
        &mut self,
        cell: usize,
        before: Reading,
        after: Reading,
    ) -> Result<(), ComputationError> {
        let advance = i128::from(after.mantissa) - i128::from(before.mantissa);
        if advance < 0 {
            self.resets.push(Reset { before, after });
            return Ok(());
        }
        add(&mut self.sums[cell], scaled(advance, after.decimals)?)
    }

    /// Good readings of one run that follow one another tick by tick, all within one cell.
    pub(crate) fn block(
        &mut self,
        cell: usize,
        values: &[i64],
        first: Reading,
        tick_ms: i64,
    ) -> Result<(), ComputationError> {
        let Some(&last_value) = values.last() else {
            return Ok(());
        };
        if falls(values) {
            return self.with_resets(cell, values, first, tick_ms);
        }
        let advance = i128::from(last_value) - i128::from(first.mantissa);
        add(&mut self.sums[cell], scaled(advance, first.decimals)?)
    }

    fn with_resets(
        &mut self,
        cell: usize,
        values: &[i64],
        first: Reading,
        tick_ms: i64,
    ) -> Result<(), ComputationError> {
        let mut advance = 0_i128;
        let mut time_ms = first.time_ms;
        for (&a, &b) in values.iter().zip(values.iter().skip(1)) {
            if b < a {
                let before = Reading {
                    time_ms,
                    mantissa: a,
                    ..first
                };
                self.resets.push(Reset {
                    before,
                    after: Reading {
                        time_ms: time_ms + tick_ms,
                        mantissa: b,
                        ..first
                    },
                });
            } else {
                advance += i128::from(b) - i128::from(a);
            }
            time_ms += tick_ms;
        }
        add(&mut self.sums[cell], scaled(advance, first.decimals)?)
    }

    pub(crate) const fn direction(&self) -> Direction {
        self.direction
    }

    pub(crate) const fn rule(&self) -> &GapRule {
        &self.rule
    }
}

/// Whether any value lies below its predecessor. No early exit, so that the loop is vectorised:
/// almost always the answer is no.
fn falls(values: &[i64]) -> bool {
    values
        .iter()
        .zip(values.get(1..).unwrap_or_default())
        .fold(false, |falls, (a, b)| falls | (b < a))
}

fn scaled(advance: i128, decimals: u8) -> Result<i128, ComputationError> {
    advance
        .checked_mul(super::track::grid_factor(decimals))
        .ok_or(ComputationError::Overflow)
}

fn add(sum: &mut i128, more: i128) -> Result<(), ComputationError> {
    *sum = sum.checked_add(more).ok_or(ComputationError::Overflow)?;
    Ok(())
}
