//! `check --live`: the configuration beside what is really there.
//!
//! Every line is opened, every point read once, every device asked who it is. What cannot be reached
//! and what disagrees is told apart: the first is a matter of cables, the second of the configuration.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::SecureRandom;
use serde::Serialize;

use crate::columns::{Side, align, paragraph};
use crate::config::{Endpoint, GatewayConfig};
use crate::mqtt::MqttError;
use crate::read_once::{Row, read_through};
use crate::watch::Gate;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Live {
    /// The devices and brokers, in the order of the file.
    pub devices: Vec<DeviceLive>,
    /// What cannot be reached.
    pub unreachable: Vec<String>,
    /// What is not as the configuration says.
    pub disagreements: Vec<String>,
    /// What works but should be otherwise.
    pub warnings: Vec<String>,
}

/// One device or broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceLive {
    /// Its name.
    pub device: String,
    /// Where it is.
    pub place: String,
    /// Whether it answered anything.
    pub answered: bool,
    /// What its identity and settings registers hold, `serial_number 12345`.
    pub identity: Vec<String>,
    /// What of that is not as the configuration or the log says.
    pub waiting: Vec<String>,
    /// Its points.
    pub points: Vec<Row>,
}

/// Looks at everything once. Messages are waited for until `wait` is over; `gates` know the devices.
///
/// # Errors
/// A broker's password, certificate or key file cannot be used.
pub async fn look(
    config: &GatewayConfig,
    wait: Duration,
    random: &dyn SecureRandom,
    gates: &[Arc<Gate>],
) -> Result<Live, MqttError> {
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    for row in read_through(config, wait, random, gates).await? {
        rows.entry(row.device.clone()).or_default().push(row);
    }
    let mut devices = Vec::new();
    for (place, device) in config.modbus.iter().enumerate() {
        let gate = gates.get(place);
        let Some(line) = config.lines.get(device.line) else {
            continue;
        };
        let points = rows.remove(&device.name).unwrap_or_default();
        let answered = points.iter().any(|row| row.answered);
        devices.push(DeviceLive {
            device: device.name.clone(),
            place: format!("{}, unit {}", line.endpoint, device.unit_id),
            answered,
            identity: gate.map_or_else(Vec::new, says),
            waiting: gate.map_or_else(Vec::new, |gate| gate.waiting()),
            points,
        });
    }
    for broker in &config.mqtt {
        let points = rows.remove(&broker.name).unwrap_or_default();
        devices.push(DeviceLive {
            device: broker.name.clone(),
            place: format!("{}:{}", broker.host, broker.port),
            answered: points.iter().any(|row| row.answered),
            identity: Vec::new(),
            waiting: Vec::new(),
            points,
        });
    }
    let mut warnings: Vec<String> = config
        .warnings
        .iter()
        .map(|warning| {
            format!(
                "line {} of the file, {}: {}",
                warning.line, warning.key, warning.text
            )
        })
        .collect();
    warnings.extend(same_places(config).await);
    Ok(judged(devices, warnings))
}

/// Sorts what was found into unreachable and disagreeing.
fn judged(devices: Vec<DeviceLive>, mut warnings: Vec<String>) -> Live {
    let mut unreachable = Vec::new();
    let mut disagreements = Vec::new();
    for device in &devices {
        if !device.answered {
            let why = device.points.first().map_or("", |row| row.quality.as_str());
            unreachable.push(format!("{} at {}: {why}", device.device, device.place));
            continue;
        }
        let waiting = device.waiting.iter();
        disagreements.extend(waiting.map(|why| format!("{}: {why}", device.device)));
        for row in device.points.iter().filter(|row| row.quality != "good") {
            disagreements.push(format!("{}: {}", row.point, row.quality));
        }
    }
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for device in &devices {
        let serial = device
            .identity
            .iter()
            .find_map(|told| told.strip_prefix("serial_number "));
        let Some(serial) = serial else { continue };
        if let Some(other) = known.insert(serial, &device.device) {
            warnings.push(format!(
                "{other} and {} have the same serial number {serial}: one device written twice?",
                device.device
            ));
        }
    }
    Live {
        devices,
        unreachable,
        disagreements,
        warnings,
    }
}

