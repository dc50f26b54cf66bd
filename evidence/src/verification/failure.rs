//! What a verifier says when a check fails: the rule, the entry, the ticks, the place in the file.

use std::fmt;

use crate::bundle::BundleError;
use crate::entry::Ticks;
use crate::hash::Hash;
use crate::rejection::Rejection;

/// What kind of failure it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Something is not what was signed.
    Integrity,
    /// Something is not there.
    Incomplete,
    /// Not enough witnesses, or a time that cannot be.
    TimeOrPolicy,
    /// The report does not follow from the readings.
    Report,
    /// The verifier's own files or arguments.
    Input,
}

impl Class {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Integrity => 2,
            Self::Incomplete => 3,
            Self::TimeOrPolicy => 4,
            Self::Report => 5,
            Self::Input => 6,
        }
    }

    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Incomplete => "incomplete",
            Self::TimeOrPolicy => "time or policy",
            Self::Report => "report",
            Self::Input => "input",
        }
    }
}

/// Which rule was broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The archive or a file of it.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// An entry or payload.
    #[error("{0}")]
    Entry(#[from] Rejection),
    /// The final checkpoint is not signed by the anchor key, or is malformed.
    #[error("the final checkpoint: {0}")]
    Checkpoint(String),
    /// Witnesses are missing.
    #[error("the quorum {quorum} is not met: cosigned by {found}")]
    Quorum {
        /// The policy's quorum in words.
        quorum: String,
        /// Who did cosign.
        found: String,
    },
    /// The `range-start` file.
    #[error("range-start: {0}")]
    RangeStart(String),
    /// A control entry is not proven to be in the tree.
    #[error("the proof of the control entry: {0}")]
    ControlProof(String),
    /// The control entries in the pass are not those of the control chain.
    #[error("the control entry is not the one whose proof is in the bundle")]
    ControlDiffers,
    /// A trail note that cannot belong here.
    #[error("trail note: {0}")]
    Trail(String),
    /// The running root is not the one a checkpoint states.
    #[error("the root over the first {size} entries is not the one of the {which}")]
    Root {
        /// The size.
        size: u64,
        /// Which checkpoint.
        which: &'static str,
    },
    /// Entries are missing behind the last one in the bundle.
    #[error("the bundle's entries end at {found}, the checkpoint covers {size}")]
    EntriesEnd {
        /// The index after the last entry found.
        found: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// The bytes of `entries.bin` or `payload.bin` do not come out even.
    #[error("{0}")]
    LeftOver(String),
    /// A stream does not reach back to the start of the period.
    #[error(
        "stream {stream} begins {missing} ticks after the period's start and nothing before it is in the bundle"
    )]
    StartNotCovered {
        /// The stream.
        stream: u16,
        /// Ticks without any proof.
        missing: u64,
    },
    /// A stream does not reach the end of the period.
    #[error(
        "stream {stream} ends {missing} ticks before the period's end: what was sealed after is not in the bundle"
    )]
    EndNotCovered {
        /// The stream.
        stream: u16,
        /// Ticks without any proof.
        missing: u64,
    },
    /// A point of the plan that no configuration in the bundle has.
    #[error("point `{0}` of the plan is in no sealed configuration of this log")]
    PointMissing(String),
    /// Ticks do not add up; cannot happen while the chain's rules hold.
    #[error("stream {stream}: {unexplained} ticks are unexplained")]
    Unexplained {
        /// The stream.
        stream: u16,
        /// Expected minus found.
        unexplained: i64,
    },
    /// A claimed time outside the bracket.
    #[error(
        "{count} entries claim a time outside their bracket; the first claims {claimed}, {bound}"
    )]
    OutsideBracket {
        /// Entries outside.
        count: u64,
        /// The end of the first such entry's ticks.
        claimed: String,
        /// Which side of the bracket is broken.
        bound: String,
    },
    /// Ticks of the period were sealed by a stolen key, and no witness had seen them before the theft.
    #[error(
        "stream {stream}: {missing} ticks of the period are void: from entry {from} on a revoked key \
         signed what no witness had seen before the theft"
    )]
    Void {
        /// The stream.
        stream: u16,
        /// Ticks of the period without a valid entry.
        missing: u64,
        /// The first void entry.
        from: u64,
    },
    /// Values of the period were sealed under a configuration that nobody approved.
    #[error(
        "the configuration is not approved by a key you named, and {ticks} measured ticks of the period \
         were sealed under unapproved ones"
    )]
    Unapproved {
        /// Measured ticks, all streams together.
        ticks: u64,
    },
    /// A log and its successor contradict one another.
    #[error("hand-over to `{successor}`: {problem}")]
    HandOver {
        /// The successor.
        successor: String,
        /// What does not fit.
        problem: String,
    },
    /// A log of the plan that the bundle does not hold.
    #[error("the plan's log is not in the bundle")]
    LogMissing,
    /// A log that the plan does not name.
    #[error("the bundle holds a log that the plan does not name")]
    LogUnknown,
    /// The plan names a project log that the bundle does not hold.
    #[error("the plan's project log is not in the bundle")]
    ProjectLogMissing,
    /// An attachment whose bytes have another hash than its name.
    #[error("the attachment is not the file that was entered: its SHA-256 is {0}")]
    AttachmentDiffers(Hash),
    /// An attachment that no record names.
    #[error("no record of the project log names this attachment")]
    AttachmentUnknown,
    /// No key for a log.
    #[error("no anchor key was given for this log")]
    NoAnchor,
    /// The readings do not fit the plan.
    #[error("{0}")]
    Computation(String),
    /// A cell of the report.
    #[error("report cell `{path}`: claimed {claimed}, recomputed {recomputed}")]
    ReportCell {
        /// The cell.
        path: String,
        /// In the bundle.
        claimed: String,
        /// From the readings.
        recomputed: String,
    },
    /// A checkpoint seen in an earlier audit is not continued: the log has two histories.
    #[error(
        "the log is forked: an earlier audit saw the root {remembered} over the first {size} entries, \
         this bundle leads to {found}"
    )]
    Forked {
        /// The size of the checkpoint seen before.
        size: u64,
        /// Its root.
        remembered: Hash,
        /// The root at that size now.
        found: Hash,
    },
    /// Something asked for is not in the bundle.
    #[error("{0}")]
    NotShown(String),
    /// The report cannot be compared.
    #[error("report/report.json: {0}")]
    Report(String),
}

