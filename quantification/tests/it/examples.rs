//! The example plans and the shipped methodologies are whole.

use quantification::methodology::{Methodology, shipped, shipped_ids, shipped_text};

use crate::support::{INJECTION, SOLAR, bound};

#[test]
fn every_shipped_methodology_parses_under_its_own_id() {
    for id in shipped_ids() {
        let methodology = shipped(id).unwrap();
        assert_eq!(methodology.id, id);
        let again = Methodology::parse(shipped_text(id).unwrap(), "again.toml").unwrap();
        assert_eq!(again.hash(), methodology.hash());
    }
    assert!(shipped("no_such").is_none());
}

#[test]
fn no_shipped_methodology_states_a_factor() {
    for id in shipped_ids() {
        let methodology = shipped(id).unwrap();
        for parameter in &methodology.parameters {
            let neutral = parameter.neutral.map(|value| value.to_string());
            assert!(
                matches!(neutral.as_deref(), None | Some("0" | "1")),
                "{}: {neutral:?}",
                parameter.name
            );
        }
    }
}

#[test]
fn the_example_plans_fit_their_methodologies() {
    let injection = bound(INJECTION);
    assert_eq!(
        injection.members,
        [
            vec!["W-1".to_owned(), "W-2".to_owned()],
            vec!["diesel".to_owned()]
        ]
    );
    let labels: Vec<&str> = injection
        .inputs
        .iter()
        .map(|input| input.label.as_str())
        .collect();
    assert_eq!(
        labels,
        [
            "Q[W-1]",
            "Q[W-2]",
            "C[W-1]",
            "C[W-2]",
            "CO2_E",
            "CO2_FI",
            "EC",
            "EF_elec",
            "FC[diesel]",
            "density[diesel]",
            "NCV[diesel]",
            "EF_fuel[diesel]",
            "DF"
        ]
    );
    let solar = bound(SOLAR);
    assert_eq!(
        solar.members[1],
        Vec::<String>::new(),
        "a plant without fuel"
    );
}

#[test]
fn a_replaced_log_is_fed_before_its_successor_wherever_it_stands() {
    let plan = INJECTION.replace("succeeds = \"example.com/gw/0001\"\n", "");
    let plan = plan.replacen(
        "site = \"injection\"",
        "succeeds = \"example.com/gw/0002\"\nsite = \"injection\"",
        1,
    );
    // Points name the replaced log first.
    let plan = plan
        .replace("gw/0001\", point", "gw/000X\", point")
        .replace("gw/0002\", point", "gw/0001\", point")
        .replace("gw/000X\", point", "gw/0002\", point");
    let bound = bound(&plan);
    let order: Vec<&str> = bound
        .plan
        .feeding_order()
        .iter()
        .map(|log| log.origin.as_str())
        .collect();
    assert_eq!(order, ["example.com/gw/0002", "example.com/gw/0001"]);
}
