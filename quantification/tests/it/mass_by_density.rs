//! Mass from volume flow, pressure and temperature of the same tick.

use quantification::computation::{Computation, ComputationError};
use quantification::plan::Plan;
use quantification::report::{DensityReport, Report};

use crate::support::{GW1, Log, Spec, bound, changed, period};

const PLAN: &str = include_str!("../../examples/injection-by-density.plan.toml");
const HOUR: i64 = 3_600_000;
const DAY: &str = "2026-06-10";
const POINTS: [Spec; 5] = [
    ("w1.flow", "m3/h", 2, false),
    ("w1.pressure", "bar_a", 3, false),
    ("w1.temperature", "°C", 2, false),
    ("w1.co2", "wt%", 2, false),
    ("site.energy", "kWh", 0, true),
];

/// Twenty-four hours of one reading an hour: (flow, pressure, temperature), none where one is missing.
fn day_of(
    plan: &str,
    points: &[Spec],
    state: impl Fn(i64) -> (Option<i64>, Option<i64>, Option<i64>),
) -> Result<Report, ComputationError> {
    let bound = bound(plan);
    let period = period(&bound, DAY, DAY);
    let start = period.start_ms();
    let mut log = Log::new(GW1, 3_600_000, points);
    log.fill(start, period.end_ms() + HOUR, 1, |point, time| {
        let (flow, pressure, temperature) = state((time - start) / HOUR);
        match point {
            0 => flow,
            1 => pressure,
            2 => temperature,
            3 => Some(10_000),
            _ => Some(0),
        }
    });
    let mut computation = Computation::new(&bound, &period);
    log.feed(&mut computation)?;
    computation.finish()
}

fn density(report: &Report) -> DensityReport {
    let measured = report.parameter("Q[W-1]").unwrap().measured.clone();
    measured.unwrap().density.unwrap()
}

#[test]
fn each_sample_is_weighed_by_its_own_density() {
    // 10 m3/h, a third of the day each at 8, 10 and 15 MPa and 40 °C: densities of the golden vectors.
    let report = day_of(PLAN, &POINTS, |hour| {
        let pressure = [80_000, 100_000, 150_000][usize::try_from(hour / 8).unwrap().min(2)];
        (Some(1_000), Some(pressure), Some(4_000))
    })
    .unwrap();
    // (277.897256 + 628.611730 + 780.232933) kg/m3 × 80 m3
    assert_eq!(
        report.parameter("Q[W-1]").unwrap().value.to_string(),
        "134.93935352"
    );
    assert_eq!(report.totals.re.to_string(), "134.93935352");
    let told = density(&report);
    assert_eq!(told.computed, 24);
    assert_eq!(told.assumption, "pure-component assumption");
    assert!(told.composition.starts_with("CO2 99.6 %"));
    assert!(!report.provisional, "{:?}", report.provisional_reasons);
    let warned = report
        .warnings
        .iter()
        .any(|warning| warning.code == "pure-component-assumption");
    assert!(warned, "the assumption stands where people look");
}

#[test]
fn what_has_no_density_is_missing_and_never_computed() {
    // Hours 3 and 4 without a temperature, 8 near saturation (64.34 bar at 25 °C), 12 beyond 400 bar,
    // 16 in the declared two-phase region.
    let report = day_of(PLAN, &POINTS, |hour| {
        let (pressure, temperature) = match hour {
            8 => (64_340, 2_500),
            12 => (400_001, 4_000),
            16 => (50_000, 2_500),
            _ => (100_000, 4_000),
        };
        let missing = hour == 3 || hour == 4;
        (
            Some(1_000),
            Some(pressure),
            (!missing).then_some(temperature),
        )
    })
    .unwrap();
    let row = report.parameter("Q[W-1]").unwrap();
    assert_eq!(
        row.value.to_string(),
        "119.4362287",
        "628.611730 kg/m3 × 190 m3"
    );
    let gaps: Vec<(i64, &str)> = row
        .gaps
        .iter()
        .map(|gap| (gap.length_ms / HOUR, gap.reason.as_str()))
        .collect();
    assert_eq!(
        gaps,
        [
            (2, "timeout"),
            (1, "out of range"),
            (1, "out of range"),
            (1, "out of range")
        ]
    );
    let told = density(&report);
    assert_eq!(
        (
            told.computed,
            told.refused_near_saturation,
            told.refused_out_of_range,
            told.refused_two_phase
        ),
        (19, 1, 1, 1)
    );
}

#[test]
fn pressure_and_temperature_must_lie_beside_the_flow() {
    let error = day_of(PLAN, &POINTS[..2], |_| (Some(1), Some(1), None)).unwrap_err();
    assert!(
        error.to_string().contains("point `w1.temperature`")
            && error
                .to_string()
                .contains("not sealed in the stream of the flow"),
        "{error}"
    );
    let mut gauge = POINTS;
    gauge[1].1 = "bar_g";
    let error = day_of(PLAN, &gauge, |_| (Some(1), Some(1), Some(1))).unwrap_err();
    assert!(error.to_string().contains("sealed in `bar_g`"), "{error}");
    let mut fine = POINTS;
    fine[0].2 = 10;
    let error = day_of(PLAN, &fine, |_| (Some(1), Some(1), Some(1))).unwrap_err();
    assert!(error.to_string().contains("at most 9 decimals"), "{error}");
}

#[test]
fn a_plan_that_would_give_another_quantity_is_refused_with_its_line() {
    let refused = |from: &str, to: &str| {
        let text = changed(PLAN, &[(from, to)]);
        let error = Plan::parse(&text, "plan.toml").and_then(|plan| {
            let methodology = quantification::methodology::shipped(&plan.methodology_id).unwrap();
            plan.bind(&methodology).map(|_| ())
        });
        error.unwrap_err().to_string()
    };
    for (from, to, says) in [
        ("unit = \"m3/h\"", "unit = \"Nm3/h\"", "MP-1"),
        (
            "unit = \"bar_a\"",
            "unit = \"bar_g\"",
            "an absolute pressure",
        ),
        ("unit = \"°C\"", "unit = \"delta_K\"", "a temperature"),
        (
            "uncertainty = \"0.05\"",
            "uncertainty = \"-0.05\"",
            "not negative",
        ),
        ("from = \"47.4\"", "from = \"59.9\"", "from < to"),
        (
            "aggregation = \"integral\"",
            "aggregation = \"increase\"",
            "integral",
        ),
        (
            "composition = \"CO2 99.6 %, N2 0.3 %, CH4 0.1 % by mole; laboratory certificate 7\"",
            "composition = \" \"",
            "consists of",
        ),
    ] {
        let error = refused(from, to);
        assert!(
            error.contains(says) && error.contains("plan.toml:"),
            "{to}: {error}"
        );
    }
}
