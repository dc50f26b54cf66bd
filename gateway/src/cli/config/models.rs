//! Asking a device where its models stand, and which of them it fills.

use std::time::Duration;

use evidence::value::Kind;

use super::super::Failure;
use crate::config::{
    Endpoint, LineConfig, Parity, PlacedModel, SerialPort, Template, TemplatePoint, default_points,
    template_beside,
};
use crate::inquiry::{Inquiry, Unanswered};
use crate::plan::Span;
use crate::sunspec::{self, BASES, Common, End, Map};
use crate::templates::{Place, SerialPlace, Wishes};

/// Finds the models and writes into `wishes` what was found.
pub(super) async fn find(
    template: &Template,
    wishes: &mut Wishes,
    timeout: Duration,
) -> Result<(), Failure> {
    let Some(line) = line(template, &wishes.place) else {
        return Err(Failure::usage(format!(
            "where the models of a {} device stand is found by asking it: say where it is with --host \
             HOST or --port PORT",
            template.name
        )));
    };
    let unit = wishes.unit_id.unwrap_or(template.default_unit_id);
    let inquiry = Inquiry::on(&line, timeout);
    let said = |why: Unanswered| {
        Failure::unavailable(format!(
            "unit {unit} on {}: {why}. `scan` finds out which settings and unit ids answer",
            line.endpoint
        ))
    };
    let map = sunspec::discover(async |span| read(&inquiry, unit, span).await)
        .await
        .map_err(said)?;
    let Some(map) = map else {
        let bases = BASES.map(|base| base.to_string()).join(", ");
        return Err(Failure::new(format!(
            "unit {unit} on {} has no SunSpec map at {bases}: it may have to be switched on in the \
             device, or stand behind another unit id (often 126)",
            line.endpoint
        )));
    };
    let (models, notes) = PlacedModel::of_map(template, &map);
    wishes.notes = told(&map);
    wishes.notes.extend(notes);
    wishes.unit_id = Some(unit);
    wishes.models = models;
    let defaults = default_points(template, &wishes.models);
    let mut empty = Vec::new();
    for (from, point) in &defaults {
        if is_empty(&inquiry, unit, point).await.map_err(said)? {
            empty.push(from.clone());
        }
    }
    wishes.without = without(&defaults, &empty);
    Ok(())
}

/// The points that make no sense when these have no value: themselves, what they scale, and scale
/// factors of nothing that is left.
fn without(defaults: &[(String, TemplatePoint)], empty: &[String]) -> Vec<String> {
    let factor = |from: &str, point: &TemplatePoint| {
        let factor = point.register.spec.scale_from.as_ref()?;
        Some(template_beside(from, factor))
    };
    let is_left = |from: &str, point: &TemplatePoint| {
        let scaled = factor(from, point).is_some_and(|factor| empty.contains(&factor));
        point.default && !scaled && !empty.iter().any(|other| other == from)
    };
    let left: Vec<&(String, TemplatePoint)> = defaults
        .iter()
        .filter(|(from, point)| is_left(from, point))
        .collect();
    let needed: Vec<String> = left
        .iter()
        .filter_map(|(from, point)| factor(from, point))
        .collect();
    defaults
        .iter()
        .map(|(from, _)| from)
        .filter(|from| !needed.contains(from) && !left.iter().any(|(kept, _)| kept == *from))
        .cloned()
        .collect()
}

/// The words, or `None` where the device refuses.
async fn read(inquiry: &Inquiry, unit: u8, span: Span) -> Result<Option<Vec<u16>>, Unanswered> {
    match inquiry.read(unit, span).await {
        Ok((words, _)) => Ok(Some(words)),
        Err(refused) if refused.proves_life() => Ok(None),
        Err(unanswered) => Err(unanswered),
    }
}

/// Whether a momentary value or scale factor reads as "not available". A totaliser at its start does
/// so as well and stays in.
async fn is_empty(inquiry: &Inquiry, unit: u8, point: &TemplatePoint) -> Result<bool, Unanswered> {
    let spec = &point.register.spec;
    let span = Span {
        table: spec.table,
        address: spec.address,
        count: spec.words.into(),
    };
    let Some(words) = read(inquiry, unit, span).await? else {
        return Ok(true);
    };
    let raw = spec.format.raw(&words);
    let nan = spec.format.kind == Kind::F32
        && raw
            .is_some_and(|raw| u32::try_from(raw).is_ok_and(|bits| f32::from_bits(bits).is_nan()));
    let totaliser = point.kind == evidence::measurement::PointKind::Register;
    Ok(nan || (!totaliser && raw.is_none_or(|raw| spec.sentinels.contains(&raw))))
}

fn told(map: &Map) -> Vec<String> {
    let Common {
        manufacturer,
        model,
        version,
        serial_number,
    } = &map.common;
    let mut notes = vec![format!(
        "Found at {}: {manufacturer} {model}, version {version}, serial number {serial_number}.",
        map.base
    )];
    match map.end {
        End::Marked => {}
        End::Refused(at) => notes.push(format!(
            "The chain of models breaks off at {at}, which the device refuses."
        )),
        End::OutOfTable => notes.push("The last model's length leads out of the table.".to_owned()),
        End::TooLong => notes.push("The chain of models did not end and was cut.".to_owned()),
    }
    notes
}

fn line(template: &Template, place: &Place) -> Option<LineConfig> {
    match place {
        Place::Unknown => None,
        Place::Network { host, port } => Some(LineConfig::tcp(host, *port)),
        Place::Serial(SerialPlace {
            path,
            baud,
            parity,
            stop_bits,
        }) => {
            let ex_works = template.line;
            let port = SerialPort::new(path);
            let parity = parity.or(ex_works.map(|line| line.parity));
            let port = SerialPort {
                baud: baud
                    .or(ex_works.and_then(|line| line.baud))
                    .unwrap_or(port.baud),
                parity: match parity {
                    Some("even") => Parity::Even,
                    Some("odd") => Parity::Odd,
                    _ => Parity::None,
                },
                stop_bits: stop_bits
                    .or(ex_works.map(|line| line.stop_bits))
                    .unwrap_or(port.stop_bits),
                ..port
            };
            Some(LineConfig::new(Endpoint::Serial(port)))
        }
    }
}
