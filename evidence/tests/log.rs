//! A whole log, written and read back: what may stand next and what may not.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use evidence::chain::{Applied, Chain};
use evidence::chunk::{self, Chunk, ChunkError, Column, Exception};
use evidence::control::{ClockEvent, Control, Genesis, Placed};
use evidence::decimal::Decimal;
use evidence::entry::{Body, Boot, ClockReading, ClockStatus, GapReason, Ticks};
use evidence::hash::Origin;
use evidence::key::SigningKey;
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::quality::Quality;
use evidence::segment::DecodedColumn;
use evidence::statement::{Revocation, Signed, Statement};
use evidence::value::Format;
use evidence::{Rejection, aggregate};

const FIRST_TICK: u64 = 1_767_225_600;

struct Log {
    chain: Chain,
    key: SigningKey,
    boot: Boot,
    clock: ClockReading,
    leaves: Vec<(Vec<u8>, Vec<u8>)>,
}

fn point(name: &str, kind: &str, scale: &str, decimals: u8) -> Point {
    let format = Format::from_names(kind, "ABCD").unwrap();
    Point {
        name: name.to_owned(),
        stream: 0,
        device: 0,
        source: Source::Modbus {
            table: Table::Holding,
            address: 0,
            words: format.words(),
        },
        format,
        scale: Decimal::parse(scale).unwrap(),
        offset: Decimal::ZERO,
        decimals,
        unit: "kWh".to_owned(),
        kind: PointKind::Register,
        sentinels: vec![],
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    }
}

fn table() -> MeasurementConfig {
    let device = Device {
        name: "meter-1".into(),
        protocol: "modbus-tcp".into(),
        unit_id: Some(1),
        template: None,
        path: "meter".into(),
    };
    MeasurementConfig {
        streams: vec![Stream {
            id: 0,
            tick_ms: 1000,
            first_tick: FIRST_TICK,
            messages: false,
        }],
        devices: vec![device],
        points: vec![
            point("energy", "u32", "0.01", 2),
            point("power", "f32", "1", 3),
        ],
    }
}

fn data(first: u64, energy: &[i64], exceptions: Vec<Exception>) -> (Body, Vec<u8>) {
    let power =
        |value: &i64| i64::from((0.5_f32 + f32::from(u8::try_from(value % 7).unwrap())).to_bits());
    let power = energy.iter().map(power).collect();
    let chunks = [
        Chunk {
            point: 0,
            offsets_ms: None,
            column: Column::Ints(energy.to_vec()),
            exceptions,
        },
        Chunk {
            point: 1,
            offsets_ms: None,
            column: Column::Ints(power),
            exceptions: vec![],
        },
    ];
    let (bytes, payload) = chunk::payload(&chunks).unwrap();
    (
        Body::Data {
            ticks: Ticks {
                stream: 0,
                first,
                count: u64::try_from(energy.len()).unwrap(),
            },
            payload,
        },
        bytes,
    )
}

impl Log {
    fn new() -> Self {
        let origin = Origin::parse("example.com/gw/0001").unwrap();
        let mut log = Self {
            chain: Chain::new(origin),
            key: SigningKey::from_seed([7; 32]),
            boot: Boot {
                counter: 1,
                id: [1; 8],
                monotonic_ms: 0,
            },
            clock: ClockReading {
                unix_ms: FIRST_TICK * 1000,
                status: ClockStatus::Ntp,
                error_ms: 5,
            },
            leaves: vec![],
        };
        let genesis = Genesis {
            origin: "example.com/gw/0001".into(),
            log_key: SigningKey::from_seed([8; 32]).public(),
            entry_key: log.key.public(),
            software: "test 1".into(),
        };
        log.control(Control::Genesis(genesis)).unwrap();
        log.control(Control::Config(table().into())).unwrap();
        log
    }

    fn entry(&self, body: Body) -> Vec<u8> {
        self.chain
            .next_entry(self.boot, self.clock, None, body)
            .sign(self.chain.origin(), &self.key)
    }

    fn add(&mut self, body: Body, payload: Vec<u8>) -> Result<Applied, Rejection> {
        let bytes = self.entry(body);
        let before = self.chain.encode();
        let mut beside = self.chain.clone();
        let admitted = beside.admit(&bytes, Some(&payload));
        let applied = self.chain.apply(&bytes, Some(&payload));
        assert_eq!(
            admitted.map_err(|rejection| rejection.to_string()),
            applied
                .as_ref()
                .map(|applied| applied.leaf)
                .map_err(ToString::to_string),
            "who keeps no samples judges as who does"
        );
        assert_eq!(beside.encode(), self.chain.encode());
        match &applied {
            Ok(_) => self.leaves.push((bytes, payload)),
            Err(_) => assert_eq!(
                self.chain.encode(),
                before,
                "a refused entry leaves the state as it was"
            ),
        }
        applied
    }

