//! Mistakes in plan and methodology files: file, line, column, key, and what to do.

use quantification::InputError;
use quantification::methodology::{Methodology, shipped_text};
use quantification::period::{PeriodError, date};
use quantification::plan::Plan;

use crate::support::{INJECTION, SOLAR, changed};

fn plan_error(base: &str, from: &str, to: &str) -> InputError {
    let text = changed(base, &[(from, to)]);
    let parsed = Plan::parse(&text, "plan.toml").and_then(|plan| {
        let methodology = quantification::methodology::shipped(&plan.methodology_id);
        plan.bind(&methodology.unwrap()).map(|_| ())
    });
    let error = parsed.unwrap_err();
    assert_eq!(error.file, "plan.toml");
    assert!(error.line > 0 && error.column > 0 && error.line <= text.lines().count());
    error
}

/// The line of the changed text on which `needle` stands, from 1.
fn line_of(base: &str, from: &str, to: &str, needle: &str) -> usize {
    let text = changed(base, &[(from, to)]);
    text.lines().position(|line| line.contains(needle)).unwrap() + 1
}

#[test]
fn an_unknown_key_names_the_allowed_ones_and_the_nearest() {
    let error = plan_error(SOLAR, "reporting_zone =", "reporting_zne =");
    assert_eq!(error.key, "reporting_zne");
    assert_eq!(
        error.line,
        line_of(
            SOLAR,
            "reporting_zone =",
            "reporting_zne =",
            "reporting_zne"
        )
    );
    assert!(error.problem.contains("`rounding`"), "{error}");
    assert!(
        error.remedy.contains("did you mean `reporting_zone`?"),
        "{error}"
    );
    let nested = plan_error(
        SOLAR,
        "number = \"MP-2\"",
        "number = \"MP-2\"\nmethd = \"x\"",
    );
    assert!(nested.remedy.contains("`method`"), "{nested}");
}

#[test]
fn a_toml_float_is_refused_with_the_reason() {
    let error = plan_error(SOLAR, "value = \"0.797\"", "value = 0.797");
    assert_eq!(error.key, "value");
    assert!(
        error.problem.contains("binary floating point") && error.problem.contains("\"0.797\""),
        "{error}"
    );
    let integer = plan_error(SOLAR, "value = \"0.797\"", "value = 1");
    assert!(integer.problem.contains("\"1\""), "{integer}");
    let nameplate = plan_error(SOLAR, "value = \"12.7\"", "value = 12.7");
    assert!(
        nameplate.problem.contains("binary floating point"),
        "{nameplate}"
    );
}

#[test]
fn a_duplicate_key_and_a_wrong_type_are_located() {
    let duplicate = plan_error(
        SOLAR,
        "state = \"demo\"",
        "state = \"demo\"\nstate = \"demo\"",
    );
    assert!(duplicate.problem.contains("duplicate key"), "{duplicate}");
    let wrong = plan_error(SOLAR, "number = \"MP-1\"", "number = 1");
    assert!(wrong.problem.contains("expected a string"), "{wrong}");
    assert_eq!(wrong.key, "number");
    let variant = plan_error(
        SOLAR,
        "aggregation = \"integral\"",
        "aggregation = \"integrl\"",
    );
    assert!(
        variant.remedy.contains("did you mean `integral`?"),
        "{variant}"
    );
}

#[test]
fn units_are_checked_against_the_methodology() {
    let unknown = plan_error(SOLAR, "unit = \"kWh\"", "unit = \"kwh\"");
    assert!(unknown.problem.contains("did you mean `kWh`"), "{unknown}");
    let dimension = plan_error(SOLAR, "unit = \"kWh\"", "unit = \"kg\"");
    assert!(
        dimension.problem.contains("does not convert to `MWh`"),
        "{dimension}"
    );
    let power = plan_error(SOLAR, "unit = \"kWh\"", "unit = \"kW\"");
    assert!(power.problem.contains("as increase in kW"), "{power}");
    let reactive = plan_error(SOLAR, "unit = \"kWh\"", "unit = \"kvarh\"");
    assert!(reactive.problem.contains("reactive"), "{reactive}");
    let mole = plan_error(INJECTION, "unit = \"wt%\"", "unit = \"mol%\"");
    assert!(
        mole.problem.contains("wet mole fraction") && mole.problem.contains("mass fraction"),
        "{mole}"
    );
    let volume = plan_error(INJECTION, "unit = \"kg\"", "unit = \"sm3\"");
    assert!(
        volume.problem.contains("does not convert to `t`"),
        "{volume}"
    );
    let factor = plan_error(SOLAR, "unit = \"tCO2/MWh\"", "unit = \"t/MWh\"");
    assert!(factor.problem.contains("does not convert"), "{factor}");
    let nameplate = plan_error(SOLAR, "unit = \"MW\"", "unit = \"MWh\"");
    assert_eq!(nameplate.key, "nameplate");
}

