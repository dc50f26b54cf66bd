//! The last good value of every register before this start, as the log has it.
//!
//! A counter that was set back, or a meter that was exchanged, while the gateway was off would otherwise
//! begin again as if nothing had been: the first value after a start would have nothing to be compared with.
//! Only the value is taken over, not its time: how far a counter may have advanced meanwhile is not judged.
//!
//! It costs a look at the newest entries. What is not found there is compared with nothing, as in a new
//! log; that a start needs this is no reason not to record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evidence::control::{Control, kind};
use evidence::entry::{Body, ControlBody, Entry};
use evidence::measurement::PointKind;
use evidence::segment::{ConfigInForce, Segment};

use crate::buffer::{BufferError, LogReader, Row};
use crate::commission::InForce;

/// Entries that are looked through: five hours of two streams and a minute each.
const LOOK_BACK: u64 = 600;
/// Control entries that are looked through for the configuration before this one.
const HOPS: usize = 2_000;

/// Differences of two descriptions of a point between which its numbers are the same.
const HARMLESS: [&str; 4] = [
    "sentinels",
    "min, max or max_step_per_s",
    "stale_after_s",
    "interval",
];

/// The last good values of the registers of `config`, the one in force, by the names of the points.
///
/// # Errors
/// The log cannot be read.
pub async fn registers(
    mut reader: LogReader,
    config: &Arc<ConfigInForce>,
) -> Result<BTreeMap<String, i64>, BufferError> {
    let points = config.config.points.iter();
    let mut wanted: BTreeSet<&str> = points
        .filter(|point| point.kind == PointKind::Register)
        .map(|point| point.name.as_str())
        .collect();
    let (first, end) = reader.bounds();
    let mut found = BTreeMap::new();
    let mut sealed_under = Some(Arc::clone(config));
    for index in (first.max(end.saturating_sub(LOOK_BACK))..end).rev() {
        if wanted.is_empty() {
            break;
        }
        let row = match reader.row(index).await {
            Ok(Some(row)) => row,
            Ok(None) | Err(BufferError::Missing { .. }) => break,
            Err(error) => return Err(error),
        };
        let Some((ticks, payload, bytes)) = data_of(&row) else {
            continue;
        };
        while let Some(later) = sealed_under.take_if(|found| index <= found.index) {
            sealed_under = config_before(&mut reader, later.index).await?;
        }
        let Some(then) = &sealed_under else { break };
        let mut names = then.config.points_of(ticks.stream);
        if !names.any(|(_, point)| wanted.contains(point.name.as_str())) {
            continue;
        }
        // Only values are of interest, so the relation of ticks to time is left out.
        let Ok(segment) = Segment::open(then, ticks, None, &payload, &bytes) else {
            tracing::warn!(index, "An entry of the log does not open; it is left out");
            continue;
        };
        for column in &segment.columns {
            let Some(point) = then.config.points.get(usize::from(column.point)) else {
                continue;
            };
            let name = point.name.as_str();
            if !wanted.contains(name) {
                continue;
            }
            let samples = (0..).zip(&column.values);
            let good: Vec<i64> = samples
                .filter(|(sample, _)| column.quality(*sample).is_good())
                .map(|(_, value)| *value)
                .collect();
            let Some(&last) = good.last() else { continue };
            wanted.remove(name);
            if is_same(then, config, name) {
                found.insert(name.to_owned(), last);
            }
        }
    }
    Ok(found)
}

/// What a data entry covers, and its payload if it is still there.
fn data_of(row: &Row) -> Option<(evidence::entry::Ticks, evidence::entry::PayloadRef, Vec<u8>)> {
    let signed = Entry::parse(&row.entry).ok()?;
    match signed.entry.body {
        Body::Data { ticks, payload } => Some((ticks, payload, row.payload.clone()?)),
        _ => None,
    }
}

/// Whether a point's numbers then and now are of the same register, read in the same way.
fn is_same(then: &ConfigInForce, now: &ConfigInForce, name: &str) -> bool {
    let of = |config: &ConfigInForce| InForce::of(&config.config, name);
    of(then).zip(of(now)).is_some_and(|(then, now)| {
        let differences = then.differences(&now);
        differences.iter().all(|found| HARMLESS.contains(found))
    })
}

/// The configuration that was in force before the one sealed at `index`, along the pins of the control
/// entries.
async fn config_before(
    reader: &mut LogReader,
    index: u64,
) -> Result<Option<Arc<ConfigInForce>>, BufferError> {
    let mut next = Some(index);
    for _ in 0..HOPS {
        let Some(at) = next else { break };
        let row = match reader.row(at).await {
            Ok(Some(row)) => row,
            Ok(None) | Err(BufferError::Missing { .. }) => break,
            Err(error) => return Err(error),
        };
        let Ok(signed) = Entry::parse(&row.entry) else {
            break;
        };
        if at < index
            && let Body::Control {
                kind: kind::CONFIG,
                body,
            } = &signed.entry.body
        {
            let bytes = match body {
                ControlBody::Inline(bytes) => Some(bytes.as_slice()),
                ControlBody::Payload(_) => row.payload.as_deref(),
            };
            let decoded = bytes.map(|bytes| Control::decode(kind::CONFIG, bytes));
            return Ok(match decoded {
                Some(Ok(Control::Config(table))) => Some(Arc::new(ConfigInForce::new(table, at))),
                _ => None,
            });
        }
        next = signed.entry.control.map(|(before, _leaf)| before);
    }
    Ok(None)
}
