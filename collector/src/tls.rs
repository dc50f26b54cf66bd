//! The server's certificate: one given by files, or a self-signed one that is renewed by itself.
//!
//! Gateways pin the public key (SHA-256 of its `SubjectPublicKeyInfo`), not the certificate: a
//! device whose clock stands in 1970 still knows whom it talks to, and a renewed certificate keeps
//! the key. A self-signed certificate therefore lives 90 days and is renewed 30 days before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::durable;

/// Life of a self-signed certificate.
const LIFE_DAYS: i64 = 90;
/// It is renewed when less than this is left.
const RENEW_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;
/// Stands before a certificate that this program made and may replace. PEM readers skip it.
const MARK: &str = "Made by fieldseal-collector, renewed by it; names ";
const UNTIL: &str = "; not after unix second ";

/// Why the certificate cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("TLS file `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("TLS file `{path}` holds no {expected} in PEM form: {why}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What the reader says.
        why: String,
    },
    /// The key is not the certificate's, or the certificate cannot be served.
    #[error("certificate `{certificate}` with key `{key}`: {source}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A self-signed certificate cannot be made.
    #[error("self-signed certificate for {names:?}: {source}")]
    SelfSigned {
        /// The names that were asked for.
        names: Vec<String>,
        /// Why.
        source: rcgen::Error,
    },
}

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, PEM, leaf first.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// What serving needs of the files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the leaf's `SubjectPublicKeyInfo`, which enrolment codes carry.
    pub pin: [u8; 32],
}

impl TlsFiles {
    /// Makes a key (0600) and a self-signed certificate for these names; neither may exist.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn create(&self, names: &[String], now_ms: i64) -> Result<(), TlsError> {
        let failed = |source| TlsError::SelfSigned {
            names: names.to_vec(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = self_signed(&key, names, now_ms)?;
        write(&self.key, |path| {
            durable::create(path, key.serialize_pem().as_bytes(), 0o600)
        })?;
        write(&self.certificate, |path| {
            durable::create(path, certificate.as_bytes(), 0o644)
        })
    }

    /// Renews a certificate that this program made, if its end is near; the key stays. Returns
    /// whether it did. A certificate given by somebody else is never touched.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn renew_if_due(&self, now_ms: i64) -> Result<bool, TlsError> {
        let text = read(&self.certificate)?;
        let Some((names, until_s)) = read_mark(&text) else {
            return Ok(false);
        };
        if until_s.saturating_mul(1000) - now_ms > RENEW_DAYS * DAY_MS {
            return Ok(false);
        }
        let key = read(&self.key)?;
        let key = KeyPair::from_pem(&key).map_err(|error| TlsError::Form {
            path: self.key.clone(),
            expected: "private key",
            why: error.to_string(),
        })?;
        let certificate = self_signed(&key, &names, now_ms)?;
        write(&self.certificate, |path| {
            durable::replace(path, certificate.as_bytes(), 0o644)
        })?;
        Ok(true)
    }

    /// Reads both files.
    ///
    /// # Errors
    ///
    /// [`TlsError`], naming the file.
    pub fn load(&self) -> Result<Tls, TlsError> {
        let form = |path: &Path, expected| {
            let path = path.to_owned();
            move |why: String| TlsError::Form {
                path,
                expected,
                why,
            }
        };
        let chain = CertificateDer::pem_slice_iter(read(&self.certificate)?.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| form(&self.certificate, "certificate")(error.to_string()))?;
        let leaf = chain
            .first()
            .ok_or_else(|| form(&self.certificate, "certificate")("it is empty".to_owned()))?;
        let spki = ParsedCertificate::try_from(leaf)
            .map_err(|error| form(&self.certificate, "certificate")(error.to_string()))?
            .subject_public_key_info();
        let pin = evidence::hash::sha256(&spki).0;
        let key = PrivateKeyDer::from_pem_slice(read(&self.key)?.as_bytes())
            .map_err(|error| form(&self.key, "private key")(error.to_string()))?;
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
                .map_err(|source| TlsError::Pair {
                    certificate: self.certificate.clone(),
                    key: self.key.clone(),
                    source,
                })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls {
            config: Arc::new(config),
            pin,
        })
    }
}

fn read(path: &Path) -> Result<String, TlsError> {
    std::fs::read_to_string(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, how: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), TlsError> {
    how(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

/// The certificate's file: the mark, then the PEM.
fn self_signed(key: &KeyPair, names: &[String], now_ms: i64) -> Result<String, TlsError> {
    let failed = |source| TlsError::SelfSigned {
        names: names.to_vec(),
        source,
    };
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "fieldseal-collector");
    let until_s = now_ms / 1000 + LIFE_DAYS * 86_400;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |unix_s: i64| epoch + Duration::from_secs(u64::try_from(unix_s).unwrap_or(0));
    // An hour back, for peers whose clocks are behind.
    params.not_before = at(now_ms / 1000 - 3600);
    params.not_after = at(until_s);
    let certificate = params.self_signed(key).map_err(failed)?;
    Ok(format!(
        "{MARK}{}{UNTIL}{until_s}\n{}",
        names.join(" "),
        certificate.pem()
    ))
}

fn read_mark(text: &str) -> Option<(Vec<String>, i64)> {
    let line = text.lines().next()?.strip_prefix(MARK)?;
    let (names, until) = line.split_once(UNTIL)?;
    Some((
        names.split(' ').map(str::to_owned).collect(),
        until.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, TlsFiles};

    fn files(directory: &tempfile::TempDir) -> TlsFiles {
        TlsFiles {
            certificate: directory.path().join("tls.crt"),
            key: directory.path().join("tls.key"),
        }
    }

    #[test]
    fn a_renewed_certificate_keeps_the_key_and_so_the_pin() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        let now = 1_767_225_600_000;
        files
            .create(&["localhost".to_owned(), "127.0.0.1".to_owned()], now)
            .unwrap();
        let first = files.load().unwrap().pin;
        assert!(!files.renew_if_due(now + 59 * DAY_MS).unwrap());
        let before = std::fs::read(&files.certificate).unwrap();
        assert!(files.renew_if_due(now + 61 * DAY_MS).unwrap());
        assert_ne!(std::fs::read(&files.certificate).unwrap(), before);
        assert_eq!(files.load().unwrap().pin, first);
        assert!(!files.renew_if_due(now + 61 * DAY_MS).unwrap());
    }

    #[test]
    fn a_given_certificate_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        files.create(&["localhost".to_owned()], 0).unwrap();
        let text = std::fs::read_to_string(&files.certificate).unwrap();
        let (_mark, pem) = text.split_once('\n').unwrap();
        crate::durable::replace(&files.certificate, pem.as_bytes(), 0o644).unwrap();
        assert!(!files.renew_if_due(i64::MAX / 2).unwrap());
        files.load().unwrap();
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_with_both_files_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(&directory);
        files.create(&["localhost".to_owned()], 0).unwrap();
        let other = TlsFiles {
            certificate: directory.path().join("other.crt"),
            key: directory.path().join("other.key"),
        };
        other.create(&["localhost".to_owned()], 0).unwrap();
        let mixed = TlsFiles {
            certificate: files.certificate,
            key: other.key,
        };
        let error = mixed.load().unwrap_err().to_string();
        assert!(
            error.contains("tls.crt") && error.contains("other.key"),
            "{error}"
        );
    }
}
