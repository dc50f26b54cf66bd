//! Applying a monitoring plan: checked against its methodology and against what gateways sealed.

use evidence::measurement::PointKind;
use quantification::InputError;
use quantification::methodology::{Aggregation, Methodology, shipped, shipped_ids};
use quantification::plan::{Bound, InputSource, Plan};
use quantification::unit::Unit;
use store::{Log, LogId, Project, Store, StoreError};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::facts::Facts;

/// Reads a plan and checks all that can be known now: every log is enrolled with the plan's anchor
/// key, and every point is sealed under that name, in that unit, and as what the plan makes of it.
///
/// # Errors
/// The first mistake with file, line and key, or the store's failure.
pub async fn check(
    store: &Store,
    text: &str,
    file: &str,
    methodologies: &[Methodology],
) -> anyhow::Result<Plan> {
    let plan = Plan::parse(text, file)?;
    let source = Source::new(text, file)?;
    let own = methodologies
        .iter()
        .find(|known| known.id == plan.methodology_id);
    let Some(methodology) = own.cloned().or_else(|| shipped(&plan.methodology_id)) else {
        let problem = format!("no methodology `{}` is known", plan.methodology_id);
        let remedy = format!(
            "shipped: {}; add your own to `methodology_files` in verifier-api.toml",
            shipped_ids().join(", ")
        );
        return Err(source
            .error(&[Step::Key("methodology")], problem, remedy)
            .into());
    };
    let bound = plan.bind(&methodology)?;
    for (number, planned) in plan.logs.iter().enumerate() {
        let log = enrolled(store, &source, number, planned).await?;
        let facts = Facts::load(store, log).await;
        let facts = facts.map_err(|problem| anyhow::anyhow!("{}", problem.detail()))?;
        points(&source, &bound, &facts)?;
    }
    Ok(plan)
}

