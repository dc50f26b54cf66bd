//! Columns of text for people, at most as wide as a terminal.

/// What a table may take: the terminal that everybody has.
pub const TERMINAL: usize = 80;

/// Which side a column's cells stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Puts rows of cells under one another, two spaces apart, without blanks at the end of a line. A
/// row may have fewer cells than there are sides.
#[must_use]
pub fn align(rows: &[Vec<String>], sides: &[Side]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..sides.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(sides).zip(&widths);
        let cells: Vec<String> = cells
            .map(|((cell, side), &width)| match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Breaks a list of words into lines no wider than the terminal, each indented.
#[must_use]
pub fn wrap(words: &[String], separator: &str, indent: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let last = words.len().saturating_sub(1);
    for (place, word) in words.iter().enumerate() {
        let ending = if place == last { "" } else { separator };
        let word = format!("{word}{ending}");
        let longer = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && indent + longer > TERMINAL {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
        .iter()
        .map(|line| format!("{:indent$}{line}", ""))
        .collect()
}

/// A sentence broken into lines no wider than the terminal, each indented.
#[must_use]
pub fn paragraph(text: &str, indent: usize) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let mut text = wrap(&words, "", indent).join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::{Side, TERMINAL, align, paragraph, wrap};

    #[test]
    fn numbers_stand_on_the_right_and_no_line_ends_in_blanks() {
        let rows = [vec!["a", "1"], vec!["longer", "100"], vec!["b"]]
            .map(|row| row.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            align(&rows, &[Side::Left, Side::Right]),
            ["a         1", "longer  100", "b"]
        );
    }

    #[test]
    fn wrapped_words_stay_within_the_terminal_and_none_is_lost() {
        let words: Vec<String> = (0..60).map(|n| format!("point-{n}")).collect();
        let lines = wrap(&words, ",", 6);
        assert!(lines.iter().all(|line| line.chars().count() <= TERMINAL));
        assert!(lines.iter().all(|line| line.starts_with("      point-")));
        let joined = lines.join(" ");
        let back: Vec<&str> = joined.split(',').map(str::trim).collect();
        assert_eq!(back, words);
        assert_eq!(paragraph("one two", 2), "  one two\n");
    }
}
