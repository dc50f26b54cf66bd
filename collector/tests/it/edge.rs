//! A gateway made by hand: it signs what a real one signs, and lies where a test wants it to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use collector::Ack;
use collector::code::Code;
use evidence::chain::Chain;
use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::chunk::{self, Chunk, Column};
use evidence::control::{Control, Genesis};
use evidence::decimal::Decimal;
use evidence::entry::{Body, Boot, ClockReading, ClockStatus, Ticks};
use evidence::hash::{Hash, Origin};
use evidence::key::SigningKey;
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::value::Format;
use evidence::wire::{Record, Upload};
use reqwest::Response;
use serde_json::{Value, json};

use crate::bed::{Bed, NOW, Serving};

/// The tick at [`NOW`]; one second long.
pub(crate) const FIRST_TICK: u64 = NOW.unsigned_abs() / 1000;

pub(crate) struct Edge {
    pub(crate) chain: Chain,
    pub(crate) log_key: SigningKey,
    pub(crate) key: SigningKey,
    pub(crate) boot: Boot,
    pub(crate) clock: ClockReading,
    /// Every entry with its payload, as sealed.
    pub(crate) entries: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) next_tick: u64,
    pub(crate) token: String,
}

impl Edge {
    /// A gateway with its genesis entry, not enrolled yet.
    pub(crate) fn new(origin: &str) -> Self {
        let unix_ms = NOW.unsigned_abs();
        let mut edge = Self {
            chain: Chain::new(Origin::parse(origin).unwrap()),
            log_key: SigningKey::from_seed([8; 32]),
            key: SigningKey::from_seed([7; 32]),
            boot: Boot {
                counter: 1,
                id: [1; 8],
                monotonic_ms: 0,
            },
            clock: ClockReading {
                unix_ms,
                status: ClockStatus::Ntp,
                error_ms: 5,
            },
            entries: Vec::new(),
            next_tick: FIRST_TICK,
            token: String::new(),
        };
        edge.seal_control(Control::Genesis(edge.genesis()));
        edge
    }

    pub(crate) fn genesis(&self) -> Genesis {
        Genesis {
            origin: self.chain.origin().as_str().to_owned(),
            log_key: self.log_key.public(),
            entry_key: self.key.public(),
            software: "made by hand".to_owned(),
        }
    }

    /// A gateway of this bed, enrolled, with its configuration sealed (not sent).
    pub(crate) async fn enrolled(bed: &Bed, serving: &Serving) -> Self {
        let mut edge = Self::new(&format!("example.com/{}", bed.unique));
        let response = edge.enrol(serving, &bed.code().await).await;
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        answer["token"]
            .as_str()
            .unwrap()
            .clone_into(&mut edge.token);
        assert_eq!(answer["log_id"], edge.id());
        assert_eq!(answer["witness_vkey"], bed.witness.to_string());
        edge.seal_control(Control::Config(table().into()));
        edge
    }

    pub(crate) fn id(&self) -> String {
        self.chain.origin().id().to_hex()
    }

    pub(crate) fn log(&self) -> store::LogId {
        store::LogId(self.chain.origin().id().0)
    }

