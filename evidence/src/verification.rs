//! The proof, check by check: that a log's entries are whole, in order, sealed when they say, and
//! that every tick of a period is accounted for.
//!
//! Everything that is trusted arrives in a [`Trust`] and an anchor key, which the verifier brings.
//! Nothing read from a bundle can add to it: wrong contents fail a check or widen a bracket.
//!
//! The pass over a log is in two stages so that a caller may use many threads. [`LogVerifier::step`]
//! does what needs the order of entries and gives a [`Task`]; [`Task::check`] (signature, payload,
//! decoding) needs nothing but itself. This module starts no thread and holds no more than a trail.
//!
//! | check | where |
//! |---|---|
//! | 1 final checkpoint, quorum | [`LogVerifier::open`] |
//! | 2 start hashes | [`LogVerifier::open`]; wrong ones cannot lead to the root |
//! | 3 control chain | [`LogVerifier::open`] |
//! | 4 entries in order, keys, signatures | [`LogVerifier::step`], [`Task::check`] |
//! | 5 payloads | [`Task::check`] |
//! | 6 ticks | [`LogVerifier::step`], [`LogVerifier::finish`] |
//! | 7 roots | [`LogVerifier::step`], [`LogVerifier::finish`] |
//! | 8 time | [`LogVerifier::step`] |
//! | 9 the report | whoever is handed [`Checked::segment`] |
//! | 10 nothing left over | [`crate::bundle::Bundle::read`], [`LogVerifier::finish`] |

mod afterwards;
mod authority;
mod events;
mod failure;
mod open;
mod partition;
mod pass;
mod project;
mod remembered;
mod times;

use crate::bundle::Disclosure;
use crate::hash::Hash;
use crate::key::VerifyingKey;
use crate::policy::Policy;
use crate::statement::Revocation;
use crate::timestamp::Roots;

pub use afterwards::Afterwards;
pub use authority::{RevocationFacts, Unapproved};
pub use events::{Event, changes};
pub use failure::{Class, Failure, Problem};
pub use open::LogVerifier;
pub use partition::{GapFacts, StreamFacts};
pub use pass::{Checked, Frames, Task, Tick};
pub use project::{AttachmentFacts, ProjectFacts, RecordFacts, verify_project};
pub use remembered::{Now, Remembered};
pub use times::{Bracket, ClassRun, TimeFacts, WIDTHS_S};

/// What the verifier brings for all logs of a project.
#[derive(Debug, Clone)]
pub struct Trust {
    /// His policy: which witnesses, and how many.
    pub policy: Policy,
    /// The name, in the policy, of the witness that the collector runs; all others are independent.
    /// Without it no tick is said to be witnessed independently.
    pub collector: Option<String>,
    /// The first instant of the period, unix milliseconds.
    pub from_ms: i64,
    /// The first instant after it.
    pub to_ms: i64,
    /// How far a claimed time may lie outside its bracket, milliseconds.
    pub tolerance_ms: i64,
    /// A tick is class 2 only when an independent witness vouched for it this soon, seconds.
    pub max_delay_s: u64,
    /// The authorities whose approvals and revocations count.
    pub approvers: Vec<VerifyingKey>,
    /// The timestamp authorities he trusts; without them timestamps are counted and not looked into.
    pub timestamp_roots: Option<Roots>,
    /// What values under a configuration that none of them approved come to.
    pub approvals: Approvals,
    /// Revocations that the verifier brings himself, each with its signer; the signature was checked.
    pub revocations: Vec<(Revocation, VerifyingKey)>,
}

/// What becomes of values that were sealed under a configuration nobody approved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Approvals {
    /// They are told.
    #[default]
    Reported,
    /// They are a failure.
    Required,
}

/// What the plan says of one log.
#[derive(Debug, Clone, Default)]
pub struct LogRole {
    /// It continues another log of the plan: what lies before its first tick is that one's.
    pub succeeds: bool,
    /// The names of the points that the plan uses; the streams that carry them must cover the period.
    pub points: Vec<String>,
}

/// Where a log ends for the project: its successor continues behind this entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandOver {
    /// The last entry that counts.
    pub last_index: u64,
    /// Its leaf hash, as the successor sealed it.
    pub last_leaf: Hash,
}

/// Everything that was found in one log.
#[derive(Debug, Clone)]
pub struct LogFacts {
    /// The log's name.
    pub origin: String,
    /// The first entry in the bundle.
    pub first: u64,
    /// The size of the final checkpoint: entries `first..size` were checked.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// All control entries below the size.
    pub controls: u64,
    /// How many entry keys signed the entries.
    pub entry_keys: u64,
    /// Entry keys in use for more than 25 hours: id, hours.
    pub long_keys: Vec<(String, u64)>,
    /// Per witness of the policy, how many notes it cosigned.
    pub cosigned: Vec<(String, u64)>,
    /// How many notes (trail and final) meet the policy by themselves.
    pub quorum_met: u64,
    /// How many intermediate roots were reproduced.
    pub roots: u64,
    /// Per stream, where its ticks went.
    pub streams: Vec<StreamFacts>,
    /// When the entries were sealed.
    pub time: TimeFacts,
    /// For each of the role's points, the span that entries of its stream cover, unix milliseconds.
    pub points: Vec<(String, Option<(i64, i64)>)>,
    /// What the log says about itself within the bundle's entries.
    pub events: Vec<Event>,
    /// Data entries whose payload was declared dropped.
    pub dropped: u64,
    /// What of the readings the bundle shows.
    pub disclosure: Disclosure,
    /// What became of checkpoints seen before.
    pub remembered: Vec<Remembered>,
    /// Configurations that values of the period were sealed under and no accepted authority approved.
    pub unapproved: Vec<Unapproved>,
    /// Every revocation that speaks of this log.
    pub revocations: Vec<RevocationFacts>,
    /// The first entry that is void because its key was stolen.
    pub void_from: Option<u64>,
}

#[cfg(test)]
mod tests;