#[test]
fn every_parameter_has_exactly_one_source() {
    let missing = plan_error(
        SOLAR,
        "[[neutral]]\nname = \"DF\"\njustification = \"The methodology states no discount.\"",
        "",
    );
    assert!(
        missing.problem.contains("`DF`") && missing.remedy.contains("[[fixed]]"),
        "{missing}"
    );
    let twice = plan_error(
        SOLAR,
        "[rounding]",
        "[[fixed]]\nparameter = \"EF_RE\"\nvalue = \"1\"\nunit = \"tCO2/MWh\"\nsource = \"example\"\n[rounding]",
    );
    assert!(twice.problem.contains("more than one source"), "{twice}");
    let unknown = plan_error(SOLAR, "parameter = \"EC_aux\"", "parameter = \"EC_axu\"");
    assert!(
        unknown.remedy.contains("did you mean `EC_aux`?"),
        "{unknown}"
    );
    let member = plan_error(SOLAR, "member = \"revenue\"", "");
    assert!(member.problem.contains("for each meter"), "{member}");
    let surplus = plan_error(
        SOLAR,
        "number = \"MP-2\"",
        "number = \"MP-2\"\nmember = \"x\"",
    );
    assert!(surplus.problem.contains("no members"), "{surplus}");
    let fuel = plan_error(
        SOLAR,
        "[[neutral]]\nname = \"fuel\"\njustification = \"The plant has no stand-by generator.\"",
        "",
    );
    assert!(
        fuel.problem.contains("names no fuel") && fuel.remedy.contains("[[neutral]]"),
        "{fuel}"
    );
    let half = plan_error(
        INJECTION,
        "parameter = \"C\"\nmember = \"W-2\"",
        "parameter = \"C\"\nmember = \"W-3\"",
    );
    assert!(
        half.problem.contains("[W-3]") || half.problem.contains("[W-2]"),
        "{half}"
    );
    let number = plan_error(SOLAR, "number = \"MP-2\"", "number = \"MP-1\"");
    assert!(number.problem.contains("used twice"), "{number}");
}

#[test]
fn factors_have_a_source_and_examples_stay_in_demos() {
    let example = plan_error(SOLAR, "state = \"demo\"", "state = \"registered\"");
    assert!(example.problem.contains("demo plan only"), "{example}");
    assert_eq!(example.key, "source");
    let empty = plan_error(
        SOLAR,
        "unit = \"tCO2/MWh\"\nsource = \"example\"",
        "unit = \"tCO2/MWh\"\nsource = \" \"",
    );
    assert!(empty.problem.contains("needs its source"), "{empty}");
    let basis = plan_error(INJECTION, "basis = \"net\"", "basis = \"gross\"");
    assert!(
        basis.problem.contains("basis `net`, not `gross`"),
        "{basis}"
    );
    let hand = plan_error(INJECTION, "option = \"B\"", "option = \"C\"");
    assert!(hand.problem.contains("not a measurement"), "{hand}");
    let person = plan_error(INJECTION, "person = \"A. Preparer\"", "person = \"\"");
    assert_eq!(person.key, "person");
}

