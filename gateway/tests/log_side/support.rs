//! A gateway's data directory with a clock that the test moves, and the one checker of logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::chain::{Applied, Chain};
use evidence::decimal::Decimal;
use evidence::entry::{Body, GapReason};
use evidence::hash::{Hash, Origin};
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::value::{Format, Kind, Order};
use gateway::buffer::{LogReader, SpaceLimits};
use gateway::clock::{Clock as _, ManualClock};
use gateway::config::FullPolicy;
use gateway::faults::{Faults, NoFaults};
use gateway::identity::Identity;
use gateway::recorder::{Recorder, RecorderError, Settings, Software, Surroundings};
use gateway::sample::{PointSample, TickSamples};

/// The polled stream of the tests: one tick a second, two points.
pub(crate) const POLLED: u16 = 1;
/// The message stream of the tests: one point.
pub(crate) const MESSAGES: u16 = 10_000;
/// 2026-03-01T00:00:00Z.
pub(crate) const MARCH: u64 = 1_772_323_200_000;

/// A data directory and what a start needs.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) settings: Settings,
    pub(crate) clock: ManualClock,
    pub(crate) os_boot: String,
    pub(crate) faults: Arc<dyn Faults>,
    pub(crate) left: Left,
}

/// Every byte that ever left the device, by index.
#[derive(Default)]
pub(crate) struct Left(BTreeMap<u64, Sent>);

/// Entry, payload, checkpoint.
type Sent = (Vec<u8>, Option<Vec<u8>>, Vec<u8>);

impl Site {
    pub(crate) fn new(clock: ManualClock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let origin = Origin::parse("example.com/gw/0001").unwrap();
        Identity::create(dir.path(), &origin).unwrap();
        let settings = Settings {
            origin,
            data_dir: dir.path().to_owned(),
            table: table(),
            segment_ms: 10_000,
            sync_interval_ms: 10_000,
            limits: SpaceLimits {
                max_bytes: 1_000_000_000,
                min_free_bytes: 0,
                ballast_bytes: 100_000,
            },
            policy: FullPolicy::Stop,
            keep_days: 400,
            software: Software {
                version: "test 1".to_owned(),
                binary: Hash([7; 32]),
            },
        };
        Self {
            dir,
            settings,
            clock,
            os_boot: "boot-a".to_owned(),
            faults: Arc::new(NoFaults),
            left: Left::default(),
        }
    }

    pub(crate) async fn try_start(&self) -> Result<Recorder, RecorderError> {
        let around = Surroundings {
            clock: Arc::new(self.clock.clone()),
            os_boot: self.os_boot.clone(),
            faults: Arc::clone(&self.faults),
        };
        Recorder::open(self.settings.clone(), around).await
    }

    pub(crate) async fn start(&self) -> Recorder {
        self.try_start().await.unwrap()
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Reads the whole log from index 0 and checks every rule; returns what it says.
    pub(crate) async fn whole(&mut self) -> Vec<Applied> {
        let applied = whole(&self.log_dir(), &self.settings.origin).await;
        let mut reader = LogReader::of_dir(&self.log_dir()).await.unwrap();
        let end = reader.bounds().1;
        self.left.take(&mut reader, end).await;
        applied
    }
}

impl Site {
    /// As [`Site::whole`], for a log whose payloads were dropped: what left may shrink.
    pub(crate) async fn whole_with_dropped(&self) -> Vec<Applied> {
        whole(&self.log_dir(), &self.settings.origin).await
    }
}

impl Left {
    /// Lets everything below `released` leave, and fails when an index leaves with other bytes.
    pub(crate) async fn take(&mut self, reader: &mut LogReader, released: u64) {
        let mut index = 0;
        while index < released {
            for row in reader.rows(index, released, 500, usize::MAX).await.unwrap() {
                let bytes = (row.entry, row.payload, row.checkpoint);
                let first = self.0.entry(row.index).or_insert_with(|| bytes.clone());
                assert!(
                    *first == bytes,
                    "index {} left with two different contents",
                    row.index
                );
                index = row.index + 1;
            }
        }
    }

