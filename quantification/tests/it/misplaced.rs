//! Segments that a wrong clock placed elsewhere: they end no account and earn nothing.

use evidence::entry::Ticks;
use proptest::prelude::proptest;
use quantification::exact::Exact;
use quantification::period::Period;
use quantification::plan::Bound;
use quantification::report::Report;

use crate::support::{GW1, Log, SOLAR_POINTS, Spec, bound, period, report, solar};

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;
const METERS: [Spec; 2] = [
    ("export.energy", "kWh", 3, true),
    ("aux.energy", "kWh", 3, true),
];

fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap()
}

fn meters() -> (Bound, Period) {
    let plan = solar(&[(
        "point = \"aux.power\" }]\nunit = \"kW\"\naggregation = \"integral\"",
        "point = \"aux.energy\" }]\nunit = \"kWh\"\naggregation = \"increase\"",
    )]);
    let bound = bound(&plan);
    let period = period(&bound, "2026-06-10", "2026-06-10");
    (bound, period)
}

/// From two hours before the day to two hours after, in segments of an hour at one sample a minute;
/// both registers advance 1 kWh a minute. Segment 2 is the first of the day.
fn day(period: &Period) -> Log {
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &METERS);
    log.fill(
        start - 2 * HOUR,
        period.end_ms() + 2 * HOUR,
        60,
        |_, time| Some(9_000_000 + (time - start) / MINUTE * 1000),
    );
    log
}

/// Puts the ticks of one segment elsewhere, as a clock set wrongly would.
fn place(log: &mut Log, segment: usize, start_ms: i64) {
    let ticks = &mut log.segments[segment].2.ticks;
    let first = u64::try_from(start_ms / MINUTE).unwrap();
    *ticks = Ticks { first, ..*ticks };
}

fn value(report: &Report, name: &str) -> Exact {
    report.parameter(name).unwrap().value
}

/// 2100-01-01 and 2000-01-01, UTC.
const FAR_AHEAD: i64 = 4_102_444_800_000;
const FAR_BACK: i64 = 946_684_800_000;

#[test]
fn a_segment_in_the_year_2100_or_2000_does_not_end_the_account() {
    let (bound, period) = meters();
    for elsewhere in [FAR_AHEAD, FAR_BACK] {
        let mut log = day(&period);
        place(&mut log, 8, elsewhere);
        let report = report(&bound, &period, &[&log]);
        assert_eq!(
            value(&report, "EC_aux"),
            exact("1.44"),
            "what costs counts over the hole"
        );
        assert_eq!(
            value(&report, "EG[revenue]"),
            exact("1.379"),
            "an hour and a tick are a hole"
        );
        let auxiliary = report.parameter("EC_aux").unwrap();
        assert_eq!(
            (auxiliary.gaps.len(), auxiliary.gaps[0].length_ms),
            (1, HOUR)
        );
        let measured = auxiliary.measured.as_ref().unwrap();
        assert_eq!(measured.first.as_ref().unwrap().at_ms, period.start_ms());
        assert_eq!(measured.last.as_ref().unwrap().at_ms, period.end_ms());
        assert!(!report.provisional, "{:?}", report.provisional_reasons());
    }
}

