//! The arguments of `fieldseal-verify approve` and `revoke`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Printed below the help of `approve`.
pub(super) const APPROVE_HELP: &str = "\
A change of scale, offset or register changes every number behind it. Whoever is responsible for that
(the integrator, the verifier) approves it with a key that never was on the gateway or the server:
  fieldseal-verify approve keygen --key authority.key           once; write the public key into the plan
  fieldseal-gateway approval-request --out controls.txt         at the gateway; carry the file here
  fieldseal-verify approve show controls.txt                    what changes, in words
  fieldseal-verify approve sign controls.txt --entry 131077 --key authority.key --out approval.txt
  fieldseal-gateway approve approval.txt                        at the gateway; seals it
Who verifies names the public key: fieldseal-verify bundle … --approver HEX [--approvals required]";

/// Printed below the help of `revoke`.
pub(super) const REVOKE_HELP: &str = "\
Example, after a gateway's memory card was copied on 3 March:
  fieldseal-verify revoke --log example.com/gw/0001 --key-id 0ca7606874e3c938 \\
      --since 2026-03-03T08:00:00Z --reason 'card copied during repair' --key authority.key --out revoked.txt
Then: fieldseal-collector revoke revoked.txt --authority HEX     no later upload by that key is taken
      fieldseal-gateway revoke-key revoked.txt                   changes the key and seals the statement
      fieldseal-verify bundle … --approver HEX --revocation revoked.txt
What witnesses had cosigned before that moment stays good; everything later in that log is void, and a
new log (fieldseal-gateway init --after …) goes on. `fieldseal-gateway status` and the control entries
(approve show) tell key ids.";

/// Approve control entries with a key of your own.
#[derive(Debug, Clone, Subcommand)]
pub enum ApproveCommand {
    /// Makes an authority's key: the private half into a file (0600), the public one printed.
    Keygen {
        /// Where to write the private key; it must not exist.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Says in words what every configuration of a log changed, and who approved it.
    Show {
        /// The file of control entries that `fieldseal-gateway approval-request` wrote.
        controls: PathBuf,
    },
    /// Signs one entry, after saying in words what it changes.
    Sign(SignArgs),
}

/// Signs an approval.
#[derive(Debug, Clone, Args)]
pub struct SignArgs {
    /// The file of control entries that `fieldseal-gateway approval-request` wrote.
    pub controls: PathBuf,
    /// The entry to approve, as `approve show` numbers it.
    #[arg(long, value_name = "INDEX")]
    pub entry: u64,
    /// The log's key, from the commissioning record; refuses another log of the same name.
    #[arg(long, value_name = "VKEY")]
    pub anchor: Option<String>,
    /// Your private key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where to write the approval; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Declares an entry key stolen.
#[derive(Debug, Clone, Args)]
#[command(after_help = REVOKE_HELP)]
pub struct RevokeArgs {
    /// The log's name.
    #[arg(long, value_name = "ORIGIN")]
    pub log: String,
    /// The id of the entry key, 16 hex digits.
    #[arg(long, value_name = "HEX")]
    pub key_id: String,
    /// When it was stolen at the earliest, as 2026-03-03T08:00:00Z. When in doubt, earlier.
    #[arg(long, value_name = "TIME")]
    pub since: String,
    /// Why, on one line.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Your private key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where to write the statement; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