    /// Takes what a running recorder has released.
    pub(crate) async fn take_from(&mut self, recorder: &Recorder) {
        let released = *recorder.released().borrow();
        self.take(&mut recorder.reader(), released).await;
    }
}

/// Verifies the log in a directory from index 0.
pub(crate) async fn whole(log_dir: &Path, origin: &Origin) -> Vec<Applied> {
    let mut reader = LogReader::of_dir(log_dir).await.unwrap();
    let (first, end) = reader.bounds();
    assert_eq!(first, 0, "the log starts at 0");
    let mut chain = Chain::new(origin.clone());
    let mut applied = Vec::new();
    while chain.size() < end {
        for row in reader
            .rows(chain.size(), end, 1000, usize::MAX)
            .await
            .unwrap()
        {
            let step = chain.apply(&row.entry, row.payload.as_deref());
            applied.push(step.unwrap_or_else(|error| panic!("entry {}: {error}", row.index)));
        }
    }
    applied
}

pub(crate) fn table() -> MeasurementConfig {
    let device = |name: &str, protocol: &str| Device {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        unit_id: (protocol == "modbus-tcp").then_some(1),
        template: None,
        path: if protocol == "mqtt" {
            "broker"
        } else {
            "meter"
        }
        .to_owned(),
    };
    MeasurementConfig {
        streams: vec![
            Stream {
                id: POLLED,
                tick_ms: 1000,
                first_tick: 0,
                messages: false,
            },
            Stream {
                id: MESSAGES,
                tick_ms: 1000,
                first_tick: 0,
                messages: true,
            },
        ],
        devices: vec![device("meter-1", "modbus-tcp"), device("broker", "mqtt")],
        points: vec![
            register("energy", 0, Kind::U32, PointKind::Register),
            register("power", 2, Kind::I16, PointKind::Instant),
            message("pressure"),
        ],
    }
}

fn register(name: &str, address: u16, kind: Kind, point_kind: PointKind) -> Point {
    let words = if kind == Kind::U32 { 2 } else { 1 };
    Point {
        name: name.to_owned(),
        stream: POLLED,
        device: 0,
        source: Source::Modbus {
            table: Table::Holding,
            address,
            words,
        },
        format: Format {
            kind,
            order: Order::Abcd,
        },
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        decimals: 0,
        unit: "kWh".to_owned(),
        kind: point_kind,
        sentinels: Vec::new(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    }
}

fn message(name: &str) -> Point {
    Point {
        stream: MESSAGES,
        device: 1,
        source: Source::Message {
            topic: "site/pressure".to_owned(),
            pointer: None,
        },
        format: Format {
            kind: Kind::Number,
            order: Order::Abcd,
        },
        decimals: 2,
        unit: "bar".to_owned(),
        stale_after_s: Some(60),
        ..register(name, 0, Kind::U16, PointKind::Instant)
    }
}

/// The samples of the polled stream at a tick: values that name their tick.
pub(crate) fn samples(tick: u64) -> TickSamples {
    let energy = i64::try_from(tick % 4_000_000_000).unwrap();
    let power = i64::try_from(tick % 30_000).unwrap();
    let samples = vec![PointSample::good(0, energy), PointSample::good(1, power)];
    TickSamples {
        stream: POLLED,
        samples,
    }
}

/// Lets one second pass and records the tick that ended, as the run loop does.
pub(crate) async fn second(
    recorder: &mut Recorder,
    clock: &ManualClock,
) -> Result<(), RecorderError> {
    let axis = recorder.axes().borrow().streams.get(&POLLED).copied();
    let before = clock.monotonic_ms();
    clock.advance(1000);
    if let Some(axis) = axis {
        let tick = axis.tick_at(before);
        if recorder.next_tick(POLLED).is_some_and(|next| tick >= next) {
            recorder.record(tick, samples(tick)).await?;
        }
    }
    recorder.tend().await
}

pub(crate) async fn seconds(recorder: &mut Recorder, clock: &ManualClock, count: u32) {
    for _ in 0..count {
        second(recorder, clock).await.unwrap();
    }
}

/// (first tick, end, reason or none for data, shift) of every data and gap entry of a stream.
pub(crate) fn partition(
    applied: &[Applied],
    stream: u16,
) -> Vec<(u64, u64, Option<GapReason>, Option<i64>)> {
    applied
        .iter()
        .filter_map(|step| match &step.entry.body {
            Body::Data { ticks, .. } if ticks.stream == stream => {
                Some((ticks.first, ticks.end(), None, step.shift))
            }
            Body::Gap { ticks, reason, .. } if ticks.stream == stream => {
                Some((ticks.first, ticks.end(), Some(*reason), step.shift))
            }
            _ => None,
        })
        .collect()
}

/// The control kinds in their order.
pub(crate) fn controls(applied: &[Applied]) -> Vec<u64> {
    applied
        .iter()
        .filter_map(|step| step.control.as_ref().map(|control| control.kind()))
        .collect()
}
