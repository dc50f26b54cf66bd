use serde_json::Value;

use super::{Bench, Files};

fn edited(bench: &Bench, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut report: Value = serde_json::from_slice(bench.spec.report.as_ref().unwrap()).unwrap();
    change(&mut report);
    let mut bytes = serde_json::to_vec_pretty(&report).unwrap();
    bytes.push(b'\n');
    bytes
}

#[test]
fn a_report_that_differs_in_one_unit_of_one_cell_names_the_cell() {
    let bench = Bench::new();
    assert_eq!(
        edited(&bench, |_| {}),
        *bench.spec.report.as_ref().unwrap(),
        "the test's own writing changes nothing"
    );
    let outcome = bench.refused("one unit", 5, "V21", None, |spec| {
        spec.report = Some(edited(&bench, |report| {
            let value = report["parameters"][0]["value"]
                .as_str()
                .unwrap()
                .to_owned();
            let mut digits: Vec<char> = value.chars().collect();
            let last = digits.pop().unwrap();
            digits.push(if last == '9' {
                '8'
            } else {
                char::from(u8::try_from(last).unwrap() + 1)
            });
            report["parameters"][0]["value"] = digits.into_iter().collect::<String>().into();
        }));
    });
    assert!(
        outcome.failure().contains("parameters/EG[revenue]/value"),
        "{}",
        outcome.failure()
    );
    assert!(
        outcome.text.contains("REPORT ARITHMETIC: DIFFERS"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_report_that_cannot_be_read_or_is_written_otherwise_is_refused() {
    let mut bench = Bench::new();
    bench.refused("no JSON", 5, "V22", None, |spec| {
        spec.report = Some(b"4.2 t".to_vec());
    });
    bench.refused("another writing", 5, "V22", None, |spec| {
        let report: Value = serde_json::from_slice(spec.report.as_ref().unwrap()).unwrap();
        spec.report = Some(serde_json::to_vec(&report).unwrap());
    });
    // Cells that are no sums are for the first implementation alone.
    bench.files.python = false;
    let outcome = bench.refused("a cell of the trace", 5, "V21", None, |spec| {
        spec.report = Some(edited(&bench, |report| {
            report["plan_sha256"] = "00".repeat(32).into();
        }));
    });
    assert!(
        outcome.failure().contains("plan_sha256"),
        "{}",
        outcome.failure()
    );
}

#[test]
fn without_a_claim_the_figures_are_recomputed_and_nothing_is_confirmed_about_them() {
    let bench = Bench::new();
    let outcome = bench.broken(|spec| spec.report = None);
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    assert_eq!(outcome.json["report"]["claimed"], false);
    assert!(outcome.text.contains("nothing claimed"), "{}", outcome.text);
}

#[test]
fn the_verifier_s_own_plan_decides_and_the_period_may_come_from_the_claim() {
    let bench = Bench::new();
    let outcome = bench.broken(|spec| spec.plan = b"state = \"registered\"".to_vec());
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    assert_eq!(outcome.json["plan_equal"], false);
    assert!(outcome.text.contains("yours decides"), "{}", outcome.text);
    let mut files = Files::new(&bench.site);
    files.extra.clear();
    let outcome = files.check(&bench.spec.write());
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    assert_eq!(outcome.json["period"]["claimed"], true);
    assert!(
        outcome.text.contains("as the report claims"),
        "{}",
        outcome.text
    );
}
