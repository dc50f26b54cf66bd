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
    let code = match runtime.block_on(cli::execute(cli, notifier, stop_requested)) {
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

/// Completes at SIGTERM or Ctrl-C. From the call on, not from the first poll, neither of them ends the
/// process by itself: a gateway that is stopped while it starts stops in order.
fn stop_requested() -> impl Future<Output = ()> {
    let received = |kind: SignalKind, name: &str| {
        let received = signal(kind).inspect_err(|error| {
            tracing::error!("{name} cannot be received: {error}");
        });
        async move {
            match received {
                Ok(mut received) => drop(received.recv().await),
                Err(_not_received) => std::future::pending().await,
            }
        }
    };
    let terminate = received(SignalKind::terminate(), "SIGTERM");
    let interrupt = received(SignalKind::interrupt(), "Ctrl-C");
    async move {
        tokio::select! {
            () = terminate => {}
            () = interrupt => {}
        }
    }
}
