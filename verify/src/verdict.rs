//! What was found, as data: the same facts that the text tells, and what `--json` prints.

use std::collections::BTreeMap;

use evidence::bundle::Disclosure;
use evidence::entry::Ticks;
use evidence::verification::{
    Class, Event, Failure, LogFacts, Now, Remembered, RevocationFacts, StreamFacts,
};
use serde::Serialize;

pub mod project_log;

/// The form of the JSON.
pub const FORMAT: &str = "fieldseal-verdict/1";

/// The exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was proven.
    Proven,
    /// Everything was proven, and more is missing than the limit allows.
    Gaps,
    /// A check failed.
    Failed(Class),
    /// The verifier's own files or arguments.
    Input,
}

impl Exit {
    /// The code of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::Gaps => 1,
            Self::Failed(class) => class.exit_code(),
            Self::Input => Class::Input.exit_code(),
        }
    }
}

/// The verdict over a bundle.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// [`FORMAT`].
    pub format: &'static str,
    /// The exit code.
    pub exit: u8,
    /// SHA-256 of the bundle file.
    pub bundle_sha256: String,
    /// SHA-256 of the verifier's plan.
    pub plan_sha256: String,
    /// Whether the copy in the bundle is the same.
    pub plan_equal: bool,
    /// The period.
    pub period: PeriodVerdict,
    /// The policy.
    pub policy: PolicyVerdict,
    /// One per log, in the order in which they were checked.
    pub logs: Vec<LogVerdict>,
    /// One per point and successor.
    pub hand_overs: Vec<HandOverVerdict>,
    /// What people entered.
    pub project_log: project_log::ProjectLogVerdict,
    /// What became of the report.
    pub report: ReportVerdict,
    /// The lowest assurance class of any measured tick; none when nothing was measured.
    pub class: Option<u8>,
    /// The largest share without a measurement, of a stream that matters or between two logs, in millionths.
    pub unmeasured_ppm: u64,
    /// The limit, in millionths.
    pub unmeasured_limit_ppm: u64,
    /// Proofs that a log has two histories.
    pub forks: Vec<ForkVerdict>,
    /// How many authorities were named.
    pub approvers: usize,
    /// Whether an unapproved configuration is a failure.
    pub approvals_required: bool,
    /// All failures, in the order in which they were found.
    pub failures: Vec<FailureVerdict>,
}

/// The period.
#[derive(Debug, Clone, Serialize)]
pub struct PeriodVerdict {
    /// First day.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// Zone.
    pub zone: String,
    /// First instant, unix milliseconds.
    pub from_ms: i64,
    /// First instant after.
    pub to_ms: i64,
    /// Taken from the report under test.
    pub claimed: bool,
}

/// What the policy says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyVerdict {
    /// The quorum in words.
    pub quorum: String,
    /// How many witnesses would have had to lie for a second history.
    pub split_view_number: u32,
    /// Who they are.
    pub split_view_witnesses: Vec<String>,
    /// The collector's witness.
    pub collector: Option<String>,
}

/// One log.
#[derive(Debug, Serialize)]
pub struct LogVerdict {
    /// Its name.
    pub origin: String,
    /// Whether every check of its entries was passed; the numbers below are whole only then.
    pub complete: bool,
    /// First entry in the bundle.
    pub first: u64,
    /// The size of the final checkpoint.
    pub size: u64,
    /// Its root.
    pub root: String,
    /// Control entries below the size.
    pub controls: u64,
    /// Entry keys that signed.
    pub entry_keys: u64,
    /// Entry keys in use over 25 hours, with the hours.
    pub long_keys: BTreeMap<String, u64>,
    /// Notes per witness.
    pub cosigned: BTreeMap<String, u64>,
    /// Notes that meet the quorum by themselves.
    pub quorum_met: u64,
    /// Intermediate roots reproduced, the final one included.
    pub roots: u64,
    /// Data entries whose payload was declared dropped.
    pub dropped: u64,
    /// Checkpoints of earlier audits and what this bundle says of them; empty without a state file.
    pub remembered: Vec<RememberedVerdict>,
    /// What the bundle shows of its readings: `A` all, `B` listed points, `C` none.
    pub disclosure: char,
    /// The points that class B lists.
    pub disclosed: Vec<String>,
    /// Samples decoded.
    pub samples: u64,
    /// Samples that are not good, by the lowest code said of each.
    pub not_good: BTreeMap<u8, u64>,
    /// Where the ticks went.
    pub streams: Vec<StreamVerdict>,
    /// When they were sealed.
    pub time: TimeVerdict,
    /// Runs of entries of one assurance class: class, first entry, last entry, first and last end of
    /// ticks in unix milliseconds.
    pub class_runs: Vec<(u8, u64, u64, i64, i64)>,
    /// What the log says of itself.
    pub events: Vec<EventVerdict>,
    /// Configurations that values of the period were sealed under and no authority you named approved.
    pub unapproved: Vec<UnapprovedVerdict>,
    /// Every revocation of one of its keys.
    pub revocations: Vec<RevocationVerdict>,
    /// The first entry that is void because its key was stolen.
    pub void_from: Option<u64>,
}

