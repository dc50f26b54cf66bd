//! Honest bundles are proven, and every count is the one that was put in.

use crate::support::{Files, solar_day};

#[test]
fn a_day_with_everything_that_can_happen_to_an_honest_gateway_is_proven() {
    let site = solar_day();
    let files = Files::new(&site);
    let mut files = files;
    files
        .extra
        .extend(["--gap-limit-percent".into(), "100".into()]);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}\n{}", outcome.failure(), outcome.text);
    println!("{}", outcome.text);
    let log = &outcome.json["logs"][0];
    assert_eq!(log["first"], 20);
    assert_eq!(log["size"], site.gateways[0].size());
    assert_eq!(log["dropped"], 3);
    let stream = &log["streams"][0];
    assert_eq!(stream["expected"], 8_640);
    assert_eq!(stream["gaps"]["power"]["ticks"], 120);
    assert!(
        outcome.text.contains("DATA INTEGRITY: CONFIRMED"),
        "{}",
        outcome.text
    );
    assert!(
        outcome.text.contains("REPORT ARITHMETIC: REPRODUCED"),
        "{}",
        outcome.text
    );
    assert!(outcome.text.contains("This is not a verification opinion."));
}
