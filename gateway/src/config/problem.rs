//! Mistakes in a configuration file: all of them, each with its place and its remedy.

use std::fmt;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key with the tables around it, e.g. `modbus.point.type`; empty for a syntax error.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Every mistake found in one file, in the order of the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file as it was named.
    pub file: String,
    /// The mistakes; never empty.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.list.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}:{}: ", self.file, problem.line, problem.column)?;
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Returns the candidate that a typing mistake most likely meant.
///
/// Case is ignored at first (`kwh` means `kWh`); at most a third of the letters may differ.
pub(crate) fn did_you_mean<'c>(written: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let lower = written.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let allowed = (written.chars().count() / 3).max(1);
    candidates
        .iter()
        .copied()
        .map(|candidate| {
            (
                distance(candidate),
                strsim::levenshtein(written, candidate),
                candidate,
            )
        })
        .filter(|&(distance, _, _)| distance <= allowed)
        .min()
        .map(|(_, _, candidate)| candidate)
}

/// `` `x` is not a …; allowed: …; did you mean `y`? ``
pub(super) fn not_one_of(written: &str, what: &str, candidates: &[&str]) -> String {
    let mut text = format!(
        "`{written}` is not {what}; allowed: {}",
        candidates.join(", ")
    );
    if let Some(meant) = did_you_mean(written, candidates) {
        text.push_str(&format!("; did you mean `{meant}`?"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_typing_mistake_finds_what_was_meant_and_nonsense_finds_nothing() {
        let units = ["kWh", "kW", "MWh", "t/h", "bar_a"];
        assert_eq!(did_you_mean("kwh", &units), Some("kWh"));
        assert_eq!(did_you_mean("bara", &units), Some("bar_a"));
        assert_eq!(did_you_mean("parsec", &units), None);
    }
}
