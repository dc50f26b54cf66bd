//! `approve` and `revoke`: what an authority signs at its own desk, with a key kept there.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use evidence::checkpoint::log_vkey;
use evidence::control::{Control, approval_message};
use evidence::entry::ClockStatus;
use evidence::hash::Origin;
use evidence::key::{SigningKey, VerifyingKey};
use evidence::measurement::{MeasurementConfig, Source};
use evidence::note::{SignatureKind, Vkey};
use evidence::statement::{Approval, CheckedControl, Controls, Revocation, Signed, Statement};
use evidence::verification::changes;
use ring::rand::SystemRandom;

use crate::args::{ApproveCommand, RevokeArgs, SignArgs};

/// The first line of a private key's file.
const KEY_FILE: &str = "fieldseal/authority-key/v1";

/// Carries out `approve` and returns what it prints.
///
/// # Errors
/// A file that cannot be read or written, an entry that is not there, a key of another log.
pub fn approve(command: &ApproveCommand) -> anyhow::Result<String> {
    match command {
        ApproveCommand::Keygen { key } => keygen(key),
        ApproveCommand::Show { controls } => {
            let (origin, found) = read_controls(controls)?;
            Ok(show(&origin, &found))
        }
        ApproveCommand::Sign(args) => sign(args),
    }
}

/// Carries out `revoke` and returns what it prints.
///
/// # Errors
/// An argument that is malformed, or a file that cannot be read or written.
pub fn revoke(args: &RevokeArgs) -> anyhow::Result<String> {
    let origin = Origin::parse(&args.log).with_context(|| format!("--log {}", args.log))?;
    let key_id = hex::decode(&args.key_id)
        .ok()
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
        .with_context(|| format!("--key-id {}: not 16 hexadecimal digits", args.key_id))?;
    let since: jiff::Timestamp = args.since.parse().with_context(|| {
        format!(
            "--since {}: not a time such as 2026-03-03T08:00:00Z",
            args.since
        )
    })?;
    let since_s = u64::try_from(since.as_second())
        .with_context(|| format!("--since {}: before 1970", args.since))?;
    let key = read_key(&args.key)?;
    let revocation = Revocation {
        origin,
        key_id,
        since_s,
        reason: args.reason.clone(),
    };
    let signed = Signed::sign(Statement::Revocation(revocation), &key).context("--reason")?;
    write_new(&args.out, &signed.to_bytes(), 0o644)?;
    Ok(format!(
        "{}\nsigned by {}\nwritten to {}\n\n\
         Give it to the collector's operator (fieldseal-collector revoke), to the gateway\n\
         (fieldseal-gateway revoke-key), and to everybody who verifies this log (--revocation).\n",
        signed.statement.message().trim_end(),
        hex::encode(key.public().bytes()),
        args.out.display()
    ))
}

fn keygen(path: &Path) -> anyhow::Result<String> {
    let (key, seed) = SigningKey::generate(&SystemRandom::new())?;
    let text = format!("{KEY_FILE}\n{}\n", hex::encode(seed));
    write_new(path, text.as_bytes(), 0o600)?;
    Ok(format!(
        "private key  {} (keep it offline; whoever has it approves in your name)\n\
         public key   {}\n\n\
         Write the public key into the registered plan's text or hand it over in person:\n\
         who verifies gives it with --approver.\n",
        path.display(),
        hex::encode(key.public().bytes())
    ))
}

/// The private key of a file that [`keygen`] wrote.
fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the key {}", path.display()))?;
    let wrong = || {
        format!(
            "{}: not a key of this version; its first line must be `{KEY_FILE}`, its second 64 \
             hexadecimal digits. `fieldseal-verify approve keygen` makes one",
            path.display()
        )
    };
    let lines: Vec<&str> = text.lines().collect();
    let [KEY_FILE, seed] = lines.as_slice() else {
        anyhow::bail!(wrong());
    };
    let seed = hex::decode(seed).with_context(wrong)?;
    let seed = <[u8; 32]>::try_from(seed).map_err(|_length| anyhow::anyhow!(wrong()))?;
    Ok(SigningKey::from_seed(seed))
}

