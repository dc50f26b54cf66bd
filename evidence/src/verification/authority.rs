//! What authorities say of a log: which configurations they approve, and which keys are stolen.
//!
//! Both come from keys kept offline, and only those the verifier names count. An approval is sealed in
//! the log; a revocation may be there too, or come from the verifier's own disk, because a thief who
//! writes the log will not seal it.

use std::collections::{BTreeMap, BTreeSet};

use super::events::changes;
use super::open::Known;
use super::times::Times;
use super::{Approvals, Trust};
use crate::control::{Control, approval_message};
use crate::hash::{Origin, to_hex};
use crate::statement::Revocation;

/// A configuration that was used in the period although nobody whom the verifier named approved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unapproved {
    /// The entry.
    pub index: u64,
    /// When it was sealed by the gateway's clock, unix milliseconds; none while that was unset.
    pub since_ms: Option<u64>,
    /// Measured ticks of the period that were sealed under it, all streams together.
    pub ticks: u64,
}

/// What a revocation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationFacts {
    /// The entry key's id, hex.
    pub key_id: String,
    /// Stolen at the earliest, unix seconds.
    pub since_s: u64,
    /// Why.
    pub reason: String,
    /// The authority's public key, hex.
    pub by: String,
    /// The entry that holds it; none when the verifier brought it.
    pub entry: Option<u64>,
    /// Whether the verifier named this authority and its signature is good; otherwise nothing follows.
    pub accepted: bool,
    /// Whether the log ever used this key.
    pub known: bool,
    /// The first entry that is void by it; none when witnesses had seen all that the key signed.
    pub void_from: Option<u64>,
}

/// The configurations of a log, and whether each stands approved.
#[derive(Debug, Default)]
pub(super) struct Configurations {
    /// By index: approved, and the clock of the entry.
    all: BTreeMap<u64, (bool, Option<u64>)>,
    /// Measured ticks of the period, by index.
    used: BTreeMap<u64, u64>,
}

impl Configurations {
    /// A configuration stands approved when an accepted approval names it, or when it changes nothing
    /// and the one before stands approved.
    pub(super) fn new(controls: &[Known], approvals: &BTreeMap<u64, String>) -> Self {
        let mut all = BTreeMap::new();
        let mut before = None;
        let mut approved = false;
        for known in controls {
            let Control::Config(config) = &known.control else {
                continue;
            };
            let same = before.is_some_and(|before| changes(before, config).is_empty());
            approved = approvals.contains_key(&known.index) || (same && approved);
            all.insert(known.index, (approved, known.clock_ms));
            before = Some(config);
        }
        Self {
            all,
            used: BTreeMap::new(),
        }
    }

    pub(super) fn approved(&self) -> BTreeSet<u64> {
        let approved = self.all.iter().filter(|(_, (approved, _))| *approved);
        approved.map(|(index, _)| *index).collect()
    }

    fn is_approved(&self, index: u64) -> bool {
        self.all.get(&index).is_some_and(|(approved, _)| *approved)
    }

    pub(super) fn any_unapproved(&self) -> bool {
        self.all.values().any(|(approved, _)| !approved)
    }

    /// Counts measured ticks of the period under a configuration.
    pub(super) fn used(&mut self, index: u64, ticks: u64) {
        if ticks > 0 {
            *self.used.entry(index).or_default() += ticks;
        }
    }

    pub(super) fn unapproved(&self) -> Vec<Unapproved> {
        self.used
            .iter()
            .filter(|(index, _)| !self.is_approved(**index))
            .map(|(index, ticks)| Unapproved {
                index: *index,
                since_ms: self.all.get(index).and_then(|(_, clock_ms)| *clock_ms),
                ticks: *ticks,
            })
            .collect()
    }
}

/// The entries that a key the verifier accepts has approved.
pub(super) fn approvals(
    origin: &Origin,
    controls: &[Known],
    trust: &Trust,
) -> BTreeMap<u64, String> {
    let mut approved = BTreeMap::new();
    for known in controls {
        let Control::Approval {
            index,
            leaf,
            key,
            signature,
        } = &known.control
        else {
            continue;
        };
        let entry = controls
            .iter()
            .find(|control| control.index == *index && control.leaf == *leaf);
        let message = approval_message(origin, *index, leaf);
        if entry.is_some()
            && trust.approvers.contains(key)
            && key.verify(&message, signature).is_ok()
        {
            approved.insert(*index, to_hex(&key.key_id()));
        }
    }
    approved
}

impl Approvals {
    /// Whether values under an unapproved configuration are a failure.
    #[must_use]
    pub const fn are_required(self) -> bool {
        matches!(self, Self::Required)
    }
}

/// The indices that an entry key signed: from, and the first one behind; none while it is in force.
fn spans(controls: &[Known], key_id: [u8; 8]) -> Vec<(u64, Option<u64>)> {
    let mut spans = Vec::new();
    let mut current: Option<([u8; 8], u64)> = None;
    for known in controls {
        let next = match &known.control {
            Control::Genesis(genesis) => (genesis.entry_key.key_id(), 0),
            Control::KeyAdd(key) => (key.key_id(), known.index + 1),
            _ => continue,
        };
        if let Some((id, from)) = current.replace(next)
            && id == key_id
        {
            spans.push((from, Some(next.1)));
        }
    }
    if let Some((id, from)) = current
        && id == key_id
    {
        spans.push((from, None));
    }
    spans
}

/// All revocations that speak of this log, and what follows from each.
pub(super) fn revocations(
    origin: &Origin,
    controls: &[Known],
    times: &Times,
    size: u64,
    trust: &Trust,
) -> Vec<RevocationFacts> {
    let brought = trust
        .revocations
        .iter()
        .filter(|(revocation, _)| revocation.origin == *origin)
        .map(|(revocation, key)| (revocation.clone(), *key, None, true));
    let sealed = controls.iter().filter_map(|known| {
        let Control::KeyRevoke {
            key,
            since_s,
            key_id,
            reason,
            signature,
        } = &known.control
        else {
            return None;
        };
        let revocation = Revocation {
            origin: origin.clone(),
            key_id: *key_id,
            since_s: *since_s,
            reason: reason.clone(),
        };
        let good = key
            .verify(revocation.message().as_bytes(), signature)
            .is_ok();
        Some((revocation, *key, Some(known.index), good))
    });
    brought
        .chain(sealed)
        .map(|(revocation, key, entry, good)| {
            let accepted = good && trust.approvers.contains(&key);
            let spans = spans(controls, revocation.key_id);
            let covered = times.covered_before(revocation.since_s);
            let void_from = spans
                .iter()
                .map(|(from, end)| ((*from).max(covered), end.unwrap_or(u64::MAX).min(size)))
                .filter(|(from, end)| from < end)
                .map(|(from, _)| from)
                .min()
                .filter(|_| accepted);
            RevocationFacts {
                key_id: to_hex(&revocation.key_id),
                since_s: revocation.since_s,
                reason: revocation.reason,
                by: to_hex(key.bytes()),
                entry,
                accepted,
                known: !spans.is_empty(),
                void_from,
            }
        })
        .collect()
}
