//! `read --once`: every point read a single time and shown with everything that is known about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evidence::decimal::format_mantissa;
use evidence::measurement::{MeasurementConfig, Point, Source};
use evidence::quality::Quality;
use evidence::value::{Decoder, Kind};
use futures_util::future::{join, join_all};
use ring::rand::SecureRandom;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::budget::cost::Cost;
use crate::checks::Watch;
use crate::columns::{Side, align};
use crate::config::{GatewayConfig, MESSAGE_STREAMS_FROM, ModbusDevice};
use crate::modbus::outcome::Outcome;
use crate::modbus::recognise::Verdict;
use crate::modbus::register_map::Value;
use crate::mqtt::{self, MqttError};
use crate::plan::Span;
use crate::sample::{MessageSource as _, PointSample, SampleValue};
use crate::sampling::{self, Reader};
use crate::watch::Gate;

/// One point's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The point's name.
    pub point: String,
    /// The value with its decimals; absent when there is none or it is no number.
    pub value: Option<String>,
    /// The unit.
    pub unit: String,
    /// The registers as they stood on the wire, in hex; for messages the text received, if any.
    pub raw: Option<String>,
    /// `good`, or everything that speaks against the value, in words.
    pub quality: String,
    /// How long the device took, in milliseconds; absent for messages and where nothing was sent.
    pub round_trip_ms: Option<u64>,
    /// The part of it that the device took to answer, without the time of the bytes on a bus: what
    /// `answer_ms` of the line means. Behind a converter by the line's `baud`, or what `plan` assumes.
    pub answer_ms: Option<u64>,
    /// The device or broker.
    pub device: String,
    /// Whether it answered at all, with a value or a refusal.
    pub answered: bool,
}

/// Reads every point once, of devices of which nothing is known yet; as [`read_through`].
///
/// # Errors
/// A broker's password, certificate or key file cannot be used.
pub async fn read_once(
    config: &GatewayConfig,
    wait: Duration,
    random: &dyn SecureRandom,
) -> Result<Vec<Row>, MqttError> {
    read_through(config, wait, random, &sampling::new_gates(config)).await
}

/// Reads every point once.
///
/// Modbus devices get their own timeout for every request; messages are
/// waited for until `wait` is over. `gates` know the devices; afterwards they say what speaks against
/// them ([`Gate::waiting`]).
///
/// # Errors
/// A broker's password, certificate or key file cannot be used.
pub async fn read_through(
    config: &GatewayConfig,
    wait: Duration,
    random: &dyn SecureRandom,
    gates: &[Arc<Gate>],
) -> Result<Vec<Row>, MqttError> {
    let table = config.measurement(|_| 0);
    let readers = sampling::readers(config, &table, random, gates);
    let polled = join_all(
        readers
            .into_iter()
            .map(|reader| read_device(reader, config, &table, wait)),
    );
    let (mut polled, messages) = join(polled, read_messages(config, &table, wait)).await;
    let backed_off = Quality::BACKED_OFF.to_string();
    for rows in &mut polled {
        // Identity and settings are asked for first. Where that failed nothing else was asked, and
        // that it was not is no reason.
        let device = rows.first().map(|(_, row)| row.device.clone());
        let gate = gates
            .iter()
            .find(|gate| Some(gate.device()) == device.as_deref());
        if let Some(trouble) = gate.and_then(|gate| gate.trouble())
            && rows
                .iter()
                .all(|(_, row)| row.quality.starts_with(&backed_off))
        {
            for (_, row) in rows {
                row.quality.clone_from(&trouble);
            }
        }
    }
    let mut rows: BTreeMap<u16, Row> = polled.into_iter().flatten().collect();
    rows.extend(messages?);
    Ok(rows.into_values().collect())
}

