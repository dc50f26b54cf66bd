//! Formulas beyond the shipped methodologies, and texts that are no formulas at all.

use proptest::prelude::{any, proptest};
use quantification::computation::{Computation, ComputationError};
use quantification::exact::Exact;
use quantification::formula::Expression;
use quantification::methodology::Methodology;
use quantification::plan::Plan;
use quantification::unit::Unit;

use crate::support::{GW1, Log, SOLAR, changed, period, solar};

const HOUR: i64 = 3_600_000;

/// The mixed supply of a site: the factor is the mean of grid and captive power by energy.
const MIXED: &str = r#"
id = "grid_solar"
version = "test"
title = "Mixed supply"
sectoral_scope = "test"
source = "test"
interval = "year"

[[parameters]]
name = "EI"
description = "electricity from the grid"
unit = "MWh"
aggregations = ["increase"]
direction = "earns"

[[parameters]]
name = "EG"
description = "captive electricity"
unit = "MWh"
aggregations = ["integral"]
direction = "earns"

[[parameters]]
name = "EF_grid"
description = "grid factor"
unit = "tCO2/MWh"
aggregations = ["fixed"]

[[parameters]]
name = "EF_captive"
description = "captive factor"
unit = "kgCO2/kWh"
aggregations = ["fixed"]

[[parameters]]
name = "DF"
description = "discount"
unit = "1"
aggregations = ["fixed"]

[[formulas]]
name = "EF_mix"
description = "factor of the mixed supply"
unit = "tCO2/MWh"
expression = "(EI*EF_grid + EG*EF_captive) / (EI + EG)"

[[formulas]]
name = "RE"
description = "reference emissions"
unit = "tCO2"
expression = """
(EI + EG) * max(min(EF_mix, EF_grid), EF_captive, 0 * EF_grid)"""

[[formulas]]
name = "BaU"
description = "business as usual"
unit = "tCO2"
expression = "RE - -RE * 0.5"

[[formulas]]
name = "PE"
description = "none"
unit = "tCO2"
expression = "0 * RE"

[[formulas]]
name = "PE_credited"
description = "none"
unit = "tCO2"
expression = "PE"

[[formulas]]
name = "ER"
description = "reductions"
unit = "tCO2"
expression = "(RE - PE_credited) * DF"
"#;

fn mixed_plan() -> String {
    let head = SOLAR.split_once("[[points]]").unwrap().0;
    format!(
        r#"{head}
[rounding]
per = "period"
source = "example"

[[points]]
number = "1"
parameter = "EI"
sources = [{{ log = "{GW1}", point = "import" }}]
unit = "kWh"

[[points]]
number = "2"
parameter = "EG"
sources = [{{ log = "{GW1}", point = "captive" }}]
unit = "kW"

[[fixed]]
parameter = "EF_grid"
value = "0.9"
unit = "tCO2/MWh"
source = "example"

[[fixed]]
parameter = "EF_captive"
value = "0.6"
unit = "tCO2/MWh"
source = "example"

[[fixed]]
parameter = "DF"
value = "95"
unit = "%"
source = "example"
"#
    )
}

fn mixed(import: i64, captive: i64) -> Result<quantification::report::Report, ComputationError> {
    let methodology = Methodology::parse(MIXED, "mixed.toml").unwrap();
    let plan = Plan::parse(&mixed_plan(), "plan.toml").unwrap();
    let bound = plan.bind(&methodology).unwrap();
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let mut log = Log::new(
        GW1,
        3_600_000,
        &[("import", "kWh", 0, true), ("captive", "kW", 0, false)],
    );
    let start = period.start_ms();
    log.fill(start, period.end_ms() + HOUR, 1, |point, time| {
        Some(if point == 0 {
            (time - start) / HOUR * import
        } else {
            captive
        })
    });
    let mut computation = Computation::new(&bound, &period);
    log.feed(&mut computation)?;
    computation.finish()
}

