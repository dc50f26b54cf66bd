//! One monitoring point through the period: coverage, gaps, counts, and the evidence behind them.
//!
//! A track is fed the columns of its point in log order, the replaced log before its successor. It
//! keeps them as runs of good values and of samples that do not count; what lies between the runs is
//! settled at the end, in the order of time (see `settle.rs`). Instants that come twice, after a clock
//! was set back or while two gateways ran side by side, count once: the first one fed stays.

use evidence::hash::Hash;
use evidence::segment::DecodedColumn;

use super::ComputationError;
use super::coverage::Coverage;
use super::cuts::{Cuts, Region};
use super::density::Counts;
use super::increase::{Crossing, Increase};
use super::run::{Good, Run, Tail, What};
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
    /// The readings on both sides were not fed one after the other: a clock was set.
    ClockSet,
    /// Nothing was read before.
    NotBegun,
    /// Nothing was read after.
    Ended,
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
    /// For mass flows: what became of the samples.
    pub(super) densities: Counts,
    /// The ticks that were fed.
    pub(super) coverage: Coverage,
    /// In the order fed.
    pub(super) runs: Vec<Run>,
    /// The last values of the last run.
    tail: Tail,
    /// Samples were left out since the last run, because their instants were fed before.
    skipped: bool,
    log: Option<usize>,
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
    pub(crate) fn new(input: usize, kind: Kind) -> Self {
        Self {
            input,
            kind,
            densities: Counts::default(),
            coverage: Coverage::default(),
            runs: Vec::new(),
            tail: Tail::default(),
            skipped: false,
            log: None,
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
        self.log = Some(placed.log);
        let whole = (placed.start_ms, placed.end_ms);
        if self.coverage.extend(whole.0, whole.1, placed.log) {
            self.trace(cuts, placed);
            return self.part(cuts, placed, whole);
        }
        let parts = self.coverage.insert(whole.0, whole.1, placed.log);
        let new: i64 = parts.iter().map(|(from, until)| until - from).sum();
        self.overlap_ms += whole.1 - whole.0 - new;
        self.skipped |= new < whole.1 - whole.0;
        if !parts.is_empty() {
            self.trace(cuts, placed);
        }
        for part in parts {
            self.part(cuts, placed, part)?;
        }
        Ok(())
    }

    /// The samples whose time lies in `part`, which nothing covered before.
    fn part(
        &mut self,
        cuts: &Cuts,
        placed: &Placed<'_>,
        part: (i64, i64),
    ) -> Result<(), ComputationError> {
        match &placed.column.offsets_ms {
            None => self.polled(cuts, placed, part),
            Some(offsets) => self.messages(cuts, placed, offsets, part),
        }
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
        (from, until): (i64, i64),
    ) -> Result<(), ComputationError> {
        let values = placed.column.values.as_slice();
        let sample_at = |time_ms: i64| {
            let ticks = (time_ms - placed.start_ms + placed.tick_ms - 1) / placed.tick_ms;
            usize::try_from(ticks).map_or(values.len(), |ticks| ticks.min(values.len()))
        };
        let (mut next, end) = (sample_at(from), sample_at(until));
        let time = |sample: usize| {
            let sample = i64::try_from(sample).or(Err(ComputationError::Overflow))?;
            Ok::<i64, ComputationError>(placed.start_ms + sample * placed.tick_ms)
        };
        let mut exceptions = placed.column.exceptions.as_slice();
        while next < end {
            while exceptions
                .first()
                .is_some_and(|e| usize::from(e.sample) < next)
            {
                exceptions = &exceptions[1..];
            }
            let stop = exceptions
                .first()
                .map_or(end, |e| usize::from(e.sample))
                .min(end);
            if stop > next {
                self.good(cuts, placed, &values[next..stop], (time(next)?, until))?;
            }
            if stop < end {
                let same = exceptions
                    .iter()
                    .take_while(|e| usize::from(e.sample) == stop)
                    .count();
                let (records, rest) = exceptions.split_at(same);
                let (from, codes) = (time(stop)?, records.iter().map(|e| e.quality.code()));
                self.bad(cuts, placed.log, (from, from + placed.tick_ms), codes);
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
        (from, until): (i64, i64),
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
            if time_ms < from || time_ms >= until {
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
                let codes = records.iter().map(|e| e.quality.code());
                self.bad(cuts, placed.log, (time_ms, time_ms), codes);
            }
        }
        Ok(())
    }

    /// A sample that does not count.
    fn bad(
        &mut self,
        cuts: &Cuts,
        log: usize,
        (from_ms, until_ms): (i64, i64),
        codes: impl Iterator<Item = u8>,
    ) {
        let (region, _) = cuts.region(from_ms);
        let inside = matches!(region, Region::Cell(_));
        self.not_good += u64::from(inside);
        let mut mask = 0_u64;
        for code in codes {
            mask |= 1_u64.checked_shl(u32::from(code)).unwrap_or(0);
            if let Some(count) = self.by_code.get_mut(usize::from(code)) {
                *count += u64::from(inside);
            }
        }
        if let Some(run) = self.runs.last_mut()
            && !self.skipped
            && let What::Bad {
                codes,
                until_ms: until,
            } = &mut run.what
            && (*until, run.log, run.region) == (from_ms, log, region)
        {
            (*codes, *until) = (*codes | mask, until_ms);
            return;
        }
        let what = What::Bad {
            codes: mask,
            until_ms,
        };
        self.begin(Run {
            log,
            region,
            from_ms,
            skipped: false,
            what,
        });
    }

    /// Ends the last run and begins another.
    fn begin(&mut self, run: Run) {
        self.close();
        let skipped = std::mem::take(&mut self.skipped);
        self.runs.push(Run { skipped, ..run });
    }

    /// The last run is not extended any more: keeps the largest rate of its last samples.
    pub(super) fn close(&mut self) {
        if let (Kind::Increase(_), Some(run)) = (&self.kind, self.runs.last_mut())
            && let What::Good(good) = &mut run.what
        {
            good.tail = self.tail.rate(good.first.decimals, good.tick_ms);
        }
        self.tail.clear();
    }

    /// Good polled samples, tick by tick; the last of them counts up to `until` at most.
    fn good(
        &mut self,
        cuts: &Cuts,
        placed: &Placed<'_>,
        values: &[i64],
        (start, until): (i64, i64),
    ) -> Result<(), ComputationError> {
        let tick_ms = placed.tick_ms;
        let mut rest = values;
        let mut time_ms = start;
        while let Some(&mantissa) = rest.first() {
            let (region, region_end) = cuts.region(time_ms);
            // As many samples as begin before the region ends.
            let room = (region_end.saturating_sub(time_ms) - 1) / tick_ms + 1;
            let count = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            let (block, after) = rest.split_at(count);
            let first = placed.reading(mantissa, time_ms);
            let length = i64::try_from(count).or(Err(ComputationError::Overflow))? * tick_ms;
            let last = placed.reading(block[count - 1], time_ms + length - tick_ms);
            let end = (time_ms + length).min(until);
            let before = self.extend(placed, region, (first, last), end, count, |run| {
                run.tick_ms == Some(tick_ms) && run.until_ms == time_ms
            });
            match &mut self.kind {
                Kind::Increase(increase) => {
                    if let Region::Cell(cell) = region {
                        if let Some(before) = before {
                            increase.step(cell, before, first)?;
                        }
                        increase.block(cell, block, first, tick_ms)?;
                    }
                    self.keep_rates(before, block, tick_ms);
                    self.tail.polled(block);
                }
                Kind::Weigh(weigh) => {
                    weigh.block(cuts, (region, region_end), block, first, (tick_ms, until))?;
                }
            }
            self.counted(region, count);
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
        let (covered_from, _) = self.coverage.around(time_ms);
        let until = time_ms + placed.hold_ms;
        let before = self.extend(placed, region, (reading, reading), until, 1, |run| {
            run.tick_ms.is_none()
                && (run.last.time_ms.max(covered_from)..=run.until_ms).contains(&time_ms)
                && run.last.time_ms >= covered_from
        });
        let elapsed = before.map_or(0, |before| time_ms - before.time_ms);
        match (&mut self.kind, before) {
            (Kind::Increase(increase), before) => {
                if let (Region::Cell(cell), Some(before)) = (region, before) {
                    increase.step(cell, before, reading)?;
                }
                self.keep_rates(before, &[value], elapsed);
                self.tail.message(value, time_ms);
            }
            (Kind::Weigh(weigh), Some(before)) => {
                weigh.interval(cuts, before, before.time_ms, time_ms)?;
            }
            (Kind::Weigh(_), None) => {}
        }
        self.counted(region, 1);
        Ok(())
    }

    /// Lengthens the last run, if it is one of good values that `joins` this one, and gives the
    /// reading it ended with; begins a new run otherwise.
    fn extend(
        &mut self,
        placed: &Placed<'_>,
        region: Region,
        (first, last): (Reading, Reading),
        until_ms: i64,
        count: usize,
        joins: impl Fn(&Good) -> bool,
    ) -> Option<Reading> {
        let polled = placed.column.offsets_ms.is_none();
        if let Some(run) = self.runs.last_mut()
            && !self.skipped
            && (run.log, run.region) == (placed.log, region)
            && let What::Good(good) = &mut run.what
            && good.last.decimals == placed.decimals
            && joins(good)
        {
            let before = good.last;
            (good.last, good.until_ms) = (last, until_ms);
            good.count += u64::try_from(count).unwrap_or(u64::MAX);
            return Some(before);
        }
        let what = What::Good(Box::new(Good {
            first,
            last,
            until_ms,
            tick_ms: polled.then_some(placed.tick_ms),
            count: u64::try_from(count).unwrap_or(u64::MAX),
            head: None,
            tail: None,
        }));
        self.begin(Run {
            log: placed.log,
            region,
            from_ms: first.time_ms,
            skipped: false,
            what,
        });
        None
    }

    /// The values that were just added to the last run, as rates of its first samples.
    fn keep_rates(&mut self, before: Option<Reading>, values: &[i64], ms: i64) {
        if let Some(Run {
            what: What::Good(good),
            ..
        }) = self.runs.last_mut()
        {
            good.lengthen_head(before, values, ms);
        }
    }

    fn counted(&mut self, region: Region, count: usize) {
        if matches!(region, Region::Cell(_)) {
            self.good += u64::try_from(count).unwrap_or(u64::MAX);
        }
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