async fn read_device(
    mut reader: Reader,
    config: &GatewayConfig,
    table: &MeasurementConfig,
    wait: Duration,
) -> Vec<(u16, Row)> {
    let requests = u32::try_from(reader.values().len()).unwrap_or(u32::MAX);
    let outcomes = match &mut reader {
        Reader::Polled(reader) => {
            // Even if every value has to be asked for alone.
            let longest = reader.timeout().saturating_mul(requests.saturating_add(1));
            let deadline = Instant::now() + longest.min(Duration::from_secs(120));
            reader.read(deadline).await.to_vec()
        }
        Reader::Heard(reader, _) => reader.read_once(Instant::now() + wait).await,
    };
    let good: BTreeMap<u16, i64> = reader
        .values()
        .iter()
        .zip(&outcomes)
        .filter_map(|(value, outcome)| {
            let point = table.points.get(usize::from(value.point))?;
            match outcome.result.as_ref().ok()? {
                SampleValue::Int(raw) => Some((value.point, Decoder::new(point).value(*raw).ok()?)),
                SampleValue::Text(_) | SampleValue::Absent => None,
            }
        })
        .collect();
    let on_wire = |value: &Value| bytes_time(&reader, config, value.span);
    let values = reader.values().iter().zip(outcomes);
    let rows = values.filter_map(|(value, outcome)| {
        let point = table.points.get(usize::from(value.point))?;
        let exponent = point.scale_from.and_then(|factor| good.get(&factor));
        let mut row = polled_row(
            point,
            value.point,
            reader.name(),
            &outcome,
            exponent.copied(),
            &reader.verdict(),
        );
        if row.round_trip_ms.is_some() {
            let took = outcome.round_trip.saturating_sub(on_wire(value));
            row.answer_ms = u64::try_from(took.as_millis()).ok();
        }
        Some((value.point, row))
    });
    rows.collect()
}

/// How long the bytes of the request that reads a value take on the bus.
fn bytes_time(reader: &Reader, config: &GatewayConfig, value: Span) -> Duration {
    let Reader::Polled(polled) = reader else {
        return Duration::ZERO;
    };
    let named = |device: &&ModbusDevice| device.name == reader.name();
    let line = config.modbus.iter().find(named);
    let Some(line) = line.and_then(|device| config.lines.get(device.line)) else {
        return Duration::ZERO;
    };
    // Without it, the value was refused in a joined request and read alone.
    let joined = polled.requests().find(|request| request.contains(value));
    Cost::on(line).on_wire(joined.unwrap_or(value))
}

/// `exponent` is the good value of the point's scale factor.
fn polled_row(
    point: &Point,
    index: u16,
    device: &str,
    outcome: &Outcome,
    exponent: Option<i64>,
    verdict: &Verdict,
) -> Row {
    let round_trip = u64::try_from(outcome.round_trip.as_millis()).ok();
    let round_trip_ms = round_trip.filter(|_| !outcome.round_trip.is_zero());
    match &outcome.result {
        Ok(value) => {
            let mut sample = PointSample {
                point: 0,
                value: value.clone(),
                qualities: Vec::new(),
            };
            for quality in verdict.qualities(index) {
                sample.flag(quality);
            }
            Watch::new(point).check_scaled(&mut sample, exponent, 0);
            let hex: Vec<String> = match value {
                SampleValue::Int(raw) => {
                    let words = point.format.wire_words(*raw);
                    words.iter().map(|word| format!("{word:04X}")).collect()
                }
                SampleValue::Text(bytes) => {
                    let words = bytes.chunks(2);
                    words
                        .map(|word| word.iter().map(|byte| format!("{byte:02X}")).collect())
                        .collect()
                }
                SampleValue::Absent => Vec::new(),
            };
            let raw = Some(hex.join(" "));
            row(point, device, &sample, exponent, raw, round_trip_ms)
        }
        Err(absence) => Row {
            quality: absence.to_string(),
            answered: [Quality::EXCEPTION, Quality::ILLEGAL_ADDRESS].contains(&absence.quality),
            ..row(
                point,
                device,
                &PointSample::absent(0, absence.quality, absence.aux),
                None,
                None,
                round_trip_ms,
            )
        },
    }
}

fn row(
    point: &Point,
    device: &str,
    sample: &PointSample,
    exponent: Option<i64>,
    raw: Option<String>,
    round_trip_ms: Option<u64>,
) -> Row {
    let value = match &sample.value {
        SampleValue::Int(raw) => Decoder::new(point)
            .value_with(*raw, |_factor| exponent)
            .ok()
            .map(|mantissa| format_mantissa(i128::from(mantissa), point.decimals)),
        SampleValue::Text(bytes) if point.format.kind == Kind::Text => {
            Some(point.format.characters(bytes))
        }
        SampleValue::Text(_) | SampleValue::Absent => None,
    };
    let qualities: Vec<&str> = sample
        .qualities
        .iter()
        .map(|(quality, _)| quality.name())
        .collect();
    Row {
        point: point.name.clone(),
        value,
        unit: point.unit.clone(),
        raw,
        quality: if qualities.is_empty() {
            "good".to_owned()
        } else {
            qualities.join(", ")
        },
        round_trip_ms,
        answer_ms: None,
        device: device.to_owned(),
        answered: true,
    }
}

