//! Hours that cannot be merged, and roots of earlier sizes: what admission needs to read from the
//! store.
//!
//! An hour's aggregate is that of its segments, merged in the order of their time (begin, then
//! index). Segments arrive in that order as long as nobody touches the clock, and are merged as they
//! come. A gateway that booted without a time seals all the same; minutes or days later it learns
//! the time and says so, and only then these segments belong to an hour, between others or before
//! them. Such hours are made again from all their segments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evidence::control::{Control, kind};
use evidence::entry::{Body, ControlBody, Entry};
use evidence::hash::{Hash, root_of};
use evidence::key::VerifyingKey;
use evidence::merkle::CompactRange;
use evidence::segment::{ConfigInForce, Segment, tick_time};
use store::{Append, LogRef, NewRow, Placement, Row, Store, StoreError};

use crate::admission::{CONTROL, HOUR_MS, Hours, add_hours, encode_hours};

/// Rows per page.
const PAGE: u32 = 256;

/// One hour of one stream, in whole hours since 1970.
pub(crate) type StreamHour = (u16, i64);

/// The hours that a span of unix milliseconds touches.
pub(crate) fn hours_of(span: (i64, i64)) -> impl Iterator<Item = i64> {
    span.0.div_euclid(HOUR_MS)..=(span.1 - 1).max(span.0).div_euclid(HOUR_MS)
}

/// Where a placement puts a segment; none beyond what a clock can say.
pub(crate) fn span_of(segment: &store::Segment, placement: &Placement) -> Option<(i64, i64)> {
    let at = |tick| tick_time(tick, placement.shift, placement.tick_ms);
    let end = segment.first_tick.checked_add(segment.ticks)?;
    Some((at(segment.first_tick)?, at(end)?))
}

/// Takes the hours that cannot be merged out of an append, and makes them again whole.
///
/// Costs one reading of the placed rows, whatever the number of streams, and one decoding of every
/// segment of the hours that are made again.
pub(crate) async fn settle(store: &Store, append: &mut Append) -> Result<(), StoreError> {
    let placed = placed_rows(store, append).await?;
    let mut dirty: BTreeSet<StreamHour> = placed
        .iter()
        .flat_map(|row| hours_of(row.span).map(|hour| (row.stream, hour)))
        .collect();
    if clock_was_touched(store, append).await? {
        out_of_order(store, append, &mut dirty).await?;
    }
    if dirty.is_empty() {
        return Ok(());
    }
    append
        .hours
        .retain(|hour| !dirty.contains(&(hour.key.stream, hour.key.hour)));
    // By hour, what the store does not find there: placed by this append, or brought by it.
    let mut late: BTreeMap<StreamHour, Vec<Late>> = BTreeMap::new();
    let timed = append.rows.iter().filter_map(|row| {
        let segment = row.segment.filter(|_| row.kind == 1)?;
        Some(Late {
            index: row.index,
            stream: segment.stream,
            span: segment.time_ms?,
        })
    });
    for row in placed.into_iter().chain(timed) {
        for hour in hours_of(row.span) {
            let key = (row.stream, hour);
            if dirty.contains(&key) {
                late.entry(key).or_default().push(row);
            }
        }
    }
    let mut again = Again::new(store, append.log, append.old_size, &append.rows);
    let mut hours = Hours::new();
    for key in dirty {
        let late = late.remove(&key).unwrap_or_default();
        hours.extend(again.hour(key, &late).await?);
    }
    append.replaced = encode_hours(hours);
    Ok(())
}

/// A data row whose time the store does not have yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    index: u64,
    stream: u16,
    span: (i64, i64),
}

/// The rows that an append places, in one pass over their ranges.
async fn placed_rows(store: &Store, append: &Append) -> Result<Vec<Late>, StoreError> {
    let mut of_stream: BTreeMap<u16, Vec<Placement>> = BTreeMap::new();
    for placement in &append.placements {
        of_stream
            .entry(placement.stream)
            .or_default()
            .push(*placement);
    }
    // The chain has them ascending by stream and disjoint.
    let place = |index: u64, segment: Option<store::Segment>| {
        let segment = segment.filter(|segment| segment.time_ms.is_none())?;
        let ranges = of_stream.get(&segment.stream)?;
        let at = ranges.partition_point(|range| range.to_index < index);
        let placement = ranges.get(at).filter(|range| range.from_index <= index)?;
        Some(Late {
            index,
            stream: segment.stream,
            span: span_of(&segment, placement)?,
        })
    };
    let mut ranges: Vec<(u64, u64)> = append
        .placements
        .iter()
        .map(|placement| (placement.from_index, placement.to_index))
        .collect();
    ranges.sort_unstable();
    let mut placed = Vec::new();
    let mut next = 0;
    for (from, to) in ranges {
        next = next.max(from);
        let past = append.old_size.min(to.saturating_add(1));
        while next < past {
            let page = store.rows(append.log, next..past, PAGE, false).await?;
            let Some(last) = page.last() else { break };
            next = last.index + 1;
            let data = page.iter().filter(|row| row.kind == 1);
            placed.extend(data.filter_map(|row| place(row.index, row.segment)));
        }
    }
    let fresh = append.rows.iter().filter(|row| row.kind == 1);
    placed.extend(fresh.filter_map(|row| place(row.index, row.segment)));
    Ok(placed)
}

