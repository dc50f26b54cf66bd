//! The program: parse, run, exit.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser as _;
use verify::args::{BundleArgs, Cli, Command};

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
        Command::Bundle(args) => bundle(&args),
    }
}

fn bundle(args: &BundleArgs) -> ExitCode {
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
                "{percent} % ({done} of {all} entries, {} s)\n",
                begun.elapsed().as_secs()
            );
            // Nobody may be reading; that is no reason to stop.
            drop(std::io::stderr().write_all(line.as_bytes()));
        }
    };
    match verify::run(args, &mut std::io::stdout().lock(), &progress) {
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
