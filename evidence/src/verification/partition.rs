//! Where every tick of the period went: measured, declared gap, hole, or covered twice.
//!
//! Positions are tick numbers after the shift, so that position × tick length is unix time. The chain has
//! proven that data and gap entries partition a stream's own axis; this places that axis in time.

use std::collections::BTreeMap;

use super::Problem;
use crate::entry::GapReason;

/// Gaps of one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GapFacts {
    /// How many entries declare them.
    pub entries: u64,
    /// Their ticks within the period.
    pub ticks: u64,
}

/// The ticks of one stream within the period.
///
/// `measured + declared gaps + holes − overlaps = expected`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFacts {
    /// The stream.
    pub stream: u16,
    /// The tick length in milliseconds.
    pub tick_ms: u32,
    /// Whether the plan uses a point of it.
    pub relevant: bool,
    /// Ticks that the period has for this log.
    pub expected: u64,
    /// Ticks with a sealed payload.
    pub measured: u64,
    /// Declared gaps by reason; payloads declared dropped count under `storage`.
    pub gaps: BTreeMap<&'static str, GapFacts>,
    /// Ticks that no entry covers because the relation of ticks to time changed, because the log or
    /// stream began later or ended earlier.
    pub holes: u64,
    /// Ticks covered twice; the first one counts.
    pub overlaps: u64,
    /// Ticks that never got a time, in the whole bundle.
    pub unplaced: u64,
    /// The first position covered and the one after the last, unix milliseconds.
    pub covered_ms: Option<(i64, i64)>,
    /// The longest run without measurement, unix milliseconds.
    pub longest_gap_ms: Option<(i64, i64)>,
}

impl StreamFacts {
    /// Declared gap ticks of all reasons.
    #[must_use]
    pub fn declared(&self) -> u64 {
        self.gaps.values().map(|gap| gap.ticks).sum()
    }

    /// Expected ticks that are neither measured nor explained; 0 in every log that passes.
    #[must_use]
    pub fn unexplained(&self) -> i64 {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        signed(self.expected) + signed(self.overlaps)
            - signed(self.measured)
            - signed(self.declared())
            - signed(self.holes)
    }
}

/// What a run of ticks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Measured,
    Gap(GapReason),
    /// A data entry whose payload was declared dropped.
    Dropped,
}

/// One stream while its entries pass.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) facts: StreamFacts,
    /// The period in positions.
    from: i64,
    to: i64,
    /// What entries cover, and what of it is measured, in and around the period.
    covered: Ranges,
    measured: Ranges,
    /// Nothing of this stream can stand before the first entry that passes.
    pub(super) begins_here: bool,
}

/// A set of positions: start to end (exclusive), disjoint and not touching. Normally one range.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<i64, i64>);

impl Ranges {
    /// Adds a range and returns the parts of it that were not there before.
    fn add(&mut self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let mut new = Vec::new();
        if from >= to {
            return new;
        }
        let (mut start, mut end, mut at) = (from, to, from);
        let before = self
            .0
            .range(..from)
            .next_back()
            .filter(|(_, end)| **end >= from);
        let first = before.map_or(from, |(start, _)| *start);
        let met: Vec<(i64, i64)> = self.0.range(first..=to).map(|(a, b)| (*a, *b)).collect();
        for (a, b) in met {
            if a > at {
                new.push((at, a));
            }
            at = at.max(b);
            (start, end) = (start.min(a), end.max(b));
            self.0.remove(&a);
        }
        if at < to {
            new.push((at, to));
        }
        self.0.insert(start, end);
        new
    }

    /// The first position and the one behind the last.
    fn span(&self) -> Option<(i64, i64)> {
        let (first, _) = self.0.first_key_value()?;
        let (_, last) = self.0.last_key_value()?;
        Some((*first, *last))
    }

    /// The longest run of `from..to` that is not in the set.
    fn longest_missing(&self, from: i64, to: i64) -> Option<(i64, i64)> {
        let mut longest: Option<(i64, i64)> = None;
        let mut at = from;
        for (start, end) in self.0.iter().map(|(a, b)| (*a, *b)).chain([(to, to)]) {
            let run = (at, start.min(to));
            if run.1 > run.0 && longest.is_none_or(|(a, b)| b - a < run.1 - run.0) {
                longest = Some(run);
            }
            at = at.max(end);
        }
        longest
    }
}

