//! `init`: the keys of a new log and its first entry.

use std::path::{Path, PathBuf};

use clap::Args;
use evidence::control::Control;
use evidence::hash::sha256;
use evidence::statement::LogEnd;

use super::Failure;
use super::surroundings::{around, clock, software};
use crate::buffer::LogReader;
use crate::config::GatewayConfig;
use crate::durable;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::recorder::{Recorder, Settings};
use crate::{commission, requests};

/// What `init` takes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The data directory of a log that cannot be continued and that this one takes over from.
    #[arg(long, value_name = "OLD_DATA_DIR")]
    after: Option<PathBuf>,
    /// The end of the log that this one takes over from, where its data directory is lost: the file
    /// that `fieldseal-collector log-end` wrote.
    #[arg(long, value_name = "FILE", conflicts_with = "after")]
    after_end: Option<PathBuf>,
    /// Why the old log ends, in a few words; sealed with its last entry.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn execute(config: &GatewayConfig, args: &InitArgs) -> Result<String, Failure> {
    let reason = args.reason.as_deref();
    let predecessor = match (&args.after, &args.after_end) {
        (Some(old), _) => Some(predecessor(old, reason).await?),
        (None, Some(file)) => Some(named_end(config, file, reason)?),
        (None, None) if reason.is_some() => {
            let text = "--reason says why an old log ends: give --after or --after-end with it";
            return Err(Failure::usage(text));
        }
        (None, None) => None,
    };
    let clock = clock(config).await;
    let identity = match Identity::create(&config.data_dir, &config.origin) {
        Ok(identity) => identity,
        // Keys without an entry: an `init` that was interrupted is finished.
        Err(error) => match LogReader::of_dir(&config.data_dir.join("log")).await {
            Ok(reader) if reader.bounds().1 > 0 => return Err(error.into()),
            Ok(_) | Err(_) => Identity::open(&config.data_dir, &config.origin)?,
        },
    };
    let vkey = identity.vkey().to_string();
    drop(identity);
    let settings = Settings::of(config, software());
    Recorder::begin_log(settings, around(clock), predecessor).await?;
    requests::prepare(&config.data_dir)?;
    commission::prepare(&config.data_dir)?;
    let fingerprint = sha256(vkey.as_bytes()).to_hex();
    Ok(format!(
        "A new log was begun in {}.\n\n\
         origin       {}\n\
         vkey         {vkey}\n\
         fingerprint  {fingerprint}\n\n\
         Write the vkey line into the commissioning sheet and the monitoring plan: it is what a \
         verifier trusts,\nand it must not reach him through the collector. The fingerprint is the \
         SHA-256 of that line, for the label.\n\
         The keys under {} never leave this device.\n",
        config.data_dir.display(),
        config.origin.as_str(),
        config.data_dir.join("keys").display(),
    ))
}

/// What a collector says about the end of a log whose device is lost.
fn named_end(
    config: &GatewayConfig,
    file: &Path,
    reason: Option<&str>,
) -> Result<Control, Failure> {
    let bytes = durable::read_file(file)?
        .ok_or_else(|| Failure::usage(format!("there is no file `{}`", file.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    let end = LogEnd::parse(&text)
        .map_err(|error| Failure::usage(format!("`{}`: {error}", file.display())))?;
    if end.origin == config.origin {
        return Err(Failure::usage(format!(
            "`{}` is the end of `{}` itself; a new log needs another origin in the configuration",
            file.display(),
            end.origin
        )));
    }
    Ok(Control::Recovery {
        origin: end.origin.as_str().to_owned(),
        last_index: end.last_index,
        last_leaf: end.last_leaf,
        reason: reason
            .unwrap_or("the predecessor's device is lost")
            .to_owned(),
    })
}

/// What the journal of an abandoned log says about its end.
async fn predecessor(old: &Path, reason: Option<&str>) -> Result<Control, Failure> {
    let name = durable::read_file(&old.join("keys").join("origin"))?;
    let text = || {
        format!(
            "`{}` holds no log that could be continued from",
            old.display()
        )
    };
    let name = name.ok_or_else(|| Failure::usage(text()))?;
    let (mut journal, _said) = Journal::open(old, &old.join("quarantine")).await?;
    let head = journal.head().await?;
    let head = head.ok_or_else(|| Failure::usage(text()))?;
    journal.close().await?;
    Ok(Control::Recovery {
        origin: String::from_utf8_lossy(&name).trim_end().to_owned(),
        last_index: head.size.saturating_sub(1),
        last_leaf: head.leaf,
        reason: reason
            .unwrap_or("the predecessor could not be continued")
            .to_owned(),
    })
}
