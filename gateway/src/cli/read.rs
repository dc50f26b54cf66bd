//! `read --once`: every point, one time.

use std::time::Duration;

use clap::Args;
use ring::rand::SystemRandom;

use super::{Failure, json};
use crate::config::GatewayConfig;
use crate::read_once;

/// What `read` takes.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// Once, then ends. (Continuous reading is what `run` does.)
    #[arg(long, required = true)]
    once: bool,
    /// How long to wait for messages, in seconds.
    #[arg(long, default_value_t = 30)]
    wait_s: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(config: &GatewayConfig, args: &ReadArgs) -> Result<String, Failure> {
    let wait = Duration::from_secs(args.wait_s);
    let rows = read_once::read_once(config, wait, &SystemRandom::new()).await?;
    if args.json {
        json(&rows)
    } else {
        Ok(read_once::table(&rows))
    }
}
