//! Seals and verifies an hour of 50 points at 1 Hz, and prints both beside the bare primitives.
//!
//! `cargo bench -p evidence`. Ratios hold across machines; absolute figures do not.
#![expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints figures for people"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use evidence::chain::Chain;
use evidence::chunk::{Chunk, Column, payload};
use evidence::control::{Control, Genesis};
use evidence::decimal::Decimal;
use evidence::entry::{Body, Boot, ClockReading, ClockStatus, Ticks};
use evidence::hash::{Origin, leaf_hash};
use evidence::key::SigningKey;
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::value::Format;

const POINTS: u16 = 50;
const TICKS: u64 = 60;
const SEGMENTS: u64 = 600;
const FIRST_TICK: u64 = 1_767_225_600;
const RUNS: usize = 5;

fn point(index: u16) -> Point {
    let kind = match index % 5 {
        0 | 1 => "u16",
        2 => "f32",
        3 => "u32",
        _ => "i16",
    };
    let format = Format::from_names(kind, "ABCD").expect("a known format");
    Point {
        name: format!("point {index}"),
        stream: 0,
        device: 0,
        source: Source::Modbus {
            table: Table::Holding,
            address: index * 2,
            words: format.words(),
        },
        format,
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        decimals: 3,
        unit: "kW".into(),
        kind: PointKind::Instant,
        sentinels: vec![],
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    }
}

fn config() -> MeasurementConfig {
    MeasurementConfig {
        streams: vec![Stream {
            id: 0,
            tick_ms: 1000,
            first_tick: FIRST_TICK,
            messages: false,
        }],
        devices: vec![Device {
            name: "meter".into(),
            protocol: "modbus-tcp".into(),
            unit_id: Some(1),
            template: None,
            path: "meter".into(),
        }],
        points: (0..POINTS).map(point).collect(),
    }
}

/// A deterministic noisy column: 20 noisy words, 10 floats, 10 totalisers, 10 slow values.
fn column(point: u16, segment: u64) -> Column {
    let mut state = u64::from(point) * 1_000_003 + segment * 7_919 + 1;
    let mut noise = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let values = (0..TICKS).map(|tick| {
        let at = segment * TICKS + tick;
        match point % 5 {
            0 | 1 => i64::try_from(20_000 + noise(64)).expect("small"),
            2 => i64::from(
                (50.0_f32 + f32::from(u16::try_from(noise(1000)).expect("small")) / 1000.0)
                    .to_bits(),
            ),
            3 => i64::try_from(1_000_000 + at * 3 + noise(2)).expect("small"),
            _ => i64::try_from(200 + at / 40).expect("small"),
        }
    });
    Column::Ints(values.collect())
}

/// Entries with their payloads.
type Log = Vec<(Vec<u8>, Vec<u8>)>;

fn seal() -> (Chain, Log, Duration) {
    let origin = Origin::parse("example.com/gw/bench").expect("valid");
    let key = SigningKey::from_seed([1; 32]);
    let mut chain = Chain::new(origin.clone());
    let boot = Boot {
        counter: 1,
        id: [1; 8],
        monotonic_ms: 1,
    };
    let clock = ClockReading {
        unix_ms: FIRST_TICK * 1000,
        status: ClockStatus::Ntp,
        error_ms: 1,
    };
    let genesis = Genesis {
        origin: origin.as_str().into(),
        log_key: SigningKey::from_seed([2; 32]).public(),
        entry_key: key.public(),
        software: "bench".into(),
    };
    for control in [Control::Genesis(genesis), Control::Config(config().into())] {
        let (body, blob) = control.into_body();
        let entry = chain
            .next_entry(boot, clock, None, body)
            .sign(&origin, &key);
        chain
            .apply(&entry, Some(&blob))
            .expect("a valid control entry");
    }
    let before = chain.clone();
    let columns: Vec<Vec<Column>> = (0..SEGMENTS)
        .map(|segment| (0..POINTS).map(|point| column(point, segment)).collect())
        .collect();
    let mut log = Vec::new();
    let started = Instant::now();
    for (segment, columns) in (0..SEGMENTS).zip(columns) {
        let chunks: Vec<Chunk> = (0..POINTS)
            .zip(columns)
            .map(|(point, column)| Chunk {
                point,
                offsets_ms: None,
                column,
                exceptions: vec![],
            })
            .collect();
        let (bytes, signed) = payload(&chunks).expect("valid chunks");
        let ticks = Ticks {
            stream: 0,
            first: FIRST_TICK + segment * TICKS,
            count: TICKS,
        };
        let entry = chain
            .next_entry(
                boot,
                clock,
                None,
                Body::Data {
                    ticks,
                    payload: signed,
                },
            )
            .sign(&origin, &key);
        // The gateway checks what it is about to store with the very same code as everybody else.
        chain.apply(&entry, Some(&bytes)).expect("a valid entry");
        log.push((entry, bytes));
    }
    (before, log, started.elapsed())
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let readings = (u64::from(POINTS) * TICKS * SEGMENTS) as f64;
    let (mut sealing, mut verifying, mut bare) = (vec![], vec![], vec![]);
    let mut bytes_per_reading = 0.0;
    for _run in 0..RUNS {
        let (before, log, sealed_in) = seal();
        sealing.push(readings / sealed_in.as_secs_f64());
        let bytes: usize = log
            .iter()
            .map(|(entry, payload)| entry.len() + payload.len())
            .sum();
        bytes_per_reading = bytes as f64 / readings;

        let mut chain = before;
        let started = Instant::now();
        for (entry, payload) in &log {
            black_box(chain.apply(entry, Some(payload)).expect("a valid entry"));
        }
        verifying.push(readings / started.elapsed().as_secs_f64());

        // The floor: one signature check and the chunk hashes of each segment, and nothing else.
        let key = SigningKey::from_seed([1; 32]);
        let message = [7_u8; 280];
        let signature = key.sign(&message);
        let public = key.public();
        let started = Instant::now();
        for (_entry, payload) in &log {
            public.verify(&message, &signature).expect("valid");
            let share = payload.len() / usize::from(POINTS);
            for chunk in payload.chunks(share.max(1)).take(usize::from(POINTS)) {
                black_box(leaf_hash(chunk));
            }
        }
        bare.push(readings / started.elapsed().as_secs_f64());
    }
    let (sealing, verifying, bare) = (median(sealing), median(verifying), median(bare));
    println!("one core, {POINTS} points, segments of {TICKS} ticks, median of {RUNS} runs");
    println!(
        "seal and self-check      {:>8.1} M readings/s",
        sealing / 1e6
    );
    println!(
        "verify and decode        {:>8.1} M readings/s   {:.2} × the time of bare signatures and hashes",
        verifying / 1e6,
        bare / verifying
    );
    println!("bare signatures, hashes  {:>8.1} M readings/s", bare / 1e6);
    println!(
        "bytes per reading        {bytes_per_reading:>8.2}   entry and payload, on the wire and stored"
    );
}
