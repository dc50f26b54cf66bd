//! Mistakes in a configuration file: where, which key, what instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("file `{path}` cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text has mistakes.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mistakes(Vec<Mistake>),
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// The key, with its table; empty if the reader could not tell.
    pub key: String,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.path.display(), self.line)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// A text with its file.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Text<'_> {
    fn line_of(&self, offset: usize) -> usize {
        let before = self
            .text
            .as_bytes()
            .get(..offset)
            .unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// What the TOML reader says, with the key and a near name.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map_or(1, |span| self.line_of(span.start));
        let message = error.message().trim_end();
        let on_line = self.text.lines().nth(line - 1).unwrap_or("");
        let key = on_line
            .split_once('=')
            .map_or("", |(key, _value)| key.trim());
        let table = self.table_above(line);
        let key = match (table, key) {
            ("", key) | (key, "") => key.to_owned(),
            (table, key) => format!("{table}.{key}"),
        };
        ConfigError::Mistakes(vec![Mistake {
            path: self.path.to_owned(),
            line,
            key,
            text: with_near_name(message),
        }])
    }

    /// The table that a line stands in.
    fn table_above(&self, line: usize) -> &str {
        let header = |line: &str| line.trim_start().starts_with('[');
        let found = self
            .text
            .lines()
            .take(line)
            .filter(|line| header(line))
            .last();
        found.map_or("", |line| line.trim().trim_matches(['[', ']']))
    }
}

/// Adds "did you mean" to the reader's "unknown field `x`, expected one of `a`, `b`".
fn with_near_name(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown field") {
        return message.to_owned();
    }
    let unknown = names.next().unwrap_or("");
    let near = names
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _name)| *likeness > 0.75);
    match near {
        Some((_, near)) => format!("{message}; did you mean `{near}`?"),
        None => message.to_owned(),
    }
}

/// Collects mistakes, so that one run tells them all.
pub(super) struct Problems<'a> {
    text: Text<'a>,
    found: Vec<Mistake>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(text: Text<'a>) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, span: Range<usize>, key: &str, text: String) {
        let line = self.text.line_of(span.start);
        self.found.push(Mistake {
            path: self.text.path.to_owned(),
            line,
            key: key.to_owned(),
            text,
        });
    }

    pub(super) fn add_at_table(&mut self, table: &str, text: &str) {
        let header = format!("[{table}]");
        let offset = self.text.text.find(&header).unwrap_or(0);
        self.add(offset..offset, table, text.to_owned());
    }

    pub(super) fn none_or_error(&mut self) -> Result<(), ConfigError> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Mistakes(std::mem::take(&mut self.found)))
    }
}
