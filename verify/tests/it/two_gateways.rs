//! A gateway is replaced in the middle of the period; the plan names both logs.

use evidence::control::Control;
use evidence::hash::Hash;

use crate::support::{
    Cosigner, FROM_MS, Files, Gateway, HOUR_MS, MINUTE_MS, Site, TO_MS, two_gateways, witnesses,
};

#[test]
fn a_gateway_replaced_in_the_middle_of_the_period_is_proven_with_its_successor() {
    let site = two_gateways();
    let files = Files::new(&site);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}\n{}", outcome.failure(), outcome.text);
    let seam = &outcome.json["hand_overs"][0];
    assert_eq!(seam["ends_ms"], FROM_MS + 6 * HOUR_MS);
    assert_eq!(seam["begins_ms"], FROM_MS + 6 * HOUR_MS + 20 * MINUTE_MS);
    assert_eq!(seam["sealed"], true);
    let streams = |log: usize| {
        outcome.json["logs"][log]["streams"][0]["expected"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        streams(0) + streams(1) + 120,
        8_640,
        "20 minutes belong to neither and are a gap"
    );
    assert!(outcome.text.contains("gap 20 min"), "{}", outcome.text);
}

/// Two gateways; the second begins at `begins_ms` and says what `recovery` makes of the truth.
fn pair(begins_ms: i64, recovery: impl FnOnce(&Gateway) -> Option<(u64, Hash)>) -> (Site, Files) {
    let witnesses: Vec<Cosigner> = witnesses();
    let mut old = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    old.configure(|_| {});
    old.sample(FROM_MS + 6 * HOUR_MS, &witnesses);
    let mut new = Gateway::new("example.com/gw/0002", 40, begins_ms);
    if let Some((last_index, last_leaf)) = recovery(&old) {
        let origin = old.origin.to_string();
        new.control(Control::Recovery {
            origin,
            last_index,
            last_leaf,
            reason: "replaced".to_owned(),
        });
    }
    new.configure(|_| {});
    new.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![old, new], witnesses);
    site.close();
    let files = Files::new(&site);
    (site, files)
}

fn truth(old: &Gateway) -> Option<(u64, Hash)> {
    Some((old.size() - 1, *old.leaves.last().unwrap()))
}

#[test]
fn two_logs_that_do_not_fit_together_are_refused() {
    let (site, files) = pair(FROM_MS + 5 * HOUR_MS, truth);
    let outcome = files.check(&site.spec().write());
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (2, "V16"),
        "an hour in both: {}",
        outcome.failure()
    );
    let (site, files) = pair(FROM_MS + 6 * HOUR_MS, |old| {
        Some((old.size() - 1, Hash([5; 32])))
    });
    let outcome = files.check(&site.spec().write());
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (2, "V16"),
        "another predecessor: {}",
        outcome.failure()
    );
    let (site, files) = pair(FROM_MS + 6 * HOUR_MS, |old| {
        Some((old.size() + 5, Hash([5; 32])))
    });
    let outcome = files.check(&site.spec().write());
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (3, "V09"),
        "entries are withheld: {}",
        outcome.failure()
    );
    let (site, files) = pair(FROM_MS + 6 * HOUR_MS, |_| None);
    let outcome = files.check(&site.spec().write());
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (3, "V12"),
        "nobody says where it ended: {}",
        outcome.failure()
    );
}

#[test]
fn a_long_time_between_two_gateways_is_a_gap_like_any_other() {
    let (site, files) = pair(FROM_MS + 9 * HOUR_MS, truth);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 1, "three hours of 24: {}", outcome.failure());
    assert_eq!(outcome.json["unmeasured_ppm"], 125_000);
}

#[test]
fn each_log_of_the_plan_is_needed_unless_its_neighbour_covers_the_period() {
    let (site, files) = pair(FROM_MS + 6 * HOUR_MS, truth);
    let mut spec = site.spec();
    assert_eq!(files.check(&spec.write()).exit, 0);
    spec.logs.remove(0);
    let outcome = files.check(&spec.write());
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (3, "V17"),
        "the first one is missing: {}",
        outcome.failure()
    );
    let mut spec = site.spec();
    spec.logs.remove(1);
    let outcome = files.check(&spec.write());
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (3, "V12"),
        "the second one is missing: {}",
        outcome.failure()
    );
}