/// Writes a file that must not exist, so that no key and no statement is ever overwritten.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

fn read_controls(path: &Path) -> anyhow::Result<(Origin, Vec<CheckedControl>)> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read the control entries {}", path.display()))?;
    let read = || -> Result<_, evidence::statement::ControlsError> {
        let controls = Controls::parse(&bytes)?;
        let found = controls.check()?;
        Ok((controls.origin, found))
    };
    let (origin, found) = read().with_context(|| format!("{}", path.display()))?;
    anyhow::ensure!(
        !found.is_empty(),
        "{}: it holds no entry; write it again with `fieldseal-gateway approval-request`",
        path.display()
    );
    Ok((origin, found))
}

/// The log's key as its first entry states it.
fn vkey_of(origin: &Origin, controls: &[CheckedControl]) -> Option<Vkey> {
    controls.iter().find_map(|found| match &found.control {
        Control::Genesis(genesis) => Some(log_vkey(origin, &genesis.log_key)),
        _ => None,
    })
}

fn head(origin: &Origin, controls: &[CheckedControl]) -> String {
    let vkey = vkey_of(origin, controls).map_or_else(String::new, |vkey| vkey.to_string());
    let last = controls.last().map_or(0, |last| last.index);
    format!(
        "log        {origin}\nkey        {vkey}\n           compare it with the commissioning record\n\
         entries    {} control entries up to #{last}, an unbroken chain from the first one\n",
        controls.len()
    )
}

fn show(origin: &Origin, controls: &[CheckedControl]) -> String {
    let mut out = head(origin, controls);
    let mut before: Option<&MeasurementConfig> = None;
    for found in controls {
        match &found.control {
            Control::Config(config) => {
                describe(&mut out, origin, found, before, config, controls);
                before = Some(config);
            }
            Control::KeyAdd(key) => line(
                &mut out,
                &format!(
                    "\n#{} {}  next entry key {}\n",
                    found.index,
                    when(found),
                    hex::encode(key.key_id())
                ),
            ),
            _ => {}
        }
    }
    out
}

/// One configuration: when, by whom approved, and what it changes; the first one in full.
fn describe(
    out: &mut String,
    origin: &Origin,
    found: &CheckedControl,
    before: Option<&MeasurementConfig>,
    config: &MeasurementConfig,
    controls: &[CheckedControl],
) {
    let approvers = approved_by(origin, found, controls);
    let approved = if approvers.is_empty() {
        "not approved in this file".to_owned()
    } else {
        format!("approved by {}", approvers.join(", "))
    };
    line(
        out,
        &format!(
            "\n#{} {}  configuration, {approved}\n",
            found.index,
            when(found)
        ),
    );
    match before {
        None => full(out, config),
        Some(before) => {
            let said = changes(before, config);
            if said.is_empty() {
                line(out, "     changes nothing in how words become values\n");
            }
            for change in said {
                line(out, &format!("     {change}\n"));
            }
        }
    }
}

fn line(out: &mut String, text: &str) {
    out.write_str(text).expect("a String takes every write");
}

fn when(found: &CheckedControl) -> String {
    if found.clock.status == ClockStatus::Unset {
        return "(clock unset)".to_owned();
    }
    quantification::period::utc(i64::try_from(found.clock.unix_ms).unwrap_or(i64::MAX))
}

/// Every point of a configuration, one line each.
fn full(out: &mut String, config: &MeasurementConfig) {
    for point in &config.points {
        let device = config
            .devices
            .get(usize::from(point.device))
            .map_or("?", |device| device.name.as_str());
        let source = match &point.source {
            Source::Modbus { table, address, .. } => format!("{} {address}", table.name()),
            Source::Message { topic, pointer } => format!(
                "topic {topic}{}",
                pointer
                    .as_deref()
                    .map_or_else(String::new, |at| format!(" {at}"))
            ),
        };
        line(
            out,
            &format!(
                "     {} = {device}, {source}, {} {}, × {} + {} {}\n",
                point.name,
                point.format.kind.name(),
                point.format.order.name(),
                point.scale,
                point.offset,
                point.unit
            ),
        );
    }
}

