//! What a device says of itself.

use evidence::decimal::format_mantissa;
use evidence::measurement::{Point, PointKind, Table};
use evidence::value::{Decoder, Format, Kind};
use serde::Serialize;

use crate::config::{RegisterSpec, Template};
use crate::inquiry::Inquiry;
use crate::plan::Span;
use crate::sampling::span;
use crate::templates;

/// What the common model of a SunSpec device says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SunSpec {
    /// Where its map begins, PDU address.
    pub base: u16,
    /// The maker.
    pub manufacturer: String,
    /// The type.
    pub model: String,
    /// The serial number.
    pub serial_number: String,
    /// The models of its map.
    pub models: Vec<u16>,
}

/// A template whose identity registers a device has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Likeness {
    /// The template's name.
    pub template: String,
    /// What its identity registers hold, `serial_number 12345`.
    pub identity: Vec<String>,
}

/// Where a SunSpec map may begin.
const BASES: [u16; 3] = [40_000, 50_000, 0];

/// `SunS`.
const MARK: [u16; 2] = [0x5375, 0x6E53];

/// More models than this has no device.
const MOST_MODELS: usize = 64;

/// Reads the common model, if the device has a SunSpec map.
pub async fn sunspec(line: &Inquiry, unit: u8) -> Option<SunSpec> {
    for base in BASES {
        if holding(line, unit, base, 2).await.as_deref() == Some(&MARK) {
            return common(line, unit, base).await;
        }
    }
    None
}

async fn common(line: &Inquiry, unit: u8, base: u16) -> Option<SunSpec> {
    let words = holding(line, unit, base.checked_add(2)?, 66).await?;
    let text = |from: usize, count: usize| {
        let bytes = words.get(from..from + count).unwrap_or_default();
        let bytes: Vec<u8> = bytes.iter().flat_map(|word| word.to_be_bytes()).collect();
        let text = String::from_utf8_lossy(&bytes);
        let printable = text.chars().filter(|letter| !letter.is_control());
        printable.collect::<String>().trim().to_owned()
    };
    let mut found = SunSpec {
        base,
        manufacturer: text(2, 16),
        model: text(18, 16),
        serial_number: text(50, 16),
        models: Vec::new(),
    };
    let mut at = base + 2;
    while found.models.len() < MOST_MODELS {
        let Some([id, length]) = holding(line, unit, at, 2)
            .await
            .as_deref()
            .and_then(|words| <[u16; 2]>::try_from(words).ok())
        else {
            break;
        };
        if id == u16::MAX {
            break;
        }
        found.models.push(id);
        let Some(next) = length.checked_add(2).and_then(|step| at.checked_add(step)) else {
            break;
        };
        at = next;
    }
    Some(found)
}

/// The embedded templates whose identity and default registers the device has, with numbers that can
/// be; those of which more registers fit come first.
///
/// A hint for a person, not a proof: many meters have registers at the same addresses.
pub async fn like(line: &Inquiry, unit: u8) -> Vec<Likeness> {
    let mut found = Vec::new();
    for (name, _) in templates::EMBEDDED {
        if let Some(template) = templates::find(name)
            && let Some(identity) = matches(line, unit, &template).await
        {
            found.push(Likeness {
                template: (*name).to_owned(),
                identity,
            });
        }
    }
    found.sort_by_key(|like| std::cmp::Reverse(like.identity.len()));
    found
}

/// What the device's identity registers hold, if all of the template's have an answer that can be.
async fn matches(line: &Inquiry, unit: u8, template: &Template) -> Option<Vec<String>> {
    let mut identity = Vec::new();
    for register in &template.identity {
        let value = read(line, unit, &register.spec).await?;
        identity.push(format!("{} {value}", register.spec.name));
    }
    let defaults = template.points.iter().filter(|point| point.default);
    for point in defaults {
        let spec = &point.register.spec;
        let value: f64 = read(line, unit, spec).await?.parse().ok()?;
        if !can_be(spec.unit, value) {
            return None;
        }
    }
    (!identity.is_empty()).then_some(identity)
}

/// Whether a number can be a quantity of this unit: registers of another meaning rarely look like a
/// mains frequency, and words in another order rarely like any quantity.
fn can_be(unit: &str, value: f64) -> bool {
    let size = value.abs();
    match unit {
        "Hz" => value == 0.0 || (40.0..=70.0).contains(&value),
        _ => size == 0.0 || (1e-4..1e13).contains(&size),
    }
}

/// Reads one register of a template and writes its value out; `None` where it has none.
pub async fn read(line: &Inquiry, unit: u8, spec: &RegisterSpec) -> Option<String> {
    let span = span(&spec.source())?;
    let (words, _) = line.read(unit, span).await.ok()?;
    if spec.format.kind == Kind::Text {
        let text = Format::text_bytes(&words);
        return Some(spec.format.characters(&text).trim().to_owned());
    }
    let raw = spec.format.raw(&words)?;
    let point = Point {
        name: spec.name.clone(),
        stream: 0,
        device: 0,
        source: spec.source(),
        format: spec.format,
        scale: spec.scale,
        offset: spec.offset,
        decimals: spec.decimals,
        unit: spec.unit.to_owned(),
        kind: PointKind::Instant,
        sentinels: spec.sentinels.clone(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    };
    let mantissa = Decoder::new(&point).value(raw).ok()?;
    Some(format_mantissa(i128::from(mantissa), spec.decimals))
}

async fn holding(line: &Inquiry, unit: u8, address: u16, count: u16) -> Option<Vec<u16>> {
    let span = Span {
        table: Table::Holding,
        address,
        count,
    };
    line.read(unit, span).await.ok().map(|(words, _)| words)
}
