//! Gaps, edges and resets of polled points: everything listed, nothing filled.

use evidence::quality::Quality;
use quantification::computation::Computation;
use quantification::exact::Exact;
use quantification::report::Report;

use crate::support::{GW1, Log, SOLAR_POINTS, bound, period, report, solar};

const MINUTE: i64 = 60_000;

fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap()
}

/// One day at one sample a minute. The register advances 1 kWh a minute; 6 kW auxiliary power.
fn day(plan: &str, missing: impl Fn(usize, i64) -> bool) -> Report {
    let bound = bound(plan);
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &SOLAR_POINTS);
    log.fill(
        start - 60 * MINUTE,
        period.end_ms() + 60 * MINUTE,
        60,
        |point, time| {
            let minute = (time - start) / MINUTE;
            (!missing(point, minute)).then_some(if point == 0 {
                7_000_000 + minute * 1000
            } else {
                600
            })
        },
    );
    report(&bound, &period, &[&log])
}

#[test]
fn a_day_without_gaps_counts_every_minute() {
    let report = day(&solar(&[]), |_, _| false);
    let energy = report.parameter("EG[revenue]").unwrap();
    assert_eq!((energy.value, energy.unit.as_str()), (exact("1.44"), "MWh"));
    assert!(energy.gaps.is_empty());
    let measured = energy.measured.as_ref().unwrap();
    assert_eq!((measured.good, measured.not_good), (1440, 0));
    assert_eq!(measured.first.as_ref().unwrap().at, "2026-06-09T16:00:00Z");
    assert_eq!(measured.last.as_ref().unwrap().at, "2026-06-10T16:00:00Z");
    assert_eq!(measured.last.as_ref().unwrap().value, exact("8440"));
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!(auxiliary.value, exact("0.144"), "6 kW for 24 h");
    assert!(!report.provisional, "{:?}", report.provisional_reasons);
}

#[test]
fn an_advance_over_missed_polls_is_listed_and_does_not_count_by_default() {
    // Minutes 100 to 102 time out: readings at 99 and 103 are good, the register advanced 4 kWh.
    let report = day(&solar(&[]), |point, minute| {
        point == 0 && (100..=102).contains(&minute)
    });
    let energy = report.parameter("EG[revenue]").unwrap();
    assert_eq!(energy.value, exact("1.436"));
    assert_eq!(energy.gaps.len(), 1);
    let gap = &energy.gaps[0];
    assert_eq!(
        (gap.from.as_str(), gap.to.as_str()),
        ("2026-06-09T17:40:00Z", "2026-06-09T17:43:00Z")
    );
    assert_eq!(
        (gap.length_ms, gap.reason.as_str()),
        (3 * MINUTE, "timeout")
    );
    assert_eq!(
        (gap.advance, gap.advance_counted),
        (Some(exact("4")), false)
    );
    let measured = energy.measured.as_ref().unwrap();
    assert_eq!(measured.by_quality.get("timeout"), Some(&3));
    assert_eq!((measured.good, measured.not_good), (1437, 3));
    assert_eq!(measured.totaliser.as_ref().unwrap().not_counted, exact("4"));
    let interval = &energy.intervals[0];
    assert_eq!(interval.length_ms - interval.valid_ms, 3 * MINUTE);
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.code == "advance-not-counted")
    );
}

#[test]
fn a_plan_can_count_advances_over_gaps_with_a_reason() {
    let rule = "aggregation = \"increase\"\nadvance_over_gap = \"count\"\nreason = \"the meter stops on fault\"";
    let plan = solar(&[("aggregation = \"increase\"", rule)]);
    let report = day(&plan, |point, minute| {
        point == 0 && (100..=102).contains(&minute)
    });
    let energy = report.parameter("EG[revenue]").unwrap();
    assert_eq!(energy.value, exact("1.44"));
    assert!(energy.gaps[0].advance_counted, "still listed");
    assert_eq!(
        energy
            .measured
            .as_ref()
            .unwrap()
            .totaliser
            .as_ref()
            .unwrap()
            .counted_over_gaps,
        exact("4")
    );
}