/// The keys with a good approval of an entry in the same file.
fn approved_by(origin: &Origin, of: &CheckedControl, controls: &[CheckedControl]) -> Vec<String> {
    controls
        .iter()
        .filter_map(|found| match &found.control {
            Control::Approval {
                index,
                leaf,
                key,
                signature,
            } if *index == of.index
                && *leaf == of.leaf
                && key
                    .verify(&approval_message(origin, *index, leaf), signature)
                    .is_ok() =>
            {
                Some(hex::encode(key.bytes()))
            }
            _ => None,
        })
        .collect()
}

fn sign(args: &SignArgs) -> anyhow::Result<String> {
    let (origin, controls) = read_controls(&args.controls)?;
    if let Some(text) = &args.anchor {
        let anchor = Vkey::parse(text).with_context(|| format!("--anchor {text}"))?;
        let found = vkey_of(&origin, &controls);
        anyhow::ensure!(
            found.as_ref() == Some(&anchor),
            "--anchor {text}: the file is of {}; find out which is right before you sign",
            found.map_or_else(|| "another log".to_owned(), |vkey| vkey.to_string())
        );
    }
    let at = controls
        .iter()
        .position(|found| found.index == args.entry)
        .with_context(|| {
            format!(
                "--entry {}: no control entry of the file has this index; `approve show` lists them",
                args.entry
            )
        })?;
    let (earlier, rest) = controls.split_at(at);
    let Some(found) = rest.first() else {
        anyhow::bail!("--entry {}: not in the file", args.entry);
    };
    let Control::Config(config) = &found.control else {
        anyhow::bail!(
            "--entry {}: it is no configuration; only those are approved",
            args.entry
        );
    };
    let before = earlier.iter().rev().find_map(|found| match &found.control {
        Control::Config(config) => Some(&**config),
        _ => None,
    });
    let mut out = head(&origin, &controls);
    describe(&mut out, &origin, found, before, config, &controls);
    let key = read_key(&args.key)?;
    let approval = Approval {
        origin,
        index: found.index,
        leaf: found.leaf,
    };
    let signed = Signed::sign(Statement::Approval(approval), &key)?;
    write_new(&args.out, &signed.to_bytes(), 0o644)?;
    line(
        &mut out,
        &format!(
            "\nApproved with {} and written to {}.\n\
             Carry it to the gateway: fieldseal-gateway approve {}\n",
            hex::encode(key.public().bytes()),
            args.out.display(),
            args.out.display()
        ),
    );
    Ok(out)
}

/// An authority's public key as the command line takes it: 64 hex digits, or a verifier key.
///
/// # Errors
/// Another length, a key of small order, a witness's key.
pub(crate) fn authority(text: &str) -> anyhow::Result<VerifyingKey> {
    if text.contains('+') {
        let vkey = Vkey::parse(text).with_context(|| format!("--approver {text}"))?;
        anyhow::ensure!(
            vkey.kind() == SignatureKind::Ed25519,
            "--approver {text}: this is a witness's key (type 04); an authority's is of type 01"
        );
        return Ok(*vkey.key());
    }
    let bytes = hex::decode(text).with_context(|| format!("--approver {text}: not hexadecimal"))?;
    VerifyingKey::from_slice(&bytes).with_context(|| format!("--approver {text}"))
}

/// A revocation from the verifier's own disk, signed by an authority he named.
///
/// # Errors
/// A file that is none, or whose signer was not named.
pub(crate) fn revocation(
    path: &Path,
    approvers: &[VerifyingKey],
) -> anyhow::Result<(Revocation, VerifyingKey)> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read the revocation {}", path.display()))?;
    let signed =
        Signed::parse(&bytes).with_context(|| format!("--revocation {}", path.display()))?;
    let Statement::Revocation(revocation) = signed.statement else {
        anyhow::bail!(
            "--revocation {}: it is an approval; approvals are sealed in the log",
            path.display()
        );
    };
    anyhow::ensure!(
        approvers.contains(&signed.key),
        "--revocation {}: signed by {}, which you did not name; if it is an authority of this \
         project, give it with --approver",
        path.display(),
        hex::encode(signed.key.bytes())
    );
    Ok((revocation, signed.key))
}
