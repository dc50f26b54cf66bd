//! From the configuration file to the measurement table that is sealed.
//!
//! Stream ids follow from the file alone, so a restart and a reload agree about them: a polled
//! stream's id is its interval in seconds, which also keeps an id from ever meaning another
//! interval; the message stream of the n-th broker is 10 000 + n.

use std::collections::{BTreeSet, HashMap};

use evidence::hash::Hash;
use evidence::measurement::{Device, MeasurementConfig, Point, Stream};

use super::{GatewayConfig, ModbusDevice, PointConfig};

/// The message stream of the first broker.
pub const MESSAGE_STREAMS_FROM: u16 = 10_000;

/// The tick of every message stream, in milliseconds.
pub const MESSAGE_TICK_MS: u32 = 1_000;

/// The intervals in use, in seconds, ascending: the ids of the polled streams.
#[must_use]
pub fn polled_streams(config: &GatewayConfig) -> Vec<u16> {
    let points = config.modbus.iter().flat_map(|device| &device.points);
    let intervals: BTreeSet<u16> = points.filter_map(|point| point.interval_s).collect();
    intervals.into_iter().collect()
}

impl GatewayConfig {
    /// The measurement table of this configuration: streams ascending, devices and points in the
    /// order of the file, Modbus first. `first_tick` gives the tick at which a stream begins under it.
    #[must_use]
    pub fn measurement(&self, first_tick: impl Fn(u16) -> u64) -> MeasurementConfig {
        let polled = polled_streams(self)
            .into_iter()
            .map(|id| (id, u32::from(id) * 1_000, false));
        let messages = (MESSAGE_STREAMS_FROM..)
            .zip(&self.mqtt)
            .map(|(id, _)| (id, MESSAGE_TICK_MS, true));
        let streams = polled
            .chain(messages)
            .map(|(id, tick_ms, messages)| Stream {
                id,
                tick_ms,
                first_tick: first_tick(id),
                messages,
            })
            .collect();
        let modbus = self.modbus.iter().map(|device| Device {
            name: device.name.clone(),
            protocol: self
                .lines
                .get(device.line)
                .map_or("modbus-tcp", |line| line.endpoint.protocol())
                .to_owned(),
            unit_id: Some(device.unit_id),
            template: sealed_template(device),
            path: device.path.to_owned(),
        });
        let mqtt = self.mqtt.iter().map(|broker| Device {
            name: broker.name.clone(),
            protocol: "mqtt".to_owned(),
            unit_id: None,
            template: None,
            path: broker.path.to_owned(),
        });
        let polled = self.modbus.iter().map(|device| (None, &device.points));
        let messages = (MESSAGE_STREAMS_FROM..)
            .zip(&self.mqtt)
            .map(|(id, broker)| (Some(id), &broker.points));
        let names: HashMap<&str, u16> = self
            .modbus
            .iter()
            .flat_map(|device| &device.points)
            .map(|point| point.name.as_str())
            .zip(0..)
            .collect();
        let names = &names;
        let sources = (0_u16..).zip(polled.chain(messages));
        // Thousands of them: no room is taken that is not needed.
        let mut points = Vec::with_capacity(sources.clone().map(|(_, (_, own))| own.len()).sum());
        for (device, (stream, own)) in sources {
            points.extend(own.iter().map(|point| sealed(point, device, stream, names)));
        }
        MeasurementConfig {
            streams,
            devices: modbus.chain(mqtt).collect(),
            points,
        }
    }
}

/// A point as it is sealed; `stream` is the message stream, polled points name their own. `names`
/// are the positions of the polled points, which come first.
fn sealed(
    point: &PointConfig,
    device: u16,
    stream: Option<u16>,
    names: &HashMap<&str, u16>,
) -> Point {
    let scale_from = point.scale_from.as_deref();
    Point {
        name: point.name.clone(),
        stream: stream.or(point.interval_s).unwrap_or_default(),
        device,
        source: point.source.clone(),
        format: point.format,
        scale: point.scale,
        offset: point.offset,
        decimals: point.decimals,
        unit: point.unit.to_owned(),
        kind: point.kind,
        sentinels: point.sentinels.clone(),
        scale_from: scale_from.and_then(|name| names.get(name).copied()),
        min: point.min,
        max: point.max,
        max_step_per_s: point.max_step_per_s,
        stale_after_s: point.stale_after_s,
    }
}

/// The template as it is sealed: its name, with a word of doubt where a point relies on a register
/// that nobody has confirmed, and the hash of its file.
fn sealed_template(device: &ModbusDevice) -> Option<(String, Hash)> {
    let template = device.template.as_ref()?;
    let doubtful = device
        .points
        .iter()
        .filter_map(|point| point.from.as_ref())
        .any(|from| from.unverified.is_some());
    let doubt = if doubtful { " (unverified)" } else { "" };
    Some((format!("{}{doubt}", template.name), template.sha256))
}
