//! The synthetic site: 20 noisy u16, 10 noisy float32, 8 totalisers, 6 slow and 6 status points, 60 s segments.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use evidence::bundle::{BundleWriter, ControlPart, LogParts};
use evidence::chain::Chain;
use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::chunk::{Chunk, Column, payload};
use evidence::control::{Control, Genesis};
use evidence::cosignature::cosign;
use evidence::decimal::Decimal;
use evidence::entry::{Body, Boot, ClockReading, ClockStatus, Freshness, FreshnessKind, Ticks};
use evidence::hash::{Hash, Origin, sha256};
use evidence::key::SigningKey;
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::merkle::{CompactRange, NodeReader, inclusion_proof};
use evidence::note::{SignatureKind, Vkey};
use evidence::value::Format;

/// 2026-01-01T00:00:00Z.
const START_MS: u64 = 1_767_225_600_000;
const SEGMENT: u64 = 60;
const MINUTES_A_DAY: u64 = 1_440;
const WITNESSES: [(&str, u8); 2] = [("collector.example/w0", 90), ("registry.example/w1", 91)];

pub(crate) struct Made {
    pub(crate) entries: u64,
    pub(crate) readings: u64,
    pub(crate) bytes: u64,
}

/// First and last day of the period.
pub(crate) fn days(count: u32) -> (String, String) {
    const LENGTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut month, mut day) = (0, count.clamp(1, 365));
    while day > LENGTHS[month] {
        day -= LENGTHS[month];
        month += 1;
    }
    (
        "2026-01-01".to_owned(),
        format!("2026-{:02}-{day:02}", month + 1),
    )
}

/// Complete subtrees by level, as a collector keeps them.
#[derive(Default)]
struct Nodes(Vec<Vec<Hash>>);

impl NodeReader for Nodes {
    type Error = std::convert::Infallible;

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        Ok(self.0[usize::from(level)][usize::try_from(index).unwrap()])
    }
}

struct Log {
    origin: Origin,
    log_key: SigningKey,
    entry_key: SigningKey,
    chain: Chain,
    range: CompactRange,
    nodes: Nodes,
    controls: Vec<ControlPart>,
    trail: Vec<Vec<u8>>,
    boot: Boot,
    now_ms: u64,
    pin: Option<Freshness>,
    entries: BufWriter<File>,
    entries_bytes: u64,
}

impl Log {
    fn seal(&mut self, body: Body) {
        let clock = ClockReading {
            unix_ms: self.now_ms,
            status: ClockStatus::Ntp,
            error_ms: 3,
        };
        self.boot.monotonic_ms = self.now_ms - START_MS + 1_000;
        let entry = self.chain.next_entry(self.boot, clock, self.pin, body);
        let control = matches!(entry.body, Body::Control { .. });
        let bytes = entry.sign(&self.origin, &self.entry_key);
        let step = self.chain.advance(&bytes, None).unwrap();
        let nodes = &mut self.nodes.0;
        self.range.append_each(&step.leaf, |level, _, hash| {
            let level = usize::from(level);
            if nodes.len() <= level {
                nodes.resize_with(level + 1, Vec::new);
            }
            nodes[level].push(*hash);
        });
        if control {
            self.controls.push(ControlPart {
                index: entry.index,
                entry: bytes.clone(),
                proof: vec![],
                body: None,
            });
        }
        self.entries
            .write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes())
            .unwrap();
        self.entries.write_all(&bytes).unwrap();
        self.entries_bytes += u64::try_from(bytes.len()).unwrap() + 2;
    }

    fn cosign(&mut self, independent: bool) -> Vec<u8> {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: self.chain.size(),
            root: self.chain.root(),
        };
        let mut note = sign_checkpoint(&checkpoint, &self.log_key);
        for (name, seed) in WITNESSES.iter().take(1 + usize::from(independent)) {
            note.signatures.push(cosign(
                &note.text,
                name,
                &SigningKey::from_seed([*seed; 32]),
                self.now_ms / 1000 + 1,
            ));
        }
        let bytes = note.to_bytes();
        self.trail.push(bytes.clone());
        bytes
    }
}

