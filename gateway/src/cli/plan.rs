//! `plan`: the requests that will be sent and whether the lines can carry them.

use clap::Args;

use super::{Failure, json};
use crate::budget::{Budget, report};
use crate::config::GatewayConfig;

/// What `plan` takes.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(config: &GatewayConfig, args: &PlanArgs) -> Result<String, Failure> {
    let budget = Budget::of(config);
    let text = if args.json {
        json(&budget)?
    } else {
        report(&budget)
    };
    match budget.refusal() {
        Some(why) => Err(Failure::usage(why).after(text)),
        None => Ok(text),
    }
}

/// Refuses a configuration whose intervals its lines cannot carry: it would lose ticks for ever.
pub(super) fn feasible(config: &GatewayConfig) -> Result<(), Failure> {
    Budget::of(config)
        .refusal()
        .map_or(Ok(()), |why| Err(Failure::usage(why)))
}
