//! One monitoring point through the period: coverage, gaps, counts, and the evidence behind them.
//!
//! A track is fed the columns of its point in log order, the replaced log before its successor. Time
//! without a good value becomes a gap: it lies between the end of the last good value (its tick, or
//! the time a message holds) and the next good reading. Instants that come twice, after a clock was
//! set back or while two gateways ran side by side, count once: the first one fed stays.

use evidence::hash::Hash;
use evidence::segment::DecodedColumn;

use super::ComputationError;
use super::cuts::{Cuts, Region};
use super::increase::{Crossing, Increase};
use super::weigh::Weigh;

/// One good reading and the entry it is sealed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) time_ms: i64,
    pub(crate) mantissa: i64,
    pub(crate) decimals: u8,
    pub(crate) log: usize,
    pub(crate) entry: u64,
    pub(crate) leaf: Hash,
}

/// Time between two good values.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// Bit q is set when a sample of quality q lies in it.
    pub(crate) codes: u64,
    pub(crate) cause: Cause,
    pub(crate) crossing: Option<Crossing>,
}

/// What else is known about a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Samples without a good value.
    Samples,
    /// Ticks that no data entry covers.
    Hole,
    /// One gateway ended and its successor began.
    HandOver,
    /// Nothing was read before.
    NotBegun,
    /// Nothing was read after.
    Ended,
}

/// What lies between two good readings of a totaliser.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interruption {
    pub(crate) missing_ms: i64,
    /// Nothing but samples without any value: no flag, no hole, no hand-over.
    pub(crate) only_missing: bool,
}

/// The first and last entries of a log that hold readings of the period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogTrace {
    pub(crate) log: usize,
    pub(crate) first: (u64, Hash),
    pub(crate) last: (u64, Hash),
    pub(crate) segments: u64,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Increase(Box<Increase>),
    Weigh(Box<Weigh>),
}

/// One column of one segment, placed in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) column: &'a DecodedColumn,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) tick_ms: i64,
    pub(crate) hold_ms: i64,
    pub(crate) decimals: u8,
    pub(crate) log: usize,
    pub(crate) entry: u64,
    pub(crate) leaf: &'a Hash,
}

impl Placed<'_> {
    const fn reading(&self, mantissa: i64, time_ms: i64) -> Reading {
        let Self {
            decimals,
            log,
            entry,
            leaf,
            ..
        } = *self;
        Reading {
            time_ms,
            mantissa,
            decimals,
            log,
            entry,
            leaf: *leaf,
        }
    }
}

/// A gap entry of a log.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) entry: u64,
    pub(crate) stream: u16,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) reason: String,
}

#[derive(Debug)]
pub(crate) struct Track {
    /// The position of its input.
    pub(crate) input: usize,
    pub(crate) kind: Kind,
    /// The end of the ticks that were fed.
    covered_until: Option<i64>,
    /// The end of the last good value.
    good_until: Option<i64>,
    /// Qualities seen since then.
    codes: u64,
    cause: Cause,
    log: Option<usize>,
    /// Everything that can matter has been fed.
    done: bool,
    pub(crate) good: u64,
    pub(crate) not_good: u64,
    pub(crate) by_code: [u64; 64],
    pub(crate) gaps: Vec<Gap>,
    pub(crate) logs: Vec<LogTrace>,
    /// Milliseconds that were fed twice and counted once.
    pub(crate) overlap_ms: i64,
    /// The streams the point was in, with their logs.
    pub(crate) streams: Vec<(usize, u16)>,
}

/// Sums are kept on this grid; points have at most this many decimals.
const GRID_DECIMALS: u8 = 15;

