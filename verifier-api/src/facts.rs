//! What the control entries of a log say: which key, configuration and time an entry has.
//!
//! The store is not trusted: control entries are checked as an unbroken chain of pins and
//! signatures from genesis on, and each data entry is checked by signature and payload root before
//! a reading of it is shown. That all of them are in the tree of the cosigned checkpoint is what a
//! bundle proves.

use std::sync::Arc;

use evidence::chain::Chain;
use evidence::control::{Control, Placed};
use evidence::entry::{Body, ClockStatus, Entry, SignedEntry};
use evidence::hash::{Hash, Origin};
use evidence::key::VerifyingKey;
use evidence::measurement::Point;
use evidence::merkle::CompactRange;
use evidence::segment::{ConfigInForce, Segment};
use store::{Log, Row, Store};

use crate::problem::{Answer, Problem};

/// Control entries are stored with their kind plus this.
pub(crate) const CONTROL_KINDS: std::ops::Range<u16> = 100..200;
/// Rows fetched at once.
const PAGE: u32 = 256;

/// The control entries of a log, read and checked.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) log: Log,
    pub(crate) origin: Origin,
    configs: Vec<Arc<ConfigInForce>>,
    /// From which index on which key signs.
    keys: Vec<(u64, VerifyingKey)>,
    /// Index of a clock event, stream, shift from there on.
    shifts: Vec<(u64, u16, i64)>,
    placed: Vec<Placed>,
    /// Index ranges whose payload was declared dropped.
    dropped: Vec<(u64, u64)>,
    /// Logs that this one continues, and the last entry of each that counts.
    continued: Vec<(String, u64)>,
}

/// What the stored bytes are that should be evidence and are not.
#[derive(Debug, thiserror::Error)]
#[error("entry {index} of log {origin} as stored does not verify: {why}")]
pub(crate) struct Damaged {
    pub(crate) origin: String,
    pub(crate) index: u64,
    pub(crate) why: String,
}

impl From<Damaged> for Problem {
    fn from(damaged: Damaged) -> Self {
        tracing::error!("{damaged}");
        Self::refused(format!("{damaged}; nothing is shown that does not verify"))
    }
}

/// All control entries of a log below `below`, with payloads, in order.
pub(crate) async fn control_rows(store: &Store, log: &Log, below: u64) -> Answer<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.index);
        let page = store
            .rows_of_kind(log.log, CONTROL_KINDS, after, PAGE)
            .await?;
        let done = page.is_empty();
        rows.extend(page.into_iter().filter(|row| row.index < below));
        if done || rows.last().map(|row| row.index) == after {
            return Ok(rows);
        }
    }
}

impl Facts {
    /// Reads and checks the control entries of a log up to its present size.
    pub(crate) async fn load(store: &Store, log: Log) -> Answer<Self> {
        let rows = control_rows(store, &log, log.size).await?;
        Ok(Self::of_rows(log, &rows)?)
    }

    /// Checks control entries that were read before.
    pub(crate) fn of_rows(log: Log, rows: &[Row]) -> Result<Self, Damaged> {
        let damaged = |index: u64, why: String| Damaged {
            origin: log.origin.clone(),
            index,
            why,
        };
        let origin = Origin::parse(&log.origin).map_err(|error| damaged(0, error.to_string()))?;
        // The range is not used here, only its size: which entries may be control entries.
        let subtrees = usize::try_from(log.size.count_ones()).unwrap_or_default();
        let range = CompactRange::from_parts(log.size, vec![Hash([0; 32]); subtrees])
            .map_err(|error| damaged(0, error.to_string()))?;
        let controls = rows.iter().map(|row| (&*row.entry, row.payload.as_deref()));
        Chain::resume(origin.clone(), range, controls)
            .map_err(|(index, rejection)| damaged(index, rejection.to_string()))?;
        let mut facts = Self {
            configs: Vec::new(),
            keys: Vec::new(),
            shifts: Vec::new(),
            placed: Vec::new(),
            dropped: Vec::new(),
            continued: Vec::new(),
            origin,
            log,
        };
        for row in rows {
            let control = decode(row).map_err(|why| facts.damaged(row.index, why))?;
            facts.take(row.index, control)?;
        }
        Ok(facts)
    }

