//! Evaluates the formulas of a methodology for each interval.

use super::ComputationError;
use crate::exact::{ArithmeticError, Exact};
use crate::formula::evaluate::{Evaluation, Values};
use crate::methodology::Formula;
use crate::period::Cell;
use crate::plan::Bound;
use crate::report::{Balance, Step, StepInput};

/// The formulas of a methodology, with the members a plan gives them.
pub(super) struct Calculator<'a> {
    bound: &'a Bound,
    /// The index of each symbol: parameters, then formulas.
    over: Vec<Option<usize>>,
    sizes: Vec<usize>,
}

impl<'a> Calculator<'a> {
    pub(super) fn new(bound: &'a Bound) -> Self {
        let methodology = &bound.methodology;
        let parameters = methodology
            .parameters
            .iter()
            .map(|parameter| parameter.over);
        let over = parameters
            .chain(methodology.formulas.iter().map(|formula| formula.over))
            .collect();
        Self {
            bound,
            over,
            sizes: bound.members.iter().map(Vec::len).collect(),
        }
    }

    /// All symbols' values in one interval; `inputs` are in the order of [`Bound::inputs`].
    pub(super) fn run(
        &self,
        cell: &Cell,
        inputs: &[Exact],
        mut steps: Option<&mut Vec<Step>>,
    ) -> Result<Values, ComputationError> {
        let parameters = self.bound.methodology.parameters.len();
        let mut values: Values = vec![Vec::new(); parameters];
        for (input, value) in self.bound.inputs.iter().zip(inputs) {
            // Inputs are listed parameter by parameter, member by member.
            values[input.parameter].push(*value);
        }
        for formula in &self.bound.methodology.formulas {
            let count = formula.over.map_or(1, |index| self.sizes[index]);
            let mut results = Vec::with_capacity(count);
            for member in 0..count {
                let mut evaluation = Evaluation {
                    values: &values,
                    over: &self.over,
                    sizes: &self.sizes,
                    current: vec![None; self.sizes.len()],
                    used: Vec::new(),
                };
                if let Some(index) = formula.over {
                    evaluation.current[index] = Some(member);
                }
                let value = evaluation
                    .run(&formula.checked)
                    .map_err(|error| failed(formula, cell, error))?;
                if let Some(steps) = steps.as_deref_mut() {
                    let inputs = evaluation
                        .used
                        .iter()
                        .map(|used| self.step_input(&values, *used))
                        .collect();
                    steps.push(self.step(cell, formula, member, inputs, value));
                }
                results.push(value);
            }
            values.push(results);
        }
        Ok(values)
    }

    /// The balance of an interval, checked against what every methodology must satisfy.
    pub(super) fn balance(
        &self,
        cell: &Cell,
        values: &Values,
    ) -> Result<(Balance, Exact), ComputationError> {
        let value = |name: &str| self.value(values, name);
        let df = value("DF");
        if df <= Exact::ZERO || df > Exact::ONE {
            return Err(ComputationError::DiscountFactor(df.to_string()));
        }
        let (bau, re, pe, pe_credited, er) = (
            value("BaU"),
            value("RE"),
            value("PE"),
            value("PE_credited"),
            value("ER"),
        );
        let arithmetic = |error| ComputationError::Formula {
            formula: "(RE - PE_credited) * DF".to_owned(),
            interval: cell.label.clone(),
            error,
        };
        let expected = re
            .minus(pe_credited)
            .and_then(|net| net.times(df))
            .map_err(arithmetic)?;
        if expected != er {
            let interval = cell.label.clone();
            return Err(ComputationError::NotTheBalance {
                interval,
                found: er.to_string(),
                expected: expected.to_string(),
            });
        }
        let uncredited = bau.minus(re).map_err(arithmetic)?;
        Ok((
            Balance {
                bau,
                re,
                pe,
                pe_credited,
                er,
                uncredited,
            },
            df,
        ))
    }

    /// ER summed over all intervals, for the sign of its derivative.
    pub(super) fn reductions(
        &self,
        cells: &[Cell],
        inputs: &[Vec<Exact>],
    ) -> Result<Exact, ComputationError> {
        let mut sum = Exact::ZERO;
        for (cell, inputs) in cells.iter().zip(inputs) {
            let values = self.run(cell, inputs, None)?;
            sum = sum
                .plus(self.value(&values, "ER"))
                .or(Err(ComputationError::Overflow))?;
        }
        Ok(sum)
    }

    /// A symbol without an index; every methodology was checked to have the ones asked for.
    fn value(&self, values: &Values, name: &str) -> Exact {
        let methodology = &self.bound.methodology;
        let parameters = methodology
            .parameters
            .iter()
            .map(|parameter| parameter.name.as_str());
        let mut names = parameters.chain(
            methodology
                .formulas
                .iter()
                .map(|formula| formula.name.as_str()),
        );
        let position = names.position(|known| known == name);
        position
            .and_then(|position| values[position].first().copied())
            .unwrap_or(Exact::ZERO)
    }

    fn step_input(&self, values: &Values, (symbol, member): (usize, Option<usize>)) -> StepInput {
        let methodology = &self.bound.methodology;
        let (name, unit) = match methodology.parameters.get(symbol) {
            Some(parameter) => (&parameter.name, &parameter.unit),
            None => {
                let formula = &methodology.formulas[symbol - methodology.parameters.len()];
                (&formula.name, &formula.unit)
            }
        };
        StepInput {
            name: self.label(name, self.over[symbol], member.unwrap_or(0)),
            value: values[symbol][member.unwrap_or(0)],
            unit: unit.symbol().to_owned(),
        }
    }

    fn step(
        &self,
        cell: &Cell,
        formula: &Formula,
        member: usize,
        inputs: Vec<StepInput>,
        value: Exact,
    ) -> Step {
        Step {
            interval: cell.label.clone(),
            name: self.label(&formula.name, formula.over, member),
            label: formula.label.clone(),
            expression: formula.expression.clone(),
            inputs,
            value,
            unit: formula.unit.symbol().to_owned(),
        }
    }

    fn label(&self, name: &str, over: Option<usize>, member: usize) -> String {
        match over {
            None => name.to_owned(),
            Some(index) => format!("{name}[{}]", self.bound.members[index][member]),
        }
    }
}

fn failed(formula: &Formula, cell: &Cell, error: ArithmeticError) -> ComputationError {
    ComputationError::Formula {
        formula: formula.name.clone(),
        interval: cell.label.clone(),
        error,
    }
}