#[test]
fn bridging_holds_up_to_its_limit_and_only_where_nothing_was_read() {
    let rule =
        "aggregation = \"increase\"\nbridge_max_s = 120\nreason = \"the meter stops on fault\"";
    let plan = solar(&[("aggregation = \"increase\"", rule)]);
    let two = day(&plan, |point, minute| {
        point == 0 && (100..=101).contains(&minute)
    });
    assert_eq!(two.parameter("EG[revenue]").unwrap().value, exact("1.44"));
    let three = day(&plan, |point, minute| {
        point == 0 && (100..=102).contains(&minute)
    });
    assert_eq!(
        three.parameter("EG[revenue]").unwrap().value,
        exact("1.436")
    );

    // The same two minutes, flagged as a device fault: the register cannot be trusted over them.
    let bound = bound(&plan);
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &SOLAR_POINTS);
    log.fill(start, period.end_ms() + MINUTE, 60, |point, time| {
        let minute = (time - start) / MINUTE;
        (!(point == 0 && (100..=101).contains(&minute))).then_some(if point == 0 {
            minute * 1000
        } else {
            0
        })
    });
    for (_, _, segment) in &mut log.segments {
        for column in &mut segment.columns {
            column
                .exceptions
                .iter_mut()
                .for_each(|exception| exception.quality = Quality::DEVICE_FAULT);
        }
    }
    let flagged = report(&bound, &period, &[&log]);
    let energy = flagged.parameter("EG[revenue]").unwrap();
    assert_eq!(
        (energy.value, energy.gaps[0].reason.as_str()),
        (exact("1.437"), "device fault")
    );
}

#[test]
fn missing_power_of_a_consumer_is_listed_and_keeps_the_report_provisional() {
    let report = day(&solar(&[]), |point, minute| {
        point == 1 && (60..120).contains(&minute)
    });
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!(
        auxiliary.value,
        exact("0.138"),
        "23 h at 6 kW; the missing hour is not filled"
    );
    assert_eq!(auxiliary.gaps.len(), 1);
    assert!(report.provisional);
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.code == "costs-not-measured")
    );
}