/// Lines that lead to the same port of the same machine under two names.
async fn same_places(config: &GatewayConfig) -> Vec<String> {
    let mut found = Vec::new();
    let mut known: HashMap<SocketAddr, &str> = HashMap::new();
    for line in &config.lines {
        let (Endpoint::Tcp { host, port }
        | Endpoint::Tls { host, port, .. }
        | Endpoint::RtuOverTcp { host, port }) = &line.endpoint
        else {
            continue;
        };
        // A name that leads nowhere shows in the readings.
        let Ok(addresses) = tokio::net::lookup_host((host.as_str(), *port)).await else {
            continue;
        };
        for address in addresses {
            match known.insert(address, &line.name) {
                Some(other) if other != line.name => found.push(format!(
                    "lines {other} and {} are one and the same port, {address}: make them one line",
                    line.name
                )),
                _ => {}
            }
        }
    }
    found
}

/// What a device says of itself, `serial_number 12345`.
fn says(gate: &Arc<Gate>) -> Vec<String> {
    let seen = gate.known().seen;
    let words = seen
        .iter()
        .map(|reading| format!("{} {}", reading.name, reading.text));
    words.collect()
}

/// The result for people.
#[must_use]
pub fn report(live: &Live) -> String {
    let mut text = String::new();
    for device in &live.devices {
        // Writing to a String cannot fail.
        let _infallible = write_device(&mut text, device);
    }
    let lists = [
        ("Not reachable", &live.unreachable),
        ("Disagrees", &live.disagreements),
        ("Warning", &live.warnings),
    ];
    for (what, list) in lists {
        for one in list {
            text.push_str(&paragraph(&format!("{what}: {one}"), 0));
        }
    }
    if live.unreachable.is_empty() && live.disagreements.is_empty() {
        text.push_str("Everything answers as the configuration says.\n");
    }
    text
}

fn write_device(out: &mut String, device: &DeviceLive) -> std::fmt::Result {
    writeln!(out, "{} at {}", device.device, device.place)?;
    if !device.identity.is_empty() {
        let says = format!("says: {}", device.identity.join(", "));
        out.push_str(&paragraph(&says, 2));
    }
    if device.answered {
        let rows: Vec<Vec<String>> = device
            .points
            .iter()
            .map(|row| {
                let value = row.value.as_deref().unwrap_or("-");
                vec![
                    row.point.clone(),
                    value.to_owned(),
                    row.unit.clone(),
                    row.quality.clone(),
                ]
            })
            .collect();
        let sides = [Side::Left, Side::Right, Side::Left, Side::Left];
        for line in align(&rows, &sides) {
            writeln!(out, "  {line}")?;
        }
    } else {
        writeln!(out, "  does not answer")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::{DeviceLive, judged, report};
    use crate::read_once::Row;

    fn row(point: &str, quality: &str, answered: bool) -> Row {
        Row {
            point: point.to_owned(),
            value: (quality == "good").then(|| "1.0".to_owned()),
            unit: "kWh".to_owned(),
            raw: None,
            quality: quality.to_owned(),
            round_trip_ms: None,
            answer_ms: None,
            device: "m".to_owned(),
            answered,
        }
    }

    fn device(name: &str, serial: &str, points: Vec<Row>) -> DeviceLive {
        DeviceLive {
            device: name.to_owned(),
            place: "10.0.0.1:502, unit 1".to_owned(),
            answered: points.iter().any(|row| row.answered),
            identity: vec![format!("serial_number {serial}")],
            waiting: Vec::new(),
            points,
        }
    }

    #[test]
    fn cables_and_configuration_are_told_apart() {
        let live = judged(
            vec![
                device(
                    "a",
                    "1",
                    vec![row("p", "good", true), row("q", "out of range", true)],
                ),
                device(
                    "b",
                    "2",
                    vec![row("r", "timeout: no answer in time", false)],
                ),
            ],
            Vec::new(),
        );
        assert_eq!(
            live.unreachable,
            ["b at 10.0.0.1:502, unit 1: timeout: no answer in time"]
        );
        assert_eq!(live.disagreements, ["q: out of range"]);
        let text = report(&live);
        assert!(!text.contains("Everything"), "{text}");
        assert!(text.contains("  does not answer"), "{text}");
    }

    #[test]
    fn one_device_under_two_names_is_noticed_by_its_serial_number() {
        let good = || vec![row("p", "good", true)];
        let live = judged(
            vec![device("a", "7", good()), device("b", "7", good())],
            Vec::new(),
        );
        assert!(live.warnings[0].contains("a and b have the same serial number 7"));
        assert!(report(&live).contains("Everything answers"));
    }
}
