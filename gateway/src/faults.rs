//! Where a test can make storage fail or the process "die", step by step through the write path.
//!
//! In production the plan is [`NoFaults`]. The plan is a value like clock and directory, so the
//! tests drive exactly the code that runs in the field.

use std::fmt;

/// A step of the write path (evidence format, "write path and recovery").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The commit of one tick's samples to the journal.
    JournalAppend,
    /// The sync of the journal.
    JournalSync,
    /// Entry and payload are built, signed and checked in memory; nothing is written.
    Sealed,
    /// The creation of a new day file.
    NewFile,
    /// The commit of the row to the day file.
    Commit,
    /// The row is committed but not yet read back.
    Committed,
    /// Reading the row back.
    ReadBack,
    /// The row is verified; the journal does not know yet.
    JournalNote,
    /// Everything is durable; nothing has been released yet.
    Release,
    /// Writing the next entry key; its control entry is not sealed.
    KeyPrepared,
    /// The control entry of the next key is sealed: erasing the old key.
    KeySealed,
    /// The old key is erased: moving the next one to its place.
    KeyErased,
    /// Taking up a request.
    RequestClaimed,
    /// Noting that a request is about to be sealed.
    RequestIntended,
    /// Noting where a request was sealed.
    RequestSealed,
    /// What a sealed request changes beside the log.
    RequestNoted,
    /// Writing the answer.
    RequestAnswered,
    /// Removing an answered request.
    RequestForgotten,
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Nothing: the step is done.
    Nothing,
    /// The step fails and leaves no trace.
    Fail,
    /// The step reports failure although it took effect.
    FailButPersist,
    /// The process dies here.
    Die,
}

/// A plan of faults.
pub trait Faults: Send + Sync + fmt::Debug {
    /// What happens this time at `step`.
    fn strike(&self, step: Step) -> Strike;
}

/// Nothing ever fails by plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn strike(&self, _step: Step) -> Strike {
        Strike::Nothing
    }
}

/// The error of a planned failure.
pub(crate) fn planned(step: Step) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(format!(
        "planned failure at {step:?}"
    )))
}
