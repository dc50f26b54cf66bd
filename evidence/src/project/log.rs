//! Which entry may stand next in a project log.

use super::{Kind, Record};
use crate::chain::Chain;
use crate::control::Control;
use crate::entry::{Body, Boot, ClockReading, ClockStatus, Entry, Freshness};
use crate::hash::{Hash, Origin};
use crate::rejection::Rejection;

/// A project log after the entries applied so far. A refused entry leaves it as it was.
///
/// Index, links, keys and signatures are the rules of [`Chain`]; what is here are the rules about
/// records. The writer checks itself with it, the collector before it cosigns, the verifier proves
/// with it.
#[derive(Debug, Clone)]
pub struct ProjectLog {
    chain: Chain,
    /// One per entry, by index.
    known: Vec<Known>,
}

/// What later entries may refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The leaf hash.
    pub leaf: Hash,
    /// The kind and subject of a record; none for keys.
    pub record: Option<(Kind, String)>,
    /// The entry that replaced it.
    pub replaced_by: Option<u64>,
}

/// An entry that was accepted.
#[derive(Debug)]
pub struct Entered {
    /// The entry.
    pub entry: Entry,
    /// Its leaf hash.
    pub leaf: Hash,
    /// What it says.
    pub control: Control,
}

impl Entered {
    /// The record, if it is one.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.control {
            Control::Record(record) => Some(record),
            _ => None,
        }
    }
}

impl ProjectLog {
    /// The empty log of this name.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self {
            chain: Chain::of_project(origin),
            known: Vec::new(),
        }
    }

    /// Keys, links and the tree.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.chain.size()
    }

    /// What is known of an entry.
    #[must_use]
    pub fn known(&self, index: u64) -> Option<&Known> {
        self.known.get(usize::try_from(index).ok()?)
    }

    /// The entry that would stand next with this body; the caller signs it.
    #[must_use]
    pub fn next_entry(
        &self,
        boot: Boot,
        clock: ClockReading,
        freshness: Option<Freshness>,
        body: Body,
    ) -> Entry {
        self.chain.next_entry(boot, clock, freshness, body)
    }

    /// Whether a record could stand next.
    ///
    /// # Errors
    /// [`Rejection::Record`], or the rule about replacing that it breaks.
    pub fn check(&self, record: &Record) -> Result<(), Rejection> {
        record.check().map_err(|error| Rejection::Record {
            kind: record.kind.number(),
            error,
        })?;
        let Some(replaces) = &record.replaces else {
            return Ok(());
        };
        let index = replaces.index;
        let old = self.known(index).filter(|old| old.leaf == replaces.leaf);
        let Some(old) = old else {
            return Err(Rejection::ReplacesUnknown(index));
        };
        match &old.record {
            Some((kind, subject)) if *kind == record.kind && *subject == record.subject => {}
            _ => return Err(Rejection::ReplacesOther(index)),
        }
        match old.replaced_by {
            None => Ok(()),
            Some(by) => Err(Rejection::ReplacedAlready { index, by }),
        }
    }

    /// Checks an entry completely and takes it in. `body` is the body of an entry whose body is too
    /// long to stand in it.
    ///
    /// # Errors
    /// The [`Rejection`]; the state is as before.
    pub fn apply(&mut self, bytes: &[u8], body: Option<&[u8]>) -> Result<Entered, Rejection> {
        let signed = Entry::parse(bytes)?;
        if !matches!(signed.entry.body, Body::Control { .. }) {
            return Err(Rejection::NotInProjectLog);
        }
        if signed.entry.clock.status == ClockStatus::Unset {
            return Err(Rejection::ProjectClockUnset);
        }
        // The rules about records come last, as they lean on what the chain has verified.
        let mut chain = self.chain.clone();
        let applied = chain.apply(bytes, body)?;
        let Some(control) = applied.control else {
            return Err(Rejection::NotInProjectLog);
        };
        let mut record = None;
        if let Control::Record(entered) = &control {
            self.check(entered)?;
            record = Some((entered.kind, entered.subject.clone()));
            let old = entered.replaces.as_ref().map(|replaces| replaces.index);
            let old = old.and_then(|index| usize::try_from(index).ok());
            if let Some(old) = old.and_then(|index| self.known.get_mut(index)) {
                old.replaced_by = Some(applied.entry.index);
            }
        }
        self.chain = chain;
        self.known.push(Known {
            leaf: applied.leaf,
            record,
            replaced_by: None,
        });
        Ok(Entered {
            entry: applied.entry,
            leaf: applied.leaf,
            control,
        })
    }
}