#[test]
fn a_gap_entry_explains_the_gap_it_covers() {
    let bound = bound(&solar(&[]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &SOLAR_POINTS);
    let value = |point: usize, time: i64| {
        Some(if point == 0 {
            (time - start) / MINUTE * 1000
        } else {
            0
        })
    };
    log.fill(start, start + 60 * MINUTE, 60, value);
    log.next_entry += 1;
    log.fill(start + 120 * MINUTE, period.end_ms() + MINUTE, 60, value);
    let mut computation = Computation::new(&bound, &period);
    computation
        .gap(
            GW1,
            3,
            0,
            start + 60 * MINUTE,
            start + 120 * MINUTE,
            "power",
        )
        .unwrap();
    computation
        .gap(
            GW1,
            3,
            1,
            start + 60 * MINUTE,
            start + 120 * MINUTE,
            "another stream",
        )
        .unwrap();
    log.feed(&mut computation).unwrap();
    let declared = computation.finish().unwrap();
    let gap = &declared.parameter("EG[revenue]").unwrap().gaps[0];
    assert_eq!(
        (gap.reason.as_str(), gap.entries.as_slice()),
        ("power", &[3][..])
    );
    assert_eq!(
        (gap.length_ms, gap.advance),
        (60 * MINUTE, Some(exact("61")))
    );

    let undeclared = report(&bound, &period, &[&log]);
    let gap = &undeclared.parameter("EG[revenue]").unwrap().gaps[0];
    assert_eq!(gap.reason, "no entry covers this time");
}

#[test]
fn a_register_that_goes_down_begins_anew_and_never_counts_backwards() {
    let bound = bound(&solar(&[]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let start = period.start_ms();
    for reset_at in [90, 120] {
        // In the middle of a segment and at its beginning.
        let mut log = Log::new(GW1, 60_000, &SOLAR_POINTS);
        log.fill(start, period.end_ms() + MINUTE, 60, |point, time| {
            let minute = (time - start) / MINUTE;
            let register = if minute < reset_at {
                5_000_000 + minute * 1000
            } else {
                (minute - reset_at) * 1000
            };
            Some(if point == 0 { register } else { 0 })
        });
        let report = report(&bound, &period, &[&log]);
        let energy = report.parameter("EG[revenue]").unwrap();
        assert_eq!(
            energy.value,
            exact("1.439"),
            "the advance into the new epoch is unknown"
        );
        let resets = &energy
            .measured
            .as_ref()
            .unwrap()
            .totaliser
            .as_ref()
            .unwrap()
            .resets;
        assert_eq!(resets.len(), 1);
        assert_eq!(resets[0].before.value, Exact::whole(5000 + reset_at - 1));
        assert_eq!(resets[0].after.value, Exact::ZERO);
        assert!(
            report
                .warnings
                .iter()
                .any(|warning| warning.code == "reset")
        );
        assert!(
            !report.provisional,
            "a lost advance of what earns costs nothing"
        );
    }
}

#[test]
fn what_earns_is_cut_inside_the_period_and_what_costs_outside() {
    // The readings around both midnights are missing.
    let missing =
        |point: usize, minute: i64| point == 0 && (minute.abs() <= 2 || (minute - 1440).abs() <= 2);
    let earns = day(&solar(&[]), missing);
    let energy = earns.parameter("EG[revenue]").unwrap();
    // From the reading at minute 3 to the one at 1437.
    assert_eq!(energy.value, exact("1.434"));
    let totaliser = energy
        .measured
        .as_ref()
        .unwrap()
        .totaliser
        .as_ref()
        .unwrap();
    assert_eq!(totaliser.not_counted, exact("12"));
    assert_eq!(energy.gaps.len(), 2);
    assert_eq!(
        (energy.gaps[0].length_ms, energy.gaps[1].length_ms),
        (3 * MINUTE, 2 * MINUTE)
    );

    let plan = solar(&[(
        "point = \"aux.power\" }]\nunit = \"kW\"\naggregation = \"integral\"",
        "point = \"aux.energy\" }]\nunit = \"kWh\"\naggregation = \"increase\"",
    )]);
    let bound = bound(&plan);
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let start = period.start_ms();
    let mut log = Log::new(
        GW1,
        60_000,
        &[
            ("export.energy", "kWh", 3, true),
            ("aux.energy", "kWh", 3, true),
        ],
    );
    log.fill(
        start - 60 * MINUTE,
        period.end_ms() + 60 * MINUTE,
        60,
        |_, time| {
            let minute = (time - start) / MINUTE;
            (!missing(0, minute)).then_some(minute * 1000 + 1_000_000)
        },
    );
    let costs = report(&bound, &period, &[&log]);
    let auxiliary = costs.parameter("EC_aux").unwrap();
    // From the reading at minute -3 to the one at 1443.
    assert_eq!(auxiliary.value, exact("1.446"));
    assert!(auxiliary.gaps.iter().all(|gap| gap.advance_counted));
    let measured = auxiliary.measured.as_ref().unwrap();
    assert_eq!(measured.first.as_ref().unwrap().at_ms, start - 3 * MINUTE);
    assert_eq!(
        measured.last.as_ref().unwrap().at_ms,
        period.end_ms() + 3 * MINUTE
    );
    assert!(!costs.provisional, "{:?}", costs.provisional_reasons);
}

#[test]
fn without_a_reading_beyond_the_edge_what_costs_stays_open() {
    let plan = solar(&[(
        "point = \"aux.power\" }]\nunit = \"kW\"\naggregation = \"integral\"",
        "point = \"aux.energy\" }]\nunit = \"kWh\"\naggregation = \"increase\"",
    )]);
    let bound = bound(&plan);
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let mut log = Log::new(
        GW1,
        60_000,
        &[
            ("export.energy", "kWh", 3, true),
            ("aux.energy", "kWh", 3, true),
        ],
    );
    log.fill(
        period.start_ms() + MINUTE,
        period.end_ms(),
        59,
        |_, time| Some(time / MINUTE),
    );
    let report = report(&bound, &period, &[&log]);
    let open: Vec<_> = report
        .warnings
        .iter()
        .filter(|warning| warning.code == "edge-open")
        .collect();
    assert_eq!(
        open.len(),
        2,
        "neither before the start nor after the end: {:?}",
        report.warnings
    );
    assert!(report.provisional);
}

#[test]
fn an_instant_that_comes_twice_counts_once() {
    let bound = bound(&solar(&[]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &SOLAR_POINTS);
    let value = |point: usize, time: i64| {
        Some(if point == 0 {
            (time - start) / MINUTE * 1000
        } else {
            600
        })
    };
    log.fill(start, start + 180 * MINUTE, 60, value);
    // The clock was set back by 90 minutes: the axis repeats what was covered, then goes on.
    log.fill(start + 90 * MINUTE, start + 120 * MINUTE, 30, value);
    log.fill(start + 120 * MINUTE, period.end_ms() + MINUTE, 60, value);
    let report = report(&bound, &period, &[&log]);
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!(auxiliary.value, exact("0.144"));
    assert_eq!(auxiliary.measured.as_ref().unwrap().overlap_ms, 90 * MINUTE);
    // The step on to the time that was not covered yet took longer than a tick: it does not earn.
    let energy = report.parameter("EG[revenue]").unwrap();
    assert_eq!(energy.value, exact("1.439"));
    let gap = &energy.gaps[0];
    assert_eq!(
        (gap.length_ms, gap.reason.as_str()),
        (0, "a clock was set between the readings")
    );
    assert_eq!(
        (gap.advance, gap.advance_counted),
        (Some(exact("1")), false)
    );
}

#[test]
fn a_segment_without_a_time_is_never_a_value() {
    let bound = bound(&solar(&[]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &SOLAR_POINTS);
    let value = |point: usize, time: i64| {
        Some(if point == 0 {
            (time - start) / MINUTE * 1000
        } else {
            600
        })
    };
    log.fill(start, period.end_ms() + MINUTE, 60, value);
    log.segments[3].2.shift = None;
    let report = report(&bound, &period, &[&log]);
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!((auxiliary.value, auxiliary.gaps.len()), (exact("0.138"), 1));
}
