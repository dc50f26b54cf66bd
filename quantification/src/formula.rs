//! The formula language of methodology files: parsed once into a tree.
//!
//! `+ - * /`, parentheses, decimals, names, and the functions `sum(x)` (over the members of an
//! index, such as wells), `min(a, b, …)`, `max(a, b, …)` and `co2(x)` (says that the mass `x` is a
//! mass of CO2: `t` becomes `tCO2`). [`check`] gives every part a unit and refuses what does not
//! fit; [`evaluate`] computes in exact decimals.

pub(crate) mod check;
pub(crate) mod evaluate;

use winnow::combinator::{alt, cut_err, delimited, opt, preceded, repeat, separated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location as _};
use winnow::token::{one_of, take_while};

use crate::exact::Exact;

/// A parsed formula; `at` is the byte offset of a part within the formula's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A pure number.
    Number(Exact),
    /// A parameter or another formula.
    Name {
        /// Its name.
        name: String,
        /// Where it stands.
        at: usize,
    },
    /// The value with its sign turned.
    Negative(Box<Self>),
    /// Two operands.
    Binary {
        /// What is done.
        operator: Operator,
        /// The operands, left and right.
        operands: Box<(Self, Self)>,
        /// Where the operator stands.
        at: usize,
    },
    /// A function and its arguments.
    Call {
        /// The function.
        function: Function,
        /// Its arguments.
        arguments: Vec<Self>,
        /// Where it stands.
        at: usize,
    },
}

/// The four operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

/// The functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// The sum over the members of the index in its argument.
    Sum,
    /// The smallest argument.
    Min,
    /// The largest argument.
    Max,
    /// Declares a mass to be a mass of CO2.
    Co2,
}

impl Function {
    /// Every function and its name.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("sum", Self::Sum),
        ("min", Self::Min),
        ("max", Self::Max),
        ("co2", Self::Co2),
    ];
}

/// Why a formula is refused, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaError {
    /// The byte offset within the formula's text.
    pub at: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// Longer formulas are refused: a formula is read by people.
const LONGEST: usize = 2000;
/// Deeper nesting is refused, which also bounds the parser's stack.
const DEEPEST: usize = 50;

impl Expression {
    /// Parses a formula.
    ///
    /// # Errors
    /// [`FormulaError`] with the offset of the first character that does not fit.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let nesting = text
            .bytes()
            .filter(|byte| matches!(byte, b'(' | b'-'))
            .count();
        if text.len() > LONGEST || nesting > DEEPEST {
            return Err(FormulaError {
                at: 0,
                problem: format!(
                    "a formula has at most {LONGEST} characters and {DEEPEST} parentheses and minus signs"
                ),
                remedy: "split it into several named formulas".to_owned(),
            });
        }
        let whole = delimited(blank, sum_of_terms, blank);
        whole.parse_terminated(text)
    }

    /// Every name in the formula, in order of appearance, with repetitions.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Name { name, .. } => vec![name],
            Self::Negative(inner) => inner.names(),
            Self::Binary { operands, .. } => {
                let mut names = operands.0.names();
                names.extend(operands.1.names());
                names
            }
            Self::Call { arguments, .. } => arguments.iter().flat_map(Self::names).collect(),
        }
    }
}

type Input<'a> = LocatingSlice<&'a str>;
type Parsed<T> = winnow::Result<T, ErrMode<ContextError>>;

/// Runs a parser over the whole text.
trait ParseTerminated<'a> {
    fn parse_terminated(self, text: &'a str) -> Result<Expression, FormulaError>;
}

impl<'a, P: Parser<Input<'a>, Expression, ErrMode<ContextError>>> ParseTerminated<'a> for P {
    fn parse_terminated(mut self, text: &'a str) -> Result<Expression, FormulaError> {
        self.parse(LocatingSlice::new(text)).map_err(|error| {
            let at = error.offset().min(text.len());
            let found = text.get(at..).and_then(|rest| rest.chars().next());
            let problem = found.map_or_else(
                || "the formula ends where a number, a name or `(` was expected".to_owned(),
                |found| format!("`{found}` does not fit here"),
            );
            let cause = error.inner().to_string();
            let remedy = if cause.is_empty() {
                "write numbers, names, + - * /, parentheses, sum(x), min(a, b), max(a, b) or co2(x)"
                    .to_owned()
            } else {
                cause.replace('\n', ", ")
            };
            FormulaError {
                at,
                problem,
                remedy,
            }
        })
    }
}

fn blank(input: &mut Input<'_>) -> Parsed<()> {
    take_while(0.., [' ', '\t', '\n', '\r'])
        .void()
        .parse_next(input)
}

fn operator(symbols: [char; 2]) -> impl FnMut(&mut Input<'_>) -> Parsed<(Operator, usize)> {
    move |input| {
        blank(input)?;
        let at = input.current_token_start();
        let symbol = one_of(symbols).parse_next(input)?;
        let operator = match symbol {
            '+' => Operator::Add,
            '-' => Operator::Subtract,
            '*' => Operator::Multiply,
            _ => Operator::Divide,
        };
        Ok((operator, at))
    }
}

