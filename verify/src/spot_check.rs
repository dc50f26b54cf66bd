//! Single readings, proven one by one: drawn from a bundle or verified from files.
//!
//! Everything printed comes from a proof that was written out, read back and verified as a stranger
//! would; the bundle's own tables serve only to find it.

mod draw;
mod find;
mod tell;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use evidence::bundle::Bundle;
use evidence::hash::Hash;
use evidence::note::{SignatureKind, Vkey};
use evidence::policy::Policy;
use evidence::segment::ConfigInForce;
use evidence::spot::{Meaning, Reading, SpotError, SpotProof, TableProof};
use evidence::verification::{Class, Failure, Problem};
use quantification::plan::Plan;

use crate::Progress;
use crate::args::SpotCheckArgs;
use crate::durable;
use crate::file::BundleFile;
use crate::inputs::read;

/// A reading that was proven from its file alone.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) origin: String,
    pub(crate) reading: Reading,
    pub(crate) meaning: Option<Meaning>,
    /// The time, when the bundle's clock events are known.
    pub(crate) at_ms: Option<i64>,
    pub(crate) bytes: usize,
    /// The file it was read from or written to.
    pub(crate) file: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) proven: Vec<Proven>,
    /// Code, exit code, words.
    pub(crate) failures: Vec<(String, u8, String)>,
    pub(crate) seed: Option<String>,
    /// Readings from which was drawn.
    pub(crate) drawn_from: u64,
    /// How many entries were passed in order, with all roots reproduced.
    pub(crate) entries: u64,
    pub(crate) quorum: String,
}

impl Outcome {
    fn fail(&mut self, failure: &Failure) {
        let exit = failure.problem.class().exit_code();
        let code = failure.problem.code().to_owned();
        self.failures.push((code, exit, failure.to_string()));
    }

    fn refuse(&mut self, file: &str, error: &SpotError) {
        let exit = match error {
            SpotError::Quorum { .. } => Class::TimeOrPolicy,
            _ => Class::Integrity,
        };
        let text = format!("{} {file}: {error}", error.code());
        self.failures
            .push((error.code().to_owned(), exit.exit_code(), text));
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> u8 {
        let worst = self.failures.iter().map(|(_, exit, _)| *exit).min();
        worst.unwrap_or(if self.proven.is_empty() {
            Class::Incomplete.exit_code()
        } else {
            0
        })
    }
}

/// What the verifier brings.
pub(crate) struct Trusted {
    pub(crate) policy: Policy,
    pub(crate) anchors: Vec<Vkey>,
}

impl Trusted {
    fn load(args: &SpotCheckArgs) -> anyhow::Result<Self> {
        let policy = Policy::parse(&read(&args.policy, "the policy")?)
            .with_context(|| format!("the policy {}", args.policy.display()))?;
        let mut anchors = Vec::new();
        if let Some(path) = &args.plan {
            let plan = Plan::parse(&read(path, "the plan")?, &path.display().to_string())?;
            anchors.extend(plan.logs.iter().map(|log| log.anchor.clone()));
        }
        for text in &args.anchor {
            let key = Vkey::parse(text).with_context(|| format!("--anchor {text}"))?;
            anyhow::ensure!(
                key.kind() == SignatureKind::Ed25519,
                "--anchor {text}: this is a witness's key; an anchor is the log's own (type 01)"
            );
            let same_log = |known: &&Vkey| known.name() == key.name();
            match anchors.iter().find(same_log) {
                Some(known) if *known != key => anyhow::bail!(
                    "--anchor {text}: your plan names another key for `{}`: {known}; find out which is \
                     right before you go on",
                    key.name()
                ),
                Some(_) => {}
                None => anchors.push(key),
            }
        }
        Ok(Self { policy, anchors })
    }

    fn anchor(&self, origin: &str) -> anyhow::Result<&Vkey> {
        let found = self.anchors.iter().find(|key| key.name() == origin);
        found.with_context(|| {
            format!("you brought no key for the log `{origin}`; give it with --anchor or --plan")
        })
    }
}

/// Runs the command as the command line says and writes what came of it to `out`; the exit code.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn run(
    args: &SpotCheckArgs,
    out: &mut dyn Write,
    progress: Progress<'_>,
) -> std::io::Result<u8> {
    let outcome = if args.proof.is_empty() {
        from_bundle(args, progress)
    } else {
        from_files(args)
    };
    match outcome {
        Ok(outcome) => {
            if args.json {
                serde_json::to_writer_pretty(&mut *out, &tell::json(&outcome))?;
                writeln!(out)?;
            } else {
                out.write_all(tell::text(&outcome).as_bytes())?;
            }
            Ok(outcome.exit())
        }
        Err(error) if args.json => {
            let problem = serde_json::json!({ "format": tell::FORMAT, "exit": 6, "error": format!("{error:#}") });
            serde_json::to_writer_pretty(&mut *out, &problem)?;
            writeln!(out)?;
            Ok(Class::Input.exit_code())
        }
        Err(error) => {
            writeln!(out, "error: {error:#}")?;
            Ok(Class::Input.exit_code())
        }
    }
}

