//! Gives every part of a formula a unit, and refuses what does not fit.

use super::{Expression, FormulaError, Function, Operator};
use crate::exact::{Exact, Ratio};
use crate::input::nearest;
use crate::unit::{Dimension, Unit};

/// What a name in a formula stands for.
#[derive(Debug, Clone)]
pub(crate) struct Symbol {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// The index (by number) it has a value for each member of.
    pub(crate) over: Option<usize>,
}

/// A checked formula, ready to evaluate: every conversion it needs is in the tree.
#[derive(Debug, Clone)]
pub(crate) enum Checked {
    Number(Exact),
    /// The value of a symbol, for the current member if it is indexed.
    Value(usize),
    Negative(Box<Self>),
    Binary(Operator, Box<(Self, Self)>),
    /// The value times an exact ratio: a unit conversion.
    Convert(Ratio, Box<Self>),
    /// The sum over all members of an index.
    Sum(usize, Box<Self>),
    Least(Vec<Self>),
    Most(Vec<Self>),
}

/// The unit of a part.
#[derive(Debug, Clone, Copy)]
struct Type {
    dimension: Dimension,
    factor: Ratio,
}

/// Checks `expression` and converts its result to `unit`.
///
/// `over` is the index the formula itself is computed for each member of. `symbols` are the
/// parameters and the formulas above this one.
pub(crate) fn check(
    expression: &Expression,
    symbols: &[Symbol],
    indexes: &[String],
    over: Option<usize>,
    unit: &Unit,
) -> Result<Checked, FormulaError> {
    let mut checker = Checker {
        symbols,
        indexes,
        bound: over.into_iter().collect(),
    };
    let (tree, found) = checker.check(expression)?;
    if found.dimension != unit.dimension() {
        return Err(FormulaError {
            at: 0,
            problem: format!(
                "the formula gives {}, but its unit `{unit}` is {}",
                found.dimension,
                unit.dimension()
            ),
            remedy: if found.dimension == Dimension::MASS && unit.dimension() == Dimension::CO2 {
                "write co2(…) around the mass if it is a mass of CO2".to_owned()
            } else {
                "correct the formula or the unit".to_owned()
            },
        });
    }
    let ratio = found
        .factor
        .divided_by(unit.factor())
        .map_err(|error| too_large(0, error))?;
    Ok(convert(ratio, tree))
}

struct Checker<'a> {
    symbols: &'a [Symbol],
    indexes: &'a [String],
    /// Indexes that have a current member here.
    bound: Vec<usize>,
}