impl Axis {
    pub(super) fn new(stream: u16, tick_ms: u32, period_ms: (i64, i64), begins_here: bool) -> Self {
        let tick = i64::from(tick_ms.max(1));
        let position = |ms: i64| ms.div_euclid(tick) + i64::from(ms.rem_euclid(tick) != 0);
        Self {
            facts: StreamFacts {
                stream,
                tick_ms,
                ..StreamFacts::default()
            },
            from: position(period_ms.0),
            to: position(period_ms.1).max(position(period_ms.0)),
            covered: Ranges::default(),
            measured: Ranges::default(),
            begins_here,
        }
    }

    fn clip(&self, from: i64, to: i64) -> u64 {
        let (from, to) = (from.max(self.from), to.min(self.to));
        u64::try_from(to.saturating_sub(from)).unwrap_or(0)
    }

    /// Takes the next run and returns how many of its ticks count as measured for the first time.
    ///
    /// Only what an earlier entry really covers is an overlap: one entry placed far ahead does not make
    /// everything behind it disappear.
    pub(super) fn take(&mut self, first: i64, count: u64, run: Run) -> u64 {
        let end = first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        let ticks = self.clip(first, end);
        let parts = self.covered.add(first, end);
        let new: u64 = parts.iter().map(|(a, b)| self.clip(*a, *b)).sum();
        self.facts.overlaps += ticks.saturating_sub(new);
        match run {
            Run::Measured => {
                self.facts.measured += ticks;
                for (a, b) in parts {
                    self.measured.add(a, b);
                }
                new
            }
            Run::Gap(reason) => {
                self.gap(reason.name(), ticks);
                0
            }
            Run::Dropped => {
                self.gap(GapReason::Storage.name(), ticks);
                0
            }
        }
    }

    fn ms(&self, position: i64) -> i64 {
        position.saturating_mul(i64::from(self.facts.tick_ms))
    }

    fn gap(&mut self, reason: &'static str, ticks: u64) {
        let gap = self.facts.gaps.entry(reason).or_default();
        gap.entries += u64::from(ticks > 0);
        gap.ticks += ticks;
    }

    /// Closes the account. `succeeds`: what lies before the first tick belongs to another log;
    /// `replaced`: what lies behind the last one does; `ended`: the stream was taken out of the configuration.
    pub(super) fn finish(
        mut self,
        succeeds: bool,
        replaced: bool,
        ended: bool,
    ) -> (StreamFacts, Option<Problem>) {
        let mut problem = None;
        let stream = self.facts.stream;
        let span = self.covered.span();
        let begin = span.map(|(first, _)| first);
        self.facts.covered_ms = span.map(|(first, last)| (self.ms(first), self.ms(last)));
        if let Some((first, last)) = span {
            let covered: u64 = self.covered.0.iter().map(|(a, b)| self.clip(*a, *b)).sum();
            self.facts.holes += self.clip(first, last).saturating_sub(covered);
        }
        let (mut from, mut to) = (self.from, self.to);
        match begin {
            Some(first) if first > self.from => {
                let missing = self.clip(self.from, first);
                if !self.begins_here {
                    problem = Some(Problem::StartNotCovered { stream, missing });
                }
                if succeeds && self.begins_here {
                    from = first.min(self.to);
                } else {
                    self.facts.holes += missing;
                }
            }
            None if !self.begins_here => {
                problem = Some(Problem::StartNotCovered {
                    stream,
                    missing: self.clip(self.from, self.to),
                });
            }
            _ => {}
        }
        let next = span.map_or(self.from, |(_, last)| last);
        if next < self.to {
            if replaced {
                to = next.max(from);
            } else {
                let missing = self.clip(next, self.to);
                self.facts.holes += missing;
                if !ended {
                    problem.get_or_insert(Problem::EndNotCovered { stream, missing });
                }
            }
        }
        self.facts.longest_gap_ms = self
            .measured
            .longest_missing(from, to)
            .map(|(a, b)| (self.ms(a), self.ms(b)));
        self.facts.expected = u64::try_from(to - from).unwrap_or(0);
        if problem.is_none() && self.facts.unexplained() != 0 {
            problem = Some(Problem::Unexplained {
                stream,
                unexplained: self.facts.unexplained(),
            });
        }
        (self.facts, problem)
    }
}