impl Problem {
    /// A stable code for programs: `E01`–`E20` for entries ([`Rejection::code`]), `V…` for the rest.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Entry(rejection) => rejection.code(),
            Self::Bundle(_) => "V01",
            Self::Checkpoint(_) => "V02",
            Self::Quorum { .. } => "V03",
            Self::RangeStart(_) => "V04",
            Self::ControlProof(_) => "V05",
            Self::ControlDiffers => "V06",
            Self::Trail(_) => "V07",
            Self::Root { .. } => "V08",
            Self::EntriesEnd { .. } => "V09",
            Self::LeftOver(_) => "V10",
            Self::StartNotCovered { .. } => "V11",
            Self::EndNotCovered { .. } => "V12",
            Self::PointMissing(_) => "V13",
            Self::Unexplained { .. } => "V14",
            Self::OutsideBracket { .. } => "V15",
            Self::HandOver { .. } => "V16",
            Self::LogMissing => "V17",
            Self::LogUnknown => "V18",
            Self::NoAnchor => "V19",
            Self::Computation(_) => "V20",
            Self::ReportCell { .. } => "V21",
            Self::Report(_) => "V22",
            Self::Forked { .. } => "V30",
            Self::NotShown(_) => "V31",
            Self::Void { .. } => "V23",
            Self::Unapproved { .. } => "V24",
            Self::AttachmentDiffers(_) => "V40",
            Self::ProjectLogMissing => "V41",
            Self::AttachmentUnknown => "V42",
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Bundle(BundleError::Missing(_) | BundleError::Empty) => Class::Incomplete,
            Self::Bundle(_)
            | Self::Entry(_)
            | Self::Checkpoint(_)
            | Self::RangeStart(_)
            | Self::ControlProof(_)
            | Self::ControlDiffers
            | Self::Trail(_)
            | Self::Root { .. }
            | Self::LeftOver(_)
            | Self::Unexplained { .. }
            | Self::HandOver { .. }
            | Self::Void { .. }
            | Self::LogUnknown
            | Self::Forked { .. }
            | Self::AttachmentDiffers(_)
            | Self::AttachmentUnknown => Class::Integrity,
            Self::EntriesEnd { .. }
            | Self::StartNotCovered { .. }
            | Self::EndNotCovered { .. }
            | Self::PointMissing(_)
            | Self::NotShown(_)
            | Self::LogMissing
            | Self::ProjectLogMissing => Class::Incomplete,
            Self::Quorum { .. } | Self::OutsideBracket { .. } | Self::Unapproved { .. } => {
                Class::TimeOrPolicy
            }
            Self::Computation(_) | Self::ReportCell { .. } | Self::Report(_) => Class::Report,
            Self::NoAnchor => Class::Input,
        }
    }
}

/// A failed check.
#[derive(Debug)]
pub struct Failure {
    /// The log, if it is about one.
    pub log: Option<String>,
    /// The entry.
    pub index: Option<u64>,
    /// Its ticks.
    pub ticks: Option<Ticks>,
    /// The file and the position in the archive where it stands.
    pub place: Option<(String, u64)>,
    /// The rule.
    pub problem: Box<Problem>,
}

impl Failure {
    /// A failure that is about no entry.
    #[must_use]
    pub fn new(problem: impl Into<Problem>) -> Self {
        Self {
            log: None,
            index: None,
            ticks: None,
            place: None,
            problem: Box::new(problem.into()),
        }
    }

    /// Says which log it is about.
    #[must_use]
    pub fn of_log(mut self, origin: &str) -> Self {
        self.log = Some(origin.to_owned());
        self
    }

    /// Says which entry it is about.
    #[must_use]
    pub const fn of_entry(mut self, index: u64) -> Self {
        self.index = Some(index);
        self
    }

    /// Says which ticks it is about.
    #[must_use]
    pub const fn of_ticks(mut self, ticks: Option<Ticks>) -> Self {
        self.ticks = ticks;
        self
    }

    /// Says where in the archive it stands.
    #[must_use]
    pub fn at(mut self, file: &str, offset: u64) -> Self {
        self.place = Some((file.to_owned(), offset));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.problem.code())?;
        if let Some(log) = &self.log {
            write!(f, "log {log}: ")?;
        }
        if let Some(index) = self.index {
            write!(f, "entry {index}: ")?;
        }
        write!(f, "{}", self.problem)?;
        if let Some(ticks) = &self.ticks {
            write!(
                f,
                "; stream {}, ticks {}..{}",
                ticks.stream,
                ticks.first,
                ticks.end()
            )?;
        }
        match &self.place {
            Some((file, offset)) => write!(f, "; {file}, byte {offset} of the bundle"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
