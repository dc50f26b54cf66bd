//! The worked example of FORMAT.md is what this crate writes, byte for byte.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use evidence::chain::Chain;
use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::chunk::{Chunk, Column, Exception, payload};
use evidence::control::{Control, Genesis};
use evidence::decimal::Decimal;
use evidence::entry::{Body, Boot, ClockReading, ClockStatus, Ticks};
use evidence::hash::{Origin, to_hex};
use evidence::key::SigningKey;
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::quality::Quality;
use evidence::value::Format;

const FORMAT: &str = include_str!("../FORMAT.md");

fn config() -> MeasurementConfig {
    MeasurementConfig {
        streams: vec![Stream {
            id: 0,
            tick_ms: 1000,
            first_tick: 1_767_225_600,
            messages: false,
        }],
        devices: vec![Device {
            name: "meter-1".into(),
            protocol: "modbus-tcp".into(),
            unit_id: Some(1),
            template: None,
            path: "meter".into(),
        }],
        points: vec![Point {
            name: "exported energy".into(),
            stream: 0,
            device: 0,
            source: Source::Modbus {
                table: Table::Holding,
                address: 40,
                words: 2,
            },
            format: Format::from_names("u32", "ABCD").unwrap(),
            scale: Decimal::parse("0.01").unwrap(),
            offset: Decimal::ZERO,
            decimals: 2,
            unit: "kWh".into(),
            kind: PointKind::Register,
            sentinels: vec![0xffff_ffff],
            scale_from: None,
            min: None,
            max: None,
            max_step_per_s: None,
            stale_after_s: None,
        }],
    }
}

/// The labelled byte strings of the example, in the order FORMAT.md shows them.
fn example() -> Vec<(&'static str, String)> {
    let origin = Origin::parse("example.com/gw/0001").unwrap();
    let entry_key = SigningKey::from_seed([1; 32]);
    let log_key = SigningKey::from_seed([2; 32]);
    let boot = Boot {
        counter: 1,
        id: *b"fieldsea",
        monotonic_ms: 500,
    };
    let clock = |unix_ms| ClockReading {
        unix_ms,
        status: ClockStatus::Ntp,
        error_ms: 5,
    };
    let genesis = Genesis {
        origin: origin.as_str().into(),
        log_key: log_key.public(),
        entry_key: entry_key.public(),
        software: "fieldseal-gateway 0.1.0".into(),
    };
    let missed = Exception {
        sample: 2,
        quality: Quality::TIMEOUT,
        aux: 0,
    };
    let column = Column::Ints(vec![100_000, 100_003, 100_003, 100_009]);
    let chunk = Chunk {
        point: 0,
        offsets_ms: None,
        column,
        exceptions: vec![missed],
    };
    let (chunks, signed) = payload(std::slice::from_ref(&chunk)).unwrap();
    let ticks = Ticks {
        stream: 0,
        first: 1_767_225_600,
        count: 4,
    };

    let mut chain = Chain::new(origin.clone());
    let mut entries = Vec::new();
    for (body, payload, unix_ms) in [
        (
            Control::Genesis(genesis).into_body().0,
            vec![],
            1_767_225_599_000,
        ),
        (
            Control::Config(config().into()).into_body().0,
            vec![],
            1_767_225_599_001,
        ),
        (
            Body::Data {
                ticks,
                payload: signed,
            },
            chunks.clone(),
            1_767_225_604_020,
        ),
    ] {
        let bytes = chain
            .next_entry(boot, clock(unix_ms), None, body)
            .sign(&origin, &entry_key);
        chain.apply(&bytes, Some(&payload)).unwrap();
        entries.push(to_hex(&bytes));
    }
    let checkpoint = Checkpoint {
        origin,
        size: chain.size(),
        root: chain.root(),
    };
    let note = sign_checkpoint(&checkpoint, &log_key).to_bytes();
    let mut entries = entries.into_iter();
    vec![
        ("entry 0", entries.next().unwrap()),
        ("entry 1", entries.next().unwrap()),
        ("entry 2", entries.next().unwrap()),
        ("payload 2", to_hex(&chunks)),
        ("checkpoint", String::from_utf8(note).unwrap()),
    ]
}

#[test]
fn the_worked_example_is_what_this_crate_writes() {
    for (label, content) in example() {
        let block = format!("```text {label}\n");
        let shown = FORMAT
            .split_once(&block)
            .and_then(|(_, rest)| rest.split_once("\n```"))
            .map(|(shown, _)| shown);
        let shown = shown.map(|shown| {
            if label == "checkpoint" {
                format!("{shown}\n")
            } else {
                shown.replace('\n', "")
            }
        });
        assert_eq!(
            shown.as_deref(),
            Some(content.as_str()),
            "block `{label}` of FORMAT.md"
        );
    }
}

#[test]
fn every_quality_code_is_in_the_table() {
    for quality in Quality::ALL {
        let row = format!(
            "| {} | {} | {} |",
            quality.code(),
            quality.name(),
            quality.meaning()
        );
        assert!(FORMAT.contains(&row), "{row}");
    }
}
