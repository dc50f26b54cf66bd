//! `enroll`: introduces this log to its collector, by network or by file.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::surroundings::clock;
use crate::buffer::LogReader;
use crate::config::GatewayConfig;
use crate::enrol::{self, Enrolment};
use crate::identity::Identity;

/// What `enroll` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EnrollArgs {
    /// fs1.ID.SECRET.FINGERPRINT
    code: Option<String>,
    /// Writes the request into this file instead of sending it.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    to: Option<PathBuf>,
    /// Takes in the answer file that the collector's operator sent back.
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    from: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  By network, with the code that `fieldseal-collector enrolment-code` printed:
    fieldseal-gateway enroll fs1.0a1b2c3d.SECRET.FINGERPRINT
  Without one: carry request.json to the collector's operator, who runs
  `fieldseal-collector enrol request.json --answer answer.json`, and the answer back:
    fieldseal-gateway enroll fs1.0a1b2c3d.SECRET.FINGERPRINT --to request.json
    fieldseal-gateway enroll --from answer.json

Carry both as you would carry a password, until the first delivery is acknowledged: before that, who
has a copy of the request can take the gateway's token away by handing the request in again. Remove
the files then. Answers made before the newest one are worthless; until the first delivery a newer
answer, or a new code, replaces what was taken in (restart a running gateway after that).";

pub(super) async fn execute(config: &GatewayConfig, args: &EnrollArgs) -> Result<String, Failure> {
    let Some(collector) = &config.collector else {
        return Err(Failure::usage(
            "the configuration names no collector; add [collector] with url = \"https://…\"",
        ));
    };
    // Held to the end: the running gateway must not enrol with the same code meanwhile.
    let turn = enrol::Turn::take(&config.data_dir).await?;
    if let Some(from) = &args.from {
        let enrolment = enrol::accept_answer(&config.data_dir, &config.origin, collector, from)?;
        return Ok(enrolled(&enrolment));
    }
    let replaces = Enrolment::load(&config.data_dir)?.is_some();
    if let Some(code) = &args.code {
        enrol::keep_code(&config.data_dir, code)?;
    }
    let identity = Identity::open(&config.data_dir, &config.origin)?;
    let mut reader = LogReader::of_dir(&config.data_dir.join("log")).await?;
    let Some(first) = reader.row(0).await? else {
        return Err(Failure::new("the log is empty; run `init` first"));
    };
    if let Some(to) = &args.to {
        enrol::request_file(&config.data_dir, &identity.vkey(), &first, to)?;
        return Ok(format!(
            "The request is in {}.\nThe collector's operator takes it in with\n    fieldseal-collector \
             enrol {} --answer answer.json\nand sends answer.json back, for\n    fieldseal-gateway enroll \
             --from answer.json\n",
            to.display(),
            to.file_name().unwrap_or_default().to_string_lossy(),
        ));
    }
    // A running gateway may have been faster with a code that waited.
    let enrolment = match Enrolment::load(&config.data_dir)? {
        Some(enrolment) if !replaces || args.code.is_none() => enrolment,
        // None, or one whose token the collector never accepted and that another code replaces.
        _ => {
            enrol::enrol(
                &turn,
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
    Ok(enrolled(&enrolment))
}

fn enrolled(enrolment: &Enrolment) -> String {
    format!(
        "Enrolled at {}.\nIts cosigning key is\n{}\nA running gateway begins to deliver within \
         seconds; if this replaced an enrolment, restart it.\n",
        enrolment.url, enrolment.witness_vkey
    )
}
