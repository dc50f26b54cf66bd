//! `confirm`: a named person vouches for a device that was exchanged or set differently.

use clap::Args;
use evidence::control::{Control, DeviceEvent, DeviceStatement};

use super::surroundings::{around, clock, software};
use super::{Failure, json};
use crate::buffer::LogReader;
use crate::clock::utc_text;
use crate::config::GatewayConfig;
use crate::recorder::Settings;
use crate::requests::{self, PATIENCE};
use crate::watch::Book;

/// What `confirm` takes.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// The device's name in gateway.toml.
    device: String,
    /// Who vouches for it: a name that a verifier can ask for.
    #[arg(long, value_name = "NAME")]
    person: String,
    /// Why it is right, e.g. "meter exchanged at calibration, sheet 12".
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(config: &GatewayConfig, args: &ConfirmArgs) -> Result<String, Failure> {
    for (name, text) in [("--person", &args.person), ("--reason", &args.reason)] {
        if text.trim().is_empty() || text.len() > 1_000 {
            return Err(Failure::usage(format!(
                "{name} must say something, in at most 1000 letters"
            )));
        }
    }
    let reader = LogReader::of_dir(&config.data_dir.join("log")).await?;
    let mut book = Book::open(config, reader).await?;
    let Some(gate) = book.gate(&args.device) else {
        let names: Vec<&str> = book.gates().iter().map(|gate| gate.device()).collect();
        return Err(Failure::usage(format!(
            "gateway.toml has no Modbus device `{}`; it has: {}",
            args.device,
            names.join(", ")
        )));
    };
    let contradictions = gate.contradictions();
    if !contradictions.is_empty() {
        return Err(Failure::new(format!(
            "{}: {}",
            args.device,
            contradictions.join("; ")
        )));
    }
    let known = gate.known();
    if known.seen.is_empty() {
        return Err(Failure::new(format!(
            "nothing was read of {} yet that could be confirmed; `run` reads it at every connect",
            args.device
        )));
    }
    if !known.waits() {
        return Ok(format!(
            "{} needs no confirmation: it is what it was.\n",
            args.device
        ));
    }
    let event = DeviceEvent::Confirmed {
        person: args.person.clone(),
        reason: args.reason.clone(),
    };
    let statement = DeviceStatement::new(&args.device, event, known.seen);
    let words = statement.words();
    let control = Control::Device(statement);
    let settings = Settings::of(config, software());
    let around = around(clock(config).await);
    let sealed = requests::seal(&control, &words, &settings, &around, &mut book, PATIENCE).await?;
    if args.json {
        return json(&sealed);
    }
    Ok(format!(
        "{words}\nSealed as entry {} at {}. Values of {} count again from here on.\n",
        sealed.index,
        utc_text(sealed.unix_ms),
        args.device
    ))
}
