//! The report: every number with its unit, its formula, and the entries it rests on.
//!
//! A report is data. [`Report::to_json`] writes it with a stable key order and every decimal as a
//! string, so that two computations of the same evidence give the same bytes; instants are
//! milliseconds since 1970 in UTC with their ISO text beside them where people read them.

mod difference;

pub use difference::CellDifference;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::exact::Exact;
use crate::methodology::{Direction, Excluded};
use crate::plan::{AdvanceOverGap, Project, RoundingPer};

/// The name of this report format.
pub const FORMAT: &str = "fieldseal-report/1";

/// A monitoring report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// Whether the numbers may still change or leave out something that costs, by the evidence.
    pub provisional: bool,
    /// Why.
    pub provisional_reasons: Vec<String>,
    /// What the caller said beside the evidence, such as that the period is not over. It is not
    /// part of the written report: whoever computes it again from the same evidence must get the
    /// same bytes.
    #[serde(skip)]
    pub stated_reasons: Vec<String>,
    /// The plan's state: `demo` reports rest on example factors.
    pub state: String,
    /// The project.
    pub project: Project,
    /// The SHA-256 of the plan file, hexadecimal.
    pub plan_sha256: String,
    /// The methodology.
    pub methodology: MethodologyReport,
    /// The period.
    pub period: PeriodReport,
    /// The totals of the period.
    pub totals: Balance,
    /// The totals of each calendar year; they sum to the period's.
    pub vintages: Vec<Vintage>,
    /// Whole tonnes.
    pub rounding: RoundingReport,
    /// What people should look at.
    pub warnings: Vec<Warning>,
    /// Every parameter, for each member.
    pub parameters: Vec<ParameterReport>,
    /// Every formula as it was computed, for each interval and member.
    pub formulas: Vec<Step>,
    /// The logs.
    pub logs: Vec<LogReport>,
}

/// The methodology a report follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodologyReport {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its title.
    pub title: String,
    /// The SHA-256 of its file, hexadecimal.
    pub sha256: String,
    /// What it leaves out, with its reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<Excluded>,
}

/// A monitoring period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodReport {
    /// The first day, in the zone.
    pub from: String,
    /// The last day, included.
    pub to: String,
    /// The IANA zone.
    pub zone: String,
    /// The first instant.
    pub start_utc: String,
    /// The first instant after the period.
    pub end_utc: String,
    /// The first instant, milliseconds.
    pub start_ms: i64,
    /// The first instant after the period, milliseconds.
    pub end_ms: i64,
    /// The version of the time-zone database.
    pub tz_database: String,
}

/// Emissions and reductions, in tCO2, exact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// Business-as-usual emissions.
    pub bau: Exact,
    /// Reference emissions.
    pub re: Exact,
    /// Actual project emissions.
    pub pe: Exact,
    /// Project emissions that are subtracted.
    pub pe_credited: Exact,
    /// `(RE − PE_credited) × DF`.
    pub er: Exact,
    /// `BaU − RE`: what counts for the partner country alone.
    pub uncredited: Exact,
}

/// One calendar year's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vintage {
    /// The calendar year.
    pub year: i16,
    /// Its first day in the period.
    pub from: String,
    /// Its last day in the period.
    pub to: String,
    /// Exact totals.
    pub exact: Balance,
    /// Whole tonnes under the plan's rule; they sum to the rounded total.
    pub credited: Exact,
}

/// Whole tonnes under each rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundingReport {
    /// The plan's rule.
    pub per: RoundingPer,
    /// Where it stands.
    pub source: String,
    /// The discount factor.
    pub df: Exact,
    /// ER under the plan's rule.
    pub er: Exact,
    /// Each year rounded down, then summed.
    pub per_vintage: Exact,
    /// The period's total rounded down.
    pub per_period: Exact,
    /// The sheet's total rounded down; one report fills one sheet.
    pub per_sheet: Exact,
    /// The largest of the three less the smallest: the tonnes at stake.
    pub tonnes_between: Exact,
    /// Exact ER less the rounded one.
    pub not_credited: Exact,
}

