use super::partition::{Axis, Run};
use super::times::utc;
use super::{Afterwards, Problem};
use crate::control::{ClockEvent, Control, Placed};
use crate::entry::{ClockStatus, GapReason};

fn axis(begins_here: bool) -> Axis {
    Axis::new(0, 1_000, (100_000, 200_000), begins_here)
}

#[test]
fn ticks_of_a_period_are_measured_declared_or_holes_and_add_up() {
    let mut axis = axis(false);
    axis.take(90, 20, Run::Measured); // 10 of them inside
    axis.take(110, 5, Run::Gap(GapReason::Power));
    axis.take(115, 5, Run::Dropped);
    axis.take(130, 10, Run::Measured); // a hole of 10 before
    axis.take(135, 10, Run::Measured); // 5 of them again
    axis.take(145, 100, Run::Measured);
    let (facts, problem) = axis.finish(false, false, false);
    assert!(problem.is_none(), "{problem:?}");
    assert_eq!(
        (facts.expected, facts.measured, facts.holes, facts.overlaps),
        (100, 10 + 10 + 10 + 55, 10, 5)
    );
    assert_eq!(facts.declared(), 10);
    assert_eq!(facts.gaps["power"].ticks, 5);
    assert_eq!(facts.gaps["storage"].entries, 1);
    assert_eq!(facts.unexplained(), 0);
    assert_eq!(facts.longest_gap_ms, Some((110_000, 130_000)));
}

#[test]
fn a_stream_that_does_not_reach_an_edge_of_the_period_is_incomplete_unless_the_log_says_why() {
    let mut late = axis(false);
    late.take(101, 200, Run::Measured);
    assert!(matches!(
        late.finish(false, false, false).1,
        Some(Problem::StartNotCovered { missing: 1, .. })
    ));
    let mut born = axis(true);
    born.take(101, 200, Run::Measured);
    let (facts, problem) = born.finish(false, false, false);
    assert_eq!(
        (facts.holes, problem.is_none()),
        (1, true),
        "a log that begins inside leaves a hole"
    );
    let mut successor = axis(true);
    successor.take(150, 200, Run::Measured);
    let (facts, problem) = successor.finish(true, false, false);
    assert_eq!(
        (facts.expected, facts.holes, problem.is_none()),
        (50, 0, true)
    );
    let mut short = axis(true);
    short.take(100, 99, Run::Measured);
    assert!(matches!(
        short.finish(false, false, false).1,
        Some(Problem::EndNotCovered { missing: 1, .. })
    ));
    let mut replaced = axis(true);
    replaced.take(100, 60, Run::Measured);
    let (facts, problem) = replaced.finish(false, true, false);
    assert_eq!(
        (facts.expected, facts.holes, problem.is_none()),
        (60, 0, true)
    );
    let mut ended = axis(true);
    ended.take(100, 60, Run::Measured);
    assert_eq!(ended.finish(false, false, true).0.holes, 40);
    let (facts, problem) = axis(true).finish(false, false, true);
    assert_eq!(
        (facts.holes, problem.is_none()),
        (100, true),
        "never sampled, never promised"
    );
}

#[test]
fn one_entry_placed_far_ahead_hides_nothing_of_what_follows() {
    let mut axis = axis(false);
    axis.take(90, 20, Run::Measured);
    axis.take(190, 5, Run::Gap(GapReason::Operator));
    axis.take(900, 10, Run::Measured);
    assert_eq!(axis.take(110, 80, Run::Measured), 80);
    assert_eq!(axis.take(190, 10, Run::Measured), 5);
    let (facts, problem) = axis.finish(false, false, false);
    assert!(problem.is_none(), "{problem:?}");
    assert_eq!(
        (
            facts.measured,
            facts.declared(),
            facts.overlaps,
            facts.holes
        ),
        (100, 5, 5, 0)
    );
}

#[test]
fn an_instant_is_measured_once_whatever_the_clock_did() {
    let mut axis = axis(false);
    assert_eq!(axis.take(95, 10, Run::Measured), 5);
    assert_eq!(axis.take(95, 10, Run::Measured), 0);
    assert_eq!(axis.take(100, 10, Run::Measured), 5);
}

#[test]
fn entries_without_a_time_get_it_from_the_event_that_places_them() {
    let placed = |from, shift| Placed {
        stream: 1,
        from,
        to: from + 2,
        shift,
    };
    let event = |from, shift| {
        Control::Clock(ClockEvent {
            source: ClockStatus::Ntp,
            error_ms: 0,
            shifts: vec![],
            placed: vec![placed(from, shift)],
            note: String::new(),
        })
    };
    let dropped = Control::Dropped {
        from: 2,
        to: 3,
        reason: String::new(),
    };
    let afterwards = Afterwards::new([&event(5, 10), &event(9, 20), &dropped]);
    assert_eq!(afterwards.shift(1, 5), Some(10));
    assert_eq!(afterwards.shift(1, 11), Some(20));
    assert_eq!(afterwards.shift(1, 4), None);
    assert_eq!(afterwards.shift(1, 8), None);
    assert_eq!(afterwards.shift(0, 5), None);
    assert_eq!(
        (1..5).map(|i| afterwards.is_dropped(i)).collect::<Vec<_>>(),
        [false, true, true, false]
    );
}

#[test]
fn times_are_told_in_utc() {
    assert_eq!(utc(0), "1970-01-01 00:00:00Z");
    assert_eq!(utc(1_767_225_600_999), "2026-01-01 00:00:00Z");
    assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00Z");
    assert_eq!(utc(-1), "1969-12-31 23:59:59Z");
}
