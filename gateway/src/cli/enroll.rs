//! `enroll`: introduces this log to its collector.

use clap::Args;

use super::Failure;
use super::surroundings::clock;
use crate::buffer::LogReader;
use crate::config::GatewayConfig;
use crate::enrol::{self, Enrolment};
use crate::identity::Identity;

/// What `enroll` takes.
#[derive(Debug, Args)]
pub struct EnrollArgs {
    /// fs1.ID.SECRET.FINGERPRINT
    code: Option<String>,
}

pub(super) async fn execute(config: &GatewayConfig, args: &EnrollArgs) -> Result<String, Failure> {
    let Some(collector) = &config.collector else {
        return Err(Failure::usage(
            "the configuration names no collector; add [collector] with url = \"https://…\"",
        ));
    };
    if let Some(code) = &args.code {
        enrol::keep_code(&config.data_dir, code)?;
    }
    let identity = Identity::open(&config.data_dir, &config.origin)?;
    let mut reader = LogReader::of_dir(&config.data_dir.join("log")).await?;
    let Some(first) = reader.row(0).await? else {
        return Err(Failure::new("the log is empty; run `init` first"));
    };
    // A running gateway may have been faster with the same code; the answer is the same.
    let enrolment = match Enrolment::load(&config.data_dir)? {
        Some(enrolment) => enrolment,
        None => {
            enrol::enrol(
                &config.data_dir,
                &config.origin,
                &identity.vkey(),
                &first,
                collector,
                clock(config).await,
            )
            .await?
        }
    };
    Ok(format!(
        "Enrolled at {}.\nIts cosigning key is\n{}\nA running gateway begins to deliver within \
         seconds.\n",
        enrolment.url, enrolment.witness_vkey
    ))
}
