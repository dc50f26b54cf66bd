//! The command line: every command in words, and what each prints.
//!
//! One file per command below `cli/`: its arguments and its `execute`. Some commands work without a
//! configuration file; the others load it first and end with every mistake in it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::config::{ConfigError, GatewayConfig, Problem};
use crate::notify::Notifier;
use crate::run::run;

mod annotate;
mod authority;
mod check;
mod commission;
mod config;
mod confirm;
mod enroll;
mod failure;
mod given_line;
mod init;
mod plan;
mod probe;
mod read;
mod restore;
mod scan;
mod status;
mod surroundings;
mod verify;

pub use annotate::AnnotateArgs;
pub use authority::{ApprovalRequestArgs, StatementArgs};
pub use check::CheckArgs;
pub use commission::CommissionArgs;
pub use config::{ConfigCommand, TemplateArgs};
pub use confirm::ConfirmArgs;
pub use enroll::EnrollArgs;
pub use failure::{EXIT_FAILURE, EXIT_UNAVAILABLE, EXIT_USAGE, Failure};
pub use given_line::GivenLine;
pub use init::InitArgs;
pub use plan::PlanArgs;
pub use probe::ProbeArgs;
pub use read::ReadArgs;
pub use scan::ScanArgs;
pub use status::StatusArgs;

/// Reads meters, seals every reading where it is taken, keeps and forwards it.
///
/// A new device, in order: `scan` finds the meter, `config template` writes gateway.toml, `check` and
/// `plan` judge it, `read --once` shows every value, `init` begins the log, once, and `run` records.
/// `commission POINT` puts the display beside the log, `enroll CODE` introduces it to the collector.
#[derive(Debug, Parser)]
#[command(name = "fieldseal-gateway", version, max_term_width = 100)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        long,
        short,
        global = true,
        default_value = "/etc/fieldseal/gateway.toml"
    )]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Records and delivers until it is stopped (SIGTERM or Ctrl-C).
    Run,
    /// Makes the keys of a new log and seals its first entry. Once per device, never again.
    ///
    /// Prints the vkey line, which belongs into the commissioning sheet and the monitoring plan: it is
    /// what a verifier will trust.
    Init(InitArgs),
    /// Introduces this log to the collector with the single-use code that its operator printed.
    ///
    /// Without a code, asks again with the one that is still waiting for its answer.
    Enroll(EnrollArgs),
    /// Checks the configuration file and says what would be read; opens nothing without --live.
    Check(CheckArgs),
    /// Shows the requests that will be sent, and whether the lines can carry them.
    ///
    /// For each line and device: every request with its registers, the points it answers, the holes it
    /// reads to save another one, and how long it occupies the line. Exits with 64 if an interval cannot
    /// be met, and says what would help; `run` refuses such a configuration.
    Plan(PlanArgs),
    /// Finds out who answers on a serial port or at the hosts given. Needs no configuration file.
    Scan(ScanArgs),
    /// Shows registers with their raw words, both notations of their address and every order at once.
    ///
    /// Of a line given (no configuration file needed), or of a device of the configuration.
    Probe(ProbeArgs),
    /// Puts what stands at a meter beside what is sealed of it, and seals the sheet.
    ///
    /// Tag, place, serial number, ratio, range, seals, photos and the number on the display; the gateway
    /// must be running. Prints the signed sheet and keeps it with the photos beside the log.
    Commission(CommissionArgs),
    /// Device templates, and a configuration to begin with.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Shows log, clock, buffer, delivery and the newest values, without disturbing the gateway.
    Status(StatusArgs),
    /// Reads the devices and shows every point with all that is known about it.
    Read(ReadArgs),
    /// Vouches for a device that was exchanged or set differently, so that its values count again.
    ///
    /// The gateway reads each device's serial number and settings at every connect. When they differ from
    /// what they were, its values are still recorded but flagged, and `status` says what changed. Look at
    /// the device, then confirm; the confirmation is sealed with the name. Works while the gateway runs.
    Confirm(ConfirmArgs),
    /// Seals a remark or correction about earlier entries, with the name of who makes it.
    ///
    /// Nothing is ever edited: who reads the log later reads the remark beside what it speaks of. Works
    /// while the gateway runs.
    Annotate(AnnotateArgs),
    /// Writes every control entry into a file, for an authority that is to approve a configuration.
    ///
    /// Carry the file to the authority's desk: `fieldseal-verify approve show FILE` says in words what
    /// each configuration changed, `approve sign` makes the approval.
    ApprovalRequest(ApprovalRequestArgs),
    /// Seals an authority's approval of a configuration, whenever it arrives.
    Approve(StatementArgs),
    /// Seals an authority's word that an entry key of this log was stolen, and changes the key if it is
    /// the one in force.
    ///
    /// What witnesses had not seen before the theft is void for ever. If that key was in force, begin a
    /// new log afterwards (`init --after`): what follows in this one proves nothing.
    RevokeKey(StatementArgs),
    /// Fetches back from the collector what this device lost of its own log. `run` does this by itself.
    Restore,
    /// Verifies this device's own log, entry by entry, as a verifier would.
    Verify,
}

