//! A gateway's log made by hand: genesis, configuration, segments of a small plant, all through
//! `evidence`, so that everything in it verifies.

use std::collections::BTreeMap;

use evidence::aggregate;
use evidence::chain::{Applied, Chain};
use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::chunk::{self, Chunk, Column, Exception};
use evidence::control::{ClockEvent, Control, Genesis, Placed};
use evidence::cosignature::cosign;
use evidence::decimal::Decimal;
use evidence::entry::{Body, Boot, ClockReading, ClockStatus, GapReason, Ticks};
use evidence::hash::Origin;
use evidence::key::SigningKey;
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::quality::Quality;
use evidence::value::Format;
use store::{
    Append, Appended, Enrol, Enrolled, EnrolmentCode, Hour, HourKey, LogId, LogRef, NewRow,
    Placement, Segment, Store,
};

/// Who cosigns.
pub(crate) const WITNESS: &str = "collector.example";
pub(crate) const ORIGIN: &str = "example.com/gw/0001";
/// Milliseconds between readings.
pub(crate) const TICK_MS: u32 = 10_000;
/// Ticks in a segment.
pub(crate) const SEGMENT: u64 = 6;

/// The log of one gateway, as its own side sees it, and what of it is in the store.
pub(crate) struct Plant {
    chain: Chain,
    entry_key: SigningKey,
    log_key: SigningKey,
    witness: SigningKey,
    boot: Boot,
    clock: ClockReading,
    pub(crate) at: LogRef,
    rows: Vec<NewRow>,
    hours: Vec<Hour>,
    placements: Vec<Placement>,
    /// The next tick of the stream.
    pub(crate) tick: u64,
    stored: u64,
}

fn point(name: &str, kind: &str, scale: &str, decimals: u8, unit: &str, of: PointKind) -> Point {
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
        unit: unit.to_owned(),
        kind: of,
        sentinels: vec![],
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    }
}

/// Names, in the order of the configuration.
pub(crate) const POINTS: [&str; 3] = ["export.energy", "aux.power", "ambient.temperature"];

pub(crate) fn table(first_tick: u64) -> MeasurementConfig {
    MeasurementConfig {
        streams: vec![Stream {
            id: 0,
            tick_ms: TICK_MS,
            first_tick,
            messages: false,
        }],
        devices: vec![Device {
            name: "revenue-meter".into(),
            protocol: "modbus-tcp".into(),
            unit_id: Some(1),
            template: None,
            path: "meter".into(),
        }],
        points: vec![
            point(POINTS[0], "u32", "0.1", 1, "kWh", PointKind::Register),
            point(POINTS[1], "u16", "0.01", 2, "kW", PointKind::Instant),
            point(POINTS[2], "i16", "0.1", 1, "°C", PointKind::Instant),
        ],
    }
}

/// What the meters show at a tick: a register that goes up by 2.5 kWh, a load, a temperature.
pub(crate) fn samples(tick: u64) -> [i64; 3] {
    let n = i64::try_from(tick % 1_000_000).unwrap();
    [25 * n, 1200 + n % 50, -35 + n % 7]
}

