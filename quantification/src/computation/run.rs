//! What was fed, in runs: good values without a gap between them, or samples that do not count.
//!
//! A run lies in one region of the period and comes from one log. What happens within it is summed
//! when it is fed; what happens between runs is settled at the end, in the order of time.

use super::cuts::Region;
use super::track::{Reading, on_grid};

/// How many good samples on each side of a gap its advance is compared with.
pub(crate) const BESIDE: u64 = 60;
/// As many values make that many steps.
const KEPT: usize = 61;

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) log: usize,
    pub(crate) region: Region,
    pub(crate) from_ms: i64,
    /// Samples of instants that were fed before came ahead of it: a clock was set back.
    pub(crate) skipped: bool,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Good(Box<Good>),
    /// Bit q is set when a sample of quality q lies in it; it ends at `until_ms`.
    Bad {
        codes: u64,
        until_ms: i64,
    },
}

#[derive(Debug)]
pub(crate) struct Good {
    pub(crate) first: Reading,
    pub(crate) last: Reading,
    /// The end of the last value: its tick, or the time a message holds.
    pub(crate) until_ms: i64,
    /// None for messages.
    pub(crate) tick_ms: Option<i64>,
    pub(crate) count: u64,
    /// The largest rate in the first and in the last samples; totalisers only.
    pub(crate) head: Option<Rate>,
    pub(crate) tail: Option<Rate>,
}

/// An advance on the grid of the sums, and the milliseconds it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) advance: i128,
    pub(crate) ms: i64,
}

impl Rate {
    /// Whether this is at most `factor` times `other`. What is too large to tell is not.
    pub(crate) fn within(self, factor: i128, other: Self) -> bool {
        let ours = self.advance.checked_mul(i128::from(other.ms));
        let theirs = other
            .advance
            .checked_mul(i128::from(self.ms))
            .and_then(|product| product.checked_mul(factor));
        matches!((ours, theirs), (Some(ours), Some(theirs)) if ours <= theirs)
    }

    pub(crate) fn larger(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(a), Some(b)) => Some(if a.within(1, b) { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// The last values of the run being fed, to know its largest rate once it ends. Copying them is much
/// cheaper than comparing every sample.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    values: Vec<i64>,
    /// Empty for polled samples, which lie a tick apart.
    times: Vec<i64>,
}

impl Tail {
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.times.clear();
    }

    pub(crate) fn polled(&mut self, values: &[i64]) {
        let new = &values[values.len().saturating_sub(KEPT)..];
        let excess = (self.values.len() + new.len()).saturating_sub(KEPT);
        self.values.drain(..excess);
        self.values.extend_from_slice(new);
    }

    pub(crate) fn message(&mut self, value: i64, time_ms: i64) {
        self.polled(&[value]);
        if self.times.len() == KEPT {
            self.times.remove(0);
        }
        self.times.push(time_ms);
    }

    pub(crate) fn rate(&self, decimals: u8, tick_ms: Option<i64>) -> Option<Rate> {
        match tick_ms {
            Some(tick_ms) => steepest(&self.values, decimals, tick_ms),
            None => self
                .values
                .windows(2)
                .zip(self.times.windows(2))
                .filter(|(_, times)| times[1] > times[0])
                .filter_map(|(values, times)| steepest(values, decimals, times[1] - times[0]))
                .fold(None, |largest, rate| Rate::larger(largest, Some(rate))),
        }
    }
}

/// The largest step upwards, or the register standing still; none when it only went down.
pub(crate) fn steepest(values: &[i64], decimals: u8, ms: i64) -> Option<Rate> {
    values
        .windows(2)
        .filter(|pair| pair[0] <= pair[1])
        .map(|pair| on_grid(pair[1], decimals) - on_grid(pair[0], decimals))
        .max()
        .map(|advance| Rate { advance, ms })
}

impl Good {
    /// Takes the rates of the last samples, which `count` already holds, into the head, as far as
    /// they belong to it; `before` is the reading they follow.
    pub(crate) fn lengthen_head(&mut self, before: Option<Reading>, values: &[i64], ms: i64) {
        let held = usize::try_from(self.count).unwrap_or(usize::MAX);
        let room = KEPT.saturating_sub(held.saturating_sub(values.len()));
        if room == 0 {
            return;
        }
        let values = &values[..values.len().min(room)];
        let decimals = self.first.decimals;
        let joint = before
            .zip(values.first())
            .and_then(|(before, first)| steepest(&[before.mantissa, *first], decimals, ms.max(1)));
        let within = steepest(values, decimals, ms.max(1));
        self.head = Rate::larger(self.head, Rate::larger(joint, within));
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Rate, Tail, steepest};

    #[test]
    fn the_tail_holds_the_last_sixty_steps() {
        let mut tail = Tail::default();
        tail.polled(&[0, 1_000_000]);
        for from in [1_000_000_i64, 1_000_030] {
            tail.polled(&(from..from + 30).collect::<Vec<_>>());
        }
        assert_eq!(tail.values.len(), KEPT);
        let rate = tail.rate(15, Some(1000)).unwrap();
        assert_eq!(
            (rate.advance, rate.ms),
            (1, 1000),
            "the large step is 61 steps back"
        );
        tail.polled(&(0..1000).map(|i| i * 5).collect::<Vec<_>>());
        assert_eq!(tail.rate(15, Some(1000)).unwrap().advance, 5);
    }

    #[test]
    fn a_register_standing_still_has_a_rate_and_one_going_down_has_none() {
        assert_eq!(steepest(&[7, 7], 15, 10).unwrap().advance, 0);
        assert!(steepest(&[7, 3], 15, 10).is_none());
        assert!(steepest(&[7], 15, 10).is_none());
    }

    #[test]
    fn rates_are_compared_by_their_exact_ratio() {
        let rate = |advance, ms| Rate { advance, ms };
        assert!(rate(4, 2).within(2, rate(1, 1)));
        assert!(!rate(5, 2).within(2, rate(1, 1)));
        assert!(
            !rate(i128::MAX, 1).within(2, rate(1, 1000)),
            "too large to tell is not within"
        );
        assert_eq!(
            Rate::larger(Some(rate(1, 3)), Some(rate(1, 2))).unwrap().ms,
            2
        );
    }
}