#[test]
fn rules_that_would_overstate_are_refused() {
    let silent = plan_error(
        SOLAR,
        "aggregation = \"increase\"",
        "aggregation = \"increase\"\nadvance_over_gap = \"count\"",
    );
    assert!(silent.problem.contains("only with a reason"), "{silent}");
    for rule in ["advance_over_gap = \"count\"", "bridge_max_s = 60"] {
        let unlimited = plan_error(
            SOLAR,
            "nameplate = { value = \"12.7\", unit = \"MW\" }",
            &format!("{rule}\nreason = \"the meter stops on fault\""),
        );
        assert_eq!(unlimited.key, "nameplate", "{unlimited}");
        assert!(
            unlimited.to_string().starts_with("plan.toml:18:"),
            "{unlimited}"
        );
        assert!(unlimited.remedy.contains("bridge_max_s"), "{unlimited}");
    }
    let costs = plan_error(
        INJECTION,
        "unit = \"kWh\"\naggregation = \"increase\"",
        "unit = \"kWh\"\naggregation = \"increase\"\nadvance_over_gap = \"list\"",
    );
    assert!(costs.problem.contains("cannot be left out"), "{costs}");
    let integral = plan_error(
        SOLAR,
        "aggregation = \"integral\"",
        "aggregation = \"integral\"\nbridge_max_s = 5\nreason = \"x\"",
    );
    assert!(integral.problem.contains("only a totaliser"), "{integral}");
    let discount = plan_error(
        SOLAR,
        "[[neutral]]\nname = \"DF\"\njustification = \"The methodology states no discount.\"",
        "[[fixed]]\nparameter = \"DF\"\nvalue = \"0\"\nunit = \"1\"\nsource = \"example\"",
    );
    assert!(discount.problem.contains("outside"), "{discount}");
    let above = plan_error(
        SOLAR,
        "[[neutral]]\nname = \"DF\"\njustification = \"The methodology states no discount.\"",
        "[[fixed]]\nparameter = \"DF\"\nvalue = \"1.01\"\nunit = \"1\"\nsource = \"example\"",
    );
    assert!(above.problem.contains("outside"), "{above}");
}

#[test]
fn logs_and_zones_are_checked() {
    let zone = plan_error(SOLAR, "Asia/Makassar", "Asia/Makasar2");
    assert!(zone.problem.contains("did you mean `Asia/Makas"), "{zone}");
    let log = plan_error(
        SOLAR,
        "log = \"example.com/gw/0001\"",
        "log = \"example.com/gw/0002\"",
    );
    assert!(
        log.remedy.contains("did you mean `example.com/gw/0001`?"),
        "{log}"
    );
    let anchor = plan_error(
        SOLAR,
        "anchor = \"example.com/gw/0001+",
        "anchor = \"example.com/gw/0003+",
    );
    assert_eq!(anchor.key, "anchor");
    let circle = plan_error(
        INJECTION,
        "site = \"injection\"",
        "site = \"injection\"\nsucceeds = \"example.com/gw/0002\"",
    );
    assert!(circle.problem.contains("circle"), "{circle}");
    let nobody = plan_error(
        INJECTION,
        "succeeds = \"example.com/gw/0001\"",
        "succeeds = \"example.com/gw/0003\"",
    );
    assert!(nobody.problem.contains("there is no log"), "{nobody}");
    let unrelated = plan_error(INJECTION, "succeeds = \"example.com/gw/0001\"\n", "");
    assert!(
        unrelated.problem.contains("does not succeed"),
        "{unrelated}"
    );
}

#[test]
fn a_plan_limits_its_periods() {
    let plan = Plan::parse(INJECTION, "plan.toml").unwrap();
    let before = plan
        .period(date("2025-05-31").unwrap(), date("2026-03-31").unwrap())
        .unwrap_err();
    assert!(matches!(before, PeriodError::OutsidePlan { .. }));
    let old = changed(SOLAR, &[("[rounding]", "[period]\n[rounding]")]);
    let turn = (date("2020-12-01").unwrap(), date("2021-01-31").unwrap());
    let refused = Plan::parse(&old, "plan.toml")
        .unwrap()
        .period(turn.0, turn.1)
        .unwrap_err();
    assert!(matches!(refused, PeriodError::Straddles2020 { .. }));
    let lifted = changed(
        SOLAR,
        &[(
            "[rounding]",
            "[period.straddle_2020]\nreason = \"r\"\nsource = \"s\"\n[rounding]",
        )],
    );
    let period = Plan::parse(&lifted, "plan.toml")
        .unwrap()
        .period(turn.0, turn.1)
        .unwrap();
    assert_eq!(period.zone_name(), "Asia/Makassar");
}