impl Plant {
    /// Makes the gateway and enters its log into the store, at the site of this name.
    pub(crate) async fn enrol(store: &Store, site: &str, origin: &str, start_ms: i64) -> Self {
        let tick = u64::try_from(start_ms).unwrap() / u64::from(TICK_MS);
        let site = store.create_site(site, start_ms).await.unwrap().id;
        let parsed = Origin::parse(origin).unwrap();
        // One key belongs to one log.
        let seed = |what: &str| evidence::hash::sha256(format!("{what} {origin}").as_bytes()).0;
        let mut plant = Self {
            chain: Chain::new(parsed.clone()),
            entry_key: SigningKey::from_seed(seed("entry")),
            log_key: SigningKey::from_seed(seed("log")),
            witness: SigningKey::from_seed([9; 32]),
            boot: Boot {
                counter: 1,
                id: [1; 8],
                monotonic_ms: 0,
            },
            clock: ClockReading {
                unix_ms: u64::try_from(start_ms).unwrap(),
                status: ClockStatus::Ntp,
                error_ms: 5,
            },
            at: LogRef {
                site,
                log: LogId::of_origin(origin),
            },
            rows: Vec::new(),
            hours: Vec::new(),
            placements: Vec::new(),
            tick,
            stored: 0,
        };
        let genesis = Genesis {
            origin: origin.to_owned(),
            log_key: plant.log_key.public(),
            entry_key: plant.entry_key.public(),
            software: "test".to_owned(),
        };
        plant.control(Control::Genesis(genesis));
        plant.control(Control::Config(table(tick).into()));
        let code = EnrolmentCode {
            id: origin.to_owned(),
            site,
            secret: vec![1],
            created_ms: start_ms,
            expires_ms: i64::MAX,
            used: None,
        };
        store.create_code(&code).await.unwrap();
        let enrol = Enrol {
            code_id: origin.to_owned(),
            origin: origin.to_owned(),
            log_key: *plant.log_key.public().bytes(),
            log_vkey: plant.vkey(),
            token: seed("token"),
            genesis: plant.append(start_ms, true),
        };
        assert_eq!(store.enrol(&enrol).await.unwrap(), Enrolled::New(plant.at));
        plant
    }

    /// The anchor, as the registered document has it.
    pub(crate) fn vkey(&self) -> String {
        log_vkey(self.chain.origin(), &self.log_key.public()).to_string()
    }

    pub(crate) fn size(&self) -> u64 {
        self.chain.size()
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    fn add(&mut self, body: Body, payload: Vec<u8>, kind: u16) -> Applied {
        let next = self.chain.next_entry(self.boot, self.clock, None, body);
        let entry = next.sign(self.chain.origin(), &self.entry_key);
        let index = self.chain.size();
        let applied = self.chain.apply(&entry, Some(&payload)).unwrap();
        let segment = applied.entry.ticks().map(|ticks| {
            let time = |tick: u64| {
                applied
                    .shift
                    .map(|s| (i64::try_from(tick).unwrap() + s) * i64::from(TICK_MS))
            };
            Segment {
                stream: ticks.stream,
                first_tick: ticks.first,
                ticks: ticks.count,
                time_ms: time(ticks.first).zip(time(ticks.end())),
            }
        });
        for (key, hour) in applied.segment.iter().flat_map(aggregate::aggregate) {
            self.hours.push(Hour {
                key: HourKey {
                    stream: key.stream,
                    point: key.point,
                    hour: key.hour_ms / 3_600_000,
                    config: key.config_index,
                },
                data: hour.encode(),
            });
        }
        self.rows.push(NewRow {
            index,
            leaf: applied.leaf.0,
            kind,
            entry,
            payload: (!payload.is_empty()).then_some(payload),
            segment,
        });
        applied
    }

    pub(crate) fn control(&mut self, control: Control) {
        let kind = u16::try_from(control.kind()).unwrap();
        let (body, payload) = control.into_body();
        self.add(body, payload, 100 + kind);
    }

    /// Seals `count` segments of readings; `missing` names the quality of single samples, by tick.
    pub(crate) fn measure(&mut self, count: u64, missing: &BTreeMap<u64, Quality>) {
        for _ in 0..count {
            let ticks = Ticks {
                stream: 0,
                first: self.tick,
                count: SEGMENT,
            };
            let mut exceptions = Vec::new();
            for (sample, tick) in (0_u16..).zip(ticks.first..ticks.end()) {
                exceptions.extend(missing.get(&tick).map(|quality| Exception {
                    sample,
                    quality: *quality,
                    aux: 2,
                }));
            }
            let column = |position: usize| {
                let present = (ticks.first..ticks.end())
                    .map(|tick| (!missing.contains_key(&tick)).then(|| samples(tick)[position]));
                Column::Ints(chunk::fill_missing(&present.collect::<Vec<_>>()))
            };
            let chunks: Vec<Chunk> = (0_u16..3)
                .map(|point| Chunk {
                    point,
                    offsets_ms: None,
                    column: column(usize::from(point)),
                    exceptions: exceptions.clone(),
                })
                .collect();
            let (bytes, payload) = chunk::payload(&chunks).unwrap();
            self.add(Body::Data { ticks, payload }, bytes, 1);
            self.tick += SEGMENT;
        }
    }

    /// Seals a gap of so many ticks.
    pub(crate) fn pause(&mut self, ticks: u64) {
        let body = Body::Gap {
            ticks: Ticks {
                stream: 0,
                first: self.tick,
                count: ticks,
            },
            reason: GapReason::Power,
            text: Some("mains failed".to_owned()),
        };
        self.add(body, Vec::new(), 2);
        self.tick += ticks;
    }

    /// Another boot that does not know the time; returns the first index sealed in it.
    pub(crate) fn reboot_without_clock(&mut self) -> u64 {
        self.boot = Boot {
            counter: 2,
            id: [2; 8],
            monotonic_ms: 0,
        };
        self.clock = ClockReading {
            unix_ms: 0,
            status: ClockStatus::Unset,
            error_ms: 0,
        };
        self.chain.size()
    }

    /// The time is found: everything since `first` was `shift` ticks later than the axis says.
    pub(crate) fn set_clock(&mut self, first: u64, shift: i64) {
        let ticks = self.tick.checked_add_signed(shift).unwrap();
        self.clock = ClockReading {
            unix_ms: ticks * u64::from(TICK_MS),
            status: ClockStatus::Ntp,
            error_ms: 5,
        };
        let placed = Placed {
            stream: 0,
            from: first,
            to: self.chain.size() - 1,
            shift,
        };
        self.placements.push(Placement {
            stream: 0,
            from_index: placed.from,
            to_index: placed.to,
            shift,
            tick_ms: TICK_MS,
        });
        self.control(Control::Clock(ClockEvent {
            source: ClockStatus::Ntp,
            error_ms: 5,
            shifts: vec![(0, shift)],
            placed: vec![placed],
            note: "first time".to_owned(),
        }));
    }

    /// The unix time of the next tick.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.tick * u64::from(TICK_MS)).unwrap()
    }

