//! The live lane: the newest values, unsigned, for people who watch.
//!
//! Best effort and latest wins: a lost post is not repeated, nothing here is evidence. The collector's
//! answers say for how long somebody watches; while somebody does, a post goes out every two seconds
//! at most, otherwise with each sealed segment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evidence::decimal::format_mantissa;
use evidence::quality::Quality;
use evidence::segment::ConfigInForce;
use evidence::value::Kind;
use serde::{Deserialize, Serialize, Serializer};
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
struct Post<P> {
    seq: u64,
    unix_ms: u64,
    points: P,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    watch_for_s: u32,
}

/// The newest values, shared between the run loop, the live lane and the status.
///
/// It keeps the samples as they were read and makes words of them when somebody reads them: samples
/// come every second, readers rarely.
#[derive(Debug)]
pub struct LiveTable {
    /// `None` while nothing is configured: there are no points then.
    table: Option<Arc<ConfigInForce>>,
    newest: Mutex<Newest>,
    changed: Notify,
}

#[derive(Debug)]
struct Newest {
    /// Counts the updates.
    seq: u64,
    /// By point; `None` before its first sample.
    samples: Vec<Option<Kept>>,
}

/// The newest sample of one point, as it was read.
#[derive(Debug)]
struct Kept {
    value: SampleValue,
    said: Option<Quality>,
    tick_unix_ms: Option<i64>,
}

/// All newest values, written out one by one as they are serialised.
#[derive(Debug)]
pub struct LiveValues<'a> {
    table: Option<&'a ConfigInForce>,
    newest: MutexGuard<'a, Newest>,
}

impl LiveTable {
    /// An empty table for the points of the configuration in force.
    #[must_use]
    pub fn new(table: Option<Arc<ConfigInForce>>) -> Self {
        let points = table.as_ref().map_or(0, |table| table.config.points.len());
        let newest = Newest {
            seq: 0,
            samples: std::iter::repeat_with(|| None).take(points).collect(),
        };
        Self {
            table,
            newest: Mutex::new(newest),
            changed: Notify::new(),
        }
    }

    /// Takes the newest samples, taken at `unix_ms`.
    pub fn update(&self, samples: &[PointSample], unix_ms: Option<i64>) {
        {
            let mut newest = self.lock();
            for sample in samples {
                if let Some(kept) = newest.samples.get_mut(usize::from(sample.point)) {
                    *kept = Some(Kept {
                        value: sample.value.clone(),
                        said: sample.qualities.first().map(|(quality, _)| *quality),
                        tick_unix_ms: unix_ms,
                    });
                }
            }
            newest.seq += 1;
        }
        self.changed.notify_one();
    }

    /// All newest values, in the order of the points; no sample is taken while they are held.
    #[must_use]
    pub fn values(&self) -> LiveValues<'_> {
        LiveValues {
            table: self.table.as_deref(),
            newest: self.lock(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, unix_ms: u64) -> Option<Vec<u8>> {
        let points = self.values();
        points.iter().next()?;
        let seq = points.newest.seq;
        serde_json::to_vec(&Post {
            seq,
            unix_ms,
            points,
        })
        .ok()
    }
}

impl LiveValues<'_> {
    /// The newest exponent that the point of a scale factor holds, if it is good. A stream's samples
    /// are taken together, so it is of the same tick as the values it belongs to.
    fn exponent(&self, factor: u16) -> Option<i64> {
        let kept = self.newest.samples.get(usize::from(factor))?.as_ref()?;
        match kept.value {
            SampleValue::Int(raw) if kept.said.is_none() => {
                self.table?.decoder(factor)?.value(raw).ok()
            }
            _ => None,
        }
    }

    /// The values, made one at a time.
    pub fn iter(&self) -> impl Iterator<Item = LiveValue> {
        let table = self.table.into_iter();
        let indices = table.flat_map(|table| (0_u16..).zip(&table.config.points));
        indices
            .zip(&self.newest.samples)
            .filter_map(|((index, point), kept)| {
                let (kept, decoder) = (kept.as_ref()?, self.table?.decoder(index)?);
                let grid = |mantissa| format_mantissa(i128::from(mantissa), point.decimals);
                let decoded = match &kept.value {
                    SampleValue::Int(raw) => decoder
                        .value_with(*raw, |factor| self.exponent(factor))
                        .map(grid),
                    SampleValue::Text(bytes) if point.format.kind == Kind::Text => {
                        Ok(point.format.characters(bytes))
                    }
                    SampleValue::Text(text) => decoder.text(text).map(grid),
                    SampleValue::Absent => Err(Quality::DROPPED),
                };
                let quality = kept
                    .said
                    .or(decoded.as_ref().err().copied())
                    .unwrap_or(Quality::GOOD);
                Some(LiveValue {
                    name: point.name.clone(),
                    value: decoded.ok(),
                    unit: point.unit.clone(),
                    quality: quality.name().to_owned(),
                    tick_unix_ms: kept.tick_unix_ms,
                })
            })
    }
}

impl Serialize for LiveValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
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
    use std::sync::Arc;

    use evidence::decimal::Decimal;
    use evidence::measurement::{
        Device, MeasurementConfig, Point, PointKind, Source, Stream, Table,
    };
    use evidence::quality::Quality;
    use evidence::segment::ConfigInForce;
    use evidence::value::{Format, Kind, Order};

    use super::{LiveTable, LiveValue};
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
            scale_from: None,
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

    fn shown(live: &LiveTable) -> LiveValue {
        live.values().iter().next().unwrap()
    }

    #[test]
    fn the_newest_value_is_shown_decoded_with_its_quality() {
        let live = LiveTable::new(Some(Arc::new(ConfigInForce::new(table(), 1))));
        assert_eq!(live.values().iter().next(), None);
        live.update(&[PointSample::good(0, 1234)], Some(1_000));
        live.update(&[PointSample::good(0, 1235)], Some(2_000));
        let value = shown(&live);
        assert_eq!(value.value.as_deref(), Some("12.35"));
        assert_eq!(
            (value.quality.as_str(), value.tick_unix_ms),
            ("good", Some(2_000))
        );
        live.update(&[PointSample::good(0, 65_535)], Some(3_000));
        assert_eq!(shown(&live).quality, Quality::SENTINEL.name());
        live.update(&[PointSample::absent(0, Quality::TIMEOUT, 0)], None);
        let value = shown(&live);
        assert_eq!(
            (value.value, value.quality.as_str()),
            (None, Quality::TIMEOUT.name())
        );
    }
}
