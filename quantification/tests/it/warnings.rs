//! What people must look at: plausibility, provisional states, differences between reports.

use quantification::computation::{Computation, ComputationError};
use quantification::exact::Exact;
use quantification::methodology::{Methodology, shipped_text};
use quantification::plan::Plan;
use quantification::report::Report;

use crate::support::{GW1, Log, SOLAR_POINTS, bound, period, report, solar};

const HOUR: i64 = 3_600_000;

fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap()
}

/// A year in which the register advances by `kwh` in one hour and the sealed unit is `unit`.
fn year(kwh: i64, unit: &'static str) -> Report {
    let bound = bound(&solar(&[("unit = \"kWh\"", &format!("unit = \"{unit}\""))]));
    let period = period(&bound, "2026-01-01", "2026-12-31");
    let points = [("export.energy", unit, 0, true), SOLAR_POINTS[1]];
    let mut log = Log::new(GW1, 3_600_000, &points);
    let step = period.start_ms() + 100 * HOUR;
    log.fill(
        period.start_ms(),
        period.end_ms() + HOUR,
        1,
        |point, time| Some(if point == 0 && time >= step { kwh } else { 0 }),
    );
    report(&bound, &period, &[&log])
}

#[test]
fn kilowatt_hours_under_the_name_of_megawatt_hours_fail_the_nameplate() {
    let wrong = year(42_826_880, "MWh");
    let warning = wrong
        .warnings
        .iter()
        .find(|warning| warning.code == "above-nameplate")
        .unwrap();
    assert!(warning.text.contains("42826880 MWh"), "{}", warning.text);
    assert!(
        warning.text.contains("111252 MWh"),
        "12.7 MW for 8760 h: {}",
        warning.text
    );
    assert!(warning.text.contains("kWh for MWh"), "{}", warning.text);
    assert!(wrong.provisional);

    let right = year(42_826_880, "kWh");
    assert_eq!(
        right.parameter("EG[revenue]").unwrap().value,
        exact("42826.88")
    );
    assert!(
        !right
            .warnings
            .iter()
            .any(|warning| warning.code == "above-nameplate")
    );
}

#[test]
fn a_report_reads_back_as_it_was_written() {
    let report = year(1000, "kWh");
    let bytes = report.to_json();
    assert_eq!(Report::from_json(&bytes).unwrap(), report);
    assert_eq!(Report::from_json(&bytes).unwrap().to_json(), bytes);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("{\n  \"format\": \"fieldseal-report/1\""));
    assert!(text.contains("\"tz_database\""));
    let unknown = text.replacen("\"format\"", "\"fromat\"", 1);
    assert!(Report::from_json(unknown.as_bytes()).is_err());
}

#[test]
fn a_difference_names_the_cell() {
    let recomputed = year(1000, "kWh");
    assert_eq!(Report::differences(&recomputed, &recomputed), []);
    let mut claimed = recomputed.clone();
    claimed.totals.er = exact("2");
    let energy = claimed
        .parameters
        .iter_mut()
        .find(|p| p.name == "EG[revenue]")
        .unwrap();
    energy.intervals[0].value = exact("1.5");
    claimed.warnings.clear();
    let found = Report::differences(&claimed, &recomputed);
    let cell = |path: &str| {
        found
            .iter()
            .find(|cell| cell.path == path)
            .unwrap_or_else(|| panic!("{path}: {found:?}"))
    };
    let er = cell("totals/er");
    assert_eq!(
        (er.claimed.as_str(), er.recomputed.as_str()),
        ("2", "0.797")
    );
    assert_eq!(
        cell("parameters/EG[revenue]/intervals/2026/value").recomputed,
        "1"
    );
    assert_eq!(
        found
            .iter()
            .filter(|cell| cell.path.starts_with("warnings/"))
            .count(),
        recomputed.warnings.len()
    );
}

