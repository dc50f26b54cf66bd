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

use crate::checks::{Frozen, Watch};
use crate::config::{self, GatewayConfig, LineMode, ModbusDevice, PointRules, polled_streams};
use crate::modbus::device::DeviceReader;
use crate::modbus::link::GRACE;
use crate::modbus::listen::heard::ListenedDevice;
use crate::modbus::outcome::Outcome;
use crate::modbus::recognise::{Verdict, Watching};
use crate::modbus::register_map::{RegisterMap, Value};
use crate::plan::{Limits, Span};
use crate::sample::{PointSample, PolledSource, SampleValue, TickSamples};
use crate::watch::{Gate, Known};

pub mod field;

use field::Line;

/// Every device of one interval.
#[derive(Debug)]
pub struct PolledStream {
    id: u16,
    tick_ms: u64,
    devices: Vec<Reader>,
    /// How often each device had been confirmed at its last tick.
    confirmations: Vec<u64>,
    /// By point index; only this stream's points are present.
    watches: BTreeMap<u16, Watch>,
    /// The points that must not stand still, by index.
    frozen: Vec<(u16, Frozen)>,
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
    /// From what another master asks; the gate says what was known of the device before.
    Heard(ListenedDevice, Arc<Gate>),
}

/// Starts the links and returns the polled streams, ascending by id. Of the devices nothing is known
/// yet, and what they say of themselves goes nowhere.
///
/// The links are closed when the streams are dropped. Must be called within a runtime.
#[must_use]
pub fn start(config: &GatewayConfig, random: &dyn SecureRandom) -> Vec<PolledStream> {
    open(config, random).streams
}

/// Gates of devices of which nothing is known yet, in the order of the configuration.
#[must_use]
pub fn new_gates(config: &GatewayConfig) -> Vec<Arc<Gate>> {
    let gate = |device: &ModbusDevice| Gate::new(&device.name, &device.watch, Known::default());
    config.modbus.iter().map(gate).map(Arc::new).collect()
}

/// Like [`start`], with the lines, for those who share them.
#[must_use]
pub fn open(config: &GatewayConfig, random: &dyn SecureRandom) -> Field {
    let table = config.measurement(|_| 0);
    open_through(config, &table, random, &new_gates(config))
}

/// Like [`open`]; `gates` know the devices, one each in the order of the configuration, and say what
/// the values are worth. `table` is the measurement table of the configuration, sealed or not.
#[must_use]
pub fn open_through(
    config: &GatewayConfig,
    table: &MeasurementConfig,
    random: &dyn SecureRandom,
    gates: &[Arc<Gate>],
) -> Field {
    let lines = field::lines(config, random, |line| field::rest(config, line));
    let streams = polled_streams(config)
        .into_iter()
        .map(|id| PolledStream::new(id, config, table, &lines, gates))
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
    gates: &[Arc<Gate>],
) -> Vec<Reader> {
    // What a person is shown at once is not sealed; a serial port cannot be another's at the same time.
    let lines = field::lines(config, random, |_line| Duration::ZERO);
    (0_u16..)
        .zip(&config.modbus)
        .zip(gates)
        .filter_map(|((index, device), gate)| reader(table, index, device, None, &lines, gate))
        .collect()
}

/// A device's points of one stream, if it has any.
fn reader(
    table: &MeasurementConfig,
    index: u16,
    device: &ModbusDevice,
    stream: Option<u16>,
    lines: &[Line],
    gate: &Arc<Gate>,
) -> Option<Reader> {
    let line = lines.get(device.line)?;
    let mut values = values(table, index, stream);
    if values.is_empty() {
        return None;
    }
    let (name, unit) = (device.name.clone(), device.unit_id);
    let groups = read_together(table, device, &values);
    if let Some(heard) = &line.heard {
        // Nothing is ever sent here, so identity, settings and status words cannot be asked for.
        let margin = margin(u64::from(stream.unwrap_or(0)) * 1_000);
        let values = values.into_iter().zip(groups);
        let heard = Arc::clone(heard);
        let listened = ListenedDevice::new(name, unit, heard, values.collect(), margin);
        return Some(Reader::Heard(listened, Arc::clone(gate)));
    }
    let place = |name: &str| table.point(name).map(|(index, _)| index);
    let watching = Watching::new(Arc::clone(gate), limits(device), &device.watch, place);
    values.extend(watching.status_values());
    let map = RegisterMap::grouped(&name, limits(device), values, &groups);
    let reader = DeviceReader::new(line.link.clone(), unit, device.timeout, map).watching(watching);
    Some(Reader::Polled(reader.shared(line.share())))
}