/// A configuration that nobody approved.
#[derive(Debug, Clone, Serialize)]
pub struct UnapprovedVerdict {
    /// Its entry.
    pub index: u64,
    /// When it was sealed by the gateway's clock, unix milliseconds.
    pub since_ms: Option<u64>,
    /// Measured ticks of the period under it.
    pub ticks: u64,
}

/// What a revocation came to.
#[derive(Debug, Clone, Serialize)]
pub struct RevocationVerdict {
    /// The key.
    pub key_id: String,
    /// Stolen at the earliest, unix seconds.
    pub since_s: u64,
    /// Why.
    pub reason: String,
    /// The authority.
    pub by: String,
    /// The entry that holds it; none when you brought it.
    pub entry: Option<u64>,
    /// Whether you named the authority and its signature is good.
    pub accepted: bool,
    /// Whether the log ever used the key.
    pub known: bool,
    /// The first entry that is void by it.
    pub void_from: Option<u64>,
}

/// What the report would be if only approved configurations counted.
#[derive(Debug, Clone, Serialize)]
pub struct ApprovedOnlyVerdict {
    /// Emission reductions, in tonnes; none if they cannot be computed.
    pub er: Option<String>,
    /// Credited under the plan's rule.
    pub credited: Option<String>,
    /// Why they cannot be computed.
    pub problem: Option<String>,
}

/// A checkpoint seen in an earlier audit.
#[derive(Debug, Clone, Serialize)]
pub struct RememberedVerdict {
    /// Its size.
    pub size: u64,
    /// Its root, hexadecimal.
    pub root: String,
    /// `continued`, `forked`, `older` (the bundle is of an older state), `before` (it lies before the
    /// bundle's first entry, so nothing here can tell), `open` (the proof stopped before it).
    pub now: &'static str,
}

impl From<&Remembered> for RememberedVerdict {
    fn from(known: &Remembered) -> Self {
        Self {
            size: known.size,
            root: known.root.to_hex(),
            now: match known.now {
                Now::Open => "open",
                Now::Continued => "continued",
                Now::Forked(_) => "forked",
                Now::Older => "older",
                Now::Before => "before",
            },
        }
    }
}

/// Two signed statements of one log that cannot both be true; with them anybody can prove the fork.
#[derive(Debug, Clone, Serialize)]
pub struct ForkVerdict {
    /// The log.
    pub log: String,
    /// The size at which the histories differ.
    pub size: u64,
    /// The note seen in the earlier audit.
    pub remembered: String,
    /// The bundle's final note.
    pub found: String,
}

/// One stream.
#[derive(Debug, Clone, Serialize)]
pub struct StreamVerdict {
    /// The stream.
    pub stream: u16,
    /// Tick length.
    pub tick_ms: u32,
    /// Whether the plan uses it.
    pub relevant: bool,
    /// Ticks of the period.
    pub expected: u64,
    /// Measured.
    pub measured: u64,
    /// Declared gap: entries and ticks per reason.
    pub gaps: BTreeMap<String, GapVerdict>,
    /// Ticks that no entry covers.
    pub holes: u64,
    /// Ticks covered twice.
    pub overlaps: u64,
    /// Ticks that never got a time.
    pub unplaced: u64,
    /// What the entries cover, unix milliseconds.
    pub covered_ms: Option<(i64, i64)>,
    /// The longest run without measurement, unix milliseconds.
    pub longest_gap_ms: Option<(i64, i64)>,
}

