//! What people entered, as a bundle carries it: the project log as far as it is cosigned, and the
//! files that its records name.

use std::collections::{BTreeMap, BTreeSet};

use evidence::bundle::ProjectParts;
use evidence::hash::{Hash, Origin};
use store::LogRef;

use super::checkpoint;
use crate::app::App;
use crate::auth::Scope;
use crate::problem::{Answer, Problem};
use crate::project_log::view::record_of;
use crate::reports::Pinned;

/// The part behind the logs.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) at: LogRef,
    pub(super) parts: ProjectParts,
    /// Attachments and their lengths, ascending by hash.
    pub(super) inputs: Vec<(Hash, u64)>,
}

const PAGE: u32 = 256;

/// The project log up to what the collector cosigned last; nothing while that is nothing. Files go
/// with it only when `files`: a reader who is not shown every reading gets no invoices either.
pub(super) async fn open(app: &App, scope: &Scope, files: bool) -> Answer<Option<Entered>> {
    let store = &app.store;
    let Some(row) = store.project_log(scope.id()).await? else {
        return Ok(None);
    };
    let at = row.log;
    let state = store.witnessed(at).await?;
    let Some(state) = state.filter(|state| state.size > 0) else {
        tracing::warn!("{}: not cosigned yet, so no bundle carries it", row.origin);
        return Ok(None);
    };
    let size = state.size;
    let (mut entries, mut bodies) = (Vec::new(), Vec::new());
    let mut named = BTreeSet::new();
    let mut next = 0;
    while next < size {
        let rows = store.rows(at, next..size, PAGE, true).await?;
        if rows.is_empty() {
            let text = format!("{}: entry {next} is not in the store", row.origin);
            return Err(Problem::internal(&text));
        }
        for stored in rows {
            next = stored.index + 1;
            if let Some((record, _)) = record_of(&stored)? {
                named.extend(record.attachments.iter().map(|attachment| attachment.hash));
            }
            entries.push(stored.entry);
            bodies.extend(stored.payload);
        }
    }
    let pinned = Pinned {
        log: at.log.to_hex(),
        origin: row.origin.clone(),
        first: 0,
        size,
        root: hex::encode(&state.root),
    };
    let trail = store.trail_notes_by_size(at, 0, size).await?;
    let mut inputs = Vec::new();
    if files {
        let held = store.attachments(at).await?.into_iter();
        let held: BTreeMap<Hash, u64> = held.map(|line| (Hash(line.hash), line.bytes)).collect();
        let found = named.into_iter();
        inputs.extend(found.filter_map(|hash| Some((hash, *held.get(&hash)?))));
    }
    Ok(Some(Entered {
        at,
        parts: ProjectParts {
            origin: Origin::parse(&row.origin).map_err(|error| Problem::internal(&error))?,
            checkpoint: checkpoint(store, at, &pinned).await?,
            trail: trail.into_iter().map(|kept| kept.note).collect(),
            bodies,
            entries,
        },
        inputs,
    }))
}