/// Verifies proofs made before, each from its own bytes.
fn from_files(args: &SpotCheckArgs) -> anyhow::Result<Outcome> {
    let trusted = Trusted::load(args)?;
    let mut outcome = Outcome {
        quorum: trusted.policy.describe(),
        ..Outcome::default()
    };
    let mut tables: Vec<(String, Arc<ConfigInForce>, Hash)> = Vec::new();
    for path in &args.table {
        let name = path.display().to_string();
        let table = TableProof::parse(&bytes_of(path)?);
        let judged = table.map(|table| (origin_of(&table.checkpoint.text), table));
        match judged {
            Ok((origin, table)) => match table.verify(trusted.anchor(&origin)?, &trusted.policy) {
                Ok((config, leaf)) => tables.push((origin, config, leaf)),
                Err(error) => outcome.refuse(&name, &error),
            },
            Err(error) => outcome.refuse(&name, &error),
        }
    }
    for path in &args.proof {
        let name = path.display().to_string();
        let bytes = bytes_of(path)?;
        let proof = match SpotProof::parse(&bytes) {
            Ok(proof) => proof,
            Err(error) => {
                outcome.refuse(&name, &error);
                continue;
            }
        };
        let origin = origin_of(&proof.checkpoint.text);
        let reading = match proof.verify(trusted.anchor(&origin)?, &trusted.policy) {
            Ok(reading) => reading,
            Err(error) => {
                outcome.refuse(&name, &error);
                continue;
            }
        };
        // The newest table before the reading is the best candidate; whether it is the one is said.
        let table = tables
            .iter()
            .filter(|(of, config, _)| *of == origin && config.index < reading.index)
            .max_by_key(|(_, config, _)| config.index);
        let meaning = table.map(|(_, config, leaf)| proof.meaning(&reading, config, leaf));
        let meaning = match meaning.transpose() {
            Ok(meaning) => meaning,
            Err(error) => {
                outcome.refuse(&name, &error);
                None
            }
        };
        outcome.proven.push(Proven {
            origin,
            reading,
            meaning,
            at_ms: None,
            bytes: bytes.len(),
            file: Some(name),
        });
    }
    Ok(outcome)
}

/// The name of the log that a checkpoint's text begins with; a proof is checked under that log's key.
fn origin_of(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn bytes_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
    let most = u64::try_from(evidence::spot::MOST_BYTES).unwrap_or(u64::MAX);
    anyhow::ensure!(
        size <= most,
        "{} has {size} bytes; no proof has more than {most}",
        path.display()
    );
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Makes proofs of readings of a bundle and verifies each.
fn from_bundle(args: &SpotCheckArgs, progress: Progress<'_>) -> anyhow::Result<Outcome> {
    let trusted = Trusted::load(args)?;
    let wanted = find::Wanted::new(args)?;
    let file = args.file.as_deref().context("name a bundle")?;
    let source = BundleFile::open(file)?;
    let mut outcome = Outcome {
        quorum: trusted.policy.describe(),
        seed: wanted.seed().map(str::to_owned),
        ..Outcome::default()
    };
    let bundle = match Bundle::read(&source) {
        Ok(bundle) => bundle,
        Err(error) => {
            outcome.fail(&Failure::new(error));
            return Ok(outcome);
        }
    };
    let found = match find::find(&source, &bundle, &trusted, &wanted, &mut outcome, progress)? {
        Ok(found) => found,
        Err(failure) => {
            outcome.fail(&failure);
            return Ok(outcome);
        }
    };
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    // Tables by log and entry, verified once each.
    let mut tables: BTreeMap<(String, u64), (Arc<ConfigInForce>, Hash)> = BTreeMap::new();
    for found in found {
        let anchor = trusted.anchor(&found.origin)?;
        let key = (found.origin.clone(), found.table.0);
        if !tables.contains_key(&key) {
            let bytes = found.table.1.to_bytes();
            match TableProof::parse(&bytes).and_then(|table| table.verify(anchor, &trusted.policy))
            {
                Ok(table) => {
                    tables.insert(key.clone(), table);
                }
                Err(error) => outcome.refuse("a table of the bundle", &error),
            }
            let name = format!("{}-{}.table", safe(&found.origin), found.table.0);
            write(args.out.as_deref(), &name, &bytes)?;
        }
        let bytes = found.proof.to_bytes();
        let judged = SpotProof::parse(&bytes).and_then(|proof| {
            let reading = proof.verify(anchor, &trusted.policy)?;
            let table = tables.get(&key);
            let meaning = table.map(|(config, leaf)| proof.meaning(&reading, config, leaf));
            Ok((reading, meaning.transpose()?))
        });
        match judged {
            Ok((reading, meaning)) => {
                let name = format!(
                    "{}-{}-{}-{}.reading",
                    safe(&found.origin),
                    reading.index,
                    reading.point,
                    found.proof.sample
                );
                let file = write(args.out.as_deref(), &name, &bytes)?;
                outcome.proven.push(Proven {
                    origin: found.origin,
                    reading,
                    meaning,
                    at_ms: found.at_ms,
                    bytes: bytes.len(),
                    file,
                });
            }
            Err(error) => outcome.refuse("a reading of the bundle", &error),
        }
    }
    Ok(outcome)
}

fn write(folder: Option<&Path>, name: &str, bytes: &[u8]) -> anyhow::Result<Option<String>> {
    let Some(folder) = folder else {
        return Ok(None);
    };
    let path = folder.join(name);
    durable::write_file(&path, bytes)?;
    Ok(Some(path.display().to_string()))
}

/// A log's name as part of a file name.
fn safe(origin: &str) -> String {
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
            c
        } else {
            '_'
        }
    };
    origin.chars().map(keep).collect()
}

/// A failure that is about nothing in particular that was shown.
fn nothing(text: String) -> Failure {
    Failure::new(Problem::NotShown(text))
}
