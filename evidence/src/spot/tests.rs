use std::sync::Arc;

use super::{NO_SAMPLE, Paths, Raw, SpotError, SpotProof, TableProof, USUAL_BYTES};
use crate::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use crate::chunk::{Chunk, Column, Exception, payload};
use crate::control::Control;
use crate::cosignature::cosign;
use crate::decimal::Decimal;
use crate::entry::{Body, Boot, ClockReading, ClockStatus, Entry, Freshness, FreshnessKind, Ticks};
use crate::hash::{Hash, Origin, leaf_hash};
use crate::key::SigningKey;
use crate::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use crate::merkle::{CompactRange, LeafHashes, inclusion_proof};
use crate::note::{Note, SignatureKind, Vkey};
use crate::policy::Policy;
use crate::quality::Quality;
use crate::segment::ConfigInForce;
use crate::value::Format;

/// Three streams' entries of a year and more.
const BEFORE: u64 = 1_700_003;
const POINTS: u16 = 50;

struct Bed {
    origin: Origin,
    log: SigningKey,
    policy: Policy,
}

fn bed() -> Bed {
    let witness = |name, seed| {
        let key = SigningKey::from_seed([seed; 32]);
        Vkey::new(name, SignatureKind::Cosignature, key.public()).unwrap()
    };
    let policy = format!(
        "witness W0 {}\nwitness W1 {}\ngroup both all W0 W1\nquorum both\n",
        witness("collector.example", 11),
        witness("registry.example/w1", 12)
    );
    Bed {
        origin: Origin::parse("example.com/gw/0001").unwrap(),
        log: SigningKey::from_seed([1; 32]),
        policy: Policy::parse(&policy).unwrap(),
    }
}

impl Bed {
    fn anchor(&self) -> Vkey {
        log_vkey(&self.origin, &self.log.public())
    }

    fn entry(&self, index: u64, control: (u64, Hash), body: Body) -> Vec<u8> {
        let entry = Entry {
            index,
            previous: Hash([8; 32]),
            control: Some(control),
            freshness: Some(Freshness {
                kind: FreshnessKind::CosignedNote,
                hash: Hash([9; 32]),
            }),
            boot: Boot {
                counter: 12,
                id: [7; 8],
                monotonic_ms: 4_000_000_000,
            },
            clock: ClockReading {
                unix_ms: 1_767_542_400_000,
                status: ClockStatus::Ntp,
                error_ms: 40,
            },
            body,
        };
        entry.sign(&self.origin, &SigningKey::from_seed([2; 32]))
    }

    fn note(&self, size: u64, root: Hash, witnesses: &[(&str, u8)]) -> Note {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size,
            root,
        };
        let mut note = sign_checkpoint(&checkpoint, &self.log);
        for (name, seed) in witnesses {
            let key = SigningKey::from_seed([*seed; 32]);
            let line = cosign(&note.text, name, &key, 1_767_546_000);
            note.signatures.push(line);
        }
        note
    }
}

const BOTH: &[(&str, u8)] = &[("collector.example", 11), ("registry.example/w1", 12)];

