//! The polled streams of a configuration: links, devices and the checks at the edge.
//!
//! [`start`] makes one link per line and one [`PolledStream`] per interval. All streams that
//! read one device share its link, so their requests queue behind one another.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use evidence::measurement::{MeasurementConfig, Source};
use evidence::quality::Quality;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use ring::rand::SecureRandom;
use tokio::time::Instant;

use crate::checks::Watch;
use crate::config::{GatewayConfig, ModbusDevice, polled_streams, read_together};
use crate::modbus::device::DeviceReader;
use crate::modbus::link::GRACE;
use crate::modbus::listen::heard::ListenedDevice;
use crate::modbus::outcome::Outcome;
use crate::modbus::register_map::{RegisterMap, Value};
use crate::plan::{Limits, Span};
use crate::sample::{PointSample, PolledSource, TickSamples};

pub mod field;

use field::Line;

/// Every device of one interval.
#[derive(Debug)]
pub struct PolledStream {
    id: u16,
    tick_ms: u64,
    devices: Vec<Reader>,
    /// By point index; only this stream's points are present.
    watches: BTreeMap<u16, Watch>,
}

/// The polled streams and the lines that they are read on.
#[derive(Debug)]
pub struct Field {
    /// The streams, ascending by id.
    pub streams: Vec<PolledStream>,
    /// The lines, in the order of the configuration.
    pub lines: Vec<Line>,
}

/// Reads one device's points of one stream.
#[derive(Debug)]
pub enum Reader {
    /// By asking.
    Polled(DeviceReader),
    /// From what another master asks.
    Heard(ListenedDevice),
}

/// Starts the links and returns the polled streams, ascending by id.
///
/// The links are closed when the streams are dropped. Must be called within a runtime.
#[must_use]
pub fn start(config: &GatewayConfig, random: &dyn SecureRandom) -> Vec<PolledStream> {
    open(config, random).streams
}

/// Like [`start`], with the lines, for those who share them.
#[must_use]
pub fn open(config: &GatewayConfig, random: &dyn SecureRandom) -> Field {
    let table = config.measurement(|_| 0);
    let lines = field::lines(config, random);
    let streams = polled_streams(config)
        .into_iter()
        .map(|id| PolledStream::new(id, config, &table, &lines))
        .collect();
    Field { streams, lines }
}

/// One reader per device over all its points, whatever their interval, for a single reading.
///
/// Starts the links like [`start`].
#[must_use]
pub fn readers(
    config: &GatewayConfig,
    table: &MeasurementConfig,
    random: &dyn SecureRandom,
) -> Vec<Reader> {
    let lines = field::lines(config, random);
    (0_u16..)
        .zip(&config.modbus)
        .filter_map(|(index, device)| reader(table, index, device, None, &lines))
        .collect()
}

/// A device's points of one stream, if it has any.
fn reader(
    table: &MeasurementConfig,
    index: u16,
    device: &ModbusDevice,
    stream: Option<u16>,
    lines: &[Line],
) -> Option<Reader> {
    let line = lines.get(device.line)?;
    let values = values(table, index, stream);
    if values.is_empty() {
        return None;
    }
    let (name, unit) = (device.name.clone(), device.unit_id);
    if let Some(heard) = &line.heard {
        let margin = margin(u64::from(stream.unwrap_or(0)) * 1_000);
        let together = read_together(&device.points);
        let number = |value: &Value| {
            let mut points = device.points.iter().zip(&together);
            points.find(|(point, _)| point.name == value.name)
        };
        // A value that no point has cannot be; it would stand alone.
        let alone = device.points.len();
        let values = values.into_iter().map(|value| {
            let number = number(&value).map_or(alone, |(_, number)| *number);
            (value, number)
        });
        let heard = Arc::clone(heard);
        let listened = ListenedDevice::new(name, unit, heard, values.collect(), margin);
        return Some(Reader::Heard(listened));
    }
    let map = RegisterMap::new(&name, limits(device), values);
    let reader = DeviceReader::new(line.link.clone(), unit, device.timeout, map);
    Some(Reader::Polled(reader.shared(line.share())))
}

impl Reader {
    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Polled(reader) => reader.name(),
            Self::Heard(reader) => reader.name(),
        }
    }

    /// The values, in the order of [`Reader::read`]'s outcomes.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        match self {
            Self::Polled(reader) => reader.values(),
            Self::Heard(reader) => reader.values(),
        }
    }

    /// How many requests the next tick takes.
    #[must_use]
    pub fn request_count(&self) -> usize {
        match self {
            Self::Polled(reader) => reader.requests().count(),
            Self::Heard(_) => 0,
        }
    }

    /// Reads every value once, by `deadline` at the latest; one outcome per value.
    pub async fn read(&mut self, deadline: Instant) -> Vec<Outcome> {
        match self {
            Self::Polled(reader) => reader.read(deadline).await,
            Self::Heard(reader) => reader.read(deadline).await,
        }
    }
}

