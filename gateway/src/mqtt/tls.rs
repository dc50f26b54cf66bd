//! TLS towards a broker: rustls with ring, trust from a file or from the public web's roots.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::MqttError;
use crate::config::MqttTls;

/// Builds the client's side of TLS for a broker.
pub(super) fn client_config(
    broker: &str,
    settings: &MqttTls,
) -> Result<Arc<ClientConfig>, MqttError> {
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in certificates(broker, "ca_file", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| unusable(broker, "ca_file", path, &error))?;
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(broker, "tls", Path::new(""), &error))?
        .with_root_certificates(roots);
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(broker, "cert_file", cert)?;
            let pem = read(broker, "key_file", key)?;
            let secret = PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|error| unusable(broker, "key_file", key, &error))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| unusable(broker, "cert_file", cert, &error))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(
    broker: &str,
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, MqttError> {
    let pem = read(broker, key, path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(broker, key, path, &error))?;
    if found.is_empty() {
        return Err(unusable(
            broker,
            key,
            path,
            &"no PEM certificate in the file",
        ));
    }
    Ok(found)
}

fn read(broker: &str, key: &'static str, path: &Path) -> Result<Vec<u8>, MqttError> {
    let unreadable = |source| MqttError::Unreadable {
        broker: broker.to_owned(),
        key,
        path: path.to_owned(),
        source,
    };
    std::fs::read(path).map_err(unreadable)
}

fn unusable(
    broker: &str,
    key: &'static str,
    path: &Path,
    problem: &dyn std::fmt::Display,
) -> MqttError {
    MqttError::Unusable {
        broker: broker.to_owned(),
        key,
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}