/// Gaps of one reason.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct GapVerdict {
    /// Entries.
    pub entries: u64,
    /// Ticks.
    pub ticks: u64,
}

/// Brackets of time.
#[derive(Debug, Clone, Serialize)]
pub struct TimeVerdict {
    /// Ticks whose bracket is at most 300, 4200, 86400, 604800 seconds wide, and wider.
    pub within: [u64; 5],
    /// Ticks without a lower bound.
    pub no_lower: u64,
    /// Ticks without an upper bound.
    pub no_upper: u64,
    /// The widest bracket, seconds.
    pub widest_s: u64,
    /// The longest time from a claimed time to the statement that bounds it.
    pub latest_s: u64,
    /// Ticks per assurance class.
    pub classes: [u64; 3],
    /// Entries with a trusted pin.
    pub pins_trusted: u64,
    /// Entries whose pin proves nothing.
    pub pins_unknown: u64,
    /// Entries outside their bracket.
    pub outside: u64,
    /// Timestamps (RFC 3161) over trail notes.
    pub timestamps: u64,
    /// Those of an authority under the verifier's own roots.
    pub timestamps_verified: u64,
    /// Whether the verifier gave roots, so that they were looked into.
    pub timestamps_checked: bool,
    /// Why the first of the others was not verified.
    pub timestamp_error: Option<String>,
    /// Ticks that a verified timestamp covers within the largest delay.
    pub stamped: u64,
}

/// A control entry in words.
#[derive(Debug, Clone, Serialize)]
pub struct EventVerdict {
    /// The entry.
    pub index: u64,
    /// Its kind.
    pub kind: &'static str,
    /// In words.
    pub text: String,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Whether it changes values.
    pub changes_values: bool,
}

/// The seam between a log and its successor for one point of the plan.
#[derive(Debug, Clone, Serialize)]
pub struct HandOverVerdict {
    /// The monitoring point.
    pub number: String,
    /// The log replaced.
    pub from: String,
    /// Its successor.
    pub to: String,
    /// The end of what counts of the first, unix milliseconds.
    pub ends_ms: i64,
    /// The start of the second.
    pub begins_ms: i64,
    /// Whether the successor's log names the last entry of the first.
    pub sealed: bool,
}

/// What became of the report.
#[derive(Debug, Clone, Serialize)]
pub struct ReportVerdict {
    /// Whether the bundle holds one.
    pub claimed: bool,
    /// Whether it could be recomputed.
    pub recomputed: bool,
    /// Whether both are equal, byte for byte.
    pub equal: bool,
    /// Emission reductions as recomputed, in tonnes.
    pub er: Option<String>,
    /// Credited under the plan's rule.
    pub credited: Option<String>,
    /// Parameters as recomputed: name, value, unit.
    pub parameters: Vec<(String, String, String)>,
    /// What they would be without values under unapproved configurations; none when there are none.
    pub approved_only: Option<ApprovedOnlyVerdict>,
    /// Why the recomputed numbers may still change, or must not be claimed as they are.
    pub provisional_reasons: Vec<String>,
    /// Cells that differ in all.
    pub cells_differ: u64,
    /// Monitoring points whose readings are not all in the bundle: what rests on them is not checked.
    pub hidden: Vec<String>,
    /// With hidden points, the measured parameters that were recomputed and compared all the same.
    pub compared: Vec<String>,
}

/// A failed check.
#[derive(Debug, Clone, Serialize)]
pub struct FailureVerdict {
    /// The rule's code.
    pub code: &'static str,
    /// The exit code it leads to.
    pub exit: u8,
    /// The log.
    pub log: Option<String>,
    /// The entry.
    pub index: Option<u64>,
    /// Its ticks: stream, first, first after.
    pub ticks: Option<(u16, u64, u64)>,
    /// The file inside the bundle.
    pub file: Option<String>,
    /// The position in the bundle.
    pub offset: Option<u64>,
    /// Everything in words.
    pub text: String,
}

impl From<&Failure> for FailureVerdict {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.problem.code(),
            exit: failure.problem.class().exit_code(),
            log: failure.log.clone(),
            index: failure.index,
            ticks: failure
                .ticks
                .as_ref()
                .map(|ticks: &Ticks| (ticks.stream, ticks.first, ticks.end())),
            file: failure.place.as_ref().map(|(file, _)| file.clone()),
            offset: failure.place.as_ref().map(|(_, offset)| *offset),
            text: failure.to_string(),
        }
    }
}

