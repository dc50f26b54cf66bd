//! The registered monitoring plan in machine form.
//!
//! [`Plan::parse`] reads plan.toml and checks everything that can be known from the plan alone;
//! [`Plan::bind`] joins it with its methodology and checks the rest. The plan's hash is the SHA-256
//! of the file's bytes: a verifier compares it with the registered document.

mod bind;
mod bound;
mod raw;

pub use bound::{Bound, GapRule, Input, InputSource, Nameplate, PointSource};

use evidence::hash::{Hash, Origin, sha256};
use evidence::note::Vkey;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::exact::Exact;
use crate::input::{InputError, Place};
use crate::methodology::{Aggregation, Methodology};
use crate::period::{Period, PeriodError};
use crate::unit::Unit;

/// A mistake in a plan or between a plan and its methodology.
pub type PlanError = InputError;

/// What a plan may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made up, to try things; the only state that accepts factors with source "example".
    Demo,
    /// Being prepared.
    Draft,
    /// As registered.
    Registered,
}

/// The project the plan belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The project's id, e.g. `ID009`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The partner country.
    pub country: String,
    /// The participants.
    #[serde(default)]
    pub participants: Vec<String>,
}

/// A gateway's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The log's origin.
    pub origin: Origin,
    /// The verification key of the log, as in the registered document.
    pub anchor: Vkey,
    /// The origin of the log that this one replaced.
    pub succeeds: Option<Origin>,
    /// The site, for people.
    pub site: String,
}

/// Which rule makes whole tonnes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoundingPer {
    /// Each calendar year is rounded down.
    Vintage,
    /// The period's total is rounded down.
    Period,
    /// The sheet's total is rounded down; one report fills one sheet.
    Sheet,
}

/// The rounding rule and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounding {
    /// What is rounded down.
    pub per: RoundingPer,
    /// Where the rule stands.
    pub source: String,
}

/// A rule of the plan that lifts a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifted {
    /// Why.
    pub reason: String,
    /// Where that is decided.
    pub source: String,
}

/// What the plan says about periods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeriodRules {
    /// The first day on which emission reductions count.
    pub first_day: Option<Date>,
    /// The last day on which emission reductions count.
    pub last_day: Option<Date>,
    /// Allows periods over the turn of 2020 to 2021.
    pub straddle_2020: Option<Lifted>,
}

/// A point of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointReference {
    /// The log.
    pub origin: Origin,
    /// The point's name in the log's sealed configuration.
    pub point: String,
}

/// A measured quantity and how it becomes a parameter.
#[derive(Debug, Clone)]
pub struct Point {
    /// The monitoring point number of the plan.
    pub number: String,
    /// The parameter it feeds.
    pub parameter: String,
    /// The member of the parameter's index, e.g. the well.
    pub member: Option<String>,
    /// Where the readings are, the replaced log first.
    pub sources: Vec<PointReference>,
    /// The unit of the readings, as sealed.
    pub unit: Unit,
    /// How readings become the value; none when the methodology leaves no choice.
    pub aggregation: Option<Aggregation>,
    /// How it is measured, for the monitoring report.
    pub method: String,
    /// Whether the advance of a totaliser over a gap counts.
    pub advance_over_gap: Option<AdvanceOverGap>,
    /// A gap of at most this many seconds without any reading does not interrupt a totaliser.
    pub bridge_max_s: u32,
    /// Why advances over gaps count.
    pub reason: Option<String>,
    /// The largest rate that is physically possible.
    pub nameplate: Option<(Exact, Unit)>,
    /// Turns a volume flow at line conditions into a mass flow, sample by sample.
    pub density: Option<DensityRule>,
    pub(crate) place: Place,
}

/// Mass flow = volume flow × density of pure CO2 at the pressure and temperature of the same tick.
#[derive(Debug, Clone)]
pub struct DensityRule {
    /// Absolute pressure in the line.
    pub pressure: Companion,
    /// Temperature in the line.
    pub temperature: Companion,
    /// For a stream that is not pure: pressures (in the pressure's unit) between which gas and liquid
    /// may lie side by side; refused.
    pub two_phase: Option<(Exact, Exact)>,
    /// What the stream consists of, beside which the result is shown.
    pub composition: String,
}

/// A point that is read together with another one, in the same stream of the same log.
#[derive(Debug, Clone)]
pub struct Companion {
    /// Its name in the sealed configuration of every log that the main point is read from.
    pub point: String,
    /// Its unit, as sealed.
    pub unit: Unit,
    /// The standard uncertainty of its transmitter, in that unit.
    pub uncertainty: Exact,
}

impl Point {
    /// The names of all points that it reads in each of its logs.
    pub fn names_in(&self, reference: &PointReference) -> Vec<String> {
        let mut names = vec![reference.point.clone()];
        if let Some(rule) = &self.density {
            names.push(rule.pressure.point.clone());
            names.push(rule.temperature.point.clone());
        }
        names
    }
}

