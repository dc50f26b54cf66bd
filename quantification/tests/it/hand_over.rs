//! A gateway that is replaced in the middle of a period.

use std::sync::Arc;

use evidence::segment::ConfigInForce;
use quantification::computation::{Computation, ComputationError, Difference};
use quantification::exact::Exact;

use crate::support::{GW1, GW2, INJECTION, Log, Spec, bound, changed, config, period, report};

const MINUTE: i64 = 60_000;
const POINTS: [Spec; 6] = [
    ("w1.mass", "kg", 0, true),
    ("w2.mass", "kg", 0, true),
    ("w1.co2", "wt%", 2, false),
    ("w2.co2", "wt%", 2, false),
    ("site.energy", "kWh", 1, true),
    ("genset.fuel", "L/h", 1, false),
];

fn plan() -> String {
    changed(
        INJECTION,
        &[
            ("first_day = \"2025-06-01\"", ""),
            ("from = \"2026-01-01\"", "from = \"2026-02-10\""),
            ("to = \"2026-03-31\"", "to = \"2026-02-10\""),
        ],
    )
}

/// 10 kg a minute per well, 99.5 %, 30 kWh a minute, 12 L/h.
fn value(start: i64) -> impl Fn(usize, i64) -> Option<i64> + Copy {
    move |point, time| {
        let minute = (time - start) / MINUTE;
        Some(match point {
            0 | 1 => 500_000 + minute * 10,
            2 | 3 => 9950,
            4 => 9_000_000 + minute * 300,
            _ => 120,
        })
    }
}

fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap()
}

#[test]
fn the_successor_takes_over_where_the_replaced_log_ends() {
    let bound = bound(&plan());
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let start = period.start_ms();
    let (mut old, mut new) = (
        Log::new(GW1, 60_000, &POINTS),
        Log::new(GW2, 60_000, &POINTS),
    );
    old.fill(start - 60 * MINUTE, start + 600 * MINUTE, 60, value(start));
    // The new gateway starts half an hour after the old one stopped.
    new.fill(
        start + 630 * MINUTE,
        period.end_ms() + 60 * MINUTE,
        30,
        value(start),
    );
    let report = report(&bound, &period, &[&old, &new]);

    let mass = report.parameter("Q[W-1]").unwrap();
    // 599 minutes on the old log (0..599), 810 on the new (630..1440); 31 minutes between are listed.
    assert_eq!(mass.value, exact("14.09"));
    assert_eq!(mass.gaps.len(), 1);
    assert_eq!(mass.gaps[0].length_ms, 30 * MINUTE);
    assert!(
        mass.gaps[0].reason.contains("hand-over"),
        "{}",
        mass.gaps[0].reason
    );
    assert_eq!(mass.gaps[0].advance, Some(exact("310")));
    let evidence = &mass.measured.as_ref().unwrap().evidence;
    assert_eq!(
        (evidence[0].origin.as_str(), evidence[1].origin.as_str()),
        (GW1, GW2)
    );

    // Electricity costs: what was consumed between counts.
    assert_eq!(report.parameter("EC").unwrap().value, exact("43.2"));
    // Composition is the mean of the time with a value, and the share is shown.
    let fraction = report.parameter("C[W-1]").unwrap();
    assert_eq!(fraction.value, exact("0.995"));
    assert_eq!(
        fraction.intervals[0].length_ms - fraction.intervals[0].valid_ms,
        30 * MINUTE
    );
}

#[test]
fn an_instant_in_both_logs_is_taken_from_the_replaced_one() {
    let bound = bound(&plan());
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let start = period.start_ms();
    let (mut old, mut new) = (
        Log::new(GW1, 60_000, &POINTS),
        Log::new(GW2, 60_000, &POINTS),
    );
    old.fill(start - MINUTE, start, 60, value(start));
    old.fill(start, start + 600 * MINUTE, 60, value(start));
    new.fill(
        start + 540 * MINUTE,
        period.end_ms() + 60 * MINUTE,
        60,
        value(start),
    );
    let report = report(&bound, &period, &[&old, &new]);
    let fuel = report.parameter("FC[diesel]").unwrap();
    assert_eq!(
        fuel.value,
        exact("288"),
        "12 L/h for 24 h, the shared hour once"
    );
    assert_eq!(fuel.measured.as_ref().unwrap().overlap_ms, 60 * MINUTE);
    let mass = report.parameter("Q[W-2]").unwrap();
    assert_eq!(
        mass.value,
        exact("14.39"),
        "the minute of the hand-over itself is listed"
    );
    assert_eq!((mass.gaps.len(), mass.gaps[0].length_ms), (1, 0));
    assert_eq!(mass.gaps[0].advance, Some(exact("10")));
}

