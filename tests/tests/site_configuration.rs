//! The generated configuration and plan are accepted by those who read them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use evidence::checkpoint::log_vkey;
use evidence::hash::Origin;
use evidence::key::SigningKey;
use gateway::config::GatewayConfig;
use quantification::methodology::Methodology;
use quantification::plan::Plan;
use system_tests::gateway_config::{GatewayFile, Points, plan_text};
use system_tests::registers::DEVICES;

const ORIGIN: &str = "example.com/gw/simulated";

fn file(points: Points) -> GatewayFile {
    GatewayFile {
        origin: ORIGIN.to_owned(),
        data_dir: PathBuf::from("/var/lib/fieldseal gw"),
        collector: Some(("https://localhost:8443".to_owned(), None)),
        segment_s: 60,
        interval_s: 10,
        modbus: [5_020, 5_021].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        mqtt_port: 1_884,
        points,

        clock_source: None,
    }
}

#[test]
fn the_gateway_accepts_its_configuration_with_every_register_as_a_point() {
    let text = file(Points::All).text();
    let config = GatewayConfig::parse("gateway.toml", &text)
        .map_err(|problems| format!("{problems}\n{text}"))
        .unwrap();
    let polled: usize = config.modbus.iter().map(|device| device.points.len()).sum();
    let registers: usize = DEVICES.iter().map(|device| device.registers.len()).sum();
    assert_eq!(polled, registers);
    assert_eq!(config.mqtt.len(), 1);
    assert_eq!(config.mqtt[0].points.len(), 4);
}

#[test]
fn the_plan_binds_to_its_methodology_and_names_only_points_of_the_short_configuration() {
    let key = SigningKey::from_seed([7; 32]).public();
    let anchor = log_vkey(&Origin::parse(ORIGIN).unwrap(), &key);
    let text = plan_text("DEMO", "A project", ORIGIN, &anchor.to_string());
    let plan = Plan::parse(&text, "plan.toml")
        .map_err(|error| format!("{error}\n{text}"))
        .unwrap();
    let methodology = include_str!("../../quantification/methodologies/co2_injection_mass.toml");
    let methodology = Methodology::parse(methodology, "co2_injection_mass.toml").unwrap();
    let bound = plan.bind(&methodology).unwrap();
    assert_eq!(bound.plan.points.len(), 6);

    let config = GatewayConfig::parse("gateway.toml", &file(Points::Plan).text()).unwrap();
    let named: Vec<&str> = config
        .modbus
        .iter()
        .flat_map(|device| &device.points)
        .chain(config.mqtt.iter().flat_map(|broker| &broker.points))
        .map(|point| point.name.as_str())
        .collect();
    assert_eq!(named.len(), 5);
    for point in &plan.points {
        for source in &point.sources {
            assert!(named.contains(&source.point.as_str()), "{}", source.point);
        }
    }
}
