//! Segments that get their time afterwards, and roots of earlier sizes: what admission needs to
//! read from the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use evidence::control::{Control, Placed, kind};
use evidence::entry::{Body, ControlBody, Entry};
use evidence::hash::{Hash, root_of};
use evidence::merkle::CompactRange;
use evidence::segment::{ConfigInForce, Segment};
use store::{LogRef, NewRow, Row, Store, StoreError};

use crate::admission::{CONTROL, Hours, add_hours};

/// Rows per page.
const PAGE: u32 = 256;

/// Aggregates the segments that a clock event places: stored ones and ones of the same append.
///
/// A gateway that booted without a time seals all the same; minutes or days later it learns the
/// time and says so, and only then these segments belong to an hour.
///
/// `fresh` are the rows that are not stored yet, from index `size` on.
pub(crate) async fn hours_of_placed(
    store: &Store,
    log: LogRef,
    size: u64,
    fresh: &[NewRow],
    placed: &[Placed],
) -> Result<Hours, StoreError> {
    let mut hours = Hours::new();
    let mut configs = Configs {
        store,
        log,
        fresh,
        known: BTreeMap::new(),
    };
    for placed in placed {
        let mut next = placed.from;
        while next <= placed.to {
            let page = if next < size {
                let past = size.min(placed.to + 1);
                store.rows(log, next..past, PAGE, true).await?
            } else {
                let rows = fresh
                    .iter()
                    .filter(|row| (next..=placed.to).contains(&row.index));
                rows.map(stored).collect()
            };
            let Some(last) = page.last() else { break };
            next = last.index + 1;
            for row in &page {
                let ours = row.kind == 1 && row.segment.is_some_and(|s| s.stream == placed.stream);
                if let (true, Some(payload)) = (ours, &row.payload) {
                    let config = configs.in_force_at(row.index).await?;
                    let segment = open(config.as_ref(), row, payload, placed.shift)?;
                    add_hours(&mut hours, &segment);
                }
            }
        }
    }
    Ok(hours)
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

/// Opens a payload that was admitted before: whatever fails here is damage in the store.
fn open(
    config: Option<&Arc<ConfigInForce>>,
    row: &Row,
    payload: &[u8],
    shift: i64,
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
    Segment::open(config, *ticks, Some(shift), reference, payload)
        .map_err(|error| damaged(error.to_string()))
}

/// The configurations of a log, read as they are needed.
struct Configs<'a> {
    store: &'a Store,
    log: LogRef,
    fresh: &'a [NewRow],
    /// By the index of their entry.
    known: BTreeMap<u64, Arc<ConfigInForce>>,
}

impl Configs<'_> {
    async fn in_force_at(&mut self, index: u64) -> Result<Option<Arc<ConfigInForce>>, StoreError> {
        if self.known.is_empty() {
            let kind = CONTROL + u16::try_from(kind::CONFIG).unwrap_or(0);
            let mut after = None;
            loop {
                let page = self
                    .store
                    .rows_of_kind(self.log, kind..kind + 1, after, PAGE)
                    .await?;
                let Some(last) = page.last() else { break };
                after = Some(last.index);
                for row in &page {
                    self.keep(row)?;
                }
            }
            for row in self.fresh.iter().filter(|row| row.kind == kind) {
                self.keep(&stored(row))?;
            }
        }
        Ok(self
            .known
            .range(..index)
            .next_back()
            .map(|(_index, config)| Arc::clone(config)))
    }

    fn keep(&mut self, row: &Row) -> Result<(), StoreError> {
        let damaged = |why: String| StoreError::Damaged(format!("entry {}: {why}", row.index));
        let signed = Entry::parse(&row.entry).map_err(|error| damaged(error.to_string()))?;
        let bytes = match &signed.entry.body {
            Body::Control {
                body: ControlBody::Inline(bytes),
                ..
            } => bytes,
            Body::Control { .. } => row
                .payload
                .as_ref()
                .ok_or_else(|| damaged("its body is not stored".to_owned()))?,
            _ => {
                return Err(damaged(
                    "it is stored as a configuration and is none".to_owned(),
                ));
            }
        };
        match Control::decode(kind::CONFIG, bytes) {
            Ok(Control::Config(config)) => {
                self.known
                    .insert(row.index, Arc::new(ConfigInForce::new(config, row.index)));
                Ok(())
            }
            Ok(_) => Err(damaged("it is no configuration".to_owned())),
            Err(error) => Err(damaged(error.to_string())),
        }
    }
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
