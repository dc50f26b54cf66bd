//! What every decoder must bear that faces a wire or a file: any bytes whatever.
//!
//! Each target takes bytes as they might come from a line, a client, a disk or a stranger's bundle.
//! It must return: no panic, no endless loop, no memory beyond its bounds. Where a format has exactly
//! one encoding, what is accepted must also be what the writer writes. [`TARGETS`] is the one list;
//! `tests/fuzz_targets.rs` runs all of it over [`seeds`] and their mutations with every test run, and
//! as long as one likes with `FIELDSEAL_FUZZ_ROUNDS`. Each body is what a coverage-guided fuzzer wants.

pub mod centre;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use evidence::aggregate::HourAggregate;
use evidence::bundle::{self, Bundle};
use evidence::chain::Chain;
use evidence::checkpoint::Checkpoint;
use evidence::chunk::Chunk;
use evidence::control::Control;
use evidence::decimal::Decimal;
use evidence::entry::{Body, ControlBody, Entry};
use evidence::hash::Origin;
use evidence::measurement::{MeasurementConfig, Point, PointKind, Source, Table};
use evidence::note::{Note, Vkey};
use evidence::policy::Policy;
use evidence::project::{Kind as RecordKind, ProjectLog, Record};
use evidence::proof::TlogProof;
use evidence::tiles;
use evidence::timestamp;
use evidence::value::{Decoder as Value, Format, Kind, Order};
use evidence::wire::Upload;
use evidence::witness;
use gateway::config::{GatewayConfig, Network, Template};
use gateway::enrol::EnrolmentCode;
use gateway::journal::PackedSamples;
use gateway::modbus::frame::{Answer, Request};
use gateway::modbus::listen::decoder::{Decoder, Event, Timing};
use gateway::modbus::listen::rtu;
use gateway::modbus::{mbap, rtu as modbus_rtu};
use gateway::mqtt::payload::Payload;
use gateway::plan::Span;
use gateway::proxy::request::{self, HEADER, Header};
use gateway::sample::PointSample;
use gateway::sunspec::Walk;
use tokio::time::Instant;

/// The keys of the format's worked example of a tree.
const LOG_KEY: &str = "example.com/gw/0001+6bd98662+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const WITNESS_KEY: &str =
    "witness.example.org/w1+6d7ef907+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";

/// A target: bytes in, nothing out.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 36] = [
    ("entry", fuzz_entry),
    ("chunk", fuzz_chunk),
    ("measurement", fuzz_measurement),
    ("control", fuzz_control),
    ("project_log", fuzz_project_log),
    ("note", fuzz_note),
    ("checkpoint", fuzz_checkpoint),
    ("vkey", fuzz_vkey),
    ("policy", fuzz_policy),
    ("proof", fuzz_proof),
    ("bundle", fuzz_bundle),
    ("upload", fuzz_upload),
    ("add_checkpoint", fuzz_add_checkpoint),
    ("witness_answer", fuzz_witness_answer),
    ("timestamp", fuzz_timestamp),
    ("tiles", fuzz_tiles),
    ("aggregate", fuzz_aggregate),
    ("snapshot", fuzz_snapshot),
    ("decimal", fuzz_decimal),
    ("config", fuzz_config),
    ("template", fuzz_template),
    ("mbap_answer", fuzz_mbap_answer),
    ("rtu_answer", fuzz_rtu_answer),
    ("sunspec", fuzz_sunspec),
    ("listen", fuzz_listen),
    ("proxy_request", fuzz_proxy_request),
    ("payload", fuzz_payload),
    ("registers", fuzz_registers),
    ("journal", fuzz_journal),
    ("enrolment_code", fuzz_enrolment_code),
    ("cbor", centre::fuzz_cbor),
    ("segment", centre::fuzz_segment),
    ("plan", centre::fuzz_plan),
    ("methodology", centre::fuzz_methodology),
    ("report", centre::fuzz_report),
    ("centre_config", centre::fuzz_centre_config),
];

/// A signed entry.
pub fn fuzz_entry(bytes: &[u8]) {
    drop(Entry::parse(bytes));
}

/// A column chunk: one encoding.
pub fn fuzz_chunk(bytes: &[u8]) {
    if let Ok((chunk, used)) = Chunk::decode(bytes) {
        assert_eq!(
            chunk.encode().as_deref(),
            Ok(&bytes[..used]),
            "one encoding"
        );
    }
}