#[test]
fn a_replaced_log_that_comes_after_its_successor_is_refused() {
    let bound = bound(&plan());
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let start = period.start_ms();
    let (mut old, mut new) = (
        Log::new(GW1, 60_000, &POINTS),
        Log::new(GW2, 60_000, &POINTS),
    );
    old.fill(start, start + 60 * MINUTE, 60, value(start));
    new.fill(start + 60 * MINUTE, start + 120 * MINUTE, 60, value(start));
    let mut computation = Computation::new(&bound, &period);
    new.feed(&mut computation).unwrap();
    let refused = old.feed(&mut computation).unwrap_err();
    assert!(
        matches!(refused, ComputationError::LogOrder { .. }),
        "{refused}"
    );
}

#[test]
fn entries_out_of_order_and_unknown_logs_are_refused() {
    let bound = bound(&plan());
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let mut log = Log::new(GW1, 60_000, &POINTS);
    log.fill(
        period.start_ms(),
        period.start_ms() + 120 * MINUTE,
        60,
        value(period.start_ms()),
    );
    let mut computation = Computation::new(&bound, &period);
    log.feed(&mut computation).unwrap();
    assert!(matches!(
        log.feed(&mut computation),
        Err(ComputationError::EntryOrder {
            last: 3,
            found: 2,
            ..
        })
    ));
    let (entry, leaf, segment) = &log.segments[0];
    let unknown = computation
        .segment("example.com/gw/0009", *entry, leaf, segment)
        .unwrap_err();
    assert!(matches!(unknown, ComputationError::UnknownLog(_)));
}

#[test]
fn a_sealed_configuration_that_is_not_what_the_plan_says_is_refused_once_it_matters() {
    let bound = bound(&plan());
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let start = period.start_ms();
    let mut points = POINTS;
    points[0].1 = "t";
    let mut wrong = Log::new(GW1, 60_000, &points);
    wrong.fill(start - 120 * MINUTE, start - 60 * MINUTE, 60, value(start));
    let mut computation = Computation::new(&bound, &period);
    wrong.feed(&mut computation).unwrap();
    let mut inside = Log::new(GW1, 60_000, &points);
    inside.next_entry = 10;
    inside.fill(start, start + 60 * MINUTE, 60, value(start));
    let refused = inside.feed(&mut computation).unwrap_err();
    let ComputationError::ConfigDiffers(differs) = refused else {
        panic!("{refused}")
    };
    let expected = Difference::Unit {
        sealed: "t".to_owned(),
        planned: "kg".to_owned(),
    };
    assert_eq!((differs.difference, differs.entry), (expected, 1));

    let mut points = POINTS;
    points[0].3 = false;
    let mut wrong = Log::new(GW1, 60_000, &points);
    wrong.fill(start, start + 60 * MINUTE, 60, value(start));
    let refused = wrong
        .feed(&mut Computation::new(&bound, &period))
        .unwrap_err();
    let ComputationError::ConfigDiffers(differs) = refused else {
        panic!("{refused}")
    };
    assert!(
        matches!(differs.difference, Difference::Kind { .. }),
        "{differs}"
    );
}

#[test]
fn a_point_that_the_configuration_lacks_is_a_gap_and_is_named() {
    let bound = bound(&plan());
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &POINTS[1..]);
    log.fill(
        start - 60 * MINUTE,
        period.end_ms() + 60 * MINUTE,
        60,
        |point, time| value(start)(point + 1, time),
    );
    let report = report(&bound, &period, &[&log]);
    let mass = report.parameter("Q[W-1]").unwrap();
    assert_eq!((mass.value, mass.gaps.len()), (Exact::ZERO, 1));
    assert_eq!(mass.gaps[0].reason, "no reading before");
    assert!(
        report
            .warnings
            .iter()
            .any(|w| w.code == "point-lacking" && w.text.contains("w1.mass"))
    );
}

#[test]
fn a_finer_grid_after_a_new_configuration_continues_the_register() {
    let bound = bound(&plan());
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &POINTS);
    log.fill(start - MINUTE, start, 60, value(start));
    log.fill(start, start + 600 * MINUTE, 60, value(start));
    let mut points = POINTS;
    points[0].2 = 3;
    points[5].2 = 0;
    log.config = Arc::new(ConfigInForce::new(
        config(60_000, &points, None),
        log.next_entry,
    ));
    log.next_entry += 1;
    log.fill(
        start + 600 * MINUTE,
        period.end_ms() + MINUTE,
        60,
        |point, time| {
            value(start)(point, time).map(|value| match point {
                0 => value * 1000,
                5 => value / 10,
                _ => value,
            })
        },
    );
    let report = report(&bound, &period, &[&log]);
    let mass = report.parameter("Q[W-1]").unwrap();
    assert_eq!((mass.value, mass.gaps.len()), (exact("14.4"), 0));
    assert_eq!(report.parameter("FC[diesel]").unwrap().value, exact("288"));
}

#[test]
fn a_sum_that_does_not_fit_is_an_error() {
    let bound = bound(&plan());
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let mut log = Log::new(GW1, 3_600_000, &POINTS);
    log.fill(period.start_ms(), period.end_ms(), 1, |_, _| Some(i64::MAX));
    let refused = log
        .feed(&mut Computation::new(&bound, &period))
        .unwrap_err();
    assert_eq!(refused, ComputationError::Overflow);
}
