//! An advance over missing ticks counts only when the meter can have measured it.

use evidence::quality::Quality;
use quantification::exact::Exact;
use quantification::report::{ParameterReport, Report};

use crate::support::{GW1, Log, Spec, bound, period, report, solar};

const MINUTE: i64 = 60_000;
const POINTS: [Spec; 2] = [
    ("export.energy", "kWh", 3, true),
    ("aux.energy", "kWh", 3, true),
];
const BRIDGED: &str =
    "aggregation = \"increase\"\nbridge_max_s = 900\nreason = \"the meter stops on fault\"";
const COUNTED: &str = "aggregation = \"increase\"\nadvance_over_gap = \"count\"\nreason = \"the meter stops on fault\"";

fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap()
}

/// The solar plan with a meter for what the plant takes; `rule` is the revenue meter's.
fn plan(rule: &str) -> String {
    solar(&[
        ("aggregation = \"increase\"", rule),
        (
            "point = \"aux.power\" }]\nunit = \"kW\"\naggregation = \"integral\"",
            "point = \"aux.energy\" }]\nunit = \"kWh\"\naggregation = \"increase\"",
        ),
    ])
}

/// A day at one sample a minute; the registers advance 1 kWh a minute and `swap` kWh more over the
/// `missing` minutes from minute 100 on. `change` has the last word on the log.
fn day(plan: &str, missing: i64, swap: i64, change: impl FnOnce(&mut Log)) -> Report {
    let bound = bound(plan);
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 60_000, &POINTS);
    log.fill(
        start - 60 * MINUTE,
        period.end_ms() + 60 * MINUTE,
        60,
        |_, time| {
            let minute = (time - start) / MINUTE;
            let exchanged = if minute >= 100 { swap * 1000 } else { 0 };
            (!(100..100 + missing).contains(&minute))
                .then_some(100_000_000 + minute * 1000 + exchanged)
        },
    );
    change(&mut log);
    report(&bound, &period, &[&log])
}

fn energy(report: &Report) -> &ParameterReport {
    report.parameter("EG[revenue]").unwrap()
}

fn warned(report: &Report, subject: &str) -> Option<String> {
    let mut warnings = report.warnings.iter();
    warnings
        .find(|warning| warning.code == "advance-implausible" && warning.subject == subject)
        .map(|warning| warning.text.clone())
}

#[test]
fn an_exchanged_meter_earns_nothing_over_a_bridge_or_a_counted_gap() {
    for rule in [BRIDGED, COUNTED] {
        let report = day(&plan(rule), 9, 150_000, |_| ());
        let energy = energy(&report);
        assert_eq!(energy.value, exact("1.43"), "1440 minutes less the ten");
        assert_eq!(energy.gaps.len(), 1);
        let gap = &energy.gaps[0];
        assert_eq!(gap.reason, "timeout, advance-implausible");
        assert_eq!(
            (gap.advance, gap.advance_counted),
            (Some(exact("150010")), false)
        );
        let text = warned(&report, "EG[revenue]").unwrap();
        assert!(
            text.contains("nameplate") && text.contains("150010 kWh"),
            "{text}"
        );
    }
}

#[test]
fn an_advance_at_the_pace_of_the_samples_beside_it_counts() {
    for rule in [BRIDGED, COUNTED] {
        let report = day(&plan(rule), 9, 0, |_| ());
        assert_eq!(energy(&report).value, exact("1.44"));
        assert!(energy(&report).gaps[0].advance_counted);
        assert_eq!(warned(&report, "EG[revenue]"), None);
        assert!(!report.provisional, "{:?}", report.provisional_reasons());
    }
}

#[test]
fn an_advance_counts_up_to_twice_the_largest_rate_beside_it() {
    // Ten minutes at 1 kWh a minute beside them: 20 kWh is twice as fast. The nameplate allows 2116.
    let twice = day(&plan(BRIDGED), 9, 10, |_| ());
    assert_eq!(energy(&twice).value, exact("1.45"));
    let above = day(&plan(BRIDGED), 9, 11, |_| ());
    assert_eq!(energy(&above).value, exact("1.43"));
    let text = warned(&above, "EG[revenue]").unwrap();
    assert!(text.contains("2 times the largest rate"), "{text}");
}

