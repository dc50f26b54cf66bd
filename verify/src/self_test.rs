//! The program tried on the machine of whoever relies on it, and a dated record of that.
//!
//! The cases are published vectors and the tamper matrix, all inside the program: nothing is read from
//! the network or from a folder that somebody else could have filled. The date in the record is a value
//! that the caller gives; nothing else in this crate's verifying part knows what time it is.

mod machine;
mod vectors;

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::Progress;
use crate::args::SelfTestArgs;
use crate::durable;
use crate::pipeline::available_threads;
use crate::print::{number, utc};
use crate::tamper;
use machine::Machine;

/// The form of the JSON.
const FORMAT: &str = "fieldseal-self-test/1";

/// One case.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    /// What it belongs to.
    pub(crate) group: String,
    /// What is tried.
    pub(crate) name: String,
    /// What must come of it.
    pub(crate) expected: String,
    /// What came of it.
    pub(crate) found: String,
    /// Whether that is the same.
    pub(crate) passed: bool,
}

/// The record.
#[derive(Debug, Serialize)]
struct Record {
    format: &'static str,
    /// When, UTC.
    date: String,
    date_ms: i64,
    program: &'static str,
    version: &'static str,
    machine: Machine,
    cases: u64,
    failed: u64,
    results: Vec<Case>,
}

/// Runs the command; `now_ms` is the date of the record. Returns the exit code.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn run(
    args: &SelfTestArgs,
    now_ms: i64,
    out: &mut dyn Write,
    progress: Progress<'_>,
) -> std::io::Result<u8> {
    let record = record(args, now_ms, progress);
    let text = text(&record, args.verbose);
    let kept = args
        .out
        .as_deref()
        .map(|folder| keep(folder, &record))
        .transpose();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &record)?;
        writeln!(out)?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    match kept {
        Ok(Some(paths)) if !args.json => writeln!(out, "kept in {paths}")?,
        Ok(_) => {}
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error:#}")?;
            return Ok(6);
        }
    }
    Ok(if record.failed == 0 { 0 } else { 2 })
}

fn record(args: &SelfTestArgs, now_ms: i64, progress: Progress<'_>) -> Record {
    let mut results = vectors::all();
    let threads = args.threads.unwrap_or_else(available_threads);
    let all = u64::try_from(tamper::matrix().count()).unwrap_or(u64::MAX);
    let mut done = 0;
    let tried = tamper::try_all(threads, &mut |tried| {
        done += 1;
        progress(done, all);
        let found = match &tried.verdict {
            None => "this could not be done to the specimen".to_owned(),
            Some(verdict) => verdict.failures.first().map_or_else(
                || format!("proven, exit code {}", verdict.exit),
                |failure| failure.code.to_owned(),
            ),
        };
        results.push(Case {
            group: format!("tamper: {}", tried.mutation.class),
            name: format!(
                "{} (holding {})",
                tried.mutation.name,
                tried.mutation.hand.name()
            ),
            expected: tried.mutation.expected.words(),
            found,
            passed: tried.as_expected,
        });
    });
    if let Err(error) = tried {
        results.push(Case {
            group: "tamper".to_owned(),
            name: "the bundle inside the program is proven".to_owned(),
            expected: "proven".to_owned(),
            found: format!("{error:#}"),
            passed: false,
        });
    }
    let failed = results.iter().filter(|case| !case.passed).count();
    Record {
        format: FORMAT,
        date: utc(now_ms),
        date_ms: now_ms,
        program: "fieldseal-verify",
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine::here(),
        cases: u64::try_from(results.len()).unwrap_or(u64::MAX),
        failed: u64::try_from(failed).unwrap_or(u64::MAX),
        results,
    }
}

fn text(record: &Record, verbose: bool) -> String {
    let mut out = String::new();
    let machine = &record.machine;
    let mut line = |label: &str, text: &str| {
        writeln!(out, "{label:<13}{text}").expect("a String takes every write");
    };
    line(
        "record",
        "validation of the offline verifier on this machine",
    );
    line("date", &record.date);
    line("program", &format!("{} {}", record.program, record.version));
    line("", &machine.binary);
    line("", &format!("sha256 {}", machine.binary_sha256));
    line(
        "machine",
        &format!("{}, {}", machine.system, machine.architecture),
    );
    line(
        "",
        &format!("{}, {} processors", machine.processor, machine.processors),
    );
    line("host", &machine.host);
    let mut groups: Vec<(&str, u64, u64)> = Vec::new();
    for case in &record.results {
        let failed = u64::from(!case.passed);
        match groups.last_mut() {
            Some((group, all, bad)) if *group == case.group => {
                (*all, *bad) = (*all + 1, *bad + failed);
            }
            _ => groups.push((&case.group, 1, failed)),
        }
    }
    for (group, all, bad) in groups {
        let result = if bad == 0 {
            format!("{} of {} as expected", number(all), number(all))
        } else {
            format!("{} of {} NOT as expected", number(bad), number(all))
        };
        line("cases", &format!("{group}: {result}"));
    }
    for case in record.results.iter().filter(|case| verbose || !case.passed) {
        let label = if case.passed { "ok" } else { "FAILED" };
        let (group, name) = (&case.group, &case.name);
        line(label, &format!("{group}: {name}"));
        line(
            "",
            &format!("expected {}; found {}", case.expected, case.found),
        );
    }
    let conclusion = if record.failed == 0 {
        format!(
            "SELF-TEST PASSED: {} cases came out as expected",
            number(record.cases)
        )
    } else {
        format!(
            "SELF-TEST FAILED: {} of {} cases; do not rely on this program on this machine",
            number(record.failed),
            number(record.cases)
        )
    };
    out.push_str(&conclusion);
    out.push_str(
        "\nThis shows that the program does what it says on these cases. It is no certificate of anything.\n",
    );
    out
}

/// Writes both forms; gives their names.
fn keep(folder: &Path, record: &Record) -> anyhow::Result<String> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let day: String = record
        .date
        .chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .collect();
    let name = |end: &str| folder.join(format!("fieldseal-self-test-{day}.{end}"));
    durable::write_file(&name("txt"), text(record, true).as_bytes())?;
    let mut json = serde_json::to_vec_pretty(record)?;
    json.push(b'\n');
    durable::write_file(&name("json"), &json)?;
    Ok(format!(
        "{} and {}",
        name("txt").display(),
        name("json").display()
    ))
}
