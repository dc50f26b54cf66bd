//! Feeds decoded segments to a computation and prints samples per second, for totalisers and for
//! values that are integrated, with and without samples that do not count.
//!
//! `cargo bench -p quantification`. The limit it is measured against is the plain sum of the same
//! columns; absolute figures depend on the machine.
#![expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints figures for people"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evidence::chunk::Exception;
use evidence::decimal::Decimal;
use evidence::entry::Ticks;
use evidence::hash::leaf_hash;
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::quality::Quality;
use evidence::segment::{ConfigInForce, DecodedColumn, Segment};
use evidence::value::{Format, Kind, Order};
use quantification::computation::Computation;
use quantification::methodology::shipped;
use quantification::period::date;
use quantification::plan::Plan;

const ORIGIN: &str = "example.com/gw/0001";
const TICKS: usize = 60;
const HOURS: i64 = 24 * 10;
const HOUR_MS: i64 = 3_600_000;
const RUNS: usize = 5;

fn point(name: &str, unit: &str, kind: PointKind) -> Point {
    Point {
        name: name.to_owned(),
        stream: 0,
        device: 0,
        source: Source::Modbus {
            table: Table::Holding,
            address: 0,
            words: 2,
        },
        format: Format {
            kind: Kind::U32,
            order: Order::Abcd,
        },
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        decimals: 3,
        unit: unit.to_owned(),
        kind,
        sentinels: Vec::new(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    }
}

/// Ten days of one-second ticks in segments of a minute; `which` of the two points is filled.
fn segments(config: &Arc<ConfigInForce>, start_ms: i64, which: u16, bad: bool) -> Vec<Segment> {
    let minutes = HOURS * 60;
    (0..minutes)
        .map(|minute| {
            let first = start_ms / 1000 + minute * 60;
            let values = (first..first + 60)
                .map(|second| second * 7 + second % 3)
                .collect();
            let bad_sample = Exception {
                sample: 30,
                quality: Quality::TIMEOUT,
                aux: 0,
            };
            let exceptions = if bad && minute % 10 == 0 {
                vec![bad_sample]
            } else {
                Vec::new()
            };
            let column = DecodedColumn {
                point: which,
                values,
                texts: None,
                offsets_ms: None,
                exceptions,
            };
            Segment {
                config: Arc::clone(config),
                ticks: Ticks {
                    stream: 0,
                    first: first.unsigned_abs(),
                    count: 60,
                },
                tick_ms: 1000,
                shift: Some(0),
                columns: vec![column],
            }
        })
        .collect()
}

fn best(mut run: impl FnMut()) -> Duration {
    (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            run();
            begin.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn main() {
    let plan = Plan::parse(
        include_str!("../examples/solar.plan.toml"),
        "solar.plan.toml",
    )
    .expect("the example plan");
    let methodology = shipped(&plan.methodology_id).expect("a shipped methodology");
    let bound = plan.bind(&methodology).expect("they fit");
    let day = |text| date(text).expect("a date");
    let period = plan
        .period(day("2026-06-01"), day("2026-06-10"))
        .expect("a period");
    let config = MeasurementConfig {
        streams: vec![Stream {
            id: 0,
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
        points: vec![
            point("export.energy", "kWh", PointKind::Register),
            point("aux.power", "kW", PointKind::Instant),
        ],
    };
    let config = Arc::new(ConfigInForce::new(config, 1));
    let leaf = leaf_hash(b"a leaf");
    assert_eq!(period.end_ms() - period.start_ms(), HOURS * HOUR_MS);
    for (name, which, bad) in [
        ("increase, all good", 0, false),
        ("increase, one sample in 600 missing", 0, true),
        ("integral, all good", 1, false),
        ("integral, one sample in 600 missing", 1, true),
    ] {
        let segments = segments(&config, period.start_ms(), which, bad);
        let samples = (segments.len() * TICKS) as f64;
        let fed = best(|| {
            let mut computation = Computation::new(&bound, &period);
            for (entry, segment) in (2_u64..).zip(&segments) {
                computation
                    .segment(ORIGIN, entry, &leaf, segment)
                    .expect("it fits");
            }
            black_box(computation.finish().expect("a report"));
        });
        let limit = best(|| {
            for segment in &segments {
                let sum: i64 = segment
                    .columns
                    .iter()
                    .flat_map(|column| &column.values)
                    .fold(0, |a, b| a.wrapping_add(*b));
                black_box(sum);
            }
        });
        let rate = |time: Duration| samples / time.as_secs_f64() / 1e6;
        println!(
            "{name:<40} {:>8.0} M samples/s   plain sum {:>8.0} M/s   ratio {:.2}",
            rate(fed),
            rate(limit),
            rate(fed) / rate(limit)
        );
    }
}
