//! The instants at which a period is cut, and where an instant lies among them.

use crate::period::Cell;

/// The boundaries of the cells of a period, ascending: one more than there are cells.
#[derive(Debug, Clone)]
pub(crate) struct Cuts {
    bounds: Vec<i64>,
}

/// Where an instant lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Region {
    Before,
    Cell(usize),
    After,
}

impl Cuts {
    pub(crate) fn new(cells: &[Cell]) -> Self {
        let mut bounds: Vec<i64> = cells.iter().map(|cell| cell.start_ms).collect();
        bounds.extend(cells.last().map(|cell| cell.end_ms));
        Self { bounds }
    }

    pub(crate) fn start(&self) -> i64 {
        self.bounds.first().copied().unwrap_or(i64::MAX)
    }

    pub(crate) fn end(&self) -> i64 {
        self.bounds.last().copied().unwrap_or(i64::MAX)
    }

    pub(crate) fn cells(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// The region of an instant, and the instant at which the next region begins.
    pub(crate) fn region(&self, time_ms: i64) -> (Region, i64) {
        let after = self.bounds.partition_point(|bound| *bound <= time_ms);
        match self.bounds.get(after) {
            Some(next) if after == 0 => (Region::Before, *next),
            Some(next) => (Region::Cell(after - 1), *next),
            None => (Region::After, i64::MAX),
        }
    }

    /// The parts of `from..to` within each cell, as (cell, from, to).
    pub(crate) fn parts(&self, from: i64, to: i64) -> impl Iterator<Item = (usize, i64, i64)> {
        let first = self
            .bounds
            .partition_point(|bound| *bound <= from)
            .saturating_sub(1);
        self.bounds
            .windows(2)
            .enumerate()
            .skip(first)
            .map(move |(cell, bounds)| (cell, from.max(bounds[0]), to.min(bounds[1])))
            .take_while(move |(_, begin, _)| *begin < to)
            .filter(|(_, begin, end)| begin < end)
    }
}
