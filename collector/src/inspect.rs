//! `verify`: the whole store again, entry by entry, with the code that admitted it.
//!
//! What it finds is damage: every rule held when the entries came in. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use evidence::aggregate::HourAggregate;
use evidence::chain::Applied;
use evidence::checkpoint::Checkpoint;
use evidence::control::{Control, Placed};
use evidence::cosignature::verify_cosignature;
use evidence::hash::Hash;
use evidence::note::{Note, Vkey};
use evidence::wire::Record;
use store::{Head, LogRef, Placement, Row, Store, StoreError};

use crate::admission::{Hours, add_hours, new_row, new_row_kind};
use crate::placing::{Again, StreamHour, hours_of, span_of};
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
    /// The hours whose segments did not come in the order of their time.
    unordered: BTreeSet<StreamHour>,
    /// Where the last segment of each stream ends.
    ends: BTreeMap<u16, i64>,
    /// Rows without a time so far.
    untimed: BTreeMap<u64, Row>,
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
            unordered: BTreeSet::new(),
            ends: BTreeMap::new(),
            untimed: BTreeMap::new(),
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
                self.time(&row, &applied);
                if let Some(Control::Clock(event)) = &applied.control {
                    for placed in &event.placed {
                        self.placed(placed, replay.tick_ms(placed.stream));
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
        for index in std::mem::take(&mut self.untimed)
            .into_iter()
            .filter(|(_index, row)| row.segment.is_some_and(|s| s.time_ms.is_some()))
            .map(|(index, _row)| index)
        {
            let wrong = format!("entry {index}: it is stored with a time and has none");
            self.found.damage.push(wrong);
        }
        replay.end(self.head).map(|_chain| ())
    }

    /// Checks the stored time of a row that was sealed with one, and whether it follows.
    fn time(&mut self, row: &Row, applied: &Applied) {
        let record = Record {
            entry: &row.entry,
            payload: None,
        };
        let Some(segment) = new_row(&record, applied).segment else {
            return;
        };
        let Some(span) = segment.time_ms else {
            let row = Row {
                payload: None,
                ..row.clone()
            };
            self.untimed.insert(row.index, row);
            return;
        };
        self.stored_time(row, span);
        let end = self.ends.entry(segment.stream).or_insert(i64::MIN);
        let follows = *end <= span.0;
        *end = span.1.max(*end);
        if !follows {
            let hours = hours_of(span).map(|hour| (segment.stream, hour));
            self.unordered.extend(hours);
        }
    }

    /// Gives a range its time, as the clock event at this place of the log did.
    fn placed(&mut self, placed: &Placed, tick_ms: u32) {
        let placement = Placement {
            stream: placed.stream,
            from_index: placed.from,
            to_index: placed.to,
            shift: placed.shift,
            tick_ms,
        };
        let ours = self
            .untimed
            .extract_if(placed.from..=placed.to, |_index, row| {
                row.segment.is_some_and(|s| s.stream == placed.stream)
            });
        for (_index, row) in ours.collect::<Vec<_>>() {
            let Some(span) = row.segment.and_then(|s| span_of(&s, &placement)) else {
                continue;
            };
            self.stored_time(&row, span);
            let end = self.ends.entry(placed.stream).or_insert(span.1);
            *end = span.1.max(*end);
            if row.kind == 1 {
                let hours = hours_of(span).map(|hour| (placed.stream, hour));
                self.unordered.extend(hours);
            }
        }
    }

    fn stored_time(&mut self, row: &Row, span: (i64, i64)) {
        if row.segment.and_then(|segment| segment.time_ms) != Some(span) {
            let wrong = format!("entry {}: its stored time is wrong", row.index);
            self.found.damage.push(wrong);
        }
    }

    /// Compares the stored aggregates with the ones computed again.
    async fn hours(&mut self) -> Result<(), StoreError> {
        // By the rule of admission: merged in order of time, from the rows just checked.
        let unordered = std::mem::take(&mut self.unordered);
        self.hours
            .retain(|key, _hour| !unordered.contains(&(key.stream, key.hour)));
        let mut again = Again::new(self.store, self.head.log.log, self.head.log.size, &[]);
        for key in unordered {
            self.hours.extend(again.hour(key, &[]).await?);
        }
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
