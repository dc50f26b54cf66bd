//! Columns that are more than numbers by themselves: values with a scale factor, and texts.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use evidence::chunk::{Chunk, Column, Exception, payload};
use evidence::decimal::Decimal;
use evidence::entry::Ticks;
use evidence::measurement::{
    Device, MeasurementConfig, MeasurementError, Point, PointKind, Source, Stream, Table,
};
use evidence::quality::Quality;
use evidence::rejection::Rejection;
use evidence::segment::{ConfigInForce, Segment};
use evidence::value::Format;

fn point(name: &str, kind: &str, address: u16, decimals: u8) -> Point {
    let format = Format::from_names(kind, "ABCD").unwrap();
    Point {
        name: name.to_owned(),
        stream: 1,
        device: 0,
        source: Source::Modbus {
            table: Table::Holding,
            address,
            words: format.words().max(1),
        },
        format,
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        decimals,
        unit: "W".to_owned(),
        kind: PointKind::Instant,
        sentinels: Vec::new(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    }
}

fn table(points: Vec<Point>) -> MeasurementConfig {
    let stream = |id| Stream {
        id,
        tick_ms: 1000,
        first_tick: 0,
        messages: false,
    };
    let device = |name: &str| Device {
        name: name.to_owned(),
        protocol: "modbus-tcp".to_owned(),
        unit_id: Some(1),
        template: None,
        path: "meter".to_owned(),
    };
    MeasurementConfig {
        streams: vec![stream(1), stream(2)],
        devices: vec![device("inverter"), device("other")],
        points,
    }
}

/// Power with its factor behind it, energy with the same factor.
fn inverter() -> MeasurementConfig {
    let mut power = point("power", "i16", 0, 1);
    power.scale_from = Some(1);
    power.sentinels = vec![-32_768];
    let mut energy = point("energy", "u32", 2, 1);
    energy.scale_from = Some(1);
    table(vec![power, point("factor", "i16", 1, 0), energy])
}

fn column(point: u16, values: &[i64], qualities: &[(u16, Quality)]) -> Chunk {
    Chunk {
        point,
        offsets_ms: None,
        column: Column::Ints(values.to_vec()),
        exceptions: qualities
            .iter()
            .map(|&(sample, quality)| Exception {
                sample,
                quality,
                aux: 0,
            })
            .collect(),
    }
}

fn open(config: MeasurementConfig, count: u64, chunks: &[Chunk]) -> Result<Segment, Rejection> {
    config.validate().unwrap();
    let (bytes, signed) = payload(chunks).unwrap();
    let ticks = Ticks {
        stream: 1,
        first: 0,
        count,
    };
    Segment::open(
        &Arc::new(ConfigInForce::new(config, 1)),
        ticks,
        Some(0),
        &signed,
        &bytes,
    )
}

#[test]
fn each_sample_is_multiplied_by_the_factor_of_its_own_tick() {
    let chunks = [
        column(0, &[1234, 1234, 1230, 1234, -32_768, 7, 7, 7], &[]),
        column(
            1,
            &[0, -1, -2, -2, 0, -32_768, -32_768, 1],
            &[(6, Quality::TIMEOUT), (7, Quality::MAINTENANCE)],
        ),
        column(2, &[5, 5, 50, 5, 5, 5, 5, 5], &[(0, Quality::ROLLBACK)]),
    ];
    let segment = open(inverter(), 8, &chunks).unwrap();
    let [power, factor, energy] = segment.columns.as_slice() else {
        panic!("three columns");
    };
    assert_eq!(power.values[..3], [12_340, 1_234, 123]);
    let said: Vec<Quality> = (0..8).map(|sample| power.quality(sample)).collect();
    assert_eq!(
        said,
        [
            Quality::GOOD,
            Quality::GOOD,
            Quality::GOOD,
            Quality::OFF_GRID,     // 12.34 on one decimal
            Quality::SENTINEL,     // the device's own "not available"
            Quality::OUT_OF_RANGE, // the factor is not available
            Quality::OUT_OF_RANGE, // the factor was not read
            Quality::OUT_OF_RANGE, // the factor does not count
        ]
    );
    assert_eq!(factor.values[..5], [0, -1, -2, -2, 0]);
    assert_eq!(energy.values[1..3], [5, 5]);
    assert_eq!(energy.quality(0), Quality::ROLLBACK, "as sealed");
}

#[test]
fn a_table_with_a_scale_factor_reads_back_and_without_one_is_as_before() {
    let config = inverter();
    let bytes = config.encode();
    assert_eq!(MeasurementConfig::decode(&bytes), Ok(config.clone()));
    let mut without = config;
    for point in &mut without.points {
        point.scale_from = None;
    }
    let key = |bytes: &[u8]| {
        bytes
            .windows(10)
            .filter(|key| *key == b"scale_from")
            .count()
    };
    assert_eq!((key(&bytes), key(&without.encode())), (2, 0));
}

#[test]
fn a_scale_factor_that_could_mislead_is_refused() {
    type Breaks = fn(&mut MeasurementConfig);
    let broken: [(&str, Breaks); 10] = [
        ("the point of its scale factor does not exist", |table| {
            table.points[0].scale_from = Some(3);
        }),
        ("only whole numbers take a scale factor", |table| {
            table.points[2].format = Format::from_names("f32", "ABCD").unwrap();
        }),
        (
            "a point with a scale factor has scale 1 and offset 0",
            |table| {
                table.points[0].scale = Decimal::parse("0.1").unwrap();
            },
        ),
        (
            "a point with a scale factor has scale 1 and offset 0",
            |table| {
                table.points[0].offset = Decimal::ONE;
            },
        ),
        (
            "a scale factor is a point of the same device and stream",
            |table| {
                table.points[1].stream = 2;
            },
        ),
        (
            "a scale factor is a point of the same device and stream",
            |table| {
                table.points[1].device = 1;
            },
        ),
        (
            "a scale factor is an i16 without decimals, scale and offset, and momentary",
            |table| table.points[1].decimals = 1,
        ),
        (
            "a scale factor is an i16 without decimals, scale and offset, and momentary",
            |table| table.points[1].format = Format::from_names("u16", "ABCD").unwrap(),
        ),
        (
            "a scale factor is an i16 without decimals, scale and offset, and momentary",
            |table| table.points[1].kind = PointKind::Register,
        ),
        (
            "a scale factor is an i16 without decimals, scale and offset, and momentary",
            |table| table.points[0].scale_from = Some(0),
        ),
    ];
    for (expected, breaks) in broken {
        let mut table = inverter();
        breaks(&mut table);
        match table.validate() {
            Err(MeasurementError::Rule { rule, .. }) => assert_eq!(rule, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

fn texts(values: &[&[u8]], qualities: &[(u16, Quality)]) -> Chunk {
    Chunk {
        column: Column::Texts(values.iter().map(|text| text.to_vec()).collect()),
        ..column(0, &[], qualities)
    }
}

#[test]
fn a_text_is_the_bytes_of_its_registers_and_never_a_number() {
    let mut serial = point("serial", "text", 0, 0);
    serial.source = Source::Modbus {
        table: Table::Holding,
        address: 0,
        words: 2,
    };
    let config = || table(vec![serial.clone()]);
    let segment = open(
        config(),
        2,
        &[texts(&[b"AB12", b"AB12"], &[(1, Quality::TIMEOUT)])],
    )
    .unwrap();
    let column = &segment.columns[0];
    assert_eq!(column.texts, Some(vec![b"AB12".to_vec(), b"AB12".to_vec()]));
    assert_eq!(column.quality(0), Quality::OFF_GRID);
    assert_eq!(column.quality(1), Quality::TIMEOUT);
    let none = [(0, Quality::TIMEOUT), (1, Quality::TIMEOUT)];
    open(config(), 2, &[texts(&[b"", b""], &none)]).unwrap();
    for wrong in [
        texts(&[b"AB1", b"AB1"], &[]),
        texts(&[b"", b""], &[]),
        texts(&[b"AB12", b"AB1234"], &[]),
    ] {
        let refused = open(config(), 2, &[wrong]).unwrap_err();
        assert!(
            matches!(refused, Rejection::NotAColumnValue(0)),
            "{refused}"
        );
    }
}
