//! Reads a TOML document so that every mistake in it can be reported at once.
//!
//! Deriving with serde would stop at the first wrong value and tell no line for rules that span
//! values. This reader walks the parsed document instead: each getter names the key it wants, notes
//! what is wrong with it and goes on; [`Section::finish`] reports the keys that nobody asked for.

use std::cell::{OnceCell, RefCell};
use std::ops::{Range, RangeInclusive};

use evidence::decimal::Decimal;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Problem, did_you_mean, not_one_of};

/// The document's text and the mistakes found so far.
pub(super) struct Reader<'t> {
    text: &'t str,
    line_starts: OnceCell<Vec<usize>>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

/// One table of the document.
pub(super) struct Section<'r, 't> {
    pub(super) reader: &'r Reader<'t>,
    /// The table's header, where a missing key is reported.
    pub(super) span: Range<usize>,
    path: String,
    table: &'r DeTable<'t>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            line_starts: OnceCell::new(),
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// Notes a mistake at a place in the text.
    pub(super) fn report(&self, span: &Range<usize>, key: &str, text: impl Into<String>) {
        let problem = self.problem(span, key, text.into());
        self.problems.borrow_mut().push(problem);
    }

    /// Notes something that works but should be otherwise.
    pub(super) fn warn(&self, span: &Range<usize>, key: &str, text: impl Into<String>) {
        let problem = self.problem(span, key, text.into());
        self.warnings.borrow_mut().push(problem);
    }

    fn problem(&self, span: &Range<usize>, key: &str, text: String) -> Problem {
        let (line, column) = self.position(span.start);
        Problem {
            line,
            column,
            key: key.to_owned(),
            text,
        }
    }

    /// Line and column of a byte offset, both from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        // Every name is remembered with its line, so the lines are counted once and not for each.
        let starts = self.line_starts.get_or_init(|| {
            let after = |(at, _): (usize, &str)| at + 1;
            std::iter::once(0)
                .chain(self.text.match_indices('\n').map(after))
                .collect()
        });
        let line = starts.partition_point(|&start| start <= offset).max(1);
        let start = starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or("");
        (line, before.chars().count() + 1)
    }

    /// The mistakes in the order of the file, each once.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        in_order(self.problems.into_inner())
    }

    /// The warnings so far in the order of the file, each once.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        in_order(self.warnings.borrow().clone())
    }
}

fn in_order(mut list: Vec<Problem>) -> Vec<Problem> {
    list.sort_by_key(|problem| (problem.line, problem.column));
    list.dedup();
    list
}

impl<'r, 't> Section<'r, 't> {
    /// The whole document.
    pub(super) fn root(reader: &'r Reader<'t>, table: &'r DeTable<'t>) -> Self {
        Self {
            reader,
            span: 0..0,
            path: String::new(),
            table,
            asked: RefCell::default(),
        }
    }

    fn find(&self, key: &'static str) -> Option<&'r Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        self.table
            .iter()
            .find(|(name, _)| name.get_ref().as_ref() == key)
            .map(|(_, value)| value)
    }

    /// The dotted name of a key.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes a mistake about a key of this table.
    pub(super) fn report(&self, span: &Range<usize>, key: &str, text: impl Into<String>) {
        self.reader.report(span, &self.key(key), text);
    }

    /// Notes something about a key of this table that works but should be otherwise.
    pub(super) fn warn(&self, span: &Range<usize>, key: &str, text: impl Into<String>) {
        self.reader.warn(span, &self.key(key), text);
    }