impl From<&StreamFacts> for StreamVerdict {
    fn from(facts: &StreamFacts) -> Self {
        Self {
            stream: facts.stream,
            tick_ms: facts.tick_ms,
            relevant: facts.relevant,
            expected: facts.expected,
            measured: facts.measured,
            gaps: facts
                .gaps
                .iter()
                .map(|(reason, gap)| {
                    (
                        (*reason).to_owned(),
                        GapVerdict {
                            entries: gap.entries,
                            ticks: gap.ticks,
                        },
                    )
                })
                .collect(),
            holes: facts.holes,
            overlaps: facts.overlaps,
            unplaced: facts.unplaced,
            covered_ms: facts.covered_ms,
            longest_gap_ms: facts.longest_gap_ms,
        }
    }
}

impl From<&RevocationFacts> for RevocationVerdict {
    fn from(facts: &RevocationFacts) -> Self {
        Self {
            key_id: facts.key_id.clone(),
            since_s: facts.since_s,
            reason: facts.reason.clone(),
            by: facts.by.clone(),
            entry: facts.entry,
            accepted: facts.accepted,
            known: facts.known,
            void_from: facts.void_from,
        }
    }
}

impl From<&Event> for EventVerdict {
    fn from(event: &Event) -> Self {
        Self {
            index: event.index,
            kind: event.kind,
            text: event.text.clone(),
            approved_by: event.approved_by.clone(),
            changes_values: event.changes_values,
        }
    }
}

/// What the samples of a log were.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// All.
    pub all: u64,
    /// Not good, by code.
    pub not_good: BTreeMap<u8, u64>,
}

impl LogVerdict {
    /// Joins what the proof and the samples say of a log.
    #[must_use]
    pub fn new(facts: &LogFacts, samples: Samples, complete: bool) -> Self {
        let time = &facts.time;
        Self {
            origin: facts.origin.clone(),
            complete,
            first: facts.first,
            size: facts.size,
            root: facts.root.to_hex(),
            controls: facts.controls,
            entry_keys: facts.entry_keys,
            long_keys: facts.long_keys.iter().cloned().collect(),
            cosigned: facts.cosigned.iter().cloned().collect(),
            quorum_met: facts.quorum_met,
            roots: facts.roots,
            dropped: facts.dropped,
            remembered: facts
                .remembered
                .iter()
                .map(RememberedVerdict::from)
                .collect(),
            disclosure: facts.disclosure.class(),
            disclosed: match &facts.disclosure {
                Disclosure::Listed(names) => names.clone(),
                _ => Vec::new(),
            },
            samples: samples.all,
            not_good: samples.not_good,
            streams: facts.streams.iter().map(StreamVerdict::from).collect(),
            time: TimeVerdict {
                within: time.within,
                no_lower: time.no_lower,
                no_upper: time.no_upper,
                widest_s: time.widest_s,
                latest_s: time.latest_s,
                classes: time.classes,
                pins_trusted: time.pins_trusted,
                pins_unknown: time.pins_unknown,
                outside: time.outside,
                timestamps: time.timestamps,
                timestamps_verified: time.timestamps_verified,
                timestamps_checked: time.timestamps_checked,
                timestamp_error: time.timestamp_error.clone(),
                stamped: time.stamped,
            },
            class_runs: time
                .runs
                .iter()
                .map(|run| (run.class, run.first, run.last, run.from_ms, run.to_ms))
                .collect(),
            events: facts.events.iter().map(EventVerdict::from).collect(),
            unapproved: facts
                .unapproved
                .iter()
                .map(|found| UnapprovedVerdict {
                    index: found.index,
                    since_ms: found.since_ms,
                    ticks: found.ticks,
                })
                .collect(),
            revocations: facts
                .revocations
                .iter()
                .map(RevocationVerdict::from)
                .collect(),
            void_from: facts.void_from,
        }
    }
}

impl StreamVerdict {
    /// Ticks of the period without a measurement.
    #[must_use]
    pub fn unmeasured(&self) -> u64 {
        let declared: u64 = self.gaps.values().map(|gap| gap.ticks).sum();
        (declared + self.holes).saturating_sub(self.overlaps)
    }
}
