use evidence::verification::WIDTHS_S;

use super::{Files, Site, expect};
use crate::support::{Cosigner, FROM_MS, Gateway, HOUR_MS, TO_MS, witnesses};

/// A day whose witnesses' clocks are off by `seconds` in the fifth hour.
fn day(seconds: i64) -> Site {
    let witnesses = witnesses();
    let by: Vec<&Cosigner> = witnesses.iter().collect();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|_| {});
    gateway.sample(FROM_MS + 5 * HOUR_MS, &witnesses);
    gateway.now_ms += 600_000;
    for stream in [0, 2] {
        gateway.data(stream, 60);
    }
    gateway.cosign(gateway.now_ms / 1000 + seconds, &by);
    gateway.pin_newest();
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    drop(by);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    site
}

#[test]
fn a_claimed_time_outside_what_witnesses_prove_is_refused() {
    for (seconds, what, exit) in [
        (-200, "within the tolerance", 0),
        (-1_000, "claimed after it was seen", 4),
        (3_000, "sealed after what it claims", 4),
    ] {
        let site = day(seconds);
        let outcome = Files::new(&site).check(&site.spec().write());
        assert_eq!(outcome.exit, exit, "{what}: {}", outcome.failure());
        if exit == 4 {
            let index = outcome.json["failures"][0]["index"].as_u64();
            expect(&outcome, what, 4, "V15", index);
            assert!(index.is_some());
            assert!(outcome.json["logs"][0]["time"]["outside"].as_u64().unwrap() >= 1);
        }
    }
}

#[test]
fn what_nobody_witnessed_in_time_is_class_1_and_what_was_never_pinned_has_no_lower_bound() {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|_| {});
    gateway.sample(TO_MS + HOUR_MS, &[]);
    gateway.trail.clear();
    gateway.now_ms += 30 * 24 * HOUR_MS; // a month until anybody saw it
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    let mut files = Files::new(&site);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    let time = &outcome.json["logs"][0]["time"];
    let measured: u64 = outcome.json["logs"][0]["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| stream["measured"].as_u64().unwrap())
        .sum();
    assert_eq!(time["no_lower"].as_u64(), Some(measured));
    assert_eq!(time["classes"][1].as_u64(), Some(measured));
    assert_eq!(
        time["pins_unknown"].as_u64().unwrap(),
        outcome.json["logs"][0]["size"].as_u64().unwrap() - first_pin(&site)
    );
    assert!(outcome.text.contains("class 1"), "{}", outcome.text);
    let runs = outcome.json["logs"][0]["class_runs"].as_array().unwrap();
    assert_eq!(
        (runs.len(), runs[0][0].as_u64()),
        (1, Some(1)),
        "one run of class 1"
    );
    assert_eq!(time["within"].as_array().unwrap().len(), WIDTHS_S.len() + 1);
    files
        .extra
        .extend(["--max-delay-h".to_owned(), "2000".to_owned()]);
    assert_eq!(
        files.check(&site.spec().write()).json["logs"][0]["time"]["classes"][2].as_u64(),
        Some(measured)
    );
    files.write(
        "ours.policy",
        format!("witness W0 {}\nquorum none\n", site.witnesses[0].vkey()).as_bytes(),
    );
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    assert_eq!(
        outcome.json["logs"][0]["time"]["no_upper"].as_u64(),
        Some(measured)
    );
}

/// The first entry that pins anything.
fn first_pin(site: &Site) -> u64 {
    let pins = |row: &crate::support::Row| {
        evidence::entry::Entry::parse(&row.entry)
            .unwrap()
            .entry
            .freshness
            .is_some()
    };
    u64::try_from(site.gateways[0].rows.iter().position(pins).unwrap()).unwrap()
}
