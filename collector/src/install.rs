//! `init`: keys, certificate and a first configuration in one directory.

use std::path::{Path, PathBuf};

use crate::cosigner::{Cosigner, CosignerError};
use crate::durable;
use crate::tls::{TlsError, TlsFiles};

/// What `init` is asked for.
#[derive(Clone, Debug)]
pub struct Install {
    /// Where the files go; must exist.
    pub directory: PathBuf,
    /// The cosigner's name, such as `collector.example.org/w0`.
    pub name: String,
    /// The names and addresses that gateways reach the collector by, for a self-signed certificate.
    pub hosts: Vec<String>,
    /// Certificate and key of your own, instead of a self-signed pair.
    pub tls: Option<TlsFiles>,
}

/// What `init` made.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The configuration file.
    pub config: PathBuf,
    /// The public half of the cosigner's key, in text form.
    pub vkey: String,
    /// SHA-256 of the TLS key, which enrolment codes carry.
    pub pin: [u8; 32],
}

/// Why `init` stopped. What it had made by then stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The cosigner's key.
    #[error(transparent)]
    Cosigner(#[from] CosignerError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The configuration file.
    #[error("configuration file `{path}` cannot be written")]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Install {
    /// Makes what is asked for; an existing file is never touched.
    ///
    /// # Errors
    ///
    /// [`InstallError`].
    pub fn run(&self, now_ms: i64) -> Result<Installed, InstallError> {
        let cosigner = Cosigner::create(&self.directory.join("cosigner.key"), &self.name)?;
        let tls = match &self.tls {
            Some(given) => given.clone(),
            None => {
                let files = TlsFiles {
                    certificate: self.directory.join("tls.crt"),
                    key: self.directory.join("tls.key"),
                };
                files.create(&self.hosts, now_ms)?;
                files
            }
        };
        let pin = tls.load()?.pin;
        let config = self.directory.join("collector.toml");
        durable::create(&config, self.config_text(&tls).as_bytes(), 0o644).map_err(|source| {
            InstallError::Config {
                path: config.clone(),
                source,
            }
        })?;
        Ok(Installed {
            config,
            vkey: cosigner.vkey().to_string(),
            pin,
        })
    }

    fn config_text(&self, tls: &TlsFiles) -> String {
        let name = |path: &Path| {
            path.strip_prefix(&self.directory)
                .unwrap_or(path)
                .to_owned()
        };
        let text = EXAMPLE.replace("\"tls.crt\"", &quoted(&name(&tls.certificate)));
        text.replace("\"tls.key\"", &quoted(&name(&tls.key)))
    }
}

fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

/// The first configuration; a test parses it, and every commented line of it.
pub const EXAMPLE: &str = r#"# fieldseal-collector. Paths count from this file's directory.
# `fieldseal-collector check collector.toml` says what it means.

listen = "[::]:7443"
cosigner_key_file = "cosigner.key"

[store]
url = "sqlite:central.db"
# A PostgreSQL address with a password stands in a file of its own:
#url_file = "store.url"

[tls]
certificate_file = "tls.crt"
key_file = "tls.key"

[limits]
# The largest upload of a gateway.
#upload_mb = 16
# Uploads checked at the same moment, from all gateways.
#uploads_at_once = 16
# Uploads and live posts of one gateway, on average.
#uploads_per_minute = 600
# How long an upload may take to arrive.
#body_timeout_s = 60

# An independent witness, run by somebody else (`fieldseal-verify witness`). Its operator gives
# key and address; he needs the key line of each log from its commissioning record. Repeat the
# table for each one. `fieldseal-collector status` shows how it stands.
#[[witness]]
#name = "W1"
#key = "witness.example.org/w1+6d7ef907+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU"
#url = "https://witness.example.org"
# How often each log is shown to it.
#interval_s = 3600
# Certificates to trust for its address, instead of the public authorities.
#ca_file = "witness-ca.pem"

# A timestamp authority (RFC 3161) that stamps the newest note of each log: a second proof of time,
# beside the witnesses and never in their place.
#[timestamp]
#url = "https://timestamp.example.org/tsr"
#interval_h = 24
# The authority's root certificates; verifiers need the same file.
#roots_file = "timestamp-roots.pem"
"#;
