//! A plan joined with its methodology.

use super::{AdvanceOverGap, Plan};
use crate::exact::Exact;
use crate::methodology::{Aggregation, Direction, Methodology, Parameter};
use crate::unit::Unit;

/// A plan and a methodology that fit together; what a computation needs.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The plan.
    pub plan: Plan,
    /// The methodology.
    pub methodology: Methodology,
    /// The members of each index of the methodology, in the order the plan names them first.
    pub members: Vec<Vec<String>>,
    /// One per parameter and member, in the methodology's order.
    pub inputs: Vec<Input>,
}

/// A value that formulas use: a parameter, for one member of its index.
#[derive(Debug, Clone)]
pub struct Input {
    /// The parameter, by position in [`Methodology::parameters`].
    pub parameter: usize,
    /// The member, by position in [`Bound::members`]; 0 without an index.
    pub member: usize,
    /// `Q` or `Q[W-1]`.
    pub label: String,
    /// Where the value comes from.
    pub source: InputSource,
}

/// Where an input's value comes from.
#[derive(Debug, Clone)]
pub enum InputSource {
    /// Readings (option C).
    Point(Box<PointSource>),
    /// A number fixed ex ante.
    Fixed {
        /// Its position in [`Plan::fixed`].
        fixed: usize,
        /// The number in the parameter's unit.
        value: Exact,
    },
    /// The methodology's own number, in the parameter's unit.
    Default(Exact),
    /// Values entered by hand (options A and B), by position in [`Plan::entered`].
    Entered(Vec<usize>),
    /// The parameter's neutral value.
    Neutral {
        /// Its position in [`Plan::neutral`].
        neutral: usize,
        /// The number in the parameter's unit.
        value: Exact,
    },
}

/// How readings become a value.
#[derive(Debug, Clone)]
pub struct PointSource {
    /// Its position in [`Plan::points`].
    pub point: usize,
    /// The aggregation.
    pub aggregation: Aggregation,
    /// What a larger value does.
    pub direction: Direction,
    /// The unit of a sample: the readings', or that of a mass flow made from them.
    pub sample_unit: Unit,
    /// The unit of the aggregate before conversion: the readings' unit, for an integral times ms.
    pub sum_unit: Unit,
    /// What happens at gaps of a totaliser.
    pub gap: GapRule,
    /// The largest rate that is physically possible.
    pub nameplate: Option<Nameplate>,
}

/// What happens to a totaliser's advance over a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapRule {
    /// Whether it counts.
    pub advance: AdvanceOverGap,
    /// Shorter gaps without any reading do not interrupt the totaliser, milliseconds.
    pub bridge_max_ms: i64,
    /// Why.
    pub reason: String,
}

/// The largest plausible value.
#[derive(Debug, Clone)]
pub struct Nameplate {
    /// As the plan states it, e.g. `12.7`.
    pub value: Exact,
    /// Its unit, e.g. `MW`.
    pub unit: Unit,
    /// For amounts: its unit times ms, so that it can be multiplied by a duration.
    pub amount_unit: Unit,
}

impl Bound {
    /// The parameter of an input.
    #[must_use]
    pub fn parameter(&self, input: &Input) -> &Parameter {
        &self.methodology.parameters[input.parameter]
    }
}