impl Checker<'_> {
    fn check(&mut self, expression: &Expression) -> Result<(Checked, Type), FormulaError> {
        let number = Type {
            dimension: Dimension::NONE,
            factor: Ratio::ONE,
        };
        match expression {
            Expression::Number(value) => Ok((Checked::Number(*value), number)),
            Expression::Name { name, at } => self.name(name, *at),
            Expression::Negative(inner) => {
                let (tree, found) = self.check(inner)?;
                Ok((Checked::Negative(Box::new(tree)), found))
            }
            Expression::Binary {
                operator,
                operands,
                at,
            } => {
                let (left, a) = self.check(&operands.0)?;
                let (right, b) = self.check(&operands.1)?;
                Self::binary(*operator, (left, a), (right, b), *at)
            }
            Expression::Call {
                function,
                arguments,
                at,
            } => self.call(*function, arguments, *at),
        }
    }

    fn name(&self, name: &str, at: usize) -> Result<(Checked, Type), FormulaError> {
        let Some(position) = self.symbols.iter().position(|symbol| symbol.name == name) else {
            let known: Vec<&str> = self
                .symbols
                .iter()
                .map(|symbol| symbol.name.as_str())
                .collect();
            let near = nearest(name, known.iter().copied());
            return Err(FormulaError {
                at,
                problem: format!("`{name}` is neither a parameter nor a formula above this one"),
                remedy: match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", known.join(", ")),
                },
            });
        };
        let symbol = &self.symbols[position];
        if let Some(index) = symbol.over.filter(|index| !self.bound.contains(index)) {
            return Err(FormulaError {
                at,
                problem: format!(
                    "`{name}` has a value for each {}, but the formula has not",
                    self.indexes[index]
                ),
                remedy: format!(
                    "write sum(…) around it, or give the formula over = \"{}\"",
                    self.indexes[index]
                ),
            });
        }
        if symbol.unit.has_offset() {
            return Err(FormulaError {
                at,
                problem: format!(
                    "`{name}` is in {}, which has a zero of its own",
                    symbol.unit
                ),
                remedy: "give the parameter the unit K".to_owned(),
            });
        }
        let found = Type {
            dimension: symbol.unit.dimension(),
            factor: symbol.unit.factor(),
        };
        Ok((Checked::Value(position), found))
    }

    fn binary(
        operator: Operator,
        (left, a): (Checked, Type),
        (right, b): (Checked, Type),
        at: usize,
    ) -> Result<(Checked, Type), FormulaError> {
        let fails = |error| too_large(at, error);
        let (right, found) = match operator {
            Operator::Add | Operator::Subtract => {
                let word = if operator == Operator::Add {
                    "added to"
                } else {
                    "subtracted from"
                };
                (same(a, (right, b), at, word)?, a)
            }
            Operator::Multiply => {
                let factor = a.factor.times(b.factor).map_err(fails)?;
                (
                    right,
                    Type {
                        dimension: a.dimension.times(b.dimension),
                        factor,
                    },
                )
            }
            Operator::Divide => {
                let factor = a.factor.divided_by(b.factor).map_err(fails)?;
                (
                    right,
                    Type {
                        dimension: a.dimension.divided_by(b.dimension),
                        factor,
                    },
                )
            }
        };
        Ok((Checked::Binary(operator, Box::new((left, right))), found))
    }

    fn call(
        &mut self,
        function: Function,
        arguments: &[Expression],
        at: usize,
    ) -> Result<(Checked, Type), FormulaError> {
        let single = |name: &str| match arguments {
            [argument] => Ok(argument),
            _ => Err(FormulaError {
                at,
                problem: format!("{name} takes one argument, not {}", arguments.len()),
                remedy: format!("write {name}(x)"),
            }),
        };
        match function {
            Function::Co2 => {
                let (tree, found) = self.check(single("co2")?)?;
                if found.dimension != Dimension::MASS {
                    return Err(FormulaError {
                        at,
                        problem: format!("co2 takes a mass, not {}", found.dimension),
                        remedy: "multiply by what makes it a mass first".to_owned(),
                    });
                }
                Ok((
                    tree,
                    Type {
                        dimension: Dimension::CO2,
                        factor: found.factor,
                    },
                ))
            }
            Function::Sum => {
                let argument = single("sum")?;
                let index = self.summed_index(argument, at)?;
                self.bound.push(index);
                let checked = self.check(argument);
                self.bound.pop();
                let (tree, found) = checked?;
                Ok((Checked::Sum(index, Box::new(tree)), found))
            }
            Function::Min | Function::Max => {
                let mut parts = Vec::with_capacity(arguments.len());
                let mut first: Option<Type> = None;
                for argument in arguments {
                    let (tree, found) = self.check(argument)?;
                    let wanted = *first.get_or_insert(found);
                    parts.push(same(wanted, (tree, found), at, "compared with")?);
                }
                let found = first.unwrap_or(Type {
                    dimension: Dimension::NONE,
                    factor: Ratio::ONE,
                });
                Ok((
                    if function == Function::Min {
                        Checked::Least(parts)
                    } else {
                        Checked::Most(parts)
                    },
                    found,
                ))
            }
        }
    }

    /// The one index of the names in `argument` that has no current member yet.
    fn summed_index(&self, argument: &Expression, at: usize) -> Result<usize, FormulaError> {
        let mut free: Vec<usize> = argument
            .names()
            .iter()
            .filter_map(|name| {
                self.symbols
                    .iter()
                    .find(|symbol| symbol.name == *name)?
                    .over
            })
            .filter(|index| !self.bound.contains(index))
            .collect();
        free.sort_unstable();
        free.dedup();
        match free.as_slice() {
            [index] => Ok(*index),
            [] => Err(FormulaError {
                at,
                problem: "sum(…) has nothing to run over".to_owned(),
                remedy: "name a parameter that has a value for each member of an index".to_owned(),
            }),
            several => {
                let names: Vec<&str> = several
                    .iter()
                    .map(|index| self.indexes[*index].as_str())
                    .collect();
                Err(FormulaError {
                    at,
                    problem: format!("sum(…) could run over {}", names.join(" or ")),
                    remedy: "sum the parts one by one".to_owned(),
                })
            }
        }
    }
}

/// Converts `right` to the unit of `left`, if the dimensions agree.
fn same(
    left: Type,
    (right, found): (Checked, Type),
    at: usize,
    word: &str,
) -> Result<Checked, FormulaError> {
    if left.dimension != found.dimension {
        return Err(FormulaError {
            at,
            problem: format!("{} cannot be {word} {}", found.dimension, left.dimension),
            remedy: "both sides need the same dimension".to_owned(),
        });
    }
    let ratio = found
        .factor
        .divided_by(left.factor)
        .map_err(|error| too_large(at, error))?;
    Ok(convert(ratio, right))
}

fn convert(ratio: Ratio, tree: Checked) -> Checked {
    if ratio == Ratio::ONE {
        tree
    } else {
        Checked::Convert(ratio, Box::new(tree))
    }
}

fn too_large(at: usize, error: crate::exact::ArithmeticError) -> FormulaError {
    FormulaError {
        at,
        problem: format!("the unit factors do not fit: {error}"),
        remedy: "use units nearer to one another".to_owned(),
    }
}
