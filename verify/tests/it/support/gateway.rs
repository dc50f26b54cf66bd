//! A gateway that seals what it is told, with the chain as its own judge.

use evidence::chain::Chain;
use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::chunk::{Chunk, Column, Exception, payload};
use evidence::control::{ClockEvent, Control, Genesis, Placed};
use evidence::cosignature::cosign;
use evidence::decimal::Decimal;
use evidence::entry::{
    Body, Boot, ClockReading, ClockStatus, Freshness, FreshnessKind, GapReason, Ticks,
};
use evidence::hash::{Hash, Origin, sha256};
use evidence::key::SigningKey;
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::merkle::{CompactRange, LeafHashes, inclusion_proof};
use evidence::note::{SignatureKind, Vkey};
use evidence::quality::Quality;
use evidence::value::{Format, Kind, Order};

/// A witness.
#[derive(Debug)]
pub(crate) struct Cosigner {
    pub(crate) name: &'static str,
    pub(crate) key: SigningKey,
}

impl Cosigner {
    pub(crate) fn new(name: &'static str, seed: u8) -> Self {
        Self {
            name,
            key: SigningKey::from_seed([seed; 32]),
        }
    }

    pub(crate) fn vkey(&self) -> Vkey {
        Vkey::new(self.name, SignatureKind::Cosignature, self.key.public()).unwrap()
    }
}

/// A sealed entry.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) entry: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) control: Option<Control>,
}

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) origin: Origin,
    pub(crate) log_key: SigningKey,
    entry_key: SigningKey,
    pub(crate) first_seed: u8,
    next_seed: u8,
    pub(crate) chain: Chain,
    pub(crate) rows: Vec<Row>,
    pub(crate) leaves: Vec<Hash>,
    /// Roots by size.
    pub(crate) roots: Vec<Hash>,
    pub(crate) boot: Boot,
    pub(crate) now_ms: i64,
    pub(crate) status: ClockStatus,
    pin: Option<Freshness>,
    /// Cosigned notes, oldest first.
    pub(crate) trail: Vec<Vec<u8>>,
    /// Id, tick length and ticks of a segment of each stream.
    streams: [(u16, u32, u64); 3],
    /// How often it seals.
    step_ms: i64,
}

/// The streams of every gateway here: id, tick length, ticks of a segment.
pub(crate) const STREAMS: [(u16, u32, u64); 3] =
    [(0, 10_000, 60), (1, 60_000, 30), (2, 10_000, 60)];

impl Gateway {
    pub(crate) fn new(origin: &str, seed: u8, now_ms: i64) -> Self {
        Self::with_streams(origin, seed, now_ms, STREAMS, 600_000)
    }

    pub(crate) fn with_streams(
        origin: &str,
        seed: u8,
        now_ms: i64,
        streams: [(u16, u32, u64); 3],
        step_ms: i64,
    ) -> Self {
        let origin = Origin::parse(origin).unwrap();
        let mut gateway = Self {
            chain: Chain::new(origin.clone()),
            origin,
            log_key: SigningKey::from_seed([seed; 32]),
            entry_key: SigningKey::from_seed([seed + 1; 32]),
            first_seed: seed,
            next_seed: seed + 2,
            rows: Vec::new(),
            leaves: Vec::new(),
            roots: vec![CompactRange::new().root()],
            boot: Boot {
                counter: 1,
                id: [seed; 8],
                monotonic_ms: 1_000,
            },
            now_ms,
            status: ClockStatus::Ntp,
            pin: None,
            trail: Vec::new(),
            streams,
            step_ms,
        };
        let genesis = Genesis {
            origin: gateway.origin.to_string(),
            log_key: gateway.log_key.public(),
            entry_key: gateway.entry_key.public(),
            software: "test".to_owned(),
        };
        gateway.control(Control::Genesis(genesis));
        gateway
    }

    pub(crate) fn vkey(&self) -> Vkey {
        log_vkey(&self.origin, &self.log_key.public())
    }

    pub(crate) fn size(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap()
    }