/// Writes `bundle.tar`, `plan.toml` and `ours.policy`.
pub(crate) fn write(dir: &Path, days: u32) -> Made {
    let origin = Origin::parse("example.com/gw/0001").unwrap();
    let (log_key, entry_key) = (
        SigningKey::from_seed([1; 32]),
        SigningKey::from_seed([2; 32]),
    );
    let anchor = log_vkey(&origin, &log_key.public());
    let mut log = Log {
        chain: Chain::new(origin.clone()),
        range: CompactRange::new(),
        nodes: Nodes::default(),
        controls: Vec::new(),
        trail: Vec::new(),
        boot: Boot {
            counter: 1,
            id: [1; 8],
            monotonic_ms: 0,
        },
        now_ms: START_MS,
        pin: None,
        entries: BufWriter::new(File::create(dir.join("entries.tmp")).unwrap()),
        entries_bytes: 0,
        origin,
        log_key,
        entry_key,
    };
    let config = table();
    let genesis = Genesis {
        origin: log.origin.to_string(),
        log_key: log.log_key.public(),
        entry_key: log.entry_key.public(),
        software: "synthetic".to_owned(),
    };
    log.seal(Control::Genesis(genesis).into_body().0);
    log.seal(Control::Config(config.clone().into()).into_body().0);
    let mut payloads = BufWriter::new(File::create(dir.join("payload.tmp")).unwrap());
    let mut payload_bytes = 0;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut totals = [0_i64; 8];
    let minutes = u64::from(days) * MINUTES_A_DAY;
    for minute in 0..minutes {
        let ticks = Ticks {
            stream: 0,
            first: START_MS / 1000 + minute * SEGMENT,
            count: SEGMENT,
        };
        let chunks: Vec<Chunk> = config
            .points_of(0)
            .map(|(index, _)| chunk(index, minute, &mut noise, &mut totals))
            .collect();
        let (bytes, signed) = payload(&chunks).unwrap();
        payloads.write_all(&bytes).unwrap();
        payload_bytes += signed.bytes;
        log.now_ms = START_MS + (minute + 1) * 60_000;
        log.seal(Body::Data {
            ticks,
            payload: signed,
        });
        if (minute + 1).is_multiple_of(60) {
            let note = log.cosign(true);
            log.pin = Some(Freshness {
                kind: FreshnessKind::CosignedNote,
                hash: sha256(&note),
            });
        }
        if (minute + 1).is_multiple_of(MINUTES_A_DAY) && minute + 1 < minutes {
            let mut seed = [3; 32];
            seed[..8].copy_from_slice(&minute.to_be_bytes());
            let next = SigningKey::from_seed(seed);
            log.seal(Control::KeyAdd(next.public()).into_body().0);
            log.entry_key = next;
        }
    }
    let checkpoint = log.cosign(true);
    log.entries.flush().unwrap();
    payloads.flush().unwrap();
    let size = log.chain.size();
    for control in &mut log.controls {
        let Ok(proof) = inclusion_proof(&mut log.nodes, control.index, size);
        control.proof = proof;
    }
    let plan = plan(&anchor.to_string());
    text(&dir.join("plan.toml"), &plan);
    let mut policy = String::new();
    for (number, (name, seed)) in WITNESSES.iter().enumerate() {
        let key = Vkey::new(
            name,
            SignatureKind::Cosignature,
            SigningKey::from_seed([*seed; 32]).public(),
        )
        .unwrap();
        writeln!(policy, "witness W{number} {key}").unwrap();
    }
    policy.push_str("group all all W0 W1\nquorum all\n");
    text(&dir.join("ours.policy"), &policy);
    let parts = LogParts {
        timestamps: Vec::new(),
        origin: log.origin,
        checkpoint,
        start: CompactRange::new(),
        controls: log.controls,
        trail: log.trail,
        entries_bytes: log.entries_bytes,
        payload_bytes,
        disclosure: evidence::bundle::Disclosure::All,
    };
    let out = BufWriter::with_capacity(1 << 20, File::create(dir.join("bundle.tar")).unwrap());
    let mut writer = BundleWriter::begin(out, plan.as_bytes(), None).unwrap();
    writer.log(&parts).unwrap();
    let mut entries = BufReader::new(File::open(dir.join("entries.tmp")).unwrap());
    for _ in 0..size {
        let mut length = [0; 2];
        entries.read_exact(&mut length).unwrap();
        let mut entry = vec![0; usize::from(u16::from_be_bytes(length))];
        entries.read_exact(&mut entry).unwrap();
        writer.entry(&entry).unwrap();
    }
    let mut payloads = File::open(dir.join("payload.tmp")).unwrap();
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = payloads.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        writer.payload(&piece[..count]).unwrap();
    }
    let file = writer.finish().unwrap().into_inner().unwrap();
    let bytes = file.metadata().unwrap().len();
    for name in ["entries.tmp", "payload.tmp"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    Made {
        entries: size,
        readings: minutes * SEGMENT * 50,
        bytes,
    }
}

