use evidence::entry::GapReason;

use super::{Bench, Files, Site, expect};
use crate::support::{FROM_MS, Gateway, HOUR_MS, TO_MS, spec_of, witnesses};

fn site(until_ms: i64, change: impl FnOnce(&mut Gateway)) -> Site {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|_| {});
    change(&mut gateway);
    gateway.sample(until_ms, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    site
}

#[test]
fn a_log_that_does_not_reach_an_edge_of_the_period_is_incomplete() {
    let mut site = site(TO_MS - HOUR_MS, |_| {});
    let spec = site.spec();
    let outcome = Files::new(&site).check(&spec.write());
    expect(&outcome, "ends an hour early", 3, "V12", None);
    site = plain(TO_MS + HOUR_MS);
    site.first = vec![60];
    let outcome = Files::new(&site).check(&site.spec().write());
    expect(&outcome, "begins inside the period", 3, "V11", None);
    let bench = Bench::new();
    let mut files = Files::new(&bench.site);
    files.extra = ["--from", "2026-01-05", "--to", "2026-01-06"]
        .map(str::to_owned)
        .to_vec();
    let outcome = files.check(&bench.spec.write());
    expect(&outcome, "another period than the bundle's", 3, "V12", None);
}

fn plain(until_ms: i64) -> Site {
    site(until_ms, |_| {})
}

#[test]
fn a_log_that_begins_inside_the_period_is_proven_and_what_was_before_counts_as_missing() {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS + 6 * HOUR_MS);
    gateway.configure(|_| {});
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    let mut files = Files::new(&site);
    let outcome = files.check(&site.spec().write());
    assert_eq!(
        outcome.exit,
        1,
        "a quarter of the day is missing: {}",
        outcome.failure()
    );
    assert_eq!(outcome.json["logs"][0]["streams"][0]["holes"], 6 * 360);
    assert!(outcome.text.contains("GAPS: 25.000 %"), "{}", outcome.text);
    files
        .extra
        .extend(["--gap-limit-percent".into(), "25".into()]);
    assert_eq!(files.check(&site.spec().write()).exit, 0);
}

#[test]
fn declared_gaps_beyond_the_limit_are_proven_with_exit_code_1() {
    let site = site(TO_MS + HOUR_MS, |gateway| {
        gateway.now_ms = FROM_MS + 2 * HOUR_MS;
        for (stream, ticks) in [(0, 1_080), (1, 180), (2, 1_080)] {
            gateway.gap(stream, ticks, GapReason::Operator);
        }
    });
    let outcome = Files::new(&site).check(&site.spec().write());
    assert_eq!(outcome.exit, 1, "{}", outcome.failure());
    assert!(outcome.text.contains("DATA INTEGRITY: CONFIRMED"));
    assert_eq!(
        outcome.json["logs"][0]["streams"][0]["gaps"]["operator"]["ticks"],
        720
    );
}

#[test]
fn the_plan_s_points_and_logs_must_be_there_and_no_other_log() {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|config| config.points[5].name = "other.power".to_owned());
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    let outcome = Files::new(&site).check(&site.spec().write());
    expect(
        &outcome,
        "a point that was never configured",
        3,
        "V13",
        None,
    );
    let mut stranger = plain(TO_MS + HOUR_MS);
    let good = plain(TO_MS + HOUR_MS);
    stranger.gateways[0] = {
        let mut gateway = Gateway::new("example.com/gw/0007", 60, FROM_MS - HOUR_MS);
        gateway.configure(|_| {});
        gateway.sample(FROM_MS, &good.witnesses);
        gateway
    };
    stranger.plan.clone_from(&good.plan);
    stranger.close();
    let files = Files::new(&good);
    let mut spec = good.spec();
    let mut other = good.spec();
    other.logs = vec![];
    let alien = spec_of(&stranger);
    spec.logs.push(alien.clone());
    expect(
        &files.check(&spec.write()),
        "a log that the plan does not name",
        2,
        "V18",
        None,
    );
    other.logs.push(alien);
    let outcome = files.check(&other.write());
    assert_eq!(
        outcome.codes(),
        ["V18", "V17"],
        "and the plan's own log is missing"
    );
}
