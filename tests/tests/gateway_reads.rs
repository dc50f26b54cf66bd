//! A gateway reads the plant, and a meter written by others, over real sockets: every value equal
//! to what was put there, and every fault a quality.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::config::GatewayConfig;
use gateway::read_once::{Row, read_once};
use ring::rand::SystemRandom;
use system_tests::gateway_config::Points;
use system_tests::modbus_server::{Fault, Now};
use system_tests::peers::PymodbusMeter;
use system_tests::plant::Plant;
use system_tests::registers::{DEVICES, Format};
use system_tests::site::{COMMISSIONED_UNIX_MS, Site};

const NOON: i64 = COMMISSIONED_UNIX_MS + 30 * 86_400_000 + 12 * 3_600_000;

async fn plant(directory: &Path) -> Plant {
    let frozen: Arc<Now> = Arc::new(|| NOON);
    let every = Duration::from_millis(100);
    Plant::start(directory, Site::new(3), frozen, every)
        .await
        .unwrap()
}

async fn rows(text: &str) -> BTreeMap<String, Row> {
    let config = GatewayConfig::parse("gateway.toml", text)
        .map_err(|problems| format!("{problems}\n{text}"))
        .unwrap();
    read_once(&config, Duration::from_secs(10), &SystemRandom::new())
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.point.clone(), row))
        .collect()
}

fn of_plant(plant: &Plant, directory: &Path) -> String {
    plant
        .gateway_file("example.com/gw/plant", directory, 1, Points::All)
        .text()
}

#[tokio::test]
async fn every_point_of_the_plant_is_read_as_the_plant_shows_it() {
    let directory = tempfile::tempdir().unwrap();
    let plant = plant(directory.path()).await;
    let rows = rows(&of_plant(&plant, directory.path())).await;
    let state = Site::new(3).state_at(NOON);
    for device in &DEVICES {
        for register in device.registers {
            let name = register.point_name(device);
            let row = &rows[&name];
            assert_eq!(row.quality, "good", "{row:?}");
            // Floats are shown on the declared grid, which rounds: they are compared below.
            if !matches!(register.format, Format::F32 { .. }) {
                let raw = (register.value)(&state);
                let value = decimal(row.value.as_deref().unwrap(), register.decimals);
                assert_eq!(value, raw, "{name}: {row:?}");
            }
        }
    }
    let flow = rows["well-1.mass_flow"].value.as_deref().unwrap();
    let grams = state.wells[0].flow_g_per_h;
    // Four decimals of a tonne: 100 g.
    assert!(
        (decimal(flow, 4) * 100 - grams).abs() <= 100,
        "{flow} for {grams} g/h"
    );
    let gas = rows["analyser.co2_mass"].value.as_deref().unwrap();
    assert_eq!(decimal(gas, 2), state.gas.co2_mass_centi_pct());
    let ambient = rows["weather.ambient"].value.as_deref().unwrap();
    assert_eq!(decimal(ambient, 2), state.ambient_centi_c);
    plant.stop().await.unwrap();
}

/// Reads a decimal with so many places as an integer on its grid.
fn decimal(text: &str, decimals: u8) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert_eq!(fraction.len(), usize::from(decimals), "{text}");
    format!("{whole}{fraction}").parse().unwrap()
}

#[tokio::test]
async fn a_device_is_asked_as_seldom_as_its_registers_allow() {
    let directory = tempfile::tempdir().unwrap();
    let plant = plant(directory.path()).await;
    rows(&of_plant(&plant, directory.path())).await;
    // One request a device and table: two wells; compressor, genset twice, PV plant.
    assert_eq!(plant.wellpad.take_seen().len(), 2);
    assert_eq!(plant.powerhouse.take_seen().len(), 4);
    plant.stop().await.unwrap();
}