fn chain(
    input: &mut Input<'_>,
    symbols: [char; 2],
    mut operand: fn(&mut Input<'_>) -> Parsed<Expression>,
) -> Parsed<Expression> {
    let first = operand.parse_next(input)?;
    repeat(0.., (operator(symbols), cut_err(operand)))
        .fold(
            move || first.clone(),
            |left, ((operator, at), right)| Expression::Binary {
                operator,
                operands: Box::new((left, right)),
                at,
            },
        )
        .parse_next(input)
}

fn sum_of_terms(input: &mut Input<'_>) -> Parsed<Expression> {
    chain(input, ['+', '-'], product)
}

fn product(input: &mut Input<'_>) -> Parsed<Expression> {
    chain(input, ['*', '/'], operand)
}

fn operand(input: &mut Input<'_>) -> Parsed<Expression> {
    let negative =
        preceded('-', cut_err(operand)).map(|inner| Expression::Negative(Box::new(inner)));
    let closing = || {
        cut_err(preceded(blank, ')'))
            .context(StrContext::Expected(StrContextValue::CharLiteral(')')))
    };
    let parentheses = delimited('(', cut_err(sum_of_terms), closing());
    preceded(blank, alt((negative, parentheses, number, name_or_call))).parse_next(input)
}

fn number(input: &mut Input<'_>) -> Parsed<Expression> {
    let text = take_while(1.., |c: char| c.is_ascii_digit() || c == '.').parse_next(input)?;
    match Exact::parse(text) {
        Ok(value) => Ok(Expression::Number(value)),
        Err(_not_a_decimal) => {
            let mut context = ContextError::new();
            context.push(StrContext::Expected(StrContextValue::Description(
                "a plain decimal such as 0.25",
            )));
            Err(ErrMode::Cut(context))
        }
    }
}

fn name_or_call(input: &mut Input<'_>) -> Parsed<Expression> {
    let at = input.current_token_start();
    let name = (
        one_of(|c: char| c.is_ascii_alphabetic()),
        take_while(0.., is_name_character),
    )
        .take()
        .parse_next(input)?
        .to_owned();
    let open = opt(preceded(blank, '(')).parse_next(input)?;
    if open.is_none() {
        return Ok(Expression::Name { name, at });
    }
    let Some((_, function)) = Function::NAMES.iter().find(|(known, _)| *known == name) else {
        let mut context = ContextError::new();
        context.push(StrContext::Expected(StrContextValue::Description(
            "one of the functions sum, min, max, co2",
        )));
        return Err(ErrMode::Cut(context));
    };
    let arguments =
        cut_err(separated(1.., sum_of_terms, preceded(blank, ','))).parse_next(input)?;
    cut_err(preceded(blank, ')'))
        .context(StrContext::Expected(StrContextValue::CharLiteral(')')))
        .parse_next(input)?;
    Ok(Expression::Call {
        function: *function,
        arguments,
        at,
    })
}

/// Whether a character may stand in a name after its first letter.
pub(crate) fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether `text` can be used as a name in a formula.
pub(crate) fn is_name(text: &str) -> bool {
    let function = Function::NAMES.iter().any(|(name, _)| *name == text);
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_name_character)
        && !function
}

#[cfg(test)]
mod tests {
    use super::{Expression, Operator};

    fn outline(expression: &Expression) -> String {
        match expression {
            Expression::Number(value) => value.to_string(),
            Expression::Name { name, .. } => name.clone(),
            Expression::Negative(inner) => format!("(-{})", outline(inner)),
            Expression::Binary {
                operator, operands, ..
            } => {
                let symbol = match operator {
                    Operator::Add => '+',
                    Operator::Subtract => '-',
                    Operator::Multiply => '*',
                    Operator::Divide => '/',
                };
                format!("({}{symbol}{})", outline(&operands.0), outline(&operands.1))
            }
            Expression::Call {
                function,
                arguments,
                ..
            } => {
                let arguments: Vec<_> = arguments.iter().map(outline).collect();
                format!("{function:?}[{}]", arguments.join(","))
            }
        }
    }

    #[test]
    fn products_bind_closer_than_sums_and_both_run_from_left_to_right() {
        let parsed = |text| outline(&Expression::parse(text).unwrap());
        assert_eq!(parsed("a + b*c - d/e/2"), "((a+(b*c))-((d/e)/2))");
        assert_eq!(parsed(" -(a - b) * 0.25 "), "((-(a-b))*0.25)");
        assert_eq!(
            parsed("sum(Q * C) + max(a, min(b, 1))"),
            "(Sum[(Q*C)]+Max[a,Min[b,1]])"
        );
        assert_eq!(parsed("min_flow"), "min_flow");
    }

    #[test]
    fn an_error_says_where_it_is() {
        let at = |text| Expression::parse(text).unwrap_err().at;
        assert_eq!(at("a + * b"), 4);
        assert_eq!(at("a b"), 2);
        assert_eq!(at("a + "), 4);
        assert_eq!(at("(a + b"), 6);
        assert_eq!(at(""), 0);
        assert_eq!(at("a ^ 2"), 2);
    }

    #[test]
    fn an_unknown_function_and_a_bad_number_are_explained() {
        let error = Expression::parse("total(Q)").unwrap_err();
        assert!(error.remedy.contains("sum, min, max, co2"), "{error:?}");
        let error = Expression::parse("1.5.2 * a").unwrap_err();
        assert!(error.remedy.contains("plain decimal"), "{error:?}");
    }

    #[test]
    fn endless_nesting_is_refused_before_it_is_parsed() {
        let deep = "(".repeat(100_000);
        assert!(Expression::parse(&deep).is_err());
        let minus = "-".repeat(1_000);
        assert!(Expression::parse(&minus).is_err());
    }
}
