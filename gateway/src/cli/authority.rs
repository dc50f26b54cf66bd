//! `approval-request`, `approve`, `revoke-key`: what travels between this log and an authority's desk.

use std::path::{Path, PathBuf};

use clap::Args;
use evidence::control::{Control, kind};
use evidence::entry::{Body, Entry};
use evidence::hash::leaf_hash;
use evidence::statement::{Controls, Revocation, Signed, Statement};

use super::surroundings::{around, clock, software};
use super::{Failure, json};
use crate::buffer::LogReader;
use crate::clock::utc_text;
use crate::config::GatewayConfig;
use crate::durable::{self, Access};
use crate::recorder::Settings;
use crate::requests::{self, PATIENCE, Sealed};

/// What `approval-request` takes.
#[derive(Debug, Args)]
pub struct ApprovalRequestArgs {
    /// Where to write the control entries; it must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What `approve` and `revoke-key` take.
#[derive(Debug, Args)]
pub struct StatementArgs {
    /// The file that `fieldseal-verify approve sign` or `fieldseal-verify revoke` wrote.
    file: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn request(
    config: &GatewayConfig,
    args: &ApprovalRequestArgs,
) -> Result<String, Failure> {
    let mut reader = LogReader::of_dir(&config.data_dir.join("log")).await?;
    let (first, end) = reader.bounds();
    if first > 0 {
        return Err(Failure::new(format!(
            "the first {first} entries are no longer on this device, and an approver needs the control \
             entries from the first one on; the collector's operator has them: \
             fieldseal-collector controls --log {} --out FILE",
            config.origin.as_str()
        )));
    }
    let mut entries = Vec::new();
    let mut configurations = Vec::new();
    let mut index = first;
    while index < end {
        for row in reader.rows(index, end, 1_000, 8 << 20).await? {
            index = row.index + 1;
            let signed = Entry::parse(&row.entry).map_err(|rejection| {
                Failure::new(format!("entry {} does not verify: {rejection}", row.index))
            })?;
            let Body::Control { kind: found, .. } = signed.entry.body else {
                continue;
            };
            if found == kind::CONFIG {
                configurations.push(row.index.to_string());
            }
            let body = signed.entry.payload_ref().and(row.payload);
            entries.push((row.entry, body));
        }
    }
    let controls = Controls {
        origin: config.origin.clone(),
        entries,
    };
    durable::create_file(&args.out, &controls.encode(), Access::All)?;
    Ok(format!(
        "{} control entries are in {}. Configurations: {}.\n\
         The authority reads and signs it at its own desk:\n    \
         fieldseal-verify approve show {}\n",
        controls.entries.len(),
        args.out.display(),
        configurations.join(", "),
        args.out.display()
    ))
}

pub(super) async fn approve(
    config: &GatewayConfig,
    args: &StatementArgs,
) -> Result<String, Failure> {
    let signed = read(config, &args.file)?;
    let Statement::Approval(approval) = &signed.statement else {
        return Err(other_command(&args.file, "a revocation", "revoke-key"));
    };
    let index = approval.index;
    let mut reader = LogReader::of_dir(&config.data_dir.join("log")).await?;
    // Entries older than what this device keeps cannot be compared here; a verifier compares them.
    let (first, end) = reader.bounds();
    if (first..end).contains(&index)
        && let Some(row) = reader.row(index).await?
    {
        let same = leaf_hash(&row.entry) == approval.leaf;
        let configuration = Entry::parse(&row.entry).is_ok_and(
            |signed| matches!(signed.entry.body, Body::Control { kind: found, .. } if found == kind::CONFIG),
        );
        if !same || !configuration {
            return Err(Failure::new(format!(
                "`{}` approves another entry {index} than this log has; write a new approval-request and \
                 have that one signed",
                args.file.display()
            )));
        }
    }
    let by = hex::encode(signed.key.bytes());
    let words = format!("the approval of entry {index} by {by}");
    let sealed = seal(config, &Control::from(signed), &words).await?;
    told(args, &words, sealed, "")
}

pub(super) async fn revoke(
    config: &GatewayConfig,
    args: &StatementArgs,
) -> Result<String, Failure> {
    let signed = read(config, &args.file)?;
    let Statement::Revocation(Revocation {
        key_id, since_s, ..
    }) = &signed.statement
    else {
        return Err(other_command(&args.file, "an approval", "approve"));
    };
    let words = format!(
        "the revocation of entry key {} since {} by {}",
        hex::encode(key_id),
        utc_text(since_s.saturating_mul(1_000)),
        hex::encode(signed.key.bytes())
    );
    let sealed = seal(config, &Control::from(signed), &words).await?;
    let then = "What no witness had seen before that moment is void from here on. If that key was in force \
                then, this log proves nothing any more: begin a new one with another origin and data_dir, \
                `fieldseal-gateway init --after` with this data_dir.\n";
    told(args, &words, sealed, then)
}

fn other_command(file: &Path, what: &str, command: &str) -> Failure {
    Failure::usage(format!(
        "`{}` holds {what}; seal it with `fieldseal-gateway {command}`",
        file.display()
    ))
}

/// A statement about this log whose signature is good. Whose it is is the verifier's question.
fn read(config: &GatewayConfig, file: &Path) -> Result<Signed, Failure> {
    let bytes = durable::read_file(file)?
        .ok_or_else(|| Failure::usage(format!("there is no file `{}`", file.display())))?;
    let signed = Signed::parse(&bytes)
        .map_err(|error| Failure::usage(format!("`{}`: {error}", file.display())))?;
    let origin = signed.statement.origin();
    if *origin != config.origin {
        return Err(Failure::usage(format!(
            "`{}` is about log `{origin}`, this is `{}`",
            file.display(),
            config.origin.as_str()
        )));
    }
    Ok(signed)
}

async fn seal(config: &GatewayConfig, control: &Control, words: &str) -> Result<Sealed, Failure> {
    let settings = Settings::of(config, software());
    let around = around(clock(config).await);
    Ok(requests::seal(control, words, &settings, &around, &mut (), PATIENCE).await?)
}

fn told(args: &StatementArgs, words: &str, at: Sealed, then: &str) -> Result<String, Failure> {
    if args.json {
        return json(&at);
    }
    Ok(format!(
        "Sealed {words} as entry {} at {}.\n{then}",
        at.index,
        utc_text(at.unix_ms)
    ))
}