#[test]
fn power_is_weighed_on_after_a_segment_in_the_year_2100() {
    let bound = bound(&solar(&[]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let mut log = Log::new(GW1, 60_000, &SOLAR_POINTS);
    log.fill(
        period.start_ms(),
        period.end_ms() + HOUR,
        60,
        |point, time| Some(if point == 0 { time / MINUTE } else { 600 }),
    );
    place(&mut log, 3, FAR_AHEAD);
    let report = report(&bound, &period, &[&log]);
    assert_eq!(value(&report, "EC_aux"), exact("0.138"), "23 hours at 6 kW");
    assert_eq!(report.parameter("EC_aux").unwrap().gaps.len(), 1);
    assert!(report.provisional, "an hour of what costs is not measured");
}

#[test]
fn a_misplaced_segment_is_no_reading_at_the_edge() {
    let (bound, period) = meters();
    for (elsewhere, cut) in [(FAR_AHEAD, 20..28), (FAR_BACK, 0..3)] {
        // Nothing else lies beyond that edge.
        let mut log = day(&period);
        place(&mut log, 8, elsewhere);
        log.segments.drain(cut);
        let report = report(&bound, &period, &[&log]);
        assert!(report.provisional);
        let warned = |code: &str| report.warnings.iter().any(|warning| warning.code == code);
        assert!(warned("edge-open"), "{:?}", report.warnings);
        assert_eq!(warned("ends-early"), elsewhere == FAR_AHEAD);
        assert!(value(&report, "EG[revenue]") < exact("1.379"));
    }
}

#[test]
fn a_clock_that_ran_ahead_within_the_day_and_was_set_back_earns_nothing_twice() {
    let (bound, period) = meters();
    let mut log = day(&period);
    // The seventh hour is placed where the sixteenth will be.
    place(&mut log, 8, period.start_ms() + 15 * HOUR);
    let report = report(&bound, &period, &[&log]);
    let energy = report.parameter("EG[revenue]").unwrap();
    assert!(energy.value <= exact("1.44"), "{}", energy.value);
    assert!(value(&report, "EC_aux") >= exact("1.44"));
    assert!(
        energy
            .gaps
            .iter()
            .any(|gap| gap.reason == "a clock was set between the readings" && !gap.advance_counted),
        "{:?}",
        energy.gaps
    );
    assert_eq!(
        energy.measured.as_ref().unwrap().overlap_ms,
        HOUR,
        "only what was really covered"
    );
    assert!(
        report.provisional,
        "a register that went down leaves what costs unknown"
    );
}

#[test]
fn a_hole_that_a_later_entry_fills_is_none() {
    // A segment came late, with the readings of its own time.
    let (bound, period) = meters();
    let honest = report(&bound, &period, &[&day(&period)]);
    let mut log = day(&period);
    let late = log.segments.remove(8);
    log.segments.insert(24, late);
    for ((entry, ..), number) in log.segments.iter_mut().zip(2..) {
        *entry = number;
    }
    let report = report(&bound, &period, &[&log]);
    assert_eq!(value(&report, "EC_aux"), value(&honest, "EC_aux"));
    let energy = report.parameter("EG[revenue]").unwrap();
    assert!(
        energy.gaps.iter().all(|gap| gap.length_ms == 0),
        "{:?}",
        energy.gaps
    );
    let measured = energy.measured.as_ref().unwrap();
    assert_eq!((measured.good, measured.overlap_ms), (1440, 0));
}

proptest! {
    #[test]
    fn one_misplaced_segment_never_earns_more_and_never_hides_a_cost(segment in 0_usize..28, hours in -30_i64..60, minutes in 0_i64..60) {
        let (bound, period) = meters();
        let mut log = day(&period);
        place(&mut log, segment, period.start_ms() + hours * HOUR + minutes * MINUTE);
        let report = report(&bound, &period, &[&log]);
        assert!(value(&report, "EG[revenue]") <= exact("1.44"), "{}", value(&report, "EG[revenue]"));
        // Over an edge of the period itself a wrong clock makes another reading the edge's; what it
        // leaves out is the neighbouring period's, and the verifier bounds how wrong a clock can be.
        let placed = period.start_ms() + hours * HOUR + minutes * MINUTE;
        let over = |edge: i64| placed <= edge && placed + HOUR > edge;
        let over_an_edge = over(period.start_ms()) || over(period.end_ms());
        assert!(
            value(&report, "EC_aux") >= exact("1.44") || report.provisional || over_an_edge,
            "{}",
            value(&report, "EC_aux")
        );
        for parameter in &report.parameters {
            if parameter.measured.is_none() {
                continue;
            }
            let valid: i64 = parameter.intervals.iter().map(|interval| interval.valid_ms).sum();
            let gaps: i64 = parameter.gaps.iter().map(|gap| gap.length_ms).sum();
            assert_eq!(valid + gaps, 24 * HOUR, "{}", parameter.name);
        }
    }
}
