//! A methodology: parameters, formulas and their units, as versioned data.
//!
//! [`Methodology::parse`] reads the TOML file, gives every formula's parts their units and refuses
//! what does not fit, with file, line and column. The methodologies that ship with this crate are
//! in `methodologies/`; [`shipped()`] finds them by id. A methodology ships no emission factor.

mod parameter;
mod shipped;

pub use shipped::{shipped, shipped_ids, shipped_text};

use evidence::hash::{Hash, sha256};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::exact::{Exact, Ratio};
use crate::formula::check::{Checked, Symbol, check};
use crate::formula::{Expression, is_name};
use crate::input::{InputError, Place, SourceFile, allowed};
use crate::period::Interval;
use crate::plan::MonitoringOption;
use crate::unit::{Dimension, Unit};
use parameter::RawParameter;

/// How readings of a period become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// The advance of a totaliser.
    Increase,
    /// Value times the time it held.
    Integral,
    /// The mean over the time with a value.
    Mean,
    /// One number fixed ex ante; nothing is measured.
    Fixed,
}

impl Aggregation {
    /// The word in files and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Increase => "increase",
            Self::Integral => "integral",
            Self::Mean => "mean",
            Self::Fixed => "fixed",
        }
    }
}

/// What a larger value does to the emission reductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// A larger value gives more emission reductions.
    Earns,
    /// A larger value gives fewer.
    Costs,
}

impl Direction {
    /// The word in files and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Earns => "earns",
            Self::Costs => "costs",
        }
    }
}

/// Things a parameter can have one value each of, such as wells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The name, e.g. `well`.
    pub name: String,
    /// What its members are.
    pub description: String,
    /// Whether a plan may say that there is none.
    pub may_be_empty: bool,
}

/// A parameter of the methodology.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The name used in formulas.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The unit its value is given in.
    pub unit: Unit,
    /// The index it has a value for each member of, by position in [`Methodology::indexes`].
    pub over: Option<usize>,
    /// The aggregations a plan may choose from.
    pub aggregations: Vec<Aggregation>,
    /// What a larger value does; every measured parameter declares it, and a report that finds the
    /// opposite is refused.
    pub direction: Option<Direction>,
    /// `net` or `gross` for heating values: the plan's number must be on the same basis.
    pub basis: Option<String>,
    /// The monitoring options a plan may choose from for it: A public data, B transactions, C measurement.
    pub options: Vec<MonitoringOption>,
    /// The value a plan may set, with a justification, instead of measuring.
    pub neutral: Option<Exact>,
    /// The methodology's own number, which holds when the plan fixes none.
    pub default: Option<DefaultValue>,
    /// The smallest value that makes sense, in `unit`.
    pub least: Option<Exact>,
    /// The largest value that makes sense, in `unit`.
    pub most: Option<Exact>,
}

/// A number that the methodology itself states, with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultValue {
    /// The number, in the parameter's unit.
    pub value: Exact,
    /// The document, table and edition.
    pub source: String,
    /// The first and last day of a period it may be used for.
    pub valid: (Option<Date>, Option<Date>),
}

/// A source of emissions that the methodology leaves out, so that a report says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excluded {
    /// The name of the emissions.
    pub name: String,
    /// What they are.
    pub description: String,
    /// Why they are left out.
    pub reason: String,
}

/// A formula of the methodology.
#[derive(Debug, Clone)]
pub struct Formula {
    /// The name of its result.
    pub name: String,
    /// The equation it implements, e.g. `RR-4`.
    pub label: String,
    /// What it computes.
    pub description: String,
    /// The unit of its result.
    pub unit: Unit,
    /// The index it is computed for each member of.
    pub over: Option<usize>,
    /// The formula as written.
    pub expression: String,
    pub(crate) checked: Checked,
}

/// The results every methodology has, in tonnes of CO2; `DF` is a pure number.
pub const OUTPUTS: [&str; 5] = ["BaU", "RE", "PE", "PE_credited", "ER"];

