//! `annotate`: a named person's remark about earlier entries.

use clap::Args;
use evidence::control::Control;

use super::surroundings::{around, clock, software};
use super::{Failure, json};
use crate::clock::utc_text;
use crate::config::GatewayConfig;
use crate::recorder::Settings;
use crate::requests::{self, PATIENCE};

/// The longest remark and name, in bytes: what a control body takes.
const MOST_TEXT: usize = 4_000;

/// What `annotate` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AnnotateArgs {
    /// The first entry that is meant; `status` shows how many there are, numbered from 0.
    #[arg(long, value_name = "ENTRY")]
    from: u64,
    /// The last one.
    #[arg(long, value_name = "ENTRY")]
    to: u64,
    /// What is to be said about them.
    #[arg(long)]
    text: String,
    /// Who says it: a name that a verifier can ask for.
    #[arg(long, value_name = "NAME")]
    person: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Example:
  fieldseal-gateway annotate --from 118203 --to 121077 --person \"R. Sato\" \\
      --text \"scale of FT-101 was wrong: transformer 400/5, not 500/5; see sheet 14\"

A remark changes no value. Where a wrong scale has to be put right, correct the configuration, have it
approved, and say here since when it was wrong: a verifier reads both.";

pub(super) async fn execute(
    config: &GatewayConfig,
    args: &AnnotateArgs,
) -> Result<String, Failure> {
    for (name, text) in [("--text", &args.text), ("--person", &args.person)] {
        if text.trim().is_empty() || text.len() > MOST_TEXT {
            return Err(Failure::usage(format!(
                "{name} must say something, in at most {MOST_TEXT} bytes"
            )));
        }
    }
    let control = Control::Annotation {
        from: args.from,
        to: args.to,
        text: args.text.clone(),
        person: Some(args.person.clone()),
    };
    let words = format!(
        "a remark by {} about entries {} to {}",
        args.person, args.from, args.to
    );
    let settings = Settings::of(config, software());
    let around = around(clock(config).await);
    let sealed = requests::seal(&control, &words, &settings, &around, &mut (), PATIENCE).await?;
    if args.json {
        return json(&sealed);
    }
    Ok(format!(
        "Sealed {words} as entry {} at {}.\n",
        sealed.index,
        utc_text(sealed.unix_ms)
    ))
}