#[test]
fn what_a_caller_states_is_kept_and_does_not_change_the_written_report() {
    let bound = bound(&solar(&[]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let compute = |reason: Option<&str>| {
        let mut log = Log::new(GW1, 3_600_000, &SOLAR_POINTS);
        log.fill(
            period.start_ms(),
            period.start_ms() + 5 * HOUR,
            1,
            |_, _| Some(0),
        );
        let mut computation = Computation::new(&bound, &period);
        if let Some(reason) = reason {
            computation.provisional(reason);
        }
        log.feed(&mut computation).unwrap();
        computation.finish().unwrap()
    };
    let stated = compute(Some("the period is not over"));
    assert_eq!(stated.stated_reasons, ["the period is not over"]);
    assert_eq!(stated.to_json(), compute(None).to_json());
    assert!(
        stated.provisional,
        "the readings end before the period does"
    );
    assert!(
        stated
            .warnings
            .iter()
            .any(|warning| warning.code == "ends-early")
    );
}

#[test]
fn without_readings_nothing_is_earned() {
    let bound = bound(&solar(&[]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let report = report(&bound, &period, &[]);
    assert_eq!(report.totals.er, Exact::ZERO);
    let energy = report.parameter("EG[revenue]").unwrap();
    assert_eq!(energy.gaps[0].length_ms, 24 * HOUR);
    assert_eq!(energy.gaps[0].reason, "no reading before");
    assert!(!energy.intervals[0].known);
    assert!(report.provisional, "what costs is not known either");
}

#[test]
fn a_direction_that_the_formulas_contradict_is_refused() {
    let text = shipped_text("grid_solar").unwrap();
    let wrong = text.replacen(
        "aggregations = [\"increase\", \"integral\"]\ndirection = \"costs\"",
        "aggregations = [\"increase\", \"integral\"]\ndirection = \"earns\"",
        1,
    );
    assert_ne!(text, wrong);
    let methodology = Methodology::parse(&wrong, "wrong.toml").unwrap();
    let plan = Plan::parse(&solar(&[]), "plan.toml").unwrap();
    let bound = plan.bind(&methodology).unwrap();
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let refused = Computation::new(&bound, &period).finish().unwrap_err();
    assert!(
        matches!(&refused, ComputationError::DirectionContradicted { input, more: false, .. } if input == "EC_aux"),
        "{refused}"
    );
}

#[test]
fn a_methodology_whose_er_is_not_the_balance_is_refused() {
    let text = shipped_text("grid_solar").unwrap().replace(
        "\"(RE - PE_credited) * DF\"",
        "\"RE * DF + 1 * PE - PE - PE_elec * 0\"",
    );
    let methodology = Methodology::parse(&text, "wrong.toml").unwrap();
    let plan = Plan::parse(&solar(&[]), "plan.toml").unwrap();
    let bound = plan.bind(&methodology).unwrap();
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let mut log = Log::new(GW1, 3_600_000, &SOLAR_POINTS);
    log.fill(period.start_ms(), period.end_ms() + HOUR, 1, |_, _| {
        Some(100)
    });
    let mut computation = Computation::new(&bound, &period);
    log.feed(&mut computation).unwrap();
    let refused = computation.finish().unwrap_err();
    assert!(
        matches!(refused, ComputationError::NotTheBalance { .. }),
        "{refused}"
    );
}

#[test]
fn a_reference_above_business_as_usual_keeps_the_report_provisional() {
    let bound = bound(&solar(&[("value = \"0.85\"", "value = \"0.7\"")]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let mut log = Log::new(GW1, 3_600_000, &SOLAR_POINTS);
    let start = period.start_ms();
    log.fill(start, period.end_ms() + HOUR, 1, |point, time| {
        Some(if point == 0 { (time - start) / HOUR } else { 0 })
    });
    let report = report(&bound, &period, &[&log]);
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.code == "reference-above-bau")
    );
    assert!(report.provisional);
}
