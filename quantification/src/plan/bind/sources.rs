//! What a point, a fixed number or an entered value must satisfy to feed a parameter.

use super::{Binder, error};
use crate::input::allowed;
use crate::methodology::{Aggregation, Direction, Parameter};
use crate::plan::bound::{GapRule, InputSource, Nameplate, PointSource};
use crate::plan::{AdvanceOverGap, Entered, Fixed, MonitoringOption, PlanError, Point};
use crate::unit::Unit;

fn allowed_options(parameter: &Parameter) -> String {
    let letters: Vec<&str> = parameter.options.iter().map(|o| o.letter()).collect();
    format!("the methodology allows: {}", letters.join(", "))
}

impl Binder<'_> {
    pub(super) fn point(
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
        if !parameter.options.contains(&MonitoringOption::C) {
            let problem = format!(
                "`{}` is not monitored by measurement (option C)",
                parameter.name
            );
            return refuse("parameter", problem, allowed_options(parameter));
        }
        let Some(direction) = parameter.direction else {
            return refuse(
                "parameter",
                format!("`{}` declares no direction", parameter.name),
                "correct the methodology".to_owned(),
            );
        };
        let unit_error =
            |e: crate::unit::UnitError| error(self.plan, point.place, "unit", e.to_string(), "");
        let sample_unit = match &point.density {
            None => point.unit.clone(),
            Some(_) if aggregation == Aggregation::Integral => Unit::parse("kg/m3")
                .and_then(|density| point.unit.times(&density))
                .map_err(unit_error)?,
            Some(_) => {
                let problem = format!(
                    "`{}` with a density is a flow, not {}",
                    point.number,
                    aggregation.name()
                );
                let remedy = "use aggregation = \"integral\" on a volume flow at line conditions";
                return refuse("density", problem, remedy.to_owned());
            }
        };
        let sum_unit = match aggregation {
            Aggregation::Integral => sample_unit.over_time().map_err(unit_error)?,
            _ => sample_unit.clone(),
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
            sample_unit,
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
        let counts =
            point.advance_over_gap == Some(AdvanceOverGap::Count) || point.bridge_max_s > 0;
        if counts && point.nameplate.is_none() {
            return refuse(
                "nameplate",
                "an advance over a gap counts only up to what the meter can measure in that time",
                "state the largest possible rate, nameplate = { value = \"…\", unit = \"…\" }, or leave out bridge_max_s and advance_over_gap",
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

    pub(super) fn fixed(
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

    pub(super) fn entered(
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
            if !parameter.options.contains(&value.option) {
                let problem = format!(
                    "`{}` is not monitored by option {}",
                    parameter.name,
                    value.option.letter()
                );
                let remedy = allowed_options(parameter);
                return Err(error(self.plan, value.place, "option", problem, remedy));
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
