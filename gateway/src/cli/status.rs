//! `status`: log, clock, buffer, delivery and the newest values.

use clap::Args;

use super::{Failure, json};
use crate::config::GatewayConfig;
use crate::status;

/// What `status` takes.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(config: &GatewayConfig, args: &StatusArgs) -> Result<String, Failure> {
    let status = status::of_dir(config).await?;
    if args.json {
        json(&status)
    } else {
        Ok(status::table(&status))
    }
}