#[test]
fn quotients_and_extremes_are_computed_and_traced() {
    // 24 × 200 kWh at 0.9 and 24 × 100 kWh at 0.6: the mix is 0.8.
    let report = mixed(200, 100).unwrap();
    let step = |name: &str| {
        report
            .formulas
            .iter()
            .find(|step| step.name == name)
            .unwrap()
    };
    assert_eq!(step("EF_mix").value.to_string(), "0.8");
    assert_eq!(step("EF_mix").inputs.len(), 4);
    assert_eq!(step("RE").value.to_string(), "5.76");
    assert_eq!(report.totals.bau.to_string(), "8.64");
    assert_eq!(
        report.totals.er.to_string(),
        "5.472",
        "a discount factor of 95 %"
    );
    assert_eq!(report.parameter("DF").unwrap().value.to_string(), "0.95");
    let percent = changed(
        MIXED,
        &[(
            "description = \"discount\"\nunit = \"1\"",
            "description = \"discount\"\nunit = \"%\"",
        )],
    );
    let error = Methodology::parse(&percent, "mixed.toml").unwrap_err();
    assert_eq!(error.key, "DF");
}

#[test]
fn a_quotient_that_does_not_terminate_is_rounded_once_and_the_balance_still_holds() {
    let report = mixed(100, 200).unwrap();
    let step = report
        .formulas
        .iter()
        .find(|step| step.name == "EF_mix")
        .unwrap();
    assert_eq!(step.value.to_string(), "0.7");
    let report = mixed(100, 125).unwrap();
    let step = report
        .formulas
        .iter()
        .find(|step| step.name == "EF_mix")
        .unwrap();
    assert_eq!(step.value.to_string(), "0.733333333333333333");
}

#[test]
fn a_division_by_zero_names_formula_and_interval() {
    let refused = mixed(0, 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "formula `EF_mix` in 2026: division by zero"
    );
}

#[test]
fn a_formula_mistake_in_a_string_of_several_lines_is_located() {
    let text = changed(
        MIXED,
        &[("max(min(EF_mix, EF_grid)", "max(min(EF_mix, EF_gird)")],
    );
    let error = Methodology::parse(&text, "mixed.toml").unwrap_err();
    let line = text
        .lines()
        .position(|line| line.contains("EF_gird"))
        .unwrap()
        + 1;
    assert_eq!(
        (error.line, error.column),
        (line, "(EI + EG) * max(min(EF_mix, ".len() + 1)
    );
    assert!(error.remedy.contains("EF_grid"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>(), at in any::<proptest::sample::Index>()) {
        drop(Expression::parse(&text));
        drop(Exact::parse(&text));
        drop(Unit::parse(&text));
        // Anything in the middle of a file that is otherwise right.
        let plan = solar(&[]);
        let place = plan.char_indices().nth(at.index(plan.chars().count())).unwrap().0;
        let (before, after) = plan.split_at(place);
        drop(Plan::parse(&format!("{before}{text}{after}"), "plan.toml"));
        drop(Methodology::parse(&MIXED.replace("EF_mix, EF_grid", &text), "mixed.toml"));
    }

    #[test]
    fn an_expression_of_its_own_alphabet_never_panics(text in "[a-c0-9.+*/(), sumin-]{0,60}") {
        drop(Expression::parse(&text));
    }

    #[test]
    fn a_written_decimal_reads_back_and_sums_do_not_depend_on_order(
        mantissas in proptest::collection::vec((any::<i64>(), 0_u8..16), 1..20),
    ) {
        let values: Vec<Exact> = mantissas.iter().map(|(m, d)| Exact::new(i128::from(*m), *d).unwrap()).collect();
        for value in &values {
            let json = serde_json::to_string(value).unwrap();
            assert_eq!(serde_json::from_str::<Exact>(&json).unwrap(), *value);
            assert_eq!(value.minus(*value).unwrap(), Exact::ZERO);
        }
        let forward = values.iter().try_fold(Exact::ZERO, |sum, value| sum.plus(*value)).unwrap();
        let backward = values.iter().rev().try_fold(Exact::ZERO, |sum, value| sum.plus(*value)).unwrap();
        assert_eq!(forward, backward);
    }

    #[test]
    fn a_quotient_times_its_divisor_is_within_the_rounding(a in any::<i64>(), b in 1_i64..1_000_000_000, d in 0_u8..10) {
        let (a, b) = (Exact::new(i128::from(a), d).unwrap(), Exact::whole(b));
        let quotient = a.divided_by(b).unwrap();
        let difference = quotient.times(b).unwrap().minus(a).unwrap().absolute();
        // Half a unit of the eighteenth decimal, times the divisor.
        let most = b.times(Exact::new(5, 19).unwrap()).unwrap();
        assert!(difference <= most, "{a} / {b} = {quotient}");
    }
}
