//! What is wrong in a plan or methodology file, and where.
//!
//! Every error names file, line, column and key, says what is wrong and what to do about it.

use std::fmt;
use std::ops::Range;

/// A mistake in a file that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key or name the mistake is about.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead; may list the allowed values and the nearest one.
    pub remedy: String,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            key,
            problem,
            remedy,
        } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if !key.is_empty() {
            write!(f, "`{key}`: ")?;
        }
        f.write_str(problem)?;
        if remedy.is_empty() {
            Ok(())
        } else {
            write!(f, "; {remedy}")
        }
    }
}

impl std::error::Error for InputError {}

/// A place in a file: line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A file being read: its name and text, to turn byte spans into places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceFile<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl SourceFile<'_> {
    pub(crate) fn place(&self, offset: usize) -> Place {
        let before = self
            .text
            .get(..offset.min(self.text.len()))
            .unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }

    pub(crate) fn error(
        &self,
        at: Place,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> InputError {
        InputError {
            file: self.name.to_owned(),
            line: at.line,
            column: at.column,
            key: key.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// Reads TOML into `T`, turning the parser's error into ours.
    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, InputError> {
        toml::from_str(self.text).map_err(|error| self.syntax(&error))
    }

    fn syntax(&self, error: &toml::de::Error) -> InputError {
        let span = error.span().unwrap_or_default();
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let unknown =
            message.starts_with("unknown field") || message.starts_with("unknown variant");
        let key = match quoted.first() {
            Some(first) if unknown || message.starts_with("missing field") => (*first).to_owned(),
            _ => self.key_at(&span),
        };
        let near = quoted
            .first()
            .filter(|_| unknown)
            .and_then(|first| nearest(first, quoted.iter().skip(1).copied()));
        let remedy = near.map_or_else(String::new, |near| format!("did you mean `{near}`?"));
        self.error(self.place(span.start), &key, message, remedy)
    }

    /// The key on the line of `span`, if that line has one.
    fn key_at(&self, span: &Range<usize>) -> String {
        let start = self
            .text
            .get(..span.start)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |at| at + 1);
        let line = self
            .text
            .get(start..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        match line.split_once('=') {
            Some((key, _)) => key.trim().trim_start_matches('{').trim().to_owned(),
            None => line.trim().to_owned(),
        }
    }
}

/// The candidate nearest to `word`, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| {
            (
                strsim::jaro_winkler(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "allowed: a, b, c; did you mean `b`?"
pub(crate) fn allowed(word: &str, candidates: &[&str]) -> String {
    let list = if candidates.is_empty() {
        "none".to_owned()
    } else {
        candidates.join(", ")
    };
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("allowed: {list}; did you mean `{near}`?"),
        None => format!("allowed: {list}"),
    }
}