    /// Notes that a key is missing, at the table's header.
    pub(super) fn missing(&self, key: &str, remedy: &str) {
        self.report(&self.span, key, format!("missing; {remedy}"));
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'t>>, expected: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(
            &value.span(),
            key,
            format!("expected {expected}, found {found}"),
        );
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.find(key)?;
        match value.get_ref() {
            DeValue::String(text) if text.is_empty() => {
                self.report(&value.span(), key, "must not be empty");
                None
            }
            DeValue::String(text) => Some(Spanned::new(value.span(), text.to_string())),
            _ => {
                self.wrong_type(key, value, "a text in quotes");
                None
            }
        }
    }

    /// A text that must be there; `remedy` says what to write.
    pub(super) fn required_text(&self, key: &'static str, remedy: &str) -> Option<Spanned<String>> {
        if !self.has(key) {
            self.missing(key, remedy);
        }
        self.text(key)
    }

    /// Whether the key is written at all.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// The place of a key's value, or of the table where it is absent.
    pub(super) fn place(&self, key: &'static str) -> Range<usize> {
        self.find(key)
            .map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.find(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.wrong_type(key, value, "true or false");
                None
            }
        }
    }

    /// A whole number within limits.
    pub(super) fn number<N: TryFrom<i128>>(
        &self,
        key: &'static str,
        limits: RangeInclusive<i128>,
    ) -> Option<N> {
        let value = self.find(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| limits.contains(number))
            .and_then(|number| N::try_from(number).ok());
        if number.is_none() {
            let (least, most) = (limits.start(), limits.end());
            self.report(
                &value.span(),
                key,
                format!("{integer} is outside {least} to {most}"),
            );
        }
        number
    }

    /// A whole number within limits, or the default when it is absent.
    pub(super) fn number_or<N: TryFrom<i128>>(
        &self,
        key: &'static str,
        limits: RangeInclusive<i128>,
        default: N,
    ) -> N {
        self.number(key, limits).unwrap_or(default)
    }

    /// A whole number of any size, or a text.
    pub(super) fn integer_or_text(&self, key: &'static str) -> Option<Spanned<IntegerOrText>> {
        self.one_integer_or_text(key, self.find(key)?)
    }

    fn one_integer_or_text(
        &self,
        key: &'static str,
        value: &Spanned<DeValue<'t>>,
    ) -> Option<Spanned<IntegerOrText>> {
        let found = match value.get_ref() {
            DeValue::Integer(integer) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix());
                if number.is_err() {
                    self.report(&value.span(), key, "the number is too large");
                }
                let found = if integer.radix() == 10 {
                    IntegerOrText::Integer
                } else {
                    IntegerOrText::Hex
                };
                number.ok().map(found)
            }
            DeValue::String(text) => Some(IntegerOrText::Text(text.to_string())),
            _ => {
                self.wrong_type(key, value, "a whole number or a text in quotes");
                None
            }
        };
        found.map(|found| Spanned::new(value.span(), found))
    }

    /// A list of whole numbers of any size and of texts.
    pub(super) fn integers_or_texts(&self, key: &'static str) -> Vec<Spanned<IntegerOrText>> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let DeValue::Array(list) = value.get_ref() else {
            self.wrong_type(key, value, "a list, like [0xFFFF]");
            return Vec::new();
        };
        list.iter()
            .filter_map(|item| self.one_integer_or_text(key, item))
            .collect()
    }

    /// A list of texts, none of them empty.
    pub(super) fn texts(&self, key: &'static str) -> Vec<Spanned<String>> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let DeValue::Array(list) = value.get_ref() else {
            self.wrong_type(key, value, "a list of texts in quotes");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in list {
            match item.get_ref() {
                DeValue::String(text) if text.is_empty() => {
                    self.report(&item.span(), key, "must not be empty");
                }
                DeValue::String(text) => texts.push(Spanned::new(item.span(), text.to_string())),
                _ => self.wrong_type(key, item, "a text in quotes"),
            }
        }
        texts
    }

    /// An exact decimal: a text like `"0.001"`, or a whole number. A TOML float is refused, because
    /// it is not exact.
    pub(super) fn decimal(&self, key: &'static str) -> Option<Spanned<Decimal>> {
        let value = self.find(key)?;
        let parsed = match value.get_ref() {
            DeValue::String(text) => Decimal::parse(text),
            DeValue::Integer(integer) if integer.radix() == 10 => Decimal::parse(integer.as_str()),
            DeValue::Float(float) => {
                let text = format!(
                    "a float is not exact; write the digits as a text: {key} = \"{float}\""
                );
                self.report(&value.span(), key, text);
                return None;
            }
            _ => {
                self.wrong_type(key, value, "a decimal number in quotes, like \"0.001\"");
                return None;
            }
        };
        match parsed {
            Ok(decimal) => Some(Spanned::new(value.span(), decimal)),
            Err(error) => {
                self.report(&value.span(), key, error.to_string());
                None
            }
        }
    }

    /// One of a list of words. `what` completes "is not …".
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(name, _)| name == text.get_ref());
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.report(&text.span(), key, not_one_of(text.get_ref(), what, &names));
        }
        found.map(|(_, choice)| Spanned::new(text.span(), *choice))
    }

    /// A table below this one.
    pub(super) fn section(&self, key: &'static str) -> Option<Self> {
        let value = self.find(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(self.below(key, value.span(), table)),
            _ => {
                self.wrong_type(key, value, &format!("a table [{}]", self.key(key)));
                None
            }
        }
    }

    /// The tables of an array `[[key]]` below this one.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let expected = format!("tables [[{}]]", self.key(key));
        let list: &DeArray<'t> = match value.get_ref() {
            DeValue::Array(list) => list,
            _ => {
                self.wrong_type(key, value, &expected);
                return Vec::new();
            }
        };
        let mut sections = Vec::new();
        for item in list {
            match item.get_ref() {
                DeValue::Table(table) => sections.push(self.below(key, item.span(), table)),
                _ => self.wrong_type(key, item, &expected),
            }
        }
        sections
    }

    fn below(&self, key: &str, span: Range<usize>, table: &'r DeTable<'t>) -> Self {
        Self {
            reader: self.reader,
            span,
            path: self.key(key),
            table,
            asked: RefCell::default(),
        }
    }

    /// Reports every key that no getter asked for, with the keys that are allowed. The last call.
    pub(super) fn finish(&self) {
        let mut allowed = self.asked.borrow().clone();
        allowed.sort_unstable();
        allowed.dedup();
        for (name, _) in self.table {
            let written = name.get_ref().as_ref();
            if allowed.contains(&written) {
                continue;
            }
            let place = if self.path.is_empty() {
                "at the top of the file".to_owned()
            } else {
                format!("in [{}]", self.path)
            };
            let mut text = format!("unknown key; allowed {place}: {}", allowed.join(", "));
            if let Some(meant) = did_you_mean(written, &allowed) {
                text.push_str(&format!("; did you mean `{meant}`?"));
            }
            self.report(&name.span(), written, text);
        }
    }
}

/// What may stand where both a number and a text make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IntegerOrText {
    Integer(i128),
    /// A number written in another base than ten, like 0x9C41.
    Hex(i128),
    Text(String),
}
