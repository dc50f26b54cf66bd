//! The plan file as written, and the checks that need nothing but the plan.

use evidence::hash::{Hash, Origin};
use evidence::note::{SignatureKind, Vkey};
use jiff::civil::Date;
use serde::Deserialize;
use toml::Spanned;

use super::{
    AdvanceOverGap, Companion, DensityRule, Entered, Fixed, Lifted, Log, MonitoringOption, Neutral,
    PeriodRules, Plan, PlanError, Point, PointReference, Project, Rounding, State,
};
use crate::exact::Exact;
use crate::input::{Place, SourceFile, allowed};
use crate::methodology::{Aggregation, unit};
use crate::period;
use crate::unit::Unit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    state: State,
    project: Project,
    methodology: Spanned<String>,
    methodology_sha256: Option<Spanned<String>>,
    reporting_zone: Spanned<String>,
    logs: Vec<RawLog>,
    project_log: Option<RawProjectLog>,
    #[serde(default)]
    points: Vec<RawPoint>,
    #[serde(default)]
    fixed: Vec<RawFixed>,
    #[serde(default)]
    entered: Vec<RawEntered>,
    #[serde(default)]
    neutral: Vec<RawNeutral>,
    #[serde(default)]
    period: RawPeriod,
    rounding: Rounding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    origin: Spanned<String>,
    anchor: Spanned<String>,
    succeeds: Option<Spanned<String>>,
    #[serde(default)]
    site: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProjectLog {
    origin: Spanned<String>,
    key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPoint {
    number: Spanned<String>,
    parameter: Spanned<String>,
    member: Option<String>,
    sources: Spanned<Vec<RawReference>>,
    unit: Spanned<String>,
    aggregation: Option<Aggregation>,
    #[serde(default)]
    method: String,
    advance_over_gap: Option<AdvanceOverGap>,
    #[serde(default)]
    bridge_max_s: u32,
    reason: Option<String>,
    nameplate: Option<RawQuantity>,
    density: Option<RawDensity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDensity {
    pressure: RawCompanion,
    temperature: RawCompanion,
    two_phase: Option<RawSpan>,
    composition: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCompanion {
    point: String,
    unit: Spanned<String>,
    uncertainty: Spanned<Exact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSpan {
    from: Spanned<Exact>,
    to: Exact,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReference {
    log: Spanned<String>,
    point: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuantity {
    value: Exact,
    unit: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFixed {
    parameter: Spanned<String>,
    member: Option<String>,
    value: Exact,
    unit: Spanned<String>,
    basis: Option<String>,
    source: Spanned<String>,
    valid_from: Option<Spanned<String>>,
    valid_to: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntered {
    parameter: Spanned<String>,
    member: Option<String>,
    option: Spanned<MonitoringOption>,
    value: Exact,
    unit: Spanned<String>,
    from: Spanned<String>,
    to: Spanned<String>,
    person: Spanned<String>,
    citation: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNeutral {
    name: Spanned<String>,
    justification: Spanned<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawPeriod {
    first_day: Option<Spanned<String>>,
    last_day: Option<Spanned<String>>,
    straddle_2020: Option<Lifted>,
}

type Source<'a> = SourceFile<'a>;

fn at<T>(source: &Source<'_>, value: &Spanned<T>) -> Place {
    source.place(value.span().start)
}

pub(super) fn parse(text: &str, file: &str, hash: Hash) -> Result<Plan, PlanError> {
    let source = SourceFile { name: file, text };
    let raw: RawPlan = source.parse()?;
    period::zone(raw.reporting_zone.get_ref()).map_err(|error| {
        source.error(
            at(&source, &raw.reporting_zone),
            "reporting_zone",
            error.to_string(),
            "",
        )
    })?;
    let methodology_hash = match &raw.methodology_sha256 {
        None => None,
        Some(text) => Some(Hash::from_hex(text.get_ref()).map_err(|error| {
            let remedy = "write the 64 hexadecimal digits of `sha256sum methodology.toml`";
            source.error(
                at(&source, text),
                "methodology_sha256",
                error.to_string(),
                remedy,
            )
        })?),
    };
    let logs = logs(&source, &raw.logs)?;
    let project_log = raw
        .project_log
        .as_ref()
        .map(|raw| project_log(&source, raw, &logs))
        .transpose()?;
    let state = raw.state;
    let points = raw
        .points
        .into_iter()
        .map(|p| p.check(&source, &logs))
        .collect::<Result<Vec<_>, _>>()?;
    unique_points(&source, &points)?;
    Ok(Plan {
        state,
        project: raw.project,
        methodology_place: at(&source, &raw.methodology),
        methodology_id: raw.methodology.into_inner(),
        methodology_hash,
        reporting_zone: raw.reporting_zone.into_inner(),
        logs,
        project_log,
        points,
        fixed: raw
            .fixed
            .into_iter()
            .map(|f| f.check(&source, state))
            .collect::<Result<_, _>>()?,
        entered: raw
            .entered
            .into_iter()
            .map(|e| e.check(&source))
            .collect::<Result<_, _>>()?,
        neutral: raw
            .neutral
            .into_iter()
            .map(|n| n.check(&source))
            .collect::<Result<_, _>>()?,
        period: raw.period.check(&source)?,
        rounding: raw.rounding,
        file: file.to_owned(),
        hash,
    })
}

fn origin(source: &Source<'_>, text: &Spanned<String>, key: &str) -> Result<Origin, PlanError> {
    Origin::parse(text.get_ref())
        .map_err(|error| source.error(at(source, text), key, error.to_string(), ""))
}

/// The verification key of a log of this name.
fn log_key(
    source: &Source<'_>,
    name: &Origin,
    text: &Spanned<String>,
    key: &'static str,
) -> Result<Vkey, PlanError> {
    let anchor = Vkey::parse(text.get_ref()).map_err(|error| {
        let remedy =
            "copy the log's verification key, origin+hash+base64, from the registered document";
        source.error(at(source, text), key, error.to_string(), remedy)
    })?;
    if anchor.name() != name.as_str() {
        let problem = format!("the key is that of `{}`, not of `{name}`", anchor.name());
        return Err(source.error(
            at(source, text),
            key,
            problem,
            "key and origin must name the same log",
        ));
    }
    if anchor.kind() != SignatureKind::Ed25519 {
        let problem = "the key is a witness's, not a log's";
        let remedy = "write the log's own verification key (type 01), not that of a cosignature";
        return Err(source.error(at(source, text), key, problem, remedy));
    }
    Ok(anchor)
}

/// The key of the project log, which no gateway's log may be.
fn project_log(source: &Source<'_>, raw: &RawProjectLog, logs: &[Log]) -> Result<Vkey, PlanError> {
    let name = origin(source, &raw.origin, "origin")?;
    if logs.iter().any(|log| log.origin == name) {
        return Err(source.error(
            at(source, &raw.origin),
            "origin",
            format!("`{name}` is a gateway's log"),
            "the project log is a log of its own, made by `fieldseal-verifier-api log init`",
        ));
    }
    log_key(source, &name, &raw.key, "key")
}

fn logs(source: &Source<'_>, raw: &[RawLog]) -> Result<Vec<Log>, PlanError> {
    let mut logs: Vec<Log> = Vec::with_capacity(raw.len());
    for log in raw {
        let here = at(source, &log.origin);
        let name = origin(source, &log.origin, "origin")?;
        if logs.iter().any(|known| known.origin == name) {
            return Err(source.error(
                here,
                "origin",
                format!("`{name}` is listed twice"),
                "list each log once",
            ));
        }
        let anchor = log_key(source, &name, &log.anchor, "anchor")?;
        let succeeds = log
            .succeeds
            .as_ref()
            .map(|text| origin(source, text, "succeeds"))
            .transpose()?;
        logs.push(Log {
            origin: name,
            anchor,
            succeeds,
            site: log.site.clone(),
        });
    }
    for (log, raw) in logs.iter().zip(raw) {
        let (Some(before), Some(text)) = (&log.succeeds, &raw.succeeds) else {
            continue;
        };
        let names: Vec<&str> = logs.iter().map(|log| log.origin.as_str()).collect();
        if !names.contains(&before.as_str()) {
            let problem = format!("there is no log `{before}`");
            return Err(source.error(
                at(source, text),
                "succeeds",
                problem,
                allowed(before.as_str(), &names),
            ));
        }
        if logs
            .iter()
            .filter(|other| other.succeeds.as_ref() == Some(before))
            .count()
            > 1
        {
            let problem = format!("two logs succeed `{before}`");
            return Err(source.error(
                at(source, text),
                "succeeds",
                problem,
                "a log is replaced by one log",
            ));
        }
        // As many steps back as there are logs must reach a log that replaced none.
        let mut first = Some(before);
        for _ in 0..logs.len() {
            first = first.and_then(|origin| {
                logs.iter()
                    .find(|log| log.origin == *origin)?
                    .succeeds
                    .as_ref()
            });
        }
        if first.is_some() {
            return Err(source.error(
                at(source, text),
                "succeeds",
                "the logs succeed one another in a circle",
                "",
            ));
        }
    }
    Ok(logs)
}

impl RawPoint {
    fn check(self, source: &Source<'_>, logs: &[Log]) -> Result<Point, PlanError> {
        let place = at(source, &self.number);
        let mut sources: Vec<PointReference> = Vec::new();
        for reference in self.sources.get_ref() {
            let here = at(source, &reference.log);
            let Some(log) = logs
                .iter()
                .find(|log| log.origin.as_str() == reference.log.get_ref())
            else {
                let names: Vec<&str> = logs.iter().map(|log| log.origin.as_str()).collect();
                let problem = format!("there is no log `{}`", reference.log.get_ref());
                return Err(source.error(
                    here,
                    "log",
                    problem,
                    allowed(reference.log.get_ref(), &names),
                ));
            };
            if let Some(before) = sources.last()
                && log.succeeds.as_ref() != Some(&before.origin)
            {
                let problem = format!("`{}` does not succeed `{}`", log.origin, before.origin);
                let remedy = "name the replaced log first and give its successor `succeeds`";
                return Err(source.error(here, "sources", problem, remedy));
            }
            sources.push(PointReference {
                origin: log.origin.clone(),
                point: reference.point.clone(),
            });
        }
        if sources.is_empty() {
            let remedy = "write sources = [{ log = \"…\", point = \"…\" }]";
            return Err(source.error(
                at(source, &self.sources),
                "sources",
                "a point needs at least one source",
                remedy,
            ));
        }
        let counts = self.advance_over_gap == Some(AdvanceOverGap::Count) || self.bridge_max_s > 0;
        if counts
            && self
                .reason
                .as_ref()
                .is_none_or(|reason| reason.trim().is_empty())
        {
            let problem = "an advance over a gap counts only with a reason";
            return Err(source.error(
                place,
                "reason",
                problem,
                "say why the register can be trusted over the gap",
            ));
        }
        let nameplate = match &self.nameplate {
            None => None,
            Some(quantity) => Some((quantity.value, unit(source, &quantity.unit)?)),
        };
        Ok(Point {
            unit: unit(source, &self.unit)?,
            number: self.number.into_inner(),
            parameter: self.parameter.into_inner(),
            member: self.member,
            sources,
            aggregation: self.aggregation,
            method: self.method,
            advance_over_gap: self.advance_over_gap,
            bridge_max_s: self.bridge_max_s,
            reason: self.reason,
            nameplate,
            density: self
                .density
                .map(|density| density.check(source))
                .transpose()?,
            place,
        })
    }
}

impl RawDensity {
    fn check(self, source: &Source<'_>) -> Result<DensityRule, PlanError> {
        let pressure =
            self.pressure
                .check(source, "Pa_a", "an absolute pressure, such as bar_a")?;
        let temperature = self
            .temperature
            .check(source, "K", "a temperature, such as °C")?;
        let two_phase = match self.two_phase {
            Some(span) if *span.from.get_ref() >= span.to => {
                let problem = "the two-phase region ends before it begins";
                return Err(source.error(at(source, &span.from), "from", problem, "from < to"));
            }
            other => other.map(|span| (span.from.into_inner(), span.to)),
        };
        if self.composition.get_ref().trim().is_empty() {
            let problem = "a density of pure CO2 is shown beside what the stream consists of";
            let remedy = "state the composition and where it was measured";
            let place = at(source, &self.composition);
            return Err(source.error(place, "composition", problem, remedy));
        }
        Ok(DensityRule {
            pressure,
            temperature,
            two_phase,
            composition: self.composition.into_inner(),
        })
    }
}

impl RawCompanion {
    fn check(self, source: &Source<'_>, like: &str, what: &str) -> Result<Companion, PlanError> {
        let place = at(source, &self.unit);
        let checked = unit(source, &self.unit)?;
        Unit::parse(like)
            .and_then(|like| checked.check(&like))
            .map_err(|error| source.error(place, "unit", error.to_string(), what))?;
        if self.uncertainty.get_ref().signum() < 0 {
            let problem = "an uncertainty is not negative";
            let place = at(source, &self.uncertainty);
            return Err(source.error(
                place,
                "uncertainty",
                problem,
                "see the transmitter's data sheet",
            ));
        }
        Ok(Companion {
            point: self.point,
            unit: checked,
            uncertainty: self.uncertainty.into_inner(),
        })
    }
}

fn unique_points(source: &Source<'_>, points: &[Point]) -> Result<(), PlanError> {
    for (i, point) in points.iter().enumerate() {
        if points
            .iter()
            .take(i)
            .any(|other| other.number == point.number)
        {
            let problem = format!(
                "the monitoring point number `{}` is used twice",
                point.number
            );
            return Err(source.error(
                point.place,
                "number",
                problem,
                "give each monitoring point its own number",
            ));
        }
    }
    Ok(())
}

impl RawFixed {
    fn check(self, source: &Source<'_>, state: State) -> Result<Fixed, PlanError> {
        let here = at(source, &self.source);
        let text = self.source.get_ref().trim();
        if text.is_empty() {
            return Err(source.error(
                here,
                "source",
                "a number needs its source",
                "name the document, table and edition",
            ));
        }
        if text == "example" && state != State::Demo {
            let remedy = "name the document, table and edition, or set state = \"demo\"";
            return Err(source.error(
                here,
                "source",
                "an example number is accepted in a demo plan only",
                remedy,
            ));
        }
        let valid = (
            self.valid_from
                .as_ref()
                .map(|text| date(source, text, "valid_from"))
                .transpose()?,
            self.valid_to
                .as_ref()
                .map(|text| date(source, text, "valid_to"))
                .transpose()?,
        );
        Ok(Fixed {
            place: at(source, &self.parameter),
            unit: unit(source, &self.unit)?,
            parameter: self.parameter.into_inner(),
            member: self.member,
            value: self.value,
            basis: self.basis,
            source: self.source.into_inner(),
            valid,
        })
    }
}

impl RawEntered {
    fn check(self, source: &Source<'_>) -> Result<Entered, PlanError> {
        if *self.option.get_ref() == MonitoringOption::C {
            let problem = "a value entered by hand is not a measurement";
            let remedy =
                "allowed: A (public data), B (invoice); a measured value comes from a point";
            return Err(source.error(at(source, &self.option), "option", problem, remedy));
        }
        for (key, text) in [("person", &self.person), ("citation", &self.citation)] {
            if text.get_ref().trim().is_empty() {
                let problem =
                    "a value entered by hand names who entered it and from which document";
                return Err(source.error(at(source, text), key, problem, "fill it in"));
            }
        }
        let (from, to) = (
            date(source, &self.from, "from")?,
            date(source, &self.to, "to")?,
        );
        if to < from {
            return Err(source.error(
                at(source, &self.to),
                "to",
                "the last day lies before the first",
                "swap from and to",
            ));
        }
        Ok(Entered {
            place: at(source, &self.parameter),
            unit: unit(source, &self.unit)?,
            parameter: self.parameter.into_inner(),
            member: self.member,
            option: self.option.into_inner(),
            value: self.value,
            from,
            to,
            person: self.person.into_inner(),
            citation: self.citation.into_inner(),
        })
    }
}

impl RawNeutral {
    fn check(self, source: &Source<'_>) -> Result<Neutral, PlanError> {
        if self.justification.get_ref().trim().is_empty() {
            let problem = "what plays no part needs a justification";
            return Err(source.error(
                at(source, &self.justification),
                "justification",
                problem,
                "say why",
            ));
        }
        Ok(Neutral {
            place: at(source, &self.name),
            name: self.name.into_inner(),
            justification: self.justification.into_inner(),
        })
    }
}

impl RawPeriod {
    fn check(self, source: &Source<'_>) -> Result<PeriodRules, PlanError> {
        let day = |text: &Option<Spanned<String>>, key| {
            text.as_ref()
                .map(|text| date(source, text, key))
                .transpose()
        };
        Ok(PeriodRules {
            first_day: day(&self.first_day, "first_day")?,
            last_day: day(&self.last_day, "last_day")?,
            straddle_2020: self.straddle_2020,
        })
    }
}

fn date(source: &Source<'_>, text: &Spanned<String>, key: &str) -> Result<Date, PlanError> {
    period::date(text.get_ref())
        .map_err(|error| source.error(at(source, text), key, error.to_string(), ""))
}