fn text(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: u64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 % limit).unwrap()
    }
}

fn chunk(index: u16, minute: u64, noise: &mut Noise, totals: &mut [i64; 8]) -> Chunk {
    let slow = i64::try_from(minute / 15 % 400).unwrap();
    let values = (0..SEGMENT).map(|_| match index {
        0..20 => 5_000 + slow + noise.below(24),
        20..30 => i64::from(
            (400.0_f32 + f32::from(u16::try_from(noise.below(4_000)).unwrap()) / 16_384.0)
                .to_bits(),
        ),
        30..38 => {
            let total = &mut totals[usize::from(index - 30)];
            *total += 3 + noise.below(4);
            *total
        }
        38..44 => slow,
        _ => 1,
    });
    Chunk {
        point: index,
        offsets_ms: None,
        column: Column::Ints(values.collect()),
        exceptions: Vec::new(),
    }
}

fn table() -> MeasurementConfig {
    let point = |index: u16| {
        let (kind, format, scale, decimals, unit) = match index {
            0..20 => (PointKind::Instant, "u16", "0.1", 1, "kW"),
            20..30 => (PointKind::Instant, "f32", "1", 4, "1"),
            30..38 => (PointKind::Register, "u32", "0.001", 3, "kWh"),
            38..44 => (PointKind::Instant, "i16", "0.1", 1, "kW"),
            _ => (PointKind::Instant, "bit0", "1", 0, "1"),
        };
        Point {
            name: format!("p{index}"),
            stream: 0,
            device: 0,
            source: Source::Modbus {
                table: Table::Holding,
                address: index * 2,
                words: Format::from_names(format, "ABCD").unwrap().words(),
            },
            format: Format::from_names(format, "ABCD").unwrap(),
            scale: Decimal::parse(scale).unwrap(),
            offset: Decimal::parse("0").unwrap(),
            decimals,
            unit: unit.to_owned(),
            kind,
            sentinels: Vec::new(),
            scale_from: None,
            min: None,
            max: None,
            max_step_per_s: None,
            stale_after_s: None,
        }
    };
    let device = Device {
        name: "meters".to_owned(),
        protocol: "modbus-tcp".to_owned(),
        unit_id: Some(1),
        template: None,
        path: "meter".to_owned(),
    };
    MeasurementConfig {
        streams: vec![Stream {
            id: 0,
            tick_ms: 1_000,
            first_tick: START_MS / 1000,
            messages: false,
        }],
        devices: vec![device],
        points: (0..50).map(point).collect(),
    }
}

/// Eight energy totalisers earn, one power transducer costs.
fn plan(anchor: &str) -> String {
    let mut text = format!(
        "state = \"demo\"\nmethodology = \"grid_solar\"\nreporting_zone = \"UTC\"\n\n\
         [project]\nid = \"B\"\nname = \"synthetic\"\ncountry = \"Indonesia\"\n\n\
         [rounding]\nper = \"vintage\"\nsource = \"example\"\n\n\
         [[logs]]\norigin = \"example.com/gw/0001\"\nanchor = \"{anchor}\"\n"
    );
    let mut point = |number: usize,
                     parameter: &str,
                     index: usize,
                     unit: &str,
                     aggregation: &str| {
        write!(
            text,
            "\n[[points]]\nnumber = \"MP-{number}\"\n{parameter}\nsources = [{{ log = \"example.com/gw/0001\", point = \"p{index}\" }}]\n\
             unit = \"{unit}\"\naggregation = \"{aggregation}\"\n"
        )
        .unwrap();
    };
    for meter in 0..8 {
        point(
            meter,
            &format!("parameter = \"EG\"\nmember = \"m{meter}\""),
            30 + meter,
            "kWh",
            "increase",
        );
    }
    point(9, "parameter = \"EC_aux\"", 0, "kW", "integral");
    for name in ["EF_RE", "EF_BaU", "EF_grid"] {
        write!(text, "\n[[fixed]]\nparameter = \"{name}\"\nvalue = \"0.8\"\nunit = \"tCO2/MWh\"\nsource = \"example\"\n").unwrap();
    }
    for name in ["fuel", "DF"] {
        write!(
            text,
            "\n[[neutral]]\nname = \"{name}\"\njustification = \"none\"\n"
        )
        .unwrap();
    }
    text
}