/// A methodology, checked.
#[derive(Debug, Clone)]
pub struct Methodology {
    /// The id plans name.
    pub id: String,
    /// The version of this file.
    pub version: String,
    /// The title.
    pub title: String,
    /// The sectoral scope.
    pub sectoral_scope: String,
    /// Where its equations come from.
    pub source: String,
    /// The calendar intervals formulas are evaluated in; results are summed over them.
    pub interval: Interval,
    /// What parameters can be indexed by.
    pub indexes: Vec<Index>,
    /// The parameters.
    pub parameters: Vec<Parameter>,
    /// The formulas, in order of computation.
    pub formulas: Vec<Formula>,
    /// What is left out.
    pub excluded: Vec<Excluded>,
    hash: Hash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMethodology {
    id: String,
    version: String,
    title: String,
    sectoral_scope: String,
    source: String,
    interval: Interval,
    #[serde(default)]
    indexes: Vec<RawIndex>,
    parameters: Vec<RawParameter>,
    formulas: Vec<RawFormula>,
    #[serde(default)]
    excluded: Vec<Excluded>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIndex {
    name: Spanned<String>,
    description: String,
    #[serde(default)]
    may_be_empty: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFormula {
    name: Spanned<String>,
    #[serde(default)]
    label: String,
    description: String,
    unit: Spanned<String>,
    over: Option<Spanned<String>>,
    expression: Spanned<String>,
}

impl Methodology {
    /// Reads and checks a methodology file; `file` is named in errors.
    ///
    /// # Errors
    /// [`InputError`] for the first mistake: a TOML mistake, a name used twice, a unit that is not
    /// known, a formula that does not parse or whose units do not fit, a missing output.
    pub fn parse(text: &str, file: &str) -> Result<Self, InputError> {
        let source = SourceFile { name: file, text };
        let raw: RawMethodology = source.parse()?;
        let mut names: Vec<String> = Vec::new();
        let mut new_name = |name: &Spanned<String>| {
            let at = source.place(name.span().start);
            if !is_name(name.get_ref()) {
                let remedy = "a name starts with a letter, holds letters, digits and _, and is not sum, min, max or co2";
                return Err(source.error(
                    at,
                    "name",
                    format!("`{}` cannot be used in formulas", name.get_ref()),
                    remedy,
                ));
            }
            if names.contains(name.get_ref()) {
                return Err(source.error(
                    at,
                    "name",
                    format!("`{}` is defined twice", name.get_ref()),
                    "rename one",
                ));
            }
            names.push(name.get_ref().clone());
            Ok(())
        };

        let mut indexes = Vec::new();
        for index in raw.indexes {
            new_name(&index.name)?;
            let RawIndex {
                name,
                description,
                may_be_empty,
            } = index;
            indexes.push(Index {
                name: name.into_inner(),
                description,
                may_be_empty,
            });
        }
        let index_names: Vec<String> = indexes.iter().map(|index| index.name.clone()).collect();

        let mut symbols = Vec::new();
        let mut parameters = Vec::new();
        for raw in raw.parameters {
            new_name(&raw.name)?;
            let parameter = raw.check(&source, &index_names)?;
            symbols.push(Symbol {
                name: parameter.name.clone(),
                unit: parameter.unit.clone(),
                over: parameter.over,
            });
            parameters.push(parameter);
        }
        let mut formulas = Vec::new();
        for raw in raw.formulas {
            new_name(&raw.name)?;
            let formula = raw.check(&source, &index_names, &symbols)?;
            symbols.push(Symbol {
                name: formula.name.clone(),
                unit: formula.unit.clone(),
                over: formula.over,
            });
            formulas.push(formula);
        }
        check_outputs(&source, &symbols, &formulas)?;
        Ok(Self {
            id: raw.id,
            version: raw.version,
            title: raw.title,
            sectoral_scope: raw.sectoral_scope,
            source: raw.source,
            interval: raw.interval,
            indexes,
            parameters,
            formulas,
            excluded: raw.excluded,
            hash: sha256(text.as_bytes()),
        })
    }

    /// The SHA-256 of the file's bytes.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The parameter of this name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|parameter| parameter.name == name)
    }
}

impl RawFormula {
    fn check(
        self,
        source: &SourceFile<'_>,
        indexes: &[String],
        symbols: &[Symbol],
    ) -> Result<Formula, InputError> {
        let over = self
            .over
            .map(|over| index(source, &over, indexes))
            .transpose()?;
        let unit = unit(source, &self.unit)?;
        let start = formula_start(source.text, self.expression.span().start);
        let refused = |error: crate::formula::FormulaError| {
            source.error(
                source.place(start + error.at),
                self.name.get_ref(),
                error.problem,
                error.remedy,
            )
        };
        let tree = Expression::parse(self.expression.get_ref()).map_err(refused)?;
        let checked = check(&tree, symbols, indexes, over, &unit).map_err(refused)?;
        Ok(Formula {
            label: self.label,
            description: self.description,
            unit,
            over,
            expression: self.expression.into_inner(),
            checked,
            name: self.name.into_inner(),
        })
    }
}

/// Where the text of a TOML string begins, given where its opening quotes begin.
fn formula_start(text: &str, quotes: usize) -> usize {
    let rest = text.get(quotes..).unwrap_or_default();
    if rest.starts_with("\"\"\"") || rest.starts_with("'''") {
        // A line break right after the opening quotes is not part of the string.
        quotes + 3 + usize::from(rest.get(3..).is_some_and(|body| body.starts_with('\n')))
    } else {
        quotes + 1
    }
}

pub(crate) fn unit(source: &SourceFile<'_>, symbol: &Spanned<String>) -> Result<Unit, InputError> {
    Unit::parse(symbol.get_ref()).map_err(|error| {
        source.error(
            source.place(symbol.span().start),
            "unit",
            error.to_string(),
            "",
        )
    })
}

fn index(
    source: &SourceFile<'_>,
    name: &Spanned<String>,
    indexes: &[String],
) -> Result<usize, InputError> {
    indexes
        .iter()
        .position(|known| known == name.get_ref())
        .ok_or_else(|| {
            let known: Vec<&str> = indexes.iter().map(String::as_str).collect();
            let at = source.place(name.span().start);
            source.error(
                at,
                "over",
                format!("there is no index `{}`", name.get_ref()),
                allowed(name.get_ref(), &known),
            )
        })
}

fn check_outputs(
    source: &SourceFile<'_>,
    symbols: &[Symbol],
    formulas: &[Formula],
) -> Result<(), InputError> {
    let top = Place { line: 1, column: 1 };
    for output in OUTPUTS {
        let Some(formula) = formulas.iter().find(|formula| formula.name == output) else {
            let problem = "the methodology has no formula of this name";
            return Err(source.error(
                top,
                output,
                problem,
                "every methodology gives BaU, RE, PE, PE_credited and ER",
            ));
        };
        if formula.unit.symbol() != "tCO2" || formula.over.is_some() {
            return Err(source.error(
                top,
                output,
                "must be one number in tCO2",
                "use sum(…) and unit = \"tCO2\"",
            ));
        }
    }
    let discount = symbols.iter().find(|symbol| symbol.name == "DF");
    match discount {
        Some(symbol)
            if symbol.over.is_none()
                && symbol.unit.dimension() == Dimension::NONE
                && symbol.unit.factor() == Ratio::ONE =>
        {
            Ok(())
        }
        _ => Err(source.error(
            top,
            "DF",
            "the discount factor must be one pure number, not a percentage",
            "add a parameter or formula DF with unit = \"1\"",
        )),
    }
}
