//! `fieldseal-collector`: parses, loads, runs, drains. Everything else is in the library.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use collector::ServeError;
use collector::cli::Args;
use collector::config::ConfigError;
use tracing_subscriber::EnvFilter;

/// Wrong usage or configuration, as sysexits.h has it.
const USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(help) => {
            let code = if help.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
            // A closed pipe is no reason to fail.
            help.print().unwrap_or_default();
            return code;
        }
    };
    log_to_stderr();
    match args.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            let mistaken = error.chain().any(|cause| {
                cause.is::<ConfigError>()
                    || matches!(cause.downcast_ref(), Some(ServeError::Config(_)))
            });
            if mistaken {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a command that failed"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("fieldseal-collector: {error:#}");
}

/// For people on a terminal, as JSON lines elsewhere. `RUST_LOG` chooses; `info` without it.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        lines.init();
    } else {
        lines.json().init();
    }
}
