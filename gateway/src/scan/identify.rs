//! What a device says of itself.

use evidence::decimal::format_mantissa;
use evidence::measurement::{Point, PointKind};
use evidence::value::{Decoder, Format, Kind};
use serde::Serialize;

use crate::config::{RegisterSpec, Template};
use crate::inquiry::{Inquiry, Unanswered};
use crate::plan::Span;
use crate::sampling::span;
use crate::sunspec::{Map, discover};
use crate::templates;

/// A template whose identity registers a device has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Likeness {
    /// The template's name.
    pub template: String,
    /// What its identity registers hold, `serial_number 12345`.
    pub identity: Vec<String>,
    /// The serial settings that such a device leaves the factory with, `9600 baud 8N1`.
    pub factory: Option<String>,
    /// Whether its maker's document does not state them: they are what to try first, no fact.
    pub factory_is_assumed: bool,
}

/// Reads the map of a SunSpec device; `None` if it has none or stops answering.
pub async fn sunspec(line: &Inquiry, unit: u8) -> Option<Map> {
    let read = async |span: Span| match line.read(unit, span).await {
        Ok((words, _)) => Ok(Some(words)),
        Err(Unanswered::Refused(_)) => Ok(None),
        Err(why) => Err(why),
    };
    discover(read).await.ok().flatten()
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
                factory: template.line.map(|line| line.to_string()),
                factory_is_assumed: template.line.is_some_and(|line| line.assumed),
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