/// Whether a clock event stands anywhere in the log or the append: without one, the ticks of a
/// stream and its time go the same way.
async fn clock_was_touched(store: &Store, append: &Append) -> Result<bool, StoreError> {
    let kind = control_kind(kind::CLOCK);
    if append.rows.iter().any(|row| row.kind == kind) {
        return Ok(true);
    }
    let found = store.rows_of_kind(append.log, kind..kind + 1, None, 1);
    Ok(!found.await?.is_empty())
}

/// Marks the hours of streams whose new segments begin before what is there ends.
async fn out_of_order(
    store: &Store,
    append: &Append,
    dirty: &mut BTreeSet<StreamHour>,
) -> Result<(), StoreError> {
    let mut streams: BTreeMap<u16, Vec<(i64, i64)>> = BTreeMap::new();
    for row in append.rows.iter().filter(|row| row.kind == 1) {
        if let Some((stream, span)) = row.segment.and_then(|s| Some((s.stream, s.time_ms?))) {
            streams.entry(stream).or_default().push(span);
        }
    }
    for (stream, spans) in streams {
        let mut ascends = spans.is_sorted_by(|one, next| one.1 <= next.0);
        if let (true, Some(first)) = (ascends, spans.first()) {
            let after = first.0..i64::MAX;
            let found = store.segments_between(append.log, stream, after, None, 1, false);
            ascends = found.await?.is_empty();
        }
        if !ascends {
            let hours = spans.into_iter().flat_map(hours_of);
            dirty.extend(hours.map(|hour| (stream, hour)));
        }
    }
    Ok(())
}

/// Makes hours again from their segments.
pub(crate) struct Again<'a> {
    store: &'a Store,
    log: LogRef,
    /// Rows that are not stored yet, from this index on.
    size: u64,
    fresh: &'a [NewRow],
    /// The configurations of the log by the index of their entry, read when first needed.
    configs: Option<BTreeMap<u64, Arc<ConfigInForce>>>,
}

impl<'a> Again<'a> {
    pub(crate) const fn new(store: &'a Store, log: LogRef, size: u64, fresh: &'a [NewRow]) -> Self {
        Self {
            store,
            log,
            size,
            fresh,
            configs: None,
        }
    }

    /// The aggregates of one hour of one stream: of what the store has in it, and of `late`.
    pub(crate) async fn hour(
        &mut self,
        (stream, hour): StreamHour,
        late: &[Late],
    ) -> Result<Hours, StoreError> {
        let start = hour.saturating_mul(HOUR_MS);
        let span = start..start.saturating_add(HOUR_MS);
        let mut rows: Vec<(i64, Row)> = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .store
                .segments_between(self.log, stream, span.clone(), after, PAGE, true)
                .await?;
            let Some(last) = page.last() else { break };
            after = Some(last.index);
            let data = page.into_iter().filter(|row| row.kind == 1);
            let timed = data.filter_map(|row| Some((row.segment?.time_ms?.0, row)));
            rows.extend(timed);
        }
        for late in late {
            if let Some(row) = self.row(late.index).await? {
                rows.push((late.span.0, row));
            }
        }
        rows.sort_unstable_by_key(|(from_ms, row)| (*from_ms, row.index));
        let mut hours = Hours::new();
        for (from_ms, row) in rows {
            let Some(payload) = &row.payload else {
                continue;
            };
            let config = self.in_force_at(row.index).await?;
            add_hours(&mut hours, &open(config.as_ref(), &row, payload, from_ms)?);
        }
        hours.retain(|key, _hour| key.hour == hour);
        Ok(hours)
    }

    async fn row(&self, index: u64) -> Result<Option<Row>, StoreError> {
        if index < self.size {
            let page = self.store.rows(self.log, index..index + 1, 1, true).await?;
            return Ok(page.into_iter().next());
        }
        let at = usize::try_from(index - self.size).unwrap_or(usize::MAX);
        Ok(self.fresh.get(at).map(stored))
    }

    async fn in_force_at(&mut self, index: u64) -> Result<Option<Arc<ConfigInForce>>, StoreError> {
        if self.configs.is_none() {
            let mut found = controls(self.store, self.log, kind::CONFIG).await?;
            let kind = control_kind(kind::CONFIG);
            for row in self.fresh.iter().filter(|row| row.kind == kind) {
                found.push((row.index, control_of(&stored(row))?));
            }
            let configs = found.into_iter().filter_map(|(index, control)| {
                let Control::Config(config) = control else {
                    return None;
                };
                Some((index, Arc::new(ConfigInForce::new(config, index))))
            });
            self.configs = Some(configs.collect());
        }
        let known = self.configs.as_ref();
        let before = known.and_then(|known| known.range(..index).next_back());
        Ok(before.map(|(_index, config)| Arc::clone(config)))
    }
}

