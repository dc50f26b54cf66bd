//! Points of a device that are read in one request: a value with its scale factor, the parts of a
//! totaliser.
//!
//! A scale factor from another request than its value could be that of another value, so what does
//! not fit into one request is refused here and never read in pieces later.

use evidence::measurement::{PointKind, Source, Table};
use evidence::value::Kind;

use super::modbus::ModbusDevice;
use super::point::PointConfig;
use super::problem::did_you_mean;
use super::reader::Section;

/// For each point the position of the first point that it is read together with, or its own.
#[must_use]
pub fn groups(points: &[PointConfig]) -> Vec<usize> {
    let mut groups: Vec<usize> = (0..points.len()).collect();
    let mut join = |one: usize, other: usize| {
        let (Some(&one), Some(&other)) = (groups.get(one), groups.get(other)) else {
            return;
        };
        let (first, second) = (one.min(other), one.max(other));
        for group in groups.iter_mut().filter(|group| **group == second) {
            *group = first;
        }
    };
    for (place, point) in points.iter().enumerate() {
        for (earlier, other) in points.iter().enumerate() {
            let factor = point.scale_from.as_ref() == Some(&other.name);
            let label = point.together.is_some() && point.together == other.together;
            if place != earlier && (factor || label) {
                join(place, earlier);
            }
        }
    }
    groups
}

/// Checks the scale factors and labels of a device's points; `points` come with their tables.
pub(super) fn check(points: &[(&Section<'_, '_>, PointConfig)], device: &ModbusDevice) {
    for (section, point) in points {
        if let Some(name) = &point.scale_from
            && let Err(text) = scale_factor(point, name, points)
        {
            section.report(&section.place("scale_from"), "scale_from", text);
        }
    }
    let configs: Vec<PointConfig> = points.iter().map(|(_, point)| point.clone()).collect();
    let groups = groups(&configs);
    for (place, (section, point)) in points.iter().enumerate() {
        let members: Vec<&PointConfig> = groups
            .iter()
            .zip(&configs)
            .filter(|(group, _)| **group == place)
            .map(|(_, point)| point)
            .collect();
        if members.len() > 1
            && let Err(text) = one_request(&members, device)
        {
            let key = if point.together.is_some() {
                "together"
            } else {
                "scale_from"
            };
            section.report(&section.place(key), key, text);
        }
    }
}

/// What the point `name` must be to hold the exponent of `point`.
fn scale_factor(
    point: &PointConfig,
    name: &str,
    points: &[(&Section<'_, '_>, PointConfig)],
) -> Result<(), String> {
    let Some((_, factor)) = points.iter().find(|(_, point)| point.name == *name) else {
        let names: Vec<&str> = points
            .iter()
            .map(|(_, point)| point.name.as_str())
            .collect();
        let mut text = format!("this device has no point `{name}`: add it, with type = \"i16\"");
        if let Some(meant) = did_you_mean(name, &names) {
            text.push_str(&format!("; did you mean `{meant}`?"));
        }
        return Err(text);
    };
    let plain = factor.decimals == 0 && factor.scale.is_one() && factor.offset.is_zero();
    if factor.format.kind != Kind::I16 || !plain || factor.kind != PointKind::Instant {
        Err(format!(
            "`{name}` is no scale factor: it needs type = \"i16\", decimals = 0, kind = \"instant\" and \
             neither scale nor offset"
        ))
    } else if factor.scale_from.is_some() {
        Err(format!("`{name}` has a scale factor itself"))
    } else if factor.interval_s != point.interval_s {
        Err(format!(
            "`{name}` has another interval_s: a scale factor is read together with its value"
        ))
    } else {
        Ok(())
    }
}

/// Whether points of one interval and table lie close enough for one request.
fn one_request(members: &[&PointConfig], device: &ModbusDevice) -> Result<(), String> {
    let mut span: Option<(Table, u32, u32)> = None;
    for member in members {
        let Source::Modbus {
            table,
            address,
            words,
        } = member.source
        else {
            continue;
        };
        let (first, end) = (
            u32::from(address),
            u32::from(address) + u32::from(words.max(1)),
        );
        let (of, low, high) = span.unwrap_or((table, first, end));
        if of != table {
            return Err(format!(
                "{} are read in one request, so they lie in one table",
                names(members)
            ));
        }
        span = Some((of, low.min(first), high.max(end)));
    }
    let Some((table, low, high)) = span else {
        return Ok(());
    };
    let (most, key) = if matches!(table, Table::Coil | Table::Discrete) {
        (device.max_bits, "max_bits")
    } else {
        (device.max_registers, "max_registers")
    };
    if members
        .iter()
        .any(|member| member.interval_s != members.first().and_then(|first| first.interval_s))
    {
        return Err(format!(
            "{} are read in one request, so they have one interval_s",
            names(members)
        ));
    }
    let barrier = device.barriers.iter().find(|barrier| {
        barrier.table == table && low <= u32::from(barrier.to) && u32::from(barrier.from) < high
    });
    if let Some(barrier) = barrier {
        return Err(format!(
            "{} are read in one request, but the barrier {} {} to {} lies between them",
            names(members),
            table.name(),
            barrier.from,
            barrier.to
        ));
    }
    if high - low > u32::from(most) {
        return Err(format!(
            "{} lie {} registers apart, and the device has {key} = {most}: they are not read in one \
             request. Where several values share a scale factor, declare the factor once more under \
             another name for the far ones",
            names(members),
            high - low
        ));
    }
    Ok(())
}

fn names(members: &[&PointConfig]) -> String {
    let names: Vec<&str> = members.iter().map(|point| point.name.as_str()).collect();
    names.join(", ")
}
