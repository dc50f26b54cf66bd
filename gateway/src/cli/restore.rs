//! `restore`: what this device lost of its own log comes back from the collector.

use std::sync::Arc;

use super::Failure;
use super::surroundings::{around, clock, software};
use crate::collector::Collector;
use crate::config::GatewayConfig;
use crate::enrol::Enrolment;
use crate::recorder::Settings;
use crate::restore;

pub(super) async fn execute(config: &GatewayConfig) -> Result<String, Failure> {
    let (Some(collector), Some(enrolment)) =
        (&config.collector, Enrolment::load(&config.data_dir)?)
    else {
        let text = "this log is not enrolled: there is nowhere to fetch anything from";
        return Err(Failure::new(text));
    };
    let clock = clock(config).await;
    let token = Some(enrolment.token.clone());
    let (pin, origin) = (enrolment.pin(), &config.origin);
    let client = Collector::new(collector, origin, pin, token, Arc::clone(&clock))?;
    let settings = Settings::of(config, software());
    let witness = enrolment.witness()?;
    let (before, after) = restore::restore(&settings, &around(clock), &client, &witness).await?;
    Ok(format!(
        "The log had {before} entries and has {after} now, each verified. `run` goes on there.\n"
    ))
}
