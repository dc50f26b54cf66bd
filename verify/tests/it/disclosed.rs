//! Bundles that show less: what is proven stays proven, what is not shown is said.

use evidence::bundle::Disclosure;

use crate::support::{Files, Outcome, Site, disclosed, plain_day, solar_day};

fn listed(names: &[&str]) -> Disclosure {
    Disclosure::listed(names.iter().map(|name| (*name).to_owned())).unwrap()
}

fn files(site: &Site) -> Files {
    let mut files = Files::new(site);
    let limit = ["--gap-limit-percent".to_owned(), "100".to_owned()];
    files.extra.extend(limit);
    files
}

fn proven(outcome: &Outcome) {
    assert_eq!(outcome.exit, 0, "{}\n{}", outcome.failure(), outcome.text);
}

#[test]
fn completeness_and_times_are_proven_in_every_class_as_if_all_were_shown() {
    let site = solar_day();
    let files = files(&site);
    let all = files.check(&disclosed(&site, &Disclosure::All).write());
    let whole = site.spec().write();
    assert_eq!(whole, disclosed(&site, &Disclosure::All).write());
    let mut shorter = whole.len();
    for disclosure in [listed(&["export.energy", "noise"]), Disclosure::Commitments] {
        let bundle = disclosed(&site, &disclosure).write();
        assert!(bundle.len() < shorter, "{} bytes", bundle.len());
        shorter = bundle.len();
        let outcome = files.check(&bundle);
        proven(&outcome);
        for same in [
            "streams",
            "time",
            "class_runs",
            "roots",
            "dropped",
            "events",
        ] {
            assert_eq!(
                outcome.json["logs"][0][same], all.json["logs"][0][same],
                "{same}"
            );
        }
        let class = disclosure.class();
        assert_eq!(outcome.json["logs"][0]["disclosure"], class.to_string());
        let told = format!("class {class}");
        assert!(outcome.text.contains(&told), "{}", outcome.text);
        assert!(
            outcome
                .text
                .contains("REPORT ARITHMETIC: NOT CHECKED as a whole"),
            "{}",
            outcome.text
        );
    }
}

#[test]
fn what_rests_on_shown_points_is_recomputed_and_what_does_not_is_left_alone() {
    let site = solar_day();
    let files = files(&site);
    let bundle = disclosed(&site, &listed(&["export.energy"])).write();
    let outcome = files.check(&bundle);
    proven(&outcome);
    let report = &outcome.json["report"];
    assert_eq!(report["hidden"], serde_json::json!(["MP-2"]));
    assert_eq!(report["compared"], serde_json::json!(["EG[revenue]"]));
    assert_eq!(report["equal"], false);
    assert!(report["er"].is_null(), "no total without every reading");
    assert!(outcome.text.contains("MP-2"), "{}", outcome.text);
    let samples = outcome.json["logs"][0]["samples"].as_u64().unwrap();
    assert!(
        samples > 0 && samples < 10_000,
        "one point of eight: {samples}"
    );

    // Every point of the plan: the report is whole again, though the gateway measures more.
    let bundle = disclosed(&site, &listed(&["aux.power", "export.energy"])).write();
    let outcome = files.check(&bundle);
    proven(&outcome);
    assert_eq!(outcome.json["report"]["equal"], true, "{}", outcome.text);

    // A claim about what is shown that is not so is found; one about what is hidden cannot be.
    for (parameter, exit) in [("EG[revenue]", 5), ("EC_aux", 0)] {
        let mut spec = disclosed(&site, &listed(&["export.energy"]));
        let claim = String::from_utf8(spec.report.unwrap()).unwrap();
        let at = claim.find(&format!("\"name\": \"{parameter}\"")).unwrap();
        let value = claim
            .match_indices("\"value\": \"")
            .find(|(place, _)| *place > at);
        let value = value.unwrap().0 + 10;
        let mut claim = claim.into_bytes();
        claim.insert(value, b'7');
        spec.report = Some(claim);
        let outcome = files.check(&spec.write());
        assert_eq!(outcome.exit, exit, "{parameter}: {}", outcome.failure());
    }
}

#[test]
fn no_part_of_a_bundle_that_shows_less_can_be_changed() {
    let site = plain_day();
    let files = Files::new(&site);
    let good = disclosed(&site, &listed(&["export.energy"]));
    proven(&files.check(&good.write()));
    let refused =
        |what: &str, code: &str, index: Option<u64>, change: &dyn Fn(&mut crate::support::Spec)| {
            let mut spec = good.clone();
            change(&mut spec);
            let outcome = files.check(&spec.write());
            assert_eq!(
                outcome.codes().first(),
                Some(&code),
                "{what}: {}",
                outcome.failure()
            );
            assert_eq!(
                outcome.json["failures"][0]["index"].as_u64(),
                index,
                "{what}"
            );
        };
    let part = |spec: &mut crate::support::Spec, change: &dyn Fn(&mut Vec<u8>)| {
        change(&mut spec.logs[0].payloads[3]);
    };
    let first_shown = (0..4).find(|n| good.logs[0].payloads[*n].len() > 100);
    let first_shown = first_shown.expect("a part of stream 0");
    let index = Some(u64::try_from(first_shown).unwrap() + 2);
    let shown = |spec: &mut crate::support::Spec, at: usize| {
        spec.logs[0].payloads[first_shown][at] ^= 1;
    };
    refused("a reading", "E15", index, &|spec| shown(spec, 4 + 16 + 3));
    let last = good.logs[0].payloads[first_shown].len() - 1;
    refused("a hidden chunk's hash", "E15", index, &|spec| {
        shown(spec, last);
    });
    refused("a length that no payload can have", "E14", index, &|spec| {
        shown(spec, 1);
    });
    refused("a hash less", "E15", Some(5), &|spec| {
        part(spec, &|part| {
            part.truncate(part.len() - 32);
            let length = u32::try_from(part.len() - 4).unwrap();
            part[..4].copy_from_slice(&length.to_be_bytes());
        });
    });
    refused("a part behind the last one", "V10", None, &|spec| {
        spec.logs[0].payloads.push(vec![0; 9]);
    });
    refused(
        "the last part cut",
        "E14",
        Some(u64::try_from(good.logs[0].entries.len() - 1).unwrap()),
        &|spec| {
            let parts = &mut spec.logs[0].payloads;
            parts.last_mut().unwrap().pop();
        },
    );
    refused("another list", "E16", Some(2), &|spec| {
        spec.logs[0].parts.disclosure = listed(&["site.power"]);
    });
    refused("class A said", "E16", Some(2), &|spec| {
        spec.logs[0].parts.disclosure = Disclosure::All;
    });
    refused("class C said", "V10", None, &|spec| {
        spec.logs[0].parts.disclosure = Disclosure::Commitments;
    });
    refused("a list out of order", "V01", None, &|spec| {
        let names = vec!["b".to_owned(), "a".to_owned()];
        spec.logs[0].parts.disclosure = Disclosure::Listed(names);
    });
    refused("an empty list", "V01", None, &|spec| {
        spec.logs[0].parts.disclosure = Disclosure::Listed(Vec::new());
    });
}