/// Something a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// A stable word, such as `above-nameplate`.
    pub code: String,
    /// The parameter, formula or log.
    pub subject: String,
    /// What it is and what to do.
    pub text: String,
}

/// One parameter, for one member of its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterReport {
    /// `Q` or `Q[W-1]`.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The value of the whole period: the sum for amounts, the mean for states.
    pub value: Exact,
    /// Its unit.
    pub unit: String,
    /// How readings became the value.
    pub aggregation: String,
    /// What a larger value does, as declared and checked.
    pub direction: Option<Direction>,
    /// `A`, `B`, `C`, `fixed ex ante` or `neutral`.
    pub option: String,
    /// Where the number comes from, for what is not measured.
    pub source: Option<String>,
    /// The values by interval.
    pub intervals: Vec<IntervalValue>,
    /// The values by calendar year.
    pub vintages: Vec<VintageValue>,
    /// Values entered by hand.
    pub entered: Vec<EnteredReport>,
    /// The readings behind the value, for what is measured.
    pub measured: Option<MeasuredReport>,
    /// Time without a value, every stretch of it.
    pub gaps: Vec<GapReport>,
}

/// A parameter's value in one interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntervalValue {
    /// `2026-Q1` or `2026`.
    pub interval: String,
    /// The value used in formulas.
    pub value: Exact,
    /// Whether there was any good value; without one, `value` is 0.
    pub known: bool,
    /// The interval's length, milliseconds.
    pub length_ms: i64,
    /// Milliseconds with a good value.
    pub valid_ms: i64,
}

/// A parameter's value in one calendar year.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VintageValue {
    /// The year.
    pub year: i16,
    /// The value.
    pub value: Exact,
}

/// A value entered by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnteredReport {
    /// A or B.
    pub option: String,
    /// The number as entered.
    pub value: Exact,
    /// Its unit.
    pub unit: String,
    /// First day.
    pub from: String,
    /// Last day.
    pub to: String,
    /// Who entered it.
    pub person: String,
    /// From which document.
    pub citation: String,
}

/// The readings behind a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredReport {
    /// The monitoring point number.
    pub number: String,
    /// How it is measured.
    pub method: String,
    /// The points read, the replaced log first.
    pub points: Vec<PointReport>,
    /// The unit of the readings.
    pub unit: String,
    /// Good readings within the period.
    pub good: u64,
    /// Samples within the period that do not count.
    pub not_good: u64,
    /// Their records by quality; one sample may have several.
    pub by_quality: BTreeMap<String, u64>,
    /// Milliseconds that came twice and counted once.
    pub overlap_ms: i64,
    /// The first reading used.
    pub first: Option<ReadingReport>,
    /// The last reading used.
    pub last: Option<ReadingReport>,
    /// The entries that hold the period's readings, per log.
    pub evidence: Vec<EvidenceReport>,
    /// For totalisers: what gaps, edges and resets did.
    pub totaliser: Option<TotaliserReport>,
    /// For masses from a volume flow: how the density was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<DensityReport>,
}

/// How volume flows became mass flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DensityReport {
    /// The rule.
    pub rule: String,
    /// What it assumes of the stream.
    pub assumption: String,
    /// What the stream consists of, as the plan says.
    pub composition: String,
    /// The point of the pressure.
    pub pressure: String,
    /// The point of the temperature.
    pub temperature: String,
    /// Samples within the period with a density.
    pub computed: u64,
    /// Samples refused because pressure or temperature lies where the equation was not compared.
    pub refused_out_of_range: u64,
    /// Samples refused because gas and liquid cannot be told within the transmitters' uncertainty.
    pub refused_near_saturation: u64,
    /// Samples refused because the pressure lies in the declared two-phase region.
    pub refused_two_phase: u64,
}

/// A point of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointReport {
    /// The log.
    pub origin: String,
    /// The point's name in it.
    pub point: String,
}