/// The measurement table, which is CBOR: one encoding.
pub fn fuzz_measurement(bytes: &[u8]) {
    if let Ok(config) = MeasurementConfig::decode(bytes) {
        assert_eq!(config.encode(), bytes, "one encoding");
    }
}

/// A control body; the first byte is its kind: one encoding.
pub fn fuzz_control(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    if let Ok(control) = Control::decode(u64::from(*kind), body) {
        assert_eq!(control.encode(), body, "one encoding");
    }
}

/// A record's body behind its kind, and an entry behind the genesis of a project log.
pub fn fuzz_project_log(bytes: &[u8]) {
    static BEGUN: LazyLock<ProjectLog> = LazyLock::new(|| {
        let origin = Origin::parse("example.com/project/ID009").expect("an origin");
        let mut log = ProjectLog::new(origin);
        log.apply(&project_example(0), None).expect("the genesis");
        log
    });

    if let Some((kind, body)) = bytes.split_first()
        && let Some(kind) = RecordKind::from_number(u64::from(*kind))
        && let Ok(record) = Record::decode(kind, body)
    {
        assert_eq!(record.encode(), body, "one encoding");
    }
    let mut log = BEGUN.clone();
    if log.apply(bytes, None).is_ok() {
        assert_eq!(log.size(), 2, "taken in");
    }
}

/// An entry of the worked example of a project log.
fn project_example(number: usize) -> Vec<u8> {
    let format = include_str!("../../evidence/FORMAT.md");
    let block = format.split(&format!("```text project {number}\n")).nth(1);
    let digits = block.and_then(|rest| rest.split("```").next());
    let digits: String = digits.unwrap_or_default().split_whitespace().collect();
    hex::decode(digits).unwrap_or_default()
}

/// A signed note: one encoding.
pub fn fuzz_note(bytes: &[u8]) {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_bytes(), bytes, "one encoding");
    }
}

/// The text of a checkpoint.
pub fn fuzz_checkpoint(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Checkpoint::parse_body(text));
        drop(Origin::parse(text));
    }
}

/// A verifier key.
pub fn fuzz_vkey(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(vkey) = Vkey::parse(text)
    {
        assert_eq!(vkey.to_string(), text, "one encoding");
    }
}

/// A witness policy file.
pub fn fuzz_policy(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Policy::parse(text));
    }
}

/// A transparency proof file: one encoding.
pub fn fuzz_proof(bytes: &[u8]) {
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_bytes(), bytes, "one encoding");
    }
}

/// A bundle's archive, and the small files in it.
pub fn fuzz_bundle(bytes: &[u8]) {
    drop(Bundle::read(&bytes.to_vec()));
    drop(bundle::parse_range_start(bytes));
}

/// What a gateway uploads: one encoding.
pub fn fuzz_upload(bytes: &[u8]) {
    if let Ok(upload) = Upload::decode(bytes) {
        assert_eq!(upload.encode().as_deref(), Ok(bytes), "one encoding");
    }
}

/// What a witness is asked: one encoding, and a decision whatever is held.
pub fn fuzz_add_checkpoint(bytes: &[u8]) {
    let Ok(request) = witness::Request::parse(bytes) else {
        return;
    };
    assert_eq!(request.to_bytes(), bytes, "one encoding");
    let key = Vkey::parse(LOG_KEY).expect("the log of the worked example");
    if let Ok(authentic) = request.authenticate(&[key]) {
        // Never cosigned: whatever the log signed is the first tree, if the sender says so too.
        let first = request.old == 0 && request.proof.is_empty();
        let empty = authentic.checkpoint().size == 0;
        let decided = authentic.decide(witness::Held::nothing());
        assert!(empty || decided.is_ok() == first, "{decided:?}");
    }
}

/// What a witness answers.
pub fn fuzz_witness_answer(bytes: &[u8]) {
    let key = Vkey::parse(WITNESS_KEY).expect("the witness of the worked example");
    let note = Note {
        text: "example.com/gw/0001\n".to_owned(),
        signatures: Vec::new(),
    };
    drop(witness::read_cosignature(&note, bytes, &key));
    if let Some(size) = witness::read_size(bytes) {
        assert_eq!(format!("{size}\n").as_bytes(), bytes, "one encoding");
    }
}

