//! A gateway is replaced in the middle of the period; the plan names both logs.

use crate::support::{Files, two_gateways};

#[test]
fn a_gateway_replaced_in_the_middle_of_the_period_is_proven_with_its_successor() {
    let site = two_gateways();
    let files = Files::new(&site);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}\n{}", outcome.failure(), outcome.text);
}