impl Reader {
    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Polled(reader) => reader.name(),
            Self::Heard(reader, _) => reader.name(),
        }
    }

    /// What the last [`Reader::read`] gave, one outcome per value.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        match self {
            Self::Polled(reader) => reader.outcomes(),
            Self::Heard(reader, _) => reader.outcomes(),
        }
    }

    /// The values, in the order of [`Reader::outcomes`].
    #[must_use]
    pub fn values(&self) -> &[Value] {
        match self {
            Self::Polled(reader) => reader.values(),
            Self::Heard(reader, _) => reader.values(),
        }
    }

    /// What the watch says of the values of the last reading. Where the line is listened on nothing is
    /// found out: only what was known before is said.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Polled(reader) => reader.verdict().clone(),
            Self::Heard(_, gate) => {
                let (flags, confirmations) = gate.standing();
                Verdict {
                    flags,
                    confirmations,
                    ..Verdict::default()
                }
            }
        }
    }

    /// How many requests the next tick takes.
    #[must_use]
    pub fn request_count(&self) -> usize {
        match self {
            Self::Polled(reader) => reader.requests().count(),
            Self::Heard(..) => 0,
        }
    }

    /// Reads every value once, by `deadline` at the latest; one outcome per value.
    pub async fn read(&mut self, deadline: Instant) -> &[Outcome] {
        match self {
            Self::Polled(reader) => reader.read(deadline).await,
            Self::Heard(reader, _) => reader.read(deadline).await,
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

/// What is not watched of a device because its line is only listened on, in words; `None` where
/// everything that is declared is watched.
#[must_use]
pub fn unwatched(config: &GatewayConfig, device: &ModbusDevice) -> Option<String> {
    let line = config.lines.get(device.line)?;
    let listens = line.mode == LineMode::Listen;
    (listens && !device.watch.is_empty()).then(|| {
        let names = device.watch.names().join(", ");
        format!("NOT WATCHED, as it is only listened to: {names}")
    })
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

/// For each value the number of its group: points with their scale factors, and those with one label.
#[must_use]
pub fn read_together(
    table: &MeasurementConfig,
    device: &ModbusDevice,
    values: &[Value],
) -> Vec<usize> {
    let groups = config::read_together(&device.points);
    let of_point = |value: &Value| {
        let point = table.points.get(usize::from(value.point))?;
        let place = device
            .points
            .iter()
            .position(|own| own.name == point.name)?;
        (point.name == value.name).then(|| groups.get(place).copied())?
    };
    // What is no point of the device (a status word) is alone: its number is nobody else's.
    (device.points.len()..)
        .zip(values)
        .map(|(alone, value)| of_point(value).unwrap_or(alone))
        .collect()
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
    fn new(
        id: u16,
        config: &GatewayConfig,
        table: &MeasurementConfig,
        lines: &[Line],
        gates: &[Arc<Gate>],
    ) -> Self {
        let devices: Vec<Reader> = (0_u16..)
            .zip(&config.modbus)
            .zip(gates)
            .filter_map(|((index, device), gate)| {
                reader(table, index, device, Some(id), lines, gate)
            })
            .collect();
        let points: Vec<_> = config
            .modbus
            .iter()
            .flat_map(|device| &device.points)
            .collect();
        // The table begins with the points of the Modbus devices, in the order of the file.
        let rules = |index: u16| points.get(usize::from(index)).map(|point| &point.rules);
        let none = PointRules::default();
        let watches = table
            .points_of(id)
            .map(|(index, point)| {
                let watch = Watch::with_rules(point, rules(index).unwrap_or(&none));
                (index, watch)
            })
            .collect();
        let tick_ms = u64::from(id) * 1_000;
        let frozen = table
            .points_of(id)
            .filter_map(|(index, _)| {
                let rule = rules(index)?.frozen.as_ref()?;
                Some((index, Frozen::new(rule, tick_ms, |name| table.point(name))))
            })
            .collect();
        Self {
            id,
            tick_ms,
            confirmations: vec![0; devices.len()],
            devices,
            watches,
            frozen,
        }
    }

    /// Takes over what registers showed last before this run, by the names of their points.
    pub fn resume(&mut self, last_good: &BTreeMap<String, i64>) {
        for value in self.devices.iter().flat_map(Reader::values) {
            if let (Some(watch), Some(last)) = (
                self.watches.get_mut(&value.point),
                last_good.get(&value.name),
            ) {
                watch.resume(*last);
            }
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
        let reading = self.devices.iter_mut().map(|device| device.read(deadline));
        // Kept by each device until the next tick.
        let _outcomes = join_all(reading).await;
        let at_ms = tick.saturating_mul(self.tick_ms);
        let mut samples: Vec<PointSample> = Vec::with_capacity(self.watches.len());
        for (device, confirmations) in self.devices.iter().zip(&mut self.confirmations) {
            let verdict = device.verdict();
            let confirmed =
                std::mem::replace(confirmations, verdict.confirmations) != verdict.confirmations;
            let clean = verdict.is_clean();
            for (value, outcome) in device.values().iter().zip(device.outcomes()) {
                let mut sample = sample(value.point, outcome);
                if !clean && sample.value != SampleValue::Absent {
                    verdict
                        .qualities(value.point)
                        .for_each(|quality| sample.flag(quality));
                }
                if let Some(watch) = self.watches.get_mut(&value.point) {
                    // What follows is of another device, or of the same one after it was another.
                    if confirmed || verdict.flags.exchanged {
                        watch.forget();
                    }
                    if watch.scale_from().is_none() {
                        watch.check(&mut sample, at_ms);
                    }
                }
                samples.push(sample);
            }
        }
        samples.sort_by_key(|sample| sample.point);
        self.check_scaled(&mut samples, at_ms);
        self.check_movement(&mut samples, at_ms);
        TickSamples {
            stream: self.id,
            samples,
        }
    }

    /// What stands still is judged beside other points of the same tick, so when all are read.
    fn check_movement(&mut self, samples: &mut [PointSample], at_ms: u64) {
        let place = |samples: &[PointSample], point| {
            samples
                .binary_search_by_key(&point, |sample| sample.point)
                .ok()
        };
        for (point, frozen) in &mut self.frozen {
            let companion = frozen.companion().and_then(|companion| {
                let watch = self.watches.get(&companion)?;
                let exponent = watch.scale_from().and_then(|factor| {
                    let sample = samples.get(place(samples, factor)?)?;
                    self.watches.get(&factor)?.good_value(sample)
                });
                watch.number(samples.get(place(samples, companion)?)?, exponent)
            });
            let sample = place(samples, *point).and_then(|place| samples.get_mut(place));
            if let Some(sample) = sample {
                frozen.check(sample, companion, at_ms);
            }
        }
    }

    /// Checks the values that have a scale factor, which were left out until the factor was checked.
    fn check_scaled(&mut self, samples: &mut [PointSample], at_ms: u64) {
        for place in 0..samples.len() {
            let scaled = samples.get(place).and_then(|sample| {
                let factor = self.watches.get(&sample.point)?.scale_from()?;
                Some((sample.point, factor))
            });
            let Some((point, factor)) = scaled else {
                continue;
            };
            let exponent = samples
                .binary_search_by_key(&factor, |sample| sample.point)
                .ok()
                .and_then(|at| self.watches.get(&factor)?.good_value(samples.get(at)?));
            if let (Some(watch), Some(sample)) =
                (self.watches.get_mut(&point), samples.get_mut(place))
            {
                watch.check_scaled(sample, exponent, at_ms);
            }
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
