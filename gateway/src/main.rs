//! `fieldseal-gateway`: parse, run, drain.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the output of a command line"
)]

use std::process::ExitCode;

use gateway::cli;
use gateway::notify::Notifier;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let filter = EnvFilter::try_from_env("FIELDSEAL_LOG")
        .unwrap_or_else(|_unset| EnvFilter::new(cli.command.log_filter()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let notifier = Notifier::new(std::env::var("NOTIFY_SOCKET").ok().as_deref());
    let code = match runtime.block_on(cli::execute(cli, notifier, stop_requested())) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            print!("{}", failure.output);
            eprintln!("error: {}", failure.text);
            ExitCode::from(failure.code)
        }
    };
    // A device that never answers must not hold the exit up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// Completes at SIGTERM or Ctrl-C.
async fn stop_requested() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                result = tokio::signal::ctrl_c() => drop(result),
            }
        }
        Err(error) => {
            tracing::error!("SIGTERM cannot be received: {error}");
            drop(tokio::signal::ctrl_c().await);
        }
    }
}