/// Stores a checked plan as its project's next version, and says which sites the project has.
///
/// A crash in between leaves a project without the plan or the plan without its sites; applying it
/// again completes both. The same text applied again is not a new version.
///
/// # Errors
/// The store's failure.
pub async fn store(
    store: &Store,
    text: &str,
    plan: &Plan,
    decision: &str,
    by: &str,
    now_ms: i64,
) -> anyhow::Result<u64> {
    let id = &plan.project.id;
    let project = Project {
        id: id.clone(),
        name: plan.project.name.clone(),
        created_ms: now_ms,
    };
    store.put_project(&project).await?;
    let mut sites = Vec::new();
    for log in &plan.logs {
        let id = LogId::of_origin(log.origin.as_str());
        sites.extend(store.locate(id).await?.map(|(at, _token)| at.site));
    }
    sites.sort_unstable();
    sites.dedup();
    store.set_project_sites(id, &sites).await?;
    loop {
        let newest = store.newest_plan(id).await?;
        if let Some(same) = newest.as_ref().filter(|newest| newest.text == text) {
            return Ok(same.version);
        }
        let version = newest.map_or(1, |newest| newest.version + 1);
        let stored = store::Plan {
            version,
            hash: *plan.hash().as_bytes(),
            text: text.to_owned(),
            decision: decision.to_owned(),
            applied_by: by.to_owned(),
            applied_ms: now_ms,
        };
        match store.add_plan(id, &stored).await {
            Ok(()) => return Ok(version),
            // Somebody else applied one in between: look again.
            Err(StoreError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The plan's log in the store, with the plan's key.
async fn enrolled(
    store: &Store,
    source: &Source<'_>,
    number: usize,
    planned: &quantification::plan::Log,
) -> anyhow::Result<Log> {
    let at = |key| [Step::Key("logs"), Step::Item(number), Step::Key(key)];
    let id = LogId::of_origin(planned.origin.as_str());
    let Some((found, _token)) = store.locate(id).await? else {
        let problem = format!("no gateway with the log `{}` is enrolled", planned.origin);
        let remedy = "enroll the gateway first, or correct the name".to_owned();
        return Err(source.error(&at("origin"), problem, remedy).into());
    };
    let log = store.log(found).await?;
    let log = log.ok_or_else(|| anyhow::anyhow!("log {} has no head", planned.origin))?;
    if log.log_key != *planned.anchor.key().bytes() {
        let problem = format!(
            "the log `{}` was enrolled with another key: {}",
            planned.origin, log.log_vkey
        );
        let remedy =
            "compare both with the gateway's label and the commissioning record before changing anything"
                .to_owned();
        return Err(source.error(&at("anchor"), problem, remedy).into());
    }
    Ok(log)
}

/// Every point that the plan reads from this log, against the newest sealed configuration.
fn points(source: &Source<'_>, bound: &Bound, facts: &Facts) -> Result<(), InputError> {
    for (number, point) in bound.plan.points.iter().enumerate() {
        for (position, reference) in point.sources.iter().enumerate() {
            if reference.origin != facts.origin {
                continue;
            }
            let at = |key: &'static str| [Step::Key("points"), Step::Item(number), Step::Key(key)];
            let names = facts.config().map(|config| &config.config.points);
            let names: Vec<&str> = names
                .into_iter()
                .flatten()
                .map(|sealed| sealed.name.as_str())
                .collect();
            let sealed = facts
                .config()
                .and_then(|config| config.config.point(&reference.point));
            let Some((_, sealed)) = sealed else {
                let at = [
                    Step::Key("points"),
                    Step::Item(number),
                    Step::Key("sources"),
                    Step::Item(position),
                    Step::Key("point"),
                ];
                let problem = format!(
                    "`{}` has sealed no point `{}`",
                    facts.origin, reference.point
                );
                return Err(source.error(&at, problem, nearest(&reference.point, &names)));
            };
            let unit = Unit::parse(&sealed.unit).map_err(|error| {
                source.error(
                    &at("unit"),
                    format!("the sealed unit: {error}"),
                    String::new(),
                )
            })?;
            if sealed.unit != point.unit.symbol() {
                let sort = if unit.dimension() == point.unit.dimension() {
                    "another unit"
                } else {
                    "a unit of another kind"
                };
                let problem = format!(
                    "point `{}` of `{}` is sealed in `{}`, the plan says `{}`: {sort}",
                    reference.point,
                    facts.origin,
                    sealed.unit,
                    point.unit.symbol()
                );
                let remedy = format!("write unit = \"{}\", or name the right point", sealed.unit);
                return Err(source.error(&at("unit"), problem, remedy));
            }
            kind(source, bound, number, sealed, &at("aggregation"))?;
            companions(source, point, facts, sealed, &at("density"))?;
        }
    }
    Ok(())
}

/// Pressure and temperature beside a flow that becomes a mass flow.
fn companions(
    source: &Source<'_>,
    point: &quantification::plan::Point,
    facts: &Facts,
    flow: &evidence::measurement::Point,
    at: &[Step],
) -> Result<(), InputError> {
    let Some(rule) = &point.density else {
        return Ok(());
    };
    for companion in [&rule.pressure, &rule.temperature] {
        let sealed = facts
            .config()
            .and_then(|config| config.config.point(&companion.point));
        let problem = match sealed {
            None => format!(
                "`{}` has sealed no point `{}`",
                facts.origin, companion.point
            ),
            Some((_, sealed)) if sealed.unit != companion.unit.symbol() => format!(
                "point `{}` of `{}` is sealed in `{}`, the plan says `{}`",
                companion.point, facts.origin, sealed.unit, companion.unit
            ),
            Some((_, sealed)) if sealed.stream != flow.stream => format!(
                "point `{}` is not polled together with `{}`",
                companion.point, flow.name
            ),
            Some(_) => continue,
        };
        let remedy = "flow, pressure and temperature are points of one gateway with one interval";
        return Err(source.error(at, problem, remedy.to_owned()));
    }
    Ok(())
}

/// A totaliser is increased; a momentary value is integrated or averaged.
fn kind(
    source: &Source<'_>,
    bound: &Bound,
    number: usize,
    sealed: &evidence::measurement::Point,
    at: &[Step],
) -> Result<(), InputError> {
    let read = bound.inputs.iter().filter_map(|input| match &input.source {
        InputSource::Point(read) if read.point == number => Some(read.aggregation),
        _ => None,
    });
    for aggregation in read {
        let totaliser = sealed.kind == PointKind::Register;
        if totaliser != (aggregation == Aggregation::Increase) {
            let what = if totaliser {
                "a totaliser"
            } else {
                "a momentary value"
            };
            let problem = format!(
                "point `{}` is sealed as {what}, which cannot be aggregated as `{}`",
                sealed.name,
                aggregation.name()
            );
            let remedy = if totaliser {
                "use `increase`"
            } else {
                "use `integral` or `mean`"
            };
            return Err(source.error(at, problem, remedy.to_owned()));
        }
    }
    Ok(())
}

fn nearest(word: &str, names: &[&str]) -> String {
    let near = names
        .iter()
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let list = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    match near {
        Some((_, near)) => format!("sealed are: {list}; did you mean `{near}`?"),
        None => format!("sealed are: {list}"),
    }
}

/// A step on the way to a value in a TOML document.
#[derive(Debug, Clone, Copy)]
enum Step {
    Key(&'static str),
    Item(usize),
}

/// The plan's text with the places of its values.
struct Source<'a> {
    text: &'a str,
    file: &'a str,
    table: Spanned<DeTable<'a>>,
}

impl<'a> Source<'a> {
    fn new(text: &'a str, file: &'a str) -> anyhow::Result<Self> {
        let table = DeTable::parse(text)?;
        Ok(Self { text, file, table })
    }

    /// Where a value begins; where its parent begins if it is not written.
    fn offset(&self, steps: &[Step]) -> usize {
        let mut at = 0;
        let mut table = Some(self.table.get_ref());
        let mut array = None;
        for step in steps {
            let found: Option<&Spanned<DeValue<'_>>> = match step {
                Step::Key(key) => table.and_then(|table| {
                    table
                        .iter()
                        .find(|(name, _)| name.get_ref() == key)
                        .map(|(_, value)| value)
                }),
                Step::Item(number) => {
                    array.and_then(|array: &toml::de::DeArray<'_>| array.get(*number))
                }
            };
            let Some(found) = found else { return at };
            at = found.span().start;
            (table, array) = match found.get_ref() {
                DeValue::Table(inner) => (Some(inner), None),
                DeValue::Array(inner) => (None, Some(inner)),
                _ => (None, None),
            };
        }
        at
    }

    fn error(&self, steps: &[Step], problem: String, remedy: String) -> InputError {
        let before = self.text.get(..self.offset(steps)).unwrap_or(self.text);
        let key = steps.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(*key),
            Step::Item(_) => None,
        });
        InputError {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
            key: key.unwrap_or_default().to_owned(),
            problem,
            remedy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, Step};

    #[test]
    fn a_value_is_found_by_its_way_through_the_document() {
        let text = "a = 1\n[[points]]\nunit = \"t\"\n[[points]]\nsources = [{ log = \"x\", point = \"p\" }]\n";
        let source = Source::new(text, "plan.toml").unwrap();
        let steps = [
            Step::Key("points"),
            Step::Item(1),
            Step::Key("sources"),
            Step::Item(0),
            Step::Key("point"),
        ];
        let error = source.error(&steps, "wrong".to_owned(), String::new());
        assert_eq!(
            (error.line, error.column, error.key.as_str()),
            (5, 33, "point")
        );
        let missing = [Step::Key("points"), Step::Item(0), Step::Key("aggregation")];
        assert_eq!(source.error(&missing, String::new(), String::new()).line, 2);
    }
}
