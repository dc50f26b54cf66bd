//! The configuration file `verifier-api.toml`.
//!
//! Every mistake names file, line, column and key, and says what to write instead. Relative paths
//! start from the file's folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

/// The configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The store's address: `sqlite:<path>` or `postgres://…`.
    pub store: String,
    /// Certificate chain and key; none on a loopback address behind a proxy.
    pub tls: Option<TlsFiles>,
    /// How long a signed-in page stays signed in, in hours, 1 to 24.
    pub session_hours: u32,
    /// Methodology files besides those that ship with the program.
    pub methodology_files: Vec<PathBuf>,
    /// The folder of the program's own files: the keys of project logs.
    pub data_dir: Option<PathBuf>,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and what leads from it to its root.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}; `fieldseal-verifier-api init` writes an example")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{file}:{line}:{column}: {key}{problem}")]
    Wrong {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The key with a colon and a space, or nothing.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Certificate or key cannot be used.
    #[error("TLS file {path}: {why}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    listen: Spanned<String>,
    store: Spanned<String>,
    tls: Option<RawTls>,
    session_hours: Option<Spanned<i64>>,
    #[serde(default)]
    methodology_files: Vec<PathBuf>,
    data_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    cert_file: PathBuf,
    key_file: PathBuf,
}

/// The example that `init` writes; a test parses it.
pub const EXAMPLE: &str = include_str!("../verifier-api.example.toml");

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut config = Self::parse(&path.display().to_string(), &text)?;
        config.resolve(path.parent().unwrap_or_else(|| Path::new("")));
        Ok(config)
    }

    /// Checks a text; `file` names it in messages.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`].
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|error| syntax(file, text, &error))?;
        let wrong = |at: std::ops::Range<usize>, key: &str, problem: String| {
            place(file, text, at.start, format!("`{key}`: "), problem)
        };
        let listen: SocketAddr = raw.listen.get_ref().parse().map_err(|_not_an_address| {
            let problem = format!(
                "`{}` is not an address and port; write e.g. \"0.0.0.0:8443\" or \"127.0.0.1:8443\"",
                raw.listen.get_ref()
            );
            wrong(raw.listen.span(), "listen", problem)
        })?;
        let store = raw.store.get_ref();
        if !["sqlite:", "postgres://", "postgresql://"]
            .iter()
            .any(|start| store.starts_with(start))
        {
            let problem = "must begin with `sqlite:` or `postgres://`; it is the collector's store"
                .to_owned();
            return Err(wrong(raw.store.span(), "store", problem));
        }
        let session_hours = match &raw.session_hours {
            None => 12,
            Some(hours) => match u32::try_from(*hours.get_ref()) {
                Ok(hours @ 1..=24) => hours,
                _ => {
                    let problem = format!("{} is not between 1 and 24", hours.get_ref());
                    return Err(wrong(hours.span(), "session_hours", problem));
                }
            },
        };
        if raw.tls.is_none() && !listen.ip().is_loopback() {
            let problem = format!(
                "{listen} can be reached from outside, and there is no [tls]: tokens would travel in the clear; \
                 add [tls] with cert_file and key_file, or listen on 127.0.0.1 behind a proxy"
            );
            return Err(wrong(raw.listen.span(), "listen", problem));
        }
        Ok(Self {
            listen,
            store: raw.store.into_inner(),
            tls: raw.tls.map(|tls| TlsFiles {
                cert_file: tls.cert_file,
                key_file: tls.key_file,
            }),
            session_hours,
            methodology_files: raw.methodology_files,
            data_dir: raw.data_dir,
        })
    }

    fn resolve(&mut self, folder: &Path) {
        if let Some(tls) = &mut self.tls {
            tls.cert_file = folder.join(&tls.cert_file);
            tls.key_file = folder.join(&tls.key_file);
        }
        if let Some(data_dir) = &mut self.data_dir {
            *data_dir = folder.join(&*data_dir);
        }
        for file in &mut self.methodology_files {
            *file = folder.join(&*file);
        }
        if let Some(path) = self.store.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            self.store = format!("sqlite:{}", folder.join(path).display());
        }
    }
}

