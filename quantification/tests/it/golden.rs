//! The golden vectors, end to end: registers that advance by the vector's amounts give its results.

use quantification::exact::Exact;
use serde_json::Value;

use crate::support::{
    GW1, INJECTION, Log, SOLAR_POINTS, bound, changed, period, replaced, report, solar,
};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../testdata/golden-vectors.json")).unwrap()
}

fn exact(value: &Value) -> Exact {
    Exact::parse(value.as_str().unwrap()).unwrap()
}

fn mantissa(value: Exact, decimals: u8) -> i64 {
    let grid = value
        .times(Exact::new(10_i128.pow(u32::from(decimals)), 0).unwrap())
        .unwrap();
    assert_eq!(
        grid.decimals(),
        0,
        "{value} does not fit {decimals} decimals"
    );
    i64::try_from(grid.mantissa()).unwrap()
}

const HOUR: i64 = 3_600_000;

/// One well, no leakage but what was entered, no energy.
fn one_well() -> String {
    let without = |plan: &str, number: &str| {
        replaced(
            plan,
            &format!("[[points]]\nnumber = \"{number}\""),
            "[[",
            "",
        )
    };
    let plan = ["MP-2", "MP-4", "MP-6"]
        .iter()
        .fold(INJECTION.to_owned(), |plan, number| without(&plan, number));
    let plan = plan.replace("[[fixed]]\nparameter = \"density\"", "[[neutral]]\nname = \"fuel\"\njustification = \"none burnt\"\n\n[[fixed]]\nparameter = \"density\"");
    let plan = changed(
        &plan,
        &[
            ("first_day = \"2025-06-01\"", ""),
            ("from = \"2026-01-01\"", "from = \"2026-04-01\""),
            ("to = \"2026-03-31\"", "to = \"2026-06-30\""),
        ],
    );
    // The vector's masses are larger than what the example's meters allow in a quarter.
    plan.replace("nameplate = { value = \"40\", unit = \"t/h\" }\n", "")
}

#[test]
fn the_injected_and_stored_mass_of_the_golden_vectors_come_out_exactly() {
    let vectors = vectors();
    let rows: Vec<(Exact, Exact)> = vectors["rr_inject"]["in"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (exact(&row[0]), exact(&row[1])))
        .collect();
    let bound = bound(&one_well());
    let period = period(&bound, "2026-01-01", "2026-12-31");
    let quarters = period.cells(bound.methodology.interval);
    assert_eq!(quarters.len(), rows.len());

    // The register stands still but for one step in the middle of each quarter.
    let points = [
        ("w1.mass", "kg", 0, true),
        ("w1.co2", "wt%", 2, false),
        ("site.energy", "kWh", 0, true),
    ];
    let mut log = Log::new(GW1, 3_600_000, &points);
    log.fill(
        period.start_ms() - HOUR,
        period.end_ms() + HOUR,
        1,
        |point, time| {
            let quarter = quarters
                .iter()
                .position(|cell| time < cell.end_ms)
                .unwrap_or(quarters.len() - 1);
            let full: i64 = rows[..quarter]
                .iter()
                .map(|(mass, _)| mantissa(*mass, 3))
                .sum();
            let middle = (quarters[quarter].start_ms + quarters[quarter].end_ms) / 2;
            Some(match point {
                0 if time < middle => 1_000_000 + full,
                0 => 1_000_000 + full + mantissa(rows[quarter].0, 3),
                1 => mantissa(rows[quarter].1.times(Exact::whole(100)).unwrap(), 2),
                _ => 5_000,
            })
        },
    );
    let report = report(&bound, &period, &[&log]);

    let sum = |name: &str| {
        let steps = report.formulas.iter().filter(|step| step.name == name);
        steps.fold(Exact::ZERO, |sum, step| sum.plus(step.value).unwrap())
    };
    assert_eq!(sum("CO2_u[W-1]"), exact(&vectors["rr_inject"]["CO2_u_t"]));
    assert_eq!(sum("CO2_I"), exact(&vectors["rr12"]["CO2I"]));
    assert_eq!(sum("CO2_stored"), exact(&vectors["rr12"]["CO2_t"]));
    assert_eq!(report.totals.re, exact(&vectors["rr12"]["CO2_t"]));
    assert_eq!(report.totals.bau, report.totals.re);
    assert_eq!(report.totals.pe, Exact::ZERO);
    assert_eq!(report.totals.er, exact(&vectors["rr12"]["CO2_t"]));
    assert!(report.parameter("Q[W-1]").unwrap().gaps.is_empty());
}

