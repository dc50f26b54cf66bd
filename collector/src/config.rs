//! The configuration: one TOML file, every key named with its unit, unknown keys refused.

mod problem;
mod witness;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

pub use problem::ConfigError;
use problem::{Problems, Text};
pub use witness::{TimestampConfig, WitnessConfig};

use crate::tls::TlsFiles;

/// The file as written; [`Config`] is what it means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    listen: Spanned<String>,
    cosigner_key_file: PathBuf,
    store: RawStore,
    tls: RawTls,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    witness: Vec<witness::RawWitness>,
    timestamp: Option<witness::RawTimestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    url: Option<Spanned<String>>,
    url_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    certificate_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    upload_mb: Option<Spanned<u64>>,
    uploads_at_once: Option<Spanned<u64>>,
    uploads_per_minute: Option<Spanned<u64>>,
    body_timeout_s: Option<Spanned<u64>>,
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens, TLS only.
    pub listen: SocketAddr,
    /// The cosigner's key.
    pub cosigner_key_file: PathBuf,
    /// Where the store is.
    pub store: StoreAddress,
    /// Certificate and key.
    pub tls: TlsFiles,
    /// What one sender may use.
    pub limits: Limits,
    /// The independent witnesses.
    pub witnesses: Vec<WitnessConfig>,
    /// The timestamp authority.
    pub timestamp: Option<TimestampConfig>,
}

/// The store's address, or the file that holds it because it has a password in it.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// `sqlite:PATH` or `postgres://…`; a relative path counts from the configuration file.
    Url(String),
    /// A file with the address in its first line.
    File(PathBuf),
}

/// What one sender may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest upload, in bytes. Default 16 MiB.
    pub upload_bytes: usize,
    /// Uploads checked at the same moment, from all logs: bounds memory. Default 16.
    pub uploads_at_once: usize,
    /// Uploads and live posts of one log per minute, on average. Default 600.
    pub uploads_per_minute: u32,
    /// How long a body may take to arrive. Default 60 s.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 16 << 20,
            uploads_at_once: 16,
            uploads_per_minute: 600,
            body_timeout: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// Reads and checks a configuration file. Opens nothing that it names.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with every mistake: file, line, key, what is allowed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Checks a configuration text; relative paths count from the directory of `path`.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let text = Text { path, text };
        let raw: RawConfig = toml::from_str(text.text).map_err(|error| text.syntax(&error))?;
        let mut problems = Problems::new(text);
        let directory = path.parent().unwrap_or(Path::new(""));
        let defaults = Limits::default();

        let listen = raw.listen.get_ref().parse().ok();
        if listen.is_none() {
            let (span, found) = (raw.listen.span(), raw.listen.get_ref());
            problems.add(
                span,
                "listen",
                format!("`{found}` is no address with a port, such as \"[::]:7443\""),
            );
        }
        let store = match (&raw.store.url, &raw.store.url_file) {
            (Some(url), None) => Some(StoreAddress::Url(from_directory(url.get_ref(), directory))),
            (None, Some(file)) => Some(StoreAddress::File(directory.join(file.get_ref()))),
            (Some(_), Some(file)) => {
                problems.add(
                    file.span(),
                    "store.url_file",
                    "give `url` or `url_file`, not both".to_owned(),
                );
                None
            }
            (None, None) => {
                problems.add_at_table(
                    "store",
                    "give `url` (\"sqlite:central.db\" or \"postgres://…\") or `url_file`",
                );
                None
            }
        };
        if let Some(url) = &raw.store.url {
            let known = ["sqlite:", "postgres://", "postgresql://"];
            if !known.iter().any(|prefix| url.get_ref().starts_with(prefix)) {
                let why = "must begin with `sqlite:` or `postgres://`".to_owned();
                problems.add(url.span(), "store.url", why);
            }
        }
        let RawLimits {
            upload_mb,
            uploads_at_once,
            uploads_per_minute,
            body_timeout_s,
        } = &raw.limits;
        let mut limit = |key,
                         value: &Option<Spanned<u64>>,
                         range: std::ops::RangeInclusive<u64>,
                         default: u64| {
            let Some(value) = value else { return default };
            if !range.contains(value.get_ref()) {
                let (from, to) = range.into_inner();
                problems.add(
                    value.span(),
                    key,
                    format!("must be {from} to {to}, not {}", value.get_ref()),
                );
            }
            *value.get_ref()
        };
        let megabytes = limit("limits.upload_mb", upload_mb, 1..=256, 16);
        let at_once = limit("limits.uploads_at_once", uploads_at_once, 1..=1024, 16);
        let per_minute = limit(
            "limits.uploads_per_minute",
            uploads_per_minute,
            1..=60_000,
            600,
        );
        let timeout_s = limit("limits.body_timeout_s", body_timeout_s, 1..=3600, 60);
        let witnesses = witness::witnesses(&raw.witness, directory, &mut problems);
        let timestamp = raw.timestamp.as_ref();
        let timestamp = timestamp.and_then(|raw| witness::timestamp(raw, directory, &mut problems));
        problems.none_or_error()?;
        let (Some(listen), Some(store)) = (listen, store) else {
            // Both are absent only with a problem above.
            return problems
                .none_or_error()
                .and(Err(ConfigError::Mistakes(Vec::new())));
        };
        Ok(Self {
            listen,
            cosigner_key_file: directory.join(raw.cosigner_key_file),
            store,
            tls: TlsFiles {
                certificate: directory.join(raw.tls.certificate_file),
                key: directory.join(raw.tls.key_file),
            },
            limits: Limits {
                upload_bytes: usize::try_from(megabytes << 20).unwrap_or(defaults.upload_bytes),
                uploads_at_once: usize::try_from(at_once).unwrap_or(defaults.uploads_at_once),
                uploads_per_minute: u32::try_from(per_minute)
                    .unwrap_or(defaults.uploads_per_minute),
                body_timeout: Duration::from_secs(timeout_s),
            },
            witnesses,
            timestamp,
        })
    }
}

/// A relative SQLite path counts from the configuration file, like every other path in it.
fn from_directory(url: &str, directory: &Path) -> String {
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.starts_with("//") => {
            format!("sqlite:{}", directory.join(path).display())
        }
        _ => url.to_owned(),
    }
}

impl StoreAddress {
    /// The address itself.
    ///
    /// # Errors
    ///
    /// [`ConfigError::File`] if the file that holds it cannot be read.
    pub fn url(&self) -> Result<String, ConfigError> {
        match self {
            Self::Url(url) => Ok(url.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
                    path: path.clone(),
                    source,
                })?;
                Ok(text.lines().next().unwrap_or("").trim().to_owned())
            }
        }
    }
}

impl std::fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // The address may hold a password.
            Self::Url(url) => {
                let scheme = url.split(':').next().unwrap_or("");
                write!(f, "Url({scheme}:…)")
            }
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}
