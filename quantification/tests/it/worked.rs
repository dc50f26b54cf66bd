//! The worked examples of `testdata/worked.py`, which computes them in Python decimals.

use quantification::exact::Exact;
use quantification::report::Report;
use serde_json::Value;

use crate::support::{GW1, INJECTION, Log, SOLAR_POINTS, bound, changed, period, report, solar};

const HOUR: i64 = 3_600_000;

fn worked() -> Value {
    serde_json::from_str(include_str!("../../testdata/worked.json")).unwrap()
}

#[track_caller]
fn same(expected: &Value, computed: Exact) {
    assert_eq!(expected.as_str().unwrap(), computed.to_string());
}

fn parameter(report: &Report, name: &str) -> Exact {
    report.parameter(name).unwrap().value
}

#[test]
fn a_day_of_injection_agrees_with_python_to_the_last_digit() {
    let plan = changed(
        INJECTION,
        &[
            ("value = \"37.250\"", "value = \"1.25\""),
            ("from = \"2026-01-01\"", "from = \"2026-02-10\""),
            ("to = \"2026-03-31\"", "to = \"2026-02-10\""),
        ],
    );
    let bound = bound(&plan);
    let period = period(&bound, "2026-02-10", "2026-02-10");
    let start = period.start_ms();
    let points = [
        ("w1.mass", "kg", 0, true),
        ("w2.mass", "kg", 0, true),
        ("w1.co2", "wt%", 2, false),
        ("w2.co2", "wt%", 2, false),
        ("site.energy", "kWh", 1, true),
        ("genset.fuel", "L/h", 1, false),
    ];
    let register = |h: i64, base: i64, step: i64| 1_000_000 + h * base + step * h * (h - 1) / 2;
    let mut log = Log::new(GW1, 3_600_000, &points);
    log.fill(start, period.end_ms() + HOUR, 1, |point, time| {
        let h = (time - start) / HOUR;
        match point {
            0 => Some(register(h, 12_345, 37)),
            1 => Some(register(h, 9_876, 41)),
            2 => (!(6..=8).contains(&h)).then_some(9950 + h % 7),
            3 => Some(9910 + h % 5),
            4 => Some(555 + 12_345 * h),
            _ => Some(317 + h % 3),
        }
    });
    let report = report(&bound, &period, &[&log]);
    let expected = &worked()["injection"];
    for name in ["Q[W-1]", "Q[W-2]", "C[W-1]", "C[W-2]", "EC", "FC[diesel]"] {
        same(&expected[name], parameter(&report, name));
    }
    same(&expected["RE"], report.totals.re);
    same(&expected["PE"], report.totals.pe);
    same(&expected["ER"], report.totals.er);
    same(&expected["ER_floor"], report.rounding.er);
    assert_eq!(
        report.parameter("C[W-1]").unwrap().gaps.len(),
        1,
        "three missing hours are listed"
    );
}

fn two_years(per: &str) -> Report {
    let bound = bound(&solar(&[(
        "per = \"vintage\"",
        &format!("per = \"{per}\""),
    )]));
    let period = period(&bound, "2025-12-30", "2026-01-02");
    let start = period.start_ms();
    let mut log = Log::new(GW1, 3_600_000, &SOLAR_POINTS);
    let mut register = 77_000;
    let mut readings = Vec::new();
    for h in 0..=96 {
        readings.push(register);
        register += 1_000_001 + 7_013 * (h % 24);
    }
    log.fill(start, period.end_ms() + HOUR, 1, |point, time| {
        let h = (time - start) / HOUR;
        Some(if point == 0 {
            readings[usize::try_from(h).unwrap()]
        } else {
            1234 + 7 * (h % 9)
        })
    });
    report(&bound, &period, &[&log])
}

#[test]
fn two_vintages_of_solar_agree_with_python_to_the_last_digit() {
    let report = two_years("vintage");
    let expected = &worked()["solar"];
    for vintage in &report.vintages {
        let expected = &expected[vintage.year.to_string()];
        same(&expected["BaU"], vintage.exact.bau);
        same(&expected["RE"], vintage.exact.re);
        same(&expected["PE"], vintage.exact.pe);
        same(&expected["ER"], vintage.exact.er);
        same(&expected["credited"], vintage.credited);
        for (name, key) in [("EG[revenue]", "EG"), ("EC_aux", "EC_aux")] {
            let values = &report.parameter(name).unwrap().vintages;
            same(
                &expected[key],
                values
                    .iter()
                    .find(|value| value.year == vintage.year)
                    .unwrap()
                    .value,
            );
        }
    }
    same(&expected["period"]["RE"], report.totals.re);
    same(&expected["period"]["PE"], report.totals.pe);
    same(&expected["period"]["ER"], report.totals.er);
}

#[test]
fn the_rounding_rule_decides_and_the_tonnes_between_are_shown() {
    let expected = &worked()["solar"]["period"];
    let by_vintage = two_years("vintage");
    same(&expected["per_vintage"], by_vintage.rounding.per_vintage);
    same(&expected["per_period"], by_vintage.rounding.per_period);
    assert_eq!(by_vintage.rounding.er, by_vintage.rounding.per_vintage);
    assert_eq!(by_vintage.rounding.tonnes_between, Exact::ONE);

    for per in ["period", "sheet"] {
        let report = two_years(per);
        assert_eq!(report.rounding.er, report.rounding.per_period);
        let sum = report.vintages.iter().fold(Exact::ZERO, |sum, vintage| {
            sum.plus(vintage.credited).unwrap()
        });
        assert_eq!(sum, report.rounding.er, "vintages always sum to the total");
        let credited: Vec<String> = report
            .vintages
            .iter()
            .map(|vintage| vintage.credited.to_string())
            .collect();
        assert_eq!(credited, ["40", "41"]);
    }
}

#[test]
fn vintages_are_cut_at_the_new_year_of_the_reporting_zone() {
    // The same readings; in Jakarta the year turns an hour later than in Makassar.
    let bound = bound(&solar(&[("Asia/Makassar", "Asia/Jakarta")]));
    let period = period(&bound, "2025-12-31", "2026-01-01");
    let turn = period.cells(bound.methodology.interval)[1].start_ms;
    assert_eq!(quantification::period::utc(turn), "2025-12-31T17:00:00Z");
    let mut log = Log::new(GW1, 3_600_000, &SOLAR_POINTS);
    // One MWh in the hour before the turn, two in the hour after it.
    log.fill(
        period.start_ms(),
        period.end_ms() + HOUR,
        1,
        |point, time| {
            let register = if time >= turn + HOUR {
                3_000_000
            } else if time >= turn {
                1_000_000
            } else {
                0
            };
            Some(if point == 0 { register } else { 0 })
        },
    );
    let report = report(&bound, &period, &[&log]);
    let energy: Vec<String> = report
        .parameter("EG[revenue]")
        .unwrap()
        .vintages
        .iter()
        .map(|vintage| vintage.value.to_string())
        .collect();
    assert_eq!(
        energy,
        ["1", "2"],
        "an advance belongs to the year in which it began"
    );
}