fn place(file: &str, text: &str, offset: usize, key: String, problem: String) -> ConfigError {
    let before = text.get(..offset).unwrap_or(text);
    ConfigError::Wrong {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
        key,
        problem,
    }
}

/// The parser's error, with the nearest allowed word when it was one of a list.
fn syntax(file: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let mut problem = error.message().lines().collect::<Vec<_>>().join(", ");
    let quoted: Vec<&str> = error.message().split('`').skip(1).step_by(2).collect();
    if error.message().starts_with("unknown")
        && let Some((written, allowed)) = quoted.split_first()
        && let Some(near) = allowed
            .iter()
            .max_by(|a, b| {
                strsim::jaro_winkler(written, a).total_cmp(&strsim::jaro_winkler(written, b))
            })
            .filter(|near| strsim::jaro_winkler(written, near) > 0.8)
    {
        problem.push_str(&format!("; did you mean `{near}`?"));
    }
    let offset = error.span().map_or(0, |span| span.start);
    place(file, text, offset, String::new(), problem)
}

impl TlsFiles {
    /// Reads certificate and key for rustls with ring.
    ///
    /// # Errors
    /// [`ConfigError::Tls`] with the file at fault.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, ConfigError> {
        use rustls_pki_types::pem::PemObject as _;
        use rustls_pki_types::{CertificateDer, PrivateKeyDer};

        let fault = |path: &Path, why: &dyn std::fmt::Display| ConfigError::Tls {
            path: path.to_owned(),
            why: why.to_string(),
        };
        let certs = CertificateDer::pem_file_iter(&self.cert_file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault(&self.cert_file, &error))?;
        if certs.is_empty() {
            return Err(fault(&self.cert_file, &"it holds no certificate (PEM)"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(|error| fault(&self.key_file, &error))?;
        server_config(certs, key).map_err(|error| fault(&self.key_file, &error))
    }
}

/// A TLS server of rustls with ring, offering HTTP/1.1.
///
/// # Errors
/// What rustls says of certificate and key.
pub fn server_config(
    certs: Vec<rustls_pki_types::CertificateDer<'static>>,
    key: rustls_pki_types::PrivateKeyDer<'static>,
) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certs, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::{Config, EXAMPLE};

    fn said(text: &str) -> String {
        Config::parse("api.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn the_example_is_a_good_configuration() {
        let config = Config::parse("verifier-api.toml", EXAMPLE).unwrap();
        assert_eq!(config.session_hours, 12);
        assert!(config.tls.is_some());
    }

    #[test]
    fn a_mistake_names_file_line_key_and_remedy() {
        let unknown = said("listen = \"127.0.0.1:1\"\nstroe = \"sqlite:x\"\n");
        assert!(unknown.starts_with("api.toml:2:1: "), "{unknown}");
        assert!(unknown.contains("did you mean `store`?"), "{unknown}");
        let address = said("listen = \"8443\"\nstore = \"sqlite:x\"\n");
        assert!(
            address.starts_with("api.toml:1:10: `listen`: `8443` is not an address"),
            "{address}"
        );
        let engine = said("listen = \"127.0.0.1:1\"\nstore = \"mysql://x\"\n");
        assert!(
            engine.contains("2:9: `store`: must begin with `sqlite:`"),
            "{engine}"
        );
        let hours = said("listen = \"127.0.0.1:1\"\nstore = \"sqlite:x\"\nsession_hours = 90\n");
        assert!(
            hours.contains("3:17: `session_hours`: 90 is not between 1 and 24"),
            "{hours}"
        );
        let wrong_type = said("listen = 5\nstore = \"sqlite:x\"\n");
        assert!(wrong_type.starts_with("api.toml:1:10: "), "{wrong_type}");
    }

    #[test]
    fn an_address_reachable_from_outside_needs_tls() {
        let open = said("listen = \"0.0.0.0:8443\"\nstore = \"sqlite:x\"\n");
        assert!(open.contains("there is no [tls]"), "{open}");
        assert!(Config::parse("f", "listen = \"[::1]:8443\"\nstore = \"sqlite:x\"\n").is_ok());
    }
}
