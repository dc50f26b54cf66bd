//! `verify`: the whole store again, entry by entry, with the code that admitted it.
//!
//! What it finds is damage: every rule held when the entries came in. It changes nothing.

use std::collections::BTreeMap;

use evidence::aggregate::HourAggregate;
use evidence::checkpoint::Checkpoint;
use evidence::control::Control;
use evidence::cosignature::verify_cosignature;
use evidence::hash::Hash;
use evidence::note::{Note, Vkey};
use store::{Head, LogRef, Store, StoreError};

use crate::admission::{Hours, add_hours, new_row_kind};
use crate::placing::hours_of_placed;
use crate::replay::{Replay, ReplayError};

/// What a log's inspection found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The log's origin.
    pub origin: String,
    /// Entries checked, of as many as the head states.
    pub entries: u64,
    /// Trail notes whose signatures and roots were checked.
    pub trail_notes: usize,
    /// Hourly aggregates computed again.
    pub hours: usize,
    /// What is wrong, in words; empty if everything is as it was when it came in.
    pub damage: Vec<String>,
}

/// Inspects one log. `None` if there is no such log.
///
/// # Errors
///
/// The store's. Damage is a finding, not an error.
pub async fn inspect(
    store: &Store,
    log: LogRef,
    cosigner: &Vkey,
) -> Result<Option<Inspected>, StoreError> {
    let Some(head) = store.head(log).await? else {
        return Ok(None);
    };
    let mut inspection = Inspection::new(store, &head, cosigner).await?;
    match inspection.entries().await {
        Ok(()) => inspection.hours().await?,
        Err(ReplayError::Store(error)) if !matches!(error, StoreError::Damaged(_)) => {
            return Err(error);
        }
        // What comes after the first bad entry cannot be judged.
        Err(error) => inspection.found.damage.push(error.to_string()),
    }
    Ok(Some(inspection.found))
}

struct Inspection<'a> {
    store: &'a Store,
    head: &'a Head,
    found: Inspected,
    /// Roots that signed notes state, by size.
    stated: BTreeMap<u64, Vec<(String, Hash)>>,
    hours: Hours,
}

impl<'a> Inspection<'a> {
    async fn new(store: &'a Store, head: &'a Head, cosigner: &Vkey) -> Result<Self, StoreError> {
        let found = Inspected {
            origin: head.log.origin.clone(),
            entries: 0,
            trail_notes: 0,
            hours: 0,
            damage: Vec::new(),
        };
        let stated = BTreeMap::new();
        let mut new = Self {
            store,
            head,
            found,
            stated,
            hours: Hours::new(),
        };
        new.note("the head's note", &head.note, cosigner);
        for trail in store.trail_notes(head.log.log, i64::MIN..i64::MAX).await? {
            new.note(
                &format!("the trail note of size {}", trail.size),
                &trail.note,
                cosigner,
            );
            new.found.trail_notes += 1;
        }
        Ok(new)
    }

    /// Checks both signatures of a note and keeps what it states.
    fn note(&mut self, what: &str, bytes: &[u8], cosigner: &Vkey) {
        let checked = || {
            let vkey = Vkey::parse(&self.head.log.log_vkey).map_err(|error| error.to_string())?;
            let note = Note::parse(bytes).map_err(|error| error.to_string())?;
            let checkpoint = Checkpoint::open(&note, &vkey).map_err(|error| error.to_string())?;
            let time = verify_cosignature(&note, cosigner).map_err(|error| error.to_string())?;
            match time {
                Some(_time) => Ok(checkpoint),
                None => Err(format!(
                    "it carries no cosignature of `{}`",
                    cosigner.name()
                )),
            }
        };
        match checked() {
            Ok(Checkpoint { size, root, .. }) => {
                self.stated
                    .entry(size)
                    .or_default()
                    .push((what.to_owned(), root));
            }
            Err(error) => self.found.damage.push(format!("{what}: {error}")),
        }
    }

    async fn entries(&mut self) -> Result<(), ReplayError> {
        let mut replay = Replay::new(self.store, self.head)?;
        let mut range = evidence::merkle::CompactRange::new();
        loop {
            let rows = replay.step().await?;
            if rows.is_empty() {
                break;
            }
            for (row, applied) in rows {
                if row.leaf != applied.leaf.0 || row.kind != new_row_kind(&applied.entry.body) {
                    let wrong = format!("entry {}: its stored hash or kind is wrong", row.index);
                    self.found.damage.push(wrong);
                }
                if let Some(segment) = &applied.segment {
                    add_hours(&mut self.hours, segment);
                }
                if let Some(Control::Clock(event)) = &applied.control {
                    let (log, placed) = (self.head.log.log, &event.placed);
                    let hours = hours_of_placed(self.store, log, row.index, &[], placed).await?;
                    for (key, hour) in hours {
                        self.hours.entry(key).or_default().merge(&hour);
                    }
                }
                range.append(&applied.leaf);
                self.found.entries += 1;
                for (what, root) in self.stated.remove(&range.size()).unwrap_or_default() {
                    if root != range.root() {
                        let wrong = format!("{what}: the entries lead to another root");
                        self.found.damage.push(wrong);
                    }
                }
            }
        }
        for (size, notes) in std::mem::take(&mut self.stated) {
            for (what, _root) in notes {
                let size = format!("{what} states {size} entries, more than there are");
                self.found.damage.push(size);
            }
        }
        replay.end(self.head).map(|_chain| ())
    }

    /// Compares the stored aggregates with the ones computed again.
    async fn hours(&mut self) -> Result<(), StoreError> {
        let stored = self
            .store
            .hours_of_log(self.head.log.log, i64::MIN..i64::MAX)
            .await?;
        let mut computed = std::mem::take(&mut self.hours);
        for hour in stored {
            self.found.hours += 1;
            let key = hour.key;
            let same = computed.remove(&key).is_some_and(|hour_again| {
                HourAggregate::decode(&hour.data).is_ok_and(|held| held == hour_again)
            });
            if !same {
                self.found.damage.push(format!(
                    "the aggregate of stream {}, point {}, hour {}, configuration {} is not that of its readings",
                    key.stream, key.point, key.hour, key.config
                ));
            }
        }
        if !computed.is_empty() {
            self.found
                .damage
                .push(format!("{} aggregates are missing", computed.len()));
        }
        Ok(())
    }
}
