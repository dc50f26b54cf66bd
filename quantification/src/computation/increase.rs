//! The advance of a totaliser.
//!
//! An *advance* is the difference of two consecutive good readings. It belongs to the cell in which
//! the earlier one lies. It counts when nothing lies between the two but one tick (or, for messages,
//! the time a value holds). Otherwise:
//!
//! - over a gap it is listed, and counts only by the point's rule;
//! - over an edge of the period it counts for what costs and not for what earns: what earns runs
//!   from the first good reading at or after the start to the last at or before the end, what costs
//!   from the last at or before the start to the first at or after the end;
//! - a reading below its predecessor begins a new epoch: it is listed, nothing counts, and no
//!   advance is ever negative.

use super::ComputationError;
use super::cuts::{Cuts, Region};
use super::track::{Interruption, Reading, on_grid};
use crate::methodology::Direction;
use crate::plan::{AdvanceOverGap, GapRule};

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
    last: Option<Reading>,
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
}

impl Increase {
    pub(crate) fn new(cells: usize, direction: Direction, rule: GapRule) -> Self {
        Self {
            direction,
            rule,
            sums: vec![0; cells],
            counted_over_gaps: 0,
            not_counted: 0,
            edges: Vec::new(),
            resets: Vec::new(),
            last: None,
            before: None,
            first_inside: None,
            last_inside: None,
            after: None,
        }
    }

    /// The step from the last good reading to `next`; says what a gap between them holds.
    pub(crate) fn cross(
        &mut self,
        cuts: &Cuts,
        next: Reading,
        interruption: Option<Interruption>,
    ) -> Result<Option<Crossing>, ComputationError> {
        let Some(last) = self.last else {
            return Ok(None);
        };
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
            }));
        }
        let edge = last.time_ms < start || next.time_ms > end;
        let counted = match (edge, interruption) {
            (true, _) => self.direction == Direction::Costs,
            (false, None) => true,
            (false, Some(gap)) => {
                self.rule.advance == AdvanceOverGap::Count
                    || (gap.only_missing && gap.missing_ms <= self.rule.bridge_max_ms)
            }
        };
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
        }))
    }

    /// Good readings that follow one another tick by tick, all within one region. The step to the
    /// first of them was taken by [`Self::cross`].
    pub(crate) fn block(
        &mut self,
        cuts: &Cuts,
        region: Region,
        values: &[i64],
        first: Reading,
        tick_ms: i64,
    ) -> Result<(), ComputationError> {
        let Some((&last_value, steps)) = values.last().zip(i64::try_from(values.len() - 1).ok())
        else {
            return Ok(());
        };
        let last = Reading {
            time_ms: first.time_ms + steps * tick_ms,
            mantissa: last_value,
            ..first
        };
        self.last = Some(last);
        match region {
            Region::Before => self.before = Some(last),
            Region::After => {
                self.after = Some(first);
                if first.time_ms == cuts.end() {
                    self.last_inside = Some(first);
                    self.first_inside.get_or_insert(first);
                }
            }
            Region::Cell(cell) => {
                if first.time_ms == cuts.start() {
                    self.before = Some(first);
                }
                self.first_inside.get_or_insert(first);
                self.last_inside = Some(last);
                if falls(values) {
                    self.with_resets(cell, values, first, tick_ms)?;
                } else {
                    let advance = i128::from(last_value) - i128::from(first.mantissa);
                    add(&mut self.sums[cell], scaled(advance, first.decimals)?)?;
                }
            }
        }
        Ok(())
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
