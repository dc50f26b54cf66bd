//! The arguments of `fieldseal-verify self-test`.

use std::path::PathBuf;

use clap::Args;

const AFTER_HELP: &str = "\
What is tried: published test vectors of the cryptography and of the formats (RFC 8032, Wycheproof, RFC 6962,
C2SP), the keys that must be refused, and every known way to bend a small bundle that ships inside this
program, each of which must be refused under its own code, or be shown as what it is.

The record names the program and its hash, the machine, the date and every case with its result. Keep it with
your verification file: it shows what this program did on your machine on that day.

Exit codes: 0 every case came out as expected · 2 one did not · 6 the record cannot be written";

/// Tries this program on this machine and writes a dated record of it.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct SelfTestArgs {
    /// Write the record as text and JSON into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Print every case, not only those that came out otherwise.
    #[arg(long)]
    pub verbose: bool,
    /// Print the record as JSON.
    #[arg(long)]
    pub json: bool,
    /// How many threads to use; all processors without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}
