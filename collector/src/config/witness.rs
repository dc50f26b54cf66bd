//! `[[witness]]` and `[timestamp]`: to whom the logs' checkpoints are shown.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::note::{SignatureKind, Vkey};
use serde::Deserialize;
use toml::Spanned;

use super::problem::Problems;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWitness {
    name: Spanned<String>,
    key: Spanned<String>,
    url: Spanned<String>,
    interval_s: Option<Spanned<u64>>,
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTimestamp {
    url: Spanned<String>,
    interval_h: Option<Spanned<u64>>,
    roots_file: PathBuf,
    ca_file: Option<PathBuf>,
}

/// A timestamp authority (RFC 3161).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampConfig {
    /// Where requests are posted.
    pub url: String,
    /// How often each log's newest trail note is stamped. Default 24 h.
    pub interval: Duration,
    /// Certificates that the authority's own must lead to; an answer that does not is not kept.
    pub roots_file: PathBuf,
    /// Certificates to trust for its address instead of the public authorities.
    pub ca_file: Option<PathBuf>,
}

/// Checks the timestamp authority, adding what is wrong.
pub(super) fn timestamp(
    raw: &RawTimestamp,
    directory: &Path,
    problems: &mut Problems<'_>,
) -> Option<TimestampConfig> {
    let interval_h = raw.interval_h.as_ref().map_or(24, |raw| *raw.get_ref());
    if let Some(raw) = &raw.interval_h
        && !(1..=720).contains(&interval_h)
    {
        let why = format!("must be 1 to 720, not {interval_h}");
        problems.add(raw.span(), "timestamp.interval_h", why);
    }
    address(&raw.url, "timestamp.url", problems)?;
    Some(TimestampConfig {
        // As it is written: for some authorities a slash at the end is part of it.
        url: raw.url.get_ref().clone(),
        interval: Duration::from_secs(interval_h.saturating_mul(3600)),
        roots_file: directory.join(&raw.roots_file),
        ca_file: raw.ca_file.as_ref().map(|file| directory.join(file)),
    })
}

/// An independent witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessConfig {
    /// The name that messages use.
    pub name: String,
    /// Its verifier key, kind 04.
    pub key: Vkey,
    /// Its submission prefix, without a slash at the end.
    pub url: String,
    /// How often each log is shown to it. Default 3600 s.
    pub interval: Duration,
    /// Certificates to trust instead of the public authorities.
    pub ca_file: Option<PathBuf>,
}

/// Checks the witnesses, adding what is wrong.
pub(super) fn witnesses(
    raw: &[RawWitness],
    directory: &Path,
    problems: &mut Problems<'_>,
) -> Vec<WitnessConfig> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let mut checked = Vec::with_capacity(raw.len());
    for raw in raw {
        let name = raw.name.get_ref();
        let plain = |c: char| c.is_ascii_graphic();
        if name.is_empty() || !name.chars().all(plain) || !names.insert(name.clone()) {
            let why = "must be a word of its own, such as \"W1\"; no two witnesses share one";
            problems.add(raw.name.span(), "witness.name", why.to_owned());
        }
        let key = match Vkey::parse(raw.key.get_ref()) {
            Ok(key) if key.kind() != SignatureKind::Cosignature => {
                let why = "this is a log's key (type 01); a witness's is of type 04, as its `witness init` printed it";
                problems.add(raw.key.span(), "witness.key", why.to_owned());
                None
            }
            Ok(key) if !keys.insert(key.to_string()) => {
                let why = "two witnesses have this key; remove one".to_owned();
                problems.add(raw.key.span(), "witness.key", why);
                None
            }
            Ok(key) => Some(key),
            Err(error) => {
                problems.add(raw.key.span(), "witness.key", error.to_string());
                None
            }
        };
        let url = address(&raw.url, "witness.url", problems);
        let interval_s = raw.interval_s.as_ref().map_or(3600, |raw| *raw.get_ref());
        if let Some(raw) = &raw.interval_s
            && !(1..=86_400).contains(&interval_s)
        {
            let why = format!("must be 1 to 86400, not {interval_s}");
            problems.add(raw.span(), "witness.interval_s", why);
        }
        if let (Some(key), Some(url)) = (key, url) {
            checked.push(WitnessConfig {
                name: name.clone(),
                key,
                url,
                interval: Duration::from_secs(interval_s),
                ca_file: raw.ca_file.as_ref().map(|file| directory.join(file)),
            });
        }
    }
    checked
}

/// An address without the slash at its end.
fn address(raw: &Spanned<String>, key: &str, problems: &mut Problems<'_>) -> Option<String> {
    let url = raw.get_ref();
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let good =
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic()));
    if !good {
        let why = format!("`{url}` is no address such as \"https://witness.example.org\"");
        problems.add(raw.span(), key, why);
        return None;
    }
    Some(url.trim_end_matches('/').to_owned())
}
