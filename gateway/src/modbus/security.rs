//! Modbus/TCP Security: TLS around Modbus TCP.
//!
//! As the specification asks (MBTCP Security, 2018): TLS 1.2 or newer, both sides show a
//! certificate, port 802. The device's certificate must come from the line's `ca_file` and carry the
//! line's `host`. Not checked: the role that the specification puts into *our* certificate (OID
//! 1.3.6.1.4.1.50316.802.1), which is for the device to judge, and revocation lists. A machine
//! without a clock cannot judge the dates of a certificate: until the clock is set such a line stays
//! unconnected.
//!
//! The files are read at every connect, so a renewed certificate needs no restart.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::TlsFiles;

/// Makes a connection secure.
///
/// # Errors
/// A file that cannot be used, by name; or what the other side's certificate lacks.
pub(super) async fn secure(
    stream: TcpStream,
    host: &str,
    files: &TlsFiles,
) -> io::Result<TlsStream<TcpStream>> {
    let config = Arc::new(client_config(files)?);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::other(format!("`{host}` is no name for TLS: {error}")))?;
    TlsConnector::from(config).connect(name, stream).await
}

fn client_config(files: &TlsFiles) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", &files.ca_file)? {
        roots
            .add(certificate)
            .map_err(|error| unusable("ca_file", &files.ca_file, &error))?;
    }
    let chain = certificates("cert_file", &files.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| unusable("key_file", &files.key_file, &error))?;
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable("cert_file", &files.cert_file, &error))
}

fn certificates(key: &str, path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(key, path, &error))?;
    if found.is_empty() {
        return Err(unusable(key, path, &"no PEM certificate in the file"));
    }
    Ok(found)
}

fn unusable(key: &str, path: &Path, problem: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!(
        "{key} `{}` is not usable: {problem}",
        path.display()
    ))
}
