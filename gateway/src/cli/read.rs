//! `read --once`: every point, one time.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ring::rand::SystemRandom;

use super::{Failure, json};
use crate::buffer::LogReader;
use crate::columns::paragraph;
use crate::config::GatewayConfig;
use crate::watch::{Book, Gate};
use crate::{read_once, sampling};

/// What `read` takes.
#[derive(Debug, Args)]
#[command(after_help = NOTE)]
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

const NOTE: &str = "\
A serial port, or a converter with RTU over TCP, must not be in use: stop a gateway that polls it
first, or you are told which process has it. `status` shows the values of a running gateway.";

pub(super) async fn execute(config: &GatewayConfig, args: &ReadArgs) -> Result<String, Failure> {
    let wait = Duration::from_secs(args.wait_s);
    let gates = gates(config).await?;
    let rows = read_once::read_through(config, wait, &SystemRandom::new(), &gates).await?;
    if args.json {
        json(&rows)
    } else {
        let mut text = read_once::table(&rows);
        for gate in &gates {
            for said in gate.waiting() {
                text.push_str(&format!("{}: {said}\n", gate.device()));
            }
        }
        for device in &config.modbus {
            if let Some(said) = sampling::unwatched(config, device) {
                text.push_str(&paragraph(&format!("{}: {said}", device.name), 0));
            }
        }
        Ok(text)
    }
}

/// What the log knows of the devices; before `init` nothing.
pub(super) async fn gates(config: &GatewayConfig) -> Result<Vec<Arc<Gate>>, Failure> {
    let log = config.data_dir.join("log");
    if !log.is_dir() {
        return Ok(sampling::new_gates(config));
    }
    let book = Book::open(config, LogReader::of_dir(&log).await?).await?;
    Ok(book.gates().to_vec())
}