/// A reading and where it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingReport {
    /// When, UTC.
    pub at: String,
    /// When, milliseconds.
    pub at_ms: i64,
    /// The value, in the readings' unit.
    pub value: Exact,
    /// The log.
    pub origin: String,
    /// The entry.
    pub entry: u64,
    /// The entry's leaf hash, hexadecimal.
    pub leaf: String,
}

/// The entries of a log that hold a parameter's readings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceReport {
    /// The log.
    pub origin: String,
    /// The first entry.
    pub first_entry: u64,
    /// Its leaf hash, hexadecimal.
    pub first_leaf: String,
    /// The last entry.
    pub last_entry: u64,
    /// Its leaf hash, hexadecimal.
    pub last_leaf: String,
    /// How many segments.
    pub segments: u64,
}

/// What a totaliser did beside advancing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotaliserReport {
    /// Whether an advance over a gap counts.
    pub advance_over_gap: AdvanceOverGap,
    /// Gaps up to this long without any value do not interrupt, milliseconds.
    pub bridge_max_ms: i64,
    /// Why.
    pub reason: String,
    /// Advance over gaps that counts, in the readings' unit.
    pub counted_over_gaps: Exact,
    /// Advance that does not count, in the readings' unit.
    pub not_counted: Exact,
    /// Advances over an edge of the period.
    pub edges: Vec<EdgeReport>,
    /// Every time the register went down.
    pub resets: Vec<ResetReport>,
}

/// An advance over an edge of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeReport {
    /// The reading before the edge.
    pub from: String,
    /// The reading after it.
    pub to: String,
    /// The advance, in the readings' unit.
    pub advance: Exact,
    /// Whether it counts.
    pub counted: bool,
}

/// A register that went down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetReport {
    /// The last reading before.
    pub before: ReadingReport,
    /// The first reading after.
    pub after: ReadingReport,
}

/// Time without a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapReport {
    /// From, UTC.
    pub from: String,
    /// To, UTC.
    pub to: String,
    /// Its length, milliseconds.
    pub length_ms: i64,
    /// What is known about it: qualities of its samples, gap entries, or that no entry covers it.
    pub reason: String,
    /// The gap entries that declare it.
    pub entries: Vec<u64>,
    /// For totalisers: what the register advanced, in the readings' unit; none when unknown.
    pub advance: Option<Exact>,
    /// Whether that advance counts.
    pub advance_counted: bool,
}

/// One formula, as it was computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The interval.
    pub interval: String,
    /// `CO2_u[W-1]`.
    pub name: String,
    /// The equation it implements.
    pub label: String,
    /// The formula.
    pub expression: String,
    /// The values that went in.
    pub inputs: Vec<StepInput>,
    /// The result.
    pub value: Exact,
    /// Its unit.
    pub unit: String,
}

/// A value that went into a formula.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepInput {
    /// `Q[W-1]`.
    pub name: String,
    /// The value.
    pub value: Exact,
    /// Its unit.
    pub unit: String,
}

/// A log of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogReport {
    /// Its origin.
    pub origin: String,
    /// Its verification key, from the plan.
    pub anchor: String,
    /// The log it replaced.
    pub succeeds: Option<String>,
}

impl Report {
    /// The report as JSON: stable key order, decimals as strings, a line break at the end.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec_pretty(self).expect("strings, integers and lists always serialise");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a report.
    ///
    /// # Errors
    /// The JSON error with line and column; unknown and missing fields are errors.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Why the report is provisional by the evidence, one sentence each, beginning with the parameter;
    /// empty when it is not. What a caller stated beside the evidence is in [`Self::stated_reasons`].
    #[must_use]
    pub fn provisional_reasons(&self) -> &[String] {
        &self.provisional_reasons
    }

    /// Every cell in which a claimed report differs from a recomputed one; empty when they agree.
    #[must_use]
    pub fn differences(claimed: &Self, recomputed: &Self) -> Vec<CellDifference> {
        difference::differences(claimed, recomputed)
    }

    /// The parameter of this name, e.g. `Q[W-1]`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&ParameterReport> {
        self.parameters
            .iter()
            .find(|parameter| parameter.name == name)
    }
}
