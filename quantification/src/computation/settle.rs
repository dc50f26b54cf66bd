//! What lies between the runs of a track: the steps from run to run, the gaps, the edges.
//!
//! Runs are taken in the order of time, whatever order they were fed in. Two that were not fed one
//! after the other, or with readings of instants that had come before between them, have a clock set
//! between them: the step is a gap, even without time in it, since it took longer than it seems. A
//! reading beyond an edge of the period is that edge's reading only if the readings within the period
//! were all fed on the other side of it; a segment that a wrong clock placed there is none.

use super::ComputationError;
use super::cuts::{Cuts, Region};
use super::increase::Interruption;
use super::run::{BESIDE, Good, Rate, Run, What};
use super::track::{Cause, Gap, Kind, Reading, Track};

/// What is known since the last good value.
struct Since {
    /// The end of the last good value.
    good_until: Option<i64>,
    last: Option<Reading>,
    codes: u64,
    cause: Cause,
}

impl Track {
    /// Nothing more comes: joins the runs, and lists what is missing up to the end of the period.
    pub(crate) fn finish(&mut self, cuts: &Cuts) -> Result<(), ComputationError> {
        self.close();
        let runs = std::mem::take(&mut self.runs);
        let order = in_time(&runs);
        let mut since = Since {
            good_until: None,
            last: None,
            codes: 0,
            cause: Cause::NotBegun,
        };
        let mut before: Option<usize> = None;
        let mut ended = true;
        for (at, &position) in order.iter().enumerate() {
            let run = &runs[position];
            if let Some(before) = before {
                self.between(&runs, before, position, &mut since);
            }
            before = Some(position);
            let good = match &run.what {
                What::Bad { codes, .. } => {
                    since.codes |= codes;
                    // From here on a message before is no longer known to hold.
                    since.good_until = since.good_until.map(|good| good.min(run.from_ms));
                    continue;
                }
                What::Good(good) => good,
            };
            self.join(cuts, good.first, &mut since, || beside(&runs, &order, at))?;
            let next = order.get(at + 1).map(|next| runs[*next].from_ms);
            let until = self.held(good, next);
            match &mut self.kind {
                Kind::Increase(increase) => increase.saw(cuts, run.region, good.first, good.last),
                Kind::Weigh(weigh) => {
                    if matches!(run.region, Region::Cell(_)) {
                        weigh.saw(good.first, good.last);
                    }
                    if good.tick_ms.is_none() {
                        weigh.interval(cuts, good.last, good.last.time_ms, until)?;
                    }
                }
            }
            if run.region == Region::After {
                ended = false;
                break;
            }
            (since.good_until, since.last) = (Some(until), Some(good.last));
        }
        if ended {
            if since.cause != Cause::NotBegun {
                since.cause = Cause::Ended;
            }
            let from = since.good_until.unwrap_or(i64::MIN);
            self.list(cuts, &since, from, cuts.end(), None);
        }
        if let Kind::Increase(increase) = &mut self.kind {
            increase.resets.sort_by_key(|reset| reset.before.time_ms);
        }
        Ok(())
    }

    /// Until when the last value of a run holds: not beyond the ticks that were fed, nor into a run
    /// that follows.
    fn held(&self, good: &Good, next: Option<i64>) -> i64 {
        if good.tick_ms.is_some() {
            return good.until_ms;
        }
        let (_, covered) = self.coverage.around(good.last.time_ms);
        let until = good.until_ms.min(covered);
        next.map_or(until, |next| until.min(next))
    }

    /// What two runs that are neighbours in time have between them.
    fn between(&self, runs: &[Run], before: usize, after: usize, since: &mut Since) {
        if since.cause == Cause::NotBegun || since.cause == Cause::HandOver {
            return;
        }
        let (a, b) = (&runs[before], &runs[after]);
        let end = match &a.what {
            What::Good(good) => good.last.time_ms,
            What::Bad { .. } => a.from_ms,
        };
        if a.log != b.log {
            since.cause = Cause::HandOver;
        } else if b.skipped || !in_order(runs, before, after) {
            since.cause = Cause::ClockSet;
        } else if since.cause == Cause::Samples && self.coverage.around(end).1 <= b.from_ms {
            since.cause = Cause::Hole;
        }
    }

    /// The step from the last good value to the next good reading: lists the gap between them.
    fn join(
        &mut self,
        cuts: &Cuts,
        next: Reading,
        since: &mut Since,
        beside: impl FnOnce() -> Option<Rate>,
    ) -> Result<(), ComputationError> {
        let from = since.good_until.unwrap_or(i64::MIN);
        let parted = matches!(since.cause, Cause::HandOver | Cause::ClockSet);
        let gap = next.time_ms > from || parted;
        let crossing = match (&mut self.kind, since.last) {
            (Kind::Increase(increase), Some(last)) => {
                let interruption = gap.then(|| Interruption {
                    missing_ms: next.time_ms.saturating_sub(from),
                    only_missing: since.cause == Cause::Samples && since.codes >> 32 == 0,
                    beside: beside(),
                });
                increase.cross(cuts, last, next, interruption)?
            }
            _ => None,
        };
        if gap {
            self.list(cuts, since, from, next.time_ms, crossing);
        }
        (since.codes, since.cause) = (0, Cause::Samples);
        Ok(())
    }

    fn list(
        &mut self,
        cuts: &Cuts,
        since: &Since,
        from: i64,
        to: i64,
        crossing: Option<super::increase::Crossing>,
    ) {
        let (from_ms, to_ms) = (from.max(cuts.start()), to.min(cuts.end()));
        let parted = matches!(since.cause, Cause::HandOver | Cause::ClockSet) && from_ms == to_ms;
        if from_ms < to_ms || parted {
            self.gaps.push(Gap {
                from_ms,
                to_ms,
                codes: since.codes,
                cause: since.cause,
                crossing,
            });
        }
    }
}

/// The positions of the runs that count, in the order of time.
///
/// Left out are readings before the period that came after readings within it, and readings behind
/// the period that came before readings within it.
fn in_time(runs: &[Run]) -> Vec<usize> {
    let inside = |run: &Run| matches!(run.region, Region::Cell(_));
    let (first, last) = (runs.iter().position(inside), runs.iter().rposition(inside));
    let counts = |position: &usize| match runs[*position].region {
        Region::Before => first.is_none_or(|first| *position < first),
        Region::After => last.is_none_or(|last| *position > last),
        Region::Cell(_) => true,
    };
    let mut order: Vec<usize> = (0..runs.len()).filter(counts).collect();
    order.sort_by_key(|position| (runs[*position].from_ms, *position));
    order
}

/// Whether nothing of the period was fed between two runs that follow one another in time.
fn in_order(runs: &[Run], before: usize, after: usize) -> bool {
    before < after
        && runs[before + 1..after]
            .iter()
            .all(|run| !matches!(run.region, Region::Cell(_)))
}

/// The largest rate of about [`BESIDE`] good samples before the run at `at` and as many from there on.
fn beside(runs: &[Run], order: &[usize], at: usize) -> Option<Rate> {
    let goods = |positions: &mut dyn Iterator<Item = &usize>, tail: bool| {
        let (mut seen, mut largest) = (0_u64, None);
        for position in positions {
            if let What::Good(good) = &runs[*position].what {
                largest = Rate::larger(largest, if tail { good.tail } else { good.head });
                seen = seen.saturating_add(good.count);
                if seen > BESIDE {
                    break;
                }
            }
        }
        largest
    };
    let before = goods(&mut order[..at].iter().rev(), true);
    Rate::larger(before, goods(&mut order[at..].iter(), false))
}
