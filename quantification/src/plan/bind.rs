//! Joins a plan with its methodology: every parameter has exactly one source, every unit fits.

use super::{AdvanceOverGap, Entered, Fixed, Plan, PlanError, Point};
use crate::exact::Exact;
use crate::input::{InputError, Place, allowed};
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

struct Binder<'a> {
    plan: &'a Plan,
    methodology: &'a Methodology,
    members: Vec<Vec<String>>,
}

pub(super) fn bind(plan: &Plan, methodology: &Methodology) -> Result<Bound, PlanError> {
    let here = plan.methodology_place;
    if plan.methodology_id != methodology.id {
        let problem = format!(
            "the plan names `{}`, but this methodology is `{}`",
            plan.methodology_id, methodology.id
        );
        return Err(error(
            plan,
            here,
            "methodology",
            problem,
            "give the methodology that the plan names",
        ));
    }
    if let Some(wanted) = plan
        .methodology_hash
        .filter(|wanted| *wanted != methodology.hash())
    {
        let problem = format!(
            "the methodology file has SHA-256 {}, the plan pins {wanted}",
            methodology.hash()
        );
        return Err(error(
            plan,
            here,
            "methodology_sha256",
            problem,
            "use the file that was registered",
        ));
    }
    let members = vec![Vec::new(); methodology.indexes.len()];
    let mut binder = Binder {
        plan,
        methodology,
        members,
    };
    binder.collect_members()?;
    binder.check_indexes()?;
    let mut inputs = Vec::new();
    for (position, parameter) in methodology.parameters.iter().enumerate() {
        let members: Vec<Option<&str>> = match parameter.over {
            None => vec![None],
            Some(index) => binder.members[index]
                .iter()
                .map(|member| Some(member.as_str()))
                .collect(),
        };
        for (number, member) in members.into_iter().enumerate() {
            let label = member.map_or_else(
                || parameter.name.clone(),
                |member| format!("{}[{member}]", parameter.name),
            );
            let source = binder.source(parameter, member, &label)?;
            inputs.push(Input {
                parameter: position,
                member: number,
                label,
                source,
            });
        }
    }
    Ok(Bound {
        plan: plan.clone(),
        methodology: methodology.clone(),
        members: binder.members,
        inputs,
    })
}