impl Command {
    /// What is worth saying on standard error while the command works, as a filter of `tracing`. The
    /// commands that show what they found say it there, and not a second time.
    #[must_use]
    pub const fn log_filter(&self) -> &'static str {
        match self {
            Self::Scan(_) | Self::Probe(_) | Self::Read(_) | Self::Check(_) => "error",
            _ => "info,sqlx=warn,rumqttc=warn",
        }
    }
}

/// Reads the arguments; on a mistake prints clap's words and returns the exit code.
///
/// # Errors
///
/// 0 after `--help` and `--version`, 64 after a mistake.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, ExitCode> {
    Cli::try_parse_from(arguments).map_err(|error| {
        // Nothing can be done about a closed terminal.
        drop(error.print());
        if error.use_stderr() {
            ExitCode::from(EXIT_USAGE)
        } else {
            ExitCode::SUCCESS
        }
    })
}

/// Loads the configuration, or says every mistake in it.
///
/// # Errors
///
/// [`Failure`] with exit code 64.
pub fn load(path: &Path) -> Result<GatewayConfig, Failure> {
    GatewayConfig::load(path).map_err(|error| {
        Failure::usage(match error {
            ConfigError::Unreadable { path, source } => format!(
                "cannot read `{}`: {source}; name the file with --config FILE",
                path.display()
            ),
            wrong => wrong.to_string(),
        })
    })
}

/// Carries a command out and returns what it prints. `shutdown` begins to wait for the wish to stop; only
/// the commands that stop in order call it.
///
/// # Errors
///
/// [`Failure`].
pub async fn execute<F: Future<Output = ()>>(
    cli: Cli,
    notifier: Notifier,
    shutdown: impl FnOnce() -> F,
) -> Result<String, Failure> {
    let Cli {
        config: file,
        command,
    } = cli;
    let config = || load(&file);
    match command {
        Command::Run => {
            let shutdown = shutdown();
            let config = config()?;
            plan::feasible(&config)?;
            for warning in &config.warnings {
                let Problem {
                    line, key, text, ..
                } = warning;
                tracing::warn!("{}, line {line}: {key}: {text}", file.display());
            }
            let environment = surroundings::environment(&config, notifier);
            run(config, environment, shutdown).await?;
            Ok(String::new())
        }
        Command::Init(args) => init::execute(&config()?, &args).await,
        Command::Enroll(args) => enroll::execute(&config()?, &args).await,
        Command::Check(args) => check::execute(&config()?, &args).await,
        Command::Plan(args) => plan::execute(&config()?, &args),
        Command::Scan(args) => scan::execute(args, shutdown()).await,
        Command::Probe(args) => probe::execute(&file, &args).await,
        Command::Commission(args) => commission::execute(&config()?, &args).await,
        Command::Config(command) => config::execute(&command).await,
        Command::Status(args) => status::execute(&config()?, &args).await,
        Command::Read(args) => read::execute(&config()?, &args).await,
        Command::Confirm(args) => confirm::execute(&config()?, &args).await,
        Command::Annotate(args) => annotate::execute(&config()?, &args).await,
        Command::ApprovalRequest(args) => authority::request(&config()?, &args).await,
        Command::Approve(args) => authority::approve(&config()?, &args).await,
        Command::RevokeKey(args) => authority::revoke(&config()?, &args).await,
        Command::Restore => restore::execute(&config()?).await,
        Command::Verify => verify::execute(&config()?).await,
    }
}

/// A result as a program reads it.
fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