/// What a timestamp authority answers.
pub fn fuzz_timestamp(bytes: &[u8]) {
    if let Ok(token) = timestamp::Token::parse(bytes) {
        assert!(token.content.len() < bytes.len(), "the content is inside");
    }
}

/// Tiles, their paths and entry bundles.
pub fn fuzz_tiles(bytes: &[u8]) {
    drop(tiles::parse_tile(bytes));
    if let Ok(entries) = tiles::decode_entry_bundle(bytes) {
        assert_eq!(
            tiles::encode_entry_bundle(&entries).as_deref(),
            Ok(bytes),
            "one encoding"
        );
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(tile) = tiles::parse_tile_path(text)
    {
        assert_eq!(tile.to_string(), text, "one path");
    }
}

/// An hourly aggregate out of a database.
pub fn fuzz_aggregate(bytes: &[u8]) {
    drop(HourAggregate::decode(bytes));
}

/// A chain's state out of a database.
pub fn fuzz_snapshot(bytes: &[u8]) {
    drop(Chain::decode(bytes));
}

/// A decimal number as people and files write it.
pub fn fuzz_decimal(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(decimal) = Decimal::parse(text)
    {
        assert_eq!(
            Decimal::parse(&decimal.to_string()),
            Ok(decimal),
            "its own text"
        );
    }
}

/// A configuration file.
pub fn fuzz_config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        match GatewayConfig::parse("gateway.toml", text) {
            Ok(config) => drop(config.measurement(|_| 0)),
            Err(problems) => assert!(!problems.list.is_empty(), "a refusal says why"),
        }
        drop(Network::parse(text));
    }
}

/// A device template.
pub fn fuzz_template(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Err(problems) = Template::parse("template.toml", text)
    {
        assert!(!problems.list.is_empty(), "a refusal says why");
    }
}

/// The answer of a Modbus TCP device: what is taken has as many words as were asked for.
pub fn fuzz_mbap_answer(bytes: &[u8]) {
    for request in [question(), bits()] {
        if let Ok(Some(pdu)) = mbap::judge(request, 5, bytes) {
            fits(request, pdu);
        }
    }
}

/// The answer of a serial device, as far as it has come.
pub fn fuzz_rtu_answer(bytes: &[u8]) {
    for request in [question(), bits()] {
        for received in 0..=bytes.len().min(300) {
            if let Ok(Some(complete)) = modbus_rtu::judge(request, &bytes[..received]) {
                fits(request, complete.pdu);
            }
        }
    }
}

fn fits(request: Request, pdu: &[u8]) {
    if let Ok(Answer::Words(words)) = request.read(pdu) {
        assert_eq!(words.len(), usize::from(request.span.count));
    }
}

/// What a device answers to the search for its SunSpec map: the bytes in order, over and over.
pub fn fuzz_sunspec(bytes: &[u8]) {
    let mut walk = Walk::default();
    let mut words = bytes.chunks(2).cycle();
    let mut questions = 0;
    while let Some(span) = walk.question() {
        questions += 1;
        assert!(questions < 1_000, "the search ends");
        assert!(
            span.end() <= 65_536 && span.count <= 125,
            "{span:?} can be asked"
        );
        let answer: Option<Vec<u16>> =
            words.next().filter(|word| word != &[0xFF, 0xFF]).map(|_| {
                let take = words.by_ref().take(usize::from(span.count));
                take.map(|word| {
                    word.iter()
                        .fold(0, |word, &byte| word << 8 | u16::from(byte))
                })
                .collect()
            });
        // The map's mark, or nothing would ever be found.
        let marked = questions == 1 && bytes.first().is_some_and(|byte| byte % 2 == 0);
        let mark = [0x5375, 0x6E53];
        walk.answer(if marked {
            Some(&mark)
        } else {
            answer.as_deref()
        });
    }
    drop(walk.map());
}