fn error(
    plan: &Plan,
    at: Place,
    key: &str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) -> InputError {
    InputError {
        file: plan.file.clone(),
        line: at.line,
        column: at.column,
        key: key.to_owned(),
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

impl Binder<'_> {
    /// Every (parameter, member) the plan names, with its place.
    fn mentions(&self) -> impl Iterator<Item = (&str, Option<&str>, Place, bool)> {
        let points = self
            .plan
            .points
            .iter()
            .map(|p| (p.parameter.as_str(), p.member.as_deref(), p.place, true));
        let entered = self
            .plan
            .entered
            .iter()
            .map(|e| (e.parameter.as_str(), e.member.as_deref(), e.place, true));
        let fixed = self
            .plan
            .fixed
            .iter()
            .map(|f| (f.parameter.as_str(), f.member.as_deref(), f.place, false));
        points.chain(entered).chain(fixed)
    }

    fn collect_members(&mut self) -> Result<(), PlanError> {
        let mut members = self.members.clone();
        for (name, member, place, needs_member) in self.mentions() {
            let Some(parameter) = self.methodology.parameter(name) else {
                let known: Vec<&str> = self
                    .methodology
                    .parameters
                    .iter()
                    .map(|p| p.name.as_str())
                    .collect();
                let problem = format!(
                    "methodology `{}` has no parameter `{name}`",
                    self.methodology.id
                );
                return Err(error(
                    self.plan,
                    place,
                    "parameter",
                    problem,
                    allowed(name, &known),
                ));
            };
            match (parameter.over, member) {
                (None, Some(_)) => {
                    let problem = format!("`{name}` has one value and no members");
                    return Err(error(
                        self.plan,
                        place,
                        "member",
                        problem,
                        "leave member out",
                    ));
                }
                (Some(index), None) if needs_member => {
                    let index = &self.methodology.indexes[index].name;
                    let problem = format!("`{name}` has a value for each {index}");
                    return Err(error(
                        self.plan,
                        place,
                        "member",
                        problem,
                        format!("say which {index}: member = \"…\""),
                    ));
                }
                (Some(index), Some(member)) => {
                    if !members[index].iter().any(|known| known == member) {
                        members[index].push(member.to_owned());
                    }
                }
                (_, None) => {}
            }
        }
        self.members = members;
        Ok(())
    }

    fn check_indexes(&self) -> Result<(), PlanError> {
        for (index, members) in self.methodology.indexes.iter().zip(&self.members) {
            let neutral = self
                .plan
                .neutral
                .iter()
                .find(|neutral| neutral.name == index.name);
            match neutral {
                Some(neutral) if !members.is_empty() => {
                    let problem = format!(
                        "the plan says there is no {}, and names {}",
                        index.name,
                        members.join(", ")
                    );
                    return Err(error(
                        self.plan,
                        neutral.place,
                        "name",
                        problem,
                        "remove one of the two",
                    ));
                }
                Some(neutral) if !index.may_be_empty => {
                    let problem = format!("the methodology needs at least one {}", index.name);
                    return Err(error(
                        self.plan,
                        neutral.place,
                        "name",
                        problem,
                        "name its members",
                    ));
                }
                None if members.is_empty() => {
                    let problem =
                        format!("the plan names no {} ({})", index.name, index.description);
                    let remedy = if index.may_be_empty {
                        format!(
                            "name them, or add [[neutral]] name = \"{}\" with a justification",
                            index.name
                        )
                    } else {
                        "add a point with member = \"…\"".to_owned()
                    };
                    return Err(error(
                        self.plan,
                        self.plan.methodology_place,
                        &index.name,
                        problem,
                        remedy,
                    ));
                }
                _ => {}
            }
        }
        for neutral in &self.plan.neutral {
            let index = self
                .methodology
                .indexes
                .iter()
                .any(|index| index.name == neutral.name);
            let parameter = self.methodology.parameter(&neutral.name);
            if !index && parameter.is_none_or(|parameter| parameter.neutral.is_none()) {
                let mut known: Vec<&str> = self
                    .methodology
                    .parameters
                    .iter()
                    .filter(|p| p.neutral.is_some())
                    .map(|p| p.name.as_str())
                    .collect();
                known.extend(
                    self.methodology
                        .indexes
                        .iter()
                        .filter(|i| i.may_be_empty)
                        .map(|i| i.name.as_str()),
                );
                let problem = format!("`{}` cannot be declared neutral", neutral.name);
                return Err(error(
                    self.plan,
                    neutral.place,
                    "name",
                    problem,
                    allowed(&neutral.name, &known),
                ));
            }
        }
        Ok(())
    }

    fn source(
        &self,
        parameter: &Parameter,
        member: Option<&str>,
        label: &str,
    ) -> Result<InputSource, PlanError> {
        let mut found: Vec<(Place, InputSource)> = Vec::new();
        for (i, point) in self.plan.points.iter().enumerate() {
            if point.parameter == parameter.name && point.member.as_deref() == member {
                found.push((point.place, self.point(i, point, parameter)?));
            }
        }
        let entered: Vec<(usize, &Entered)> = (self.plan.entered.iter().enumerate())
            .filter(|(_, e)| e.parameter == parameter.name && e.member.as_deref() == member)
            .collect();
        if let Some((_, first)) = entered.first() {
            self.entered(parameter, &entered)?;
            found.push((
                first.place,
                InputSource::Entered(entered.iter().map(|(i, _)| *i).collect()),
            ));
        }
        // A number for this member goes before a number for all members.
        let fixed = |wanted: Option<&str>| {
            (self.plan.fixed.iter().enumerate())
                .filter(|(_, f)| f.parameter == parameter.name && f.member.as_deref() == wanted)
                .collect::<Vec<_>>()
        };
        let mut numbers = fixed(member);
        if numbers.is_empty() {
            numbers = fixed(None);
        }
        for (i, number) in numbers {
            found.push((number.place, self.fixed(i, number, parameter)?));
        }
        for (i, neutral) in self
            .plan
            .neutral
            .iter()
            .enumerate()
            .filter(|(_, n)| n.name == parameter.name)
        {
            found.push((neutral.place, neutral_source(i, parameter)));
        }
        let second = found.get(1).map(|(place, _)| *place);
        match (found.into_iter().next(), second) {
            (Some((_, source)), None) => Ok(source),
            (None, _) => Err(self.without_source(parameter, member, label)),
            (Some(_), Some(second)) => {
                let problem = format!("`{label}` has more than one source");
                Err(error(
                    self.plan,
                    second,
                    "parameter",
                    problem,
                    "keep one point, one fixed number or the entered values",
                ))
            }
        }
    }

    fn without_source(
        &self,
        parameter: &Parameter,
        member: Option<&str>,
        label: &str,
    ) -> InputError {
        let table = if parameter.aggregations == [Aggregation::Fixed] {
            "[[fixed]]"
        } else {
            "[[points]] or [[entered]]"
        };
        let member = member.map_or_else(String::new, |member| format!(", member = \"{member}\""));
        let neutral = if parameter.neutral.is_some() {
            " or, with a justification, [[neutral]]"
        } else {
            ""
        };
        let problem = format!(
            "`{label}` ({}, in {}) has no source in the plan",
            parameter.description, parameter.unit
        );
        let remedy = format!(
            "add {table} with parameter = \"{}\"{member}{neutral}",
            parameter.name
        );
        error(
            self.plan,
            self.plan.methodology_place,
            &parameter.name,
            problem,
            remedy,
        )
    }

    fn point(
        &self,
        position: usize,
        point: &Point,
        parameter: &Parameter,
    ) -> Result<InputSource, PlanError> {
        let refuse = |key: &str, problem: String, remedy: String| {
            Err(error(self.plan, point.place, key, problem, remedy))
        };
        let choices: Vec<Aggregation> = parameter
            .aggregations
            .iter()
            .copied()
            .filter(|a| *a != Aggregation::Fixed)
            .collect();
        let names: Vec<&str> = choices
            .iter()
            .map(|aggregation| aggregation.name())
            .collect();
        let aggregation = match (point.aggregation, choices.as_slice()) {
            (_, []) => {
                return refuse(
                    "parameter",
                    format!("`{}` is fixed ex ante, not measured", parameter.name),
                    "use [[fixed]]".to_owned(),
                );
            }
            (None, [only]) => *only,
            (None, _) => {
                return refuse(
                    "aggregation",
                    format!("`{}` can be measured in several ways", parameter.name),
                    allowed("", &names),
                );
            }
            (Some(chosen), choices) if choices.contains(&chosen) => chosen,
            (Some(chosen), _) => {
                let problem = format!("`{}` is not measured as {}", parameter.name, chosen.name());
                return refuse("aggregation", problem, allowed(chosen.name(), &names));
            }
        };
        let Some(direction) = parameter.direction else {
            return refuse(
                "parameter",
                format!("`{}` declares no direction", parameter.name),
                "correct the methodology".to_owned(),
            );
        };
        let unit_error =
            |e: crate::unit::UnitError| error(self.plan, point.place, "unit", e.to_string(), "");
        let sum_unit = match aggregation {
            Aggregation::Integral => point.unit.over_time().map_err(unit_error)?,
            _ => point.unit.clone(),
        };
        sum_unit.check(&parameter.unit).map_err(|e| {
            let problem = format!(
                "`{}` as {} in {}: {e}",
                point.number,
                aggregation.name(),
                point.unit
            );
            let remedy = format!(
                "the parameter `{}` is in {}",
                parameter.name, parameter.unit
            );
            error(self.plan, point.place, "unit", problem, remedy)
        })?;
        Ok(InputSource::Point(Box::new(PointSource {
            point: position,
            aggregation,
            direction,
            sum_unit,
            gap: self.gap_rule(point, aggregation, direction)?,
            nameplate: self.nameplate(point, parameter, aggregation)?,
        })))
    }

    /// The default never overstates reductions: an advance over a gap counts when it costs and is
    /// only listed when it earns.
    fn gap_rule(
        &self,
        point: &Point,
        aggregation: Aggregation,
        direction: Direction,
    ) -> Result<GapRule, PlanError> {
        let refuse = |key: &str, problem: &str, remedy: &str| {
            Err(error(self.plan, point.place, key, problem, remedy))
        };
        let set = point.advance_over_gap.is_some() || point.bridge_max_s > 0;
        if set && aggregation != Aggregation::Increase {
            return refuse(
                "advance_over_gap",
                "only a totaliser (increase) advances over a gap",
                "leave it out",
            );
        }
        if direction == Direction::Costs && point.advance_over_gap == Some(AdvanceOverGap::List) {
            let problem = "what costs cannot be left out: the register shows that it was consumed";
            return refuse(
                "advance_over_gap",
                problem,
                "leave it out, or write \"count\" with a reason",
            );
        }
        let advance = point.advance_over_gap.unwrap_or(match direction {
            Direction::Earns => AdvanceOverGap::List,
            Direction::Costs => AdvanceOverGap::Count,
        });
        let default_reason = match advance {
            AdvanceOverGap::List => "default: an advance over a gap is listed and does not count",
            AdvanceOverGap::Count => "default: what costs counts over a gap as well",
        };
        Ok(GapRule {
            advance,
            bridge_max_ms: i64::from(point.bridge_max_s) * 1000,
            reason: point
                .reason
                .clone()
                .unwrap_or_else(|| default_reason.to_owned()),
        })
    }

    fn nameplate(
        &self,
        point: &Point,
        parameter: &Parameter,
        aggregation: Aggregation,
    ) -> Result<Option<Nameplate>, PlanError> {
        let Some((value, unit)) = &point.nameplate else {
            return Ok(None);
        };
        let refuse = |e: crate::unit::UnitError| {
            let remedy = "a nameplate is a rate for amounts (MW, t/h) and a value for means";
            error(self.plan, point.place, "nameplate", e.to_string(), remedy)
        };
        let amount_unit = if aggregation == Aggregation::Mean {
            unit.clone()
        } else {
            unit.over_time().map_err(refuse)?
        };
        amount_unit.check(&parameter.unit).map_err(refuse)?;
        Ok(Some(Nameplate {
            value: *value,
            unit: unit.clone(),
            amount_unit,
        }))
    }

    fn fixed(
        &self,
        position: usize,
        fixed: &Fixed,
        parameter: &Parameter,
    ) -> Result<InputSource, PlanError> {
        let refuse = |key: &str, problem: String, remedy: &str| {
            Err(error(self.plan, fixed.place, key, problem, remedy))
        };
        if !parameter.aggregations.contains(&Aggregation::Fixed) {
            let problem = format!(
                "`{}` is monitored ex post, not fixed ex ante",
                parameter.name
            );
            return refuse("parameter", problem, "use [[points]] or [[entered]]");
        }
        if parameter.basis != fixed.basis {
            let wanted = parameter.basis.as_deref().unwrap_or("none");
            let problem = format!(
                "`{}` is on basis `{wanted}`, not `{}`",
                parameter.name,
                fixed.basis.as_deref().unwrap_or("none")
            );
            return refuse(
                "basis",
                problem,
                "state the number on the methodology's basis",
            );
        }
        let value = fixed
            .unit
            .convert(fixed.value, &parameter.unit)
            .map_err(|e| {
                error(
                    self.plan,
                    fixed.place,
                    "unit",
                    e.to_string(),
                    format!("the parameter is in {}", parameter.unit),
                )
            })?;
        let low = parameter.least.is_some_and(|least| value < least);
        let high = parameter.most.is_some_and(|most| value > most);
        if low || high || (parameter.name == "DF" && value.is_zero()) {
            let problem = format!(
                "{value} {} is outside what `{}` can be",
                parameter.unit, parameter.name
            );
            return refuse("value", problem, "check the number and its unit");
        }
        Ok(InputSource::Fixed {
            fixed: position,
            value,
        })
    }

    fn entered(
        &self,
        parameter: &Parameter,
        values: &[(usize, &Entered)],
    ) -> Result<(), PlanError> {
        for (i, (_, value)) in values.iter().enumerate() {
            if parameter.aggregations == [Aggregation::Fixed] {
                let problem = format!("`{}` is fixed ex ante, not entered ex post", parameter.name);
                return Err(error(
                    self.plan,
                    value.place,
                    "parameter",
                    problem,
                    "use [[fixed]]",
                ));
            }
            value.unit.check(&parameter.unit).map_err(|e| {
                error(
                    self.plan,
                    value.place,
                    "unit",
                    e.to_string(),
                    format!("the parameter is in {}", parameter.unit),
                )
            })?;
            let clash = values
                .iter()
                .take(i)
                .find(|(_, other)| value.from <= other.to && other.from <= value.to);
            if let Some((_, other)) = clash {
                let problem = format!(
                    "{} to {} is entered twice (also line {})",
                    value.from, value.to, other.place.line
                );
                return Err(error(
                    self.plan,
                    value.place,
                    "from",
                    problem,
                    "each day is covered once",
                ));
            }
        }
        Ok(())
    }
}

fn neutral_source(position: usize, parameter: &Parameter) -> InputSource {
    // `check_indexes` refused a parameter without a neutral value.
    InputSource::Neutral {
        neutral: position,
        value: parameter.neutral.unwrap_or(Exact::ZERO),
    }
}