    pub(crate) fn control(&mut self, control: Control) {
        let (body, bytes) = control.clone().into_body();
        self.seal(body, bytes);
        self.rows.last_mut().unwrap().control = Some(control);
    }

    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut MeasurementConfig)) {
        let mut config = table(self.now_ms, self.streams);
        for stream in &mut config.streams {
            if let Some(state) = self.chain.stream(stream.id) {
                stream.first_tick = state.next_tick.unwrap();
            }
        }
        change(&mut config);
        self.control(Control::Config(config.into()));
    }

    pub(crate) fn rotate(&mut self) {
        let next = SigningKey::from_seed([self.next_seed; 32]);
        self.next_seed += 1;
        self.control(Control::KeyAdd(next.public()));
        self.entry_key = next;
    }

    fn seal(&mut self, body: Body, payload: Vec<u8>) {
        let clock = ClockReading {
            unix_ms: u64::try_from(self.now_ms).unwrap(),
            status: self.status,
            error_ms: 5,
        };
        self.boot.monotonic_ms += 50;
        let entry = self
            .chain
            .next_entry(self.boot, clock, self.pin, body)
            .sign(&self.origin, &self.entry_key);
        let applied = self.chain.apply(&entry, Some(&payload)).unwrap();
        self.leaves.push(applied.leaf);
        self.roots.push(self.chain.root());
        self.rows.push(Row {
            entry,
            payload,
            control: None,
        });
    }

    pub(crate) fn next_tick(&self, stream: u16) -> u64 {
        self.chain.stream(stream).unwrap().next_tick.unwrap()
    }

    /// Seals the next `count` ticks of a stream with made-up samples.
    pub(crate) fn data(&mut self, stream: u16, count: u64) {
        let ticks = Ticks {
            stream,
            first: self.next_tick(stream),
            count,
        };
        let config = std::sync::Arc::clone(self.chain.config().unwrap());
        let chunks: Vec<Chunk> = config
            .config
            .points_of(stream)
            .map(|(index, point)| chunk(index, point, ticks))
            .collect();
        let (bytes, payload) = payload(&chunks).unwrap();
        self.seal(Body::Data { ticks, payload }, bytes);
    }

    pub(crate) fn gap(&mut self, stream: u16, count: u64, reason: GapReason) {
        let ticks = Ticks {
            stream,
            first: self.next_tick(stream),
            count,
        };
        self.seal(
            Body::Gap {
                ticks,
                reason,
                text: Some("for a test".to_owned()),
            },
            Vec::new(),
        );
    }

    /// Samples all streams until `until_ms`, segment by segment, with a key a day and a note an hour.
    pub(crate) fn sample(&mut self, until_ms: i64, witnesses: &[Cosigner]) {
        let mut next = self.now_ms;
        while next < until_ms {
            next += self.step_ms;
            self.now_ms = next;
            self.boot.monotonic_ms += u64::try_from(self.step_ms).unwrap();
            for (stream, tick_ms, segment) in self.streams {
                let state = *self.chain.stream(stream).unwrap();
                let end = (next / i64::from(tick_ms)) - state.shift;
                while i64::try_from(self.next_tick(stream) + segment).unwrap() <= end {
                    self.data(stream, segment);
                }
            }
            if next % 3_600_000 == 0 {
                let by: Vec<&Cosigner> = witnesses
                    .iter()
                    .filter(|witness| witness.name.ends_with("w0") || next % 7_200_000 == 0)
                    .collect();
                self.cosign(next / 1000 + 20, &by);
                self.pin_newest();
            }
            if next.rem_euclid(86_400_000) == 0 {
                self.rotate();
            }
        }
    }

    /// A new boot; without a time when `status` says so.
    pub(crate) fn reboot(&mut self, status: ClockStatus) {
        self.boot = Boot {
            counter: self.boot.counter + 1,
            id: [self.boot.id[0] + 16; 8],
            monotonic_ms: 10,
        };
        self.status = status;
        self.pin = None;
    }

    /// Time is known: streams continue now, and the ranges get a shift.
    pub(crate) fn clock_event(&mut self, placed: Vec<Placed>) {
        self.status = ClockStatus::Ntp;
        let now_ms = self.now_ms;
        let shifts = self
            .chain
            .streams()
            .filter(|(_, state)| state.active)
            .map(|(id, state)| {
                let next = i64::try_from(state.next_tick.unwrap()).unwrap();
                (id, now_ms / i64::from(state.tick_ms) - next)
            })
            .collect();
        let event = ClockEvent {
            source: ClockStatus::Ntp,
            error_ms: 8,
            shifts,
            placed,
            note: "NTP answered".to_owned(),
        };
        self.control(Control::Clock(event));
    }

    /// The checkpoint of now, cosigned; kept as a trail note.
    pub(crate) fn cosign(&mut self, unix_s: i64, witnesses: &[&Cosigner]) -> Vec<u8> {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: self.size(),
            root: self.chain.root(),
        };
        let mut note = sign_checkpoint(&checkpoint, &self.log_key);
        for witness in witnesses {
            note.signatures.push(cosign(
                &note.text,
                witness.name,
                &witness.key,
                u64::try_from(unix_s).unwrap(),
            ));
        }
        let bytes = note.to_bytes();
        self.trail.push(bytes.clone());
        bytes
    }

    pub(crate) fn pin_newest(&mut self) {
        self.pin = self.trail.last().map(|note| Freshness {
            kind: FreshnessKind::CosignedNote,
            hash: sha256(note),
        });
    }

    /// The tree before entry `first`.
    pub(crate) fn range(&self, first: u64) -> CompactRange {
        let mut range = CompactRange::new();
        for leaf in self.leaves.iter().take(usize::try_from(first).unwrap()) {
            range.append(leaf);
        }
        range
    }

    pub(crate) fn proof(&self, index: u64, size: u64) -> Vec<Hash> {
        let leaves = &self.leaves[..usize::try_from(size).unwrap()];
        let Ok(proof) = inclusion_proof(&mut LeafHashes(leaves), index, size);
        proof
    }
}

