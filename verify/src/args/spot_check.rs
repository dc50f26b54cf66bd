//! The arguments of `fieldseal-verify spot-check`.

use std::path::PathBuf;

use clap::Args;

const AFTER_HELP: &str = "\
Examples:
  fieldseal-verify spot-check 2026-Q1.tar --policy ours.policy --plan plan.toml --random 20 --out proofs
  fieldseal-verify spot-check 2026-Q1.tar --policy ours.policy --plan plan.toml \\
      --point export.energy --at 2026-02-11T03:14:05Z --out proofs
  fieldseal-verify spot-check --proof proofs/*.reading --table proofs/*.table --policy ours.policy \\
      --anchor 'example.com/gw/0001+6bd98662+AYqI…'

A proof holds the chunk of the reading, its path to the root that the entry signs, the entry, its path
to the root of a cosigned checkpoint, and that checkpoint: less than 2 KB in usual logs. It verifies
alone, without the bundle. The table beside it (one per configuration) proves name, unit and scale.

Exit codes: 0 every reading proven · 2 integrity · 3 no such reading is shown · 4 witnesses missing ·
6 a mistake in your files or arguments";

/// Proves single readings of a bundle, or verifies proofs made before.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct SpotCheckArgs {
    /// The bundle, a .tar file.
    #[arg(required_unless_present = "proof", conflicts_with = "proof")]
    pub file: Option<PathBuf>,
    /// Verify these proofs instead of making some; may name several files.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub proof: Vec<PathBuf>,
    /// With --proof: tables that say what the readings mean; may name several files.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "proof")]
    pub table: Vec<PathBuf>,
    /// Your witness policy (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// The verification key of a log, from the commissioning record; may be repeated.
    #[arg(long, value_name = "VKEY", required_unless_present = "plan")]
    pub anchor: Vec<String>,
    /// The registered monitoring plan, your own copy: its logs' keys count as given.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Draw this many readings, each equally likely, from everything the bundle shows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000),
        required_unless_present_any = ["proof", "point"], conflicts_with = "point")]
    pub random: Option<u16>,
    /// What the draw depends on, any text; without it a random one, which is printed so that anybody can
    /// repeat the draw. Choose it yourself, after you have the bundle.
    #[arg(long, value_name = "TEXT", requires = "random")]
    pub seed: Option<String>,
    /// Prove the reading of this point at the time of --at.
    #[arg(long, value_name = "NAME", requires = "at")]
    pub point: Option<String>,
    /// The time, in UTC or with an offset: 2026-02-11T03:14:05Z.
    #[arg(long, value_name = "TIME", requires = "point")]
    pub at: Option<String>,
    /// Write each proof, and each table, as a file into this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "proof")]
    pub out: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