/// Bytes of a line that another master polls. The first of every 24 bytes says how the next ones are
/// cut and how long they take.
pub fn fuzz_listen(bytes: &[u8]) {
    let timing = Timing::with_timeout(Duration::from_millis(300));
    let mut decoder = Decoder::new(timing, HashMap::new());
    let mut now = Instant::now();
    for piece in bytes.chunks(24) {
        let Some((how, piece)) = piece.split_first() else {
            continue;
        };
        for part in piece.chunks(usize::from(how >> 4) + 1) {
            decoder.push(part, now);
            now += Duration::from_millis(u64::from(how & 15) * 20);
        }
        decoder.advance(now);
        assert!(decoder.waiting() <= 2 * rtu::LONGEST, "bounded");
        for event in decoder.events() {
            if let Event::Pair(pair) = event
                && let Answer::Words(words) = pair.answer
            {
                assert_eq!(words.len(), usize::from(pair.request.span.count));
            }
        }
    }
}

/// A request to the proxy, and answers to what it asks.
pub fn fuzz_proxy_request(bytes: &[u8]) {
    let Some((header, pdu)) = bytes.split_first_chunk::<HEADER>() else {
        return;
    };
    let header = Header::read(*header).unwrap_or(Header {
        transaction: 1,
        unit: 1,
        pdu: 1,
    });
    match request::read(pdu) {
        Ok(span) => {
            assert!(span.end() <= 65_536, "within the address space");
            let words = vec![0x1234; usize::from(span.count)];
            let answer = request::answer(header, span, &Answer::Words(words));
            assert!(answer.len() <= 260, "a frame has at most 260 bytes");
        }
        Err(refusal) => assert_eq!(request::refusal(header, refusal).len(), HEADER + 2),
    }
}

/// A message's payload.
pub fn fuzz_payload(bytes: &[u8]) {
    for pointer in [None, Some("/value"), Some("/0/a~1b")] {
        drop(Payload::new(bytes).number(pointer));
    }
}

/// Registers as every type and order reads them: what has a raw value is written as the same words.
pub fn fuzz_registers(bytes: &[u8]) {
    let words: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]))
        .take(16)
        .collect();
    let kinds = [
        Kind::U16,
        Kind::I16,
        Kind::U32,
        Kind::I32,
        Kind::U64,
        Kind::I64,
        Kind::F32,
        Kind::F64,
        Kind::Bit(3),
        Kind::Bits { low: 2, high: 9 },
        Kind::Bcd16,
        Kind::Bcd32,
        Kind::Bcd64,
        Kind::Text,
    ];
    for kind in kinds {
        for order in [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba] {
            let format = Format { kind, order };
            if kind == Kind::Text {
                let text = format.characters(&Format::text_bytes(&words));
                assert!(!text.chars().any(char::is_control), "for people");
                continue;
            }
            for count in [1, 2, 4] {
                let Some(words) = words.get(..count) else {
                    continue;
                };
                let Some(raw) = format.raw(words) else {
                    continue;
                };
                // A bit is one of sixteen that came along.
                if !matches!(kind, Kind::Bit(_) | Kind::Bits { .. }) {
                    assert_eq!(format.wire_words(raw), words, "{kind:?} {order:?}");
                }
                let point = Point {
                    name: "p".to_owned(),
                    stream: 1,
                    device: 0,
                    source: Source::Modbus {
                        table: Table::Holding,
                        address: 0,
                        words: u8::try_from(count).unwrap_or(1),
                    },
                    format,
                    scale: Decimal::ONE,
                    offset: Decimal::ZERO,
                    decimals: 3,
                    unit: "1".to_owned(),
                    kind: PointKind::Instant,
                    sentinels: Vec::new(),
                    scale_from: Some(1),
                    min: None,
                    max: None,
                    max_step_per_s: None,
                    stale_after_s: None,
                };
                let decoder = Value::new(&point);
                black_box(decoder.value(raw)).ok();
                // A scale factor is a register as well: it may say anything.
                let exponent = Some(i64::from(words[0].cast_signed()));
                black_box(decoder.value_with(raw, |_factor| exponent)).ok();
            }
        }
    }
}

/// A row of the journal, as it is found after a crash: what is taken is its samples and no others.
pub fn fuzz_journal(bytes: &[u8]) {
    if let Some(row) = PackedSamples::from_bytes(bytes) {
        let samples = row.unpack();
        assert_eq!(row.iter().count(), samples.len());
        assert_eq!(PackedSamples::of(&samples).unpack(), samples, "its own row");
    }
}

