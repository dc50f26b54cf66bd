//! `probe`: registers in every order, of a line given or of a configured device.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use evidence::measurement::Table;
use ring::rand::SystemRandom;
use serde::Serialize;

use super::given_line::GivenLine;
use super::{Failure, json, load};
use crate::config::{GatewayConfig, PointConfig, register_address};
use crate::inquiry::{Inquiry, Unanswered};
use crate::plan::Span;
use crate::probe::{Register, lines, probe, registers, table};
use crate::read_once::{self, Row};

/// What `probe` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ProbeArgs {
    /// A device of the configuration file.
    #[arg(conflicts_with_all = ["host", "port"])]
    device: Option<String>,
    /// One of its points; all of them if left out.
    point: Option<String>,
    #[command(flatten)]
    line: GivenLine,
    /// The unit id (slave address).
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// The table: functions 3 (holding), 4 (input), 1 (coil), 2 (discrete).
    #[arg(long, value_enum, default_value_t = GivenTable::Holding)]
    table: GivenTable,
    /// The first register: the number that is sent, from 0, or as in manuals, 4x00001, which names the table.
    #[arg(long, default_value = "0")]
    address: String,
    /// How many registers, 1 to 125.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=125))]
    count: u16,
    /// How long an answer may take.
    #[arg(long, default_value_t = 1_000)]
    timeout_ms: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  A meter on a USB converter, its first ten input registers:
    fieldseal-gateway probe --port /dev/ttyUSB0 --baud 9600 --unit 1 --table input
  A device on the network, two registers as the manual counts them:
    fieldseal-gateway probe --host 192.168.1.30 --unit 1 --address 4x00001 --count 2
  What a configured point reads, in every order:
    fieldseal-gateway probe power-meter energy-import

Compare with the display: the row and column that show its number are the type and the order to
write into gateway.toml. Rows i16 and i32 appear where they differ from u16 and u32.

A serial port, or a converter with --rtu-over-tcp, must not be in use: stop a gateway that polls it
first, or you are told which process has it.";

/// The four tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GivenTable {
    /// Function 1.
    Coil,
    /// Function 2.
    Discrete,
    /// Function 4.
    Input,
    /// Function 3.
    Holding,
}

impl From<GivenTable> for Table {
    fn from(given: GivenTable) -> Self {
        match given {
            GivenTable::Coil => Self::Coil,
            GivenTable::Discrete => Self::Discrete,
            GivenTable::Input => Self::Input,
            GivenTable::Holding => Self::Holding,
        }
    }
}

pub(super) async fn execute(config: &Path, args: &ProbeArgs) -> Result<String, Failure> {
    if let Some(device) = &args.device {
        return configured(load(config)?, device, args).await;
    }
    let Some(line) = args.line.line()? else {
        return Err(Failure::usage(
            "name a device of the configuration file, or give a line with --host or --port; \
             `probe --help` has examples",
        ));
    };
    let (named, address) = register_address(&args.address)
        .map_err(|why| Failure::usage(format!("--address: {why}")))?;
    let span = Span {
        table: named.unwrap_or_else(|| args.table.into()),
        address,
        count: args.count,
    };
    if span.end() > 0x1_0000 {
        let text = format!(
            "--address {address} with --count {} ends beyond 65535",
            args.count
        );
        return Err(Failure::usage(text));
    }
    let inquiry = Inquiry::on(&line, Duration::from_millis(args.timeout_ms));
    match probe(&inquiry, args.unit, span).await {
        Ok(found) if args.json => json(&found),
        Ok(found) => Ok(table(&found, span)),
        Err(why) => {
            let text = format!("unit {} on {}: {why}", args.unit, line.endpoint);
            Err(match why {
                Unanswered::Refused(_) => Failure::new(format!(
                    "{text}. The unit is there but not these registers: try --table input or another \
                     --address"
                )),
                Unanswered::Failed(_) => Failure::unavailable(format!(
                    "{text}. `scan` finds out which settings and unit ids answer"
                )),
            })
        }
    }
}

/// One point with what its words may mean.
#[derive(Serialize)]
struct Probed {
    #[serde(flatten)]
    row: Row,
    /// How the configuration reads it.
    read_as: String,
    registers: Vec<Register>,
}

async fn configured(
    mut config: GatewayConfig,
    device: &str,
    args: &ProbeArgs,
) -> Result<String, Failure> {
    let known: Vec<String> = config
        .modbus
        .iter()
        .map(|known| known.name.clone())
        .collect();
    config.modbus.retain(|known| known.name == device);
    config.mqtt.clear();
    let Some(found) = config.modbus.first_mut() else {
        let text = format!(
            "the configuration has no Modbus device `{device}`; it has: {}",
            known.join(", ")
        );
        return Err(Failure::usage(text));
    };
    if let Some(point) = &args.point {
        let known: Vec<String> = found
            .points
            .iter()
            .map(|known| known.name.clone())
            .collect();
        found.points.retain(|known| known.name == *point);
        if found.points.is_empty() {
            let text = format!(
                "device `{device}` has no point `{point}`; it has: {}",
                known.join(", ")
            );
            return Err(Failure::usage(text));
        }
    }
    let points = found.points.clone();
    let rows = read_once::read_once(&config, Duration::ZERO, &SystemRandom::new()).await?;
    let probed: Vec<(Probed, Span)> = rows
        .into_iter()
        .filter_map(|row| {
            let point = points.iter().find(|point| point.name == row.point)?;
            let span = span_of(point)?;
            let words: Vec<Option<u16>> = words(row.raw.as_deref());
            let kind = &point.format;
            let read_as = format!("{} {}", kind.kind.name(), kind.order.name());
            let registers = registers(span, &words);
            Some((
                Probed {
                    row,
                    read_as,
                    registers,
                },
                span,
            ))
        })
        .collect();
    let silent = probed.iter().all(|(probed, _)| probed.row.raw.is_none());
    let text = if args.json {
        json(&probed.iter().map(|(probed, _)| probed).collect::<Vec<_>>())?
    } else {
        probed
            .iter()
            .map(|(probed, span)| told(probed, *span))
            .collect::<Vec<_>>()
            .join("\n")
    };
    if silent {
        let why = format!("device `{device}` gave no value");
        return Err(Failure::unavailable(why).after(text));
    }
    Ok(text)
}

fn span_of(point: &PointConfig) -> Option<Span> {
    crate::sampling::span(&point.source)
}

fn words(hex: Option<&str>) -> Vec<Option<u16>> {
    hex.unwrap_or_default()
        .split_whitespace()
        .map(|word| u16::from_str_radix(word, 16).ok())
        .collect()
}

fn told(probed: &Probed, span: Span) -> String {
    let Row {
        point,
        value,
        unit,
        quality,
        ..
    } = &probed.row;
    let value = value
        .as_ref()
        .map_or_else(|| "-".to_owned(), |value| format!("{value} {unit}"));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = writeln!(
        text,
        "{point}: {value}, {quality}\n  {}, read as {}",
        crate::modbus::outcome::describe(span),
        probed.read_as
    );
    if probed.row.raw.is_some() {
        for line in lines(&probed.registers, span.table) {
            text.push_str("  ");
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}
