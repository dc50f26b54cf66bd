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

/// Breaks every line that is wider than the terminal; what continues it stands four further in.
#[must_use]
pub fn fit(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if line.chars().count() <= TERMINAL || words.is_empty() {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let indent = line.chars().take_while(|letter| *letter == ' ').count();
        // Broken with the deeper indent, so that every line fits; the first then stands further out.
        for (place, part) in wrap(&words, "", indent + 4).iter().enumerate() {
            let part = part.trim_start();
            let deeper = if place == 0 { indent } else { indent + 4 };
            out.push_str(&format!("{:deeper$}{part}\n", ""));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Side, TERMINAL, align, fit, paragraph, wrap};

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
    fn a_line_that_is_too_wide_is_broken_and_the_others_stay_as_they_are() {
        let wide = format!("  point {}", "word ".repeat(30));
        let text = format!("short   line\n\n{wide}\n");
        let fitted = fit(&text);
        assert!(fitted.starts_with("short   line\n\n  point word"));
        assert!(fitted.lines().all(|line| line.chars().count() <= TERMINAL));
        assert!(fitted.lines().nth(3).unwrap().starts_with("      word"));
        let words = |text: &str| text.split_whitespace().count();
        assert_eq!(words(&fitted), words(&text));
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