/// Where several units share a line, one request may take at most half of the shortest interval on
/// it: a unit that falls silent leaves the others the rest of the tick.
#[must_use]
pub fn shared_cap(config: &GatewayConfig, line: usize) -> Option<Duration> {
    let units: HashSet<u8> = on_line(config, line).map(|device| device.unit_id).collect();
    let points = on_line(config, line).flat_map(|device| &device.points);
    let shortest = points.filter_map(|point| point.interval_s).min()?;
    (units.len() > 1).then(|| Duration::from_millis(500) * u32::from(shortest))
}

/// The devices on one line.
fn on_line(config: &GatewayConfig, line: usize) -> impl Iterator<Item = &ModbusDevice> {
    config
        .modbus
        .iter()
        .filter(move |device| device.line == line)
}

/// What a device's requests must respect.
#[must_use]
pub fn limits(device: &ModbusDevice) -> Limits {
    Limits {
        registers: device.max_registers,
        bits: device.max_bits,
        gap: device.max_gap,
        barriers: device.barriers.as_slice().into(),
    }
}

/// A device's values in one stream (or in all, without one), in the order of the points.
#[must_use]
pub fn values(table: &MeasurementConfig, device: u16, stream: Option<u16>) -> Vec<Value> {
    (0_u16..)
        .zip(&table.points)
        .filter(|(_, point)| point.device == device && stream.is_none_or(|id| point.stream == id))
        .filter_map(|(index, point)| match point.source {
            Source::Modbus {
                table,
                address,
                words,
            } => Some(Value {
                point: index,
                name: point.name.clone(),
                span: Span {
                    table,
                    address,
                    count: u16::from(words),
                },
                format: point.format,
            }),
            Source::Message { .. } => None,
        })
        .collect()
}

/// Where a polled value lies; `None` for messages.
#[must_use]
pub fn span(source: &Source) -> Option<Span> {
    match source {
        Source::Modbus {
            table,
            address,
            words,
        } => Some(Span {
            table: *table,
            address: *address,
            count: u16::from(*words),
        }),
        Source::Message { .. } => None,
    }
}

/// The devices are given up a moment before the next tick begins (2 % of the interval, 5 to 50 ms):
/// who polls must be back in time, or one silent device would cost every other one the next tick.
#[must_use]
pub fn margin(tick_ms: u64) -> Duration {
    Duration::from_millis((tick_ms / 50).clamp(5, 50)) + GRACE
}

impl PolledStream {
    fn new(id: u16, config: &GatewayConfig, table: &MeasurementConfig, lines: &[Line]) -> Self {
        let devices = (0_u16..)
            .zip(&config.modbus)
            .filter_map(|(index, device)| reader(table, index, device, Some(id), lines))
            .collect();
        let watches = table
            .points_of(id)
            .map(|(index, point)| (index, Watch::new(point)))
            .collect();
        Self {
            id,
            tick_ms: u64::from(id) * 1_000,
            devices,
            watches,
        }
    }

    /// The requests one tick takes, over all devices.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.devices.iter().map(Reader::request_count).sum()
    }

    async fn read(&mut self, tick: u64, deadline: Instant) -> TickSamples {
        let deadline = deadline
            .checked_sub(margin(self.tick_ms))
            .unwrap_or(deadline);
        let outcomes = join_all(self.devices.iter_mut().map(|device| device.read(deadline))).await;
        let at_ms = tick.saturating_mul(self.tick_ms);
        let mut samples: Vec<PointSample> = Vec::with_capacity(self.watches.len());
        for (device, outcomes) in self.devices.iter().zip(outcomes) {
            for (value, outcome) in device.values().iter().zip(outcomes) {
                let mut sample = sample(value.point, &outcome);
                if let Some(watch) = self.watches.get_mut(&value.point) {
                    watch.check(&mut sample, at_ms);
                }
                samples.push(sample);
            }
        }
        samples.sort_by_key(|sample| sample.point);
        TickSamples {
            stream: self.id,
            samples,
        }
    }
}

fn sample(point: u16, outcome: &Outcome) -> PointSample {
    match &outcome.result {
        Ok(value) => PointSample {
            point,
            value: value.clone(),
            qualities: Vec::new(),
        },
        Err(absence) => PointSample::absent(point, absence.quality, absence.aux),
    }
}

impl PolledSource for PolledStream {
    fn stream(&self) -> u16 {
        self.id
    }

    fn poll(&mut self, tick: u64, deadline: Instant) -> BoxFuture<'_, TickSamples> {
        self.read(tick, deadline).boxed()
    }

    fn missed(&self, quality: Quality) -> TickSamples {
        let samples = self
            .watches
            .keys()
            .map(|&point| PointSample::absent(point, quality, 0))
            .collect();
        TickSamples {
            stream: self.id,
            samples,
        }
    }
}