    fn control(&mut self, control: Control) -> Result<Applied, Rejection> {
        let (body, payload) = control.into_body();
        self.add(body, payload)
    }

    fn data(&mut self, first: u64, energy: &[i64]) -> Result<Applied, Rejection> {
        let (body, payload) = data(first, energy, vec![]);
        self.add(body, payload)
    }
}

#[test]
fn data_follows_data_and_decodes_to_the_values_read() {
    let mut log = Log::new();
    let segment = log
        .data(FIRST_TICK, &[100, 101, 103])
        .unwrap()
        .segment
        .unwrap();
    assert_eq!(
        segment.columns[0].values,
        [100, 101, 103],
        "0.01 on a grid of two decimals"
    );
    assert_eq!(
        segment.columns[1].values,
        [2500, 3500, 5500],
        "floats are rounded to the grid"
    );
    assert_eq!(segment.start_ms(), Some(1_767_225_600_000));
    assert!(segment.columns.iter().all(DecodedColumn::all_good));
    log.data(FIRST_TICK + 3, &[104; 60]).unwrap();
    let hours = aggregate::aggregate(&segment);
    assert_eq!(hours[0].1.rises, 3);
}

#[test]
fn a_missing_or_repeated_tick_is_named() {
    let mut log = Log::new();
    log.data(FIRST_TICK, &[1, 2]).unwrap();
    let missing = log.data(FIRST_TICK + 39, &[3]).unwrap_err();
    let text = "tick gap: stream 0 continues at tick 1767225602 but the entry starts at 1767225639 (37 unexplained)";
    assert_eq!(missing.to_string(), text);
    assert_eq!(missing.code(), "E07");
    assert!(matches!(
        log.data(FIRST_TICK + 1, &[3]),
        Err(Rejection::TickOverlap { .. })
    ));
    let gap = Ticks {
        stream: 0,
        first: FIRST_TICK + 2,
        count: 37,
    };
    log.add(
        Body::Gap {
            ticks: gap,
            reason: GapReason::Power,
            text: None,
        },
        vec![],
    )
    .unwrap();
    log.data(FIRST_TICK + 39, &[3]).unwrap();
}

#[test]
fn every_single_byte_of_an_entry_and_its_payload_is_covered() {
    let mut log = Log::new();
    let (body, payload) = data(FIRST_TICK, &[1, 2, 3], vec![]);
    let entry = log.entry(body);
    for at in 0..entry.len() {
        let mut changed = entry.clone();
        changed[at] ^= 0x10;
        assert!(
            log.chain.clone().apply(&changed, Some(&payload)).is_err()
                && log.chain.clone().admit(&changed, Some(&payload)).is_err(),
            "entry byte {at}"
        );
    }
    for at in 0..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 0x10;
        assert!(
            log.chain.clone().apply(&entry, Some(&changed)).is_err()
                && log.chain.clone().admit(&entry, Some(&changed)).is_err(),
            "payload byte {at}"
        );
    }
    log.chain.apply(&entry, Some(&payload)).unwrap();
}

#[test]
fn an_entry_of_another_log_or_key_is_refused() {
    let mut log = Log::new();
    let (body, payload) = data(FIRST_TICK, &[1], vec![]);
    let entry = log.chain.next_entry(log.boot, log.clock, None, body);
    let other = Origin::parse("example.com/gw/0002").unwrap();
    let refused = log
        .chain
        .apply(&entry.sign(&other, &log.key), Some(&payload));
    assert_eq!(refused.unwrap_err(), Rejection::BadSignature);
    let stranger = SigningKey::from_seed([9; 32]);
    let refused = log.chain.apply(
        &entry.sign(&log.chain.origin().clone(), &stranger),
        Some(&payload),
    );
    assert!(matches!(
        refused.unwrap_err(),
        Rejection::KeyNotInForce { .. }
    ));
}

#[test]
fn after_a_key_was_added_only_the_new_key_signs() {
    let mut log = Log::new();
    let next = SigningKey::from_seed([10; 32]);
    log.control(Control::KeyAdd(next.public())).unwrap();
    assert!(matches!(
        log.data(FIRST_TICK, &[1]),
        Err(Rejection::KeyNotInForce { .. })
    ));
    let old_id = std::mem::replace(&mut log.key, next).public().key_id();
    log.data(FIRST_TICK, &[1]).unwrap();
    let revoked = |origin: &Origin, key_id| {
        let statement = Statement::Revocation(Revocation {
            origin: origin.clone(),
            key_id,
            since_s: 1_767_225_600,
            reason: "lost".into(),
        });
        Control::from(Signed::sign(statement, &SigningKey::from_seed([11; 32])).unwrap())
    };
    let origin = log.chain.origin().clone();
    log.control(revoked(&origin, old_id)).unwrap();
    let in_force = log.key.public().key_id();
    let refused = log.control(revoked(&origin, in_force));
    assert_eq!(refused.unwrap_err(), Rejection::Revocation);
}

