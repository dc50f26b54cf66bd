//! Joins a plan with its methodology: every parameter has exactly one source, every unit fits.

mod sources;

use super::bound::{Bound, Input, InputSource};
use super::{Entered, Plan, PlanError};
use crate::exact::Exact;
use crate::input::{InputError, Place, allowed};
use crate::methodology::{Aggregation, Methodology, Parameter};

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
            (None, _) => match &parameter.default {
                Some(default) => Ok(InputSource::Default(default.value)),
                None => Err(self.without_source(parameter, member, label)),
            },
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
}

fn neutral_source(position: usize, parameter: &Parameter) -> InputSource {
    // `check_indexes` refused a parameter without a neutral value.
    InputSource::Neutral {
        neutral: position,
        value: parameter.neutral.unwrap_or(Exact::ZERO),
    }
}