#[test]
fn an_advance_counts_up_to_the_nameplate_of_the_time_between_the_readings() {
    // 12 kW for ten minutes are 2 kWh, 60 kW are 10: the limit is reached exactly.
    for (nameplate, expected) in [("0.06", "1.44"), ("0.059", "1.43")] {
        let small = plan(BRIDGED).replacen("\"12.7\"", &format!("\"{nameplate}\""), 1);
        let report = day(&small, 9, 0, |_| ());
        assert_eq!(energy(&report).value, exact(expected), "{nameplate} MW");
    }
}

#[test]
fn only_the_sixty_samples_on_each_side_are_compared() {
    // One step of 100 kWh, 59 or 61 minutes before the gap.
    let with_step = |minute: i64| {
        day(&plan(BRIDGED), 9, 11, |log| {
            for (_, _, segment) in &mut log.segments {
                let start = segment.start_ms().unwrap();
                let values = segment.columns[0].values.iter_mut();
                for (value, tick) in values.zip(0_i64..) {
                    let at = (start + tick * MINUTE - 1_781_020_800_000) / MINUTE;
                    if at >= minute && *value != i64::MIN {
                        *value += 100_000;
                    }
                }
            }
        })
    };
    assert_eq!(
        energy(&with_step(42)).value,
        exact("1.551"),
        "near: the gap's 21 kWh count"
    );
    assert_eq!(
        energy(&with_step(30)).value,
        exact("1.53"),
        "far: they do not"
    );
}

#[test]
fn a_flagged_sample_or_a_hole_beside_the_gap_keeps_its_advance_from_earning() {
    for rule in [BRIDGED, COUNTED] {
        let flagged = day(&plan(rule), 9, 0, |log| {
            let segments = log.segments.iter_mut();
            let columns = segments.flat_map(|(_, _, segment)| &mut segment.columns);
            // The last of the missing samples, next to the reading that ends the gap.
            if let Some(last) = columns
                .filter(|column| column.point == 0)
                .flat_map(|column| &mut column.exceptions)
                .last()
            {
                last.quality = Quality::DEVICE_FAULT;
            }
        });
        assert_eq!(energy(&flagged).value, exact("1.43"));
        assert!(energy(&flagged).gaps[0].reason.contains("device fault"));
        let hole = day(&plan(rule), 0, 0, |log| {
            log.segments.remove(4);
        });
        assert_eq!(energy(&hole).value, exact("1.379"), "an hour and a tick");
        assert_eq!(energy(&hole).gaps[0].reason, "no entry covers this time");
    }
}

#[test]
fn what_costs_counts_an_implausible_advance_and_keeps_the_report_provisional() {
    let report = day(&plan(BRIDGED), 9, 500, |_| ());
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!(auxiliary.value, exact("1.94"));
    assert!(auxiliary.gaps[0].advance_counted);
    assert_eq!(auxiliary.gaps[0].reason, "timeout, advance-implausible");
    assert!(report.provisional);
    let mut reasons = report.provisional_reasons().iter();
    assert!(
        reasons.any(|reason| reason.starts_with("EC_aux: ") && reason.contains("exchanged")),
        "{:?}",
        report.provisional_reasons()
    );
    let honest = day(&plan(BRIDGED), 9, 0, |_| ());
    assert_eq!(warned(&honest, "EC_aux"), None);
}

#[test]
fn a_register_that_stood_still_on_both_sides_earns_nothing_over_a_gap() {
    let still = |swap: i64| {
        day(&plan(BRIDGED), 2, swap, |log| {
            for (_, _, segment) in &mut log.segments {
                let start = segment.start_ms().unwrap();
                for column in &mut segment.columns {
                    for (value, tick) in column.values.iter_mut().zip(0_i64..) {
                        let minute = (start + tick * MINUTE - 1_781_020_800_000) / MINUTE;
                        if *value != i64::MIN {
                            *value -= minute * 1000;
                        }
                    }
                }
            }
        })
    };
    assert_eq!(energy(&still(50)).value, Exact::ZERO);
    assert!(warned(&still(50), "EG[revenue]").is_some());
    assert_eq!(still(50).parameter("EC_aux").unwrap().value, exact("0.05"));
    assert_eq!(warned(&still(0), "EG[revenue]"), None);
}
