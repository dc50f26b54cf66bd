//! `read --once`: every point read a single time and shown with everything that is known about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evidence::decimal::format_mantissa;
use evidence::measurement::{MeasurementConfig, Point, Source};
use evidence::quality::Quality;
use evidence::value::{Decoder, Kind};
use futures_util::future::{join, join_all};
use ring::rand::SecureRandom;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::checks::Watch;
use crate::config::{GatewayConfig, MESSAGE_STREAMS_FROM};
use crate::modbus::device::DeviceReader;
use crate::modbus::outcome::Outcome;
use crate::mqtt::{self, MqttError};
use crate::sample::{MessageSource as _, PointSample, SampleValue};
use crate::sampling;

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
    /// The device or broker.
    pub device: String,
}

/// Reads every point once. Modbus devices get their own timeout for every request; messages are
/// waited for until `wait` is over.
///
/// # Errors
/// A broker's password, certificate or key file cannot be used.
pub async fn read_once(
    config: &GatewayConfig,
    wait: Duration,
    random: &dyn SecureRandom,
) -> Result<Vec<Row>, MqttError> {
    let table = config.measurement(|_| 0);
    let readers = sampling::readers(config, &table, random);
    let polled = join_all(
        readers
            .into_iter()
            .map(|reader| read_device(reader, &table)),
    );
    let (polled, messages) = join(polled, read_messages(config, &table, wait)).await;
    let mut rows: BTreeMap<u16, Row> = polled.into_iter().flatten().collect();
    rows.extend(messages?);
    Ok(rows.into_values().collect())
}

async fn read_device(mut reader: DeviceReader, table: &MeasurementConfig) -> Vec<(u16, Row)> {
    let requests = u32::try_from(reader.values().len()).unwrap_or(u32::MAX);
    // Even if every value has to be asked for alone.
    let deadline = Instant::now()
        + reader
            .timeout()
            .saturating_mul(requests.saturating_add(1))
            .min(Duration::from_secs(120));
    let outcomes = reader.read(deadline).await;
    let values = reader.values().iter().zip(outcomes);
    let rows = values.filter_map(|(value, outcome)| {
        let point = table.points.get(usize::from(value.point))?;
        Some((value.point, polled_row(point, reader.name(), &outcome)))
    });
    rows.collect()
}

fn polled_row(point: &Point, device: &str, outcome: &Outcome) -> Row {
    let round_trip = u64::try_from(outcome.round_trip.as_millis()).ok();
    let round_trip_ms = round_trip.filter(|_| !outcome.round_trip.is_zero());
    match &outcome.result {
        Ok(value) => {
            let mut sample = PointSample {
                point: 0,
                value: value.clone(),
                qualities: Vec::new(),
            };
            Watch::new(point).check(&mut sample, 0);
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
            row(point, device, &sample, Some(hex.join(" ")), round_trip_ms)
        }
        Err(absence) => Row {
            quality: absence.to_string(),
            ..row(
                point,
                device,
                &PointSample::absent(0, absence.quality, absence.aux),
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
    raw: Option<String>,
    round_trip_ms: Option<u64>,
) -> Row {
    let value = match &sample.value {
        SampleValue::Int(raw) => Decoder::new(point)
            .value(*raw)
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
        device: device.to_owned(),
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
    Some((sample.point, row(point, broker, sample, raw, None)))
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
            ..row(point, broker, &nothing, None, None)
        },
    ))
}

/// The rows as a table for people.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let head = ["point", "value", "raw words", "quality", "ms", "device"].map(str::to_owned);
    let body = rows.iter().map(|row| {
        [
            row.point.clone(),
            row.value
                .as_ref()
                .map_or_else(|| "-".to_owned(), |value| format!("{value} {}", row.unit)),
            row.raw.clone().unwrap_or_else(|| "-".to_owned()),
            row.quality.clone(),
            row.round_trip_ms
                .map_or_else(|| "-".to_owned(), |ms| ms.to_string()),
            row.device.clone(),
        ]
    });
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(body).collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