fn table() -> MeasurementConfig {
    let point = |number: u16| Point {
        name: format!("p{number}"),
        stream: 0,
        device: 0,
        source: Source::Modbus {
            table: Table::Holding,
            address: number * 2,
            words: 2,
        },
        format: Format::from_names("u32", "ABCD").unwrap(),
        kind: PointKind::Register,
        scale: Decimal::parse("0.01").unwrap(),
        offset: Decimal::ZERO,
        unit: "kWh".to_owned(),
        decimals: 2,
        sentinels: Vec::new(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    };
    MeasurementConfig {
        streams: vec![Stream {
            id: 0,
            tick_ms: 1_000,
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
        points: (0..POINTS).map(point).collect(),
    }
}

/// A table entry and a noisy minute of 50 points late in a long log, with the proofs of both.
fn proofs(bed: &Bed, witnesses: &[(&str, u8)]) -> (SpotProof, TableProof) {
    let (body, bytes) = Control::Config(table().into()).into_body();
    let config = bed.entry(BEFORE, (0, Hash([3; 32])), body);
    let pin = (BEFORE, leaf_hash(&config));
    let ticks = Ticks {
        stream: 0,
        first: 1_767_542_400,
        count: 60,
    };
    let chunks: Vec<Chunk> = (0..POINTS)
        .map(|point| Chunk {
            point,
            offsets_ms: None,
            column: Column::Ints((0..60).map(|i| i * i * 65_003 % 12_582_917).collect()),
            exceptions: vec![],
        })
        .map(|mut chunk| {
            if chunk.point == 7 {
                chunk.exceptions = vec![Exception {
                    sample: 3,
                    quality: Quality::from_code(34).unwrap(),
                    aux: 0,
                }];
            }
            chunk
        })
        .collect();
    let encoded: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.encode().unwrap()).collect();
    let (_, signed) = payload(&chunks).unwrap();
    let entry = bed.entry(
        BEFORE + 1,
        pin,
        Body::Data {
            ticks,
            payload: signed,
        },
    );
    let ones = usize::try_from(BEFORE.count_ones()).unwrap();
    let start = CompactRange::from_parts(BEFORE, vec![Hash([5; 32]); ones]).unwrap();
    let mut paths = Paths::new(start, [BEFORE, BEFORE + 1]);
    for leaf in [leaf_hash(&config), leaf_hash(&entry)] {
        paths.append(&leaf);
    }
    for other in 0..40_u8 {
        paths.append(&Hash([other; 32]));
    }
    let checkpoint = bed.note(paths.range().size(), paths.range().root(), witnesses);
    let leaves: Vec<Hash> = encoded.iter().map(|chunk| leaf_hash(chunk)).collect();
    let Ok(inner) = inclusion_proof(&mut LeafHashes(&leaves), 7, u64::from(POINTS));
    let proof = SpotProof {
        entry,
        position: 7,
        chunk: encoded[7].clone(),
        sample: 3,
        inner,
        outer: paths.path(BEFORE + 1).unwrap(),
        checkpoint: checkpoint.clone(),
    };
    let table = TableProof {
        entry: config,
        body: bytes,
        outer: paths.path(BEFORE).unwrap(),
        checkpoint,
    };
    (proof, table)
}

#[test]
fn one_reading_of_a_year_of_fifty_points_is_proven_in_less_than_2_kb() {
    let bed = bed();
    let (proof, table) = proofs(&bed, BOTH);
    let bytes = proof.to_bytes();
    assert!(bytes.len() < USUAL_BYTES, "{} bytes", bytes.len());
    let proof = SpotProof::parse(&bytes).unwrap();
    assert_eq!(proof.to_bytes(), bytes);
    let reading = proof.verify(&bed.anchor(), &bed.policy).unwrap();
    assert_eq!(reading.raw, Raw::Number(9 * 65_003));
    assert_eq!((reading.index, reading.point), (BEFORE + 1, 7));
    assert_eq!(reading.tick, 1_767_542_403);
    assert_eq!(reading.said[0].quality.code(), 34);
    assert_eq!(reading.cosigned.len(), 2);
    let table = TableProof::parse(&table.to_bytes()).unwrap();
    let (config, leaf) = table.verify(&bed.anchor(), &bed.policy).unwrap();
    let meaning = proof.meaning(&reading, &config, &leaf).unwrap();
    assert_eq!((meaning.name.as_str(), meaning.pinned), ("p7", true));
    assert_eq!((meaning.value, meaning.quality.code()), (None, 34));
    let mut next = proof;
    next.sample = 4;
    let reading = next.verify(&bed.anchor(), &bed.policy).unwrap();
    let meaning = next.meaning(&reading, &config, &leaf).unwrap();
    assert_eq!((meaning.value, meaning.decimals), (Some(16 * 65_003), 2));
}

#[test]
fn no_byte_of_a_proof_can_be_changed_but_the_number_of_the_sample_it_is_about() {
    let bed = bed();
    let (proof, table) = proofs(&bed, BOTH);
    let good = proof.to_bytes();
    let sample = 20 + 2 + proof.entry.len() + 4 + 4 + proof.chunk.len();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let judged = SpotProof::parse(&bytes).and_then(|p| p.verify(&bed.anchor(), &bed.policy));
        let same_chunk = judged.as_ref().is_ok_and(|reading| reading.point == 7);
        assert!(
            judged.is_err() || same_chunk && at == sample + 1,
            "byte {at}"
        );
    }
    for end in 0..good.len() {
        let judged =
            SpotProof::parse(&good[..end]).and_then(|p| p.verify(&bed.anchor(), &bed.policy));
        assert!(judged.is_err(), "cut at {end}");
    }
    let good = table.to_bytes();
    for at in (0..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        let judged = TableProof::parse(&bytes).and_then(|p| p.verify(&bed.anchor(), &bed.policy));
        assert!(judged.is_err(), "byte {at} of the table");
    }
}

#[test]
fn each_broken_link_of_a_proof_has_its_code() {
    let bed = bed();
    let (proof, table) = proofs(&bed, BOTH);
    let code = |change: &dyn Fn(&mut SpotProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        changed
            .verify(&bed.anchor(), &bed.policy)
            .map_err(|error| error.code())
    };
    assert_eq!(
        code(&|p| p.checkpoint.text = p.checkpoint.text.replace("0001", "0002")),
        Err("S02")
    );
    assert_eq!(code(&|p| p.entry[3] = 0), Err("S04"));
    assert_eq!(code(&|p| p.outer[2] = Hash([0; 32])), Err("S05"));
    assert_eq!(code(&|p| p.position = 8), Err("S06"));
    assert_eq!(code(&|p| p.position = u32::MAX), Err("S06"));
    assert_eq!(code(&|p| p.sample = 60), Err("S07"));
    assert_eq!(code(&|p| p.sample = NO_SAMPLE), Err("S07"));
    let (alone, _) = proofs(&bed, &BOTH[..1]);
    let refused = alone.verify(&bed.anchor(), &bed.policy).unwrap_err();
    assert!(
        matches!(&refused, SpotError::Quorum { found, .. } if found == "W0"),
        "{refused}"
    );
    assert_eq!(refused.code(), "S03");
    let other = log_vkey(&bed.origin, &SigningKey::from_seed([77; 32]).public());
    assert_eq!(proof.verify(&other, &bed.policy).unwrap_err().code(), "S02");
    assert_eq!(
        SpotProof::parse(&table.to_bytes()).unwrap_err().code(),
        "S01"
    );
    let reading = proof.verify(&bed.anchor(), &bed.policy).unwrap();
    let later = Arc::new(ConfigInForce::new(crate::spot::tests::table(), BEFORE + 9));
    let refused = proof.meaning(&reading, &later, &Hash([0; 32])).unwrap_err();
    assert_eq!(refused.code(), "S08");
    let earlier = ConfigInForce::new(crate::spot::tests::table(), 5);
    let meaning = proof.meaning(&reading, &earlier, &Hash([0; 32])).unwrap();
    assert!(!meaning.pinned, "another entry was sealed in between");
}
