//! Values weighted by the time they held: `integral` and `mean`.
//!
//! A polled good sample holds for its own tick and no longer. A message holds until the next message,
//! until its source is known to be gone, or for `stale_after_s`, whichever comes first. An interval
//! over a boundary of the period or of a cell is cut there to the millisecond.

use super::ComputationError;
use super::cuts::{Cuts, Region};
use super::track::{Reading, grid_factor, on_grid};

/// Weighted sums on the grid 10^-15 of the point's unit times milliseconds.
#[derive(Debug)]
pub(crate) struct Weigh {
    pub(crate) sums: Vec<i128>,
    /// Milliseconds with a good value, per cell.
    pub(crate) good_ms: Vec<i64>,
    pub(crate) first_inside: Option<Reading>,
    pub(crate) last_inside: Option<Reading>,
}

impl Weigh {
    pub(crate) fn new(cells: usize) -> Self {
        Self {
            sums: vec![0; cells],
            good_ms: vec![0; cells],
            first_inside: None,
            last_inside: None,
        }
    }

    /// Polled good samples that follow one another tick by tick, all in one region that ends at
    /// `region_end`; none holds beyond `until`, where something else was fed before.
    pub(crate) fn block(
        &mut self,
        cuts: &Cuts,
        (region, region_end): (Region, i64),
        values: &[i64],
        first: Reading,
        (tick_ms, until): (i64, i64),
    ) -> Result<(), ComputationError> {
        let Some((&last_value, before)) = values.split_last() else {
            return Ok(());
        };
        let steps = i64::try_from(before.len()).or(Err(ComputationError::Overflow))?;
        let last = Reading {
            time_ms: first.time_ms + steps * tick_ms,
            mantissa: last_value,
            ..first
        };
        let end = (last.time_ms + tick_ms).min(until);
        match region {
            Region::After => Ok(()),
            // Only the last sample can reach into the period.
            Region::Before if end <= region_end => Ok(()),
            Region::Before => self.interval(cuts, last, last.time_ms, end),
            Region::Cell(cell) => {
                let full = end <= region_end && end == last.time_ms + tick_ms;
                let whole = if full { values } else { before };
                let count = i64::try_from(whole.len()).or(Err(ComputationError::Overflow))?;
                let weight = grid_factor(first.decimals).checked_mul(i128::from(tick_ms));
                let sum = weight.and_then(|weight| total(whole).checked_mul(weight));
                self.add(
                    cell,
                    sum.ok_or(ComputationError::Overflow)?,
                    count * tick_ms,
                )?;
                if full {
                    Ok(())
                } else {
                    self.interval(cuts, last, last.time_ms, end)
                }
            }
        }
    }

    /// One value from its time until its end is known.
    pub(crate) fn interval(
        &mut self,
        cuts: &Cuts,
        reading: Reading,
        from: i64,
        to: i64,
    ) -> Result<(), ComputationError> {
        let value = on_grid(reading.mantissa, reading.decimals);
        for (cell, begin, end) in cuts.parts(from, to) {
            let sum = value
                .checked_mul(i128::from(end - begin))
                .ok_or(ComputationError::Overflow)?;
            self.add(cell, sum, end - begin)?;
        }
        Ok(())
    }

    fn add(&mut self, cell: usize, sum: i128, good_ms: i64) -> Result<(), ComputationError> {
        self.sums[cell] = self.sums[cell]
            .checked_add(sum)
            .ok_or(ComputationError::Overflow)?;
        self.good_ms[cell] += good_ms;
        Ok(())
    }

    /// A run of good values within the period, in the order of time.
    pub(crate) fn saw(&mut self, first: Reading, last: Reading) {
        self.first_inside.get_or_insert(first);
        self.last_inside = Some(last);
    }
}

/// The exact sum. Upper and lower halves are added in 64 bits each, which the compiler vectorises;
/// neither can overflow for fewer than 2^31 values, and a column has at most 65,535.
fn total(values: &[i64]) -> i128 {
    const LOW: i64 = 0xffff_ffff;
    let mut sum = 0_i128;
    for part in values.chunks(1 << 20) {
        let (high, low) = part.iter().fold((0_i64, 0_i64), |(high, low), value| {
            (high + (value >> 32), low + (value & LOW))
        });
        sum += (i128::from(high) << 32) + i128::from(low);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_sum_of_a_column_is_exact_at_the_ends_of_the_range() {
        for values in [
            vec![i64::MAX; 1000],
            vec![i64::MIN; 1000],
            vec![-1, 1, i64::MIN, i64::MAX],
            vec![],
        ] {
            assert_eq!(
                total(&values),
                values.iter().map(|value| i128::from(*value)).sum::<i128>()
            );
        }
    }
}
