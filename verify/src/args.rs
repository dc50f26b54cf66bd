//! The command line: one file for the arguments of each command.

mod approve;
mod bundle;
mod fetch;
mod self_test;
mod spot_check;
mod witness;

use clap::{Parser, Subcommand};

pub use approve::{ApproveCommand, RevokeArgs, SignArgs};
pub use bundle::BundleArgs;
pub use fetch::FetchArgs;
pub use self_test::SelfTestArgs;
pub use spot_check::SpotCheckArgs;
pub use witness::{LogAction, RunArgs, WitnessAction, WitnessArgs};

/// Checks sealed measurement evidence offline, and recomputes the report made from it.
///
/// Nothing inside a bundle is trusted: the plan, the witness policy and the log keys come from your
/// own disk. Take plan.toml and its hash from the registered document, the anchor key from the
/// commissioning record or the label on the gateway, and write the policy yourself.
#[derive(Debug, Parser)]
#[command(name = "fieldseal-verify", version, after_help = bundle::AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify an evidence bundle: signatures, order, completeness, times, and the report.
    Bundle(Box<BundleArgs>),
    /// Run an independent witness: sign that logs only grow, and when.
    Witness(Box<WitnessArgs>),
    /// Download a bundle, going on where an earlier attempt broke off.
    Fetch(Box<FetchArgs>),
    /// Prove single readings in less than 2 KB each, or verify such proofs.
    SpotCheck(Box<SpotCheckArgs>),
    /// Approve a configuration with a key kept offline, after reading in words what it changes.
    #[command(subcommand, after_help = approve::APPROVE_HELP)]
    Approve(ApproveCommand),
    /// Declare an entry key stolen since a moment, with a key kept offline.
    Revoke(RevokeArgs),
    /// Try this program on this machine and write a dated record of it.
    SelfTest(Box<SelfTestArgs>),
}