    pub(crate) fn enrolment(&self, code: &Code) -> Value {
        let entry0 = &self.entries[0].0;
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &code.secret);
        let vkey = log_vkey(self.chain.origin(), &self.log_key.public());
        json!({
            "code_id": code.id_text(),
            "entry0": STANDARD.encode(entry0),
            "checkpoint": String::from_utf8(self.note_at(1)).unwrap(),
            "mac": hex::encode(ring::hmac::sign(&key, entry0)),
            "log_vkey": vkey.to_string(),
        })
    }

    pub(crate) async fn enrol(&self, serving: &Serving, code: &Code) -> Response {
        serving
            .post("/v1/enrol")
            .json(&self.enrolment(code))
            .send()
            .await
            .unwrap()
    }

    /// The root at a size, from the leaves.
    pub(crate) fn root_at(&self, size: usize) -> Hash {
        let leaf = |(entry, _): &(Vec<u8>, Vec<u8>)| evidence::hash::leaf_hash(entry);
        let leaves: Vec<Hash> = self.entries[..size].iter().map(leaf).collect();
        evidence::hash::root_of(&leaves)
    }

    pub(crate) fn note_at(&self, size: usize) -> Vec<u8> {
        self.note_of(size as u64, self.root_at(size))
    }

    pub(crate) fn note_of(&self, size: u64, root: Hash) -> Vec<u8> {
        let checkpoint = Checkpoint {
            origin: self.chain.origin().clone(),
            size,
            root,
        };
        sign_checkpoint(&checkpoint, &self.log_key).to_bytes()
    }

    pub(crate) fn seal(&mut self, body: Body, payload: Vec<u8>) {
        let entry = self.chain.next_entry(self.boot, self.clock, None, body);
        let bytes = entry.sign(self.chain.origin(), &self.key);
        self.chain.apply(&bytes, Some(&payload)).unwrap();
        self.entries.push((bytes, payload));
    }

    pub(crate) fn seal_control(&mut self, control: Control) {
        let (body, payload) = control.into_body();
        self.seal(body, payload);
    }

    /// Seals the next segment: one register, these values, one a second.
    pub(crate) fn seal_data(&mut self, values: &[i64]) {
        let count = values.len() as u64;
        let ticks = Ticks {
            stream: 0,
            first: self.next_tick,
            count,
        };
        let column = Column::Ints(values.to_vec());
        let chunk = Chunk {
            point: 0,
            offsets_ms: None,
            column,
            exceptions: Vec::new(),
        };
        let (bytes, payload) = chunk::payload(&[chunk]).unwrap();
        self.seal(Body::Data { ticks, payload }, bytes);
        self.next_tick += count;
    }

    /// The upload of `[from, to)`, with the checkpoint of `to`.
    pub(crate) fn upload(&self, from: usize, to: usize) -> Vec<u8> {
        self.upload_with(from, to, &self.note_at(to))
    }

    pub(crate) fn upload_with(&self, from: usize, to: usize, note: &[u8]) -> Vec<u8> {
        let records = self.entries[from..to]
            .iter()
            .map(|(entry, payload)| Record {
                entry,
                payload: Some(payload),
            })
            .collect();
        Upload {
            old: from as u64,
            note,
            records,
        }
        .encode()
        .unwrap()
    }

    pub(crate) async fn send(&self, serving: &Serving, upload: Vec<u8>) -> Response {
        let post = serving.post(&format!("/v1/logs/{}/entries", self.id()));
        post.bearer_auth(&self.token)
            .body(upload)
            .send()
            .await
            .unwrap()
    }

    /// Sends `[from, to)` and expects the acknowledgement.
    pub(crate) async fn deliver(&self, serving: &Serving, from: usize, to: usize) -> Ack {
        let response = self.send(serving, self.upload(from, to)).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// One stream of one-second ticks, one register.
pub(crate) fn table() -> MeasurementConfig {
    let format = Format::from_names("u32", "ABCD").unwrap();
    MeasurementConfig {
        streams: vec![Stream {
            id: 0,
            tick_ms: 1000,
            first_tick: FIRST_TICK,
            messages: false,
        }],
        devices: vec![Device {
            name: "meter-1".to_owned(),
            protocol: "modbus-tcp".to_owned(),
            unit_id: Some(1),
            template: None,
            path: "meter".to_owned(),
        }],
        points: vec![Point {
            name: "energy".to_owned(),
            stream: 0,
            device: 0,
            source: Source::Modbus {
                table: Table::Holding,
                address: 0,
                words: format.words(),
            },
            format,
            scale: Decimal::parse("0.01").unwrap(),
            offset: Decimal::ZERO,
            decimals: 2,
            unit: "kWh".to_owned(),
            kind: PointKind::Register,
            sentinels: Vec::new(),
            scale_from: None,
            min: None,
            max: None,
            max_step_per_s: None,
            stale_after_s: None,
        }],
    }
}
