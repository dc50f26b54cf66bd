//! Whom the gateway talks to: the collector whose public key was pinned at enrolment.
//!
//! While the clock is unset, certificate dates mean nothing and are not looked at: the pinned key
//! alone decides, or a device behind blocked NTP could never connect. Once time is trusted and the
//! operator configured `ca_file`, verification is the ordinary one against these certificates.
//! Without `ca_file` the pinned key is accepted, and otherwise a certificate of the public web.
//! TLS protects the token and the readings' privacy; that readings are whole and true to their
//! sealing is proven by the log, not by this connection.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use evidence::entry::ClockStatus;
use evidence::hash::sha256;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use thiserror::Error as ThisError;

use crate::clock::Clock;

/// SHA-256 of a certificate's `SubjectPublicKeyInfo`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", hex::encode(self.0))
    }
}

/// Why no TLS configuration can be made.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum TlsError {
    /// The file with certificates is no use.
    #[error("ca_file `{path}` is not usable: {why}; it must hold PEM certificates")]
    CaFile {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The cryptographic library refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// TLS towards the collector.
///
/// # Errors
///
/// [`TlsError`].
pub fn client_config(
    pin: Option<Pin>,
    ca_file: Option<&Path>,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let failed = |why: String| TlsError::CaFile {
            path: path.display().to_string(),
            why,
        };
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| failed(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failed(String::from("it holds no certificate")));
        }
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let ordinary =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| setup(&error))?;
    let verifier = CollectorVerifier {
        pin,
        ca_configured: ca_file.is_some(),
        ordinary,
        provider: Arc::clone(&provider),
        clock,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The rule at the top of this module.
#[derive(Debug)]
struct CollectorVerifier {
    pin: Option<Pin>,
    ca_configured: bool,
    ordinary: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
}

impl CollectorVerifier {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> Result<bool, Error> {
        let Some(pin) = self.pin else {
            return Ok(false);
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        Ok(sha256(parsed.subject_public_key_info().as_ref()).0 == pin.0)
    }
}

impl ServerCertVerifier for CollectorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = self.clock.now();
        let pinned = self.is_pinned(end_entity)?;
        if now.status == ClockStatus::Unset {
            return if pinned {
                Ok(ServerCertVerified::assertion())
            } else {
                Err(Error::InvalidCertificate(
                    CertificateError::ApplicationVerificationFailure,
                ))
            };
        }
        if pinned && !self.ca_configured {
            return Ok(ServerCertVerified::assertion());
        }
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.unix_ms));
        self.ordinary
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evidence::hash::sha256;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, date_time_ymd};
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    use super::{Pin, client_config};
    use crate::clock::ManualClock;

    /// Valid for 90 days from 2026-03-01.
    fn certificate() -> (CertificateDer<'static>, KeyPair, Pin) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["collector.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 3, 1);
        params.not_after = date_time_ymd(2026, 5, 30);
        let certificate = params.self_signed(&key).unwrap();
        let pin = Pin(sha256(&key.subject_public_key_info()).0);
        (certificate.der().clone(), key, pin)
    }

    /// Runs a handshake in memory; the client's error if it refuses.
    fn handshake(
        pin: Option<Pin>,
        ca: Option<&CertificateDer<'_>>,
        clock: &ManualClock,
        server: &(CertificateDer<'static>, KeyPair, Pin),
    ) -> Result<(), rustls::Error> {
        let dir = tempfile::tempdir().unwrap();
        let ca_file = dir.path().join("ca.pem");
        if let Some(ca) = ca {
            use base64::Engine as _;
            let body = base64::engine::general_purpose::STANDARD.encode(ca);
            let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
            crate::durable::write_file(&ca_file, pem.as_bytes(), crate::durable::Access::All)
                .unwrap();
        }
        let config =
            client_config(pin, ca.map(|_| ca_file.as_path()), Arc::new(clock.clone())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(server.1.serialize_der());
        let server_config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![server.0.clone()], key.into())
            .unwrap();
        let name = "collector.test".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(())
    }

    const MARCH_15: u64 = 1_773_532_800_000;
    const NEXT_YEAR: u64 = 1_800_000_000_000;

    #[test]
    fn a_clock_in_1970_connects_to_the_pinned_key_and_to_no_other() {
        let server = certificate();
        let other = certificate();
        let clock = ManualClock::unset(90_000);
        handshake(Some(server.2), None, &clock, &server).unwrap();
        handshake(Some(other.2), None, &clock, &server).unwrap_err();
        handshake(None, None, &clock, &server).unwrap_err();
        // Not even a certificate of the configured authority: its dates cannot be checked.
        handshake(Some(other.2), Some(&server.0), &clock, &server).unwrap_err();
    }

    #[test]
    fn with_trusted_time_a_self_signed_certificate_needs_its_pin() {
        let server = certificate();
        let clock = ManualClock::trusted(MARCH_15, 1_000);
        handshake(Some(server.2), None, &clock, &server).unwrap();
        handshake(Some(certificate().2), None, &clock, &server).unwrap_err();
        handshake(None, None, &clock, &server).unwrap_err();
    }

    #[test]
    fn a_configured_authority_is_checked_with_dates() {
        let server = certificate();
        let clock = ManualClock::trusted(MARCH_15, 1_000);
        handshake(None, Some(&server.0), &clock, &server).unwrap();
        let late = ManualClock::trusted(NEXT_YEAR, 1_000);
        handshake(Some(server.2), Some(&server.0), &late, &server).unwrap_err();
        let other = certificate();
        handshake(Some(server.2), Some(&other.0), &clock, &server).unwrap_err();
    }
}
