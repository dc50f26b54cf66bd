//! Where tick axes stand on the machine's monotonic time.
//!
//! A tick number is a position. While the clock is trusted its time is (tick + shift) × tick length;
//! while it is unset the axis just goes on from the last committed tick. Both are one rule here: on
//! the monotonic clock, tick n of a stream starts at `origin_ms + n × tick_ms`. Only a clock event or a
//! correction of at most two seconds moves an origin.

use std::collections::BTreeMap;

use evidence::entry::{ClockReading, ClockStatus};

use crate::clock::STEP_LIMIT_MS;

/// Differences of wall and monotonic time below this are the jitter of reading two clocks.
const JITTER_MS: i64 = 20;

/// The axis of one stream on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// The tick length in milliseconds.
    pub tick_ms: u32,
    /// Monotonic time at which tick 0 would have started; may be negative.
    pub origin_ms: i64,
    /// The shift that gives ticks their time; `None` while nobody knows it.
    pub shift: Option<i64>,
}

/// All axes, as the samplers see them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Axes {
    /// Changes whenever ticks were renumbered in time: samples taken under another generation do
    /// not belong to the tick they name.
    pub generation: u64,
    /// By stream.
    pub streams: BTreeMap<u16, Axis>,
}

/// What a look at the clock found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Wall time runs with the axes, or there is none.
    Steady,
    /// The wall clock moved by this many milliseconds, at most two seconds: the axes followed.
    Corrected(i64),
    /// Time is trusted for the first time in this run.
    FirstTime,
    /// The wall clock stepped by this many milliseconds.
    Stepped(i64),
}

/// The axes and how wall time stands to monotonic time.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    axes: Axes,
    /// Wall minus monotonic time while the clock is trusted.
    wall_minus_monotonic_ms: Option<i64>,
}

impl Axis {
    /// The tick in progress at a monotonic time; 0 before the axis began.
    #[must_use]
    pub fn tick_at(&self, monotonic_ms: u64) -> u64 {
        let since = signed(monotonic_ms) - self.origin_ms;
        u64::try_from(since.div_euclid(i64::from(self.tick_ms))).unwrap_or(0)
    }

    /// The monotonic time at which a tick starts; 0 when that was before the machine started.
    #[must_use]
    pub fn start_of(&self, tick: u64) -> u64 {
        let start = self
            .origin_ms
            .saturating_add(signed(tick).saturating_mul(self.tick_ms.into()));
        u64::try_from(start).unwrap_or(0)
    }

    /// The end (exclusive) of the segment that begins with `first`: the first tick that starts at or
    /// after the next multiple of the segment length, of UTC or, while unset, of the axis.
    ///
    /// The segment length is `segment_ms` or one tick, whichever is larger. Both divide the hour, so
    /// no segment crosses one.
    #[must_use]
    pub fn segment_end(&self, first: u64, segment_ms: u32) -> u64 {
        let tick_ms = i64::from(self.tick_ms);
        let segment_ms = i64::from(segment_ms.max(self.tick_ms));
        let shift = self.shift.unwrap_or(0);
        let start_ms = (signed(first) + shift) * tick_ms;
        let end_ms = (start_ms.div_euclid(segment_ms) + 1) * segment_ms;
        let end = ceil_div(end_ms, tick_ms) - shift;
        u64::try_from(end).unwrap_or(0).max(first + 1)
    }

    /// The wall time at which a tick starts, in unix milliseconds, while its shift is known.
    #[must_use]
    pub fn unix_ms(&self, tick: u64) -> Option<i64> {
        signed(tick)
            .checked_add(self.shift?)?
            .checked_mul(self.tick_ms.into())
    }
}

impl Timeline {
    /// The axes as they are.
    #[must_use]
    pub const fn axes(&self) -> &Axes {
        &self.axes
    }

    /// The axis of a stream.
    #[must_use]
    pub fn axis(&self, stream: u16) -> Option<&Axis> {
        self.axes.streams.get(&stream)
    }

