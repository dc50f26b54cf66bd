//! Text on a terminal: 80 columns, wide characters counted as such, and nothing that a log's own text
//! could do to the screen.

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Columns of the labels.
const LABEL: usize = 13;

/// A labelled line, cut to the width of a terminal; what goes on stands below itself.
pub(crate) fn wrapped(out: &mut String, label: &str, text: &str) {
    let padding = LABEL.saturating_sub(columns(label));
    out.push_str(label);
    out.push_str(&" ".repeat(padding));
    wrapped_from(out, LABEL, text);
}

/// The text from a column on; a word longer than the line stands whole.
pub(crate) fn wrapped_from(out: &mut String, from: usize, text: &str) {
    let mut at = from;
    for (space, atom) in atoms(text) {
        if at + space + columns(atom) > WIDTH && at > from {
            out.push('\n');
            out.push_str(&" ".repeat(from));
            at = from;
        } else {
            out.push_str(&" ".repeat(space));
            at += space;
        }
        out.push_str(atom);
        at += columns(atom);
    }
    out.push('\n');
}

/// Text of a log may hold anything. What would move a terminal's cursor, turn the direction of reading,
/// or begin a line of its own that reads like the verdict's, stands as a replacement character.
pub(crate) fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| {
        if c.is_control() || turns(c) {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

/// As [`harmless`], for a text of several lines whose ends stay.
pub(crate) fn harmless_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(harmless).collect();
    lines.join("\n")
}

/// The pieces that a line is not broken inside of, each with the spaces before it: words, and single
/// wide characters with the punctuation that must not begin a line.
fn atoms(text: &str) -> Vec<(usize, &str)> {
    let mut atoms = Vec::new();
    let (mut begin, mut space) = (0, 0);
    let mut last: Option<char> = None;
    for (at, c) in text.char_indices() {
        // `1 440` is one number.
        let rest = text.get(at + 1..).unwrap_or_default();
        let grouped = last.is_some_and(|last| last.is_ascii_digit())
            && rest.starts_with(|next: char| next.is_ascii_digit());
        if c == ' ' && !grouped {
            if begin < at {
                atoms.push((space, text.get(begin..at).unwrap_or_default()));
                space = 0;
            }
            space += 1;
            (begin, last) = (at + 1, None);
            continue;
        }
        let closes = "、。)」:,.)".contains(c);
        let after_opening = last.is_some_and(|last| "(「(".contains(last));
        let breaks = last.is_some_and(|last| wide(last) || wide(c));
        if breaks && !closes && !after_opening && begin < at {
            atoms.push((space, text.get(begin..at).unwrap_or_default()));
            (begin, space) = (at, 0);
        }
        last = Some(c);
    }
    if begin < text.len() {
        atoms.push((space, text.get(begin..).unwrap_or_default()));
    }
    atoms
}

/// Whether a terminal gives the character two columns.
const fn wide(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}')
}

/// The columns that a terminal gives a text.
fn columns(text: &str) -> usize {
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::{columns, harmless, wrapped};

    #[test]
    fn a_log_s_own_text_moves_no_cursor_and_turns_no_line() {
        let said = harmless("all good\u{1b}[2K\r\u{202e}dab\nCONFIRMED");
        assert_eq!(
            said,
            "all good\u{fffd}[2K\u{fffd}\u{fffd}dab\u{fffd}CONFIRMED"
        );
    }

    #[test]
    fn lines_fit_a_terminal_of_80_columns_in_both_languages() {
        let english = "one two  three ".repeat(20);
        let japanese = "計測点 export.energy は(2 時間)、ここまで。".repeat(9);
        for (label, text) in [("period", &english), ("期間", &japanese)] {
            let mut out = String::new();
            wrapped(&mut out, label, text);
            assert!(out.lines().count() > 3);
            for (at, line) in out.lines().enumerate() {
                assert!(columns(line) <= 80, "{line}");
                let first = line.trim_start().chars().next().unwrap();
                assert!(at == 0 || line.starts_with("             "), "{line}");
                assert!(!"、。)".contains(first), "{line}");
            }
            let squeeze = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(squeeze(&out), format!("{label}{}", squeeze(text)));
        }
        let mut out = String::new();
        wrapped(
            &mut out,
            "",
            &format!("{} 1 576 800 000 ticks", "x".repeat(55)),
        );
        assert!(out.contains("\n             1 576 800 000 ticks"), "{out}");
        let mut out = String::new();
        let long = "x".repeat(200);
        wrapped(&mut out, "log", &long);
        assert!(out.contains(&long), "a word is never cut: it may be a hash");
    }
}
