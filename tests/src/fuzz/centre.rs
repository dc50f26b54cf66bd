//! Decoders of the centre and of verifiers: payloads under a table, plans, methodologies, reports.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use evidence::cbor;
use evidence::chunk::{inner_root, split};
use evidence::entry::{Body, ControlBody, Entry, PayloadRef, Ticks};
use evidence::measurement::{MeasurementConfig, Source};
use evidence::segment::{ConfigInForce, Segment};
use evidence::value::Format;
use quantification::methodology::Methodology;
use quantification::plan::Plan;
use quantification::report::Report;

/// Deterministic CBOR of any shape.
pub fn fuzz_cbor(bytes: &[u8]) {
    if cbor::validate(bytes).is_ok() {
        // Whole and nothing behind it: one byte more or less is refused.
        assert!(cbor::validate(&[bytes, &[0]].concat()).is_err());
        assert!(cbor::validate(&bytes[..bytes.len() - 1]).is_err());
    }
}

/// The table of the worked example, once for each format that a point may have.
static TABLES: LazyLock<Vec<Arc<ConfigInForce>>> = LazyLock::new(|| {
    let sealed =
        super::seeds()
            .into_iter()
            .find_map(|seed| match Entry::parse(&seed).ok()?.entry.body {
                Body::Control {
                    kind: 2,
                    body: ControlBody::Inline(body),
                } => MeasurementConfig::decode(&body).ok(),
                _ => None,
            });
    let sealed = sealed.expect("the worked example has a table");
    let kinds = [
        "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd16", "bcd32", "bcd64", "text",
        "bit3", "bits4-7", "number",
    ];
    let table = |kind: &str| {
        let mut config = sealed.clone();
        let point = &mut config.points[0];
        point.format = Format::from_names(kind, "CDAB")?;
        if kind == "number" {
            point.source = Source::Message {
                topic: "a/b".to_owned(),
                pointer: None,
            };
            config.streams[0].messages = true;
        }
        Some(Arc::new(ConfigInForce::new(config, 1)))
    };
    kinds
        .into_iter()
        .map(|kind| table(kind).expect("a format"))
        .collect()
});

/// A payload, under a good signature over whatever it is.
pub fn fuzz_segment(bytes: &[u8]) {
    let (Ok(root), Some(count)) = (inner_root(bytes), bytes.get(4..6)) else {
        return;
    };
    let count = u64::from(u16::from_le_bytes([count[0], count[1]]));
    let chunks = (1..9).find(|chunks| split(bytes, *chunks).is_ok());
    let signed = PayloadRef {
        root,
        chunks: chunks.unwrap_or(1),
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
    };
    for table in TABLES.iter() {
        for count in [count, 4] {
            let ticks = Ticks {
                stream: 0,
                first: 0,
                count,
            };
            if let Ok(segment) = Segment::open(table, ticks, Some(0), &signed, bytes) {
                assert_eq!(segment.columns.len(), 1, "the points of the stream");
                let values = segment.columns[0].values.len();
                let messages = table.config.streams[0].messages;
                assert!(
                    messages || u64::try_from(values) == Ok(count),
                    "a value a tick"
                );
            }
        }
    }
}

/// A monitoring plan.
pub fn fuzz_plan(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        match Plan::parse(text, "plan.toml") {
            Ok(plan) => drop(plan.feeding_order()),
            Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
        }
    }
}

/// A methodology.
pub fn fuzz_methodology(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Methodology::parse(text, "methodology.toml"));
    }
}

/// A report: what is read is written back as the same values.
pub fn fuzz_report(bytes: &[u8]) {
    if let Ok(report) = Report::from_json(bytes) {
        let again = Report::from_json(&report.to_json()).expect("its own writing");
        assert!(Report::differences(&report, &again).is_empty());
    }
}

/// Configuration files of the centre's programs.
pub fn fuzz_centre_config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(collector::config::Config::parse(
            text,
            Path::new("collector.toml"),
        ));
        drop(verifier_api::config::Config::parse(
            "verifier-api.toml",
            text,
        ));
    }
}

/// Well-formed bytes for these: files that this project ships.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let plan = include_bytes!("../../../verify/testdata/specimen/plan.toml").to_vec();
    let mut seeds = vec![plan];
    let bundle = include_bytes!("../../../verify/testdata/specimen/bundle.tar");
    let mut rest = &bundle[..];
    // The report, the notes and the control entries of the specimen: everything of it that is short.
    while let Some((header, after)) = rest.split_first_chunk::<512>() {
        let digits = std::str::from_utf8(&header[124..135]).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(digits, 8) else {
            break;
        };
        let short = after.get(..size).filter(|contents| contents.len() < 1_000);
        seeds.extend(short.map(<[u8]>::to_vec));
        rest = after.get(size.next_multiple_of(512)..).unwrap_or_default();
    }
    seeds.extend(quantification::methodology::shipped_text("grid_solar").map(Into::into));
    seeds
}
