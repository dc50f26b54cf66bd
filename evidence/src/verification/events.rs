//! What a log says about itself, in words: configurations and what they changed, keys, clocks, people.

use super::times::utc;
use crate::control::Control;
use crate::measurement::{MeasurementConfig, Point, Source};

/// One control entry, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The entry.
    pub index: u64,
    /// The kind's name.
    pub kind: &'static str,
    /// In words.
    pub text: String,
    /// The id of an accepted key that approved it.
    pub approved_by: Option<String>,
    /// Whether it changes how words become values, so that an approval means something.
    pub changes_values: bool,
}

impl Event {
    /// Tells a control entry; none for approvals, which are told with what they approve.
    pub(super) fn of(
        index: u64,
        control: &Control,
        before: Option<&MeasurementConfig>,
        approved_by: Option<String>,
    ) -> Option<Self> {
        let mut changes_values = false;
        let (kind, text) = match control {
            Control::Genesis(genesis) => (
                "genesis",
                format!("the log begins, made by {}", genesis.software),
            ),
            Control::Config(config) => {
                let changes = before.map(|before| changes(before, config));
                changes_values = changes.as_ref().is_some_and(|changes| !changes.is_empty());
                let text = match changes {
                    None => format!(
                        "first configuration: {} points in {} streams",
                        config.points.len(),
                        config.streams.len()
                    ),
                    Some(changes) if changes.is_empty() => {
                        "configuration sealed again, nothing changed".to_owned()
                    }
                    Some(changes) => changes.join("; "),
                };
                ("config", text)
            }
            Control::KeyAdd(key) => (
                "key",
                format!("next entry key {}", crate::hash::to_hex(&key.key_id())),
            ),
            Control::KeyRevoke {
                key_id,
                since_s,
                reason,
                key,
                ..
            } => (
                "revocation",
                format!(
                    "entry key {} stolen since {} says authority {}: {reason}",
                    crate::hash::to_hex(key_id),
                    utc(i64::try_from(*since_s)
                        .unwrap_or(i64::MAX / 1_000)
                        .saturating_mul(1_000)),
                    crate::hash::to_hex(&key.key_id())
                ),
            ),
            Control::Software { version, binary } => {
                ("software", format!("version {version}, program {binary}"))
            }
            Control::Annotation {
                from,
                to,
                text,
                person,
            } => {
                let by = person
                    .as_deref()
                    .map_or_else(String::new, |name| format!(", by {name}"));
                (
                    "annotation",
                    format!("about entries {from} to {to}{by}: {text}"),
                )
            }
            Control::Clock(event) => (
                "clock",
                format!(
                    "time from {}, error {} ms, {} ranges placed: {}",
                    event.source.name(),
                    event.error_ms,
                    event.placed.len(),
                    event.note
                ),
            ),
            Control::Device(statement) => ("device", statement.words()),
            Control::Recovery {
                origin,
                last_index,
                reason,
                ..
            } => (
                "recovery",
                format!("continues {origin} behind its entry {last_index}: {reason}"),
            ),
            Control::Commissioning { text, attachments } => (
                "commissioning",
                format!("{text} ({} attachments by hash)", attachments.len()),
            ),
            Control::Dropped { from, to, reason } => (
                "dropped",
                format!("payloads of entries {from} to {to} are gone: {reason}"),
            ),
            Control::Approval { .. } => return None,
            Control::Record(record) => (record.kind.name(), record.words()),
        };
        Some(Self {
            index,
            kind,
            text,
            approved_by,
            changes_values,
        })
    }
}

/// What differs between two configurations in how words become values, one phrase each. The first one
/// that is sealed differs from none.
#[must_use]
pub fn changes(before: &MeasurementConfig, after: &MeasurementConfig) -> Vec<String> {
    let mut found = Vec::new();
    for point in &after.points {
        match before.point(&point.name) {
            None => found.push(format!("point {} added", point.name)),
            Some((_, old)) => {
                let mut said = Vec::new();
                point_changes(old, point, &mut said);
                said.extend(surroundings(before, old, after, point));
                found.append(&mut said);
            }
        }
    }
    for point in &before.points {
        if after.point(&point.name).is_none() {
            found.push(format!("point {} removed", point.name));
        }
    }
    found
}

fn point_changes(old: &Point, new: &Point, found: &mut Vec<String>) {
    let mut say = |what: &str, from: String, to: String| {
        if from != to {
            found.push(format!("{what} of {} {from} -> {to}", new.name));
        }
    };
    let optional = |value: Option<crate::decimal::Decimal>| {
        value.map_or_else(|| "none".to_owned(), |value| value.to_string())
    };
    say("scale", old.scale.to_string(), new.scale.to_string());
    say("offset", old.offset.to_string(), new.offset.to_string());
    say("unit", old.unit.clone(), new.unit.clone());
    say(
        "decimals",
        old.decimals.to_string(),
        new.decimals.to_string(),
    );
    say("source", source(&old.source), source(&new.source));
    say("format", format(old), format(new));
    say(
        "smallest plausible value",
        optional(old.min),
        optional(new.min),
    );
    say(
        "largest plausible value",
        optional(old.max),
        optional(new.max),
    );
    say(
        "largest step per second",
        optional(old.max_step_per_s),
        optional(new.max_step_per_s),
    );
    say(
        "not-available values",
        format!("{:?}", old.sentinels),
        format!("{:?}", new.sentinels),
    );
    say(
        "holding time",
        format!("{:?} s", old.stale_after_s),
        format!("{:?} s", new.stale_after_s),
    );
}

/// What a point says of others: its device, and the point that scales it.
fn surroundings(
    before: &MeasurementConfig,
    old: &Point,
    after: &MeasurementConfig,
    new: &Point,
) -> Vec<String> {
    let device = |config: &MeasurementConfig, point: &Point| {
        let found = config.devices.get(usize::from(point.device));
        found.map_or_else(
            || "none".to_owned(),
            |device| {
                let unit = device
                    .unit_id
                    .map_or_else(String::new, |unit| format!(" unit {unit}"));
                format!("{} ({}{unit})", device.name, device.protocol)
            },
        )
    };
    let factor = |config: &MeasurementConfig, point: &Point| {
        let found = point
            .scale_from
            .and_then(|index| config.points.get(usize::from(index)));
        found.map_or_else(|| "none".to_owned(), |point| point.name.clone())
    };
    let pairs = [
        ("device", device(before, old), device(after, new)),
        ("scale factor", factor(before, old), factor(after, new)),
    ];
    pairs
        .into_iter()
        .filter(|(_, from, to)| from != to)
        .map(|(what, from, to)| format!("{what} of {} {from} -> {to}", new.name))
        .collect()
}

fn source(source: &Source) -> String {
    match source {
        Source::Modbus {
            table,
            address,
            words,
        } => format!("{} {address} ({words} registers)", table.name()),
        Source::Message { topic, pointer } => format!(
            "topic {topic} {}",
            pointer.as_deref().unwrap_or("(whole message)")
        ),
    }
}

fn format(point: &Point) -> String {
    format!("{} {}", point.format.kind.name(), point.format.order.name())
}