#[tokio::test]
async fn a_faulty_device_gives_no_value_and_costs_the_others_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let plant = plant(directory.path()).await;
    let text = of_plant(&plant, directory.path());
    let faults = [
        Fault::Exception(4),
        Fault::Silent,
        Fault::Close,
        Fault::Short,
        Fault::Long,
        Fault::WrongUnit,
        Fault::WrongTransaction,
        Fault::Noise,
        Fault::Torn,
    ];
    for fault in faults {
        plant.wellpad.set_fault(1, Some(fault));
        let rows = rows(&text).await;
        let faulty = &rows["well-1.injected"];
        assert_eq!(faulty.value, None, "{fault:?}: {faulty:?}");
        assert_ne!(faulty.quality, "good", "{fault:?}");
        let other = &rows["compressor.import_energy"];
        assert_eq!(other.quality, "good", "{fault:?}: {other:?}");
    }
    plant.stop().await.unwrap();
}

#[tokio::test]
async fn pymodbus_registers_hold_their_own_address() {
    let meter = PymodbusMeter::start().await.unwrap();
    let mut text = head(&meter, 1);
    // One point in seven, in both tables: requests with holes, none of which may shift a value.
    let addresses: Vec<u16> = (0..1_000).step_by(7).collect();
    for table in ["holding", "input"] {
        for address in &addresses {
            text += &point(
                &format!("{table}-{address}"),
                table,
                *address,
                "u16",
                "AB",
                0,
            );
        }
    }
    let rows = rows(&text).await;
    assert_eq!(rows.len(), addresses.len() * 2);
    for table in ["holding", "input"] {
        for address in &addresses {
            let row = &rows[&format!("{table}-{address}")];
            assert_eq!(row.value, Some(address.to_string()), "{row:?}");
        }
    }
}

#[tokio::test]
async fn values_that_pymodbus_encoded_are_decoded_to_what_they_were() {
    let meter = PymodbusMeter::start().await.unwrap();
    let cases = [
        ("single", 0, "f32", 3, "21.500"),
        ("negative-single", 2, "f32", 3, "-0.125"),
        ("large-unsigned", 10, "u32", 0, "4000000000"),
        ("negative", 20, "i32", 0, "-5"),
        ("short", 30, "i16", 0, "-7"),
        ("double", 50, "f64", 6, "0.100000"),
    ];
    let mut text = head(&meter, 2);
    for (name, address, kind, decimals, _) in cases {
        let order = if kind == "i16" { "AB" } else { "ABCD" };
        text += &point(name, "holding", address, kind, order, decimals);
    }
    let rows = rows(&text).await;
    for (name, _, _, _, value) in cases {
        assert_eq!(rows[name].value.as_deref(), Some(value), "{:?}", rows[name]);
        assert_eq!(rows[name].quality, "good");
    }
}

#[tokio::test]
async fn a_register_that_pymodbus_refuses_is_named_and_its_neighbours_are_read() {
    let meter = PymodbusMeter::start().await.unwrap();
    let mut text = head(&meter, 2);
    text += &point("there", "holding", 30, "i16", "AB", 0);
    text += &point("missing", "holding", 35, "u16", "AB", 0);
    let rows = rows(&text).await;
    assert_eq!(rows["missing"].value, None, "{:?}", rows["missing"]);
    assert_ne!(rows["missing"].quality, "good");
    assert_eq!(
        rows["there"].value.as_deref(),
        Some("-7"),
        "{:?}",
        rows["there"]
    );
}

fn head(meter: &PymodbusMeter, unit: u8) -> String {
    format!(
        "[gateway]\norigin = \"example.com/gw/peer\"\ndata_dir = \"unused\"\n\n[[modbus]]\n\
         name = \"peer\"\nhost = \"127.0.0.1\"\nport = {}\nunit_id = {unit}\n\
         address_base = \"pdu\"\n",
        meter.address().port(),
    )
}

fn point(name: &str, table: &str, address: u16, kind: &str, order: &str, decimals: u8) -> String {
    format!(
        "\n[[modbus.point]]\nname = \"{name}\"\ntable = \"{table}\"\naddress = {address}\n\
         type = \"{kind}\"\norder = \"{order}\"\ndecimals = {decimals}\nunit = \"1\"\n\
         kind = \"instant\"\n"
    )
}
