//! What the documents say is true: links lead somewhere, examples parse, commands exist; and no
//! file has grown past reading.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use gateway::config::GatewayConfig;
use system_tests::commands;

/// A file longer than this is split.
const MOST_LINES: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every file of the project, without what is built, fetched or version control.
fn files() -> Vec<PathBuf> {
    let mut open = vec![root()];
    let mut files = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap();
            if ["target", ".git", "node_modules", "__pycache__", "demo-data"].contains(&name) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 40, "the tree was not walked");
    files.sort();
    files
}

fn with_extension(wanted: &[&str]) -> Vec<(PathBuf, String)> {
    files()
        .into_iter()
        .filter(|path| {
            path.extension()
                .and_then(OsStr::to_str)
                .is_some_and(|found| wanted.contains(&found))
        })
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// A fenced block: the word after the fence, its text, and the line it starts on.
struct Block {
    language: String,
    text: String,
    line: usize,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in markdown.lines().enumerate() {
        match (&mut open, text.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    language: language.trim().to_owned(),
                    text: String::new(),
                    line: line + 1,
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(text);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fenced block is not closed");
    blocks
}

/// The markdown without its fenced blocks and `code`, where brackets mean something else.
fn prose(markdown: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            for (i, part) in line.split('`').enumerate() {
                prose.push_str(if i % 2 == 0 { part } else { "code" });
            }
            prose.push('\n');
        }
    }
    prose
}

/// The targets of `[text](target)`.
fn links(markdown: &str) -> Vec<String> {
    prose(markdown)
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.trim().to_owned())
        .collect()
}

