//! One worked day of every project type: `testdata/project_types.py` computes them in Python decimals.

use quantification::exact::Exact;
use quantification::methodology::shipped_ids;
use serde_json::Value;

use crate::support::{GW1, Log, Spec, bound, period, report};

const HOUR: i64 = 3_600_000;

macro_rules! plans {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../examples/", $name, ".plan.toml")))),*]
    };
}

const PLANS: [(&str, &str); 20] = plans![
    "base-stations",
    "battery-locomotive",
    "biochar",
    "bioethanol",
    "biomass-power",
    "compressed-biogas",
    "cow-dung-power",
    "efficient-chillers",
    "enhanced-recovery",
    "flexographic-printing",
    "green-hydrogen",
    "hybrid-solar",
    "injection-by-volume",
    "methane-fermentation",
    "onshore-wind",
    "refinery-optimisation",
    "solar-base-stations",
    "solar-thermal",
    "waste-derived-fuel",
    "waste-to-steam",
];

fn plan(name: &str) -> &'static str {
    PLANS.iter().find(|(known, _)| *known == name).unwrap().1
}

fn whole(row: &Value, key: &str) -> i64 {
    row[key].as_i64().unwrap()
}

#[test]
fn a_day_of_every_project_type_agrees_with_python_to_the_last_digit() {
    let worked: Vec<Value> =
        serde_json::from_str(include_str!("../../testdata/project_types.json")).unwrap();
    assert_eq!(worked.len(), PLANS.len());
    for case in &worked {
        let name = case["plan"].as_str().unwrap();
        let bound = bound(plan(name));
        let day = case["day"].as_str().unwrap();
        let period = period(&bound, day, day);
        let start = period.start_ms();
        let readings = case["readings"].as_array().unwrap();
        let points: Vec<Spec> = readings
            .iter()
            .map(|row| {
                let point: &'static str = row["point"].as_str().unwrap().to_owned().leak();
                let planned = bound
                    .plan
                    .points
                    .iter()
                    .find(|planned| planned.sources[0].point == point)
                    .unwrap();
                let unit: &'static str = planned.unit.symbol().to_owned().leak();
                let decimals = u8::try_from(whole(row, "decimals")).unwrap();
                (point, unit, decimals, row["totaliser"] == true)
            })
            .collect();
        // Half hours, because some zones lie half an hour off.
        let mut log = Log::new(GW1, 1_800_000, &points);
        log.fill(start, period.end_ms() + HOUR, 4, |point, time| {
            let (row, h) = (&readings[point], (time - start) / HOUR);
            let (a, b) = (whole(row, "a"), whole(row, "b"));
            Some(if row["totaliser"] == true {
                1_000_000 + a * h + b * h * (h - 1) / 2
            } else {
                a + b * (h % whole(row, "m"))
            })
        });
        let report = report(&bound, &period, &[&log]);
        assert!(
            !report.provisional,
            "{name}: {:?}",
            report.provisional_reasons
        );
        for (key, value) in [
            ("BaU", report.totals.bau),
            ("RE", report.totals.re),
            ("PE", report.totals.pe),
            ("ER", report.totals.er),
        ] {
            let expected = case["expected"][key].as_str().unwrap();
            assert_eq!(value.to_string(), expected, "{name}: {key}");
        }
        assert!(report.totals.er > Exact::ZERO, "{name}");
    }
}

#[test]
fn every_shipped_methodology_has_an_example_and_a_row_in_the_list() {
    let list = include_str!("../../methodologies/README.md");
    for id in shipped_ids() {
        assert!(list.contains(&format!("[{id}]({id}.toml)")), "{id}");
        let examples = PLANS.iter().map(|(_, text)| *text);
        let examples = examples.chain([crate::support::INJECTION, crate::support::SOLAR]);
        let line = format!("methodology = \"{id}\"");
        assert!(
            examples.into_iter().any(|text| text.contains(&line)),
            "{id}"
        );
    }
    for (name, _) in PLANS {
        assert!(
            list.contains(&format!("examples/{name}.plan.toml")),
            "{name}"
        );
    }
}

#[test]
fn what_a_methodology_leaves_out_stands_in_the_report() {
    let bound = bound(plan("enhanced-recovery"));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let report = report(&bound, &period, &[]);
    let excluded = &report.methodology.excluded;
    assert_eq!(excluded.len(), 1);
    assert_eq!(excluded[0].name, "combustion of the oil or gas produced");
    let text = String::from_utf8(report.to_json()).unwrap();
    assert!(text.contains("outside the boundary"));
}

#[test]
fn a_number_of_the_methodology_holds_until_the_plan_states_its_own() {
    let text = plan("injection-by-volume");
    let of = |text: &str| {
        let bound = bound(text);
        let period = period(&bound, "2026-06-10", "2026-06-10");
        let report = report(&bound, &period, &[]);
        let row = report.parameter("D").unwrap().clone();
        (row.value.to_string(), row.option, row.source.unwrap())
    };
    let (value, option, source) = of(text);
    assert_eq!(value, "0.0018682");
    assert_eq!(option, "default of the methodology");
    assert!(source.starts_with("40 CFR 98.443"), "{source}");
    let own = "[[fixed]]\nparameter = \"D\"\nvalue = \"0.00187\"\nunit = \"t/sm3\"\nsource = \"example\"\n\n[[neutral]]";
    let (value, option, _) = of(&text.replacen("[[neutral]]", own, 1));
    assert_eq!(
        (value.as_str(), option.as_str()),
        ("0.00187", "fixed ex ante")
    );
}
