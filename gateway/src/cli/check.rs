//! `check`: the configuration judged; with `--live`, beside what is really there.

use std::time::Duration;

use clap::Args;
use ring::rand::SystemRandom;

use super::plan::feasible;
use super::read::gates;
use super::{Failure, json};
use crate::check_live::{look, report};
use crate::columns::fit;
use crate::config::GatewayConfig;
use crate::inspect;

/// What `check` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Opens every line, reads every point once, asks every device who it is.
    ///
    /// A serial port, or a converter with RTU over TCP, must not be in use: stop a gateway that polls it
    /// first, or you are told which process has it.
    #[arg(long)]
    live: bool,
    /// How long to wait for messages, in seconds.
    #[arg(long, default_value_t = 30, requires = "live")]
    wait_s: u64,
    /// What --live finds, as JSON.
    #[arg(long, requires = "live")]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  The file only; nothing is opened:
    fieldseal-gateway check --config gateway.toml
  Beside what is really there, before the gateway is started:
    fieldseal-gateway check --live

Exits with 64 if the configuration cannot be used, 69 if something cannot be reached, 1 if
something answers otherwise than the configuration says.";

pub(super) async fn execute(config: &GatewayConfig, args: &CheckArgs) -> Result<String, Failure> {
    if !args.live {
        let text = fit(&inspect::report(config));
        return match feasible(config) {
            Ok(()) => Ok(text),
            Err(why) => Err(why.after(text)),
        };
    }
    feasible(config)?;
    let gates = gates(config).await?;
    let live = look(
        config,
        Duration::from_secs(args.wait_s),
        &SystemRandom::new(),
        &gates,
    )
    .await?;
    let text = if args.json {
        json(&live)?
    } else {
        report(&live)
    };
    let count = |list: &[String], what: &str| format!("{} {what}", list.len());
    if !live.unreachable.is_empty() {
        let why = count(
            &live.unreachable,
            "not reachable, see above; `scan` finds out who answers",
        );
        return Err(Failure::unavailable(why).after(text));
    }
    if !live.disagreements.is_empty() {
        let why = count(
            &live.disagreements,
            "disagree, see above; `probe DEVICE POINT` shows the registers",
        );
        return Err(Failure::new(why).after(text));
    }
    Ok(text)
}