    /// Whether ticks have a time.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.wall_minus_monotonic_ms.is_some()
    }

    /// Forgets all streams; a new generation begins.
    pub fn clear(&mut self) {
        self.axes.streams.clear();
        self.axes.generation += 1;
    }

    /// Takes over the wall clock as it is now.
    pub fn trust(&mut self, now: &ClockReading, monotonic_ms: u64) {
        self.wall_minus_monotonic_ms = Some(signed(now.unix_ms) - signed(monotonic_ms));
        self.axes.generation += 1;
    }

    /// Puts a stream on wall time with `shift`.
    ///
    /// Without trusted time this does nothing; call [`Timeline::trust`] first.
    pub fn place(&mut self, stream: u16, tick_ms: u32, shift: i64) {
        if let Some(difference) = self.wall_minus_monotonic_ms {
            let origin_ms = shift * i64::from(tick_ms) - difference;
            self.axes.streams.insert(
                stream,
                Axis {
                    tick_ms,
                    origin_ms,
                    shift: Some(shift),
                },
            );
            self.axes.generation += 1;
        }
    }

    /// Lets a stream's axis go on from `next_tick`, which starts at `monotonic_ms`, without a time.
    pub fn go_on(&mut self, stream: u16, tick_ms: u32, next_tick: u64, monotonic_ms: u64) {
        let origin_ms = signed(monotonic_ms) - signed(next_tick) * i64::from(tick_ms);
        self.axes.streams.insert(
            stream,
            Axis {
                tick_ms,
                origin_ms,
                shift: None,
            },
        );
        self.axes.generation += 1;
    }

    /// The shift that puts `next_tick` at the first whole tick of wall time from now on.
    #[must_use]
    pub fn shift_from_now(next_tick: u64, tick_ms: u32, now: &ClockReading) -> i64 {
        ceil_div(signed(now.unix_ms), i64::from(tick_ms)) - signed(next_tick)
    }

    /// The shift that describes, as well as whole ticks can, where an axis without a time stood,
    /// given that it is now `now`.
    #[must_use]
    pub fn shift_of_unset(axis: &Axis, now: &ClockReading, monotonic_ms: u64) -> i64 {
        let difference = signed(now.unix_ms) - signed(monotonic_ms);
        let tick_ms = i64::from(axis.tick_ms);
        (axis.origin_ms + difference + tick_ms / 2).div_euclid(tick_ms)
    }

    /// Compares wall with monotonic time. Small corrections are followed at once; what is an event is
    /// only reported, for the recorder to close its segments first.
    pub fn observe(&mut self, now: &ClockReading, monotonic_ms: u64) -> Observation {
        if now.status == ClockStatus::Unset {
            return Observation::Steady;
        }
        let difference = signed(now.unix_ms) - signed(monotonic_ms);
        let Some(known) = self.wall_minus_monotonic_ms else {
            return Observation::FirstTime;
        };
        let moved = difference - known;
        if moved.abs() <= JITTER_MS {
            Observation::Steady
        } else if moved.abs() <= STEP_LIMIT_MS {
            self.wall_minus_monotonic_ms = Some(difference);
            for axis in self.axes.streams.values_mut() {
                axis.origin_ms -= moved;
            }
            Observation::Corrected(moved)
        } else {
            Observation::Stepped(moved)
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const fn ceil_div(dividend: i64, divisor: i64) -> i64 {
    -(-dividend).div_euclid(divisor)
}

#[cfg(test)]
mod tests {
    use evidence::entry::{ClockReading, ClockStatus};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{Axis, Observation, Timeline};

    fn reading(unix_ms: u64) -> ClockReading {
        ClockReading {
            unix_ms,
            status: ClockStatus::Ntp,
            error_ms: 5,
        }
    }

    #[test]
    fn a_tick_starts_at_its_multiple_of_wall_time() {
        let mut timeline = Timeline::default();
        timeline.trust(&reading(1_000_250), 250);
        timeline.place(1, 1000, 0);
        let axis = timeline.axis(1).unwrap();
        assert_eq!(axis.tick_at(250), 1000);
        assert_eq!(axis.start_of(1001), 1000);
        assert_eq!(axis.unix_ms(1001), Some(1_001_000));
    }

    #[test]
    fn an_unset_axis_goes_on_from_the_last_committed_tick() {
        let mut timeline = Timeline::default();
        timeline.go_on(1, 1000, 500, 7_300);
        let axis = *timeline.axis(1).unwrap();
        assert_eq!(axis.tick_at(7_300), 500);
        assert_eq!(axis.tick_at(9_299), 501);
        let now = reading(1_700_000_010_000);
        // Tick 510 starts at monotonic 17,300; now is 17,900 and 1,700,000,010.0 of wall time.
        let shift = Timeline::shift_of_unset(&axis, &now, 17_900);
        assert_eq!(510 + shift, 1_700_000_009);
    }

    #[test]
    fn two_seconds_are_followed_and_more_is_an_event() {
        let mut timeline = Timeline::default();
        assert_eq!(
            timeline.observe(&reading(50_000), 0),
            Observation::FirstTime
        );
        timeline.trust(&reading(50_000), 0);
        timeline.place(1, 1000, 0);
        assert_eq!(
            timeline.observe(&reading(51_010), 1_000),
            Observation::Steady
        );
        assert_eq!(
            timeline.observe(&reading(53_500), 1_500),
            Observation::Corrected(2_000)
        );
        assert_eq!(timeline.axis(1).unwrap().tick_at(1_500), 53);
        assert_eq!(
            timeline.observe(&reading(51_999), 2_000),
            Observation::Stepped(-2_001)
        );
        assert_eq!(
            timeline.observe(&reading(51_999), 2_000),
            Observation::Stepped(-2_001)
        );
    }

    proptest! {
        #[test]
        fn segments_end_at_their_multiples_and_cross_no_hour(
            first in 0_u64..10_000_000, shift in -5_000_i64..500_000,
            tick_ms in proptest::sample::select(vec![100_u32, 1000, 7_200, 10_000, 60_000, 900_000, 3_600_000]),
            segment_ms in proptest::sample::select(vec![10_000_u32, 60_000, 300_000]),
        ) {
            let axis = Axis { tick_ms, origin_ms: 0, shift: Some(shift) };
            let end = axis.segment_end(first, segment_ms);
            prop_assert!(end > first);
            let hour = |tick| axis.unix_ms(tick).unwrap().div_euclid(3_600_000);
            prop_assert_eq!(hour(first), hour(end - 1));
            let segment = i64::from(segment_ms.max(tick_ms));
            let slot = |tick| axis.unix_ms(tick).unwrap().div_euclid(segment);
            prop_assert_eq!(slot(first), slot(end - 1));
            prop_assert!(slot(end) > slot(first));
        }
    }
}