    fn take(&mut self, index: u64, control: Control) -> Result<(), Damaged> {
        match control {
            Control::Genesis(genesis) => {
                if genesis.log_key.bytes() != &self.log.log_key {
                    let why = "its log key is not the enrolled one";
                    return Err(self.damaged(index, why.to_owned()));
                }
                self.keys.push((0, genesis.entry_key));
            }
            Control::Config(config) => {
                self.configs
                    .push(Arc::new(ConfigInForce::new(config, index)));
            }
            Control::KeyAdd(key) => self.keys.push((index + 1, key)),
            Control::Clock(event) => {
                let shifts = event
                    .shifts
                    .iter()
                    .map(|(stream, shift)| (index, *stream, *shift));
                self.shifts.extend(shifts);
                self.placed.extend(event.placed);
            }
            Control::Dropped { from, to, .. } => self.dropped.push((from, to)),
            Control::Recovery {
                origin, last_index, ..
            } => self.continued.push((origin, last_index)),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, index: u64, why: String) -> Damaged {
        Damaged {
            origin: self.log.origin.clone(),
            index,
            why,
        }
    }

    /// The configurations, oldest first.
    pub(crate) fn configs(&self) -> &[Arc<ConfigInForce>] {
        &self.configs
    }

    /// The configuration in force at an entry.
    pub(crate) fn config_at(&self, index: u64) -> Option<&Arc<ConfigInForce>> {
        self.configs
            .iter()
            .rev()
            .find(|config| config.index < index)
    }

    /// The entry that first sealed a configuration with this stream.
    pub(crate) fn introduced(&self, stream: u16) -> Option<u64> {
        let mut configs = self.configs.iter();
        let has = |config: &&Arc<ConfigInForce>| config.config.stream(stream).is_some();
        configs.find(has).map(|config| config.index)
    }

    /// The newest configuration.
    pub(crate) fn config(&self) -> Option<&Arc<ConfigInForce>> {
        self.configs.last()
    }

    /// The shift that gives an entry its time, if it has one by now.
    pub(crate) fn shift(&self, stream: u16, index: u64, status: ClockStatus) -> Option<i64> {
        if status == ClockStatus::Unset {
            return self.placement(stream, index);
        }
        let mut before = self.shifts.iter().rev().filter(|(at, _, _)| *at < index);
        Some(
            before
                .find(|(_, id, _)| *id == stream)
                .map_or(0, |(_, _, shift)| *shift),
        )
    }

    /// The shift that a later clock event gave to an entry that was sealed without a time; the first
    /// such event counts.
    pub(crate) fn placement(&self, stream: u16, index: u64) -> Option<i64> {
        let mut placed = self.placed.iter();
        let found = placed.find(|p| p.stream == stream && (p.from..=p.to).contains(&index));
        found.map(|placed| placed.shift)
    }

    /// The last entry that counts of a log that this one continues.
    pub(crate) fn continues(&self, predecessor: &str) -> Option<u64> {
        let mut continued = self.continued.iter();
        continued
            .find(|(origin, _)| origin == predecessor)
            .map(|(_, last)| *last)
    }

    /// Whether the gateway declared the payload of an entry dropped.
    pub(crate) fn is_dropped(&self, index: u64) -> bool {
        self.dropped
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&index))
    }

    /// Checks an entry's index and signature with the key in force.
    pub(crate) fn signed<'a>(&self, row: &'a Row) -> Result<SignedEntry<'a>, Damaged> {
        let damaged = |why: String| self.damaged(row.index, why);
        let signed = Entry::parse(&row.entry).map_err(|error| damaged(error.to_string()))?;
        if signed.entry.index != row.index {
            return Err(damaged(format!(
                "it says it is entry {}",
                signed.entry.index
            )));
        }
        let mut keys = self.keys.iter().rev();
        let (_, key) = keys
            .find(|(since, _)| *since <= row.index)
            .ok_or_else(|| damaged("no key is in force".to_owned()))?;
        if signed.key_id != key.key_id() {
            return Err(damaged("it names a key that is not in force".to_owned()));
        }
        signed
            .verify(&self.origin, key)
            .map_err(|error| damaged(error.to_string()))?;
        Ok(signed)
    }

    /// Checks and decodes a data entry, and says how many chunks it signs; `None` for other entries
    /// and for declared dropped payloads.
    pub(crate) fn open(&self, row: &Row) -> Result<Option<(Segment, u64)>, Damaged> {
        let signed = self.signed(row)?;
        let Body::Data { ticks, payload } = &signed.entry.body else {
            return Ok(None);
        };
        // Declared dropped is a gap, whether the payload happens to be here or not: the log decides.
        if self.is_dropped(row.index) {
            return Ok(None);
        }
        let damaged = |why: String| self.damaged(row.index, why);
        let Some(bytes) = row.payload.as_deref() else {
            return Err(damaged(
                "its payload is missing and was not declared dropped".to_owned(),
            ));
        };
        let config = self
            .config_at(row.index)
            .ok_or_else(|| damaged("no configuration is in force".to_owned()))?;
        let shift = self.shift(ticks.stream, row.index, signed.entry.clock.status);
        Segment::open(config, *ticks, shift, payload, bytes)
            .map(|segment| Some((segment, payload.chunks)))
            .map_err(|error| damaged(error.to_string()))
    }

    /// Where a point stood in the log: for each run of configurations that have it in one place,
    /// the indices, the stream and the point as it was sealed first in that run.
    pub(crate) fn legs(&self, name: &str) -> Vec<Leg> {
        let mut legs: Vec<Leg> = Vec::new();
        for (position, config) in self.configs.iter().enumerate() {
            let until = self
                .configs
                .get(position + 1)
                .map_or(u64::MAX, |next| next.index);
            let Some((_, sealed)) = config.config.point(name) else {
                continue;
            };
            match legs.last_mut() {
                Some(leg) if leg.indices.end == config.index && leg.stream == sealed.stream => {
                    leg.indices.end = until;
                    leg.sealed = sealed.clone();
                }
                _ => legs.push(Leg {
                    indices: config.index..until,
                    stream: sealed.stream,
                    sealed: sealed.clone(),
                }),
            }
        }
        legs
    }
}

/// A part of a log in which a point belongs to one stream.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    pub(crate) indices: std::ops::Range<u64>,
    pub(crate) stream: u16,
    /// The point as the newest of these configurations has it.
    pub(crate) sealed: Point,
}

/// The body of a control entry.
pub(crate) fn decode(row: &Row) -> Result<Control, String> {
    use evidence::entry::ControlBody;

    let signed = Entry::parse(&row.entry).map_err(|error| error.to_string())?;
    let Body::Control { kind, body } = &signed.entry.body else {
        return Err("it is stored as a control entry and is none".to_owned());
    };
    let bytes = match body {
        ControlBody::Inline(bytes) => bytes.as_slice(),
        ControlBody::Payload(_) => row.payload.as_deref().ok_or("its body is missing")?,
    };
    Control::decode(*kind, bytes).map_err(|error| error.to_string())
}