/// How a heading is named in a link: lower case, spaces to hyphens, punctuation gone.
fn anchors(markdown: &str) -> Vec<String> {
    markdown
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_')
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// Says what is wrong with a link in the document at `path`, if anything.
fn broken(path: &Path, markdown: &str, link: &str) -> Option<String> {
    if link.starts_with("http://") || link.starts_with("https://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() {
        path.to_owned()
    } else {
        path.parent().unwrap().join(file)
    };
    if !target.exists() {
        return Some(format!("{}: no file for ({link})", shown(path)));
    }
    if anchor.is_empty() {
        return None;
    }
    let text = if file.is_empty() {
        markdown.to_owned()
    } else {
        std::fs::read_to_string(&target).unwrap()
    };
    (!anchors(&text).iter().any(|found| found == anchor))
        .then(|| format!("{}: no heading for ({link})", shown(path)))
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let documents = with_extension(&["md"]);
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (path, markdown) in &documents {
        for link in links(markdown) {
            checked += 1;
            wrong.extend(broken(path, markdown, &link));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(checked > 10, "only {checked} links found");
}

#[test]
fn a_link_to_nowhere_is_noticed() {
    let path = root().join("README.md");
    let markdown = "# One two\n[a](#one-two) [b](no/such.md) [c](#three) `[d](e)` [f](LICENSE)";
    let found: Vec<String> = links(markdown)
        .iter()
        .filter_map(|link| broken(&path, markdown, link))
        .collect();
    assert_eq!(
        found,
        [
            "README.md: no file for (no/such.md)",
            "README.md: no heading for (#three)"
        ]
    );
}

#[test]
fn every_toml_block_and_file_parses() {
    for (path, markdown) in with_extension(&["md"]) {
        for block in blocks(&markdown) {
            if block.language == "toml" {
                let parsed = block.text.parse::<toml::Table>();
                assert!(
                    parsed.is_ok(),
                    "{}:{}: {}",
                    shown(&path),
                    block.line,
                    parsed.unwrap_err()
                );
            }
        }
    }
    for (path, text) in with_extension(&["toml"]) {
        // As the programs read it: a sentinel of 64 bits is larger than the integers of `toml::Table`.
        let parsed = toml::de::DeTable::parse(&text);
        assert!(parsed.is_ok(), "{}: {}", shown(&path), parsed.unwrap_err());
    }
}

#[test]
fn every_json_block_parses() {
    for (path, markdown) in with_extension(&["md"]) {
        for block in blocks(&markdown) {
            if block.language == "json" {
                let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
                assert!(
                    parsed.is_ok(),
                    "{}:{}: {}",
                    shown(&path),
                    block.line,
                    parsed.unwrap_err()
                );
            }
        }
    }
}

/// Returns the words of shell text that name a path inside the project.
fn project_paths(shell: &str) -> Vec<&str> {
    shell
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(line))
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_matches(|c| "\"',;()".contains(c)))
        .filter(|word| {
            let first = word.split('/').next().unwrap_or_default();
            word.contains('/')
                && !first.is_empty()
                && first != "target"
                && root().join(first).is_dir()
        })
        .collect()
}

#[test]
fn shell_blocks_name_only_files_that_exist() {
    let mut checked = 0;
    for (path, markdown) in with_extension(&["md"]) {
        for block in blocks(&markdown) {
            if !["sh", "bash", "console"].contains(&block.language.as_str()) {
                continue;
            }
            for word in project_paths(&block.text) {
                checked += 1;
                assert!(
                    root().join(word).exists(),
                    "{}:{}: no `{word}`",
                    shown(&path),
                    block.line
                );
            }
        }
    }
    assert!(checked >= 2, "README's two commands were not found");
    assert_eq!(
        project_paths("deploy/demo --port 1 # tests/x\ncat /etc/y docs/z"),
        ["deploy/demo"]
    );
}

#[test]
fn every_command_of_our_programs_in_a_document_is_one_they_accept() {
    let mut checked = 0;
    for (path, markdown) in with_extension(&["md"]) {
        for block in blocks(&markdown) {
            if block.language != "sh" {
                continue;
            }
            for line in block.text.replace("\\\n", " ").lines() {
                if line.starts_with("fieldseal-") {
                    checked += 1;
                    let parsed = commands::parses(line);
                    assert!(
                        parsed.is_ok(),
                        "{}:{}: {}",
                        shown(&path),
                        block.line,
                        parsed.unwrap_err()
                    );
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} commands found");
}

#[test]
fn every_configuration_in_a_document_is_one_its_program_accepts() {
    let mut checked = 0;
    for (path, markdown) in with_extension(&["md"]) {
        for block in blocks(&markdown) {
            if block.text.starts_with("# gateway.toml\n") {
                checked += 1;
                let parsed = GatewayConfig::parse("gateway.toml", &block.text);
                assert!(
                    parsed.is_ok(),
                    "{}:{}: {}",
                    shown(&path),
                    block.line,
                    parsed.unwrap_err()
                );
            }
        }
    }
    assert!(checked > 0, "no gateway.toml found");
}

#[test]
fn commands_of_the_documents_are_executable_scripts() {
    use std::os::unix::fs::PermissionsExt as _;
    for script in ["deploy/demo", "tests/run", ".ci/run"] {
        let mode = root().join(script).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is not executable");
    }
}

#[test]
fn no_source_file_is_too_long_to_read() {
    for (path, text) in with_extension(&["rs", "py", "js", "html", "css", "sql"]) {
        let lines = text.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{} has {lines} lines: split it",
            shown(&path)
        );
    }
}

#[test]
fn the_readme_stays_under_two_hundred_lines() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() < 200);
}

#[test]
fn no_file_names_a_directory_of_the_machine_it_was_written_on() {
    // Written in pieces, so that this file does not name them either.
    let needles = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("../sha", "red"),
    ];
    for path in files() {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue; // not text
        };
        for (number, line) in text.lines().enumerate() {
            for needle in needles {
                // `network/work/` is fine, a path that starts there is not.
                let named = line.match_indices(needle).any(|(at, _)| {
                    !line
                        .get(..at)
                        .unwrap_or_default()
                        .ends_with(|c: char| c.is_alphanumeric())
                });
                assert!(!named, "{}:{}: {line}", shown(&path), number + 1);
            }
        }
    }
}
