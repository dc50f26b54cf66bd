//! Exact hourly aggregates: what screens and previews are made of.
//!
//! They are rebuilt from segments at any time and never proof of anything. The aggregate of an hour is
//! that of its segments, merged in the order of their time: by begin, those with the same begin by
//! index. Counts, sum, smallest and largest value are the same in any order; the advances and resets
//! of a register are not, see [`HourAggregate::merge`].

use std::collections::BTreeMap;

use crate::cbor::{CborError, Reader, Writer};
use crate::measurement::{HOUR_MS, PointKind};
use crate::segment::{DecodedColumn, Segment};

/// What one aggregate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateKey {
    /// The stream.
    pub stream: u16,
    /// The point's index in the configuration.
    pub point: u16,
    /// The start of the UTC hour, in unix milliseconds.
    pub hour_ms: i64,
    /// The index of the control entry that sealed the configuration.
    pub config_index: u64,
}

/// One point over one UTC hour; values are mantissas on the point's grid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HourAggregate {
    /// Samples per quality code, 0 being good.
    pub counts: BTreeMap<u8, u64>,
    /// Sum of the good values.
    pub sum: i128,
    /// The smallest good value.
    pub min: Option<i64>,
    /// The largest good value.
    pub max: Option<i64>,
    /// Registers: the first good reading as (unix ms, value).
    pub first: Option<(i64, i64)>,
    /// Registers: the last good reading.
    pub last: Option<(i64, i64)>,
    /// Registers: the sum of all advances between good readings that follow one another here.
    pub rises: i128,
    /// Registers: how often the register went down.
    pub resets: u64,
}

impl HourAggregate {
    /// The number of good samples.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.counts.get(&0).copied().unwrap_or(0)
    }

    /// Adds what another part of the same hour says.
    ///
    /// The step between two parts of a register is added when they join: from the last good reading
    /// of the earlier part to the first of the later one. It is counted in [`Self::rises`] or
    /// [`Self::resets`] and cannot be taken out again. So, for registers, either part may be `self`,
    /// but nothing that belongs between the two, or inside one of them, may be merged later: parts
    /// are merged in the order of their time, each one when all before it are in. Runs of parts may
    /// be joined first and then merged. Whoever gets a part that begins before the end of what is
    /// merged already (segments placed by a clock event, a clock that was set back) makes the hour
    /// again from all its segments.
    pub fn merge(&mut self, other: &Self) {
        for (code, count) in &other.counts {
            *self.counts.entry(*code).or_default() += count;
        }
        self.sum += other.sum;
        self.min = [self.min, other.min].into_iter().flatten().min();
        self.max = [self.max, other.max].into_iter().flatten().max();
        self.rises += other.rises;
        self.resets += other.resets;
        let (early, late) = if self.first <= other.first && self.first.is_some() {
            (&*self, other)
        } else {
            (other, &*self)
        };
        let step = match (early.last, late.first) {
            (Some((_, before)), Some((_, after))) => Some(i128::from(after) - i128::from(before)),
            _ => None,
        };
        let first = [self.first, other.first].into_iter().flatten().min();
        let last = [self.last, other.last].into_iter().flatten().max();
        match step {
            Some(step) if step < 0 => self.resets += 1,
            Some(step) => self.rises += step,
            None => {}
        }
        self.first = first;
        self.last = last;
    }

    /// The aggregate as bytes for a store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(8).array(self.counts.len());
        for (code, count) in &self.counts {
            w.array(2).uint(*code).uint(*count);
        }
        w.byte_string(&self.sum.to_be_bytes());
        for bound in [self.min, self.max] {
            match bound {
                Some(value) => w.int(value),
                None => w.null(),
            };
        }
        for edge in [self.first, self.last] {
            match edge {
                Some((ms, value)) => w.array(2).int(ms).int(value),
                None => w.null(),
            };
        }
        w.byte_string(&self.rises.to_be_bytes()).uint(self.resets);
        w.into_bytes()
    }

    /// Reads [`Self::encode`].
    ///
    /// # Errors
    /// [`CborError`] when the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let r = &mut Reader::new(bytes);
        r.tuple(8)?;
        let mut aggregate = Self::default();
        for _code in 0..r.array()? {
            r.tuple(2)?;
            aggregate.counts.insert(r.small()?, r.uint()?);
        }
        aggregate.sum = i128::from_be_bytes(r.array_of()?);
        aggregate.min = if r.null() { None } else { Some(r.int()?) };
        aggregate.max = if r.null() { None } else { Some(r.int()?) };
        let mut edge = || {
            if r.null() {
                return Ok(None);
            }
            r.tuple(2)?;
            Ok::<_, CborError>(Some((r.int()?, r.int()?)))
        };
        aggregate.first = edge()?;
        aggregate.last = edge()?;
        aggregate.rises = i128::from_be_bytes(r.array_of()?);
        aggregate.resets = r.uint()?;
        r.end()?;
        Ok(aggregate)
    }

    fn good_value(&mut self, ms: i64, value: i64, register: bool) {
        self.sum += i128::from(value);
        self.min = Some(self.min.map_or(value, |least| least.min(value)));
        self.max = Some(self.max.map_or(value, |most| most.max(value)));
        if register {
            if let Some((_, before)) = self.last {
                match i128::from(value) - i128::from(before) {
                    step if step < 0 => self.resets += 1,
                    step => self.rises += step,
                }
            }
            self.first.get_or_insert((ms, value));
            self.last = Some((ms, value));
        }
    }
}