/// An enrolment code as a person pastes it.
pub fn fuzz_enrolment_code(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(code) = EnrolmentCode::parse(text)
    {
        assert_eq!(code.id.len(), 8);
        assert_eq!(code.mac(b"entry 0").len(), 64);
    }
}

/// Well-formed bytes to begin with: every block of the format's worked examples, a configuration,
/// frames of a serial line and requests of a client.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let format = include_str!("../../evidence/FORMAT.md");
    let blocks = format.split("```text").skip(1).filter_map(|block| {
        let (_, rest) = block.split_once('\n')?;
        rest.split_once("\n```").map(|(block, _)| block)
    });
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for block in blocks {
        let digits: String = block.split_whitespace().collect();
        seeds.extend(hex::decode(digits).ok());
        seeds.push(format!("{block}\n").into_bytes());
        seeds.extend(block.lines().map(|line| line.as_bytes().to_vec()));
    }
    // The checkpoint of the worked example, as a log first shows it to a witness, and later.
    let proof = format
        .split("```\n")
        .find(|block| block.starts_with("c2sp.org/tlog-proof@v1\n"));
    let note = proof.and_then(|proof| proof.split_once("\n\n"));
    for head in [
        "old 0\n\n",
        "old 2\nZx8UbF5HHooag6PCFM5LqQe486WIjRTMjNPOdbsS75Q=\n\n",
    ] {
        seeds.extend(note.map(|(_head, note)| format!("{head}{note}").into_bytes()));
    }
    seeds.push(b"20852163\n".to_vec());
    seeds.push(include_bytes!("../../evidence/testdata/timestamp/answer.tsr").to_vec());
    // A record's body, which stands inside its entry, behind its kind.
    if let Ok(signed) = Entry::parse(&project_example(1))
        && let Body::Control {
            kind,
            body: ControlBody::Inline(body),
        } = signed.entry.body
    {
        seeds.push([&[u8::try_from(kind).unwrap_or(0)][..], &body].concat());
    }
    seeds.extend(centre::seeds());
    seeds.push(include_bytes!("../../gateway/examples/gateway.toml").to_vec());
    seeds.push(include_bytes!("../../gateway/templates/eastron-sdm630.toml").to_vec());
    let span = Span {
        table: Table::Holding,
        address: 0x6B,
        count: 3,
    };
    let question = rtu::frame(&[17, 3, 0, 0x6B, 0, 3]);
    let answer = rtu::frame(&[17, 3, 6, 2, 0x2B, 0, 0, 0, 0x64]);
    seeds.push(answer.clone());
    seeds.push(rtu::frame(&[17, 1, 3, 0xCD, 0x6B, 0x05]));
    seeds.push([&[0xF1][..], &question, &answer].concat());
    seeds.push(
        [
            &[0x3F][..],
            &question,
            &question,
            &rtu::frame(&[17, 0x83, 2]),
        ]
        .concat(),
    );
    let header = Header {
        transaction: 5,
        unit: 17,
        pdu: 5,
    };
    seeds.push(vec![0, 5, 0, 0, 0, 6, 17, 3, 0, 0x6B, 0, 3]);
    seeds.push(vec![0, 5, 0, 0, 0, 11, 17, 16, 0, 1, 0, 2, 4, 0, 1, 0, 2]);
    seeds.push(request::answer(header, span, &Answer::Words(vec![1, 2, 3])));
    seeds.push(br#"{"value": 12.5, "unit": "MPa"}"#.to_vec());
    seeds.push(b"-12.50e3".to_vec());
    let samples = [PointSample::good(0, 4_711), PointSample::good(7, -1)];
    seeds.push(PackedSamples::of(&samples).as_bytes().to_vec());
    let code =
        "fs1.0a1b2c3d.000102030405060708090a0b0c0d0e0f.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    seeds.push(code.as_bytes().to_vec());
    seeds
}

/// A question for bits.
const fn bits() -> Request {
    Request {
        unit: 17,
        span: Span {
            table: Table::Coil,
            address: 0,
            count: 20,
        },
    }
}

/// The question that [`seeds`]' answers belong to.
const fn question() -> Request {
    Request {
        unit: 17,
        span: Span {
            table: Table::Holding,
            address: 0x6B,
            count: 3,
        },
    }
}
