//! The arguments of `fieldseal-verify bundle`.

use std::path::PathBuf;

use clap::Args;

use crate::catalogue::Language;

/// Printed below the help of the program and of this command.
pub(super) const AFTER_HELP: &str = "\
Example:
  fieldseal-verify bundle 2026-Q1.tar --plan plan.toml --policy ours.policy --collector W0 \\
      --anchor 'example.com/gw/0001+6bd98662+AYqI…'

A policy names the witnesses and how many of them must have vouched (C2SP tlog-policy):
  witness W0 collector.example+1a2b3c4d+BJ…
  witness W1 registry.example/w1+5e6f7a8b+BK…
  group both all W0 W1
  quorum both

Exit codes: 0 proven · 1 proven, but with more gaps than --gap-limit-percent · 2 integrity: something
is not what was signed · 3 incomplete · 4 witnesses missing or a time that cannot be · 5 the report does
not follow from the readings · 6 a mistake in your files or arguments";

/// Verifies one bundle.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct BundleArgs {
    /// The bundle, a .tar file.
    pub file: PathBuf,
    /// The registered monitoring plan, your own copy.
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// Your witness policy (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// The verification key of a log, from the commissioning record; may be repeated. Logs without
    /// one are checked with the key that your copy of the plan names.
    #[arg(long, value_name = "VKEY")]
    pub anchor: Vec<String>,
    /// The methodology's file; without it the one that ships with this program under the plan's id.
    #[arg(long, value_name = "FILE")]
    pub methodology: Option<PathBuf>,
    /// The first day of the period, in the plan's reporting zone (2026-01-01). Without --from and --to
    /// the period is the one the bundle's report claims, and the output says so.
    #[arg(long, value_name = "DAY", requires = "to")]
    pub from: Option<String>,
    /// The last day of the period, included (2026-03-31).
    #[arg(long, value_name = "DAY", requires = "from")]
    pub to: Option<String>,
    /// The name, in your policy, of the witness that the collector's operator runs. All others count as
    /// independent. Without it, and without a witness named W0, nothing is called independent.
    #[arg(long, value_name = "NAME")]
    pub collector: Option<String>,
    /// How far a claimed time may lie outside what witnesses prove, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub tolerance_s: u32,
    /// An independent witness counts for a tick only if it vouched within this time, in hours.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub max_delay_h: u32,
    /// More unmeasured time than this share of a stream gives exit code 1.
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    pub gap_limit_percent: u32,
    /// The public key (64 hex digits) of an authority whose approvals of configurations and revocations
    /// of keys you accept; may be repeated.
    #[arg(long, value_name = "HEX")]
    pub approver: Vec<String>,
    /// A file in which this program remembers the checkpoints it saw. Use the same one for every audit
    /// of a project: a log that shows another history than last time is then found out. Begun when it
    /// does not exist; written only for logs that were proven.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Root certificates (PEM) of the timestamp authorities you trust. Without them timestamps in the
    /// bundle are counted and prove nothing.
    #[arg(long, value_name = "FILE")]
    pub timestamp_roots: Option<PathBuf>,
    /// What values under a configuration that no --approver approved come to: `reported` tells them and
    /// what the report would be without them, `required` makes them a failure (exit code 4).
    #[arg(long, value_name = "POLICY", default_value = "reported", value_parser = ["reported", "required"])]
    pub approvals: String,
    /// A file in which an --approver declares an entry key stolen; may be repeated. What that key signed
    /// and no witness had seen by then is void.
    #[arg(long, value_name = "FILE")]
    pub revocation: Vec<PathBuf>,
    /// The language of the text and of the page: en or ja.
    #[arg(long, value_name = "CODE", default_value = "en")]
    pub language: Language,
    /// Also write the verdict as a page for the file: self-contained, made for print.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print the verdict as JSON.
    #[arg(long)]
    pub json: bool,
    /// How many threads to use; all processors without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}
