//! The program: parse, run, exit.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use verify::args::{Cli, Command, WitnessArgs};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 6 } else { 0 };
            return error
                .print()
                .map_or(ExitCode::from(6), |()| ExitCode::from(code));
        }
    };
    match cli.command {
        Command::Witness(args) => witness(&args),
        Command::Bundle(args) => {
            with_progress("entries", |out, progress| verify::run(&args, out, progress))
        }
        Command::Fetch(args) => with_progress("bytes", |out, progress| {
            verify::fetch::run(&args, out, progress)
        }),
        Command::SelfTest(args) => with_progress("cases", |out, progress| {
            verify::self_test::run(&args, now_ms(), out, progress)
        }),
        Command::SpotCheck(args) => with_progress("entries", |out, progress| {
            verify::spot_check::run(&args, out, progress)
        }),
        Command::Approve(command) => print(verify::approve::approve(&command)),
        Command::Revoke(args) => print(verify::approve::revoke(&args)),
    }
}

/// Prints what a command says, or why it did nothing.
fn print(said: anyhow::Result<String>) -> ExitCode {
    let (text, code) = match said {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            return ExitCode::from(6);
        }
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_closed) => ExitCode::from(6),
    }
}

/// Runs a command that writes to standard output and says on standard error how far it is.
fn with_progress(
    unit: &str,
    run: impl FnOnce(&mut dyn std::io::Write, verify::Progress<'_>) -> std::io::Result<u8>,
) -> ExitCode {
    let begun = Instant::now();
    let next = Mutex::new(begun + Duration::from_secs(2));
    let progress = |done: u64, all: u64| {
        let now = Instant::now();
        let mut next = next
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if now >= *next {
            *next = now + Duration::from_secs(1);
            let percent = done.saturating_mul(100).checked_div(all).unwrap_or(0);
            let line = format!(
                "{percent} % ({done} of {all} {unit}, {} s)\n",
                begun.elapsed().as_secs()
            );
            // Nobody may be reading; that is no reason to stop.
            drop(std::io::stderr().write_all(line.as_bytes()));
        }
    };
    match run(&mut std::io::stdout().lock(), &progress) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            drop(writeln!(
                std::io::stderr(),
                "error: writing the verdict: {error}"
            ));
            ExitCode::from(6)
        }
    }
}

/// The only command that is a server: the others start no runtime and open no socket.
fn witness(args: &WitnessArgs) -> ExitCode {
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(verify::witness::run(args)));
    let (code, text) = match outcome {
        Ok(text) => (0, text),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "fieldseal-verify: {error:#}"));
            (6, String::new())
        }
    };
    // A closed pipe is no reason to fail.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::from(code)
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

/// The date of a record, unix milliseconds: the only place where a verifying command asks what time it is.
#[expect(
    clippy::disallowed_methods,
    reason = "a record of a run carries the date of this machine's clock"
)]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