#[test]
fn the_plan_pins_its_methodology() {
    let text = shipped_text("grid_solar").unwrap();
    let methodology = Methodology::parse(text, "m.toml").unwrap();
    let pin = |hash: &str| {
        changed(
            SOLAR,
            &[(
                "state =",
                &format!("methodology_sha256 = \"{hash}\"\nstate ="),
            )],
        )
    };
    let right = Plan::parse(&pin(&methodology.hash().to_hex()), "plan.toml").unwrap();
    right.bind(&methodology).unwrap();
    let other = Methodology::parse(&format!("{text}\n"), "m.toml").unwrap();
    assert!(
        right
            .bind(&other)
            .unwrap_err()
            .problem
            .contains("the plan pins")
    );
    let short = Plan::parse(&pin("00ff"), "plan.toml").unwrap_err();
    assert_eq!(short.key, "methodology_sha256");
    let wrong = quantification::methodology::shipped("co2_injection_mass").unwrap();
    assert!(
        right
            .bind(&wrong)
            .unwrap_err()
            .problem
            .contains("this methodology is `co2_injection_mass`")
    );
}

fn methodology_error(from: &str, to: &str) -> InputError {
    let text = changed(shipped_text("co2_injection_mass").unwrap(), &[(from, to)]);
    Methodology::parse(&text, "m.toml").unwrap_err()
}

#[test]
fn a_formula_mistake_is_located_to_the_column() {
    let error = methodology_error("\"CO2_I - CO2_E - CO2_FI\"", "\"CO2_I - CO2_E - CO2_FJ\"");
    let text = shipped_text("co2_injection_mass").unwrap();
    let line = text
        .lines()
        .position(|line| line.contains("CO2_I - CO2_E"))
        .unwrap()
        + 1;
    assert_eq!(
        (error.file.as_str(), error.line, error.column),
        ("m.toml", line, "expression = \"CO2_I - CO2_E - ".len() + 1)
    );
    assert!(error.remedy.contains("did you mean `CO2_FI`?"), "{error}");
    let syntax = methodology_error("\"EC * EF_elec\"", "\"EC * * EF_elec\"");
    assert_eq!(syntax.column, "expression = \"EC * ".len() + 1);
}

#[test]
fn formulas_are_checked_for_units() {
    let mass = methodology_error("\"co2(Q * C)\"", "\"Q * C\"");
    assert!(mass.remedy.contains("co2("), "{mass}");
    let sum = methodology_error("\"PE_elec + PE_fuel\"", "\"PE_elec + EC\"");
    assert!(sum.problem.contains("cannot be added to"), "{sum}");
    let scalar = methodology_error("\"sum(CO2_u)\"", "\"CO2_u\"");
    assert!(scalar.remedy.contains("sum("), "{scalar}");
    let nothing = methodology_error("\"sum(CO2_u)\"", "\"sum(CO2_E)\"");
    assert!(nothing.problem.contains("nothing to run over"), "{nothing}");
    let two = methodology_error("\"sum(CO2_u)\"", "\"sum(CO2_u * FC)\"");
    assert!(two.problem.contains("well or fuel"), "{two}");
    let factor = methodology_error("\"FC * density * NCV * EF_fuel\"", "\"FC * NCV * EF_fuel\"");
    assert!(factor.problem.contains("the formula gives"), "{factor}");
    let later = methodology_error("\"co2(Q * C)\"", "\"co2(Q * C) + CO2_I\"");
    assert!(
        later
            .problem
            .contains("neither a parameter nor a formula above"),
        "{later}"
    );
}

