//! A parameter as written, and its checks.

use serde::Deserialize;
use toml::Spanned;

use super::{Aggregation, DefaultValue, Direction, Parameter, index, unit};
use crate::exact::Exact;
use crate::input::{InputError, SourceFile};
use crate::period::date;
use crate::plan::MonitoringOption;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawParameter {
    pub(super) name: Spanned<String>,
    description: String,
    unit: Spanned<String>,
    over: Option<Spanned<String>>,
    aggregations: Spanned<Vec<Aggregation>>,
    direction: Option<Direction>,
    basis: Option<String>,
    options: Option<Spanned<Vec<MonitoringOption>>>,
    neutral: Option<Exact>,
    default: Option<RawDefault>,
    least: Option<Exact>,
    most: Option<Exact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDefault {
    value: Spanned<Exact>,
    source: Spanned<String>,
    valid_from: Option<Spanned<String>>,
    valid_to: Option<Spanned<String>>,
}

impl RawParameter {
    pub(super) fn check(
        self,
        source: &SourceFile<'_>,
        indexes: &[String],
    ) -> Result<Parameter, InputError> {
        let place = source.place(self.name.span().start);
        let (options, default) = (self.options(source)?, self.default_value(source)?);
        let name = self.name.into_inner();
        let list = self.aggregations.get_ref();
        let at = source.place(self.aggregations.span().start);
        if list.is_empty() {
            let remedy = "allowed: increase, integral, mean, fixed";
            return Err(source.error(
                at,
                "aggregations",
                format!("`{name}` names no aggregation"),
                remedy,
            ));
        }
        if list
            .iter()
            .any(|aggregation| *aggregation != Aggregation::Fixed)
            && self.direction.is_none()
        {
            let problem = format!("`{name}` is measured and declares no direction");
            return Err(source.error(place, "direction", problem, "allowed: earns, costs"));
        }
        if list.contains(&Aggregation::Mean)
            && list
                .iter()
                .any(|a| matches!(a, Aggregation::Increase | Aggregation::Integral))
        {
            let problem = format!("`{name}` could be an amount or a mean");
            return Err(source.error(
                at,
                "aggregations",
                problem,
                "an amount is increase or integral, a state is mean",
            ));
        }
        let outside = |value: Option<Exact>| {
            value.is_some_and(|v| {
                self.least.is_some_and(|least| v < least) || self.most.is_some_and(|most| v > most)
            })
        };
        if outside(self.neutral) || outside(self.most) {
            let problem = format!("`{name}`: neutral, least and most contradict one another");
            return Err(source.error(place, "least", problem, "least ≤ neutral ≤ most"));
        }
        Ok(Parameter {
            description: self.description,
            unit: unit(source, &self.unit)?,
            over: self
                .over
                .map(|over| index(source, &over, indexes))
                .transpose()?,
            aggregations: self.aggregations.into_inner(),
            direction: self.direction,
            basis: self.basis,
            options,
            default,
            neutral: self.neutral,
            least: self.least,
            most: self.most,
            name,
        })
    }

    /// What is measured may be monitored in any way unless the methodology says less; what can only be
    /// fixed is not monitored.
    fn options(&self, source: &SourceFile<'_>) -> Result<Vec<MonitoringOption>, InputError> {
        let monitored = self
            .aggregations
            .get_ref()
            .iter()
            .any(|aggregation| *aggregation != Aggregation::Fixed);
        let Some(options) = &self.options else {
            let all = [
                MonitoringOption::A,
                MonitoringOption::B,
                MonitoringOption::C,
            ];
            return Ok(all.into_iter().filter(|_| monitored).collect());
        };
        let at = source.place(options.span().start);
        if !monitored || options.get_ref().is_empty() {
            let problem = "monitoring options belong to a parameter that is monitored ex post";
            let remedy = "name at least one of A, B, C, or leave options out";
            return Err(source.error(at, "options", problem, remedy));
        }
        Ok(options.get_ref().clone())
    }

    fn default_value(&self, source: &SourceFile<'_>) -> Result<Option<DefaultValue>, InputError> {
        let Some(raw) = &self.default else {
            return Ok(None);
        };
        let value = *raw.value.get_ref();
        let at = source.place(raw.value.span().start);
        if !self.aggregations.get_ref().contains(&Aggregation::Fixed) {
            let problem = "only what can be fixed ex ante has a default";
            return Err(source.error(at, "default", problem, "add \"fixed\" to its aggregations"));
        }
        let low = self.least.is_some_and(|least| value < least);
        if low || self.most.is_some_and(|most| value > most) {
            let problem = "the default lies outside least … most";
            return Err(source.error(at, "default", problem, "least ≤ default ≤ most"));
        }
        let text = raw.source.get_ref().trim();
        if text.is_empty() || text == "example" {
            let at = source.place(raw.source.span().start);
            let problem = "a number in a methodology needs its source";
            let remedy = "name the document, table and edition";
            return Err(source.error(at, "source", problem, remedy));
        }
        let day = |key: &str, text: &Option<Spanned<String>>| {
            let Some(text) = text else { return Ok(None) };
            let at = source.place(text.span().start);
            date(text.get_ref())
                .map(Some)
                .map_err(|error| source.error(at, key, error.to_string(), "write it as 2026-01-31"))
        };
        Ok(Some(DefaultValue {
            value,
            source: raw.source.get_ref().clone(),
            valid: (
                day("valid_from", &raw.valid_from)?,
                day("valid_to", &raw.valid_to)?,
            ),
        }))
    }
}
