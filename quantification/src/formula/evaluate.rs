//! Computes a checked formula, and notes which values went in.

use super::Operator;
use super::check::Checked;
use crate::exact::{ArithmeticError, Exact};

/// The values of all symbols: `values[symbol][member]`, member 0 for a symbol without an index.
pub(crate) type Values = Vec<Vec<Exact>>;

/// One computation of one formula.
pub(crate) struct Evaluation<'a> {
    /// The values of the symbols computed so far.
    pub(crate) values: &'a Values,
    /// The index of each symbol.
    pub(crate) over: &'a [Option<usize>],
    /// The number of members of each index.
    pub(crate) sizes: &'a [usize],
    /// The current member of each index.
    pub(crate) current: Vec<Option<usize>>,
    /// The values used, as (symbol, member), in order of first use.
    pub(crate) used: Vec<(usize, Option<usize>)>,
}

impl Evaluation<'_> {
    pub(crate) fn run(&mut self, tree: &Checked) -> Result<Exact, ArithmeticError> {
        match tree {
            Checked::Number(value) => Ok(*value),
            Checked::Value(symbol) => {
                let member = self.over[*symbol].and_then(|index| self.current[index]);
                if !self.used.contains(&(*symbol, member)) {
                    self.used.push((*symbol, member));
                }
                Ok(self.values[*symbol][member.unwrap_or(0)])
            }
            Checked::Negative(inner) => Ok(self.run(inner)?.negate()),
            Checked::Convert(ratio, inner) => ratio.apply(self.run(inner)?),
            Checked::Binary(operator, operands) => {
                let (left, right) = (self.run(&operands.0)?, self.run(&operands.1)?);
                match operator {
                    Operator::Add => left.plus(right),
                    Operator::Subtract => left.minus(right),
                    Operator::Multiply => left.times(right),
                    Operator::Divide => left.divided_by(right),
                }
            }
            Checked::Sum(index, inner) => {
                let mut sum = Exact::ZERO;
                for member in 0..self.sizes[*index] {
                    let outer = self.current[*index].replace(member);
                    let value = self.run(inner);
                    self.current[*index] = outer;
                    sum = sum.plus(value?)?;
                }
                Ok(sum)
            }
            Checked::Least(parts) => self.pick(parts, |new, best| new < best),
            Checked::Most(parts) => self.pick(parts, |new, best| new > best),
        }
    }

    fn pick(
        &mut self,
        parts: &[Checked],
        better: fn(Exact, Exact) -> bool,
    ) -> Result<Exact, ArithmeticError> {
        let mut best: Option<Exact> = None;
        for part in parts {
            let value = self.run(part)?;
            if best.is_none_or(|best| better(value, best)) {
                best = Some(value);
            }
        }
        Ok(best.unwrap_or(Exact::ZERO))
    }
}
