//! Which instants of a point have been fed.
//!
//! A set of ranges, not a high-water mark: a segment that a wrong clock placed far ahead covers its own
//! ticks and nothing before them. Normally there is one range and each segment extends it in place.

/// Ranges of time, ascending, that do not overlap; those of one log that touch are one.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    ranges: Vec<Range>,
    /// The range that was extended last: most often the next segment extends it too.
    current: usize,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    from: i64,
    until: i64,
    log: usize,
}

impl Coverage {
    /// Covers `from..until` if that is all new and extends what was covered last; false when
    /// [`Self::insert`] must look closer.
    pub(crate) fn extend(&mut self, from: i64, until: i64, log: usize) -> bool {
        let room = self
            .ranges
            .get(self.current + 1)
            .is_none_or(|next| next.from > until);
        match self.ranges.get_mut(self.current) {
            Some(range) if range.until == from && range.log == log && room => {
                range.until = until;
                true
            }
            _ => false,
        }
    }

    /// Covers `from..until`; gives the parts that were not covered yet, ascending.
    pub(crate) fn insert(&mut self, from: i64, until: i64, log: usize) -> Vec<(i64, i64)> {
        let mut parts = Vec::new();
        let mut at = from;
        let first = self.ranges.partition_point(|range| range.until <= from);
        for range in self.ranges.iter().skip(first) {
            if range.from >= until {
                break;
            }
            if range.from > at {
                parts.push((at, range.from));
            }
            at = range.until;
        }
        if at < until {
            parts.push((at, until));
        }
        for &(from, until) in &parts {
            self.put(Range { from, until, log });
        }
        parts
    }

    fn put(&mut self, new: Range) {
        let at = self.ranges.partition_point(|range| range.from < new.from);
        let touches_right = self
            .ranges
            .get(at)
            .is_some_and(|right| right.from == new.until && right.log == new.log);
        let left = at.checked_sub(1).filter(|left| {
            self.ranges
                .get(*left)
                .is_some_and(|left| left.until == new.from && left.log == new.log)
        });
        self.current = match (left, touches_right) {
            (Some(left), true) => {
                self.ranges[left].until = self.ranges[at].until;
                self.ranges.remove(at);
                left
            }
            (Some(left), false) => {
                self.ranges[left].until = new.until;
                left
            }
            (None, true) => {
                self.ranges[at].from = new.from;
                at
            }
            (None, false) => {
                self.ranges.insert(at, new);
                at
            }
        };
    }

    /// The range around an instant, as (from, until); an instant alone when nothing covers it.
    pub(crate) fn around(&self, time_ms: i64) -> (i64, i64) {
        let at = self.ranges.partition_point(|range| range.until <= time_ms);
        match self.ranges.get(at) {
            Some(range) if range.from <= time_ms => (range.from, range.until),
            _ => (time_ms, time_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Coverage;
    use proptest::prelude::proptest;

    #[test]
    fn a_range_far_ahead_leaves_what_lies_before_it_uncovered() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.insert(0, 10, 0), [(0, 10)]);
        assert_eq!(coverage.insert(1000, 1010, 0), [(1000, 1010)]);
        assert!(!coverage.extend(10, 20, 0), "the range ahead was fed last");
        assert_eq!(coverage.insert(10, 20, 0), [(10, 20)]);
        assert!(coverage.extend(20, 999, 0), "from here on in place again");
        assert_eq!(coverage.insert(990, 1020, 0), [(999, 1000), (1010, 1020)]);
        assert_eq!(coverage.around(5), (0, 1020));
    }

    #[test]
    fn two_logs_that_touch_stay_two_ranges() {
        let mut coverage = Coverage::default();
        coverage.insert(0, 10, 0);
        assert!(!coverage.extend(10, 20, 1));
        assert_eq!(coverage.insert(5, 20, 1), [(10, 20)]);
        assert_eq!(
            (coverage.around(9), coverage.around(10)),
            ((0, 10), (10, 20))
        );
    }

    proptest! {
        #[test]
        fn each_instant_is_new_exactly_once(spans in proptest::collection::vec((0_i64..60, 1_i64..20, 0_usize..2), 1..30)) {
            let mut coverage = Coverage::default();
            let mut seen = [false; 80];
            for (from, length, log) in spans {
                let until = from + length;
                let parts = if coverage.extend(from, until, log) { vec![(from, until)] } else { coverage.insert(from, until, log) };
                for at in from..until {
                    let new = parts.iter().any(|(from, until)| (*from..*until).contains(&at));
                    let cell = &mut seen[usize::try_from(at).unwrap()];
                    assert_eq!(new, !*cell, "at {at}");
                    *cell = true;
                }
            }
            for (at, seen) in (0_i64..).zip(seen) {
                let (from, until) = coverage.around(at);
                assert_eq!((from..until).contains(&at), seen);
            }
        }
    }
}