#[test]
fn the_solar_example_gives_its_tonnes() {
    let vectors = vectors();
    let energy = exact(&vectors["pv"]["EG_MWh"]);
    let factor = vectors["pv"]["EF_tCO2_MWh"].as_str().unwrap();
    let bound = bound(&solar(&[(
        "value = \"0.797\"",
        &format!("value = \"{factor}\""),
    )]));
    let period = period(&bound, "2026-06-01", "2026-06-30");
    let mut log = Log::new(GW1, 60_000, &SOLAR_POINTS);
    let middle = (period.start_ms() + period.end_ms()) / 2;
    log.fill(
        period.start_ms(),
        period.end_ms() + 60_000,
        60,
        |point, time| {
            Some(match point {
                0 if time < middle => 123,
                0 => 123 + mantissa(energy, 6),
                _ => 0,
            })
        },
    );
    let report = report(&bound, &period, &[&log]);
    assert_eq!(report.parameter("EG[revenue]").unwrap().value, energy);
    assert_eq!(report.totals.re, exact(&vectors["pv"]["RE"]));
    assert_eq!(report.totals.pe, exact(&vectors["pv"]["PE"]));
    assert_eq!(
        report.rounding.er,
        Exact::whole(vectors["pv"]["ER_floor"].as_i64().unwrap())
    );
}

#[test]
fn a_thousand_litres_of_diesel_give_their_tonnes() {
    let vectors = vectors();
    let diesel = &vectors["diesel"];
    let text = |key: &str| diesel[key].as_str().unwrap().to_owned();
    let plan = solar(&[(
        "[[neutral]]\nname = \"fuel\"\njustification = \"The plant has no stand-by generator.\"",
        &format!(
            r#"
[[entered]]
parameter = "FC"
member = "diesel"
option = "B"
value = "{}"
unit = "L"
from = "2026-06-01"
to = "2026-06-30"
person = "A. Preparer"
citation = "invoice 17"

[[fixed]]
parameter = "density"
value = "{}"
unit = "kg/L"
source = "example"

[[fixed]]
parameter = "NCV"
value = "{}"
unit = "GJ/t"
basis = "net"
source = "example"

[[fixed]]
parameter = "EF_fuel"
value = "{}"
unit = "kgCO2/GJ"
basis = "net"
source = "example"
"#,
            text("L"),
            text("kg_per_L"),
            text("NCV_GJ_per_t"),
            text("EF_kg_per_GJ")
        ),
    )]);
    let bound = bound(&plan);
    let period = period(&bound, "2026-06-01", "2026-06-30");
    let mut log = Log::new(GW1, 3_600_000, &SOLAR_POINTS);
    log.fill(period.start_ms(), period.end_ms() + HOUR, 1, |_, _| Some(0));
    let report = report(&bound, &period, &[&log]);
    assert_eq!(report.totals.pe, exact(&diesel["tCO2"]));
    assert_eq!(report.totals.er, exact(&diesel["tCO2"]).negate());
    assert_eq!(
        report.rounding.er,
        Exact::whole(-3),
        "a negative vintage is rounded down, never set to 0"
    );
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.code == "negative-reductions")
    );
    let step = report
        .formulas
        .iter()
        .find(|step| step.name == "PE_fuel_f[diesel]")
        .unwrap();
    assert_eq!(step.inputs.len(), 4);
    let fuel = report.parameter("FC[diesel]").unwrap();
    assert_eq!(
        (fuel.option.as_str(), fuel.entered[0].citation.as_str()),
        ("B", "invoice 17")
    );
}