const POWERS: [i128; 16] = {
    let mut powers = [1_i128; 16];
    let mut i = 1;
    while i < 16 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// What a mantissa with `decimals` decimals is multiplied by on the common grid.
pub(crate) fn grid_factor(decimals: u8) -> i128 {
    POWERS[usize::from(GRID_DECIMALS.saturating_sub(decimals))]
}

/// A mantissa on the common grid; 2^63 × 10^15 fits.
pub(crate) fn on_grid(mantissa: i64, decimals: u8) -> i128 {
    i128::from(mantissa) * grid_factor(decimals)
}

impl Track {
    pub(crate) const fn new(input: usize, kind: Kind) -> Self {
        Self {
            input,
            kind,
            covered_until: None,
            good_until: None,
            codes: 0,
            cause: Cause::NotBegun,
            log: None,
            done: false,
            good: 0,
            not_good: 0,
            by_code: [0; 64],
            gaps: Vec::new(),
            logs: Vec::new(),
            overlap_ms: 0,
            streams: Vec::new(),
        }
    }

    /// The log that was fed last.
    pub(crate) const fn log(&self) -> Option<usize> {
        self.log
    }

    pub(crate) fn feed(
        &mut self,
        cuts: &Cuts,
        placed: &Placed<'_>,
    ) -> Result<(), ComputationError> {
        if self.done {
            return Ok(());
        }
        if self.log.is_some_and(|log| log != placed.log) {
            self.hole(cuts, Cause::HandOver)?;
        }
        self.log = Some(placed.log);
        let covered = self.covered_until.unwrap_or(i64::MIN);
        if self
            .covered_until
            .is_some_and(|covered| placed.start_ms > covered)
            && self.cause != Cause::HandOver
        {
            self.hole(cuts, Cause::Hole)?;
        }
        if placed.start_ms < covered {
            self.overlap_ms += covered.min(placed.end_ms) - placed.start_ms;
        }
        if placed.end_ms > covered {
            self.trace(cuts, placed);
            self.covered_until = Some(placed.end_ms);
            match &placed.column.offsets_ms {
                None => self.polled(cuts, placed, covered)?,
                Some(offsets) => self.messages(cuts, placed, offsets, covered)?,
            }
        }
        Ok(())
    }

    /// Ticks were not covered: a message is not held beyond the ticks that were.
    fn hole(&mut self, cuts: &Cuts, cause: Cause) -> Result<(), ComputationError> {
        if let (Some(good), Some(covered)) = (self.good_until, self.covered_until) {
            self.end_good(cuts, good.min(covered))?;
        }
        if self.cause != Cause::NotBegun {
            self.cause = cause;
        }
        Ok(())
    }

    fn end_good(&mut self, cuts: &Cuts, until: i64) -> Result<(), ComputationError> {
        self.good_until = Some(until);
        if let Kind::Weigh(weigh) = &mut self.kind {
            weigh.release(cuts, until)?;
        }
        Ok(())
    }

    fn trace(&mut self, cuts: &Cuts, placed: &Placed<'_>) {
        if placed.end_ms <= cuts.start() || placed.start_ms >= cuts.end() {
            return;
        }
        let here = (placed.entry, *placed.leaf);
        match self.logs.last_mut() {
            Some(trace) if trace.log == placed.log => {
                trace.last = here;
                trace.segments += 1;
            }
            _ => self.logs.push(LogTrace {
                log: placed.log,
                first: here,
                last: here,
                segments: 1,
            }),
        }
    }

    fn polled(
        &mut self,
        cuts: &Cuts,
        placed: &Placed<'_>,
        covered: i64,
    ) -> Result<(), ComputationError> {
        let values = placed.column.values.as_slice();
        let mut next = 0;
        if covered > placed.start_ms {
            let ticks = (covered - placed.start_ms + placed.tick_ms - 1) / placed.tick_ms;
            next = usize::try_from(ticks)
                .or(Err(ComputationError::Overflow))?
                .min(values.len());
        }
        let time = |sample: usize| {
            let sample = i64::try_from(sample).or(Err(ComputationError::Overflow))?;
            Ok::<i64, ComputationError>(placed.start_ms + sample * placed.tick_ms)
        };
        let mut exceptions = placed.column.exceptions.as_slice();
        while next < values.len() {
            while exceptions
                .first()
                .is_some_and(|e| usize::from(e.sample) < next)
            {
                exceptions = &exceptions[1..];
            }
            let stop = exceptions
                .first()
                .map_or(values.len(), |e| usize::from(e.sample))
                .min(values.len());
            if stop > next {
                self.run(cuts, placed, &values[next..stop], time(next)?)?;
            }
            if stop < values.len() {
                let same = exceptions
                    .iter()
                    .take_while(|e| usize::from(e.sample) == stop)
                    .count();
                let (records, rest) = exceptions.split_at(same);
                self.bad(cuts, time(stop)?, records.iter().map(|e| e.quality.code()));
                exceptions = rest;
            }
            next = stop + 1;
        }
        Ok(())
    }

    fn messages(
        &mut self,
        cuts: &Cuts,
        placed: &Placed<'_>,
        offsets: &[u32],
        covered: i64,
    ) -> Result<(), ComputationError> {
        let mut exceptions = placed.column.exceptions.as_slice();
        for (sample, (offset, value)) in offsets.iter().zip(&placed.column.values).enumerate() {
            while exceptions
                .first()
                .is_some_and(|e| usize::from(e.sample) < sample)
            {
                exceptions = &exceptions[1..];
            }
            let time_ms = placed.start_ms + i64::from(*offset);
            if time_ms < covered || self.done {
                continue;
            }
            let same = exceptions
                .iter()
                .take_while(|e| usize::from(e.sample) == sample)
                .count();
            let (records, rest) = exceptions.split_at(same);
            exceptions = rest;
            if records.is_empty() {
                self.message(cuts, placed, *value, time_ms)?;
            } else {
                // From here on the value before is no longer known to hold.
                if let Some(good) = self.good_until {
                    self.end_good(cuts, good.min(time_ms))?;
                }
                self.bad(cuts, time_ms, records.iter().map(|e| e.quality.code()));
            }
        }
        Ok(())
    }

    /// A sample that does not count.
    fn bad(&mut self, cuts: &Cuts, time_ms: i64, codes: impl Iterator<Item = u8>) {
        let inside = time_ms >= cuts.start() && time_ms < cuts.end();
        self.not_good += u64::from(inside);
        for code in codes {
            self.codes |= 1_u64.checked_shl(u32::from(code)).unwrap_or(0);
            if let Some(count) = self.by_code.get_mut(usize::from(code)) {
                *count += u64::from(inside);
            }
        }
    }

    /// Good polled samples, tick by tick.
    fn run(
        &mut self,
        cuts: &Cuts,
        placed: &Placed<'_>,
        values: &[i64],
        start: i64,
    ) -> Result<(), ComputationError> {
        let mut rest = values;
        let mut time_ms = start;
        while let Some(&mantissa) = rest.first() {
            let (region, region_end) = cuts.region(time_ms);
            // As many samples as begin before the region ends.
            let room = (region_end.saturating_sub(time_ms) - 1) / placed.tick_ms + 1;
            let count = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            let (block, after) = rest.split_at(count);
            let first = placed.reading(mantissa, time_ms);
            self.join(cuts, first)?;
            match &mut self.kind {
                Kind::Increase(increase) => {
                    increase.block(cuts, region, block, first, placed.tick_ms)?;
                }
                Kind::Weigh(weigh) => {
                    weigh.block(cuts, (region, region_end), block, first, placed.tick_ms)?;
                }
            }
            if region == Region::After {
                self.done = true;
                return Ok(());
            }
            let length = i64::try_from(count).or(Err(ComputationError::Overflow))? * placed.tick_ms;
            self.counted(region, count);
            self.good_until = Some(time_ms + length - placed.tick_ms + placed.hold_ms);
            (rest, time_ms) = (after, time_ms + length);
        }
        Ok(())
    }

    fn message(
        &mut self,
        cuts: &Cuts,
        placed: &Placed<'_>,
        value: i64,
        time_ms: i64,
    ) -> Result<(), ComputationError> {
        let (region, _) = cuts.region(time_ms);
        let reading = placed.reading(value, time_ms);
        if let (Kind::Weigh(weigh), Some(good)) = (&mut self.kind, self.good_until) {
            weigh.release(cuts, good.min(time_ms))?;
        }
        self.join(cuts, reading)?;
        match &mut self.kind {
            Kind::Increase(increase) => {
                increase.block(cuts, region, &[value], reading, placed.tick_ms)?;
            }
            Kind::Weigh(weigh) => weigh.message(region, reading),
        }
        self.good_until = Some(time_ms + placed.hold_ms);
        self.counted(region, 1);
        self.done = region == Region::After;
        Ok(())
    }

    fn counted(&mut self, region: Region, count: usize) {
        if matches!(region, Region::Cell(_)) {
            self.good += u64::try_from(count).unwrap_or(u64::MAX);
        }
    }

    /// The step from the last good value to the next good reading: lists the gap between them.
    fn join(&mut self, cuts: &Cuts, next: Reading) -> Result<(), ComputationError> {
        let from = self.good_until.unwrap_or(i64::MIN);
        let gap = next.time_ms > from || self.cause == Cause::HandOver;
        let interruption = gap.then(|| Interruption {
            missing_ms: next.time_ms.saturating_sub(from),
            only_missing: self.cause == Cause::Samples && self.codes >> 32 == 0,
        });
        let crossing = match &mut self.kind {
            Kind::Increase(increase) => increase.cross(cuts, next, interruption)?,
            Kind::Weigh(_) => None,
        };
        if gap {
            self.list(cuts, from, next.time_ms, crossing);
        }
        (self.codes, self.cause) = (0, Cause::Samples);
        Ok(())
    }

    fn list(&mut self, cuts: &Cuts, from: i64, to: i64, crossing: Option<Crossing>) {
        let (from_ms, to_ms) = (from.max(cuts.start()), to.min(cuts.end()));
        let hand_over = self.cause == Cause::HandOver && from_ms == to_ms;
        if from_ms < to_ms || hand_over {
            let (codes, cause) = (self.codes, self.cause);
            self.gaps.push(Gap {
                from_ms,
                to_ms,
                codes,
                cause,
                crossing,
            });
        }
    }

    /// Nothing more comes: lists what is missing up to the end of the period.
    pub(crate) fn finish(&mut self, cuts: &Cuts) -> Result<(), ComputationError> {
        if let (Some(good), Some(covered)) = (self.good_until, self.covered_until) {
            self.end_good(cuts, good.min(covered))?;
        }
        if !self.done {
            let from = self.good_until.unwrap_or(i64::MIN);
            if self.cause != Cause::NotBegun {
                self.cause = Cause::Ended;
            }
            self.list(cuts, from, cuts.end(), None);
        }
        Ok(())
    }

    /// Milliseconds of gaps within each cell.
    pub(crate) fn gap_ms(&self, cuts: &Cuts) -> Vec<i64> {
        let mut sums = vec![0; cuts.cells()];
        for gap in &self.gaps {
            for (cell, from, to) in cuts.parts(gap.from_ms, gap.to_ms) {
                sums[cell] += to - from;
            }
        }
        sums
    }
}
