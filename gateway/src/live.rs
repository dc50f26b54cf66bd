//! The live lane: the newest values, unsigned, for people who watch.
//!
//! Best effort and latest wins: a lost post is not repeated, nothing here is evidence. The collector's
//! answers say for how long somebody watches; while somebody does, a post goes out every two seconds
//! at most, otherwise with each sealed segment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evidence::decimal::format_mantissa;
use evidence::measurement::MeasurementConfig;
use evidence::quality::Quality;
use evidence::value::Decoder;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::collector::Collector;
use crate::sample::{PointSample, SampleValue};

/// The shortest time between two posts, in milliseconds.
const POST_EVERY_MS: u64 = 2_000;

/// The newest sample of one point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveValue {
    /// The point's name.
    pub name: String,
    /// The value on its grid, or `None` when there is none.
    pub value: Option<String>,
    /// Its unit.
    pub unit: String,
    /// `good`, or the worst that is said of it.
    pub quality: String,
    /// The time of its tick or message, in unix milliseconds; `None` while the clock is unset.
    pub tick_unix_ms: Option<i64>,
}

#[derive(Serialize)]
struct Post<'a> {
    seq: u64,
    unix_ms: u64,
    points: Vec<&'a LiveValue>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    watch_for_s: u32,
}

/// The newest values, shared between the run loop, the live lane and the status.
#[derive(Debug)]
pub struct LiveTable {
    decoders: Vec<Decoder>,
    table: MeasurementConfig,
    values: Mutex<(u64, BTreeMap<u16, LiveValue>)>,
    changed: Notify,
}

impl LiveTable {
    /// An empty table for the points of a configuration.
    #[must_use]
    pub fn new(table: MeasurementConfig) -> Self {
        let decoders = table.points.iter().map(Decoder::new).collect();
        Self {
            decoders,
            table,
            values: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Takes the newest samples, taken at `unix_ms`.
    pub fn update(&self, samples: &[PointSample], unix_ms: Option<i64>) {
        {
            let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            for sample in samples {
                if let Some(value) = self.live_value(sample, unix_ms) {
                    values.1.insert(sample.point, value);
                }
            }
            values.0 += 1;
        }
        self.changed.notify_one();
    }

    fn live_value(&self, sample: &PointSample, tick_unix_ms: Option<i64>) -> Option<LiveValue> {
        let index = usize::from(sample.point);
        let (point, decoder) = (self.table.points.get(index)?, self.decoders.get(index)?);
        let decoded = match &sample.value {
            SampleValue::Int(raw) => decoder.value(*raw),
            SampleValue::Text(text) => decoder.text(text),
            SampleValue::Absent => Err(Quality::DROPPED),
        };
        let said = sample.qualities.first().map(|(quality, _)| *quality);
        let quality = said.or(decoded.err()).unwrap_or(Quality::GOOD);
        Some(LiveValue {
            name: point.name.clone(),
            value: decoded
                .ok()
                .map(|value| format_mantissa(i128::from(value), point.decimals)),
            unit: point.unit.clone(),
            quality: quality.name().to_owned(),
            tick_unix_ms,
        })
    }

    /// All newest values, in the order of the points.
    #[must_use]
    pub fn values(&self) -> Vec<LiveValue> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.1.values().cloned().collect()
    }

    fn post(&self, unix_ms: u64) -> Option<Vec<u8>> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if values.1.is_empty() {
            return None;
        }
        let post = Post {
            seq: values.0,
            unix_ms,
            points: values.1.values().collect(),
        };
        serde_json::to_vec(&post).ok()
    }
}

/// Posts the table until the run loop is gone.
///
/// `released` counts sealed entries; `watching` carries what the answers to uploads say.
pub async fn run(
    table: Arc<LiveTable>,
    collector: Collector,
    mut released: watch::Receiver<u64>,
    mut watching: watch::Receiver<u32>,
    clock: Arc<dyn Clock>,
) {
    let mut watched_until_ms = 0;
    loop {
        let watched = clock.monotonic_ms() < watched_until_ms;
        tokio::select! {
            () = table.changed.notified(), if watched => {}
            changed = released.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            changed = watching.changed() => {
                if changed.is_err() {
                    return;
                }
                let for_ms = u64::from(*watching.borrow_and_update()) * 1000;
                watched_until_ms = watched_until_ms.max(clock.monotonic_ms() + for_ms);
                continue;
            }
        }
        let posted_at_ms = clock.monotonic_ms();
        if let Some(body) = table.post(clock.now().unix_ms) {
            let patience = Duration::from_secs(5);
            match collector
                .post::<Answer>("live", "application/json", body, patience)
                .await
            {
                Ok(answer) => {
                    let for_ms = u64::from(answer.watch_for_s) * 1000;
                    watched_until_ms = clock.monotonic_ms() + for_ms;
                }
                Err(error) => tracing::debug!("A live post was lost: {error}"),
            }
        }
        clock
            .sleep_until_monotonic(posted_at_ms + POST_EVERY_MS)
            .await;
    }
}

#[cfg(test)]
mod tests {
    use evidence::decimal::Decimal;
    use evidence::measurement::{
        Device, MeasurementConfig, Point, PointKind, Source, Stream, Table,
    };
    use evidence::quality::Quality;
    use evidence::value::{Format, Kind, Order};

    use super::LiveTable;
    use crate::sample::PointSample;

    fn table() -> MeasurementConfig {
        let point = Point {
            name: "flow".to_owned(),
            stream: 1,
            device: 0,
            source: Source::Modbus {
                table: Table::Input,
                address: 0,
                words: 1,
            },
            format: Format {
                kind: Kind::U16,
                order: Order::Abcd,
            },
            scale: Decimal::parse("0.01").unwrap(),
            offset: Decimal::ZERO,
            decimals: 2,
            unit: "kg/h".to_owned(),
            kind: PointKind::Instant,
            sentinels: vec![65_535],
            min: None,
            max: None,
            max_step_per_s: None,
            stale_after_s: None,
        };
        MeasurementConfig {
            streams: vec![Stream {
                id: 1,
                tick_ms: 1000,
                first_tick: 0,
                messages: false,
            }],
            devices: vec![Device {
                name: "meter".to_owned(),
                protocol: "modbus-tcp".to_owned(),
                unit_id: Some(1),
                template: None,
                path: "meter".to_owned(),
            }],
            points: vec![point],
        }
    }

    #[test]
    fn the_newest_value_is_shown_decoded_with_its_quality() {
        let live = LiveTable::new(table());
        live.update(&[PointSample::good(0, 1234)], Some(1_000));
        live.update(&[PointSample::good(0, 1235)], Some(2_000));
        let value = live.values().pop().unwrap();
        assert_eq!(value.value.as_deref(), Some("12.35"));
        assert_eq!(
            (value.quality.as_str(), value.tick_unix_ms),
            ("good", Some(2_000))
        );
        live.update(&[PointSample::good(0, 65_535)], Some(3_000));
        assert_eq!(
            live.values().pop().unwrap().quality,
            Quality::SENTINEL.name()
        );
        live.update(&[PointSample::absent(0, Quality::TIMEOUT, 0)], None);
        let value = live.values().pop().unwrap();
        assert_eq!(
            (value.value, value.quality.as_str()),
            (None, Quality::TIMEOUT.name())
        );
    }
}