#[test]
fn entries_without_a_time_are_placed_by_the_clock_event_of_their_boot_and_no_other() {
    let mut log = Log::new();
    log.data(FIRST_TICK, &[1, 2]).unwrap();
    log.boot = Boot {
        counter: 2,
        id: [2; 8],
        monotonic_ms: 0,
    };
    log.clock = ClockReading {
        unix_ms: 3_000,
        status: ClockStatus::Unset,
        error_ms: 0,
    };
    let unplaced = log.data(FIRST_TICK + 2, &[3]).unwrap();
    assert_eq!(unplaced.segment.unwrap().start_ms(), None);
    log.boot = Boot {
        counter: 3,
        id: [3; 8],
        monotonic_ms: 0,
    };
    log.data(FIRST_TICK + 3, &[4]).unwrap();
    let from = log.chain.size() - 1;
    log.clock = ClockReading {
        unix_ms: FIRST_TICK * 1000 + 500_000,
        status: ClockStatus::Ntp,
        error_ms: 5,
    };
    assert_eq!(
        log.data(FIRST_TICK + 4, &[5]).unwrap_err(),
        Rejection::TimeWithoutClockEvent
    );
    let event = |from| {
        Control::Clock(ClockEvent {
            source: ClockStatus::Ntp,
            error_ms: 5,
            shifts: vec![(0, 490)],
            placed: vec![Placed {
                stream: 0,
                from,
                to: from,
                shift: 490,
            }],
            note: "first time".into(),
        })
    };
    assert!(matches!(
        log.control(event(from - 1)),
        Err(Rejection::ClockEvent(_))
    ));
    log.control(event(from)).unwrap();
    let placed = log.data(FIRST_TICK + 4, &[5]).unwrap();
    assert_eq!(
        placed.segment.unwrap().start_ms(),
        Some(i64::try_from((FIRST_TICK + 494) * 1000).unwrap())
    );
}

#[test]
fn a_sample_without_a_value_must_repeat_its_predecessor_and_never_counts() {
    let mut log = Log::new();
    let missed = Exception {
        sample: 1,
        quality: Quality::TIMEOUT,
        aux: 0,
    };
    let (body, payload) = data(FIRST_TICK, &[5, 5, 6], vec![missed]);
    let segment = log.add(body, payload).unwrap().segment.unwrap();
    assert_eq!(segment.columns[0].quality(1), Quality::TIMEOUT);
    assert_eq!(segment.columns[0].quality(2), Quality::GOOD);
    let wrong = Chunk {
        point: 0,
        offsets_ms: None,
        column: Column::Ints(vec![5, 7, 6]),
        exceptions: vec![missed],
    };
    assert_eq!(wrong.encode(), Err(ChunkError::NotFilled(1)));
}

#[test]
fn a_snapshot_continues_exactly_where_the_chain_stood() {
    let mut log = Log::new();
    log.data(FIRST_TICK, &[1, 2]).unwrap();
    let bytes = log.chain.encode();
    let restored = Chain::decode(&bytes).unwrap();
    assert_eq!(restored.encode(), bytes);
    log.chain = restored;
    log.data(FIRST_TICK + 2, &[3]).unwrap();
    for end in 0..bytes.len() {
        assert!(Chain::decode(&bytes[..end]).is_err());
    }
}

#[test]
fn reading_begins_in_the_middle_with_the_control_entries_alone() {
    let mut log = Log::new();
    log.data(FIRST_TICK, &[1, 2]).unwrap();
    let at = log.chain.range().clone();
    log.data(FIRST_TICK + 2, &[3, 4]).unwrap();
    let controls = [0, 1].map(|index: usize| (log.leaves[index].0.as_slice(), None));
    let mut resumed = Chain::resume(log.chain.origin().clone(), at, controls).unwrap();
    let (entry, payload) = &log.leaves[3];
    resumed.apply(entry, Some(payload)).unwrap();
    assert_eq!(resumed.root(), log.chain.root());
    let without_genesis = Chain::resume(log.chain.origin().clone(), resumed.range().clone(), []);
    assert_eq!(without_genesis.unwrap_err(), (0, Rejection::Genesis));
}

