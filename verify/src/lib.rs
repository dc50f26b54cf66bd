//! `fieldseal-verify`: checks an evidence bundle and recomputes its report, trusting nobody.
//!
//! Promises: the verdict depends on the bundle's bytes, the verifier's own plan, policy, keys and
//! options, and on nothing else: no network, no clock, no environment. Memory stays bounded whatever
//! the bundle's size. Every failure names the rule, the entry, its ticks and the place in the file.
//! The same bundle and inputs give the same output.
//!
//! [`run`] is the whole program as a function: arguments in, text out, exit code back.

#![warn(missing_docs)]

pub mod approve;
pub mod args;
pub mod catalogue;
mod durable;
pub mod fetch;
pub mod file;
mod html;
pub mod inputs;
pub mod pipeline;
mod print;
pub mod project;
pub mod self_test;
pub mod spot_check;
pub mod state;
pub mod tamper;
mod terminal;
pub mod verdict;
pub mod witness;

use std::io::Write;

use args::BundleArgs;
use evidence::bundle::{Bundle, ReadAt};
use evidence::hash::Hash;
use file::BundleFile;
use inputs::Inputs;
use state::State;
use verdict::{Exit, Verdict};

/// Hears how far a verification has come: entries done, entries in all.
pub type Progress<'p> = &'p (dyn Fn(u64, u64) + Sync);

/// Verifies a bundle file as the command line says and writes the verdict to `out`.
///
/// Returns the exit code: 0 proven, 1 proven with gaps beyond the limit, 2 integrity, 3 incomplete,
/// 4 time or policy, 5 the report differs, 6 a mistake in the verifier's own files or arguments.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn run(args: &BundleArgs, out: &mut dyn Write, progress: Progress<'_>) -> std::io::Result<u8> {
    let verified = verify_file(args, progress).and_then(|verdict| {
        if let Some(path) = &args.html {
            let name = args.file.file_name().unwrap_or_default().to_string_lossy();
            let page = html::html(&verdict, args.language, &name);
            durable::write_file(path, page.as_bytes())?;
        }
        Ok(verdict)
    });
    match verified {
        Ok(verdict) => {
            if args.json {
                serde_json::to_writer_pretty(&mut *out, &verdict)?;
                writeln!(out)?;
            } else {
                out.write_all(print::text(&verdict, args.language).as_bytes())?;
            }
            Ok(verdict.exit)
        }
        Err(error) => {
            if args.json {
                let problem = serde_json::json!({ "format": verdict::FORMAT, "exit": 6, "error": format!("{error:#}") });
                serde_json::to_writer_pretty(&mut *out, &problem)?;
                writeln!(out)?;
            } else {
                writeln!(out, "error: {error:#}")?;
            }
            Ok(Exit::Input.code())
        }
    }
}

/// Verifies a bundle file; errors are mistakes in the verifier's own files or arguments.
///
/// # Errors
/// A file that cannot be read or parsed, with its name, line and remedy.
pub fn verify_file(args: &BundleArgs, progress: Progress<'_>) -> anyhow::Result<Verdict> {
    let source = BundleFile::open(&args.file)?;
    let mut state = args.state.as_deref().map(State::load).transpose()?;
    let inputs = Inputs::load(args, &source, state.as_ref())?;
    let threads = args.threads.unwrap_or_else(pipeline::available_threads);
    std::thread::scope(|scope| {
        // The file's own hash has nothing to do with the proof; it names what was checked.
        let hash = scope.spawn(|| source.sha256());
        let mut verdict = project::verify(&source, &inputs, threads, progress);
        let hash = hash
            .join()
            .map_err(|_panic| anyhow::anyhow!("hashing the bundle stopped unexpectedly"))?;
        verdict.bundle_sha256 = hash?;
        if let Some(state) = &mut state {
            remember(state, &source, &verdict)?;
        }
        Ok(verdict)
    })
}

/// Adds the final checkpoints of the logs about which nothing was wrong, and writes the state.
fn remember(state: &mut State, source: &dyn ReadAt, verdict: &Verdict) -> anyhow::Result<()> {
    let Ok(bundle) = Bundle::read(source) else {
        return Ok(());
    };
    for log in verdict.logs.iter().filter(|log| log.complete) {
        let failed = |failure: &verdict::FailureVerdict| {
            failure.log.as_ref() == Some(&log.origin) && failure.exit != 5
        };
        let id = evidence::hash::sha256(log.origin.as_bytes());
        let files = bundle.logs.iter().find(|files| files.id == id);
        if let (Some(files), false, Ok(root)) = (
            files,
            verdict.failures.iter().any(failed),
            Hash::from_hex(&log.root),
        ) {
            let most = u64::try_from(evidence::note::Note::MAX_BYTES).unwrap_or(u64::MAX);
            let note = files.checkpoint.read(source, most)?;
            state.add(&log.origin, log.size, &root, &note);
        }
    }
    state.save()
}
