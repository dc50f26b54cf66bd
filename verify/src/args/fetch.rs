//! The arguments of `fieldseal-verify fetch`.

use std::path::PathBuf;

use clap::Args;

const AFTER_HELP: &str = "\
Example:
  fieldseal-verify fetch https://api.example/v1/projects/ID009/reports/2026-01-01_2026-03-31/bundle.tar \\
      --token-file token --out 2026-Q1.tar

What has arrived is kept in FILE.part; the same command goes on there after a break. The finished file
has the length and the hash that the server states. That proves only that it arrived whole: verify it.

Add ?disclosure=B&points=… or ?disclosure=C to the address for a bundle that shows less.

Exit codes: 0 arrived whole · 2 it is not what the server states · 3 broken off, run it again ·
6 a mistake in your files or arguments, or a refusal by the server";

/// Downloads a bundle, and goes on where an earlier attempt broke off.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct FetchArgs {
    /// The address of the bundle, https (http only to this very machine).
    pub url: String,
    /// A file that holds your access token and nothing else.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where the bundle goes. It must not exist yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Certificates (PEM) to trust for this server instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// How often to try again after a break before giving up.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub retries: u32,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