#[test]
fn a_long_configuration_is_a_payload_and_still_read_first() {
    let mut log = Log::new();
    let mut long = table();
    long.points
        .extend((0..120).map(|i| point(&format!("energy of feeder {i}"), "u32", "1", 0)));
    assert!(long.encode().len() > evidence::entry::MOST_INLINE_BODY);
    let (body, payload) = Control::Config(long.clone().into()).into_body();
    let entry = log.entry(body.clone());
    assert_eq!(
        log.chain.apply(&entry, None).unwrap_err(),
        Rejection::PayloadMissing
    );
    log.add(body, payload).unwrap();
    assert_eq!(log.chain.config().unwrap().config, long.into());
}

#[test]
fn a_lost_payload_is_remembered_until_its_loss_is_declared() {
    let mut log = Log::new();
    for tick in 0..4 {
        let (body, _payload) = data(FIRST_TICK + tick, &[1], vec![]);
        let entry = log.entry(body);
        log.chain.apply(&entry, None).unwrap();
    }
    assert_eq!(log.chain.undeclared_absent(), [(2, 5)]);
    log.control(Control::Dropped {
        from: 3,
        to: 4,
        reason: "storage".into(),
    })
    .unwrap();
    assert_eq!(log.chain.undeclared_absent(), [(2, 2), (5, 5)]);
    let refused = log.control(Control::Dropped {
        from: 3,
        to: 99,
        reason: "storage".into(),
    });
    assert_eq!(refused.unwrap_err(), Rejection::DroppedRange);
}

#[test]
fn a_data_entry_takes_a_few_hundred_bytes_of_deterministic_cbor() {
    let log = Log::new();
    let entry = log.entry(data(FIRST_TICK, &[1, 2], vec![]).0);
    assert!((230..=330).contains(&entry.len()), "{}", entry.len());
    assert!(
        evidence::cbor::validate(&entry[1..]).is_ok(),
        "behind the tag stands nothing but the subset"
    );
}

#[test]
fn no_entry_is_placed_twice_and_no_few_bytes_unfold_without_bound() {
    let mut log = Log::new();
    log.clock.status = ClockStatus::Unset;
    for tick in 0..4 {
        log.data(FIRST_TICK + tick, &[1]).unwrap();
    }
    log.clock.status = ClockStatus::Ntp;
    let event = |ranges: &[(u64, u64)]| {
        let placed = ranges
            .iter()
            .map(|&(from, to)| Placed {
                stream: 0,
                from,
                to,
                shift: 7,
            })
            .collect();
        Control::Clock(ClockEvent {
            source: ClockStatus::Ntp,
            error_ms: 5,
            shifts: vec![(0, 7)],
            placed,
            note: String::new(),
        })
    };
    for wrong in [
        &[(2, 5), (2, 5)][..],
        &[(2, 4), (4, 5)],
        &[(4, 5), (2, 3)],
        &[(5, 6)],
        &[(3, 2)],
    ] {
        assert!(
            matches!(log.control(event(wrong)), Err(Rejection::ClockEvent(_))),
            "{wrong:?}"
        );
    }
    log.control(event(&[(2, 3), (4, 5)])).unwrap();

    let (mut body, _) = data(FIRST_TICK + 4, &[1], vec![]);
    if let Body::Data { ticks, payload } = &mut body {
        (ticks.count, payload.chunks, payload.bytes) = (3_600, 2_000, 40_000);
    }
    let entry = log.entry(body.clone());
    assert_eq!(
        log.chain.apply(&entry, None).unwrap_err(),
        Rejection::SegmentShape
    );
    if let Body::Data { ticks, payload } = &mut body {
        (ticks.count, payload.chunks, payload.bytes) = (1, 2, (1 << 25) + 1);
    }
    let entry = log.entry(body);
    assert!(matches!(
        log.chain.apply(&entry, None),
        Err(Rejection::Malformed(_))
    ));
}

#[test]
fn a_declaration_over_what_does_not_exist_yet_is_refused_in_the_middle_of_a_log_too() {
    let mut log = Log::new();
    log.data(FIRST_TICK, &[1]).unwrap();
    let body = Control::Dropped {
        from: 2,
        to: 9,
        reason: "storage".into(),
    }
    .into_body()
    .0;
    let early = log.entry(body);
    let controls = [0, 1].map(|index: usize| (log.leaves[index].0.as_slice(), None));
    let controls = controls.into_iter().chain([(early.as_slice(), None)]);
    let mut range = log.chain.range().clone();
    range.append(&evidence::hash::leaf_hash(&early));
    let refused = Chain::resume(log.chain.origin().clone(), range, controls);
    assert!(matches!(refused.unwrap_err().1, Rejection::DroppedRange));
}