/// Three streams: two polled, one of messages; every codec and several formats.
fn table(now_ms: i64, streams: [(u16, u32, u64); 3]) -> MeasurementConfig {
    let tick = |tick_ms: u32| u64::try_from(now_ms).unwrap() / u64::from(tick_ms);
    let streams = streams
        .map(|(id, tick_ms, _)| Stream {
            id,
            tick_ms,
            first_tick: tick(tick_ms),
            messages: id == 2,
        })
        .to_vec();
    let device = |name: &str, protocol: &str| Device {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        unit_id: Some(1),
        template: Some(("meter".to_owned(), sha256(b"template"))),
        path: "meter".to_owned(),
    };
    let decimal = |text: &str| Decimal::parse(text).unwrap();
    let point = |name: &str, stream, kind, format, scale: &str, decimals, unit: &str| Point {
        name: name.to_owned(),
        stream,
        device: u16::from(stream == 2),
        source: if stream == 2 {
            Source::Message {
                topic: format!("site/{name}"),
                pointer: Some("/value".to_owned()),
            }
        } else {
            let format = Format::from_names(format, "ABCD").unwrap();
            Source::Modbus {
                table: Table::Holding,
                address: 100,
                words: format.words(),
            }
        },
        format: Format::from_names(format, "ABCD").unwrap(),
        scale: decimal(scale),
        offset: decimal("0"),
        decimals,
        unit: unit.to_owned(),
        kind,
        sentinels: Vec::new(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: (stream == 2).then_some(3_600),
    };
    let mut points = vec![
        point(
            "export.energy",
            0,
            PointKind::Register,
            "u32",
            "0.01",
            2,
            "kWh",
        ),
        point("site.power", 0, PointKind::Instant, "f32", "1", 3, "kW"),
        point("noise", 0, PointKind::Instant, "u64", "1", 0, "1"),
        point("breaker", 0, PointKind::Instant, "bit3", "1", 0, "1"),
        point("digits", 0, PointKind::Register, "bcd32", "1", 0, "kWh"),
        point("aux.power", 1, PointKind::Instant, "i16", "0.1", 1, "kW"),
        point("deep.power", 1, PointKind::Instant, "f64", "1", 6, "kW"),
        point("temperature", 2, PointKind::Instant, "number", "1", 2, "1"),
    ];
    points[5].sentinels = vec![-32_768];
    points[5].max = Some(Decimal::parse("100").unwrap());
    points[4].format = Format {
        kind: Kind::Bcd32,
        order: Order::Cdab,
    };
    MeasurementConfig {
        streams,
        devices: vec![device("meter", "modbus-tcp"), device("broker", "mqtt")],
        points,
    }
}

fn exceptions(codes: &[(u16, u8)]) -> Vec<Exception> {
    codes
        .iter()
        .map(|(sample, code)| Exception {
            sample: *sample,
            quality: Quality::from_code(*code).unwrap(),
            aux: if *code == 2 { 6 } else { 0 },
        })
        .collect()
}

/// Made-up samples, a function of point and ticks alone.
fn chunk(index: u16, point: &Point, ticks: Ticks) -> Chunk {
    let seeds: Vec<i64> = (ticks.first..ticks.end())
        .map(|tick| i64::try_from(tick % 1_000_000).unwrap())
        .collect();
    let mix = |seed: i64| (seed * 7_919 + i64::from(index) * 104_729).rem_euclid(10_007);
    let mut records = Vec::new();
    let mut values: Vec<i64> = match point.format.kind {
        Kind::U32 => seeds
            .iter()
            .map(|seed| seed * 12 + mix(*seed) % 3)
            .collect(),
        Kind::F32 => seeds
            .iter()
            .map(|seed| {
                i64::from(
                    (500.0 + f32::from(i16::try_from(mix(*seed) % 1_000).unwrap()) / 7.0).to_bits(),
                )
            })
            .collect(),
        Kind::F64 => seeds
            .iter()
            .map(|seed| {
                (500.0 + f64::from(i32::try_from(mix(*seed)).unwrap()) / 13.0)
                    .to_bits()
                    .cast_signed()
            })
            .collect(),
        // Every other segment has a jump that codec 1 cannot pack.
        Kind::U64 if ticks.first.is_multiple_of(120) => seeds
            .iter()
            .map(|seed| {
                if seed % 2 == 0 {
                    i64::MIN / 3
                } else {
                    i64::MAX / 3
                }
            })
            .collect(),
        Kind::Bit(_) => seeds.iter().map(|seed| mix(*seed) % 16).collect(),
        Kind::Bcd32 => seeds
            .iter()
            .map(|seed| i64::from_str_radix(&(seed % 100_000).to_string(), 16).unwrap())
            .collect(),
        Kind::I16 => seeds.iter().map(|seed| mix(*seed) % 900 - 20).collect(),
        _ => seeds.iter().map(|seed| mix(*seed)).collect(),
    };
    if point.format.kind == Kind::Number {
        return messages(index, ticks, &values);
    }
    match point.name.as_str() {
        // Mostly tenths; tens, hundredths (off the grid), not available, beyond what there is.
        "aux.factor" => {
            let factors = [0, 1, -2, -32_768, 11];
            let factor = |seed: &i64| usize::try_from(mix(*seed) % 40).unwrap();
            values = seeds
                .iter()
                .map(|seed| factors.get(factor(seed)).copied().unwrap_or(-1))
                .collect();
            records = exceptions(&[(5, 40)]);
        }
        // A signalling NaN now and then, which is not the one that is declared.
        "aux.nan" => {
            for value in values.iter_mut().step_by(7) {
                *value = 0x7FA0_0001;
            }
        }
        "aux.serial" => {
            let text = if ticks.first % 120 < 60 {
                b"SN-00042"
            } else {
                b"SN-00043"
            };
            let texts = vec![text.to_vec(); seeds.len()];
            return Chunk {
                point: index,
                offsets_ms: None,
                column: Column::Texts(texts),
                exceptions: exceptions(&[(2, 1)]),
            };
        }
        _ => {}
    }
    if point.name == "aux.power" && ticks.count > 12 {
        records = exceptions(&[(3, 1), (4, 2), (7, 34), (7, 39)]);
        for sample in [3, 4] {
            values[sample] = values[sample - 1];
        }
        values[10] = -32_768; // the device's own "not available"
        values[12] = 1_500; // beyond the plausible range
    }
    Chunk {
        point: index,
        offsets_ms: None,
        column: Column::Ints(values),
        exceptions: records,
    }
}

fn messages(index: u16, ticks: Ticks, values: &[i64]) -> Chunk {
    let turn = ticks.first / ticks.count % 4;
    let last = u32::try_from(ticks.count).unwrap() * 10_000 - 1;
    let numbers = |count: usize| Column::Ints(values.iter().take(count).copied().collect());
    let (column, offsets, records) = match turn {
        0 => (numbers(0), vec![], vec![]),
        1 => (numbers(3), vec![0, last / 5, last], vec![]),
        2 => {
            let texts = ["12.25", "1.23456", "-3e1"]
                .map(|text| text.as_bytes().to_vec())
                .to_vec();
            (
                Column::Texts(texts),
                vec![5, 5, last / 2],
                exceptions(&[(1, 43)]),
            )
        }
        _ => (numbers(2), vec![last / 4, last / 4], exceptions(&[(0, 42)])),
    };
    Chunk {
        point: index,
        offsets_ms: Some(offsets),
        column,
        exceptions: records,
    }
}