/// What happens to a totaliser's advance over a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdvanceOverGap {
    /// It is listed and does not count.
    List,
    /// It is listed and counts.
    Count,
}

/// A number fixed ex ante.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// The parameter.
    pub parameter: String,
    /// The member of its index; none for all members.
    pub member: Option<String>,
    /// The number.
    pub value: Exact,
    /// Its unit.
    pub unit: Unit,
    /// `net` or `gross`, where the methodology asks.
    pub basis: Option<String>,
    /// Where the number comes from; `example` only in a demo plan.
    pub source: String,
    /// First and last day on which it holds; none without limit.
    pub valid: (Option<Date>, Option<Date>),
    pub(crate) place: Place,
}

/// The monitoring option of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitoringOption {
    /// Public data measured by others.
    A,
    /// The amount of a transaction, such as an invoice.
    B,
    /// Actual measurement with measuring equipment.
    C,
}

impl MonitoringOption {
    /// Its letter.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

/// A value that a person entered by hand.
#[derive(Debug, Clone)]
pub struct Entered {
    /// The parameter.
    pub parameter: String,
    /// The member of its index.
    pub member: Option<String>,
    /// A or B.
    pub option: MonitoringOption,
    /// The number.
    pub value: Exact,
    /// Its unit.
    pub unit: Unit,
    /// The first day it covers.
    pub from: Date,
    /// The last day it covers.
    pub to: Date,
    /// Who entered it.
    pub person: String,
    /// The document: table and edition, or invoice number.
    pub citation: String,
    pub(crate) place: Place,
}

/// A parameter or index the plan declares to play no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neutral {
    /// The parameter that takes its neutral value, or the index without members.
    pub name: String,
    /// Why.
    pub justification: String,
    pub(crate) place: Place,
}

/// The monitoring plan, checked as far as it stands alone.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the plan may claim.
    pub state: State,
    /// The project.
    pub project: Project,
    /// The methodology's id.
    pub methodology_id: String,
    /// The SHA-256 the methodology's file must have, when the plan pins it.
    pub methodology_hash: Option<Hash>,
    /// The IANA zone in which periods and vintages are cut.
    pub reporting_zone: String,
    /// The logs.
    pub logs: Vec<Log>,
    /// The key of the project log; without it what was entered by hand is not witnessed.
    pub project_log: Option<Vkey>,
    /// The monitoring points.
    pub points: Vec<Point>,
    /// The numbers fixed ex ante.
    pub fixed: Vec<Fixed>,
    /// The values entered by hand.
    pub entered: Vec<Entered>,
    /// What plays no part.
    pub neutral: Vec<Neutral>,
    /// What the plan says about periods.
    pub period: PeriodRules,
    /// The rounding rule.
    pub rounding: Rounding,
    pub(crate) file: String,
    pub(crate) methodology_place: Place,
    hash: Hash,
}

impl Plan {
    /// Reads and checks a plan; `file` is named in errors.
    ///
    /// # Errors
    /// [`InputError`] with file, line, column, key, and what is allowed.
    pub fn parse(text: &str, file: &str) -> Result<Self, PlanError> {
        raw::parse(text, file, sha256(text.as_bytes()))
    }

    /// The SHA-256 of the file's bytes.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Joins the plan with its methodology: every parameter gets exactly one source, every unit is
    /// checked.
    ///
    /// # Errors
    /// [`InputError`] at the plan's line that is wrong or lacks something.
    pub fn bind(&self, methodology: &Methodology) -> Result<Bound, PlanError> {
        bind::bind(self, methodology)
    }

    /// A period in the plan's reporting zone, under the plan's rules.
    ///
    /// # Errors
    /// [`PeriodError`].
    pub fn period(&self, from: Date, to: Date) -> Result<Period, PeriodError> {
        let first_day = self.period.first_day.unwrap_or(Date::MIN);
        let last_day = self.period.last_day.unwrap_or(Date::MAX);
        if from < first_day || to > last_day {
            return Err(PeriodError::OutsidePlan {
                from,
                to,
                first_day,
                last_day,
            });
        }
        match self.period.straddle_2020 {
            Some(_) => Period::new_across_2020(from, to, &self.reporting_zone),
            None => Period::new(from, to, &self.reporting_zone),
        }
    }

    /// The logs in an order in which they can be fed to a computation: each after the one it
    /// replaced, otherwise as in the plan.
    #[must_use]
    pub fn feeding_order(&self) -> Vec<&Log> {
        let mut order: Vec<&Log> = Vec::with_capacity(self.logs.len());
        // `succeeds` has no cycle (checked when the plan was read), so each round places a log.
        while order.len() < self.logs.len() {
            let placed = |origin: &Origin| order.iter().any(|log| log.origin == *origin);
            let next = self
                .logs
                .iter()
                .find(|log| !placed(&log.origin) && log.succeeds.as_ref().is_none_or(placed));
            match next {
                Some(log) => order.push(log),
                None => break,
            }
        }
        order
    }
}
