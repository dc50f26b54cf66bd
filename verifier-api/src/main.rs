//! `fieldseal-verifier-api`: see `--help`.

#![expect(clippy::print_stderr, reason = "the last word of a failing program")]

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    match verifier_api::cli::Command::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fieldseal-verifier-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}