    fn append(&mut self, now_ms: i64, trail: bool) -> Append {
        let checkpoint = Checkpoint {
            origin: self.chain.origin().clone(),
            size: self.chain.size(),
            root: self.chain.root(),
        };
        let mut note = sign_checkpoint(&checkpoint, &self.log_key);
        let second = u64::try_from(now_ms / 1000).unwrap();
        let cosignature = cosign(&note.text, WITNESS, &self.witness, second);
        note.signatures.push(cosignature);
        let old_size = std::mem::replace(&mut self.stored, self.chain.size());
        Append {
            log: self.at,
            old_size,
            new_size: self.chain.size(),
            new_root: self.chain.root().0,
            chain: self.chain.encode(),
            rows: std::mem::take(&mut self.rows),
            hours: std::mem::take(&mut self.hours),
            replaced: Vec::new(),
            merge,
            placements: std::mem::take(&mut self.placements),
            note: note.to_bytes(),
            cosigned_s: second,
            trail,
            now_ms,
        }
    }

    /// Changes one byte of a sealed payload that is not stored yet, as a damaged store would.
    pub(crate) fn spoil_payload(&mut self, index: u64) {
        let row = self.rows.iter_mut().find(|row| row.index == index).unwrap();
        let payload = row.payload.as_mut().unwrap();
        let last = payload.last_mut().unwrap();
        *last ^= 1;
    }

    /// Stores what was sealed since, cosigned at a moment.
    pub(crate) async fn upload(&mut self, store: &Store, now_ms: i64) {
        let append = self.append(now_ms, true);
        let size = append.new_size;
        assert_eq!(store.append(&append).await.unwrap(), Appended::At(size));
    }
}

fn merge(stored: &[u8], later: &[u8]) -> Result<Vec<u8>, String> {
    let read = |bytes| aggregate::HourAggregate::decode(bytes).map_err(|error| error.to_string());
    let mut merged = read(stored)?;
    merged.merge(&read(later)?);
    Ok(merged.encode())
}