#[test]
fn a_methodology_is_complete_and_consistent() {
    let output = methodology_error("name = \"BaU\"", "name = \"BAU\"");
    assert_eq!(output.key, "BaU");
    let twice = methodology_error("name = \"density\"", "name = \"NCV\"");
    assert!(twice.problem.contains("defined twice"), "{twice}");
    let direction = methodology_error(
        "aggregations = [\"mean\"]\ndirection = \"earns\"",
        "aggregations = [\"mean\"]",
    );
    assert!(
        direction.problem.contains("declares no direction"),
        "{direction}"
    );
    let reserved = methodology_error("name = \"CO2_u\"", "name = \"co2\"");
    assert!(reserved.problem.contains("cannot be used"), "{reserved}");
    let index = methodology_error("over = \"well\"", "over = \"wel\"");
    assert!(index.remedy.contains("did you mean `well`?"), "{index}");
}

#[test]
fn a_number_of_a_methodology_needs_a_source_and_a_place() {
    let of = |from: &str, to: &str| {
        let text = changed(shipped_text("co2_injection_volume").unwrap(), &[(from, to)]);
        Methodology::parse(&text, "m.toml").unwrap_err()
    };
    let source = "source = \"40 CFR 98.443, equations RR-2 and RR-5: density of CO2 at standard conditions\"";
    for nothing in ["source = \" \"", "source = \"example\""] {
        let error = of(source, nothing);
        assert_eq!(error.key, "source");
        assert!(error.to_string().contains("needs its source"), "{error}");
    }
    assert_eq!(
        of(source, "").key,
        "source",
        "a default without a source does not load"
    );
    let error = of("value = \"0.0018682\"", "value = \"-1\"");
    assert!(error.to_string().contains("outside least"), "{error}");
}

#[test]
fn a_plan_keeps_to_the_monitoring_options_of_its_methodology() {
    let text = shipped_text("co2_injection_mass").unwrap();
    let text = changed(
        text,
        &[(
            "aggregations = [\"increase\", \"integral\"]\ndirection = \"earns\"",
            "aggregations = [\"increase\", \"integral\"]\noptions = [\"B\"]\ndirection = \"earns\"",
        )],
    );
    let methodology = Methodology::parse(&text, "m.toml").unwrap();
    let plan = Plan::parse(INJECTION, "plan.toml").unwrap();
    let error = plan.bind(&methodology).unwrap_err();
    assert!(
        error.to_string().contains("not monitored by measurement"),
        "{error}"
    );
    assert!(
        error.to_string().contains("the methodology allows: B"),
        "{error}"
    );
    let refused = Methodology::parse(&text.replace("[\"B\"]", "[]"), "m.toml").unwrap_err();
    assert_eq!(refused.key, "options");
}

#[test]
fn a_project_log_is_named_with_its_own_key_or_not_at_all() {
    let lines = |origin: &str, key: &str| {
        format!("[project_log]\norigin = \"{origin}\"\nkey = \"{key}\"\n\n[rounding]")
    };
    let name = "example.com/project/ID009";
    let origin = evidence::hash::Origin::parse(name).unwrap();
    let key = evidence::key::SigningKey::from_seed([3; 32]).public();
    let good = evidence::checkpoint::log_vkey(&origin, &key);
    let text = changed(SOLAR, &[("[rounding]", &lines(name, &good.to_string()))]);
    let plan = Plan::parse(&text, "plan.toml").unwrap();
    assert_eq!(plan.project_log, Some(good.clone()));
    assert_eq!(Plan::parse(SOLAR, "plan.toml").unwrap().project_log, None);

    let other = plan_error(
        SOLAR,
        "[rounding]",
        &lines("example.com/project/X", &good.to_string()),
    );
    assert_eq!(other.key, "key");
    assert!(
        other.problem.contains("not of `example.com/project/X`"),
        "{other}"
    );
    let cosigner = evidence::note::SignatureKind::Cosignature;
    let cosigner = evidence::note::Vkey::new(name, cosigner, key).unwrap();
    let witness = plan_error(SOLAR, "[rounding]", &lines(name, &cosigner.to_string()));
    assert!(witness.problem.contains("a witness's"), "{witness}");
    let gateway = Plan::parse(SOLAR, "plan.toml").unwrap().logs.remove(0);
    let taken = lines(gateway.origin.as_str(), &gateway.anchor.to_string());
    let taken = plan_error(SOLAR, "[rounding]", &taken);
    assert_eq!(taken.key, "origin");
    assert!(taken.problem.contains("is a gateway's log"), "{taken}");
}
