//! `config template`: what is known about devices, and a configuration to begin with.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::given_line::host_and_port;
use super::{Failure, json};
use crate::config::{ConfigError, SerialNames, Template};
use crate::templates::{self, Place, SerialPlace, Wishes, listing, starter};

mod models;

/// What `config` can do.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints a ready configuration for a device, the list of known devices, or a register table.
    ///
    /// Needs no configuration file.
    Template(TemplateArgs),
}

/// What `config template` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TemplateArgs {
    /// A name from the list, or a file of your own that ends in .toml; left out: the list.
    name: Option<String>,
    /// Shows the registers and the document they are from instead of a configuration.
    #[arg(long, requires = "name")]
    show: bool,
    /// The log's name, filled into the configuration.
    #[arg(long, requires = "name")]
    origin: Option<String>,
    /// Leaves `[gateway]` out: to be added to a file that has it.
    #[arg(long, requires = "name", conflicts_with = "origin")]
    part: bool,
    /// The device's name in the configuration.
    #[arg(long, requires = "name")]
    device: Option<String>,
    /// The unit id (slave address); left out: the one it leaves the factory with.
    #[arg(long, requires = "name")]
    unit: Option<u8>,
    /// The serial port the device is on; left out: the only USB converter there is.
    #[arg(long, value_name = "PORT", requires = "name", conflicts_with = "host")]
    port: Option<String>,
    /// The device's address on the network: HOST or HOST:PORT.
    #[arg(long, value_name = "HOST[:PORT]", requires = "name")]
    host: Option<String>,
    /// Bits per second of the serial port; left out: as the device leaves the factory.
    #[arg(long, requires = "port")]
    baud: Option<u32>,
    /// Parity of the serial port: none, even, odd.
    #[arg(long, requires = "port", value_parser = ["none", "even", "odd"])]
    parity: Option<String>,
    /// Stop bits of the serial port, 1 or 2.
    #[arg(long, requires = "port", value_parser = clap::value_parser!(u8).range(1..=2))]
    stop_bits: Option<u8>,
    /// How long an answer may take, where the device is asked.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    timeout_ms: u64,
    /// The list or the register table as JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  Which devices are known:
    fieldseal-gateway config template
  An SDM630 on the only USB stick that is plugged in:
    fieldseal-gateway config template eastron-sdm630 --origin example.com/gw/1 > gateway.toml
  Its registers, and the document they are from:
    fieldseal-gateway config template eastron-sdm630 --show
  An inverter that speaks SunSpec; it is asked where its models stand:
    fieldseal-gateway config template sunspec --host 192.168.1.30 --unit 1";

pub(super) async fn execute(command: &ConfigCommand) -> Result<String, Failure> {
    let ConfigCommand::Template(args) = command;
    let Some(name) = &args.name else {
        let entries = listing::entries();
        return if args.json {
            json(&entries)
        } else {
            Ok(listing::list(&entries))
        };
    };
    let template = find(name)?;
    if args.show {
        return if args.json {
            json(&listing::rows(&template))
        } else {
            Ok(listing::show(&template))
        };
    }
    if args.json {
        return Err(Failure::usage(
            "a configuration is TOML: leave --json out, or take --show with it",
        ));
    }
    let mut wishes = wishes(args)?;
    if !template.models.is_empty() {
        models::find(
            &template,
            &mut wishes,
            Duration::from_millis(args.timeout_ms),
        )
        .await?;
    }
    Ok(starter(name, &template, &wishes, &SerialNames::system()))
}

fn wishes(args: &TemplateArgs) -> Result<Wishes, Failure> {
    let place = match (&args.port, &args.host) {
        (Some(path), _) => Place::Serial(SerialPlace {
            path: path.clone(),
            baud: args.baud,
            parity: args.parity.as_deref().and_then(|parity| {
                ["none", "even", "odd"]
                    .into_iter()
                    .find(|known| *known == parity)
            }),
            stop_bits: args.stop_bits,
        }),
        (None, Some(host)) => {
            let (host, port) = host_and_port(host, 502)?;
            Place::Network { host, port }
        }
        (None, None) => Place::Unknown,
    };
    Ok(Wishes {
        origin: args.origin.clone().unwrap_or_default(),
        part: args.part,
        device: args.device.clone(),
        unit_id: args.unit,
        place,
        ..Wishes::default()
    })
}

fn find(name: &str) -> Result<Template, Failure> {
    if Path::new(name)
        .extension()
        .is_some_and(|ending| ending == "toml")
    {
        return Template::load(Path::new(name)).map_err(|error| {
            Failure::usage(match error {
                ConfigError::Unreadable { path, source } => {
                    format!("cannot read `{}`: {source}", path.display())
                }
                wrong => wrong.to_string(),
            })
        });
    }
    templates::find(name).ok_or_else(|| {
        let mut text = format!("there is no template `{name}`; `config template` lists them");
        let meant = templates::meant(name);
        if !meant.is_empty() {
            text.push_str(&format!("; did you mean `{}`?", meant.join("` or `")));
        }
        Failure::usage(text)
    })
}
