//! Values entered by hand.

use quantification::exact::Exact;
use quantification::report::Report;

use crate::support::{GW1, INJECTION, Log, bound, period, replaced, report};

const HOUR: i64 = 3_600_000;

fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap()
}

/// The injection example over two days of the second quarter, with other entered values; the wells
/// take nothing in.
fn entered(values: &str) -> Report {
    let plan = replaced(INJECTION, "[[entered]]", "[[neutral]]", values);
    let bound = bound(&plan);
    let period = period(&bound, "2026-06-30", "2026-07-01");
    let points = [
        ("w1.mass", "kg", 0, true),
        ("w2.mass", "kg", 0, true),
        ("w1.co2", "wt%", 2, false),
        ("w2.co2", "wt%", 2, false),
        ("site.energy", "kWh", 1, true),
        ("genset.fuel", "L/h", 1, false),
    ];
    let mut log = Log::new(GW1, 3_600_000, &points);
    log.fill(period.start_ms(), period.end_ms() + HOUR, 1, |_, _| Some(0));
    report(&bound, &period, &[&log])
}

fn leak(value: &str, from: &str, to: &str) -> String {
    format!(
        "[[entered]]\nparameter = \"CO2_FI\"\noption = \"B\"\nvalue = \"{value}\"\nunit = \"kgCO2\"\n\
         from = \"{from}\"\nto = \"{to}\"\nperson = \"P\"\ncitation = \"survey\"\n\n"
    )
}

#[test]
fn amounts_on_both_sides_of_a_boundary_go_to_their_own_interval() {
    let report = entered(
        &(leak("1500", "2026-06-30", "2026-06-30") + &leak("500", "2026-07-01", "2026-07-01")),
    );
    let leaked = report.parameter("CO2_FI").unwrap();
    let values: Vec<String> = leaked
        .intervals
        .iter()
        .map(|interval| interval.value.to_string())
        .collect();
    assert_eq!(values, ["1.5", "0.5"]);
    assert_eq!(
        (leaked.value, leaked.option.as_str(), leaked.gaps.len()),
        (exact("2"), "B", 0)
    );
    assert_eq!(leaked.entered[0].person, "P");
    assert!(!report.provisional, "{:?}", report.provisional_reasons);
}

#[test]
fn an_amount_over_a_boundary_counts_whole_when_it_costs_and_keeps_the_report_provisional() {
    for (from, to) in [("2026-06-30", "2026-07-01"), ("2026-06-01", "2026-07-31")] {
        let report = entered(&leak("1500", from, to));
        assert_eq!(report.parameter("CO2_FI").unwrap().value, exact("1.5"));
        assert!(
            report
                .warnings
                .iter()
                .any(|warning| warning.code == "entered-crosses")
        );
        assert!(report.provisional);
    }
}

#[test]
fn days_without_a_value_are_a_gap() {
    let report = entered(&leak("500", "2026-07-01", "2026-07-01"));
    let leaked = report.parameter("CO2_FI").unwrap();
    assert_eq!(leaked.gaps.len(), 1);
    assert_eq!(leaked.gaps[0].length_ms, 24 * HOUR);
    assert_eq!(leaked.gaps[0].reason, "no value entered");
    assert!(!leaked.intervals[0].known && leaked.intervals[1].known);
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.code == "costs-not-entered")
    );
}

#[test]
fn a_laboratory_composition_is_weighted_by_its_days() {
    let sample = |value: &str, from: &str, to: &str| {
        format!(
            "[[entered]]\nparameter = \"C\"\nmember = \"W-1\"\noption = \"B\"\nvalue = \"{value}\"\nunit = \"wt%\"\n\
             from = \"{from}\"\nto = \"{to}\"\nperson = \"P\"\ncitation = \"laboratory\"\n\n"
        )
    };
    let values =
        sample("99", "2026-01-01", "2026-04-05") + &sample("98", "2026-04-06", "2026-04-08");
    let (mp3, mp4) = (
        "[[points]]\nnumber = \"MP-3\"",
        "[[points]]\nnumber = \"MP-4\"",
    );
    let plan = replaced(INJECTION, mp3, mp4, &values);
    let bound = bound(&plan);
    // Two days under the first sample, three under the second, one under none.
    let period = period(&bound, "2026-04-04", "2026-04-09");
    let report = report(&bound, &period, &[]);
    let fraction = report.parameter("C[W-1]").unwrap();
    assert_eq!(fraction.value, exact("0.984"));
    assert_eq!(
        (fraction.gaps.len(), fraction.gaps[0].length_ms),
        (1, 24 * HOUR)
    );
}