fn stored(row: &NewRow) -> Row {
    Row {
        index: row.index,
        leaf: row.leaf,
        kind: row.kind,
        entry: row.entry.clone(),
        payload: row.payload.clone(),
        segment: row.segment,
    }
}

/// Opens a payload that was admitted before, its segment beginning at a unix millisecond: whatever
/// fails here is damage in the store.
fn open(
    config: Option<&Arc<ConfigInForce>>,
    row: &Row,
    payload: &[u8],
    from_ms: i64,
) -> Result<Segment, StoreError> {
    let damaged = |why: String| StoreError::Damaged(format!("entry {}: {why}", row.index));
    let config =
        config.ok_or_else(|| damaged("no configuration is stored before it".to_owned()))?;
    let signed = Entry::parse(&row.entry).map_err(|error| damaged(error.to_string()))?;
    let Body::Data {
        ticks,
        payload: reference,
    } = &signed.entry.body
    else {
        return Err(damaged("it is stored as data and is none".to_owned()));
    };
    let streams = &config.config.streams;
    let stream = streams.iter().find(|stream| stream.id == ticks.stream);
    // The shift, from the time that it gave: whole ticks by the schema's own arithmetic.
    let shift = stream
        .and_then(|stream| from_ms.checked_div(i64::from(stream.tick_ms)))
        .zip(i64::try_from(ticks.first).ok())
        .and_then(|(tick, first)| tick.checked_sub(first))
        .ok_or_else(|| damaged("its stream is not in its configuration".to_owned()))?;
    Segment::open(config, *ticks, Some(shift), reference, payload)
        .map_err(|error| damaged(error.to_string()))
}

fn control_kind(kind: u64) -> u16 {
    CONTROL.saturating_add(u16::try_from(kind).unwrap_or(u16::MAX))
}

/// All control entries of one kind that are stored.
pub(crate) async fn controls(
    store: &Store,
    log: LogRef,
    kind: u64,
) -> Result<Vec<(u64, Control)>, StoreError> {
    let kind = control_kind(kind);
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.rows_of_kind(log, kind..kind + 1, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.index);
        for row in &page {
            found.push((row.index, control_of(row)?));
        }
    }
    Ok(found)
}

fn control_of(row: &Row) -> Result<Control, StoreError> {
    let damaged = |why: String| StoreError::Damaged(format!("entry {}: {why}", row.index));
    let signed = Entry::parse(&row.entry).map_err(|error| damaged(error.to_string()))?;
    let Body::Control { kind, body } = &signed.entry.body else {
        return Err(damaged(
            "it is stored as a control entry and is none".to_owned(),
        ));
    };
    let bytes = match body {
        ControlBody::Inline(bytes) => bytes,
        ControlBody::Payload(_) => row
            .payload
            .as_ref()
            .ok_or_else(|| damaged("its body is not stored".to_owned()))?,
    };
    Control::decode(*kind, bytes).map_err(|error| damaged(error.to_string()))
}

/// Every key that has ever signed entries of a log.
pub(crate) async fn entry_keys(
    store: &Store,
    log: LogRef,
) -> Result<Vec<VerifyingKey>, StoreError> {
    let mut all = controls(store, log, kind::GENESIS).await?;
    all.extend(controls(store, log, kind::KEY_ADD).await?);
    let keys = all
        .into_iter()
        .filter_map(|(_index, control)| match control {
            Control::Genesis(genesis) => Some(genesis.entry_key),
            Control::KeyAdd(key) => Some(key),
            _ => None,
        });
    Ok(keys.collect())
}

/// The root of a log at an earlier size, from the kept hashes: at most 255 of each kept level.
pub(crate) async fn root_at(store: &Store, log: LogRef, size: u64) -> Result<Hash, StoreError> {
    let mut edge = Vec::new();
    for level in (0..64u8).step_by(8).rev() {
        let nodes = size >> level;
        let first = nodes & !0xff;
        if level > 56 || nodes == first {
            continue;
        }
        let hashes = store.hashes(log, level, first, nodes).await?;
        let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        // Complete subtrees, the largest first: one per set bit of the count.
        let mut rest = &hashes[..];
        for bit in (0..8).rev().filter(|bit| (nodes - first) >> bit & 1 == 1) {
            let Some((subtree, after)) = rest.split_at_checked(1 << bit) else {
                return Err(StoreError::Damaged(format!(
                    "hashes of level {level} are missing"
                )));
            };
            edge.push(root_of(subtree));
            rest = after;
        }
    }
    let range = CompactRange::from_parts(size, edge);
    range
        .map(|range| range.root())
        .map_err(|error| StoreError::Damaged(error.to_string()))
}