/// The aggregates of one segment; none while nobody knows its time.
#[must_use]
pub fn aggregate(segment: &Segment) -> Vec<(AggregateKey, HourAggregate)> {
    let mut result = Vec::new();
    for column in &segment.columns {
        let config_index = segment.config.index;
        let mut hours: BTreeMap<i64, HourAggregate> = BTreeMap::new();
        let kind = segment
            .config
            .config
            .points
            .get(usize::from(column.point))
            .map(|point| point.kind);
        accumulate(
            segment,
            column,
            kind == Some(PointKind::Register),
            &mut hours,
        );
        result.extend(hours.into_iter().map(|(hour_ms, aggregate)| {
            (
                AggregateKey {
                    stream: segment.ticks.stream,
                    point: column.point,
                    hour_ms,
                    config_index,
                },
                aggregate,
            )
        }));
    }
    result
}

fn accumulate(
    segment: &Segment,
    column: &DecodedColumn,
    register: bool,
    hours: &mut BTreeMap<i64, HourAggregate>,
) {
    let mut exceptions = column.exceptions.iter().peekable();
    for (sample, value) in (0_u16..).zip(&column.values) {
        let Some(ms) = segment.sample_ms(column, usize::from(sample)) else {
            return;
        };
        let hour_ms = ms.div_euclid(i64::from(HOUR_MS)) * i64::from(HOUR_MS);
        let hour = hours.entry(hour_ms).or_default();
        let code = exceptions
            .peek()
            .filter(|exception| exception.sample == sample)
            .map_or(0, |e| e.quality.code());
        while exceptions
            .next_if(|exception| exception.sample == sample)
            .is_some()
        {}
        *hour.counts.entry(code).or_default() += 1;
        if code == 0 {
            hour.good_value(ms, *value, register);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HourAggregate;

    fn part(readings: &[(i64, i64)]) -> HourAggregate {
        let mut part = HourAggregate::default();
        for (ms, value) in readings {
            part.good_value(*ms, *value, true);
        }
        part
    }

    fn merged(parts: &[&[(i64, i64)]]) -> HourAggregate {
        let mut all = HourAggregate::default();
        for readings in parts {
            all.merge(&part(readings));
        }
        all
    }

    #[test]
    fn parts_merged_in_order_of_time_are_the_whole_however_they_are_grouped() {
        let readings = [(0, 5), (1, 9), (2, 3), (3, 3), (4, 8), (5, 1)];
        let whole = part(&readings);
        assert_eq!((whole.rises, whole.resets), (9, 2));
        for one in 0..=readings.len() {
            for two in one..=readings.len() {
                let [a, b, c] = [&readings[..one], &readings[one..two], &readings[two..]];
                assert_eq!(merged(&[a, b, c]), whole, "{one} {two}");
                let mut late = merged(&[b, c]);
                late.merge(&part(a));
                assert_eq!(late, whole, "{one} {two}, the run of the last two first");
            }
        }
    }

    #[test]
    fn a_part_that_comes_after_its_neighbours_have_joined_is_not_counted_right() {
        let [a, b, c] = [[(0, 5)], [(1, 3)], [(2, 8)]];
        let right = merged(&[&a, &b, &c]);
        assert_eq!((right.rises, right.resets), (5, 1));
        let wrong = merged(&[&a, &c, &b]);
        assert_ne!((wrong.rises, wrong.resets), (5, 1));
        assert_eq!(
            (wrong.sum, wrong.min, wrong.max),
            (right.sum, right.min, right.max)
        );
    }
}
