//! Command lines of the programs, read by the programs' own parsers: a document that shows one is
//! checked by what would run it.

use clap::Parser;

/// Says whether a line such as `fieldseal-gateway --config x.toml check` would be accepted.
///
/// # Errors
///
/// The parser's words, or that the program is unknown.
pub fn parses(line: &str) -> Result<(), String> {
    let words = split(line)?;
    let program = words.first().map_or("", String::as_str);
    match program {
        "fieldseal-gateway" => accepts::<gateway::cli::Cli>(&words),
        "fieldseal-collector" => accepts::<collector::cli::Args>(&words),
        "fieldseal-verifier-api" => accepts::<verifier_api::cli::Command>(&words),
        "fieldseal-verify" => accepts::<verify::args::Cli>(&words),
        other => Err(format!("no program `{other}`")),
    }
}

fn accepts<P: Parser>(words: &[String]) -> Result<(), String> {
    match P::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(error) if error.use_stderr() => Err(format!("{}: {error}", words.join(" "))),
        Err(_help_or_version) => Ok(()),
    }
}

/// Splits at spaces outside double quotes and ends at a comment, a pipe or a redirection, as far as our
/// documents need.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            '#' | '|' | '>' if !quoted && word.is_none() => break,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quoted {
        return Err(format!("a quote is not closed: {line}"));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes_together_and_comments_go() {
        let words = split("a --b \"c d\" '#e' f#g # h").unwrap();
        assert_eq!(words, ["a", "--b", "c d", "'#e'", "f#g"]);
        assert_eq!(split("a b | sudo tee c").unwrap(), ["a", "b"]);
        assert_eq!(split("a -> b > c").unwrap(), ["a", "->", "b"]);
        assert!(split("a \"b").is_err());
    }

    #[test]
    fn a_command_that_does_not_exist_is_refused() {
        assert!(parses("fieldseal-gateway --config x.toml check").is_ok());
        assert!(parses("fieldseal-gateway --config x.toml chekc").is_err());
        assert!(parses("fieldseal-nothing run").is_err());
    }
}
