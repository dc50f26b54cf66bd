//! `check`: the configuration judged, and what would be read.

use super::Failure;
use crate::config::GatewayConfig;
use crate::inspect;

pub(super) fn execute(config: &GatewayConfig) -> Result<String, Failure> {
    Ok(inspect::report(config))
}
