//! Densities of CO2 beside another implementation's, and states that have none.

use proptest::prelude::{prop_assert, proptest};
use quantification::carbon_dioxide::{
    Quantity, State, StateError, critical_density, density, saturation,
};
use serde_json::Value;

const ORACLE: &str = include_str!("../../testdata/co2_density.csv");

fn exact(pressure_pa: f64, temperature_k: f64) -> State {
    State {
        pressure_pa,
        temperature_k,
        pressure_uncertainty_pa: 0.0,
        temperature_uncertainty_k: 0.0,
    }
}

fn numbers(line: &str) -> Vec<f64> {
    line.split(',').map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_density_agrees_with_coolprop_from_a_tenth_to_forty_megapascal() {
    let (mut worst, mut compared) = ((0.0_f64, String::new()), 0);
    let lines = ORACLE.lines().filter(|line| !line.starts_with(['#', 's']));
    for line in lines {
        let numbers = numbers(line);
        let ours = density(&exact(numbers[0], numbers[1])).unwrap();
        let off = (ours / numbers[2] - 1.0).abs();
        compared += 1;
        if off > worst.0 {
            worst = (off, line.to_owned());
        }
    }
    assert!(compared > 1_500, "{compared}");
    assert!(worst.0 <= 1e-9, "{worst:?}");
}

#[test]
fn saturation_agrees_with_coolprop() {
    for line in ORACLE.lines().filter_map(|line| line.strip_prefix("sat,")) {
        let numbers = numbers(line);
        let ours = saturation(numbers[0]).unwrap();
        for (ours, theirs) in [
            (ours.pressure_pa, numbers[1]),
            (ours.gas_mol_m3 * 0.044_009_8, numbers[2]),
            (ours.liquid_mol_m3 * 0.044_009_8, numbers[3]),
        ] {
            assert!(
                (ours / theirs - 1.0).abs() <= 1e-7,
                "{line}: {ours} {theirs}"
            );
        }
    }
}

#[test]
fn the_golden_densities_come_out() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../testdata/golden-vectors.json")).unwrap();
    let rows = vectors["co2_density"].as_array().unwrap();
    assert!(rows.len() >= 9);
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap();
        let ours = density(&exact(number("P_Pa"), number("T_K"))).unwrap();
        // The vectors have nine decimals.
        assert!((ours - number("rho_kg_m3")).abs() < 6e-10, "{row}: {ours}");
    }
}

#[test]
fn the_slope_of_saturation_is_that_of_its_pressure() {
    for temperature in [250.0, 270.0, 290.0, 300.0, 303.0] {
        let at = |t: f64| saturation(t).unwrap().pressure_pa;
        let measured = (at(temperature + 0.01) - at(temperature - 0.01)) / 0.02;
        let stated = saturation(temperature).unwrap().slope_pa_k;
        assert!(
            (stated / measured - 1.0).abs() < 2e-3,
            "{temperature}: {stated} {measured}"
        );
    }
}

#[test]
fn a_state_that_the_transmitters_cannot_tell_from_saturation_is_refused() {
    let line = saturation(293.15).unwrap();
    for (off, refused) in [(-0.9, true), (0.9, true), (-1.1, false), (1.1, false)] {
        let (u_p, u_t) = (5_000.0, 0.3);
        let within = u_p + u_t * line.slope_pa_k;
        let state = State {
            pressure_uncertainty_pa: u_p,
            temperature_uncertainty_k: u_t,
            ..exact(line.pressure_pa + off * within, 293.15)
        };
        let result = density(&state);
        assert_eq!(
            matches!(result, Err(StateError::NearSaturation { .. })),
            refused,
            "{off}: {result:?}"
        );
    }
    let (gas, liquid) = (
        density(&exact(line.pressure_pa * 0.99, 293.15)).unwrap(),
        density(&exact(line.pressure_pa * 1.01, 293.15)).unwrap(),
    );
    assert!(gas < critical_density() && liquid > critical_density());
}

#[test]
fn a_state_just_above_the_critical_temperature_is_refused_while_the_transmitter_could_be_below_it()
{
    let state = |off_k: f64, off_pa: f64, u_t: f64| State {
        pressure_uncertainty_pa: 1_000.0,
        temperature_uncertainty_k: u_t,
        ..exact(7_377_300.0 + 171_000.0 * off_k + off_pa, 304.128_2 + off_k)
    };
    let refused = |state| matches!(density(&state), Err(StateError::NearSaturation { .. }));
    assert!(refused(state(0.1, 0.0, 0.2)), "it may be 303.9 K");
    assert!(refused(state(0.1, 30_000.0, 0.2)));
    assert!(!refused(state(0.1, 60_000.0, 0.2)), "far from the line");
    assert!(!refused(state(0.3, 0.0, 0.2)), "surely above");
    assert!(
        !refused(state(0.1, 0.0, 0.0)),
        "without uncertainty it is above"
    );
}

#[test]
fn what_was_never_compared_is_refused_with_the_range() {
    let outside = |p: f64, t: f64| match density(&exact(p, t)) {
        Err(StateError::OutOfRange { quantity, .. }) => quantity,
        other => panic!("{other:?}"),
    };
    assert_eq!(outside(99_999.0, 300.0), Quantity::Pressure);
    assert_eq!(outside(4.1e7, 300.0), Quantity::Pressure);
    assert_eq!(outside(1e6, 249.9), Quantity::Temperature);
    assert_eq!(outside(1e6, 430.1), Quantity::Temperature);
    let text = density(&exact(4.1e7, 300.0)).unwrap_err().to_string();
    assert_eq!(
        text,
        "the absolute pressure 41000000 is outside 100000 … 40000000 Pa"
    );
    assert!(matches!(
        density(&exact(f64::NAN, 300.0)),
        Err(StateError::NotANumber(Quantity::Pressure))
    ));
    let negative = State {
        pressure_uncertainty_pa: -1.0,
        ..exact(1e6, 300.0)
    };
    assert!(density(&negative).is_err());
    assert!(saturation(304.1282).is_none() && saturation(216.0).is_none());
}

proptest! {
    #[test]
    fn density_rises_with_pressure_and_falls_with_temperature(
        p in 1.0e5_f64..3.99e7, t in 250.0_f64..429.0, dp in 1.0_f64..1e5, dt in 0.001_f64..1.0,
    ) {
        let here = density(&exact(p, t));
        let denser = density(&exact((p + dp).min(4.0e7), t));
        let hotter = density(&exact(p, t + dt));
        if let (Ok(here), Ok(denser)) = (here, denser) {
            prop_assert!(denser >= here);
        }
        if let (Ok(here), Ok(hotter)) = (here, hotter) {
            prop_assert!(hotter <= here);
        }
    }
}