/// The first message of every point, or that none came.
///
/// Uses a client id of its own and acknowledges nothing, so a gateway that runs beside it keeps its
/// session and misses no message.
async fn read_messages(
    config: &GatewayConfig,
    table: &MeasurementConfig,
    wait: Duration,
) -> Result<Vec<(u16, Row)>, MqttError> {
    let deadline = Instant::now() + wait;
    let streams = mqtt::start_once(config)?;
    let rows = join_all(
        (MESSAGE_STREAMS_FROM..)
            .zip(streams)
            .map(|(id, mut stream)| async move {
                let name = stream.name().to_owned();
                let mut missing: BTreeSet<u16> =
                    table.points_of(id).map(|(index, _)| index).collect();
                let mut rows = Vec::new();
                let mut connected = true;
                while !missing.is_empty() {
                    let Ok(Some(message)) = timeout_at(deadline, stream.next()).await else {
                        break;
                    };
                    for sample in message.samples {
                        connected = sample
                            .qualities
                            .iter()
                            .all(|(quality, _)| *quality != Quality::DISCONNECTED);
                        if connected && missing.remove(&sample.point) {
                            rows.extend(message_row(table, &name, &sample));
                        }
                    }
                }
                stream.close().await;
                rows.extend(
                    missing
                        .into_iter()
                        .filter_map(|index| silent_row(table, &name, index, wait, connected)),
                );
                rows
            }),
    );
    Ok(rows.await.into_iter().flatten().collect())
}

fn message_row(
    table: &MeasurementConfig,
    broker: &str,
    sample: &PointSample,
) -> Option<(u16, Row)> {
    let point = table.points.get(usize::from(sample.point))?;
    let raw = match &sample.value {
        SampleValue::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        SampleValue::Int(_) | SampleValue::Absent => None,
    };
    Some((sample.point, row(point, broker, sample, None, raw, None)))
}

fn silent_row(
    table: &MeasurementConfig,
    broker: &str,
    index: u16,
    wait: Duration,
    connected: bool,
) -> Option<(u16, Row)> {
    let point = table.points.get(usize::from(index))?;
    let Source::Message { topic, .. } = &point.source else {
        return None;
    };
    let quality = if connected {
        format!("no message on topic {topic} in {} s", wait.as_secs())
    } else {
        format!("no connection to broker {broker} in {} s", wait.as_secs())
    };
    let nothing = PointSample::absent(index, Quality::DISCONNECTED, 0);
    Some((
        index,
        Row {
            quality,
            answered: false,
            ..row(point, broker, &nothing, None, None, None)
        },
    ))
}

/// The rows for people: a table for each device, in the order in which they first appear.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut devices: Vec<&str> = Vec::new();
    for row in rows {
        if !devices.contains(&row.device.as_str()) {
            devices.push(&row.device);
        }
    }
    let mut text = String::new();
    for device in devices {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(device);
        text.push('\n');
        let head = ["point", "value", "unit", "raw words", "ms", "quality"].map(str::to_owned);
        let body = rows.iter().filter(|row| row.device == device).map(cells);
        let lines: Vec<Vec<String>> = std::iter::once(head.to_vec()).chain(body).collect();
        let sides = [
            Side::Left,
            Side::Right,
            Side::Left,
            Side::Left,
            Side::Right,
            Side::Left,
        ];
        for line in align(&lines, &sides) {
            text.push_str("  ");
            text.push_str(&line);
            text.push('\n');
        }
        let of_device = rows.iter().filter(|row| row.device == device);
        if let Some(longest) = of_device.filter_map(|row| row.answer_ms).max() {
            text.push_str(&format!(
                "  answer_ms = {longest} for its line: the longest, without the bytes' time on a bus\n"
            ));
        }
    }
    text
}

fn cells(row: &Row) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        row.point.clone(),
        or_dash(row.value.clone()),
        row.unit.clone(),
        or_dash(row.raw.clone()),
        or_dash(row.round_trip_ms.map(|ms| ms.to_string())),
        row.quality.clone(),
    ]
}
